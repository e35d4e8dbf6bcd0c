"""The benchmark: what it counts, what it compares and its sides' answers. No time is asserted."""

import io
import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bench
import bench_device
import bench_npsnn
import click
import numpy as np
import pytest
from bench_cases import CASES, Case, Job, goals
from bench_flops import step_flops
from bench_side import Side, SideError, milliseconds, peak_memory, serve

from npsnn.classifier import Classifier
from npsnn.data import as_float
from npsnn.layers.params import unflatten
from npsnn.train import SGD, Carried, CrossEntropy, NoiseAware

FIRST = 28 * 28 * 6 * 5 * 5
CONVOLUTIONS = 10 * 10 * 16 * 5 * 5 * 6 + 120 * 5 * 5 * 16
LINEAR = 120 * 200 + 200 * 200
LAST = 200 * 10


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    [
        ("lenet5-plain", 3 * (FIRST + CONVOLUTIONS + LINEAR + LAST) - FIRST),
        ("lenet5-noise-aware", 3 * (FIRST + 2 * (CONVOLUTIONS + LINEAR) + 11 * LAST) - FIRST),
        ("lenet5-exact", 3 * (FIRST + 2 * (CONVOLUTIONS + LINEAR) + 11 * LAST) - FIRST),
        ("lenet5-plain-attack", 2 * (FIRST + CONVOLUTIONS + LINEAR + LAST)),
        ("lenet5-noise-aware-attack", 2 * (FIRST + 2 * (CONVOLUTIONS + LINEAR) + 11 * LAST)),
    ],
)
def test_the_count_is_that_of_a_hand(name: str, multiply_adds: int) -> None:
    assert step_flops(CASES[name]) == 2 * multiply_adds


def test_residual_blocks_count_their_shortcuts() -> None:
    stem, last = 3 * 9 * 64 * 32**2, 512 * 32 + 32 * 10
    stages = 4 * 9 * 64 * 64 * 32**2
    for c, pixels in ((128, 16**2), (256, 8**2), (512, 4**2)):
        stages += (9 * c // 2 * c + 3 * 9 * c * c + c // 2 * c) * pixels
    assert step_flops(CASES["resnet18-plain"]) == 2 * (3 * (stem + stages + last) - stem)


def test_what_varies_on_a_curve_is_counted() -> None:
    attack = Case("lenet5", "sampled", attack=True)
    assert step_flops(replace(attack, draws=7)) == 7 * step_flops(CASES["lenet5-plain-attack"])
    wide = 2 * FIRST + 4 * (CONVOLUTIONS + LINEAR) + 2 * LAST
    assert step_flops(Case("lenet5", attack=True, width=2)) == 4 * wide
    more = CASES["lenet5-noise-aware-attack"]
    assert step_flops(replace(more, classes=20)) - step_flops(more) == 4 * 200 * (20 + 20**2 - 10 - 10**2)
    pixels = [step_flops(Case("cnn5", attack=True, size=size)) - 4 * (256 * 128 + 128 * 10) for size in (32, 64)]
    assert pixels[1] == 4 * pixels[0]


def test_a_training_side_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, found = tmp_path / "start.npz", tmp_path / "found.npz"
    job = Job(CASES["lenet5-plain"], 6, 2, str(start))
    bench_npsnn.main(Job.from_json(job.to_json()), ["version", f"gradients {found}", "time 0", "memory"])
    version, loss, time, memory = capsys.readouterr().out.splitlines()
    assert version.endswith(f"with NumPy {np.__version__}") and float(time) > 0 and int(memory) > 10**7
    with np.load(start) as file, np.load(found) as gradients:
        arrays, grads = dict(file), dict(gradients)
    images, labels = as_float(arrays.pop("images")), arrays.pop("labels")
    assert grads.keys() == arrays.keys() - {"noise.sigma"}
    assert all(g.shape == arrays[k].shape and np.abs(g).max() > 0 for k, g in grads.items())
    network = Classifier(bench_npsnn.model_of(CASES["lenet5-plain"]), unflatten(arrays))
    logits = network.predict(images).astype(np.float64)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(6), labels]
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("name", ["lenet5-plain-attack", "lenet5-noise-aware-attack"])
def test_an_attacking_side_has_the_gradient_of_every_image(name: str) -> None:
    with bench_npsnn.prepared(Job(CASES[name], 70, 2)) as (work, start):
        loss, found = work.gradients()
    images, labels = as_float(start.pop("images")), start.pop("labels")
    network = Classifier(bench_npsnn.model_of(CASES[name]), unflatten(start))
    objective = "cross-entropy" if CASES[name].step == "plain" else "noise-aware"
    wanted = network.input_gradient(images, labels, objective, "laplace")
    assert np.isfinite(loss) and np.abs(wanted).max() > 0
    np.testing.assert_array_equal(found["x"], wanted)


