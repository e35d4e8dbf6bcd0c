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


def test_a_step_that_is_not_timed_is_refused(tmp_path: Path) -> None:
    import gpu_check

    with pytest.raises(click.BadParameter, match=r"'lenet' is not one of 'lenet5-plain', .*'resnet18-plain'"):
        gpu_check.main.main(["--case", "lenet", "--out", str(tmp_path)], standalone_mode=False)


@pytest.mark.parametrize("device", ["cuda", "cpu", "cuda:x"])
def test_without_a_gpu_there_is_one_clear_line(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    import gpu_check

    with pytest.raises(click.ClickException, match=r"needs CuPy|must be cuda|must be cpu, cuda") as caught:
        gpu_check.main.main(["--device", device, "--out", str(tmp_path / "new")], standalone_mode=False)
    assert "\n" not in caught.value.message and not (tmp_path / "new").exists()


PRODUCT = {"name": "product", "read": 6 * 10**9, "written": 3 * 10**9, "flops": 67 * 10**9}
COPY = {"name": "copy", "read": 10**9, "written": 2 * 10**9, "flops": 0}


def test_a_bound_takes_of_each_kernel_what_takes_longer() -> None:
    import gpu_bound

    card = gpu_bound.Card(float32=67e12, tf32=670e12, memory=3e12)
    found = gpu_bound.bound([PRODUCT, COPY, COPY], card, False)
    assert found["least"] == pytest.approx({"products": 1, "bytes": 5, "kernels": 5})
    slower = gpu_bound.bound([PRODUCT, COPY], gpu_bound.Card(6.7e12, 67e12, 3e12), False)
    assert slower["least"] == pytest.approx({"products": 10, "bytes": 4, "kernels": 11})
    assert slower["dearest"] == [
        {"name": "product", "times": 1, "bytes": 9 * 10**9, "milliseconds": pytest.approx(10)},
        {"name": "copy", "times": 1, "bytes": 3 * 10**9, "milliseconds": pytest.approx(1)},
    ]
    with_tf32 = gpu_bound.bound([PRODUCT, COPY], gpu_bound.Card(6.7e12, 67e12, 3e12), True)
    assert with_tf32["least"] == pytest.approx({"products": 1, "bytes": 4, "kernels": 4})


@pytest.mark.slow
def test_bounds_are_counted_without_a_gpu(tmp_path: Path) -> None:
    import gpu_check
    from bench_cases import CASES
    from bench_flops import step_flops

    options = ["--case", "lenetpp-plain", "--batch-size", "2", "--batch-size", "4", "--card", "h100"]
    gpu_check.main.main(
        ["--part", "bound", *options, "--device", "cpu-double", "--out", str(tmp_path)], standalone_mode=False
    )
    rows = json.loads((tmp_path / "gpu-check.json").read_text())["bound"]
    assert [(r["batch_size"], r["tf32"]) for r in rows] == [(2, False), (2, True), (4, False), (4, True)]
    for row in rows:
        # convolutions compute a little more than is needed: at the edges, and where all columns of a kernel are taken
        assert 1 <= row["flops"] / (row["batch_size"] * step_flops(CASES["lenetpp-plain"])) < 1.5
        assert row["card"] == "h100" and row["least"]["kernels"] >= max(row["least"]["products"], row["least"]["bytes"])
    assert (tmp_path / "gpu-check.md").read_text().count("| lenetpp-plain |") > 2 * len(rows)


def test_profiles_are_made_of_the_steps_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_device
    from bench_cases import CASES
    from gpu_report import markdown

    trace = {
        "milliseconds": 2.0,
        "busy": 1.0,
        "kernels": 9,
        "dearest": [{"milliseconds": 1.0, "times": 3, "name": "a|b"}],
    }
    monkeypatch.setattr(bench_device, "profiled", lambda job, sides: {"npsnn": trace | {"kernels": job.batch_size}})
    cases = [CASES["cnn5-noise-aware"], CASES["lenet5-plain"]]
    rows = list(bench_device.profiles(cases, (8, 16), (False, True), bench_device.Sides("cuda")))
    assert [(r["case"], r["batch_size"], r["tf32"]) for r in rows[:3]] == [
        ("cnn5-noise-aware", 8, False), ("lenet5-plain", 8, False), ("cnn5-noise-aware", 8, True),
    ]  # fmt: skip
    page = markdown({"environment": {"npsnn": "1", "python": "3", "packages": {}}, "profile": rows})
    assert "| lenet5-plain | 16 | on | npsnn | 16 | 1.000 | 2.000 | 50 % |" in page
    assert "| cnn5-noise-aware | 8 | off | npsnn | 1.0000 | 3 | `a/b` |" in page
    assert "cnn5-noise-aware, batch 8, TF32 off: npsnn 8 kernels, 1.000 ms busy of 2.000" in bench_device.in_words(
        rows[0]
    )
