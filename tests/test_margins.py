"""Margins against loops, their gradients against differences, and their limits without variance."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from strategies import SEEDS, frozen, variances

from npsnn.layers.moments import Moments
from npsnn.objectives import (
    AS_IT_IS,
    MARGINS,
    OBJECTIVES,
    TARGETED,
    least_win_probability,
    margin,
    true_class_probability,
)
from npsnn.ops.linear import joint_covariance
from npsnn.reference import ratio
from npsnn.testing.gradients import Arrays, check_gradient

SIZES = st.tuples(st.integers(2, 5), st.integers(1, 4))  # classes, N


def logits(seed: int, sizes: tuple[int, ...], kind: str) -> tuple[Moments, np.ndarray]:
    """With means far enough from one another that no small step changes which is largest."""
    rng = np.random.default_rng(seed)
    mean = rng.permuted(np.repeat(np.arange(sizes[0], dtype=float)[:, None], sizes[1], axis=1), axis=0)
    mean, labels = frozen(mean + rng.uniform(-0.3, 0.3, sizes)), rng.integers(sizes[0], size=sizes[1])
    if kind == "plain":
        return Moments(mean), labels
    if kind == "independent":
        return Moments(mean, frozen(variances(rng, sizes))), labels
    w, v = rng.normal(size=(sizes[0], sizes[0] + 1)), variances(rng, (sizes[0] + 1, sizes[1]))
    return Moments(mean, frozen(joint_covariance(v, w))), labels


def pairs(m: Moments, n: int, k: int) -> list[tuple[float, float]]:
    """mean_k - mean_i and Var(Y_k - Y_i) for each i ≠ k of example n, by loops."""
    found = []
    for i in sorted(set(range(len(m.mean))) - {k}):
        if m.var is None:
            s = 0.0
        elif m.var.ndim == 2:
            s = m.var[k, n] + m.var[i, n]
        else:
            s = m.var[k, k, n] + m.var[i, i, n] - 2 * m.var[k, i, n]
        found.append((float(m.mean[k, n] - m.mean[i, n]), float(s)))
    return found


def wanted(name: str, m: Moments, n: int, label: np.ndarray) -> float:
    if name in TARGETED:
        k, t = map(int, label)
        if name == "targeted-dlr":
            return ratio.targeted(m.mean[:, n], k, t)
        d, s = pairs(m, n, k)[t - (t > k)]
        return -d if name == "targeted-margin" or m.var is None else -d / np.sqrt(s)
    k = int(label)
    if name == "dlr":
        return ratio.leading(m.mean[:, n], k)
    if name == "margin":
        return -min(d for d, _ in pairs(m, n, k))
    if name == "least-win-probability":
        return -min(d / np.sqrt(s) for d, s in pairs(m, n, k))
    return -1 / (1 + sum(np.exp(-d) for d, _ in pairs(m, n, k)))


# the expected probability has the integral's gradient by the variance: tests/ops/test_expected.py
# and float32-cross-entropy has what single precision leaves: tests/attacks/test_authors.py
EXACT = [name for name in MARGINS if name not in ("expected-probability", AS_IT_IS)]
CASES = [(name, kind) for name in EXACT for kind in ("plain", "independent", "covariance")]
CASES.remove(("least-win-probability", "plain"))


@pytest.mark.parametrize(("name", "kind"), CASES)
@given(SEEDS, SIZES)
def test_values_and_gradients(name: str, kind: str, seed: int, sizes: tuple[int, ...]) -> None:
    m, labels = logits(seed, sizes, kind)
    if name in TARGETED:
        labels = np.stack([labels, (labels + 1) % sizes[0]], axis=1)
    value, cotangent = OBJECTIVES[name](m, labels)
    np.testing.assert_allclose(value, [wanted(name, m, n, k) for n, k in enumerate(labels)], rtol=1e-10)
    arrays: Arrays = {"mean": m.mean}
    gradients: dict[str, Any] = {"mean": cotangent.mean}
    if m.var is not None and cotangent.var is None:
        changed = Moments(m.mean, m.var * 3)
        np.testing.assert_array_equal(OBJECTIVES[name](changed, labels)[0], value)
    elif cotangent.var is not None:
        assert m.var is not None
        arrays, gradients = arrays | {"var": m.var}, gradients | {"var": cotangent.var}

    def f(a: Arrays) -> float:
        return float(OBJECTIVES[name](Moments(a["mean"], a.get("var", m.var)), labels)[0].sum())

    check_gradient(f, arrays, gradients)


@given(SEEDS)
def test_the_least_margin_is_the_least_probability_to_win(seed: int) -> None:
    m, labels = logits(seed, (4, 3), "covariance")
    least = [min(ndtr(d / np.sqrt(s)) for d, s in pairs(m, n, int(k))) for n, k in enumerate(labels)]
    np.testing.assert_allclose(ndtr(-least_win_probability(m, labels)[0]), least)


def test_margins_of_known_logits() -> None:
    m, labels = Moments(np.array([[3.0, 1.0], [1.0, 1.5], [2.0, -5.0]]), np.full((3, 2), 0.5)), np.array([0, 0])
    value, cotangent = margin(m, labels)
    np.testing.assert_array_equal(value, [-1, 0.5])
    np.testing.assert_array_equal(cotangent.mean, [[-1, -1], [0, 1], [1, 0]])
    assert cotangent.var is None
    np.testing.assert_array_equal(least_win_probability(m, labels)[0], value)


def test_a_sure_margin_keeps_its_gradient() -> None:
    """Where every probability is 1 to the last digit."""
    m, labels = Moments(np.array([[1e4], [0.0]]), np.full((2, 1), 0.5)), np.array([0])
    assert -1e-270 < true_class_probability(m, labels)[1].mean[0, 0] < 0
    np.testing.assert_array_equal(least_win_probability(m, labels)[1].mean, [[-1], [1]])
    m = Moments(np.array([[40.0], [0.0]]))
    np.testing.assert_allclose(true_class_probability(m, labels)[1].mean[:, 0], np.exp(-40) * np.array([-1, 1]))


def test_a_pair_without_variance_is_decided() -> None:
    mean, labels = np.array([[1.0, 1.0], [0.5, 1.5], [0.0, -3.0]]), np.array([0, 0])
    var = np.zeros((3, 3, 2))
    var[2, 2] = 1.0
    value, cotangent = least_win_probability(Moments(mean, var), labels)
    assert value[0] == -1, "a pair that is surely won is not the least"
    assert value[1] > 1e100 and np.isfinite(value[1])
    assert np.isfinite(cotangent.mean).all() and (cotangent.mean[:, 1] == 0).all()


def test_without_noise_there_are_no_standard_deviations() -> None:
    with pytest.raises(ValueError, match="least-win-probability objective needs noise"):
        least_win_probability(Moments(np.zeros((2, 1))), np.array([0]))


def test_on_the_gpu(cupy: Any) -> None:
    for kind, name in (
        ("covariance", "least-win-probability"),
        ("plain", "margin"),
        ("plain", "true-class-probability"),
    ):
        m, labels = logits(3, (4, 3), kind)
        device = Moments(cupy.asarray(m.mean), None if m.var is None else cupy.asarray(m.var))
        value, cotangent = OBJECTIVES[name](device, cupy.asarray(labels))
        expected = OBJECTIVES[name](m, labels)
        np.testing.assert_allclose(value.get(), expected[0])
        np.testing.assert_allclose(cotangent.mean.get(), expected[1].mean)
