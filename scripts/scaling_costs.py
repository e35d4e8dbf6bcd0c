"""The time of a training step on many hosts, computed from the dry run's messages and from measured times of one host.

A model: nothing here was measured on several hosts. docs/scaling.md lists what it assumes.
"""

import json
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from itertools import accumulate, takewhile
from math import ceil
from pathlib import Path
from statistics import median

import checkout
import numpy as np
from scaling_content import TRAININGS, Content
from scaling_dry_run import Step, directly, from_all

from npsnn.workers.naps import LONGEST_NAP, MOVING, naps

DOCS = Path(checkout.__file__).parent.parent / "docs"
CASES = {"lenet5": "lenet5-noise-aware", "cnn5": "cnn5-noise-aware", "resnet18": "resnet18-plain"}
"""The steps of docs/performance.json: 128 images on two threads, so a part of 64 images on each."""
COUNTS = tuple(2**k for k in range(11))
"""The numbers of hosts of the curves, from 1 to 1,024."""
THREADS = 16
"""A host's, one a core, of which none hinders another."""
LOOK = 3e-6
"""Seconds of a look at a request that has not moved."""


@dataclass(frozen=True)
class Network:
    """What joins the hosts.

    latency: seconds until a message arrives.
    overhead: seconds that a host spends on each message.
    bandwidth: bytes a second, each way.
    """

    name: str
    latency: float
    overhead: float
    bandwidth: float


NETWORKS = (
    Network("25 Gb/s TCP", 30e-6, 5e-6, 2.8e9),
    Network("100 Gb/s RDMA", 3e-6, 1e-6, 11e9),
    Network("400 Gb/s RDMA", 2e-6, 0.5e-6, 44e9),
)


@dataclass(frozen=True)
class Host:
    """What one host needs for a training, in seconds.

    part: of a micro-batch on one thread, by its number of images.
    update: of the optimiser.
    letter: a and b of a + b m for reading another rank's letters of a step; m: its parts.
    added: for the sum of two parts' arrays, over all meetings of a step.
    copy: bytes read and written a second.
    """

    content: Content = field(repr=False)
    part: dict[int, float]
    update: float
    letter: tuple[float, float]
    added: float
    copy: float


@cache
def hosts() -> dict[str, Host]:
    """The measured hosts, by the name of a training, from docs/performance.json and docs/scaling-parts.json."""
    steps = json.loads((DOCS / "performance.json").read_text())["cases"]
    parts = json.loads((DOCS / "scaling-parts.json").read_text())["seconds"]
    copy = median(c["ceilings"]["copy"] for case in steps for c in case["comparisons"]) * 1e9
    found = {}
    for name, case in CASES.items():
        (every,) = (entry["comparisons"] for entry in steps if entry["case"] == case)
        whole, own = median(c["milliseconds"]["npsnn"] for c in every) / 1e3, parts[name]
        part = {int(n): whole * seconds / own["parts"]["64"] for n, seconds in own["parts"].items()}
        content = Content.of(TRAININGS[name]())
        found[name] = Host(content, part, own["update"], tuple(own["letter"]), own["added"], copy)
    return found


@dataclass(frozen=True)
class Seconds:
    """Where the time of a step goes.

    parts: of the batch on the host that has most of them, with the update.
    memory: rows of gradients that are copied and added up.
    letters: reading what the others say in meetings, and adding up what their parts bring there.
    latency, bandwidth: of messages, and of their bytes.
    waiting: until a rank looks whether a message has come.
    """

    parts: float
    memory: float = 0.0
    letters: float = 0.0
    latency: float = 0.0
    bandwidth: float = 0.0
    waiting: float = 0.0

    @property
    def total(self) -> float:
        return sum(getattr(self, f.name) for f in fields(self))

    def plus(self, other: "Seconds") -> "Seconds":
        return Seconds(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, often: int) -> "Seconds":
        return Seconds(*(getattr(self, f.name) * often for f in fields(self)))


