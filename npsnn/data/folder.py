"""Where data lies, and how much of a set is there."""

import os
from collections.abc import Iterable
from pathlib import Path


def data_folder(data_dir: Path | str | None = None) -> Path:
    """The folder that holds the data sets: the argument, else $NPSNN_DATA, else npsnn in the user's cache folder."""
    if data_dir is not None:
        return Path(data_dir).expanduser()
    if named := os.environ.get("NPSNN_DATA"):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "npsnn"


def not_there(name: str, folder: Path, missing: Iterable[str], some: bool, holds: str) -> FileNotFoundError:
    """The error for a set of which `missing` files are not in the folder, or, unless `some` are, none; says what to do.

    holds: what a folder that has them holds.
    """
    what = f"is incomplete in {folder} (no {', '.join(missing)})" if some else f"is not in {folder}"
    return FileNotFoundError(
        f"{name} {what}: run 'npsnn data fetch {name}', or pass --data-dir or set NPSNN_DATA to a folder that "
        f"holds {holds}"
    )


def state(found: int, all_of_them: int) -> str:
    """ "missing", "incomplete" or "present", by how many of a set's files are there."""
    return {0: "missing", all_of_them: "present"}.get(found, "incomplete")
