"""Plugins: a user's module, which enters its layers, models, losses and attacks in the tables.

npsnn.load_plugin("mine.py")

A run records the name and the SHA-256 of each plugin. Its files are never executed: who loads the run loads the plugin.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from npsnn import files
from npsnn.files.paths import user_path
from npsnn.tables import every_entry
from npsnn.words import nearest
from npsnn.workers import pool

GROUP = "npsnn.plugins"
"""The entry points by which installed packages name their modules."""
LIMIT = 1 << 20
"""The bytes that a plugin may have."""
SHOWN = 12
"""The hexadecimal digits of a SHA-256 that a message shows."""


@dataclass(frozen=True)
class Plugin:
    """A plugin as runs record it.

    name: of the file, without .py, or of the entry point.
    sha256: of the content, in hexadecimal digits.
    """

    name: str
    sha256: str


_LOADED: dict[str, tuple[Plugin, str]] = {}
"""The plugins of this process by name, each with the place that it was read from."""
_WARNED: set[tuple[Plugin, Plugin]] = set()
"""The differences that a warning has told."""


def load_plugin(path: str | os.PathLike[str]) -> Plugin:
    """Execute a user's module, once for each content, so that its classes are in the tables.

    path: of the file. Its name without .py is the name of the plugin.
    Other processes that compute for this one read the same content.
    Raises FileNotFoundError or another OSError for a file that cannot be read, and ValueError, naming the file, the
    line and the error, for one that cannot be executed, or whose name another plugin has.
    """
    file = user_path(path)
    if not file.is_file():
        near = nearest(file.name, (p.name for p in file.parent.glob("*.py"))) if file.parent.is_dir() else ""
        raise FileNotFoundError(f"no file {file}{near}")
    source = files.read_bytes(file, LIMIT)
    plugin, place = Plugin(file.stem, sha256(source).hexdigest()), str(file.resolve())
    known = _LOADED.get(plugin.name)
    if known and known[1] != place:
        raise ValueError(f"{file}: there is another plugin {plugin.name}, {known[1]}: rename one of the two")
    if known is None or known[0] != plugin:
        with _entering(str(file)):
            execute(plugin.name, str(file), source)
        _LOADED[plugin.name] = plugin, place
        pool.FIRST[plugin.name] = execute, (plugin.name, str(file), source)
    return plugin


def execute(name: str, file: str, source: bytes) -> None:
    """Execute a plugin as the module that pickles of its classes name; raises ValueError as `load_plugin`."""
    module = ModuleType(f"npsnn_plugin_{name}")
    module.__file__ = file
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        with _errors_at(file):
            exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
        raise


@contextmanager
def _entering(where: str) -> Iterator[None]:
    """Warn where nothing is entered in a table in the block but npsnn's own."""
    before = _entered()
    yield
    if not _entered() - before:
        warnings.warn(
            f"{where} enters nothing in a table: put @attack, @layer, @loss, @model or another decorator of npsnn "
            "above a class",
            stacklevel=4,
        )


def _entered() -> set[int]:
    from npsnn.data.own import LOADERS

    entries = [entry for entry in every_entry() if not entry.__module__.startswith("npsnn.")]
    return {id(entry) for entry in [*entries, *LOADERS.values()]}


@contextmanager
def _errors_at(file: str) -> Iterator[None]:
    """Whatever a plugin raises becomes a ValueError with the file, its line and the error; as it is to debug npsnn."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if os.environ.get("NPSNN_DEBUG"):
            raise
        line, said = _place(error, file)
        where = f"{file}, line {line}" if line else file
        whole = f"{where}: {type(error).__name__}: {' '.join(said.split())}"
        raise ValueError(files.excerpt(whole.removesuffix(": "))) from error


def _place(error: BaseException, file: str) -> tuple[int | None, str]:
    """The line of the file that an error comes from, if any, and what it says."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno, error.msg
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None, str(error)


def place_of(error: BaseException) -> str:
    """The file and line of a plugin that an error comes from, in this process or another; empty where there is none."""
    ours = {where for _, where in _LOADED.values()} | {str(arguments[1]) for _, arguments in pool.FIRST.values()}
    cause: BaseException | None = error
    while cause is not None:
        lines = [(frame.filename, str(frame.lineno)) for frame in extract_tb(cause.__traceback__)]
        for note in getattr(cause, "__notes__", ()):
            lines += re.findall(r'File "([^"]+)", line (\d+)', note)
        if found := [f"{file}, line {line}" for file, line in lines if file in ours]:
            return found[-1]
        cause = cause.__cause__
    return ""


def load_installed() -> list[Plugin]:
    """Import the modules that installed packages name as entry points `npsnn.plugins`.

    Raises ValueError, naming the entry point and the error, for one that cannot be imported.
    """
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group=GROUP):
        if entry.name not in _LOADED:
            where = f"installed plugin {entry.name}"
            with _entering(where), files.blamed(where), _errors_at(_file_of(entry.module)):
                file = entry.load().__file__
            _LOADED[entry.name] = Plugin(entry.name, sha256(Path(file).read_bytes()).hexdigest()), file
        found.append(_LOADED[entry.name][0])
    return found


def _file_of(module: str) -> str:
    """The file of a module that may fail when it is imported; its name where there is no file."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return module
    return spec.origin if spec and spec.origin else module


def recorded() -> dict[str, list[dict[str, str]]]:
    """The entry `plugins` of a record, with the name and the SHA-256 of each; no entry where there are none."""
    return {"plugins": [asdict(plugin) for plugin, _ in _LOADED.values()]} if _LOADED else {}


def _of(about: Mapping[str, Any]) -> list[Plugin]:
    """The plugins that a record names."""
    entries = about.get("plugins")
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    pairs = [(entry.get("name"), entry.get("sha256")) for entry in found]
    return [Plugin(name, digest) for name, digest in pairs if isinstance(name, str) and isinstance(digest, str)]


def warn_of_others(about: Mapping[str, Any]) -> None:
    """Warn, once for each difference, of a plugin that has another content than when the run was trained.

    about: the run's config.json.
    """
    for was in _of(about):
        now = _LOADED.get(was.name)
        if now and now[0] != was and (now[0], was) not in _WARNED:
            _WARNED.add((now[0], was))
            warnings.warn(
                f"plugin {was.name} has SHA-256 {now[0].sha256[:SHOWN]}, but the run was trained with "
                f"{was.sha256[:SHOWN]}: its classes may compute something else",
                stacklevel=3,
            )


@contextmanager
def blamed(about: Mapping[str, Any]) -> Iterator[None]:
    """A ValueError says as well which plugins the run was trained with, where one of them is not loaded.

    about: the run's config.json.
    """
    try:
        yield
    except ValueError as error:
        missing = [f"{was.name} (SHA-256 {was.sha256[:SHOWN]})" for was in _of(about) if was.name not in _LOADED]
        if not missing:
            raise
        said = str(error) if str(error).endswith("?") else f"{error}."
        which = f"plugin {missing[0]}, which is" if len(missing) == 1 else f"plugins {', '.join(missing)}, which are"
        raise ValueError(f"{said} The run was trained with the {which} not loaded") from error
