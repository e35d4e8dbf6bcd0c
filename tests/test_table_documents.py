"""Values of tables as JSON: what files hold, and that no document does more than raise a ValueError."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapes import Several, Square, Table2, shapes, twice

from npsnn.tables import Table

pytestmark = pytest.mark.usefixtures("no_entries")


VALUES = [
    Square(),
    Square(float("inf")),
    Square(np.float32(0.5)),  # type: ignore[arg-type]
    Several((Square(2), Several(first=Square(3.0))), Square(), (3, 4), measure=twice, name="a", loud=True),
    twice,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_survives_json(value: Any) -> None:
    table = shapes()
    document = json.loads(json.dumps(table.encode(value), allow_nan=False))
    assert table.decode(document) == value
    assert document["type"] == ("twice" if value is twice else type(value).__name__)
    assert "size" not in document and "kind" not in document


def test_a_document_is_the_fields_by_name() -> None:
    table = shapes()
    assert table.encode(Square(2)) == {"type": "Square", "side": 2}
    assert table.encode(Square(float("inf"))) == {"type": "Square", "side": {"number": "inf"}}
    assert table.encode(Square(np.int64(2))) == {"type": "Square", "side": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Square, r"this shape: Square must be a value, as Square\(\), got the class"),
        (Several(first=Square), r"Several.first: Square must be a value, as Square\(\), got the class"),
        (Table2(), r"Table2 is in no table of every shape, and could not be saved: put @shape above it \(from shapes"),
        (Table2, "Table2 is in no table of every shape"),
        (5, "int is in no table of every shape"),
        (None, "NoneType is in no table of every shape"),
        (
            Several(shapes=(Square(), Table2())),
            "Several.shapes: Table2 is in no table.*enter it by the",
        ),
        (Several(measure=abs), "Several.measure: abs is in no table.*: enter it by the decorator of its kind"),
        (Several(name={"a": 1}), "Several.name: dict is in no table, and could not be saved: give plain values"),
        (Several(name=np.zeros(3)), "Several.name: ndarray is in no table.*: give plain values"),
        (Several(name=b"x"), "Several.name: bytes is in no table"),
        (Square(float("nan")), "Square.side: a NaN could not be saved"),
        (type("Square", (Square,), {})(), "Square is in no table"),
    ],
)
def test_what_a_file_could_not_hold_is_refused_before(value: Any, message: str) -> None:
    table = shapes()
    for call in (table.encode, table.check):
        with pytest.raises(ValueError, match=message):
            call(value)


def test_a_value_inside_itself_is_refused() -> None:
    value = Several()
    object.__setattr__(value, "first", value)
    with pytest.raises(ValueError, match="Several is nested too deeply to be saved"):
        shapes().check(value)


def buried(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {"type": "Square"}
    for _ in range(depth):
        document = {"type": "Several", "first": document}
    return document


def square(**options: Any) -> dict[str, Any]:
    return {"type": "Square", **options}


def several(**options: Any) -> dict[str, Any]:
    return {"type": "Several", **options}


HOSTILE = [
    (None, "a shape must be an object with a type, got None"),
    ([square()], "a shape must be an object with a type"),
    ({}, "a shape must be an object with a type, got {}"),
    ({"type": ["Square"]}, "a shape must be an object with a type"),
    (
        {"type": "Circle"},
        "unknown shape 'Circle', expected one of Careless, Several, Square, twice, or a plugin's by --pl",
    ),
    ({"type": "square"}, "unknown shape 'square', expected one of .*; did you mean Square"),
    ({"type": "os.system"}, "unknown shape 'os.system'"),
    ({"type": "x" * 10_000}, "unknown shape .{1,105}, expected"),
    (square(side="1"), "Square.side must be of the type float, got '1'"),
    (square(side=True), "Square.side must be of the type float, got True"),
    (square(side=None), "Square.side must be of the type float, got None"),
    (square(side=[1]), r"Square.side must be of the type float, got \(1,\)"),
    (square(side=-1), "side must be >= 0, got -1"),
    (square(side=float("nan")), "Square.side must be a number, got NaN"),
    (square(side={"number": "nan"}), "Square.side: unknown type None"),
    (square(side={"number": [1]}), "Square.side: unknown type None"),
    (
        square(side={"type": "Sqare"}),
        "Square.side: unknown type 'Sqare', expected a known one.*; did you mean Square",
    ),
    (square(side=square()), "Square.side must be of the type float, got Square"),
    (square(sides=1, a=2), "Square has no option a, sides; did you mean side"),
    (square(kind="round"), "Square has no option kind"),
    (square(__class__="x"), "Square has no option __class__"),
    (several(size=1), "Several has no option size"),
    (several(first="Square"), "Several.first must be of the type .*, got 'Square'"),
    (several(first=[square()]), "Several.first must be of the type"),
    (several(shapes=square()), "Several.shapes must be of the type"),
    (several(shapes=[1, 2]), "Several.shapes must be of the type"),
    (several(shapes="ab"), "Several.shapes must be of the type"),
    (several(pair=[1]), "Several.pair must be of the type"),
    (several(pair=[1, "2"]), "Several.pair must be of the type"),
    (several(pair=[1.5, 2.0]), "Several.pair must be of the type"),
    (several(square=several()), "Several.square must be of the type Square, got Several"),
    (several(loud=1), "Several.loud must be of the type bool, got 1"),
    (several(name=1), "Several.name must be of the type str, got 1"),
    (several(**{"a" * 10_000: 1}), "Several has no option a{1,100}$"),
    ({"type": "twice", "x": 1}, "twice has no options, got x"),
    ({"type": "Careless"}, "Careless: .*missing 1 required positional argument"),
    ({"type": "Careless", "text": 1}, "Careless: 'int' object has no attribute 'upper'"),
    ({"type": "Careless", "text": [[[]]]}, "Careless: 'tuple' object has no attribute 'upper'"),
    ({"type": "Careless", "text": "b"}, "substring not found"),
    (buried(50_000), "Several is nested too deeply to be read"),
]


@pytest.mark.parametrize(("document", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_document_that_cannot_be_read_is_a_value_error(document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as found:
        shapes().decode(document)
    assert len(str(found.value)) < 500


def test_an_entry_of_another_table_is_not_of_this_one() -> None:
    table, others = shapes(), Table[Any]("colour", "from colours import colour")
    others.enter(Table2)
    with pytest.raises(ValueError, match="unknown shape 'Table2', expected one of Careless"):
        table.decode({"type": "Table2"})
    with pytest.raises(ValueError, match="Table2 is in no table of every shape"):
        table.encode(Table2())
    with pytest.raises(ValueError, match="Square is in no table of every colour"):
        others.type_of(Square())
    with pytest.raises(ValueError, match=r"expected one of \(none\)"):
        Table[Any]("size", "").of_type("Square")


def test_types_that_do_not_exist_when_the_program_runs_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module may import a type for its annotations alone."""
    source = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    source += "@dataclass(frozen=True)\nclass Later:\n    shape: Nowhere\n"
    (tmp_path / "later.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    table = shapes()
    table.enter(importlib.import_module("later").Later)
    assert table.decode({"type": "Later", "shape": 3}).shape == 3
