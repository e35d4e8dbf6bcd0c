"""Robust accuracy over eps, and what the adversarial images look like: the picture of the README."""

from pathlib import Path

import checkout  # noqa: F401
import click
import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from npsnn import attacks
from npsnn.attacks.results import Result
from npsnn.classifier import Classifier
from npsnn.cli.runs import load_run, load_test_images
from npsnn.cli.values import UserPath
from npsnn.host import keep_freed_memory

matplotlib.use("Agg")
EPS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3)
SHOWN = 0.2
ROWS, COLUMNS = 2, 4


def curves(network: Classifier, x: np.ndarray, labels: np.ndarray) -> dict[str, list[Result]]:
    """The same one-step attack by three gradients, and without the defence."""
    noisy = {
        "closed form, 1 pass": attacks.Plan(("adaptive-fgsm",), EPS, objective="cross-entropy"),
        "EoT, 10 passes": attacks.Plan(("fgsm",), EPS, eot=10),
        "EoT, 50 passes": attacks.Plan(("fgsm",), EPS, eot=50),
        "noise ignored by the attack, 1 pass": attacks.Plan(("fgsm",), EPS, eot=0),
    }
    found = {f"noise on; {name}": list(attacks.evaluate(network, x, labels, plan)) for name, plan in noisy.items()}
    found["noise off; its own gradient"] = list(
        attacks.evaluate(network, x, labels, attacks.Plan(("fgsm",), EPS, sigma=0))
    )
    return found


def mosaic(clean: np.ndarray, adversarial: np.ndarray) -> np.ndarray:
    """Rows of images, each with a row of their adversarial versions below it."""
    rows = []
    for row in range(ROWS):
        chosen = slice(row * COLUMNS, (row + 1) * COLUMNS)
        rows += [np.concatenate(list(images[chosen, 0]), axis=1) for images in (clean, adversarial)]
    return np.concatenate(rows)


def draw(network: Classifier, x: np.ndarray, labels: np.ndarray, target: Path, title: str) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    clean = {"noise on": attacks.accuracy(network, x, labels).mean}
    clean["noise off"] = attacks.accuracy(network.with_sigma(0), x, labels).mean
    found = curves(network, x, labels)
    for (name, results), marker in zip(found.items(), "oDsv^", strict=True):
        accuracy = [clean[name.partition(";")[0]], *(r.accuracy.mean for r in results)]
        left.plot([0, *EPS], accuracy, marker=marker, label=name)
    left.set(xlabel="eps (Linf, pixels in [0, 1])", ylabel="accuracy", ylim=(0, 1), title=title)
    left.legend(frameon=False)
    left.grid(alpha=0.3)
    closed_form = next(r for r in next(iter(found.values())) if r.eps == SHOWN)
    right.imshow(mosaic(x / 255, closed_form.x_adv), cmap="gray", vmin=0, vmax=1)
    right.set(title=f"images; below, closed form at eps {SHOWN}", xticks=[], yticks=[])
    figure.savefig(target, dpi=110)


@click.command()
@click.argument("run", required=False)
@click.option("--runs-dir", type=UserPath(), default=Path("runs"))
@click.option("--data-dir", type=UserPath(), envvar="NPSNN_DATA")
@click.option("--limit", type=int, default=2000, show_default=True)
@click.option("--out", type=UserPath(), default=Path("docs/robustness.png"), show_default=True)
def main(run: str | None, runs_dir: Path, data_dir: Path | None, limit: int, out: Path) -> None:
    """Attack RUN in four ways and draw the accuracy that is left."""
    loaded, x, labels = load_test_images(load_run(run, runs_dir, "last", None, "cpu"), data_dir, limit, False)
    network, options = loaded.classifier, loaded.config["train"]
    title = f"{options['model']}, sigma {network.sigma:g}, {options['dataset']}, one-step attacks"
    draw(network, x, labels, out, title)
    click.echo(f"{loaded.folder} -> {out}")


if __name__ == "__main__":
    keep_freed_memory()
    main()
