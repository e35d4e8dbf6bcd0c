"""`cupy.fuse` of the double: stand-ins for the arguments refuse what CuPy 14.2.0 cannot make a kernel of.

Allowed: operators; ufuncs, where and clip with at most `out`; astype, copy and [...] =, all three on arguments as well,
which are written to in place; any number of results; one `sum` over axes, after which only the sum and constants are
operands. Refused: truth values, indices, other reductions, other methods, arrays that are no arguments, and results
that are no arrays. Refused, where CuPy would compute in float16 or int8 what NumPy does not: numbers among themselves,
beside short integers and truth values, and as the content of an array, but for 0. Refused as slow: a sum whose results
lie in the order of one argument and not of another. Stricter than CuPy: all results have one shape, an array that is
written to is not broadcast and shares no memory, and a kernel's arguments fit 4 KiB, the limit of older drivers.
"""

from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import Any

import cupy_double
import numpy as np
from cupy_graph_double import Kernel, noted

ACCEPTED = (cupy_double.ndarray, np.generic, int, float, complex, type(None))
ROUTINES = {np.where: 3, np.clip: 3}
LARGEST = 4096


class Trace:
    """What one run of a function does: the arguments that it writes to, and whether it has taken its sum."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.shape = self.whole = np.broadcast_shapes(*(a.shape for a in arrays))
        self.arguments: dict[int, Traced] = {}
        self.written: set[int] = set()
        self.summed = False
        self.axes: Any = ()

    def read(self, result: Any) -> set[int]:
        """The arguments of which a result, or what is written, is made: a kernel reads no others."""
        results = result if isinstance(result, tuple) else () if result is None else (result,)
        return set().union(*(r.made_of for r in (*results, *(self.arguments[i] for i in self.written))))

    def check_order(self, arrays: list[np.ndarray]) -> None:
        """Refuse a sum for which CuPy (`_get_contiguous_size`) would read some argument with a stride."""
        kept = [i for i, n in enumerate(self.whole) if i not in np.atleast_1d(self.axes) and n > 1]
        steps = [np.broadcast_to(a, self.whole).strides[kept[-1]] // a.itemsize for a in arrays if kept]
        if self.summed and 1 in steps and max(steps) > 1:
            raise TypeError(f"neighbouring threads would read with the steps {steps} to sum over {self.axes}")


class Traced:
    """An array, or a number that has no dimensions at all (ndim -1, like CuPy's)."""

    __module__ = "cupy._core.fusion"
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, trace: Trace, argument: int | None = None, made_of: Iterable[Any] = ()) -> None:
        """made_of: what it was computed from, stand-ins among other things."""
        self.value, self.trace, self.argument, self.after = value, trace, argument, trace.summed
        self.made_of = _arguments(made_of)
        if argument is not None:
            self.made_of, trace.arguments[argument] = {argument}, self

    @property
    def ndim(self) -> int:
        return self.value.ndim if isinstance(self.value, np.ndarray) else -1

    @property
    def dtype(self) -> np.dtype:
        return np.asarray(self.value).dtype

    def apply(self, f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> "Traced":
        """What a function of the module makes of stand-ins: this is asked of one of them."""
        if f is np.sum:
            return self.total(*args, **keywords)
        if not (isinstance(f, np.ufunc) or ROUTINES.get(f) == len(args)) or keywords.keys() - {"out"}:
            raise TypeError(f"cupy.fuse cannot fuse {f.__name__} with {', '.join(keywords) or 'no keywords'}")
        out, values = keywords.get("out"), [self.operand(a) for a in args]
        result = f(*values, **({} if out is None else {"out": out.target()}))
        if out is not None:
            out.made_of = _arguments(args)
            return out
        same = values[1:] if f is np.where else values
        if any(not isinstance(v, np.ndarray) for v in same):
            long = [v for v in same if isinstance(v, np.ndarray) and v.dtype.kind != "b" and v.dtype.itemsize >= 4]
            if not long:
                raise TypeError(f"cupy.fuse would take the numbers of {f.__name__} as float16 or int8")
        return Traced(np.asarray(result), self.trace, made_of=args)

    def total(self, x: "Traced", axis: Any) -> "Traced":
        value = self.operand(x).sum(axis=axis)
        if self.trace.summed or not isinstance(value, np.ndarray):
            raise NotImplementedError("Multiple reduction is not implemented yet, and neither is a sum of everything")
        self.trace.summed, self.trace.shape, self.trace.axes = True, value.shape, axis
        return Traced(value, self.trace, made_of=[x])

    def operand(self, value: Any) -> Any:
        if isinstance(value, Traced):
            if value.after != self.trace.summed:
                raise TypeError("Shape mismatch")
            return value.value
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise TypeError(f"cupy.fuse would write {value} as int64")
        if isinstance(value, (int, float, complex, np.generic)):
            return value
        raise TypeError(f"Unsupported type {type(value)}")

    def target(self) -> np.ndarray:
        if self.ndim < 0:
            raise TypeError("return arrays must be of ArrayType")
        if self.argument is not None:
            if self.value.shape != self.trace.shape:
                raise TypeError(f"an argument {self.value.shape} that is broadcast cannot be written to")
            self.trace.written.add(self.argument)
        return self.value

    def astype(self, dtype: Any) -> "Traced":
        return Traced(np.asarray(self.operand(self)).astype(dtype), self.trace, made_of=[self])

    def copy(self) -> "Traced":
        return Traced(np.array(self.operand(self)), self.trace, made_of=[self])

    def __bool__(self) -> bool:
        raise TypeError("Can't cast to bool")

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is not Ellipsis and key != slice(None):
            raise ValueError("The fusion supports `[...]` or `[:]`.")
        if not isinstance(value, Traced) and value != 0:
            raise TypeError("cupy.fuse would take the number as float16 or int8")
        self.target()[...] = self.operand(value)
        self.made_of = _arguments([value])


def _arguments(values: Iterable[Any]) -> set[int]:
    """The arguments of which these are made."""
    return set().union(*(v.made_of for v in values if isinstance(v, Traced)))


UFUNCS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
OTHERS = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal}
OTHERS |= {"ne": np.not_equal, "neg": np.negative, "invert": np.invert, "pow": np.power}
SHIFTS = {"lshift": np.left_shift, "rshift": np.right_shift}


