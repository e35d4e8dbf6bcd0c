"""Robust accuracy: attacks run on the defended model, success judged on fresh noise, bounds checked here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from npsnn.attacks.balls import check_grid
from npsnn.attacks.base import Attack, ask, attacked, check_fit, in_place, target_of
from npsnn.attacks.beside import Beside
from npsnn.attacks.flags import of_replaced
from npsnn.attacks.groups import STANDARD, Group, Grouping, grouped
from npsnn.attacks.judging import Accuracy, Judging, Progress, accuracy, checked, checked_judging, each_part, not_finite
from npsnn.attacks.kept import Kept, named, spared
from npsnn.attacks.results import Result
from npsnn.attacks.targets import NetworkTarget
from npsnn.attacks.watched import Watched
from npsnn.backend import stacked, to_host
from npsnn.classifier import Classifier
from npsnn.streams import Stream


class Attacked(NamedTuple):
    """What comes of an attack on a micro-batch.

    x_adv: adversarial images, of the shape of the images.
    zero, bad: which images met an all-zero and a non-finite gradient, (N,).
    once: which were misread under the attack's eyes at least once, (N,).
    rising: of which the loss still rose where the steps ended, (N,).
    """

    x_adv: np.ndarray
    zero: np.ndarray
    bad: np.ndarray
    once: np.ndarray
    rising: np.ndarray


@dataclass(frozen=True)
class Attacking:
    """An attack on a target, as a job that workers can be handed.

    on_grid: whether its images are rounded to 8 bits.
    Raises ValueError where the attack leaves its ball or the box.
    """

    attack: Attack
    target: NetworkTarget
    on_grid: bool = False

    @property
    def name(self) -> str:
        """The attack's name in files."""
        ball = self.attack.ball
        return named(ask(self.attack, "label"), ask(self.attack, "says"), ball.norm, ball.eps)

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> Attacked:
        there = in_place(self.attack, self.target, x, labels)
        watched = Watched.of(self.target, there[0], stream, self.on_grid)
        x_adv = to_host(attacked(self.attack, watched, *there, stream))
        notes, none = watched.notes, watched.notes[0] & False
        rises = watched.climbs.rising(notes[0]) if ask(self.attack, "climbs") else none
        zero, bad, once, lost, rising = to_host(stacked([*notes, rises]))
        if lost.any():
            raise not_finite(self.target.classifier)
        try:
            self.attack.ball.check(x_adv, x)
        except ValueError as error:
            raise ValueError(f"{ask(self.attack, 'label')}: {error}") from None
        if self.on_grid:
            x_adv = self.attack.ball.on_grid(x_adv, x)
        return Attacked(x_adv, zero, bad, once, rising)


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
    on_grid: bool = False,
) -> Result:
    """One attack on all images, and the accuracy of the target's network on what comes out, under fresh noise.

    judging: the stream of that noise, by default one of `stream`'s. on_grid: whether the images are rounded to 8 bits.
    Raises ValueError where the attack leaves its ball or the box.
    """
    network, job, start = target.classifier, Attacking(attack, target, on_grid), perf_counter() + spared()
    size = 1 if ask(attack, "one_by_one") else None
    parts = each_part(network, job, x, labels, stream.at("attack"), progress, size)
    seconds = perf_counter() + spared() - start
    found = Attacked(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    left = accuracy(target.judged, found.x_adv, labels, draws, judging or stream.at("judge"))
    return _result(name, attack, target, x, found, left, seconds)


def _result(
    name: str, attack: Attack, target: NetworkTarget, x: np.ndarray, found: Attacked, left: Accuracy, seconds: float
) -> Result:
    return Result(
        attack=name,
        norm=attack.ball.norm,
        eps=attack.ball.eps,
        accuracy=left,
        gradient=target.kind,
        gradient_passes=ask(attack, "passes")(target),
        seconds=seconds,
        zero_gradients=int(found.zero.sum()),
        bad_gradients=int(found.bad.sum()),
        x_adv=found.x_adv,
        says=ask(attack, "says"),
        size=attack.ball.size(found.x_adv.astype(np.float64) - x),
        misread_once=int(found.once.sum()),
        noise_ignored=target.kind == "expectation" and target.attacked is None and target.classifier.random,
        met_zero=found.zero,
        met_bad=found.bad,
        known=target.judging,
        rising=found.rising,
        x=x,
        by=attack,
        replaced=tuple(of_replaced(target.objective, target.classifier.model.classes)),
    )


def robust_accuracy(
    network: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    attacks: Iterable[Any] | Grouping,
    judging: Judging | None = None,
    progress: Progress | None = None,
    clean: Accuracy | None = None,
    keep: Kept | None = None,
) -> Iterator[Result]:
    """The accuracy that each attack leaves of the defended network; yields a result at a time.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    attacks: values such as attacks.PGD(8 / 255), or any objects with a ball and attack(target, x, labels, stream); or a
        group such as attacks.auto(network, 0.1).
    judging: the defender's noise, and the draws on which success is judged. Attacks of one ball meet the same draws, so
        that their differences are not those of the noise.
    progress: called with the number of images done, in all len(attacks) times N.
    clean: the accuracy of the defended network on as many draws, where it is known already.
    keep: a file that keeps what is done of each attack, so that a call after this one was stopped goes on from there.
    Raises TypeError for what is no attack, ValueError for what does not fit the network, the judging, or the file.
    """
    judging = checked_judging(judging or Judging())
    x, labels = checked(network, x, labels)
    if judging.on_grid:
        check_grid(x)
    defended = judging.defended(network)
    groups = grouped(attacks, defended)
    check_fit((attack for group in groups for attack in group), defended)
    if judging.on_grid:  # AutoAttack rounds nothing, and stops at what it has misread
        groups = [replace(group, name="auto") if group.name == STANDARD else group for group in groups]
    results = _each(defended, x, labels, groups, judging, progress, clean)
    if keep is None:
        return results
    keep.begin(defended, x, labels, groups, judging)
    return keep.over(results)


def _each(
    defended: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    groups: list[Group],
    judging: Judging,
    progress: Progress | None,
    clean: Accuracy | None,
) -> Iterator[Result]:
    clean = clean or accuracy(defended, x, labels, judging.draws, judging.stream)
    beside = Beside(x, labels, judging)
    for group in groups:
        stream = judging.stream.at(group.ball.norm, repr(float(group.ball.eps)))
        targets = [target_of(attack, defended) for attack in group]
        judge = stream.at("judge")
        if group.in_turn(defended, targets):
            judge = judging.knowing(targets[0].judging) or judge
            found = _in_turn(group, targets, x, labels, stream, judge, progress, judging.on_grid)
            yield from (replace(r, **beside.of(r.by, t)) for r, t in zip(found, targets, strict=True))
            continue
        for attack, target in zip(group, targets, strict=True):
            name = ask(attack, "label")
            own, before = stream.at(name), clean
            known = judging.knowing(target.judging)
            draws, by = (judging.draws, judge) if known is None else (1, known)
            if known is not None:
                before = accuracy(defended, x, labels, draws, by)
            result = run(name, attack, target, x, labels, draws, own, by, progress, judging.on_grid)
            if (control := ask(attack, "control")()) is not None:
                alone = run(name, control, target, x, labels, draws, own, by, None, judging.on_grid)
                result = replace(result, control=alone.misread_once)
            yield replace(result, clean=before.each, group=group.name, **beside.of(attack, target))


def _in_turn(
    group: Group,
    targets: list[NetworkTarget],
    x: np.ndarray,
    labels: np.ndarray,
    stream: Stream,
    judge: Stream,
    progress: Progress | None,
    on_grid: bool,
) -> Iterator[Result]:
    """Each member on the images that are still right, of a network that has one answer to each image."""
    network, found, none = targets[0].judged, x, np.zeros(len(x), bool)
    clean = each = accuracy(network, x, labels, 1, judge).each
    for attack, target in zip(group, targets, strict=True):
        name, met, seconds = ask(attack, "label"), each == 1, 0.0
        so_far = Attacked(found, none, none, none, none)
        # the graphs of a GPU are of whole batches, and so is a draw that the images of a micro-batch share
        whole = network.on_gpu or network.shares_draws
        left = np.arange(len(x)) if whole and met.any() else np.flatnonzero(met)
        own, judged = (s if len(left) == len(x) else s.chosen(left) for s in (stream.at(name), judge))
        if progress:
            progress(len(x) - len(left))
        if len(left):
            part = run(name, attack, target, x[left], labels[left], 1, own, judged, progress, on_grid)
            seconds = part.seconds
            its = (part.x_adv, part.met_zero, part.met_bad, none[left], part.rising)
            so_far = Attacked(*(_where(met, left, new, old) for new, old in zip(its, so_far, strict=True)))
            found = so_far.x_adv
        # all anew: the answers of whole micro-batches are those by which the worst case is judged
        accuracy_left = accuracy(network, found, labels, 1, judge)
        each = accuracy_left.each
        result = _result(name, attack, target, x, so_far, accuracy_left, seconds)
        yield replace(result, clean=clean, group=group.name, met=met)


def _where(met: np.ndarray, left: np.ndarray, new: Any, old: np.ndarray) -> np.ndarray:
    """What is new, of the images `left`, where an image was met, and else what was before: (N, ...)."""
    whole = old.copy()
    whole[left] = new
    return np.where(met.reshape(-1, *[1] * (old.ndim - 1)), whole, old)
