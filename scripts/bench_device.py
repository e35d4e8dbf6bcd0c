"""What is timed on a GPU: steps beside PyTorch's, attacks, a long training's memory, and what the card does in a step.

npsnn and PyTorch have a process each, which are given one job after the other and take turns. Both take another batch
from the host's memory at each step and read the loss back, so wall time is the step's. The losses of the first steps
and, without TF32, the gradients are compared before anything is timed. PyTorch runs in eager mode and as a CUDA graph,
each in the memory layout that is the faster in a first turn. Without PyTorch, npsnn alone is timed. A side that fails
or does not answer is started anew for the next row, and the row says why.
"""

import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click
from bench_cases import Case, Job, goals
from bench_side import NO_TORCH, Side, SideError

Report = dict[str, Any]

BATCHES = 4
"""How many batches a step is given by turns."""
LOSS_LIMITS = {False: 1e-4, True: 0.1}
"""How far apart losses may be, by whether products round to TF32."""
LIMITS = {"resnet18": 5e-2}
LIMIT = 1e-3
"""How far gradients may be apart, as in bench.py."""
LATE = 60.0
"""Seconds after which a side that does not answer is given up; a job, which compiles kernels, has twice as long."""
ATTACKS = {"pgd": ("PGD-20, closed form, LeNet-5", 10_000, 1.0), "eot": ("EoT-50 PGD-10, ResNet-18", 1_000, 10.0)}
"""What an attack is called, on how many images, and in how many seconds."""
MEMORY_CASES = (Case("lenet5", "noise-aware"), Case("resnet18"))
GROWTH = {"device": 4 << 20, "host": 32 << 20}
"""Bytes by which memory may grow between the first sixth of a long training and its end."""


@dataclass
class Sides:
    """The two processes, started when they are first asked; one that failed is started anew."""

    device: str
    torch_python: str = sys.executable
    running: dict[str, Side] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)

    def tell(self, name: str, command: str, argument: object = "", limit: float = LATE) -> Any:
        """What "npsnn" or "PyTorch" answers; raises SideError."""
        if name not in self.running:
            python = self.torch_python if name == "PyTorch" else sys.executable
            script = f"bench_gpu_{'torch' if name == 'PyTorch' else 'npsnn'}.py"
            self.running[name] = Side(python, script, self.device)
        try:
            return self.running[name].tell(command, argument, limit)
        except SideError as failed:
            side = self.running.pop(name)
            side.process.kill()
            side.close()
            raise SideError(f"{name}, {command}: {failed}") from None

    def close(self) -> None:
        for side in self.running.values():
            side.close()
        self.running.clear()


def compared(job: Job, sides: Sides, rounds: int, seconds: float) -> Report:
    """A row: medians of milliseconds by side, memory, goals; raises SideError."""
    ours = sides.tell("npsnn", "job", job.to_json(), 2 * LATE)
    row: Report = {
        "versions": {"npsnn": ours["version"]},
        "graphs": ours["graphs"],
        "memory": {"npsnn": ours["memory"]},
    }
    theirs = None
    if "PyTorch" not in sides.without:
        # an exact step stands beside PyTorch's noise-aware one, of the same start
        twin = Job(Case(job.case.model, "noise-aware"), **_rest(job)) if job.case.step == "exact" else job
        theirs = sides.tell("PyTorch", "job", twin.to_json(), 2 * LATE)
        if theirs == NO_TORCH:
            theirs = None
            sides.without.add("PyTorch")
    timed: dict[str, Callable[[], float]] = {
        name: lambda mode=mode: sides.tell("npsnn", "time", f"{mode} {seconds}")
        for name, mode in {"npsnn": "graph", "npsnn, no graph": "plain"}.items()
    }
    if theirs is not None:
        row["versions"]["PyTorch"] = theirs["version"]
        if theirs["failed_graphs"]:
            row["failed_graphs"] = theirs["failed_graphs"]
        if job.case.step != "exact":
            row |= same_work(job, ours, theirs, sides)
        row["layouts"], first = {}, {}
        for mode, name in {"eager": "PyTorch", "graph": "PyTorch, graph"}.items():
            every = [step for step in theirs["steps"] if step.split()[0] == mode]
            first = {step: sides.tell("PyTorch", "time", f"{step} {seconds / 2}") for step in every}
            if not first:
                continue
            faster = min(first, key=first.__getitem__)
            row["layouts"][name] = {step.split()[1]: time for step, time in first.items()}
            row["memory"][name] = {"device": theirs["memory"][faster], "host": theirs["host"]}
            timed[name] = lambda step=faster: sides.tell("PyTorch", "time", f"{step} {seconds}")
    times: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, time in timed.items():
            times[name].append(time())
    row["milliseconds"] = {name: median(own) for name, own in times.items()}
    return row | judged(job, row["milliseconds"])


