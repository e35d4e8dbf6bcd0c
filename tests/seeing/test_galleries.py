"""Galleries: which images are shown, how they are read, and images of any shape and number of classes."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import images, linear, predicted

from npsnn import Classifier, models, seeing
from npsnn.attacks import FGSM, PGD, Group, Judging, robust_accuracy
from npsnn.files.npz import write_npz
from npsnn.seeing import plots
from npsnn.seeing.galleries import attacked_by, saved

NETWORK, X = linear(0.2), images(30)
LABELS = predicted(NETWORK, X)
JUDGING = Judging(draws=5)


@pytest.fixture(scope="module")
def attacked() -> dict[str, np.ndarray]:
    return attacked_by(list(robust_accuracy(NETWORK, X, LABELS, [FGSM(0.01)], JUDGING)))


def test_images_are_read_by_most_draws(attacked: dict[str, np.ndarray]) -> None:
    found = seeing.gallery(NETWORK, X, LABELS, attacked, JUDGING, 6)
    assert [shown.index for shown in found.images] == list(range(6)) and list(attacked) == ["fgsm at 0.01"]
    for shown in found.images:
        (changed,) = shown.changed
        np.testing.assert_array_equal(changed.x, attacked["fgsm at 0.01"][shown.index])
        for x, reading in ((shown.x, shown.reading), (changed.x, changed.reading)):
            own = JUDGING.stream.at("gallery").further(shown.index)
            answers = NETWORK.sample(x[None], own, 5)[:, 0].argmax(axis=1)
            counts = np.bincount(answers, minlength=3)
            assert (reading.name, reading.count, reading.draws) == (str(counts.argmax()), counts.max(), 5)
            assert reading.right == (int(reading.name) == LABELS[shown.index])


def test_members_that_ran_in_turn_are_one_attack_and_norms_are_told_apart() -> None:
    plain = NETWORK.with_sigma(0)
    group = Group("both", (FGSM(0.01), PGD(0.01, steps=2)))
    results = list(robust_accuracy(plain, X, LABELS, [group, FGSM(0.01, "l2")], JUDGING))
    found = attacked_by(results)
    assert list(found) == ["both linf at 0.01", "fgsm l2 at 0.01"]
    np.testing.assert_array_equal(found["both linf at 0.01"], results[1].x_adv)


def test_images_are_picked_by_what_became_of_them(attacked: dict[str, np.ndarray]) -> None:
    fooled, kept = (seeing.gallery(NETWORK, X, LABELS, attacked, JUDGING, 30, pick) for pick in ("fooled", "kept"))
    assert all(s.reading.right and not s.changed[0].reading.right for s in fooled.images)
    assert all(s.reading.right and s.changed[0].reading.right for s in kept.images)
    right = [s.index for s in seeing.gallery(NETWORK, X, LABELS, {}, JUDGING, 30).images if s.reading.right]
    assert fooled.images and kept.images
    assert sorted(s.index for s in (*fooled.images, *kept.images)) == right
    one = seeing.gallery(NETWORK, X, LABELS, attacked, JUDGING, 1, "fooled")
    assert one.images[0].index == fooled.images[0].index and one.says.startswith("1 of 30 images, the first that are")


def test_a_network_without_noise_has_one_answer() -> None:
    found = seeing.gallery(NETWORK.with_sigma(0), X, LABELS, {}, count=1)
    assert str(found.images[0].reading) == f"✓ {LABELS[0]}" and "draws" not in found.says


def colour() -> tuple[Classifier, np.ndarray, np.ndarray]:
    model = models.lenet5(shape=(3, 40, 30), classes=7)
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 40, 30), dtype=np.uint8)
    return Classifier(model, model.init(np.random.default_rng(0)), threads=1), x, np.arange(4)


def test_a_page_shows_colour_images_of_any_shape_with_the_names_of_classes(tmp_path: Path) -> None:
    network, x, labels = colour()
    names = ("kitchen", "garden", "hall", "<stairs>", "attic", "cellar", "street")
    found = seeing.gallery(network, x, labels, {"a & b": x[::-1] / 255}, Judging(draws=2), names=names, title="<run>")
    found.write(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count('width="30" height="40"') == 12 and "label &lt;stairs&gt;" in page and "a &amp; b" in page
    assert "<stairs>" not in page and "<run>" not in page
    sources = re.findall(r"(?:src|href|action|data)=\"([^\"]{12})", page)
    assert set(sources) == {"data:image/p"} and not re.findall(r"@import|url\(|<script|<link|https?:", page)


def test_a_png_shows_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    network, x, labels = colour()
    seeing.gallery(network, x, labels, {"a": x / 255}, Judging(draws=2), 1).write(tmp_path / "a.png", dark=True)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_words_of_a_png_do_not_run_into_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    figures: list[Any] = []
    monkeypatch.setattr(plots, "png_of", lambda figure, dark: figures.append(figure) or b"")
    network, x, labels = colour()
    names = [f"number {i} of the seven ${{classes" for i in range(7)]
    plots.gallery(seeing.gallery(network, x[:2], labels[:2], {"a": x[:2] / 255}, Judging(draws=2), names=names))
    (figure,) = figures
    figure.draw_without_rendering()
    spans = sorted((box.x0, box.x1) for box in (axes.title.get_window_extent() for axes in figure.axes))
    assert spans[0][0] >= 0 and spans[-1][1] <= figure.bbox.x1
    assert all(one[1] < other[0] for one, other in pairwise(spans))


def test_a_png_without_an_attack_shows_the_images_alone(tmp_path: Path) -> None:
    network, x, labels = colour()
    seeing.gallery(network, x, labels, {}, Judging(draws=2), 3).write(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def write(path: Path, **arrays: np.ndarray) -> Path:
    with path.open("wb") as file:
        write_npz(file, **arrays)
    return path


def test_saved_images_are_those_of_the_first_test_images(tmp_path: Path, attacked: dict[str, np.ndarray]) -> None:
    images = attacked["fgsm at 0.01"][:10]
    found = saved(write(tmp_path / "a.npz", labels=LABELS[:10], fgsm=images), X, LABELS)
    assert list(found) == ["fgsm"]
    np.testing.assert_array_equal(found["fgsm"], images)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"fgsm": X}, "must be a file of npsnn attack --save, got the arrays fgsm"),
        ({"labels": LABELS}, "must be a file of npsnn attack --save, got the arrays none"),
        (
            {"labels": LABELS, "fgsm": X[:, :1]},
            r"is of other images than these, .*: fgsm has the shape \(30, 1, 3, 4\)",
        ),
        ({"labels": (LABELS + 1) % 3, "fgsm": X}, "the labels differ"),
        ({"labels": LABELS[None], "fgsm": X}, "is of other images"),
        ({"labels": np.tile(LABELS, 2), "fgsm": np.tile(X, (2, 1, 1, 1))}, "the labels differ"),
    ],
)
def test_a_file_of_other_images_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        saved(write(tmp_path / "a.npz", **arrays), X, LABELS)


def test_what_makes_no_gallery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names must be of 3 classes, got 2"):
        seeing.gallery(NETWORK, X, LABELS, {}, names=("a", "b"))
    with pytest.raises(ValueError, match="attacked must have 30 images as x has, got 2 for 'a'"):
        seeing.gallery(NETWORK, X, LABELS, {"a": X[:2]})
    with pytest.raises(ValueError, match="pick"):
        seeing.gallery(NETWORK, X, LABELS, {}, pick="best")
    with pytest.raises(ValueError, match="none of 30 images is fooled"):
        seeing.gallery(NETWORK, X, LABELS, {"unchanged": X}, JUDGING, pick="fooled")
    with pytest.raises(ValueError, match=r"path must name a \.html or \.png"):
        seeing.gallery(NETWORK, X, LABELS, {}, JUDGING).write(tmp_path / "a.gif")
