"""A stand-in for CuPy that computes with NumPy: what a GPU would refuse is refused here, and no GPU is needed.

Refused, as by CuPy 14.2.0: implicit conversion to NumPy, NumPy arrays as arguments, names and methods that CuPy lacks,
lists given to ufuncs, arrays of another device than the current one. Refused, where CuPy would go on with undefined
numbers: assignment to one place twice, and to a view that overlaps itself. Memory that is not set holds NaN. Reductions
stay arrays, and whatever makes the host wait for the device is counted, and refused while a stream is captured
(tests/cupy_graph_double.py). Like CuPy's, the array has neither `__array_namespace__` nor `__index__`.
"""

import ctypes
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import cublas_double
import cupy_graph_double
import numpy as np
import pytest
from cupy_graph_double import Kernel, noted, refuse
from scipy import special as scipy_special

from npsnn.gpu import blas

DEVICES = 2


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The functions and constants that cupy 14.2.0 shares with NumPy 2.4, without types, polynomials and files.
NAMES = words(
    """
    abs absolute add all allclose amax amin any append arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh
    argmax argmin argpartition argsort argwhere around array array_equal array_split asanyarray asarray
    ascontiguousarray asfortranarray atleast_1d atleast_2d atleast_3d average bincount bitwise_and bitwise_not
    bitwise_or bitwise_xor broadcast_arrays broadcast_shapes broadcast_to can_cast cbrt ceil choose clip
    column_stack compress concat concatenate conj conjugate convolve copy copysign copyto corrcoef cos cosh
    count_nonzero cov cross cumprod cumsum deg2rad degrees delete diag diag_indices diagflat diagonal diff digitize
    divide divmod dot dsplit dstack einsum empty empty_like equal exp exp2 expand_dims expm1 extract eye fabs
    fill_diagonal finfo fix flatnonzero flip fliplr flipud float_power floor floor_divide fmax fmin fmod frexp full
    full_like gradient greater greater_equal heaviside histogram hsplit hstack hypot identity iinfo imag indices
    inner interp invert isclose isfinite isin isinf isnan isneginf isposinf isreal isscalar issubdtype ix_ kron
    ldexp less less_equal lexsort linspace log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not
    logical_or logical_xor logspace matmul matrix_transpose max maximum mean median meshgrid min min_scalar_type
    minimum mod modf moveaxis multiply nan_to_num nanargmax nanargmin nanmax nanmean nanmedian nanmin nanprod nanstd
    nansum nanvar ndim negative nextafter nonzero not_equal ones ones_like outer pad partition percentile
    permute_dims pow power prod promote_types ptp put put_along_axis putmask quantile rad2deg radians ravel real
    reciprocal remainder repeat reshape resize result_type rint roll rollaxis rot90 round searchsorted select shape
    sign signbit sin sinc sinh size sort split sqrt square squeeze stack std subtract sum swapaxes take
    take_along_axis tan tanh tensordot tile trace transpose trapezoid tri tril triu true_divide trunc unique
    unravel_index vander var vdot vsplit vstack where zeros zeros_like bool bool_ dtype float16 float32 float64
    floating int8 int16 int32 int64 integer uint8 uint16 uint32 uint64 inf nan pi e newaxis
    """
)
SPECIAL_NAMES = words(
    "betaincinv erf erfc erfcx erfinv erfcinv ndtr ndtri log_ndtr logsumexp softmax log_softmax xlogy gammaln"
)
METHODS = words(
    """
    all any argmax argmin argsort astype clip compress conj copy cumprod cumsum diagonal dot fill flatten max mean
    min nonzero partition prod ravel repeat reshape round searchsorted sort squeeze std sum swapaxes take trace
    transpose var view
    """
)
IN_PLACE = words("fill partition sort")
VIEWS = words("T mT real imag")
UNKNOWN_SIZE = words("argwhere compress delete extract flatnonzero nonzero unique")
TAKING = words("take take_along_axis")
JOINING = words("column_stack concat concatenate dstack hstack stack vstack")
ATTRIBUTES = words("dtype flags itemsize nbytes ndim shape size strides")
REFUSED_KEYWORDS = words("initial like subok writeable")

_current = threading.local()
_waits: Counter[str] = Counter()


@contextmanager
def synchronisations() -> Iterator[Counter[str]]:
    """Counts what makes the host wait: bool, int, float, get (of whole arrays) and mask (an index of unknown size)."""
    _waits.clear()
    yield _waits


def device() -> int:
    return getattr(_current, "device", 0)


class Device:
    """`with Device(1):` makes it this thread's current one."""

    compute_capability = "90"

    def __init__(self, number: int = 0) -> None:
        self.number, self.before = number, [0]

    def use(self) -> None:
        _current.device = self.number

    def __enter__(self) -> "Device":
        self.before.append(device())
        self.use()
        return self

    def __exit__(self, *error: object) -> None:
        _current.device = self.before.pop()


