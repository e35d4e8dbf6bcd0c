"""Cards of A2SNN's weight-covariance alignment (Eq. 4, Sec. 3.2): what it rewards, and what a prediction needs."""

from collections.abc import Iterator
from math import log, sqrt

import numpy as np

from npsnn import optim
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near
from npsnn.audit.heads import ALIGNMENT, PAIRWISE, Formula, directions, factor, together
from npsnn.reference import a2snn, alignment, differences, gaussian_head, theorem

UNIT_NORM = "npsnn.optim.unit_norm"


def unit_norm(W: Floats) -> Floats:
    """The engine's projection of each row."""
    return np.asarray(optim.unit_norm(W, "l2"))


@checks(
    "A16",
    place="Sec. 3.2",
    title="What the bound asks for",
    verdict="ambiguous",
    uses=("A9", "A10", "A15"),
    printed=r"“We can see from Theorem 1 that increasing” $w^\top\Sigma w$ “reduces the gap between clean and robust "
    r"performance”; in Sec. 1 it tightens the bound on it",
    derived=r"For a fixed $\Delta$ the bound falls, and the largest gap over all margins. The gap of one input, "
    r"$\Phi((\Delta-m)/s)-\Phi(-m/s)$ where $\Delta$ is attained, falls for every $s$ only if $0\le m\le\Delta$; for "
    r"$m>\Delta$ it rises from 0 until $$s^2=\frac{\Delta(2m-\Delta)}{2\ln(m/(m-\Delta))}.$$ And $\Delta$ grows with "
    r"$w$ and with $f$: with $t\,w$ the bound is what it was while $w^\top\Sigma w$ is $t^2$ as large, and with $t f$ "
    "it is $t$ times as large.",
    because="True of the bound. True of the gap for inputs that the attack turns without noise; an input whose "
    r"margin is three times the reach has no gap without noise and one of 0.097 with $s=2.48\,\Delta$: to lower a "
    r"bound is not to lower what it bounds. Larger weights raise $w^\top\Sigma w$ and gain nothing, which is why the "
    "paper projects them (A19); the features have no such constraint, and growing features undo what the noise "
    "gained.",
    instead=r"the form of the bound with the margin (A10), which says which; margins in standard deviations of the "
    r"noise, which no scale changes; bound or normalise the features",
    symbols=("npsnn.reference.theorem.theorem1", "npsnn.reference.theorem.widest_gap_noise"),
    headline="bound {bound} for w, {bound, 10 w} for 10 w, {bound, 10 f} for 10 f, {bound, 10 noise} for 10 L; gap of "
    "a wide margin without noise {gap, next to no noise}, with it {gap, widest}",
)
def a16(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    D, eps = 6, 0.02
    w, x, L = rng.standard_normal(D), rng.standard_normal(D), factor(rng, D)
    x *= np.sign(w @ x)

    def bound(weights: float = 1.0, features: float = 1.0, noise: float = 1.0) -> float:
        s = sqrt(alignment.variance_along(weights * w, noise * L))
        return theorem.theorem1(theorem.linear_reach(weights * features * w, eps, np.inf), s)

    def gap(weights: float, noise: float) -> float:
        return theorem.gap_linear(weights * w, noise * L, weights * float(w @ x), eps, np.inf)

    yield near("bound", bound(), eps * np.abs(w).sum() / sqrt(2 * np.pi) / float(np.linalg.norm(L.T @ w)), 1e-12)
    yield near("bound, 0.1 w", bound(weights=0.1), bound(), 1e-12)
    yield near("bound, 10 w", bound(weights=10), bound(), 1e-12)
    yield near("bound, 10 f", bound(features=10), 10 * bound(), 1e-12)
    yield near("bound, 10 noise", bound(noise=10), bound() / 10, 1e-12)
    yield near("exact gap over itself, 10 w", gap(10, 1) / gap(1, 1), 1, 1e-9)
    ratio = alignment.variance_along(10 * w, L) / alignment.variance_along(w, L)
    yield near("variance ratio, 10 w", ratio, 100, 1e-9)
    noise, m, reach = rng.standard_normal((lab.draws(100_000), D)) @ L.T @ w, float(w @ x), eps * np.abs(w).sum()
    share, wanted = float(np.mean(noise <= reach - m) - np.mean(noise <= -m)), gap(1, 1)
    yield drawn("gap by draws", share, sqrt(wanted * (1 - wanted) / len(noise)), wanted)
    found = noise.var()
    yield deviation("variance, in standard errors", found, found * sqrt(2 / len(noise)), alignment.variance_along(w, L))
    yield from _gap_and_noise(rng.standard_normal(lab.draws(100_000)))


def _gap_and_noise(z: Floats) -> Iterator[Figure]:
    """The gap of margins inside and beyond a reach of 1 as the noise grows: by the formula, and by draws."""
    s = np.geomspace(0.02, 50, 400)
    inside, beyond = (np.array([theorem.gap(m, np.array([m - 1]), float(r)) for r in s]) for m in (0.6, 3.0))
    yield below("gap inside the reach, steepest rise", np.diff(inside).max(), 0)
    widest = theorem.widest_gap_noise(3, 1)
    yield near("noise of the widest gap, by a grid", s[beyond.argmax()] / widest, 1, 0.02)
    yield near("noise of the widest gap", widest, 2.483, 1e-3)
    yield below("gap, next to no noise", beyond[0], 1e-12)
    share = float(np.mean((2 + widest * z <= 0) != (3 + widest * z <= 0)))
    wanted = theorem.gap(3, np.array([2.0]), widest)
    yield near("gap, widest", wanted, 0.0968, 1e-4)
    yield drawn("Monte Carlo, widest", share, sqrt(wanted * (1 - wanted) / len(z)), wanted)


@checks(
    "A17",
    place="Eq. 4",
    title="Weight-covariance alignment",
    verdict="wrong",
    uses=("A3", "A10", "A16", "E4"),
    printed=r"$$\mathcal L_{WCA}=\sum_{i=1}^C\ln(w_i^\top\Sigma w_i),$$ by which, for $C$ classes, “the key insight of "
    r"Theorem 1” is “operationalized”",
    derived=r"A prediction moves with differences of logits, so that the $w$ of the binary Theorem 1 becomes "
    r"$w_i-w_j$: $$\sum_{i<j}\ln((w_i-w_j)^\top\Sigma(w_i-w_j))$$",
    because=r"Eq. 4 is a definition, and as algebra it is sound: gradients $2\Sigma w_i/q_i$ and $\sum_i2w_iw_i^\top "
    r"L/q_i$ with $q_i=w_i^\top\Sigma w_i$. Wrong is what it is said to be for: it is not the theorem's quantity for "
    r"more than one score. Noise $100\,uu^\top$ with $Wu=(1,\dots,1)^\top$ raises it without limit, while no "
    "difference of logits, win probability or prediction changes.",
    instead=r"the pairwise form is offered beside Eq. 4; times $2/(C-1)$ it has as many terms as Eq. 4, so that "
    r"$\lambda_2$ keeps its scale",
    symbols=(ALIGNMENT, PAIRWISE, "npsnn.reference.alignment.difference_variance"),
    headline="Eq. 4 raised by {Eq. 4 raised by}, pairwise form by {pairwise raised by}, predictions changed "
    "{predictions changed}",
)
def a17(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    C, D = 10, 12
    W, L = directions(rng, C, D), factor(rng, D)
    u = np.linalg.pinv(W) @ np.ones(C)
    inflated = np.asarray(np.linalg.cholesky(alignment.covariance(L) + 100 * np.outer(u, u)), np.float64)
    for side, (wca, pairwise) in together(
        (alignment.alignment_slopes, ALIGNMENT), (alignment.pairwise_slopes, PAIRWISE)
    ):
        own = np.diag(gaussian_head.covariance(W, L))
        rise = wca(W, inflated)[0] - wca(W, L)[0]
        yield near(f"{side}Eq. 4 raised by", rise, float(np.log(1 + 100 / own).sum()), 1e-9)
        yield near(f"{side}pairwise raised by", pairwise(W, inflated)[0] - pairwise(W, L)[0], 0, 1e-9)
        _, dW, dL = wca(W, L)
        yield near(f"{side}Euler, each class", np.abs((W * dW).sum(axis=1) - 2).max(), 0, 1e-12)
        yield near(f"{side}Euler, factor", (L * dL).sum(), 2 * C, 1e-10)
        yield from _slopes(f"{side}Eq. 4", wca, W[:3, :5], L[:5, :5])
        yield from _slopes(f"{side}pairwise", pairwise, W[:3, :5], L[:5, :5])
    feature, b, eps = rng.standard_normal(D), np.zeros(C), rng.standard_normal((lab.draws(20_000), D))
    noisy, shift = feature + eps @ L.T, 10 * rng.standard_normal((len(eps), 1)) * u
    before, after = a2snn.logits(noisy, W, b), a2snn.logits(noisy + shift, W, b)
    yield below("predictions changed", (before.argmax(axis=1) != after.argmax(axis=1)).sum(), 0)
    wins = [gaussian_head.win_probabilities(2, feature, W, b, m) for m in (L, inflated)]
    yield error("win probabilities", wins[1], wins[0], 1e-9)
    S, raised = gaussian_head.covariance(W, L), gaussian_head.covariance(W, inflated)
    common = alignment.common_variance(raised) - alignment.common_variance(S)
    yield near("common mode, variance raised by", common, 100 * C, 1e-8)
    apart = alignment.difference_variance(raised) - alignment.difference_variance(S)
    yield near("differences, variance raised by", apart, 0, 1e-9)
    pairs = [alignment.variance_along(W[i] - W[j], L) for i in range(C) for j in range(i)]
    yield near(
        "differences, over half of a pair's", 2 * alignment.difference_variance(S) * len(pairs) / sum(pairs), 1, 1e-9
    )


def _slopes(name: str, f: Formula, W: Floats, L: Floats) -> Iterator[Figure]:
    _, dW, dL = f(W, L)
    yield error(f"{name}, dW", dW, differences.gradient(lambda w: float(f(w, L)[0]), W), 1e-7)
    yield error(f"{name}, dL", dL, np.tril(differences.gradient(lambda m: float(f(W, m)[0]), L)), 1e-7)


@checks(
    "A18",
    place="Sec. 3.2",
    title="Which alignment maximises Eq. 4",
    verdict="wrong",
    uses=("A17", "A19"),
    printed=r"Eq. 4 is maximised when each $w_i$ is well aligned with the eigenvectors of $\Sigma$.",
    derived=r"For unit norms and a given $\Sigma$ every set of eigenvectors is stationary, but $\max\mathcal "
    r"L_{WCA}=C\ln\lambda_1$, and it is attained only where every $w_i$ is plus or minus the eigenvector of the "
    r"largest eigenvalue $\lambda_1$.",
    because="Alignment with eigenvectors is not enough: with every $w_i$ on that of the smallest eigenvalue the term "
    "is at its minimum, and with each class on an eigenvector of its own at a saddle, where a tilt of $w_i$ towards "
    "the top one raises it and one down the spectrum lowers it. Ascent from next to there with the paper's "
    "projection turns all class vectors into one line, on which no more than two classes are ever predicted; only "
    "the cross-entropy opposes that.",
    instead=r"watch the mean absolute cosine between class vectors; the pairwise form of A17 has no reward for equal "
    r"rows",
    symbols=(ALIGNMENT, UNIT_NORM),
    headline="Eq. 4 on own eigenvectors {own eigenvectors}, after ascent {after ascent}, with cosines to the top one "
    "of {smallest cosine with the top} or more",
)
def a18(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    C, size = 4, np.array([2.0, 1.4, 1.0, 0.7, 0.5, 0.3])
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    L = np.linalg.cholesky(axes * size @ axes.T)
    own = axes.T[:C]
    tilt = 0.1 * rng.standard_normal(own.shape)
    for side, (wca, unit) in together((alignment.alignment_slopes, ALIGNMENT), (alignment.unit_norm, unit_norm)):
        value, dW, _ = wca(own, L)
        yield near(f"{side}own eigenvectors", value, float(np.log(size[:C]).sum()), 1e-9)
        yield near(f"{side}tangential slope there", np.abs(dW - (own * dW).sum(axis=1)[:, None] * own).max(), 0, 1e-9)
        W = unit(own + tilt)
        for _ in range(150):
            W = unit(W + 0.5 * wca(W, L)[1])
        yield near(f"{side}after ascent", wca(W, L)[0], C * log(size[0]), 1e-6)
        yield near(f"{side}smallest cosine with the top", np.abs(W @ axes[:, 0]).min(), 1, 1e-6)
        most = max(wca(unit(rng.standard_normal(own.shape)), L)[0] for _ in range(50))
        yield below(f"{side}most of 50 random sets", most, C * log(size[0]))
        bottom = wca(unit(axes[:, -1] + 1e-6 * tilt), L)[0]
        yield near(f"{side}all on the smallest eigenvector", bottom, C * log(size[-1]), 1e-9)
        least = min(wca(unit(rng.standard_normal(own.shape)), L)[0] for _ in range(50))
        yield above(f"{side}least of 50 random sets", least, bottom)
        for name, towards in (("up", 0), ("down", 3)):
            turned = own.copy()
            turned[1] = np.cos(0.1) * own[1] + np.sin(0.1) * axes[:, towards]
            change = wca(turned, L)[0] - value
            yield near(f"{side}tilted {name}", change, log(1 + np.sin(0.1) ** 2 * (size[towards] / size[1] - 1)), 1e-9)


@checks(
    "A19",
    place="Sec. 3.2",
    title="Unit norm of the class vectors",
    verdict="correct",
    uses=("A17",),
    printed=r"$$w_i=\frac1{\lVert w_i'\rVert_2}w_i'$$",
    derived=r"As printed. The projection takes out what Eq. 4 gains by norm alone: "
    r"$w_i\cdot\partial\mathcal L_{WCA}/\partial w_i=2$, a radial slope of exactly $2/\lVert w_i\rVert$, whatever "
    r"$\Sigma$ is.",
    because=r"Without it $t W$ raises Eq. 4 by $2C\ln t$. After a step $w+\eta g$ the projected vector is "
    r"$w+\eta g_\perp/(1+\eta g_r)$ up to terms of second order, $g_r$ the radial slope: only alignment is left.",
    instead=r"project at the start and after every step of the optimiser; biases stay as they are",
    symbols=(UNIT_NORM, ALIGNMENT),
    headline="radial slope times norm {radial slope times norm}; Eq. 4 gains {Eq. 4 gained by 3 W} by 3 W; norm after "
    "the projection {norm after projection}",
)
def a19(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    C, D = 5, 7
    L, loose = factor(rng, D), rng.uniform(0.3, 3, (C, 1)) * directions(rng, C, D)
    for side, (unit, wca) in together((alignment.unit_norm, unit_norm), (alignment.alignment_slopes, ALIGNMENT)):
        yield from _projection(side, unit, wca, loose, L)


def _projection(side: str, unit: Formula, wca: Formula, loose: Floats, L: Floats) -> Iterator[Figure]:
    C = len(loose)
    value, dW, _ = wca(loose, L)
    size = np.linalg.norm(loose, axis=1)
    yield near(f"{side}radial slope times norm", (loose * dW).sum(axis=1).max(), 2, 1e-12)
    radial = differences.slope(lambda t: float(wca((1 + t) * loose, L)[0]))
    yield near(f"{side}radial slope by differences", radial / C, 2, 1e-8)
    yield near(f"{side}Eq. 4 gained by 3 W", wca(3 * loose, L)[0] - value, 2 * C * log(3), 1e-9)
    W = unit(loose)
    yield near(f"{side}norm after projection", np.linalg.norm(W, axis=1).max(), 1, 1e-12)
    yield error(f"{side}direction kept", W * size[:, None], loose, 1e-12)
    yield error(f"{side}projected twice", unit(W), W, 1e-12)
    g = wca(W, L)[1]
    across = g - (W * g).sum(axis=1)[:, None] * W
    off = [np.abs(unit(W + eta * g) - W - eta * across / (1 + 2 * eta)).max() for eta in (1e-2, 1e-3)]
    yield below(f"{side}first order, step 0.01", off[0], 1e-3 * np.abs(across).max())
    yield near(f"{side}order of what is left", np.log10(off[0] / off[1]), 2, 0.1)
