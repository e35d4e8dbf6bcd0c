"""Square is the paper's algorithm, image by image, and reaches what its squares can reach."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from one_by_one import OneByOne, waves
from small_networks import convolutional, images, linear, on_features, predicted

from npsnn.attacks import Square, robust_accuracy
from npsnn.attacks.balls import NORMS
from npsnn.attacks.base import target_of
from npsnn.attacks.judging import Judging, judge
from npsnn.attacks.proposals import WINDOW, stage
from npsnn.attacks.sources import ClosedForm, EoT
from npsnn.attacks.square import Squares, bumps
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.objectives import OBJECTIVES
from npsnn.streams import Stream
from reference import square as plain

RADIUS = {"linf": 0.1, "l2": 0.6}


def shaped(count: int, shape: tuple[int, ...] = (2, 9, 7), dtype: Any = np.float64) -> np.ndarray:
    return np.clip(np.random.default_rng(3).uniform(-0.1, 1.1, (count, *shape)), 0, 1).astype(dtype)


def labels_of(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x)) % 3


def attacked(norm: str, x: np.ndarray, target: Any, queries: int = 250, seed: int = 0) -> np.ndarray:
    return Square(RADIUS[norm], norm, queries)(target, x, labels_of(x), Stream(seed).from_sample(5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 7, 7), (3, 28, 20), (2, 9, 12), (2, 3, 4), (1, 1, 1), (2, 2, 5)])
@pytest.mark.parametrize("norm", NORMS)
def test_it_is_the_plain_attack_to_the_bit(norm: str, shape: tuple[int, ...], dtype: Any) -> None:
    large = np.prod(shape) > 500
    x, queries, stream = shaped(2 if large else 4, shape, dtype), 30 if large else 230, Stream(8)
    found = Square(RADIUS[norm], norm, queries)(OneByOne(), x, labels_of(x), stream)
    for n, image in enumerate(x):

        def drawn(path: Any, size: Any, n: int = n) -> Any:
            return stream.at(*path).from_sample(n).uniform(np.empty((*size, 1)))[..., 0]

        def loss(image: Any, n: int = n) -> float:
            return waves(image, n % 3)

        theirs = plain.square(loss, image, RADIUS[norm], norm, queries, 0.8, drawn, True)
        assert found[n].tobytes() == theirs.tobytes(), n


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", [OneByOne(), OneByOne(certain=False), OneByOne(noise=0.3, certain=False), OneByOne(noise=0.3)]
)
@pytest.mark.parametrize("norm", NORMS)
def test_a_batch_is_its_images_to_the_bit(norm: str, target: OneByOne) -> None:
    x = shaped(7)
    whole = attacked(norm, x, target)
    for n in range(len(x)):
        one = Square(RADIUS[norm], norm, 250)(
            target, x[n : n + 1], labels_of(x)[n : n + 1], Stream(0).from_sample(5).further(n)
        )
        assert one.tobytes() == whole[n : n + 1].tobytes()
    assert (attacked(norm, x, target, seed=1) != whole).any()
    chosen = [4, 1, 6]
    some = Square(RADIUS[norm], norm, 250)(
        target, x[chosen], labels_of(x)[chosen], Stream(0).from_sample(5).chosen(chosen)
    )
    assert some.tobytes() == whole[chosen].tobytes()


def test_an_image_that_is_misread_is_asked_no_more_and_changes_nobody_else() -> None:
    x, target = shaped(8), OneByOne()
    found = attacked("linf", x, target)
    assert target.asked[0] == 8 and len(set(target.asked)) > 3 and sorted(target.asked, reverse=True) == target.asked
    losses = [waves(one, n % 3) for n, one in enumerate(found)]
    assert max(losses) > 0
    # the first misread point is kept: a search that goes on would rise further
    further = attacked("linf", x, OneByOne(certain=False))
    for n, loss in enumerate(losses):
        assert (waves(further[n], n % 3) > loss) == (loss > 0)


def test_all_misread_at_the_start_and_none_left() -> None:
    x = shaped(3)
    target = OneByOne(lambda image, label: 1.0)
    np.testing.assert_array_equal(attacked("linf", x, target), x)
    assert target.asked == [3]
    target = OneByOne(lambda image, label: 1.0 if (image != x[label]).any() else -1.0)
    assert (attacked("l2", x, target) != x).any(axis=(1, 2, 3)).all()
    assert target.asked == [3, 3]
    for norm in NORMS:
        assert attacked(norm, x[:0], OneByOne()).shape == (0, 2, 9, 7)
        assert attacked(norm, x[:0], OneByOne(noise=1.0)).shape == (0, 2, 9, 7)


@pytest.mark.parametrize("target", [OneByOne(certain=False), OneByOne(signed=False)])
def test_a_look_that_is_not_certain_ends_nothing(target: OneByOne) -> None:
    attacked("linf", shaped(4), target, 120)
    assert target.asked == [4] * 120


def test_a_loss_of_exactly_0_is_not_misread() -> None:
    """The logits of two classes are equal, and the argmax names the first: that may be the label."""
    target, x = OneByOne(lambda image, label: float(label)), shaped(2)
    np.testing.assert_array_equal(attacked("linf", x, target, 20), x)
    assert target.asked == [2] + [1] * 19


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("queries", [1, 2, 3, 4, 5, 99, 100, 101, 102, 103, 104, 230])
def test_the_budget_holds(queries: int, noise: float) -> None:
    x, target = shaped(2), OneByOne(noise=noise, certain=False)
    attack = Square(0.1, queries=queries)
    attack(target, x, labels_of(x), Stream(0))
    assert len(target.asked) <= attack.passes(target) == max(queries, 4 if noise else 2)
    assert len(target.asked) > queries - 3


def test_windows_of_draws() -> None:
    """Each window has its draws; the next one decides between the points before and after."""
    target = OneByOne(noise=1.0, certain=False)
    attacked("linf", shaped(2), target, 300)
    names = [stream.path[-1] for stream in target.streams]
    assert names == [0] * WINDOW + [1] * WINDOW + [2] * (WINDOW - 3) + [-1] * 3


def test_a_point_that_won_by_luck_is_given_up() -> None:
    """The loss is noise: a search that holds its draws finds a point that fits them, and takes it for a gain."""

    @np.vectorize
    def unlike(number: float) -> float:
        return float(np.sin(1e6 * number))

    class Fitting(OneByOne):
        def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
            super().value(x, labels, stream)
            key = float(stream.uniform(np.empty((1, 1)))[0, 0])
            return np.array([unlike(one.sum() + key) for one in x]) - (x.sum(axis=(1, 2, 3)) != X0.sum())

    X0 = shaped(1)
    found = attacked("linf", X0, Fitting(noise=1.0, certain=False))
    np.testing.assert_array_equal(found, X0)


def test_the_next_draws_decide_whether_a_window_was_worth_it() -> None:
    """The first window's draws prefer bright images, all others dark ones."""

    class Turning(OneByOne):
        def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
            super().value(x, labels, stream)
            bright = x.sum(axis=(1, 2, 3)) * (1 if stream.path[-1] == 0 else -1)
            return np.where((x == 0.4).all(axis=(1, 2, 3)), -1e9, bright)

    x, target = np.full((2, 1, 9, 9), 0.4), Turning(noise=1.0, certain=False)
    stripes = Squares(0.1, 180, 0.8, True, 1, 9, 9)
    start = stripes.first(stripes.fixed(x), Stream(4).at("first"))[0]
    least = start.sum(axis=(1, 2, 3))
    found = Square(0.1, queries=180)(target, x, np.zeros(2, int), Stream(4))
    assert (found.sum(axis=(1, 2, 3)) <= least).all()


