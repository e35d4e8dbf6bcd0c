"""MART's parts against the slow plain version with many digits, finite differences, and their limits."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen

from npsnn.ops import mart
from npsnn.reference import two_views as reference
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(2, 6), st.integers(1, 4))  # classes, N
SURE = [-1000.0, -60.0, -30.0, -3.0, 0.0, 3.0, 30.0, 60.0, 1000.0]
guarded = pytest.mark.parametrize("safeguards", [False, True])


def values(seed: int, sizes: tuple[int, int], scale: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=sizes), scale * rng.normal(size=sizes), rng.integers(sizes[0], size=sizes[1])


def whole(z: np.ndarray, zz: np.ndarray, labels: np.ndarray, safeguards: bool) -> tuple[np.ndarray, ...]:
    """MART's loss with a weight of 3, and its cotangents."""
    boosted, by_boosted = mart.boosted_cross_entropy(zz, labels, safeguards)
    apart, by_z, by_zz = mart.unsure_divergence(z, zz, labels, safeguards)
    return boosted + 3 * apart, 3 * by_z, by_boosted + 3 * by_zz


@guarded
@given(SEEDS, SIZES)
def test_values(safeguards: bool, seed: int, sizes: tuple[int, int]) -> None:
    z, zz, labels = values(seed, sizes)
    by_loops = reference.mart_of_the_code if safeguards else reference.mart
    wanted = [by_loops(z[:, n].tolist(), zz[:, n].tolist(), int(k), 3.0) for n, k in enumerate(labels)]
    np.testing.assert_allclose(whole(frozen(z), frozen(zz), labels, safeguards)[0], wanted, rtol=1e-10)


@guarded
@given(SEEDS, SIZES)
def test_gradients(safeguards: bool, seed: int, sizes: tuple[int, int]) -> None:
    z, zz, labels = values(seed, sizes)
    _, dz, dzz = whole(z, zz, labels, safeguards)
    found = {"z": dz, "zz": dzz}
    check_gradient(lambda a: whole(a["z"], a["zz"], labels, safeguards)[0].sum(), {"z": z, "zz": zz}, found)
    for g in (dz, dzz):
        np.testing.assert_allclose(g.sum(axis=0), 0, atol=1e-13)


@given(SEEDS)
def test_the_formula_of_the_paper(seed: int) -> None:
    """(q - e_y) + q_c/(1 - q_c) (e_c - q) + w λ (q - p), and λ [w p∘(ℓ - K) - K p_y (e_y - p)], w = 1 - p_y."""
    z, zz, labels = values(seed, (4, 3))
    p, q = (np.exp(a) / np.exp(a).sum(axis=0) for a in (z, zz))
    y = np.eye(4)[labels].T
    c = np.eye(4)[np.where(y > 0, 0, q).argmax(axis=0)].T
    w, apart, worst = 1 - (p * y).sum(axis=0), np.log(p / q), (q * c).sum(axis=0)
    K = (p * apart).sum(axis=0)
    _, dz, dzz = whole(z, zz, labels, False)
    np.testing.assert_allclose(dzz, q - y + worst / (1 - worst) * (c - q) + 3 * w * (q - p), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dz, 3 * (w * p * (apart - K) - K * (p * y).sum(axis=0) * (y - p)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("lead", SURE)
def test_a_sure_wrong_class_keeps_its_digits(lead: float) -> None:
    """-ln(1 - q_c) and q_c/(1 - q_c) (e_c - q) where q_c is 1 or 0 but for less than a number can tell."""
    zz, labels = np.array([[0.0], [lead], [-1.0]]), np.array([0])
    value, slope = mart.boosted_cross_entropy(zz, labels)
    with mp.workdps(1000):
        e = [mp.exp(mp.mpf(float(a))) for a in zz[:, 0]]
        q = [a / sum(e) for a in e]
        c = 1 if q[1] > q[2] else 2
        wanted = float(-mp.log(q[0]) - mp.log(1 - q[c]))
        ratio = q[c] / (1 - q[c])
        by = [float(q[i] - (i == 0) + ratio * ((i == c) - q[i])) for i in range(3)]
    np.testing.assert_allclose(value, wanted, rtol=1e-13)
    np.testing.assert_allclose(slope[:, 0], by, rtol=1e-12, atol=1e-300)


@guarded
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_margins_of_a_thousand_give_numbers(dtype: type, safeguards: bool) -> None:
    ends = np.array([[s, t, 0] for s in SURE for t in SURE], dtype).T
    for other in (ends, ends[::-1], -ends, 0 * ends):
        for label in range(3):
            labels = np.full(ends.shape[1], label)
            found = whole(ends, np.ascontiguousarray(other), labels, safeguards)
            for a in found:
                assert np.isfinite(a).all() and a.dtype == dtype
            assert (found[0] >= -1e-3).all()  # 1.0001 - q_c may be above 1


def test_the_likeliest_wrong_class_is_no_label() -> None:
    """Where the label leads, c is the second; the gradient raises the label, and lowers c most of the others."""
    zz = np.array([[2.0], [1.0], [0.5]])
    _, slope = mart.boosted_cross_entropy(zz, np.array([0]))
    assert slope[0, 0] < 0 and slope[1, 0] > slope[2, 0]
    assert slope[2, 0] < np.exp(0.5) / np.exp(zz).sum(), "(e_c - q) takes some of the push from the third class"


def test_safeguards_change_next_to_nothing() -> None:
    z, zz, labels = values(0, (10, 50))
    for exact, code in zip(whole(z, zz, labels, False), whole(z, zz, labels, True), strict=True):
        np.testing.assert_allclose(code, exact, rtol=0, atol=0.02)
        assert (code != exact).any()
