"""Which library holds the arrays: NumPy on a CPU, CuPy on an NVIDIA GPU. The only file that names cupy."""

import importlib
import os
from collections.abc import Callable, Sequence
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import numpy as np

Array: TypeAlias = Any
"""A NumPy or a CuPy array; the functions that take one ask `namespace` which."""

F = TypeVar("F", bound=Callable[..., Any])

SPECIAL_FUNCTIONS = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special"}


def namespace(*arrays: Array) -> ModuleType:
    """The module whose arrays these are, `numpy` or `cupy`.

    arrays: None and Python numbers among them are passed over.
    Raises TypeError where arrays of two libraries meet, or where no argument is an array.
    """
    for a in arrays:  # a plain loop, for this is asked some hundred times a step
        if type(a) is not np.ndarray:
            break
    else:
        if arrays:
            return np
    # By the name of the type's module: CuPy's arrays (14.2) have no __array_namespace__.
    found = {"cupy" if type(a) is Later else type(a).__module__.partition(".")[0] for a in arrays} - {"builtins"}
    if len(found) != 1 or not found <= SPECIAL_FUNCTIONS.keys():
        kinds = ", ".join(f"{type(a).__module__}.{type(a).__name__}" for a in arrays) or "nothing"
        raise TypeError(f"arguments must be arrays of one library, NumPy or CuPy, got {kinds}")
    return importlib.import_module(found.pop())


def on_gpu(*arrays: Array) -> bool:
    """Whether the arrays are CuPy's; raises TypeError as `namespace` does."""
    for a in arrays:  # as in `namespace`, which need not be called then
        if type(a) is not np.ndarray:
            break
    else:
        if arrays:
            return False
    return namespace(*arrays) is not np


