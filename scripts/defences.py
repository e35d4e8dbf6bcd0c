"""The defences of A2SNN's tables side by side: each is trained on the same images, then attacked by all that npsnn has.

What is done is kept in --out: a program that was stopped goes on where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import checkout  # noqa: F401
import click
import numpy as np
from defences_table import table

from npsnn import Classifier, attacks, data, train
from npsnn.attacks import FGSM, PGD, EoT, Expectation, Judging, accuracy, worst_case
from npsnn.cli.options import options
from npsnn.cli.values import Epsilon, UserPath
from npsnn.files import json_files
from npsnn.host import keep_freed_memory
from npsnn.runs import checkpoint
from npsnn.train import recipes
from npsnn.train.defences import DEFENCES

FLAT: dict[str, Callable[..., train.Config]] = {
    "none": lambda **run: train.Config(noise="none", loss="cross-entropy", **run),
    "noise-paper": lambda **run: train.Config(sigma=0.6, **run),
    "a2snn-m0": lambda **run: recipes.config("a2snn-m0", lr=1e-2, **run),
    "a2snn-m5": lambda **run: recipes.config("a2snn-m5", lr=1e-2, **run),
}
"""Trainings of flat options that stand beside the defences; A2SNN's have a learning rate for fewer epochs."""
SYSTEMS = ("none", "pgd-training", *(name for name in DEFENCES if name != "pgd-training"), "noise-paper", "a2snn-m0")
SYSTEMS += ("a2snn-m5",)
WITHOUT = ("noise-paper",)
"""Systems that answer with their noise off: the noise paper's network is the expectation of the one that it trains."""
AVERAGED = 10
"""Draws of one answer of a defence that answers by an average."""


@dataclass(frozen=True)
class Run:
    """Where a system is trained and attacked, and by which options of the run."""

    name: str
    folder: Path
    run: dict[str, Any]

    def trained(self, images: data.Dataset) -> Classifier:
        """The network of the system, trained now or gone on with unless it is there already."""
        records: Any = ()
        if (self.folder / checkpoint.LAST).exists():
            records = train.resume(self.folder, images)
        elif self.name in FLAT:
            records = train.fit(FLAT[self.name](**self.run), images, self.folder)
        else:
            epochs, limit, seed = (self.run[k] for k in ("epochs", "limit", "seed"))
            defence = train.defences.on(self.name, self.run["dataset"], model=self.run["model"], epochs=epochs)
            records = train.fit(defence.training(images, seed, limit), images, self.folder, recipe=defence)
        for record in records:
            if isinstance(record, train.Epoch):
                seconds = f"{record.seconds:.0f} s"
                click.echo(f"{self.name}: epoch {record.epoch}, {record.validation_accuracy:.4f}, {seconds}", err=True)
        return Classifier.load(self.folder)

    def attacked(self, network: Classifier, test: data.Split, eps: float, seed: int) -> None:
        """Attack the network at one eps, unless that was done."""
        done = self.folder / f"attacked-{eps:.4g}.json"
        if done.exists():
            return
        network = network.with_sigma(0.0) if self.name in WITHOUT else network
        judging = Judging(draws=10, seed=seed, selection=50)
        with attacks.Kept(self.folder / f"attacked-{eps:.4g}.parts") as keep:
            found = list(
                attacks.robust_accuracy(network, test.images, test.labels, _attacks(network, eps), judging, keep=keep)
            )
        start = perf_counter() - sum(r.seconds for r in found)  # those before a stop as well
        worst = worst_case(network, test.labels, found, judging)
        rows = {r.attack if not r.group else f"{r.group}: {r.attack}": r.accuracy for r in found}
        clean = {"clean": accuracy(network, test.images, test.labels, 10, seed)}
        of, draws = DEFENCES[self.name].answers if self.name in DEFENCES else ("logits", 1)
        own = {}
        if draws > 1:
            averaged = network.averaging(AVERAGED, of)
            own = {
                "own answer, clean": accuracy(averaged, test.images, test.labels, 10, seed),
                "own answer, worst": accuracy(averaged, worst.x_adv, test.labels, 10, seed),
            }
        document = {name: _row(a) for name, a in (clean | rows | {"worst": worst} | own).items()}
        document["worst"] |= {"strongest": worst.strongest}
        json_files.write_json(done, {"eps": eps, "seconds": perf_counter() - start, "accuracies": document})
        click.echo(f"{self.name}: eps {eps:.4g}, {worst!r}, {perf_counter() - start:.0f} s", err=True)


def _attacks(network: Classifier, eps: float) -> list[Any]:
    """All attacks of one system at one eps: FGSM, PGD-50 twice, on the network without its noise, and the ensemble."""
    beside = [FGSM(eps, source=EoT(10)), PGD(eps, steps=50, restarts=2, source=EoT(10))]
    if network.random:
        beside.append(PGD(eps, steps=50, restarts=2, source=Expectation(name="noise-off")))
    return [*beside, attacks.Auto(eps)]


def _row(found: attacks.Accuracy) -> dict[str, Any]:
    return {"accuracy": found.mean, "ci95": list(found.ci95), "each": np.round(found.each, 6).tolist()}


@click.command()
@click.option("--dataset", default="fashion-mnist", show_default=True)
@click.option("--model", default="lenet5", show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True)
@click.option("--limit", type=click.IntRange(2), help="Training images; all by default.")
@click.option("--eps", type=Epsilon(), multiple=True, help="[default: 8/255, 0.1]")
@click.option("--images", type=click.IntRange(1), default=500, show_default=True, help="Test images attacked.")
@click.option("--system", multiple=True, type=click.Choice(SYSTEMS), help="Systems; all by default.")
@click.option("--train-only", is_flag=True, help="Attack nothing yet.")
@options("seed", "data-dir")
@click.option("--out", type=UserPath(), default=Path("runs/defences"), show_default=True)
def main(
    dataset: str,
    model: str,
    epochs: int,
    limit: int | None,
    eps: tuple[float, ...],
    images: int,
    system: tuple[str, ...],
    train_only: bool,
    seed: int,
    data_dir: Path | None,
    out: Path,
) -> None:
    """Train and attack every defence, and print the table of docs/defences.md."""
    eps = eps or (8 / 255, 0.1)
    found = data.load(dataset, data_dir)
    test = data.Split(found.test.images[:images], found.test.labels[:images])
    run = {"dataset": dataset, "model": model, "epochs": epochs, "limit": limit, "seed": seed}
    for name in system or SYSTEMS:
        one = Run(name, out / name, run)
        network = one.trained(found)
        for radius in () if train_only else eps:
            one.attacked(network, test, radius, seed)
    if not train_only:
        click.echo(table(out, eps))


if __name__ == "__main__":
    keep_freed_memory()
    main()
