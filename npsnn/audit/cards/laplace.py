"""Cards of the noise paper's Laplace approximation of ReLU (Sec. 2.1, Eq. 5 and 6) and of its 3 sigma thresholds."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit import networks
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, drawn, error, near, shown
from npsnn.audit.cards.rectifier import moments
from npsnn.classifier import Classifier
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated
from npsnn.layers.params import flatten
from npsnn.ops import gaussian
from npsnn.reference import differences, montecarlo, plain, rectifier

PRINTED_RULE = "npsnn.ops.gaussian.rectified_laplace"
EXACT_RULE = "npsnn.ops.gaussian.rectified_moments"


@checks(
    "N9",
    place="Sec. 2.1",
    title="Limits taken at three sigma",
    verdict="approximation",
    uses=("N5", "N8", "N10"),
    printed=r"$f_Y$ is an untruncated Gaussian for $\mu>3\sigma$ and $\delta(0)$ for $\mu<-3\sigma$",
    derived=r"the rectified law of N5 at $\mu=\pm3\sigma$, in units of $\sigma$: mean $\mu+0.00038$ and standard "
    r"deviation 0.99875 above, mean 0.00038 and standard deviation 0.0143 below",
    because=r"Good for the rectified law: beyond $3\sigma$ no mean is more than 0.0004 off, no variance more than "
    r"0.0025, in units of $\sigma$ and $\sigma^2$. Not good below for the law that Eq. 4 prints, of which the standard "
    r"deviation at $-3\sigma$ is 0.266.",
    instead="no threshold: the exact moments cost one formula for all means",
    symbols=(PRINTED_RULE, EXACT_RULE),
    headline="sd at +3 sigma: Monte Carlo {Monte Carlo, sd at +3}, rule 1; at -3 sigma: {Monte Carlo, sd at -3}, rule "
    "0",
)
def n9(lab: Lab) -> Iterator[Figure]:
    ends, one = np.array([3.0, -3.0]), np.ones(2)
    y = montecarlo.relu(montecarlo.gaussian(ends, one, lab.draws(200_000), lab.rng()))
    found, (mean, var) = montecarlo.estimate(y), moments(ends, one)
    for i, end in enumerate(("+3", "-3")):
        sd = float(np.sqrt(found.var[i]))
        yield drawn(f"Monte Carlo, sd at {end}", sd, found.var_error[i] / (2 * sd), np.sqrt(var[i]))
        yield near(f"derived, sd at {end}", np.sqrt(var[i]), (0.99875, 0.0143)[i], 5e-5)
        yield near(f"derived, mean off by at {end}", mean[i] - max(ends[i], 0), 0.00038, 5e-6)
    yield above("Eq. 4, sd at -3", np.sqrt(rectifier.truncated_moments(-3, 1)[1]), 0.26)
    beyond = np.concatenate([np.linspace(-8, -3.001, 50), np.linspace(3.001, 8, 50)])
    exact, printed = (f(beyond, np.ones(100))[:2] for f in (gaussian.rectified_moments, gaussian.rectified_laplace))
    yield below("engine, means apart by at most", np.abs(exact[0] - printed[0]).max(), 0.0004)
    yield below("engine, variances apart by at most", np.abs(exact[1] - printed[1]).max(), 0.0025)
    yield error("engine", exact, moments(beyond, np.ones(100)), 1e-12)
    yield error("engine, printed rule", printed, [np.maximum(beyond, 0), beyond > 0], 0)


@checks(
    "N10",
    place="Sec. 2.1",
    title="Coverage of three sigma",
    verdict="correct",
    uses=("N4", "N7"),
    printed=r"$[-3\sigma,3\sigma]$ is justified by the 99.7 % coverage of the Gaussian distribution",
    derived=r"$P(|Z-\mu|\le3\sigma)=0.99730$, and $P(Z-\mu\le3\sigma)=0.99865$",
    because=r"The figure is that of a two-sided interval. Rectifying cuts one side only: at $\mu=-3\sigma$ a unit is "
    r"switched off with probability 0.99865.",
    instead=r"as is; the printed rule keeps a unit's variance at $\mu=-3\sigma$ and drops it below",
    symbols=(PRINTED_RULE,),
    headline="Monte Carlo {Monte Carlo}, two-sided {two-sided}, one-sided {one-sided}",
)
def n10(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    draws, mu, sigma = lab.draws(200_000), rng.uniform(-1, 1), rng.uniform(0.5, 2)
    z = mu + sigma * rng.standard_normal(draws)
    two, one = plain.Phi(3) - plain.Phi(-3), plain.Phi(3)
    inside, below_upper = float((np.abs(z - mu) <= 3 * sigma).mean()), float((z - mu <= 3 * sigma).mean())
    yield drawn("Monte Carlo", inside, np.sqrt(two * (1 - two) / draws), two)
    yield near("two-sided", two, 0.9973, 5e-6)
    yield drawn("Monte Carlo, one-sided", below_upper, np.sqrt(one * (1 - one) / draws), one)
    yield near("one-sided", one, 0.99865, 5e-6)
    yield near("P(Y = 0) at -3 sigma", rectifier.atom(-3 * sigma, sigma), one, 1e-12)
    edge = np.array([-6, np.nextafter(-6, -7)])
    kept = gaussian.rectified_laplace(edge, np.full(2, 4.0))[1]
    yield near("engine, variance kept at -3 sigma", kept[0] / 4, 1, 0)
    yield near("engine, variance kept below", kept[1] / 4, 0, 0)


@checks(
    "N11",
    place="Sec. 2.1",
    title="Taylor expansion of the log-density",
    verdict="wrong",
    uses=("N5", "N13"),
    printed=r"$$h(\xi)\approx h(\xi_0)+h''(\xi_0)\frac{(\xi-\xi_0)^2}2,\qquad h''(\xi)=-\sigma^{-2}$$",
    derived=r"$$h(\xi)=h(\xi_0)+h'(\xi_0)(\xi-\xi_0)+h''(\xi_0)\frac{(\xi-\xi_0)^2}2,\qquad "
    r"h'(\xi_0)=\frac{\mu-\xi_0}{\sigma^2}$$",
    because=r"$h''$ is right, $h$ is exactly quadratic on $\xi\ge0$, and for $\mu\ge0$ the expansion is exact. For "
    r"$\mu<0$ the maximum sits on the boundary $\xi_0=0$, where the slope is $\mu/\sigma^2$ and not 0; dropping it "
    r"leaves a half-Gaussian of width $\sigma$ where the density falls with scale $\sigma^2/|\mu|$: too large by the "
    r"factor $e^2$ at $\xi=2\sigma$ for $\mu=-\sigma$.",
    instead="no expansion: the exact moments (E1)",
    symbols=("npsnn.reference.rectifier.expansion",),
    headline="log-density at mu = -sigma: printed off by {printed off by, mu = -sigma}, derived by {derived off by}",
)
def n11(lab: Lab) -> Iterator[Figure]:
    sigma = lab.rng().uniform(0.5, 2)
    xi = np.linspace(0.1, 2, 20) * sigma

    def gaps(mu: float, printed: bool) -> list[float]:
        f = rectifier.expansion_printed if printed else rectifier.expansion
        return [f(a, mu, sigma) - rectifier.log_density(a, mu, sigma) for a in xi]

    def slope(at: float, mu: float) -> float:
        return differences.slope(lambda a: rectifier.log_density(a, mu, sigma), at, step=0.02)

    curvature = differences.slope(lambda a: slope(a, -sigma), sigma, step=0.02)
    yield near("curvature by differences, times -sigma^2", -curvature * sigma**2, 1, 1e-8)
    yield near("curvature printed, times -sigma^2", -rectifier.curvature_printed(sigma) * sigma**2, 1, 1e-12)
    yield near("slope at the boundary, times sigma, mu = -sigma", slope(0.04, -sigma) * sigma, -1 - 0.04 / sigma, 1e-8)
    logs = [np.log(rectifier.density_printed(a, -sigma, sigma)) for a in xi]
    yield error("h against Eq. 4", [rectifier.log_density(a, -sigma, sigma) for a in xi], logs, 1e-12)
    for name, mu in (("", -sigma), (", mu = 0.7 sigma", 0.7 * sigma), (", mu = -3 sigma", -3 * sigma)):
        yield below(f"derived off by{name}", np.abs(gaps(mu, False)).max(), 1e-12)
    yield below("printed off by, mu = 0.7 sigma", np.abs(gaps(0.7 * sigma, True)).max(), 1e-12)
    yield near("printed off by, mu = -sigma", max(gaps(-sigma, True)), 2, 1e-10)
    yield near("printed off by, mu = -3 sigma", max(gaps(-3 * sigma, True)), 6, 1e-10)


@checks(
    "N12",
    place="Eq. 5",
    title="Laplace approximation of the rectified law",
    verdict="approximation",
    uses=("N5", "N11", "N13", "E1"),
    printed=r"$$f_Y(\xi;\mu,\sigma^2)\propto\exp\left(-\frac{(\xi-\xi_0)^2}{2\sigma^2}\right)$$ that is, "
    r"$\mathcal N(\xi_0,\sigma^2)$ on the whole line",
    derived=r"$V=\sigma^2\left[(1+t^2)\Phi(t)+t\,\varphi(t)\right]-m^2$ with $t=\mu/\sigma$ and "
    r"$m=\sigma\left[t\,\Phi(t)+\varphi(t)\right]$",
    because=r"Good from $\mu=2\sigma$ on, where the variance is 4 % too large; poor below: the variance is 1.3 times "
    r"the true one at $\mu=\sigma$, 2.9 times at 0, 14.6 at $-\sigma$, 176 at $-2\sigma$ and 4919 at $-3\sigma$. The "
    r"law that Eq. 4 prints is not that of $Y$ (N5), and its variance is still exceeded 2.8, 5.0 and 14 times at 0, "
    r"$-\sigma$ and $-3\sigma$. The slope at the boundary is dropped (N11), and for $\mu\le0$ half of the Gaussian "
    r"lies below 0, where $Y$ never is.",
    instead="the exact moments (E1)",
    symbols=(EXACT_RULE,),
    headline="variance at 0: Monte Carlo {Monte Carlo variance at 0}, derived {derived}, printed {printed}; at -sigma "
    "{printed over derived at -sigma} times too large",
)
def n12(lab: Lab) -> Iterator[Figure]:
    t, claimed = np.array([0.0, 1, 2, -1, -2, -3]), (2.934, 1.331, 1.0415, 14.62, 175.5, 4919)
    sigma = lab.rng().uniform(0.5, 2)
    mu, v = t * sigma, np.full(6, sigma**2)
    y = montecarlo.relu(montecarlo.gaussian(mu[:4], v[:4], lab.draws(100_000), lab.rng())) / sigma
    found, (mean, var) = montecarlo.estimate(y), moments(mu, v) / np.array([[sigma], [sigma**2]])
    printed = [_moments_of_eq5(m, sigma) for m in mu]
    yield drawn("Monte Carlo variance at 0", found.var[0], found.var_error[0], var[0])
    yield shown("derived", var[0])
    yield near("printed", printed[0][1] / sigma**2, 1, 1e-9)
    yield below("moments, in standard errors", found.deviations(mean[:4], var[:4]), 5)
    for at, ratio, wanted in zip(t, printed[0][1] / sigma**2 / var, claimed, strict=True):
        name = "0" if at == 0 else "-sigma" if at == -1 else f"{at:g} sigma"
        yield near(f"printed over derived at {name}", ratio, wanted, 5e-4 * wanted)
    for at, wanted in {0.0: 2.752, -1.0: 5.023, -3.0: 14.17}.items():
        ratio = 1 / rectifier.truncated_moments(at, 1)[1]
        yield near(f"printed over Eq. 4 at {at:g} sigma", ratio, wanted, 5e-4 * wanted)
    halves = rectifier.integral(lambda xi: rectifier.laplace_density_printed(xi, 0, 1), -10, 0)
    yield near("printed mass below 0", halves, 0.5, 1e-9)
    yield near("Wasserstein distance at 0", rectifier.wasserstein(0, 1, 0, 1), 0.399, 5e-4)
    yield near("Wasserstein distance at -3 sigma", rectifier.wasserstein(-3, 1, 0, 1), 0.7975, 5e-5)
    yield error("engine", gaussian.rectified_moments(mu, v)[1] / v, var, 1e-10)
    yield error("engine, printed rule", np.transpose(gaussian.rectified_laplace(mu, v)[:2]), printed, 1e-9)


def _moments_of_eq5(mu: float, sigma: float) -> plain.Moments2:
    # shifted, for a mean of 0 has no relative error
    def density(xi: float) -> float:
        return rectifier.laplace_density_printed(xi - 10 * sigma, mu, sigma)

    first, var = rectifier.moments_by_integration(density, 0, 23 * sigma)
    return first - 10 * sigma, var


@checks(
    "N13",
    place="Sec. 2.1",
    title="Mode as the mean",
    verdict="correct",
    uses=("N5", "N9"),
    printed=r"$\xi_0=\mathrm{argmax}\,f_Y=0$ if $-3\sigma\le\mu<0$, $\mu$ if $0\le\mu\le3\sigma$",
    derived=r"as printed, on the closed half-line: $\xi_0=\max(0,\mu)$",
    because=r"A search finds that mode (Eq. 4 excludes $\xi=0$, so that for $\mu\le0$ it is a supremum and not "
    r"attained). With the thresholds of N9 it is ReLU of the mean everywhere: the mean that the paper propagates is "
    r"the noise-free network, and no noise level changes it. It is the mode of Eq. 4, and the mean neither of that law "
    r"nor of the rectified one.",
    instead='kept as the mean of the rule "laplace"; the rule "exact" propagates the mean',
    symbols=(PRINTED_RULE,),
    headline="mode by search {mode by search}, printed {printed}, engine {engine}, true mean {true mean}",
)
def n13(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    sigma = rng.uniform(0.5, 2)
    xi = np.linspace(0, 4 * sigma, 4001)

    def search(mu: float) -> float:
        return float(xi[np.argmax([rectifier.log_density(a, mu, sigma) for a in xi])])

    mu = np.array([0.5, -3, -1.2, -0.1, 0, 1.7, 3]) * sigma
    modes = [search(float(m)) for m in mu]
    printed = [rectifier.mode_printed(float(m), sigma) for m in mu]
    engine = gaussian.rectified_laplace(mu, np.full(mu.size, sigma**2))[0]
    yield near("mode by search", modes[0] / sigma, 0.5, 1e-3)
    yield near("printed", printed[0] / sigma, 0.5, 1e-12)
    yield near("engine", engine[0] / sigma, 0.5, 1e-12)
    yield near("true mean", plain.rectified_moments(0.5, 1)[0], 0.6978, 5e-5)
    yield near("elsewhere, printed off by", np.abs(np.subtract(modes, printed)).max() / sigma, 0, 1e-3)
    yield error("elsewhere, engine", engine, printed, 1e-12)
    network = networks.perceptron(rng)
    x = rng.uniform(size=12)
    noisy, quiet = (_outputs(network, x, noise).mean for noise in (Propagated(gaussian.LAPLACE), EXPECTATION))
    yield error("network's mean against the noise-free network", noisy, quiet, 1e-12)
    exact = _outputs(network, x, Propagated(gaussian.EXACT)).mean
    yield above("exact mean away from it", np.abs(exact - quiet).max(), 1e-3)


def _outputs(network: Classifier, x: Floats, noise: Noise) -> Moments:
    image = x.reshape(1, 1, -1, 1)
    return network.model.network.forward(network.params, Moments(image), noise)[0]


@checks(
    "N14",
    place="Eq. 6",
    title="Printed rule for ReLU",
    verdict="approximation",
    uses=("N9", "N12", "N13", "E1"),
    printed=r"$\mathbf y_{\mathrm{ReLU}}\sim\mathcal N(\mu_{\mathrm{ReLU}},"
    r"\mathrm{diag}(\sigma_1^2,\dots,\sigma_p^2))$ with $\mu_{\mathrm{ReLU},i}=\mu_i$ if $\mu_i\ge0$ and zero "
    r"otherwise, $\sigma_i^2=\sigma^2$ if $\mu_i\ge-3\sigma$ and close to zero otherwise",
    derived=r"$m=\sigma\left[t\,\Phi(t)+\varphi(t)\right]$, "
    r"$V=\sigma^2\left[(1+t^2)\Phi(t)+t\,\varphi(t)\right]-m^2$ with $t=\mu/\sigma$",
    because=r"The mean is up to $0.3989\,\sigma$ too small (at $\mu=0$), the variance up to $0.9998\,\sigma^2$ too "
    r"large (at $-3\sigma$), where it jumps to 0. The squared error of a hard mask $1_{\mu\ge c\sigma}$, integrated "
    r"over $\mu$, is least at $c=0.377$, and 13 times as large at the paper's $c=-3$. Random small networks come out "
    r"with a standard deviation of the logits well above that of draws. The paper does not say how close to zero is "
    r"meant. Deeper layers must compare with the unit's own $\sigma_i$ and not with $\sigma$; the paper leaves it "
    r"at “the same procedure”.",
    instead=r'the rule "exact" (E1); the rule "laplace" is Eq. 6, close to zero read as 0 and $\sigma$ as '
    r"$\sigma_i$",
    symbols=(PRINTED_RULE, EXACT_RULE),
    headline="mean at 0: Monte Carlo {Monte Carlo mean at 0}, derived {derived}, printed {printed}; variance off by up"
    " to {variance off by, at -3 sigma} sigma^2",
)
def n14(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    ends, one = np.array([0.0, -3.0]), np.ones(2)
    found = montecarlo.estimate(montecarlo.relu(montecarlo.gaussian(ends, one, lab.draws(100_000), rng)))
    yield drawn("Monte Carlo mean at 0", found.mean[0], found.mean_error[0], moments(ends, one)[0, 0])
    yield near("derived", moments(ends, one)[0, 0], 0.3989, 5e-5)
    yield near("printed", plain.rectified_laplace(0, 1)[0], 0, 0)
    printed_var = plain.rectified_laplace(-3, 1)[1]
    yield near("variance off by, at -3 sigma", printed_var - moments(ends, one)[1, 1], 0.9998, 5e-5)
    yield drawn("Monte Carlo variance at -3 sigma", found.var[1], found.var_error[1], moments(ends, one)[1, 1])
    t = np.arange(-600, 601) / 100
    sigma = rng.uniform(0.5, 2, t.size)
    sigma[t == -3] = 2  # so that the threshold is met exactly
    mu, v = t * sigma, sigma**2
    printed, engine = (
        np.array([plain.rectified_laplace(*p) for p in zip(mu, v, strict=True)]).T,
        np.array(gaussian.rectified_laplace(mu, v)[:2]),
    )
    yield error("engine, printed rule", engine, printed, 1e-15)
    exact = gaussian.rectified_moments(mu, v)[:2]
    yield error("engine, exact rule", exact, moments(mu, v), 1e-12)
    yield near("largest error of the mean", (np.abs(engine[0] - exact[0]) / sigma).max(), 0.3989, 5e-5)
    yield near("largest error of the variance", (np.abs(engine[1] - exact[1]) / v).max(), 0.9998, 5e-5)
    edge = gaussian.rectified_laplace(np.array([-6, -6 * (1 + 1e-9)]), np.full(2, 4.0))[1]
    yield near("jump at -3 sigma, in sigma^2", (edge[0] - edge[1]) / 4, 1, 1e-12)
    best = min(np.arange(-100, 150) / 100, key=rectifier.variance_lost)
    yield near("best cut", best, 0.377, 0.006)
    yield near(
        "squared error at -3 over the best", rectifier.variance_lost(-3) / rectifier.variance_lost(best), 13.3, 0.1
    )
    yield from _networks(rng, lab.draws(4000))


def _networks(rng: np.random.Generator, draws: int) -> Iterator[Figure]:
    """Standard deviations of the logits of random networks under both rules, over those of draws."""
    logs: list[Floats] = []
    for _ in range(6):
        network = networks.perceptron(rng, joint=False)
        x, p = rng.uniform(size=12), flatten(network.params)
        layers = [(p[f"fc{i}.w"], p[f"fc{i}.b"]) for i in (1, 2, 3)]
        true = montecarlo.network(x, layers, 0.4, draws, rng)[-1].var(axis=0)
        both = [_outputs(network, x, Propagated(rule)).var for rule in (gaussian.LAPLACE, gaussian.EXACT)]
        logs.append(np.log(np.array(both, np.float64)[..., 0] / true).mean(axis=1) / 2)
    printed, exact = np.exp(np.mean(logs, axis=0))
    yield above("printed sd of logits over that of draws", printed, 1.5)
    yield near("exact sd of logits over that of draws", exact, 1.1, 0.3)
