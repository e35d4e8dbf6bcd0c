"""The operator norm of the first layer: at most 1 by the bound, and the steps of PixelDP's code."""

from typing import Any

import numpy as np
import pytest

from npsnn.certify import convolution_bound, linear_bound
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.optim import SGD, Arrays
from npsnn.train import OperatorNorm

SHAPE = (2, 7, 6)


def model(*layers: Any) -> Model:
    named = (*layers, ("relu", ReLU()), ("flat", Flatten()), ("fc", Linear(3)))
    return Model("small", Sequential(named), SHAPE, 3)


def convolutional(stride: int = 2, padding: int = 1) -> Model:
    conv = Conv2d(4, 3, stride=stride, padding=padding)
    return model(("norm", Normalise((0.5, 0.5), (0.5, 0.5))), ("conv", conv), ("noise", PreactivationNoise(0.1)))


def drawn(m: Model, scale: float = 1.0) -> Arrays:
    params = {k: p.astype(np.float64) for k, p in flatten(m.init(np.random.default_rng(0))).items()}
    return params | {"conv.w": scale * params["conv.w"]} if "conv.w" in params else params


def power_iteration(w: np.ndarray, stride: int, padding: int, n: int = 200) -> float:
    """The largest singular value of a convolution, as a matrix."""
    layer = Conv2d(len(w), w.shape[1], stride=stride, padding=padding, bias=False)
    pixels = int(np.prod(SHAPE))
    images = np.eye(pixels).reshape(SHAPE[1], SHAPE[0], SHAPE[2], pixels)
    matrix = layer.forward({"w": w}, Moments(images), EXPECTATION)[0].mean.reshape(-1, pixels)
    return float(np.linalg.norm(matrix, 2))


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0), (2, 1)])
def test_the_bound_holds_the_norm_at_one(stride: int, padding: int) -> None:
    m = convolutional(stride, padding)
    params = drawn(m, 5.0)
    before = convolution_bound(params["conv.w"], SHAPE[1:], stride, padding)
    after = OperatorNorm().begin(m, params)
    assert before > 1 and {k for k in params if after[k] is not params[k]} == {"conv.w"}
    np.testing.assert_allclose(after["conv.w"], params["conv.w"] / before, rtol=1e-12)
    norm = power_iteration(after["conv.w"], stride, padding)
    assert 0.8 < norm <= 1 + 1e-9
    small = params | {"conv.w": params["conv.w"] / (2 * before)}
    assert OperatorNorm().after(m, small) is small, "a norm below 1 is free"
    gone = params | {"conv.w": params["conv.w"] * np.nan}
    assert OperatorNorm().after(m, gone) is gone, "of which the loss tells"


def test_a_dense_layer_before_the_noise() -> None:
    m = model(("flatten", Flatten()), ("features", Linear(5)), ("noise", PreactivationNoise(0.1)))
    m = Model("dense", Sequential((*m.network.layers[:3], ("fc", Linear(3)))), SHAPE, 3)
    params = drawn(m)
    params["features.w"] = params["features.w"] * 9
    after = OperatorNorm().after(m, params)
    assert np.linalg.norm(after["features.w"], 2) == pytest.approx(1)
    np.testing.assert_allclose(after["features.w"], params["features.w"] / linear_bound(params["features.w"]))
    steps = OperatorNorm("authors", beta=0.1, steps=200)
    state = steps.begin(m, drawn(m))
    assert state["features.w"] is not None
    values = np.linalg.svd(steps.after(m, state)["features.w"], compute_uv=False)
    np.testing.assert_allclose(values, 1, rtol=1e-6)


def parseval(kernel: np.ndarray, beta: float, loops: int) -> np.ndarray:
    """The published code's update of a kernel (k, k, in, out), in its order of products."""
    w_t = kernel.reshape(-1, kernel.shape[-1])
    w = w_t.T
    for _ in range(loops):
        w = (1 + beta) * w - beta * (w @ (w_t @ w))
        w_t = w.T
    return w_t.reshape(kernel.shape)


def test_the_authors_form_trains_their_kernel() -> None:
    """Steps on the kernel, divided where it is used, its decay and momentum included, then Parseval steps."""
    m = convolutional(stride=2)
    params, rng = drawn(m), np.random.default_rng(1)
    held, beta, loops, lr = OperatorNorm("authors", beta=0.01, steps=3), 0.01, 3, 0.1
    rule, decayed = SGD(lr, momentum=0.9, weight_decay=0.1), {"conv.w"}
    kernel, overlap = params["conv.w"].transpose(1, 2, 3, 0), 2  # ⌈3 / 2⌉
    velocity = kernel * 0
    state = held.begin(m, params)
    moments = rule.init(state)
    for number in range(1, 5):
        np.testing.assert_allclose(state["conv.w"], kernel.transpose(3, 0, 1, 2) / overlap, rtol=1e-12)
        g = rng.standard_normal(params["conv.w"].shape)  # by the weights that are used
        inside, grads = held.before(m, state, {"conv.w": g})
        moved, moments = rule.update(inside, grads, moments, lr, number, decayed)
        state = held.after(m, moved)
        velocity = 0.9 * velocity + g.transpose(1, 2, 3, 0) / overlap + 0.1 * kernel
        kernel = parseval(kernel - lr * velocity, beta, loops)
    np.testing.assert_allclose(state["conv.w"], kernel.transpose(3, 0, 1, 2) / overlap, rtol=1e-12)


def test_parseval_steps_draw_the_norm_to_at_most_the_kernel_s() -> None:
    m = convolutional()
    held = OperatorNorm("authors", beta=0.1, steps=300)
    state = held.after(m, held.before(m, held.begin(m, drawn(m)), {"conv.w": np.zeros((4, 3, 3, 2))})[0])
    flat = 2 * state["conv.w"].reshape(4, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(4), atol=1e-6)
    assert power_iteration(state["conv.w"], 2, 1) <= 1 + 1e-6, "which is the authors' bound"
    frozen = held.before(m, state, {"fc.w": np.zeros(1)})
    assert frozen[0] is state, "weights that are not trained stay the ones that are used"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "exact"}, "form must be one of bound, authors, got 'exact'"),
        ({"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"steps": 1.5}, "steps must be a whole number"),
    ],
    ids=str,
)
def test_what_is_out_of_its_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OperatorNorm(**options)


def test_another_layer_before_the_noise_is_refused() -> None:
    for layers, message in (
        (
            (("noise", PreactivationNoise(0.1)),),
            "the layer before the noise must be a Conv2d or a Linear, got None",
        ),
        ((("conv", Conv2d(2, 3)), ("r", ReLU()), ("noise", PreactivationNoise(0.1))), r"or a Linear, got ReLU\(\)"),
        ((("conv", Conv2d(2, 3)),), "OperatorNorm needs a noise layer of the network's own, small has none"),
    ):
        m = model(*layers)
        with pytest.raises(ValueError, match=message):
            OperatorNorm().begin(m, drawn(m))
