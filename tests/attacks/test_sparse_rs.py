"""Sparse-RS is the paper's algorithm, image by image, and finds the few pixels that matter."""

from typing import Any

import numpy as np
import pytest
from one_by_one import OneByOne, waves
from small_networks import convolutional, images, predicted

from npsnn.attacks import ClosedForm, EoT, Judging, SparseRS, robust_accuracy
from npsnn.attacks.sparse_rs import Pixels
from npsnn.streams import Stream
from reference import sparse_rs as plain


def shaped(count: int, shape: tuple[int, ...] = (2, 5, 4), dtype: Any = np.float64) -> np.ndarray:
    return np.clip(np.random.default_rng(3).uniform(-0.1, 1.1, (count, *shape)), 0, 1).astype(dtype)


def labels_of(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x)) % 3


CASES = [((2, 5, 4), 1), ((1, 5, 4), 7), ((3, 4, 6), 24), ((2, 5, 4), 18), ((1, 1, 1), 1), ((3, 28, 20), 40)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "pixels"), CASES)
def test_it_is_the_plain_attack_to_the_bit(shape: tuple[int, ...], pixels: int, dtype: Any) -> None:
    x, queries, stream = shaped(3, shape, dtype), 230, Stream(8)

    def less(image: np.ndarray, label: int) -> float:
        return waves(image, label) - 3

    found = SparseRS(pixels, queries)(OneByOne(less), x, labels_of(x), stream)
    for n, image in enumerate(x):

        def drawn(path: Any, size: Any, n: int = n) -> Any:
            return stream.at(*path).from_sample(n).uniform(np.empty((*size, 1)))[..., 0]

        def loss(image: Any, n: int = n) -> float:
            return less(image, n % 3)

        theirs = plain.sparse_rs(loss, image, pixels, queries, 0.3, drawn, True)
        assert found[n].tobytes() == theirs.tobytes(), n


@pytest.mark.parametrize("target", [OneByOne(), OneByOne(certain=False), OneByOne(noise=0.3, certain=False)])
def test_a_batch_is_its_images_to_the_bit(target: OneByOne) -> None:
    x, attack = shaped(6), SparseRS(4, 230)
    whole = attack(target, x, labels_of(x), Stream(2).from_sample(5))
    for n in range(len(x)):
        one = attack(target, x[n : n + 1], labels_of(x)[n : n + 1], Stream(2).from_sample(5 + n))
        assert one.tobytes() == whole[n : n + 1].tobytes()
    attack.ball.check(whole, x)
    assert attack(target, x[:0], labels_of(x[:0]), Stream(0)).shape == (0, 2, 5, 4)


def test_how_many_pixels_are_exchanged() -> None:
    """The schedule of the authors' code for 10,000 queries, with 100 pixels."""
    pixels = Pixels(100, 10_000, 0.3, True, 1, 784)
    at = {0: 30, 1: 15, 50: 15, 51: 7, 201: 6, 501: 5, 1001: 3, 2001: 3, 4001: 2, 6001: 2, 8001: 1, 9999: 1}
    assert {i: pixels.exchanged(i) for i in at} == at
    assert Pixels(100, 5000, 0.3, True, 1, 784).exchanged(26) == 7
    assert Pixels(100, 5000, 0.3, False, 1, 784).exchanged(26) == 15
    assert Pixels(3, 5000, 0.3, False, 1, 784).exchanged(0) == 1


def test_no_more_than_its_pixels_change_and_all_are_in_corners_of_the_cube() -> None:
    x = shaped(3, (2, 9, 7))
    seen, attack = np.zeros((9, 7), bool), SparseRS(5, 400)

    class Seeing(OneByOne):
        def value(self, x_adv: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
            attack.ball.check(x_adv, x)
            moved = (x_adv != x).any(axis=1)
            assert np.isin(np.moveaxis(x_adv, 1, -1)[moved], [0, 1]).all()
            np.logical_or(seen, moved.any(axis=0), out=seen)
            return super().value(x_adv, labels, stream)

    attack(Seeing(certain=False), x, labels_of(x), Stream(1))
    assert seen.all()


def test_the_pixels_that_matter_are_found() -> None:
    weights = np.zeros((1, 6, 6))
    weights[0, [0, 5, 3], [5, 5, 1]] = [3, -2, 1.5]
    x = np.full((4, 1, 6, 6), 0.5)
    target = OneByOne(lambda image, label: float((weights * image).sum()), certain=False)
    found = SparseRS(3, 1500)(target, x, np.zeros(4, int), Stream(0))
    assert (found[:, 0, [0, 5, 3], [5, 5, 1]] == [1, 0, 1]).all()
    assert (target.value(found, np.zeros(4, int), Stream(0)) == 4.5).all()


def test_it_ends_where_an_image_is_misread() -> None:
    x, target = shaped(3), OneByOne(lambda image, label: 1.0 if (image == 0).sum() > 4 else -1.0)
    found = SparseRS(5, 300)(target, x, np.zeros(3, int), Stream(0))
    assert ((found == 0).sum(axis=(1, 2, 3)) > 4).all() and len(target.asked) < 60


@pytest.mark.parametrize("source", [EoT(2), ClosedForm()])
def test_on_networks(source: Any) -> None:
    network, x = convolutional(0.3), images(6)
    labels = predicted(network, x)
    left = [
        next(robust_accuracy(network, x, labels, [attack], Judging(draws=40))).accuracy.mean
        for attack in (SparseRS(1, 4, source=source), SparseRS(4, 250, source=source))
    ]
    assert left[1] < left[0] - 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": 0}, "pixels must be >= 1, got 0"),
        ({"queries": 0}, "queries must be >= 1, got 0"),
        ({"share": 0.0}, "share must be > 0 and at most 1, got 0.0"),
        ({"rescale": 2}, "rescale must be"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseRS(**options)


def test_an_image_has_only_so_many_pixels() -> None:
    x = shaped(2)
    with pytest.raises(ValueError, match="pixels must be at most 20, as an image has no more, got 21"):
        SparseRS(21)(OneByOne(), x, labels_of(x), Stream(0))
