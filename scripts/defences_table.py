"""The tables of docs/defences.md from what scripts/defences.py has kept: one for each eps, the most robust first."""

from pathlib import Path
from typing import Any

from npsnn.cli.common import percent
from npsnn.files import json_files
from npsnn.runs import checkpoint

HEADS = ("clean", "FGSM", "PGD-50", "noise off", "worst", "95 %", "strongest", "own answer, clean", "own answer, worst")


def table(out: Path, eps: tuple[float, ...]) -> str:
    """Markdown: a table for each eps, with a line for each system that was attacked at it, and the hours of all."""
    folders = sorted(folder for folder in out.iterdir() if (folder / checkpoint.METRICS).exists())
    trained = sum(e["seconds"] for f in folders for e in json_files.read_lines(f / checkpoint.METRICS))
    attacked = sum(json_files.read_json(f)["seconds"] for folder in folders for f in folder.glob("attacked-*.json"))
    hours = f"{len(folders)} trainings took {trained / 3600:.1f} hours, their attacks {attacked / 3600:.1f} hours."
    return "\n\n".join([*(_of_eps(out, radius) for radius in eps), hours])


def _of_eps(out: Path, radius: float) -> str:
    files = {folder.name: folder / f"attacked-{radius:.4g}.json" for folder in out.iterdir()}
    found = {name: json_files.read_json(file)["accuracies"] for name, file in files.items() if file.exists()}
    lines = [f"| eps {radius:.3g} | {' | '.join(HEADS)} |", "|---" * (len(HEADS) + 1) + "|"]
    for name in sorted(found, key=lambda name: (-found[name]["worst"]["accuracy"], name)):
        lines.append(f"| {name} | {' | '.join(_cells(found[name]))} |")
    return "\n".join(lines)


def _cells(of: dict[str, Any]) -> list[str]:
    low, high = of["worst"]["ci95"]
    return [
        *(_of(of, name) for name in ("clean", "fgsm", "pgd", "noise-off-pgd")),
        _of(of, "worst"),
        f"{100 * low:.1f} to {100 * high:.1f}",
        of["worst"]["strongest"],
        *(_of(of, name) for name in ("own answer, clean", "own answer, worst")),
    ]


def _of(found: dict[str, Any], name: str) -> str:
    return percent(found[name]["accuracy"]) if name in found else "-"
