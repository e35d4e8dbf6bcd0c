"""Options are declared once, on the fields of a dataclass, and checked there, whoever makes the dataclass."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from numbers import Integral, Real
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from npsnn.words import kind_name, nearest

C = TypeVar("C", bound=type)

SIGMA_LIMIT = 1e9
"""Far beyond any use, and far from where the square of sigma overflows in single precision."""
WHOLE_NUMBER = (int, Integral)
"""The types of whole numbers; int by itself, for to ask an abstract class takes longer."""
COUNT_LIMIT = 2**53
"""JSON readers that take every number for a float keep smaller whole numbers exactly."""


@dataclass(frozen=True)
class Option:
    """What one field of an options dataclass may hold, and what people are told of it.

    help: a sentence for --help; {choices} stands for the choices.
    group: the heading of --help that it stands under.
    low, high: the least and the largest number; of each one where the field holds several.
    above, below: whether the number must be more than low, or less than high, and not equal.
    choices: the words that it may be, or a function that returns them. They are read when they are needed, so that
        what a plugin has added to a table counts.
    closed: whether other words are refused; if not, only the command line has the choices.
    fraction: whether the command line takes 8/255 for a number.
    flag: the flag of the command line, where it is not made of the field's name.
    shown: the default in the words of --help.
    check: one more check of a value, which raises ValueError.
    word: what stands for the value in --help, where its type does not say it.
    bare: the value that the flag stands for where none follows it.
    paths: whether the path of a data set may stand in the place of one of the choices.
    """

    help: str
    group: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    choices: Iterable[str] | Callable[[], Iterable[str]] | None = None
    closed: bool = True
    fraction: bool = False
    flag: str | None = None
    shown: str | None = None
    check: Callable[[Any], None] | None = None
    word: str | None = None
    bare: str | None = None
    paths: bool = False

    def words(self) -> list[str] | None:
        """The choices as they are now; None where there are none to choose from."""
        return None if self.choices is None else list(self.choices() if callable(self.choices) else self.choices)

    def sentence(self) -> str:
        """The help text with the choices in it."""
        return self.help.replace("{choices}", listed(self.words() or [""]))


def option(default: Any, help: str, group: str, **limits: Any) -> Any:
    """A dataclass field with its default and, in its metadata, its `Option`; limits: the other fields of that."""
    return field(default=default, metadata={"option": Option(help, group, **limits)})


def same(kind: Any, name: str, **others: Any) -> Any:
    """A dataclass field as another dataclass declares it; others: the default and what else is to differ."""
    declaration = {f.name: f for f in fields(kind)}[name]
    default = others.pop("default", declaration.default)
    return field(default=default, metadata={"option": replace(declaration.metadata["option"], **others)})


def declared(options: Any) -> dict[str, Option]:
    """The options of a dataclass, or of a value of one, by the names of their fields."""
    return {f.name: f.metadata["option"] for f in fields(options) if "option" in f.metadata}


def documented(kind: C) -> C:
    """Add a line for each option to the docstring of a dataclass: `@documented` above `@dataclass`."""
    lines = [f"    {name}: {o.help.replace(': {choices}', '')}" for name, o in declared(kind).items()]
    if kind.__doc__:  # python -OO has none
        kind.__doc__ = "\n".join([kind.__doc__.rstrip(), "", *lines, ""])
    return kind


def check_types(options: Any) -> None:
    """Make each field of a frozen dataclass of plain values (str, bool, int, float, tuples, None) of its own type.

    A whole number will do for a float, one value for a tuple, and NumPy's numbers become Python's. A field of a
    protocol's type that cannot be checked at run time may hold any object that is no plain value. Raises ValueError
    naming the field.
    """
    for each in fields(options):
        value = getattr(options, each.name)
        try:
            object.__setattr__(options, each.name, _as_type(value, each.type))
        except OverflowError:
            raise ValueError(f"{each.name} must be a number of double precision, got a larger one") from None
        except TypeError:
            raise ValueError(f"{each.name} must be of the type {kind_name(each.type)}, got {value!r:.100}") from None


def _as_type(value: Any, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        return _as_one_of(value, [option for option in options if option is not type(None)])
    if get_origin(kind) is tuple:
        if isinstance(value, range) or getattr(value, "ndim", False):  # NumPy's arrays, without NumPy
            value = list(value)
        several = value if isinstance(value, tuple | list) else (value,)
        return tuple(_as_type(v, get_args(kind)[0]) for v in several)
    if getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        if isinstance(value, (str, Real, tuple, type, type(None))):
            raise TypeError
        return value
    numeric = {int: Integral, float: Real}.get(kind)
    if numeric is None:
        if not isinstance(value, kind):
            raise TypeError
        return value
    if isinstance(value, bool) or not isinstance(value, numeric):
        raise TypeError
    return kind(value)


def _as_one_of(value: Any, kinds: list[Any]) -> Any:
    """The value as the first of the types that it fits."""
    for kind in kinds[:-1]:
        try:
            return _as_type(value, kind)
        except TypeError:
            continue
    return _as_type(value, kinds[-1])


def listed(words: Iterable[str], last: str = "or") -> str:
    """The words in a sentence: "a, b or c"."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def check_options(options: Any) -> None:
    """Check the types, choices and ranges of a frozen dataclass by the options that it declares.

    Values become those of the fields' own types, as in `check_types`. Raises ValueError naming the field.
    """
    check_types(options)
    for name, declaration in declared(options).items():
        value = getattr(options, name)
        if value == ():
            raise ValueError(f"{name} must hold at least one, got ()")
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None:
                _check(name, each, declaration)


def _check(name: str, value: Any, declaration: Option) -> None:
    words = declaration.words() if declaration.closed else None
    if words is not None:
        check_choice(name, value, words)
    if declaration.low is not None and (wanted := _missed(value, declaration.low, declaration)):
        raise ValueError(f"{name} must be {wanted}, got {value!r:.50}")
    if declaration.check is not None:
        declaration.check(value)


def _missed(value: float, low: float, o: Option) -> str:
    """The range that the value is not in, in words; empty where it is in it."""
    enough = value > low if o.above else value >= low
    if o.high is not None:
        within = enough and (value < o.high if o.below else value <= o.high)
        return "" if within else f"in {'(' if o.above else '['}{low:g}, {o.high:g}{')' if o.below else ']'}"
    least = f"{'>' if o.above else '>='} {low:g}"
    if isinstance(value, int):
        return "" if enough and value < COUNT_LIMIT else "< 2^53" if enough else least
    return "" if enough and isfinite(value) else f"{least} and finite"


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


def check_choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise ValueError, which names the argument, the choices and the nearest, unless the value is one of the words."""
    words = list(known)
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r}{nearest(value, words)}")


def as_int(value: Any) -> Any:
    """NumPy's integers as Python's; anything else as it is."""
    return int(value) if isinstance(value, WHOLE_NUMBER) and not isinstance(value, bool) else value


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError, which names the argument, unless the value is a whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, WHOLE_NUMBER):
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def check_network(value: Any) -> None:
    """Raise TypeError for what is no network, such as the name of a run."""
    if not hasattr(value, "checked"):
        raise TypeError(f"network must be a Classifier, as Classifier.load(RUN) gives, got {value!r:.80}")
