"""What other libraries ask of an npsnn network: logits and gradients, each call of them under a draw of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.inputs import as_images
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Sampled
from npsnn.objectives import Objective
from npsnn.streams import Randomness, Stream, as_stream


def along(m: Moments, cotangent: np.ndarray) -> tuple[np.ndarray, Moments]:
    """Σ_k g_k mean_k of each example, (N,), whose cotangent is g: the vector-Jacobian product as an objective.

    m: moments of the logits, (classes, N).
    cotangent: g, (N, classes).
    """
    g = cotangent.T
    return (m.mean * g).sum(axis=0), Moments(g)


@dataclass(frozen=True, eq=False)
class Answers:
    """A network whose calls are numbered: each call is a fresh draw of the noise, the same for the same number.

    network: the network.
    stream: source of all draws.
    """

    network: Classifier
    stream: Stream
    _calls: Iterator[int] = field(default_factory=count, repr=False)

    @classmethod
    def of(cls, network: Classifier, rng: Randomness) -> "Answers":
        """The answers of a network, under draws of `rng`; raises TypeError for what is no Classifier, or no source."""
        if not isinstance(network, Classifier):
            raise TypeError(f"network must be an npsnn.Classifier, got {type(network).__name__}")
        return cls(network, as_stream(rng))

    def next(self) -> int:
        """The number of a new call."""
        return next(self._calls)

    def logits(self, x: Any, call: int) -> np.ndarray:
        """The logits (N, classes) of a call; raises ValueError for images that do not fit, or logits not finite.

        x: images (N, C, H, W) in [0, 1].
        call: its number.
        """
        x = as_images(x, self.network.model.shape)
        found = self._each(len(x), lambda s: self.network.scores(x[s], self._noise(call, s)).mean.T)
        logits = np.concatenate(found) if found else np.zeros((0, self.network.model.classes), self.network.dtype)
        if not np.isfinite(logits).all():
            raise ValueError(f"the logits of {self.network.model.name} are not finite for some of the images")
        return np.ascontiguousarray(logits)

    def pulled(self, x: Any, cotangent: np.ndarray, call: int) -> np.ndarray:
        """The vector-Jacobian product by the images, float64 like x, of a cotangent of the logits, (N, classes)."""
        return self.ascended(x, cotangent, along, call)

    def ascended(self, x: Any, labels: np.ndarray, objective: Objective, call: int) -> np.ndarray:
        """The gradient by the images of an objective, float64 like x.

        labels: what the objective takes beside the logits, (N,) or (N, ...).
        objective: function of the logits and the labels.
        The other arguments are those of `logits`.
        """
        x = as_images(x, self.network.model.shape)
        noise = self._noise
        each = self._each(len(x), lambda s: self.network.loss_gradient(x[s], labels[s], noise(call, s), objective)[1])
        return np.concatenate(each) if each else np.zeros(x.shape)

    def _noise(self, call: int, s: slice) -> Noise:
        return Sampled(self.stream.at("call", call).further(s.start)) if self.network.random else EXPECTATION

    def _each(self, images: int, f: Callable[[slice], Any]) -> list[np.ndarray]:
        def host(s: slice) -> np.ndarray:
            with np.errstate(over="ignore", invalid="ignore"):
                return np.asarray(to_host(f(s)))

        return self.network.each_batch(host, images)
