"""`cupy.fuse` of the double: stand-ins for the arguments refuse what CuPy 14.2.0 cannot make a kernel of.

Allowed: operators, ufuncs with at most `out`, astype, copy and [...] =. Refused: truth values, indices, reductions,
other methods, arrays that are no arguments, and results that are no arrays. Stricter than CuPy: two numbers give an
array's float64, reductions are refused, and so is writing to an argument.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import cupy_double
import numpy as np
from cupy_graph_double import noted

ACCEPTED = (cupy_double.ndarray, np.generic, int, float, complex, type(None))


class Traced:
    """An array, or a number that has no dimensions at all (ndim -1, like CuPy's)."""

    __module__ = "cupy._core.fusion"
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, argument: bool = False) -> None:
        self.value, self.argument = value, argument

    @property
    def ndim(self) -> int:
        return self.value.ndim if isinstance(self.value, np.ndarray) else -1

    @property
    def dtype(self) -> np.dtype:
        return np.asarray(self.value).dtype

    def apply(self, f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> "Traced":
        """What a function of the module makes of stand-ins: this is asked of one of them."""
        if not isinstance(f, np.ufunc) or keywords.keys() - {"out"}:
            raise TypeError(f"cupy.fuse cannot fuse {f.__name__} with {', '.join(keywords) or 'no keywords'}")
        out = keywords.get("out")
        result = f(*map(_value, args), **({} if out is None else {"out": _written(out)}))
        if out is not None:
            return out
        numbers = not any(isinstance(_value(a), np.ndarray) for a in args)
        # an array of no dimensions is none the less an array, and of two numbers CuPy forgets that they were weak
        return Traced(np.float64(result) if numbers else np.asarray(result))

    def astype(self, dtype: Any) -> "Traced":
        return Traced(np.asarray(self.value).astype(dtype))

    def copy(self) -> "Traced":
        return Traced(np.array(self.value))

    def __bool__(self) -> bool:
        raise TypeError("Can't cast to bool")

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is not Ellipsis and key != slice(None):
            raise ValueError("The fusion supports `[...]` or `[:]`.")
        _written(self)[...] = _value(value)


def _value(operand: Any) -> Any:
    if isinstance(operand, Traced):
        return operand.value
    if isinstance(operand, (int, float, complex, np.generic)):
        return operand
    raise TypeError(f"Unsupported type {type(operand)}")


def _written(out: Any) -> np.ndarray:
    if not isinstance(out, Traced) or out.ndim < 0:
        raise TypeError("return arrays must be of ArrayType")
    if out.argument:
        raise TypeError("a fused function must not write to its argument")
    return out.value


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


def _operator(f: np.ufunc, reflected: bool = False, in_place: bool = False) -> Callable[..., Any]:
    def operate(self: Traced, *other: Any) -> Any:
        args = (*other, self) if reflected else (self, *other)
        return self.apply(f, args, {"out": self} if in_place and self.ndim >= 0 else {})

    return operate


for _name, _f in UFUNCS.items():
    setattr(Traced, f"__{_name}__", _operator(_f))
    setattr(Traced, f"__r{_name}__", _operator(_f, reflected=True))
    setattr(Traced, f"__i{_name}__", _operator(_f, in_place=True))
for _name, _f in OTHERS.items():
    setattr(Traced, f"__{_name}__", _operator(_f))


class Fusion:
    """A fused function; `calls` counts the kernels it launched."""

    calls = 0

    def __init__(self, f: Callable[..., Any], kernel_name: str | None = None) -> None:
        self.f = f

    def __call__(self, *args: Any) -> Any:
        if not any(isinstance(a, cupy_double.ndarray) for a in args):
            return self.f(*args)
        if odd := [type(a) for a in args if not isinstance(a, ACCEPTED)]:
            raise TypeError(f"Invalid argument type for '{self.f.__name__}': {odd}")
        Fusion.calls += 1
        own = [cupy_double.unwrap(a) for a in args]
        results, several = noted(lambda: self.computed(own), own)
        arrays = tuple(map(cupy_double.ndarray, results))
        return arrays if several else arrays[0]

    def computed(self, own: list[Any]) -> tuple[list[np.ndarray], bool]:
        """New arrays of the results, and whether they are several."""
        result = self.f(*(a if a is None else Traced(a, argument=True) for a in own))
        results = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(r, Traced) and r.ndim >= 0 for r in results):
            raise TypeError(f"Fusion function can't return {[type(r) for r in results]}")
        return [np.array(r.value) for r in results], isinstance(result, tuple)


def fuse(*args: Any, **keywords: Any) -> Any:
    """`cupy.fuse`, the decorator with or without arguments."""
    if len(args) == 1 and not keywords and callable(args[0]):
        return update_wrapper(Fusion(args[0]), args[0])
    return lambda f: update_wrapper(Fusion(f, *args, **keywords), f)
