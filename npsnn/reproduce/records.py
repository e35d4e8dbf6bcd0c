"""Records of a reproduction: a file a job, with all figures that came out, from which every table and plot is made.

`results/KEY.json.gz` under the folder of a reproduction holds

    {"job": what was asked, "values": figures, "images": {attack: figures of each image}, "about": versions and data,
     "took": {"seconds": ...}}

A record is the same whatever computed it; `about` and `took` alone say where and how long.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from npsnn import files
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.statistics import paired_interval, wilson_interval
from npsnn.files.json_files import parse_json
from npsnn.reproduce.jobs import Job

K = TypeVar("K")

RESULTS = "results"
"""The folder of the records."""
ENDING = ".json.gz"
LIMIT = 1 << 26
"""The bytes that the content of a record may have."""
LASTING = ("job", "values", "images")
"""The parts of a record that are the same wherever it is computed."""


class MissingError(LookupError):
    """A record that is not there: its job is not done."""


def _record(document: dict[str, Any], path: Path) -> "Record":
    if odd := {*LASTING, "about", "took"} ^ document.keys():
        raise ValueError(f"{path} is no record of a job: it must have {', '.join(LASTING)}, and differs in {min(odd)}")
    return Record(**document)


@dataclass(frozen=True, eq=False)
class Record:
    """What came of a job.

    job: what was asked.
    values: figures by name.
    images: figures of each image by the name of an attack, as {"right": draws that are right, "draws": of so many}.
    about: versions, data and code.
    took: how long it took; no figure of the reproduction but those of costs reads it.
    """

    job: Mapping[str, Any]
    values: Mapping[str, Any]
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    took: Mapping[str, Any] = field(default_factory=dict)

    def accuracy(self, attack: str) -> Accuracy:
        """What an attack leaves; raises MissingError, naming those that there are."""
        if attack not in self.images:
            raise MissingError(f"no attack {attack!r} in the record, expected one of {', '.join(self.images)}")
        of = self.images[attack]
        return Accuracy(np.asarray(of["right"], float) / of["draws"])

    def lasting(self) -> dict[str, Any]:
        """The parts that are the same wherever the record is computed."""
        return {name: json.loads(json.dumps(dict(getattr(self, name)))) for name in LASTING}


class Records:
    """The records in a folder."""

    def __init__(self, folder: Path) -> None:
        """Note the folder, which holds `KEY.json.gz` for each job that is done."""
        self.folder = folder
        self._read: dict[str, Record] = {}

    def path(self, key: str) -> Path:
        """The file of the record of that key."""
        return self.folder / f"{key}{ENDING}"

    def holds(self, job: Job) -> bool:
        """Whether the job is done."""
        return self.path(job.key).is_file()

    def __iter__(self) -> Iterator[str]:
        """The keys of all records, sorted."""
        found = sorted(self.folder.glob(f"*{ENDING}")) if self.folder.is_dir() else []
        yield from (path.name.removesuffix(ENDING) for path in found)

    def __getitem__(self, job: Job | str) -> Record:
        """The record of a job, or of a key; raises MissingError where there is none, ValueError for a damaged one."""
        key = job if isinstance(job, str) else job.key
        if key not in self._read:
            path = self.path(key)
            if not path.is_file():
                raise MissingError(f"{path} is missing: its job is not done")
            self._read[key] = _record(parse_json(files.read_content(path, LIMIT), str(path)), path)
        return self._read[key]

    def there(
        self, jobs: Iterable[tuple[K, Job]], row: Callable[[K], Any] = lambda beside: beside
    ) -> Iterator[tuple[K, Record]]:
        """The records of the rows whose jobs are all done, each with what stands beside its job.

        A row of which a seed is missing is left out, as seeds are paired by their order.
        row: from what stands beside a job to its row.
        """
        asked = list(jobs)
        lacking = {row(beside) for beside, job in asked if not self.holds(job)}
        yield from ((beside, self[job]) for beside, job in asked if row(beside) not in lacking)

    def write(self, job: Job, record: Record) -> None:
        """Keep a record, whole or not at all; equal records give equal bytes."""
        document = {name: getattr(record, name) for name in (*LASTING, "about", "took")}
        text = json.dumps(document, allow_nan=False, separators=(",", ":"), sort_keys=True)
        files.write_atomic(self.path(job.key), gzip.compress(text.encode(), mtime=0))


@dataclass(frozen=True)
class Seeds:
    """A figure over seeds: the value of each seed, and a 95 % interval of the mean over other seeds and other images.

        low = m - √((m - l_S)² + (m - l_N)²),    high = m + √((h_S - m)² + (h_N - m)²)

    with the mean m, Student's interval over seeds l_S to h_S, and the interval over images l_N to h_N of their means
    over seeds. What differs from seed to seed on one image counts in both, so that the interval is rather too wide.
    With one seed the interval is over images alone, without images over seeds alone, and unknown without both. Source:
    Zou and Donner 2008, Statistics in Medicine 27.

    values: (S,).
    each: figures of each image for each seed, or empty.
    """

    values: tuple[float, ...]
    each: tuple[np.ndarray, ...] = ()

    @staticmethod
    def of(accuracies: Iterable[Accuracy]) -> "Seeds":
        """Accuracies of networks that differ by their seed."""
        found = list(accuracies)
        return Seeds(tuple(a.mean for a in found), tuple(a.each for a in found))

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The interval, of accuracies within 0 and 1; None where one value says nothing of its error."""
        found = self._interval(wilson_interval)
        return found if found is None or not self.each else (max(found[0], 0.0), min(found[1], 1.0))

    def _interval(self, over_images: Callable[[np.ndarray], tuple[Any, Any]]) -> tuple[float, float] | None:
        """The interval; over_images: that of the mean of some images."""
        ends = [student(self.values)] if len(self.values) > 1 else []
        if self.each and len({len(each) for each in self.each}) == 1:
            low, high = over_images(np.mean(np.stack(self.each), axis=0))
            ends.append((float(low), float(high)))
        if not ends:
            return None
        lows, highs = zip(*ends, strict=True)
        return (
            self.mean - float(np.hypot.reduce([self.mean - low for low in lows])),
            self.mean + float(np.hypot.reduce([high - self.mean for high in highs])),
        )

    def less(self, other: "Seeds") -> "Difference":
        """This less another, seed by seed and image by image, where both have them."""
        values = tuple(a - b for a, b in zip(self.values, other.values, strict=False))
        paired = len(self.each) == len(other.each) and all(
            len(a) == len(b) for a, b in zip(self.each, other.each, strict=True)
        )
        return Difference(values, tuple(a - b for a, b in zip(self.each, other.each, strict=True)) if paired else ())


class Difference(Seeds):
    """A difference of two figures over seeds; its interval over images is that of paired answers."""

    @property
    def ci95(self) -> tuple[float, float] | None:
        return self._interval(paired_interval)


def student(values: Iterable[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of some values.

    Source: Student 1908.
    """
    from scipy.special import stdtrit

    found = np.asarray(list(values))
    half = float(stdtrit(len(found) - 1, 0.975)) * float(found.std(ddof=1)) / len(found) ** 0.5
    return float(found.mean()) - half, float(found.mean()) + half
