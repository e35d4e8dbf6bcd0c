"""The table of `npsnn certify --save`: rows as they come, and what they were computed with beside them."""

from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from npsnn.cli.runs import Run
from npsnn.files import check_writable, json_files, lock, writing

SAME = ("parameters", "dataset", "other_data", "conv")
"""What of a run's record must be the same for rows to be of one table; the number of threads changes nothing."""


class Kept:
    """The rows of --save on their way to the disk; nothing without a file.

    The file FILE.tsv.json says what the rows were computed with. A table is gone on with where nothing of it differs.
    From `begin` to the end of `with` the table is this command's alone, where the system has locks.
    """

    def __init__(self, path: Path | None, run: Run, about: dict[str, Any]) -> None:
        """path: of the table; about: what the rows were computed with, beside the run itself."""
        self.path, self.about = path, about
        self._claimed: BinaryIO | None = None
        known = {name: run.about[name] for name in SAME} | about
        self.of = known | {"device": "gpu" if run.classifier.on_gpu else "cpu"}

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *error: object) -> None:
        if self._claimed is not None:
            self._claimed.close()

    @property
    def beside(self) -> Path:
        """The file that says what the rows were computed with."""
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.json")

    def begin(self, labels: Any) -> list[Any]:
        """The rows that the table has already, of the first images.

        Raises ValueError for a file that is another table, or that another command writes, and OSError for one that
        cannot be written.
        """
        if self.path is None:
            return []
        from npsnn.certify import table

        if not self.path.parent.is_dir():
            raise ValueError(f"--save must name a file in a folder that exists, got {self.path}")
        check_writable(self.path)
        self._claim()
        rows = table.rows(self.path)
        if rows:
            self._check(rows, labels)
        else:
            json_files.write_json(self.beside, self.of)
        table.cut(self.path)
        return rows[: len(labels)]

    def _claim(self) -> None:
        """Make the table this command's, begun empty where there is none; ValueError where it is another's."""
        assert self.path is not None
        with writing(self.path):
            self._claimed = self.path.open("ab")
        free = True
        with suppress(OSError):  # a file system without locks: two commands are not told from one another there
            free = lock(self._claimed.fileno())
        if not free:
            raise ValueError(f"--save must name a file that nobody writes: another command is at work on {self.path}")

    def _check(self, rows: list[Any], labels: Any) -> None:
        before = json_files.read_json(self.beside) if self.beside.exists() else {}
        odd = [name for name in self.of if before.get(name) != self.of[name]]
        if odd:
            raise ValueError(f"--save must name a new file, {self.path} was computed with another {', '.join(odd)}")
        if any(row.index != n or (n < len(labels) and row.label != labels[n]) for n, row in enumerate(rows)):
            raise ValueError(f"--save must name a new file, the rows of {self.path} are of other images")

    def row(self, row: Any) -> None:
        """Keep one certificate; OSError, naming the file, where that fails."""
        if self.path is not None:
            from npsnn.certify import table

            table.append(self.path, row)

    def in_words(self, images: int, finished: int) -> str:
        """Say what an interrupt leaves of so many images."""
        if self.path is None or not finished:
            kept = f"{finished:,} of {images:,} images are certified"
            without = ", and nothing is kept without --save" if self.path is None else ""
            return f"{kept}{without}; start npsnn certify again"
        return f"{finished:,} of {images:,} rows are in {self.path}; the same command goes on"