def _rest(job: Job) -> dict[str, Any]:
    return {k: v for k, v in vars(job).items() if k != "case"}


def judged(job: Job, times: dict[str, float]) -> Report:
    """The ratios to PyTorch's times, the goals, and whether they are met; of goals, None where there is none."""
    found: Report = {"ratios": {}, "goals": {}, "met": {}}
    for name, goal in zip(("PyTorch", "PyTorch, graph"), goals(job.case, job.tf32), strict=True):
        ratio = times["npsnn"] / times[name] if name in times else None
        found["ratios"][name], found["goals"][name] = ratio, goal
        found["met"][name] = None if ratio is None or goal is None else ratio <= goal
    return found


def same_work(job: Job, ours: Report, theirs: Report, sides: Sides) -> Report:
    """The largest differences of a loss and, without TF32, of a gradient; and whether they are rounding's."""
    from bench import difference

    pairs = [
        (mine, other)
        for losses in theirs["losses"].values()
        for mine, other in zip(ours["losses"], losses, strict=False)
    ]
    loss = max(abs(mine - other) / max(abs(mine), 1e-3) for mine, other in pairs)
    found = {"loss_difference": loss, "passed": loss <= LOSS_LIMITS[job.tf32]}
    if job.tf32:
        return found
    folder = Path(str(job.start)).parent
    sides.tell("npsnn", "gradients", folder / "ours.npz")
    sides.tell("PyTorch", "gradients", f"channels_last {folder / 'theirs.npz'}")
    gradient, limit = difference(folder / "ours.npz", folder / "theirs.npz"), LIMITS.get(job.case.model, LIMIT)
    return found | {"gradient_difference": gradient, "passed": found["passed"] and gradient <= limit}


def surviving(row: Report, f: Callable[[], Report]) -> Report:
    """The row with what f finds, or with why it failed."""
    try:
        return row | f()
    except (click.ClickException, SideError) as failed:
        return row | {"error": failed.message if isinstance(failed, click.ClickException) else str(failed)}
    except Exception:
        return row | {"error": traceback.format_exc()}


def steps(
    cases: Iterable[Case],
    batch_sizes: Iterable[int],
    tf32: Iterable[bool],
    rounds: int,
    seconds: float,
    sides: Sides,
) -> Iterator[Report]:
    """A row for each step, batch size and setting of TF32."""
    settings = [(size, on) for size in batch_sizes for on in tf32]
    for size, on in settings:
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                job = Job(case, size, 1, f"{folder}/start.npz", sides.device, on, batches=BATCHES)
                row = {"case": case.name, "batch_size": size, "tf32": on}
                yield surviving(row, lambda job=job: compared(job, sides, rounds, seconds))  # type: ignore[misc]


def attacks(names: Iterable[str], tf32: Iterable[bool], images: int | None, sides: Sides) -> Iterator[Report]:
    """A row for each attack: seconds of the first and of the second call.

    images: how many instead of the attack's own number.
    """
    for name in names:
        what, count, goal = ATTACKS[name]
        for on in tf32:
            row = {"attack": what, "images": images or count, "tf32": on, "goal": goal}

            def call(name: str = name, row: Report = row, on: bool = on) -> Report:
                arguments = f"{name} {row['images']} {'on' if on else 'off'}"
                found = sides.tell("npsnn", "attack", arguments, 2 * LATE)
                return {**found, "met": found["seconds"][1] <= row["goal"]}

            yield surviving(row, call)


