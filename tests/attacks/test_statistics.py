"""Intervals and paired differences: known values, exact tests, and how often either is wrong."""

from itertools import product
from math import inf

import numpy as np
import pytest
from scipy.special import ndtr

from npsnn.attacks.judging import Accuracy
from npsnn.attacks.statistics import LEVEL, Difference, needed, paired_interval, sign_flip, wilson_interval


def judged(each: list[float]) -> tuple[float, float]:
    return Accuracy(np.array(each)).ci95


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (0, 10, 0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_known_from_the_literature(right: int, of: int, low: float, high: float) -> None:
    """The last three are Newcombe's (Statistics in Medicine 17, 1998, Table I, method 3)."""
    assert judged([1.0] * right + [0.0] * (of - right)) == pytest.approx((low, high), abs=6e-5)


def test_an_interval_follows_the_spread_of_the_images() -> None:
    """Of the same accuracy: images that are right or wrong in every draw, and ever more alike."""
    spreads = ([1.0, 0.0], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5])
    widths = [high - low for low, high in (judged(pair * 100) for pair in spreads)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200 + 1.96**2), rel=1e-3)
    # of normal theory, 2 z s / √N
    assert widths[1] == pytest.approx(2 * 1.96 * 0.3 / np.sqrt(200), rel=0.01)
    assert widths[3] > 0


def test_intervals_are_sane_at_the_ends() -> None:
    for each in ([0.5], [0.5, 0.5], [1.0], [0.0], [0.1] * 3, [1.0] * 5000, [1.0] * 5000 + [0.9]):
        low, high = judged(each)
        assert 0 <= low <= np.mean(each) <= high <= 1 and high - low > 0, each
    assert judged([0.9, 1.0, 1.0])[1] == pytest.approx(1 - judged([0.1, 0.0, 0.0])[0])
    many = np.random.default_rng(0).binomial(3, 0.7, (4, 50)) / 3
    low, high = wilson_interval(many)
    assert [(a, b) for a, b in zip(low, high, strict=True)] == [Accuracy(each).ci95 for each in many]


def test_an_image_that_is_always_wrong_may_not_be_among_them() -> None:
    """Of images that all but one are right in every draw, one in 60 may well be wrong in every draw."""
    low, high = judged([1.0] * 59 + [0.98])
    assert low < 0.96 < 1 - 1 / 60 and high == pytest.approx(1, abs=2e-3)
    low, high = judged([0.98] * 60)
    assert low > 0.97, "of images that are all alike there is no such one"


def test_an_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        Accuracy(np.zeros(0))


def test_differences_are_paired_over_images() -> None:
    rng = np.random.default_rng(0)
    easy = rng.integers(0, 8, 100) / 10
    more, less = easy + 0.2, easy + rng.integers(0, 3, 100) / 10
    found = Difference.of(more, less)
    assert found.mean == pytest.approx((more - less).mean())
    assert found.error == pytest.approx((more - less).std(ddof=1) / 10)
    assert found.surely() and not Difference.of(less, more).surely()
    assert not Difference.of(easy, easy).surely() and Difference.of(easy, easy).chance == 1
    assert Difference.of(np.ones(1), np.zeros(1)) == Difference(1.0, inf, 0.5)
    assert Difference(0.2, 0.1, 0.01).surely(2) and not Difference(0.2, 0.1, 0.01).surely(3)


@pytest.mark.parametrize("draws", [1, 3, 7, 10])
@pytest.mark.parametrize("images", [1, 2, 5, 10])
def test_the_test_is_exact(draws: int, images: int) -> None:
    """Against all choices of signs."""
    rng = np.random.default_rng(images)
    for _ in range(10):
        differences = rng.integers(-draws, draws + 1, images) / draws
        sums = np.array(list(product([-1, 1], repeat=images))) @ np.abs(differences)
        assert sign_flip(differences) == pytest.approx((sums >= differences.sum() - 1e-9).mean(), abs=1e-12)


@pytest.mark.slow
def test_a_sum_of_many_differences_is_nearly_normal() -> None:
    rng = np.random.default_rng(0)
    for draws in (50, 201):
        differences = rng.integers(-draws, draws + 2, 1500) / draws
        expected = ndtr(-differences.sum() / np.sqrt((differences**2).sum()))
        assert sign_flip(differences) == pytest.approx(expected, abs=2e-3)
    assert 0 < sign_flip(np.ones(900)) < 1e-12
    assert sign_flip(np.ones(270_000)) < 1e-12, "of more images than a sum may have values"


@pytest.mark.slow
@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize("images", [2, 3, 10, 50])
def test_attacks_that_are_alike_rarely_differ_surely(images: int, draws: int) -> None:
    rng = np.random.default_rng(images)
    probability = rng.beta(0.7, 0.7, (4000, 1, images))
    pairs = rng.binomial(draws, np.repeat(probability, 2, axis=1)) / draws
    rate = np.mean([Difference.of(*pair).surely() for pair in pairs])
    assert rate <= LEVEL
    assert rate > 0.01 or images < 50, "it need not be timid where there are images enough"


def test_fewer_images_than_needed_never_differ_surely() -> None:
    for comparisons in (1, 3, 28):
        least = needed(comparisons)
        ones = np.ones(least)
        assert Difference.of(ones, 0 * ones).surely(comparisons)
        assert not Difference.of(ones[1:], 0 * ones[1:]).surely(comparisons)
    assert (needed(1), needed(28)) == (6, 11)


def test_paired_intervals_known_from_the_formula() -> None:
    """60 pairs, of which 12 differ one way and 4 the other: Agresti and Min with half an answer added to each cell."""
    each = np.repeat([1.0, -1.0, 0.0], [12, 4, 44])
    n, one, other = 62, 12.5, 4.5
    mean = (one - other) / n
    half = 1.959963984540054 * np.sqrt((one + other) - (one - other) ** 2 / n) / n
    assert paired_interval(each) == pytest.approx((mean - half, mean + half), rel=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4])
def test_a_paired_interval_covers_the_difference(rate: float) -> None:
    """Pairs that agree but for some, judged on four draws each; no difference at all leaves an interval, too."""
    rng, found = np.random.default_rng(2), []
    for _ in range(400):
        base = rng.random(60)
        one, other = (rng.binomial(4, np.clip(base + shift, 0, 1)) / 4 for shift in (rate / 2, -rate / 2))
        low, high = paired_interval(one - other)
        assert -1 <= low < high <= 1
        truth = np.mean(np.clip(base + rate / 2, 0, 1) - np.clip(base - rate / 2, 0, 1))
        found.append(low <= truth <= high)
    assert np.mean(found) > 0.92
    low, high = paired_interval(np.zeros(60))
    assert low < 0 < high


def test_the_images_that_two_networks_share_widen_no_paired_interval() -> None:
    rng = np.random.default_rng(0)
    hard = (rng.random(200) < 0.5).astype(float)
    one = np.clip(hard + (rng.random(200) < 0.05), 0, 1)
    low, high = paired_interval(one - hard)
    assert high - low < 0.5 * (judged(list(one))[1] - judged(list(one))[0])
