"""Cards of A2SNN's margin and gap (Sec. 3.2) and of the first half of the proof of Theorem 1 (App. A)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.ops import loss as engine
from npsnn.reference import montecarlo, theorem

ROUNDING = 1e-12
"""Distance by which a bound may be missed without being violated."""


@dataclass(frozen=True)
class Scene:
    """A noisy binary classifier with features tanh(A x + a), an input, and the attacks of an L∞ ball round it.

    root: of the covariance of z. margin: of the noise-free score at x; attacked: at each x + δ, δ = 0 among them.
    delta: the largest change. noise: draws of wᵀz. fresh: other draws of it.
    """

    w: Floats
    b: float
    root: Floats
    features: Floats
    y: int
    margin: float
    attacked: Floats
    noise: Floats
    fresh: Floats

    @property
    def s(self) -> float:
        return theorem.spread(self.w, self.root)

    @property
    def delta(self) -> float:
        return float(np.abs(self.attacked - self.margin).max())

    @property
    def errors(self) -> Floats:
        """The share of the draws in which each attacked input is misread, all under the same draws."""
        falls = np.sort(-self.y * self.noise)
        return 1 - np.searchsorted(falls, self.attacked) / len(falls)


def scene(rng: np.random.Generator, draws: int, eps: float = 0.3) -> Scene:
    d = 5
    w, b, y = rng.standard_normal(d), float(rng.normal(0, 0.3)), int(rng.choice([-1, 1]))
    A, a, root = rng.standard_normal((d, 2)), rng.standard_normal(d), 0.4 * rng.standard_normal((d, d))
    x, steps = rng.uniform(0, 1, 2), np.linspace(-eps, eps, 21)
    attacks = x + np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    features = np.tanh(A @ x + a)
    attacked = y * (np.tanh(attacks @ A.T + a) @ w + b)
    noise = [(rng.standard_normal((draws, d)) @ root.T) @ w for _ in range(2)]
    return Scene(w, b, root, features, y, float(y * (features @ w + b)), attacked, noise[0], noise[1])


def standard_error(p: float, draws: int) -> float:
    """Standard error of a share p of the draws; half a hit is added on both sides, so that 0 and 1 are not certain."""
    p = (min(max(p, 0.0), 1.0) * draws + 0.5) / (draws + 1)
    return sqrt(p * (1 - p) / draws)


@checks(
    "A8",
    place="Sec. 3.2",
    title="Margin of a prediction",
    verdict="correct",
    printed=r"$m_h(x,y)=y\,h(x)$ for $y\in\{-1,1\}$, positive if the prediction is correct and negative otherwise",
    derived="as printed",
    because="The sign of $y h$ agrees with whether the class of the larger logit is $y$ in every random case. A score "
    "of exactly 0 has probability 0 under noise.",
    instead=r"the margin of a pair of classes, $h_k-h_i$, which is $y h$ for two logits $-h/2$ and $h/2$",
    symbols=("npsnn.ops.loss.margins",),
    headline="disagreements: formula {disagreements}, engine {engine}",
)
def a8(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    h, y = rng.standard_normal(2000), rng.choice([-1, 1], 2000)
    right = np.stack([-h / 2, h / 2]).argmax(axis=0) == (y + 1) // 2
    m = np.array([theorem.margin(int(a), float(b)) for a, b in zip(y, h, strict=True)])
    yield below("disagreements", np.sum((m > 0) != right), 0)
    yield above("margins of 0", np.abs(m).min(), 1e-9)
    hot = np.stack([y < 0, y > 0]).astype(np.float64)
    d, _ = engine.margins(np.stack([-h / 2, h / 2]), np.ones((2, 2000)), hot)
    yield error("engine", d.sum(axis=0), m, 1e-15)


@checks(
    "A9",
    place="Eq. 3",
    title="The gap between attacked and clean error",
    verdict="correct",
    uses=("A8",),
    printed=r"$$G_{p,\epsilon}^h(x,y)=\max_{\delta:\lVert\delta\rVert_p\le\epsilon}P(m_h(x+\delta,y)\le0)"
    r"-P(m_h(x,y)\le0)$$",
    derived="as printed; it does not matter whether the maximum is taken of the first term or of the difference, and "
    r"$w^\top\Sigma w>0$ is needed for the rest of the theory",
    because="For a linear score the worst attack of a ball is known, and the gap that Eq. 3 defines is met by the "
    "shares of draws that are misread. The clean term does not depend on the attack.",
    instead="as printed",
    symbols=("npsnn.reference.theorem.gap",),
    headline="Monte Carlo {Monte Carlo}, printed {Eq. 3}, closed form {closed form}",
)
def a9(lab: Lab) -> Iterator[Figure]:
    rng, d, eps = lab.rng(), 4, 0.15
    w, L, x, y = rng.standard_normal(d), rng.uniform(-0.5, 0.5, (d, d)) + np.eye(d), rng.standard_normal(d), 1
    b = 0.3 - float(w @ x)
    attacks = x + eps * np.array(list(product([-1.0, 0.0, 1.0], repeat=d)))
    m, attacked = y * float(w @ x + b), y * (attacks @ w + b)
    noise = montecarlo.affine(rng.standard_normal((lab.draws(100_000), d)), (w @ L)[None], np.zeros(1))[:, 0]
    shares = np.array([np.mean(a + y * noise <= 0) for a in attacked])
    clean = np.mean(m + y * noise <= 0)
    found = shares.max() - clean
    wanted = theorem.gap(m, attacked, theorem.spread(w, L))
    yield drawn("Monte Carlo", found, standard_error(found, len(noise)), wanted)
    yield shown("Eq. 3", wanted)
    yield near("closed form", theorem.gap_linear(w, L, m, eps, np.inf), wanted, 1e-12)
    yield near("difference maximised as a whole", (shares - clean).max(), found, 1e-12)


@checks(
    "A11",
    place="Theorem 1, App. A",
    title="Whose reach the theorem speaks of",
    verdict="typo",
    printed=r"$\Delta_p^h(x,\epsilon)$ in the theorem, $\Delta_p^{\tilde h}(x,\epsilon)$ in its proof; "
    r"$G_{p,\epsilon}^h(x,y)$ becomes $G(x,y)$",
    derived=r"$\Delta_p^{\tilde h}(x,\epsilon)$: the reach of the noise-free score",
    because="The theorem says itself that the deterministic version is bounded, so the superscript is a slip. It "
    r"matters which is meant: under two draws of the noise the score changes by more than $\Delta$ often, under one "
    "draw it never does.",
    instead=r"$\Delta$ of the noise-free score",
    symbols=("npsnn.reference.theorem.theorem1",),
    headline="share beyond the reach: one draw {beyond the reach, one draw}, two draws {beyond the reach, two draws}",
)
def a11(lab: Lab) -> Iterator[Figure]:
    c = scene(lab.rng(), lab.draws(20_000), eps=0.1)
    changes = c.y * (c.attacked - c.margin)
    worst = changes[np.abs(changes).argmax()]
    same = np.abs((worst + c.noise) - c.noise)
    other = np.abs((worst + c.fresh) - c.noise)
    yield below("beyond the reach, one draw", np.mean(same > c.delta + ROUNDING), 0)
    yield above("beyond the reach, two draws", np.mean(other > c.delta + ROUNDING), 0.1)
    gap = theorem.gap(c.margin, c.attacked, c.s)
    yield above("Theorem 1 with the noise-free reach, over the gap", theorem.theorem1(c.delta, c.s) / gap, 1)


@checks(
    "A12",
    place="App. A, Eq. 5",
    title="Law of the score and of the margin",
    verdict="correct",
    uses=("A3", "A8"),
    printed=r"$h(x)\sim\mathcal N(w^\top f(x)+b,\;w^\top\Sigma w)$, $m_h(x,y)\sim\mathcal N(y(w^\top "
    r"f(x)+b),\;w^\top\Sigma w)$, $$P(m_h(x,y)<0)=\Phi\left(\frac{-y(w^\top f(x)+b)}{\sqrt{w^\top\Sigma w}}\right)$$",
    derived="as printed",
    because="Mean, variance and share of misread draws of a simulated score agree with all three lines. Multiplying by "
    "$y$ keeps the variance.",
    instead="as printed; for many classes the same law holds of each difference of logits",
    symbols=("npsnn.ops.loss.win_probability",),
    headline="Monte Carlo {Monte Carlo}, printed {Eq. 5}, engine {engine}",
)
def a12(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    c = scene(rng, lab.draws(100_000))
    centre = float(c.w @ c.features) + c.b
    h = centre + c.noise
    found = montecarlo.estimate(h)
    yield deviation("mean of the score, in standard errors", found.mean, found.mean_error, centre)
    yield deviation("variance of the score, in standard errors", found.var, found.var_error, c.s**2)
    of_margin = montecarlo.estimate(np.array([theorem.margin(c.y, 1.0)]) * h[:, None])
    yield deviation("mean of the margin, in standard errors", of_margin.mean, of_margin.mean_error, c.margin)
    yield deviation("variance of the margin, in standard errors", of_margin.var, of_margin.var_error, c.s**2)
    wanted = theorem.error_probability(c.margin, c.s)
    misread = float(np.mean(c.y * h < 0))
    yield drawn("Monte Carlo", misread, standard_error(wanted, len(h)), wanted)
    yield shown("Eq. 5", wanted)
    W = np.stack([rng.standard_normal(len(c.w))] * 2)
    W[1] += c.w
    logits = W @ c.features + np.array([0.0, c.b])
    won, _, _ = engine.win_probability(
        logits[:, None], (W @ c.root @ c.root.T @ W.T)[..., None], np.array([(c.y + 1) // 2])
    )
    yield near("engine", 1 - float(won[0]), wanted, 1e-12)


@checks(
    "A13",
    place="App. A",
    title="The maximum moves inside the distribution function",
    verdict="correct",
    uses=("A12",),
    printed=r"$$\max_{\delta}\Phi\left(\frac{-y(w^\top f(x+\delta)+b)}{\sqrt{w^\top\Sigma w}}\right)="
    r"\Phi\left(\frac{\max_{\delta}-y(w^\top f(x+\delta)+b)}{\sqrt{w^\top\Sigma w}}\right)$$",
    derived="as printed",
    because=r"$\Phi$ increases and is continuous, and the noise does not depend on $x$. Both sides agree to rounding "
    "over all attacks of a grid, and with the largest share of misread draws.",
    instead="as printed",
    symbols=("npsnn.reference.theorem.worst_error",),
    headline="Monte Carlo {Monte Carlo}, maximum inside {maximum inside}, maximum outside {maximum outside}",
)
def a13(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    outside, inside, simulated = [], [], []
    draws = lab.draws(10_000)
    for _ in range(10):
        c = scene(rng, draws)
        outside.append(max(theorem.error_probability(float(m), c.s) for m in c.attacked))
        inside.append(theorem.worst_error(c.attacked, c.s))
        simulated.append(c.errors.max())
    yield shown("maximum outside", outside[0])
    yield near("maximum inside", inside[0], outside[0], 1e-15)
    yield drawn("Monte Carlo", simulated[0], standard_error(inside[0], draws), inside[0])
    yield error("inside less outside, all scenes", inside, outside, 1e-15)
    errors = [standard_error(p, draws) for p in inside]
    yield deviation("Monte Carlo, all scenes, in standard errors", simulated, errors, inside)


@checks(
    "A14",
    place="App. A",
    title="How far an attack changes the score",
    verdict="typo",
    uses=("A11",),
    printed=r"the perturbation $\delta$ causes the output of the non-stochastic version of $h$ to change by a "
    r"magnitude of $\Delta_p^{\tilde h}(x,\epsilon)$",
    derived=r"... to change by **at most** $\Delta_p^{\tilde h}(x,\epsilon)$",
    because=r"The theorem bounds $|\tilde h(x)-\tilde h(x+\delta)|\le\Delta$ for every $\delta$ of the ball; nearly "
    "all of them change the score by less. Eq. 6 needs the bound only, so the slip is harmless.",
    instead="at most",
    symbols=("npsnn.reference.theorem.error_bound",),
    headline="attacks that change less {attacks that change less}, mean change over the reach {mean change over the "
    "reach}",
)
def a14(lab: Lab) -> Iterator[Figure]:
    c = scene(lab.rng(), 100)
    change = np.abs(c.attacked - c.margin) / c.delta
    yield above("attacks that change less", float(np.mean(change < 0.999)), 0.9)
    yield below("mean change over the reach", change.mean(), 0.9)
    bound = theorem.error_bound(c.margin, c.delta, c.s)
    yield below("error over Eq. 6", max(theorem.error_probability(float(m), c.s) - bound for m in c.attacked), ROUNDING)
