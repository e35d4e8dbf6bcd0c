"""The results of a training's parts as ranks tell them to one another: in the host's memory, by forms of arrays."""

from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from npsnn.backend import to_device
from npsnn.train.losses import Total


class Form(NamedTuple):
    """The form of an array: its name, its shape, its dtype, and the order of its axes in memory."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[int, ...]

    @staticmethod
    def of(name: str, array: Any) -> "Form":
        array = np.asarray(array)
        axes = tuple(sorted(range(array.ndim), key=lambda axis: (-abs(array.strides[axis]), axis)))
        return Form(name, array.shape, array.dtype.str, axes)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def flat(self, array: Any) -> np.ndarray:
        """The numbers of an array in the order in which they lie in memory."""
        return np.asarray(array).transpose(self.axes).ravel()

    def shaped(self, flat: np.ndarray) -> Any:
        """The array of these numbers."""
        array = flat.reshape([self.shape[axis] for axis in self.axes]).transpose(np.argsort(self.axes))
        return array if self.shape else array[()]


def told(mine: list[Any], statistics: frozenset[str], rank: int) -> tuple[list[Any], list[Form], dict[str, Any]]:
    """What a rank says of its results when they are done: small ones, the forms of gradients, the statistics.

    mine: the results of a rank's jobs, in order.
    statistics: names of the running averages.
    A `Total` is said without its gradients, which are added up elsewhere. Their forms and the statistics are the same
    on all ranks, and rank 0 always has a job: it alone says them.
    """
    if not mine or not isinstance(mine[0], Total):
        return mine, [], {}
    small, grads = [Total(t.loss, t.correct) for t in mine], mine[0].grads if rank == 0 else None
    forms = [Form.of(k, g) for k, g in (grads or {}).items()]
    return small, forms, {k: g for k, g in (grads or {}).items() if k in statistics}


def kept(result: Any) -> Any:
    """A result in the host's memory, whose arrays nobody else writes to."""
    if not isinstance(result, Total):
        return deepcopy(result)
    found = on_host(result)
    if found.grads is not None:
        found.grads = {k: np.array(g) if g is (result.grads or {})[k] else g for k, g in found.grads.items()}
    return found


def on_host(result: Any) -> Any:
    """A result whose arrays, if it is a `Total`, lie in the host's memory; the host waits for a GPU here."""
    return _moved(result, "cpu") if isinstance(result, Total) else result


def on_device(total: Total, device: str) -> Total:
    """Sums whose arrays lie in the memory of a device, which is the calling thread's."""
    return _moved(total, device)


def _moved(total: Total, device: str) -> Total:
    grads = None if total.grads is None else {k: to_device(g, device) for k, g in total.grads.items()}
    return Total(to_device(total.loss, device), to_device(total.correct, device), grads)
