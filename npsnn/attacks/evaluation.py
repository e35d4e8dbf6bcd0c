"""Robust accuracy: attacks run on the defended model, success judged on fresh noise, bounds checked here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from time import perf_counter

import numpy as np

from npsnn.attacks import gradient
from npsnn.attacks.balls import Ball
from npsnn.attacks.gradient import GradientAttack
from npsnn.attacks.target import NetworkTarget, closed_form, expectation, sampled
from npsnn.backend import to_host
from npsnn.classifier import Classifier, as_stream, check_images, check_labels, named
from npsnn.data import as_float
from npsnn.moments import EXPECTATION, Sampled
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.parallel import keep_freed_memory, micro_batches
from npsnn.streams import Stream

ATTACKS = ("fgsm", "bim", "pgd", "adaptive-fgsm", "adaptive-pgd")
Progress = Callable[[int], None]


def wilson_interval(accuracy: float, examples: int) -> tuple[float, float]:
    """95 % Wilson score interval of a mean of `examples` independent values in [0, 1], each an image's accuracy.

    Averaging an image over draws of the noise only lowers its variance below p(1 - p), so the interval covers both
    the choice of test images and the noise, and errs on the wide side.
    """
    z = 1.959963984540054
    centre = (accuracy + z * z / (2 * examples)) / (1 + z * z / examples)
    half = z * sqrt(accuracy * (1 - accuracy) / examples + z * z / (4 * examples**2)) / (1 + z * z / examples)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over images and draws of the noise, with its 95 % interval.

    each: the part of the draws in which each image is classified correctly, (N,).
    """

    each: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        return wilson_interval(self.mean, len(self.each))