def test_a_step_updates_and_moves_the_averages() -> None:
    with bench_npsnn.prepared(Job(Case("resnet18", size=8), 2)) as (work, _):
        assert isinstance(work, bench_npsnn.Stepping)
        _, grads = work.gradients()
        before = work.state.params["bn1.running_mean"]
        work.step()
        assert work.state.steps == 1 and (work.state.params["bn1.running_mean"] != before).any()
    assert "noise.L" not in grads and not [k for k in grads if "running" in k]


def test_the_cases_train_as_they_are_named() -> None:
    for name, case in CASES.items():
        training = bench_npsnn.training_of_case(case)
        model = training.model
        assert name == case.name and model.name == case.model and model.shape == case.shape
        plain = case.step == "plain"
        assert training.loss == (CrossEntropy() if plain else NoiseAware()) and training.optimizer == SGD(1e-3, 0.0)
        assert training.noise == Carried("exact" if case.step == "exact" else "laplace")
        _, layer = model.noise
        assert layer.sigma == (0 if plain else 0.6)


def test_gradients_are_compared_by_their_norms(tmp_path: Path) -> None:
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(a, w=np.array([3.0, 4.0]), b=np.array([1.0, 0.0]))
    np.savez(b, w=np.array([3.0, 4.5]), b=np.array([1.0, 0.01]))
    assert bench.difference(a, b) == pytest.approx(0.1)
    np.savez(b, w=np.array([3.0, 4.0]))
    with pytest.raises(click.ClickException, match=r"^only one side has a gradient of b$"):
        bench.difference(a, b)


class Told:
    """A side with this loss and this gradient."""

    def __init__(self, loss: float, w: float) -> None:
        self.loss, self.w = loss, w

    def ask(self, line: str) -> str:
        np.savez(line.split()[1], w=np.array([self.w]))
        return str(self.loss)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (Told(1.001, 1.0), r"^cnn5-plain: npsnn's loss is 1.0, PyTorch's 1.001 \(defaults nchw\)$"),
        (
            Told(1.0, 1.01),
            r"^cnn5-plain: a gradient differs by 1.0e-02 from PyTorch's \(defaults nchw\), more than 0.001",
        ),
        (Told(1.0, float("nan")), "differs by nan"),
        (Told(float("nan"), 1.0), "PyTorch's nan"),
    ],
)
def test_other_work_is_not_timed(theirs: Any, message: str, tmp_path: Path) -> None:
    ours: Any = Told(1.0, 1.0)
    with pytest.raises(click.ClickException, match=message):
        bench.check_gradients(CASES["cnn5-plain"], ours, {"defaults nchw": theirs}, tmp_path)
    near: Any = Told(1.00001, 1.0001)
    found = bench.check_gradients(CASES["cnn5-plain"], ours, {"defaults nchw": near}, tmp_path)
    assert found == pytest.approx(1e-4)
    assert bench.check_gradients(CASES["lenet5-exact"], ours, {"laplace": theirs}, tmp_path) is None


