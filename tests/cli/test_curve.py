"""npsnn attack --curve: a picture, its numbers, and what cannot be drawn."""

import json
from pathlib import Path

import pytest
from calling import Npsnn

from npsnn.certify.certificates import Certificate
from npsnn.certify.table import append


def table(path: Path) -> Path:
    for index, (radius, answer) in enumerate([(0.5, 1), (0.2, 1), (0.0, 2)]):
        append(path, Certificate(index, 1, 1 if radius else -1, radius, 0.9, answer, 0.1))
    return path


@pytest.mark.slow
def test_the_curve_is_drawn_and_its_numbers_are_beside_it(npsnn: Npsnn, runs: Path, tmp_path: Path) -> None:
    call = (
        "attack",
        "--runs-dir",
        runs,
        "--limit",
        "12",
        "--draws",
        "2",
        "--fmn",
        "--fmn-steps",
        "5",
        "--norm",
        "l2",
    )
    path, certificate = tmp_path / "curve.png", table(tmp_path / "c.tsv")
    done = npsnn(*call, "--fgsm", "--eps", "0.5", "--curve", path, "--certificate", certificate)
    assert done.code == 0 and f"curve: {path}" in done.err
    assert path.read_bytes().startswith(b"\x89PNG")
    content = json.loads(path.with_suffix(".json").read_text())
    (curve,), (point,) = content["curves"], content["points"]
    assert curve["attack"] == "fmn" and curve["norm"] == "l2" and curve["eps"][0] == 0
    assert len(curve["eps"]) == len(curve["accuracy"]) == len(curve["low"]) == len(curve["high"])
    assert point["attack"] == "fgsm" and point["eps"] == 0.5 and len(point["ci95"]) == 2
    certified = content["certificate"]
    assert certified["images"] == 3 and certified["eps"] == [0, 0.2, 0.5]
    assert certified["accuracy"] == pytest.approx([2 / 3, 1 / 3, 0])
    assert certified["in_draws"]["accuracy"][0] == pytest.approx(2 / 3 * 0.9, abs=0.01)
    assert npsnn(*call, "--curve", path).code == 0, "a curve may be drawn again"


@pytest.mark.parametrize("content", ["{}", '{"curves": []}', "[1]", "notes"])
def test_numbers_never_take_the_place_of_another_file(
    npsnn: Npsnn, trained: Path, tmp_path: Path, content: str
) -> None:
    beside = tmp_path / "config.json"
    beside.write_text(content)
    done = npsnn("attack", "--runs-dir", trained, "--fmn", "--curve", tmp_path / "config.png")
    assert f"--curve would replace {beside}, which does not say that npsnn wrote it" in done.error_line(1)
    assert beside.read_text() == content and not (tmp_path / "config.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pgd", "--curve", "{}/a.png"), "--curve needs an attack that looks for the nearest image: --fmn or --cw"),
        (("--fmn", "--curve", "{}/a.svg"), "--curve must name a .png in a folder that exists"),
        (("--fmn", "--curve", "{}/none/a.png"), "--curve must name a .png in a folder that exists"),
        (("--fmn", "--certificate", "{}/c.tsv"), "--certificate is drawn under a curve: give --curve FILE.png as well"),
        (("--fmn", "--curve", "{}/a.png", "--certificate", "{}/c.tsv"), "--certificate is of L2: give --norm l2"),
        (("--cw", "--curve", "{}/a.png", "--certificate", "{}/no.tsv"), "no.tsv"),
        (("--cw", "--curve", "{}/a.png", "--certificate", "{}/other.tsv"), "must be a table with the columns idx"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_attack(
    npsnn: Npsnn, trained: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    table(tmp_path / "c.tsv")
    (tmp_path / "other.tsv").write_text("one\ttwo\n")
    done = npsnn("attack", "--runs-dir", trained, *(word.format(tmp_path) for word in options))
    assert done.code != 0 and said in done.err
    assert not (tmp_path / "a.png").exists() and "clean accuracy" not in done.out


def test_without_matplotlib_it_says_what_to_install(
    npsnn: Npsnn, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npsnn.pages.plots.find_spec", lambda name: None)
    done = npsnn("attack", "--runs-dir", trained, "--fmn", "--curve", tmp_path / "a.png")
    assert done.code != 0 and "pip install 'npsnn[plot]'" in done.err
