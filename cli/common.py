"""Words and JSON, shared by the commands."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from npsnn.cli.terminal import say
from npsnn.runs.caveats import Caveat


def in_flags(sentence: str, command: click.Command) -> str:
    """A sentence about fields of an options dataclass with the command's flags in their place."""
    options = [p for p in command.params if isinstance(p, click.Option)]
    flags = {getattr(p, "field", None): p.opts[-1] for p in options} | {p.name: p.opts[-1] for p in options}
    # a field of one word is also a word of the sentence: only what the sentence is about is surely the field
    return re.sub(r"\w+_\w+|^\w+", lambda word: flags.get(word[0], word[0]), sentence)


@contextmanager
def speaking_of_flags() -> Iterator[None]:
    """Make a ValueError of an options dataclass wrong usage of the command, with flags in the place of fields."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(in_flags(str(error), click.get_current_context().command)) from error


def set_precision(device: str, tf32: bool) -> None:
    """Let all products of a GPU round to TF32, or none, from now on.

    Raises UsageError for TF32 on a CPU, and ValueError for a GPU that has no TF32.
    """
    from npsnn.backend import use_device
    from npsnn.gpu import blas

    if tf32 and device == "cpu":
        raise click.UsageError("--tf32 is for a GPU, and --device is cpu: give --device cuda as well")
    if tf32:
        use_device(device)
    blas.tf32(tf32)


def test_images(count: int, limit: int | None) -> str:
    """What was attacked or classified, in words."""
    return f"{'the first ' if limit else ''}{count:,} test images"


def averaged(average: int, answer: str = "logits") -> str:
    """Name, in words, how an answer is made of several draws; "" where one draw is an answer."""
    what = {"logits": "an average", "probabilities": "the mean probabilities", "votes": "the votes"}[answer]
    return f", every draw {what} of {average}" if average > 1 else ""


def check_answer(average: int | None, answer: str | None) -> None:
    """Raise ValueError for an answer that several draws alone have, where one draw is an answer."""
    if (average or 1) == 1 and (answer or "logits") != "logits":
        raise ValueError(f"answer {answer} is that of several draws: average must be > 1, got {average or 1}")


def say_cost(cost: Any, images: int) -> None:
    """Print the cost of attacks on standard error."""
    most, time = "at most about" if cost.at_most else "about", in_words_of_time(cost.seconds)
    say(f"{cost.passes:,} passes an image; {images:,} images will take {most} {time}", err=True)


def in_words_of_time(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds > 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def print_caveats(caveats: Iterable[Caveat], mark: str = "") -> None:
    """One line for each under a table; mark: of the row that they are about."""
    for caveat in caveats:
        say(f"{mark or 'note'}: {caveat.text} [{caveat.code}]")


def print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document))


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def interval(ci95: tuple[float, float]) -> str:
    return f"{100 * ci95[0]:.1f} to {100 * ci95[1]:.1f} %"
