"""Cards of the noise paper's law of a rectified Gaussian (Eq. 3 and 4, Sec. 2.1)."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import ndtri

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.layers import noise
from npsnn.layers.moments import Moments, Propagated, Sampled
from npsnn.ops import gaussian
from npsnn.reference import montecarlo, plain, rectifier
from npsnn.streams import Stream

ENGINE = ("npsnn.ops.gaussian.rectified_moments",)


def relative(found: Floats, wanted: Floats) -> float:
    """The largest relative error of any entry, for figures that are right in the tails too."""
    return float(np.abs(found / wanted - 1).max())


def moments(mu: Floats, v: Floats) -> Floats:
    """Mean and variance of max(0, Z) by the textbook: (2, ...)."""
    return np.array([plain.rectified_moments(float(a), float(b)) for a, b in zip(mu, v, strict=True)]).T


@checks(
    "N4",
    place="Eq. 3",
    title="Law of the noisy pre-activation",
    verdict="correct",
    uses=("N3",),
    printed=r"$\mathbf Z\sim\mathcal N(\mu_z,\sigma^2\mathbf I)$ with $\mu_z=\mathbf A^\top\mathbf x+\mathbf b$",
    derived="as printed, for the layer that the noise is added to",
    because=r"An affine map of a fixed image plus independent noise; draws confirm mean and covariance, and the fourth "
    r"moment of a Gaussian. It holds for the first layer only: one affine layer on, the covariance is $\sigma^2\mathbf "
    r"W\mathbf W^\top$, no multiple of $\mathbf I$. The paper writes the perturbation as $\nu$ here and as $\mathbf z$ "
    r"below Eq. 5.",
    instead="as is: a layer that adds a constant variance, or draws, wherever it stands",
    symbols=("npsnn.layers.noise.PreactivationNoise",),
    headline="draws {Monte Carlo, in standard errors} standard errors off, the engine's {engine's draws, in standard "
    "errors}",
)
def n4(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    pixels, units, sigma, draws = 9, 6, 0.4, lab.draws(20_000)
    x, b = rng.uniform(size=pixels), 0.2 * rng.standard_normal(units)
    W = rng.standard_normal((units, pixels)) / 3
    mean, covariance = plain.linear(x[None], W, b)[0], sigma**2 * np.eye(units)
    z = montecarlo.preactivation(x, W, b, sigma, draws, rng)
    yield below("Monte Carlo, in standard errors", _off_gaussian(z, mean, covariance), 5)
    params, layer = {"sigma": np.asarray(sigma)}, noise.PreactivationNoise(sigma)
    tiled = Moments(np.broadcast_to(mean[:, None], (draws, units, 1)).copy())
    sample, _ = layer.forward(params, tiled, Sampled(Stream(int(rng.integers(2**31)))))
    yield below("engine's draws, in standard errors", _off_gaussian(sample.mean[..., 0], mean, covariance), 5)
    once, _ = layer.forward(params, Moments(mean[:, None]), Propagated())
    twice, _ = layer.forward(params, once, Propagated())
    for name, one in (("fourth moment", z), ("engine's fourth moment", sample.mean[..., 0])):
        fourth = ((one - mean) / sigma) ** 4
        yield drawn(name, fourth.mean(), np.sqrt(96 / fourth.size), 3)
    for name, m, var in (("engine", once, sigma**2), ("engine, noise on noise", twice, 2 * sigma**2)):
        yield error(name, np.array([m.mean, m.var], np.float64)[..., 0].T, [(a, var) for a in mean], 1e-14)
    W2 = rng.standard_normal((units, units))
    on, spread = montecarlo.affine(z, W2, b), plain.linear_covariance(np.full((1, units), sigma**2), W2)[0]
    yield below("one layer on, in standard errors", _off_gaussian(on, W2 @ mean + b, spread), 5)
    yield above("largest correlation there", np.abs(np.corrcoef(on.T) - np.eye(units)).max(), 0.1)


def _off_gaussian(z: Floats, mean: Floats, covariance: Floats) -> float:
    """The largest distance of the draws' mean and covariance from these, in standard errors."""
    found = (z - mean).T @ (z - mean) / len(z)
    var = np.diag(covariance)
    shift = np.abs(z.mean(axis=0) - mean) / np.sqrt(var / len(z))
    spread = np.abs(found - covariance) / np.sqrt((np.outer(var, var) + covariance**2) / len(z))
    return float(max(shift.max(), spread.max()))


