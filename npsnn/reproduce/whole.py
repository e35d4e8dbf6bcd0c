"""A reproduction as a whole: experiments by name at a scale, run and reported.

for event in reproduce.run("reproduction", ["noise-figure-4"], scale="quick"): print(event)
reproduce.report("reproduction", "reproduction/report.md")
"""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from npsnn.files import json_files
from npsnn.files.paths import user_path
from npsnn.jobs.executors import executor
from npsnn.jobs.schedule import Event, with_needs
from npsnn.reproduce import publish
from npsnn.reproduce.claims import Claim
from npsnn.reproduce.experiments import CLAIMS as BROUGHT
from npsnn.reproduce.experiments import EXPERIMENTS, Experiment
from npsnn.reproduce.jobs import Job
from npsnn.reproduce.perform import Place, perform_all
from npsnn.reproduce.scales import NOISE_PAPER, SCALES, Scale
from npsnn.reproduce.sections import Section, sections
from npsnn.validate import check_choice, check_count

ABOUT = "reproduction.json"
"""The file that says at which scale a folder's records were made."""


def experiments(names: Iterable[str] = ()) -> list[Experiment]:
    """The experiments of those names, or all: first the noise paper's.

    Raises ValueError for an unknown name, naming the nearest.
    """
    wanted = list(names)
    for name in wanted:
        check_choice("experiment", name, EXPERIMENTS)
    found = [e for name, e in EXPERIMENTS.items() if not wanted or name in wanted]
    return sorted(found, key=lambda e: (e.paper != NOISE_PAPER, _natural(e.name)))


def _natural(name: str) -> list[Any]:
    """A key by which figure-10 comes after figure-9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def claims() -> dict[str, Claim]:
    """Every claim of both papers, and those that experiments of others bring along, by its id."""
    from npsnn.reproduce.a2snn.claims import CLAIMS as A2SNNS
    from npsnn.reproduce.noise_paper.claims import CLAIMS as NOISE_PAPERS

    return {claim.id: claim for claim in (*NOISE_PAPERS, *A2SNNS, *BROUGHT.values())}


def at_scale(name: str, seeds: int | None = None) -> Scale:
    """The scale of that name, with another number of seeds where one is given; ValueError for an unknown one."""
    check_choice("scale", name, SCALES)
    if seeds is None:
        return SCALES[name]
    check_count("seeds", seeds)
    return replace(SCALES[name], seeds=seeds)


def planned(names: Iterable[str], scale: Scale) -> list[Job]:
    """All jobs of those experiments, each once, every one after those that it needs."""
    return with_needs(job for experiment in experiments(names) for job in experiment.jobs(scale))


def begin(folder: Path, scale: Scale) -> None:
    """Note in a folder at which scale its records are made; ValueError where it has those of another."""
    about = {"scale": scale.name, "seeds": scale.seeds}
    known = _noted(folder)
    if known is not None and known != scale:
        made = f"{folder} holds a reproduction at the scale {known.name} with seeds {known.seeds}"
        raise ValueError(f"{made}, not {scale.name} with {scale.seeds}: choose another folder")
    if known is None:
        json_files.write_json(folder / ABOUT, about)


def _noted(folder: Path) -> Scale | None:
    path = folder / ABOUT
    if not path.is_file():
        return None
    about = json_files.read_json(path)
    return at_scale(about.get("scale", ""), about.get("seeds"))


def scale_of(folder: Path) -> Scale:
    """The scale of the reproduction in a folder; FileNotFoundError where there is none."""
    found = _noted(folder)
    if found is None:
        raise FileNotFoundError(f"there is no reproduction in {folder}: start one with 'npsnn reproduce'")
    return found


def run(
    folder: str | os.PathLike[str],
    names: Iterable[str] = (),
    scale: str = "quick",
    seeds: int | None = None,
    jobs: int = 1,
    workers: str | Executor = "processes",
    data_dir: Path | None = None,
    device: str = "cpu",
) -> Iterator[Event[Job]]:
    """Run experiments, or go on with them; yields what became of each job.

    folder: of the reproduction.
    names: experiments, by default all.
    scale: "quick", "small" or "paper".
    seeds: number of seeds in place of the scale's.
    jobs: number of jobs at a time.
    workers: "processes", "threads", "mpi", the address of a scheduler of Dask, or an executor whose workers see the
        folder.
    data_dir: folder of the data sets.
    device: "cpu", "cuda" or "cuda:N".
    Raises ValueError for an unknown name, and for a folder with a reproduction at another scale.
    """
    at, where = at_scale(scale, seeds), user_path(folder).absolute()  # workers may be elsewhere
    planned_jobs = planned(names, at)
    begin(where, at)
    threads = None if jobs == 1 and workers == "processes" else 1
    with nullcontext(workers) if isinstance(workers, Executor) else executor(workers, jobs) as those:
        yield from perform_all(planned_jobs, Place(where, data_dir, threads, device), those)


def report(
    folder: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, names: Iterable[str] = ()
) -> list[Section]:
    """What the records in a folder say, without training anything; written as Markdown and HTML where a path is given.

    folder: of the reproduction.
    path: file of the Markdown; the HTML gets the same name with the ending .html.
    names: experiments, by default all.
    Raises FileNotFoundError where the folder has no reproduction.
    """
    where = user_path(folder)
    scale, records = scale_of(where), Place(where).records
    found = sections(experiments(names), claims(), scale, records)
    if path is not None:
        publish.write(found, scale, records, user_path(path))
    return found
