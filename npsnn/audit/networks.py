"""Small networks for the checks, in double precision, and their losses and gradients in the papers' shapes."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from npsnn.audit.card import Floats
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Layer, Params, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.train.losses import base


def convolutional(rng: np.random.Generator, sigma: float = 0.4, joint: bool = True) -> Classifier:
    """conv-pool-ReLU-conv-pool-ReLU-linear-ReLU-linear for 1 x 12 x 12 images and 4 classes.

    rng: generator of weights and biases.
    sigma: standard deviation of the noise on the first layer.
    joint: whether the last layer carries the covariance of the logits.
    """
    layers: tuple[tuple[str, Layer], ...] = (
        ("conv1", Conv2d(3, 3)),
        ("noise", PreactivationNoise(sigma)),
        ("pool1", MaxPool(2)),
        ("relu1", ReLU()),
        ("conv2", Conv2d(4, 2)),
        ("pool2", MaxPool(2)),
        ("relu2", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(6)),
        ("relu3", ReLU()),
        ("fc2", Linear(4, joint=joint)),
    )
    return _drawn(Model("small", Sequential(layers), (1, 12, 12), 4), sigma, rng)


def perceptron(
    rng: np.random.Generator, sizes: tuple[int, ...] = (12, 16, 12, 4), sigma: float = 0.4, joint: bool = True
) -> Classifier:
    """Linear layers with ReLU between them and noise on the first; images are 1 x 1 x sizes[0].

    rng: generator of weights and biases.
    sizes: inputs, hidden units, classes.
    sigma: standard deviation of the noise.
    joint: whether the last layer carries the covariance of the logits.
    """
    layers: list[tuple[str, Layer]] = [("flatten", Flatten())]
    for i, size in enumerate(sizes[1:], start=1):
        last = i == len(sizes) - 1
        layers.append((f"fc{i}", Linear(size, joint=joint and last)))
        layers += [("noise", PreactivationNoise(sigma))] if i == 1 else []
        layers += [] if last else [(f"relu{i}", ReLU())]
    return _drawn(Model("small", Sequential(tuple(layers)), (1, 1, sizes[0]), sizes[-1]), sigma, rng)


def _drawn(model: Model, sigma: float, rng: np.random.Generator) -> Classifier:
    params = {name: p.astype(np.float64) for name, p in flatten(model.init(rng)).items()}
    params["noise.sigma"] = np.array(sigma)  # which init has rounded to single precision
    for name, p in params.items():
        if name.endswith(".b"):
            p += 0.2 * rng.standard_normal(p.shape)
    return Classifier(model, unflatten(params), threads=1)


def alive(rng: np.random.Generator, sigma: float = 0.4, joint: bool = True) -> tuple[Classifier, Floats]:
    """A convolutional network and four images, drawn until some ReLU of every layer is on for each image.

    rng: generator of the parameters and the images.
    sigma: standard deviation of the noise.
    joint: whether the last layer carries the covariance of the logits.
    """
    while True:
        network = convolutional(rng, sigma, joint)
        images = rng.uniform(0, 1, (4, *network.model.shape))
        if network.moments(images, "linear")[1].min() > 0:
            return network, images


def trained(
    rng: np.random.Generator, sizes: tuple[int, ...], joint: bool = False
) -> tuple[Classifier, Floats, npt.NDArray[np.int64]]:
    """A perceptron after a short training on one noisy cluster for each class, with eight training images and labels.

    rng: generator of the parameters, the clusters and the batches.
    sizes: inputs, hidden units, classes.
    joint: whether the last layer carries the covariance of the logits.

    The training takes 200 plain gradient steps on the noise-aware loss under the exact rule, with batches of 32 and a
    rate of 0.3, and leaves sigma as it is.
    """
    network = perceptron(rng, sizes, joint=joint)
    centres, labels = rng.uniform(0.2, 0.8, (sizes[-1], sizes[0])), rng.integers(0, sizes[-1], 256)
    images = np.clip(centres[labels] + 0.15 * rng.standard_normal((256, sizes[0])), 0, 1).reshape(256, 1, 1, -1)
    objective, noise = OBJECTIVES["noise-aware"], Propagated(RULES["exact"])
    for _ in range(200):
        chosen = rng.integers(0, len(images), 32)
        grads = base.one_view(network, images[chosen], labels[chosen], objective, noise).grads or {}
        steps = {name: 0.3 / 32 * g for name, g in grads.items() if name != "noise.sigma"}
        params = {name: p - steps.get(name, 0) for name, p in flatten(network.params).items()}
        network = replace(network, params=unflatten(params))
    return network, images[:8], labels[:8]


@dataclass(frozen=True)
class Slopes:
    """A loss and its gradients.

    value: the loss.
    dx: gradient by the image, (C, H, W).
    params: gradients by the parameters, flat.
    """

    value: float
    dx: Floats
    params: dict[str, Floats]


def output(network: Classifier, params: dict[str, Floats], x: Floats, rule: str) -> Moments:
    """Moments of the logits of one image: mean (n, 1), var (n, 1) or, for a joint last layer, (n, n, 1).

    network: the network.
    params: flat parameters that replace those of the network.
    x: the image, (C, H, W).
    rule: name of the propagation rule.
    """
    return network.model.network.forward(unflatten(params), Moments(_engine(x)), Propagated(RULES[rule]))[0]


def loss(network: Classifier, params: dict[str, Floats], x: Floats, k: int, rule: str, objective: str) -> float:
    """The objective of one image.

    network: the network.
    params: flat parameters that replace those of the network.
    x: the image, (C, H, W).
    k: its class.
    rule: name of the propagation rule.
    objective: name of the objective.
    """
    return float(OBJECTIVES[objective](output(network, params, x, rule), np.array([k]))[0][0])


def slopes(network: Classifier, x: Floats, k: int, rule: str, objective: str, variance_channel: bool = True) -> Slopes:
    """The objective of one image under the network's own parameters, with the engine's hand-written gradients.

    network: the network.
    x: the image, (C, H, W).
    k: its class.
    rule: name of the propagation rule.
    objective: name of the objective.
    variance_channel: whether the gradient by the output variances enters the backward pass.
    """
    params: Params = network.params
    m, backward = network.model.network.forward(params, Moments(_engine(x)), Propagated(RULES[rule]))
    value, cotangent = OBJECTIVES[objective](m, np.array([k]))
    below, grads = backward(cotangent if variance_channel else Moments(cotangent.mean), Want.BOTH)
    assert below is not None
    return Slopes(float(value[0]), below.mean[..., 0].transpose(1, 0, 2), flatten(grads))


def matrices(network: Classifier) -> list[tuple[Floats, Floats]]:
    """(W, b) of each layer of a perceptron, in the form that `npsnn.reference.montecarlo.network` takes."""
    return [(p["w"], p["b"]) for p in network.params.values() if "w" in p]


def _engine(x: Floats) -> Floats:
    """(C, H, W) -> (H, C, W, 1)."""
    return np.ascontiguousarray(x.transpose(1, 0, 2)[..., None])
