"""The votes of a network's draws: how many draws name each class, image by image, on all workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from npsnn.attacks.judging import not_finite
from npsnn.backend import Array, namespace, to_host
from npsnn.classifier import Classifier
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Sampled
from npsnn.models.averaging import averaged
from npsnn.streams import Stream
from npsnn.workers.base import micro_batches

JOB = 16
"""Micro-batches of draws that one job computes: workers wait for one another at the end of a few images."""
TOGETHER = 4.0
"""Seconds of work that images are handed out for at a time; the votes do not depend on it."""

SELECTION, ESTIMATION = "selection", "estimation"
"""The draws that choose a class, and the draws that count its votes: streams of their own, for each image."""


@dataclass(frozen=True)
class Counting:
    """The votes of some draws for one image, as a job that workers can be handed.

    network: the network, which is random.
    """

    network: Classifier

    def __call__(self, image: np.ndarray, first: int, last: int, stream: Stream) -> np.ndarray:
        """Count the draws from `first` to `last`, the latter left out, that name each class: (classes,).

        image: (1, C, H, W).
        stream: of the image's draws, each of which is keyed by its number.
        Raises ValueError for logits that are not finite.
        """
        votes = np.zeros(self.network.model.classes, np.int64)
        answers = self._answers(image)
        for draws in micro_batches(last - first, self.network.micro_batch):
            count = draws.stop - draws.start
            logits = answers(Sampled(stream.from_sample(first + draws.start)), count)
            xp = namespace(logits)
            named = to_host(xp.where(xp.isfinite(logits).all(axis=0), logits.argmax(axis=0), len(votes)))
            if named.max() == len(votes):
                raise not_finite(self.network)
            votes += np.bincount(named, minlength=len(votes))
        return votes

    def _answers(self, image: np.ndarray) -> Callable[[Sampled, int], Array]:
        """From a noise and a number of draws to the logits, (classes, draws).

        A CPU computes the layers before the first noise once for all draws, a GPU one graph.
        """
        network = self.network
        if network.on_gpu:
            return lambda noise, count: network.scores(np.broadcast_to(image, (count, *image.shape[1:])), noise).mean
        layers = network.model.network.layers
        before = network.model.before_noise
        after = Sequential(layers[len(before.layers) :])
        one, _ = before.forward(network.params, Moments(network.to_engine(image)), EXPECTATION)

        def answers(noise: Sampled, count: int) -> Array:
            features = Moments(np.broadcast_to(one.mean, (*one.mean.shape[:-1], count)))
            with np.errstate(over="ignore", invalid="ignore"):
                return averaged(after, network.params, features, noise, network.average, network.answer)[0].mean

        return answers


class Votes(NamedTuple):
    """The votes for one image.

    counts: draws that name each class, (classes,), for each kind of draws that was asked for.
    seconds: that the image took, as a part of those computed together.
    """

    counts: tuple[np.ndarray, ...]
    seconds: float


def votes(
    network: Classifier,
    x: np.ndarray,
    draws: dict[str, int],
    stream: Stream,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Votes]:
    """Count the votes of each image, in order.

    network: the network, which is random.
    x: images (N, C, H, W), as floats.
    draws: number of draws of each kind, which are independent of the draws of other kinds.
    stream: of the first image; the draws of an image depend on its own number alone.
    progress: called with the number of draws done.
    """
    job, size = Counting(network), JOB * network.micro_batch
    parts = [(kind, s) for kind, count in enumerate(draws.values()) for s in micro_batches(count, size)]
    streams = [stream.at(kind) for kind in draws]
    with network.workers() as workers:
        done, together = 0, 1
        while done < len(x):
            start, several = perf_counter(), range(done, min(done + together, len(x)))
            found = [[np.zeros(network.model.classes, np.int64) for _ in draws] for _ in several]
            turn = iter([(n, *part) for n in range(len(several)) for part in parts])

            def arguments(i: int, several: range = several) -> tuple[Any, ...]:
                image, (kind, s) = several[i // len(parts)], parts[i % len(parts)]
                return x[image : image + 1], s.start, s.stop, streams[kind].at(stream.sample(image))

            def combine(counts: np.ndarray, turn: Any = turn, found: Any = found) -> None:
                image, kind, s = next(turn)
                found[image][kind] += counts
                if progress:
                    progress(s.stop - s.start)

            workers.reduce(job, arguments, len(parts) * len(several), combine)
            seconds = (perf_counter() - start) / len(several)
            yield from (Votes(tuple(counts), seconds) for counts in found)
            done += len(several)
            together = max(1, int(TOGETHER / max(seconds, 1e-3)))
