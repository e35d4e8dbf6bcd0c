"""Certificates as a table of tab-separated values, a row for each image: what `npsnn certify --save` writes."""

import os
from contextlib import suppress
from pathlib import Path

from npsnn.certify.certificates import ABSTAIN, Certificate, Certificates
from npsnn.files import read_bytes, writing
from npsnn.interrupts import uninterrupted

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time", "lower", "answer")
"""The first six are those of locuslab/smoothing, whose programs read the table; time is in seconds."""
LIMIT = 1 << 24
"""The bytes that a table may have: eight times what 26,000 images take."""


def line(row: Certificate) -> str:
    """A certificate as a line of the table; numbers come back exactly, but for the time."""
    cells = (row.index, row.label, row.predicted, repr(row.radius), int(row.correct), f"{row.seconds:.3f}")
    return "\t".join(map(str, (*cells, repr(row.lower), row.answer))) + "\n"


HEADER = "\t".join(COLUMNS) + "\n"


def append(path: Path, row: Certificate) -> None:
    """Add a certificate to a table, which is begun where there is none.

    path: of the table.
    row: the certificate.
    Raises OSError, naming the file, where the line cannot be written; the file then is as long as before.
    """
    with uninterrupted(), writing(path), path.open("ab") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write(((HEADER if not size else "") + line(row)).encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(path, size)
            raise


def read(path: str | os.PathLike[str]) -> Certificates:
    """The certificates of a table; a last line that a crash tore is left out.

    path: of the table, as `npsnn certify --save` writes it.
    Raises OSError where the file cannot be read, ValueError, naming it, for another table and for one without a row.
    """
    found = rows(Path(path))
    if not found:
        raise ValueError(f"{path} must hold at least one image, got none")
    return Certificates(tuple(found))


def rows(path: Path) -> list[Certificate]:
    """The certificates of a table, in order, perhaps none; raises as `read`."""
    text = read_bytes(path, LIMIT).decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1].splitlines()
    if not whole and HEADER.startswith(text):
        return []
    if not whole or whole[0] != HEADER.rstrip("\n"):
        raise ValueError(f"{path} must be a table with the columns {', '.join(COLUMNS)}, got {text[:80]!r}")
    found = [_row(path, number, cells.split("\t")) for number, cells in enumerate(whole[1:], start=2)]
    lines: dict[int, int] = {}
    for number, row in enumerate(found, start=2):
        if lines.setdefault(row.index, number) != number:
            raise ValueError(f"{path}, line {number}, has the image {row.index} of line {lines[row.index]} again")
    return found


def _row(path: Path, number: int, cells: list[str]) -> Certificate:
    try:
        index, label, predicted, radius, correct, seconds, lower, answer = cells
        row = Certificate(
            int(index), int(label), int(predicted), float(radius), float(lower), int(answer), float(seconds)
        )
        sound = row.radius >= 0 and 0 <= row.lower <= 1 and row.predicted >= ABSTAIN and row.correct == int(correct)
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"{path}, line {number}, is no row of certificates, got {chr(9).join(cells)[:80]!r}")
    return row


def cut(path: Path) -> None:
    """Take a torn last line off a table, so that more rows can follow; OSError, naming the file, where that fails."""
    content = read_bytes(path, LIMIT)
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with writing(path):
            os.truncate(path, whole)
