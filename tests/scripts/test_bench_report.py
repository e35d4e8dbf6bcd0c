"""The tables of the benchmark's reports, the curves, and what the commands refuse."""

import json
from pathlib import Path
from typing import Any

import bench
import bench_npsnn
import bench_report
import bench_scaling
import click
import pytest
from bench_cases import CASES
from bench_flops import step_flops
from click.testing import CliRunner

DOCS = Path(__file__).parents[2] / "docs"


def comparison(npsnn: float, nchw: float, last: float, raised: float) -> dict[str, Any]:
    times = {"npsnn": npsnn, "defaults nchw": nchw, "defaults channels_last": last, "raised nchw": raised}
    return {
        "versions": {"npsnn": "0.1.0 with NumPy 2.4.6", "PyTorch": "2.13.0"},
        "milliseconds": times | {"raised channels_last": raised + 1},
        "ceilings": {"sgemm": 100.0, "copy": 20.0},
        "memory": {"npsnn": 100_000_000, "defaults nchw": 350_000_000, "defaults channels_last": 340_000_000},
        "gradient_difference": 2e-6,
    }


def report() -> dict[str, Any]:
    exact = comparison(20.0, 1, 1, 1) | {"milliseconds": {"npsnn": 20.0, "laplace": 10.0}, "gradient_difference": None}
    alone = comparison(4.0, 1, 1, 1) | {"milliseconds": {"npsnn": 4.0}, "versions": {}, "gradient_difference": None}
    for c in (exact, alone):
        c["memory"] = {"npsnn": 100_000_000}
    first, second, third = comparison(10, 20, 25, 12.5), comparison(12, 30, 20, 12), comparison(11, 20, 22, 22)
    return {
        "environment": {
            "processor": "Some CPU",
            "cores": 2,
            "load": 0.14,
            "npsnn": "0.1.0",
            "python": "3.12.1",
            "packages": {"numpy": "2.4.6"},
            "blas": ["openblas 0.3.31 (Zen)"],
        },
        "options": {"threads": 2, "batch_size": 128, "rounds": 9, "seconds": 0.4},
        "cases": [
            {"case": "lenet5-plain", "flops": 0.44e9, "comparisons": [first, second, third]},
            {"case": "lenet5-exact", "flops": 0.6e9, "comparisons": [exact]},
            {"case": "cnn5-plain", "flops": 0.2e9, "comparisons": [alone]},
        ],
    }


def test_the_table_is_made_of_the_report() -> None:
    assert bench_report.FORMS["markdown"](report()).splitlines() == [
        "Batch 128, float32, 2 threads; Some CPU, 2 cores, load 0.1 at the start; npsnn 0.1.0, Python 3.12.1, NumPy "
        "2.4.6, openblas 0.3.31 (Zen); PyTorch 2.13.0. Ceilings: sgemm 100 GFLOP/s, copy 20 GB/s read and written. "
        "3 cases, comparisons of each: 3, of 9 turns of 0.4 s. Gradients differ by 2e-06 at most.",
        "",
        "| case | npsnn | PyTorch | ratio | PyTorch, raised | ratio | peak memory | GFLOP/s | of sgemm |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| lenet5-plain | 11.00 ms | 20.00 ms | 0.55 (0.50 to 0.60) | 12.50 ms | 0.80 (0.50 to 1.00) | 100 MB, 340 MB "
        "| 40 | 40 % |",
        "| lenet5-exact | 20.00 ms | 10.00 ms (Laplace) | 2.00 | - | - | 100 MB | 30 | 30 % |",
        "| cnn5-plain | 4.00 ms | - | - | - | - | 100 MB | 50 | 50 % |",
    ]


def test_a_report_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(bench_report.FORMS["json"](report()))
    outcome = CliRunner().invoke(bench.main, ["--from", str(path)])
    assert outcome.exit_code == 0 and outcome.stdout == bench_report.FORMS["text"](report()) + "\n"
    assert json.loads(CliRunner().invoke(bench.main, ["--from", str(path), "--json"]).stdout) == report()
    for text in (
        "no JSON",
        "[]",
        json.dumps(report() | {"cases": [{"case": "x"}]}),
        json.dumps(report() | {"cases": []}),
    ):
        path.write_text(text)
        for command in (bench.main, bench_scaling.main):
            outcome = CliRunner().invoke(command, ["--from", str(path)])
            assert outcome.exit_code == 1
            assert outcome.stderr == f"Error: {path} must be a report that this script printed with --json\n"


