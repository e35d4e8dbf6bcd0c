"""Layers that begin with something of the training images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from entering import entered

from npsnn.data import Split
from npsnn.layers.affine import Linear
from npsnn.layers.base import Backward, Params, Shape, Want, layer
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import Moments, Noise
from npsnn.layers.params import Role, flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.train import CrossEntropy, Training
from npsnn.train.epochs import Trainer
from npsnn.workers.processes import Processes

TRAIN = Split(np.arange(64, dtype=np.uint8).reshape(16, 1, 2, 2), np.arange(16) % 4)


@dataclass(frozen=True)
class Pool:
    """Subtracts nothing, and keeps some training images."""

    size: int = 3
    fault: str = ""
    roles: ClassVar[Mapping[str, Role]] = {"images": Role.NOISE, "labels": Role.NOISE}

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        return {"images": np.zeros((self.size, *shape), np.float32), "labels": np.zeros(self.size, np.float32)}, shape

    def filled(self, params: Params, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Params:
        if self.fault == "writes":
            images[...] = 0
        chosen = rng.permutation(len(images))[: self.size]
        dtype = np.float64 if self.fault == "widens" else np.float32
        found = {"images": images[chosen].astype(dtype), "labels": labels[chosen].astype(np.float32)}
        return {"images": found["images"]} if self.fault == "drops" else found

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        zeros = {name: p * 0 for name, p in params.items()}
        return m, lambda g, want: (g, zeros if Want.PARAMS in want else {})


def model(fault: str = "") -> Model:
    body: Any = (("pool", Pool(2)),)
    layers: Any = (
        ("pool", Pool(3, fault)),
        ("block", Residual(Sequential(body), Sequential(()))),
        ("flatten", Flatten()),
        ("fc", Linear(4)),
    )
    return Model("pooled", Sequential(layers), (1, 2, 2), 4)


def begun(seed: int, start: Any = None, fault: str = "") -> dict[str, np.ndarray]:
    with entered(layer, Pool), Processes(1) as workers:
        training = Training(model(fault), loss=CrossEntropy(), seed=seed)
        return Trainer(training, TRAIN, TRAIN, workers, "cpu", start).initial().params


def test_a_pool_holds_training_images_with_their_labels() -> None:
    params = begun(0)
    assert params["pool.images"].shape == (3, 1, 2, 2) and params["block.body.pool.images"].shape == (2, 1, 2, 2)
    for path in ("pool", "block.body.pool"):
        for image, label in zip(params[f"{path}.images"], params[f"{path}.labels"], strict=True):
            (row,) = np.flatnonzero((TRAIN.images == image).all(axis=(1, 2, 3)))
            assert TRAIN.labels[row] == label
    assert (params["fc.w"] != 0).any()


def test_two_trainings_of_one_seed_have_the_same_pool_and_each_layer_another() -> None:
    one, again, other = begun(0), begun(0), begun(1)
    assert all((one[k] == again[k]).all() for k in one)
    assert (one["pool.images"] != other["pool.images"]).any()
    assert (one["pool.images"][:2] != one["block.body.pool.images"]).any(), "each layer has draws of its own"


def test_the_drawn_weights_are_those_of_a_model_without_pools() -> None:
    params, drawn = begun(3), flatten(model().init(np.random.default_rng(0)))
    assert params.keys() == drawn.keys()
    plain = Model("plain", Sequential((("flatten", Flatten()), ("fc", Linear(4)))), (1, 2, 2), 4)
    with Processes(1) as workers:
        trainer = Trainer(Training(plain, loss=CrossEntropy(), seed=3), TRAIN, TRAIN, workers, "cpu")
        np.testing.assert_array_equal(trainer.initial().params["fc.w"], params["fc.w"])


def test_a_network_to_begin_with_keeps_its_own_pool() -> None:
    given = begun(0)
    assert all((p == given[k]).all() for k, p in begun(5, given).items())


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("drops", TypeError, "pool: filled must keep names, shapes and dtypes, it changes labels"),
        ("widens", TypeError, "pool: filled must keep names, shapes and dtypes, it changes images"),
        ("writes", ValueError, "the layer Pool writes to the images, labels and parameters that it is given"),
    ],
)
def test_what_is_filled_otherwise_is_refused(fault: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        begun(0, fault=fault)