@checks(
    "N5",
    place="Eq. 4",
    title="Law of a rectified Gaussian",
    verdict="wrong",
    uses=("N4", "N6", "N7"),
    printed=r"$Y=\max(0,Z)$ has the density $$f_Y(\xi;\mu,\sigma)=\frac1{\sigma\eta}"
    r"\varphi\left(\frac{\xi-\mu}\sigma\right)1_{\xi>0}$$",
    derived=r"$$P(Y=0)=\Phi\left(-\frac\mu\sigma\right),\qquad f_Y(\xi)=\frac1\sigma"
    r"\varphi\left(\frac{\xi-\mu}\sigma\right)\ \mathrm{for}\ \xi>0$$",
    because=r"Eq. 4 is the law of $Z$ given $Z>0$. Rectifying moves the negative mass to 0 and does not remove it: the "
    r"two laws differ by exactly that atom in total variation, 0.5 at $\mu=0$ and 0.99865 at $\mu=-3\sigma$, "
    r"and at $\mu=0$ the printed mean is twice the true one.",
    instead="mean and variance of the rectified law (E1)",
    symbols=ENGINE,
    headline="mean at 0: Monte Carlo {Monte Carlo}, derived {derived}, printed {printed}",
)
def n5(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    mu, v = np.array([0, -1.5, -0.4, 0.9, 2]), np.array([1, 0.6, 1.7, 0.8, 1.2])
    z = montecarlo.gaussian(mu, v, lab.draws(100_000), rng)
    y = montecarlo.relu(z)
    found, derived = montecarlo.estimate(y), moments(mu, v)
    printed = np.array([rectifier.truncated_moments(*p) for p in zip(mu, v, strict=True)]).T
    yield drawn("Monte Carlo", found.mean[0], found.mean_error[0], derived[0, 0])
    yield shown("derived", derived[0, 0])
    yield near("printed", printed[0, 0], 2 * derived[0, 0], 1e-12)
    yield above("printed off by, in standard errors", (printed[0, 0] - found.mean[0]) / found.mean_error[0], 100)
    yield below("moments, in standard errors", found.deviations(*derived), 5)
    kept = y[z[:, 0] > 0, 0]
    estimate = montecarlo.estimate(kept)
    yield below("draws given Z > 0 from Eq. 4, in standard errors", estimate.deviations(*printed[:, 0]), 5)
    yield error("density integrated", _integrals(rectifier.density, mu, v), derived.T, 1e-10)
    yield error("Eq. 4 integrated", _integrals(rectifier.density_printed, mu, v), printed.T, 1e-10)
    yield near("total variation at 0", rectifier.total_variation(0, 1), 0.5, 1e-9)
    yield near("total variation at -3 sigma", rectifier.total_variation(-3, 1), 0.99865, 5e-6)
    at = np.array([0.0, 0.3, 1.0, 2.0])
    share = (y[:, :1] <= at).mean(axis=0)
    law = np.array([rectifier.distribution(a, 0, 1) for a in at])
    yield deviation("distribution, in standard errors", share, np.sqrt(share * (1 - share) / len(y)), law)
    gap = share - np.array([rectifier.distribution_printed(a, 0, 1) for a in at])
    yield near("distribution of Eq. 4 off by", gap[0], 0.5, 0.02)
    yield error("engine", gaussian.rectified_moments(mu, v)[:2], derived, 1e-10)


def _integrals(density: Callable[[float, float, float], float], mu: Floats, v: Floats) -> list[plain.Moments2]:
    def one(m: float, s: float) -> plain.Moments2:
        return rectifier.moments_by_integration(lambda xi: density(xi, m, s), 0, rectifier.reach(m, s))

    return [one(m, s) for m, s in zip(mu, np.sqrt(v), strict=True)]


@checks(
    "N6",
    place="Sec. 2.1",
    title="Normalising constant",
    verdict="correct",
    uses=("N4", "N7"),
    printed=r"$\eta=1-\Phi\left(-\frac\mu\sigma\right)$",
    derived=r"as printed; in floating point $\eta=\Phi\left(\frac\mu\sigma\right)$",
    because=r"It is $P(Z>0)$, as integration and draws confirm. As a programme the difference cancels: at $-8\sigma$ "
    r"it is 7 % off, from $-9\sigma$ on it is 0, and Eq. 4 divides by it.",
    instead=r"$\Phi(\mu/\sigma)$ through `erfcx`, without cancellation",
    symbols=ENGINE,
    headline="Monte Carlo {Monte Carlo}, printed {printed}; at -9 sigma: printed {printed at -9 sigma}, derived "
    "{derived at -9 sigma}",
)
def n6(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    mu, sigma = rng.uniform(-1, 1), rng.uniform(0.5, 2)
    draws = lab.draws(100_000)
    share = float((mu + sigma * rng.standard_normal(draws) > 0).mean())
    printed = rectifier.eta_printed(mu, sigma)
    yield drawn("Monte Carlo", share, np.sqrt(share * (1 - share) / draws), printed)
    yield shown("printed", printed)

    def mass(t: float) -> float:
        return rectifier.integral(lambda xi: rectifier.density(xi, t, 1), 0, rectifier.reach(t, 1))

    t = np.array([-37, -20, -9, -8, -3, -1, 0, 1, 3.0])
    wanted = np.array([mass(a) for a in t])
    near_zero = np.array([rectifier.eta_printed(a, 1) for a in t[4:]])
    yield error("printed against integration", near_zero, wanted[4:], 1e-12)
    yield above("printed, relative error at -8 sigma", abs(rectifier.eta_printed(-8, 1) / wanted[3] - 1), 0.05)
    yield near("printed at -9 sigma", rectifier.eta_printed(-9, 1), 0, 0)
    yield near("derived at -9 sigma", rectifier.eta(-9, 1), wanted[2], 1e-10 * wanted[2])
    yield below("derived, relative error", relative(np.array([rectifier.eta(a, 1) for a in t]), wanted), 1e-11)
    partials = gaussian.rectified_moments(t, np.ones_like(t))[2]
    yield below("engine, relative error", relative(partials[0], wanted), 1e-11)


@checks(
    "N7",
    place="Sec. 2.1",
    title="Normal density and distribution function",
    verdict="correct",
    printed=r"$\varphi(\xi)=\frac1{\sqrt{2\pi}}\exp\left(-\frac{\xi^2}2\right)$, "
    r"$\Phi(\xi)=\frac12\left[1+\mathrm{erf}(\xi/\sqrt2)\right]$",
    derived="as printed",
    because=r"$\varphi$ integrates to 1 with variance 1, and $\Phi$ is its integral. In the lower tail "
    r"$1+\mathrm{erf}$ cancels, as N6 does: it is 2 % off at $-8$ and 0 from $-9$ on.",
    instead=r"`erfc` or `erfcx` in the tail",
    symbols=ENGINE,
    headline="Monte Carlo {Monte Carlo}, printed {printed}, engine {engine}",
)
def n7(lab: Lab) -> Iterator[Figure]:
    draws = lab.draws(100_000)
    share = float((lab.rng().standard_normal(draws) <= 1).mean())
    yield drawn("Monte Carlo", share, np.sqrt(share * (1 - share) / draws), plain.Phi(1))
    yield shown("printed", plain.Phi(1))
    t = np.linspace(-4, 4, 17)
    area = np.array([rectifier.integral(plain.phi, -12, a) for a in t])
    yield error("Phi against the integral of phi", [plain.Phi(a) for a in t], area, 1e-12)
    yield near("integral of phi", rectifier.integral(plain.phi, -12, 12), 1, 1e-12)
    yield near("variance of phi", rectifier.integral(lambda x: x * x * plain.phi(x), -12, 12), 1, 1e-12)
    tail = rectifier.integral(plain.phi, 8, 13)
    yield above("printed, relative error at -8", abs(plain.Phi(-8) / tail - 1), 0.01)
    yield near("printed at -9", plain.Phi(-9), 0, 0)
    one = np.ones_like(t)
    cumulative, half_density = gaussian.rectified_moments(t, one)[2][:2]
    yield near("engine", cumulative[10], plain.Phi(1), 1e-12)
    yield error("engine's Phi", cumulative, area, 1e-12)
    yield error("engine's phi", 2 * half_density, [plain.phi(a) for a in t], 1e-12)


@checks(
    "N8",
    place="Sec. 2.1",
    title="Limit for very negative means",
    verdict="inconsistent",
    uses=("N5", "N6"),
    printed=r"$\eta\to0$ for $\mu\to-\infty$, implying $f_Y(\xi;\mu,\sigma)\to\delta(0)$ (as a result of censoring the "
    r"negative values)",
    derived=r"Eq. 4 truncates: its mean is $\mu+\sigma\varphi(\frac\mu\sigma)/\Phi(\frac\mu\sigma)$, which falls only "
    r"like $\sigma^2/|\mu|$. The censored law has the atom of N5, and its mean falls like "
    r"$\sigma\,\varphi(\frac\mu\sigma)\frac{\sigma^2}{\mu^2}$.",
    because=r"The limit holds for both laws, but the reason given, censoring, is that of the rectified law, which Eq. "
    r"4 is not. At $-3\sigma$, where the paper takes the limit as reached, Eq. 4 has mean 0.283 and standard deviation "
    r"0.266 in units of $\sigma$, the rectified law 0.00038 and 0.0143; Eq. 4 still has mean 0.033 at $-30\sigma$.",
    instead="the rectified law throughout (E1)",
    symbols=ENGINE,
    headline="sd at -3 sigma: Eq. 4 {Eq. 4, sd at -3 sigma}, rectified {rectified, sd at -3 sigma}",
)
def n8(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    sigma = rng.uniform(0.5, 2)
    mu, v, draws = -3 * sigma, sigma**2, lab.draws(200_000)
    truncated, rectified = rectifier.truncated_moments(mu, v), plain.rectified_moments(mu, v)
    yield near("Eq. 4, mean at -3 sigma", truncated[0] / sigma, 0.283, 5e-4)
    yield near("Eq. 4, sd at -3 sigma", np.sqrt(truncated[1]) / sigma, 0.266, 5e-4)
    yield near("rectified, mean at -3 sigma", rectified[0] / sigma, 0.00038, 5e-6)
    yield near("rectified, sd at -3 sigma", np.sqrt(rectified[1]) / sigma, 0.0143, 5e-5)
    y = montecarlo.relu(mu + sigma * rng.standard_normal(draws))
    yield below("censored draws, in standard errors", _off(y, rectified), 5)
    # by the inverse of the distribution function, for 1 draw in 741 is positive
    kept = mu - sigma * ndtri(rng.uniform(size=draws) * rectifier.eta(mu, sigma))
    yield below("truncated draws, in standard errors", _off(kept, truncated), 5)
    yield near("Eq. 4, mean at -30 sigma", rectifier.truncated_moments(-30, 1)[0], 1 / 30, 1e-4)
    limits = [rectifier.truncated_moments(8, 1), plain.rectified_moments(8, 1)]
    yield error("both laws at +8 sigma, off the Gaussian by", limits, [(8, 1)] * 2, 1e-12)
    yield error("engine", gaussian.rectified_moments(np.array(mu), np.array(v))[:2], rectified, 1e-10)


def _off(y: Floats, wanted: plain.Moments2) -> float:
    return montecarlo.estimate(y).deviations(np.array(wanted[0]), np.array(wanted[1]))
