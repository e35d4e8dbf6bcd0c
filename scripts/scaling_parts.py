"""What the cost model has to know of a host's work, in seconds of a thread's own time, which other work disturbs less.

The length of a part of 64 images is not measured here: docs/performance.json has it.
"""

import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from time import thread_time
from typing import Any

import numpy as np
from bench_report import processor
from scaling_content import TRAININGS, Content, batch

from npsnn.host import keep_freed_memory
from npsnn.runs.environment import environment
from npsnn.train.epochs import Trainer
from npsnn.workers.threads import Threads

MICRO_BATCHES = (64, 16, 8)
OFTEN = 200
"""How often what takes microseconds is done in a turn."""


def seconds(work: Callable[[], object], times: int = 1) -> float:
    start = thread_time()
    for _ in range(times):
        work()
    return (thread_time() - start) / times


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Of one training: a part of each size, an update, and what a rank does with a letter of another one.

    The sizes take turns, and the first turn warms up. To read what another rank with m parts says in all meetings of a
    step takes a + b m: "letter" has a and b. "added" is the sum of two arrays that parts bring, over all meetings.
    """
    training, content = TRAININGS[name](), Content.of(TRAININGS[name]())
    data = batch(training, max(MICRO_BATCHES))
    with Threads(1) as workers:
        trainers = [Trainer(replace(training, micro_batch=n), data, data, workers, "cpu") for n in MICRO_BATCHES]
        state = trainers[0].initial()
        grads = trainers[0].gradient(state.params, np.arange(2)).grads or {}
        sized = zip(trainers, MICRO_BATCHES, strict=True)
        works = [partial(trainer.gradient, state.params, np.arange(n)) for trainer, n in sized]
        works.append(partial(trainers[0].updated, state, grads, 1e-9))
        turns = [[seconds(work) for work in works] for _ in range(1 + rounds)]
    *parts, update = (median(column) for column in zip(*turns[1:], strict=True))
    said = ([partial(pickle.loads, each.data) for each in content.written(m, 1)] for m in (1, 9))
    one, nine = (sum(seconds(work, OFTEN) for work in works) for works in said)
    of_part = (nine - one) / 8
    added = sum(seconds(partial(np.add, x, x), OFTEN) for x in content.brought)
    return {
        "parts": {str(n): part for n, part in zip(MICRO_BATCHES, parts, strict=True)},
        "update": update,
        "letter": [max(one - of_part, 0.0), of_part],
        "added": added,
    }


def report(rounds: int) -> dict[str, Any]:
    """All trainings, with the machine."""
    keep_freed_memory()
    found = {name: measured(name, rounds) for name in TRAININGS}
    return {"environment": environment() | {"processor": processor()}, "rounds": rounds, "seconds": found}
