"""How the steps of a training follow one another: each by itself, or on a GPU each as one CUDA graph.

A step is `Trainer.step` in both. A graph changes its own arrays in place, so what leaves it is copied.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import proxy

import numpy as np

from npsnn.backend import Array, to_host, to_numbers
from npsnn.gpu.graphs import KEPT, Graphs
from npsnn.layers.moments import WHOLE, Batch
from npsnn.layers.params import Role, unflatten
from npsnn.models import sigmas
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train.losses import Total
from npsnn.train.packed import Packed, of_update
from npsnn.train.results import on_device

if TYPE_CHECKING:
    from npsnn.train.epochs import State, Trainer

SETTINGS = KEPT // 4
"""The sets of scheduled numbers in an epoch that are worth graphs: each has one for whole batches, and for the last."""


class Steps:
    """The steps of one training, from one state after another.

    On a GPU a step is a CUDA graph in which learning rate and number of the step are float64 arrays of no dimensions,
    and images and labels lie in the device's memory. With NPSNN_GRAPH=0 the same step is run plainly, to the same bits.
    A training that needs Python's numbers, or the host's images, goes on as a CPU does. A graph holds the numbers that
    schedules give (`npsnn.train.scheduled`): others are another graph, and an epoch in which they change all the time
    has none. Where several ranks share the parts of a batch, each part of this rank is a graph by itself, and so is the
    update by the sums of all.

    graphs: where computations on `params` may be kept as CUDA graphs; None where there are none.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.graphs: Graphs | None = None
        self._trainer: Trainer = proxy(trainer)  # which holds these steps, and whose end is the graphs' end
        self._refused, self._worked, self._parts_refused = trainer.device == "cpu", False, False
        self._now: State
        self._packed: Packed
        self._given: State
        self._on: bool | None = None

    def begin(self, state: "State", course: Sequence[float] = ()) -> None:
        """Go on from a state, whose arrays no step changes.

        course: part of the training that is done at each step of the epoch, from 0 to 1.
        """
        if self._refused or not self._repeats(course):
            self.graphs, self._now = None, state
            return
        if self.graphs is None or not self._packed.fits(state):
            self.graphs, self._packed = Graphs(), Packed(self._trainer, state)
        else:
            self._packed.set(state)
        self._now, self._given = self._packed.state, state
        # the host waits here, and not in each step
        on = sigmas.draws(self._trainer.model, unflatten(state.params))
        self._on = None if not on and Role.NOISE in self._trainer.training.trains else on

    def _repeats(self, course: Sequence[float]) -> bool:
        """Whether the epoch has many steps of the same numbers: each other set of them would be recorded anew."""
        training = self._trainer.training
        if not training.scheduled or not course:
            return True
        settings = len({training.numbers(done) for done in course})
        return settings == 1 or settings <= min(SETTINGS, len(course) // 2)

    @property
    def params(self) -> Arrays:
        """The flat parameters now; a graph changes them in place."""
        return self._now.params

    @property
    def state(self) -> "State":
        """The state now, of arrays that no later step changes."""
        return self._now if self.graphs is None else _copied(self._now)

    def step(self, chosen: np.ndarray, draws: Stream, lr: float, done: float = 0.0) -> list[float]:
        """The mean loss of one more step, the number of correct predictions and dLoss/dsigma of each noise layer.

        chosen: places of the step's images among the training images.
        draws: random numbers, keyed by sample, from the first of these images on.
        lr: learning rate.
        done: part of the training that is done, from 0 to 1.
        """
        if self.graphs is None:
            return self._by_itself(chosen, draws, lr, done)
        if self._trainer.workers.ranks > 1:
            return self._over_ranks(self.graphs, chosen, draws, lr, done)
        try:
            found = self._as_a_graph(self.graphs, chosen, draws, lr, done)
        except Exception as error:
            if self._worked:
                raise
            return self._without_graphs(error, chosen, draws, lr, done)
        self._worked, self._given = True, self._now
        return found

    def _by_itself(self, chosen: np.ndarray, draws: Stream, lr: float, done: float) -> list[float]:
        return self._plainly(lambda params: self._trainer.gradient(params, chosen, draws, done), lr, done)

    def _plainly(self, gradient: Callable[[Arrays], Total], lr: float, done: float) -> list[float]:
        trainer = self._trainer
        self._now, values = trainer.step(self._now, gradient, lr, done)
        # asked for last: a GPU has all of the step before the host waits for it
        return to_numbers(*values)

    def _as_a_graph(self, graphs: Graphs, chosen: np.ndarray, draws: Stream, lr: float, done: float) -> list[float]:
        packed = self._packed

        def step(own: Arrays, given: Arrays, streams: tuple[Stream, ...]) -> tuple[Arrays, Array]:
            total = self._total(packed.params(own), given, streams[0], done)
            return {}, packed.step(own, total, len(given["images"]), given["numbers"], done)

        given = {"images": self._augmented(chosen, draws), "labels": self._trainer.train.labels[chosen]}
        return self._updated(graphs, ("step", self._on), step, given, (draws,), lr, done)

    def _updated(
        self,
        graphs: Graphs,
        key: tuple[Any, ...],
        step: Callable[..., tuple[Arrays, Array]],
        given: Arrays,
        streams: tuple[Stream, ...],
        lr: float,
        done: float,
    ) -> list[float]:
        """What an epoch reports of a step that is run as a graph; the state is the one after it.

        key: what the step does, but for the numbers that schedules give.
        step: the arrays of the state, what is given and the numbers of the update, streams -> {}, what is reported.
        """
        rule, count = self._trainer.training.optimizer, self._now.steps + 1
        more = rule.update_numbers(lr, count) if of_update(rule, "update_numbers") else ()  # type: ignore[attr-defined]
        given = {**given, "numbers": np.array([lr, count, *more])}
        full = *key, self._trainer.training.numbers(done)
        found = to_host(graphs.run_updating(full, step, self._packed.arrays, given, streams))
        self._now = replace(self._now, steps=count)
        return found.tolist()  # type: ignore[no-any-return]

    def _over_ranks(self, graphs: Graphs, chosen: np.ndarray, draws: Stream, lr: float, done: float) -> list[float]:
        """A step whose parts several ranks compute, which meet outside of the graphs."""
        trainer, packed, count = self._trainer, self._packed, len(chosen)
        total = trainer.sums(self._now.params, chosen, draws, done, partial(self._part, graphs))
        grads = total.grads or {}

        def step(own: Arrays, given: Arrays, streams: tuple[Stream, ...]) -> tuple[Arrays, Array]:
            sums = Total(given["loss"], given["correct"], {k: given[f"grads/{k}"] for k in grads})
            return {}, packed.step(own, sums, count, given["numbers"], done)

        given = {"loss": np.asarray(total.loss), "correct": np.asarray(total.correct)}
        given |= {f"grads/{k}": np.asarray(g) for k, g in grads.items()}
        try:
            found = self._updated(graphs, ("update", count), step, given, (), lr, done)
        except Exception as error:
            if self._worked:
                raise
            self._give_up()  # this rank alone: the bytes are the same, and no other needs to know
            mean = trainer.averaged(on_device(total, trainer.device), count, self._now.params, done)
            found = self._plainly(lambda params: mean, lr, done)
            _warn_of(error, stacklevel=3)
            return found
        self._worked, self._given = True, self._now
        return found

    def _part(
        self,
        graphs: Graphs,
        params: Arrays,
        images: np.ndarray,
        labels: np.ndarray,
        draws: Stream,
        noise: Stream,
        done: float = 0.0,
        *,
        batch: Batch = WHOLE,
    ) -> Total:
        """A part of a batch, as `PartGradient` computes it, as a graph: its arrays hold until the next one."""
        trainer, gradient = self._trainer, self._trainer.part_gradient
        if self._parts_refused:
            return gradient(params, images, labels, draws, noise, done, batch=batch)
        whole = Batch(batch.examples)  # one part, which meets no other

        def part(own: Arrays, given: Arrays, streams: tuple[Stream, ...]) -> tuple[Arrays, Total]:
            of = self._packed.params(own), given["images"], given["labels"], streams[0], streams[1]
            return {}, gradient.of_augmented(*of, whole, self._on, done)

        given = {"images": gradient.augmented(images, draws), "labels": labels}
        key = "part", batch.examples, self._on, trainer.training.numbers(done)
        try:
            found: Total = graphs.run_updating(key, part, self._packed.arrays, given, (draws, noise))
            return found
        except Exception as error:
            self._parts_refused = True
            plain = gradient(params, images, labels, draws, noise, done, batch=whole)  # or what is wrong with it
            _warn_of(error, stacklevel=2)
            return plain

    def _augmented(self, chosen: np.ndarray, draws: Stream) -> np.ndarray:
        """The images of a step, which the host augments part by part."""
        images, augmented = self._trainer.train.images, self._trainer.part_gradient.augmented
        found = [
            augmented(images[chosen[s]], draws.further(s.start)) for s in self._trainer.parts(len(chosen), self.params)
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _total(self, params: Arrays, given: Arrays, draws: Stream, done: float) -> Total:
        """The sums over a batch that lies in the device's memory, as `Trainer.gradient` averages them."""
        trainer = self._trainer
        images, labels = given["images"], given["labels"]
        batch, treatment = Batch(len(images)) if trainer.coupled else WHOLE, trainer.training.at(done).noise
        total: Total | None = None
        for s in trainer.parts(len(images), params):
            own = draws.further(s.start)
            noise = treatment.stream(draws, own).at("noise")
            part = params, images[s], labels[s], own, noise
            found = trainer.part_gradient.of_augmented(*part, batch, self._on, done)
            if total is None:  # a sum with 0 would be a kernel
                total = found
            else:
                total.add(found, trainer.statistics)
        assert total is not None, "a batch has a part"
        return total

    def _without_graphs(self, error: Exception, *step: Any) -> list[float]:
        """The step, and all later ones, by themselves; raises what is wrong with the training itself."""
        self._give_up()
        found = self._by_itself(*step)
        _warn_of(error, stacklevel=3)
        return found

    def _give_up(self) -> None:
        """Go on without graphs from the state before this step, whose arrays may be half changed."""
        self._now, self.graphs, self._refused = self._given, None, True


def _warn_of(error: Exception, stacklevel: int) -> None:
    text = f"this training goes on without CUDA graphs, which is slower but right: {type(error).__name__}: {error}"
    warnings.warn(text, RuntimeWarning, stacklevel=stacklevel + 1)


def _copied(state: "State") -> "State":
    params, moments = ({k: a.copy() for k, a in arrays.items()} for arrays in (state.params, state.optimizer))
    return replace(state, params=params, optimizer=moments)