def test_the_tables_of_a_gpu_hold_ratios_goals_and_errors() -> None:
    about = {"npsnn": "0.1.0", "python": "3.12.1", "packages": {"cupy": "14.2.0"}, "gpu": "Some GPU"}
    step: dict[str, Any] = {"case": "cnn5-noise-aware", "batch_size": 128}
    times = {"npsnn": 3.0, "npsnn, no graph": 9.0, "PyTorch": 10.0, "PyTorch, graph": 2.0}
    done = step | {"tf32": False, "milliseconds": times, "ratios": {"PyTorch": 0.3, "PyTorch, graph": 1.5}}
    done |= {"goals": {"PyTorch": 0.4, "PyTorch, graph": 1.2}, "met": {"PyTorch": True, "PyTorch, graph": False}}
    done |= {"memory": {"npsnn": {"device": 10**8, "host": 10**9}, "PyTorch, graph": {"device": 2e8, "host": 3e9}}}
    alone = done | {"tf32": True, "milliseconds": {"npsnn": 3.0}, "ratios": {"PyTorch": None, "PyTorch, graph": None}}
    alone |= {"met": {"PyTorch": None, "PyTorch, graph": None}, "memory": {"npsnn": {"device": 0, "host": 10**9}}}
    rows = [done, alone, step | {"tf32": True, "error": "Traceback\nit ended | so"}]
    assert bench_report.FORMS["markdown"]({"environment": about, "bench": rows}).splitlines() == [
        "Some GPU.",
        "npsnn 0.1.0, python 3.12.1, cupy 14.2.0.",
        "",
        "| step | batch | TF32 | npsnn | npsnn, no graph | PyTorch | PyTorch, graph"
        " | npsnn / PyTorch | goal | npsnn / PyTorch's graph | goal | met |",
        f"|{' --- |' * 12}",
        "| cnn5-noise-aware | 128 | off | 3.00 | 9.00 | 10.00 | 2.00 | 0.30 | 0.40 | 1.50 | 1.20 | **no** |",
        "| cnn5-noise-aware | 128 | on | 3.00 | - | - | - | - | 0.40 | - | 1.20 | - |",
        "| cnn5-noise-aware | 128 | on | - | - | - | - | it ended / so |  |  |  |  |",
        "",
        "| step | batch | TF32 | npsnn, GPU | PyTorch, graph, GPU | npsnn, host | PyTorch, graph, host |",
        f"|{' --- |' * 7}",
        "| cnn5-noise-aware | 128 | off | 100 | 200 | 1000 | 3000 |",
        "| cnn5-noise-aware | 128 | on | 0 | - | 1000 | - |",
    ]


def test_cases_are_chosen_by_name_or_model() -> None:
    assert bench.chosen(()) == list(CASES.values())
    assert bench.chosen(("cnn5", "lenet5-exact")) == [
        CASES[n] for n in ("cnn5-plain", "cnn5-noise-aware", "lenet5-exact")
    ]
    outcome = CliRunner().invoke(bench.main, ["--case", "vgg"])
    assert outcome.exit_code == 2 and "unknown case 'vgg', expected one of lenet5, lenet5-plain" in outcome.stderr


@pytest.mark.slow
def test_points_of_a_curve_are_measured_tabled_and_drawn(tmp_path: Path) -> None:
    curve = bench_scaling.Curve("batch size", bench_scaling.LENET5, "batch", (3,))
    points = bench_scaling.measured(curve, 1, 128, 1, 0.0)
    assert [(p["value"], p["flops"]) for p in points] == [(3, step_flops(bench_scaling.LENET5))]
    assert points[0]["memory"] > points[0]["memory_before"] > 0 and points[0]["microseconds"] > 0
    path = tmp_path / "curves.json"
    known = {"value": 10, "microseconds": 150.4, "flops": 5_000_000, "memory": 106_000_000, "memory_before": 84_000_000}
    curve_of_one = {"curve": "classes", "step": "lenet5-plain", "points": [known]}
    path.write_text(json.dumps({k: report()[k] for k in ("environment", "options")} | {"curves": [curve_of_one]}))
    drawn = tmp_path / "curves.png"
    outcome = CliRunner().invoke(bench_scaling.main, ["--from", str(path), "--markdown", "--plot", str(drawn)])
    heading, _, *table = outcome.stdout.splitlines()
    assert heading == (
        "Batch 128, float32, 2 threads; Some CPU, 2 cores, load 0.1 at the start; npsnn 0.1.0, Python 3.12.1, NumPy "
        "2.4.6, openblas 0.3.31 (Zen). 9 turns of 0.4 s for each point."
    )
    assert table[2] == "| classes | lenet5-plain | 10 | 150 | 30.1 | 106 MB | 84 MB |"
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("curve", bench_scaling.CURVES.values(), ids=lambda c: c.name)
def test_every_point_of_a_curve_is_a_model(curve: bench_scaling.Curve) -> None:
    for value in (curve.values[0], curve.values[-1]):
        case, batch = curve.case_at(value), curve.batch_at(value, 128)
        model = bench_npsnn.model_of(case)
        assert model.classes == case.classes and (value == batch if curve.field == "batch" else batch == 128)
        assert curve.field == "batch" or getattr(case, curve.field) == value


@pytest.mark.parametrize(
    ("name", "command"), [("performance", bench.main), ("scaling", bench_scaling.main)], ids=["performance", "scaling"]
)
def test_the_document_holds_the_tables_of_its_reports(name: str, command: click.Command) -> None:
    source = DOCS / f"{name}.json"
    outcome = CliRunner().invoke(command, ["--from", str(source), "--markdown"])
    assert outcome.exit_code == 0 and outcome.stdout.strip(), outcome.output
    assert outcome.stdout in (DOCS / "performance.md").read_text(), f"docs/performance.md is not from {source.name}"
