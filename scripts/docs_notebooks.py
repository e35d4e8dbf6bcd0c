"""Notebooks in the percent form as pages: prose, code, what the code prints, and its figures."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs_figures import STYLE

MARK = re.compile(r"^# %%(?: \[(markdown)\])?$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook. kind: "markdown" or "code"; line: the number of its first line."""

    kind: str
    text: str
    line: int


def cells(text: str) -> list[Cell]:
    """The cells of a notebook; ValueError where the text does not begin with one, or a line of prose is no comment."""
    marks = list(MARK.finditer(text))
    if not marks or marks[0].start() != 0:
        raise ValueError("a notebook must begin with a cell, # %% or # %% [markdown]")
    found = []
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : after.start() if after else len(text)].strip("\n")
        kind = mark[1] or "code"
        if kind == "markdown":
            lines = body.split("\n")
            if odd := [line for line in lines if line.strip() and not line.startswith("#")]:
                raise ValueError(f"a line of prose must begin with #, got {odd[0]!r}")
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
        found.append(Cell(kind, body, text[: mark.end()].count("\n") + 2))
    return found


def run(found: list[Cell], name: str) -> Iterator[tuple[Cell, str, list[str]]]:
    """Each cell with what it prints and the figures that it draws, as SVG."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in found:
        printed, drawn = io.StringIO(), []
        if cell.kind == "code":
            code = compile("\n" * (cell.line - 1) + cell.text, name, "exec")
            with contextlib.redirect_stdout(printed), plt.rc_context(STYLE):
                exec(code, names)
                for number in plt.get_fignums():
                    picture = io.StringIO()
                    plt.figure(number).savefig(picture, format="svg", transparent=True, metadata={"Date": None})
                    drawn.append(picture.getvalue())
            plt.close("all")
        yield cell, printed.getvalue(), drawn


def notebook_page(path: Path, folder: str) -> tuple[str, dict[str, str]]:
    """The page of a notebook, and its figures by their path on the site.

    folder: of the figures, such as "notebooks/first_attack".
    """
    source = f"[`{path.name}`](../examples/notebooks/{path.name})"
    parts: list[str] = []
    figures: dict[str, str] = {}
    for cell, printed, drawn in run(cells(path.read_text(encoding="utf-8")), path.name):
        parts.append(cell.text if cell.kind == "markdown" else f"```python\n{cell.text}\n```")
        if not parts[1:]:
            parts.append(f"*This page is a notebook: {source} runs as plain Python, and in Jupyter through jupytext.*")
        if printed.strip():
            parts.append(f"``` {{ .text .printed }}\n{printed.rstrip()}\n```")
        for picture in drawn:
            file = f"{folder}-{len(figures) + 1}.svg"
            figures[file] = picture
            parts.append(f"![A figure of the cell above]({file.rpartition('/')[2]})")
    return "\n\n".join(parts) + "\n", figures
