"""Mixup inference: the network answers for a mixture of the image and a stored one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.inputs import as_float
from npsnn.layers.base import Backward, Forms, Layer, Params, Passing, Shape, Want, is_random, layer
from npsnn.layers.containers import Sequential, nested
from npsnn.layers.moments import Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import Role
from npsnn.validate import check_choice, check_count, check_types

CHOICES = ("predicted", "other", "combined")


@layer
@dataclass(frozen=True)
class Mixing(Passing):
    """Under a draw answers body(λx + (1 - λ)s), where s is a stored image of a class that the predicted one tells.

    body: layers of the network, which end in a logit for each class; none of them is joint.
    classes: number of classes, >= 2.
    pool: number of stored images of each class, the parameter "pool" of shape (classes, pool, H, C, W).
    weight: λ, in [0, 1].
    choice: "predicted" for an image of the predicted class (MI-PL); "other" for one of another class, each of the
        others being as likely (MI-OL); "combined" for an image of the predicted class where the network stays sure of
        its answer, and of another class elsewhere.
    other_weight: λ of "combined" for an image of another class.
    detections: number of images of the predicted class by which "combined" sees whether the network stays sure.
    threshold: the network stays sure where max p(x) - max p̄ < threshold; p̄ is the mean of its probabilities over the
        mixtures with these images.
    The predicted class is the body's answer for x. Neither it nor the choice of "combined" has a gradient: the gradient
    by x is λ Jᵀg. A draw chooses one image, keyed by sample: the answer of the paper is the mean of the probabilities
    over several draws. With the noise off, and in training, the layer is the body alone: a network for an attack that
    does not know of the mixing. Propagated noise is refused outside of training.
    Raises ValueError for fields that are not as said, and for a body that ends in other than a logit for each class.
    Source: Pang et al. 2020 (MI), Sec. 3. Departures: the stored images are training images, where the authors' code
    stores the test set, in which the attacked images are; "combined" decides for each draw, by images of its own, where
    the code decides once for all draws.
    """

    body: Sequential
    classes: int
    pool: int
    weight: float = 0.5
    choice: str = "predicted"
    other_weight: float = 0.4
    detections: int = 5
    threshold: float = 0.2
    random: ClassVar[bool] = True
    random_in_training: ClassVar[bool] = False
    propagates: ClassVar[bool] = False
    roles: ClassVar[Mapping[str, Role]] = {"pool": Role.STATISTIC}

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("choice", self.choice, CHOICES)
        for name, least in (("classes", 2), ("pool", 1), ("detections", 1)):
            check_count(name, getattr(self, name), least)
        for name in ("weight", "other_weight", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)!r}")

    @property
    def couples_batch(self) -> bool:
        """Whether a layer of the body does."""
        return self.body.couples_batch

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        """As for every layer; until `filled` stores images, the pool holds uniform noise."""
        body, out = self.body.init(rng, shape)
        if out != (self.classes,):
            raise ValueError(f"the body of a Mixing must end in {self.classes} logits, got the output shape {out}")
        channels, *sides = shape
        size = (self.classes, self.pool, *((sides[0], channels, sides[1]) if sides else shape))
        pool = rng.parameter(size) if isinstance(rng, Forms) else rng.random(size, np.float32)
        return ({"body": body} if body else {}) | {"pool": pool}, out

    def filled(self, params: Params, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Params:
        """The parameters with a pool of images drawn from those of each class, without replacement where they suffice.

        params: the layer's own parameters.
        images: uint8 (N, C, H, W). Images that the network is judged by must not be among them.
        labels: (N,).
        rng: source of the draws.
        Raises ValueError for a class without an image.
        """
        rows = []
        for k in range(self.classes):
            own = np.flatnonzero(labels == k)
            if not len(own):
                raise ValueError(f"the pool needs an image of each class, got none of class {k} among {len(labels)}")
            rows.append(rng.choice(own, self.pool, replace=len(own) < self.pool))
        stored = as_float(images[np.stack(rows)]).swapaxes(2, 3)
        return params | {"pool": np.ascontiguousarray(stored)}

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        if noise.training is not None or isinstance(noise, Expectation):
            return self._answered(params, m, noise)
        if isinstance(noise, Propagated):
            raise ValueError(
                "a mixture of images is not Gaussian, so Mixing propagates no moments: attack it by draws, as with EoT"
            )
        if m.var is not None:
            raise ValueError("Mixing must be the first layer: it mixes images, which have no variance")
        m = m.settled()
        return self.mixed(params, m, noise, self._logits(params, m.mean, noise.at("first")))

    def prepared(self, params: Params, m: Moments, noise: Sampled) -> Layer:
        """The layer for draws of the same images, of which the predicted classes are computed once.

        It is the layer itself where the body draws noise: each draw has a prediction of its own then.
        """
        if noise.training is not None or any(is_random(part) for _, part in nested(self.body)):
            return self
        return _Seen(self, self._logits(params, m.settled().mean, noise))

    def mixed(self, params: Params, m: Moments, noise: Sampled, logits: Array) -> tuple[Moments, Backward]:
        """The answer for mixtures, as `forward` gives it under a draw.

        logits: the body's answer for the images, (classes, N).
        """
        weight, stored = self._chosen(params, m.mean, noise, logits)
        y, back = self._answered(params, Moments(weight * m.mean + (1 - weight) * stored), noise)

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below, grads = back(g, want)
            return None if below is None else Moments(weight * below.settled().mean), grads

        return y, backward

    def _answered(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """The body's answer."""
        y, back = self.body.passed(params.get("body", {}), m, noise.at("body"))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below, grads = back(g, want)
            return below, {"body": grads} if grads else {}

        return y, backward

    def _chosen(self, params: Params, x: Array, noise: Sampled, logits: Array) -> tuple[float | Array, Array]:
        """The weight of each image, (N,) or one for all, and the stored images that they are mixed with."""
        xp, predicted = namespace(x), logits.argmax(axis=0)
        if self.choice == "predicted":
            return self.weight, self._stored(params, predicted, noise)
        u = noise.stream.at("class").uniform(xp.empty(predicted.shape))
        others = (predicted + 1 + (u * (self.classes - 1)).astype(predicted.dtype)) % self.classes
        if self.choice == "other":
            return self.weight, self._stored(params, others, noise)
        sure = self._sure(params, x, logits, predicted, noise)
        weights = xp.where(sure, self.weight, self.other_weight).astype(x.dtype)
        return weights, self._stored(params, xp.where(sure, predicted, others), noise)

    def _sure(self, params: Params, x: Array, logits: Array, predicted: Array, noise: Sampled) -> Array:
        """Whether the network stays sure of its answer where an image is mixed with those of its predicted class."""
        p: Array = 0
        for i in range(self.detections):
            own = noise.at(f"detection{i}")
            mixed = self.weight * x + (1 - self.weight) * self._stored(params, predicted, own)
            p = p + _probabilities(self._logits(params, mixed, own))
        found: Array = _probabilities(logits).max(axis=0) - p.max(axis=0) / self.detections < self.threshold
        return found

    def _logits(self, params: Params, x: Array, noise: Noise) -> Array:
        return self._answered(params, Moments(x), noise)[0].settled().mean

    def _stored(self, params: Params, classes: Array, noise: Sampled) -> Array:
        """A stored image of a class for each example, batch last, each image of the class being as likely."""
        xp = namespace(classes)
        # in double precision whatever the network's: both precisions have the same images
        u = noise.stream.at("image").uniform(xp.empty(classes.shape))
        images = params["pool"][classes, (u * self.pool).astype(classes.dtype)]
        return xp.moveaxis(images, 0, -1)


@dataclass(frozen=True, eq=False)
class _Seen(Passing):
    """The layer for images of which the body's answer is known."""

    layer: Mixing
    logits: Array

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return self.layer.init(rng, shape)

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        assert isinstance(noise, Sampled), "a layer is prepared for draws"
        return self.layer.mixed(params, m.settled(), noise, self.logits)


def _probabilities(logits: Array) -> Array:
    xp = namespace(logits)
    e = xp.exp(logits - logits.max(axis=0))
    return e / e.sum(axis=0)
