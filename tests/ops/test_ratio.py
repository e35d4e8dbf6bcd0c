"""The difference of logits ratio: against the plain version, differences, its invariances and its ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from npsnn.ops import ratio
from npsnn.reference import ratio as reference
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(2, 7), st.integers(1, 4))  # classes, N


def apart(seed: int, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are not near each other, labels and other classes."""
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(sizes[0]), (sizes[1], 1)), axis=1).T
    mean = order + rng.uniform(-0.3, 0.3, sizes)
    labels = rng.integers(sizes[0], size=sizes[1])
    return mean, labels, (labels + rng.integers(1, sizes[0], size=sizes[1])) % sizes[0]


@given(SEEDS, SIZES)
def test_the_values_are_those_of_the_plain_version(seed: int, sizes: tuple[int, int]) -> None:
    mean, labels, targets = apart(seed, sizes)
    columns = range(sizes[1])
    wanted = [reference.leading(mean[:, n], int(labels[n])) for n in columns]
    np.testing.assert_allclose(ratio.leading(mean, labels)[0], wanted, rtol=1e-13, atol=1e-15)
    wanted = [reference.targeted(mean[:, n], int(labels[n]), int(targets[n])) for n in columns]
    np.testing.assert_allclose(ratio.targeted(mean, labels, targets)[0], wanted, rtol=1e-13, atol=1e-15)


@given(SEEDS, SIZES)
def test_the_cotangents_are_gradients(seed: int, sizes: tuple[int, int]) -> None:
    mean, labels, targets = apart(seed, sizes)
    for f in (lambda z: ratio.leading(z, labels), lambda z: ratio.targeted(z, labels, targets)):
        check_gradient(lambda a, f=f: f(a["mean"])[0].sum(), {"mean": mean}, {"mean": f(mean)[1]})  # type: ignore[misc]


@given(SEEDS, SIZES)
def test_neither_an_offset_nor_a_scale_changes_it(seed: int, sizes: tuple[int, int]) -> None:
    mean, labels, targets = apart(seed, sizes)
    for least, f in ((3, lambda z: ratio.leading(z, labels)), (4, lambda z: ratio.targeted(z, labels, targets))):
        value, slope = f(mean)
        np.testing.assert_allclose(slope.sum(axis=0), 0, atol=1e-12)
        if sizes[0] >= least:
            np.testing.assert_allclose(f(1000 * mean + 7)[0], value, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose((slope * mean).sum(axis=0), 0, atol=1e-12)


def test_right_answers_are_in_minus_one_to_zero_and_wrong_ones_above() -> None:
    mean = np.random.default_rng(0).normal(size=(10, 4000))
    labels = np.random.default_rng(1).integers(10, size=4000)
    value = ratio.leading(mean, labels)[0]
    right = mean.argmax(axis=0) == labels
    assert ((value >= -1) & (value <= 0))[right].all() and (value > 0)[~right].all()


def test_a_label_that_is_third_has_no_gradient() -> None:
    value, slope = ratio.leading(np.array([[3.0], [2.0], [1.0], [0.0]]), np.array([2]))
    np.testing.assert_allclose(value, 1)
    np.testing.assert_allclose(slope, 0, atol=1e-15)


@pytest.mark.parametrize("mean", [[2.0, 2.0, 2.0, 0.0], [2.0, 2.0, 2.0 - 1e-13, 0.0], [1.0] * 4])
def test_ties_have_a_gradient_of_bounded_size(mean: list[float]) -> None:
    z, label, target = np.array(mean)[:, None], np.array([1]), np.array([3])
    for value, slope in (ratio.leading(z, label), ratio.targeted(z, label, target)):
        assert np.isfinite(value).all() and np.abs(slope).max() < 3e3, (value, slope)
    assert ratio.leading(z, label)[1][1, 0] < 0  # the label goes down


def test_the_first_of_equal_rivals_is_raised() -> None:
    _, slope = ratio.leading(np.array([[1.0], [3.0], [1.0], [0.0]]), np.array([1]))
    assert slope[0, 0] > slope[2, 0]


def test_the_last_of_three_classes_can_be_raised() -> None:
    """Over z_(1) - z_(3) its ratio would be -1 everywhere, without a slope."""
    _, slope = ratio.targeted(np.array([[3.0], [2.0], [1.0]]), np.array([0]), np.array([2]))
    np.testing.assert_array_equal(slope, [[-1], [0], [1]])
