"""Card of extension E3: what A2SNN's classifier does, without drawing its noise."""

from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np

from npsnn.audit import noisy_head
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.audit.heads import Formula, directions, factor, together
from npsnn.ops import loss as engine
from npsnn.reference import a2snn, differences, gaussian_head, loss

EXPECTED = "npsnn.ops.expected.expected_cross_entropy"


@checks(
    "E3",
    place="A2SNN Sec. 3",
    title="Closed forms of the noisy classifier",
    verdict="correct",
    uses=("A3", "A12", "A20"),
    printed=r"Not in the paper, which draws the noise, and averages 50 draws for an attack's gradient (Sec. 4.1).",
    derived=r"With $h\sim\mathcal N(m,S)$, $m=Wf+b$, $S=W\Sigma W^\top$, $d_i=w_k-w_i$, $s_i^2=d_i^\top\Sigma d_i$: "
    r"$$P(h_k>h_i)=\Phi(u_i),\qquad u_i=\frac{d_i^\top f+b_k-b_i}{s_i},\qquad\frac{\partial u_i}{\partial "
    r"f}=\frac{d_i}{s_i},\qquad\frac{\partial u_i}{\partial d_i}=\frac f{s_i}-\frac{u_i\Sigma d_i}{s_i^2},\qquad"
    r"\frac{\partial u_i}{\partial L}=-\frac{u_i}{s_i^2}\operatorname{tril}(d_id_i^\top L)$$ "
    r"$$\nabla_m\mathbb E[CE]=\mathbb E[p]-e_k,\qquad\nabla_S\mathbb E[CE]=\frac12\mathbb "
    r"E[\operatorname{diag}(p)-pp^\top],\qquad\frac{d\,\mathbb E[CE]}{dL}=\operatorname{tril}(W^\top\mathbb "
    r"E[\operatorname{diag}(p)-pp^\top]WL)$$",
    because=r"Win probabilities agree with draws, and every gradient with differences. $P(\mathrm{correct})$ lies "
    r"between $1-\sum_i(1-P_i)$ and $\min_iP_i$, and above $\prod_iP_i$ where no two differences of logits are "
    r"negatively correlated. The second order of the expected cross-entropy is good up to a standard deviation of the "
    r"logits of about 1; 64 Sobol points beat 50 draws at every level, and are the same each time.",
    instead=r"the gradient of $\sum_i\ln\Phi(u_i)$ or of $\mathbb E[CE]$ for attacks, in place of averaged draws",
    symbols=(
        "npsnn.ops.loss.log_win_probability",
        "npsnn.ops.loss.win_probability",
        EXPECTED,
        "npsnn.objectives.win_probability",
        "npsnn.objectives.expected_cross_entropy",
        "npsnn.objectives.sobol_normal",
        "npsnn.objectives.least_win_probability",
        "npsnn.layers.noise.FeatureNoise",
        "npsnn.layers.affine.Linear",
        "npsnn.ops.linear.full_covariance",
        "npsnn.ops.linear.full_covariance_backward",
    ),
    headline="P(correct): Monte Carlo {Monte Carlo P(correct)}, bounds {lower bound} and {upper bound}; error of 64 "
    "Sobol points over that of 50 draws {Sobol 64 over 50 draws, sd 1.8}",
)
def e3(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    yield from _wins(rng, lab.draws(20_000))
    yield from _win_slopes(rng)
    yield from _correct(rng, lab.draws(20_000))
    yield from _second_order(rng)
    for side, (expected,) in together((gaussian_head.expected_cross_entropy, EXPECTED)):
        yield from _expected(side, expected, rng)
    yield from _levels(rng, lab.draws(10_000))
    yield from noisy_head.whole_gradients(noisy_head.drawn_head(rng, 3, 4, 5))
    yield from noisy_head.points()


def _head(rng: np.random.Generator, C: int, D: int) -> tuple[Floats, Floats, Floats, Floats]:
    """f, W, b and L of a classifier that is not sure of anything."""
    return rng.standard_normal(D), rng.standard_normal((C, D)), rng.standard_normal(C), factor(rng, D)


def _wins(rng: np.random.Generator, count: int) -> Iterator[Figure]:
    f, W, b, L = _head(rng, 5, 6)
    k = 2
    H = a2snn.logits(f + rng.standard_normal((count, 6)) @ L.T, W, b)
    wins = gaussian_head.win_probabilities(k, f, W, b, L)
    found = (H[:, [k]] > np.delete(H, k, axis=1)).mean(axis=0)
    yield deviation(
        "win probabilities, in standard errors", found, np.sqrt(wins * (1 - wins) / count) + 1 / count, wins
    )
    m, S = gaussian_head.mean(f, W, b), gaussian_head.covariance(W, L)
    mean_win, _, _ = engine.win_probability(m[:, None], S[..., None], np.array([k]))
    yield near("engine, mean win probability", mean_win[0], wins.mean(), 1e-12)
    total, _, _ = engine.log_win_probability(m[:, None], S[..., None], np.array([k]))
    yield near("engine, sum of logarithms", total[0], gaussian_head.log_wins(k, f, W, b, L), 1e-10)
    for u, wanted in ((-40.0, 40.02497), (-200.0, 200.005)):
        yield near(f"slope of ln Phi at {u:g}", gaussian_head.mills(u), wanted, 1e-4)


def _win_slopes(rng: np.random.Generator) -> Iterator[Figure]:
    f, W, b, L = _head(rng, 4, 5)
    k = 1
    slopes = gaussian_head.log_wins_slopes(k, f, W, b, L)
    numeric = a2snn.Slopes(
        differences.gradient(lambda x: gaussian_head.log_wins(k, x, W, b, L), f),
        differences.gradient(lambda x: gaussian_head.log_wins(k, f, x, b, L), W),
        differences.gradient(lambda x: gaussian_head.log_wins(k, f, W, x, L), b),
        np.tril(differences.gradient(lambda x: gaussian_head.log_wins(k, f, W, b, x), L)),
    )
    m, S = gaussian_head.mean(f, W, b), gaussian_head.covariance(W, L)
    _, dm, dS = engine.log_win_probability(m[:, None], S[..., None], np.array([k]))
    assert dS is not None
    chained = gaussian_head.chain(dm[:, 0], dS[..., 0], f, W, L)
    for name in ("f", "W", "b", "L"):
        yield error(f"gradient by {name}", getattr(slopes, name), getattr(numeric, name), 1e-6)
        yield error(f"engine, gradient by {name}", getattr(chained, name), getattr(slopes, name), 1e-10)


def _correct(rng: np.random.Generator, count: int) -> Iterator[Figure]:
    C, D, k = 4, 6, 0
    W = np.linalg.qr(rng.standard_normal((D, C)))[0].T
    f, b, L = 1.4 * W[k] + 0.1 * rng.standard_normal(D), np.zeros(C), 0.8 * np.eye(D)
    wins = gaussian_head.win_probabilities(k, f, W, b, L)
    union, product, most = gaussian_head.correct_bounds(wins)
    H = a2snn.logits(f + rng.standard_normal((count, D)) @ L.T, W, b)
    found = (H.argmax(axis=1) == k).mean()
    off = 5 * sqrt(found * (1 - found) / count)
    yield Figure("Monte Carlo P(correct)", found, max(union, product) - off, most + off)
    yield shown("lower bound", product)
    yield shown("upper bound", most)
    yield below("union bound below the product", union - product, 0)
    yield error("bounds for two classes", gaussian_head.correct_bounds(wins[:1]), wins[[0, 0, 0]], 1e-12)
    m = 0.5 * rng.standard_normal(3)
    S = 0.5 * np.eye(3) + gaussian_head.covariance(rng.standard_normal((3, 4)), factor(rng, 4))
    H = rng.multivariate_normal(m, S, count)
    found = (H.argmax(axis=1) == 2).mean()
    p = gaussian_head.correct_probability(m, S, 2)
    yield drawn("Monte Carlo P(correct), 3 classes", found, sqrt(p * (1 - p) / count) + 1 / count, p)
    by_mean = differences.gradient(lambda x: gaussian_head.correct_probability(x, S, 2), m, step=0.02)
    slopes = [-gaussian_head.correct_probability_slope(m, S, 2, i) for i in (0, 1)]
    yield error("gradient of P(correct)", slopes, by_mean[:2], 1e-4)


def _second_order(rng: np.random.Generator) -> Iterator[Figure]:
    m, S = rng.standard_normal(4), gaussian_head.covariance(rng.standard_normal((4, 5)), factor(rng, 5, 0.3))
    numeric = differences.gradient(lambda x: gaussian_head.cross_entropy_second_order(x, S, 1), m)
    yield error("second order, gradient", gaussian_head.cross_entropy_second_order_slope(m, S, 1), numeric, 1e-7)
    points, tiny = gaussian_head.sobol(512, 4), 1e-4 * S
    noise_free = loss.cross_entropy(m, 1)
    rise = float(np.mean([loss.cross_entropy(h, 1) for h in gaussian_head.nodes(m, tiny, points)])) - noise_free
    second = gaussian_head.cross_entropy_second_order(m, tiny, 1) - noise_free
    yield near("second order, rise over that of little noise", second / rise, 1, 0.02)


def _expected(side: str, expected: Formula, rng: np.random.Generator) -> Iterator[Figure]:
    f, W, b, L = _head(rng, 3, 4)
    L, labels = 0.4 * L, np.array([2])
    points = gaussian_head.sobol(512, 3)

    def slopes(L: Floats, f: Floats = f) -> Any:
        m, S = gaussian_head.mean(f, W, b), gaussian_head.covariance(W, L)
        return expected(m[:, None], S[..., None], labels, points)

    m, S = gaussian_head.mean(f, W, b), gaussian_head.covariance(W, L)
    value, dm, dS = slopes(L)
    chained = gaussian_head.chain(dm[:, 0], dS[..., 0], f, W, L)
    by_factor = gaussian_head.expected_cross_entropy_by_factor(W, L, gaussian_head.expected_curvature(m, S, points))
    yield error(f"{side}gradient of E[CE] by L, chained", chained.L, by_factor, 1e-12)
    turn = np.tril(rng.standard_normal(L.shape))
    along = differences.slope(lambda t: float(slopes(L + t * turn)[0][0]), step=0.05)
    found, reach = float((by_factor * turn).sum()), 0.02 * float(np.abs(by_factor).sum())
    yield near(f"{side}slope of E[CE] along a change of L", found, along, reach)
    by_feature = differences.gradient(lambda x: float(slopes(L, x)[0][0]), f)
    yield error(f"{side}gradient of E[CE] by f", chained.f, by_feature, 1e-7)
    yield above(f"{side}E[CE] less the noise-free loss", value[0] - loss.cross_entropy(m, 2), 0)


def _levels(rng: np.random.Generator, count: int) -> Iterator[Figure]:
    """Error of the gradient by f at several standard deviations of the logits, relative to its size."""
    C, D, k = 10, 32, 3
    W, b = directions(rng, C, D), np.zeros(C)
    f = 2 * W[k] + 0.2 * rng.standard_normal(D)
    points, eps = gaussian_head.sobol(64, C), rng.standard_normal((count, C))
    for sd in (0.3, 0.9, 1.8, 3.6):
        m, S = gaussian_head.mean(f, W, b), gaussian_head.covariance(W, sd * np.eye(D))
        each = (a2snn.softmax(gaussian_head.nodes(m, S, eps)) - np.eye(C)[k]) @ W
        truth = each.mean(axis=0)
        size = float(np.linalg.norm(truth))
        of_draws = sqrt(float(each.var(axis=0).sum()) / 50) / size
        by_points = (gaussian_head.expected_probabilities(m, S, points) - np.eye(C)[k]) @ W
        second = gaussian_head.cross_entropy_second_order_slope(m, S, k) @ W
        found = float(np.linalg.norm(by_points - truth)) / size
        yield below(f"Sobol 64 over 50 draws, sd {sd}", found / of_draws, 1)
        off, name = float(np.linalg.norm(second - truth)) / size, f"second order off by, sd {sd}"
        yield below(name, off, 0.05) if sd < 1 else above(name, off, 0.3 if sd > 3 else 0)
