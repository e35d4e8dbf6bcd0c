"""Mixtures with stored images: against a loop, the law of the draws, the pool, and where there is no mixing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from npsnn.layers import Flatten, Linear, Mixing, PreactivationNoise, Sequential
from npsnn.layers.base import Params, Want
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Moments, Propagated, Sampled
from npsnn.streams import Stream

SHAPE = (2, 4, 3)
BODY = Sequential((("flatten", Flatten()), ("fc", Linear(3))))
NOISE = Sampled(Stream(7).at("mixing"))


def started(layer: Mixing, sharpness: float = 1.0) -> tuple[Params, np.ndarray]:
    """Parameters in float64, and six images."""
    rng = np.random.default_rng(1)
    w, b = sharpness * rng.normal(size=(3, 24)), 0.1 * rng.normal(size=3)
    pool = rng.random((3, layer.pool, 4, 2, 3))
    return {"body": {"fc": {"w": w, "b": b}}, "pool": pool}, rng.random((4, 2, 3, 6))


def probabilities(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum()


def looped(layer: Mixing, params: Params, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[bool]]:
    """The answers, λ of each image and whether its stored image is of the predicted class, image by image."""

    def answer(image: np.ndarray) -> np.ndarray:
        z: np.ndarray = layer.body.forward(params["body"], Moments(image[..., None]), EXPECTATION)[0].mean[:, 0]
        return z

    def number(stream: Stream, n: int) -> float:
        return float(stream.further(n).uniform(np.empty(1))[0])

    def mixed(image: np.ndarray, weight: float, k: int, stream: Stream, n: int) -> np.ndarray:
        return answer(weight * image + (1 - weight) * params["pool"][k, int(layer.pool * number(stream, n))])

    found, weights, owns = [], [], []
    for n, image in enumerate(np.moveaxis(x, -1, 0)):
        p = probabilities(answer(image))
        own, weight, k = layer.choice == "predicted", layer.weight, int(p.argmax())
        if layer.choice == "combined":
            streams = [NOISE.stream.at(f"detection{i}", "image") for i in range(layer.detections)]
            seen = [probabilities(mixed(image, weight, k, stream, n)) for stream in streams]
            own = p.max() - np.mean(seen, axis=0).max() < layer.threshold
            weight = weight if own else layer.other_weight
        if not own:
            k = [j for j in (*range(k + 1, 3), *range(k))][int(2 * number(NOISE.stream.at("class"), n))]
        found.append(mixed(image, weight, k, NOISE.stream.at("image"), n))
        weights.append(weight)
        owns.append(bool(own))
    return np.stack(found, axis=-1), np.array(weights), owns


@pytest.mark.parametrize("choice", ["predicted", "other", "combined"])
def test_a_draw_is_what_a_loop_makes_of_it(choice: str) -> None:
    layer = Mixing(BODY, 3, 5, 0.7, choice, threshold=0.01)
    params, x = started(layer, sharpness=0.4)
    m, back = layer.forward(params, Moments(x), NOISE)
    wanted, weights, owns = looped(layer, params, x)
    assert set(owns) == {"predicted": {True}, "other": {False}, "combined": {True, False}}[choice]
    np.testing.assert_allclose(m.mean, wanted, rtol=1e-12)
    g = np.random.default_rng(2).normal(size=m.mean.shape)
    below, _ = back(Moments(g), Want.BOTH)
    assert below is not None
    slope = np.einsum("kd,kn->dn", params["body"]["fc"]["w"], g)
    flat = np.moveaxis(below.mean, 1, 0).reshape(24, 6)
    np.testing.assert_allclose(flat, weights * slope, rtol=1e-12)


def law(choice: str, examples: int, pool: int = 4) -> np.ndarray:
    """How often each stored image is drawn for one image, whose predicted class is 1 of 3: (3, pool)."""
    layer = Mixing(Sequential((("fc", Linear(3)),)), 3, pool, 0.0, choice)
    # the first logit is the stored number, the second is the largest for the image 0
    numbers = np.arange(3 * pool).reshape(3, pool, 1) + 1.0
    params = {"body": {"fc": {"w": np.array([[1.0], [0], [0]]), "b": np.array([0.0, 1, 0])}}, "pool": numbers}
    m, _ = layer.forward(params, Moments(np.zeros((1, examples))), Sampled(Stream(3).at(choice)))
    return np.bincount(m.mean[0].astype(int) - 1, minlength=3 * pool).reshape(3, pool)


@pytest.mark.parametrize(("choice", "classes"), [("predicted", [1]), ("other", [0, 2])])
def test_classes_and_images_are_drawn_evenly(choice: str, classes: list[int]) -> None:
    count, found = 20_000, law(choice, 20_000)
    p = np.zeros((3, 4))
    p[classes] = 1 / (4 * len(classes))
    assert (np.abs(found - count * p) <= 5 * np.sqrt(count * p * (1 - p))).all()
    of_class, share = found.sum(axis=1), p.sum(axis=1)
    assert (np.abs(of_class - count * share) <= 5 * np.sqrt(count * share * (1 - share))).all()


@pytest.mark.parametrize("choice", ["predicted", "other"])
def test_a_weight_of_1_is_the_body(choice: str) -> None:
    layer = Mixing(BODY, 3, 5, 1.0, choice)
    params, x = started(layer)
    mixed, back = layer.forward(params, Moments(x), NOISE)
    bare, plain = BODY.forward(params["body"], Moments(x), EXPECTATION)
    assert (mixed.mean == bare.mean).all()
    g = Moments(np.ones_like(bare.mean))
    (below, grads), (other, own) = back(g, Want.BOTH), plain(g, Want.BOTH)
    assert below is not None and other is not None and (below.mean == other.mean).all()
    assert (grads["body"]["fc"]["w"] == own["fc"]["w"]).all()


def test_the_noise_off_and_training_leave_the_body() -> None:
    layer = Mixing(BODY, 3, 5)
    params, x = started(layer)
    bare = BODY.forward(params["body"], Moments(x), EXPECTATION)[0].mean
    for noise in (EXPECTATION, Expectation(WHOLE), replace(NOISE, training=WHOLE), Propagated(training=WHOLE)):
        m, _ = layer.forward(params, Moments(x), noise)
        assert (m.mean == bare).all() and m.var is None


def test_noise_of_the_body_is_drawn_as_well() -> None:
    layer = Mixing(
        Sequential((("flatten", Flatten()), ("noise", PreactivationNoise(0.3)), ("fc", Linear(3)))), 3, 1, 1.0
    )
    params, x = started(layer)
    params["body"]["noise"] = {"sigma": np.array(0.3)}
    one, other = (layer.forward(params, Moments(x), NOISE.at(name))[0].mean for name in "ab")
    assert (one != other).all()


def test_what_is_not_an_image_and_propagated_noise_are_refused() -> None:
    layer = Mixing(BODY, 3, 5)
    params, x = started(layer)
    assert not layer.propagates
    with pytest.raises(ValueError, match="a mixture of images is not Gaussian"):
        layer.forward(params, Moments(x), Propagated())
    with pytest.raises(ValueError, match="must be the first layer"):
        layer.forward(params, Moments(x, np.ones_like(x)), NOISE)
    with pytest.raises(ValueError, match=r"must end in 4 logits, got the output shape \(3,\)"):
        Mixing(BODY, 4, 5).init(np.random.default_rng(0), SHAPE)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"weight": 1.5}, r"weight must be in \[0, 1\], got 1.5"),
    ({"other_weight": float("nan")}, "other_weight must be in"),
    ({"threshold": -0.1}, "threshold must be in"),
    ({"choice": "predict"}, "choice must be one of predicted, other, combined, got 'predict'"),
    ({"pool": 0}, "pool must be >= 1, got 0"),
    ({"classes": 1}, "classes must be >= 2, got 1"),
    ({"detections": 0}, "detections must be >= 1, got 0"),
    ({"body": Linear(3)}, "body must be of the type Sequential"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=lambda part: ",".join(part) if isinstance(part, dict) else "")
def test_wrong_fields_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mixing(**{"body": BODY, "classes": 3, "pool": 5} | options)


def test_the_pool_is_filled_with_images_of_each_class() -> None:
    rng = np.random.default_rng(4)
    images, labels = rng.integers(0, 256, (20, *SHAPE), np.uint8), np.arange(20) % 3
    for pool in (4, 30):
        layer = Mixing(BODY, 3, pool)
        params, _ = layer.init(rng, SHAPE)
        found = layer.filled(params, images, labels, np.random.default_rng(5))
        assert found["body"] is params["body"] and found["pool"].dtype == np.float32
        assert found["pool"].shape == params["pool"].shape
        back = (255 * found["pool"].swapaxes(2, 3)).round().astype(np.uint8)
        for k in range(3):
            rows = [int(np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0]) for image in back[k]]
            assert (labels[rows] == k).all()
            assert pool == 30 or len(set(rows)) == pool  # without replacement where there are enough
    with pytest.raises(ValueError, match="got none of class 2 among 20"):
        layer.filled(params, images, labels % 2, rng)
