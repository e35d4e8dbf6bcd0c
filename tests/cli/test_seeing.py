"""npsnn runs, compare, plot, gallery and report: what they print and write, and what careless users meet."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn

from npsnn.cli.listing import age, short
from npsnn.cli.main import main
from npsnn.data import digits
from npsnn.runs import checkpoint

FEW = ("--limit", "12", "--draws", "2", "--threads", "1")
ATTACK = ("--fgsm", "--adaptive-fgsm", "--eps", "0.05", "--eps", "0.1", "--eot", "2", "--selection", "2")


@pytest.fixture(scope="module")
def recorded(trained: Path, tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A copy of the trained runs, of which "small" was attacked, with the images in saved.npz; not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(trained, folder / "runs")
    saved = ("--save", str(folder / "saved.npz"), "--data-dir", str(data_dir), "--runs-dir", str(folder / "runs"))
    with pytest.raises(SystemExit) as end:
        main(["attack", "small", *ATTACK, *FEW, *saved])
    assert not end.value.code
    return folder


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_runs_are_listed(npsnn: Npsnn, recorded: Path) -> None:
    done = npsnn("runs", "--runs-dir", recorded / "runs")
    header, *rows = done.out.splitlines()
    assert done.code == 0 and header.split()[:4] == ["run", "dataset", "model", "noise"]
    cells = {row.split()[0]: row.split() for row in rows}
    assert cells["small"][1:6] == ["digits", "lenet5", "preactivation", "0.6", "1/1"]
    assert "finished" in cells["small"] and cells["other"][2] == "cnn5"
    found = json.loads(npsnn("runs", "--runs-dir", recorded / "runs", "--model", "lenet5", "--json").out)["runs"]
    assert [(run["name"], run["state"], run["attacked"]) for run in found] == [("small", "finished", 4)]
    assert found[0]["age"] > 0


def test_no_run_is_said_to_be_none(npsnn: Npsnn, recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = npsnn("runs")
    assert (done.code, done.out) == (0, "") and "no runs in runs/: train one" in done.err
    done = npsnn("runs", "--runs-dir", recorded / "runs", "--state", "broken")
    assert (done.code, done.out) == (0, "") and "none of the 2 runs" in done.err
    assert "there is no folder gone/" in npsnn("runs", "--runs-dir", "gone").error_line(1)
    assert "Did you mean finished?" in npsnn("runs", "--state", "finishd").error_line(2)


def test_ages_and_long_names_are_short() -> None:
    assert [age(s) for s in (-1, 59, 60, 7200, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]
    assert short("a" * 40) == "a" * 15 + "…" + "a" * 15 and short("a" * 32) == "a" * 32


def test_runs_are_compared(npsnn: Npsnn, trained: Path) -> None:
    call = ("compare", "small", "other", "--runs-dir", trained, *FEW)
    done = npsnn(*call)
    assert done.code == 0 and "the first 12 test images of digits, 2 draws, seed 0" in done.out
    assert "difference from small" in done.out and "no attack" in done.out and "[few-images]" in done.out
    found = json.loads(npsnn(*call, "--fgsm", "--eps", "0.1", "--eot", "2", "--json").out)
    assert [row["attack"] for row in found["rows"]] == ["no attack", "fgsm"] and found["than"] == "small"
    for row in found["rows"]:
        means = {name: a["mean"] for name, a in row["accuracy"].items()}
        more = row["more"]["other"]
        assert more["mean"] == pytest.approx(means["other"] - means["small"])
        assert more["ci95"][0] < more["mean"] < more["ci95"][1] and 0 < more["p_value"] <= 1
    assert found["runs"]["other"]["dataset"] == "digits" and found["interrupted"] is False


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("small",), 2, "compare takes two runs or more, got 1"),
        (("small", "small"), 1, "runs must differ, got "),
        (("small", "{}/small/../small"), 1, "runs must differ, got "),
        (("small", "smal"), 1, "did you mean small?"),
        (("small", "other", "--eps", "0.1"), 2, "--eps acts on attacks, none of which is named: add one, as --pgd"),
        (("small", "other", "--fgsm", "--kappa", "1"), 2, "--kappa acts on"),
        (("small", "other", "--inference-sigma", "-1"), 2, "--inference-sigma"),
    ],
)
def test_what_is_no_comparison_is_one_line(
    npsnn: Npsnn, trained: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    given = [word.format(trained) for word in words]
    assert said in npsnn("compare", *given, "--runs-dir", trained, *FEW).error_line(code)


def test_runs_of_other_images_are_not_compared(
    npsnn: Npsnn, runs: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.cli import compare

    load = compare.load_test_images

    def another(run: Any, *args: Any) -> Any:
        run, x, labels = load(run, *args)
        return run, x[::-1] if run.folder.name == "other" else x, labels

    monkeypatch.setattr(compare, "load_test_images", another)
    said = npsnn("compare", "small", "other", "--runs-dir", runs, *FEW).error_line(1)
    assert "have different test images (digits and digits): no pairs to compare" in said
    assert digits.SIZES["test"] > 12


def test_pictures_are_drawn_from_what_is_recorded(npsnn: Npsnn, recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = npsnn("plot", "small", "--runs-dir", recorded / "runs", "--json")
    assert done.code == 0 and "picture: small-attacks.png" in done.err
    assert (tmp_path / "small-attacks.png").read_bytes().startswith(b"\x89PNG")
    (panel,) = json.loads(done.out)["panels"]
    assert [line["label"] for line in panel["lines"]] == ["fgsm", "adaptive-fgsm", "worst of them"]
    assert panel["lines"][0]["x"] == [0, 0.05, 0.1] and panel["lines"][2]["x"] == [0, 0.05, 0.1]
    lines = [json.loads(row) for row in (recorded / "runs" / "small" / "attacks.jsonl").read_text().splitlines()]
    (clean,) = {(row["clean_accuracy"], *row["clean_ci95"]) for row in lines}
    worst = {row["worst_case"]["eps"]: row["worst_case"]["robust_accuracy"] for row in lines if "worst_case" in row}
    for drawn in panel["lines"]:
        assert (drawn["y"][0], drawn["low"][0], drawn["high"][0]) == clean
    assert panel["lines"][2]["y"][1:] == [worst[0.05], worst[0.1]]
    done = npsnn("plot", "small", "other", "--what", "training", "--out", "a.svg", "--runs-dir", recorded / "runs")
    assert done.code == 0 and (tmp_path / "a.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("smal",), 1, "did you mean small?"),
        (("other", "--what", "attacks"), 1, "attacks are not recorded: run npsnn attack for other"),
        (("small", "--what", "certified"), 1, "needs a certificate"),
        (("small", "--what", "trainin"), 2, "Did you mean training?"),
        (("small", "--out", "a.jpg"), 1, "--out must name a .png or .svg in a folder that exists, got a.jpg"),
        (("small", "--out", "none/a.png"), 1, "--out must name a .png or .svg in a folder that exists"),
        (("small", "--certificate", "gone.tsv"), 1, "gone.tsv"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    npsnn: Npsnn, recorded: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    pytest.importorskip("matplotlib")
    assert said in npsnn("plot", *words, "--runs-dir", recorded / "runs").error_line(code)
    assert not list(tmp_path.glob("*"))


def test_a_gallery_is_of_images_attacked_now_or_before(npsnn: Npsnn, recorded: Path, tmp_path: Path) -> None:
    call = ("gallery", "small", "--runs-dir", recorded / "runs", "--draws", "2", "--threads", "1", "--images", "3")
    done = npsnn(*call, "--fgsm", "--eps", "0.1", "--eot", "2")
    page = (tmp_path / "small-gallery.html").read_text(encoding="utf-8")
    assert done.code == 0 and "small-gallery.html, 3 images" in done.err
    assert page.count('<section class="image">') == 3 and "fgsm at 0.1" in page
    done = npsnn(*call, "--saved", recorded / "saved.npz", "--out", "saved.html")
    assert done.code == 0 and "adaptive-fgsm-linf-0.05" in (tmp_path / "saved.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--saved", "gone.npz"), 2, "gone.npz"),
        (("--saved", "{}/saved.npz", "--pgd"), 2, "--saved shows attacks that were made: name no others"),
        (("--saved", "{}/runs/small/last.npz"), 1, "must be a file of npsnn attack --save"),
        (("--out", "a.gif"), 1, "--out must name a .html or .png"),
        (("--images", "0"), 2, "--images"),
        (("--eps", "0.1"), 2, "--eps acts on attacks, none of which is named"),
    ],
)
def test_what_makes_no_gallery_is_one_line(
    npsnn: Npsnn, recorded: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    given = [word.format(recorded) for word in words]
    call = ("gallery", "small", "--runs-dir", recorded / "runs", "--draws", "2", *given)
    assert said in npsnn(*call).error_line(code)
    assert not list(tmp_path.glob("*"))


def test_the_report_is_one_file(npsnn: Npsnn, recorded: Path, tmp_path: Path) -> None:
    call = ("report", "small", "--runs-dir", recorded / "runs", "--draws", "2", "--threads", "1", "--images", "2")
    done = npsnn(*call)
    page = (tmp_path / "small-report.html").read_text(encoding="utf-8")
    assert done.code == 0 and "report: small-report.html" in done.err
    assert page.count('<section class="image">') == 2 and "adaptive-fgsm at 0.1" in page
    assert [path.name for path in tmp_path.iterdir()] == ["small-report.html"]
    assert "--out must name a .html" in npsnn(*call, "--out", "report.pdf").error_line(1)


def test_a_run_that_is_the_working_folder_has_its_name(
    npsnn: Npsnn, recorded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(recorded / "runs" / "small", tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    done = npsnn("report", ".", "--images", "0")
    assert done.code == 0 and "report: mine-report.html" in done.err
    assert "<h1>mine</h1>" in (tmp_path / "mine" / "mine-report.html").read_text(encoding="utf-8")


def test_a_report_of_a_network_gone_astray_is_written(npsnn: Npsnn, runs: Path, tmp_path: Path) -> None:
    path = runs / "small" / "last.npz"
    arrays, about = checkpoint.load_arrays(path)
    lost = {name: np.full_like(each, 1e30) if name.endswith(".w") else each for name, each in arrays.items()}
    checkpoint.save_arrays(path, lost, about)
    done = npsnn("report", "small", "--runs-dir", runs, "--draws", "2", "--threads", "1")
    assert done.code == 0 and "warning: no images are shown: the network's logits are not finite" in done.err


def test_a_report_without_the_data_says_so(npsnn: Npsnn, runs: Path, tmp_path: Path) -> None:
    path = runs / "small" / "config.json"
    config = json.loads(path.read_text())
    config["train"]["dataset"] = "mnist"
    path.write_text(json.dumps(config))
    done = npsnn("report", "small", "--runs-dir", runs, "--data-dir", tmp_path, "--draws", "2")
    assert done.code == 0 and "warning: no images are shown: " in done.err
    assert "No images are shown: " in (tmp_path / "small-report.html").read_text(encoding="utf-8")
