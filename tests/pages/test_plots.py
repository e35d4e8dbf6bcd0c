"""Pictures: colours that stand out on both papers, and what matplotlib is given to draw."""

import importlib.util
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npsnn.pages import plots
from npsnn.pages.page import page
from npsnn.pages.pictures import Line, Panel, Picture

X = np.array([0.0, 0.1, 0.2])
drawn = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra plot of npsnn")


def line(label: str, *rows: list[float], **look: Any) -> Line:
    return Line(label, X, *map(np.array, rows), **look)


def picture() -> Picture:
    curve = line("curve", [1.0, 0.5, 0.25], [0.9, 0.4, 0.2], [1.0, 0.6, 0.3], steps=True)
    below = line("below", [0.5, 0.2, 0.0], steps=True, filled=True, colour=0)
    points = line("points", [0.9, 0.6, 0.3], [0.7, 0.5, 0.2], [1.0, 0.65, 0.4], dashed=True)
    epochs = Line("loss", np.array([1.0, 2.0]), np.array([0.7, -3.0]))
    left = Panel("eps", "accuracy", [curve, below, points])
    return Picture("test", [left, Panel("epoch", "loss", [epochs], False, True)], "two")


def small() -> Picture:
    return Picture("small", [Panel("eps", "accuracy", [line("curve", [1.0, 0.5, 0.25])])])


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_both_papers() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ink, paper in (plots.LIGHT, plots.DARK):
        assert contrast(ink, paper) > 7
        assert min(contrast(colour, paper) for colour in plots.COLOURS) >= 3
    assert len(set(plots.COLOURS)) == len(plots.MARKERS) == 8


def test_a_picture_has_its_numbers() -> None:
    first, second = picture().as_json()["panels"]
    numbers = {"x": [0, 0.1, 0.2], "y": [1, 0.5, 0.25], "low": [0.9, 0.4, 0.2], "high": [1, 0.6, 0.3]}
    assert first["lines"][0] == {"label": "curve", **numbers}
    assert second["lines"] == [{"label": "loss", "x": [1, 2], "y": [0.7, -3]}]


def test_steps_have_corners() -> None:
    x, y = plots.corners(np.array([0.0, 1.0]), np.array([0.9, 0.4]), 2.0)
    assert x.tolist() == [0, 1, 1, 2] and y.tolist() == [0.9, 0.9, 0.4, 0.4]


@drawn
def test_what_is_drawn() -> None:
    figure = plots._figure(picture(), plots.LIGHT)
    left, right = figure.axes
    assert left.get_ylim() == (0, 1.02) and left.get_xlim() == pytest.approx((0, 0.21))
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["curve", "below", "points"]
    lines: dict[Any, Any] = {line.get_label(): line for line in left.lines}
    np.testing.assert_array_equal(lines["curve"].get_ydata(), [1, 1, 0.5, 0.5, 0.25, 0.25])
    assert lines["below"].get_color() == plots.COLOURS[0] != lines["curve"].get_color()
    (points,) = left.containers
    np.testing.assert_allclose([s[:, 1] for s in points[2][0].get_segments()], [[0.7, 1], [0.5, 0.65], [0.2, 0.4]])
    assert len(left.collections) == 3  # the space below, the band of the curve, the intervals of the points
    assert right.get_ylim()[0] < -3 and right.get_ylabel() == "loss"
    assert figure.get_suptitle() == "two"


@drawn
def test_panels_stand_side_by_side_or_below_one_another() -> None:
    for stacked in (False, True):
        figure = plots._figure(replace(picture(), stacked=stacked), plots.LIGHT)
        figure.draw_without_rendering()
        one, other = (axes.get_window_extent() for axes in figure.axes)
        assert (one.y0 > other.y1, one.x1 < other.x0) == (stacked, not stacked)
        assert figure.get_figwidth() == plots.SIZE[0] * (1 if stacked else 2)


@drawn
def test_any_name_is_shown_as_it_is() -> None:
    names = ["_a", "$\\bad{$", "<b>x", "long " * 40]
    panel = Panel("eps", "accuracy", [line(name, [0.5, 0.4, 0.3]) for name in names])
    picture = Picture("odd", [panel], "$\\worse{$ " * 20)
    figure = plots._figure(picture, plots.LIGHT)
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [" ".join(text.split()) for text in texts] == [name.strip() for name in names]
    assert plots.png(picture).startswith(b"\x89PNG") and "<b>" not in plots.inline(picture)
    figure.draw_without_rendering()
    paper, width = figure.bbox, axes.get_window_extent().width
    for text in (*axes.get_legend().get_texts(), figure._suptitle):
        assert text.get_window_extent().x1 <= paper.x1
    assert width > 0.8 * paper.width


@drawn
def test_letters_that_the_font_lacks_are_letters_of_an_svg_and_one_warning_of_a_png() -> None:
    picture = Picture("b", [Panel("eps", "accuracy", [line("\u732b\u306e", [0.5, 0.4, 0.3])])], "\u732b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.inline(picture).count("\u732b") == 2
    with pytest.warns(UserWarning, match="lacks \u732b\u306e: the picture has boxes") as warned:
        plots.png(picture)
    assert len(warned) == 1


@drawn
def test_no_two_of_many_lines_look_alike() -> None:
    panel = Panel("eps", "accuracy", [line(str(i), [0.5, 0.4, 0.3]) for i in range(20)])
    (axes,) = plots._figure(Picture("many", [panel]), plots.LIGHT).axes
    looks = [(own[0].get_color(), own[0].get_marker()) for own in axes.containers]
    assert len(set(looks)) == 20


@drawn
def test_an_svg_follows_its_reader_and_equal_pictures_give_equal_bytes(tmp_path: Path) -> None:
    source = plots.inline(small())
    ink = plots.LIGHT[0]
    assert source.startswith("<svg") and source.count(ink) == source.count(f": {ink}; ") * 2 > 0
    assert "--ink" not in plots.COLOURS and "<metadata" not in source
    plots.write(small(), tmp_path / "a.svg")
    plots.write(small(), tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "@media(prefers-color-scheme:dark)" in text and text.startswith("<?xml")


@drawn
def test_a_png_has_light_or_dark_paper() -> None:
    from io import BytesIO

    from matplotlib.image import imread

    for dark, paper in ((False, 1.0), (True, 0x16 / 255)):
        image = imread(BytesIO(plots.png(small(), dark)))
        assert image[0, 0, 0] == pytest.approx(paper, abs=1e-3)


@pytest.mark.parametrize("name", ["a.gif", "none/a.png"])
def test_another_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"path must name a \.png or \.svg in a folder that exists"):
        plots.write(small(), tmp_path / name)


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"a plot needs matplotlib: install .* 'npsnn\[plot\]'"):
        plots.inline(small())


@pytest.mark.parametrize("ending", plots.MARKS)
def test_a_file_of_others_is_not_replaced(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine{ending}"
    path.write_text("<html><title>thesis</title>")
    with pytest.raises(
        ValueError, match=rf"--out would replace .*mine\{ending}, which does not say that npsnn wrote it: choose a"
    ):
        plots.check_path(path, "--out", (ending,))
    assert path.read_text() == "<html><title>thesis</title>"
    if ending == ".html":
        path.write_text(page("a run", "<p>text</p>"))
    else:
        path.unlink()
        plots.write(small(), path)
    plots.check_path(path, "--out", (ending,))
