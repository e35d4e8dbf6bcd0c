"""How the steps of a training follow one another: each by itself, or on a GPU each as one CUDA graph.

A step is `Trainer.step` in both. A graph changes its own arrays in place, so what leaves it is copied.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import proxy

import numpy as np

from npsnn.backend import Array, namespace, stacked, to_host, to_numbers
from npsnn.gpu.graphs import Graphs
from npsnn.layers.moments import WHOLE, Batch
from npsnn.layers.params import Role, unflatten
from npsnn.models import sigmas
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train.losses import Total

if TYPE_CHECKING:
    from npsnn.train.epochs import State, Trainer


class Steps:
    """The steps of one training, from one state after another.

    On a GPU a step is a CUDA graph in which learning rate and number of the step are float64 arrays of no dimensions,
    and images and labels lie in the device's memory. A training that needs Python's numbers, or the host's images,
    goes on without graphs, and NPSNN_GRAPH=0 switches them off.

    graphs: where computations on `params` may be kept as CUDA graphs; None where there are none.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self.graphs: Graphs | None = None
        self._trainer: Trainer = proxy(trainer)  # which holds these steps, and whose end is the graphs' end
        self._refused, self._worked = trainer.device == "cpu", False
        self._now: State
        self._on: bool | None = None

    def begin(self, state: "State") -> None:
        """Go on from a state, whose arrays no step changes."""
        if self._refused or os.environ.get("NPSNN_GRAPH") == "0":
            self.graphs, self._now = None, state
            return
        given = _joined(state)
        if self.graphs is None or _forms(_joined(self._now)) != _forms(given):
            self.graphs, self._now = Graphs(), _copied(state)
        own = _joined(self._now)
        for name, array in given.items():
            namespace(array).copyto(own[name], array)
        self._now = _parted(own, state)
        # the host waits here, and not in each step
        on = sigmas.draws(self._trainer.model, unflatten(state.params))
        self._on = None if not on and Role.NOISE in self._trainer.training.trains else on

    @property
    def params(self) -> Arrays:
        """The flat parameters now; a graph changes them in place."""
        return self._now.params

    @property
    def state(self) -> "State":
        """The state now, of arrays that no later step changes."""
        return self._now if self.graphs is None else _copied(self._now)

    def step(self, chosen: np.ndarray, draws: Stream, lr: float) -> list[float]:
        """The mean loss of one more step, the number of correct predictions and dLoss/dsigma of each noise layer.

        chosen: places of the step's images among the training images.
        draws: random numbers, keyed by sample, from the first of these images on.
        lr: learning rate.
        """
        if self.graphs is None:
            return self._by_itself(chosen, draws, lr)
        try:
            found = self._as_a_graph(self.graphs, chosen, draws, lr)
        except Exception as error:
            if self._worked:
                raise
            return self._without_graphs(error, chosen, draws, lr)
        self._worked = True
        return found

    def _by_itself(self, chosen: np.ndarray, draws: Stream, lr: float) -> list[float]:
        trainer = self._trainer
        self._now, values = trainer.step(self._now, lambda params: trainer.gradient(params, chosen, draws), lr)
        # asked for last: a GPU has all of the step before the host waits for it
        return to_numbers(*values)

    def _as_a_graph(self, graphs: Graphs, chosen: np.ndarray, draws: Stream, lr: float) -> list[float]:
        trainer, now = self._trainer, self._now

        def step(own: Arrays, given: Arrays, streams: tuple[Stream, ...]) -> tuple[Arrays, Array]:
            rate, count = given["numbers"]
            state = replace(_parted(own, now), steps=count)
            after, values = trainer.step(state, lambda params: self._gradient(params, given, *streams), rate)
            new = _joined(after)
            if odd := dict(_forms(new) ^ _forms(own)):
                raise TypeError(f"a step changes the number, the shape or the dtype of {', '.join(odd)}")
            return new, stacked([value.astype(np.float64) for value in values])

        given = {
            "images": self._augmented(chosen, draws),
            "labels": trainer.train.labels[chosen],
            "numbers": np.array([lr, now.steps], np.float64),
        }
        found = to_host(graphs.run_updating(("step", self._on), step, _joined(now), given, (draws,)))
        self._now = replace(now, steps=now.steps + 1)
        return [float(value) for value in found]

    def _augmented(self, chosen: np.ndarray, draws: Stream) -> np.ndarray:
        """The images of a step, which the host augments part by part."""
        trainer = self._trainer
        images, augmented = trainer.train.images, trainer.part_gradient.augmented
        parts = trainer.parts(len(chosen), self._now.params)
        return np.concatenate([augmented(images[chosen[s]], draws.further(s.start)) for s in parts])

    def _gradient(self, params: Arrays, given: Arrays, draws: Stream) -> Total:
        """As `Trainer.gradient`, of a batch that lies in the device's memory."""
        trainer, total = self._trainer, Total()
        images, labels = given["images"], given["labels"]
        batch = Batch(len(images)) if trainer.model.network.couples_batch else WHOLE
        for s in trainer.parts(len(images), params):
            own = draws.further(s.start)
            noise = trainer.training.noise.stream(draws, own).at("noise")
            part = params, images[s], labels[s], own, noise
            total.add(trainer.part_gradient.of_augmented(*part, batch, self._on), trainer.statistics)
        return trainer.averaged(total, len(images), params)

    def _without_graphs(self, error: Exception, *step: Any) -> list[float]:
        """The step, and all later ones, by themselves; raises what is wrong with the training itself."""
        self._now, self.graphs, self._refused = self.state, None, True
        found = self._by_itself(*step)
        warnings.warn(
            f"this training goes on without CUDA graphs, which is slower but right: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return found


def _joined(state: "State") -> Arrays:
    """All arrays of a state by one name each."""
    named = (("params", state.params), ("optimizer", state.optimizer))
    return {f"{kind}/{name}": array for kind, arrays in named for name, array in arrays.items()}


def _parted(joined: Mapping[str, Array], state: "State") -> "State":
    """The state with these arrays in the place of its own."""
    found: dict[str, Arrays] = {"params": {}, "optimizer": {}}
    for name, array in joined.items():
        kind, _, own = name.partition("/")
        found[kind][own] = array
    return replace(state, params=found["params"], optimizer=found["optimizer"])


def _copied(state: "State") -> "State":
    return _parted({name: array.copy() for name, array in _joined(state).items()}, state)


def _forms(arrays: Arrays) -> set[tuple[str, Any]]:
    return {(name, (array.shape, array.dtype)) for name, array in arrays.items()}
