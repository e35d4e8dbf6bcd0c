"""Settings of Hypothesis (few examples, always the same), the double of a GPU, and the commands."""

import importlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import cupy_double
import numpy as np
import plugin_files
import pytest
from calling import Npsnn, Outcome
from hypothesis import settings

from npsnn import tables
from npsnn.cli.main import main
from npsnn.data import digits
from npsnn.streams import Stream

settings.register_profile("npsnn", deadline=None, max_examples=15, derandomize=True)
settings.register_profile("fast", settings.get_profile("npsnn"), max_examples=5)
settings.load_profile("npsnn")


def pytest_configure(config: pytest.Config) -> None:
    """Takes fewer examples where the slow tests are left out."""
    if config.option.markexpr == "not slow":
        settings.load_profile("fast")


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test looks at what a loss of power leaves: a descriptor must be open, and that is all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_width() -> Iterator[None]:
    """No terminal is as wide as the variable says that readline sets, which pytest and its processes import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The double of CuPy in its place; with NPSNN_TEST_CUPY=1, as scripts/gpu-check sets it, CuPy itself."""
    if os.environ.get("NPSNN_TEST_CUPY") == "1":
        return importlib.import_module("cupy")
    return cupy_double.install(monkeypatch)


@pytest.fixture
def double(cupy: ModuleType) -> ModuleType:
    """The double, for tests of what a real CuPy would neither count nor refuse."""
    if not isinstance(cupy, cupy_double.Module):
        pytest.skip("a test of or by the double alone")
    return cupy


@pytest.fixture
def same_draws(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws of a CPU are other ones than those of a GPU: here the CPU is given the GPU's."""

    def samples(self: Stream, shape: tuple[int, ...], kind: str, dtype: Any) -> Any:
        return self._keyed(np.empty(shape, dtype), kind)

    monkeypatch.setattr(Stream, "_samples", samples)


@pytest.fixture
def npsnn(capsys: pytest.CaptureFixture[str]) -> Npsnn:
    """Calls the command line in this process."""

    def call(*args: object) -> Outcome:
        capsys.readouterr()
        code: object = 0
        try:
            main([str(a) for a in args])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Outcome(int(str(code or 0)), captured.out, captured.err)

    return call


@pytest.fixture
def few_digits(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits are a fortieth, in this process and in a folder of their own: most of a tiny run is spent on them."""
    monkeypatch.setenv("NPSNN_DATA", str(tmp_path_factory.mktemp("few")))
    monkeypatch.setattr(digits, "SIZES", {"train": 300, "test": 50})


@pytest.fixture
def no_plugins() -> Iterator[None]:
    """Plugins that a test loads are forgotten after it."""
    yield
    plugin_files.forget()


@pytest.fixture
def no_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables know of nothing that was entered before, and what the test enters is gone after it."""
    monkeypatch.setattr(tables, "_TYPES", {})
    monkeypatch.setattr(tables, "_TABLES", {})
