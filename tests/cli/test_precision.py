"""--tf32: one switch for every product of a command, which the command's results record."""

import json
from pathlib import Path

import pytest
from calling import Npsnn
from cupy_double import Device, Module

from npsnn.gpu import blas

COMMANDS = "evaluate --limit 20", "attack --fgsm --limit 4", "checklist --limit 4", "train --epochs 1"


@pytest.mark.parametrize("command", COMMANDS)
def test_tf32_without_a_gpu_is_wrong_usage(npsnn: Npsnn, trained: Path, command: str) -> None:
    line = npsnn(*command.split(), "--runs-dir", trained, "--tf32").error_line(2)
    assert line == "Error: --tf32 is for a GPU, and --device is cpu: give --device cuda as well"


def test_tf32_is_recorded_and_ends_with_the_command(npsnn: Npsnn, trained: Path, double: Module) -> None:
    evaluate = "evaluate", "small", "--runs-dir", trained, "--limit", 20, "--json"
    environments = [
        json.loads(npsnn(*evaluate, *more).out)["environment"]
        for more in (["--device", "cuda", "--tf32"], ["--device", "cuda"], [])
    ]
    assert [e.get("tf32") for e in environments] == [True, False, None]


@pytest.mark.slow
def test_tf32_is_recorded_in_a_run(npsnn: Npsnn, tmp_path: Path, double: Module) -> None:
    options = "--model", "lenet5", "--dataset", "digits", "--epochs", 1, "--limit", 64
    assert npsnn("train", *options, "--runs-dir", tmp_path, "--name", "run", "--device", "cuda", "--tf32").code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["environment"]["tf32"] is True
    assert blas.uses_tf32()


def test_a_gpu_without_tf32_says_so(
    npsnn: Npsnn, trained: Path, double: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = "evaluate", "small", "--runs-dir", trained, "--limit", 20, "--device", "cuda", "--tf32"
    monkeypatch.setattr(Device, "compute_capability", "75")
    line = npsnn(*evaluate).error_line(1)
    assert line == "Error: TF32 has no effect on a GPU of compute capability 7.5: it takes 8.0"
    monkeypatch.setattr(blas, "library", lambda: None)
    assert npsnn(*evaluate).error_line(1) == "Error: TF32 needs cuBLAS, which was not found"
