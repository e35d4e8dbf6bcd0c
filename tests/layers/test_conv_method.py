"""A convolution by Winograd's method is the same layer: where it is taken, and what it must not change."""

import numpy as np
import pytest

from npsnn import models
from npsnn.classifier import Classifier
from npsnn.layers.affine import METHODS, Conv2d
from npsnn.layers.base import Want
from npsnn.layers.containers import leaves
from npsnn.layers.moments import Moments, Propagated


def filtered(method: str, dtype: str, variance: bool = True) -> list[np.ndarray]:
    """Moments after a convolution, their cotangents and the weights' for the cotangents 1, and whether by Winograd."""
    layer = Conv2d(32, 3, padding=1, method=method)
    rng = np.random.default_rng(0)
    params, _ = layer.init(rng, (32, 8, 8))
    params = {k: p.astype(dtype) for k, p in params.items()}
    x, v = (rng.random((8, 32, 8, 4)).astype(dtype) for _ in range(2))
    y, backward = layer.forward(params, Moments(x, v if variance else None), Propagated())
    dy, grads = backward(Moments(y.mean * 0 + 1, y.var * 0 + 1 if variance else None), Want.BOTH)
    found = [y.mean, y.var, dy.mean, dy.var, grads["w"], grads["b"]]
    return [z for z in found if z is not None] + [np.array(layer.by_winograd(x))]


@pytest.mark.parametrize("variance", [False, True])
def test_winograd_is_another_way_to_the_same_moments(variance: bool) -> None:
    *right, no = filtered("direct", "d", variance)
    for method, dtype, yes in (
        ("auto", "d", False),
        ("winograd", "d", False),
        ("auto", "f", True),
        ("direct", "f", False),
    ):
        *found, by_winograd = filtered(method, dtype, variance)
        assert not no and by_winograd == yes
        for a, b in zip(found, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=(0 if dtype == "d" else 2e-5) * abs(b).max())


def test_winograd_is_taken_where_it_is_faster() -> None:
    image = np.zeros((8, 32, 8, 1), "f")
    assert Conv2d(32, 3, padding=1).by_winograd(image) and Conv2d(32, 5, padding=2).by_winograd(image)
    few, small = image[:, :31], image[:2, :, :2]
    assert not Conv2d(32, 3, padding=1).by_winograd(few) and Conv2d(32, 3, method="winograd").by_winograd(few)
    assert not Conv2d(31, 3, padding=1).by_winograd(image) and not Conv2d(32, 3, padding=1).by_winograd(small)
    for layer in (Conv2d(32, 3, stride=2, padding=1, method="winograd"), Conv2d(32, 1, method="winograd")):
        assert not layer.by_winograd(image)
    with pytest.raises(ValueError, match="method must be one of auto, direct, winograd, got 'fft'"):
        Conv2d(32, 3, method="fft")


def test_no_variance_of_winograd_is_negative() -> None:
    """Where one pixel is large and its neighbours are not, differences that should cancel leave some rounding."""
    layer = Conv2d(32, 3, padding=1, method="winograd")
    params, _ = layer.init(np.random.default_rng(0), (32, 8, 8))
    v = np.full((8, 32, 8, 4), 1e-12, "f")
    v[0, :, 0] = 1e4
    y, _ = layer.forward(params, Moments(v * 0, v), Propagated())
    assert y.var is not None and (y.var >= 0).all()
    unclamped, _ = layer.apply(params["w"] ** 2, v)
    assert (unclamped < 0).any()


@pytest.mark.slow
def test_a_network_convolves_as_it_is_told_in_every_branch() -> None:
    model = models.resnet18((3, 16, 16)).convolving("direct")
    network = Classifier(model, model.init(np.random.default_rng(0)))
    x = np.random.default_rng(0).random((4, 3, 16, 16), np.float32)
    found = {method: network.convolving(method).predict(x) for method in METHODS}
    np.testing.assert_array_equal(network.predict(x), found["direct"])
    for method in ("auto", "winograd"):
        assert (found[method] != found["direct"]).any()
        np.testing.assert_allclose(found[method], found["direct"], rtol=0, atol=1e-4 * abs(found["direct"]).max())
        kinds = [layer.method for _, layer in leaves(model.convolving(method).network) if isinstance(layer, Conv2d)]
        assert len(kinds) == 20 and set(kinds) == {method}
    assert models.Model.from_spec(model.spec()) == model != models.resnet18((3, 16, 16))
