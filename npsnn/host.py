"""The settings of the whole process: the library leaves them as they were, once a call is done or a record is given."""

import ctypes
import os
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from npsnn.validate import check_count

T = TypeVar("T")

MOST_THREADS = 256
"""The limit of a number of threads on a machine of no more cores."""

ALLOCATOR = {"TRIM_THRESHOLD": (-1, 1 << 30), "TOP_PAD": (-2, 64 << 20), "MMAP_MAX": (-4, 0)}
"""mallopt's parameters by number, and their values: how many bytes of freed memory glibc keeps, by how many it grows,
and that no array is mapped apart, which would be returned as soon as it is freed.

In the environment they are MALLOC_TRIM_THRESHOLD_ and so on.
"""

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_CONTROL_GROUPS = Path("/proc/self/cgroup")


def available_cores() -> int:
    """The cores this process may use: those it may run on, or fewer where a container's quota of time is less."""
    if hasattr(os, "process_cpu_count"):
        cores = os.process_cpu_count() or 1
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, ceil(min(_quotas(), default=cores))))


def _quotas() -> Iterator[float]:
    """The cores' worth of time that each control group of the process allows; none where there are no such groups."""
    try:
        lines = OWN_CONTROL_GROUPS.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "none", "")
        if controllers == "":  # version 2
            folder, files = CONTROL_GROUPS, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            folder, files = CONTROL_GROUPS / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        # A group is held to the quotas of those above it; in a container the path may be one of the machine outside.
        group = folder / path.lstrip("/")
        for above in (group, *group.parents):
            if above.is_relative_to(folder):
                yield from _quota(above, files)


def _quota(group: Path, files: list[str]) -> Iterator[float]:
    try:
        quota, period = (float(n) for n in " ".join((group / file).read_text("utf-8") for file in files).split())
    except (OSError, ValueError):  # no such file, or "max": no quota
        return
    if quota > 0 and period > 0:
        yield quota / period


def check_threads(threads: int) -> None:
    """Raise ValueError unless threads is from 1 to 256, or to the number of cores where there are more."""
    check_count("threads", threads)
    most = max(MOST_THREADS, cores := available_cores())
    if threads > most:
        raise ValueError(
            f"threads must be at most {most}, got {threads}: this process may use {cores} "
            f"core{'s' if cores > 1 else ''}, and more threads than cores only wait for one another"
        )


class _Blas:
    """The BLAS libraries of this process, held to one thread while anybody works: the last to end restores them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.modules = -1
        self.libraries: list[Any] = []
        self.before: list[tuple[Any, int]] = []

    def hold(self) -> None:
        with self.lock:
            try:
                self._find()
                for library in self.libraries[len(self.before) :]:
                    self.before.append((library, library.get_num_threads()))
                    library.set_num_threads(1)
                self.holders += 1
            except BaseException:
                self._restore()
                raise

    def release(self) -> None:
        with self.lock:
            self.holders -= 1
            self._restore()

    def _restore(self) -> None:
        while self.before and not self.holders:
            library, threads = self.before[-1]
            library.set_num_threads(threads)
            self.before.pop()

    def _find(self) -> None:
        """Append the libraries that were loaded since the last time: to look costs more than a step of a small network.

        A library comes with a module that uses it, so that there is nothing new while there are no new modules.
        """
        if self.modules == len(sys.modules):
            return
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            return
        found = ThreadpoolController().select(user_api="blas").lib_controllers
        self.modules = len(sys.modules)
        known = {library.filepath for library in self.libraries}
        self.libraries += [library for library in found if library.filepath not in known]


_BLAS = _Blas()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS libraries to one thread each, in the block.

    Several blocks may hold them at a time, one within another or in threads. After the last block the libraries have as
    many threads as before the first.
    """
    _BLAS.hold()
    try:
        yield
    finally:
        _BLAS.release()


def one_by_one(records: Generator[T, None, None]) -> Iterator[T]:
    """The same records, with BLAS held to one thread while each is made, and let go while the caller has it."""
    try:
        while True:
            with one_blas_thread():
                try:
                    record = next(records)
                except StopIteration:
                    return
            yield record
    finally:
        records.close()


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next array rather than return it to the system page by page.

    Without this setting fresh arrays cost page faults. The setting belongs to the whole process and can't be undone, so
    the command npsnn makes it and the library does not. A program of your own that is to be as fast as the command
    calls this function first. It does nothing without glibc, or where NPSNN_MALLOC=0 is set.
    """
    if os.environ.get("NPSNN_MALLOC") == "0":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter, value in ALLOCATOR.values():
            mallopt(parameter, value)
