"""Trainings and attacks, killed and interrupted at random moments: nothing is lost, and both go on bit by bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import click

from npsnn.files import journal, json_files
from npsnn.files.npz import read_npz
from npsnn.runs import checkpoint
from npsnn.train.continuity import TIMES

START = "import os; from npsnn.cli.main import main; os.write({ready}, b'.'); os.close({ready}); main()"
"""Runs the command line and says when it is there: before that, a signal is Python's own affair."""
TRAIN = ("train", "--limit", 300, "--epochs", 8, "--batch-size", 64, "--threads", 2)
ATTACK = ("attack", "small", "--eps", 0.1, "--eps", 0.2, "--eot", 2, "--fgsm", "--bim", "--steps", 5)
ATTACK = (*ATTACK, "--adaptive-pgd", "--random", "--samples", 8, "--cw", "--cw-steps", 20, "--cw-searches", 2)
ATTACK = (*ATTACK, "--one-pixel", "--population", 10, "--generations", 4, "--selection", 5)
PATIENCE = 600.0


class LostError(Exception):
    """Something was lost, or a command did not end as it should."""


def check(right: bool, what: str) -> None:
    """Raise LostError unless `right`."""
    if not right:
        raise LostError(what)


@dataclass
class Command:
    """A command that runs in a process group of its own, its results in a folder."""

    process: "subprocess.Popen[str]"

    def ended(self) -> tuple[str, str]:
        """Wait for its end; what it has printed as results, and else."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return out, err

    @property
    def code(self) -> int:
        return int(self.process.returncode)


@dataclass
class Kills:
    """The folder of all trials, where digits are drawn once, and their random moments.

    images: how many each attack is given, at most a micro-batch.
    killed: the attacks that were at work when they were killed. response: the seconds from each interrupt of an attack
    at work to its end.
    """

    folder: Path
    moments: random.Random
    images: int = 60
    killed: int = 0
    response: list[float] = field(default_factory=list)

    @property
    def attacking(self) -> tuple[object, ...]:
        """The attack that is killed and interrupted."""
        return (*ATTACK, "--limit", self.images)

    @contextmanager
    def command(self, *args: object) -> Iterator[Command]:
        """Start `npsnn *args`, and go on when it is there; afterwards neither it nor a process of its may live."""
        where = ("--runs-dir", self.folder / "runs", "--data-dir", self.folder / "data")
        there, ready = os.pipe()
        program = [sys.executable, "-c", START.format(ready=ready), *map(str, (*args, *where))]
        process = subprocess.Popen(
            program,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[ready],
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(ready)
        os.read(there, 1)
        os.close(there)
        try:
            yield Command(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._check_alone(process.pid)

    def _check_alone(self, group: int) -> None:
        """Give the processes of a killed command a moment to notice, then none may be left."""
        for _ in range(100):
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            sleep(0.05)
        raise LostError("a process goes on behind a command that has ended")

    def timed(self, *args: object) -> tuple[float, str]:
        """The seconds that a command takes from when it is there, undisturbed, and its results."""
        with self.command(*args) as command:
            start = monotonic()
            out, err = command.ended()
            check(command.code == 0, f"{args[0]} ended with {command.code}: {err}")
        return monotonic() - start, out

    def train(self, kills: int, recipe: str = "") -> None:
        """Kill trainings at random moments, resume each until it is whole, and compare it with an undisturbed one.

        recipe: of a defence; none for the network of the noise paper.
        """
        options, undisturbed = (*TRAIN, *(("--recipe", recipe) if recipe else ())), f"whole{recipe}"
        seconds, _ = self.timed(*options, "--name", undisturbed)
        done = number = 0
        while done < kills:
            number += 1
            name, args = f"cut-{number}", (*options, "--name", f"cut-{number}")
            while True:
                folder = self.folder / "runs" / name
                begun = (folder / checkpoint.CONFIG).exists()
                if not begun and folder.exists():
                    shutil.rmtree(folder)  # killed while config.json was written, before there was anything to keep
                with self.command(*(("train", "--resume", name) if begun else args)) as command:
                    killed = done < kills and self._killed(command, seconds)
                    if not killed:
                        _, err = command.ended()
                        check(command.code == 0, f"training ended with {command.code}: {err}")
                self._check_run(folder)
                done += killed
                say(f"\r{done} of {kills} kills of trainings{recipe and f' of {recipe}'} ")
                if not killed:
                    break
            self._compare(self.folder / "runs" / undisturbed, folder)
            shutil.rmtree(folder)
        say("\n")

    def _killed(self, command: Command, seconds: float) -> bool:
        """Kill the command within so many seconds; False where it has ended by itself before."""
        try:
            command.process.wait(self.moments.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            command.process.kill()  # not its group: the other processes must notice by themselves
            command.ended()
            return True
        return False

    def _check_run(self, folder: Path) -> None:
        """Raise LostError unless all that is there of a run is whole."""
        if not (folder / checkpoint.CONFIG).exists():
            return
        json_files.read_json(folder / checkpoint.CONFIG)
        done = len(json_files.read_lines(folder / checkpoint.METRICS))
        if (folder / checkpoint.LAST).exists():
            epoch = checkpoint.load_arrays(folder / checkpoint.LAST)[1]["epoch"]
            check(epoch <= done <= epoch + 1, f"{done} epochs in {checkpoint.METRICS}, {epoch} in {checkpoint.LAST}")
        if (folder / checkpoint.BEST).exists():
            checkpoint.load_arrays(folder / checkpoint.BEST)

    def _compare(self, whole: Path, cut: Path) -> None:
        for name in (checkpoint.LAST, checkpoint.BEST):
            check((whole / name).read_bytes() == (cut / name).read_bytes(), f"{cut / name} has other bytes")
        first, second = (
            [
                {k: v for k, v in record.items() if k not in TIMES}
                for record in json_files.read_lines(run / checkpoint.METRICS)
            ]
            for run in (whole, cut)
        )
        check(first == second, f"{cut / checkpoint.METRICS} differs")
        odd = {p.name for p in cut.iterdir()} ^ {p.name for p in whole.iterdir()}
        check(not odd, f"{cut} has or lacks {', '.join(odd)}")

    def begin(self) -> None:
        """Train the network that is attacked, unless that is done."""
        if not (self.folder / "runs" / "small").exists():
            self.timed("train", "--limit", 300, "--epochs", 1, "--name", "small")

    def attack(self, kills: int, interrupts: int) -> None:
        """Kill and interrupt attacks on one run at random moments; what each had finished must be in its record."""
        self.begin()
        seconds, out = self.timed(*self.attacking, "--json")
        expected, lines = _lasting(json.loads(out)["results"]), self._recorded()
        check(_lasting(_results(lines)) == expected, "the record of an undisturbed attack is not what it printed")
        for number in range(kills + interrupts):
            interrupted = number >= kills
            as_json = ("--json",) if interrupted and number % 2 else ()
            with self.command(*self.attacking, *as_json) as command:
                ended = self._interrupted(command, seconds) if interrupted else self._killed(command, seconds)
                if not interrupted and not ended:
                    command.ended()
            self.killed += bool(ended) and not interrupted
            before, lines = lines, self._recorded()
            check(lines[: len(before)] == before, "lines of the record were lost")
            new = _results(lines[len(before) :])
            check(_lasting(new) == expected[: len(new)], "the record is not of what an undisturbed attack finds")
            if ended and interrupted:
                self._check_printed(ended, new, bool(as_json))
            say(
                f"\r{min(number + 1, kills)} of {kills} kills, {max(0, number + 1 - kills)} of {interrupts} interrupts "
            )
        say("\n")

    def resume(self, stops: int) -> None:
        """Kill and interrupt attacks at random moments, by turns, resume each until it is whole, and compare it."""
        self.begin()
        whole, cut = self.folder / "whole.npz", self.folder / "cut.npz"
        seconds, out = self.timed(*self.attacking, "--json", "--save", whole)
        expected, before = _results_of(out), len(self._recorded())
        done = 0
        while done < stops:
            out = ""
            while not out:
                args = ("attack", "small", "--resume") if self._unfinished() else (*self.attacking, "--save", cut)
                with self.command(*args, "--json", "--threads", self.moments.choice((1, 2))) as command:
                    number = signal.SIGINT if done % 2 else signal.SIGKILL
                    out = self._stopped(command, seconds, number if done < stops else None)
                done += not out
                if not out and not self._unfinished():
                    cut.unlink(missing_ok=True)  # stopped before there was anything to keep, or after all was done
                say(f"\r{done} of {stops} stops of attacks that go on ")
            check(_results_of(out) == expected, "an attack that was continued printed something else")
            lines = self._recorded()
            recorded = _lasting(_results(lines[before:]))
            check(all(row in recorded for row in expected[0]), "the record lacks a result")
            check(cut.read_bytes() == whole.read_bytes(), "other images were saved")
            check(not self._unfinished(), "parts were left behind")
            cut.unlink()
            before = len(lines)
        say("\n")

    def _stopped(self, command: Command, seconds: float, number: int | None) -> str:
        """Send the command a signal within so many seconds; what it has printed where it had ended by itself before."""
        try:
            timeout = PATIENCE if number is None else self.moments.uniform(0, seconds)
            out, err = command.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            command.process.send_signal(number or signal.SIGKILL)
            out, err = command.ended()
            if command.code:
                check(command.code in (130, -signal.SIGKILL), f"a stopped attack ended with {command.code}: {err}")
                return ""
        check(command.code == 0, f"the attack ended with {command.code}: {err}")
        return out

    def _unfinished(self) -> bool:
        """Whether there are parts that an attack can go on with."""
        files = (self.folder / "runs" / "small" / "attacks").glob("unfinished-*")
        return any(b'"options"' in file.read_bytes() for file in files)

    def _interrupted(self, command: Command, seconds: float) -> str:
        """Interrupt the command within so many seconds; what it has printed, or nothing where it had ended before."""
        try:
            command.process.wait(self.moments.uniform(0, seconds))
            command.ended()
        except subprocess.TimeoutExpired:
            start = monotonic()
            command.process.send_signal(signal.SIGINT)
            out, err = command.ended()
            if command.code == 0:  # in its last moments, after all was done
                return ""
            self.response.append(monotonic() - start)
            check(command.code == 130, f"an interrupted attack ended with {command.code}: {err}")
            check("Traceback" not in err and "Stopped: " in err, f"an interrupted attack said: {err}")
            return out or " "
        return ""

    def _check_printed(self, out: str, recorded: list[dict[str, Any]], as_json: bool) -> None:
        if as_json:
            document = json.loads(out) if out.strip() else {"results": [], "interrupted": True}
            check(document["interrupted"] is True, "the document does not say that it was interrupted")
            check(document["results"] == recorded, "the document is not what was recorded")
            return
        titles = {row["attack"] for row in recorded}
        rows = [line for line in out.splitlines() if line.split(" ")[0] in titles and "%" in line]
        check(len(rows) == len(recorded), f"{len(rows)} rows were printed, {len(recorded)} recorded")

    def _recorded(self) -> list[dict[str, Any]]:
        """The lines of the record, all whole, with the images' figures that they name."""
        folder = self.folder / "runs" / "small"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lines = journal.read(folder / "attacks.jsonl")
        for line in lines:
            figures = read_npz(folder / line["images"], "figures", 1 << 20)
            check(len(figures["right"]) == line["examples"], f"{line['images']} is of other images")
        return lines


