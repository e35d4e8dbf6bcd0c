"""How often the 95 % interval of an accuracy covers the true one: of simulated images, and of a trained network's.

Images whose draws are their own, and images that share each draw with their micro-batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import click
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from npsnn import Classifier, data, train
from npsnn.attacks.judging import judge
from npsnn.attacks.shared_draws import SharedDraws, two_way_interval
from npsnn.attacks.statistics import wilson_interval
from npsnn.cli.options import options
from npsnn.data import as_float
from npsnn.streams import Stream

LOW, HIGH = 0.93, 0.98
DRAWS = (1, 10, 50)
IMAGES = (50, 100, 200, 500, 1000, 2000)
ACCURACIES = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 0.99)
BAND = 0.2
"""How far accuracies vary in a band, as a part of their distance from 0 or 1."""

Shape: TypeAlias = Callable[[np.random.Generator, np.ndarray], np.ndarray]
Interval: TypeAlias = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _beta(concentration: float) -> Shape:
    return lambda rng, p: rng.beta(concentration * p, concentration * (1 - p))


def _certain(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    return (rng.random(p.shape) < p).astype(float)


def _half_certain(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    return np.where(rng.random(p.shape) < 0.5, _certain(rng, p), _beta(2)(rng, p))


def _few_uncertain(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """A few images are right with a probability from 0 to 1, the others certain."""
    part = np.minimum(0.2, np.minimum(p, 1 - p))
    return np.where(rng.random(p.shape) < part, rng.random(p.shape), _certain(rng, (p - part / 2) / (1 - part)))


def _half_alike(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    return np.where(rng.random(p.shape) < 0.5, _certain(rng, p), p)


SHAPES: dict[str, Shape] = {
    "certain": _certain,
    "few uncertain": _few_uncertain,
    "half certain, half Beta": _half_certain,
    "Beta, concentration 0.1": _beta(0.1),
    "Beta, concentration 0.5": _beta(0.5),
    "Beta, concentration 2": _beta(2),
    "half certain, half alike": _half_alike,
    "Beta, concentration 10": _beta(10),
    "alike": lambda rng, p: p,
}
"""How an image's probability of being right is distributed over images; the mean is the accuracy, p."""


@dataclass(frozen=True)
class Cell:
    """The coverage at one accuracy, and in a band around it, for one shape and number of draws and of images."""

    shape: str
    draws: int
    images: int
    accuracy: float
    coverage: float
    in_band: float

    @property
    def held(self) -> bool:
        return LOW <= self.coverage <= HIGH


def covered(each: np.ndarray, truth: np.ndarray, interval: Interval) -> float:
    low, high = interval(each)
    return float(np.mean((low <= truth + 1e-12) & (truth - 1e-12 <= high)))


def simulated(
    trials: int,
    shapes: tuple[str, ...] = tuple(SHAPES),
    draws: tuple[int, ...] = DRAWS,
    images: tuple[int, ...] = IMAGES,
    accuracies: tuple[float, ...] = ACCURACIES,
    interval: Interval = wilson_interval,
) -> Iterator[Cell]:
    """The coverage for each shape, accuracy, and number of draws and images; with one draw all shapes are alike."""
    for number, (shape, k) in enumerate((shape, k) for k in draws for shape in shapes if k > 1 or shape == shapes[0]):
        for p in accuracies:
            rng = np.random.default_rng((number, round(1000 * p)))
            band = p + BAND * min(p, 1 - p) * rng.uniform(-1, 1, trials)
            found = []
            for truth in (np.full(trials, p), band):
                right = SHAPES[shape](rng, np.repeat(truth[:, None], max(images), axis=1))
                found.append((truth, rng.binomial(k, np.clip(right, 0, 1)) / k))
            for n in images:
                yield Cell(shape, k, n, p, *(covered(each[:, :n], truth, interval) for truth, each in found))


def trained(
    network: Classifier, test: data.Split, pool: int, trials: int, interval: Interval = wilson_interval
) -> Iterator[tuple[float, int, int, float]]:
    """Accuracy, draws, images and coverage, for images and draws taken anew from all those of the network.

    The truth is the accuracy over all images and `pool` draws of each; a trial has other images of these, and other
    draws of each.
    """
    x = as_float(test.images)

    def one(s: slice) -> np.ndarray:
        return judge(network, x[s], test.labels[s], pool, Stream(0).from_sample(s.start))

    right, rng = np.concatenate(network.each_batch(one, len(x), None)), np.random.default_rng(1)
    truth = np.full(trials, right.mean())
    for k in DRAWS:
        for n in IMAGES:
            chosen = right[rng.integers(len(x), size=(trials, n))]
            yield float(truth[0]), k, n, covered(rng.binomial(k, chosen) / k, truth, interval)


SPREADS = ((0.0, 1.5), (1.0, 0.5), (1.0, 1.5), (3.0, 0.0), (3.0, 0.5), (3.0, 1.5))
"""Standard deviations over images and over draws, in logits, of what makes an answer right."""
SHARED_IMAGES = (64, 128, 256, 1000)
SHARED_ACCURACIES = (0.05, 0.1, 0.5, 0.9, 0.98)
PART = 64
"""The images of a micro-batch."""