@pytest.mark.slow
def test_the_exact_rule_is_timed_against_the_other() -> None:
    found = bench.compare(CASES["lenet5-exact"], 1, 2, 1, 0.0, sys.executable)
    assert found["milliseconds"].keys() == found["memory"].keys() == {"npsnn", "laplace"}
    assert all(found["memory"][k] > found["memory_before"][k] > 0 for k in found["memory"])
    assert min(*found["milliseconds"].values(), *found["ceilings"].values()) > 0


def steps(device: str, tf32: tuple[bool, ...], sides: bench_device.Sides) -> list[dict[str, Any]]:
    found = list(bench_device.steps([CASES["lenet5-plain"]], (2,), tf32, 1, 0.0, sides))
    sides.close()
    return found


@pytest.mark.slow
def test_a_gpus_steps_are_timed_with_graphs_and_without() -> None:
    """On the double in its place."""
    rows = steps("cpu-double", (False, True), bench_device.Sides("cpu-double"))
    assert [row["tf32"] for row in rows] == [False, True] and not any("error" in row for row in rows), rows
    for row in rows:
        assert row["milliseconds"].keys() >= {"npsnn", "npsnn, no graph"} and min(row["milliseconds"].values()) > 0
        assert row["memory"]["npsnn"]["host"] > 10**7 and row["goals"] == {"PyTorch": 0.25, "PyTorch, graph": None}
        assert bench_device.in_words(row).startswith("  lenet5-plain, batch 2, TF32 o")


@pytest.mark.slow
def test_a_side_that_fails_is_the_error_of_its_row_and_is_started_anew() -> None:
    sides = bench_device.Sides("cpu-double")
    with pytest.raises(SideError, match=r"(?s)^npsnn, job: Traceback.*TypeError: Case"):
        sides.tell("npsnn", "job", '{"case": {"nothing": 1}}')
    assert not sides.running
    row = steps("cuda:x", (False,), bench_device.Sides("cuda:x"))[0]
    assert row["error"] == "npsnn, job: bench_gpu_npsnn.py, a side of the benchmark, ended with exit code 1"
    assert "FAILED npsnn, job" in bench_device.in_words(row)


def test_a_side_that_does_not_answer_is_given_up() -> None:
    side = Side(sys.executable, "../tests/scripts/silent_side.py")
    with pytest.raises(SideError, match=r"^no answer to sleep within 0.2 s$"):
        side.tell("sleep", limit=0.2)


def test_a_side_that_serves_answers_in_json_or_says_why_not() -> None:
    def fails(argument: str) -> None:
        raise ValueError(argument)

    out = io.StringIO()
    serve({"twice": lambda x: [x, x], "fail": fails}, ["twice a b", "fail now"], out)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (
        first == ["a b", "a b"] and second["failed"].startswith("Traceback") and "ValueError: now" in second["failed"]
    )


@pytest.mark.parametrize(
    ("name", "tf32", "expected"),
    [
        ("lenet5-plain", False, (0.25, None)),
        ("lenet5-noise-aware", True, (0.25, 1.2)),
        ("lenet5-exact", False, (0.4, None)),
        ("cnn5-noise-aware", False, (0.4, 1.2)),
        ("cnn5-plain", True, (0.25, None)),
        ("lenetpp-plain", False, (0.9, None)),
        ("lenetpp-plain", True, (0.6, None)),
        ("resnet18-plain", True, (1.0, None)),
    ],
)
def test_what_a_step_may_take(name: str, tf32: bool, expected: tuple[float, float | None]) -> None:
    assert goals(CASES[name], tf32) == expected


