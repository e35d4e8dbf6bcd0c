"""What the project promises of its own tree: packages, the direction of imports, what ops may touch."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import draw_rooms
import pytest
from draw_rooms import RANKS, imported, rank, room

import npsnn

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "npsnn").rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_every_package_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"npsnn"} | {".".join(p.parent.relative_to(ROOT).parts) for p in LIBRARY if p.name == "__init__.py"}
    assert set(setuptools["packages"]) == found | {"npsnn.cli", "npsnn.reference"}
    assert not [p for p in LIBRARY if not (p.parent / "__init__.py").exists()]


@pytest.mark.parametrize("path", [p for p in LIBRARY if not room(p).startswith("_")], ids=room)
def test_imports_point_one_way(path: Path) -> None:
    assert rank(room(path)) >= 0
    for name in imported(path):
        drawing = name.partition(".")[0] == "matplotlib" and path.name == "plots.py"
        assert drawing or name.partition(".")[0] not in ("click", "matplotlib"), f"{path} imports {name}"
        pieces = name.split(".")
        known = {p for parts in RANKS for p in parts}
        if pieces[0] == "npsnn" and len(pieces) > 1 and pieces[1] in known:
            assert rank(pieces[1]) <= rank(room(path)), f"{path} imports {name}"
        assert not name.startswith("npsnn.cli"), f"{path} imports {name}"
        # the audit and the checks compare the engine with the reference; the engine itself never looks there
        assert room(path) in ("audit", "testing") or not name.startswith("npsnn.reference"), f"{path} imports {name}"


def test_nothing_inside_imports_the_package_itself() -> None:
    """npsnn/__init__.py holds the public names, for users; inside, each has its module."""
    modules = {p.stem for p in LIBRARY} | {p.parent.name for p in LIBRARY}
    for path in (p for p in LIBRARY if room(p) != "__init__"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                assert "npsnn" not in [alias.name for alias in node.names], path
            elif isinstance(node, ast.ImportFrom) and node.module == "npsnn":
                assert {alias.name for alias in node.names} <= modules, path


def test_the_drawing_of_the_rooms_is_of_the_code() -> None:
    """After a change of imports: python scripts/draw_rooms.py."""
    text = draw_rooms.PAGE.read_text()
    assert draw_rooms.drawn(text) == text, "docs/how-it-works.md draws other imports: run python scripts/draw_rooms.py"


def test_an_arrow_that_a_longer_way_says_is_left_out() -> None:
    imports = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"e"}, "e": {"d", "c"}}
    assert draw_rooms.arrows(imports) == [("a", "b"), ("b", "c"), ("d", "e"), ("e", "c"), ("e", "d")]


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_the_library_never_prints(path: Path) -> None:
    calls = (n.func for n in ast.walk(tree(path)) if isinstance(n, ast.Call))
    assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]


def test_the_version_is_one_and_released_everywhere_or_nowhere() -> None:
    heading = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text()
    version = re.search(r"^version: (.+)$", citation, re.MULTILINE)
    date = re.search(r'^date-released: "(.+)"$', citation, re.MULTILINE)
    assert heading and version
    assert heading[1] == version[1] == npsnn.__version__
    assert heading[2] == (date[1] if date else "unreleased")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "npsnn._version.__version__"}
    assert not [
        n for n in ast.walk(tree(ROOT / "npsnn" / "_version.py")) if isinstance(n, ast.Import | ast.ImportFrom)
    ], "setuptools would import it"


def test_ops_ask_the_arrays_for_their_library() -> None:
    for path in (ROOT / "npsnn" / "ops").glob("*.py"):
        assert not re.search(r"\bnp\.|import numpy", path.read_text()), path
    naming = [p for p in LIBRARY if re.search(r"import_module\(\"cupy\"\)|import cupy", p.read_text())]
    assert [p.name for p in naming] == ["backend.py"]


def test_the_reference_uses_nothing_of_the_engine() -> None:
    for path in (ROOT / "reference").glob("*.py"):
        names = [n for n in imported(path) if n.startswith("npsnn") and not n.startswith("npsnn.reference")]
        assert not names, path


def test_no_test_asserts_how_long_something_takes() -> None:
    """A machine with other work to do would fail it: tests count operations instead."""
    clocks = re.compile(r"\b(perf_counter|monotonic|process_time|thread_time)(_ns)?\(")
    for path in (ROOT / "tests").rglob("*.py"):
        assert not clocks.search(path.read_text()), path.relative_to(ROOT)
