"""Mutate sound files of every kind that npsnn reads, thousands of times, and watch what the readers do.

A mutant may be read or refused by an error that names the file. All else fails: another exception, a wrong result, a
crash, more than 512 MB of memory beyond what the process had, more than 10 seconds of processor time. POSIX only.
"""

import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from fuzz_files import Reader, left_out, readers
from fuzz_mutations import mutated, zeros

MEMORY = 512 << 20
SECONDS = 10
PATIENCE = 20 * SECONDS
"""Seconds on the clock after which a worker that says nothing is ended; its processor may be busy with others."""


class TooLongError(BaseException):
    """Ten seconds have passed."""


def _too_long(*_: Any) -> None:
    raise TooLongError


def judge(reader: Reader, folder: Path) -> str:
    """Read the mutant: "read", "refused", or what went wrong."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        reader.read(folder)
        return "read"
    except (ValueError, OSError, click.ClickException) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        if _has(error, MemoryError):
            return f"more than {MEMORY >> 20} MB"
        named = str(folder / Path(reader.target).parts[0]) in said or isinstance(error, click.BadParameter)
        return "refused" if named and len(said) < 100_000 else f"names no file: {type(error).__name__}: {said[:300]}"
    except TooLongError:
        return f"more than {SECONDS} seconds"
    except MemoryError:
        return f"more than {MEMORY >> 20} MB"
    except BaseException as error:  # whatever it is, it should not have come out
        return f"{type(error).__name__}: {' | '.join(traceback.format_exc().splitlines()[-5:])[:600]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _has(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether the error, or one that it came of, is of this kind."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def mutant(reader: Reader, seed: int, number: int) -> tuple[bytes, int | None]:
    """The content of a file, and the size to which it is to be stretched, if any. The first ones are sound."""
    if number < len(reader.contents):
        return reader.contents[number], None
    rng = np.random.default_rng([seed, number, *reader.name.encode()])
    return mutated(rng, reader.contents[number % len(reader.contents)])


def prepare(reader: Reader, folder: Path, content: bytes, size: int | None) -> None:
    """The reader's files in the folder, one of them with this content."""
    for name, other in reader.others.items():
        if name != reader.target and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(other)
    path = folder / reader.target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a new file is ten times quicker than the old one cut to nothing, on ext4
    path.write_bytes(content)
    if size is not None:
        with path.open("r+b") as file:
            file.truncate(size)


def work(reader: Reader, seed: int, numbers: range, answers: int) -> None:
    """Judge the mutants in this process, which is to be ended after; a line before and after each goes to `answers`."""
    signal.signal(signal.SIGPROF, _too_long)
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as name:
        folder = Path(name)
        mutant_of_before = [mutant(reader, seed, number) for number in numbers]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        for number, (content, size) in zip(numbers, mutant_of_before, strict=True):
            prepare(reader, folder, content, size)
            os.write(answers, f"{number}\n".encode())
            outcome = judge(reader, folder)
            os.write(answers, f"{number} {' '.join(outcome.split())}\n".encode())


def outcomes(reader: Reader, seed: int, numbers: range) -> Iterator[tuple[int, str]]:
    """The outcome of each mutant; a worker that ends or hangs is replaced, and its mutant has failed."""
    while numbers:
        ours, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            code = 1
            try:
                os.close(ours)
                work(reader, seed, numbers[:BATCH], theirs)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(theirs)
        begun = None
        for line in _lines(ours):
            number, _, outcome = line.partition(" ")
            begun = int(number)
            if outcome:
                yield begun, outcome
                numbers, begun = numbers[numbers.index(begun) + 1 :], None
        os.close(ours)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if begun is not None:
            yield begun, f"its process ended or hung: {signal.Signals(os.WTERMSIG(status)).name}"
            numbers = numbers[numbers.index(begun) + 1 :]


BATCH = 200
"""How many mutants a process judges."""


def _lines(descriptor: int) -> Iterator[str]:
    """The lines that come, until there are no more or none comes for too long."""
    left = b""
    while select.select([descriptor], [], [], PATIENCE)[0] and (block := os.read(descriptor, 1 << 16)):
        *whole, left = (left + block).split(b"\n")
        yield from (line.decode() for line in whole)


def fuzz(reader: Reader, seed: int, numbers: range) -> tuple[Counter[str], list[str]]:
    """How many mutants were read and refused, and what was wrong with each of the others."""
    counts: Counter[str] = Counter()
    wrong = []
    for number, outcome in outcomes(reader, seed, numbers):
        if outcome == "refused" and number < len(reader.contents):
            outcome = "a sound file is refused"
        counts[outcome if outcome in ("read", "refused") else "failed"] += 1
        if outcome not in ("read", "refused"):
            wrong.append(f"{reader.name} {number}: {outcome}")
    return counts, wrong


@click.command()
@click.option("--mutations", default=20_000, show_default=True, help="Mutants of each kind of file.")
@click.option("--reader", "names", multiple=True, help="Only this kind; may be given several times.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=int, help="Judge one mutant, and leave it in the folder ./mutant.")
def main(mutations: int, names: tuple[str, ...], seed: int, only: int | None) -> None:
    """Mutate files of every kind that npsnn reads; exit code 1 where one is not read or refused as it should be."""
    if odd := set(names) - readers().keys():
        raise click.UsageError(f"unknown reader {', '.join(odd)}, expected {', '.join(readers())}")
    chosen = [reader for name, reader in readers().items() if not names or name in names]
    if only is not None:
        shutil.rmtree("mutant", ignore_errors=True)
        prepare(chosen[0], Path("mutant").absolute(), *mutant(chosen[0], seed, only))
    click.echo(f"{'file':<22} {'mutants':>8} {'read':>8} {'refused':>8} {'failed':>7} {'seconds':>8}")
    every = []
    zeros()  # once, before there are other processes, which have it then
    for reader in chosen:
        start = time.perf_counter()
        counts, wrong = fuzz(reader, seed, range(mutations) if only is None else range(only, only + 1))
        shown = f"{counts['read']:>8} {counts['refused']:>8} {counts['failed']:>7} {time.perf_counter() - start:>8.1f}"
        click.echo(f"{reader.name:<22} {counts.total():>8} {shown}")
        every += wrong
    for name, extra in left_out().items():
        if not names:
            click.echo(f"{name:<22} skipped: pip install 'npsnn[{extra}]'")
    for line in every[:100]:
        click.echo(line)
    sys.exit(1 if every else 0)


if __name__ == "__main__":
    main()
