"""Training with noise on weights, shared noise and dropout: draws, bits for any threads, files and graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphed import check_same
from small_networks import on_weights

from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.layers import Conv2d, Flatten, Linear, NoisyConv2d, NoisyLinear, Sequential
from npsnn.layers.params import flatten
from npsnn.models import Model
from npsnn.optim import SGD
from npsnn.runs.checkpoint import LAST
from npsnn.streams import Stream
from npsnn.train import Drawn, Role, Step, Training, fit
from npsnn.train.authors import OneDraw
from npsnn.train.config import Config
from npsnn.train.epochs import Trainer
from npsnn.train.losses import CrossEntropy
from npsnn.workers.processes import Processes

SHAPE = (2, 6, 6)
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (30, *SHAPE), np.uint8), np.arange(30) % 3
DATA = Dataset("few", Split(IMAGES, LABELS), Split(IMAGES[:6], LABELS[:6]), 3, {"train": "30"})


def training(model: Model | None = None, **options: Any) -> Training:
    model = model or on_weights(SHAPE, micro_batch=4, dropout=0.3)
    return Training(model, loss=CrossEntropy(), **{"noise": Drawn(), "epochs": 2, "batch_size": 10} | options)


def without_batchnorm(joint: bool = False) -> Model:
    layers: Any = (("conv", NoisyConv2d(3, 3)), ("flatten", Flatten()), ("fc", NoisyLinear(3, joint, spread="free")))
    return Model("pni", Sequential(layers), SHAPE, 3, 4)


def finished(training: Training, folder: Path, threads: int = 1, **others: Any) -> list[Any]:
    return list(fit(training, DATA, folder, threads=threads, **others))


@pytest.mark.parametrize("noise", [Drawn(), OneDraw()], ids=str)
def test_it_is_bit_identical_for_any_threads_and_read_back(noise: Any, tmp_path: Path) -> None:
    for threads in (1, 3):
        records = finished(training(noise=noise), tmp_path / str(threads), threads)
    assert (tmp_path / "1" / LAST).read_bytes() == (tmp_path / "3" / LAST).read_bytes()
    network = Classifier.load(tmp_path / "3")
    assert network.model == training().model and network.sigmas == records[-1].sigma
    assert network.sigmas.keys() == records[-1].sigma_gradient.keys() == records[-1].first_layer_ratio.keys()
    assert all(gradient != 0 for gradient in records[-1].sigma_gradient.values())


@pytest.mark.parametrize("dropout", [False, True])
def test_every_step_draws_its_own_weights(dropout: bool, tmp_path: Path) -> None:
    """A draw that did not see the first sample of a batch would be the same for a whole epoch."""
    alike = Split(np.repeat(IMAGES[:1], 30, axis=0), np.zeros(30, np.int64))
    data = Dataset("alike", alike, alike, 3, {"train": "30"})
    model = on_weights(SHAPE, dropout=0.3) if dropout else without_batchnorm()
    still = training(model, optimizer=SGD(1e-30), noise=Drawn())
    losses = [record.loss for record in fit(still, data, threads=1) if isinstance(record, Step)]
    assert len(losses) > 4 and len(set(losses)) == len(losses)


def test_the_parts_of_a_batch_have_a_draw_each_or_one() -> None:
    """With one draw for the batch its gradient is the same however it is cut."""
    found = {}
    for treatment in (Drawn(), OneDraw()):
        for size in (4, 30):
            model = Model(*(getattr(without_batchnorm(), n) for n in ("name", "network", "shape", "classes")), size)
            with Processes(1) as workers:
                trainer = Trainer(training(model, noise=treatment), DATA.train, DATA.test, workers, "cpu")
                params = {k: p.astype(np.float64) for k, p in trainer.initial().params.items()}
                found[type(treatment), size] = trainer.gradient(params, np.arange(20), Stream(0).from_sample(40))
    assert found[Drawn, 4].loss != pytest.approx(found[Drawn, 30].loss, rel=1e-6)
    one, whole = found[OneDraw, 4], found[OneDraw, 30]
    assert one.loss == pytest.approx(whole.loss, rel=1e-12)
    for name, g in (one.grads or {}).items():
        np.testing.assert_allclose(g, (whole.grads or {})[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_noise_of_weights_is_trained_alone_from_a_plain_network(tmp_path: Path) -> None:
    layers: Any = (("conv", Conv2d(3, 3)), ("flatten", Flatten()), ("fc", Linear(3)))
    plain = Model("plain", Sequential(layers), SHAPE, 3, 4)
    start = Classifier(plain, plain.init(np.random.default_rng(5)), threads=1)
    finished(training(without_batchnorm(), trains=Role.NOISE, epochs=1), tmp_path / "run", start=start)
    network = Classifier.load(tmp_path / "run")
    for name, p in flatten(start.params).items():
        np.testing.assert_array_equal(flatten(network.params)[name], to_host(p))
    assert network.sigmas["conv"] != 0.25 and network.sigmas["fc"] != 0.25


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["sampled", "exact"])
def test_graphs_give_the_bits_of_steps_by_themselves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    layers: Any = (("conv", NoisyConv2d(2, 5, stride=4)), ("flatten", Flatten()))
    last = (("fc", NoisyLinear(10, joint=True, spread="free")),)
    model = Model("pni", Sequential((*layers, *last)), (1, 28, 28), 10)
    config = Config(batch_size=6, propagation=name, loss="cross-entropy", learn_sigma=True)
    check_same(monkeypatch, config, model=model)
