"""The folder of the data sets, and how many files of a set are in it."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from npsnn.files.paths import user_path

Progress = Callable[[int, int | None], None]
"""Told the bytes received so far and, where the server says, the bytes in all."""


class NoFolderError(ValueError):
    """There is no folder for data sets, because the user has no home directory."""


def data_folder(data_dir: Path | str | None = None) -> Path:
    """The folder that holds the data sets: the argument, else $NPSNN_DATA, else npsnn in the user's cache folder.

    The cache folder is $XDG_CACHE_HOME, else the platform's: ~/.cache, on macOS ~/Library/Caches, on Windows
    %LOCALAPPDATA%.

    data_dir: the folder, in which a leading ~ is a home directory, or None.
    Raises NoFolderError where the cache folder is needed and there is no home directory, ValueError where nobody knows
    the home directory of a leading ~.
    """
    if data_dir is not None:
        return user_path(data_dir)
    if named := os.environ.get("NPSNN_DATA"):
        return user_path(named)
    try:
        return _cache_folder() / "npsnn"
    except RuntimeError as error:
        raise NoFolderError(
            "there is no home directory to keep data sets in: pass --data-dir or set NPSNN_DATA to a folder"
        ) from error


def _cache_folder() -> Path:
    windows = sys.platform == "win32"
    for variable in ("XDG_CACHE_HOME", *(["LOCALAPPDATA"] if windows else [])):
        # The XDG specification has relative paths ignored.
        if (folder := Path(os.environ.get(variable, ""))).is_absolute():
            return folder
    if windows:
        return Path.home() / "AppData" / "Local"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def not_there(
    name: str, folder: Path, missing: Iterable[str], some: bool, holds: str, fetched: bool = True
) -> FileNotFoundError:
    """The error for a set whose files are not all in the folder; its message says what to do.

    name: of the set.
    folder: that was searched.
    missing: names of the missing files.
    some: whether any file of the set is there.
    holds: what a folder that has the set holds.
    fetched: whether npsnn fetches the set.
    """
    what = f"is incomplete in {folder} (no {', '.join(missing)})" if some else f"is not in {folder}"
    way = f": run 'npsnn data fetch {name}', or" if fetched else ", and npsnn does not fetch this set:"
    return FileNotFoundError(f"{name} {what}{way} pass --data-dir or set NPSNN_DATA to a folder that holds {holds}")


def state(found: int, all_of_them: int) -> str:
    """ "missing", "incomplete" or "present".

    found: the number of files that are there.
    all_of_them: the number of files of the set.
    """
    return {0: "missing", all_of_them: "present"}.get(found, "incomplete")
