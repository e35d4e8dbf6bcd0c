"""Dropout: nothing outside of training, masks by the sample in it, and the moments of what it leaves."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from on_device import on_both

from npsnn.classifier import Classifier
from npsnn.layers import Conv2d, Dropout, Flatten, Linear, ReLU, Sequential
from npsnn.layers.base import Want
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.models import Model
from npsnn.reference import montecarlo
from npsnn.streams import Stream

P = 0.3
X = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
DRAWN = Sampled(Stream(3), WHOLE)


def masks(layer: Dropout, noise: Sampled, x: np.ndarray = X) -> np.ndarray:
    """Which numbers are left in."""
    return layer.forward({}, Moments(x), noise)[0].mean != 0


@pytest.mark.parametrize(
    "noise",
    [EXPECTATION, Expectation(WHOLE), Sampled(Stream(3)), Propagated()],
    ids=["off", "training", "drawn", "carried"],
)
def test_outside_of_training_and_without_noise_it_is_the_identity(noise: Noise) -> None:
    for m in (Moments(X), Moments(X, X * X)):
        out, back = Dropout(P).forward({}, m, noise)
        assert out is m and back(m, Want.BOTH) == (m, {})


def test_a_rate_of_0_is_the_identity_to_the_bit() -> None:
    for layer, noise in ((Dropout(0.0), DRAWN), (Dropout(P), Sampled(Stream(3), WHOLE, 0.0))):
        assert layer.forward({}, Moments(X), noise)[0].mean.tobytes() == X.tobytes()
    assert Dropout(0.0).forward({}, Moments(X), Propagated(training=WHOLE))[0].var is None


def test_what_is_left_is_larger_by_what_is_missing() -> None:
    out, _ = Dropout(P).forward({}, Moments(X), DRAWN)
    left = out.mean[out.mean != 0]
    np.testing.assert_allclose(left, X[out.mean != 0] / (1 - P))
    assert 0 < left.size < X.size


def test_the_part_that_is_left_out_is_the_rate_times_the_scale() -> None:
    many = np.ones((20, 500))
    for scale in (1.0, 0.25):
        rate = 1 - masks(Dropout(0.4), Sampled(Stream(1), WHOLE, scale), many).mean()
        assert abs(rate - 0.4 * scale) < 5 * np.sqrt(0.25 / many.size)
    with pytest.raises(ValueError, match=r"p times the scale must be in \[0, 1\), got 0.4 times 2.5"):
        masks(Dropout(0.4), Sampled(Stream(1), WHOLE, 2.5))


def test_whole_channels_are_left_out_of_each_image_by_itself() -> None:
    many = np.ones((3, 4, 2, 50))
    left = masks(Dropout(0.5, channels=True), DRAWN, many)
    by_channel = left[:1, :, :1]
    assert (left == by_channel).all() and 0.3 < by_channel.mean() < 0.7
    assert len({tuple(column) for column in by_channel[0, :, 0].T}) > 1
    assert not (masks(Dropout(0.5), DRAWN, many)[:1, :, :1] == masks(Dropout(0.5), DRAWN, many)).all()


@pytest.mark.parametrize("channels", [False, True])
def test_its_moments_are_those_of_draws(channels: bool) -> None:
    mean, var = X[..., :1], X[..., 1:2] ** 2
    out, _ = Dropout(P, channels).forward({}, Moments(mean, var), Propagated(training=WHOLE))
    assert out.var is not None
    x = mean + np.sqrt(var) * np.random.default_rng(1).standard_normal((3, 2, 4, 40_000))
    drawn, _ = Dropout(P, channels).forward({}, Moments(x), Sampled(Stream(2), WHOLE))
    found = montecarlo.estimate(np.moveaxis(drawn.mean, -1, 0))
    assert found.deviations(out.mean[..., 0], out.var[..., 0]) < 5


def test_a_draw_drops_the_variance_with_the_number() -> None:
    out, _ = Dropout(P).forward({}, Moments(X, X * X), DRAWN)
    assert out.var is not None
    np.testing.assert_allclose(out.var, out.mean**2)


@pytest.mark.parametrize("layer", [Dropout(P), Dropout(P, channels=True)], ids=str)
def test_on_a_gpu_it_is_the_same(cupy: ModuleType, same_draws: None, layer: Dropout) -> None:
    def passed(x: Any, v: Any, noise: Noise) -> Any:
        out, back = layer.forward({}, Moments(x, v), noise)
        return out, back(Moments(x * v, v), Want.BOTH)[0]

    for dtype in (np.float32, np.float64):
        for noise in (DRAWN, Propagated(training=WHOLE)):
            on_both(cupy, passed, X.astype(dtype), (X * X).astype(dtype), noise)


def test_a_network_with_it_answers_without_draws_and_is_saved() -> None:
    body: Any = (("conv", Conv2d(4, 3)), ("relu", ReLU()), ("dropout", Dropout(P, channels=True)))
    layers = (*body, ("flatten", Flatten()), ("drop", Dropout(0.5)), ("fc", Linear(3)))
    model = Model("dropped", Sequential(layers), (2, 6, 5), 3)
    assert Model.from_spec(model.spec()) == model and not model.noisy
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    x = np.random.default_rng(1).random((3, 2, 6, 5), np.float32)
    assert not network.random and network.sigma == 0
    assert (network.sample(x, 0, 2) == network.predict(x)).all()
    drawn = network.scores(x, Sampled(Stream(0), WHOLE)).mean
    assert (drawn != network.predict(x).T).any()
    with pytest.raises(ValueError, match="a layer that draws must have a name of its own, got shuffle"):
        Model("named", Sequential((("shuffle", Dropout(P)), *layers)), (2, 6, 5), 3)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan"), "x"])
def test_what_is_no_rate_is_refused(p: Any) -> None:
    with pytest.raises(ValueError, match="p must be"):
        Dropout(p)
    with pytest.raises(ValueError, match=r"needs an image \(C, H, W\)"):
        Dropout(P, channels=True).init(np.random.default_rng(0), (4,))
