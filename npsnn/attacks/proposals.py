"""Search by proposals: a change of each image is kept where the loss is higher, by forward passes alone.

What is proposed is an object with the methods of `Proposals`, such as squares (`npsnn.attacks.square`). The search has
the rest: which images are done, which draws of the noise a comparison is made on, and random numbers that
depend neither on the batch nor on the images that are done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, TypeAlias

import numpy as np

from npsnn.attacks.targets import Queried
from npsnn.backend import Array, namespace
from npsnn.streams import Stream

WINDOW = 100
"""The number of queries for which a search holds one set of draws, and whose random numbers it draws at once."""
STAGES = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The proposals, of a budget of 10,000, after which the proposals become smaller."""

State: TypeAlias = tuple[Array, ...]
"""Arrays with an entry for each image; the first are images (N, C, H, W)."""


def stage(proposed: int, queries: int, rescale: bool = True, stages: Sequence[int] = STAGES) -> int:
    """How often the proposals have become smaller.

    proposed: number of proposals before this one.
    queries: the budget.
    rescale: whether the schedule for 10,000 queries is stretched to the budget.
    stages: the schedule.
    """
    at = proposed * 10_000 // queries if rescale else proposed
    return sum(at > limit for limit in stages)


class Proposals(Protocol):
    """What a search proposes.

    numbers: how many random numbers a proposal takes.
    """

    @property
    def numbers(self) -> int: ...

    def fixed(self, x: Array) -> State:
        """What the proposals for the clean images x need, computed once: x and more."""

    def first(self, fixed: State, stream: Stream) -> State:
        """The points where the search begins."""

    def next(self, proposed: int, fixed: State, state: State, numbers: Array) -> State:
        """A change of each point; no argument is written to.

        proposed: number of proposals before this one.
        numbers: uniform on [0, 1), (`numbers`, N), float64.
        """


def cost(target: Queried, queries: int) -> int:
    """Forward passes for one image at most: a search asks for the start and the clean image in any case."""
    return max(queries, 4 if target.random else 2) * target.passes


@dataclass
class _Images:
    """The images of a batch that are not done: their columns and arrays with an entry for each of them.

    before: the points before the present window of draws.
    worth: the loss of the present points, (N,).
    clean: the loss of the clean images, (N,).
    """

    columns: Array
    labels: Array
    fixed: State
    state: State
    before: State
    worth: Array
    clean: Array

    def only(self, keep: Array) -> "_Images":
        """Some of them."""
        values = (getattr(self, f.name) for f in fields(self))
        return _Images(*(tuple(a[keep] for a in v) if isinstance(v, tuple) else v[keep] for v in values))


