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


QUICK = ("--model", "lenet5", "--batch-size", "4", "--tf32", "off", "--rounds", "1", "--seconds", "0")
FEW = ("--case", "lenet5-noise-aware", "--images", "2", "--updates", "4", "--select", "rules")
ONLY = ("noise off", "training", "laplace", "exact", "steps", "closed form", "BIM, EoT", "random search")


@pytest.mark.slow
def test_the_script_writes_its_tables(tmp_path: Path) -> None:
    only = (word for words in ONLY for word in ("--only", words))
    options = ("--device", "cpu-double", *QUICK, *FEW, *only, "--out", str(tmp_path / "new"))
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        [SCRIPTS / "gpu-check", *options], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"all checks passed: {tmp_path / 'new' / 'gpu-check.md'}\n"), (
        done.stderr
    )
    report = json.loads((tmp_path / "new" / "gpu-check.json").read_text())
    assert report["tests"]["passed"] and report["tests"]["summary"].partition(" ")[2].startswith("passed, ")
    compared = [r for part in ("compare", "training", "attacks") for r in report[part]]
    assert all(r["passed"] for r in compared) and {r["dtype"] for r in compared} == {"float64", "float32"}
    assert {kind for r in compared for kind in r["errors"]} == {
        *("moments", "loss", "gradients", "input gradient", "parameters", "optimizer", "losses", "images")
    }
    assert all(r["graphs"] and not r["warned"] for r in compared) and len(compared) == 17
    # Adam takes powers of its betas by the number of the step, which Python and the device round otherwise
    assert all(r["apart"] <= (1e-14 if "Adam" in r["what"] else 0) for r in compared)
    (step,), (attack,), (memory,) = report["bench"], report["attack-bench"], report["memory"]
    assert step["milliseconds"].keys() >= {"npsnn", "npsnn, no graph"} and step["goals"]["PyTorch, graph"] == 1.2
    assert attack["images"] == 2 and len(attack["seconds"]) == 2
    assert [part["steps"] for part in memory["after"]] == [1, 2, 3, 4] and memory["passed"]
    page = (tmp_path / "new" / "gpu-check.md").read_text()
    assert page.count("| lenet5 |") == len(compared) + 3 and "Failed" not in page
    assert page.count("| lenet5-noise-aware | 4 |") == 3


@pytest.mark.slow
def test_a_device_that_computes_something_else_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(a: Any, dtype: Any = None) -> cupy_double.ndarray:
        """What arrives from the host is off by a millionth."""
        if isinstance(a, cupy_double.ndarray):
            return before(a, dtype)
        host = np.array(a, dtype)
        return before(host * host.dtype.type(1 + 1e-6) if host.dtype.kind == "f" else host)

    import gpu_check

    before = cupy_double.asarray
    monkeypatch.setattr(cupy_double, "asarray", moved)
    arguments = ["--device", "cpu-double", "--part", "compare", "--model", "lenet5", "--out", str(tmp_path)]
    with pytest.raises(click.ClickException, match=r"4 checks failed, see .*: lenet5, noise off, float64; "):
        gpu_check.main.main(arguments, standalone_mode=False)
    rows = json.loads((tmp_path / "gpu-check.json").read_text())["compare"]
    assert [r["dtype"] for r in rows if r["passed"]] == ["float32"]
    assert (tmp_path / "gpu-check.md").read_text().count("**no**") == 4


def test_graphs_that_come_to_something_else_are_found() -> None:
    import gpu_compare

    def f(device: str) -> dict[str, Any]:
        graph = device != "cpu" and os.environ["NPSNN_GRAPH"] == "1"
        return {"loss": np.array([1.0, 2.0 + 1e-6 * graph]), "graphs": 1}

    found = gpu_compare.compared("m", "w", "float64", "cuda", f)
    assert found.apart == pytest.approx(5e-7) and found.errors == {"graphs": np.inf, "loss": found.apart}
    assert not gpu_compare.compared("m", "w", "float64", "cuda", f, cpu=False).passed


def test_a_row_that_fails_is_told_and_the_next_one_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_check
    import gpu_compare

    def fails(device: str) -> dict[str, Any]:
        raise ArithmeticError("broken")

    def works(device: str) -> dict[str, Any]:
        return {"loss": np.ones(1)} | ({"graphs": 0} if device != "cpu" else {})

    jobs = [("this", "float64", fails, {}), ("that", "float64", works, {})]
    monkeypatch.setattr(gpu_compare, "passes", lambda model: iter(jobs))
    arguments = ["--device", "cpu-double", "--part", "compare", "--model", "lenet5", "--out", str(tmp_path)]
    with pytest.raises(click.ClickException, match=r"^1 checks failed, .*: lenet5, this, float64: ArithmeticError: br"):
        gpu_check.main.main(arguments, standalone_mode=False)
    first, second = json.loads((tmp_path / "gpu-check.json").read_text())["compare"]
    assert "Traceback" in first["error"] and second["passed"]
    page = (tmp_path / "gpu-check.md").read_text()
    assert "Failed: lenet5, this, float64" in page and "    ArithmeticError: broken" in page


def test_no_row_begins_when_time_is_up(tmp_path: Path) -> None:
    import gpu_check

    arguments = ["--device", "cpu-double", "--part", "compare", "--minutes", "0", "--out", str(tmp_path)]
    gpu_check.main.main(arguments, standalone_mode=False)
    report = json.loads((tmp_path / "gpu-check.json").read_text())
    assert report["compare"] == [] and report["cut_short"] == ["compare"]


@pytest.mark.slow
def test_the_noise_of_a_deep_network_has_a_gradient_to_compare() -> None:
    import gpu_compare as compare

    model = compare.build("resnet18")
    flat, (x, labels) = compare.start(model, "float64"), compare.images(model, "float64")
    averages = compare.averages(model, flat, x, labels)
    assert averages and set(averages) == {k for k in flat if is_statistic(k)}
    noise = Propagated(RULES["exact"])
    found = compare.both_ways(model, flat | averages, x, labels, lambda _: noise, "expected-cross-entropy")("cpu")
    assert abs(found["gradients:noise.L"]).max() > 1e-3


@pytest.mark.parametrize("device", ["cuda", "cpu", "cuda:x"])
def test_without_a_gpu_there_is_one_clear_line(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    import gpu_check

    with pytest.raises(click.ClickException, match=r"needs CuPy|must be cuda|must be cpu, cuda") as caught:
        gpu_check.main.main(["--device", device, "--out", str(tmp_path / "new")], standalone_mode=False)
    assert "\n" not in caught.value.message and not (tmp_path / "new").exists()
