"""`npsnn evaluate`."""

from dataclasses import asdict
from pathlib import Path

import click

from npsnn.attacks.judging import Judging
from npsnn.cli.common import (
    averaged,
    check_answer,
    interval,
    percent,
    print_caveats,
    print_json,
    set_precision,
    speaking_of_flags,
    test_images,
)
from npsnn.cli.help import new_command
from npsnn.cli.options import RUN_ARGUMENT, options_of, shared
from npsnn.cli.runs import load_run, load_test_images
from npsnn.cli.terminal import say
from npsnn.validate import check_sigma


def command() -> click.Command:
    """The command, made when it is asked for."""
    return new_command(
        "evaluate",
        _evaluate,
        RUN_ARGUMENT,
        *options_of(Judging, "draws", "sigma", "average", "answer", average=1, answer="logits"),
        *shared("limit", "data-dir", "other-data", "checkpoint", "conv", "seed", "threads", "device", "tf32"),
        *shared("runs-dir", "config", "json"),
    )


def _evaluate(
    run: str | None,
    inference_sigma: float | None,
    draws: int,
    average: int,
    answer: str,
    limit: int | None,
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
) -> None:
    """Measure the accuracy of RUN on its test images, with the noise off and under fresh draws of the noise.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken. The interval is a
    95 % interval over test images and noise. With --average N each draw is an answer made of N draws, by default of
    their mean logits, as --answer says.
    """
    from npsnn.attacks import accuracy
    from npsnn.models import sigmas
    from npsnn.runs import caveats

    with speaking_of_flags():
        check_sigma(inference_sigma or 0)
        check_answer(average, answer)
    set_precision(device, tf32)
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    loaded, x, labels = load_test_images(loaded, data_dir, limit, other_data)
    classifier = loaded.classifier
    sigma = loaded.sigma(inference_sigma)
    network = (classifier if sigma is None else classifier.with_sigma(sigma)).averaging(average, answer)
    measured = sigmas.brief(network.sigmas) if sigma is None else sigma
    clean = accuracy(classifier.with_sigma(0), x, labels)
    noisy = accuracy(network, x, labels, draws, seed)
    found = loaded.caveats + caveats.of_network(classifier, network, noisy, labels)
    if as_json:
        print_json(
            loaded.about
            | {
                "seed": seed,
                "examples": len(labels),
                "clean_accuracy": clean.mean,
                "clean_accuracy_ci95": list(clean.ci95),
                "noisy_accuracy": noisy.mean,
                "noisy_accuracy_ci95": list(noisy.ci95),
                "inference_sigma": measured,
                "draws": draws,
                "average": average,
                "answer": answer,
                "caveats": [asdict(caveat) for caveat in found],
            }
        )
        return
    say(f"{loaded.heading}: {test_images(len(labels), limit)}{averaged(average, answer) if network.random else ''}")
    click.echo(f"  noise off (expectation network)   {percent(clean.mean):>8}   95 % interval {interval(clean.ci95)}")
    if network.random:  # without noise nothing is drawn
        noise = sigmas.of_network(measured, ".4g", sizes=False)
        label = f"{noise:<14} {draws:>6} draws each" if len(noise) <= 14 else f"{noise}, {draws} draws each"
        row = f"  {label:<32} {percent(noisy.mean):>9}"
        click.echo(f"{row}   95 % interval {interval(noisy.ci95)}")
    print_caveats(found)
