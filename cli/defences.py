"""`npsnn train --recipe` for the defences of the literature: their settings from flags, and what explains them."""

from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from npsnn.cli.common import print_json, speaking_of_flags
from npsnn.cli.help import wrapped
from npsnn.cli.options import converted
from npsnn.cli.suggest import Bare, did_you_mean
from npsnn.cli.terminal import say
from npsnn.train.defences import DEFENCES, Defence
from npsnn.validate import declared

COLUMNS = 80
OF_THE_RUN = ("dataset", "limit", "seed", "conv", "micro_batch", "authors_code")
"""The flat options that every defence heeds beside its settings."""


def chosen_defence(ctx: click.Context, name: str, chosen: dict[str, Any], settings: tuple[str, ...]) -> Any:
    """The defence of that name, with the settings that flags and --set give.

    chosen: flat options by field.
    settings: those of --set, as "beta=6".
    Raises UsageError for what is no setting of the defence.
    """
    kind = DEFENCES[name]
    own = declared(kind)
    given = {k: v for k, v in chosen.items() if ctx.get_parameter_source(k) != ParameterSource.DEFAULT}
    for field in given:
        if field not in own and field not in OF_THE_RUN:
            flag = next(p.opts[-1] for p in ctx.command.params if p.name == field)
            raise click.UsageError(f"{flag} is no setting of the recipe {name}: --show lists what --set can set")
    flags, code = {k: v for k, v in given.items() if k in own}, chosen["authors_code"] is not None
    if code and not isinstance(chosen["authors_code"], Bare):
        what = f"{chosen['authors_code']} is a commit of A2SNN's authors' code"
        raise click.UsageError(f"--authors-code takes no commit with the recipe {name}: {what}. Give the flag alone")
    values = _parsed(kind, name, settings)
    if twice := sorted(flags.keys() & values.keys()):
        raise click.UsageError(f"{twice[0]} is given by a flag and by --set: give it once")
    if code and not kind.departures:
        say(f"warning: --authors-code has no effect on {name}, of whose code no setting is known to depart", err=True)
    with speaking_of_flags():
        made = kind.on(chosen["dataset"], code, **flags | values)
    for field, what in made.idle().items():
        if field in flags | values:
            say(f"warning: {field} has no effect unless {what}", err=True)
    return made


def _parsed(kind: type[Defence], name: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """The values of --set by field."""
    found, own, types = {}, declared(kind), {f.name: f.type for f in fields(kind)}
    for setting in settings:
        word, equals, text = setting.partition("=")
        field = word.strip().replace("-", "_")
        if not equals or field not in own:
            what = f"{word!r} is no setting of the recipe {name}" if equals else f"{setting!r} has no ="
            raise click.UsageError(f"--set takes NAME=VALUE: {what}.{did_you_mean(field, own)}")
        if field in found:
            raise click.UsageError(f"--set {word} is given twice")
        try:
            found[field] = converted(own[field], types[field], text)
        except click.BadParameter as error:
            raise click.UsageError(f"--set {word}: {error.message}") from error
    return found


def show_defence(defence: Any, dataset: str, as_json: bool) -> None:
    """Print what a defence is, each setting with its source, and what is known of its strength."""
    name = DEFENCES.name_of(defence)
    rows = list(defence.explained(dataset))
    departures = {k: d._asdict() for k, d in defence.departures.items()}
    if as_json:
        settings = {k: {"value": v, "source": source} for k, v, source in rows}
        about = {k: getattr(defence, k) for k in ("paper", "what", "lacks", "found")}
        print_json({"recipe": name, "dataset": dataset, **about, "settings": settings, "departures": departures})
        return
    _paragraph(f"{name}: {defence.paper}." if defence.paper else name)
    if defence.what:
        _paragraph(defence.what)
    helps = declared(defence)
    click.echo(f"\nSettings on {dataset}:")
    for field, value, source in rows:
        setting = f"  {field} = {_shown(value)}"
        fits = len(source) <= COLUMNS - max(36, len(setting)) - 1
        click.echo(f"{setting:<36} {source}" if fits else setting)
        _paragraph(
            helps[field].sentence() if fits else f"{helps[field].sentence()} {source[0].upper()}{source[1:]}.", 6
        )
    if departures:
        click.echo("\nThe authors' code (--authors-code sets all of it):")
        for field, departure in defence.departures.items():
            _paragraph(f"{field} = {_shown(departure.value)}: {departure.text} (audit {departure.row}).", 2)
    if averaging := answering(defence):
        click.echo("\nAnswers:")
        _paragraph(f"The defence answers by the {defence.answers[0]} of {defence.answers[1]} draws at once.", 2)
        click.echo(f"  npsnn attack RUN {averaging}")
    for title, text in (("Not here", defence.lacks), ("Known of its strength", defence.found)):
        if text:
            click.echo(f"\n{title}:")
            _paragraph(text, 2)


def answering(defence: Any) -> str:
    """The options of a command that answers as the defence does; "" for one that answers by one draw."""
    of, draws = defence.answers
    return f"--average {draws} --answer {of}" if draws > 1 else ""


def recipe_of(about: dict[str, Any]) -> tuple[str, Any] | None:
    """The name and the value of the defence that a run's config.json names; None where there is none that is known."""
    try:
        found = DEFENCES.decode(about["recipe"])
    except (KeyError, ValueError):  # of a plugin that is not read, or of another version
        return None
    return DEFENCES.name_of(found), found


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{v:.4g}" for v in value)
    if isinstance(value, float):
        levels = value * 255
        return f"{levels:.0f}/255" if 0 < value < 1 and abs(levels - round(levels)) < 1e-9 else f"{value:.4g}"
    return str(value)


def _paragraph(text: str, indent: int = 0) -> None:
    for line in wrapped(text, COLUMNS - indent):
        click.echo(f"{'':{indent}}{line}")
