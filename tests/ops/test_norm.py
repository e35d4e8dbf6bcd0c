"""Batch normalisation against loops, its gradients against finite differences and the whole Jacobian."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import Pixels, batch_first, batch_last, frozen, images, variances

from npsnn.ops import norm
from npsnn.ops.channels import channel_dots, channel_sums, per_channel
from npsnn.reference import normalisation
from npsnn.testing.gradients import Arrays, check_gradient

EPSILON = 1e-3
IMAGES = images(smallest=2, largest=5)
each_form = pytest.mark.parametrize("vectors", [False, True], ids=["images", "vectors"])


def values(pixels: Pixels, vectors: bool = False) -> tuple[Arrays, np.random.Generator]:
    """Moments of the input and parameters; batches of vectors have at least three, so that a variance is no kink."""
    rng, c = pixels.rng, pixels.channels
    shape = (c, pixels.batch + 2) if vectors else pixels.shape
    arrays = {"x": rng.normal(2, 1.5, shape), "v": variances(rng, shape)}
    arrays |= {"w": rng.normal(size=c), "b": rng.normal(size=c), "m": rng.normal(size=c), "s": variances(rng, c)}
    return {name: frozen(a) for name, a in arrays.items()}, rng


def fixed(a: Arrays) -> tuple[np.ndarray, np.ndarray, Any]:
    return norm.fixed_norm(a["x"], a["v"], (a["w"], a["b"]), (a["m"], a["s"]), EPSILON)


def whole(x: np.ndarray, w: np.ndarray, b: np.ndarray, epsilon: float) -> Any:
    """A batch in one part."""
    return norm.batch_norm(x, w, b, epsilon, x.size // len(w), lambda sums: sums)


@given(IMAGES)
def test_values_and_gradients_are_those_of_the_loops(pixels: Pixels) -> None:
    a, rng = values(pixels)
    x, w, b = batch_first(a["x"]), a["w"], a["b"]
    y, mean, var, saved = whole(a["x"], w, b, EPSILON)
    centre, spread = normalisation.channel_statistics(x)
    count = x.size // len(w)
    np.testing.assert_allclose(mean, centre, rtol=1e-11)
    np.testing.assert_allclose(var, spread * count / (count - 1), rtol=1e-11)
    wanted = normalisation.batch_norm(x, w, b, centre, spread, EPSILON)
    np.testing.assert_allclose(y, batch_last(wanted), rtol=1e-10, atol=1e-12)
    dy = rng.normal(size=y.shape)
    dx, dw, db = normalisation.batch_norm_gradients(batch_first(dy), x, w, EPSILON)
    got_dw, got_db = norm.batch_norm_weight_backward(dy, saved)
    np.testing.assert_allclose(got_dw, dw, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got_db, db, rtol=1e-9, atol=1e-12)
    got = norm.batch_norm_backward(dy, w, got_dw, got_db, saved)
    np.testing.assert_allclose(got, batch_last(dx), rtol=1e-8, atol=1e-11)


@each_form
@given(IMAGES)
def test_gradients_of_batch_norm(vectors: bool, pixels: Pixels) -> None:
    a, rng = values(pixels, vectors)
    a = {name: a[name] for name in ("x", "w", "b")}
    y, _, _, saved = whole(a["x"], a["w"], a["b"], EPSILON)
    dy = frozen(rng.normal(size=y.shape))
    dw, db = norm.batch_norm_weight_backward(dy, saved)
    gradients = {"x": norm.batch_norm_backward(dy, a["w"], dw, db, saved), "w": dw, "b": db}
    check_gradient(lambda a: (whole(a["x"], a["w"], a["b"], EPSILON)[0] * dy).sum(), a, gradients)


@given(IMAGES)
def test_fixed_statistics_are_an_affine_map(pixels: Pixels) -> None:
    a, _ = values(pixels)
    y, v, _ = fixed(a)
    wanted = normalisation.batch_norm(batch_first(a["x"]), a["w"], a["b"], a["m"], a["s"], EPSILON)
    np.testing.assert_allclose(y, batch_last(wanted), rtol=1e-11, atol=1e-12)
    wanted = normalisation.fixed_norm_variance(batch_first(a["v"]), a["w"], a["s"], EPSILON)
    np.testing.assert_allclose(v, batch_last(wanted), rtol=1e-11)


@each_form
@pytest.mark.parametrize("with_var", [True, False])
@given(IMAGES)
def test_gradients_of_fixed_norm(vectors: bool, with_var: bool, pixels: Pixels) -> None:
    a, rng = values(pixels, vectors)
    y, v, saved = fixed(a)
    dy, dv = frozen(rng.normal(size=y.shape)), frozen(rng.normal(size=v.shape)) if with_var else None
    dx, dvar = norm.fixed_norm_backward(dy, dv, saved)
    dw, db = norm.fixed_norm_weight_backward(dy, dv, saved)

    def f(changed: Arrays) -> float:
        y, v, _ = fixed(a | changed)
        return (y * dy).sum() + ((v * dv).sum() if with_var else 0)

    check_gradient(f, {k: a[k] for k in ("x", "v", "w", "b")}, {"x": dx, "v": dvar, "w": dw, "b": db})


@each_form
def test_fixed_statistics_without_variance(vectors: bool) -> None:
    a, _ = values(Pixels(3, 2, 3, 4, 5), vectors)
    y, v, saved = norm.fixed_norm(a["x"], None, (a["w"], a["b"]), (a["m"], a["s"]), EPSILON)
    np.testing.assert_array_equal(y, fixed(a)[0])
    assert v is None and norm.fixed_norm_backward(y, None, saved)[1] is None


def test_a_large_mean_does_not_drown_the_variance() -> None:
    x = np.random.default_rng(0).normal(1e3, 1, (8, 2, 8, 16))
    y, _, var, _ = whole(x.astype("f"), np.ones(2, "f"), np.zeros(2, "f"), 1e-5)
    wanted, _, wanted_var, _ = whole(x, np.ones(2), np.zeros(2), 1e-5)
    np.testing.assert_allclose(var, wanted_var, rtol=1e-4)
    np.testing.assert_allclose(y, wanted, atol=1e-3)


def test_a_constant_channel_gives_its_shift_and_no_gradient() -> None:
    x = np.full((2, 1, 2, 3), 5.0)
    y, mean, var, saved = whole(x, np.ones(1), np.full(1, 0.5), EPSILON)
    assert (y == 0.5).all() and mean == 5 and var == 0
    dw, db = norm.batch_norm_weight_backward(np.ones_like(x), saved)
    assert dw == 0 and db == x.size
    np.testing.assert_allclose(norm.batch_norm_backward(np.ones_like(x), np.ones(1), dw, db, saved), 0, atol=1e-12)


@each_form
def test_single_precision_stays(vectors: bool) -> None:
    a, _ = values(Pixels(4, 2, 3, 4, 5), vectors)
    a = {name: frozen(v.astype("f")) for name, v in a.items()}
    y, mean, var, saved = whole(a["x"], a["w"], a["b"], EPSILON)
    dw, db = norm.batch_norm_weight_backward(a["v"], saved)
    found = [y, mean, var, dw, db, norm.batch_norm_backward(a["v"], a["w"], dw, db, saved)]
    y, v, saved = fixed(a)
    found += [y, v, *norm.fixed_norm_backward(y, v, saved), *norm.fixed_norm_weight_backward(y, v, saved)]
    assert {x.dtype for x in found} == {np.dtype(np.float32)}


@given(IMAGES)
def test_channels(pixels: Pixels) -> None:
    rng = pixels.rng
    for shape, axes in ((pixels.shape, (0, 2, 3)), ((pixels.channels, pixels.batch), (1,))):
        x, y = rng.normal(size=(2, *shape))
        np.testing.assert_allclose(channel_sums(x), x.sum(axis=axes), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(channel_dots(x, y), (x * y).sum(axis=axes), rtol=1e-10, atol=1e-12)
        assert (per_channel(np.arange(pixels.channels), x) + x * 0).shape == shape
    for strided in (x[:, ::-1], np.broadcast_to(rng.normal(), shape)):
        np.testing.assert_allclose(channel_dots(strided, y), (strided * y).sum(axis=axes), rtol=1e-10, atol=1e-12)