def strided(x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of x from its first element on.

    shape: of the view.
    strides: of the view, in bytes.
    """
    xp = namespace(x)
    if xp is np and x.flags.c_contiguous and x.size:
        # the same as as_strided, which takes ten times as long, and safe: the view may not leave the memory of x
        return np.ndarray(shape, x.dtype, x, 0, strides)
    return xp.lib.stride_tricks.as_strided(x, shape, strides)


def frozen(numbers: Any, dtype: str) -> Array:
    """A NumPy array that cannot be written to, to be kept and given to `asarray` of any library.

    numbers: anything that NumPy makes an array of.
    dtype: of the array.
    """
    array = np.array(numbers, dtype)
    array.setflags(write=False)
    return array


def constant(numbers: Any, dtype: Any, like: Array) -> Array:
    """The numbers as an array of the library of `like`, which nobody may write to.

    On a GPU they are copied to the device once and kept there: while a graph is recorded (`npsnn.gpu.graphs`) nothing
    can be copied from the host.

    numbers: a number, or anything that NumPy makes an array of.
    dtype: of the array.
    like: any array of the library.
    """
    host = np.asarray(numbers, dtype)
    if not on_gpu(like):
        return host
    return _kept_constant(host.tobytes(), host.dtype.str, host.shape, gpu().cuda.runtime.getDevice())


@cache  # without a limit: a recorded graph knows the address alone, and reads whatever lies there then
def _kept_constant(content: bytes, dtype: str, shape: tuple[int, ...], device: int) -> Array:
    return gpu().asarray(np.frombuffer(content, dtype).reshape(shape))


def gpu() -> Any:
    """The module cupy, for what NumPy has not: streams, graphs, memory."""
    return importlib.import_module("cupy")


def special(*arrays: Array) -> ModuleType:
    """The module of special functions (ndtr, log_ndtr, erfcx, ...) for the library of the arrays."""
    return importlib.import_module(SPECIAL_FUNCTIONS[namespace(*arrays).__name__])


def to_device(x: Array, device: str) -> Array:
    """`x` in the memory of a device.

    device: "cpu", "cuda" or "cuda:1", which `use_device` has made current.
    """
    if device == "cpu":
        return to_host(x)
    return gpu().asarray(x)


def to_host(x: Array) -> Array:
    """`x` as a NumPy array."""
    return x.get() if hasattr(x, "get") else x


FEW = 8
"""CuPy joins more arrays than these by their addresses, which it copies to the device."""


def stacked(arrays: Sequence[Array]) -> Array:
    """The arrays as one, with a new axis before their own; a graph may have recorded it, however many they are.

    arrays: of one shape and one library.
    """
    xp = namespace(*arrays)
    parts = [xp.stack(arrays[i : i + FEW]) for i in range(0, len(arrays), FEW)] if xp is not np else [np.stack(arrays)]
    while len(parts) > 1:
        parts = [xp.concatenate(parts[i : i + FEW]) for i in range(0, len(parts), FEW)]
    return parts[0]


def to_numbers(*values: Array) -> list[float]:
    """Arrays of no dimensions as Python's floats; the host waits for a GPU once, however many they are."""
    xp = namespace(*values)
    if xp is np:
        return [float(v) for v in values]
    return list(map(float, to_host(stacked([v.astype(xp.float64) for v in values]))))


def fused(f: F) -> F:
    """The function f, which on a GPU runs as one kernel instead of one for each operation (`cupy.fuse`).

    NPSNN_FUSE=0 switches fusion off. docs/gpu.md says how much fusion saves, and `scripts/gpu-check` times both ways.
    A fused function inside of another one is a part of its kernel.

    f: an elementwise function of arrays, numbers or None by position, which returns an array or a tuple of arrays, all
        of the shape to which the arguments broadcast. It may use operators, ufuncs, where and astype, and write to
        arguments that are whole and apart (`x[...] = y`, `x += y`, `out=x`); it returns None then. No truth value,
        index or other method: f may ask an argument for its dtype, and whether it is None. Or f returns the sum of one
        expression over some axes (`xp.sum(x * y, axis=(2, 3))`). Two numbers must not meet in f, nor a number an array
        of truth values: CuPy takes them as float16. An array takes 80 bytes in 4 dimensions, and there are 4096.
    """

    @wraps(f)
    def call(*args: Any) -> Any:
        for a in args:  # a plain loop, as in `namespace`
            if type(a) is np.ndarray:
                return f(*args)
        return _launched(f, args) if on_gpu(*args) and _fuses() else f(*args)

    return call  # type: ignore[return-value]


class Later:
    """What a fused function makes of its arguments, to be computed in the kernel of the function that takes it.

    It stands for an array on a GPU of the shape and dtype of the first argument; the others have that shape or spread
    over it from one number for each channel. Fused functions take it as an argument, everything else takes `settled`.
    """

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.f, self.args, self.array = f, args, None
        self.shape, self.dtype, self.ndim, self.size = (getattr(args[0], k) for k in ("shape", "dtype", "ndim", "size"))

    def __getitem__(self, key: Any) -> "Later":
        """A part along axes on which nothing has one number for each channel."""
        return self.mapped(lambda a: a[key] if getattr(a, "shape", None) == self.shape else a)

    def mapped(self, g: Callable[[Any], Any]) -> "Later":
        """The same of g of each argument."""
        return Later(self.f, tuple(a.mapped(g) if type(a) is Later else g(a) for a in self.args))


def later(f: Callable[..., Array], *args: Any) -> Array:
    """f(*args), on a GPU as `Later`.

    f: a fused function of the module's level with one array as its result.
    """
    if any(type(a) is np.ndarray for a in args) or not on_gpu(*args) or not _fuses():
        return f(*args)
    return Later(f, args)


def settled(x: Array) -> Array:
    """The array that `Later` stands for, computed once; anything else as it is."""
    if type(x) is not Later:
        return x
    if x.array is None:
        x.array = _launched(x.f, x.args)
    return x.array


def _fuses() -> bool:
    return os.environ.get("NPSNN_FUSE") != "0"


def _launched(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    if any(type(a) is Later for a in args):
        places: dict[int, int] = {}
        flat: list[Any] = []

        def plan(a: Any) -> Any:
            """Where the argument is in the flat list, or the function that makes it and the plans of its arguments."""
            if type(a) is Later:
                return plan(a.array) if a.array is not None else (a.f, *map(plan, a.args))
            if places.setdefault(id(a), len(flat)) == len(flat):
                flat.append(a)
            return places[id(a)]

        f, args = _composed(f, *map(plan, args)), tuple(flat)
    return _kernel(f)(*args)


@cache
def _composed(f: Callable[..., Any], *plans: Any) -> Callable[..., Any]:
    def value(plan: Any, flat: tuple[Any, ...]) -> Any:
        return flat[plan] if isinstance(plan, int) else plan[0](*(value(p, flat) for p in plan[1:]))

    @wraps(f)
    def composed(*flat: Any) -> Any:
        return f(*(value(p, flat) for p in plans))

    return composed


@cache
def _kernel(f: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = gpu().fuse()(f)
    return made


_own = {"gpu": 0}
"""The GPU that "cuda" means, which `own_gpu` sets."""


def own_gpu(number: int) -> None:
    """Let "cuda" mean another GPU of this machine from now on, and not the first.

    number: of the GPU, counted from 0, and from 0 again where there are fewer.
    """
    _own["gpu"] = number


def on_own_gpu() -> bool:
    """Whether the calling thread computes on the GPU that "cuda" means."""
    runtime = gpu().cuda.runtime
    return bool(runtime.getDevice() == _own["gpu"] % runtime.getDeviceCount())


def check_device(device: str) -> None:
    """Raise ValueError unless the device is named cpu, cuda or cuda:N, whether or not there is such a device."""
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (":" in device and (name == "cpu" or not index.isdecimal())):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got {device!r}")


def use_device(device: str) -> None:
    """Make a device the one on which the calling thread computes; a GPU serves this thread alone.

    device: "cpu", "cuda" or "cuda:N". "cuda" is the first GPU, or of several ranks on a host the one of this rank
        (`own_gpu`).
    Raises ValueError for another name, and for a GPU that cannot be used.
    """
    check_device(device)
    name, _, index = device.partition(":")
    if name == "cpu":
        return
    try:
        cupy = gpu()
    except ImportError as error:
        if error.name != "cupy":  # it is there, but something that it needs is not
            raise ValueError(f"device {device!r} needs CuPy, which cannot be imported: {error}") from error
        raise ValueError(
            f"device {device!r} needs CuPy, which is not installed: pip install 'npsnn[cuda12]' (or cuda13)"
        ) from error
    # CuPy imports without a GPU and fails only at the first allocation.
    if not cupy.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but CuPy finds no usable NVIDIA GPU")
    count = cupy.cuda.runtime.getDeviceCount()
    number = int(index) if index else _own["gpu"] % count
    if number >= count:
        there = "is 1 GPU" if count == 1 else f"are {count} GPUs"
        raise ValueError(f"device {device!r} was asked for, but there {there}, counted from 0")
    cupy.cuda.Device(number).use()


def about_gpu(device: str) -> dict[str, Any]:
    """The name of the GPU that `use_device` has made current, and CUDA's versions; an empty dictionary for a CPU."""
    if device == "cpu":
        return {}
    runtime = gpu().cuda.runtime
    name = runtime.getDeviceProperties(runtime.getDevice())["name"]
    versions = {"CUDA driver": runtime.driverGetVersion(), "CUDA runtime": runtime.runtimeGetVersion()}
    # CUDA's number for 13.2 is 13020
    return {"gpu": name.decode(), **{k: f"{v // 1000}.{v % 1000 // 10}" for k, v in versions.items()}}
