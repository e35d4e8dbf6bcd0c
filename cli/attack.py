"""`npsnn attack`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import groupby, islice
from math import isinf
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from npsnn.attacks.balls import NORMS
from npsnn.attacks.evaluation import Result, robust_accuracy
from npsnn.attacks.judging import Judging
from npsnn.attacks.plan import RADII, Plan, choices
from npsnn.cli.attack_kept import Kept, check_save
from npsnn.cli.attack_rows import Rows
from npsnn.cli.common import print_caveats, print_json, say_cost, speaking_of_flags, test_images
from npsnn.cli.defended import Defended
from npsnn.cli.interrupts import leave
from npsnn.cli.options import F, field_option, options
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import Epsilon, UserPath
from npsnn.interrupts import uninterrupted
from npsnn.objectives import losses
from npsnn.ops.gaussian import RULES

_DEFAULT = Plan()
_option = partial(field_option, _DEFAULT)
_POSITIVE = click.FloatRange(0, min_open=True)


def _attack_flags(f: F) -> F:
    for name, choice in reversed(choices().items()):
        asked = "" if choice.by_default else "  [only on request]"
        f = click.option(f"--{name}", _parameter(name), is_flag=True, help=choice.help + asked)(f)
    return f


def _parameter(name: str) -> str:
    """The name of an attack as that of a parameter."""
    return name.replace("-", "_").lower()


def _several(flag: str, kind: click.ParamType[Any], text: str) -> Callable[[F], F]:
    shown = _listed(getattr(_DEFAULT, flag.removeprefix("--")))
    if flag == "--eps":
        shown = ", ".join(f"{norm} {_listed(radii)}" for norm, radii in RADII.items())
    return click.option(flag, type=kind, multiple=True, help=f"{text}; repeatable.  [default: {shown}]")


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


@click.command("attack")
@click.argument("run", required=False)
@_attack_flags
@_several("--eps", Epsilon(), "Radius in units of the [0, 1] pixel, as 0.1 or 8/255")
@_option("--norm", NORMS, "Norm of the ball.")
@_option("--steps", click.IntRange(1), "Steps of bim and pgd.")
@_option("--restarts", click.IntRange(1), "Random starts of pgd; each image keeps its worst.")
@_option("--eot", click.IntRange(0), "Draws averaged in each plain gradient; 0 attacks the network without noise.")
@_option("--draws", click.IntRange(1), "Fresh draws on which success is judged.")
@options("inference-sigma", "average")
@_option("--objective", losses(), "What the adaptive attacks ascend; see above.")
@_option("--propagation", RULES, "How they carry the variance; laplace: noise paper Eq. 6.")
@_option("--samples", click.IntRange(1), "Points that random tries (A2SNN: 10,000).")
@_several("--pixels", click.IntRange(1), "Pixels that one-pixel may change")
@_option("--population", click.IntRange(5), "Candidates of one-pixel.")
@_option("--generations", click.IntRange(1), "Generations of one-pixel at most (A2SNN: 75, then 1000).")
@_several("--kappa", click.FloatRange(0), "Confidence of cw")
@_option("--cw-steps", click.IntRange(1), "Steps of cw for each constant c (A2SNN: 1000).")
@_option("--cw-lr", _POSITIVE, "Adam's rate in cw (A2SNN: 0.0005).")
@_option("--cw-constant", _POSITIVE, "First constant c of cw (A2SNN: 0.001).")
@_option("--cw-searches", click.IntRange(1), "Constants that cw tries, by binary search (A2SNN: 9).")
@options("limit")
@click.option("--save", type=UserPath(dir_okay=False), help="Write the adversarial images to this .npz.")
@options("checkpoint", "other-data", "conv", "seed", "threads", "device", "data-dir", "runs-dir", "config", "json")
def command(
    run: str | None,
    inference_sigma: float | None,
    limit: int | None,
    save: Path | None,
    checkpoint: str,
    other_data: bool,
    conv: str | None,
    threads: int | None,
    device: str,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Attack RUN and print the accuracy that is left.

    RUN is a run folder or a name in the runs folder; without one, the newest that is finished. Without an attack's
    flag, the first five run. The attacked network is the defended one, noise and all. Plain attacks average their
    gradient over --eot draws of the noise (expectation over transformations, EoT); the adaptive ones take the gradient
    of a closed form instead, one pass for the whole distribution. Success is judged on fresh noise, with a 95 %
    interval over test images and noise; the last line for each eps is the strongest attack, with another in its place
    on images where that is surely stronger.

    The adaptive attacks ascend the cross-entropy of the exact mean logits, or noise-aware, the loss of the noise paper
    with the derived signs, or win-probability, -Σ ln P(the label's logit beats another's). With --propagation laplace
    they carry the variance as the paper does and ascend its loss by default; where the noise is on the features, the
    expected cross-entropy.

    cw has no eps: "misread" counts the images that at least half the draws misread, "median" and "mean" are the
    distances in L2 of those among them that are right without an attack. Where cw fails on fresh noise, it returns the
    clean image. At kappa 0 an image is on the boundary, where noise misreads it half the time. The pixels of one-pixel
    stand under eps, with the norm l0.

    \b
    Examples: one pass of the exact closed form against 50 of EoT; the paper's own
    adaptive attack; C&W
      npsnn attack --adaptive-fgsm --fgsm --eot 50 --eps 0.1 --eps 0.2
      npsnn attack --adaptive-fgsm --propagation laplace
      npsnn attack --cw --adaptive-cw --kappa 0 --kappa 1 --limit 100
    """
    if save:
        check_save(save)
    with speaking_of_flags(sigma="--inference-sigma"):
        plan = _plan(chosen | {"sigma": inference_sigma})
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    loaded, x, labels = load_test_images(loaded, data_dir, limit, other_data)
    plan = replace(plan, sigma=loaded.sigma(inference_sigma))
    _run(loaded, x, labels, plan, save, None if as_json else test_images(len(labels), limit))


