"""Cards of the exact moments that replace the noise paper's rules for ReLU (extension E1) and maximum (E2)."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.audit.cards.rectifier import relative
from npsnn.ops import gaussian
from npsnn.reference import differences, montecarlo, plain, rectifier


@checks(
    "E1",
    place="noise paper Eq. 4, 6",
    title="Exact moments of a rectified Gaussian",
    verdict="correct",
    uses=("N5",),
    printed="not in the papers",
    derived=r"With $s=\sqrt v$, $t=\mu/s$, $\tau=|t|$, $q=\Phi(-\tau)$, $g=\varphi(\tau)-\tau q$ and "
    r"$r=(1+\tau^2)q-\tau\varphi(\tau)-g^2$: $$m=\max(\mu,0)+s\,g,\qquad "
    r"V=v\,\left(1_{\mu>0}(1-2q)+r\right)$$ $$\frac{\partial m}{\partial\mu}=\Phi(t),\quad"
    r"\frac{\partial m}{\partial v}=\frac{\varphi(t)}{2s},\quad\frac{\partial V}{\partial\mu}=2m\,\Phi(-t),\quad"
    r"\frac{\partial V}{\partial v}=\Phi(t)-\frac ms\varphi(t)$$",
    because=r"To a relative error of $10^{-11}$ the engine agrees with integration of the density for $|t|\le10$ and "
    r"with the asymptotic series from there to $-37$ and $10^6$; its partial derivatives agree with finite differences "
    r"and draws. No term is negative, so nothing cancels: the textbook form $E[Y^2]-m^2$ with $\Phi$ as printed (N7) "
    r"has no correct digit of $V$ at $t=-9$.",
    instead='the rule "exact": the default of attacks and of `moments`, and `--propagation exact` in training',
    symbols=("npsnn.ops.gaussian.rectified_moments", "npsnn.ops.gaussian.rectified_moments_backward"),
    headline="off by {error against integration} from integration, {error against the series} from the series, {error "
    "against differences} from differences",
)
def e1(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    t = np.linspace(-10, 10, 31)
    v = 10 ** rng.uniform(-1, 1, t.size)
    wanted = np.array([_integrated(a * np.sqrt(b), b) for a, b in zip(t, v, strict=True)]).T
    yield below("error against integration", relative(_engine(t * np.sqrt(v), v), wanted), 1e-11)
    t = np.concatenate([np.linspace(-37, -10.01, 30), np.linspace(10.01, 37, 30)])
    v = 10 ** rng.uniform(-1, 1, t.size)
    tails = np.array([rectifier.rectified_tails(a * np.sqrt(b), b) for a, b in zip(t, v, strict=True)]).T
    yield below("error against the series", relative(_engine(t * np.sqrt(v), v), tails), 1e-11)
    t = 10 ** np.linspace(1.6, 6, 30)
    tails = np.array([rectifier.rectified_tails(a, 1) for a in t]).T
    yield below(
        "error up to a million", relative(_engine(t, np.ones_like(t))[[0, 1, 2, 5]], tails[[0, 1, 2, 5]]), 1e-11
    )
    log_mean = np.log(_engine(np.array([-36.0]), np.ones(1))[0, 0])
    yield near("error of the logarithm of m", log_mean - rectifier.log_mean(-36, 1), 0, 1e-11)
    textbook = abs(plain.rectified_moments(-9, 1)[1] / _engine(np.array([-9.0]), np.ones(1))[1, 0] - 1)
    yield above("textbook V off by, at -9", textbook, 1)
    yield from _partials(rng, lab.draws(50_000))


def _engine(mu: Floats, v: Floats) -> Floats:
    """m, V and the four partial derivatives: (6, ...)."""
    m, var, partials = gaussian.rectified_moments(mu, v)
    return np.stack([m, var, *partials])


def _integrated(mu: float, v: float) -> tuple[float, ...]:
    """The same by integration; above 0 of the distance to the mean, for the second moment would cancel."""
    s = np.sqrt(v)
    m, var = rectifier.moments_by_integration(lambda xi: rectifier.density(xi, mu, s), 0, rectifier.reach(mu, s))
    if mu > 0:
        lost, square = rectifier.moments_by_integration(
            lambda xi: rectifier.density(xi, -mu, s), 0, rectifier.reach(-mu, s)
        )
        # Y = Z + (-Z)+, so that E[Y] = mu + E[(-Z)+] and Var Y = v - Var (-Z)+ - 2 E[Y] E[(-Z)+]
        m = mu + lost
        var = v - square - 2 * m * lost
    up, down = rectifier.eta(mu, s), rectifier.eta(-mu, s)
    density = plain.phi(mu / s)
    return m, var, up, density / (2 * s), 2 * m * down, up - m / s * density


def _partials(rng: np.random.Generator, draws: int) -> Iterator[Figure]:
    """The four partial derivatives by differences and by draws Z = mu + s ε, and the backward pass."""
    mu, v = rng.uniform(-2.5, 2.5, 6), rng.uniform(0.5, 2, 6)
    found = _engine(mu, v)

    def summed(i: int, weights: Floats) -> Floats:
        return differences.gradient(
            lambda p: float(weights @ gaussian.rectified_moments(p[:6], p[6:])[i]), np.concatenate([mu, v])
        )

    dm, dv = rng.standard_normal((2, 6))
    slopes = np.concatenate([summed(0, np.ones(6)), summed(1, np.ones(6))])
    yield error("error against differences", found[2:].ravel(), slopes, 1e-9)
    plain_slopes = np.array([rectifier.rectified_gradients(a, b) for a, b in zip(mu, v, strict=True)]).T
    yield error("error against the formulas", found[2:], plain_slopes, 1e-12)
    wanted = summed(0, dm) + summed(1, dv)
    backward = gaussian.rectified_moments_backward(dm, dv, tuple(found[2:]))
    yield error("backward", np.concatenate(backward), wanted, 1e-9)
    noise = rng.standard_normal((draws, 6))
    y = montecarlo.relu(mu + np.sqrt(v) * noise)
    on = (y > 0).astype(float)
    dy_dv = on * noise / (2 * np.sqrt(v))
    samples = np.stack([on, dy_dv, 2 * (y - found[0]) * (on - found[2]), 2 * (y - found[0]) * (dy_dv - found[3])], 1)
    estimate = montecarlo.estimate(samples)
    yield deviation("partials from draws, in standard errors", estimate.mean, estimate.mean_error, found[2:])


@checks(
    "E2",
    place="noise paper Sec. 2.1",
    title="Exact moments of the larger of two Gaussians",
    verdict="correct",
    uses=("N19",),
    printed="not in the papers",
    derived=r"Clark's moments, with $d=\mu_1-\mu_2$, $\theta^2=v_1+v_2-2c$, $a=d/\theta$, $\kappa=\varphi(a)/\theta$ "
    r"and $m_0=d\,(v_2-c)/\theta^2$: $$E=\mu_2+E',\quad E'=d\,\Phi(a)+\theta\varphi(a),\quad "
    r"V=(d^2+v_1)\Phi(a)+v_2\Phi(-a)+d\,\theta\varphi(a)-E'^2$$ "
    r"$$\frac{\partial V}{\partial\mu_1}=2\left[d\,\Phi(a)+(v_1-c)\kappa\right]-2E'\Phi(a),\quad"
    r"\frac{\partial V}{\partial v_1}=\Phi(a)+\kappa(m_0-E'),\quad\frac{\partial V}{\partial c}=-2\kappa(m_0-E')$$ "
    r"$$\mathrm{Cov}(\max(X_1,X_2),X_3)=c_{13}\Phi(a)+c_{23}\Phi(-a)$$",
    because=r"Exact for a pair: draws of correlated pairs confirm mean, variance and the covariance with a third "
    r"variable, integration those of independent pairs, finite differences the gradients. For more than two the "
    r"maximum of a pair is no longer Gaussian, and a tree of pairs is an approximation (N17).",
    instead=r'the rule "exact" of max pooling, $c=0$, shifted by the larger mean so that nothing cancels; the form '
    r"with covariance is in `npsnn.reference.plain`",
    symbols=(
        "npsnn.ops.gaussian.maximum_clark",
        "npsnn.ops.gaussian.maximum_clark_backward",
        "npsnn.reference.plain.maximum_clark_gradients",
        "npsnn.reference.plain.maximum_covariance",
    ),
    headline="Monte Carlo {Monte Carlo}, derived {derived}; gradients off by {error of the gradients}, the engine's by"
    " {error of the engine's gradients}",
)
def e2(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    mu = rng.uniform(-0.5, 0.5, 3)
    A = np.eye(3) + 0.7 * rng.standard_normal((3, 3))
    S = A @ A.T
    x = mu + rng.standard_normal((lab.draws(100_000), 3)) @ A.T
    pair = (mu[0], S[0, 0], mu[1], S[1, 1], S[0, 1])
    largest = x[:, :2].max(axis=1)
    found, (mean, var) = montecarlo.estimate(largest), plain.maximum_clark(*pair)
    yield drawn("Monte Carlo", float(found.mean), float(found.mean_error), mean)
    yield shown("derived", mean)
    yield drawn("Monte Carlo variance", float(found.var), float(found.var_error), var)
    products = (largest - largest.mean()) * (x[:, 2] - mu[2])
    covariance = plain.maximum_covariance(*pair, S[0, 2], S[1, 2])
    yield drawn("covariance with a third", products.mean(), products.std() / np.sqrt(len(x)), covariance)
    share = float((x[:, 0] > x[:, 1]).mean())
    first_wins = plain.maximum_covariance(*pair, 1, 0)
    slopes = differences.gradient(lambda m: plain.maximum_clark(m[0], pair[1], m[1], *pair[3:])[0], mu[:2])
    yield near("covariance by differences", S[0, 2] * slopes[0] + S[1, 2] * slopes[1], covariance, 1e-9)
    yield drawn("P(X1 > X2) from draws", share, np.sqrt(share * (1 - share) / len(x)), first_wins)
    # X_i = U_i + a common part of variance c: the pair of U is independent
    c = 0.8 * min(S[0, 0], S[1, 1])
    lone = plain.maximum_moments_by_integration([mu[0], mu[1]], [S[0, 0] - c, S[1, 1] - c])
    yield error("covariance c by integration", plain.maximum_clark(*pair[:4], c), (lone[0], lone[1] + c), 1e-9)
    cases = [np.array(pair), np.array([*pair[:4], -0.3 * min(S[0, 0], S[1, 1])]), np.array([*pair[:4], 0])]
    gradients = [plain.maximum_clark_gradients(*p) for p in cases]
    wanted = [[differences.gradient(lambda p, i=i: plain.maximum_clark(*p)[i], p) for i in (0, 1)] for p in cases]  # type: ignore[misc]
    yield error("error of the gradients", gradients, wanted, 1e-6)
    yield from _engine_pairs(rng)


def _engine_pairs(rng: np.random.Generator) -> Iterator[Figure]:
    """The engine's independent form: values, a common offset, all eight partial derivatives."""
    count = 8
    m1, m2 = rng.uniform(-2, 2, (2, count))
    v1, v2 = rng.uniform(0.2, 2, (2, count))
    mean, var, saved = gaussian.maximum_clark(m1, v1, m2, v2)
    pairs = list(zip(m1, v1, m2, v2, strict=True))
    yield error("engine", [mean, var], np.transpose([plain.maximum_clark(*p) for p in pairs]), 1e-11)
    whole = [plain.maximum_moments_by_integration([a, c], [b, d]) for a, b, c, d in pairs]
    yield error("engine against integration", [mean, var], np.transpose(whole), 1e-9)
    shifted = gaussian.maximum_clark(m1 + 4096, v1, m2 + 4096, v2)[:2]
    yield error("engine, means of 4096", [shifted[0] - 4096, shifted[1]], [mean, var], 1e-10)
    dm, dv = rng.standard_normal((2, count))
    out = np.empty((4, count))
    gaussian.maximum_clark_backward(dm, dv, saved, (out[0], out[1], out[2], out[3]))
    gradients = np.array([plain.maximum_clark_gradients(*p) for p in pairs])[:, :, :4]
    yield error(
        "error of the engine's gradients", out, (gradients * np.stack([dm, dv], 1)[..., None]).sum(axis=1).T, 1e-11
    )