def test_a_goal_is_met_or_missed_or_there_is_none() -> None:
    job = Job(CASES["lenet5-noise-aware"], 128)
    times = {"npsnn": 1.0, "npsnn, no graph": 9.0, "PyTorch": 5.0, "PyTorch, graph": 0.5}
    found = bench_device.judged(job, times)
    assert found["ratios"] == {"PyTorch": 0.2, "PyTorch, graph": 2.0}
    assert found["met"] == {"PyTorch": True, "PyTorch, graph": False}
    alone = bench_device.judged(job, {"npsnn": 1.0})
    assert alone["met"] == alone["ratios"] == {"PyTorch": None, "PyTorch, graph": None}


def test_memory_that_grows_is_told() -> None:
    class Told(bench_device.Sides):
        def tell(self, name: str, command: str, argument: object = "", limit: float = 0.0) -> Any:
            assert (name, command, argument) == ("npsnn", "training", "lenet5 plain 4 300 30")
            held = [0, 0, *[10**8] * 4, last]  # graphs of what an epoch does once come with the second
            after = [{"steps": 50 * n, "device": bytes, "host": 0} for n, bytes in enumerate(held)]
            return {"after": after, "warned": []}

    for last, passed in ((10**8, True), (2 * 10**8, False)):
        (row,) = bench_device.memory([CASES["lenet5-plain"]], 4, 300, 30, Told("cuda"))
        assert row["passed"] is passed and row["grown"] == {"device": last - 10**8, "host": 0}
        assert bench_device.in_words(row).endswith(f" from step {row['first']['steps']} to 300")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "tpu"], "device must be cpu, cuda or cuda:N"),
        (["--device", "cuda", "--case", "lenet5-plain-attack"], "only training steps are timed"),
    ],
)
def test_a_device_or_a_case_that_has_no_bench_is_refused(options: list[str], message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        bench.main.main(options, standalone_mode=False)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is there")
def test_without_pytorch_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    assert bench.rivals(Job(CASES["lenet5-plain"], 2, start=str(tmp_path / "start.npz")), sys.executable) == {}


KEPT = """
import sys
import numpy as np
from pathlib import Path
if sys.argv[2] == "asked":
    from npsnn.host import keep_freed_memory
    keep_freed_memory()
arrays = [np.ones((20 << 20) // int(sys.argv[1]), np.float32) for _ in range(int(sys.argv[1]))]
del arrays
print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator is glibc's")
@pytest.mark.parametrize("arrays", [20, 2])
def test_the_raised_thresholds_keep_freed_memory(arrays: int) -> None:
    """80 MB in arrays of 4 MB, and of 40 MB, which glibc maps by themselves at its highest threshold."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "NPSNN_"))}
    kept = []
    for variables, asked in (({}, "-"), (bench.RAISED, "-"), ({}, "asked")):
        command = [sys.executable, "-c", KEPT, str(arrays), asked]
        ran = subprocess.run(command, env=own | variables, capture_output=True, check=True)
        kept.append(int(ran.stdout))
    assert min(kept[1:]) > kept[0] + (60 << 20)


def test_a_side_that_ends_or_cannot_start_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    side = Side(sys.executable, "bench_ceilings.py", "one")
    with pytest.raises(SystemExit, match=r"^bench_ceilings\.py, a side of the benchmark, ended with exit code 1$"):
        side.ask("sgemm 0")
    assert "ValueError" in capfd.readouterr().err
    with pytest.raises(SystemExit, match=r"^/no/python must be a Python interpreter, but cannot be run: No such file"):
        Side("/no/python", "bench_torch.py")


def test_at_least_one_step_is_timed() -> None:
    calls: list[int] = []
    assert milliseconds(lambda: calls.append(1), 0) > 0
    assert calls == [1]


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="no list of processes here")
def test_peak_memory_is_that_of_the_processes_that_were_started_too() -> None:
    before = peak_memory()
    assert 10**7 < before < 10**11
    program = "held = b'x' * 10**8; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        assert peak_memory() >= before + 10**8
        other.communicate(b"\n")
