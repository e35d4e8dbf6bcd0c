"""`npsnn certify`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from npsnn.certify.plan import Plan
from npsnn.cli.certify_kept import Kept
from npsnn.cli.common import (
    in_words_of_time,
    interval,
    percent,
    print_caveats,
    print_json,
    set_precision,
    speaking_of_flags,
    test_images,
)
from npsnn.cli.help import Option, new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import RUN_ARGUMENT, given, options_of, shared
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.table import Table
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import Epsilon, UserPath
from npsnn.interrupts import uninterrupted


def command() -> click.Command:
    """The command, made when it is asked for."""
    from npsnn.attacks.judging import Judging

    return new_command(
        "certify",
        _certify,
        RUN_ARGUMENT,
        *options_of(Plan),
        *options_of(Judging, "sigma"),
        Option(
            ["--radius", "radii"],
            type=Epsilon(),
            metavar="EPS",
            multiple=True,
            group="Smoothing",
            help="L2 radius of a row, by default round radii up to the largest one certified. Repeatable.",
        ),
        *shared("limit", "data-dir", "other-data"),
        Option(
            "--save",
            type=UserPath(dir_okay=False),
            metavar="FILE.tsv",
            help="Write a row for each image to this file as it comes; a file of the same options is gone on with.",
        ),
        *shared("checkpoint", "conv", "seed", "threads", "device", "tf32", "runs-dir", "config", "json"),
    )


def _certify(
    run: str | None,
    inference_sigma: float | None,
    radii: tuple[float, ...],
    limit: int | None,
    save: Path | None,
    checkpoint: str,
    other_data: bool,
    conv: str | None,
    seed: int,
    threads: int | None,
    device: str,
    tf32: bool,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Certify for each test image of RUN an L2 radius within which no attack can change the answer.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken. The answer is that
    of the smoothed classifier: the class that the network names most often under its noise. 100 draws choose the class,
    10,000 further draws count its votes, and a bound of the class's probability p gives the radius sigma Φ⁻¹(p)/norm
    (randomised smoothing, Cohen et al. 2019). Where p is not surely above 1/2 the image gets no certificate: who
    certifies abstains. No closed form is asked.

    The smoothing noise is the run's first noise, sigma its standard deviation. norm bounds how much the layers before
    the noise stretch the difference of two images: for a first convolution, an upper bound of its operator norm. With
    --sigma the noise is added to the images instead, and norm is 1. Any network can be certified so; one that was not
    trained under such noise reads little.

    "certified" is the part of the images whose label is certified at a radius: no attack in L2 leaves less of the
    smoothed classifier. The interval is a 95 % interval over test images. "in draws" is the part of single draws that
    surely are right there: no attack leaves less of the accuracy that npsnn attack --norm l2 prints. Each certificate
    is wrong with a chance of --alpha.

    --save writes a row for each image, with the columns idx, label, predict, radius, correct and time of
    locuslab/smoothing. A predict of -1 is an abstention. The same command goes on with the file where it was stopped.

    \b
    The newest run by its own noise, any run by noise on its images:
      npsnn certify --limit 500 --save certified.tsv
      npsnn certify RUN --sigma 0.25 --samples 1000 --limit 100
    """
    with speaking_of_flags():
        plan = Plan(**given({k: v for k, v in chosen.items() if k in Plan.__dataclass_fields__}))
    set_precision(device, tf32)
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    loaded, x, labels = load_test_images(loaded, data_dir, limit, other_data)
    noise = loaded.sigma(inference_sigma)
    if noise is not None:
        loaded = replace(loaded, classifier=loaded.classifier.with_sigma(noise))
    about = {"plan": asdict(plan) | {"seed": seed}, "inference_sigma": noise}
    with Kept(save, loaded, about) as kept:
        _run(loaded, x, labels, plan, seed, radii, kept, as_json)


