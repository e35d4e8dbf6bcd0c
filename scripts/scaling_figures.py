"""The figures of docs/scaling.md: bytes of the dry run, speed-ups, and where the time of a step goes."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from docs_figures import GREY, STYLE, written
from scaling_costs import COUNTS, NETWORKS, Case, Seconds, hosts
from scaling_dry_run import Step, formula
from scaling_tables import MIDDLE, NAMES

LABELS = {
    "parts": "micro-batches",
    "memory": "copying gradients",
    "letters": "meetings",
    "latency": "latency",
    "bandwidth": "bandwidth",
    "waiting": "waiting",
}
COLOURS = ("#2f81c9", "#7db8e8", "#2e9e5b", "#c24fa0", "#d9741a", "#8c6bb1")


def of_bytes(plt: Any) -> Any:
    """What a rank sends in a step of 1,024 micro-batches: dry runs as points, the formula as lines."""
    figure, axes = plt.subplots(figsize=(6.6, 3.2), layout="constrained")
    for colour, name in zip(("C0", "C1", "C2"), NAMES, strict=True):
        content, counts = hosts()[name].content, [n for n in COUNTS if n > 1]
        steps = [Step.of(content, 1024, n) for n in counts]
        axes.plot(counts, [formula(content, 1024 / n, n) / 1e6 for n in counts], color=colour, label=NAMES[name])
        axes.plot(counts, [step.summed.sent.mean() / 1e6 for step in steps], "o", color=colour)
        axes.plot(counts, [step.met.sent.mean() / 1e6 for step in steps], "x", color=colour)
    axes.plot([], [], color=GREY, label="(m + 1) P (R - 1)/R")
    axes.plot([], [], "o", color=GREY, label="gradients, dry run")
    axes.plot([], [], "x", color=GREY, label="meetings, dry run")
    axes.set(xscale="log", yscale="log", xlabel="ranks", ylabel="MB that a rank sends in a step")
    axes.set_xticks(counts, [f"{n:,}" for n in counts])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small", ncols=2)
    return figure


def of_speedups(plt: Any) -> Any:
    """Speed-ups over one host, a panel for each network of layers, a colour for each network of wires."""
    figure, panels = plt.subplots(1, 3, figsize=(8.4, 3.4), layout="constrained", sharey=True)
    for panel, name in zip(panels, NAMES, strict=True):
        for colour, network in zip(("C1", "C0", "C2"), NETWORKS, strict=True):
            for line, micro in (("--", 64), ("-", 8)):
                values = [Case(name, 8192, micro).speedup(n, network) for n in COUNTS]
                panel.plot(COUNTS, values, line, color=colour, label=network.name if line == "-" else None)
        panel.plot(COUNTS, COUNTS, ":", color=GREY, lw=1)
        panel.set(xscale="log", yscale="log", xlabel="hosts", title=NAMES[name], ylim=(0.25, 60))
        panel.set_xticks((1, 8, 64, 1024), ("1", "8", "64", "1,024"))
        panel.set_yticks((0.5, 1, 2, 4, 8, 16, 32), ("0.5", "1", "2", "4", "8", "16", "32"))
        panel.minorticks_off()
    panels[0].set(ylabel="times as fast as one host")
    panels[0].plot([], [], "--", color=GREY, label="micro-batch 64")
    panels[0].plot([], [], color=GREY, label="micro-batch 8")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    return figure


def of_shares(plt: Any) -> Any:
    """Where the time of a step goes, in micro-batches of 8, on more and more hosts."""
    figure, panels = plt.subplots(1, 3, figsize=(8.4, 3.4), layout="constrained", sharey=True)
    for panel, name in zip(panels, NAMES, strict=True):
        found, base = [Case(name, 8192, 8).seconds(n, MIDDLE) for n in COUNTS], [0.0] * len(COUNTS)
        for colour, kind in zip(COLOURS, fields(Seconds), strict=True):
            shares = [getattr(seconds, kind.name) / seconds.total for seconds in found]
            panel.bar(range(len(COUNTS)), shares, bottom=base, width=0.9, color=colour, label=LABELS[kind.name])
            base = [low + share for low, share in zip(base, shares, strict=True)]
        panel.set(xlabel="hosts", title=NAMES[name], ylim=(0, 1))
        panel.set_xticks(range(0, len(COUNTS), 2), [f"{n:,}" for n in COUNTS[::2]])
        panel.set_yticks((0, 0.5, 1), ("0 %", "50 %", "100 %"))
    panels[0].set(ylabel="of the time of a step")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize="small")
    return figure


FIGURES = {"bytes": of_bytes, "speed-up": of_speedups, "shares": of_shares}


def draw(folder: Path) -> list[Path]:
    """Write all figures into a folder, which is there."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        return [written(figure(plt), folder / f"{name}.svg") for name, figure in FIGURES.items()]
