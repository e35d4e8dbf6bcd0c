"""`npsnn evaluate`."""

from pathlib import Path

import click

from npsnn.cli.common import (
    averaged,
    how_loaded,
    interval,
    load_run,
    load_test_images,
    options,
    percent,
    print_json,
    test_images,
)


@click.command("evaluate")
@click.argument("run", required=False)
@options("inference-sigma")
@click.option(
    "--draws", type=click.IntRange(1), default=10, show_default=True, help="Draws of the noise for each image."
)
@options(
    "average", "limit", "checkpoint", "conv", "seed", "threads", "device", "data-dir", "runs-dir", "config", "json"
)
def command(
    run: str | None,
    inference_sigma: float | None,
    draws: int,
    average: int,
    limit: int | None,
    checkpoint: str,
    conv: str | None,
    seed: int,
    threads: int | None,
    device: str,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Accuracy of RUN on its test images: with the noise off, and under fresh draws of it.

    RUN is a run folder or a name in the runs folder; without one, the newest. The interval is a 95 % interval over
    test images and noise. With --average N each of the draws is an answer of logits averaged over N draws.
    """
    from npsnn.attacks import accuracy

    folder, classifier, config = load_run(run, runs_dir, checkpoint, threads, device, conv)
    x, labels = load_test_images(config, data_dir, limit)
    sigma = classifier.sigma if inference_sigma is None else inference_sigma
    clean = accuracy(classifier.with_sigma(0), x, labels)
    noisy = accuracy(classifier.with_sigma(sigma).averaging(average), x, labels, draws, seed)
    if as_json:
        print_json(
            {
                "run": str(folder),
                **how_loaded(checkpoint, conv, config),
                "clean_accuracy": clean.mean,
                "noisy_accuracy": noisy.mean,
                "noisy_accuracy_ci95": list(noisy.ci95),
                "inference_sigma": sigma,
                "draws": draws,
                "average": average,
            }
        )
        return
    click.echo(f"{folder}: {test_images(len(labels), limit)}{averaged(average)}")
    click.echo(f"  noise off (expectation network)   {percent(clean.mean):>8}   95 % interval {interval(clean.ci95)}")
    click.echo(
        f"  noise {sigma:<8.4g} {draws:>6} draws each  {percent(noisy.mean):>9}   95 % interval {interval(noisy.ci95)}"
    )
