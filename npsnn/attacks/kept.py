"""Parts of attacks that are kept in a file while the attacks are unfinished, so that nothing is computed twice.

    with attacks.Kept("unfinished.parts") as keep:
        for result in attacks.robust_accuracy(network, images, labels, some, keep=keep):
            print(result.attack, result.accuracy)

A part is what one job makes of one micro-batch: adversarial images, or how often images are read rightly. A part is
known by a digest of all that it depends on: the job with its network, the images, and the random numbers. So a part
that is found is the part that would be computed, to the last bit.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from npsnn.attacks import identity
from npsnn.attacks.identity import UnnamedError
from npsnn.attacks.parts import Parts, Waiting
from npsnn.classifier import Classifier
from npsnn.files.paths import user_path
from npsnn.streams import Stream
from npsnn.workers.base import each_slice

_AT_WORK: ContextVar["Kept | None"] = ContextVar("kept", default=None)

Part = Callable[[slice], tuple[np.ndarray, np.ndarray, Stream]]


def at_work() -> "Kept | None":
    """Where the parts of this thread's work are kept, if anywhere."""
    return _AT_WORK.get()


def exact(value: float) -> str:
    """The number in as few digits as name it and no other: 0.1, 0, 0.03137254901960784."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def named(label: str, says: Mapping[str, float], norm: str, eps: float) -> str:
    """A name for an attack that tells it from all others of its plan: fgsm-linf-0.1, cw-kappa-0.5-l2-inf."""
    return "-".join([label, *(part for name, value in says.items() for part in (name, exact(value))), norm, exact(eps)])


def spared() -> float:
    """The seconds that the parts took which were found so far, and not computed."""
    kept = at_work()
    return kept.spared if kept else 0.0


class Kept:
    """The parts of one call of `robust_accuracy` in a file, which a later call with the same arguments goes on with.

    As a context manager it removes the file where the block ends well, and otherwise leaves it for the next try.

    path: of the file, which is made when a call begins.
    spared: the seconds that the parts took which were found in this process's calls.
    told: is given the number of images of each part that is found, in the place of the call's progress.
    """

    def __init__(self, path: str | os.PathLike[str], anew: bool = False) -> None:
        """Open the file where there is one, or note its name.

        path: of the file, such as "unfinished.parts".
        anew: whether a file of another call is begun again, with a warning, where it would otherwise be refused.
        Raises OSError where the file cannot be opened, and ValueError where it is no such file, or in use.
        """
        self.path = user_path(path)
        self.spared = 0.0
        self.told: Callable[[int], None] | None = None
        self._anew = anew
        self._parts = Parts(self.path)
        self._unnamed = False

    @property
    def done(self) -> dict[str, int]:
        """The number of images that each attack is done with, by its name: {"pgd-linf-0.1": 640}."""
        return dict(self._parts.images)

    @property
    def says(self) -> dict[str, Any]:
        """What the file says of its parts, by name: "about" the call that they are of, and what `say` was given."""
        return dict(self._parts.heads)

    @property
    def moved(self) -> bool:
        """Whether the parts are of processors that round differently."""
        return len(self.says.get("rounding", [])) > 1

    def say(self, **says: Any) -> None:
        """Keep something of all parts, as JSON, in the place of what had its name."""
        self._parts.say(**says)

    def begin(self, network: Classifier, x: np.ndarray, labels: np.ndarray, attacks: Any, judging: Any) -> None:
        """Begin a call, or go on with the one that the file is of; `robust_accuracy` does so. Again is no more.

        network: with the noise that it is defended by.
        x: (N, C, H, W), floats in [0, 1].
        labels: (N,).
        attacks: what is run, as a list.
        judging: how success is judged.
        Raises ValueError, naming what differs, where the file is of another call and may not be begun `anew`, and for a
        network that no file could hold. Warns where this processor rounds otherwise than the one before, and where the
        file cannot be written.
        """
        now, rounds = identity.of_call(network, x, labels, attacks, judging), identity.rounding(network, x, labels)
        known, before = self.says.get("about"), self.says.get("rounding", [])
        if known is not None and (odd := identity.difference(known, now)):
            differs = f"{self.path} is of attacks that differ in {odd}"
            if not self._anew:
                raise ValueError(f"{differs}: finish or remove it, or name another")
            warnings.warn(f"{differs}: they begin again", stacklevel=3)
            self._parts.remove()
            self._parts, known = Parts(self.path), None
        if known is None:
            self._parts.begin()
            self.say(about=now, rounding=[rounds])
        elif rounds not in before[-1:]:
            warnings.warn(
                f"this processor, GPU or BLAS rounds otherwise than the one that {self.path} was begun on: the images "
                "that are left may come out otherwise than they would have there",
                stacklevel=3,
            )
            self.say(rounding=[*before, rounds])

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Keep the parts of all that this thread attacks and judges in the block."""
        token = _AT_WORK.set(self)
        try:
            yield
        except BaseException:
            self.flush()
            raise
        finally:
            _AT_WORK.reset(token)

    def over(self, results: Iterator[Any]) -> Iterator[Any]:
        """The results, each computed with its parts kept."""
        while True:
            with self.at_work():
                result = next(results, None)
            if result is None:
                return
            yield result

    def parts(
        self,
        network: Classifier,
        job: Callable[..., Any],
        part: Part,
        slices: list[slice],
        progress: Callable[[int], None] | None = None,
    ) -> list[Any]:
        """job(*part(s)) of each slice, in order; what is found is not computed.

        network: whose workers compute what is not found.
        progress: called with the number of images of each part that is done.
        """
        keys = self._keys(job, part, slices)
        known, seconds = self._parts.load([key for key in keys if key in self._parts])
        self.spared += seconds
        told = progress and (self.told or progress)
        left = list[slice]()
        for s, key in zip(slices, keys, strict=True):
            if key not in known:
                left.append(s)
            elif told:
                told(s.stop - s.start)
        note = self._note(
            Waiting(str(getattr(job, "name", ""))), dict(zip((s.start for s in slices), keys, strict=True))
        )
        with network.workers() as workers:
            fresh = iter(each_slice(workers, job, part, left, progress, note) if left else ())
        return [known[key] if key in known else next(fresh) for key in keys]

    def _note(self, waiting: Waiting, keys: dict[int, str]) -> Callable[[slice, Any], None]:
        """What keeps the part of a slice; keys: the digest of each, by where it starts."""
        since = perf_counter()

        def note(s: slice, result: Any) -> None:
            nonlocal since
            now = perf_counter()
            if keys[s.start]:
                self._parts.take(waiting, keys[s.start], s.stop - s.start, result, now - since)
            since = now

        return note

    def _keys(self, job: Callable[..., Any], part: Part, slices: list[slice]) -> list[str]:
        """The digest of each part; "" where nobody could tell that a later job is the same."""
        if not slices:
            return []
        try:
            own = identity.of_job(job, part(slices[0])[2])
        except UnnamedError as error:
            if not self._unnamed:
                warnings.warn(f"some parts cannot be kept, and would be computed again: {error}", stacklevel=2)
            self._unnamed = True
            return [""] * len(slices)
        return [identity.of_part(own, *part(s)) for s in slices]

    def flush(self) -> None:
        """Write what is done to the disk."""
        self._parts.flush(to_disk=True)

    def close(self) -> None:
        """Leave the file to others, with all that is done."""
        self.flush()
        self._parts.close()

    def clear(self) -> None:
        """Remove the file: all is done."""
        self._parts.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.clear()
        else:
            self.close()
