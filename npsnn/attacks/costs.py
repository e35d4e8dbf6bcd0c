"""How long attacks will take: their passes, and the time that a first micro-batch takes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf
from time import perf_counter
from typing import Any

import numpy as np

from npsnn.attacks.base import ask, target_of
from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.groups import Group, Grouping, grouped
from npsnn.attacks.judging import Judging, checked, checked_judging
from npsnn.attacks.targets import NetworkTarget, sampled
from npsnn.backend import Array, to_device, to_host
from npsnn.classifier import Classifier
from npsnn.streams import Stream
from npsnn.workers.base import micro_batches

LOOKS = 10
"""The draws by which a look is timed."""


@dataclass(frozen=True)
class Cost:
    """The cost of attacks.

    passes: of one image, forward and backward, or forward alone where an attack needs no more; without the judging.
    seconds: of all images with the judging, on all threads. It may be off by half.
    each: seconds of each attack with its judging, in the order in which they run.
    choosing: seconds in which the worst attack of each image is chosen, of each ball in turn.
    at_most: whether attacks run in turn, so that images which one takes cost nothing more.
    """

    passes: int
    seconds: float
    each: tuple[float, ...] = ()
    choosing: tuple[float, ...] = ()
    at_most: bool = False


def cost(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    attacks: Iterable[Any] | Grouping | Checklist,
    judging: Judging | None = None,
) -> Cost:
    """The cost of `robust_accuracy` and of `worst_case` for each ball, or of `examine` with a checklist.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    attacks: the attacks of `robust_accuracy`, or the options of `examine`.
    judging: that of `robust_accuracy`; a checklist has its own.
    Raises TypeError for what is no attack, ValueError for what does not fit the network.
    """
    if isinstance(attacks, Checklist):
        suite, judging = Suite(classifier, x, labels, attacks, None), attacks.judging
        groups = [Group("", (attack,)) for attack in suite.planned()]
    else:
        judging = checked_judging(judging or Judging())
        groups = grouped(attacks, judging.defended(classifier))
    x, labels = checked(classifier, x, labels)
    network = judging.defended(classifier)
    targets = [[target_of(attack, network) for attack in group] for group in groups]
    first = micro_batches(len(x), network.micro_batch)[0]
    batches = len(x) / (first.stop - first.start) / min(network.workers().threads, -(-len(x) // network.micro_batch))
    look = batches * _timed(sampled(network, LOOKS), x[first], labels[first], "look")
    judging = judging if network.random else replace(judging, draws=1, selection=1)
    choosing = tuple(look * looks for looks in _choosing(groups, judging) if not isinstance(attacks, Checklist))
    planned = [
        (attack, target)
        for group, its in zip(groups, targets, strict=True)
        for attack, target in zip(group, its, strict=True)
    ]
    seconds: dict[tuple[str, str, int, str, str], float] = {}
    each, passes = [], 0
    for attack, target in planned:
        what = "value" if ask(attack, "forward_only") else "gradient"
        key = what, target.kind, target.passes, str(target.rule), target.classifier.model.name
        if key not in seconds:
            seconds[key] = batches * _timed(target, x[first], labels[first], what)
        needed = ask(attack, "passes")(target)
        passes += needed
        each.append(needed * seconds[key] + judging.draws * look)
    in_turns = any(group.in_turn(network, its) for group, its in zip(groups, targets, strict=True))
    return Cost(int(passes), sum(each) + sum(choosing), tuple(each), choosing, in_turns)


def _choosing(groups: list[Group], judging: Judging) -> list[int]:
    """The looks at an image by which `worst_case` chooses among the attacks of each ball, and judges the choice."""
    counts = [(ball, sum(map(len, some))) for ball, some in groupby(groups, lambda group: group.ball)]
    judged = 3 * judging.draws  # the worst, the strongest, and the image as it is
    return [(count + 1) * judging.selection + judged if count > 1 and ball.eps < inf else 0 for ball, count in counts]


def _timed(target: NetworkTarget, x: np.ndarray, labels: np.ndarray, what: str) -> float:
    """Seconds of one pass of a micro-batch, as the threads compute it; of draws, which share layers, a part of all.

    what: a "gradient", a "value" of the loss, or a "look" at the answers.
    """
    network, stream, timed = target.classifier, Stream(0).at("estimate"), target.unaimed
    if network.on_gpu:
        x, labels = to_device(x, "cuda"), to_device(labels, "cuda")
    asked: dict[str, Callable[[], Array]] = {
        "gradient": lambda: timed(x, labels, stream)[0],
        "value": lambda: timed.value(x, labels, stream),
        "look": lambda: timed.misread(x, labels, LOOKS, stream),
    }
    passes = timed.looks(LOOKS) if what == "look" else timed.passes

    def once(s: slice) -> float:
        start = perf_counter()
        to_host(asked[what]())  # the host has waited once the answer is there
        return (perf_counter() - start) / passes

    for _ in range(2 if network.on_gpu else 1):  # the first call also makes room, a second one records a graph
        once(slice(0))
    return float(network.each_batch(once, 1)[0])
