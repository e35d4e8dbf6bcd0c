"""Jobs of a moment, which other processes can import."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Errand:
    """A job that leaves a file.

    key: name of the file.
    folder: where it is left.
    way: "" for a job that is done, "dies" for one whose process ends amid it, else what it fails by.
    """

    key: str
    folder: Path
    way: str = ""
    needs: "tuple[Errand, ...]" = ()


def is_done(errand: Errand) -> bool:
    return (errand.folder / errand.key).exists()


def do(errand: Errand) -> str:
    """Do it; a job that dies does so once, when it is done for the first time."""
    begun = errand.folder / f"{errand.key}.begun"
    if errand.way == "dies" and not begun.exists():
        begun.touch()
        os._exit(9)
    if errand.way not in ("", "dies"):
        return errand.way
    (errand.folder / errand.key).write_text("done")
    return ""
