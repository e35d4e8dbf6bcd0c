"""SPSA's estimate is the gradient, and its steps find what steps along the gradient find."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from one_by_one import OneByOne, waves
from small_networks import Asked, convolutional, images, linear, predicted

from npsnn.attacks import PGD, SPSA, ClosedForm, Expectation, Judging, robust_accuracy
from npsnn.attacks.balls import NORMS
from npsnn.attacks.targets import sampled
from npsnn.streams import Stream

RADIUS = {"linf": 0.1, "l2": 0.5}
X = images(6)


def shaped(count: int, shape: tuple[int, ...] = (2, 3, 4)) -> np.ndarray:
    return np.clip(np.random.default_rng(3).uniform(-0.1, 1.1, (count, *shape)), 0, 1)


def labels_of(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x)) % 3


@pytest.mark.slow
def test_the_estimate_is_the_gradient() -> None:
    slope = np.sin(1.0 + np.arange(24)).reshape(2, 3, 4)
    target = OneByOne(lambda image, label: float((slope * image).sum()) * (label + 1))
    attack, x = SPSA(0.1, directions=4000), np.full((2, 2, 3, 4), 0.5)
    found = attack._estimated(target, x, np.array([0, 1]), Stream(0))
    # a direction's estimate of one entry varies by the sum of the squares of the others
    error = np.sqrt((slope**2).sum() / 4000)
    assert (np.abs(found[0] - slope) < 4.5 * error).all() and (np.abs(found[1] - 2 * slope) < 9 * error).all()
    assert (found[0] != found[1] / 2).any(), "each image has directions of its own"
    # in one dimension two sides say all; a pixel at the border of the box moves to one side
    line = OneByOne(lambda image, label: 3 * float(image.sum()))
    one = attack._estimated(line, np.array([0.5, 0.0]).reshape(2, 1, 1, 1), np.zeros(2, int), Stream(0))
    np.testing.assert_allclose(one.ravel(), [3, 1.5], rtol=1e-12)


def test_both_sides_share_a_draw_and_directions_do_not() -> None:
    network = convolutional(0.3)
    target = Asked.like(sampled(network, 1, "margin"))
    SPSA(0.1, steps=2, directions=3)(target, X, predicted(network, X), Stream(0))
    asked = target.asked["value"]
    assert len(asked) == 2 * 2 * 3 + 2
    pairs = [(above, below) for above, below in zip(asked[1:-1:2], asked[2:-1:2], strict=True)]
    assert all(above == below for above, below in pairs) and len({above for above, _ in pairs}) == 6
    assert asked[0] == asked[-1]


@pytest.mark.parametrize("target", [OneByOne(), OneByOne(certain=False), OneByOne(noise=0.3, certain=False)])
@pytest.mark.parametrize("norm", NORMS)
def test_a_batch_is_its_images_to_the_bit(norm: str, target: OneByOne) -> None:
    x, attack = shaped(5), SPSA(RADIUS[norm], norm, 4, 6)
    whole = attack(target, x, labels_of(x), Stream(2).from_sample(5))
    for n in range(len(x)):
        one = attack(target, x[n : n + 1], labels_of(x)[n : n + 1], Stream(2).from_sample(5 + n))
        assert one.tobytes() == whole[n : n + 1].tobytes()
    attack.ball.check(whole, x)
    assert attack(target, x[:0], labels_of(x[:0]), Stream(0)).shape == (0, 2, 3, 4)
    assert (whole != x).any()


def test_an_image_that_is_misread_is_done() -> None:
    x, target = shaped(6), OneByOne()
    attack = SPSA(0.2, steps=20, directions=16)
    found = attack(target, x, labels_of(x), Stream(0))
    assert len(target.asked) <= attack.passes(target) == 2 * 16 * 20 + 20 + 2
    assert len(set(target.asked)) > 1
    losses = np.array([waves(one, n % 3) for n, one in enumerate(found)])
    further = attack(OneByOne(certain=False), x, labels_of(x), Stream(0))
    higher = np.array([waves(one, n % 3) for n, one in enumerate(further)])
    assert (losses > 0).any() and (higher >= losses - 1e-9).mean() > 0.8
    misread = OneByOne(lambda image, label: 1.0)
    np.testing.assert_array_equal(attack(misread, x, labels_of(x), Stream(0)), x)
    assert len(misread.asked) == 2


def test_a_flat_or_broken_loss_leaves_the_images_as_they_are() -> None:
    x = shaped(2)
    for value in (-1.0, np.nan):
        target = OneByOne(lambda image, label, value=value: value, certain=False)
        np.testing.assert_array_equal(SPSA(0.1, steps=3, directions=4)(target, x, labels_of(x), Stream(0)), x)


def test_a_direction_without_a_finite_loss_does_not_count() -> None:
    def often_nan(image: np.ndarray, label: int) -> float:
        return np.nan if int(1e7 * image.sum()) % 5 == 3 else float(image.sum())

    target, x = OneByOne(often_nan, certain=False), np.full((2, 1, 2, 2), 0.4)
    found = SPSA(0.1, steps=10, directions=20)(target, x, np.zeros(2, int), Stream(1))
    assert (found > x).all()


@pytest.mark.slow
@pytest.mark.parametrize("source", [Expectation("margin"), ClosedForm("least-win-probability")])
@pytest.mark.parametrize("norm", NORMS)
def test_it_finds_what_gradients_find(norm: str, source: Any) -> None:
    network = convolutional(0.3)
    target, labels = source.of(network), predicted(network, X)
    ours = SPSA(RADIUS[norm], norm, 30, 60)(target, X, labels, Stream(0))
    theirs = PGD(RADIUS[norm], norm, 30)(target, X, labels, Stream(0))
    clean, spsa, pgd = (target.value(x, labels, Stream(0)) for x in (X, ours, theirs))
    assert (spsa - clean > 0.9 * (pgd - clean)).all()


def test_a_network_that_ignores_its_input() -> None:
    network = linear(sigma=1.0)
    params = {"fc": {"w": np.zeros((3, 24)), "b": np.array([1.3, 0, 0])}}
    network, x = replace(network, params=network.params | params), images(150)
    logits = np.array([1.3, 0, 0]) + np.random.default_rng(0).standard_normal((200_000, 3))
    (result,) = robust_accuracy(network, x, np.zeros(150, int), [SPSA(0.2, steps=2, directions=4)], Judging(draws=20))
    low, high = result.accuracy.ci95
    assert low <= (logits.argmax(axis=1) == 0).mean() <= high


@pytest.mark.slow
def test_its_steps() -> None:
    """Adam's first step moves every pixel by its rate."""
    x = np.full((1, 1, 2, 2), 0.5)
    target = OneByOne(lambda image, label: float(image.sum()), certain=False)
    for norm, length in (("linf", 2.5 * 0.1 / 50), ("l2", 2.5 * 0.1 / 50 / 2)):
        calls: list[np.ndarray] = []

        class Seeing(OneByOne):
            def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream, calls: Any = calls) -> np.ndarray:
                calls.append(x)
                return target.value(x, labels, stream)

        SPSA(0.1, norm, 50, 64)(Seeing(certain=False), x, np.zeros(1, int), Stream(0))
        middle = (calls[1 + 128] + calls[2 + 128]) / 2
        np.testing.assert_allclose(middle - 0.5, length, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"directions": 0}, "directions must be >= 1, got 0"),
        ({"delta": 0.0}, "delta must be > 0 and finite, got 0.0"),
        ({"lr": -1.0}, "lr must be > 0 and finite, got -1.0"),
        ({"norm": "l0"}, "norm must be one of"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPSA(0.1, **options)
