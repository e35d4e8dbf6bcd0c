"""The engine's classifier with noise on its features, beside the plain formulas of its parts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn import bounds
from npsnn.audit.card import Figure, Floats, below, deviation, error
from npsnn.audit.heads import factor
from npsnn.classifier import Classifier
from npsnn.data import Split
from npsnn.layers.affine import Linear
from npsnn.layers.base import Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.noise import COVARIANCES, FeatureNoise
from npsnn.layers.params import Role, flatten
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.objectives import (
    Objective,
    expected_cross_entropy,
    least_win_probability,
    sobol_normal,
    win_probability,
)
from npsnn.reference import a2snn, authors_code, differences, gaussian_head, theorem
from npsnn.streams import Stream
from npsnn.train import terms
from npsnn.train.authors import LogEntropy, LogTrace, OneDraw
from npsnn.train.epochs import Trainer
from npsnn.train.losses import CrossEntropy
from npsnn.train.terms import Alignment, MaxEntropy
from npsnn.train.training import Training
from npsnn.workers.processes import Processes

HEAD = Sequential((("flatten", Flatten()), ("noise", FeatureNoise(1.0)), ("last", Linear(10, joint=True))))
AUTHORS = (LogEntropy(1.0), LogTrace(1.0))
"""The rewards of the authors' code."""


def head(D: int = 32) -> Model:
    """A model of ten classes on D features, which are the pixels."""
    return Model("head", HEAD, (1, 1, D), 10)


BOUNDS = ("with_margin", "tight", "lipschitz", "total_variation", "neyman_pearson")


@dataclass(frozen=True)
class Head:
    """A classifier whose features are the pixels of its images, as the arrays that the formulas take.

    W: weights (C, D).
    b: biases (C,).
    L: factor of the noise's covariance (D, D).
    F: features (N, D).
    labels: classes (N,).
    """

    W: Floats
    b: Floats
    L: Floats
    F: Floats
    labels: npt.NDArray[np.int64]

    @property
    def images(self) -> Floats:
        return self.F[:, None, None, :]

    def network(self, covariance: str = "full", micro_batch: int = 64) -> Classifier:
        """The head as a classifier of the engine.

        covariance: "full" takes L, "diagonal" its diagonal, "scalar" the first number of the diagonal.
        micro_batch: images in a part of a batch.
        """
        C, D = self.W.shape
        layers = (("flatten", Flatten()), ("noise", FeatureNoise(1.0, covariance)), ("last", Linear(C, joint=True)))
        L = {"full": self.L, "diagonal": np.diag(self.L), "scalar": self.L[0, 0]}[covariance]
        params = {"noise": {"L": np.array(L)}, "last": {"w": self.W, "b": self.b}}
        return Classifier(Model("head", Sequential(layers), (1, 1, D), C, micro_batch), params, threads=1)


def drawn_head(rng: np.random.Generator, N: int, C: int, D: int) -> Head:
    """A head that is not sure of any class, with N images and labels.

    rng: generator of all arrays.
    N: images.
    C: classes.
    D: features.
    """
    W, b = rng.standard_normal((C, D)), 0.2 * rng.standard_normal(C)
    return Head(W, b, 0.8 * factor(rng, D), rng.uniform(0.1, 0.9, (N, D)), rng.integers(C, size=N))


def _each(head: Head, n: int, L: Floats, name: str) -> tuple[float, a2snn.Slopes]:
    """One image's objective and its gradients by the plain formulas."""
    f, k = head.F[n], int(head.labels[n])
    at = (f, head.W, head.b, L)
    if name == "win-probability":
        slopes, sign = gaussian_head.log_wins_slopes(k, *at), -1.0
        return -gaussian_head.log_wins(k, *at), a2snn.Slopes(**{key: sign * g for key, g in vars(slopes).items()})
    if name == "least-win-probability":
        least = min(gaussian_head.others(len(head.b), k), key=lambda i: gaussian_head.margin(i, k, *at))
        slopes = gaussian_head.margin_slopes(least, k, *at)
        return -gaussian_head.margin(least, k, *at), a2snn.Slopes(**{key: -g for key, g in vars(slopes).items()})
    m, S = gaussian_head.mean(f, head.W, head.b), gaussian_head.covariance(head.W, L)
    points = gaussian_head.sobol(64, len(m))
    value, dm, dS = gaussian_head.expected_cross_entropy(m[:, None], S[..., None], np.array([k]), points)
    return float(value[0]), gaussian_head.chain(dm[:, 0], dS[..., 0], f, head.W, L)