def judge(classifier: Classifier, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
    """The part of `draws` fresh draws in which each image of a micro-batch is classified correctly: (N,).

    Without noise there is one answer, whatever `draws` is.
    """
    noises = [Sampled(stream.at(d)) for d in range(draws)] if classifier.sigma > 0 else [EXPECTATION]
    hits = [to_host(classifier.scores(x, noise).mean).argmax(axis=0) == labels for noise in noises]
    return np.asarray(np.mean(hits, axis=0))


def accuracy(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    draws: int = 10,
    rng: np.random.Generator | Stream | int = 0,
    progress: Progress | None = None,
) -> Accuracy:
    """Accuracy of the network under its own noise; of the expectation network where its sigma is 0.

    x: (N, C, H, W), floats in [0, 1] or 8-bit. Raises ValueError for what does not fit the network.
    """
    x = _checked(classifier, x, labels)
    if draws < 1:
        raise ValueError(f"draws must be >= 1, got {draws}")
    keep_freed_memory()
    parts, stream, found = micro_batches(len(x), classifier.micro_batch), as_stream(rng), []

    def one(i: int) -> np.ndarray:
        s = parts[i]
        return judge(classifier, x[s], labels[s], draws, stream.from_sample(s.start))

    def collect(part: np.ndarray) -> None:
        found.append(part)
        if progress:
            progress(len(part))

    with classifier.workers() as workers:
        workers.fold(one, len(parts), collect)
    return Accuracy(np.concatenate(found))


def _checked(classifier: Classifier, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    x = as_float(x) if isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.ndim == 4 else x
    check_images(x, classifier.model.shape)
    check_labels(labels, len(x), classifier.model.classes)
    if not len(x):
        raise ValueError("there must be at least one image, got none")
    return x


@dataclass(frozen=True)
class Plan:
    """Which attacks to run, and how.

    sigma: the defender's noise at inference (None: the network's own; 0: the expectation network). eot: the draws a
    plain attack averages its gradient over (0: it attacks the network without noise, and transfers). draws: fresh
    draws on which success is judged. objective and propagation are the adaptive attacks': "noise-aware" and "laplace"
    make the noise paper's own attack, with the derived signs.
    """

    attacks: tuple[str, ...] = ATTACKS
    eps: tuple[float, ...] = (0.1, 0.2, 0.3)
    norm: str = "linf"
    steps: int = 20
    restarts: int = 1
    eot: int = 10
    draws: int = 10
    sigma: float | None = None
    objective: str = "cross-entropy"
    propagation: str = "exact"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.attacks:
            if name not in ATTACKS:
                raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {name!r}")
        for name, low in {"steps": 1, "restarts": 1, "eot": 0, "draws": 1}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        for eps in self.eps:
            Ball(self.norm, eps)
        named(OBJECTIVES, self.objective, "objective")
        named(RULES, self.propagation, "propagation")
        if self.sigma is not None and not 0 <= self.sigma < float("inf"):
            raise ValueError(f"sigma must be >= 0 and finite, got {self.sigma!r}")

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
    """One attack at one eps. zero_gradients and bad_gradients count images that met an all-zero or a non-finite one."""

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
    progress: Progress | None = None,
) -> Result:
    """One attack on all images, and the accuracy of the target's network on what comes out, under fresh noise.

    Raises ValueError where the attack leaves its ball or the box.
    """
    network, start, found = target.classifier, perf_counter(), []
    parts = micro_batches(len(x), network.micro_batch)

    def one(i: int) -> tuple[np.ndarray, np.ndarray, Watched]:
        s, own = parts[i], stream.from_sample(parts[i].start)
        watched = Watched(target, np.zeros(len(x[s]), bool), np.zeros(len(x[s]), bool))
        x_adv = attack(watched, x[s], labels[s], own.at("attack"))
        attack.ball.check(x_adv, x[s])
        return x_adv, judge(network, x_adv, labels[s], draws, own.at("judge")), watched

    def collect(part: tuple[np.ndarray, np.ndarray, Watched]) -> None:
        found.append(part)
        if progress:
            progress(len(part[0]))

    with network.workers() as workers:
        workers.fold(one, len(parts), collect)
    x_adv, each, watches = zip(*found, strict=True)
    return Result(
        attack=name,
        norm=attack.ball.norm,
        eps=attack.ball.eps,
        accuracy=Accuracy(np.concatenate(each)),
        gradient=target.kind,
        gradient_passes=attack.passes(target),
        seconds=perf_counter() - start,
        zero_gradients=sum(int(w.zero.sum()) for w in watches),
        bad_gradients=sum(int(w.bad.sum()) for w in watches),
        x_adv=np.concatenate(x_adv),
    )


def evaluate(
    classifier: Classifier, x: np.ndarray, labels: np.ndarray, plan: Plan, progress: Progress | None = None
) -> Iterator[Result]:
    """Each attack of the plan at each eps on the defended network; yields a result at a time.

    x: (N, C, H, W), floats in [0, 1] or 8-bit; labels: (N,). progress: called with the number of images done.
    Raises ValueError for what does not fit the network.
    """
    x = _checked(classifier, x, labels)
    keep_freed_memory()
    defended = classifier if plan.sigma is None else classifier.with_sigma(plan.sigma)
    for eps in plan.eps:
        for name in plan.attacks:
            stream = Stream(plan.seed).at(name, plan.norm, repr(float(eps)))
            yield run(
                name, plan.attack(name, eps), plan.target(name, defended), x, labels, plan.draws, stream, progress
            )


def worst_case(classifier: Classifier, labels: np.ndarray, results: list[Result], plan: Plan) -> Accuracy:
    """Accuracy where each image meets the attack that hurt it most, judged on noise that did not choose it.

    results: of one norm and eps. Reporting the best attack, or a mean over attacks, would flatter the defence.
    """
    defended = classifier if plan.sigma is None else classifier.with_sigma(plan.sigma)
    # An attack takes an image over from one that is stronger overall only where it is so beyond two standard errors of
    # the draws: to take the luckier of two attacks that are alike would let luck choose, and lose more than it gains.
    strongest = sorted(results, key=lambda r: r.accuracy.mean)
    best, choice = strongest[0].accuracy.each, np.zeros(len(labels), int)
    for i, result in enumerate(strongest[1:], start=1):
        each = result.accuracy.each
        surely = best - each > (2 * _standard_error(best, each, plan.draws) if defended.sigma > 0 else 0)
        best, choice = np.where(surely, each, best), np.where(surely, i, choice)
    x_adv = np.stack([r.x_adv for r in strongest])[choice, np.arange(len(choice))]
    stream = Stream(plan.seed).at("worst case", repr(float(results[0].eps)))
    return accuracy(defended, x_adv, labels, plan.draws, stream)


def _standard_error(p: np.ndarray, q: np.ndarray, draws: int) -> np.ndarray:
    """Of the difference of two parts of `draws` draws; half a hit is added to both sides, lest 0 and 1 look certain."""
    p, q = ((draws * part + 0.5) / (draws + 1) for part in (p, q))
    return np.asarray(np.sqrt((p * (1 - p) + q * (1 - q)) / draws))
