"""Help texts: the options of a command in groups, in lines that break between words alone."""

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from npsnn.cli import completion, terminal

RUN = "Run"
"""The group where --help stands: the last one."""
FLAGS = 24
"""The most columns that flags take in a help text beside their sentence."""
TOGETHER = re.compile(
    r"\[[^]]{,30}\]|(\[default: )?\b(linf|l2) [\d.]+(, [\d.]+)*|\b(Eq\.|Sec\.|Table|audit) [\w.]+|least \d|\d %"
)
"""What a line must not break: a default, a reference, a number with its unit."""


class Formatter(click.HelpFormatter):
    """Writes help texts whose lines break neither at hyphens nor within what belongs together."""

    def write_text(self, text: str) -> None:
        """Write paragraphs, indented; one that begins with a line of \\b keeps its lines."""
        for paragraph in text.split("\n\n"):
            lines = paragraph.splitlines()
            whole = lines[1:] if lines[:1] == ["\b"] else wrapped(paragraph, self.width - self.current_indent)
            self.write("".join(f"{'':{self.current_indent}}{line}\n" for line in whole) + "\n")
        self.buffer[-1] = self.buffer[-1].removesuffix("\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = FLAGS, col_spacing: int = 2) -> None:
        """Write terms in a column and their sentences in another; a term that is too long has a line of its own."""
        rows = list(rows)
        first = min(max(len(term) for term, _ in rows), col_max) + col_spacing
        for term, sentence in rows:
            lines = wrapped(sentence, max(self.width - self.current_indent - first, 10))
            if len(term) + col_spacing > first:
                lines = ["", *lines]
            for i, line in enumerate(lines or [""]):
                self.write(f"{'':{self.current_indent}}{term if i == 0 else '':{first}}{line}".rstrip() + "\n")


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text of so many columns, which break between words alone."""
    held = TOGETHER.sub(lambda found: found[0].replace(" ", "\xa0"), " ".join(text.split()))
    return [line.replace("\xa0", " ") for line in textwrap.wrap(held, width, break_on_hyphens=False)]


class Context(click.Context):
    """A context whose help text is written so."""

    formatter_class = Formatter


class Option(click.Option):
    """An option with its place in the help text, and the field of a dataclass that it sets, if any."""

    def __init__(
        self,
        flags: str | Sequence[str],
        group: str = RUN,
        shown: str = "",
        field: str | None = None,
        **settings: Any,
    ) -> None:
        """group: the heading that it stands under; shown: its default in words. A metavar RUN completes runs."""
        if settings.get("metavar") == "RUN":
            settings["shell_complete"] = completion.runs
        super().__init__([flags] if isinstance(flags, str) else flags, **settings)
        self.group, self.shown, self.field = group, shown, field

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Its flag, with a word for the value, and its sentence with the default."""
        flag = self.opts[-1] if self.is_flag else f"{self.opts[-1]} {self.make_metavar(ctx)}"
        return flag, f"{self.help} [default: {self.shown}]" if self.shown else self.help or ""


class Command(click.Command):
    """A command whose help text lists its options in groups, in the order in which the groups first occur."""

    context_class = Context

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Every command has --quiet."""
        super().__init__(*args, **settings)
        self.params.append(
            Option(
                "--quiet",
                is_flag=True,
                expose_value=False,
                callback=_quieten,
                help="Print no progress and no notes on standard error; warnings and errors stay.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an option that stands before the command is told so."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            before = [flag for p in ctx.find_root().command.params for flag in p.opts]
            if error.option_name not in before:
                raise
            program = ctx.find_root().info_name
            ctx.fail(
                f"{error.option_name} stands before the command: {program} {error.option_name} ... {ctx.info_name}"
            )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                groups.setdefault(getattr(option, "group", RUN), []).append(record)
        groups[RUN] = groups.pop(RUN)
        column = min(FLAGS, max(len(flag) for records in groups.values() for flag, _ in records))
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl([(f"{flag:{column}}", sentence) for flag, sentence in records])


def _quieten(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        terminal.quieten()


def new_command(name: str, call: Callable[..., Any], *params: click.Parameter) -> Command:
    """The command of that name: the function that it calls, whose docstring is its help text, and its parameters."""
    return Command(name, params=list(params), callback=call, help=call.__doc__)