OBJECTIVES: dict[str, Objective] = {
    "win-probability": win_probability,
    "least-win-probability": least_win_probability,
    "expected-cross-entropy": expected_cross_entropy,
}
"""The objectives that take the covariance of the logits; only the first has a symmetric cotangent of it."""


def _by_engine(head: Head, covariance: str, objective: Objective) -> tuple[Floats, Floats]:
    """The objective of each image, and its sum's gradients by f, W, b and L in one row."""
    network = head.network(covariance)
    image = Moments(network.to_engine(head.images))
    m, backward = network.model.network.forward(network.params, image, Propagated())
    values, cotangent = objective(m, head.labels)
    below, grads = backward(cotangent, Want.BOTH)
    assert below is not None
    return values, _row(below.mean[0, 0].T, grads["last"]["w"], grads["last"]["b"], grads["noise"]["L"])


def _by_formula(head: Head, covariance: str, name: str) -> tuple[Floats, Floats]:
    """The same by the plain formulas of each image."""
    D = head.W.shape[1]
    L = {"full": head.L, "diagonal": np.diag(np.diag(head.L)), "scalar": head.L[0, 0] * np.eye(D)}[covariance]
    values, slopes = zip(*(_each(head, n, L, name) for n in range(len(head.F))), strict=True)
    W, b, dL = (np.sum([vars(s)[key] for s in slopes], axis=0) for key in "WbL")
    of_kind = {"full": dL, "diagonal": np.diag(dL), "scalar": np.trace(dL)}[covariance]
    return np.array(values), _row([s.f for s in slopes], W, b, of_kind)


def _row(*arrays: Any) -> Floats:
    return np.hstack([np.ravel(a) for a in arrays])


def whole_gradients(head: Head) -> Iterator[Figure]:
    """Figures of the engine's gradients of a batch, against the sum of the plain gradients of its images."""
    for name, objective in OBJECTIVES.items():
        for covariance in COVARIANCES:
            found, wanted = _by_engine(head, covariance, objective), _by_formula(head, covariance, name)
            yield error(f"engine, {name}, {covariance} noise: values", found[0], wanted[0], 1e-10)
            yield error(f"engine, {name}, {covariance} noise: gradients by f, W, b, L", found[1], wanted[1], 1e-9)


def points() -> Iterator[Figure]:
    """Figures of the engine's points of the integral: they are the plain points, with the mean of the normal law."""
    for C in (2, 10):
        yield error(f"engine, Sobol points for {C} classes", sobol_normal(C), gaussian_head.sobol(64, C), 1e-12)
        yield below(f"engine, mean of the points for {C} classes", np.abs(sobol_normal(C).mean(axis=0)).max(), 1e-12)


