"""Accuracy under noise: a mean over test images and fresh draws, with an interval for both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from npsnn.attacks.kept import at_work
from npsnn.attacks.queries import logits
from npsnn.attacks.shared_draws import SharedDraws
from npsnn.attacks.statistics import wilson_interval
from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.inputs import in_kind
from npsnn.layers.moments import EXPECTATION, Sampled
from npsnn.models.averaging import ANSWERS
from npsnn.models.sigmas import in_words
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.validate import check_choice, check_count, check_network, check_sigma, option
from npsnn.words import brief
from npsnn.workers.base import micro_batches

Progress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Mean accuracy over images and draws of the noise, with its 95 % interval.

    each: the part of the draws in which each image is classified correctly, (N,).
    draws: the accuracy of each draw, where the images of a micro-batch share draws; None where each image has its own.
        The mean is an estimate of the same accuracy, whatever the micro-batches are: the interval grows as more images
        share a draw.
    """

    each: np.ndarray
    draws: SharedDraws | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not len(self.each):
            raise ValueError("an accuracy must be of at least one image, got none")
        if self.draws is not None and self.draws.sizes.sum() != len(self.each):
            raise ValueError(f"draws must be of {len(self.each)} images, got {self.draws.sizes.sum()}")

    def __repr__(self) -> str:
        low, high = self.ci95
        name = type(self).__name__
        return f"<{name} {self.mean:.4g} of {len(self.each)} images, 95 % interval {low:.4g} to {high:.4g}>"

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def one_draw(self) -> bool:
        """Whether all images share one single draw, so that the interval leaves out how much draws differ."""
        return self.draws is not None and self.draws.one

    @property
    def ci95(self) -> tuple[float, float]:
        """The interval over images and draws; of one draw that all images share, over images alone."""
        shared = None if self.draws is None else self.draws.interval(self.each)
        low, high = shared or wilson_interval(self.each)
        return float(low), float(high)


@dataclass(frozen=True)
class Judging:
    """How success is judged: on fresh draws of the noise that the defended network has at inference.

    draws: number of fresh draws, or of averaged answers where the network averages.
    selection: number of draws on which `worst_case` chooses, for each image, the worst of several attacks.
    seed: of all random numbers, those of the attacks as well.
    sigma: the defender's noise, as in `Classifier.with_sigma`; None for the network's own, 0 for no noise.
    average: number of draws that make one answer of the defender; None for the network's own.
    on_grid: whether adversarial images are rounded to 8 bits before they are judged (`Limit.on_grid`).
    answer: what of the draws of `average` makes an answer, as in `Classifier.averaging`; None for the network's own.
    first: index of the first image. The images of a shard, x[first:last], then meet the noise that they meet in x. The
        results are the same to the bit where shards begin at multiples of the network's micro-batch, and attacks do not
        run in turn. Among attacks of equal effect `worst_case` prefers the one that leaves least of all its images.
    """

    draws: int = option(10, "Fresh draws of the noise on which accuracy is judged.", "Judging", low=1)
    seed: int = option(0, "Seed of all random numbers.", "Run")
    sigma: float | Mapping[str, float] | None = option(
        None,
        "Noise of the defended network, by default the run's own sigma. 0 makes it the expectation network.",
        "Judging",
        low=0,
        flag="--inference-sigma",
        check=check_sigma,
    )
    average: int | None = option(
        None,
        "Draws of the noise that the defended network averages for one answer (A2SNN Table 6).",
        "Judging",
        low=1,
    )
    on_grid: bool = option(
        False,
        "Round adversarial images to multiples of 1/255, as an image of 8 bits has, and stay in the ball.",
        "Judging",
    )

    selection: int = option(
        100,
        "Draws of the noise on which the worst of several attacks is chosen for each image; they judge nothing.",
        "Judging",
        low=1,
    )
    answer: str | None = option(
        None,
        "What of several draws makes an answer: {choices}. Attacks on votes ascend mean probabilities.",
        "Judging",
        choices=ANSWERS,
    )
    first: int = 0

    __repr__ = brief

    def __post_init__(self) -> None:
        check_count("draws", self.draws)
        check_count("selection", self.selection)
        _ = self.stream
        if self.sigma is not None:
            for sigma in self.sigma.values() if isinstance(self.sigma, Mapping) else (self.sigma,):
                check_sigma(sigma)
        if self.average is not None:
            check_count("average", self.average)
        if self.answer is not None:
            check_choice("answer", self.answer, ANSWERS)
        if not isinstance(self.on_grid, bool):
            raise ValueError(f"on_grid must be True or False, got {self.on_grid!r}")

    @property
    def stream(self) -> Stream:
        """The random numbers of everything that is judged so, from the first image on."""
        return Stream(self.seed, first=self.first)

    def knowing(self, known: Stream | None) -> Stream | None:
        """The draw that an attacker knows, from the first image on; None where no draw is known."""
        return None if known is None else known.further(self.first)

    def defended(self, network: Classifier) -> Classifier:
        """The network with the noise and the averaging that it keeps at inference."""
        noisy = network if self.sigma is None else network.with_sigma(self.sigma)
        if self.average is None and self.answer is None:
            return noisy
        return noisy.averaging(noisy.average if self.average is None else self.average, self.answer)


