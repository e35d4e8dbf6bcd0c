"""Tables of certificates: numbers come back exactly, torn lines are left out, and other files are refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from small_networks import convolutional, images

from npsnn import certify
from npsnn.certify import ABSTAIN, Certificate, Certificates, table

ROWS = [
    Certificate(0, 7, 7, 0.1 + 0.2, 0.9912345678901234, 7, 0.25),
    Certificate(1, 2, ABSTAIN, 0.0, 0.4, 2, 1.5),
    Certificate(2, 1, 3, 0.05, 0.6, 3, 0.0),
    Certificate(3, 1, 1, float("inf"), 0.6, 1, 0.0),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for row in ROWS:
        table.append(tmp_path / "some.tsv", row)
    return tmp_path / "some.tsv"


def test_rows_come_back_exactly(path: Path) -> None:
    assert list(certify.read(path).rows) == ROWS
    assert list(certify.read(str(path)).radius) == [0.1 + 0.2, 0, 0.05, np.inf]


def test_the_table_has_the_columns_of_locuslab(path: Path) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0])[:6] == ["idx", "label", "predict", "radius", "correct", "time"]
    assert [row["correct"] for row in rows] == ["1", "0", "0", "1"]
    assert [row["predict"] for row in rows] == ["7", "-1", "3", "1"]
    # its accuracy at a radius: the mean of correct & (radius >= r)
    theirs = [np.mean([row["correct"] == "1" and float(row["radius"]) >= r for row in rows]) for r in (0.0, 0.1, 0.31)]
    assert theirs == [certify.read(path).accuracy(r).mean for r in (0.0, 0.1, 0.31)] == [0.5, 0.5, 0.25]


@pytest.mark.parametrize("torn", range(1, 60, 7))
def test_a_torn_last_line_is_left_out_and_cut_off(path: Path, torn: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:torn].replace(b"\n", b""))
    assert table.rows(path) == ROWS
    table.cut(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["", "id", "idx\tlabel"])
def test_a_file_with_no_row_is_no_table_but_may_become_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "begun.tsv"
    path.write_text(content)
    assert table.rows(path) == []
    table.cut(path)
    table.append(path, ROWS[0])
    assert table.rows(path) == ROWS[:1]
    path.write_text(content)
    with pytest.raises(ValueError, match="at least one image"):
        certify.read(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("4\t1\t1\t0.5\t1\t0.1\t0.9", "line 6"),
        ("4\t1\t1\t-0.5\t1\t0.1\t0.9\t1", "line 6"),
        ("4\t1\t1\tnan\t1\t0.1\t0.9\t1", "line 6"),
        ("4\t1\t2\t0.5\t1\t0.1\t0.9\t1", "line 6"),
        ("4\t1\tone\t0.5\t1\t0.1\t0.9\t1", "line 6"),
    ],
)
def test_a_row_that_is_none_is_refused(path: Path, line: str, said: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=f"some.tsv, {said}, is no row"):
        certify.read(path)


def test_an_image_that_is_there_twice_is_refused(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))
    with pytest.raises(ValueError, match=f"some.tsv, line {len(lines) + 1}, has the image 0 of line 2 again"):
        table.read(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("name\tvalue\n1\t2\n")
    with pytest.raises(ValueError, match="must be a table with the columns idx, label"):
        certify.read(tmp_path / "a.tsv")
    with pytest.raises(FileNotFoundError):
        certify.read(tmp_path / "b.tsv")


def test_round_radii_reach_the_largest_that_is_certified() -> None:
    def radii(*certified: float) -> list[float]:
        rows = [Certificate(i, 1, 1, r, 0.9, 1, 0) for i, r in enumerate(certified)]
        return Certificates((*rows, Certificate(9, 1, 0, 77.0, 0.9, 0, 0))).radii()

    assert radii(0.53) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert radii(0.2, 1.9) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert radii(0.0) == [0] == radii(float("inf"))
    for largest in np.geomspace(1e-6, 1e6, 200):
        found = radii(float(largest))
        assert 3 < len(found) < 10 and found[-1] <= largest < found[-1] + found[1] * (1 + 1e-9)


def test_what_a_summary_says(path: Path) -> None:
    found = certify.read(path)
    assert [found.in_draws(r).each[3] for r in (0.0, 9.0)] == [0.6, 0.6] and found.in_draws().each[1] == 0
    assert found.accuracy().mean == 0.5 and found.answered.mean == 0.75
    assert found.abstained.tolist() == [False, True, False, False]
    assert found.accuracy().ci95[0] < 0.5 < found.accuracy().ci95[1]
    assert repr(found) == "<4 certificates, 0.5 right, radius up to inf>"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 0}, "n must be >= 1"),
        ({"n0": 0}, "n0 must be >= 1"),
        ({"n": 9}, "samples must be at least 10"),
        ({"n": 2, "alpha": 0.25}, "samples must be at least 3"),
        ({"alpha": 0}, "alpha must be"),
        ({"alpha": 0.5}, "alpha must be"),
        ({"sigma": -1.0}, "sigma must be"),
        ({"rng": 0.5}, "rng must be"),
    ],
)
def test_wrong_options_are_named(options: dict[str, float], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        certify.certify(convolutional(), images(2), np.zeros(2, int), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [float("nan"), -0.1])
def test_a_radius_that_is_none_is_refused(path: Path, radius: float) -> None:
    found = table.read(path)
    for ask in (found.accuracy, found.in_draws):
        with pytest.raises(ValueError, match=f"radius must be >= 0, got {radius}"):
            ask(radius)
