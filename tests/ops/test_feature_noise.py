"""Feature noise and its rewards against the plain formulas, their gradients against finite differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen

from npsnn.ops import feature_noise
from npsnn.reference import a2snn, alignment, authors_code
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(2, 5), st.integers(1, 6))  # classes, features
FORMS = {
    "classes": (feature_noise.alignment, alignment.alignment_slopes),
    "pairs": (feature_noise.pairwise_alignment, alignment.pairwise_slopes),
    "log trace": (feature_noise.log_trace, authors_code.log_trace_slopes),
}
each_form = pytest.mark.parametrize(("f", "plain"), FORMS.values(), ids=list(FORMS))


def values(seed: int, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """w (C, D) and a lower triangular L (D, D) whose diagonal has both signs."""
    rng = np.random.default_rng(seed)
    features = sizes[1]
    L = np.tril(rng.normal(size=(features, features)), -1)
    return rng.normal(size=sizes), L + np.diag(rng.uniform(0.3, 2, features) * rng.choice([-1, 1], features)), rng


@given(SEEDS, SIZES)
def test_noise_is_added_example_by_example(seed: int, sizes: tuple[int, int]) -> None:
    _, L, rng = values(seed, sizes)
    f, eps, dz = (rng.normal(size=(sizes[1], 3)) for _ in range(3))
    z = feature_noise.add_noise(f, L, eps)
    np.testing.assert_allclose(z.T, [x + L @ e for x, e in zip(f.T, eps.T, strict=True)], rtol=1e-12, atol=1e-13)
    arrays = {"f": f, "L": L}
    grads = {"f": dz, "L": feature_noise.add_noise_backward(dz, L, eps)}
    check_gradient(lambda a: (feature_noise.add_noise(a["f"], np.tril(a["L"]), eps) * dz).sum(), arrays, grads)


@given(SEEDS, SIZES)
def test_entropy(seed: int, sizes: tuple[int, int]) -> None:
    _, L, _ = values(seed, sizes)
    value, dL = feature_noise.max_entropy(frozen(L))
    want = np.linalg.slogdet(2 * np.pi * np.e * L @ L.T)[1] / 2
    assert value == pytest.approx(want, rel=1e-9, abs=1e-9)
    assert value == pytest.approx(alignment.max_entropy(L), rel=1e-13)
    check_gradient(lambda a: feature_noise.max_entropy(np.tril(a["L"]))[0], {"L": L}, {"L": dL})


def test_entropy_of_many_dimensions_stays_in_the_range_of_single_precision() -> None:
    L = 1e-3 * np.eye(256, dtype=np.float32)
    value, dL = feature_noise.max_entropy(L)
    assert value == pytest.approx(256 * (np.log(2 * np.pi * np.e) / 2 + np.log(1e-3)), rel=1e-5)
    assert dL.dtype == np.float32


@given(SEEDS, SIZES)
def test_the_logarithm_of_the_entropy(seed: int, sizes: tuple[int, int]) -> None:
    _, L, _ = values(seed, sizes)
    L = L + 3 * np.diag(np.sign(np.diag(L)))  # entropy well above 0
    value, dL = feature_noise.log_entropy(frozen(L))
    want, by_factor = authors_code.log_entropy_slopes(L)
    assert value == pytest.approx(want, rel=1e-13)
    np.testing.assert_allclose(dL, by_factor, rtol=1e-12)
    check_gradient(lambda a: feature_noise.log_entropy(np.tril(a["L"]))[0], {"L": L}, {"L": dL})


@pytest.mark.parametrize("level", [0.0, 0.1, 0.2419, np.nan])
def test_an_entropy_without_a_logarithm_is_refused(level: float) -> None:
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=r"entropy of the noise must be > 0 .*, got "):
        feature_noise.log_entropy(np.diag([level] * 3))
    assert np.isfinite(feature_noise.log_entropy(np.diag([0.242] * 3))[0])


@each_form
@given(SEEDS, SIZES)
def test_alignment(f: Callable[..., Any], plain: Callable[..., Any], seed: int, sizes: tuple[int, int]) -> None:
    w, L, _ = values(seed, sizes)
    found = f(frozen(w), frozen(L))
    for got, want in zip(found, plain(w, L), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    grads = {"w": found[1], "L": found[2]}
    check_gradient(lambda a: f(a["w"], np.tril(a["L"]))[0], {"w": w, "L": L}, grads, rtol=1e-5)


@each_form
@given(SEEDS, SIZES)
def test_alignment_grows_with_the_scale(
    f: Callable[..., Any], plain: Callable[..., Any], seed: int, sizes: tuple[int, int]
) -> None:
    """Euler: scaling L, or all weights, by t adds 2 ln t for each logarithm: of a class, of a pair, or of a trace."""
    w, L, _ = values(seed, sizes)
    _, dw, dL = f(w, L)
    pairs = len(w) * (len(w) - 1) / 2
    terms = {feature_noise.alignment: len(w), feature_noise.pairwise_alignment: pairs, feature_noise.log_trace: 1}[f]
    assert (w * dw).sum() == pytest.approx(2 * terms)
    assert (L * dL).sum() == pytest.approx(2 * terms)


def test_noise_common_to_all_logits_raises_the_printed_alignment_alone() -> None:
    w, L, _ = values(0, (4, 6))
    u = np.linalg.lstsq(w, np.ones(4), rcond=None)[0]
    louder = np.linalg.cholesky(L @ L.T + 100 * np.outer(u, u))
    assert feature_noise.alignment(w, louder)[0] - feature_noise.alignment(w, L)[0] > 5
    assert feature_noise.pairwise_alignment(w, louder)[0] == pytest.approx(feature_noise.pairwise_alignment(w, L)[0])


def test_the_gradient_of_a_draw_is_that_of_the_plain_formula() -> None:
    w, L, rng = values(1, (4, 5))
    F, eps, b, labels = rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), rng.normal(size=4), rng.integers(4, size=6)
    want = a2snn.reparameterised(F, labels, w, b, L, eps)
    logits = w @ feature_noise.add_noise(F.T, L, eps.T) + b[:, None]
    delta = (a2snn.softmax(logits.T).T - np.eye(4)[:, labels]) / 6
    np.testing.assert_allclose(feature_noise.add_noise_backward(w.T @ delta, L, eps.T), want.L, rtol=1e-12, atol=1e-15)
