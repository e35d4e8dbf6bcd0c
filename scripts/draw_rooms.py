"""The rooms of the library and what each imports, drawn into docs/how-it-works.md from the code.

A room is a package or a module directly below npsnn/. `RANKS` says in which order rooms may import; a test holds the
code to it, and the drawing to the code.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-it-works.md"
BEGIN, END = "<!-- drawn by scripts/draw_rooms.py -->", "<!-- end of the drawing -->"

RANKS: list[set[str]] = [
    {"backend", "streams", "data", "validate", "files", "inputs", "interrupts", "host", "tables", "foreign", "words"}
    | {"documents", "gpu", "philox", "products", "pages"},
    {"ops"},
    {"workers"},
    {"layers", "jobs"},
    {"models", "objectives", "optim", "runs", "schedules"},
    {"classifier"},
    {"bounds"},
    {"attacks"},
    {"certify"},
    {"train"},
    {"audit", "testing", "interop", "seeing"},
    {"reproduce"},
]
"""A room may import rooms of the sets before its own, and of its own set where it needs to."""
OUTSIDE = {"cli": ROOT / "cli", "reference": ROOT / "reference"}
"""Rooms at the top level: npsnn.cli and npsnn.reference once installed."""


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Full names of the modules a file imports, wherever it does."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """The room of a file below npsnn/."""
    return path.relative_to(ROOT / "npsnn").parts[0].removesuffix(".py")


def rank(name: str) -> int:
    """The place of a room in `RANKS`; raises StopIteration for a room that has none."""
    return next(i for i, rooms in enumerate(RANKS) if name in rooms)


def rooms() -> dict[str, set[str]]:
    """Each room, and the rooms that it imports."""
    known = set().union(*RANKS) | OUTSIDE.keys()
    files = [(room(path), path) for path in (ROOT / "npsnn").rglob("*.py")]
    files += [(name, path) for name, folder in OUTSIDE.items() for path in folder.rglob("*.py")]
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, path in files:
        if name in known:
            pieces = (module.split(".") for module in imported(path))
            found[name] |= {p[1] for p in pieces if p[0] == "npsnn" and len(p) > 1 and p[1] in known} - {name}
    return found


def reached(name: str, imports: Mapping[str, set[str]], without: tuple[str, str]) -> set[str]:
    """The rooms that can be reached from a room by imports, one arrow left out."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        new = {to for to in imports[at] if (at, to) != without} - found
        found |= new
        waiting += new
    return found


def arrows(imports: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that no longer way says already."""
    every = [(name, to) for name in sorted(imports) for to in sorted(imports[name])]
    return [(name, to) for name, to in every if to not in reached(name, imports, (name, to))]


def drawing() -> str:
    """The rooms as a Mermaid flowchart, and the order that a test holds, the lowest first."""
    imports = rooms()
    shown = arrows(imports)
    alone = sorted(imports.keys() - {name for arrow in shown for name in arrow})
    lines = ["```mermaid", "flowchart TD", *(f"  {name} --> {to}" for name, to in shown)]
    lines += [*(f"  {name}" for name in alone), "```", ""]
    lines += ["The order of imports: a room may import rooms of the lines above its own, and of its own line.", ""]
    ranks = [*RANKS, {"cli"}]
    lines += [f"{i}. {', '.join(sorted(rank))}" for i, rank in enumerate(ranks, start=1)]
    return "\n".join([*lines, "", "`reference`, the slow plain version, imports none of these rooms."])


def drawn(text: str) -> str:
    """The page with the drawing in its place; ValueError where the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} must hold {BEGIN} and, after it, {END}")
    return f"{before}{begin}\n\n{drawing()}\n\n{end}{after}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("draw_rooms.py takes no arguments: it writes docs/how-it-works.md")
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
