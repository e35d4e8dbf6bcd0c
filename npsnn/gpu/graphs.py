"""A computation on a GPU that is recorded once, as a CUDA graph, and then started as a whole.

The host needs about ten microseconds to start a kernel, and a small network's step has hundreds of kernels that take
two. A graph starts them all at once. What is recorded are addresses and numbers: so whatever differs from one run to
the next must be data in arrays, the keys of random draws included, and nothing may wait for the host.
"""

import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from npsnn.backend import Array, gpu, namespace, on_gpu
from npsnn.gpu import blas
from npsnn.gpu.staging import Staging
from npsnn.gpu.traced import DRAWS, Draw, Traced, keys_of
from npsnn.streams import Stream

Arrays: TypeAlias = dict[str, Array]
Streams: TypeAlias = tuple[Stream, ...]
Tree: TypeAlias = Any
"""An array or None, or a tuple, a list, a dictionary or a dataclass of such."""

KEPT = 16
"""Graphs that one object keeps; the one that was not used for longest goes first."""


class Graphs:
    """Graphs of the same parameters, which go when the object goes.

    A function is run plainly at first, recorded at its second call and started from then on. The graphs share their
    memory: each launch leaves nothing there but its result, which is taken out before the next.
    """

    def __init__(self) -> None:
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._pool: Any = None

    def run(
        self, key: Hashable, f: Callable[[Arrays, Streams], Tree], arrays: Mapping[str, Array], streams: Streams = ()
    ) -> Tree:
        """f(arrays, streams), as a graph from the second call on.

        key: what the function does; functions of one key do the same.
        f: a pure function of the arrays and of the numbers that the streams give. Other arrays that it uses must stay
            the same objects.
        arrays: by name, in the device's memory or the host's.
        streams: of all random numbers.
        """

        def stateless(state: Arrays, own: Arrays, given: Streams) -> tuple[Arrays, Tree]:
            return {}, f(own, given)

        found, of_graph = self._run(key, stateless, {}, arrays, streams)
        return mapped(found, lambda a: a.copy("K")) if of_graph else found

    def run_updating(
        self,
        key: Hashable,
        f: Callable[[Arrays, Arrays, Streams], tuple[Arrays, Tree]],
        state: Arrays,
        arrays: Mapping[str, Array],
        streams: Streams = (),
    ) -> Tree:
        """The second result of f(state, arrays, streams); the first result is written into the arrays of `state`.

        key, arrays, streams: as for `run`.
        f: a pure function; its first result has new values for some names of `state`.
        state: arrays by name, which are changed in place.
        The second result must not be a view of `state`. Its arrays may be the graph's, which hold until the next run.
        """
        return self._run(key, f, state, arrays, streams)[0]

    def _run(
        self,
        key: Hashable,
        f: Callable[..., tuple[Arrays, Tree]],
        state: Arrays,
        arrays: Mapping[str, Array],
        streams: Streams,
    ) -> tuple[Tree, bool]:
        """The second result of f, and whether its arrays are a graph's."""
        if not any(on_gpu(a) for a in (*state.values(), *arrays.values())):
            return _plainly(f, state, dict(arrays), streams), False
        full = (key, _forms(state), _forms(arrays), len(streams), blas.uses_tf32())
        if os.environ.get("NPSNN_GRAPH") == "0" or full in self._refused or not blas.available():
            return _plainly(f, state, _there(arrays), streams), False
        graph = self._graphs.get(full)
        if graph is None or any(graph.state[name] is not a for name, a in state.items()):
            if full not in self._seen:  # what is asked for once is not worth a recording
                self._seen.add(full)
                return _plainly(f, state, _there(arrays), streams), False
            try:
                graph = self._record(full, f, state, arrays, streams)
            except Exception as error:
                self._refused.add(full)
                _warn_of(error)
                return _plainly(f, state, _there(arrays), streams), False
        self._graphs.move_to_end(full)
        return graph.launch(arrays, streams), True

    def _record(self, full: Hashable, *what: Any) -> "_Graph":
        self._graphs.pop(full, None)  # of another state
        # what the plain run took and gave back would stay there beside the graph's memory
        gpu().get_default_memory_pool().free_all_blocks()
        self._pool = self._pool or _lasting_pool()
        self._graphs[full] = graph = _recorded(self._pool, *what)
        if len(self._graphs) > KEPT:
            self._graphs.popitem(last=False)
        return graph


def _lasting_pool() -> Any:
    """A memory pool that gives nothing back to the device before it goes.

    Where a device has no memory left, CuPy's pools give back what no array holds. The graphs that were recorded know
    addresses in there: their next launch would be an illegal access.
    """
    kept = []

    def allocate(size: int) -> Any:
        memory = gpu().cuda.Memory(size)
        kept.append(memory)
        return gpu().cuda.MemoryPointer(memory, 0)

    return gpu().cuda.MemoryPool(allocate)


