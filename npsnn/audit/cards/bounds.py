"""Cards of the bounds on the gap: A2SNN's Theorem 1, its last steps (App. A), and many classes (extension E4)."""

from collections.abc import Callable, Iterator
from math import pi, sqrt
from typing import Any

import numpy as np

from npsnn.audit import noisy_head
from npsnn.audit.card import MOST_ERRORS, Figure, Floats, Lab, below, checks, error, near, shown
from npsnn.audit.cards.theorem import ROUNDING, scene, standard_error
from npsnn.audit.engine import sides
from npsnn.reference import differences, plain, theorem


def _sides(*names: str) -> dict[str, list[Callable[..., Any]]]:
    """These functions of the reference by a prefix for figures, "", and, once it has any of them, of the engine."""
    found = [sides(getattr(theorem, name), f"npsnn.bounds.{name}") for name in names]
    there = {"": "reference"} | ({"engine ": "engine"} if any("engine" in f for f in found) else {})
    return {prefix: [f.get(side, f["reference"]) for f in found] for prefix, side in there.items()}


@checks(
    "A10",
    place="Theorem 1",
    title="Bound on the gap",
    verdict="correct",
    uses=("A9", "A11", "A15"),
    printed=r"$$G_{p,\epsilon}^h(x,y)\le\frac{\Delta_p^h(x,\epsilon)}{\sqrt{2\pi\,w^\top\Sigma w}}$$",
    derived=r"$$G\le2\,\Phi\left(\frac{\Delta}{2s}\right)-1\le\frac{\Delta}{s\sqrt{2\pi}},\quad s=\sqrt{w^\top\Sigma "
    r"w},$$ and with the margin $m$ known $G\le\Phi((\Delta-m)/s)-\Phi(-m/s)$",
    because="No violation in random cases nor by simulation, so the theorem is correct; it is not tight. It says "
    r"nothing from $\Delta/s=\sqrt{2\pi}\approx2.5066$ on, where it passes 1. The tight form costs nothing and is "
    r"attained at the margin $\Delta/2$. A small gap is not robustness: as $s$ grows, clean inputs are misread half of "
    "the time too.",
    instead="the form with the margin where it is known, the tight form where it is not",
    symbols=("npsnn.bounds.theorem1", "npsnn.bounds.binary_tight", "npsnn.bounds.binary_with_margin"),
    headline="violations {violations}; at 2 sd: printed {Theorem 1 at 2 sd}, tight {tight at 2 sd}; vacuous from "
    "{vacuous from} sd",
)
def a10(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    n = lab.draws(3000)
    m, delta, s = rng.normal(0, 2, n), rng.exponential(1.0, n), rng.uniform(0.1, 2, n)
    for prefix, (bound, tight, known) in _sides("theorem1", "binary_tight", "binary_with_margin").items():
        excess = [
            (known(d, r, a) > tight(d, r) + ROUNDING) + (tight(d, r) > bound(d, r) + ROUNDING)
            for a, d, r in zip(m, delta, s, strict=True)
        ]
        yield below(f"{prefix}violations", sum(excess), 0)
        yield near(f"{prefix}Theorem 1 at 2 sd", bound(2.0, 1.0), 0.7979, 1e-4)
        yield near(f"{prefix}tight at 2 sd", tight(2.0, 1.0), 0.6827, 1e-4)
        yield near(f"{prefix}vacuous from", 1 / bound(1.0, 1.0), sqrt(2 * pi), 1e-12)
        rises = [known(d, r, d / 2) for d, r in zip(delta, s, strict=True)]
        attained = [tight(d, r) for d, r in zip(delta, s, strict=True)]
        yield error(f"{prefix}tight form at the margin of half the reach", attained, rises, 1e-12)
        exact = [theorem.gap(a, np.array([a - d]), r) for a, d, r in zip(m, delta, s, strict=True)]
        found = [known(d, r, a) for a, d, r in zip(m, delta, s, strict=True)]
        yield error(f"{prefix}form with the margin, where the reach is attained", found, exact, 1e-12)
        steepest = bound(1e-3, 0.7) / known(1e-3, 0.7, 5e-4)
        yield near(f"{prefix}Theorem 1 over the gap, for little reach", steepest, 1, 1e-6)
    yield from _simulated(lab.draws(20_000), rng)


def _simulated(draws: int, rng: np.random.Generator) -> Iterator[Figure]:
    """By how many standard errors the gap of non-linear scores passes the margin form; it is next to attained there."""
    worst = []
    for _ in range(8):
        c = scene(rng, draws)
        rise = c.errors.max() - np.mean(c.margin + c.y * c.noise <= 0)
        known = theorem.binary_with_margin(c.delta, c.s, c.margin)
        worst.append((rise - known) / standard_error(known, draws))
    yield below("simulated gap over the bound, in standard errors", max(worst), 5)


@checks(
    "A15",
    place="Eq. 6, Eq. 7",
    title="From the reach to the bound",
    verdict="correct",
    uses=("A9", "A12", "A13", "A14"),
    printed=r"$$G\le\Phi\left(\frac{-m+\Delta}{s}\right)-\Phi\left(\frac{-m}{s}\right)\le\frac{\Delta}{s\sqrt{2\pi}}$$"
    r" because the Lipschitz constant of $\Phi$ is $1/\sqrt{2\pi}$; $m=y(w^\top f(x)+b)$, $s=\sqrt{w^\top\Sigma w}$",
    derived="as printed",
    because=r"The steepest slope of $\Phi$, by differences over a grid, is $\varphi(0)=1/\sqrt{2\pi}$, and no chord is "
    "steeper. Eq. 6 and the line after it hold for every simulated score.",
    instead="the line before Eq. 7, which knows the margin",
    symbols=("npsnn.bounds.binary_with_margin",),
    headline="steepest slope {steepest slope}, printed {Eq. 7 at 1}, violations {violations}",
)
def a15(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    slopes = [differences.slope(plain.Phi, float(t)) for t in np.linspace(-6, 6, 601)]
    yield near("steepest slope", max(slopes), 1 / sqrt(2 * pi), 1e-9)
    yield near("Eq. 7 at 1", theorem.theorem1(1.0, 1.0), max(slopes), 1e-9)
    a, b = rng.normal(0, 1.5, (2, 3000))
    chords = [abs(plain.Phi(float(p)) - plain.Phi(float(q))) / abs(p - q) for p, q in zip(a, b, strict=True)]
    yield below("steepest chord", max(chords), 1 / sqrt(2 * pi) + 1e-9)
    scenes = [scene(rng, 10) for _ in range(20)]
    slack = [theorem.error_bound(c.margin, c.delta, c.s) - theorem.worst_error(c.attacked, c.s) for c in scenes]
    # the reach is the largest change in either direction, and in some scenes it is a fall of the margin
    yield near("least slack of Eq. 6", min(slack), 0, ROUNDING)
    for prefix, (known,) in _sides("binary_with_margin").items():
        violations = 0
        for c in scenes:
            gap, bound = theorem.gap(c.margin, c.attacked, c.s), known(c.delta, c.s, c.margin)
            violations += (gap > bound + ROUNDING) + (bound > theorem.theorem1(c.delta, c.s) + ROUNDING)
        yield below(f"{prefix}violations", violations, 0)
        lines = [theorem.error_bound(c.margin, c.delta, c.s) - theorem.error_probability(c.margin, c.s) for c in scenes]
        yield error(f"{prefix}the line before Eq. 7", [known(c.delta, c.s, c.margin) for c in scenes], lines, 1e-12)
        unchanged = [abs(known(0.0, c.s, c.margin)) for c in scenes]
        yield below(f"{prefix}gap without reach", max(unchanged), 1e-15)


NAMES = (
    "margin-aware pairs",
    "Neyman-Pearson",
    "total variation, logit differences",
    "total variation, features",
    "pair tight",
    "pair Lipschitz",
)
"""Extension E4's six bounds, as they are shown."""
SYMBOLS = (
    "pairs",
    "pair_reach",
    "feature_distance",
    "difference_distance",
    "pairs_with_margin",
    "neyman_pearson",
    "total_variation",
    "pairs_tight",
    "pairs_lipschitz",
)
Head = tuple[Floats, Floats, Floats, Floats, int, Floats]
"""W, b, L, f, the class k that the noise-free head gives f, and a shift of f."""


def heads(rng: np.random.Generator, count: int, classes: int = 4, d: int = 6) -> Iterator[Head]:
    for _ in range(count):
        W, b = rng.standard_normal((classes, d)) / sqrt(d), 0.2 * rng.standard_normal(classes)
        L = np.tril(0.15 * rng.standard_normal((d, d)), -1) + np.diag(rng.uniform(0.3, 0.9, d))
        f = rng.standard_normal(d)
        yield W, b, L, f, int(np.argmax(W @ f + b)), rng.exponential(2.0) * rng.standard_normal(d) / sqrt(d)


def six(head: Head, p: float, functions: list[Callable[..., Any]]) -> list[float]:
    """The bounds of NAMES on the gap; p: P(correct) without the shift."""
    W, b, L, f, k, shift = head
    of_pairs, pair_reach, in_features, in_differences, margin_aware, neyman_pearson, variation, tight, steep = functions
    mu, s = of_pairs(W, b, L, f, k)
    delta, near_by, far = pair_reach(W, shift, k), in_differences(W, L, shift, k), in_features(L, shift)
    by_pairs = margin_aware(delta, mu, s), tight(delta, s), steep(delta, s)
    return [by_pairs[0], neyman_pearson(p, near_by), variation(near_by), variation(far), *by_pairs[1:]]


def _correct(head: Head, z: Floats) -> tuple[Floats, Floats]:
    """Whether f and the shifted f are classified correctly, under the same draws of the noise L z; z: (d, draws)."""
    W, b, L, f, k, shift = head
    D = np.delete(W[k] - W, k, axis=0)
    mu, noise = (D @ f + np.delete(b[k] - b, k))[:, None], (D @ L) @ z
    return (noise > -mu).all(axis=0), (noise > -mu - (D @ shift)[:, None]).all(axis=0)


def excess(head: Head, z: Floats, functions: list[Callable[..., Any]]) -> tuple[float, list[float], Floats]:
    """The simulated gap, the six bounds, and by how many standard errors the gap exceeds each."""
    before, after = _correct(head, z)
    draws = len(before)
    change = before.astype(np.float64) - after
    gap, error_of_gap = float(change.mean()), max(float(change.std()) / sqrt(draws), 1 / draws)
    p = (float(before.sum()) + 0.5) / (draws + 1)
    bounds = six(head, p, functions)
    errors = np.full(len(bounds), error_of_gap)
    # Neyman-Pearson's bound is known as well as p: add what p's error moves it by, and the gap with it
    step, i = standard_error(p, draws), NAMES.index("Neyman-Pearson")
    moved = six(head, max(p - step, 1e-12), functions)[i]
    errors[i] += step + abs(moved - bounds[i])
    return gap, bounds, (gap - np.array(bounds)) / errors


@checks(
    "E4",
    place="A2SNN Sec. 3.2",
    title="Theorem 1 for many classes",
    verdict="correct",
    uses=("A9", "A10", "A15", "E3"),
    printed=r"Theorem 1 is restricted to two classes; Eq. 4 then sums $\ln(w_i^\top\Sigma w_i)$ over all of them",
    derived=r"With $d_i=w_k-w_i$, $\mu_i=d_i^\top f+b_k-b_i$, $s_i^2=d_i^\top\Sigma d_i$ and $\Delta_i$ the reach of "
    r"$\tilde h_k-\tilde h_i$: $$G\le\sum_{i\ne k}\left[\Phi\left(\frac{\Delta_i-\mu_i}{s_i}\right)-\Phi\left("
    r"\frac{-\mu_i}{s_i}\right)\right]\le\sum_{i\ne k}\left[2\,\Phi\left(\frac{\Delta_i}{2s_i}\right)-1\right]\le"
    r"\sum_{i\ne k}\frac{\Delta_i}{s_i\sqrt{2\pi}}.$$ With $r$ the length of the shift of the features, or of the "
    r"differences of logits, in standard deviations of their noise: $G\le2\,\Phi(r/2)-1$ and "
    r"$G\le P-\Phi(\Phi^{-1}(P)-r)$, $P$ the probability of a correct answer without the attack.",
    because="None of the six is violated by simulated shifts of the features, and with two classes they are equal to "
    "the exact gap or to the binary forms. The scalar score of the theorem is the *difference* of two logits, so Eq. "
    "4, which has single $w_i$, is not its generalisation.",
    instead="the smaller of the first form and the last, which needs $P$; they are never above the others. As a "
    r"regulariser $\sum_{i<j}\ln((w_i-w_j)^\top\Sigma(w_i-w_j))$, which noise common to all logits does not raise",
    symbols=tuple(f"npsnn.bounds.{name}" for name in (*SYMBOLS, "gap")),
    headline="violations {violations}; true gap {true gap}, margin-aware pairs {margin-aware pairs}, Neyman-Pearson "
    "{Neyman-Pearson}",
)
def e4(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    z = rng.standard_normal((6, lab.draws(10_000)))
    cases = list(heads(rng, 300 if lab.thorough else 60))
    for prefix, functions in _sides(*SYMBOLS).items():
        found = [excess(head, z, functions) for head in cases]
        bounds = np.array([b for _, b, _ in found])
        yield below(f"{prefix}violations", sum(int((e > MOST_ERRORS).sum()) for _, _, e in found), 0)
        if not prefix:
            yield shown("true gap", float(np.mean([gap for gap, _, _ in found])))
            for name, mean in zip(NAMES, bounds.mean(axis=0), strict=True):
                yield shown(name, mean)
        margin_aware, neyman_pearson, close, far, tight, lipschitz = bounds.T
        steps = ((margin_aware, tight), (tight, lipschitz), (neyman_pearson, close), (close, far))
        yield below(f"{prefix}out of order", sum(int((a > b + ROUNDING).sum()) for a, b in steps), 0)
        yield from _of_two_classes(prefix, functions, rng)
    for average in (1, 4):
        yield from noisy_head.whole_gap(noisy_head.drawn_head(rng, 6, 4, 5), average, lab.draws(4_000), rng)


def _of_two_classes(prefix: str, functions: list[Callable[..., Any]], rng: np.random.Generator) -> Iterator[Figure]:
    """Where the bounds are the exact gap, or Theorem 1's: for two classes, and the worst shift of a given length."""
    exact, found, forms, wanted = [], [], [], []
    for W, b, L, f, k, _ in heads(rng, 20, classes=2):
        d = W[k] - W[1 - k]
        s, m = theorem.spread(d, L), float(d @ f + b[k] - b[1 - k])
        # along -Σd, the shift that costs most for its length, so that both distances are Δ/s
        shift = -rng.uniform(0.1, 2) * L @ L.T @ d / s
        delta = abs(float(d @ shift))
        bounds = six((W, b, L, f, k, shift), 1 - theorem.error_probability(m, s), functions)
        exact += [theorem.error_probability(m - delta, s) - theorem.error_probability(m, s)] * 2
        found += bounds[:2]
        forms += bounds[2:]
        wanted += [theorem.binary_tight(delta, s)] * 3 + [theorem.theorem1(delta, s)]
    yield error(f"{prefix}two classes, with the margin", found, exact, 1e-9)
    yield error(f"{prefix}two classes, without", forms, wanted, 1e-9)
