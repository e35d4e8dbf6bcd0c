"""A2SNN's Table 5 on a small network: each recipe is trained, then attacked as in the paper and without sampling."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import checkout  # noqa: F401
import click

from npsnn import Classifier, attacks, data, train
from npsnn.cli.common import percent
from npsnn.cli.options import options
from npsnn.cli.values import Epsilon, UserPath
from npsnn.files import json_files
from npsnn.host import keep_freed_memory
from npsnn.runs import checkpoint
from npsnn.train import recipes

CLOSED_FORM = {"attacks": ("adaptive-pgd",), "objective": "expected-cross-entropy"}
ATTACKS: dict[str, dict[str, Any]] = {
    # A2SNN Sec. 4.1: ten steps of eps / 10 from the image itself, gradients averaged over 50 draws
    "FGSM, EoT 50": {"attacks": ("fgsm",), "eot": 50},
    "paper's PGD, EoT 50": {"attacks": ("bim",), "steps": 10, "eot": 50},
    "PGD-10, EoT 50": {"attacks": ("pgd",), "steps": 10, "eot": 50},
    "PGD-10, closed form": CLOSED_FORM | {"steps": 10},
    "PGD-100, closed form": CLOSED_FORM | {"steps": 100},
}


def trained(config: train.Config, dataset: data.Dataset, folder: Path) -> Classifier:
    """The network of the run in `folder`, trained now unless it is there already."""
    if not (folder / checkpoint.CONFIG).exists():
        for record in train.fit(config, dataset, folder):
            if isinstance(record, train.Epoch):
                click.echo(
                    f"{folder.name}: epoch {record.epoch}, validation {record.validation_accuracy:.4f}", err=True
                )
    return Classifier.load(folder)


def measured(network: Classifier, test: data.Split, eps: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """The accuracy under each attack at each eps, with the seconds that the attack took."""
    for name, plan in ATTACKS.items():
        for result in attacks.evaluate(network, test.images, test.labels, attacks.Plan(eps=eps, **plan)):
            yield {
                "attack": name,
                "eps": result.eps,
                "accuracy": result.accuracy.mean,
                "ci95": list(result.accuracy.ci95),
                "seconds": result.seconds,
            }


def table(rows: dict[str, dict[str, Any]], eps: tuple[float, ...]) -> str:
    """Markdown: a line for each recipe."""
    columns = ["clean", *(f"{name}, eps {e:.3g}" for e in eps for name in ATTACKS)]
    lines = [f"| model | {' | '.join(columns)} | sigma |", "|---" * (len(columns) + 2) + "|"]
    for recipe, row in rows.items():
        by = {(a["attack"], a["eps"]): percent(a["accuracy"]) for a in row["attacks"]}
        cells = [percent(row["clean"]), *(by[name, e] for e in eps for name in ATTACKS)]
        lines.append(f"| {recipe.removeprefix('a2snn-')} | {' | '.join(cells)} | {row['sigma']:.3g} |")
    return "\n".join(lines)


@click.command()
@click.option("--dataset", default="fashion-mnist", show_default=True)
@click.option("--model", default="lenet5", show_default=True, help="The paper has lenetpp for fashion-mnist.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--lr", type=float, default=1e-2, show_default=True)
@click.option("--eps", type=Epsilon(), multiple=True, help="[default: 8/255, 0.3]")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Test images attacked.")
@options("seed", "data-dir")
@click.option("--out", type=UserPath(), default=Path("runs/ablation"), show_default=True)
def main(
    dataset: str,
    model: str,
    epochs: int,
    lr: float,
    eps: tuple[float, ...],
    limit: int,
    seed: int,
    data_dir: Path | None,
    out: Path,
) -> None:
    """Train and attack a2snn-m0 to a2snn-m5; models that are in --out already are only attacked."""
    eps = eps or (8 / 255, 0.3)
    images = data.load(dataset, data_dir)
    test = data.Split(images.test.images[:limit], images.test.labels[:limit])
    rows: dict[str, dict[str, Any]] = {}
    for recipe in recipes.RECIPES:
        start = perf_counter()
        config = recipes.config(recipe, dataset, model=model, epochs=epochs, lr=lr, seed=seed)
        network = trained(config, images, out / recipe)
        clean = attacks.accuracy(network, images.test.images, images.test.labels).mean
        rows[recipe] = {"clean": clean, "sigma": network.sigma, "attacks": list(measured(network, test, eps))}
        click.echo(f"{recipe}: {perf_counter() - start:.0f} s", err=True)
        json_files.write_json(out / "table.json", rows)
    click.echo(table(rows, eps))


if __name__ == "__main__":
    keep_freed_memory()
    main()
