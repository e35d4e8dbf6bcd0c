"""What scripts/gpu_check.py found, as one JSON document and one page of tables in Markdown, as docs/gpu.md has them."""

from pathlib import Path
from typing import Any

from bench_report import device_memory_table, device_table, markdown_table, on_device, step_cells

from npsnn.files import write_atomic
from npsnn.files.json_files import write_json

Report = dict[str, Any]
Table = tuple[list[str], list[list[str]]]

STEP = ["step", "batch", "TF32"]


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
    for part, (title, about, tables) in SECTIONS.items():
        rows = report.get(part)
        if rows is None:
            continue
        lines += ["", f"## {title}", "", about]
        done = [r for r in rows if "error" not in r] if part not in ("bench",) else rows
        for table in tables:
            lines += ["", markdown_table(*table(done))]
        failed = [r for r in rows if "error" in r]
        for row in failed:
            lines += ["", f"Failed: {_name(row)}", "", *(f"    {line}" for line in row["error"].splitlines())]
    if "cut_short" in report:
        lines += ["", f"Time was up in: {', '.join(report['cut_short'])}."]
    return "\n".join(lines) + "\n"


def _name(row: Report) -> str:
    parts = (row.get(k) for k in ("model", "what", "case", "attack", "dtype", "batch_size"))
    tf32 = {True: "TF32", False: "no TF32"}.get(row.get("tf32"))  # type: ignore[call-overload]
    return ", ".join(str(p) for p in (*parts, tf32) if p is not None)


def _comparisons(rows: list[Report]) -> Table:
    cells = []
    for r in rows:
        apart = "same bits" if r["apart"] == 0 else f"{r['apart']:.1e}"
        passed = "yes" if r["passed"] else "**no**"
        cells.append(
            [
                r["model"],
                r["what"],
                r["dtype"],
                _errors(r["errors"]),
                apart,
                str(r["graphs"]),
                f"{r['limit']:g}",
                passed,
            ]
        )
    return ["network", "what", "dtype", "from a CPU", "with and without graphs", "graphs", "limit", "within"], cells


def _errors(errors: dict[str, float]) -> str:
    return ", ".join(f"{kind} {error:.1e}" for kind, error in errors.items()) or "-"


def _brief(rows: list[Report]) -> Table:
    """The largest errors of each network, as docs/gpu.md has them."""
    cells = []
    for model in dict.fromkeys(r["model"] for r in rows):
        own = [r for r in rows if r["model"] == model]
        worst = []
        for dtype in ("float64", "float32"):
            errors = [e for r in own if r["dtype"] == dtype for e in r["errors"].values()]
            worst.append(f"{max(errors):.1e}" if errors else "-")
        apart = [r["apart"] for r in own]
        same = f"{sum(a == 0 for a in apart)} of {len(apart)}"
        cells.append([model, str(len(own)), *worst, same, f"{max(apart):.1e}"])
    head = ["network", "comparisons", "float64, limit 1e-9", "float32, limit 1e-3"]
    return [*head, "same bits with graphs and without", "largest difference between them"], cells


def _attacks(rows: list[Report]) -> Table:
    cells = [
        [
            r["attack"],
            str(r["images"]),
            "on" if r["tf32"] else "off",
            *(f"{s:.2f}" for s in reversed(r["seconds"])),
            f"{r['attack_alone'][1]:.2f}",
            f"{r['goal']:g}",
            "yes" if r["met"] else "**no**",
            f"{r['memory']['device'] / 1e6:.0f}",
            f"{r['memory']['host'] / 1e6:.0f}",
        ]
        for r in rows
    ]
    head = [
        "attack",
        "images",
        "TF32",
        "seconds",
        "first call",
        "the attack alone",
        "goal",
        "met",
        "GPU, MB",
        "host, MB",
    ]
    return head, cells


def _memory(rows: list[Report]) -> Table:
    cells = []
    for r in rows:
        first, last = r["first"], r["last"]
        sizes = [f"{part[kind] / 1e6:.1f}" for kind in ("device", "host") for part in (first, last)]
        steps = f"{first['steps']}, {last['steps']}"
        cells.append([r["case"], str(r["batch_size"]), steps, *sizes, "yes" if r["passed"] else "**no**"])
    head = ["training", "batch", "after steps", "GPU, MB, first", "GPU, MB, last", "host, MB, first", "host, MB, last"]
    return [*head, "does not grow"], cells


def _busy(rows: list[Report]) -> Table:
    cells = [
        [
            *step_cells(r),
            side,
            f"{t['kernels']:.0f}",
            f"{t['busy']:.3f}",
            f"{t['milliseconds']:.3f}",
            f"{100 * t['busy'] / t['milliseconds']:.0f} %",
        ]
        for r in rows
        for side, t in _traces(r)
    ]
    return [*STEP, "side", "kernels and copies", "busy, ms", "step, ms", "busy"], cells


def _dearest(rows: list[Report]) -> Table:
    cells = [
        [*step_cells(r), side, f"{k['milliseconds']:.4f}", f"{k['times']:.0f}", f"`{k['name'][:80].replace('|', '/')}`"]
        for r in rows
        for side, t in _traces(r)
        for k in t["dearest"]
    ]
    return [*STEP, "side", "ms", "times", "kernel"], cells


def _bounds(rows: list[Report]) -> Table:
    cells = [
        [
            *step_cells(r),
            str(r["kernels"]),
            f"{r['bytes'] / 1e9:.2f}",
            f"{r['flops'] / 1e9:.1f}",
            *(f"{r['least'][by]:.3f}" for by in ("products", "bytes", "kernels")),
        ]
        for r in rows
    ]
    return [*STEP, "kernels", "GB", "GFLOP", "by products, ms", "by bytes, ms", "kernel by kernel, ms"], cells


def _heaviest(rows: list[Report]) -> Table:
    cells = [
        [*step_cells(r), f"`{k['name']}`", str(k["times"]), f"{k['bytes'] / 1e6:.0f}", f"{k['milliseconds']:.3f}"]
        for r in rows
        for k in r["dearest"]
    ]
    return [*STEP, "kernels", "times", "MB", "at least, ms"], cells


def _traces(row: Report) -> list[tuple[str, Report]]:
    return [(side, row[side]) for side in ("npsnn", "PyTorch, graph") if side in row]


ERRORS = (
    "The largest difference over the array's largest entry: from a CPU's with the same noise, and of a GPU with graphs"
    " from one without. `graphs` counts those that were recorded."
)
SECTIONS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "compare": ("Forward and backward pass", ERRORS, (_brief, _comparisons)),
    "training": ("Training", ERRORS, (_brief, _comparisons)),
    "attacks": ("Attacks", ERRORS, (_brief, _comparisons)),
    "bench": (
        "Training steps",
        "Medians of milliseconds: batch from the host, forward, backward, update, loss to the host. Then peaks in MB.",
        (device_table, device_memory_table),
    ),
    "attack-bench": (
        "Whole attacks",
        "Seconds of the whole call of robust_accuracy, clean accuracy and judging included.",
        (_attacks,),
    ),
    "memory": ("A long training", "Megabytes (10⁶ bytes) held after a sixth of the steps and at the end.", (_memory,)),
    "profile": ("What the GPU does in a step", "By CUDA's trace.", (_busy, _dearest)),
    "bound": (
        "What a step takes at least",
        "Bytes and operations of its kernels, counted on a CPU, over the peaks of a card (scripts/gpu_bound.py).",
        (_bounds, _heaviest),
    ),
}
