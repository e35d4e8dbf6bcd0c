"""npsnn's ensemble `auto` against AutoAttack by its authors, on one network: each member alone, and all together.

Both attack the same images at the same radius with the same budgets, and npsnn judges the images of both. The reference
needs PyTorch and the package autoattack of github.com/fra31/auto-attack, whose interpreter may be another one; without
them the comparison is skipped. A network whose noise is off meets the version "standard", and each member stands beside
its counterpart. A network that keeps its noise meets the version "rand", whose images are judged on fresh draws; the
figure that the reference reports itself is given beside it. The comparison fails where npsnn leaves more.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import checkout  # noqa: F401
import click
import numpy as np
from bench_side import Side
from compare_art import train
from compare_autoattack_twin import NO_REFERENCE, NORMS

from npsnn import Classifier, attacks, data
from npsnn.attacks.statistics import Difference
from npsnn.cli.options import options
from npsnn.cli.values import Epsilon, UserPath
from npsnn.host import keep_freed_memory
from npsnn.layers.params import flatten

COUNTERPARTS = {"apgd": "apgd-ce", "apgd-t": "apgd-t", "fab-t": "fab-t", "square": "square"}
TOGETHER = "together"
MEMBER, ENSEMBLE = 0.01, 0.005
"""The most by which npsnn may leave more than the reference: a member of its counterpart, the ensemble of the other."""


class Reference:
    """AutoAttack in a process of its own, on the twin of one network."""

    def __init__(self, side: Side, network: Classifier, x: np.ndarray, labels: np.ndarray, noisy: bool) -> None:
        self.side, self.images, self.labels = side, x, labels
        self.told = {"layers": network.spec["layers"], "noisy": noisy, "batch": 250}
        self.arrays = {"x": x, "labels": labels, **flatten(network.params)}
        self.logits = network.predict(x)

    def __call__(self, members: list[str], eps: float, norm: str, seed: int, threads: int) -> dict[str, Any]:
        """The images that some members of the version find, or all, with seconds and what the reference reports.

        Raises SystemExit where the twin is not the network.
        """
        with tempfile.TemporaryDirectory() as folder:
            given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
            np.savez(given, **self.arrays)
            task = {"given": str(given), "answer": str(answer), "members": members, "eps": eps, "norm": norm}
            version = "rand" if self.told["noisy"] else "standard"
            task |= {"seed": seed, "threads": threads, "version": version} | self.told
            found: dict[str, Any] = self.side.tell("attack", json.dumps(task), limit=1e5)
            with np.load(answer) as file:
                if not np.allclose(file["logits"], self.logits, atol=1e-4 * np.abs(self.logits).max()):
                    raise SystemExit("the twin's logits are not the network's")
                return found | {"x_adv": np.clip(file["x_adv"], 0, 1)}


@dataclass(frozen=True)
class Both:
    """Both sides on the same images of one network.

    defended: the network that is attacked and judged.
    ask: the reference.
    judging: how the images of both are judged.
    """

    defended: Classifier
    ask: Reference
    judging: attacks.Judging

    def compared(self, eps: float, norm: str, alone: bool) -> Iterator[dict[str, Any]]:
        """A row for each member that has a counterpart, if `alone`, and one of all together."""
        group = attacks.auto(self.defended, eps, norm)
        certain = not self.defended.random
        members = {m.label: [m] for m in group if m.label in COUNTERPARTS} if alone and certain else {}
        for name, ours in (members | {TOGETHER: group}).items():
            yield {"member": name, "eps": eps} | self.row(ours, COUNTERPARTS.get(name), eps, norm)

    def row(self, ours: Any, theirs: str | None, eps: float, norm: str) -> dict[str, Any]:
        """Robust accuracies, how many images one side alone took, and seconds.

        ours: an attack in a list, or a group. theirs: a member of the reference; None for all.
        """
        x, labels, judging = self.ask.images, self.ask.labels, self.judging
        start = perf_counter()
        results = list(attacks.robust_accuracy(self.defended, x, labels, ours, judging))
        left = results[-1].accuracy
        if self.defended.random:
            left = attacks.worst_case(self.defended, labels, results, judging)
        seconds = perf_counter() - start
        found = self.ask([theirs] if theirs else [], eps, norm, judging.seed, self.defended.threads)
        other = attacks.accuracy(self.defended, found["x_adv"], labels, judging.draws, judging.seed)
        more = Difference.of(left.each, other.each)
        return {
            "images": len(x),
            "npsnn": left.mean,
            "reference": other.mean,
            "reported": found["reported"],
            "standard_error": more.error,
            "taken_alone": [int((a & ~b).sum()) for a, b in pairwise([r.each <= 0.5 for r in (left, other, left)])],
            "seconds": [seconds, found["seconds"]],
        }


def text(row: dict[str, Any]) -> str:
    ours, theirs = row["seconds"]
    return (
        f"{row['member']:<10} eps {row['eps']:<7.4g} {row['images']:>5} images   left {100 * row['npsnn']:5.1f} % "
        f"(reference {100 * row['reference']:5.1f} %, reports {100 * row['reported']:5.1f} %)   taken by one alone "
        f"{row['taken_alone'][0]} ({row['taken_alone'][1]})   {ours:.0f} s ({theirs:.0f} s)"
    )


def worse(row: dict[str, Any]) -> bool:
    """Whether npsnn leaves more than the reference by more than it may."""
    allowed = ENSEMBLE if row["member"] == TOGETHER else MEMBER
    return bool(row["npsnn"] - row["reference"] > allowed + 1e-9)


@click.command()
@click.argument("run", required=False, type=UserPath(exists=True, file_okay=False))
@click.option("--dataset", default="digits", show_default=True, help="Of the run's test images.")
@click.option("--eps", type=Epsilon(), multiple=True, help="[default: 0.1]")
@click.option("--norm", type=click.Choice(NORMS), default="linf", show_default=True)
@click.option("--limit", type=click.IntRange(1), default=500, show_default=True, help="Test images attacked.")
@click.option("--noise", is_flag=True, help="Keep the run's noise: the version rand.")
@click.option("--draws", type=click.IntRange(1), default=100, show_default=True, help="Draws that judge, with --noise.")
@click.option("--alone/--together", default=True, show_default=True, help="Whether each member runs alone as well.")
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True, help="The table has the last one.")
@click.option("--torch-python", default=sys.executable, help="The interpreter that has the reference, if not this one.")
@options("threads", "seed", "data-dir")
@click.option("--json", "as_json", is_flag=True)
def main(
    run: Path | None,
    dataset: str,
    eps: tuple[float, ...],
    norm: str,
    limit: int,
    noise: bool,
    draws: int,
    alone: bool,
    rounds: int,
    torch_python: str,
    threads: int | None,
    seed: int,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Robust accuracy that npsnn and AutoAttack by its authors leave of RUN, by default of a LeNet-5 trained now."""
    side = Side(torch_python, "compare_autoattack_twin.py")
    if side.tell("version") == NO_REFERENCE:
        side.close()
        click.echo(f"skipped: {NO_REFERENCE} to compare with; --torch-python names an interpreter that has both")
        return
    threads = threads or os.cpu_count() or 1
    network = Classifier.load(run) if run else train(6000, threads)
    network = replace(network if noise else network.with_sigma(0), threads=threads)
    test = data.load(dataset, data_dir).test
    x, labels = data.as_float(test.images[:limit]), test.labels[:limit]
    judging = attacks.Judging(draws=draws if noise else 1, seed=seed)
    both = Both(network, Reference(side, network, x, labels, network.random), judging)
    rows = []
    for _ in range(rounds):
        for radius in eps or (0.1,):
            for row in both.compared(radius, norm, alone):
                rows.append(row)
                click.echo(text(row), err=as_json)
    if as_json:
        click.echo(json.dumps(rows))
    side.close()
    if any(map(worse, rows)):
        sys.exit("npsnn leaves more than the reference")


if __name__ == "__main__":
    keep_freed_memory()
    main()