def checked_judging(judging: Any) -> Judging:
    """The value, if it is a Judging; TypeError otherwise, with what makes one of a Plan."""
    if not isinstance(judging, Judging):
        raise TypeError(f"judging must be a Judging, as Judging(draws=10) or plan.judging(), got {judging!r:.80}")
    return judging


def judge(classifier: Classifier, x: Array, labels: Array, draws: int, stream: Stream) -> Array:
    """The part of `draws` fresh draws in which each image of a micro-batch is classified correctly: (N,), like x.

    Without noise there is one answer, whatever `draws` is. Raises ValueError for logits that are not finite. On a GPU,
    which nobody waits for here, the part is NaN for an image of such logits.
    """
    right, finite = _readings(classifier, x, labels, draws, stream)
    xp = namespace(right)
    if xp is not np:
        return xp.where(finite.all(axis=(0, 1)), right.mean(axis=0), xp.nan)
    if not finite.all():
        raise not_finite(classifier)
    return right.mean(axis=0)


def _readings(classifier: Classifier, x: Array, labels: Array, draws: int, stream: Stream) -> tuple[Array, Array]:
    """Which draws read each image rightly, (draws, N), and which logits are finite, (draws, classes, N)."""
    noises = [Sampled(stream.at(d)) for d in range(draws)] if classifier.random else [EXPECTATION]
    answers = in_kind(logits(classifier, x, noises), x)
    xp = namespace(answers)
    return answers.argmax(axis=1) == xp.asarray(labels), xp.isfinite(answers)


def not_finite(classifier: Classifier) -> ValueError:
    """The error of a network whose logits are not finite."""
    under = f" under a noise of sigma {in_words(classifier.sigmas)}" if classifier.sigmas else ""
    return ValueError(f"the network's logits are not finite{under}")


@dataclass(frozen=True)
class Judged:
    """`judge`, as a job that workers can be handed: a network, and how many draws.

    Where the images of a network share draws, the result says of each draw whether it reads an image rightly, (N,
    draws).
    """

    network: Classifier
    draws: int

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        if not self.network.shares_draws:
            return np.asarray(judge(self.network, x, labels, self.draws, stream))
        right, finite = _readings(self.network, x, labels, self.draws, stream)
        if not finite.all():
            raise not_finite(self.network)
        return np.ascontiguousarray(right.T)


Job: TypeAlias = Callable[[np.ndarray, np.ndarray, Stream], Any]
"""What is done to a micro-batch: images, labels and the stream of the first of them in, plain arrays out."""


def each_part(
    network: Classifier,
    job: Job,
    x: np.ndarray,
    labels: np.ndarray,
    stream: Stream,
    progress: Progress | None = None,
    size: int | None = None,
) -> list[Any]:
    """job(x, labels, stream) of each micro-batch of the network, on all workers, in order.

    In a block of `Kept.at_work` the parts that are kept are not computed again.

    progress: called with the number of images of each that is done.
    size: number of images of a part; None for the network's own.
    """

    def part(s: slice) -> tuple[np.ndarray, np.ndarray, Stream]:
        return x[s], labels[s], stream.further(s.start)

    if kept := at_work():
        return kept.parts(network, job, part, micro_batches(len(x), size or network.micro_batch), progress)
    return network.each_batch(job, len(x), progress, part, size)


def accuracy(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    draws: int = 10,
    rng: Randomness = 0,
    progress: Progress | None = None,
) -> Accuracy:
    """Accuracy of the network under its own noise; of the expectation network where its sigma is 0.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    draws: number of fresh draws of the noise.
    rng: seed, NumPy generator or stream of the noise.
    progress: called with the number of images done.
    Raises ValueError for what does not fit the network.
    """
    x, labels = checked(classifier, x, labels)
    check_count("draws", draws)
    parts = each_part(classifier, Judged(classifier, draws), x, labels, as_stream(rng), progress)
    if classifier.shares_draws:
        return Accuracy(np.concatenate([part.mean(axis=1) for part in parts]), draws=SharedDraws.of(parts))
    return Accuracy(np.concatenate(parts))


def checked(classifier: Classifier, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images as floats in [0, 1] and the labels, once they are known to fit the network; ValueError otherwise."""
    check_network(classifier)
    x, labels = classifier.checked(x, labels)
    if not len(x):
        raise ValueError("there must be at least one image, got none")
    return x, labels
