"""Networks that are exchanged with other libraries in the tests, with their answers."""

from functools import cache
from math import prod
from typing import Any

import numpy as np

from npsnn import models
from npsnn.classifier import Classifier
from npsnn.layers import (
    BatchNorm,
    Centres,
    Conv2d,
    Dropout,
    FeatureNoise,
    Flatten,
    Linear,
    MaxPool,
    MeanPool,
    NoisyConv2d,
    NoisyLinear,
    Normalise,
    OverlappingMaxPool,
    PreactivationNoise,
    PReLU,
    ReLU,
    Residual,
    Sequential,
)
from npsnn.layers.params import unflatten
from npsnn.models import Model

SHAPE = (2, 8, 8)
CLASSES = 3


def parameters(model: Model, seed: int = 1) -> dict[str, np.ndarray]:
    """Parameters that differ everywhere: weights of both signs, sizes of noise and variances above 0."""
    rng, found = np.random.default_rng(seed), {}
    for name, like in model.forms().items():
        values = rng.random(like.shape, np.float32)
        own = name.rpartition(".")[2]
        if own == "L" and values.ndim == 2:
            values = np.tril(values)
        elif own not in ("sigma", "L", "alpha", "running_var", "pool"):
            values = (values - np.float32(0.5)) * np.float32((12 / max(1, prod(like.shape[1:]))) ** 0.5)
        found[name] = np.array(values, np.float32)
    return found


def network_of(model: Model, dtype: Any = np.float32) -> Classifier:
    return Classifier(model, unflatten({k: p.astype(dtype) for k, p in parameters(model).items()}), threads=1)


@cache
def built_in(name: str) -> tuple[Classifier, np.ndarray, np.ndarray]:
    """A network of npsnn's by its name, two images, or one for a large network, and its answers with the noise off."""
    model = models.MODELS[name]()
    x = np.random.default_rng(0).random((1 if "resnet" in name else 2, *model.shape), np.float32)
    network = network_of(model)
    return network, x, network.predict(x)


def of_layers(*layers: tuple[str, Any], shape: tuple[int, int, int] = SHAPE) -> Model:
    head = [("flatten", Flatten())] if not any(name == "flatten" for name, _ in layers) else []
    return Model("small", Sequential((*layers, *head, ("last", Linear(CLASSES, joint=True)))), shape, CLASSES)


def every_layer() -> Model:
    """A network with each layer that other libraries have a counterpart of."""
    block = Residual(
        Sequential((("conv1", Conv2d(4, 3, padding=1, bias=False)), ("bn1", BatchNorm(epsilon=1e-3)))),
        Sequential((("conv1", Conv2d(4, 1)), ("relu1", ReLU()))),
    )
    deep = Residual(Sequential((("conv1", Conv2d(4, 3, padding=1)), ("inner", block))), Sequential(()))
    return of_layers(
        ("normalise", Normalise((0.4, 0.6), (0.2, 0.3))),
        ("conv1", NoisyConv2d(4, 3, padding=1, scope="element")),
        ("prelu1", PReLU()),
        ("noise1", PreactivationNoise(0.3, "channel")),
        ("pool1", OverlappingMaxPool(3, 2, 1)),
        ("deep", deep),
        ("noise2", PreactivationNoise(0.3, "unit", shared=True)),
        ("inner", Sequential((("relu2", ReLU()), ("pool2", MaxPool(2))))),
        ("dropout", Dropout(0.5, channels=True)),
        ("pool3", MeanPool(2)),
        ("flatten", Flatten()),
        ("fc1", NoisyLinear(6, spread="free", start=0.1)),
        ("bn2", BatchNorm()),
        ("prelu2", PReLU()),
        ("centres", Centres(CLASSES)),
        ("noise3", PreactivationNoise(0.2, "channel")),
        ("noise4", FeatureNoise(0.2)),
    )


def images(count: int = 3, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(5).random((count, *shape), np.float32)


def close(answers: Any, expected: np.ndarray, within: float = 1e-5) -> None:
    """Assert that logits agree to 1e-5 of the largest one, or of 1."""
    answers = np.asarray(answers)
    assert answers.shape == expected.shape
    assert np.abs(answers - expected).max() <= within * max(1.0, float(np.abs(expected).max()))


def rounds(answers: Any, network: Classifier, x: np.ndarray) -> None:
    """Assert that another library's logits, and npsnn's, are equally near to those of double precision.

    Convolutions of npsnn are direct: those by Winograd's method round more, in the sums of their transforms.
    """
    truth = network.astype(np.float64).predict(x.astype(np.float64))
    own, theirs = (np.abs(z - truth).max() for z in (network.convolving("direct").predict(x), np.asarray(answers)))
    least = np.finfo(np.float32).eps * np.abs(truth).max()
    assert own <= 4 * max(theirs, least) and theirs <= 4 * max(own, least), (own, theirs)


def drawn(network: Classifier, answer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the logits of one image, (draws, classes), by another library and by npsnn.

    answer: from images to logits under a draw of the noise.
    Where all images share a draw there are fewer, one at a time.
    """
    x = images(1)
    if network.shares_draws:
        return np.stack([answer(x)[0] for _ in range(400)]), network.sample(x, 0, 400)[:, 0]
    many = np.repeat(x, 1500, axis=0)
    return answer(many), network.sample(many, 0, 1)[0]


def same_law(drawn: np.ndarray, other: np.ndarray) -> None:
    """Assert that two sets of draws, (draws, classes), have one mean and one covariance, within five standard errors.

    Correlations of the sums of two logits are those of their covariances.
    """
    sides = [np.concatenate([d, d + np.roll(d, 1, axis=1)], axis=1).astype(np.float64) for d in (drawn, other)]
    means, variances = ([f(d, axis=0) for d in sides] for f in (np.mean, np.var))
    error = np.sqrt(sum(v / len(d) for v, d in zip(variances, sides, strict=True)))
    assert (np.abs(means[0] - means[1]) < 5 * error).all()
    # of nearly Gaussian numbers the variance has the standard error √(2/n) var; heavier tails have twice that
    spread = sum(4 * np.sqrt(2 / len(d)) * v for v, d in zip(variances, sides, strict=True))
    assert (np.abs(variances[0] - variances[1]) < 2.5 * spread).all()
    assert (variances[1] > 0).all()
