"""Matrix products and the joint covariance against loops, their gradients against finite differences."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, frozen, variances

from npsnn.ops import linear
from npsnn.reference import plain
from npsnn.testing.gradients import check_gradient

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))


def values(seed: int, sizes: tuple[int, ...]):  # (I, N), (O, I)
    inputs, outputs, batch = sizes
    rng = np.random.default_rng(seed)
    return rng.normal(size=(inputs, batch)), rng.normal(size=(outputs, inputs)), rng


@given(SEEDS, SIZES)
def test_linear(seed: int, sizes: tuple[int, ...]) -> None:
    x, w, rng = values(seed, sizes)
    y = linear.linear(x, w)
    np.testing.assert_allclose(y.T, plain.linear(x.T, w, np.zeros(len(w))), rtol=1e-12, atol=1e-13)
    dy = rng.normal(size=y.shape)
    dx, dw = linear.linear_input_backward(dy, w), linear.linear_weight_backward(dy, x)
    check_gradient(lambda a: (linear.linear(a["x"], a["w"]) * dy).sum(), {"x": x, "w": w}, {"x": dx, "w": dw})


@given(SEEDS, SIZES)
def test_joint_covariance(seed: int, sizes: tuple[int, ...]) -> None:
    _, w, rng = values(seed, sizes)
    v = variances(rng, (sizes[0], sizes[2]))
    s = linear.joint_covariance(v, w)
    np.testing.assert_allclose(s.transpose(2, 0, 1), plain.linear_covariance(v.T, w), rtol=1e-12, atol=1e-13)
    marginal = np.diagonal(s.transpose(2, 0, 1), axis1=1, axis2=2)
    np.testing.assert_allclose(marginal, plain.linear_variance(v.T, w), rtol=1e-12)


@given(SEEDS, SIZES)
def test_joint_covariance_gradients_for_a_cotangent_that_is_not_symmetric(seed: int, sizes: tuple[int, ...]) -> None:
    _, w, rng = values(seed, sizes)
    v = variances(rng, (sizes[0], sizes[2]))
    ds = rng.normal(size=(sizes[1], sizes[1], sizes[2]))
    dv, dw = linear.joint_covariance_backward(ds, v, w)
    arrays = {"v": v, "w": w}
    check_gradient(lambda a: (linear.joint_covariance(a["v"], a["w"]) * ds).sum(), arrays, {"v": dv, "w": dw})


@given(SEEDS, SIZES)
def test_full_covariance(seed: int, sizes: tuple[int, ...]) -> None:
    _, w, rng = values(seed, sizes)
    inputs, outputs, batch = sizes
    a = rng.normal(size=(inputs, inputs, batch))
    cov = np.einsum("ijn,kjn->ikn", a, a)
    s = linear.full_covariance(frozen(cov), frozen(w))
    for n in range(batch):
        np.testing.assert_allclose(s[..., n], w @ cov[..., n] @ w.T, rtol=1e-11, atol=1e-12)
    ds = rng.normal(size=(outputs, outputs, batch))
    dcov, dw = linear.full_covariance_backward(ds, cov, w)
    # the gradient by the weights is for symmetric covariances, which moved weights leave symmetric
    check_gradient(lambda x: (linear.full_covariance(cov, x["w"]) * ds).sum(), {"w": w}, {"w": dw})
    check_gradient(lambda x: (linear.full_covariance(x["cov"], w) * ds).sum(), {"cov": cov}, {"cov": dcov})


@given(SEEDS, SIZES)
def test_single_precision_stays_and_no_argument_is_written(seed: int, sizes: tuple[int, ...]) -> None:
    x, w, rng = values(seed, sizes)
    x, w, v = (frozen(a.astype(np.float32)) for a in (x, w, variances(rng, x.shape)))
    y, s = linear.linear(x, w), linear.joint_covariance(v, w)
    dy, ds = frozen(y), frozen(s)
    found = [
        y,
        s,
        linear.linear_input_backward(dy, w),
        linear.linear_weight_backward(dy, x),
        *linear.joint_covariance_backward(ds, v, w),
    ]
    assert {a.dtype for a in found} == {np.dtype(np.float32)}
