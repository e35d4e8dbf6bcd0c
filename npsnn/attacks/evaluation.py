"""Robust accuracy: attacks run on the defended model, success judged on fresh noise, bounds checked here."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.judging import Accuracy, Progress, accuracy, checked
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.plan import Attack, Plan
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.targets import NetworkTarget
from npsnn.classifier import Classifier
from npsnn.runs.caveats import Caveat, of_attack
from npsnn.streams import Stream


@dataclass(frozen=True, eq=False)
class Result:
    """One attack at one eps; an infinite one for an attack that looks for the nearest image.

    zero_gradients and bad_gradients count the images that met an all-zero or a non-finite one; seconds are those of the
    attack alone, without the judging. kappa: of C&W. size: the norm of each image's perturbation, (N,). misread_once:
    the images that the attack itself saw misread at least once. control: as many for random search without its
    perturbations. noise_ignored: whether the gradient is that of the network without the noise it is defended by.
    met_zero, met_bad: which images met an all-zero or a non-finite gradient, (N,). x: the
    images before the attack. clean: the part of the draws in which each of these is right, (N,).
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
    kappa: float | None = None
    size: np.ndarray | None = field(default=None, repr=False)
    misread_once: int = 0
    control: int | None = None
    noise_ignored: bool = False
    met_zero: np.ndarray | None = field(default=None, repr=False)
    met_bad: np.ndarray | None = field(default=None, repr=False)
    x: np.ndarray | None = field(default=None, repr=False)
    clean: np.ndarray | None = field(default=None, repr=False)

    @property
    def caveats(self) -> list[Caveat]:
        """The reasons to read the accuracy with care."""
        met = (self.zero_gradients, self.bad_gradients)
        return of_attack(self.norm, self.eps, *met, len(self.accuracy.each), self.noise_ignored)

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Figures of each image, each (N,): the part of the draws that are right with and without the attack, the
        norm of its perturbation, and whether it met an all-zero or a non-finite gradient.
        """
        known = {"right": self.accuracy.each, "size": self.size, "met_zero": self.met_zero, "met_bad": self.met_bad}
        known["clean"] = self.clean
        return {name: values for name, values in known.items() if values is not None}

    @property
    def success(self) -> np.ndarray:
        """Which images at least half of the draws misread, whatever the attack took for success: (N,)."""
        return self.accuracy.each <= 0.5

    @property
    def misread_anyway(self) -> np.ndarray:
        """Which images at least half of the draws misread without the attack: (N,); none where that is not known.

        So do the fresh draws where the attack returned the clean image.
        """
        if self.clean is None:
            return np.zeros(len(self.x_adv), bool)
        unmoved = False if self.size is None else self.success & (self.size == 0)
        return np.asarray((self.clean <= 0.5) | unmoved)

    @property
    def moved(self) -> np.ndarray:
        """Which images most draws read correctly without the attack and misread under it, (N,)."""
        return np.asarray(self.success & ~self.misread_anyway)

    @property
    def distances(self) -> tuple[float, float] | None:
        """Median and mean of the norm over the images that were moved; None where none was."""
        if self.size is None or not self.moved.any():
            return None
        return float(np.median(self.size[self.moved])), float(self.size[self.moved].mean())


@dataclass
class Watched:
    """A target that notes which images ever met a zero or a non-finite gradient, and passes on 0 for the latter.

    And which were ever misread under the attack's eyes.
    """

    target: NetworkTarget
    zero: np.ndarray
    bad: np.ndarray
    once: np.ndarray

    @property
    def passes(self) -> int:
        return self.target.passes

    @property
    def random(self) -> bool:
        return self.target.random

    def looks(self, draws: int) -> int:
        return self.target.looks(draws)

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        loss, g = self.target(x, labels, stream)
        flat = g.reshape(len(g), -1)
        bad = ~np.isfinite(flat).all(axis=1)
        self.bad |= bad
        self.zero |= (flat == 0).all(axis=1)
        return loss, np.where(bad[:, None, None, None], 0, g) if bad.any() else g

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        return self.target.value(x, labels, stream)

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        part = self.target.misread(x, labels, draws, stream)
        self.once |= part > 0
        return part


def run(
    name: str,
    attack: Attack,
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
        watched = Watched(target, *(np.zeros(len(x[s]), bool) for _ in range(3)))
        x_adv = attack(watched, x[s], labels[s], stream.at("attack").further(s.start))
        attack.ball.check(x_adv, x[s])
        return x_adv, watched

    found = _split(network, attack).each_batch(one, len(x), progress)
    seconds = perf_counter() - start
    x_adv = np.concatenate([part for part, _ in found])
    met_zero, met_bad = (np.concatenate(flags) for flags in zip(*((w.zero, w.bad) for _, w in found), strict=True))
    return Result(
        attack=name,
        norm=attack.ball.norm,
        eps=attack.ball.eps,
        accuracy=accuracy(network, x_adv, labels, draws, judging or stream.at("judge")),
        gradient=target.kind,
        gradient_passes=attack.passes(target),
        seconds=seconds,
        zero_gradients=int(met_zero.sum()),
        bad_gradients=int(met_bad.sum()),
        x_adv=x_adv,
        kappa=attack.kappa if isinstance(attack, CarliniWagner) else None,
        size=attack.ball.size(x_adv.astype(np.float64) - x),
        misread_once=sum(int(w.once.sum()) for _, w in found),
        noise_ignored=target.kind == "expectation" and network.sigma > 0,
        met_zero=met_zero,
        met_bad=met_bad,
        x=x,
    )


def _split(network: Classifier, attack: Attack) -> Classifier:
    """The network by which images are dealt to threads: One-Pixel has a batch of candidates for each image."""
    one_by_one: Any = replace(network.model, micro_batch=1)
    return replace(network, model=one_by_one) if isinstance(attack, OnePixel) else network


def evaluate(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    plan: Plan,
    progress: Progress | None = None,
    clean: Accuracy | None = None,
) -> Iterator[Result]:
    """Each attack of the plan at each eps on the defended network; yields a result at a time.

    x: (N, C, H, W), floats in [0, 1] or 8-bit; labels: (N,). progress: called with the number of images done. The
    attacks of one eps are judged on the same draws, so that their differences are not those of the noise.
    clean: the accuracy of the defended network on `plan.draws` draws, where it is known already.
    Raises ValueError for what does not fit the network.
    """
    x, labels = checked(classifier, x, labels)
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan, got {plan!r}")
    defended = plan.defended(classifier)
    clean = clean or accuracy(defended, x, labels, plan.draws, plan.seed)
    targets = {name: plan.target(name, defended) for name in plan.attacks}
    for name, strength in plan.runs():
        attack, target = plan.attack(name, strength), targets[name]
        stream = Stream(plan.seed).at(attack.ball.norm, repr(float(attack.ball.eps)))
        own, judging = stream.at(name), stream.at("judge")
        result = run(name, attack, target, x, labels, plan.draws, own, judging, progress)
        if isinstance(attack, RandomSearch):
            control = run(name, attack.control(), target, x, labels, plan.draws, own, judging)
            result = replace(result, control=control.misread_once)
        yield replace(result, clean=clean.each)