def _there(arrays: Mapping[str, Array]) -> Arrays:
    """The arrays in the device's memory."""
    return {name: gpu().asarray(a) for name, a in arrays.items()}


def recording() -> bool:
    """Whether a graph is being recorded: what is computed then becomes a part of it."""
    return bool(gpu().cuda.get_current_stream().is_capturing())


def _plainly(f: Callable[..., tuple[Arrays, Tree]], state: Arrays, arrays: Arrays, streams: Streams) -> Tree:
    new, found = f(state, arrays, streams)
    _put(state, new)
    return found


def _put(state: Arrays, new: Mapping[str, Array]) -> None:
    """Write new values into the arrays of `state`."""
    for name, value in new.items():
        if value is not state[name]:
            namespace(value).copyto(state[name], value)


def _forms(arrays: Mapping[str, Array]) -> Hashable:
    return tuple((name, a.shape, a.dtype.str) for name, a in arrays.items())


_told: set[str] = set()


def _warn_of(error: Exception) -> None:
    """Say, once for each reason, why a computation goes on without a graph."""
    reason = f"{type(error).__name__}: {error}"
    if reason not in _told:
        _told.add(reason)
        warnings.warn(
            f"a computation goes on without a CUDA graph, which is slower but right: {reason}",
            RuntimeWarning,
            stacklevel=4,
        )


KEYS = "keys of draws"


@dataclass(eq=False)
class _Graph:
    """What was recorded, with all that lies at the addresses it knows.

    state, inputs: arrays that it reads.
    staging: those inputs that the host sends, and key and first sample of each draw, (DRAWS, 2).
    draws: which stream each draw is of, and how the draw's own stream comes from that.
    """

    state: Arrays
    inputs: Arrays
    staging: Staging
    draws: dict[Draw, int] = field(default_factory=dict)
    outputs: Tree = None
    graph: Any = None

    def launch(self, arrays: Mapping[str, Array], streams: Streams) -> Tree:
        sent = {}
        for name, a in arrays.items():
            if isinstance(a, np.ndarray) and name in self.staging.arrays:
                sent[name] = a
            else:
                gpu().copyto(self.inputs[name], gpu().asarray(a))
        if self.draws:
            sent[KEYS] = keys_of(self.draws, streams)
        if sent:
            self.staging.send(sent)
        self.graph.launch()
        return self.outputs


def _recorded(
    pool: Any, f: Callable[..., tuple[Arrays, Tree]], state: Arrays, arrays: Arrays, streams: Streams
) -> _Graph:
    """The graph of f, not yet started, with its own arrays in the pool."""
    xp = gpu()
    sent = {name: (a.shape, a.dtype) for name, a in arrays.items() if isinstance(a, np.ndarray)}
    staging = Staging(sent | {KEYS: ((DRAWS, 2), np.dtype(np.uint64))})
    inputs = {name: staging.arrays[name] if name in sent else a.copy() for name, a in arrays.items()}
    made = _Graph(dict(state), inputs, staging)
    keyed = {"draws": made.draws, "keys": staging.arrays[KEYS]}
    traced = tuple(Traced(s.seed, s.path, s.first, s.shared, which=i, **keyed) for i, s in enumerate(streams))
    stream = xp.cuda.Stream(non_blocking=True)
    with xp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        try:
            new, found = f(dict(state), dict(inputs), traced)
            _put(state, new)
            made.outputs = _apart(found, inputs)
        except BaseException:
            _abandon(stream)
            raise
        made.graph = stream.end_capture()
    return made


def _abandon(stream: Any) -> None:
    """End a recording that failed; that the recording is invalid is known."""
    try:
        stream.end_capture()
    except Exception:
        return


def _apart(tree: Tree, inputs: Arrays) -> Tree:
    """The tree with copies in place of arrays that are inputs themselves, which the next run overwrites."""
    own = {id(a) for a in inputs.values()}
    return mapped(tree, lambda a: a.copy() if id(a) in own else a)


def mapped(tree: Tree, f: Callable[[Array], Array]) -> Tree:
    """The tree with f of each array in the array's place.

    tree: an array or None, or a tuple, a list, a dictionary or a dataclass of such.
    """
    if tree is None:
        return None
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(part, f) for part in tree)
    if isinstance(tree, dict):
        return {name: mapped(part, f) for name, part in tree.items()}
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{own.name: mapped(getattr(tree, own.name), f) for own in fields(tree) if own.init})
    return f(tree) if hasattr(tree, "dtype") else tree
