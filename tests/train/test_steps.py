"""Steps on a GPU, the double: each is one graph, which gives the bits of a step by itself."""

import re
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cupy_double import synchronisations
from graphed import BATCH, check_same, contents, split, trained
from small_networks import normalised

from npsnn.attacks import BIM, FGSM, PGD, Attack, ClosedForm, EoT, Inner
from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.gpu import graphs
from npsnn.models import Model, lenet5
from npsnn.optim import Arrays
from npsnn.runs.checkpoint import BEST, LAST
from npsnn.streams import Stream
from npsnn.train import fit, resume
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, State, Trainer
from npsnn.train.losses import BPFC, RLFLAT, TRADES, Adversarial, CleanAndAttacked, CrossEntropy, Total
from npsnn.train.training import Training
from npsnn.workers.processes import Processes

SOFT = Inner(0.1, steps=2, start="gauss", labels="soft")


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    graphs._told.clear()
    yield
    graphs._told.clear()


def after(trainer: Trainer, state: State) -> State:
    """The state after one more epoch."""
    with trainer.workers:
        *_, (found, _) = trainer.epoch(state)  # type: ignore[misc]
    return found


CONFIGS = {
    "plain": {"noise": "none", "loss": "cross-entropy"},
    "laplace": {},
    "exact": {"propagation": "exact"},
    "learned": {"learn_sigma": True, "sigma_reward": 0.1, "first_layer_norm": "l1"},
    "adam": {"weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.01, "momentum": 0.5, "schedule": "cosine"},
    "sgd in steps": {"optimizer": "sgd", "momentum": 0.0, "schedule": "step"},
    "sampled": {"propagation": "sampled", "loss": "cross-entropy", "learn_sigma": True},
    "a2snn": {
        "noise": "features",
        "propagation": "sampled",
        "learn_sigma": True,
        "max_entropy": 0.01,
        "alignment": 0.01,
        "unit_classes": True,
    },
    "a2snn by pairs": {"noise": "features", "learn_sigma": True, "alignment": 0.01, "pairwise": True},
}


@dataclass(frozen=True)
class OnTheHost(CrossEntropy):
    """A loss that looks at its images with NumPy."""

    def gradient(self, network: Classifier, images: np.ndarray, *others: Any) -> Total:
        return super().gradient(network, np.minimum(images, 200), *others)


@dataclass(frozen=True)
class Failing(CrossEntropy):
    """A loss that never has a value."""

    def gradient(self, *arguments: Any) -> Total:
        raise ValueError("noise-aware has no answer")


@dataclass(frozen=True)
class Doubling:
    """Steps along the gradient, by a rate that makes float64 of what is not its own dtype."""

    lr: float = 1e-3

    def init(self, params: Arrays) -> Arrays:
        return {}

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int, decayed: Any = frozenset()
    ) -> tuple[Arrays, Arrays]:
        return params | {k: params[k] - lr * g for k, g in grads.items()}, state


@dataclass(frozen=True)
class Deciding(Doubling):
    """A rule that looks at the number of its step."""

    def update(
        self, params: Arrays, grads: Arrays, state: Arrays, lr: float, step: int, decayed: Any = frozenset()
    ) -> tuple[Arrays, Arrays]:
        return super().update(params, grads, state, 0.1 if int(step) == 2 else 0.01, 1)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS if name not in ("plain", "sampled")]


@pytest.mark.parametrize("name", ["plain", "sampled", *SLOW])
@pytest.mark.usefixtures("double")
def test_graphs_give_the_bits_of_steps_by_themselves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    check_same(monkeypatch, Config(batch_size=BATCH, epochs=3, **CONFIGS[name]), epochs=3)