def _run(
    run: Run, x: Any, labels: Any, plan: Plan, seed: int, radii: tuple[float, ...], kept: Kept, as_json: bool
) -> None:
    from npsnn import certify
    from npsnn.certify.certificates import seconds_needed
    from npsnn.runs import caveats

    smoothed = certify.smoothing(run.classifier, plan.sigma)
    rows = kept.begin(labels)
    left = len(labels) - len(rows)
    what = test_images(len(labels), run.about["limit"])
    if not as_json:
        say(f"{run.heading}: {what}, {plan.samples:,} draws each, alpha {plan.alpha:g}")
        say(_noise_in_words(smoothed, plan))
    stop: BaseException | None = None
    try:
        if left:
            time = in_words_of_time(seconds_needed(smoothed, x, plan) * left)
            say(f"{plan.draws:,} passes forward an image; {left:,} images will take about {time}", err=True)
            _measure(rows, run, x, labels, plan, seed, kept)
    except BaseException as error:  # what was finished is printed, whatever ended the rest
        stop = error
    if rows:
        found = certify.Certificates(tuple(rows))
        run = replace(run, caveats=[*run.caveats, *caveats.of_few(len(rows))])
        document = _document(found, list(radii) or found.radii(), smoothed, run, kept) | {"interrupted": bool(stop)}
        print_json(document) if as_json else _print(document, run)
    if isinstance(stop, KeyboardInterrupt):
        leave(stop, kept.in_words(len(labels), len(rows)))
    if stop:
        raise stop


def _measure(rows: list[Any], run: Run, x: Any, labels: Any, plan: Plan, seed: int, kept: Kept) -> None:
    """Add the certificates of the images that have none to the rows, and keep each as it comes, over a bar."""
    from npsnn import Stream, certify

    start = len(rows)
    with Bar("certifying", (len(labels) - start) * plan.draws) as bar:
        stream = Stream(seed).from_sample(start)
        for row in certify.certificates(run.classifier, x[start:], labels[start:], plan, stream, bar.update):
            with uninterrupted():
                rows.append(row)
                kept.row(row)


def _noise_in_words(smoothed: Any, plan: Plan) -> str:
    where = "on the images" if plan.sigma is not None else f"of the layer {smoothed.path}"
    norm = f"norm of the layers before at most {smoothed.norm:.4g}, " if smoothed.norm != 1 else ""
    return f"noise {smoothed.sigma:.4g} {where}, {norm}radius {smoothed.unit:.4g} for each standard deviation"


def _document(found: Any, radii: list[float], smoothed: Any, run: Run, kept: Kept) -> dict[str, Any]:
    """The result as JSON."""
    table = []
    for radius in radii:
        accuracy = found.accuracy(radius)
        row = {"radius": radius, "certified_accuracy": accuracy.mean, "ci95": list(accuracy.ci95)}
        table.append(row | {"certified_in_draws": found.in_draws(radius).mean})
    answered = found.answered
    return (
        run.about
        | kept.about
        | {
            "examples": len(found.rows),
            "smoothing": {"layer": smoothed.path, "sigma": smoothed.sigma, "norm": smoothed.norm},
            "radius_of_sigma": smoothed.unit,
            "smoothed_accuracy": answered.mean,
            "smoothed_accuracy_ci95": list(answered.ci95),
            "abstained": float(found.abstained.mean()),
            "certified": table,
            "caveats": [asdict(caveat) for caveat in run.caveats],
        }
    )


def _print(document: dict[str, Any], run: Run) -> None:
    """Print the result for people."""
    answered = percent(document["smoothed_accuracy"]), interval(document["smoothed_accuracy_ci95"])
    say(f"smoothed accuracy {answered[0]}, 95 % interval {answered[1]}; abstained {percent(document['abstained'])}")
    click.echo()
    table = Table({"radius": 7, "certified": 9, "95 % interval": -16, "in draws": 8}, optional=("95 % interval",))
    for row in document["certified"]:
        sure = percent(row["certified_accuracy"]), interval(row["ci95"]), percent(row["certified_in_draws"])
        table.row(f"{row['radius']:.4g}", *sure)
    print_caveats(run.caveats)
