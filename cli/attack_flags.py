"""The flags of attacks, one for each of the table, and the plan that they make: for all commands that attack."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from npsnn.attacks.base import ask
from npsnn.attacks.judging import Judging
from npsnn.attacks.plan import Choice, Plan, choices
from npsnn.cli.common import check_answer
from npsnn.cli.help import Option
from npsnn.cli.options import given, options_of
from npsnn.cli.runs import surrogates
from npsnn.cli.terminal import say

BY_DEFAULT = "Attacks that run where none is named"
NAMED = {False: "Attacks that run where they are named", True: "Attacks without gradients, run where they are named"}
"""The headings of other attacks, by whether forward passes are all that they need."""


def attack_flags(by_default: bool = True) -> list[click.Parameter]:
    """A flag for each attack of the table, and the options of a plan.

    by_default: whether the attacks that a plan has by default run where none is named.
    """
    flags = [
        Option([f"--{name}", _parameter(name)], is_flag=True, group=_heading(choice, by_default), help=choice.help)
        for name, choice in choices().items()
    ]
    return [*flags, *options_of(Plan, average=1, answer="logits")]


def _heading(choice: Choice, by_default: bool) -> str:
    """Where the flag of an attack stands in the help."""
    return BY_DEFAULT if by_default and choice.by_default else NAMED[ask(choice.kind, "forward_only")]


def _parameter(name: str) -> str:
    """The name of an attack as that of a parameter."""
    return name.replace("-", "_").lower()


def named_attacks(chosen: dict[str, Any]) -> tuple[str, ...]:
    """The attacks whose flags were given."""
    return tuple(name for name in choices() if chosen[_parameter(name)])


def resolve_surrogates(chosen: dict[str, Any], runs_dir: Path) -> None:
    """Put the folders of runs in the place of what --transfer-from names; FileNotFoundError for an unknown run."""
    if chosen["transfer_from"]:
        chosen["transfer_from"] = surrogates(chosen["transfer_from"], runs_dir)


def plan_of(chosen: dict[str, Any]) -> Plan:
    """The plan that the options make; where nothing is given of several, the default.

    Raises ValueError, naming the field, or UsageError for options that do not go together.
    """
    attacks = named_attacks(chosen)
    plan = Plan(**given(chosen) | ({"attacks": attacks} if attacks else {}))
    context = click.get_current_context()
    for name, would in plan.unused(f.name for f in fields(Plan)).items():
        flag, source = f"--{name.replace('_', '-')}", context.get_parameter_source(name)
        unheeded = f"{flag} acts on {', '.join(would)} alone, none of which is chosen (chosen: {', '.join(plan.names)})"
        if source == ParameterSource.COMMANDLINE:
            raise click.UsageError(unheeded)
        if source in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            say(f"warning: {unheeded}", err=True)
    check_answer(plan.average, plan.answer)
    return plan


def asked(chosen: dict[str, Any]) -> tuple[list[Any], Judging]:
    """The attacks that were named, perhaps none, and how they are judged.

    Raises UsageError for an option of attacks where none is named.
    """
    if named_attacks(chosen):
        plan = plan_of(chosen)
        return plan.made(), plan.judging()
    context = click.get_current_context()
    judged = {f.name for f in fields(Judging)}
    for option in context.command.params:
        name = getattr(option, "field", None)
        given = context.get_parameter_source(option.name or "") == ParameterSource.COMMANDLINE
        if given and name in {f.name for f in fields(Plan)} - judged:
            raise click.UsageError(f"{option.opts[-1]} acts on attacks, none of which is named: add one, as --pgd")
    return [], plan_of(chosen).judging()
