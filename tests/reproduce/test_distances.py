"""How far images were moved: medians of those that were, and nothing of a network that lacks a seed."""

from pathlib import Path

from tiny_reproduction import attacked, network

from npsnn.reproduce.distances import distances
from npsnn.reproduce.experiments import Column
from npsnn.reproduce.panels import NUMBER
from npsnn.reproduce.records import Record, Records


def test_distances_are_of_the_images_that_were_moved(tmp_path: Path) -> None:
    records, column = Records(tmp_path), Column("attack", object())
    jobs = [attacked(network(seed=seed)) for seed in range(3)]
    for job, sizes in zip(jobs, ([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 4.0, 4.0]), strict=False):
        images = {"attack": {"right": [0] * 4, "draws": 1, "size": sizes}}
        records.write(job, Record(job.document(), {}, images, {}, {}))
    asked = [("a", seed, [Column("clean"), column], job) for seed, job in enumerate(jobs)]
    found = distances("how far", ["a"], asked[:2], records, "note")
    assert found.cells["a", "attack"].values == (2.0, 4.0) and not found.cells["a", "attack"].each
    assert (list(found.columns), found.unit, found.note) == (["attack"], NUMBER, "note")
    assert not distances("how far", ["a"], asked, records, "note").cells, "a seed is missing"
    others = [(row, *rest) for (_, *rest), row in zip(asked, "aab", strict=True)]
    assert set(distances("how far", ["a", "b"], others, records, "note").cells) == {("a", "attack")}
