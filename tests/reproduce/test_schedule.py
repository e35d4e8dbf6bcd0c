"""The graph of jobs: what is done is skipped, what failed is said, and any executor gives the same records."""

import gzip
import json
import shutil
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from entering import entered
from threadpoolctl import threadpool_info, threadpool_limits
from tiny_reproduction import attacked, defended, lasting, network, run_all

from npsnn import Classifier, attacks, data
from npsnn.jobs import executors
from npsnn.jobs.schedule import DONE, FAILED, LEFT
from npsnn.reproduce.jobs import Attack, Measure
from npsnn.reproduce.measures import measure
from npsnn.reproduce.perform import UNFINISHED, Place, perform_all
from npsnn.reproduce.records import MissingError
from npsnn.runs import checkpoint, provenance
from npsnn.train import task

JOBS = [attacked(), attacked(sigma=0.0), attacked(defended())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the jobs are done."""
    found = tmp_path_factory.mktemp("done")
    assert {event.state for event in run_all(JOBS, found)} == {DONE}
    return found


def test_what_is_done_is_skipped(folder: Path) -> None:
    before = lasting(folder)
    events = run_all(JOBS, folder)
    assert all(event.earlier and event.state == DONE for event in events) and len(events) == 5
    assert lasting(folder) == before


def test_records_say_what_the_library_says(folder: Path) -> None:
    place, job = Place(folder), attacked()
    net, test = Classifier.load(place.run(network())), data.load("digits").test
    x, labels = test.images[:8], test.labels[:8]
    (_, pgd), (_, group) = job.attacks
    found = list(attacks.robust_accuracy(net, x, labels, [pgd], job.judging))
    assert np.array_equal(place.records[job].accuracy("pgd").each, found[0].accuracy.each)
    results = list(attacks.robust_accuracy(net, x, labels, group, job.judging))
    worst = attacks.worst_case(net, labels, results, job.judging)
    assert np.array_equal(place.records[job].accuracy("auto").each, worst.each)
    assert {f"auto: {r.attack}" for r in results} < place.records[job].images.keys()
    clean = attacks.accuracy(net, x, labels, 2, job.judging.seed)
    assert np.array_equal(place.records[job].accuracy("clean").each, clean.each)


def test_without_noise_an_image_has_one_answer(folder: Path) -> None:
    images = Place(folder).records[attacked(sigma=0.0)].images
    assert {name: of["draws"] for name, of in images.items()} == dict.fromkeys(images, 1)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_every_executor_gives_the_same_records(folder: Path, tmp_path: Path, kind: str) -> None:
    with executors.executor(kind, 2) as executor:
        events = list(perform_all(JOBS, Place(tmp_path), executor))
    assert {event.state for event in events} == {DONE}
    assert lasting(tmp_path) == lasting(folder)


def test_no_job_sums_on_several_threads_of_blas(tmp_path: Path) -> None:
    """Else a measurement would round by what its executor does beside it."""

    def threads_of_blas(networks: object, dataset: object) -> tuple[dict[str, int], dict[str, float]]:
        found = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        return {"most": max(found), "libraries": len(found)}, {}

    job = Measure("any", "threads-of-blas", (network(),))
    with entered(measure("threads-of-blas"), threads_of_blas), threadpool_limits(2):
        run_all([job], tmp_path)
    assert Place(tmp_path).records[job].values["most"] == 1


def test_a_training_that_was_stopped_goes_on(folder: Path, tmp_path: Path) -> None:
    job, place = network(epochs=2), Place(tmp_path)
    whole = tmp_path / "whole"
    run_all([job], whole)
    run_all([network(epochs=2)], tmp_path)
    run_folder = place.run(job)
    place.records.path(job.key).unlink()
    for name in (checkpoint.LAST, checkpoint.BEST):
        (run_folder / name).unlink()
    (run_folder / checkpoint.METRICS).unlink()
    run_all([job], tmp_path)
    assert lasting(tmp_path)[job.key] == lasting(whole)[job.key]


def test_an_attack_that_another_version_of_the_code_began_begins_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    place, job, test = Place(tmp_path), attacked(), data.load("digits").test
    place.records.path(job.key).unlink()
    begun = tmp_path / UNFINISHED / f"{job.key}-0.parts"
    begun.parent.mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "of_code", lambda: "another")
        keep = attacks.Kept(begun)
        keep.begin(place.network(network()), test.images[:8], test.labels[:8], [job.attacks[0][1]], job.judging)
        keep.close()
    with pytest.warns(UserWarning, match=r"differ in code \(another there, .*: they begin again"):
        run_all([job], tmp_path)
    assert lasting(tmp_path) == lasting(folder) and not begun.exists()


def test_a_folder_without_a_beginning_is_begun_again(tmp_path: Path) -> None:
    run_folder = Place(tmp_path).run(network())
    run_folder.mkdir(parents=True)
    (run_folder / ".npsnn-0123456789abcdef.tmp").write_text("x")
    assert [event.state for event in run_all([network()], tmp_path)] == [DONE]


def test_a_failure_is_said_and_what_needs_it_is_not_run(tmp_path: Path) -> None:
    bad = network(dataset="cifar10")  # which is not there
    failed, left, good, there = run_all([attacked(bad), attacked()], tmp_path)
    assert failed.state == FAILED and "cifar10" in failed.why.lower().replace("-", "")
    assert (left.state, left.why) == (LEFT, f"{bad.key} is not done")
    assert (good.state, there.state) == (DONE, DONE)


def test_a_failure_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "fit", lambda *a, **k: (_ for _ in ()).throw(OSError("no space")))
    assert [e.why for e in run_all([network()], tmp_path)] == ["no space"]
    monkeypatch.undo()
    assert [e.state for e in run_all([network()], tmp_path)] == [DONE]


def test_an_unknown_measurement_fails_by_name(tmp_path: Path) -> None:
    (event,) = run_all([Measure("law", "nothing")], tmp_path)
    assert event.state == FAILED and event.why.startswith("unknown measurement 'nothing'")


class Broken(ThreadPoolExecutor):
    """An executor whose workers raise what a job does not."""

    def submit(self, fn: object, /, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        return super().submit(lambda: 1 / 0)


def test_an_error_of_the_program_is_not_hidden(tmp_path: Path) -> None:
    executor: Executor = Broken(1)
    with pytest.raises(ZeroDivisionError):
        list(perform_all([network()], Place(tmp_path), executor))


def test_equal_records_are_equal_bytes_and_damage_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    records = Place(tmp_path / "copy").records
    path, record = records.path(attacked().key), records[attacked()]
    before = path.read_bytes()
    records.write(attacked(), record)
    assert path.read_bytes() == before
    path.write_bytes(before[:-20])
    with pytest.raises(ValueError, match="truncated gzip file"):
        Place(tmp_path / "copy").records[attacked()]
    path.write_bytes(gzip.compress(json.dumps({"job": {}}).encode()))
    with pytest.raises(ValueError, match="is no record of a job"):
        Place(tmp_path / "copy").records[attacked()]
    with pytest.raises(MissingError, match="its job is not done"):
        records[replace(attacked(), images=7)]
    with pytest.raises(MissingError, match="no attack 'fgsm'"):
        record.accuracy("fgsm")


def test_executors_are_checked() -> None:
    for kind, jobs, message in (("cluster", 1, "executor must be"), ("threads", 0, "jobs must be")):
        with pytest.raises(ValueError, match=message), executors.executor(kind, jobs):
            pass


def test_an_attack_needs_its_network(folder: Path) -> None:
    job = attacked()
    assert isinstance(job, Attack) and job.needs == (network(),)
