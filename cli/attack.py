"""`npsnn attack`."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np

from npsnn.attacks.balls import NORMS
from npsnn.attacks.evaluation import ATTACKS, Plan, Result, evaluate
from npsnn.attacks.judging import Accuracy
from npsnn.cli.common import (
    Epsilon,
    F,
    Table,
    field_option,
    interval,
    load_run,
    load_test_images,
    options,
    percent,
    print_json,
    test_images,
)
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES

_HELP = {
    "fgsm": "One step of length eps.",
    "bim": "--steps steps of eps/steps.",
    "pgd": "--steps steps of 2.5 eps/steps from a random point.",
    "adaptive-fgsm": "One step on the closed form of the randomised network (noise paper Sec. 4).",
    "adaptive-pgd": "PGD on the closed form.",
}
_DEFAULT = Plan()
_option = partial(field_option, _DEFAULT)


def _attack_flags(f: F) -> F:
    for name in reversed(ATTACKS):
        f = click.option(f"--{name}", is_flag=True, help=_HELP[name])(f)
    return f


@click.command("attack")
@click.argument("run", required=False)
@_attack_flags
@click.option(
    "--eps", type=Epsilon(), multiple=True, help="Radius, as 0.1 or 8/255; repeatable.  [default: 0.1, 0.2, 0.3]"
)
@_option("--norm", NORMS, "Norm of the ball.")
@_option("--steps", click.IntRange(1), "Steps of bim and pgd.")
@_option("--restarts", click.IntRange(1), "Random starts of pgd; each image keeps its worst.")
@_option("--eot", click.IntRange(0), "Draws averaged in each plain gradient; 0 attacks the network without noise.")
@_option("--draws", click.IntRange(1), "Fresh draws on which success is judged.")
@options("inference-sigma")
@_option("--objective", OBJECTIVES, "What the adaptive attacks ascend; see above.")
@_option("--propagation", RULES, "How they carry the variance; laplace: noise paper Eq. 6.")
@options("limit")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the adversarial images to this .npz."
)
@options("checkpoint", "seed", "threads", "device", "data-dir", "runs-dir", "config", "json")
def command(
    run: str | None,
    eps: tuple[float, ...],
    norm: str,
    steps: int,
    restarts: int,
    eot: int,
    draws: int,
    inference_sigma: float | None,
    objective: str | None,
    propagation: str,
    limit: int | None,
    save: Path | None,
    checkpoint: str,
    seed: int,
    threads: int | None,
    device: str,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **flags: bool,
) -> None:
    """Attack RUN and print the accuracy that is left.

    RUN is a run folder or a name in the runs folder; without one, the newest. Without an attack's flag, all run. The
    attacked network is the defended one, noise and all. Plain attacks average their gradient over --eot draws of the
    noise (expectation over transformations, EoT); the adaptive ones take the gradient of a closed form instead, one
    pass for the whole distribution. Success is judged on fresh noise, with a 95 % interval over test images and
    noise; the last line for each eps is the strongest attack, with another in its place on images where that is surely
    stronger.

    The adaptive attacks ascend the cross-entropy of the exact mean logits, or noise-aware, the loss of the noise paper
    with the derived signs, or win-probability, -Σ ln P(the label's logit beats another's). With --propagation laplace
    they carry the variance as the paper does and ascend its loss by default.

    \b
    Examples: one pass of the exact closed form against 50 of EoT; the paper's own adaptive attack
      npsnn attack --adaptive-fgsm --fgsm --eot 50 --eps 0.1 --eps 0.2
      npsnn attack --adaptive-fgsm --propagation laplace
    """
    if save and (save.exists() or not save.parent.is_dir()):
        raise ValueError(f"--save must name a new file in a folder that exists, got {save}")
    chosen = tuple(a for a in ATTACKS if flags[a.replace("-", "_")]) or ATTACKS
    folder, classifier, config = load_run(run, runs_dir, checkpoint, threads, device)
    plan = Plan(
        attacks=chosen,
        eps=eps or _DEFAULT.eps,
        norm=norm,
        steps=steps,
        restarts=restarts,
        eot=eot,
        draws=draws,
        sigma=classifier.sigma if inference_sigma is None else inference_sigma,
        objective=objective,
        propagation=propagation,
        seed=seed,
    )
    x, labels = load_test_images(config, data_dir, limit)
    _run(folder, classifier, x, labels, plan, save, None if as_json else test_images(len(labels), limit))


def _run(folder: Path, classifier: Any, x: Any, labels: Any, plan: Plan, save: Path | None, what: str | None) -> None:
    """what: the images in words, for people; None for JSON."""
    from npsnn import attacks, checkpoint

    assert plan.sigma is not None
    clean = attacks.accuracy(classifier.with_sigma(plan.sigma), x, labels, plan.draws, plan.seed)
    if what:
        noise = f"noise {plan.sigma:g}, {plan.draws} draws" if plan.sigma else "noise off"
        click.echo(f"{folder}: {what}, {noise}")
        click.echo(f"clean accuracy {percent(clean.mean)}, 95 % interval {interval(clean.ci95)}\n")
    show = _Rows(_table() if what else None)
    saved: dict[str, np.ndarray] = {}
    for results in _by_eps(classifier, x, labels, plan, show):
        if len(results) > 1:
            show.worst(results[0], attacks.worst_case(classifier, labels, results, plan))
        if save:
            saved |= {f"{r.attack}-{r.norm}-{r.eps:g}": r.x_adv for r in results}
    if save:
        buffer = BytesIO()
        np.savez(buffer, allow_pickle=False, labels=labels, **saved)
        checkpoint.write_atomic(save, buffer.getvalue())
        click.echo(f"adversarial images: {save}", err=True)
    document = {
        "run": str(folder),
        "inference_sigma": plan.sigma,
        "draws": plan.draws,
        "examples": len(labels),
        "clean_accuracy": clean.mean,
        "results": show.rows,
        "worst_case": show.worst_rows,
    }
    if not what:
        print_json(document)
    checkpoint.append_line(folder / "attacks.jsonl", {"plan": asdict(plan)} | document)


def _by_eps(classifier: Any, x: Any, labels: Any, plan: Plan, show: "_Rows") -> Iterator[list[Result]]:
    """The results of each eps together; each is shown as it comes, under a bar where stderr is a terminal."""
    length = len(labels) * len(plan.eps) * len(plan.attacks)
    bar = click.progressbar(length=length, label="attacking", file=sys.stderr) if sys.stderr.isatty() else None
    results: list[Result] = []
    with bar or nullcontext():
        for result in evaluate(classifier, x, labels, plan, bar.update if bar else None):
            show.row(result, len(labels))
            results.append(result)
            if len(results) == len(plan.attacks):
                yield results
                results = []


def _table() -> Table:
    columns = {"attack": -13, "norm": -4, "eps": 7, "accuracy": 8, "95 % interval": -16}
    return Table(columns | {"gradient": -11, "passes": 6, "seconds": 7})


class _Rows:
    """Results, printed as they come and kept as JSON."""

    def __init__(self, table: Table | None) -> None:
        self.table = table
        self.rows: list[dict[str, Any]] = []
        self.worst_rows: list[dict[str, Any]] = []

    def row(self, r: Result, images: int) -> None:
        entry = {"attack": r.attack, **_judged(r, r.accuracy), "gradient": r.gradient}
        self.rows.append(entry | {"gradient_passes": r.gradient_passes, "seconds": r.seconds})
        self._print(r.attack, r, r.accuracy, r.gradient, r.gradient_passes, f"{r.seconds:.1f}")
        for count, what in ((r.zero_gradients, "an all-zero"), (r.bad_gradients, "a non-finite")):
            if count:
                text = f"warning: {r.attack} at {r.eps:g} met {what} gradient on {count:,} of {images:,} images"
                click.echo(f"{text}: the attack is weaker there than its name says", err=True)

    def worst(self, r: Result, accuracy: Accuracy) -> None:
        self.worst_rows.append(_judged(r, accuracy))
        self._print("worst of them", r, accuracy, "", "", "")

    def _print(self, name: str, r: Result, accuracy: Accuracy, *rest: object) -> None:
        if self.table:
            self.table.row(name, r.norm, f"{r.eps:.4g}", percent(accuracy.mean), interval(accuracy.ci95), *rest)


def _judged(r: Result, accuracy: Accuracy) -> dict[str, Any]:
    return {"norm": r.norm, "eps": r.eps, "robust_accuracy": accuracy.mean, "ci95": list(accuracy.ci95)}
