"""Options are checked as their fields declare them, whoever makes the dataclass."""

from dataclasses import dataclass
from typing import Any

import pytest

from npsnn.validate import check_options, declared, documented, listed, option

WORDS = ["red", "green"]


def odd(value: int) -> None:
    if value % 2 == 0:
        raise ValueError(f"odd must be odd, got {value}")


@documented
@dataclass(frozen=True)
class Options:
    """Some options.

    plain: what declares nothing.
    """

    colour: str = option("red", "Colour: {choices}. Red is warm.", "Looks", choices=lambda: WORDS)
    place: str = option("here", "Place: {choices}.", "Looks", choices=("here", "there"), closed=False)
    count: int = option(1, "Number.", "Size", low=1)
    several: tuple[float, ...] = option((0.5,), "Sizes.", "Size", low=0, high=1, below=True)
    width: float | None = option(None, "Width.", "Size", low=0, above=True)
    odd: int = option(1, "An odd number.", "Size", check=odd)
    plain: bool = False

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": "rde"}, "colour must be one of red, green, got 'rde'; did you mean red?"),
        ({"count": 0}, "count must be >= 1, got 0"),
        ({"count": 2**53}, "count must be < 2^53, got 9007199254740992"),
        ({"count": 1.5}, "count must be of the type int, got 1.5"),
        ({"several": ()}, "several must hold at least one, got ()"),
        ({"several": (0.1, 1)}, "several must be in [0, 1), got 1.0"),
        ({"several": (0.1, float("nan"))}, "several must be in [0, 1), got nan"),
        ({"width": 0}, "width must be > 0 and finite, got 0.0"),
        ({"width": float("inf")}, "width must be > 0 and finite, got inf"),
        ({"odd": 2}, "odd must be odd, got 2"),
        ({"plain": 3}, "plain must be of the type bool, got 3"),
    ],
)
def test_a_wrong_value_is_refused_by_its_fields_declaration(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        Options(**given)
    assert str(caught.value) == said


def test_what_is_within_the_declaration_is_taken() -> None:
    made = Options(place="elsewhere", count=2**53 - 1, several=0, width=1e-300)  # type: ignore[arg-type]
    assert made.several == (0.0,) and made.place == "elsewhere" and Options().width is None


def test_choices_are_read_when_they_are_needed() -> None:
    with pytest.raises(ValueError, match="one of red, green, got 'blue'"):
        Options(colour="blue")
    WORDS.append("blue")
    try:
        assert Options(colour="blue").colour == "blue"
        assert declared(Options)["colour"].sentence() == "Colour: red, green or blue. Red is warm."
    finally:
        WORDS.remove("blue")


def test_a_docstring_has_a_line_for_each_option() -> None:
    assert Options.__doc__ and "    colour: Colour. Red is warm.\n    place: Place.\n" in Options.__doc__
    assert Options.__doc__.startswith("Some options.") and "plain: what declares nothing." in Options.__doc__


def test_words_in_a_sentence() -> None:
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]
