"""Card of the noise paper's max pooling (Sec. 2.1): its variance, its ties, and its order with ReLU."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, drawn, error, near
from npsnn.ops import gaussian, pool
from npsnn.reference import montecarlo, plain


@checks(
    "N17",
    place="Sec. 2.1",
    title="Maximum of the means",
    verdict="approximation",
    uses=("N14", "E1", "E2"),
    printed="the maximum of the mean value in each region; nothing on the variance, nor on ties",
    derived=r"$P(\max_iX_i\le y)=\prod_i\Phi\left(\frac{y-\mu_i}{\sigma_i}\right)$ for independent $X_i$; by pairs, "
    r"Clark's moments (E2)",
    because=r"The mean of the largest exceeds the largest mean: of four independent $\mathcal N(0,1)$ it is 1.029 with "
    r"standard deviation 0.701, against 0 and, with the winner's variance, 1. A tree of pairs gives mean 1.0300 and "
    r"variance 0.4647 (true 0.4917). After the printed ReLU many means are 0, the variances of such a tie differ, "
    r"and the rule that breaks it, unstated, decides; so does the order of pooling and ReLU (Sec. 3.1 has ReLU first).",
    instead=r'pooling before ReLU (of values the order does not matter), by pairs: rule "exact" with E2; rule '
    r'"laplace" '
    r"with the winner's variance, ties to the smallest column, then to the smallest row",
    symbols=("npsnn.ops.pool.max_pool", "npsnn.ops.gaussian.maximum_winner", "npsnn.ops.gaussian.maximum_clark"),
    headline="mean: Monte Carlo {Monte Carlo mean}, integrated {integrated}, Clark's tree {Clark's tree}, printed "
    "{printed}",
)
def n17(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    draws = rng.standard_normal((lab.draws(100_000), 4))
    found = montecarlo.estimate(draws.max(axis=1))
    mean, var = plain.maximum_moments_by_integration([0.0] * 4, [1.0] * 4)
    zeros, ones = np.zeros((2, 1, 2, 1)), np.ones((2, 1, 2, 1))
    tree, printed = (_pooled(zeros, ones, rule) for rule in (gaussian.EXACT, gaussian.LAPLACE))
    yield drawn("Monte Carlo mean", float(found.mean), float(found.mean_error), mean)
    yield near("integrated", mean, 1.0294, 5e-5)
    yield near("Clark's tree", tree[0], 1.03, 5e-5)
    yield near("printed", printed[0], 0, 0)
    yield drawn("Monte Carlo variance", float(found.var), float(found.var_error), var)
    yield near("integrated sd", np.sqrt(var), 0.7012, 5e-5)
    yield near("Clark's tree, variance", tree[1], 0.4647, 5e-5)
    yield near("printed, variance of the winner", printed[1], 1, 0)
    yield above("printed mean off by, in standard errors", float(found.mean / found.mean_error), 100)
    yield from _windows(rng)
    yield from _ties()
    yield from _orders(draws, zeros, ones)


def _pooled(mean: Floats, var: Floats, rule: gaussian.Rule) -> Floats:
    """Mean and variance of one window."""
    return np.reshape(np.array(pool.max_pool(mean, var, 2, rule)[:2], np.float64), 2)


def _windows(rng: np.random.Generator) -> Iterator[Figure]:
    """Windows of any means and variances: the engine, and how far the rules are from integration."""
    count = 12
    mean, var = rng.uniform(-1, 1, (2, 1, 2, count)), rng.uniform(0.3, 2, (2, 1, 2, count))
    wanted = [
        plain.maximum_moments_by_integration(list(m), list(v))
        for m, v in zip(mean.reshape(4, -1).T, var.reshape(4, -1).T, strict=True)
    ]
    true = np.transpose(wanted)
    for rule, name in ((gaussian.EXACT, "Clark"), (gaussian.LAPLACE, "printed")):
        found = np.array(pool.max_pool(mean, var, 2, rule)[:2], np.float64).reshape(2, -1)
        loops = plain.max_pool_moments(mean.transpose(3, 1, 0, 2), var.transpose(3, 1, 0, 2), 2, rule.name)
        yield error(f"engine, {name}", found, np.reshape(loops, (2, -1)), 1e-11)
        off = float(np.abs(found[0] - true[0]).max())
        yield below("Clark's means off by", off, 0.05) if name == "Clark" else above("printed means off by", off, 0.3)


def _ties() -> Iterator[Figure]:
    """All means negative: after the printed ReLU all are 0, and only the right column's units keep their variance."""
    mean, var = np.array([[-4.0, -1], [-5, -2]]).reshape(2, 1, 2, 1), np.ones((2, 1, 2, 1))
    rectified = gaussian.rectified_laplace(mean, var)[:2]
    yield near("ReLU first, variance of the first of a tie", _pooled(*rectified, gaussian.LAPLACE)[1], 0, 0)
    mirrored = rectified[0][:, :, ::-1], rectified[1][:, :, ::-1]
    yield near("ReLU first, variance of the last of a tie", _pooled(*mirrored, gaussian.LAPLACE)[1], 1, 0)
    yield near("pooling first, variance", gaussian.rectified_laplace(*_pooled(mean, var, gaussian.LAPLACE))[1], 1, 0)
    numbered = np.arange(1.0, 5).reshape(2, 1, 2, 1)
    yield near("ties go to the smallest column", _pooled(0 * numbered, numbered, gaussian.LAPLACE)[1], 1, 0)
    corner = np.array([[-1.0, 0], [0, 0]]).reshape(2, 1, 2, 1)
    yield near("and then to the smallest row", _pooled(corner, numbered, gaussian.LAPLACE)[1], 3, 0)


def _orders(draws: Floats, zeros: Floats, ones: Floats) -> Iterator[Figure]:
    """Variance of the rectified maximum of four N(0, 1), by both orders under both rules."""
    found = montecarlo.estimate(montecarlo.relu(draws).max(axis=1))
    _, true = plain.maximum_moments_by_integration([0.0] * 5, [1.0] * 4 + [0.0])
    yield drawn("ReLU and maximum, Monte Carlo variance", float(found.var), float(found.var_error), true)
    other = montecarlo.relu(draws.max(axis=1))
    yield near("of values, the other order differs by", np.abs(other - montecarlo.relu(draws).max(axis=1)).max(), 0, 0)
    tree = _pooled(zeros, ones, gaussian.EXACT)[:, None]
    yield near("Clark, then E1", gaussian.rectified_moments(tree[0], tree[1])[1][0], 0.4139, 5e-5)
    exact = gaussian.rectified_moments(zeros, ones)[:2]
    yield near("E1, then Clark", _pooled(*exact, gaussian.EXACT)[1], 0.1584, 5e-5)
    yield near("E1, then the winner", _pooled(*exact, gaussian.LAPLACE)[1], 0.3408, 5e-5)
    printed = gaussian.rectified_laplace(zeros, ones)[:2]
    yield near("printed ReLU, then the winner", _pooled(*printed, gaussian.LAPLACE)[1], 1, 0)
