"""Answers of several draws against loops, and that sure draws lose nothing."""

from itertools import product

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen

from npsnn.ops import loss
from npsnn.ops.answers import log_mean_probability, log_mean_probability_backward, votes
from npsnn.reference import answers as reference
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(1, 3))  # draws, classes, N


def logits(seed: int, sizes: tuple[int, ...], scale: float = 2.0) -> np.ndarray:
    return frozen(scale * np.random.default_rng(seed).normal(size=sizes))


@given(SEEDS, SIZES)
def test_values_are_those_of_loops(seed: int, sizes: tuple[int, ...]) -> None:
    z = logits(seed, sizes)
    found, counted = log_mean_probability(z)[0], votes(z)
    for n in range(sizes[2]):
        mean = reference.mean_probability(z[..., n])
        np.testing.assert_allclose(found[:, n], np.log(mean), rtol=1e-12)
        np.testing.assert_allclose(counted[:, n], reference.votes(z[..., n]) + mean, rtol=1e-12)


@given(SEEDS, SIZES)
def test_the_gradient_is_that_of_any_function_of_the_answer(seed: int, sizes: tuple[int, ...]) -> None:
    z, g = logits(seed, sizes), logits(seed + 1, sizes[1:])
    _, *kept = log_mean_probability(z)
    found = log_mean_probability_backward(g, *kept)
    check_gradient(lambda a: (g * log_mean_probability(a["z"])[0]).sum(), {"z": z}, {"z": found})
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)


@given(SEEDS, SIZES)
def test_the_cross_entropy_of_the_answer_has_the_known_gradient(seed: int, sizes: tuple[int, ...]) -> None:
    """r_k (p_k - e_y), r_k the draw's share in the probability of the label; the value is -ln of that."""
    z, labels = logits(seed, sizes), np.random.default_rng(seed).integers(sizes[1], size=sizes[2])
    answer, *kept = log_mean_probability(z)
    value, g = loss.cross_entropy(answer, labels)
    found = log_mean_probability_backward(g, *kept)
    for n, y in enumerate(labels):
        assert value[n] == pytest.approx(reference.surprise(z[..., n], int(y)), rel=1e-10)
        np.testing.assert_allclose(found[..., n], reference.surprise_gradient(z[..., n], int(y)), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lead", [30.0, 500.0, 1000.0, 1e6])
def test_sure_answers_keep_the_direction_of_their_gradient(lead: float, dtype: type) -> None:
    """Draws that are sure of the label, of another class, or of one each; and nothing is written or widened."""
    for leads in product((lead, -lead, 0.6 * lead), repeat=2):
        z = np.array([[[one], [0.0], [-3.0]] for one in leads], dtype)
        answer, *kept = log_mean_probability(frozen(z))
        assert np.isfinite(answer).all() and answer.dtype == dtype
        _, g = loss.cross_entropy(answer.astype(np.float64), np.array([0]))
        g /= np.abs(g).max()
        found = log_mean_probability_backward(g.astype(dtype), *kept)[..., 0]
        assert np.isfinite(found).all() and found.dtype == dtype
        # the draw that decides has the gradient of its own cross-entropy, in the unit of the answer's
        weakest = 0 if abs(leads[0]) <= abs(leads[1]) else 1
        if max(leads) < 0 or min(leads) > 0:
            deciding = found[int(np.argmax(leads))] if max(leads) < 0 else found[weakest]
            assert deciding[0] < -0.1 and deciding[1] > 0.1
        np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_that_are_sure_of_different_classes_keep_their_direction(dtype: type) -> None:
    """Against 50 digits: r_k (p_k - e_y) is exp(-1000) or so for all draws. Single precision may miss a class."""
    z = 700 * np.random.default_rng(4).normal(size=(4, 5, 30)).astype(dtype)
    labels = z[0].argmax(axis=0)
    answer, *kept = log_mean_probability(frozen(z))
    _, g = loss.cross_entropy(answer.astype(np.float64), labels)
    unit = np.abs(g).max(axis=0)
    found = log_mean_probability_backward((g / unit).astype(dtype), *kept).astype(np.float64)
    with mp.workdps(50):
        for n, y in enumerate(labels):
            p = [[mp.exp(mp.mpf(float(a)) - mp.mpf(float(one.max()))) for a in one] for one in z[..., n]]
            p = [[a / mp.fsum(one) for a in one] for one in p]
            total = mp.fsum(one[y] for one in p)
            others = [[one[y] / total * a * (c != y) for c, a in enumerate(one)] for one in p]
            exact = [[a - (c == y) * mp.fsum(row) for c, a in enumerate(row)] for row in others]
            most = max(abs(a) for row in exact for a in row)
            wanted = np.array([[float(a / most) for a in row] for row in exact])
            assert np.abs(found[..., n]).max() > 0, "the gradient is lost"
            assert (found[:, y, n] <= 0).all() and found[:, y, n].min() < 0
            if dtype == np.float64:
                np.testing.assert_allclose(found[..., n] / np.abs(found[..., n]).max(), wanted, atol=1e-3)


def test_a_draw_that_is_sure_keeps_its_own_part() -> None:
    """Beside one that is less so: the difference of the formula's terms would be 0 for the label."""
    z = np.array([[[5.0], [0.0]], [[60.0], [0.0]]])
    answer, *kept = log_mean_probability(z)
    _, g = loss.cross_entropy(answer, np.array([0]))
    found = log_mean_probability_backward(g, *kept)
    np.testing.assert_allclose(found[1, :, 0], np.array([-1, 1]) * np.exp(-60) / (1 + 1 / (1 + np.exp(-5))), rtol=1e-6)


def test_votes_are_counted_and_probabilities_decide_ties() -> None:
    z = np.array([[5.0, 4.0, 0.0], [0.0, 0.1, 0.0], [9.0, 0.0, 8.9], [0.0, 0.0, 0.1], [0.0, 3.0, 0.0]])[..., None]
    counted = votes(z)[:, 0]
    assert counted.astype(int).tolist() == [2, 2, 1] and counted.argmax() == np.argmax(
        reference.mean_probability(z[..., 0])
    )
    assert votes(np.array([[[900.0], [0.0]]]))[:, 0].tolist() == [2.0, 0.0]
