"""The nearest known word to a misspelt command, choice or table."""

from collections.abc import Iterable
from typing import Any

import click

from npsnn.cli.help import Command, Context
from npsnn.words import nearest_word


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to end a message with; empty where no known word is near."""
    near = nearest_word(word, known)
    return f" Did you mean {near}?" if near else ""


class Bare(str):
    """The value of an option that is given without one, which a command can tell from the same value given."""

    __slots__ = ()


class Choice(click.Choice[str]):
    """One of some words; a misspelt one is met by the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if isinstance(value, Bare) else super().convert(value, param, ctx)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"{super().get_invalid_choice_message(value, ctx)}{did_you_mean(str(value), self.choices)}"


class Group(click.Group):
    """A group whose misspelt commands are met by the nearest."""

    context_class = Context
    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an option of a command that stands before the command is told so."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.possibilities:
                raise
            place = f"{ctx.command_path} COMMAND {error.option_name}"
            ctx.fail(f"{error.format_message()} Options of a command stand after the command: {place}")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word, known = args[0], self.list_commands(ctx)
        if word not in known and not word.startswith("-"):
            there = ", ".join(known)
            ctx.fail(f"No such command {word!r}.{did_you_mean(word, known) or f' There are {there}.'}")
        return super().resolve_command(ctx, args)
