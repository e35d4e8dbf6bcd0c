"""What scripts/gpu_check.py found, as one JSON document and one page of tables in Markdown."""

from pathlib import Path
from typing import Any

from npsnn.files import write_atomic
from npsnn.files.json_files import write_json

Report = dict[str, Any]


def write(report: Report, folder: Path) -> None:
    """gpu-check.json and gpu-check.md in the folder, which is made."""
    write_json(folder / "gpu-check.json", report)
    write_atomic(folder / "gpu-check.md", markdown(report).encode())


def markdown(report: Report) -> str:
    """The page: a section for each part that was run."""
    about = report["environment"]
    lines = ["# scripts/gpu-check", "", about.get("gpu", "No GPU, the double of CuPy") + "."]
    versions = {k: about[k] for k in ("npsnn", "python")} | about["packages"]
    versions |= {k: about[k] for k in ("CUDA driver", "CUDA runtime") if k in about}
    lines += [f"{', '.join(f'{k} {v}' for k, v in versions.items())}."]
    if "tests" in report:
        found = report["tests"]
        lines += ["", "## Tests", "", f"{found['summary']}", *(f"    {line}" for line in found.get("output", []))]
    if "compare" in report:
        lines += ["", "## Against a CPU", "", "Largest difference over the array's largest entry, with the same noise."]
        lines += _comparisons(report["compare"])
    if "bench" in report:
        lines += ["", "## Training steps", "", "Medians of milliseconds, forward, backward and update."]
        lines += _times(report["bench"])
    return "\n".join(lines) + "\n"


def _table(headers: list[str], rows: list[list[str]]) -> list[str]:
    return ["", *(f"| {' | '.join(cells)} |" for cells in (headers, ["---"] * len(headers), *rows))]


def _comparisons(rows: list[Report]) -> list[str]:
    cells = [
        [r["model"], r["what"], r["dtype"], _errors(r["errors"]), f"{r['limit']:g}", "yes" if r["passed"] else "**no**"]
        for r in rows
    ]
    return _table(["network", "what", "dtype", "error", "limit", "within"], cells)


def _errors(errors: dict[str, float]) -> str:
    return ", ".join(f"{kind} {error:.1e}" for kind, error in errors.items())


def _times(rows: list[Report]) -> list[str]:
    sides = list(dict.fromkeys(side for r in rows for side in r.get("milliseconds", {})))
    cells = []
    for r in rows:
        times = r.get("milliseconds", {})
        theirs = [t for side, t in times.items() if side.startswith("PyTorch")]
        ratio = f"{times['npsnn'] / min(theirs):.2f}" if theirs else "-"
        tf32 = "on" if r["tf32"] else "off"
        each = [f"{times[side]:.2f}" if side in times else "-" for side in sides]
        cells.append([r["case"], str(r["batch_size"]), tf32, *each, r.get("error", ratio)])
    return _table(["step", "batch", "TF32", *sides, "npsnn / PyTorch, the faster"], cells)
