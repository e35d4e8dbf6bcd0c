"""How long attacks will take: their passes, and the time that a first micro-batch takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from npsnn.attacks.checklist.suite import Checklist, Suite
from npsnn.attacks.judging import checked
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.plan import Attack, Plan
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.targets import NetworkTarget
from npsnn.classifier import Classifier
from npsnn.streams import Stream
from npsnn.workers.threads import micro_batches


@dataclass(frozen=True)
class Cost:
    """The cost of attacks.

    passes: of one image, forward and backward, or forward alone where an attack needs no more; without the judging.
    seconds: of all images with the judging, on all threads. It may be off by half.
    """

    passes: int
    seconds: float


def cost(classifier: Classifier, x: np.ndarray, labels: np.ndarray, options: Plan | Checklist) -> Cost:
    """The cost of `evaluate` with a plan, or of `inspect` with a checklist; images and labels as theirs.

    Raises ValueError for what does not fit the network.
    """
    if isinstance(options, Checklist):
        planned = Suite(classifier, x, labels, options, None).planned()
    else:
        defended = options.defended(classifier)
        planned = [(options.attack(*run), options.target(run[0], defended)) for run in options.runs()]
    x, labels = checked(classifier, x, labels)
    return _cost(planned, x, labels, options.draws)


def _cost(planned: Sequence[tuple[Attack, NetworkTarget]], x: np.ndarray, labels: np.ndarray, draws: int) -> Cost:
    network = planned[0][1].classifier
    batches = micro_batches(len(x), network.micro_batch)
    first = batches[0]
    seconds: dict[tuple[str, str], float] = {}
    total = passes = 0.0
    for attack, target in planned:
        searches = isinstance(attack, RandomSearch | OnePixel)
        key = "forward" if searches else target.kind, str(target.rule)
        if key not in seconds:
            seconds[key] = _timed(target, x[first], labels[first], searches)
        passes += attack.passes(target)
        total += attack.passes(target) * seconds[key]
    judging = _timed(planned[0][1], x[first], labels[first], forward=True)
    total += len(planned) * (draws if network.random else 1) * judging
    threads = min(network.workers().threads, len(batches))
    return Cost(int(passes), total * len(x) / len(x[first]) / threads)


def _timed(target: NetworkTarget, x: np.ndarray, labels: np.ndarray, forward: bool) -> float:
    """Seconds of one pass of a micro-batch, as the threads compute it."""
    one_draw, stream = replace(target, draws=1), Stream(0).at("estimate")

    def once(s: slice) -> float:
        start = perf_counter()
        if forward:
            one_draw.misread(x, labels, 1, stream)
        else:
            one_draw(x, labels, stream)
        return perf_counter() - start

    once(slice(0))  # the first call also makes room
    return float(target.classifier.each_batch(once, 1)[0])
