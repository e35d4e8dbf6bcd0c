"""Certificates by randomised smoothing: CERTIFY and PREDICT of Cohen, Rosenfeld and Kolter 2019 (arXiv 1902.02918)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from npsnn.attacks.judging import Accuracy, checked
from npsnn.backend import Array
from npsnn.certify.interval import chance, lower_bound
from npsnn.certify.plan import Plan
from npsnn.certify.smoothing import Smoothing, smoothing
from npsnn.certify.votes import ESTIMATION, SELECTION, Counting, votes
from npsnn.classifier import Classifier
from npsnn.inputs import as_images
from npsnn.streams import Randomness, Stream, as_stream
from npsnn.validate import check_count

ABSTAIN = -1
"""The prediction of who abstains."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Certificate:
    """What the draws say of one image.

    index: number of the image.
    label: its label.
    predicted: the class that is certified, or `ABSTAIN`.
    radius: within this L2 distance, in units of the [0, 1] pixel, no image has another class as its most probable one,
        except with a chance of alpha; 0 for an abstention.
    lower: lower bound of the probability of the class that the selection draws chose.
    answer: the most frequent class of the other draws, an estimate without a guarantee.
    seconds: that the image took.
    """

    index: int
    label: int
    predicted: int
    radius: float
    lower: float
    answer: int
    seconds: float

    @property
    def correct(self) -> bool:
        """Whether the certified class is the label."""
        return self.predicted == self.label


