"""Cards of the attacks that A2SNN describes and how it sets them (Sec. 2.1, 4.1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf, log1p, sqrt

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, differential_evolution

from npsnn.attacks import balls
from npsnn.attacks import projected as gradient
from npsnn.attacks import targets as targets
from npsnn.attacks.base import Attack
from npsnn.audit import networks
from npsnn.audit.card import Figure, Floats, Lab, below, checks, drawn, error, near, shown
from npsnn.audit.engine import sides
from npsnn.layers.params import flatten
from npsnn.reference import differences, protocol
from npsnn.streams import Stream


@dataclass(frozen=True)
class Slope:
    """A linear loss, by the engine's interface of what is attacked; `errors` of the signs of its gradient are wrong."""

    weights: Floats
    errors: float = 0.0
    passes: int = 1

    def __call__(self, x: Floats, labels: np.ndarray, stream: Stream) -> tuple[Floats, Floats]:
        wrong = np.moveaxis(stream.uniform(np.moveaxis(x, 0, -1)), -1, 0) < self.errors
        return (x * self.weights).sum(axis=(1, 2, 3)), np.where(wrong, -1.0, 1.0) * self.weights


@checks(
    "A1",
    place="Sec. 2.1",
    title="FGSM",
    verdict="correct",
    printed=r"$x'=x+\epsilon\cdot\mathrm{sign}(\nabla_x\mathcal L(h(x),y))$",
    derived=r"as printed, then clipped to $[0,1]$; $h$ is random, so the gradient is that of an expectation",
    because="On a linear loss no point of the ball does better. The printed step leaves the pixels' range at dark and "
    "bright pixels, and one draw of the noise has signs of its own (A25).",
    instead="the step, clipped, along the mean gradient over draws or the gradient of the closed form",
    symbols=("npsnn.attacks.projected.fgsm",),
    headline="rise over the best corner's {rise over the optimum}, over random points' {random points over the "
    "optimum}; without the clip out of range by {printed leaves the range by}",
)
def a1(lab: Lab) -> Iterator[Figure]:
    rng, eps, shape = lab.rng(), 0.1, (1, 3, 4)
    w, x = rng.standard_normal(shape), rng.uniform(0.2, 0.8, (5, *shape))
    best, labels = eps * np.abs(w).sum(), np.zeros(5, int)
    step = gradient.fgsm(eps)(Slope(w), x, labels, Stream(0)) - x
    yield near("rise over the optimum", (step * w).sum(axis=(1, 2, 3)).min() / best, 1, 1e-9)
    points = rng.uniform(-eps, eps, (lab.draws(4000), *shape))
    yield below("random points over the optimum", (points * w).sum(axis=(1, 2, 3)).max() / best, 1)
    dark = rng.choice([0.0, 1.0], (5, *shape))
    printed = protocol.fgsm(dark, np.broadcast_to(w, dark.shape), eps)
    yield near("printed leaves the range by", max(-printed.min(), printed.max() - 1), eps, 1e-12)
    clipped = gradient.fgsm(eps)(Slope(w), dark, labels, Stream(0))
    yield error("engine", clipped, np.clip(printed, 0, 1), 1e-12)
    network, image = networks.perceptron(rng), rng.uniform(0.2, 0.8, (1, 1, 12))
    params = flatten(network.params)
    slope = differences.gradient(lambda z: networks.loss(network, params, z, 1, "linear", "cross-entropy"), image, 1e-6)
    found = gradient.fgsm(eps)(targets.expectation(network), image[None], np.array([1]), Stream(0))
    yield error("engine on a network", found[0], protocol.fgsm(image, slope, eps), 1e-12)


