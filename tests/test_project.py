"""What the project promises of its own tree: packages, the direction of imports, what ops may touch."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import npsnn

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "npsnn").rglob("*.py"))

# Each may import what stands before it; modules of one rank may import one another where they need to.
RANKS = [
    {"backend", "streams", "data", "validate", "files", "inputs", "interrupts", "host", "tables"},
    {"ops"},
    {"workers"},
    {"layers"},
    {"models", "objectives", "optim", "runs"},
    {"classifier"},
    {"bounds"},
    {"attacks"},
    {"train"},
    {"audit"},
]


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank(part: str) -> int:
    return next(i for i, parts in enumerate(RANKS) if part in parts)


def part(path: Path) -> str:
    return path.relative_to(ROOT / "npsnn").parts[0].removesuffix(".py")


def test_every_package_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"npsnn"} | {".".join(p.parent.relative_to(ROOT).parts) for p in LIBRARY if p.name == "__init__.py"}
    assert set(setuptools["packages"]) == found | {"npsnn.cli", "npsnn.reference"}
    assert not [p for p in LIBRARY if not (p.parent / "__init__.py").exists()]


@pytest.mark.parametrize("path", [p for p in LIBRARY if part(p) not in ("__init__", "__main__")], ids=lambda p: part(p))
def test_imports_point_one_way(path: Path) -> None:
    assert rank(part(path)) >= 0
    for name in imported(path):
        drawing = name.partition(".")[0] == "matplotlib" and path.parts[-2:] == ("audit", "plots.py")
        assert drawing or name.partition(".")[0] not in ("click", "matplotlib"), f"{path} imports {name}"
        pieces = name.split(".")
        known = {p for parts in RANKS for p in parts}
        if pieces[0] == "npsnn" and len(pieces) > 1 and pieces[1] in known:
            assert rank(pieces[1]) <= rank(part(path)), f"{path} imports {name}"
        assert not name.startswith("npsnn.cli"), f"{path} imports {name}"
        # the audit compares the engine with the reference; the engine itself never looks there
        assert part(path) == "audit" or not name.startswith("npsnn.reference"), f"{path} imports {name}"


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_the_library_never_prints(path: Path) -> None:
    calls = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
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
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "npsnn.__version__"}


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
