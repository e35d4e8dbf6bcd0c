"""Card of extension E5: the full covariance through a ReLU network, instead of the diagonal of noise paper Eq. 6.

Its check measures the formulas on pairs, on maxima of correlated Gaussians, and on a whole network against draws.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.reference import covariance, differences, montecarlo, plain


@checks(
    "E5",
    place="noise paper Eq. 6",
    title="Full covariance through ReLU",
    verdict="correct",
    uses=("N3", "E1", "E2"),
    printed="not in the papers; Eq. 6 hands a diagonal to the next layer (N15)",
    derived=r"An affine layer maps $V$ to $WVW^\top$. With $a=\mu_1/s_1$, $b=\mu_2/s_2$, $\rho=c/(s_1s_2)$ and "
    r"$\varphi_2$, $\Phi_2$ the density and the distribution function of two standard normals of correlation $r$ or "
    r"$\rho$: $$\mathrm{Cov}(X_1^+,X_2^+)=s_1s_2\left[\rho\,\Phi(a)\Phi(b)+\int_0^\rho(\rho-r)\,\varphi_2(a,b;r)\,dr"
    r"\right]$$ $$\frac{\partial\,\mathrm{Cov}}{\partial c}=\Phi_2(a,b;\rho)=\Phi(a)\Phi(b)+\int_0^\rho"
    r"\varphi_2(a,b;r)\,dr$$ with $r=\sin\theta$, by 8 nodes of Gauss and Legendre. For a maximum, "
    r"$$\mathrm{Cov}(\max(X_1,X_2),X_3)=P\,\mathrm{Cov}(X_1,X_3)+(1-P)\,\mathrm{Cov}(X_2,X_3),\quad P=P(X_1>X_2)$$",
    because=r"The integral agrees with the closed form by $\Phi_2$, with the arc-cosine kernel at $\mu=0$ and with "
    r"draws; its gradients agree with finite differences. For $|\rho|<0.95$ the 8 nodes err by about $10^{-9}s_1s_2$ "
    r"(rms), the first order $\Phi(a)\Phi(b)\,c$ by a tenth of the covariance, and the mask of the means by most of "
    r"it. In a network whose units correlate strongly the full covariance keeps the output's standard deviation within "
    r"a tenth, while exact moments of units taken as independent lose more than half; what is left to it is that sums "
    r"of few rectified units are not Gaussian.",
    instead="the diagonal in training (N15); the full covariance in `npsnn audit --run`, which measures what a network "
    "loses by the diagonal",
    symbols=(
        "npsnn.reference.covariance.affine",
        "npsnn.reference.covariance.rectified_covariance",
        "npsnn.reference.covariance.max_pool",
    ),
    headline="Monte Carlo {Monte Carlo}, 8 nodes {8 nodes}, first order {first order}, mask {mask}",
)
def e5(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    yield from _pair(rng, lab.draws(100_000))
    yield from _pairs(rng)
    yield from _gradients(rng)
    yield from _maxima(rng, lab.draws(50_000))
    yield from _network(rng, lab.draws(10_000))


def _pair(rng: np.random.Generator, draws: int) -> Iterator[Figure]:
    """One pair, the second of which is more often off than on."""
    mu, V = np.array([0.3, -0.2]), np.array([[1.0, 0.63], [0.63, 0.81]])
    y = montecarlo.relu(rng.multivariate_normal(mu, V, draws))
    products = (y[:, 0] - y[:, 0].mean()) * (y[:, 1] - y[:, 1].mean())
    m, joint = covariance.rectified_covariance(mu, V)
    nodes = joint[0, 1]
    pair = mu[0], V[0, 0], mu[1], V[1, 1], V[0, 1]
    yield drawn("Monte Carlo", products.mean(), products.std() / sqrt(draws), nodes)
    yield shown("8 nodes", nodes)
    units = [plain.rectified_moments(float(a), float(v)) for a, v in zip(mu, np.diagonal(V), strict=True)]
    yield error("means and variances against E1", [m, np.diagonal(joint)], np.transpose(units), 1e-12)
    first, mask = covariance.covariance_linearised(*pair), covariance.covariance_masked(mu[0], mu[1], V[0, 1])
    yield shown("first order", float(first))
    yield shown("mask", float(mask))
    yield above("first order off by", abs(float(first) - nodes), 0.02)
    yield above("mask off by", abs(float(mask) - nodes), 0.15)


def _drawn_pairs(rng: np.random.Generator, count: int, most: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    v1, v2 = rng.uniform(0.3, 1.5, (2, count))
    a, b = rng.standard_normal((2, count))
    return a * np.sqrt(v1), v1, b * np.sqrt(v2), v2, rng.uniform(-most, most, count) * np.sqrt(v1 * v2)


def _pairs(rng: np.random.Generator) -> Iterator[Figure]:
    pairs = _drawn_pairs(rng, 3000, 0.95)
    mu1, v1, mu2, v2, c = pairs
    fine, scale = covariance.pair_covariance(*pairs, nodes=64), np.sqrt(v1 * v2)

    def rms(x: Floats) -> float:
        return float(np.sqrt(np.mean((x / scale) ** 2)))

    yield shown("rms covariance", rms(fine))
    yield below("8 nodes, rms error", rms(covariance.pair_covariance(*pairs) - fine), 5e-9)
    first = rms(covariance.covariance_linearised(*pairs) - fine)
    yield near("first order, rms error over the covariance's", first / rms(fine), 0.1, 0.03)
    yield above("mask, rms error", rms(covariance.covariance_masked(mu1, mu2, c) - fine), 0.6 * rms(fine))
    few = list(zip(*(part[:12].tolist() for part in pairs), strict=True))
    yield error("closed form", [covariance.covariance_closed_form(*p) for p in few], fine[:12], 1e-11)
    zero = np.zeros(12)
    kernel = [covariance.arc_cosine(p[1], p[3], p[4]) for p in few]
    centred = covariance.pair_covariance(zero, v1[:12], zero, v2[:12], c[:12]) + scale[:12] / (2 * np.pi)
    yield error("arc-cosine kernel", centred, kernel, 1e-7)


def _gradients(rng: np.random.Generator) -> Iterator[Figure]:
    """By mu1, v1, mu2, v2 and c, in this order."""
    found, wanted = [], []
    for pair in zip(*(part.tolist() for part in _drawn_pairs(rng, 6, 0.9)), strict=True):
        swapped = (*pair[2:4], *pair[:2], pair[4])
        by = covariance.by_mean(*pair), covariance.by_variance(*pair)
        by_other = covariance.by_mean(*swapped), covariance.by_variance(*swapped)
        found.append([*by, *by_other, covariance.by_covariance(*pair)])
        wanted.append(differences.gradient(lambda p: float(covariance.pair_covariance(*p)), np.array(pair)))
    yield error("gradients by differences", found, wanted, 1e-6)


def _maxima(rng: np.random.Generator, draws: int) -> Iterator[Figure]:
    """Two windows of 2 by 2; but for one diagonal of the first and one unit of the other, the units never win.

    So the maximum of the first is that of two correlated units, one from each row and column, and the other's Gaussian.
    """
    factor = rng.standard_normal((8, 6))
    mu, V = 0.5 * rng.standard_normal(8), factor @ factor.T / 6
    mu[[1, 2, 4, 5, 7]] -= 50
    x = rng.multivariate_normal(mu, V, draws)
    pooled = np.stack([x[:, :4].max(axis=1), x[:, 4:].max(axis=1)], axis=1)
    m, S = covariance.max_pool(mu, V, np.arange(8).reshape(2, 2, 2))
    centred = pooled - pooled.mean(axis=0)
    products = np.stack([centred[:, 0] ** 2, centred[:, 0] * centred[:, 1], centred[:, 1] ** 2], axis=1)
    estimates = np.concatenate([pooled, products], axis=1)
    standard_errors = estimates.std(axis=0) / sqrt(draws)
    claims = [*m, S[0, 0], S[0, 1], S[1, 1]]
    yield deviation("maxima, standard errors off", estimates.mean(axis=0), standard_errors, claims)


def _network(rng: np.random.Generator, draws: int) -> Iterator[Figure]:
    """Noise on 24 units, then three layers with weights of a positive mean: the units rise and fall together."""
    mu, V = rng.standard_normal(24), np.full(24, 0.36)
    z = montecarlo.relu(montecarlo.gaussian(mu, V, draws, rng))
    m, V = covariance.rectified_moments(mu, V)
    alone, v = m, V
    for outputs in (24, 24, 6):
        W = (0.7 + rng.standard_normal((outputs, 24))) / sqrt(12)
        b = 0.2 * rng.standard_normal(outputs)
        z = montecarlo.affine(z, W, b)
        m, V = covariance.affine(m, V, W, b)
        alone, v = W @ alone + b, (W * W) @ v
        if outputs == 24:
            z = montecarlo.relu(z)
            m, V = covariance.rectified_covariance(m, V)
            alone, v = covariance.rectified_moments(alone, v)
    sd = sqrt(z.var(axis=0).mean())
    yield near("network, full covariance, sd over Monte Carlo", sqrt(np.trace(V) / 6) / sd, 1, 0.1)
    yield below("network, diagonal, sd over Monte Carlo", sqrt(v.mean()) / sd, 0.5)
    yield below("network, mean error over sd", float(np.abs(m - z.mean(axis=0)).max()) / sd, 0.15)
