"""How the steps of a training follow one another: each by itself, or on a GPU each as one CUDA graph.

A step is `Trainer.step` in both. A graph changes its own arrays in place, so what leaves it is copied.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
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
    has none.

    graphs: where computations on `params` may be kept as CUDA graphs; None where there are none.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.graphs: Graphs | None = None
        self._trainer: Trainer = proxy(trainer)  # which holds these steps, and whose end is the graphs' end
        self._refused, self._worked = trainer.device == "cpu" or trainer.workers.ranks > 1, False
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
        try:
            found = self._as_a_graph(self.graphs, chosen, draws, lr, done)
        except Exception as error:
            if self._worked:
                raise
            return self._without_graphs(error, chosen, draws, lr, done)
        self._worked, self._given = True, self._now
        return found

    def _by_itself(self, chosen: np.ndarray, draws: Stream, lr: float, done: float) -> list[float]:
        trainer = self._trainer

        def gradient(params: Arrays) -> Total:
            return trainer.gradient(params, chosen, draws, done)

        self._now, values = trainer.step(self._now, gradient, lr, done)
        # asked for last: a GPU has all of the step before the host waits for it
        return to_numbers(*values)

    def _as_a_graph(self, graphs: Graphs, chosen: np.ndarray, draws: Stream, lr: float, done: float) -> list[float]:
        packed, count = self._packed, self._now.steps + 1

        def step(own: Arrays, given: Arrays, streams: tuple[Stream, ...]) -> tuple[Arrays, Array]:
            total = self._total(packed.params(own), given, streams[0], done)
            return {}, packed.step(own, total, len(given["images"]), given["numbers"], done)

        rule = self._trainer.training.optimizer
        more = rule.update_numbers(lr, count) if of_update(rule, "update_numbers") else ()  # type: ignore[attr-defined]
        given = {
            "images": self._augmented(chosen, draws),
            "labels": self._trainer.train.labels[chosen],
            "numbers": np.array([lr, count, *more]),
        }
        key = "step", self._on, self._trainer.training.numbers(done)
        found = to_host(graphs.run_updating(key, step, packed.arrays, given, (draws,)))
        self._now = replace(self._now, steps=count)
        return found.tolist()  # type: ignore[no-any-return]

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
        # the arrays may be half changed
        self._now, self.graphs, self._refused = self._given, None, True
        found = self._by_itself(*step)
        warnings.warn(
            f"this training goes on without CUDA graphs, which is slower but right: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return found


def _copied(state: "State") -> "State":
    params, moments = ({k: a.copy() for k, a in arrays.items()} for arrays in (state.params, state.optimizer))
    return replace(state, params=params, optimizer=moments)
