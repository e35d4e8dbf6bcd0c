"""`npsnn certify`: what it prints, the rows that it keeps, how it goes on, and what it refuses."""

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from calling import ABOUT, Npsnn, interrupt_at

from npsnn import certify
from npsnn.certify import table
from npsnn.cli.main import main
from npsnn.files import lock

FEW = ("--limit", 6, "--samples", 60, "--selection", 10, "--threads", 1)


@pytest.fixture
def where(trained: Path, data_dir: Path) -> tuple[Any, ...]:
    return ("small", "--runs-dir", trained, "--data-dir", data_dir, *FEW)


def test_the_table_is_of_the_certificates(npsnn: Npsnn, where: tuple[Any, ...], tmp_path: Path) -> None:
    save = tmp_path / "rows.tsv"
    ended = npsnn("certify", *where, "--save", save)
    assert ended.code == 0
    heading, noise, accuracy, empty, columns, *rows = ended.out.splitlines()
    assert heading.endswith("small: the first 6 test images, 60 draws each, alpha 0.001")
    assert noise.startswith("noise 0.6 of the layer noise, norm of the layers before at most ")
    assert accuracy.startswith("smoothed accuracy ") and "; abstained " in accuracy and not empty
    assert columns.split() == ["radius", "certified", "95", "%", "interval", "in", "draws"]
    found = certify.read(save)
    assert len(found.rows) == 6
    for row, radius in zip(rows, found.radii(), strict=False):
        cells = row.split()
        assert float(cells[0]) == pytest.approx(radius)
        assert float(cells[1]) == round(100 * found.accuracy(radius).mean, 1)
        assert float(cells[-2]) == round(100 * found.in_draws(radius).mean, 1)
    assert rows[-1].startswith("note: the number of images is 6")
    assert "70 passes forward an image; 6 images will take about" in ended.err


def test_json_has_all_that_a_result_was_computed_with(npsnn: Npsnn, where: tuple[Any, ...]) -> None:
    ended = npsnn("certify", *where, "--json", "--radius", "1/10", "--radius", 0, "--sigma", 0.3, "--alpha", 0.01)
    document = json.loads(ended.out)
    assert set(document) >= ABOUT
    plan = {"samples": 60, "selection": 10, "alpha": 0.01, "sigma": 0.3, "seed": 0}
    assert document["plan"] == plan and document["inference_sigma"] == 0.6 and document["examples"] == 6
    assert document["smoothing"] == {"layer": "smoothing", "sigma": pytest.approx(0.3), "norm": 1.0}
    assert [row["radius"] for row in document["certified"]] == [0.1, 0]
    assert document["interrupted"] is False and 0 <= document["abstained"] <= 1
    assert [caveat["code"] for caveat in document["caveats"]][-1] == "few-images"