def memory(cases: Iterable[Case], batch_size: int, updates: int, parts: int, sides: Sides) -> Iterator[Report]:
    """A row for each training of so many steps: memory after each part, three at least, and whether it grew."""
    for case in cases:
        row = {"case": case.name, "batch_size": batch_size}

        def call(case: Case = case) -> Report:
            arguments = f"{case.model} {case.step} {batch_size} {updates} {parts}"
            found = sides.tell("npsnn", "training", arguments, 2 * LATE)
            # by then whatever is done once an epoch has a graph of its own
            first = next(part for part in found["after"][2:] if part["steps"] >= updates / 6)
            last = found["after"][-1]
            grown = {kind: last[kind] - first[kind] for kind in GROWTH}
            passed = all(grown[kind] <= GROWTH[kind] for kind in GROWTH)
            return found | {"first": first, "last": last, "grown": grown, "passed": passed}

        yield surviving(row, call)


def profiles(cases: Iterable[Case], batch_sizes: Iterable[int], tf32: Iterable[bool], sides: Sides) -> Iterator[Report]:
    """A row for each step: kernels, busy time and the dearest kernels of npsnn's graph and of PyTorch's."""
    settings = [(size, on) for size in batch_sizes for on in tf32]
    for size, on in settings:
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                job = Job(case, size, 1, f"{folder}/start.npz", sides.device, on, batches=BATCHES)
                row = {"case": case.name, "batch_size": size, "tf32": on}
                yield surviving(row, lambda job=job: profiled(job, sides))  # type: ignore[misc]


def profiled(job: Job, sides: Sides) -> Report:
    """What npsnn's graph does and, but for an exact step, PyTorch's in its faster layout; raises SideError."""
    sides.tell("npsnn", "job", job.to_json(), 2 * LATE)
    found = {"npsnn": sides.tell("npsnn", "profile", 5)}
    if job.case.step != "exact":
        theirs = sides.tell("PyTorch", "job", job.to_json(), 2 * LATE)
        times = {s: sides.tell("PyTorch", "time", f"{s} 0.1") for s in theirs["steps"] if "graph" in s}
        if times:
            faster = min(times, key=times.__getitem__)
            found["PyTorch, graph"] = sides.tell("PyTorch", "profile", f"{faster} 5")
    return found


def in_words(row: Report) -> str:
    """A row in a line, as it is told when it comes, and a line for each warning."""
    return _line(row) + "".join(f"\n    {warning}" for warning in row.get("warned", ()))


def _line(row: Report) -> str:
    what = row.get("case") or row["attack"]
    sizes = f"batch {row['batch_size']}" if "batch_size" in row else f"{row['images']} images"
    head = f"  {what}, {sizes}" + (f", TF32 {'on' if row['tf32'] else 'off'}" if "tf32" in row else "")
    if "error" in row:
        return f"{head}: FAILED {row['error'].strip().splitlines()[-1][:300]}"
    if "milliseconds" in row:
        times = ", ".join(f"{name} {time:.2f} ms" for name, time in row["milliseconds"].items())
        ratios = ", ".join(f"{r:.2f} of {name}" for name, r in row["ratios"].items() if r is not None)
        missed = [name for name, met in row["met"].items() if met is False]
        told = [f"{head}: {times}", ratios, f"MISSED {', '.join(missed)}" if missed else ""]
        if row.get("passed") is False:
            told.append(
                f"OTHER WORK: loss {row['loss_difference']:.1e}, gradient {row.get('gradient_difference', 0):.1e}"
            )
        return "; ".join(filter(None, told))
    if "seconds" in row:
        first, second = row["seconds"]
        return f"{head}: {second:.2f} s, first {first:.2f} s, goal {row['goal']:g} s{'' if row['met'] else '  MISSED'}"
    if "least" in row:
        least = ", ".join(f"{time:.3f} ms by {what}" for what, time in row["least"].items())
        return f"{head}: {row['kernels']} kernels, {row['bytes'] / 1e6:.0f} MB, {row['flops'] / 1e9:.1f} GFLOP; {least}"
    if "after" in row:
        grown = ", ".join(f"{kind} {value / 1e6:+.1f} MB" for kind, value in row["grown"].items())
        return f"{head}: {grown} from step {row['first']['steps']} to {row['last']['steps']}"
    traces = (f"{k} {t['kernels']:.0f} kernels, {t['busy']:.3f} ms busy of {t['milliseconds']:.3f}"
              for k, t in row.items() if isinstance(t, dict) and "kernels" in t)  # fmt: skip
    return f"{head}: {'; '.join(traces)}"
