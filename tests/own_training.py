"""A user's own training: each kind of value as she would write it, entered in the tables, in one module."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from npsnn.backend import Array
from npsnn.classifier import Classifier
from npsnn.data import as_float
from npsnn.data.augment import augmentation
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import Moments, Noise, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.pool import MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train import (
    Constraint,
    PositiveSigma,
    Role,
    SigmaCap,
    SigmaReward,
    Total,
    Training,
    Treatment,
    constraint,
    loss,
    optimizer,
    schedule,
    term,
    total,
    treatment,
    view,
)


def log_softmax(z: Array) -> Array:
    z = z - z.max(axis=0)
    return z - np.log(np.exp(z).sum(axis=0))


@loss("agreement")
@dataclass(frozen=True)
class Agreement:
    """TRADES on shifted images: cross-entropy of the image, and beta times KL(p‖q), q the shifted image's answer."""

    beta: float = 6.0
    shift: int = 2

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        x = as_float(images, network.dtype) if images.dtype == np.uint8 else images
        one, two = view(network, x, noise), view(network, np.roll(x, self.shift, axis=3), noise.at("second"))
        values, dz, dzz = self.values(one.logits.mean, two.logits.mean, labels)
        return total(values, labels, (one, Moments(dz)), (two, Moments(dzz)))

    def values(self, z: Array, zz: Array, labels: np.ndarray) -> tuple[Array, Array, Array]:
        ln_p, ln_q, n = log_softmax(z), log_softmax(zz), np.arange(len(labels))
        p, q = np.exp(ln_p), np.exp(ln_q)
        divergence = (p * (ln_p - ln_q)).sum(axis=0)
        dz = p + self.beta * p * (ln_p - ln_q - divergence)
        dz[labels, n] -= 1
        return -ln_p[labels, n] + self.beta * divergence, dz, self.beta * (q - p)


@term("ridge")
@dataclass(frozen=True)
class Ridge:
    """Half the squares of the last layer's weights."""

    weight: float

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        w = params["fc.w"]
        return 0.5 * self.weight * (w * w).sum().astype(np.float64), {"fc.w": self.weight * w}


@constraint("clipped")
@dataclass(frozen=True)
class Clipped(Constraint):
    """Gradients of a length of at most `length` all together, and biases of the last layer without a mean."""

    length: float = 1.0

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        size = float(np.sqrt(sum(float((g * g).sum()) for g in grads.values())))
        return params, {k: g * g.dtype.type(min(1.0, self.length / size)) for k, g in grads.items()}

    def after(self, model: Model, params: Arrays) -> Arrays:
        return params | {"fc.b": params["fc.b"] - params["fc.b"].mean()}


@optimizer("lion")
@dataclass(frozen=True)
class Lion:
    """Steps of one length along the sign of a running gradient."""

    lr: float = 1e-3
    memory: float = 0.9

    def init(self, params: Arrays) -> Arrays:
        return {f"running/{k}": p * 0 for k, p in params.items()}

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int, decayed: Any = frozenset()
    ) -> tuple[Arrays, Arrays]:
        new, running = dict(params), dict(state)
        for k, g in grads.items():
            kept = g.dtype.type(self.memory)
            running[f"running/{k}"] = kept * state[f"running/{k}"] + (1 - kept) * g
            new[k] = params[k] - g.dtype.type(lr) * np.sign(running[f"running/{k}"])
        return new, running


@schedule("warm")
@dataclass(frozen=True)
class Warm:
    """A rate that rises over the first part of the training."""

    part: float = 0.5

    def __call__(self, done: float) -> float:
        return min(1.0, (done + 0.1) / self.part)


@treatment("antithetic")
@dataclass(frozen=True)
class Halved(Treatment):
    """Draws of the noise from a stream of their own."""

    def noise(self, stream: Stream, training: Any) -> Noise:
        return Sampled(stream.at("halved"), training)


@augmentation("inverted")
def inverted(images: np.ndarray, stream: Stream) -> np.ndarray:
    """Some of the images with black for white."""
    chosen = stream.uniform(np.empty((1, len(images))))[0] < 0.2
    return np.where(chosen[:, None, None, None], 255 - images, images)


def two_noises(normalised: bool = False, micro_batch: int = 16) -> Model:
    """A network with noise on its first pre-activation and in a block; normalised: with BatchNorm as well."""
    norm: Any = (("bn", BatchNorm()),) if normalised else ()
    body: Any = (("conv", Conv2d(4, 3, padding=1)), ("noise", PreactivationNoise(0.2)))
    layers: Any = (
        ("conv", Conv2d(4, 5, stride=4)),
        ("noise", PreactivationNoise(0.3)),
        *norm,
        ("relu", ReLU()),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("pool", MeanPool(2)),
        ("flatten", Flatten()),
        ("fc", Linear(10, joint=True)),
    )
    return Model("two-noises", Sequential(layers), (1, 28, 28), 10, micro_batch)


def own_training(normalised: bool = True, **changed: Any) -> Training:
    """A training in which each value but the model is of this module."""
    chosen: dict[str, Any] = {
        "loss": Agreement(beta=2.0),
        "noise": Halved(),
        "terms": [Ridge(0.01), SigmaReward(0.1)],
        "constraints": [Clipped(0.5), PositiveSigma(), SigmaCap(0.9)],
        "optimizer": Lion(2e-3),
        "schedule": Warm(),
        "trains": Role.ALL,
        "augmentation": inverted,
        "epochs": 2,
        "batch_size": 40,
        "seed": 3,
    }
    return Training(two_noises(normalised), **chosen | changed)
