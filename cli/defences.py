"""`npsnn train --recipe` for the defences of the literature: their settings from flags, and what explains them."""

from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from npsnn.cli.common import print_json, speaking_of_flags
from npsnn.cli.help import wrapped
from npsnn.cli.options import converted
from npsnn.cli.suggest import did_you_mean
from npsnn.train.defences import DEFENCES, Defence
from npsnn.validate import declared

COLUMNS = 80
OF_THE_RUN = ("dataset", "limit", "seed", "conv", "authors_code")
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
    flags = {k: v for k, v in given.items() if k in own}
    with speaking_of_flags():
        return kind.on(chosen["dataset"], bool(chosen["authors_code"]), **flags | _parsed(kind, name, settings))


def _parsed(kind: type[Defence], name: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """The values of --set by field."""
    found, own, types = {}, declared(kind), {f.name: f.type for f in fields(kind)}
    for setting in settings:
        word, equals, text = setting.partition("=")
        field = word.strip().replace("-", "_")
        if not equals or field not in own:
            what = f"{word!r} is no setting of the recipe {name}" if equals else f"{setting!r} has no ="
            raise click.UsageError(f"--set takes NAME=VALUE: {what}.{did_you_mean(field, own)}")
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
        about = {k: getattr(defence, k) for k in ("paper", "what", "found")}
        print_json({"recipe": name, "dataset": dataset, **about, "settings": settings, "departures": departures})
        return
    _paragraph(f"{name}: {defence.paper}.")
    _paragraph(defence.what)
    helps = declared(defence)
    click.echo(f"\nSettings on {dataset}:")
    for field, value, source in rows:
        click.echo(f"  {field + ' = ' + _shown(value):<34} {source}")
        _paragraph(helps[field].sentence(), 6)
    if departures:
        click.echo("\nThe authors' code (--authors-code sets all of it):")
        for field, departure in defence.departures.items():
            _paragraph(f"{field} = {_shown(departure.value)}: {departure.text} (audit {departure.row}).", 2)
    of, draws = defence.answers
    if draws > 1:
        click.echo("\nAnswers:")
        _paragraph(f"The defence answers by the mean of the {of} of {draws} draws of its noise.", 2)
        click.echo(f"  npsnn attack RUN --average {draws} --answer {of}")
    click.echo("\nKnown of its strength:")
    _paragraph(defence.found, 2)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{v:.4g}" for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _paragraph(text: str, indent: int = 0) -> None:
    for line in wrapped(text, COLUMNS - indent):
        click.echo(f"{'':{indent}}{line}")
