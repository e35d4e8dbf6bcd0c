"""How long attacks will take: their passes, and the time that a first micro-batch takes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from npsnn.attacks.base import ask, target_of
from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.groups import Grouping, grouped
from npsnn.attacks.judging import Judging, checked, checked_judging
from npsnn.attacks.targets import NetworkTarget
from npsnn.backend import to_device, to_host
from npsnn.classifier import Classifier
from npsnn.streams import Stream
from npsnn.workers.base import micro_batches


@dataclass(frozen=True)
class Cost:
    """The cost of attacks.

    passes: of one image, forward and backward, or forward alone where an attack needs no more; without the judging.
    seconds: of all images with the judging, on all threads. It may be off by half.
    """

    passes: int
    seconds: float


def cost(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    attacks: Iterable[Any] | Grouping | Checklist,
    judging: Judging | None = None,
) -> Cost:
    """The cost of `robust_accuracy`, or of `examine` with a checklist.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    attacks: the attacks of `robust_accuracy`, or the options of `examine`.
    judging: that of `robust_accuracy`; a checklist has its own.
    Raises TypeError for what is no attack, ValueError for what does not fit the network.
    """
    if isinstance(attacks, Checklist):
        planned, judging = Suite(classifier, x, labels, attacks, None).planned(), attacks.judging
    else:
        judging = checked_judging(judging or Judging())
        planned = [attack for group in grouped(attacks, judging.defended(classifier)) for attack in group]
    x, labels = checked(classifier, x, labels)
    network = judging.defended(classifier)
    return _cost([(a, target_of(a, network)) for a in planned], network, x, labels, judging.draws)


def _cost(
    planned: list[tuple[Any, NetworkTarget]], network: Classifier, x: np.ndarray, labels: np.ndarray, draws: int
) -> Cost:
    batches = micro_batches(len(x), network.micro_batch)
    first = batches[0]
    seconds: dict[tuple[str, str, str], float] = {}
    total = passes = 0.0
    for attack, target in planned:
        forward = ask(attack, "forward_only")
        key = "forward" if forward else target.kind, str(target.rule), target.classifier.model.name
        if key not in seconds:
            seconds[key] = _timed(target, x[first], labels[first], forward)
        needed = ask(attack, "passes")(target)
        passes += needed
        total += needed * seconds[key]
    if planned:
        judging = _timed(planned[0][1], x[first], labels[first], forward=True)
        total += len(planned) * (draws if network.random else 1) * judging
    threads = min(network.workers().threads, len(batches))
    return Cost(int(passes), total * len(x) / len(x[first]) / threads)


def _timed(target: NetworkTarget, x: np.ndarray, labels: np.ndarray, forward: bool) -> float:
    """Seconds of one pass of a micro-batch, as the threads compute it.

    On a GPU, where the draws share layers, a part of the seconds of all.
    """
    network, stream = target.classifier, Stream(0).at("estimate")
    timed = target if network.on_gpu else replace(target, draws=1)
    if network.on_gpu:
        x, labels = to_device(x, "cuda"), to_device(labels, "cuda")

    def once(s: slice) -> float:
        start = perf_counter()
        # the host has waited once the answer is there
        to_host(timed.misread(x, labels, 1, stream) if forward else timed(x, labels, stream)[0])
        return (perf_counter() - start) / (1 if forward else timed.passes)

    for _ in range(2 if network.on_gpu else 1):  # the first call also makes room, a second one records a graph
        once(slice(0))
    return float(network.each_batch(once, 1)[0])
