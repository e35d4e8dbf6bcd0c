"""`npsnn attack`."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

import click

from npsnn.attacks.base import check_fit
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.groups import grouped
from npsnn.attacks.kept import Kept as Parts
from npsnn.attacks.plan import Plan
from npsnn.attacks.results import Result
from npsnn.cli.advance import Advance, say_left_out
from npsnn.cli.attack_curve import Drawing
from npsnn.cli.attack_flags import attack_flags, plan_of, resolve_surrogates
from npsnn.cli.attack_kept import Kept, check_save
from npsnn.cli.attack_resume import hint, resumable
from npsnn.cli.attack_rows import Rows
from npsnn.cli.common import (
    print_caveats,
    print_json,
    say_cost,
    set_precision,
    speaking_of_flags,
    test_images,
)
from npsnn.cli.defended import Defended
from npsnn.cli.help import Option, new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import RUN_ARGUMENT, shared
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import UserPath
from npsnn.interrupts import uninterrupted


def command() -> click.Command:
    """The command, made when it is asked for: it has a flag for each attack of the table."""
    return new_command(
        "attack",
        resumable(_attack),
        RUN_ARGUMENT,
        *attack_flags(),
        *shared("limit", "data-dir", "other-data"),
        Option("--save", type=UserPath(dir_okay=False), help="Write the adversarial images to this new .npz."),
        Option(
            "--curve",
            type=UserPath(dir_okay=False),
            metavar="FILE.png",
            help="Draw the accuracy over eps that fmn and cw leave, with the other attacks as points. FILE.json gets "
            "the numbers. Needs matplotlib.",
        ),
        Option(
            "--certificate",
            type=UserPath(dir_okay=False),
            metavar="FILE.tsv",
            help="Draw the certified accuracy of npsnn certify --save under --curve, in L2.",
        ),
        Option(
            "--resume",
            is_flag=True,
            help="Continue the newest unfinished attack on RUN by its own options. Nothing that is done is done again.",
        ),
        *shared("checkpoint", "conv", "threads", "device", "tf32", "runs-dir", "config", "json"),
    )


def _attack(
    run: str | None,
    inference_sigma: float | None,
    limit: int | None,
    save: Path | None,
    curve: Path | None,
    certificate: Path | None,
    checkpoint: str,
    other_data: bool,
    conv: str | None,
    threads: int | None,
    device: str,
    tf32: bool,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    unfinished: Parts | None,
    **chosen: Any,
) -> None:
    """Attack RUN and print the accuracy that is left.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken. The attacked
    network is the defended one, noise and all. Success is judged on fresh draws of the noise; the interval is a 95 %
    interval over test images and noise. The last line for each eps has the worst case: each image meets the attack
    that most of --selection draws misread it under, and other draws judge what is left.

    quick and auto are groups of attacks, chosen for the kind of network. Without noise each member attacks the images
    that are still right: "takes" says how many it took, "accuracy" what is left so far. auto then has the name of
    AutoAttack's standard version, where --apgd-steps, --targets, --fab-steps and --queries are the defaults and there
    are four classes or more. With noise every member attacks every image to the end.

    Plain attacks average each gradient over --eot draws of the noise (EoT, expectation over transformations). Adaptive
    attacks take the gradient of a closed form of the whole distribution. They ascend win-probability by default,
    -Σ ln P(the label's logit beats another's), under --propagation laplace and linear the loss of the noise paper,
    expected-cross-entropy where noise is on features, expected-probability under another --answer.

    cw and fmn have no eps. "misread" counts the images that at least half of the draws misread. "median" and "mean" are
    distances, of cw in L2, of those misread images that are right without an attack. At kappa 0 an image is on the
    boundary, where noise misreads it half of the time. The pixels of one-pixel stand under eps, with the norm l0.

    \b
    The lowest accuracy that npsnn finds, AutoAttack where there is no noise:
      npsnn attack --auto --eps 0.1 --limit 500
    The accuracy at every eps from one run, drawn, with PGD at some:
      npsnn attack --fmn --pgd --curve curve.png
    The adaptive attack of the noise paper, and C&W:
      npsnn attack --adaptive-fgsm --propagation laplace
      npsnn attack --cw --adaptive-cw --kappa 0 --kappa 1 --limit 100
    """
    if save:
        check_save(save, unfinished)
    resolve_surrogates(chosen, runs_dir)
    with speaking_of_flags():
        plan = plan_of(chosen | {"inference_sigma": inference_sigma})
    drawing = Drawing.of(curve, certificate, plan.made())
    set_precision(device, tf32)
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    loaded, x, labels = load_test_images(loaded, data_dir, limit, other_data)
    plan = replace(plan, sigma=loaded.sigma(inference_sigma))
    if not unfinished and (other := hint(loaded.folder)):
        say(f"note: {other}", err=True)
    shown = None if as_json else test_images(len(labels), limit)
    if drawing:
        drawing.heading = f"{loaded.folder.name}, {test_images(len(labels), limit)}"
    _run(loaded, x, labels, plan, (save, drawing), shown, unfinished)


def _run(
    run: Run,
    x: Any,
    labels: Any,
    plan: Plan,
    files: tuple[Path | None, Drawing | None],
    what: str | None,
    unfinished: Parts | None,
) -> None:
    """Run the attacks of a plan.

    files: those of --save and --curve.
    what: the images in words, for people; None for JSON.
    unfinished: the parts of a command that goes on.
    """
    from npsnn import attacks

    classifier, judging = run.classifier, plan.judging()
    defended = Defended.of(run, judging, x, labels)
    groups = grouped(plan.made(), defended.network)
    made = [attack for group in groups for attack in group]
    with speaking_of_flags():
        check_fit(made, classifier)
    if what:
        defended.print_heading(what)
        click.echo()
    cost = attacks.cost(classifier, x, labels, groups, judging)
    if what:
        say_left_out(plan.made(), groups, defended.network)
    if unfinished:
        done = sum(unfinished.done.values())
        say(f"going on with {unfinished.path}: {done:,} of {len(labels) * len(made):,} images are attacked", err=True)
    else:
        say_cost(cost, len(labels))
    show = Rows(made, what is not None, judging.draws, cost.at_most)
    about = {"plan": asdict(plan)} | defended.about
    kept = Kept(run.folder, about | defended.qualified, *files, unfinished)
    stop: BaseException | None = None
    try:
        with Bar("attacking", cost.seconds) as bar:
            advance = Advance(bar, cost, len(labels))
            kept.parts.told = advance.skip
            update = advance.update
            results = robust_accuracy(classifier, x, labels, groups, judging, update, defended.clean, kept.parts)
            kept.begun(defended.caveats)
            for _, some in groupby(made, lambda attack: attack.ball):
                found = _results(list(some), results, advance, show, kept, len(labels))
                advance.to_choice(len(found) + 1)
                if len(found) > 1 and not isinf(found[0].eps):
                    with kept.parts.at_work():
                        worst = attacks.worst_case(classifier, labels, found, judging, update)
                    show.worst(found, worst, partial(kept.worst, found[0], worst))
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
        kept.finish(labels, stop is not None)
    if stop:
        _stopped(stop, kept.in_words(len(made)))


def _stopped(stop: BaseException, kept: str) -> NoReturn:
    """End with what ended the attacks, once it is said what is kept of them and how to go on."""
    if isinstance(stop, KeyboardInterrupt):
        leave(stop, kept)
    say(f"note: {kept}", err=True)
    raise stop


def _results(
    made: list[Any], results: Iterator[Result], advance: Advance, show: Rows, kept: Kept, images: int
) -> list[Result]:
    """The results of the attacks of one ball; each is shown and kept as it comes."""
    found = []
    for number, attack in enumerate(made, start=1):
        advance.to(attack, number, len(made))
        result = next(results)
        with uninterrupted():
            show.row(result, images, partial(kept.result, result))
        found.append(result)
    return found