@pytest.mark.usefixtures("double")
def test_averages_of_batches_and_augmented_images(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(batch_size=BATCH, noise="none", loss="cross-entropy", augmentation="crop-flip")
    check_same(monkeypatch, config, model=normalised(micro_batch=4))


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_a_batch_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    check_same(monkeypatch, Config(batch_size=BATCH, micro_batch=4, augmentation="crop-flip"))


@pytest.mark.usefixtures("double")
def test_a_gpu_has_the_micro_batches_that_were_asked_for() -> None:
    """A network whose layers couple a batch has the whole batch."""
    for model, micro_batch, sizes in ((lenet5(), None, [9]), (lenet5(), 4, [4, 4, 1]), (normalised(64), 4, [9])):
        training = Training(model, micro_batch=micro_batch)
        trainer = Trainer(training, split(2), split(2), Processes(1), "cuda")
        parts = trainer.parts(9, trainer.initial().params)
        assert [part.stop - part.start for part in parts] == sizes


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "attack",
    [
        BIM(0.1, steps=2, source=EoT(1)),
        PGD(0.1, steps=1, source=EoT(1)),
        FGSM(0.1, source=ClosedForm(propagation="laplace")),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_adversarial_training(monkeypatch: pytest.MonkeyPatch, attack: Attack) -> None:
    """The attack is a part of the step's graph, with its starts and its draws of the noise."""
    check_same(monkeypatch, Config(batch_size=BATCH), loss=Adversarial(CrossEntropy(), attack))


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "loss",
    [
        TRADES(1.0, SOFT),
        CleanAndAttacked(replace(SOFT, labels="predicted")),
        BPFC(5),
        RLFLAT(Inner(0.1, steps=1)),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_of_several_views(monkeypatch: pytest.MonkeyPatch, loss: Any) -> None:
    """Cuts and quantisation are parts of the step's graph, and the frozen answers of the attack."""
    check_same(monkeypatch, Config(batch_size=BATCH, propagation="sampled"), loss=loss)


PARTS = Config(
    batch_size=BATCH,
    micro_batch=2,
    noise="features",
    propagation="sampled",
    learn_sigma=True,
    loss="cross-entropy",
    augmentation="crop-flip",
)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("config", "model"), [(PARTS, None), (Config(batch_size=BATCH, noise="none"), normalised(4))])
def test_a_rank_has_a_graph_for_each_part_and_for_the_update(
    monkeypatch: pytest.MonkeyPatch, config: Config, model: Model | None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, records, trainer = trained(monkeypatch, config, model=model, ranks=True)
    theirs, plain, _ = trained(monkeypatch, config, model=model, graph=False)
    assert contents(ours) == contents(theirs) and records == plain
    assert trainer.steps.graphs is not None
    names = [key[0][0] for key in trainer.steps.graphs._graphs]  # type: ignore[index]
    assert names.count("update") == 2 and names.count("part") == (1 if model is None else 2) and "step" not in names


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("ranks", [False, True])
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"loss": OnTheHost()}, "CUDA graphs, which is slower but right: TypeError: "),
        (
            {"optimizer": Doubling()},
            "CUDA graphs, which is slower but right: TypeError: a step changes .* dtype",
        ),
        ({"optimizer": Deciding()}, "a CUDA graph, which is slower but right: RuntimeError: .* transfer to the host"),
    ],
    ids=["loss on the host", "optimizer with its dtype", "optimizer in numbers"],
)
def test_what_needs_the_host_is_trained_without_graphs(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], reason: str, ranks: bool
) -> None:
    config = Config(batch_size=BATCH)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ours, records, _ = trained(monkeypatch, config, ranks=ranks, **changed)
    assert [w.category for w in told] == [RuntimeWarning]
    assert re.search(f"without {reason}", str(told[0].message))
    theirs, plain, _ = trained(monkeypatch, config, graph=False, **changed)
    assert contents(ours) == contents(theirs) and records == plain


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("ranks", [False, True])
def test_a_loss_that_fails_fails(monkeypatch: pytest.MonkeyPatch, ranks: bool) -> None:
    """The error is the loss's own, and nothing is said of graphs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="noise-aware has no answer"):
            trained(monkeypatch, Config(batch_size=BATCH), ranks=ranks, loss=Failing())


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("options", [{}, {"propagation": "exact", "learn_sigma": True}], ids=str)
def test_the_host_waits_once_for_a_step(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    state, _, trainer = trained(monkeypatch, Config(batch_size=BATCH, **options), epochs=1)
    trainer.steps.begin(state)
    chosen, draws = np.arange(BATCH), Stream(0).at("training", 2)
    with synchronisations() as waits:
        trainer.steps.step(chosen, draws, 1e-3)
    assert waits == {"get": 1}


@pytest.mark.usefixtures("double")
def test_a_state_that_left_the_trainer_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(batch_size=BATCH, learn_sigma=True)
    _, _, trainer = trained(monkeypatch, config, epochs=0)
    states, seen = [trainer.initial()], []
    for _ in range(3):
        seen.append(contents(states[-1]))
        states.append(after(trainer, states[-1]))
    assert [contents(state) for state in states[:3]] == seen and len({s["params/fc1.w"] for s in seen}) == 3
    again = after(trainer, states[0])
    assert contents(again) == contents(states[1]), "the same trainer from an earlier state"


@pytest.mark.usefixtures("double")
def test_a_long_training_keeps_no_more_graphs_and_ends_with_its_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    state, _, trainer = trained(monkeypatch, Config(batch_size=BATCH), epochs=2)
    found = trainer.steps.graphs
    assert found is not None
    before = set(found._graphs)
    for _ in range(2):
        state = after(trainer, state)
    assert set(found._graphs) == before and len(before) == 5, "two shapes of steps, two validations, the ratios"
    alive = weakref.ref(found)
    del found, trainer
    assert alive() is None


@pytest.mark.usefixtures("double")
def test_graphs_that_are_switched_off_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(batch_size=BATCH, noise="none", loss="cross-entropy")
    ours, records, _ = trained(monkeypatch, config)
    theirs, plain, trainer = trained(monkeypatch, config, variable="0")
    assert contents(ours) == contents(theirs) and records == plain
    assert trainer.steps.graphs is not None and not trainer.steps.graphs._graphs


@pytest.mark.usefixtures("double")
def test_a_resumed_run_goes_on_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSNN_GRAPH", "1")
    data = Dataset("few", split(24), split(4), 10, {})
    config = Config(batch_size=BATCH, epochs=2, learn_sigma=True, optimizer="sgd")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for _ in fit(config, data, whole, device="cuda"):
        pass
    for record in fit(config, data, parts, device="cuda"):
        if isinstance(record, Epoch):
            break
    for _ in resume(parts, data, device="cuda"):
        pass
    for name in (LAST, BEST):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
