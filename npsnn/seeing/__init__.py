"""Seeing what came out: lists of runs, comparisons, plots, galleries and reports.

for run in seeing.runs("runs"):
    print(run.name, run.state, run.accuracy)

for row in seeing.compare({"mine": mine, "theirs": theirs}, images, labels, [attacks.PGD(0.1)]):
    print(row.attack, row.eps, row.differences["theirs"].mean, row.differences["theirs"].ci95)

seeing.write(seeing.picture(["runs/mine"], "attacks"), Path("attacks.svg"))
seeing.gallery(mine, images, labels, {"pgd at 0.1": result.x_adv}).write(Path("images.html"))
Path("report.html").write_text(seeing.report("runs/mine"), encoding="utf-8")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from npsnn.pages.pictures import Line, Panel, Picture
    from npsnn.pages.plots import write
    from npsnn.seeing.comparing import Compared, Paired, compare
    from npsnn.seeing.drawing import picture
    from npsnn.seeing.galleries import Gallery, gallery
    from npsnn.seeing.listing import Listed, runs
    from npsnn.seeing.reports import report

__all__ = [
    "Compared",
    "Gallery",
    "Line",
    "Listed",
    "Paired",
    "Panel",
    "Picture",
    "compare",
    "gallery",
    "picture",
    "report",
    "runs",
    "write",
]

_MODULES = {
    "npsnn.pages.pictures": ("Line", "Panel", "Picture"),
    "npsnn.pages.plots": ("write",),
    "npsnn.seeing.comparing": ("Compared", "Paired", "compare"),
    "npsnn.seeing.drawing": ("picture",),
    "npsnn.seeing.galleries": ("Gallery", "gallery"),
    "npsnn.seeing.listing": ("Listed", "runs"),
    "npsnn.seeing.reports": ("report",),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a list of runs shall not wait for attacks."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'npsnn.seeing' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not, beside the module's own."""
    return sorted({*globals(), *__all__})