def whole_gap(head: Head, average: int, draws: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Figures of `bounds.gap`: its bounds against the formulas, its gap against drawn answers.

    head: the classifier.
    average: answers that the network averages.
    draws: draws for each image.
    rng: generator of the moves and the draws.
    """
    network = head.network().averaging(average)
    moved = np.clip(head.F + rng.uniform(-0.3, 0.3, head.F.shape), 0, 1)
    found = bounds.gap(network, head.images, moved[:, None, None, :], head.labels, draws, seed=int(rng.integers(2**31)))
    L, title = head.L / sqrt(average), f"engine, answers of {average} draws"
    wanted: dict[str, list[float]] = {name: [] for name in BOUNDS}
    for f, g, k, clean in zip(head.F, moved, head.labels, found.clean, strict=True):
        mu, s = theorem.pairs(head.W, head.b, L, f, int(k))
        reach = theorem.pair_reach(head.W, g - f, int(k))
        distance = theorem.difference_distance(head.W, L, g - f, int(k))
        wanted["with_margin"].append(theorem.pairs_with_margin(reach, mu, s))
        wanted["tight"].append(theorem.pairs_tight(reach, s))
        wanted["lipschitz"].append(theorem.pairs_lipschitz(reach, s))
        wanted["total_variation"].append(theorem.total_variation(distance))
        wanted["neyman_pearson"].append(theorem.neyman_pearson((draws * clean + 0.5) / (draws + 1), distance))
    for name, values in wanted.items():
        yield error(f"{title}: {name.replace('_', ' ')}", getattr(found, name), values, 1e-6)
    noise = rng.standard_normal((draws, 1, len(L))) @ L.T
    before, after = (
        (a2snn.logits(z + noise, head.W, head.b).argmax(axis=2) == head.labels).astype(np.float64)
        for z in (head.F, moved)
    )
    # one draw more that changes its mind, lest an image that loses nothing look certain
    spread = np.sqrt((before - after).var(axis=0) / draws + 1 / draws**2)
    yield error(f"{title}: standard error of the gap", found.standard_error, spread, 0.2)
    yield deviation(f"{title}: gap, in standard errors", found.gap, 1.5 * spread, (before - after).mean(axis=0))
    errors = np.sqrt(2 * before.var(axis=0) / draws + 1 / draws**2)
    yield deviation(f"{title}: clean, in standard errors", found.clean, errors, before.mean(axis=0))


def averaged_moments(head: Head, average: int) -> Iterator[Figure]:
    """Figures of a network that averages its answers: the mean of one answer, a part of its variance, its gradient.

    head: the classifier.
    average: answers that the network averages.
    """
    network, k = head.network(), head.labels
    one, many = network.moments(head.images), network.averaging(average).moments(head.images)
    yield error(f"engine, mean of {average} draws", many[0], one[0], 1e-12)
    yield error(f"engine, variance of {average} draws", average * many[1], one[1], 1e-12)
    smaller = replace(head, L=head.L / sqrt(average)).network()
    for name in ("win-probability", "expected-cross-entropy"):
        found, wanted = (n.input_gradient(head.images, k, name) for n in (network.averaging(average), smaller))
        yield error(f"engine, gradient of {name} of {average} draws", found, wanted, 1e-9)


def trained_with_one_draw(rng: np.random.Generator) -> Iterator[Figure]:
    """Figures of the engine's training gradient of a batch in three parts, with the one draw of the authors' code."""
    head = drawn_head(rng, 24, 4, 5)
    network = head.network(micro_batch=10)
    training = Training(network.model, loss=CrossEntropy(), noise=OneDraw(), trains=Role.ALL)
    pixels = np.round(255 * head.images).astype(np.uint8)
    split, F = Split(pixels, head.labels), pixels[:, 0, 0] / 255
    draws = Stream(int(rng.integers(2**31))).at("training", 1)
    with Processes(1) as workers:
        trainer = Trainer(training, split, split, workers, "cpu")
        total = trainer.gradient(flatten(network.params), np.arange(24), draws)
    eps = draws.one_draw().at("noise", "noise").normal(F[:1].T)[:, 0]
    wanted = authors_code.one_draw(F, head.labels, head.W, head.b, head.L, eps)
    noisy = a2snn.logits(F + head.L @ eps, head.W, head.b)
    grads = total.grads or {}
    yield error("engine: loss of a training batch", total.loss, a2snn.cross_entropy(noisy, head.labels), 1e-9)
    yield error("engine: gradient of a training batch by L", grads["noise.L"], wanted.L, 1e-9)
    yield error("engine: gradient of a training batch by W", grads["last.w"], wanted.W, 1e-9)


def reward_gradients(W: Floats, L: Floats) -> Iterator[Figure]:
    """Figures of the engine's gradients of its rewards for the noise, against differences."""
    paper = {"paper": (MaxEntropy(1.0), Alignment(1.0)), "pairs": (MaxEntropy(1.0), Alignment(1.0, pairwise=True))}
    for name, chosen in {"code": AUTHORS, **paper}.items():

        def reward(w: Floats, m: Floats, chosen: tuple[terms.Term, ...] = chosen) -> tuple[float, dict[str, Floats]]:
            value, grads = terms.summed(chosen, head(len(L)), {"noise.L": m, "last.w": w})
            return float(value), grads

        grads = reward(W, L)[1]
        by_factor = np.tril(differences.gradient(lambda m: reward(W, m)[0], L))
        by_weights = differences.gradient(lambda w: reward(w, L)[0], W)
        yield error(f"engine: reward of the {name} by L", grads["noise.L"], by_factor, 1e-6)
        yield error(f"engine: reward of the {name} by W", grads["last.w"], by_weights, 1e-6)
