"""The run that a command is about: its network, its images, and what every record says of both."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from npsnn.cli.terminal import say
from npsnn.runs.caveats import Caveat


@dataclass(frozen=True)
class Run:
    """A run as a command was given it.

    classifier: its network, on the device.
    config: its config.json.
    about: what every record of it says.
    caveats: what qualifies every number of it.
    class_names: the names of the classes, once its images are read; none where they are not known.
    """

    folder: Path
    classifier: Any
    config: dict[str, Any]
    about: dict[str, Any]
    caveats: list[Caveat] = field(default_factory=list)
    class_names: tuple[str, ...] = ()

    def sigma(self, asked: float | None) -> float | None:
        """The noise that the network is measured with: its own, or as --inference-sigma asks, where that is one number.

        None for the network's own noise where no one number says it. Raises UsageError for a number > 0 where the
        network has no noise layer, or several.
        """
        own = self.classifier.sigmas
        if asked and len(own) != 1:
            sigmas = ", ".join(f"{path} {sigma:g}" for path, sigma in own.items())
            why = f"whose noise layers have each their own sigma ({sigmas})" if own else "which has no noise layer"
            raise click.UsageError(f"--inference-sigma must be 0 for {self.folder}, {why}, got {asked:g}")
        if asked is not None:
            return asked
        return None if len(own) > 1 or (self.classifier.random and not any(own.values())) else self.classifier.sigma

    @property
    def heading(self) -> str:
        """How a table names it."""
        other = any(caveat.code == "other-data" for caveat in self.caveats)
        which = ", best.npz" if self.about["checkpoint"] == "best" else ""
        return f"{self.folder}{which}{' on other data' if other else ''}"


def load_run(
    run: str | None, runs_dir: Path, checkpoint: str, threads: int | None, device: str, conv: str | None = None
) -> Run:
    """A run by its folder or name; without one the newest that is finished, which is said on stderr.

    conv: another way to compute convolutions than in its training.
    """
    from npsnn.classifier import Classifier
    from npsnn.files import json_files
    from npsnn.runs import checkpoint as runs
    from npsnn.runs import plugins, provenance
    from npsnn.runs.environment import environment
    from npsnn.train.saved import caveats_of, dataset_of, read_run

    folder = runs.find_run(run, runs_dir) if run is not None else _newest(runs_dir)
    classifier = replace(Classifier.load(folder, checkpoint), threads=threads).to(device)
    classifier = classifier if conv is None else classifier.convolving(conv)
    config, options = read_run(folder)
    found = caveats_of(config, options, len(json_files.read_lines(folder / runs.METRICS)))
    about = {
        "run": str(folder),
        "checkpoint": checkpoint,
        "epoch": runs.load_arrays(folder / f"{checkpoint}.npz", prefixes=())[1].get("epoch"),
        "parameters": provenance.of_network(classifier.params),
        "dataset": dataset_of(config),
        "conv": conv or getattr(options, "conv", None),
        "threads": threads,
        "environment": environment(device),
        **plugins.recorded(),
    }
    return Run(folder, classifier, config, about, found)


def surrogates(runs: tuple[str, ...], runs_dir: Path) -> tuple[str, ...]:
    """The folders of the runs that attacks are to transfer from; "noise-off" stays as it is.

    Raises FileNotFoundError for an unknown run.
    """
    from npsnn.attacks.plan import NOISE_OFF
    from npsnn.runs.checkpoint import find_run

    return tuple(run if run == NOISE_OFF else str(find_run(run, runs_dir)) for run in runs)


def _newest(runs_dir: Path) -> Path:
    from npsnn.runs.checkpoint import newest_run

    folder, passed = newest_run(runs_dir)
    over = f" (passed over: {', '.join(passed)})" if passed else ""
    say(f"the newest finished run: {folder}{over}", err=True)
    return folder


def load_dataset(
    folder: Path, config: dict[str, Any], data_dir: Path | None, other_data: bool | None = None
) -> tuple[Any, str]:
    """The data set that a run was trained on, and how the one at hand differs from it.

    other_data: whether it may differ; None where the command has no such option.
    Raises ValueError where it may not, and where npsnn cannot read such a set.
    """
    from npsnn import data
    from npsnn.runs import provenance
    from npsnn.train.saved import dataset_of

    named = dataset_of(config)
    if not named:
        raise ValueError(f"{folder} names no data to measure its network on: give npsnn import --dataset")
    name = data.located(named, data_dir)
    if name not in data.names() and not Path(name).is_absolute():
        raise ValueError(
            f"{folder} was trained on {name!r}, which npsnn cannot read by name: register its loader in a file for "
            f"--plugin, or go on in Python, with your own arrays and Classifier.load({str(folder)!r})"
        )
    dataset = data.load(name, data_dir)
    odd = provenance.difference(config, dataset)
    if odd and not other_data:
        way = ", or take these with --other-data, which every result will say" if other_data is not None else ""
        raise ValueError(
            f"this {name} is not the one that {folder} was trained on, they differ in {odd}: name the folder of the "
            f"run's data with --data-dir{way}"
        )
    return dataset, odd


def load_test_images(run: Run, data_dir: Path | None, limit: int | None, other_data: bool) -> tuple[Run, Any, Any]:
    """The run, what it is measured on noted; the first test images (8-bit) and their labels.

    Says on stderr what qualifies every number; raises ValueError as `load_dataset` does.
    """
    from npsnn.runs import caveats

    dataset, odd = load_dataset(run.folder, run.config, data_dir, other_data)
    about = run.about | {"limit": limit, "other_data": odd or None}
    found = [*run.caveats, *caveats.of_data(odd)]
    run = replace(run, about=about, caveats=found, class_names=dataset.class_names)
    warn(run)
    return run, dataset.test.images[:limit], dataset.test.labels[:limit]


def warn(run: Run) -> None:
    """Say on stderr what qualifies every number of a run."""
    for caveat in run.caveats:
        say(f"warning: {run.folder}: {caveat.text}", err=True)
