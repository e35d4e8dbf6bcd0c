"""Options are of the type that their dataclass declares, whoever made them: a command, a file or a user's code."""

from dataclasses import fields
from numbers import Integral, Real
from types import UnionType
from typing import Any, get_args, get_origin

SIGMA_LIMIT = 1e9
"""Far beyond any use, and far from where the square of sigma overflows in single precision."""


def check_types(options: Any) -> None:
    """Make each field of a frozen dataclass of plain values (str, bool, int, float, tuples, None) of its own type.

    A whole number will do for a float, one value for a tuple, and NumPy's numbers become Python's. Raises ValueError
    naming the field.
    """
    for field in fields(options):
        value = getattr(options, field.name)
        try:
            object.__setattr__(options, field.name, _as_type(value, field.type))
        except OverflowError:
            raise ValueError(f"{field.name} must be a number of double precision, got a larger one") from None
        except TypeError:
            what = getattr(field.type, "__name__", None) or str(field.type)
            name = what if get_args(field.type) == () else str(field.type)
            raise ValueError(f"{field.name} must be of the type {name}, got {value!r}") from None


def _as_type(value: Any, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        return _as_type(value, next(option for option in options if option is not type(None)))
    if get_origin(kind) is tuple:
        if isinstance(value, range) or getattr(value, "ndim", False):  # NumPy's arrays, without NumPy
            value = list(value)
        several = value if isinstance(value, tuple | list) else (value,)
        return tuple(_as_type(v, get_args(kind)[0]) for v in several)
    numeric = {int: Integral, float: Real}.get(kind)
    if numeric is None:
        if not isinstance(value, kind):
            raise TypeError
        return value
    if isinstance(value, bool) or not isinstance(value, numeric):
        raise TypeError
    return kind(value)


SIGMA_LEAST = 1e-18
"""Little above where the square of sigma underflows in single precision: such noise would be taken for none."""


def check_sigma(sigma: float, least: float = SIGMA_LEAST) -> None:
    """Raise ValueError unless sigma is 0 or a standard deviation whose square single precision can carry."""
    if isinstance(sigma, bool) or not isinstance(sigma, Real) or not 0 <= sigma < float("inf"):
        raise ValueError(f"sigma must be >= 0 and finite, got {sigma!r}")
    if sigma > SIGMA_LIMIT:
        raise ValueError(f"sigma must be at most {SIGMA_LIMIT:g}, got {sigma!r:.25}")
    if 0 < sigma < least:
        raise ValueError(f"sigma must be 0 or at least {least:g}, got {sigma!r}")


def as_int(value: Any) -> Any:
    """NumPy's integers as Python's; anything else as it is."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError, which names the argument, unless the value is a whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