class Search:
    """One search for a micro-batch.

    On a target that is certain an image that is misread is done, and on NumPy's arrays it is asked no more.
    The losses of a random target are compared under the same draws: all images keep one set of draws for a window of
    queries. The point that wins a window may have won by fitting these draws. So the points before and after the window
    meet the draws of the next window, and the better of them goes on. No image of a random network is done early, as
    luck would decide which.

    proposals: what is tried.
    target: what is asked for the loss.
    x: clean images (N, C, H, W).
    labels: classes (N,).
    stream: random numbers keyed by sample.
    """

    def __init__(self, proposals: Proposals, target: Queried, x: Array, labels: Array, stream: Stream) -> None:
        self.proposals, self.target, self.stream, self.x = proposals, target, stream, x
        self.xp = xp = namespace(x)
        # a target of one's own need not say it
        self.stops = bool(getattr(target, "certain", False) and getattr(target, "signed", False))
        self.found = x
        fixed = proposals.fixed(x)
        first, nothing = proposals.first(fixed, stream.at("first")), xp.full(len(x), -xp.inf)
        self.here = _Images(np.arange(len(x)), labels, fixed, first, first, nothing, nothing)
        self._draw(0)

    def run(self, queries: int) -> Array:
        """The images of the highest loss, (N, C, H, W); the clean one where no other has a higher loss.

        queries: budget for each image, in answers of the target.
        """
        here, random = self.here, self.target.random
        if not random:
            here.clean = self._asked(self.x)
            self._finish(here.clean)
        self._start()
        begun, end = (1, queries - 3) if random else (2, queries)
        for window in range(-(-end // WINDOW)):
            asked, until = max(begun, window * WINDOW), min((window + 1) * WINDOW, end)
            if random and window:
                if until - asked <= 2:
                    break
                self._draw(window)
                self._choose()
                asked += 2
            self._climb(window, asked - begun, until - asked)
        if random:
            self._draw(-1)
            self._choose()
            self.here.clean = self._asked(self.here.fixed[0])
        self._keep(self.here.worth > self.here.clean)
        return self.found

    def _draw(self, window: int) -> None:
        """Take the draws of a window; those of -1 decide in the end."""
        self.draws = self.stream.at("draws", window)
        self._follow()

    def _follow(self) -> None:
        """The stream of the images that are not done."""
        every = len(self.here.columns) == len(self.x)
        self.asking = self.draws if every else self.draws.chosen(self.here.columns)

    def _asked(self, x: Array) -> Array:
        """The loss of each image that is not done, (N,); a NaN, which compares with nothing, is the least."""
        loss = self.target.value(x, self.here.labels, self.asking) if len(x) else self.here.worth
        return self.xp.where(self.xp.isnan(loss), -self.xp.inf, loss)

    def _start(self) -> None:
        self.here.worth = self._asked(self.here.state[0])
        self._finish(self.here.worth)

    def _choose(self) -> None:
        """Go on from the better of the points before and after a window, by draws that neither has met."""
        here = self.here
        before, after = self._asked(here.before[0]), self._asked(here.state[0])
        here.state = self._chosen(after >= before, here.state, here.before)
        here.worth, here.before = self.xp.maximum(before, after), here.state

    def _climb(self, window: int, proposed: int, steps: int) -> None:
        """Some proposals on one set of draws.

        proposed: number of proposals before.
        """
        if steps <= 0 or not len(self.here.columns):
            return
        stream, here = self.stream.at("proposals", window), self.here
        stream = stream if len(here.columns) == len(self.x) else stream.chosen(here.columns)
        shape = (steps, self.proposals.numbers, len(here.columns))
        numbers = stream.uniform(self.xp.empty(shape, self.xp.float64))
        for step in range(steps):
            here = self.here
            candidate = self.proposals.next(proposed + step, here.fixed, here.state, numbers[step])
            worth = self._asked(candidate[0])
            better = worth > here.worth
            if self.stops:
                better &= here.worth <= 0  # a GPU's images stay, though they are done
            here.state = self._chosen(better, candidate, here.state)
            here.worth = self.xp.where(better, worth, here.worth)
            keep = self._finish(here.worth)
            if keep is not None:
                numbers = numbers[..., keep]
            if not len(self.here.columns):
                return

    def _chosen(self, which: Array, ours: State, theirs: State) -> State:
        """An entry of the first for each image that is chosen, of the second for each other."""
        return tuple(
            self.xp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(ours, theirs, strict=True)
        )

    def _finish(self, worth: Array) -> Array | None:
        """Let go of the images whose loss says that they are misread; which others there are, if there were any."""
        if not self.stops or self.xp is not np or not (worth > 0).any():
            return None
        self._keep((worth > 0) & (self.here.clean <= 0))
        keep = worth <= 0
        self.here = self.here.only(keep)
        self._follow()
        return keep

    def _keep(self, which: Array) -> None:
        """Note the present points of some images as found."""
        here = self.here
        if self.stops:
            which = which & (here.clean <= 0)
        if len(here.columns) == len(self.x):
            self.found = self._chosen(which, here.state[:1], (self.x,))[0]
        else:
            self.found[here.columns[which]] = here.state[0][which]
