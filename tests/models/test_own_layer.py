"""A user's own layer and model: trained, saved, and read by another process that has her module."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from small_networks import convolutional

from npsnn import models, tables, train
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.layers import Conv2d, Flatten, Linear, MaxPool, PreactivationNoise, Role, Sequential
from npsnn.layers.base import Backward, Params, Shape, Want
from npsnn.layers.moments import Moments, Noise
from npsnn.models import Model
from npsnn.models.base import MODELS

MODULE = '''
from dataclasses import dataclass

import npsnn
from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, Residual, Sequential, layer
from npsnn.layers.moments import Moments
from npsnn.models.base import Model, model


{decorator}
@dataclass(frozen=True)
class Leaky:
    """x where x > 0 and slope x elsewhere, of a number; the variance by the slope at the mean."""

    slope: float = 0.1

    def init(self, rng, shape):
        return {{}}, shape

    def forward(self, params, m, noise):
        factor = self.slope + (1 - self.slope) * (m.mean > 0)
        factor = factor.astype(m.mean.dtype)
        var = None if m.var is None else m.var * factor**2

        def backward(g, want):
            return Moments(g.mean * factor, None if g.var is None else g.var * factor**2), {{}}

        return Moments(m.mean * factor, var), backward


@model("own")
def own(shape=(1, 28, 28), classes=10, sigma=0.3):
    body = Sequential((("conv", Conv2d(3, 3, padding=1)), ("noise", PreactivationNoise(2 * sigma)), ("leaky", Leaky())))
    layers = (
        ("conv", Conv2d(3, 5, stride=4)),
        ("noise", PreactivationNoise(sigma)),
        ("leaky", Leaky(0.2)),
        ("block", Residual(body, Sequential(()))),
        ("flatten", Flatten()),
        ("fc", Linear(classes, joint=True)),
    )
    return Model("own", Sequential(layers), shape, classes)
'''
HERE = """
import sys
import numpy as np
{first}
network = npsnn.Classifier.load(sys.argv[1])
np.save(sys.argv[2], network.predict(np.load(sys.argv[3])))
"""


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test enters is gone after it."""
    entries: list[dict[str, Any]] = [tables._TYPES, tables._TABLES, models.LAYERS._entries, MODELS._entries]
    before = [dict(entry) for entry in entries]
    monkeypatch.delitem(sys.modules, "own_module", raising=False)
    yield
    for entry, kept in zip(entries, before, strict=True):
        entry.clear()
        entry.update(kept)


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, decorator: str = "@layer") -> Any:
    """The module, imported from the folder."""
    (folder / "own_module.py").write_text(MODULE.format(decorator=decorator))
    monkeypatch.syspath_prepend(folder)
    return __import__("own_module")


def dataset() -> Dataset:
    split = Split(np.random.default_rng(0).integers(0, 256, (24, 1, 28, 28), np.uint8), np.arange(24) % 3)
    return Dataset("mine", split, split, 3, {})


def read_elsewhere(run: Path, folder: Path, first: str, x: np.ndarray) -> subprocess.CompletedProcess[str]:
    np.save(folder / "x.npy", x)
    command = [sys.executable, "-c", HERE.format(first=first), str(run), str(folder / "y.npy"), str(folder / "x.npy")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_her_layer_trains_is_saved_and_is_read_where_her_module_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, monkeypatch)
    config = train.Config(model="own", sigma=0.2, epochs=2, batch_size=8)
    records = list(train.fit(config, dataset(), tmp_path / "run", threads=1))
    assert records[-1].loss < records[0].loss
    network = Classifier.load(tmp_path / "run")
    assert list(network.sigmas.values()) == [0.2, 0.4]
    x = np.random.default_rng(1).random((3, 1, 28, 28), np.float32)
    told = read_elsewhere(tmp_path / "run", tmp_path, "import npsnn, own_module", x)
    assert told.returncode == 0, told.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), network.predict(x))
    told = read_elsewhere(tmp_path / "run", tmp_path, "import npsnn", x)
    last = told.stderr.splitlines()[-1]
    assert "unknown layer 'Leaky', expected one of" in last and "a plugin's by --plugin FILE.py" in last


def test_without_its_decorator_it_is_refused_before_training_and_before_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = written(tmp_path, monkeypatch, decorator="")
    mend = r"Leaky is in no table of every layer, and could not be saved: put @layer above it \(from npsnn"
    with pytest.raises(ValueError, match=mend):
        list(train.fit(train.Config(model="own"), dataset(), tmp_path / "run", threads=1))
    assert not (tmp_path / "run").exists()
    mine = module.own()
    with pytest.raises(ValueError, match=mend):
        mine.spec()
    network = Classifier(mine, mine.init(np.random.default_rng(0)), threads=1)
    with pytest.raises(ValueError, match=mend):
        _ = network.spec


@dataclass(frozen=True)
class Gated:
    """A container with a gate of its own: gate · body(x)."""

    body: "Sequential"
    start: float = 0.5
    roles: ClassVar[Mapping[str, Role]] = {"gate": Role.BIAS}

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        params, out = self.body.init(rng, shape)
        return {"body": params, "gate": np.array(self.start, np.float32)}, out

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        gate = params["gate"]
        y, back = self.body.forward(params["body"], m, noise.at("body"))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            below, grads = back(Moments(gate * g.mean), want)
            return below, {"body": grads, "gate": (y.mean * g.mean).sum()}

        return Moments(gate * y.mean, None if y.var is None else gate**2 * y.var), backward


def test_her_container_holds_noise() -> None:
    models.LAYERS.enter(Gated)
    body = Sequential((("conv", Conv2d(2, 3)), ("noise", PreactivationNoise(0.3)), ("pool", MaxPool(2))))
    layers = (("gated", Gated(body)), ("flatten", Flatten()), ("fc", Linear(3)))
    model = Model("gated", Sequential(layers), (1, 8, 8), 3)
    assert Model.from_spec(model.spec()) == model
    assert list(model.noise_layers) == ["gated.body.noise"] and not model.before_noise.layers
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    assert network.with_sigma(0.7).sigma == 0.7
    direct = dict(model.convolving("direct").network.layers)["gated"]
    assert direct == Gated(replace(body, layers=(("conv", Conv2d(2, 3, method="direct")), *body.layers[1:])))


@dataclass(frozen=True)
class LouderNoise(PreactivationNoise):
    """A noise layer of a user."""


def test_her_noise_layer_is_one() -> None:
    models.LAYERS.enter(LouderNoise)
    old = convolutional().model
    layers = tuple((n, LouderNoise(0.4) if n == "noise" else part) for n, part in old.network.layers)
    model = replace(old, network=Sequential(layers))
    assert Model.from_spec(model.spec()) == model
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    assert network.random and network.sigma == 0.4 and not network.with_sigma(0).random
    assert np.isfinite(network.moments(np.zeros((1, 2, 3, 4)))[1]).all()
