"""Scheduled numbers on a GPU, the double: a graph for each set of them, and none where they change all the time."""

import warnings
from dataclasses import replace
from typing import Any

import own_training as own
import pytest
from entering import taken_out
from graphed import BATCH, contents, trained
from own_training import two_noises

from npsnn.gpu.graphs import Graphs
from npsnn.optim import Cosine, Falls, Ramp, Since, Times
from npsnn.train import Drawn, SigmaReward
from npsnn.train.config import Config

taken_out(own)

CONFIG = Config(batch_size=BATCH, propagation="sampled", loss="cross-entropy", learn_sigma=True, sigma_reward=0.1)
"""Three steps of an epoch are one graph, and the last one, of fewer images, is another."""


def steps_recorded(monkeypatch: pytest.MonkeyPatch, epochs: int, **changed: Any) -> int | None:
    """The graphs of steps after some epochs, None without any; they give the bits of steps by themselves in silence."""
    options: dict[str, Any] = {"config": replace(CONFIG, epochs=epochs), "model": two_noises(), "epochs": epochs}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, records, trainer = trained(monkeypatch, **options, **changed)
    theirs, plain, _ = trained(monkeypatch, **options, graph=False, **changed)
    assert contents(ours) == contents(theirs) and records == plain
    found: Graphs | None = trainer.steps.graphs
    return None if found is None else [key[0][0] for key in found._graphs].count("step")  # type: ignore[index]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "changed",
    [{"terms": [SigmaReward(Times(0.1, Falls((0.5,), (30.0,))))]}, {"noise": Drawn(Since(0.5))}],
    ids=["term", "noise"],
)
def test_other_numbers_are_another_graph(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
    assert steps_recorded(monkeypatch, 4, **changed) == 4


@pytest.mark.usefixtures("double")
def test_numbers_that_change_all_the_time_are_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_recorded(monkeypatch, 2, terms=[SigmaReward(Cosine())]) is None


@pytest.mark.usefixtures("double")
def test_graphs_begin_with_the_epoch_from_which_the_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_recorded(monkeypatch, 4, terms=[SigmaReward(Ramp(0.5))]) == 2


@pytest.mark.usefixtures("double")
def test_an_epoch_of_few_numbers_has_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change amid an epoch is no reason to go without; one at every second step is."""
    _, _, trainer = trained(monkeypatch, replace(CONFIG, epochs=2), terms=[SigmaReward(Since(0.3))], epochs=0)
    repeats = trainer.steps._repeats
    many = [i / 400 for i in range(400)]
    assert repeats(many) and repeats([0.0]) and repeats([0.1, 0.2, 0.4, 0.5])
    assert not repeats([0.2, 0.4]) and not repeats([0.1, 0.2, 0.4])
    stairs = Falls(tuple(i / 10 for i in range(1, 10)), tuple(0.1 * i for i in range(1, 10)))
    _, _, trainer = trained(monkeypatch, CONFIG, terms=[SigmaReward(stairs)], epochs=0)
    assert not trainer.steps._repeats(many) and trainer.steps._repeats(many[:150])
