"""Paths as people write them."""

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with the home directory in the place of a leading ~ or ~user.

    Raises ValueError where nobody knows that home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no home directory for {path}: set HOME, or write the whole path") from error
