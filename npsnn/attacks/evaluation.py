"""Robust accuracy: attacks run on the defended model, success judged on fresh noise, bounds checked here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from npsnn.attacks import gradient
from npsnn.attacks.balls import Ball
from npsnn.attacks.gradient import GradientAttack
from npsnn.attacks.judging import Accuracy, Progress, accuracy, checked
from npsnn.attacks.target import NetworkTarget, closed_form, expectation, sampled
from npsnn.classifier import Classifier, named
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.parallel import keep_freed_memory
from npsnn.streams import Stream
from npsnn.validate import check_sigma, check_types

ATTACKS = ("fgsm", "bim", "pgd", "adaptive-fgsm", "adaptive-pgd")


@dataclass(frozen=True)
class Plan:
    """Which attacks to run, and how.

    sigma: the defender's noise at inference (None: the network's own; 0: the expectation network). eot: the draws a
    plain attack averages its gradient over (0: it attacks the network without noise, and transfers). draws: fresh
    draws on which success is judged. objective and propagation are the adaptive attacks', as in `closed_form`.
    """

    attacks: tuple[str, ...] = ATTACKS
    eps: tuple[float, ...] = (0.1, 0.2, 0.3)
    norm: str = "linf"
    steps: int = 20
    restarts: int = 1
    eot: int = 10
    draws: int = 10
    sigma: float | None = None
    objective: str | None = None
    propagation: str = "exact"
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not self.attacks or not self.eps:
            raise ValueError(f"there must be an attack and an eps, got {self.attacks} and {self.eps}")
        for name in self.attacks:
            if name not in ATTACKS:
                raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {name!r}")
        for name, low in {"steps": 1, "restarts": 1, "eot": 0, "draws": 1}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        for eps in self.eps:
            Ball(self.norm, eps)
        if self.objective is not None:
            named(OBJECTIVES, self.objective, "objective")
        named(RULES, self.propagation, "propagation")
        if self.sigma is not None:
            check_sigma(self.sigma)

    def defended(self, classifier: Classifier) -> Classifier:
        """The network with the noise it keeps at inference."""
        return classifier if self.sigma is None else classifier.with_sigma(self.sigma)

    def attack(self, name: str, eps: float) -> GradientAttack:
        """The named attack at `eps`."""
        kind = name.removeprefix("adaptive-")
        if kind == "fgsm":
            return gradient.fgsm(eps, self.norm)
        if kind == "bim":
            return gradient.bim(eps, self.norm, self.steps)
        return gradient.pgd(eps, self.norm, self.steps, self.restarts)

    def target(self, name: str, defended: Classifier) -> NetworkTarget:
        """What the named attack takes the gradient of."""
        if name.startswith("adaptive-"):
            return closed_form(defended, self.objective, self.propagation)
        return sampled(defended, self.eot) if self.eot and defended.sigma > 0 else expectation(defended)


@dataclass(frozen=True)
class Result:
    """One attack at one eps.

    zero_gradients and bad_gradients count the images that met an all-zero or a non-finite one; seconds are those of the
    attack alone, without the judging.
    """

    attack: str
    norm: str
    eps: float
    accuracy: Accuracy
    gradient: str
    gradient_passes: int
    seconds: float
    zero_gradients: int
    bad_gradients: int
    x_adv: np.ndarray = field(repr=False)


@dataclass
class Watched:
    """A target that notes which images ever met a zero or a non-finite gradient, and passes on 0 for the latter."""

    target: NetworkTarget
    zero: np.ndarray
    bad: np.ndarray

    @property
    def passes(self) -> int:
        return self.target.passes

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        loss, g = self.target(x, labels, stream)
        flat = g.reshape(len(g), -1)
        bad = ~np.isfinite(flat).all(axis=1)
        self.bad |= bad
        self.zero |= (flat == 0).all(axis=1)
        return loss, np.where(bad[:, None, None, None], 0, g) if bad.any() else g


def run(
    name: str,
    attack: GradientAttack,
    target: NetworkTarget,
    x: np.ndarray,
    labels: np.ndarray,
    draws: int,
    stream: Stream,
    judging: Stream | None = None,
    progress: Progress | None = None,
) -> Result:
    """One attack on all images, and the accuracy of the target's network on what comes out, under fresh noise.

    judging: the stream of that noise, by default one of `stream`'s. Raises ValueError where the attack leaves its ball
    or the box.
    """
    network, start = target.classifier, perf_counter()

    def one(s: slice) -> tuple[np.ndarray, Watched]:
        watched = Watched(target, np.zeros(len(x[s]), bool), np.zeros(len(x[s]), bool))
        x_adv = attack(watched, x[s], labels[s], stream.at("attack").from_sample(s.start))
        attack.ball.check(x_adv, x[s])
        return x_adv, watched

    found = network.each_batch(one, len(x), progress)
    seconds = perf_counter() - start
    x_adv = np.concatenate([part for part, _ in found])
    return Result(
        attack=name,
        norm=attack.ball.norm,
        eps=attack.ball.eps,
        accuracy=accuracy(network, x_adv, labels, draws, judging or stream.at("judge")),
        gradient=target.kind,
        gradient_passes=attack.passes(target),
        seconds=seconds,
        zero_gradients=sum(int(w.zero.sum()) for _, w in found),
        bad_gradients=sum(int(w.bad.sum()) for _, w in found),
        x_adv=x_adv,
    )


def evaluate(
    classifier: Classifier, x: np.ndarray, labels: np.ndarray, plan: Plan, progress: Progress | None = None
) -> Iterator[Result]:
    """Each attack of the plan at each eps on the defended network; yields a result at a time.

    x: (N, C, H, W), floats in [0, 1] or 8-bit; labels: (N,). progress: called with the number of images done. The
    attacks of one eps are judged on the same draws, so that their differences are not those of the noise.
    Raises ValueError for what does not fit the network.
    """
    x = checked(classifier, x, labels)
    keep_freed_memory()
    defended = plan.defended(classifier)
    targets = {name: plan.target(name, defended) for name in plan.attacks}
    for eps in plan.eps:
        stream = Stream(plan.seed).at(plan.norm, repr(float(eps)))
        for name, target in targets.items():
            attack = plan.attack(name, eps)
            yield run(name, attack, target, x, labels, plan.draws, stream.at(name), stream.at("judge"), progress)


def worst_case(classifier: Classifier, labels: np.ndarray, results: list[Result], plan: Plan) -> Accuracy:
    """Accuracy under the strongest attack, or on images where another is surely stronger under that one.

    results: of one norm and eps. It is judged on noise that did not choose, so it may differ from the strongest
    attack's own by the noise of the draws.
    """
    defended = plan.defended(classifier)
    # Surely: beyond two standard errors of the draws. To take the luckier of two attacks that are alike would let luck
    # choose, and lose more than it gains.
    strongest = sorted(results, key=lambda r: r.accuracy.mean)
    best, choice = strongest[0].accuracy.each, np.zeros(len(labels), int)
    for i, result in enumerate(strongest[1:], start=1):
        each = result.accuracy.each
        surely = best - each > (2 * _standard_error(best, each, plan.draws) if defended.sigma > 0 else 0)
        best, choice = np.where(surely, each, best), np.where(surely, i, choice)
    x_adv = np.stack([r.x_adv for r in strongest])[choice, np.arange(len(choice))]
    stream = Stream(plan.seed).at(results[0].norm, repr(float(results[0].eps)), "worst case")
    return accuracy(defended, x_adv, labels, plan.draws, stream)


def _standard_error(p: np.ndarray, q: np.ndarray, draws: int) -> np.ndarray:
    """Of the difference of two parts of `draws` draws; half a hit is added to both sides, lest 0 and 1 look certain."""
    p, q = ((draws * part + 0.5) / (draws + 1) for part in (p, q))
    return np.asarray(np.sqrt((p * (1 - p) + q * (1 - q)) / draws))