def _results_of(out: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What an attack printed, but for times."""
    document = json.loads(out)
    return _lasting(document["results"]), document["worst_case"]


def _results(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line["result"] for line in lines if "result" in line]


def _lasting(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in results]


def say(text: str) -> None:
    click.echo(text, err=True, nl=False)


@click.command(help=__doc__)
@click.option("--train-kills", type=click.IntRange(0), default=60, show_default=True, help="SIGKILLs of trainings.")
@click.option("--recipe", multiple=True, metavar="NAME", help="Kill trainings of this recipe instead. Repeatable.")
@click.option("--attack-kills", type=click.IntRange(0), default=40, show_default=True, help="SIGKILLs of attacks.")
@click.option("--interrupts", type=click.IntRange(0), default=50, show_default=True, help="SIGINTs of attacks.")
@click.option("--resumes", type=click.IntRange(0), default=40, show_default=True, help="Stops of attacks that go on.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random moments.")
def main(
    train_kills: int, recipe: tuple[str, ...], attack_kills: int, interrupts: int, resumes: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="npsnn-kills-") as folder:
        kills = Kills(Path(folder), random.Random(seed))
        try:
            for one in recipe or ("",):
                kills.train(train_kills, one)
            kills.attack(attack_kills, interrupts)
            kills.resume(resumes)
        except LostError as error:
            click.echo(f"\nLOST: {error}", err=True)
            sys.exit(1)
        of = f", each of {', '.join(recipe)}" if recipe else ""
        click.echo(f"{train_kills} kills of trainings{of}: every one resumed to the bytes of an undisturbed one")
        met = f"{kills.killed} of {attack_kills} kills met an attack at work"
        click.echo(f"{met}: every line of attacks.jsonl whole, nothing finished was lost")
        click.echo(f"{resumes} stops of attacks: every one went on to the results and images of an undisturbed one")
        times = kills.response or [0.0]
        click.echo(
            f"{len(kills.response)} of {interrupts} interrupts met an attack at work: exit code 130, nothing lost; "
            f"the slowest took {max(times):.2f} s to end, the mean {sum(times) / len(times):.2f} s"
        )


if __name__ == "__main__":
    main()
