"""Robust accuracy: attacks run on the defended model, success judged on fresh noise, bounds checked here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from npsnn.attacks.base import Attack, ask, attacked, checked_attack, in_place, target_of
from npsnn.attacks.judging import Accuracy, Judging, Progress, accuracy, checked, checked_judging, each_part, not_finite
from npsnn.attacks.targets import NetworkTarget
from npsnn.attacks.watched import Watched
from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.runs.caveats import Caveat, of_attack
from npsnn.streams import Stream


@dataclass(frozen=True, eq=False)
class Result:
    """One attack at one eps; an infinite one for an attack that looks for the nearest image.

    attack: the attack's label.
    norm: of its ball.
    eps: of its ball.
    accuracy: what it leaves.
    gradient: the kind of its target.
    gradient_passes: of one image.
    seconds: of the attack alone, without the judging.
    zero_gradients: number of images that met an all-zero gradient.
    bad_gradients: number of images that met a non-finite gradient.
    x_adv: the images after the attack.
    says: what tells the attack from others of its label and ball, as {"kappa": 0.5}.
    size: the norm of each image's perturbation, (N,).
    misread_once: number of images that the attack itself saw misread at least once.
    control: the same number for the attack's control, random search without its perturbations.
    noise_ignored: whether the gradient is that of the network without the noise it is defended by.
    met_zero: which images met an all-zero gradient, (N,).
    met_bad: which images met a non-finite gradient, (N,).
    x: the images before the attack.
    clean: the part of the draws in which each of these is right, (N,).
    by: the attack itself.
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
    says: Mapping[str, float] = field(default_factory=dict)
    size: np.ndarray | None = field(default=None, repr=False)
    misread_once: int = 0
    control: int | None = None
    noise_ignored: bool = False
    met_zero: np.ndarray | None = field(default=None, repr=False)
    met_bad: np.ndarray | None = field(default=None, repr=False)
    x: np.ndarray | None = field(default=None, repr=False)
    clean: np.ndarray | None = field(default=None, repr=False)
    by: Any = field(default=None, repr=False)

    @property
    def kappa(self) -> float | None:
        """The confidence of C&W; None of other attacks."""
        return self.says.get("kappa")

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


class Attacked(NamedTuple):
    """What comes of an attack on a micro-batch.

    x_adv: adversarial images, of the shape of the images.
    zero, bad: which images met an all-zero and a non-finite gradient, (N,).
    once: which were misread under the attack's eyes at least once, (N,).
    """

    x_adv: np.ndarray
    zero: np.ndarray
    bad: np.ndarray
    once: np.ndarray


@dataclass(frozen=True)
class Attacking:
    """An attack on a target, as a job that workers can be handed.

    Raises ValueError where the attack leaves its ball or the box.
    """

    attack: Attack
    target: NetworkTarget

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> Attacked:
        there = in_place(self.attack, self.target, x, labels)
        watched = Watched.of(self.target, there[0], stream)
        x_adv = to_host(attacked(self.attack, watched, *there, stream))
        zero, bad, once, lost = to_host(watched.notes)
        if lost.any():
            raise not_finite(self.target.classifier)
        try:
            self.attack.ball.check(x_adv, x)
        except ValueError as error:
            raise ValueError(f"{ask(self.attack, 'label')}: {error}") from None
        return Attacked(x_adv, zero, bad, once)


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
    network, job, start = target.classifier, Attacking(attack, target), perf_counter()
    size = 1 if ask(attack, "one_by_one") else None
    parts = each_part(network, job, x, labels, stream.at("attack"), progress, size)
    seconds = perf_counter() - start
    found = Attacked(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return Result(
        attack=name,
        norm=attack.ball.norm,
        eps=attack.ball.eps,
        accuracy=accuracy(network, found.x_adv, labels, draws, judging or stream.at("judge")),
        gradient=target.kind,
        gradient_passes=ask(attack, "passes")(target),
        seconds=seconds,
        zero_gradients=int(found.zero.sum()),
        bad_gradients=int(found.bad.sum()),
        x_adv=found.x_adv,
        says=ask(attack, "says"),
        size=attack.ball.size(found.x_adv.astype(np.float64) - x),
        misread_once=int(found.once.sum()),
        noise_ignored=target.kind == "expectation" and network.random,
        met_zero=found.zero,
        met_bad=found.bad,
        x=x,
        by=attack,
    )


def robust_accuracy(
    network: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    attacks: Iterable[Any],
    judging: Judging | None = None,
    progress: Progress | None = None,
    clean: Accuracy | None = None,
) -> Iterator[Result]:
    """The accuracy that each attack leaves of the defended network; yields a result at a time.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    attacks: values such as attacks.PGD(8 / 255), or any objects with a ball and attack(target, x, labels, stream).
    judging: the defender's noise, and the draws on which success is judged. Attacks of one ball meet the same draws, so
        that their differences are not those of the noise.
    progress: called with the number of images done, in all len(attacks) times N.
    clean: the accuracy of the defended network on as many draws, where it is known already.
    Raises TypeError for what is no attack, ValueError for what does not fit the network.
    """
    judging = checked_judging(judging or Judging())
    checked_attacks = several(attacks)
    return _each(network, *checked(network, x, labels), checked_attacks, judging, progress, clean)


def several(attacks: Any) -> list[Any]:
    """The attacks; TypeError for what is none, or no list of them."""
    if not isinstance(attacks, Iterable):
        raise TypeError(f"attacks must be a list, as [attacks.PGD(8 / 255)] or plan.made(), got {attacks!r:.80}")
    return [checked_attack(attack) for attack in attacks]


def _each(
    network: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    attacks: list[Any],
    judging: Judging,
    progress: Progress | None,
    clean: Accuracy | None,
) -> Iterator[Result]:
    defended = judging.defended(network)
    clean = clean or accuracy(defended, x, labels, judging.draws, judging.seed)
    for attack in attacks:
        target, name = target_of(attack, defended), ask(attack, "label")
        stream = judging.stream.at(attack.ball.norm, repr(float(attack.ball.eps)))
        own, judge = stream.at(name), stream.at("judge")
        result = run(name, attack, target, x, labels, judging.draws, own, judge, progress)
        if (control := ask(attack, "control")()) is not None:
            alone = run(name, control, target, x, labels, judging.draws, own, judge)
            result = replace(result, control=alone.misread_once)
        yield replace(result, clean=clean.each)