def _plan(chosen: dict[str, Any]) -> Plan:
    """The plan that the options make; where nothing is given of several, the default."""
    attacks = tuple(name for name in choices() if chosen[_parameter(name)])
    values = {f.name: chosen[f.name] for f in fields(Plan) if chosen.get(f.name) not in ((), None)}
    plan = Plan(**values | ({"attacks": attacks} if attacks else {}))
    context = click.get_current_context()
    for name, would in plan.unused(f.name for f in fields(Plan)).items():
        flag, source = f"--{name.replace('_', '-')}", context.get_parameter_source(name)
        unheeded = f"{flag} acts on {', '.join(would)} alone, none of which is chosen (chosen: {', '.join(plan.names)})"
        if source == ParameterSource.COMMANDLINE:
            raise click.UsageError(unheeded)
        if source in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            say(f"warning: {unheeded}", err=True)
    return plan


def _run(run: Run, x: Any, labels: Any, plan: Plan, save: Path | None, what: str | None) -> None:
    """what: the images in words, for people; None for JSON."""
    from npsnn import attacks

    classifier, made, judging = run.classifier, plan.made(), plan.judging()
    defended = Defended.of(run, judging, x, labels)
    if what:
        defended.print_heading(what)
        click.echo()
    say_cost(attacks.cost(classifier, x, labels, made, judging), len(labels))
    show = Rows(made, shown=what is not None)
    about = {"plan": asdict(plan)} | defended.about
    kept = Kept(run.folder, about | defended.qualified, save)
    stop: BaseException | None = None
    try:
        for results in _by_ball(classifier, x, labels, made, judging, show, kept, defended.clean):
            if len(results) > 1 and not isinf(results[0].eps):
                worst = attacks.worst_case(classifier, labels, results, judging)
                show.worst(results, worst, partial(kept.worst, results[0], worst))
    except BaseException as error:  # what was finished is printed and kept, whatever ended the rest
        stop = error
    try:
        if what:
            show.caveats()
            print_caveats(defended.caveats)
        else:
            rows = {"results": show.rows, "worst_case": show.worst_rows, "interrupted": stop is not None}
            print_json(about | rows | defended.qualified)
    finally:
        kept.write(labels)
    if isinstance(stop, KeyboardInterrupt):
        leave(stop, kept.in_words(len(made)))
    if stop:
        raise stop


def _by_ball(
    classifier: Any, x: Any, labels: Any, made: list[Any], judging: Judging, show: Rows, kept: Kept, clean: Any
) -> Iterator[list[Result]]:
    """The results of each ball together; each is shown and kept as it comes, over a bar."""
    balls = [len(list(group)) for _, group in groupby(attack.ball for attack in made)]
    with Bar("attacking", len(labels) * len(made)) as bar:
        results = robust_accuracy(classifier, x, labels, made, judging, bar.update, clean)
        for length in balls:
            group = []
            for result in islice(results, length):
                with uninterrupted():
                    show.row(result, len(labels), partial(kept.result, result))
                group.append(result)
            yield group
