"""Tables of values: what may enter, under which names, and how what is in none is told."""

import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from shapes import Several, Square, Table2, shapes, twice

from npsnn import tables
from npsnn.tables import Table
from npsnn.testing.saved import check_saved

pytestmark = pytest.mark.usefixtures("no_entries")


def test_an_entry_has_a_name_to_type_and_the_name_of_its_class() -> None:
    table: Table[Any] = Table("shape", "from shapes import shape")
    assert table.enter(Square) is Square and table.enter("several")(Several) is Several
    assert list(table) == ["Square", "several"] and len(table) == 2 and table["several"] is Several
    assert table.named("Square") is Square and table.name_of(Square(2.0)) == "Square"
    assert table.of_type("Several") is Several and table.type_of(Several()) == "Several"
    assert table.name_of(Several) == table.name_of(Several()) == "several"
    assert repr(table) == "<Table of every shape: Square, several>"
    assert table.get("circle") is None and "several" in table
    table.enter("twice")(twice)
    assert table.name_of(twice) == "twice"


PLAIN = type("Plain", (), {"__init__": lambda self, side: None})


def test_a_name_is_taken_once() -> None:
    table, other = shapes(), Table[Any]("colour", "from colours import colour")
    with pytest.raises(ValueError, match="there is another shape square: rename yours"):
        table.enter("square")(Table2)
    assert "Table2" not in tables._TYPES
    namesake = dataclass(frozen=True)(type("Square", (), {"__module__": "elsewhere"}))
    for where, entry in ((table, namesake), (other, namesake), (other, Square)):
        with pytest.raises(ValueError, match="there is another type Square: rename yours"):
            where.enter("another")(entry)
    assert table.enter("square")(Square) is Square, "a module may be read twice"
    with pytest.raises(TypeError, match="Plain must be a dataclass to be a shape: declare its fields, without an __in"):
        table.enter(PLAIN)


@dataclass(frozen=True)
class Base:
    side: float = 1.0


class Renamed(Base):
    kind: ClassVar[str] = "renamed"


class Extended(Base):
    other: float = 2.0


def test_a_class_that_declares_fields_is_made_a_dataclass() -> None:
    """Without that the fields would be none, and be lost where a value is saved."""
    table = Table[Any]("shape", "from shapes import shape")
    assert table.enter(Extended) is Extended and table.enter(Renamed) is Renamed
    made: Any = Extended(2.0, 3.0)  # no type checker knows
    assert table.decode(table.encode(made)) == made and made != Extended(2.0)
    with pytest.raises(FrozenInstanceError):
        made.other = 4.0


ODD = ["average sign", "", "2nd", "-x", "a-", "größe", "a.b", "--x", "a=b", "x\n", "a" * 200 + "!"]


@pytest.mark.parametrize("name", ODD)
def test_a_name_must_be_a_word(name: str) -> None:
    table = Table[Any]("attack", "from attacks import attack")
    said = r'the name of an attack must be a word of letters, .*, as @attack\("mine"\)'
    with pytest.raises(ValueError, match=said) as met:
        table.enter(name)(Square)
    assert len(str(met.value)) < 250 and not table and "Square" not in tables._TYPES


def test_two_names_that_look_the_same_are_one() -> None:
    table = shapes()
    for name in ("SQUARE", "Square"):
        with pytest.raises(ValueError, match="there is another shape square: rename yours"):
            table.enter(name)(Table2)
    table.enter("my-table")(Table2)
    with pytest.raises(ValueError, match="there is another shape my-table"):
        table.enter("my_table")(dataclass(frozen=True)(type("Table3", (), {})))


def test_a_kind_has_its_article() -> None:
    with pytest.raises(TypeError, match="Plain must be a dataclass to be an attack: declare"):
        Table[Any]("attack", "").enter(PLAIN)
    with pytest.raises(ValueError, match="an attack must be an object with a type"):
        Table[Any]("attack", "").decode(3)


def test_a_table_may_ask_more_of_its_entries() -> None:
    def check(entry: Any, name: str) -> None:
        raise TypeError(f"not {entry.__name__}, {name}")

    table = Table[Any]("shape", "", check)
    with pytest.raises(TypeError, match="not Square, round"):
        table.enter("round")(Square)
    assert not table and "Square" not in tables._TYPES


def test_a_file_that_is_read_as_two_modules_has_one_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Twin:\n    side: float = 1.0\n"
    modules = []
    for name, file in (("twin", "twin.py"), ("npsnn_plugin_twin", "twin.py"), ("other_twin", "other.py")):
        (tmp_path / file).write_text(source)
        module = ModuleType(name)
        module.__file__ = str(tmp_path / file)
        monkeypatch.setitem(sys.modules, name, module)
        exec(source, module.__dict__)
        modules.append(module)
    first, second, other = (module.Twin for module in modules)
    for one, again in ((first, second), (second, first)):
        monkeypatch.setattr(tables, "_TYPES", {})
        monkeypatch.setattr(tables, "_TABLES", {})
        table = shapes()
        table.enter("twin")(one)
        table.enter("twin")(again)
        for kind in (first, second):
            assert table.name_of(kind(2.0)) == "twin" and table.type_of(kind(2.0)) == "Twin"
            assert table.encode(kind(2.0)) == {"type": "Twin", "side": 2.0}
            check_saved(table, kind(2.0))
        with pytest.raises(ValueError, match="there is another shape twin: rename yours"):
            table.enter("twin")(other)
        with pytest.raises(ValueError, match="Twin is in no table"):
            table.encode(other())


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    table = shapes()
    with pytest.raises(
        ValueError, match="unknown shape 'sqare', expected one of square, several, careless, twice; did you mean square"
    ):
        table.named("sqare")
    for name in (3, None, ["square"], "x" * 10_000):
        with pytest.raises(ValueError, match=r"unknown shape .{1,105}, expected one of square"):
            table.named(name)
    with pytest.raises(ValueError, match=r"Table2 is in no table of every shape.*: put @shape above it"):
        table.name_of(Table2())
