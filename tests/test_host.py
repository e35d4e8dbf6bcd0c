"""What belongs to the whole process is as it was: BLAS's threads, malloc, and how many cores there are."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from npsnn import Classifier, attacks, host, models, train
from npsnn.data import Dataset, Split
from npsnn.host import available_cores, keep_freed_memory, one_blas_thread
from npsnn.train import epochs


def blas_threads() -> list[int]:
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


@pytest.fixture
def two() -> Iterator[list[int]]:
    """BLAS of two threads, as a host of more cores has it."""
    with threadpool_limits(2, "blas"):
        yield blas_threads()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    rng = np.random.default_rng(0)
    train, test = (Split(rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n)) for n in (48, 12))
    return Dataset("noise", train, test, 10, {})


def training(dataset: Dataset, threads: int = 2, **options: Any) -> Iterator[Any]:
    return train.fit(train.Config(batch_size=16, epochs=2, **{"sigma": 0.5} | options), dataset, threads=threads)


def test_interleaved_trainings_leave_blas_alone_at_every_record(two: list[int], digits: Dataset) -> None:
    first, second = training(digits), training(digits)
    for _ in range(3):
        for records in (first, second):
            assert next(records)
            assert blas_threads() == two
    first.close()  # type: ignore[attr-defined]
    assert blas_threads() == two
    next(second)
    del first, second
    assert blas_threads() == two


def test_a_training_that_fails_leaves_blas_alone(two: list[int], digits: Dataset) -> None:
    with pytest.raises(train.TrainingError), np.errstate(all="ignore"):
        list(training(digits, lr=1e30, optimizer="sgd", loss="mse"))
    assert blas_threads() == two


def test_blas_is_held_while_a_record_is_made(two: list[int], digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of a step is not done by the workers: its sums would else depend on the number of cores."""
    seen: list[int] = []
    updated = epochs.Trainer.updated

    def spied(*args: Any) -> Any:
        seen.extend(blas_threads())
        return updated(*args)

    monkeypatch.setattr(epochs.Trainer, "updated", spied)
    next(training(digits))
    assert seen and set(seen) == {1}


def test_threads_are_checked_before_a_folder_is_made(digits: Dataset, tmp_path: Path) -> None:
    for threads in (0, 20_000):
        with pytest.raises(ValueError, match=f"threads must be .*, got {threads}"):
            train.fit(train.Config(), digits, tmp_path / "run", threads)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_attacks_in_several_threads_leave_blas_alone(two: list[int], digits: Dataset) -> None:
    model = models.lenet5(sigma=0.5)
    network = Classifier(model, model.init(np.random.default_rng(0)))
    images = digits.test.images, digits.test.labels
    plan, seen = attacks.Plan(("fgsm", "bim"), (0.1, 0.2), eot=1), list[list[int]]()

    def attack() -> None:
        for _ in attacks.evaluate(network, *images, plan):
            seen.append(blas_threads())

    threads = [threading.Thread(target=attack) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12 and blas_threads() == two
    suspended = attacks.evaluate(network, *images, plan)
    next(suspended)
    assert blas_threads() == two


def test_the_last_holder_restores_what_the_first_found(two: list[int]) -> None:
    with one_blas_thread():
        with suppress(KeyError), one_blas_thread():
            assert set(blas_threads()) == {1}
            raise KeyError
        assert set(blas_threads()) == {1}
    assert blas_threads() == two


LATE = """
import json, sys
from threadpoolctl import threadpool_info, threadpool_limits
from npsnn.host import one_blas_thread
def blas():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
import numpy
with one_blas_thread():
    early = blas()
import scipy.linalg
threadpool_limits(2, "blas")
with one_blas_thread():
    late = blas()
print(json.dumps([early, late, blas()]))
"""


@pytest.mark.slow
def test_a_blas_that_is_loaded_later_is_held_too() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    early, late, after = eval(done.stdout)
    assert set(early) == set(late) == {1} and set(after) == {2}
    assert len(late) >= len(early)


FREED = """
import sys, numpy as np
from pathlib import Path
from npsnn import Classifier, attacks, models, train
from npsnn.data import Dataset, Split
rng = np.random.default_rng(0)
split = Split(rng.integers(0, 256, (24, 1, 28, 28), np.uint8), rng.integers(0, 10, 24))
if sys.argv[1] == "train":
    next(train.fit(train.Config(batch_size=8), Dataset("noise", split, split, 10, {}), threads=1))
else:
    network = Classifier(model := models.lenet5(sigma=0.5), model.init(rng))
    attacks.accuracy(network, split.images, split.labels)
    list(attacks.evaluate(network, split.images, split.labels, attacks.Plan(("fgsm",), eot=1)))
before = int(Path("/proc/self/statm").read_text().split()[1])
arrays = [np.ones(20 << 20, np.float32)]
del arrays
print((int(Path("/proc/self/statm").read_text().split()[1]) - before) * 4096)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("what", ["train", "attack"])
def test_the_library_leaves_malloc_alone(what: str) -> None:
    """An array of 80 MB goes back to the system when it is freed."""
    done = subprocess.run([sys.executable, "-c", FREED, what], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20 << 20


def test_memory_settings_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory()
    monkeypatch.setenv("NPSNN_MALLOC", "0")
    monkeypatch.setattr(host.ctypes, "CDLL", lambda name: pytest.fail("the C library was asked"))
    keep_freed_memory()


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of eight cores, whose control groups are files in this folder."""
    for name in ("process_cpu_count", "cpu_count"):
        monkeypatch.setattr(host.os, name, lambda: 8, raising=False)
    monkeypatch.setattr(host, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(host, "OWN_CONTROL_GROUPS", tmp_path / "cgroup")
    return tmp_path


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
        ("0::/pod/box\n", {"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "max 100000\n"}, 3),
        ("0::/outside\n", {"cpu.max": "400000 100000\n"}, 4),
        ("4:cpu,cpuacct:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("4:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("0::/\n", {"cpu.max": "nonsense\n"}, 8),
        ("nonsense\n", {}, 8),
        (None, {}, 8),
    ],
)
def test_a_quota_of_time_counts_as_cores(
    eight_cores: Path, groups: str | None, files: dict[str, str], cores: int
) -> None:
    if groups is not None:
        (eight_cores / "cgroup").write_text(groups)
    for name, text in files.items():
        (eight_cores / name).parent.mkdir(parents=True, exist_ok=True)
        (eight_cores / name).write_text(text)
    assert available_cores() == cores
