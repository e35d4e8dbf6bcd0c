"""One training on several ranks: each has a replica of it, and computes the gradients of some parts of each batch.

All replicas take the same steps, since each rank gets the sums of all parts, added up in the order of the parts. The
ranks meet whenever parts are added up; in a meeting a rank may also say that it has failed, or that the training ends.
"""

import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import numpy as np

from npsnn.backend import to_device, to_host
from npsnn.host import one_blas_thread
from npsnn.interrupts import uninterrupted
from npsnn.runs import provenance
from npsnn.train import continuity
from npsnn.train.epochs import State, Step, Trainer
from npsnn.train.losses import Total
from npsnn.train.results import Form, kept, on_host, told
from npsnn.train.training import Training
from npsnn.workers import ranks
from npsnn.workers.crew import Crew, portable
from npsnn.workers.processes import Processes
from npsnn.workers.threads import Threads
from npsnn.workers.unit import shared

T = TypeVar("T")

BROUGHT, DONE, NONE, FAILED, ENDED = "brought", "done", "none", "failed", "ended"
"""What a rank says in a meeting: what its parts give, that they are done, that it has none, its error, the end."""


class EndedError(Exception):
    """Rank 0 has ended the training."""


class Replicas:
    """The workers of one training over all ranks, as each of them has them.

    crew: the ranks.
    local: who computes the parts of this rank.
    statistics: names of the running averages, of which each part of a batch has those of the whole.
    device: what each rank computes on. Parts of a GPU go to other ranks through the host's memory: copying them there
        waits for the GPU, before MPI is called.
    """

    def __init__(self, crew: Crew, local: Threads, statistics: frozenset[str], device: str = "cpu") -> None:
        self.crew, self.local, self.statistics, self.device = crew, local, statistics, device
        self.threads, self.ranks = local.threads, crew.size
        self.over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the others that the training ends, or by which error of this rank, in the meeting they are in."""
        if self.over:
            return
        own = error is not None and self.crew.rank > 0
        with uninterrupted():
            self.crew.gathered((FAILED, _portable(error, self.crew)) if own and error else (ENDED, None))
        self.over = True

    def met(self, kind: str, what: Any = None) -> list[tuple[str, Any]]:
        """What all ranks say; raises the error of the first that has one, and EndedError where one ends all."""
        said: list[tuple[str, Any]] = self.crew.gathered((kind, what))
        self.over = any(word in (FAILED, ENDED) for word, _ in said)
        if any(word == ENDED for word, _ in said):
            raise EndedError
        for word, error in said:
            if word == FAILED:
                raise error
        return said

    def failed(self, error: Exception) -> NoReturn:
        """Have all ranks raise an error of this one, unless they do so already."""
        if not self.over:
            self.met(FAILED, _portable(error, self.crew))
        raise error

    def reduce(
        self,
        f: Callable[..., T],
        arguments: Callable[[int], tuple[Any, ...]],
        jobs: int,
        combine: Callable[[T], None],
    ) -> None:
        """Call f(*arguments(0)) ... f(*arguments(jobs - 1)), and combine what they return in that order.

        Of results that are a `Total` their sum is combined, once, which is added up in that order. It is in the host's
        memory.
        """
        own, mine = self.crew.block(jobs), list[Any]()
        try:
            self.local.reduce(f, lambda i: arguments(own.start + i), len(own), lambda r: mine.append(kept(r)))
        except Exception as error:
            self.failed(error)
        with uninterrupted():
            for result in self._exchanged(mine, jobs):
                combine(result)

    def together(self, f: Callable[..., T], arguments: Callable[[int], tuple[Any, ...]], parts: int) -> list[T]:
        """The sum of what f(*arguments(i), total) returns for each part, as a list of one; parts meet in `total`.

        The sum is in the host's memory.
        """
        own = self.crew.block(parts)
        mine: list[Any] = []
        try:
            if own:
                found = self.local.together(f, lambda i: arguments(own.start + i), len(own), self._across)
                mine = [on_host(result) for result in found]
            else:
                while not self._attended():
                    pass
        except Exception as error:
            self.failed(error)
        with uninterrupted():
            return self._exchanged(mine, parts, met=not own)

    def _across(self, brought: list[Any]) -> list[Any]:
        """What all parts of all ranks bring to a meeting of theirs."""
        said = self.met(BROUGHT, [to_host(x) for x in brought])
        return [to_device(x, self.device) for word, given in said if word == BROUGHT for x in given]

    def _attended(self) -> bool:
        """Be in a meeting of parts without one; whether it was the last, in which they are done."""
        self._last = self.met(NONE)
        return any(word == DONE for word, _ in self._last)

    def _exchanged(self, mine: list[Any], jobs: int, met: bool = False) -> list[Any]:
        """The results of all ranks in order, or the one sum of those that are a `Total`.

        met: whether this rank was in their meeting already.
        """
        said = self._last if met else self.met(DONE, told(mine, self.statistics, self.crew.rank))
        done = [what for word, what in said if word == DONE]
        every = list(chain(*(found for found, _, _ in done)))
        _, layout, averages = done[0]
        if not every or not isinstance(every[0], Total):
            return every
        total = Total()
        for each in every:
            total.add(each)
        if layout:
            try:
                sums = self._sums([form for form in layout if form.name not in averages], mine, jobs)
            except Exception as error:  # amid an exchange, where nobody could be told
                self.crew.fail(error)
            sums |= averages
            total.grads = {form.name: sums[form.name] for form in layout}
        return [total]

    def _sums(self, layout: list[Form], mine: list[Total], jobs: int) -> dict[str, Any]:
        """The sums of gradients over all parts, by name."""
        found = dict[str, Any]()
        for dtype in dict.fromkeys(form.dtype for form in layout):
            forms = [form for form in layout if form.dtype == dtype]
            size = sum(form.size for form in forms)
            rows = np.empty((len(mine), size), dtype)
            for row, t in zip(rows, mine, strict=True):
                np.concatenate([form.flat((t.grads or {})[form.name]) for form in forms], out=row)
            flat, at = self.crew.summed(rows, jobs), 0
            for form in forms:
                found[form.name] = form.shaped(flat[at : at + form.size])
                at += form.size
        return found


def _portable(error: BaseException, crew: Crew) -> BaseException:
    return ranks.named(portable(error), crew)


@contextmanager
def abreast(trainer: Trainer, state: State, threads: int | None) -> Iterator[Trainer]:
    """The training from a state on, on all ranks that this one leads, in the block; itself where there are none.

    threads: of each rank, None for its share of the cores.
    Warns where a rank rounds otherwise, or where the training cannot be sent. Every rank has the GPU of its own; on
    another GPU this rank trains alone.
    """
    crew, unit = ranks.idle(), shared(trainer.device)
    if crew is None or unit is None:
        yield trainer
        return
    each = ranks.at_work(threads, unit.device)
    try:
        given = trainer.training, trainer.train, trainer.validation, moved(state, "cpu"), each, unit
        sent = pickle.dumps(given, 5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        warnings.warn(f"this training cannot be sent to other ranks, rank 0 trains alone: {error}", stacklevel=2)
        yield trainer
        return
    with crew.at_work():
        ranks.abreast(crew, follow, sent)
        local = trainer.workers
        assert isinstance(local, Threads), "a trainer has the workers of one process"
        with Replicas(crew, local, trainer.statistics, unit.device) as workers:
            _compare(workers, trainer.training)
            yield replace(trainer, workers=workers)


def _compare(workers: Replicas, training: Training) -> None:
    """Warn where a rank rounds otherwise than rank 0; raises ValueError where it runs other code."""
    crew = workers.crew
    digests = provenance.of_code(), continuity.canary(training, workers.device)
    said = workers.met(DONE, (*digests, crew.place))
    for _, (code, canary, place) in said[1:] if crew.rank == 0 else []:
        if code != digests[0]:
            raise ValueError(f"{place} has other code of npsnn than rank 0: install one version everywhere")
        if canary != digests[1]:
            text = f"{place} rounds otherwise than rank 0, whose processor, GPU or BLAS is another"
            warnings.warn(f"{text}: the bytes of this run depend on which ranks train it", stacklevel=4)


def follow(crew: Crew, given: bytes) -> None:
    """Take the steps of a training that rank 0 takes, on another rank, to its end."""
    try:
        with Replicas(crew, Threads(1), frozenset()) as workers, one_blas_thread():
            training, train, validation, state, each, unit = pickle.loads(given)
            unit.use()
            workers.device = unit.device
            with Processes(each[crew.rank]) as workers.local:
                trainer = Trainer(training, train, validation, workers, unit.device)
                _train(workers, trainer, moved(state, unit.device))
    except Exception:  # all ranks have met it
        pass


def _train(workers: Replicas, trainer: Trainer, state: State) -> None:
    workers.threads, workers.statistics = workers.local.threads, trainer.statistics
    _compare(workers, trainer.training)
    while state.epoch < trainer.training.epochs:
        for record in trainer.epoch(state):
            if not isinstance(record, Step):
                state, _ = record


def moved(state: State, device: str) -> State:
    """The state with its arrays in the memory of a device, which is the calling thread's."""
    params, moments = (
        {k: to_device(a, device) for k, a in arrays.items()} for arrays in (state.params, state.optimizer)
    )
    return replace(state, params=params, optimizer=moments)
