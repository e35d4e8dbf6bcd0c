"""A side of a benchmark: a process that answers each line it is sent with one, and how its parent talks to it.

Imports nothing but the standard library, for PyTorch's interpreter need not have more.
"""

import json
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import Any, TextIO

HERE = Path(__file__).parent
NO_TORCH = "no PyTorch"


class Side:
    """A process that prints a line for every line it is sent."""

    def __init__(self, python: str, script: str, *args: str, environment: Mapping[str, str] | None = None) -> None:
        """environment: all of its variables; None for this process's own. Ends the program if it cannot start."""
        self.script = script
        command = [python, str(HERE / script), *args]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        except OSError as error:
            raise SystemExit(f"{python} must be a Python interpreter, but cannot be run: {error.strerror}") from error

    def ask(self, line: str) -> str:
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            raise SystemExit(f"{self.script}, a side of the benchmark, ended with exit code {self.process.returncode}")
        return answer

    def close(self) -> None:
        if self.process.stdout and not self.process.stdout.closed:
            self.process.communicate()

    def tell(self, command: str, argument: object = "", limit: float = 60.0) -> Any:
        """What a side that serves (`serve`) answers within `limit` seconds; raises SideError where it does not."""
        late: list[bool] = []

        def stop() -> None:
            late.append(True)
            self.process.kill()

        timer = Timer(limit, stop)
        timer.start()
        try:
            answer = json.loads(self.ask(f"{command} {argument}"))
        except (SystemExit, ValueError) as error:
            raise SideError(f"no answer to {command} within {limit:g} s" if late else str(error)) from None
        finally:
            timer.cancel()
        if isinstance(answer, dict) and "failed" in answer:
            raise SideError(answer["failed"])
        return answer


class SideError(Exception):
    """A side could not do what it was told; the message is why, with the side's traceback where there is one."""


def serve(commands: Mapping[str, Callable[[str], object]], lines: Iterable[str], out: TextIO) -> None:
    """For each line NAME ARGUMENT write what the command of that name returns, as JSON; of one that fails, why."""
    for line in lines:
        name, _, argument = line.strip().partition(" ")
        try:
            found = commands[name](argument)
        except Exception:
            found = {"failed": traceback.format_exc()}
        print(json.dumps(found), file=out, flush=True)


def answers() -> TextIO:
    """The stream of answers to the parent; whatever else is printed goes to standard error from now on."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def answer(commands: Mapping[str, Callable[[str], object]], lines: Iterable[str] = sys.stdin) -> None:
    """For each line NAME ARGUMENT print what the command of that name returns."""
    for line in lines:
        name, _, argument = line.strip().partition(" ")
        print(commands[name](argument), flush=True)


def milliseconds(step: Callable[[], object], seconds: float) -> float:
    """The mean time of a step, over as many as begin within `seconds`; one at least."""
    steps, start = 0, perf_counter()
    while steps == 0 or perf_counter() - start < seconds:
        step()
        steps += 1
    return (perf_counter() - start) / steps * 1e3


def peak_memory() -> int:
    """The most memory that this process has held and those that it has started, in bytes.

    What they share, such as libraries, counts for each. Without /proc those that it has started are left out.
    Linux counts into ru_maxrss what the parent held when it started this process; VmHWM begins with this program.
    """
    if Path("/proc/self/status").exists():
        started = Path(f"/proc/self/task/{os.getpid()}/children")
        others = started.read_text().split() if started.exists() else []
        return sum(_high_water_mark(process) for process in ("self", *others))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _high_water_mark(process: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if "VmHWM" in line)


def reset_peak_memory() -> None:
    """Let `peak_memory` begin anew, where Linux lets a process do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def memory_now() -> int:
    """The memory of the host that this process holds, in bytes; without /proc the most that it has held."""
    about = Path("/proc/self/status")
    if not about.exists():
        return peak_memory()
    return next(int(line.split()[1]) << 10 for line in about.read_text().splitlines() if "VmRSS" in line)