TwoWay: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def over_images_alone(each: np.ndarray, right: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of images that share nothing."""
    return wilson_interval(each)


def shared(
    trials: int,
    images: tuple[int, ...] = SHARED_IMAGES,
    draws: int = 10,
    accuracies: tuple[float, ...] = SHARED_ACCURACIES,
    spreads: tuple[tuple[float, float], ...] = SPREADS,
    interval: TwoWay = two_way_interval,
) -> Iterator[tuple[tuple[float, float], int, float, float]]:
    """The spread, number of images, accuracy and coverage, where the images of a micro-batch share each draw.

    An answer is right with the probability 1/(1 + exp(-(m + a + u))), a of the image and u of the draw, both normal.
    """
    for number, (spread, n) in enumerate((spread, n) for spread in spreads for n in images):
        sizes = np.diff([*range(0, n, PART), n])
        for p in accuracies:
            rng, middle = np.random.default_rng((number, round(1000 * p))), _middle(p, spread)
            covers = 0
            for _ in range(trials):
                of_image = middle + spread[0] * rng.standard_normal((n, 1))
                of_draw = np.repeat(spread[1] * rng.standard_normal((len(sizes), draws)), sizes, axis=0)
                right = rng.random((n, draws)) < expit(of_image + of_draw)
                found = SharedDraws.of(np.split(right, np.cumsum(sizes)[:-1]))
                low, high = interval(right.mean(axis=1), found.right, sizes)
                covers += bool(low <= p <= high)
            yield spread, n, p, covers / trials


def _middle(p: float, spread: tuple[float, float]) -> float:
    """The m at which the mean probability of being right is p."""
    x, weights = np.polynomial.hermite_e.hermegauss(60)
    off = np.hypot(*spread) * x
    return float(brentq(lambda m: weights @ expit(m + off) / weights.sum() - p, -40, 40))


def _percent(*fractions: float) -> str:
    return " to ".join(f"{100 * f:.1f}" for f in fractions)


def _table(cells: list[Cell], images: tuple[int, ...]) -> Iterator[str]:
    """Markdown: the least and the greatest coverage over accuracies, averaged in bands."""
    yield f"| images are | draws | {' | '.join(f'{n:,} images' for n in images)} |"
    yield "|---" * (len(images) + 2) + "|"
    rows: dict[tuple[str, int], dict[int, list[float]]] = {}
    for c in cells:
        rows.setdefault(("any" if c.draws == 1 else c.shape, c.draws), {}).setdefault(c.images, []).append(c.in_band)
    for (shape, k), by in rows.items():
        yield f"| {shape} | {k} | {' | '.join(_percent(min(by[n]), max(by[n])) for n in images)} |"


def _print_shared(trials: int) -> None:
    """Markdown: the least and the greatest coverage over accuracies where draws are shared, of both intervals."""
    click.echo(f"\nMicro-batches of {PART} images that share 10 draws; in brackets the interval over images alone\n")
    click.echo(f"| sd of images, draws | {' | '.join(f'{n:,} images' for n in SHARED_IMAGES)} |")
    click.echo("|---" * (len(SHARED_IMAGES) + 1) + "|")
    both = [list(shared(trials, interval=f)) for f in (two_way_interval, over_images_alone)]
    for spread in SPREADS:
        cells = []
        for n in SHARED_IMAGES:
            ours, alone = ([c for s, m, _, c in found if (s, m) == (spread, n)] for found in both)
            cells.append(f"{_percent(min(ours), max(ours))} ({_percent(min(alone), max(alone))})")
        click.echo(f"| {spread[0]:g}, {spread[1]:g} | {' | '.join(cells)} |")


@click.command()
@click.option("--trials", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--pool", type=click.IntRange(1), default=500, show_default=True, help="Draws of the network's truth.")
@click.option("--dataset", default="digits", show_default=True)
@click.option("--population", type=click.IntRange(1), default=2000, show_default=True, help="Test images.")
@click.option("--sigma", type=float, multiple=True, default=(0.2, 0.6, 1.2), show_default=True)
@options("threads", "data-dir")
def main(
    trials: int,
    pool: int,
    dataset: str,
    population: int,
    sigma: tuple[float, ...],
    threads: int | None,
    data_dir: Path | None,
) -> None:
    """Print Markdown: the coverage of simulated images, and of LeNet-5 trained for an epoch, at several sigmas."""
    cells = list(simulated(trials))
    for line in _table(cells, IMAGES):
        click.echo(line)
    outside = [c for c in cells if not c.held]
    click.echo(f"\nOutside {_percent(LOW, HIGH)} %: {len(outside)} of {len(cells)} points\n")
    for c in outside:
        click.echo(
            f"{'any' if c.draws == 1 else c.shape}, {c.draws} draws, {c.images} images, accuracy {c.accuracy:g}: "
            f"{_percent(c.coverage)} %, in the band {_percent(c.in_band)} %"
        )
    _print_shared(trials)
    splits = data.load(dataset, data_dir)
    with TemporaryDirectory() as folder:
        for _ in train.fit(train.Config(epochs=1, dataset=dataset), splits, f"{folder}/run", threads):
            pass
        network = Classifier.load(f"{folder}/run")
    test = data.Split(splits.test.images[:population], splits.test.labels[:population])
    click.echo(f"\n| sigma | accuracy | draws | {' | '.join(f'{n:,} images' for n in IMAGES)} |")
    click.echo("|---" * (len(IMAGES) + 3) + "|")
    for s in sigma:
        found = list(trained(network.with_sigma(s), test, pool, trials))
        for k in DRAWS:
            row = [c for _, draws, _, c in found if draws == k]
            click.echo(f"| {s:g} | {_percent(found[0][0])} % | {k} | {' | '.join(_percent(c) for c in row)} |")


if __name__ == "__main__":
    main()
