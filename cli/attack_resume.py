"""`npsnn attack --resume`: which unfinished attack goes on, and by which options."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from npsnn.attacks import identity
from npsnn.attacks.kept import Kept
from npsnn.attacks.record import IMAGES
from npsnn.cli.terminal import say
from npsnn.files.blocks import TakenError
from npsnn.runs import checkpoint, plugins, provenance

OPTIONS = "options"
"""The entry of a file of parts that has the options of its command."""
OF_THE_TIME = ("run", "resume", "runs_dir", "threads", "as_json", "config")
"""Parameters that every command says anew; results do not depend on them."""
OPEN = (*OF_THE_TIME, "save", "curve", "certificate", "data_dir")
"""Parameters that may be others than before."""


def new_file(folder: Path) -> Path:
    """A name for the parts of a command; folder: the run's."""
    return folder / IMAGES / f"unfinished-{os.urandom(4).hex()}.parts"


def resumable(call: Callable[..., None]) -> Callable[..., None]:
    """The function of a command that with --resume has the options of the unfinished command, and its parts."""

    @wraps(call)
    def called(resume: bool, **params: Any) -> None:
        if not resume:
            call(**params, unfinished=None)
            return
        run, runs_dir = params["run"], params["runs_dir"]
        folder = checkpoint.find_run(run, runs_dir)
        keep = _chosen(folder)
        try:
            params |= _restored(keep.says[OPTIONS], params) | {"run": str(folder), "runs_dir": runs_dir}
            call(**params, unfinished=keep)
        finally:
            keep.close()

    return called


def recorded() -> dict[str, Any]:
    """The options of the command at work as JSON, for a later one that goes on with it."""
    context = click.get_current_context()
    kept = {name: value for name, value in context.params.items() if name not in OF_THE_TIME}
    return {name: _plain(value) for name, value in kept.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def _given() -> dict[str, Any]:
    """Those options that were given, by whatever way."""
    context = click.get_current_context()
    names = (name for name in context.params if name not in OPEN)
    return {
        name: _plain(context.params[name])
        for name in names
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None)
    }


def _restored(options: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the options of the command before, as click would make them; those that were given stay."""
    context = click.get_current_context()
    found = {}
    for param in context.command.params:
        name = param.name or ""
        is_given = context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None)
        if name in options and name in params and not is_given and options[name] is not None:
            found[name] = param.type_cast_value(context, options[name])
    return found


def files(folder: Path) -> list[Path]:
    """The files of parts of a run, the newest first."""
    found = [path for path in (folder / IMAGES).glob("unfinished-*.parts") if path.is_file()]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def _open(folder: Path) -> Iterator[Kept | Path]:
    """The unfinished commands on a run, the newest first; the bare path of one that is at work."""
    for path in files(folder):
        try:
            keep = Kept(path)
        except TakenError:
            yield path
        except (ValueError, OSError) as error:
            say(f"warning: {error}", err=True)
        else:
            yield keep


def _chosen(folder: Path) -> Kept:
    """The newest unfinished command on a run that has the options which were given.

    Raises ValueError, saying why, where there is none.
    """
    given, busy, odd = _given(), list[Path](), list[str]()
    for keep in _open(folder):
        if isinstance(keep, Path):
            busy.append(keep)
            continue
        if not isinstance(keep.says.get(OPTIONS), dict):
            keep.clear()  # killed before there was anything to go on with
            continue
        if not (difference := _difference(keep, given)):
            return keep
        odd.append(f"{keep.path} differs in {difference}")
        keep.close()
    if odd:
        raise ValueError(f"no unfinished attack fits: {'; '.join(odd)}")
    if busy:
        raise ValueError(f"the unfinished attack {busy[0]} is at work in another process")
    raise ValueError(f"{folder} has no unfinished attack: start one by npsnn attack {folder}")


def _difference(keep: Kept, given: Mapping[str, Any]) -> str:
    """What tells the command of the parts from this one, as far as options and code say; empty where nothing does."""
    about, options = keep.says.get("about", {}), keep.says[OPTIONS]
    now = {"code": provenance.of_code(), **plugins.recorded()}
    if odd := identity.difference({name: about[name] for name in ("code", "plugins") if name in about}, now):
        return odd
    flags = {param.name: param.opts[-1] for param in click.get_current_context().command.params}
    names = [name for name, value in given.items() if options.get(name) != value]
    return ", ".join(f"{flags[n]} ({_word(options.get(n))} there, {_word(given[n])} here)" for n in names)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(map(_word, value)) or "none"
    return "none" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def hint(folder: Path) -> str | None:
    """Where an unfinished command of the same options could go on, in words; None where there is none."""
    now = {name: value for name, value in recorded().items() if name not in OPEN}
    found = None
    for keep in _open(folder):
        if isinstance(keep, Path):
            continue
        options, code = keep.says.get(OPTIONS, {}), keep.says.get("about", {}).get("code")
        was = {name: value for name, value in options.items() if name not in OPEN}
        if found is None and options and was == now and code == provenance.of_code():
            found = f"{keep.path} holds an unfinished attack of these options: --resume would go on with it"
        keep.close()
    return found
