"""Scheduled numbers on a GPU, the double: a graph for each set of them, and none where they change all the time."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import own_training as own
import pytest
from entering import taken_out
from graphed import BATCH, contents, trained
from own_training import two_noises
from small_networks import of_units_in_digits

from npsnn.gpu import graphs
from npsnn.gpu.graphs import Graphs
from npsnn.layers.noisy_weights import NoisyLinear
from npsnn.optim import Cosine, Falls, Harmonic, Ramp, Since, Times
from npsnn.streams import Stream
from npsnn.train import (
    AlternatingReward,
    Decay,
    Drawn,
    GradientFactor,
    KLDivergence,
    OperatorNorm,
    RootReward,
    SigmaFloor,
    SigmaReward,
)
from npsnn.train.config import Config

taken_out(own)


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    graphs._told.clear()
    yield
    graphs._told.clear()


CONFIG = Config(batch_size=BATCH, propagation="sampled", loss="cross-entropy", learn_sigma=True, sigma_reward=0.1)
"""Three steps of an epoch are one graph, and the last one, of fewer images, is another."""


@dataclass(frozen=True)
class Elsewhere(Drawn):
    """Draws of another stream for another scale."""

    def stream(self, batch: Stream, part: Stream) -> Stream:
        return part.at("elsewhere", round(self.scale))


def steps_recorded(monkeypatch: pytest.MonkeyPatch, epochs: int, **changed: Any) -> int | None:
    """The graphs of steps after some epochs, None without any; they give the bits of steps by themselves in silence."""
    model = changed.pop("model", two_noises())
    options: dict[str, Any] = {"config": replace(CONFIG, epochs=epochs), "model": model, "epochs": epochs}
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
    [
        {"terms": [SigmaReward(Times(0.1, Falls((0.5,), (30.0,))))]},
        {"noise": Drawn(Since(0.5))},
        {"noise": Elsewhere(Falls((0.5,), (2.0,)))},
    ],
    ids=["term", "noise", "stream"],
)
def test_other_numbers_are_another_graph(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
    assert steps_recorded(monkeypatch, 4, **changed) == 4


GAMMA = Times(1e-2, Harmonic(4, 2))
OF_UNITS: dict[str, Any] = {
    "model": of_units_in_digits(),
    "terms": [RootReward(GAMMA)],
    "constraints": [
        SigmaFloor(0.15),
        AlternatingReward(GAMMA, 0.1),
        GradientFactor(("*.sigma",), Falls((0.5,), (0.25,))),
        Decay(("fc.*", "*.sigma"), 1e-3),
        OperatorNorm("authors", beta=0.01, steps=2),
    ],
}


@pytest.mark.usefixtures("double")
def test_terms_and_constraints_of_units_are_parts_of_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_recorded(monkeypatch, 4, **OF_UNITS) == 4, "two before the noise begins, then one an epoch"


@pytest.mark.usefixtures("double")
def test_a_divergence_of_noisy_weights_is_a_part_of_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_units_in_digits(NoisyLinear(10, joint=True, spread="free", start=0.1))
    assert (
        steps_recorded(monkeypatch, 2, model=model, terms=[KLDivergence(Times(1e-3, Falls((0.5,), (2.0,))), 0.1)]) == 2
    )


@pytest.mark.usefixtures("double")
def test_a_bound_of_the_norm_is_computed_without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"model": of_units_in_digits(), "constraints": [OperatorNorm("bound")]}
    with pytest.warns(RuntimeWarning, match="without a CUDA graph, which is slower but right") as told:
        ours, records, _ = trained(monkeypatch, CONFIG, **changed)
    theirs, plain, _ = trained(monkeypatch, CONFIG, graph=False, **changed)
    assert contents(ours) == contents(theirs) and records == plain and len(told) == 1


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