@dataclass(frozen=True, eq=False, repr=False)
class Certificates:
    """The certificates of several images.

    rows: one for each image; ValueError where there is none.
    """

    rows: tuple[Certificate, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("certificates must be of at least one image, got none")

    def __repr__(self) -> str:
        right = self.accuracy().mean
        return f"<{len(self.rows)} certificates, {right:.4g} right, radius up to {self.radius.max():.4g}>"

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The certified class of each image, `ABSTAIN` for none: (N,)."""
        return np.array([row.predicted for row in self.rows])

    @property
    def radius(self) -> npt.NDArray[np.float64]:
        """The certified L2 radius of each image: (N,)."""
        return np.array([row.radius for row in self.rows])

    @property
    def abstained(self) -> npt.NDArray[np.bool_]:
        """Which images have no certificate: (N,)."""
        return np.array([row.predicted == ABSTAIN for row in self.rows])

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Which images have their label certified: (N,)."""
        return np.array([row.correct for row in self.rows])

    def accuracy(self, radius: float = 0.0) -> Accuracy:
        """The part of the images whose label is certified at a radius, with its interval over images.

        radius: L2 distance in units of the [0, 1] pixel, >= 0; a certificate holds up to, and at, its own radius.
        Raises ValueError for another radius.
        """
        _check_radius(radius)
        return Accuracy((self.correct & (self.radius >= radius)).astype(np.float64))

    def in_draws(self, radius: float = 0.0) -> Accuracy:
        """The part of the draws that surely read an image at a radius correctly, with its interval over images.

        Φ(Φ⁻¹(p) (1 - radius/R)) for an image whose label is certified, p its bound and R its radius; 0 for others. No
        attack in L2 leaves less of the accuracy over single draws, which `npsnn.attacks.robust_accuracy` measures.

        radius: L2 distance in units of the [0, 1] pixel, >= 0.
        Raises ValueError for another radius.
        Source: the lemma behind Cohen et al. 2019, Theorem 1, of which the radius is where this is 1/2.
        """
        _check_radius(radius)
        lower = np.array([row.lower for row in self.rows])
        part = np.divide(radius, self.radius, out=np.full(len(lower), np.inf), where=self.radius > 0)
        with np.errstate(invalid="ignore"):
            bound = ndtr(ndtri(lower) * (1 - part))
        return Accuracy(np.where(self.correct, bound, 0.0))

    @property
    def answered(self) -> Accuracy:
        """The part of the images whose label is the most frequent class of the draws, certified or not."""
        return Accuracy(np.array([float(row.answer == row.label) for row in self.rows]))

    def radii(self, most: int = 8) -> list[float]:
        """Round radii, from 0 on, up to the largest at which the label of any image is certified.

        most: the number of radii after 0, about.
        """
        largest = float(self.radius[self.correct & np.isfinite(self.radius)].max(initial=0))
        if largest == 0:
            return [0.0]
        unit = 10.0 ** np.floor(np.log10(largest / most))
        step = next(s * unit for s in (1, 2.5, 5, 10, 25) if largest <= most * s * unit)
        return [float(f"{i * step:.12g}") for i in range(int(largest / step) + 1)]


def _check_radius(radius: float) -> None:
    if not radius >= 0:
        raise ValueError(f"radius must be >= 0, got {radius!r}")


def certificates(
    network: Classifier,
    x: Array,
    labels: Array,
    plan: Plan | None = None,
    rng: Randomness = 0,
    progress: Progress | None = None,
) -> Iterator[Certificate]:
    """CERTIFY each image; yields a certificate at a time.

    1. `selection` draws choose the class that most of them name.
    2. `samples` fresh draws count its votes, k.
    3. p is the Clopper-Pearson bound of k at alpha (`npsnn.certify.lower_bound`).
    4. The class is certified up to the radius sigma Φ⁻¹(p)/norm (`npsnn.certify.Smoothing`) if p > 1/2; else who
       certifies abstains.

    Each certificate is wrong with a chance of at most alpha, over its own draws. All numbers are of draws: no closed
    form is asked. The draws of an image depend on the seed and on the number of the image alone.

    network: the network; its own noise is the smoothing noise unless the plan has a sigma for the images.
    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    plan: the draws, alpha, and the noise on the images.
    rng: seed, NumPy generator or stream; `stream.further(n)` goes on with image n.
    progress: called with the number of draws done, of N (samples + selection).
    Raises ValueError for what does not fit the network, and where its noise gives no certificate.
    Source: Cohen et al. 2019, Sec. 3.2.2.
    """
    plan = plan or Plan()
    smoothed = smoothing(network, plan.sigma)
    x, labels = checked(network, x, labels)
    return _certificates(smoothed, x, labels, plan, as_stream(rng), progress)


def _certificates(
    smoothed: Smoothing, x: np.ndarray, labels: np.ndarray, plan: Plan, stream: Stream, progress: Progress | None
) -> Iterator[Certificate]:
    draws = {SELECTION: plan.selection, ESTIMATION: plan.samples}
    for n, ((chosen, counted), seconds) in enumerate(votes(smoothed.network, x, draws, stream, progress)):
        top = int(chosen.argmax())
        lower = float(lower_bound(counted[top], plan.samples, plan.alpha))
        predicted = top if lower > 0.5 else ABSTAIN
        answer, index, label = int(counted.argmax()), stream.sample(n), int(labels[n])
        yield Certificate(index, label, predicted, float(smoothed.radius(lower)), lower, answer, seconds)


def certify(
    network: Classifier,
    x: Array,
    labels: Array,
    n0: int = 100,
    n: int = 10_000,
    alpha: float = 0.001,
    rng: Randomness = 0,
    sigma: float | None = None,
    progress: Progress | None = None,
) -> Certificates:
    """The certificates of some images, by randomised smoothing: `certificates`, all at once.

    network: the network; its own first noise is the smoothing noise, unless a sigma for the images is given.
    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    n0: draws that choose the class of an image.
    n: draws that count its votes. The largest radius, at n of n votes, grows with n.
    alpha: the chance that one certificate is wrong.
    rng: seed, NumPy generator or stream.
    sigma: standard deviation of noise that is added to the images, in units of the [0, 1] pixel.
    progress: called with the number of draws done, of N (n0 + n).
    Raises ValueError for what does not fit the network, and where its noise gives no certificate.
    Source: Cohen et al. 2019, CERTIFY.
    """
    check_count("n0", n0)
    check_count("n", n)
    plan = Plan(samples=n, selection=n0, alpha=alpha, sigma=sigma)
    return Certificates(tuple(certificates(network, x, labels, plan, rng, progress)))


def predict(
    network: Classifier,
    x: Array,
    n: int = 1_000,
    alpha: float = 0.001,
    rng: Randomness = 0,
    sigma: float | None = None,
    progress: Progress | None = None,
) -> npt.NDArray[np.int64]:
    """The most probable class of each image under the smoothing noise, or `ABSTAIN`: (N,).

    The most frequent class of n draws is returned if a binomial test at alpha tells it from the second.

    n: draws for each image.
    alpha: the chance that a class is returned that is not the most probable one.
    progress: called with the number of draws done, of N n.
    The other arguments are those of `certify`.
    Raises ValueError as `certify`.
    Source: Cohen et al. 2019, PREDICT.
    """
    check_count("n", n)
    Plan(alpha=alpha)
    smoothed = smoothing(network, sigma)
    x = as_images(x, network.model.shape)
    counts = [v.counts[0] for v in votes(smoothed.network, x, {ESTIMATION: n}, as_stream(rng), progress)]
    if not counts:
        return np.zeros(0, np.int64)
    ranked = np.sort(counts, axis=1)
    sure = chance(ranked[:, -1], ranked[:, -2]) <= alpha
    return np.where(sure, np.argmax(counts, axis=1), ABSTAIN)


def seconds_needed(smoothed: Smoothing, x: np.ndarray, plan: Plan) -> float:
    """About how long the certificates of some images take, on all workers, by the time of a few draws.

    smoothed: the smoothed classifier.
    x: images (N, C, H, W), as floats or 8-bit.
    plan: the draws.
    """
    network = smoothed.network
    x = as_images(x[:1], network.model.shape)
    job, size, stream = Counting(network), network.micro_batch, Stream(0).at("estimate")

    def once(s: slice) -> float:
        start = perf_counter()
        job(x, 0, size, stream)
        return perf_counter() - start

    for _ in range(2 if network.on_gpu else 1):  # the first call makes room, a second one records a graph
        once(slice(0))
    return float(network.each_batch(once, 1)[0]) * plan.draws / size / network.workers().threads