@checks(
    "A2",
    place="Sec. 2.1, 4.1",
    title="Carlini and Wagner's objective",
    verdict="unstated",
    printed=r"maximise $\mathcal L(h(x+\delta),y)-\lVert\delta\rVert_p$ subject to $x+\delta\in[0,1]^n$; Sec. 4.1 "
    r"lists a constant $c$ with a binary search, and Table 2 a confidence $\kappa$",
    derived=r"minimise $\lVert\delta\rVert_2^2+c\,\max(h_y-\max_{i\ne y}h_i,\,-\kappa)$ over $\omega$ with "
    r"$x+\delta=\frac12(\tanh\omega+1)$, $c$ by binary search",
    because=r"The signs are right, but neither $c$ nor $\kappa$ nor the loss that they belong to is in the formula. "
    "With the cross-entropy as the loss, the best step along an affine margin of slope $g$ is none at all for $g<1$ "
    "and as far as the box lets it for steep ones; with $c$ and the margin it is the shortest that is misread with "
    r"confidence $\kappa$.",
    instead=r"the derived form; for noisy logits the margin is $\min_i u_i$, the least of the differences of logits in "
    "standard deviations, and success is judged on fresh noise",
    symbols=("npsnn.attacks.carlini_wagner.margin_loss", "npsnn.attacks.carlini_wagner.boxed"),
    headline="best step: printed {printed, gentle slope} or {printed, steep slope}, derived {derived, gentle slope} "
    "and {derived, steep slope} of the shortest",
)
def a2(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    for side, margin_loss in sides(protocol.margin_loss, "npsnn.attacks.carlini_wagner.margin_loss").items():
        prefix = "" if side == "reference" else "engine "
        z = rng.standard_normal((50, 5))
        gaps = [row[0] - np.delete(row, 0).max() for row in z]
        yield error(f"{prefix}margin", [margin_loss(row, 0, inf) for row in z], gaps, 1e-15)
        yield near(f"{prefix}least margin", min(margin_loss(row, 0, 0.3) for row in z), -0.3, 1e-15)
    room, margin, kappa = 5.0, 0.8, 0.4
    for name, g in {"gentle slope": 0.5, "steep slope": 3.0}.items():
        shortest = (margin + kappa) / g
        yield near(f"printed, {name}", _printed_step(margin, g, room), 0 if g < 1 else room, 1e-9)
        yield near(f"derived, {name}", _searched_step(margin, g, room, kappa) / shortest, 1, 0.01)
    omega = rng.normal(0, 1.5, 8)
    for side, boxed in sides(protocol.boxed, "npsnn.attacks.carlini_wagner.boxed").items():
        slopes = (boxed(omega + 1e-5) - boxed(omega - 1e-5)) / 2e-5
        yield error(f"slope of the box, {side}", protocol.boxed_slope(omega), slopes, 1e-9)
        far = boxed(np.array([-50.0, 0.0, 50.0]))
        yield error(f"box, {side}", far, [0, 0.5, 1], 1e-15)


def _printed_step(margin: float, g: float, room: float) -> float:
    """The best length along the margin's steepest fall under the printed objective, p = 2, with the cross-entropy."""
    lengths = np.linspace(0, room, 501)

    def value(t: float) -> float:
        m = margin - g * t
        loss = log1p(exp(-m)) if m > 0 else -m + log1p(exp(m))
        return protocol.lagrangian_printed(loss, np.array([t]), 2)

    return float(lengths[int(np.argmax([value(float(t)) for t in lengths]))])


def _searched_step(margin: float, g: float, room: float, kappa: float) -> float:
    """The shortest successful length that 9 steps of the search for c from 1e-3 find."""
    lengths = np.linspace(0, room, 2001)
    c, low, high, found = 1e-3, 0.0, inf, inf
    for _ in range(9):
        values = [protocol.carlini_wagner(np.array([margin - g * t, 0.0]), 0, np.array([t]), c, kappa) for t in lengths]
        t = float(lengths[int(np.argmin(values))])
        success = margin - g * t <= -kappa + g * float(lengths[1])
        found = min(found, t) if success else found
        c, low, high = protocol.next_constant(c, low, high, success)
    return found


@checks(
    "A22",
    place="Sec. 4.1",
    title="When differential evolution stops",
    verdict="correct",
    printed=r"$$\sqrt{\mathrm{Var}(\mathcal E(X))}\le\left|\frac1{100N}\sum_{x\in X}\mathcal E(x)\right|$$",
    derived=r"as printed: the standard deviation is at most 1 % of the size of the mean",
    because="It is SciPy's rule with a tolerance of 0.01 and no absolute one, and stops SciPy's own run at the same "
    "generation. Which variance and which energy is unstated; dividing by $N-1$ changes the deviation by 0.13 % for "
    "$N=400$. With a noisy network the energies differ by the noise even in one point, and the rule cannot fire while "
    "that exceeds 1 % of the mean.",
    instead="the rule on an energy without noise, a closed form or draws that all candidates share",
    symbols=("npsnn.attacks.one_pixel.converged",),
    headline="stops with SciPy's (1 is yes) {stops where SciPy does}; under noise of 0.4 % {stops, noise of 0.4 %}, of"
    " 1.5 % {stops, noise of 1.5 %}",
)
def a22(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    runs = [_scipy_generations(rng) for _ in range(3)]
    noisy = {part: 0.5 * (1 + part * rng.standard_normal((100, 400))) for part in (0.004, 0.015)}
    for side, converged in sides(protocol.converged, "npsnn.attacks.one_pixel.converged").items():
        prefix = "" if side == "reference" else "engine "
        agree = [[converged(e) for e in run] == [False] * (len(run) - 1) + [True] for run in runs]
        yield near(f"{prefix}stops where SciPy does", float(np.mean(agree)), 1, 0)
        for part, populations in noisy.items():
            stopped = float(np.mean([converged(e) for e in populations]))
            yield near(f"{prefix}stops, noise of {100 * part:.1f} %", stopped, float(part < 0.01), 0.05)
        # two values: mean 1, standard deviation by 1/N of 0.0099 or 0.0101, negative energies too
        yield near(f"{prefix}stops at 0.99 %", converged(np.tile([1 - 0.0099, 1 + 0.0099], 200)), 1, 0)
        yield near(f"{prefix}stops at 1.01 %", converged(np.tile([1 - 0.0101, 1 + 0.0101], 200)), 0, 0)
        yield near(f"{prefix}stops below 0", converged(-np.tile([1 - 0.0099, 1 + 0.0099], 200)), 1, 0)
    yield near("deviation by N - 1 over by N", sqrt(400 / 399), 1.00125, 1e-5)


def _bowl(x: Floats) -> float:
    return 1 + float(x @ x)


def _scipy_generations(rng: np.random.Generator) -> list[Floats]:
    """The energies of each generation of a run of SciPy's, which stops by its own rule."""
    seen: list[Floats] = []

    def watch(intermediate_result: OptimizeResult) -> None:
        seen.append(np.array(intermediate_result.population_energies, np.float64))

    differential_evolution(
        _bowl,
        Bounds([-3, -3], [3, 3]),
        tol=0.01,
        atol=0,
        popsize=10,
        mutation=0.5,
        recombination=0.7,
        polish=False,
        seed=rng,
        callback=watch,
    )
    return seen


@checks(
    "A24",
    place="Sec. 4.1",
    title="How far PGD gets",
    verdict="correct",
    uses=("A1", "A25"),
    printed=r"PGD with step size $\alpha=\epsilon/10$ and $k=10$ steps",
    derived=r"$k\alpha=\epsilon$: the path is just as long as the ball is wide from its centre. From the image itself "
    r"every corner is reached if no sign is ever wrong; from a random start a pixel gets $\frac34\epsilon$ far on "
    "average, and half of the pixels to the end",
    because="The arithmetic is right and the attack weak. With 20 % of the signs wrong at each step, as noise makes "
    r"them, it covers 0.60 $\epsilon$ from the image and 0.49 $\epsilon$ from a random start; steps of "
    r"$2.5\,\epsilon/k$ cover 0.81, and 100 of them 0.92.",
    instead=r"$\alpha=2.5\,\epsilon/k$ and a random start",
    symbols=("npsnn.attacks.projected.GradientAttack", "npsnn.attacks.projected.pgd", "npsnn.attacks.projected.bim"),
    headline="reach over eps: from the image {from the image}, random start {random start}, with 20 % wrong signs "
    "{random start, 20 % wrong}",
)
def a24(lab: Lab) -> Iterator[Figure]:
    yield near("path over the ball", 10 * 0.1, 1, 1e-12)
    for errors, named in ((0.0, ""), (0.2, ", 20 % wrong")):
        for start, name in ((False, "from the image"), (True, "random start")):
            attack = gradient.GradientAttack(balls.Ball("linf", 0.1), 10, 0.01, random_start=start)
            yield from _reached(lab, f"{name}{named}", attack, protocol.reach(0.1, 10, start, errors), errors)
    scattered, straight = protocol.reach(0.1, 10, True), protocol.reach(0.1, 10, False)
    yield near("three quarters", scattered[0], 0.75, 1e-4)
    yield near("all the way", straight[0], 1, 1e-12)
    for errors in (0.0, 0.2):
        wanted = protocol.reach(0.25, 10, True, errors)
        yield from _reached(lab, f"steps of 2.5 eps/k, {errors:.0%} wrong", gradient.pgd(0.1, steps=10), wanted, errors)
    yield from _reached(lab, "bim", gradient.bim(0.1, steps=10), straight, 0.0)
    yield near("100 steps of 2.5 eps/k, 20% wrong", protocol.reach(0.025, 100, True, 0.2)[0], 0.92, 0.005)


def _reached(lab: Lab, name: str, attack: Attack, wanted: tuple[float, float], errors: float) -> Iterator[Figure]:
    """Mean way along the gradient's signs and share of corners, of the engine's attack in the middle of the box."""
    rng = lab.rng()
    x, w = np.full((lab.draws(20), 1, 20, 25), 0.5), rng.choice([-1.0, 1.0], (1, 20, 25))
    way = (attack(Slope(w, errors), x, np.zeros(len(x), int), Stream(int(rng.integers(2**31)))) - x) * w / 0.1
    # rounding alone where nothing is random
    yield drawn(name, way.mean(), way.std() / sqrt(way.size) + 1e-10, wanted[0])
    corner = float(np.mean(way > 1 - 1e-9))
    yield drawn(f"corners, {name}", corner, sqrt(max(wanted[1] * (1 - wanted[1]), 0) / way.size) + 1e-10, wanted[1])


@checks(
    "A25",
    place="Sec. 4.1",
    title="Expectation over transformations with 50 samples",
    verdict="approximation",
    uses=("A1",),
    printed="a reliable number of Monte Carlo samples is 50: performance begins to saturate at about 35 and converges "
    "at 40",
    derived=r"the mean gradient of $n$ samples has the wrong sign with probability $\Phi(-r\sqrt n)$, $r$ the size of "
    "the mean over the standard deviation of one sample",
    because="Whether 50 is enough depends on $r$: 36 %, 24 %, 8 % and 0.02 % of the signs are wrong at $r$ = 0.05, "
    "0.1, 0.2 and 0.5. The share of wrong signs of sampled gradients of a noisy network is what the formula gives "
    r"for its pixels. The error of a mean falls as $1/\sqrt n$, by a sixth from 35 samples to 50: there is no number "
    "at which it converges. The curve behind 35 and 40 is not in the paper.",
    instead="the gradient of a closed form, or as many samples as the figures of the pixels ask for",
    symbols=("npsnn.attacks.targets.sampled",),
    headline="wrong signs: {wrong signs at 0.05} at signal over noise 0.05, {wrong signs at 0.5} at 0.5; network "
    "{network, 50 samples}, formula {network, formula}",
)
def a25(lab: Lab) -> Iterator[Figure]:
    rng, draws = lab.rng(), lab.draws(4000)
    for snr, wanted in ((0.05, 0.3618), (0.1, 0.2398), (0.2, 0.0786), (0.5, 0.0002)):
        yield near(f"wrong signs at {snr}", protocol.wrong_sign(snr, 50), wanted, 1e-4)
        means = snr + rng.standard_normal((draws, 50)).mean(axis=1)
        wrong = protocol.wrong_sign(snr, 50)
        yield drawn(f"simulated at {snr}", np.mean(means < 0), sqrt(wrong * (1 - wrong) / draws) + 0.5 / draws, wrong)
    network = networks.perceptron(rng, (12, 16, 4), sigma=4.0)
    image, copies = rng.uniform(0.2, 0.8, (1, 1, 1, 12)), 250
    x, labels = np.repeat(image, copies, axis=0), np.ones(copies, int)

    def gradients(samples: int, part: str) -> Floats:
        _, gradient = targets.sampled(network, samples)(x, labels, Stream(lab.seed).at(part))
        return np.asarray(gradient).reshape(copies, -1)

    one, eot = np.concatenate([gradients(1, f"one {i}") for i in range(20)]), gradients(50, "EoT")
    g, sd = one.mean(axis=0), one.std(axis=0)
    wrong_signs = float(np.mean(np.sign(eot) != np.sign(g)))
    yield shown("network, 50 samples", wrong_signs)
    formula = float(np.mean([protocol.wrong_sign(float(r), 50) for r in np.abs(g) / sd]))
    # 5 standard errors of a share of the draws, and what the estimated ratios are off by
    off = 5 * sqrt(wrong_signs * (1 - wrong_signs) / eot.size) + 0.003
    yield near("network, formula", formula, wrong_signs, off)
    less = gradients(35, "EoT of 35")
    yield near("spread of 35 samples over that of 50", float(np.mean(less.std(axis=0) / eot.std(axis=0))), 1.195, 0.12)
    yield near("spread of 50 samples over one's", float(np.mean(eot.std(axis=0) / sd)) * sqrt(50), 1, 0.08)