def test_every_place_of_the_image_is_reached() -> None:
    squares = Squares(0.1, 100, 0.8, True, 1, 5, 9)
    numbers = Stream(0).uniform(np.empty((2, 4000)))
    for side in (1, 3, 5):
        rows, columns = squares.corners(numbers, side)
        assert set(rows) == set(range(5 - side + 1)) and set(columns) == set(range(9 - side + 1))
        share = np.bincount(columns) / 4000
        np.testing.assert_allclose(share, 1 / (9 - side + 1), atol=0.03)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(1, 6, 9), (2, 28, 20), (1, 3, 3)])
def test_last_row_and_column_move_and_stay_in_the_ball(norm: str, shape: tuple[int, ...]) -> None:
    x, attack = shaped(3, shape, np.float32), Square(RADIUS[norm], norm, 120)
    seen = np.zeros(shape, bool)

    class Seeing(OneByOne):
        def value(self, x_adv: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
            attack.ball.check(x_adv, x)
            np.logical_or(seen, (x_adv != x).any(axis=0), out=seen)
            return super().value(x_adv, labels, stream)

    attack(Seeing(certain=False), x, labels_of(x), Stream(1))
    for edge in (seen[:, -1], seen[:, :, -1], seen[:, 0], seen[:, :, 0]):
        assert edge.all() if norm == "linf" else edge.mean() > 0.8


def test_pixels_are_at_the_ends_of_their_range_in_linf() -> None:
    x = shaped(4)
    found = attacked("linf", x, OneByOne(certain=False))
    ends = np.stack([np.clip(x - 0.1, 0, 1), np.clip(x + 0.1, 0, 1)])
    assert (found == ends).any(axis=0).all()


def test_images_have_places_of_their_own() -> None:
    x = np.repeat(shaped(1), 4, axis=0)
    for norm in NORMS:
        found = Square(RADIUS[norm], norm, 20)(OneByOne(certain=False), x, np.zeros(4, int), Stream(0))
        assert len({one.tobytes() for one in found}) == 4


@pytest.mark.parametrize(("height", "width"), [(5, 5), (3, 3), (6, 4), (4, 6), (25, 25), (1, 1), (1, 4), (2, 2)])
def test_the_bump(height: int, width: int) -> None:
    upright, lying = bumps(height, width)
    for bump in (upright, lying):
        assert (bump**2).sum() == pytest.approx(1, abs=1e-12) and (bump != 0).all()
    assert (upright[: height // 2] > 0).all() and (upright[height // 2 :] < 0).all()
    assert (lying[:, : width // 2] > 0).all() and (lying[:, width // 2 :] < 0).all()
    if height == width == 5:
        # 3 x 5: 1 + 1/4 + 1/9 in the middle, then 1/4 + 1/9, at the edge 1/9
        rings = np.array([[0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 1, 1, 1, 0]])
        expected = np.array([1 / 9, 1 / 4 + 1 / 9, 1 + 1 / 4 + 1 / 9])[rings]
        np.testing.assert_allclose(upright[2:] / upright[2, 0], expected / expected[0, 0], rtol=1e-12)


def test_the_schedule_is_stretched_to_the_budget() -> None:
    changes = [i for i in range(1, 10_000) if stage(i, 10_000) != stage(i - 1, 10_000)]
    assert changes == [11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    assert [stage(i, 10_000) for i in (0, 10, 11, 9999)] == [0, 0, 1, 9]
    assert [i for i in range(1, 5000) if stage(i, 5000) != stage(i - 1, 5000)][:3] == [6, 26, 101]
    assert stage(4999, 5000) == 9 and stage(4999, 5000, rescale=False) == 7
    few = Square(0.1, queries=5000, rescale=False)
    sides = [Squares(0.1, 5000, 0.8, r, 1, 28, 28).side(4999) for r in (True, False)]
    assert not few.rescale and [round(side) for side in sides] == [1, 2]
    assert round(Squares(0.1, 5000, 0.8, True, 1, 28, 28).side(0)) == 25


@pytest.mark.parametrize(("norm", "share"), [("linf", 0.99), ("l2", 0.75)])
def test_the_best_corner_of_a_linear_loss_is_nearly_reached(norm: str, share: float) -> None:
    slope = np.sin(1.0 + np.arange(64)).reshape(1, 8, 8)
    target = OneByOne(lambda image, label: float((slope * (image - 0.5)).sum()), certain=False)
    x = np.full((2, 1, 8, 8), 0.5)
    found = Square(0.1, norm, 3000)(target, x, np.zeros(2, int), Stream(0))
    best = 0.1 * {"linf": np.abs(slope).sum(), "l2": np.sqrt((slope**2).sum())}[norm]
    assert ((slope * (found - 0.5)).sum(axis=(1, 2, 3)) > share * best).all()


def test_networks_that_ignore_their_input_keep_their_accuracy() -> None:
    network = linear(sigma=1.0)
    w = np.zeros((3, 24))
    network = replace(network, params=network.params | {"fc": {"w": w, "b": np.array([1.3, 0, 0])}})
    x = images(200)
    logits = np.array([1.3, 0, 0]) + np.random.default_rng(0).standard_normal((200_000, 3))
    share = (logits.argmax(axis=1) == 0).mean()
    assert 0.6 < share < 0.9
    for source in (EoT(1), ClosedForm()):
        (result,) = robust_accuracy(
            network, x, np.zeros(200, int), [Square(0.2, queries=130, source=source)], Judging(draws=20)
        )
        low, high = result.accuracy.ci95
        assert low <= share <= high, source


def test_what_it_asks_and_takes() -> None:
    attack = Square(0.1, queries=50)
    quiet, noisy = linear(0.0), convolutional(0.3)
    assert target_of(attack, quiet).objective is OBJECTIVES["margin"]
    assert target_of(replace(attack, source=ClosedForm()), noisy).objective is OBJECTIVES["least-win-probability"]
    x = images(4)
    labels = predicted(noisy, x)
    for target in (
        sampled(noisy, 2, "margin"),
        closed_form(noisy, "least-win-probability"),
        known(noisy, 3, "margin"),
        expectation(noisy, "cross-entropy"),
        sampled(on_features(), 2, "true-class-probability"),
    ):
        found = attack(target, x, labels, Stream(0))
        attack.ball.check(found, x)
        fresh = Stream(99)
        assert (target.value(found, labels, fresh) >= target.value(x, labels, fresh)).mean() >= 0.5, target.kind
    assert attack.passes(sampled(noisy, 3)) == 150 and attack.passes(expectation(quiet)) == 50


def test_the_draw_that_is_known_is_the_draw_that_judges() -> None:
    network, x = convolutional(0.3), images(6)
    labels = predicted(network, x)
    target = known(network, Stream(3), "margin")
    assert target.certain and target.signed
    found = Square(0.5, queries=400)(target, x, labels, Stream(0))
    misread = judge(network, found, labels, 1, Stream(3)) == 0
    assert misread.any()
    np.testing.assert_array_equal(misread, target.value(found, labels, Stream(0)) > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries must be >= 1, got 0"),
        ({"queries": 2.5}, "queries must be a whole number >= 1, got 2.5"),
        ({"share": 0.0}, "share must be > 0 and at most 1, got 0.0"),
        ({"share": 1.5}, "share must be > 0 and at most 1, got 1.5"),
        ({"rescale": "no"}, "rescale must be"),
        ({"norm": "l0"}, "norm must be one of"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Square(0.1, **options)