def test_python_and_the_command_agree_and_threads_change_nothing(
    npsnn: Npsnn, where: tuple[Any, ...], trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    from npsnn import Classifier, data

    one, two = tmp_path / "one.tsv", tmp_path / "two.tsv"
    assert npsnn("certify", *where, "--seed", 3, "--save", one).code == 0
    assert npsnn("certify", *where, "--seed", 3, "--save", two, "--threads", 2).code == 0
    test = data.load("digits", data_dir).test
    network = Classifier.load(trained / "small")
    ours = certify.certify(network, test.images[:6], test.labels[:6], n0=10, n=60, rng=3)
    for path in (one, two):
        rows = certify.read(path).rows
        assert [row.radius for row in rows] == [row.radius for row in ours.rows]
        assert [row.predicted for row in rows] == [row.predicted for row in ours.rows]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_stopped_goes_on_with_its_rows(
    npsnn: Npsnn, where: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    whole, parts = tmp_path / "whole.tsv", tmp_path / "parts.tsv"
    assert npsnn("certify", *where, "--save", whole).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, table, "append", 3, number)
        ended = npsnn("certify", *where, "--save", parts, "--json")
    assert ended.code == code
    document = json.loads(ended.out)
    assert document["interrupted"] is True and document["examples"] == 3
    assert ended.err.splitlines()[-1] == f"Stopped: 3 of 6 rows are in {parts}; the same command goes on"
    assert len(certify.read(parts).rows) == 3
    with parts.open("a") as file:
        file.write("3\t1")  # as a crash leaves it
    ended = npsnn("certify", *where, "--save", parts, "--json")
    assert ended.code == 0 and json.loads(ended.out)["examples"] == 6 and "3 images will take" in ended.err
    assert [row[:4] for row in cells(parts)] == [row[:4] for row in cells(whole)]
    again = npsnn("certify", *where, "--save", parts, "--json")
    assert again.code == 0 and "images will take" not in again.err
    assert json.loads(again.out)["certified"] == json.loads(ended.out)["certified"]


def cells(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_without_a_file_a_stop_keeps_what_was_printed(
    npsnn: Npsnn, where: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from npsnn.cli.certify_kept import Kept

    interrupt_at(monkeypatch, Kept, "row", 2, signal.SIGINT)
    ended = npsnn("certify", *where)
    assert ended.code == 130 and "smoothed accuracy" in ended.out
    assert "2 of 6 images are certified, and nothing is kept without --save" in ended.err


@pytest.mark.slow
def test_rows_of_other_options_are_not_gone_on_with(npsnn: Npsnn, where: tuple[Any, ...], tmp_path: Path) -> None:
    save = tmp_path / "rows.tsv"
    assert npsnn("certify", *where, "--save", save).code == 0
    before = save.read_bytes()
    for option in (("--seed", 1), ("--samples", 61), ("--sigma", 0.2), ("--inference-sigma", 0.5), ("--alpha", 0.01)):
        said = npsnn("certify", *where, "--save", save, *option).error_line(1)
        assert f"--save must name a new file, {save} was computed with another" in said
    assert save.read_bytes() == before
    assert npsnn("certify", *where, "--limit", 4, "--save", save).code == 0 and save.read_bytes() == before
    other = tmp_path / "other.tsv"
    other.write_text("idx,label\n")
    assert "must be a table with the columns" in npsnn("certify", *where, "--save", other).error_line(1)
    assert "in a folder that exists" in npsnn("certify", *where, "--save", tmp_path / "no" / "a.tsv").error_line(1)


def test_a_file_system_without_locks_is_written_all_the_same(
    npsnn: Npsnn, where: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(descriptor: int) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("npsnn.cli.certify_kept.lock", lacking)
    save = tmp_path / "rows.tsv"
    assert npsnn("certify", *where, "--save", save).code == 0 and len(certify.read(save).rows) == 6


@pytest.mark.skipif(os.name != "posix", reason="locks of this kind are POSIX")
def test_a_table_is_of_one_command_at_a_time(npsnn: Npsnn, where: tuple[Any, ...], tmp_path: Path) -> None:
    save = tmp_path / "rows.tsv"
    with save.open("ab") as other:
        assert lock(other.fileno())
        ended = npsnn("certify", *where, "--save", save)
        said = f"--save must name a file that nobody writes: another command is at work on {save}"
        assert said in ended.error_line(1) and not save.read_bytes()
    assert npsnn("certify", *where, "--save", save).code == 0, "an empty file is no table of other options"
    assert [row.index for row in certify.read(save).rows] == list(range(6))


def test_rows_of_other_images_are_not_gone_on_with(npsnn: Npsnn, where: tuple[Any, ...], tmp_path: Path) -> None:
    save = tmp_path / "rows.tsv"
    assert npsnn("certify", *where, "--save", save).code == 0
    lines = save.read_text().splitlines(keepends=True)
    save.write_text("".join([lines[0], *lines[2:]]))
    assert "are of other images" in npsnn("certify", *where, "--save", save).error_line(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--samples", 9), "--samples must be at least 10 (with alpha 0.001 fewer votes certify nothing), got 9"),
        (("--alpha", 0.5), "--alpha"),
        (("--selection", 0), "--selection"),
        (("--sigma", 0), "--sigma"),
        (("--radius", "far"), "--radius"),
    ],
)
def test_wrong_usage_names_the_option(
    npsnn: Npsnn, where: tuple[Any, ...], options: tuple[Any, ...], said: str
) -> None:
    assert said in npsnn("certify", *where, *options).error_line(2)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A runs folder with a network of noise on the features."""
    runs = tmp_path_factory.mktemp("features")
    common = ("--limit", "64", "--epochs", "1", "--threads", "1", "--data-dir", str(data_dir))
    with pytest.raises(SystemExit) as end:
        main(["train", "--noise", "features", "--name", "a2snn", "--runs-dir", str(runs), *common])
    assert not end.value.code
    return runs


def test_noise_on_features_is_refused_and_noise_on_the_images_is_not(
    npsnn: Npsnn, features: Path, data_dir: Path
) -> None:
    where = ("a2snn", "--runs-dir", features, "--data-dir", data_dir, *FEW)
    said = npsnn("certify", *where).error_line(1)
    assert (
        "noise on the features has a covariance of its own" in said and "give a sigma for noise on the images" in said
    )
    assert "noise of lenet5 is off" in npsnn("certify", *where, "--inference-sigma", 0).error_line(1)
    for own in ((), ("--inference-sigma", 0)):
        assert npsnn("certify", *where, "--sigma", 0.1, *own).code == 0