def of_rounds(rounds: np.ndarray, network: Network) -> Seconds:
    """The time of an exchange; rounds: as `Traffic` has them."""
    messages, size = rounds.T
    latency, bandwidth = network.latency + network.overhead * messages, size / network.bandwidth
    waiting = since = 0.0
    for seconds, moving in zip(latency + bandwidth, bandwidth > MOVING, strict=True):
        since = 0.0 if moving else since + seconds  # what moves is looked at again at once
        late = nap_after(since) / 2
        waiting, since = waiting + late, since + late
    return Seconds(0.0, latency=latency.sum(), bandwidth=bandwidth.sum(), waiting=waiting)


def of_chain(size: int, ranks: int, network: Network) -> Seconds:
    """The time in which a sum of so many bytes goes through all ranks, then to all, in the best number of pieces."""
    message = network.latency + network.overhead
    pieces = max(1, round((ranks * size / network.bandwidth / message) ** 0.5))
    steps = 2 * (ranks - 2 + pieces)
    return Seconds(
        0.0,
        latency=steps * message,
        bandwidth=steps * size / pieces / network.bandwidth,
        waiting=2 * (ranks - 1) * LONGEST_NAP / 2,
    )


def nap_after(seconds: float) -> float:
    """How long a rank sleeps between looks when it has waited for so long."""
    ends, lengths = _naps()
    return lengths[bisect_right(ends, seconds)] if seconds < ends[-1] else LONGEST_NAP


@cache
def _naps() -> tuple[list[float], list[float]]:
    """When each nap of a wait ends, up to the first of the longest ones, and how long it is with its look."""
    first = takewhile(lambda nap: nap < LONGEST_NAP, naps())
    lengths = [nap + LOOK for nap in first]
    return list(accumulate(lengths)), lengths


@lru_cache(256)
def exchanged(training: str, parts: int, ranks: int, direct: bool) -> Step:
    """The step of a training, by what MPICH does or directly."""
    return Step.of(hosts()[training].content, parts, ranks, directly if direct else from_all)


@dataclass(frozen=True)
class Case:
    """One training, on so many images a step in micro-batches of a size, and what is built otherwise than it is.

    direct: every rank sends its sum to every other, instead of handing on what others sent.
    patient: a rank waits inside of MPI, and is woken.
    own: a rank updates its own piece of the parameters, and parameters are gathered instead of sums.
    chain: the sum so far goes through the ranks in pieces, then the whole sum does.
    """

    training: str
    batch: int
    micro: int
    direct: bool = False
    patient: bool = False
    own: bool = False
    chain: bool = False

    @property
    def parts(self) -> int:
        return ceil(self.batch / self.micro)

    def seconds(self, ranks: int, network: Network) -> Seconds:
        """Of a step on so many hosts, a rank each."""
        host, m = hosts()[self.training], ceil(self.parts / ranks)
        whole, adding = ceil(m / THREADS) * host.part[self.micro], self.parts * host.added
        if ranks == 1:
            return Seconds(whole, letters=adding)
        # each part's gradients are kept, laid in a row and packed, and a piece of all of them is added up
        memory = (6 * m + 3 * self.parts / ranks) * host.content.bytes / host.copy
        each, of_part = host.letter
        spared = host.update * (1 - 1 / ranks) if self.own else 0.0
        found = Seconds(whole - spared, memory, ranks * each + self.parts * of_part + adding)
        step = exchanged(self.training, self.parts, ranks, self.direct)
        every = [*step.meetings, *([] if self.chain else step.sums)]
        for traffic, often in Counter(every).items():
            found = found.plus(of_rounds(traffic.rounds, network).times(often))
        if self.chain:
            found = found.plus(of_chain(host.content.bytes, ranks, network))
        # who comes first to a meeting sleeps when the last one comes
        late = replace(found, waiting=found.waiting + len(step.meetings) / 2 * LONGEST_NAP / 2)
        return replace(found, waiting=0.0) if self.patient else late

    def speedup(self, ranks: int, network: Network) -> float:
        """Over one host that computes the same batch in micro-batches of 64."""
        alone = Case(self.training, self.batch, 64)
        return alone.seconds(1, network).total / self.seconds(ranks, network).total

    def best(self, network: Network) -> tuple[int, float]:
        """The number of hosts, among `COUNTS`, with the largest speed-up, and that one; the fewest of equal ones."""
        return max(((n, self.speedup(n, network)) for n in COUNTS), key=lambda pair: (round(pair[1], 2), -pair[0]))
