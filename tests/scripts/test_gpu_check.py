"""scripts/gpu-check, on the double of CuPy: it runs, and it notices a device that computes something else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import cupy_double
import numpy as np
import pytest

from npsnn.layers.batchnorm import is_statistic
from npsnn.layers.moments import Propagated
from npsnn.ops.gaussian import RULES

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.slow
def test_the_script_writes_its_tables(tmp_path: Path) -> None:
    options = ("--device", "cpu-double", "--model", "lenet5", "--select", "rules", "--out", str(tmp_path / "new"))
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        [SCRIPTS / "gpu-check", *options], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"all checks passed: {tmp_path / 'new' / 'gpu-check.md'}\n"), (
        done.stderr
    )
    report = json.loads((tmp_path / "new" / "gpu-check.json").read_text())
    assert report["tests"]["passed"] and report["tests"]["summary"].partition(" ")[2].startswith("passed, ")
    assert {r["dtype"] for r in report["compare"]} == {"float64", "float32"}
    assert {kind for r in report["compare"] for kind in r["errors"]} == {
        *("moments", "loss", "gradients", "input gradient", "parameters", "images")
    }
    assert all(r["passed"] for r in report["compare"]) and "bench" not in report
    page = (tmp_path / "new" / "gpu-check.md").read_text()
    assert page.count("| lenet5 |") == len(report["compare"]) and "**no**" not in page


@pytest.mark.slow
def test_a_device_that_computes_something_else_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(a: Any, dtype: Any = None) -> cupy_double.ndarray:
        """What arrives is off by a millionth."""
        if isinstance(a, cupy_double.ndarray):
            return a
        host = np.array(a, dtype)
        return cupy_double.ndarray(host * host.dtype.type(1 + 1e-6) if host.dtype.kind == "f" else host)

    import gpu_check

    monkeypatch.setattr(cupy_double, "asarray", moved)
    arguments = ["--device", "cpu-double", "--part", "compare", "--model", "lenet5", "--out", str(tmp_path)]
    with pytest.raises(click.ClickException, match=r"7 checks failed, see .*: lenet5, noise off, float64; "):
        gpu_check.main.main(arguments, standalone_mode=False)
    rows = json.loads((tmp_path / "gpu-check.json").read_text())["compare"]
    assert [r["dtype"] for r in rows if r["passed"]] == ["float32"]
    assert (tmp_path / "gpu-check.md").read_text().count("**no**") == 7


def test_a_result_that_is_not_a_number_or_another_array_is_no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_compare

    wanted = np.array([2.0, -4.0])
    assert gpu_compare.relative(wanted + 1, wanted) == 0.25
    for found in (np.array([2.0, np.nan]), wanted[:1], wanted.astype(np.float32)):
        assert gpu_compare.relative(found, wanted) == np.inf
    one, other = {"loss": wanted}, {"loss": wanted, "gradients:w": wanted}
    found = gpu_compare.compared("m", "w", "float64", "cuda", lambda device: one if device == "cpu" else other)
    assert found.errors == {"loss": 0.0, "gradients": np.inf} and not found.passed


@pytest.mark.slow
def test_the_noise_of_a_deep_network_has_a_gradient_to_compare() -> None:
    import gpu_compare as compare

    model = compare.build("resnet18")
    flat, (x, labels) = compare.start(model, "float64"), compare.images(model, "float64")
    averages = compare.averages(model, flat, x, labels)
    assert averages and set(averages) == {k for k in flat if is_statistic(k)}
    noise = Propagated(RULES["exact"])
    found = compare.both_ways(model, flat | averages, x, labels, noise, "expected-cross-entropy")("cpu")
    assert abs(found["gradients:noise.L"]).max() > 1e-3


@pytest.mark.parametrize("device", ["cuda", "cpu", "cuda:x"])
def test_without_a_gpu_there_is_one_clear_line(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    import gpu_check

    with pytest.raises(click.ClickException, match=r"needs CuPy|must be cuda|must be cpu, cuda") as caught:
        gpu_check.main.main(["--device", device, "--out", str(tmp_path / "new")], standalone_mode=False)
    assert "\n" not in caught.value.message and not (tmp_path / "new").exists()
