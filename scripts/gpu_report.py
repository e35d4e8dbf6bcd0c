"""What scripts/gpu_check.py found, as one JSON document and one page of tables in Markdown."""

from pathlib import Path
from typing import Any

from bench_report import device_table, markdown_table, on_device

from npsnn.files import write_atomic
from npsnn.files.json_files import write_json

Report = dict[str, Any]


def write(report: Report, folder: Path) -> None:
    """gpu-check.json and gpu-check.md in the folder, which is made."""
    write_json(folder / "gpu-check.json", report)
    write_atomic(folder / "gpu-check.md", markdown(report).encode())


def markdown(report: Report) -> str:
    """The page: a section for each part that was run."""
    lines = ["# scripts/gpu-check", "", on_device(report)]
    if "tests" in report:
        found = report["tests"]
        lines += ["", "## Tests", "", f"{found['summary']}", *(f"    {line}" for line in found.get("output", []))]
    if "compare" in report:
        lines += ["", "## Against a CPU", "", "Largest difference over the array's largest entry, with the same noise."]
        lines += ["", markdown_table(*_comparisons(report["compare"]))]
    if "bench" in report:
        lines += ["", "## Training steps", "", "Medians of milliseconds, forward, backward and update."]
        lines += ["", markdown_table(*device_table(report["bench"]))]
    return "\n".join(lines) + "\n"


def _comparisons(rows: list[Report]) -> tuple[list[str], list[list[str]]]:
    cells = [
        [r["model"], r["what"], r["dtype"], _errors(r["errors"]), f"{r['limit']:g}", "yes" if r["passed"] else "**no**"]
        for r in rows
    ]
    return ["network", "what", "dtype", "error", "limit", "within"], cells


def _errors(errors: dict[str, float]) -> str:
    return ", ".join(f"{kind} {error:.1e}" for kind, error in errors.items())
