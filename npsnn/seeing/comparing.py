"""Networks compared on the same images and the same draws: what each leaves, and the paired differences."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from math import isinf
from typing import Any

import numpy as np

from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.groups import Group, Grouping, grouped
from npsnn.attacks.judging import Accuracy, Judging, Progress, accuracy, checked_judging
from npsnn.attacks.results import Result
from npsnn.attacks.statistics import paired_interval, sign_flip
from npsnn.attacks.worst import CLEAN, caveats_together, worst_case
from npsnn.classifier import Classifier
from npsnn.runs.caveats import Caveat

WORST = "worst of them"


@dataclass(frozen=True)
class Paired:
    """How much more of the same images one network reads correctly than another.

    mean: of the differences over images, a fraction of images.
    ci95: its 95 % interval, of `npsnn.attacks.statistics.paired_interval`.
    p_value: how often two networks that are alike would differ by as much, either way (two-sided sign-flip test).
    """

    mean: float
    ci95: tuple[float, float]
    p_value: float

    @staticmethod
    def of(one: np.ndarray, other: np.ndarray) -> "Paired":
        """Compare the accuracies of each image, (N,) twice."""
        each = one - other
        p_value = min(1.0, 2 * min(sign_flip(each), sign_flip(-each)))
        return Paired(float(each.mean()), paired_interval(each), p_value)


@dataclass(frozen=True, eq=False)
class Compared:
    """What several networks leave under one attack, made on each of them.

    attack: the attack's name, "no attack" for the images as they are, "worst of them" for the worst of one ball.
    norm, eps: of its ball; "" and 0 without an attack, an infinite eps for an attack that looks for the nearest image.
    accuracies: of each network by its name.
    differences: of each network but the first to the first.
    caveats: what qualifies the accuracy of each network.
    """

    attack: str
    norm: str
    eps: float
    accuracies: Mapping[str, Accuracy]
    differences: Mapping[str, Paired]
    caveats: Mapping[str, tuple[Caveat, ...]] = field(default_factory=dict)


def compare(
    networks: Mapping[str, Classifier],
    x: np.ndarray,
    labels: np.ndarray,
    attacks: Iterable[Any] | Grouping = (),
    judging: Judging | None = None,
    progress: Progress | None = None,
) -> Iterator[Compared]:
    """Compare networks without an attack, then under each attack; yields a row at a time.

    Each network meets the same images, and draws with the same keys: what one draw adds to an image is the same
    wherever two networks have noise layers of one place and shape. Each attack is made on each network anew.

    networks: two or more by name, of one image shape; the first is the one that the others are compared with.
    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    attacks: as for `npsnn.attacks.robust_accuracy`. A member of a group that not all networks meet has no row; the line
        of the worst case has it. The rows of one ball come together.
    judging: as for `robust_accuracy`.
    progress: called with the number of images done: each without an attack, and under each attack, on each network.
    Raises ValueError for fewer than two networks, TypeError and ValueError as `robust_accuracy` does.
    """
    judging = checked_judging(judging or Judging())
    attacks = list(attacks) if isinstance(attacks, Iterator) else attacks
    if len(networks) < 2:
        raise ValueError(f"networks must hold two or more to compare, got {len(networks)}")
    defended = {name: judging.defended(network) for name, network in networks.items()}
    groups = {name: _by_ball(grouped(attacks, network)) for name, network in defended.items()}
    return _rows(networks, defended, groups, x, labels, judging, progress)


def _rows(
    networks: Mapping[str, Classifier],
    defended: Mapping[str, Classifier],
    groups: Mapping[str, list[Group]],
    x: np.ndarray,
    labels: np.ndarray,
    judging: Judging,
    progress: Progress | None,
) -> Iterator[Compared]:
    clean = {name: accuracy(n, x, labels, judging.draws, judging.stream, progress) for name, n in defended.items()}
    yield _row(CLEAN, "", 0.0, clean, {})
    for (_, eps), entries in groupby(zip(*groups.values(), strict=True), lambda entry: _ball(entry[0])):
        of_ball: dict[str, list[Result]] = {name: [] for name in networks}
        for entry in entries:
            found = {
                name: list(robust_accuracy(networks[name], x, labels, [group], judging, progress, clean[name]))
                for name, group in zip(networks, entry, strict=True)
            }
            yield from _common(found)
            for name, results in found.items():
                of_ball[name] += results
        if not isinf(eps) and any(len(results) > 1 for results in of_ball.values()):
            yield _worst(networks, labels, of_ball, judging)


def _ball(group: Group) -> tuple[str, float]:
    return group.ball.norm, float(group.ball.eps)


def _by_ball(groups: list[Group]) -> list[Group]:
    """The groups with those of one ball together: the worst case of a ball is of all its attacks."""
    places = list(dict.fromkeys(map(_ball, groups)))
    return sorted(groups, key=lambda group: places.index(_ball(group)))


def _common(found: Mapping[str, list[Result]]) -> Iterator[Compared]:
    """A row for each attack that all networks met with all images."""
    by_name = {name: {r.title: r for r in results if r.met is None} for name, results in found.items()}
    first = next(iter(by_name.values()))
    for attack, result in first.items():
        if all(attack in results for results in by_name.values()):
            met = {name: results[attack] for name, results in by_name.items()}
            caveats = {name: tuple(r.caveats) for name, r in met.items()}
            yield _row(attack, result.norm, result.eps, {name: r.accuracy for name, r in met.items()}, caveats)


def _worst(
    networks: Mapping[str, Classifier], labels: np.ndarray, results: Mapping[str, list[Result]], judging: Judging
) -> Compared:
    """The row of the worst case of each network."""
    found = {name: worst_case(networks[name], labels, own, judging) for name, own in results.items()}
    first = next(iter(results.values()))[0]
    caveats = {name: tuple(caveats_together(results[name], worst)) for name, worst in found.items()}
    return _row(WORST, first.norm, first.eps, found, caveats)


def _row(
    attack: str,
    norm: str,
    eps: float,
    accuracies: Mapping[str, Accuracy],
    caveats: Mapping[str, tuple[Caveat, ...]],
) -> Compared:
    first, *others = accuracies
    differences = {name: Paired.of(accuracies[name].each, accuracies[first].each) for name in others}
    shared = Caveat("shared-draws", "images share draws, and what is said of differences leaves out how draws differ")
    found = {n: (*caveats.get(n, ()), *([shared] if a.draws is not None else [])) for n, a in accuracies.items()}
    return Compared(attack, norm, eps, dict(accuracies), differences, found)