class ndarray:  # noqa: N801  (CuPy's own name)
    """What `cupy.ndarray` does, over a NumPy array."""

    __module__ = "cupy"
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.device = array, device()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self.array, name)
        if name in VIEWS:
            return wrap(getattr(unwrap(self), name))
        if name in METHODS:
            return function(getattr(unwrap(self), name))
        raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")

    @property
    def data(self) -> "Pointer":
        return Pointer(unwrap(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Through the host, to the device that is current where it is read."""
        return asarray, (self.get(),)

    def __deepcopy__(self, memo: Any) -> "ndarray":
        with Device(self.device):
            copied: ndarray = self.copy()
        return copied

    def get(self) -> np.ndarray:
        _wait("get")
        return self.array.copy()

    def item(self) -> Any:
        _wait("get")
        return self.array.item()

    def __bool__(self) -> bool:
        _wait("bool")
        return bool(self.array)

    def __int__(self) -> int:
        _wait("int")
        return int(self.array)

    def __float__(self) -> float:
        _wait("float")
        return float(self.array)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator["ndarray"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> "ndarray":
        own, index = unwrap(self), _index(key)
        return ndarray(noted(lambda: own[index], own, kernel=lambda new: Kernel.of("take", [*index, new], new)))

    def __setitem__(self, key: Any, value: Any) -> None:
        index = _index(key)
        if any(isinstance(k, np.ndarray) for k in index):  # slices have no place twice
            places = np.arange(self.array.size).reshape(self.array.shape)[index]
            if len(np.unique(places)) < places.size:
                raise ValueError("an assignment to one place twice has no defined result in CuPy")
        own, new = unwrap(self), unwrap(value)
        if isinstance(new, (list, tuple)):
            refuse("a copy from the host")
        # written are the numbers at these places, not the whole array
        noted(lambda: own.__setitem__(index, new), [], [own], lambda _: Kernel.of("copy", new, own[index]))


class Pointer:
    """The address of an array, and the copy that needs no array of the host."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def ptr(self) -> int:
        return cublas_double.address(self.array)

    def copy_from_host_async(self, mem: int, size: int, stream: Any = None) -> None:
        refuse("a copy from the host")
        assert self.array.flags.c_contiguous and size <= self.array.nbytes
        ctypes.memmove(self.array.ctypes.data, mem, size)


def _wait(kind: str) -> None:
    refuse(f"a transfer to the host ({kind})")
    _waits[kind] += 1


def _index(key: Any) -> tuple[Any, ...]:
    keys = key if isinstance(key, tuple) else (key,)
    for k in keys:
        if isinstance(k, ndarray) and k.dtype == bool:
            _wait("mask")
        if isinstance(k, list):
            refuse("a list as an index, which is copied from the host")
    # with an ellipsis NumPy, too, gives a view of no dimensions rather than a scalar
    return tuple(unwrap(k) for k in keys) + (() if any(k is Ellipsis for k in keys) else (...,))


def unwrap(value: Any) -> Any:
    """The NumPy array inside; TypeError for a bare one, ValueError for one that lies on another device."""
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(unwrap(v) for v in value)
    if not isinstance(value, ndarray):
        return value
    if value.device != device():
        raise ValueError(f"Array device must be same as the current device: {value.device} and {device()}")
    return value.array


def wrap(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(wrap(v) for v in value)
    return ndarray(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def function(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` for arrays of the double; what it writes into `out` is there, and that very array comes back."""

    def call(*args: Any, **keywords: Any) -> Any:
        for a in (*args, *keywords.values()):
            if hasattr(a, "apply"):  # a stand-in inside of a function that is being fused
                return a.apply(f, args, keywords)
        if f.__name__ in UNKNOWN_SIZE:
            _wait("mask")
        if f.__name__ in JOINING and len(args[0]) > 8:
            refuse("a copy from the host: the addresses of more than 8 arrays that are joined")
        if REFUSED_KEYWORDS & keywords.keys():
            raise TypeError(f"CuPy's {f.__name__} does not have {', '.join(keywords)}")
        if isinstance(f, np.ufunc) and any(isinstance(a, (list, tuple)) for a in args):
            raise TypeError(f"Unsupported type {list}")
        own, named = [unwrap(a) for a in args], {k: unwrap(v) for k, v in keywords.items()}
        targets = [] if named.get("out") is None else [named["out"]]
        if f is np.copyto or f.__name__ in IN_PLACE:
            targets = [own[0] if f is np.copyto else _owner(f)]
        given = [*own, *(v for k, v in named.items() if k != "out"), _owner(f)]

        def kernel(new: list[np.ndarray]) -> Kernel:
            """Of an array that numbers are taken from, only these are read."""
            read = [*given[1:], new] if f.__name__ in TAKING else given
            return Kernel.of(f.__name__, read, [*targets, new])

        result = noted(lambda: _as_arrays(f(*own, **named)), [*given, *targets], targets, kernel)
        return keywords["out"] if keywords.get("out") is not None else wrap(result)

    return call


def _as_arrays(value: Any) -> Any:
    """The value with arrays of no dimensions in the place of NumPy's numbers: reductions stay arrays."""
    if isinstance(value, tuple):
        return tuple(map(_as_arrays, value))
    return np.asarray(value) if isinstance(value, np.generic) else value


def _owner(f: Callable[..., Any]) -> Any:
    """The array whose method f is."""
    return getattr(f, "__self__", None)


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, *other: Any) -> Any:
        if any(isinstance(o, (list, tuple)) for o in other):
            raise TypeError(f"Unsupported type {list}")
        own = [unwrap(a) for a in (self, *other)]
        compute = lambda: _as_arrays(getattr(own[0], name)(*own[1:]))  # noqa: E731
        return wrap(noted(compute, own, kernel=lambda new: Kernel.of(name.strip("_"), own, new)))

    return operate


def _in_place(name: str) -> Callable[..., Any]:
    def operate(self: ndarray, other: Any) -> ndarray:
        own, by = unwrap(self), unwrap(other)
        kernel = lambda _: Kernel.of(name.strip("_"), [own, by], own)  # noqa: E731
        noted(lambda: getattr(own, name)(by), [own, by], [own], kernel)
        return self

    return operate


BINARY = words("add sub mul truediv floordiv mod pow and or xor lshift rshift")
OTHERS = words("matmul rmatmul lt le gt ge eq ne neg pos abs invert")
for _name in BINARY | {f"r{n}" for n in BINARY} | OTHERS:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in BINARY:
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """Like CuPy's, without `subok` and `writeable`; nobody may write to it."""
    return wrap(np.lib.stride_tricks.as_strided(unwrap(x), shape, strides, writeable=False))


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """The one way in: a NumPy array is copied to the current device."""
    if isinstance(a, ndarray):
        own = unwrap(a)
        return wrap(noted(lambda: np.asarray(own, dtype), own, kernel=lambda new: Kernel.of("astype", own, new)))
    refuse("a copy from the host")
    return ndarray(np.array(a, dtype))


def empty_like(a: Any, shape: Any = None) -> ndarray:
    """Memory that held something else before, in the order of `a`."""
    own = unwrap(a)
    unset = np.nan if a.dtype.kind in "fc" else 1
    return ndarray(noted(lambda: np.full_like(own, unset, shape=shape), []))


def eigh(a: ndarray) -> tuple[ndarray, ndarray]:
    """Of cuSOLVER, which CuPy calls in no capture."""
    refuse("calling cuSOLVER")
    size, axes = np.linalg.eigh(unwrap(a))
    return ndarray(size), ndarray(axes)


class Module(ModuleType):
    """The module `cupy`: the names of NumPy that CuPy has, and no others."""

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        found = getattr(np, name)
        return function(found) if callable(found) and not isinstance(found, type) else found


def make() -> Module:
    """A fresh module; tests put it into sys.modules by `install`."""
    import cupy_fusion_double  # which builds on this module

    module = Module("cupy")
    module.ndarray, module.array, module.asarray = ndarray, asarray, asarray
    module.empty_like, module.empty = empty_like, lambda shape, dtype=float: empty_like(ndarray(np.zeros(shape, dtype)))
    module.fuse = cupy_fusion_double.fuse
    module.asnumpy = lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a)
    module.get_array_module = lambda *args: module if any(isinstance(a, ndarray) for a in args) else np
    module.lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))
    module.linalg = SimpleNamespace(eigh=eigh)
    runtime = SimpleNamespace(getDeviceCount=lambda: DEVICES, getDevice=device)
    runtime.getDeviceProperties = lambda number: {"name": f"double {number}".encode()}
    runtime.driverGetVersion = runtime.runtimeGetVersion = lambda: 13020
    graphs = vars(cupy_graph_double.names())
    module.cuda = SimpleNamespace(Device=Device, is_available=lambda: True, runtime=runtime, **graphs)
    module.get_default_memory_pool = cupy_graph_double.MemoryPool
    module.cuda.Memory = lambda size: SimpleNamespace(ptr=1 << 20, size=size)
    return module


def install(patch: pytest.MonkeyPatch) -> Module:
    """Puts the double in the place of CuPy, and its special functions in the place of cupyx's."""
    module, special = make(), ModuleType("cupyx.scipy.special")
    for name in SPECIAL_NAMES:
        setattr(special, name, function(getattr(scipy_special, name)))
    patch.setitem(sys.modules, "cupy", module)
    patch.setitem(sys.modules, "cupyx.scipy.special", special)
    patch.setattr(blas, "library", cublas_double.library)
    patch.setattr(blas, "_handle", cache(lambda device: blas.Handle()))
    patch.setitem(blas._precision, "tf32", False)
    patch.setattr(_current, "device", 0, raising=False)
    return module
