"""The parameters of a training on a GPU, one behind the other in few arrays: what is done to all is one kernel.

A kernel of a CUDA graph takes microseconds, however few numbers it changes, and a network has dozens of parameters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from npsnn.backend import Array, constant, fused, gpu, namespace
from npsnn.foreign import BlamedOn, all_read_only
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import leaves
from npsnn.layers.params import Role
from npsnn.ops.norm import moved_averages
from npsnn.optim import Arrays
from npsnn.train import diagnostics
from npsnn.train.losses import Total
from npsnn.train.terms import summed

if TYPE_CHECKING:
    from npsnn.train.epochs import State, Trainer

ALIGNED = 256
"""Bytes to whose multiples each array is moved, as CUDA's own allocations are: products of others take longer."""

DECAYED, TRAINED, STILL = "decayed", "trained", "still"
"""Groups of parameters: with weight decay, without, and those that no gradient moves."""


@dataclass(frozen=True)
class Place:
    """Where an array lies: in a group, from a number on."""

    group: str
    first: int
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.first + prod(self.shape)


class Layout:
    """Where the arrays of some names lie in the flat arrays of their groups.

    arrays: by name; they tell shapes and dtypes.
    groups: the group of each.
    places: of each by name.
    """

    def __init__(self, arrays: Arrays, groups: Mapping[str, str]) -> None:
        self.places: dict[str, Place] = {}
        self._ends: dict[str, int] = {}
        self._dtypes: dict[str, Any] = {}
        for name, array in arrays.items():
            group, step = f"{groups[name]} {array.dtype}", ALIGNED // array.dtype.itemsize
            first = -(-self._ends.get(group, 0) // step) * step
            self.places[name] = place = Place(group, first, array.shape)
            self._ends[group], self._dtypes[group] = place.end, array.dtype

    def zeros(self) -> Arrays:
        """The flat arrays, of zeros, by group."""
        return {group: gpu().zeros(end, self._dtypes[group]) for group, end in self._ends.items()}

    def views(self, flat: Mapping[str, Array], names: Iterable[str]) -> Arrays:
        """The arrays by name, as views of the flat ones."""
        own = {name: self.places[name] for name in names}
        return {name: flat[p.group][p.first : p.end].reshape(p.shape) for name, p in own.items() if p.group in flat}

    def of_kind(self, *kinds: str) -> list[str]:
        """The groups of these kinds."""
        return [group for group in self._ends if group.partition(" ")[0] in kinds]


class Packed:
    """The arrays of a training's state, and a step that changes them in place.

    An optimiser that treats each number by itself (`elementwise`) has its own arrays packed alike, and updates all
    parameters of a group by one kernel. Another one is given the parameters by name, and so are constraints and terms.

    trainer: whose state it is.
    state: at the beginning; its arrays are copied.
    arrays: what the step changes, by name: flat arrays, and those of an optimiser that is no elementwise one.
    state: the state, whose arrays are views of these.
    """

    def __init__(self, trainer: "Trainer", state: "State") -> None:
        self._trainer = trainer
        self.layout = Layout(state.params, {name: _kind_of_group(trainer, name) for name in state.params})
        self._kinds = _kinds_of_moments(trainer, state)
        self.arrays = {f"params/{group}": flat for group, flat in self.layout.zeros().items()}
        if self._kinds is None:
            self.arrays |= {f"optimizer/{name}": array.copy() for name, array in state.optimizer.items()}
        else:
            for kind in self._kinds:
                self.arrays |= {f"optimizer/{kind}/{group}": flat for group, flat in self.layout.zeros().items()}
        self._trained = self.layout.of_kind(DECAYED, TRAINED)
        self._grads = {group: flat for group, flat in self.layout.zeros().items() if group in self._trained}
        self._views = self.layout.views(self._grads, self.layout.places)  # numbers between two of them stay 0
        self.state = self._viewed(self.arrays, state)
        self.set(state)

    def fits(self, state: "State") -> bool:
        """Whether the arrays of a state are of the same names, shapes and dtypes."""
        return all(
            _forms(ours) == _forms(theirs)
            for ours, theirs in ((self.state.params, state.params), (self.state.optimizer, state.optimizer))
        )

    def set(self, state: "State") -> None:
        """Write the arrays of another state here."""
        for ours, theirs in ((self.state.params, state.params), (self.state.optimizer, state.optimizer)):
            for name, array in theirs.items():
                gpu().copyto(ours[name], array)
        self.state = replace(state, params=self.state.params, optimizer=self.state.optimizer)

    def params(self, own: Arrays) -> Arrays:
        """The parameters by name, as views of the arrays."""
        return self._viewed(own, self.state).params

    def step(self, own: Arrays, total: Total, examples: int, numbers: Array, done: float = 0.0) -> Array:
        """Change the arrays by the gradients of a batch; what an epoch reports of it, float64.

        own: the arrays.
        total: sums over the batch.
        numbers: on the device: the learning rate, the number of the step, and those of the optimiser.
        done: part of the training that is done, from 0 to 1.
        The results are the mean loss, the number of correct predictions and dLoss/dsigma of each noise layer.
        """
        trainer, state = self._trainer, self._viewed(own, self.state)
        grads = self._mean_gradients(total, examples)
        reward, rewarded = summed(trainer.training.at(done).terms, trainer.model, state.params)
        grads |= {k: grads[k] + g if k in grads else g for k, g in rewarded.items()}
        slopes = diagnostics.slopes(trainer.model, state.params, grads).values()
        places = constant(np.arange(2 + len(slopes)), np.float64, numbers)
        found: Array = _report(places, total.loss, examples, reward, total.correct, *slopes)
        grads = self._with_averages_moved(state.params, grads)
        params, grads = trainer.before(state.params, grads, done)
        self._put(state.params, params)
        self._update(own, state, grads, numbers)
        self._put(state.params, trainer.after(state.params, done))
        return found

    def _viewed(self, own: Arrays, state: "State") -> "State":
        flat, moments = _under("params/", own), _under("optimizer/", own)
        names = self.layout.places
        if self._kinds is not None:
            groups = {kind: _under(f"{kind}/", moments) for kind in self._kinds}
            moments = {f"{k}/{n}": a for k, g in groups.items() for n, a in self.layout.views(g, names).items()}
            # in the order in which a checkpoint has them
            moments = {name: moments[name] for name in state.optimizer}
        return replace(state, params=self.layout.views(flat, names), optimizer=moments)

    def _mean_gradients(self, total: Total, examples: int) -> Arrays:
        """The gradients by name, over a batch of so many examples; those of what is trained lie behind one another."""
        views, grads = self._views, total.grads or {}
        for name, g in grads.items():
            if name in views:
                _check_form(name, g, views[name])
                _write_mean(views[name], g, examples)
        return {k: views[k] if k in views else self._mean(k, g, examples) for k, g in grads.items() if self._needed(k)}

    def _mean(self, name: str, g: Array, examples: int) -> Array:
        return g if name in self._trainer.statistics else g / examples

    def _needed(self, name: str) -> bool:
        """Whether anybody looks at the gradient: the size of a noise is reported even where it is not trained."""
        role = self._trainer.roles[name]
        return role in self._trainer.training.trains or role is Role.NOISE

    def _with_averages_moved(self, params: Arrays, grads: Arrays) -> Arrays:
        """The gradients without the statistics of a batch towards which the running averages were moved."""
        for path, layer in leaves(self._trainer.model.network):
            names = f"{path}.running_mean", f"{path}.running_var"
            if type(layer) is BatchNorm and all(name in grads for name in names):
                for name in names:
                    _check_form(name, grads[name], params[name])
                mean, var = names
                _move(params[mean], params[var], grads[mean], grads[var], layer.momentum)
                grads = {k: g for k, g in grads.items() if k not in names}
        return grads

    def _update(self, own: Arrays, state: "State", grads: Arrays, numbers: Array) -> None:
        trainer, groups, views = self._trainer, self._trained, self._views
        params, moments, decayed = state.params, state.optimizer, trainer.decayed
        if self._kinds is not None and grads.keys() == views.keys():
            self._put(views, grads)
            grads = {group: self._grads[group] for group in groups}
            params = {group: own[f"params/{group}"] for group in groups}
            moments = {f"{k}/{group}": own[f"optimizer/{k}/{group}"] for k in self._kinds for group in groups}
            decayed = frozenset(self.layout.of_kind(DECAYED))
        rule: Any = trainer.training.optimizer
        with BlamedOn("optimizer", rule, "arrays"):
            if of_update(rule, "update_in_place"):
                rule.update_in_place(params, grads, moments, numbers[2:], decayed)
                return
            params, grads, moments = map(all_read_only, (params, grads, moments))
            new, kept = rule.update(params, grads, moments, numbers[0], numbers[1], decayed)
        self._put(moments, kept)
        self._put(params, new)

    @staticmethod
    def _put(own: Arrays, new: Mapping[str, Array]) -> None:
        """Write arrays in the place of those of the same names."""
        if odd := dict(_forms(new) ^ _forms(own)):
            raise TypeError(f"a step changes the number, the shape or the dtype of {', '.join(odd)}")
        held = {id(array) for array in own.values()}
        changed = {name: array for name, array in new.items() if array is not own[name]}
        # an array under the name of another one may be written to before its turn
        changed = {name: array.copy() if id(array) in held else array for name, array in changed.items()}
        for name, array in changed.items():
            namespace(array).copyto(own[name], array)


@fused
def _report(places: Array, loss: Array, examples: int, reward: Array, correct: Array, *slopes: Array) -> Array:
    """The numbers as one array, float64: the mean loss with the reward, then the others."""
    xp = namespace(places)
    found = loss.astype("float64") / examples + reward
    for i, number in enumerate((correct, *slopes), 1):
        found = xp.where(places == i, number.astype("float64"), found)
    return found


@fused
def _write_mean(out: Array, total: Array, examples: int) -> None:
    out[...] = total / examples


@fused
def _move(mean: Array, var: Array, new_mean: Array, new_var: Array, momentum: float) -> None:
    mean[...], var[...] = moved_averages(mean, var, new_mean, new_var, momentum)


def of_update(rule: Any, name: str) -> Any:
    """What the class that has the rule's `update` says by that name, None where it says nothing.

    A class whose base says something may have another update, of which it is not true.
    """
    owner = next(kind for kind in type(rule).__mro__ if "update" in vars(kind))
    return vars(owner).get(name)


def _check_form(name: str, g: Array, like: Array) -> None:
    if (g.shape, g.dtype) != (like.shape, like.dtype):
        raise TypeError(f"the gradient of {name} must be {like.dtype} {like.shape}, got {g.dtype} {g.shape}")


def _kind_of_group(trainer: "Trainer", name: str) -> str:
    role = trainer.roles[name]
    if role is Role.STATISTIC or role not in trainer.training.trains:
        return STILL
    return DECAYED if name in trainer.decayed else TRAINED


def _kinds_of_moments(trainer: "Trainer", state: "State") -> list[str] | None:
    """What an elementwise optimiser keeps of each parameter, as "velocity"; None for any other optimiser."""
    if not of_update(trainer.training.optimizer, "elementwise"):
        return None
    kinds = list(dict.fromkeys(name.partition("/")[0] for name in state.optimizer))
    expected = {f"{kind}/{name}": array for kind in kinds for name, array in state.params.items()}
    return kinds if _forms(expected) == _forms(state.optimizer) else None


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _forms(arrays: Mapping[str, Array]) -> set[tuple[str, Any]]:
    return {(name, (array.shape, array.dtype)) for name, array in arrays.items()}
