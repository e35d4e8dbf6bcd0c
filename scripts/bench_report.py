"""The tables of bench.py and bench_device.py, from their JSON reports."""

import json
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import click

HEAD = ("case", "npsnn", "PyTorch", "ratio", "PyTorch, raised", "ratio", "peak memory", "GFLOP/s", "of sgemm")
Report = dict[str, Any]


def processor() -> str:
    """The processor's name, where the system tells."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def read(path: Path, rows: Callable[[Report], object]) -> Report:
    """A report that --json wrote; raises click.ClickException for a file of which `rows` cannot be made."""
    try:
        report: Report = json.loads(path.read_text())
        rows(report)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise click.ClickException(f"{path} must be a report that this script printed with --json") from error
    return report


def best(milliseconds: dict[str, float], kind: str) -> float | None:
    """The faster of the sides of this kind; None where there is none."""
    return min((t for name, t in milliseconds.items() if name.split()[0] == kind), default=None)


def spread(values: list[float | None], form: str) -> str:
    """The median, and the least and the largest where there are several."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    ends = f" ({min(known):{form}} to {max(known):{form}})" if len(known) > 1 else ""
    return f"{median(known):{form}}{ends}"


def rows(report: Report) -> list[list[str]]:
    """A row of cells for each case, under HEAD; an exact step stands beside the Laplace one instead of PyTorch's."""
    found = []
    for case in report["cases"]:
        every = case["comparisons"]
        ours = [c["milliseconds"]["npsnn"] for c in every]
        cells = [case["case"], f"{median(ours):.2f} ms"]
        for kinds in (("defaults", "laplace"), ("raised",)):
            kind = next((k for k in kinds if best(every[0]["milliseconds"], k)), kinds[0])
            theirs = [best(c["milliseconds"], kind) for c in every]
            ratios = [a / b if b else None for a, b in zip(ours, theirs, strict=True)]
            beside = " (Laplace)" if kind == "laplace" else ""
            cells += [f"{median(theirs):.2f} ms{beside}" if all(theirs) else "-", spread(ratios, ".2f")]
        rate = case["flops"] / median(ours) / 1e6
        ceiling = median(c["ceilings"]["sgemm"] for c in every)
        found.append([*cells, memory(every), f"{rate:.0f}", f"{100 * rate / ceiling:.0f} %"])
    return found


def memory(comparisons: list[Any]) -> str:
    """Peak megabytes of npsnn and of PyTorch with its defaults (the layout that takes less), 10⁶ bytes each."""
    ours = median(c["memory"]["npsnn"] for c in comparisons)
    theirs = [best(c["memory"], "defaults") for c in comparisons]
    return f"{ours / 1e6:.0f} MB" + (f", {median(theirs) / 1e6:.0f} MB" if all(theirs) else "")


def machine(report: Report) -> str:
    """What the figures of a report were measured with, and how busy that was."""
    env, options = report["environment"], report["options"]
    return (
        f"Batch {options['batch_size']}, float32, {options['threads']} threads; {env['processor']},"
        f" {env['cores']} cores, load {env['load']:.1f} at the start; npsnn {env['npsnn']}, Python {env['python']},"
        f" NumPy {env['packages']['numpy']}, {', '.join(env['blas'])}"
    )


def heading(report: Report) -> str:
    """The machine and the versions, the ceilings, and the number of measurements, in one paragraph."""
    options = report["options"]
    every = [c for case in report["cases"] for c in case["comparisons"]]
    torch = next((c["versions"]["PyTorch"] for c in every if "PyTorch" in c["versions"]), "not there")
    sgemm, copied = (median(c["ceilings"][k] for c in every) for k in ("sgemm", "copy"))
    errors = [e for c in every if (e := c["gradient_difference"]) is not None]
    first = report["cases"][0]["comparisons"]
    return (
        f"{machine(report)}; PyTorch {torch}."
        f" Ceilings: sgemm {sgemm:.0f} GFLOP/s, copy {copied:.0f} GB/s read and written."
        f" {len(report['cases'])} cases, comparisons of each: {len(first)}, of {options['rounds']} turns of"
        f" {options['seconds']:g} s." + (f" Gradients differ by {max(errors):.0e} at most." if errors else "")
    )


def markdown_table(head: Iterable[str], cells: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, cells)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_table(head: Iterable[str], cells: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def on_device(report: Report) -> str:
    """What the figures of a report of a GPU were measured with."""
    about = report["environment"]
    versions = {k: about[k] for k in ("npsnn", "python")} | about["packages"]
    versions |= {k: about[k] for k in ("CUDA driver", "CUDA runtime") if k in about}
    return f"{about.get('gpu', 'No GPU, the double of CuPy')}.\n{', '.join(f'{k} {v}' for k, v in versions.items())}."


GPU_SIDES = ("npsnn", "npsnn, no graph", "PyTorch", "PyTorch, graph")
GPU_HEAD = ["step", "batch", "TF32", *GPU_SIDES, "npsnn / PyTorch", "goal", "npsnn / PyTorch's graph", "goal", "met"]
GPU_MEMORY_HEAD = ["step", "batch", "TF32", *(f"{side}, {kind}" for kind in ("GPU", "host") for side in GPU_SIDES[::3])]


def device_table(steps: list[Report]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of cells of a GPU's training steps: medians of milliseconds, ratios and their goals."""
    cells = []
    for r in steps:
        times = r.get("milliseconds", {})
        if "error" in r:
            last = [r["error"].strip().splitlines()[-1][:120].replace("|", "/"), "", "", "", ""]
        else:
            met = [m for m in r["met"].values() if m is not None]
            said = ("yes" if all(met) else "**no**") if met else "-"
            pairs = [(r["ratios"][side], r["goals"][side]) for side in GPU_SIDES[2:]]
            last = [_number(x) for pair in pairs for x in pair] + [said]
        cells.append([*step_cells(r), *(_number(times.get(side)) for side in GPU_SIDES), *last])
    return GPU_HEAD, cells


def device_memory_table(steps: list[Report]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of cells of the peaks of memory, in megabytes (10⁶ bytes)."""
    cells = []
    for r in (r for r in steps if "memory" in r):
        peaks = [r["memory"].get(side, {}).get(kind) for kind in ("device", "host") for side in GPU_SIDES[::3]]
        cells.append([*step_cells(r), *("-" if peak is None else f"{peak / 1e6:.0f}" for peak in peaks)])
    return GPU_MEMORY_HEAD, cells


def step_cells(r: Report) -> list[str]:
    return [r["case"], str(r["batch_size"]), "on" if r["tf32"] else "off"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def page(report: Report, table: Callable[[Iterable[str], Iterable[Iterable[str]]], str]) -> str:
    """The heading and the table of a report, of a CPU or, where it has a part "bench", of a GPU."""
    if "bench" in report:
        tables = (table(*make(report["bench"])) for make in (device_table, device_memory_table))
        return "\n\n".join([on_device(report), *tables])
    return f"{heading(report)}\n\n{table(HEAD, rows(report))}"


FORMS: dict[str, Callable[[Report], str]] = {
    "json": lambda report: json.dumps(report, indent=1),
    "markdown": lambda report: page(report, markdown_table),
    "text": lambda report: page(report, text_table),
}