def _operator(f: np.ufunc, reflected: bool = False, in_place: bool = False) -> Callable[..., Any]:
    def operate(self: Traced, *other: Any) -> Any:
        args = (*other, self) if reflected else (self, *other)
        return self.apply(f, args, {"out": self} if in_place and self.ndim >= 0 else {})

    return operate


for _name, _f in (UFUNCS | SHIFTS).items():
    setattr(Traced, f"__{_name}__", _operator(_f))
    setattr(Traced, f"__i{_name}__", _operator(_f, in_place=True))
for _name, _f in UFUNCS.items():
    setattr(Traced, f"__r{_name}__", _operator(_f, reflected=True))
for _name, _f in OTHERS.items():
    setattr(Traced, f"__{_name}__", _operator(_f))


class Fusion:
    """A fused function; `calls` counts the kernels it launched."""

    calls = 0

    def __init__(self, f: Callable[..., Any], kernel_name: str | None = None) -> None:
        self.f = f
        if not self.f.__name__.isidentifier():
            raise ValueError(f'Invalid kernel name: "{self.f.__name__}"')

    def __call__(self, *args: Any) -> Any:
        if not any(isinstance(a, cupy_double.ndarray) for a in args):
            return self.f(*args)
        if odd := [type(a) for a in args if not isinstance(a, ACCEPTED)]:
            raise TypeError(f"Invalid argument type for '{self.f.__name__}': {odd}")
        Fusion.calls += 1
        own = [cupy_double.unwrap(a) for a in args]
        # what is written to is found out on copies
        result, trace = self.traced([np.array(a) if isinstance(a, np.ndarray) else a for a in own])
        for i in trace.written:
            if any(np.shares_memory(own[i], a) for j, a in enumerate(own) if isinstance(a, np.ndarray) and j != i):
                raise TypeError("an argument that is written to must not share memory with another")
        read, targets = ([own[i] for i in places] for places in (trace.read(result), trace.written))
        kernel = lambda new: Kernel.of(self.f.__name__, read, [*targets, new])  # noqa: E731
        results, single = noted(lambda: self.computed(own), own, targets, kernel)
        arrays = tuple(map(cupy_double.ndarray, results))
        return arrays[0] if single else arrays or None

    def traced(self, own: list[Any]) -> tuple[Any, Trace]:
        arrays = [a for a in own if isinstance(a, np.ndarray)]
        trace = Trace(arrays)
        return self.f(*(a if a is None else Traced(a, trace, i) for i, a in enumerate(own))), trace

    def computed(self, own: list[Any]) -> tuple[list[np.ndarray], bool]:
        """New arrays of the results, in C order, and whether there is one that is in no tuple."""
        result, trace = self.traced(own)
        trace.check_order([a for a in own if isinstance(a, np.ndarray)])
        if result is None and trace.written and not trace.summed:
            return [], False
        results = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(r, Traced) and r.ndim >= 0 for r in results):
            raise TypeError(f"Fusion function can't return {[type(r) for r in results]}")
        values = [r.operand(r) for r in results]
        if any(v.shape != trace.shape for v in values) or (trace.summed and (trace.written or len(values) > 1)):
            raise TypeError(f"all results of a kernel have one shape, {trace.shape}, got {[v.shape for v in values]}")
        size = sum(16 + 16 * len(trace.shape) for a in (*own, *values) if isinstance(a, np.ndarray))
        if size > LARGEST:
            raise TypeError(f"the arguments of {self.f.__name__} take {size} bytes, more than {LARGEST}")
        # sums in NumPy's order: what is summed up again then has the bits of the operations one by one
        return [np.array(v, order="K" if trace.summed else "C") for v in values], not isinstance(result, tuple)


def fuse(*args: Any, **keywords: Any) -> Any:
    """`cupy.fuse`, the decorator with or without arguments."""
    if len(args) == 1 and not keywords and callable(args[0]):
        return update_wrapper(Fusion(args[0]), args[0])
    return lambda f: update_wrapper(Fusion(f, *args, **keywords), f)
