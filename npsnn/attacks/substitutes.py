"""A substitute: a network of the attacker's own, trained on what the attacked network answers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsnn.attacks.judging import each_part
from npsnn.attacks.queries import logits
from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.host import one_blas_thread
from npsnn.inputs import as_images
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Sampled
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.objectives import cross_entropy
from npsnn.optim import Adam
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.validate import check_count
from npsnn.workers.base import micro_batches

BATCH = 32
"""The images of one step of the training."""


@dataclass(frozen=True)
class Voted:
    """The class that most of some draws answer, as a job that workers can be handed; of equals the first."""

    network: Classifier
    votes: int

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        random = self.network.random
        noises = [Sampled(stream.at(d)) for d in range(self.votes)] if random else [EXPECTATION]
        answers = to_host(logits(self.network, x, noises)).argmax(axis=1)
        counts = (answers[:, None] == np.arange(self.network.model.classes)[:, None]).sum(axis=0)
        return np.asarray(counts.argmax(axis=0))


def answered(network: Classifier, x: np.ndarray, votes: int, stream: Stream) -> np.ndarray:
    """The class that the network answers for each image, (N,): of a random network by a vote of its draws."""
    return np.concatenate(each_part(network, Voted(network, votes), x, np.zeros(len(x), np.int64), stream))


def small(shape: tuple[int, ...], classes: int) -> Model:
    """The model of a substitute where none is named: two convolutions and two dense layers, without noise."""
    layers: Any = (
        ("conv1", Conv2d(16, 3, padding=1)),
        ("relu1", ReLU()),
        ("conv2", Conv2d(32, 3, stride=2, padding=1)),
        ("relu2", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(100)),
        ("relu3", ReLU()),
        ("fc2", Linear(classes)),
    )
    return Model("substitute", Sequential(layers), shape, classes)


def substitute(
    network: Classifier,
    images: np.ndarray,
    rounds: int = 6,
    votes: int = 10,
    epochs: int = 10,
    step: float = 0.1,
    lr: float = 1e-3,
    model: Model | None = None,
    rng: Randomness = 0,
) -> Classifier:
    """A network trained on the classes that the attacked network answers, for `attacks.Transfer`.

    Each round asks for the classes of the new images and trains on all. All but the last then add to each image the one
    moved by `step` along the sign of the substitute's gradient of the answered class's logit. The attacked network is
    asked for nothing but classes: N 2^(rounds - 1) times, each `votes` draws where it is random.

    network: the defended network, with its noise.
    images: that the attacker has, (N, C, H, W), floats in [0, 1] or 8-bit. Their labels are not needed. None of them
        should be an image on which the attack is judged.
    rounds: number of rounds.
    votes: number of draws that are asked for the class of one image, of which the commonest counts.
    epochs: number of passes over the images in each round.
    step: how far the added images are moved, in units of the [0, 1] pixel.
    lr: Adam's learning rate.
    model: of the substitute; a small convolutional one where it is None.
    rng: seed, NumPy generator or stream of all random numbers.
    Raises ValueError for what does not fit the network.
    Source: Papernot et al. 2017, arXiv 1602.02697, Algorithm 1, with 150 images, 6 rounds and a step of 0.1. Departure:
    the substitute goes on from round to round, and a random network is asked for votes.
    """
    for name, value in {"rounds": rounds, "votes": votes, "epochs": epochs}.items():
        check_count(name, value)
    if not 0 < step <= 1:
        raise ValueError(f"step must be > 0 and at most 1, got {step!r}")
    x, stream = as_images(images, network.model.shape), as_stream(rng).at("substitute")
    if not len(x):
        raise ValueError("images must hold at least one, got none")
    model = model or small(network.model.shape, network.model.classes)
    if (tuple(model.shape), model.classes) != (tuple(network.model.shape), network.model.classes):
        expected, got = (f"{m.classes} classes and images {tuple(m.shape)}" for m in (network.model, model))
        raise ValueError(f"model must have {expected}, got {got}")
    if model.network.couples_batch:
        raise ValueError(f"model must have no batch normalisation, got {model.name}")
    own = Classifier(model, model.init(stream.at("init").generator()), threads=network.threads)
    state, labels = _State(Adam(lr), own), np.zeros(0, np.int64)
    for number in range(rounds):
        fresh = x[len(labels) :]
        labels = np.concatenate([labels, answered(network, fresh, votes, stream.at("answers", number))])
        with one_blas_thread():
            state.train(x, labels, epochs, stream.at("round", number))
            if number + 1 < rounds:
                x = np.concatenate([x, _moved(state.network, x, labels, step)])
    return state.network


class _State:
    """A network in training."""

    def __init__(self, adam: Adam, network: Classifier) -> None:
        self.adam, self.network, self.steps = adam, network, 0
        self.moments = adam.init(flatten(network.params))

    def train(self, x: np.ndarray, labels: np.ndarray, epochs: int, stream: Stream) -> None:
        for epoch in range(epochs):
            order = stream.at(epoch, "shuffle").generator().permutation(len(x))
            for s in micro_batches(len(x), BATCH):
                self._step(x[order[s]], labels[order[s]])

    def _step(self, x: np.ndarray, labels: np.ndarray) -> None:
        params = self.network.params
        m, backward = self.network.model.network.forward(params, Moments(self.network.to_engine(x)), EXPECTATION)
        _, cotangent = cross_entropy(m, labels)
        _, grads = backward(Moments(cotangent.mean / len(x)), Want.PARAMS)
        self.steps += 1
        flat, self.moments = self.adam.update(flatten(params), flatten(grads), self.moments, self.adam.lr, self.steps)
        self.network = replace(self.network, params=unflatten(flat))


def _moved(network: Classifier, x: np.ndarray, labels: np.ndarray, step: float) -> np.ndarray:
    """Each image moved to where the substitute's logit of its class changes most."""
    found = [network.loss_gradient(x[s], labels[s], EXPECTATION, logit)[1] for s in micro_batches(len(x), BATCH)]
    return np.asarray((x + step * np.sign(np.concatenate(found))).clip(0, 1).astype(x.dtype))


def logit(m: Moments, labels: np.ndarray) -> tuple[np.ndarray, Moments]:
    """The mean logit of the label, (N,), and its gradient."""
    places, cotangent = (labels, np.arange(len(labels))), np.zeros_like(m.mean)
    cotangent[places] = 1
    return m.mean[places], Moments(cotangent)
