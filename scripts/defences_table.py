"""The table of docs/defences.md from what scripts/defences.py has kept."""

from pathlib import Path
from typing import Any

from npsnn.cli.common import percent
from npsnn.files import json_files


def table(out: Path, eps: tuple[float, ...]) -> str:
    """Markdown: a line for each system that was attacked at every eps."""
    heads = ["clean"]
    for radius in eps:
        heads += [f"{name}, {radius:.3g}" for name in ("FGSM", "PGD-50", "noise off", "ensemble", "95 %")]
    heads += ["own answer, clean", *(f"own answer, {radius:.3g}" for radius in eps)]
    lines = [f"| system | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for folder in sorted(out.iterdir()):
        files = [folder / f"attacked-{radius:.4g}.json" for radius in eps]
        if all(file.exists() for file in files):
            lines.append(f"| {folder.name} | {' | '.join(_cells([json_files.read_json(f) for f in files]))} |")
    return "\n".join(lines)


def _cells(documents: list[dict[str, Any]]) -> list[str]:
    of = [document["accuracies"] for document in documents]
    cells = [_of(of[0], "clean")]
    for found in of:
        low, high = found["worst"]["ci95"]
        cells += [_of(found, "fgsm"), _of(found, "pgd"), _of(found, "noise-off-pgd"), _of(found, "worst")]
        cells.append(f"{100 * low:.1f} to {100 * high:.1f}")
    return [*cells, _of(of[0], "own answer, clean"), *(_of(found, "own answer, worst") for found in of)]


def _of(found: dict[str, Any], name: str) -> str:
    return percent(found[name]["accuracy"]) if name in found else "-"
