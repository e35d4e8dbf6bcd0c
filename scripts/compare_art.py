"""npsnn's PGD, C&W and One-Pixel against the Adversarial Robustness Toolbox's, on one network without noise.

Both attack the same images with the same budget, steps and starting constant; what only one of them has is left at its
default and said beside the figures. Robust accuracy is npsnn's own for both. The comparison fails where it differs by
more than --tolerance. Without the toolbox (pip install adversarial-robustness-toolbox packaging) it is skipped.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from npsnn import Classifier, attacks, data
from npsnn.attacks.evaluation import run
from npsnn.attacks.statistics import Difference
from npsnn.host import keep_freed_memory
from npsnn.interop import art
from npsnn.streams import Stream
from npsnn.train import fit
from npsnn.train.config import Config


@dataclass(frozen=True)
class Comparison:
    """One attack by both: images, ours, theirs on images and one-hot labels, and what is not the same.

    probabilities: whether theirs must be given probabilities in the place of logits.
    """

    name: str
    images: int
    ours: Any
    objective: str
    theirs: Callable[[Any, np.ndarray, np.ndarray], np.ndarray]
    differs: str
    probabilities: bool = False


def train(images: int, threads: int) -> Classifier:
    """LeNet-5 without noise, of two epochs of the built-in digits."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = data.load("digits", Path(folder) / "data")
        config = Config(sigma=0.0, loss="cross-entropy", epochs=2, limit=images)
        list(fit(config, dataset, Path(folder) / "run", threads))
        return replace(Classifier.load(Path(folder) / "run"), threads=threads)


def comparisons(pgd: int, cw: int, one_pixel: int) -> list[Comparison]:
    """At most so many images each."""
    from art.attacks.evasion import CarliniL2Method, PixelAttack, ProjectedGradientDescentNumpy

    def their_pgd(net: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        steps = {"eps": 0.05, "eps_step": 0.00625, "max_iter": 20, "num_random_init": 1, "verbose": False}
        return ProjectedGradientDescentNumpy(net, norm=np.inf, batch_size=len(x), **steps).generate(x, y)

    def their_cw(kappa: float) -> Callable[[Any, np.ndarray, np.ndarray], np.ndarray]:
        search = {"binary_search_steps": 6, "initial_const": 1.0, "max_iter": 200, "verbose": False}
        return lambda net, x, y: CarliniL2Method(net, kappa, batch_size=len(x), **search).generate(x, y)

    def their_one_pixel(pixels: int) -> Callable[[Any, np.ndarray, np.ndarray], np.ndarray]:
        return lambda net, x, y: PixelAttack(net, th=pixels, es=1, max_iter=75).generate(x, y)

    searched = {"steps": 200, "constant": 1.0, "searches": 6}
    evolved: Any = {"population": 400, "generations": 75, "crossover": 1.0, "mutation": (0.5, 1.0)}
    line = "Adam at 0.05; the toolbox a line search"
    colours = "the 1 % rule, the start; the toolbox no rule, 8-bit colours"
    return [
        Comparison("pgd, eps 0.05", pgd, attacks.pgd(0.05), "cross-entropy", their_pgd, "random starts"),
        *(
            Comparison(f"cw, kappa {k:g}", cw, attacks.CarliniWagner(k, **searched), "margin", their_cw(k), line)
            for k in (0.0, 1.0)
        ),
        *(
            Comparison(
                f"one-pixel, {p}",
                one_pixel,
                attacks.OnePixel(p, **evolved),
                "cross-entropy",
                their_one_pixel(p),
                colours,
                probabilities=True,
            )
            for p in (1, 3)
        ),
    ]


def compare(network: Classifier, c: Comparison, x: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Robust accuracies, mean distances in L2 of the images that are misread by both, and seconds."""
    x, labels = x[: c.images], labels[: c.images]
    target = attacks.expectation(network, c.objective)
    result = run(c.name, c.ours, target, x, labels, 1, Stream(0))
    start = perf_counter()
    one_hot = np.eye(network.model.classes, dtype=np.float32)[labels]
    theirs = c.theirs(art.estimator(network, probabilities=c.probabilities), x, one_hot)
    seconds = perf_counter() - start
    theirs = np.clip(theirs, 0, 1).astype(np.float32)
    c.ours.ball.check(theirs, x)
    left = attacks.accuracy(network, theirs, labels, 1)
    both = result.success & (left.each <= 0.5)
    sizes = [np.sqrt(((z[both].astype(float) - x[both]) ** 2).sum(axis=(1, 2, 3))) for z in (result.x_adv, theirs)]
    return {
        "attack": c.name,
        "images": len(x),
        "npsnn": result.accuracy.mean,
        "toolbox": left.mean,
        "standard_error": Difference.of(result.accuracy.each, left.each).error,
        "distances": [float(s.mean()) if both.any() else None for s in sizes],
        "seconds": [result.seconds, seconds],
        "differs": c.differs,
    }


@click.command()
@click.option("--pgd", default=200, show_default=True, help="Images for PGD.")
@click.option("--cw", default=100, show_default=True, help="Images for C&W.")
@click.option("--one-pixel", default=50, show_default=True, help="Images for One-Pixel.")
@click.option("--training-images", default=6000, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--tolerance", default=0.02, show_default=True, help="Largest difference of the robust accuracies.")
@click.option("--json", "as_json", is_flag=True)
def main(
    pgd: int, cw: int, one_pixel: int, training_images: int, threads: int, tolerance: float, as_json: bool
) -> None:
    """Robust accuracy that the same attacks of two libraries leave of one network."""
    if find_spec("art") is None:
        click.echo("skipped: the Adversarial Robustness Toolbox is not installed")
        return
    network = train(training_images, threads)
    with tempfile.TemporaryDirectory() as folder:
        test = data.load("digits", Path(folder)).test
    x, labels = data.as_float(test.images), test.labels
    rows = []
    for c in comparisons(pgd, cw, one_pixel):
        row = compare(network, c, x, labels)
        rows.append(row)
        if not as_json:
            seconds, distances = row["seconds"], row["distances"]
            click.echo(
                f"{row['attack']:<14} {row['images']:>4} images   left {100 * row['npsnn']:5.1f} % "
                f"(toolbox {100 * row['toolbox']:5.1f} %)   mean L2 {distances[0]:.3f} ({distances[1]:.3f})   "
                f"{seconds[0]:.1f} s ({seconds[1]:.1f} s)   differs in: {row['differs']}"
            )
    if as_json:
        click.echo(json.dumps(rows))
    if any(abs(row["npsnn"] - row["toolbox"]) > tolerance + 1e-9 for row in rows):
        sys.exit(f"robust accuracies differ by more than {tolerance:g}")


if __name__ == "__main__":
    keep_freed_memory()
    main()
