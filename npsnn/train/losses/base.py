"""What a loss is: the gradient of a part of a batch, by one view of its images or by several.

    @loss("mine")
    @dataclass(frozen=True)
    class Mine:
        def gradient(self, network, images, labels, noise, stream):
            one, two = view(network, images, noise), view(network, other(images), noise.at("second"))
            values, by_one, by_two = ...
            return total(values, labels, (one, by_one), (two, by_two))

A loss is asked for one part at a time, on whatever thread or process, so it keeps nothing between calls.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.foreign import BlamedOn, asked_for, read_only
from npsnn.layers.base import Want
from npsnn.layers.moments import Moments, Noise
from npsnn.layers.params import Role, flatten, roles
from npsnn.objectives import Objective
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.tables import Table


@dataclass(eq=False)
class Total:
    """Sums over examples; loss and correct are arrays of no dimensions.

    loss: of the examples.
    correct: number of examples whose label has the largest mean logit.
    grads: by flat name; running averages have the batch's statistics in their place, which are no sums.
    """

    loss: Array = 0.0
    correct: Array = 0
    grads: Arrays | None = field(default=None, repr=False)

    def add(self, other: "Total", statistics: Set[str] = frozenset()) -> None:
        """Add another part of the same batch.

        statistics: names of the running averages, whose statistics each part has of the whole batch.
        """
        self.loss += other.loss
        self.correct += other.correct
        if self.grads is None:
            self.grads = other.grads
        elif other.grads is not None:
            self.grads = {k: g if k in statistics else g + other.grads[k] for k, g in self.grads.items()}


class Loss(Protocol):
    """What training descends; any dataclass with this method is one.

    A loss whose value does not depend on the variance of the logits may have `sees_variance = False`. One that is made
    of another may have that as `plain`: how numbers are rounded here is seen by the plain loss, at less cost. One that
    needs a layer that no named model has may have `own_model = True`: the command line does not offer it.
    """

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        """The summed loss of a part of a batch, and its gradients by the parameters.

        network: as it is before the update.
        images: (N, C, H, W), uint8 as they are stored or floats in [0, 1].
        labels: (N,).
        noise: how this training carries the noise; `noise.at("second")` has other draws, for another view.
        stream: random numbers of the loss's own, keyed by sample.
        """


LOSSES: Table[type[Any]] = Table(
    "loss", "from npsnn.train import loss", asked_for(gradient="network, images, labels, noise, stream")
)
"""Every loss by name: `@loss("name")` above a dataclass enters it."""
loss = LOSSES.enter


def plain(loss: Loss) -> Loss:
    """The loss on the images as they are that another is made of, or else the loss itself."""
    inner: Loss | None = getattr(loss, "plain", None)
    return loss if inner is None else plain(inner)


@dataclass(frozen=True, eq=False)
class View:
    """A forward pass over the images of a part of a batch.

    network: that the images went through.
    logits: moments of its logits, (classes, N).
    """

    network: Classifier
    logits: Moments
    _backward: Callable[..., Any] = field(repr=False)

    def backward(self, cotangent: Moments) -> Arrays:
        """The gradients by the parameters, flat.

        cotangent: the loss's gradient by the logits.
        """
        grads: Arrays = flatten(self._backward(cotangent, Want.PARAMS)[1])
        return grads

    @cached_property
    def statistics(self) -> frozenset[str]:
        """The names of the running averages."""
        return statistics(self.network)


def statistics(network: Classifier) -> frozenset[str]:
    """The names of the running averages of a network."""
    model = network.model
    found = roles(model.network, flatten(network.params)) if model.network.couples_batch else {}
    return frozenset(name for name, role in found.items() if role is Role.STATISTIC)


def view(network: Classifier, images: np.ndarray, noise: Noise) -> View:
    """A forward pass over images; several may precede the backward pass of each.

    images: (N, C, H, W), uint8 or floats in [0, 1].
    noise: how the noise is carried.
    """
    return forwarded(network, network.to_engine(images), noise)


def forwarded(network: Classifier, x: Array, noise: Noise) -> View:
    """A forward pass over images in the engine's form, where the network is.

    x: (H, C, W, N), of the network's dtype, as `network.to_engine` returns them.
    noise: how the noise is carried.
    """
    return View(network, *network.model.network.forward(network.params, Moments(x), noise))


def total(values: Array, labels: np.ndarray, *views: tuple[View, Moments]) -> Total:
    """The sums of a loss over views of the same images; correct are those of the first view.

    values: loss of each example, (N,).
    labels: (N,).
    views: each with the loss's gradient by its logits.
    Gradients are added in the order of the views. Running averages move once, towards the mean of the views'
    statistics.
    """
    first, statistics = views[0][0], views[0][0].statistics if len(views) > 1 else frozenset()
    grads = dict[str, Array]()
    for one, cotangent in views:
        found = one.backward(cotangent)
        grads = {k: grads[k] + g for k, g in found.items()} if grads else found
    mean = first.logits.mean
    correct = (mean.argmax(axis=0) == namespace(mean).asarray(labels)).sum()
    grads = {k: g / len(views) if k in statistics else g for k, g in grads.items()}
    return Total(values.sum().astype(np.float64), correct, grads)


def weighted(network: Classifier, *parts: tuple[float, Total]) -> Total:
    """A weighted sum of losses of the same images; correct are those of the first.

    network: that all are of.
    parts: each loss's weight, and its sums.
    Running averages move once, towards the mean of the losses' statistics, as in `total`.
    """
    averages = statistics(network)
    grads = dict[str, Array]()
    for weight, one in parts:
        found = {k: g / len(parts) if k in averages else weight * g for k, g in (one.grads or {}).items()}
        grads = {k: grads[k] + g for k, g in found.items()} if grads else found
    loss = sum(weight * one.loss for weight, one in parts)
    return Total(loss, parts[0][1].correct, grads)


def one_view(network: Classifier, images: np.ndarray, labels: np.ndarray, objective: Objective, noise: Noise) -> Total:
    """The sums of an objective over the images of a part of a batch, and its gradients.

    images: (N, C, H, W), uint8 or floats in [0, 1].
    labels: (N,).
    objective: moments of the logits, labels -> values (N,), gradient by the moments (`npsnn.objectives`).
    noise: how the noise is carried.
    """
    one = view(network, images, noise)
    logits = Moments(*map(read_only, (one.logits.mean, one.logits.var)))
    with BlamedOn("objective", objective, "logits"):
        values, cotangent = objective(logits, namespace(logits.mean).asarray(labels))
    return total(values, labels, (one, cotangent))
