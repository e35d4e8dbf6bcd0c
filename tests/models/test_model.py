"""A model as a value: its specification, the forms of its parameters, and what is refused."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from npsnn import models
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.params import flatten
from npsnn.layers.pool import MaxPool, MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.models import Model, cnn5, lenet5

EVERYTHING = Model(
    "everything",
    Sequential(
        (
            ("normalise", Normalise((0.5,), (0.25,))),
            ("conv", Conv2d(2, 3, stride=2, padding=1)),
            ("noise", PreactivationNoise(0.25)),
            ("norm", BatchNorm(momentum=0.2)),
            ("block", Residual(Sequential((("prelu", PReLU()), ("noise", PreactivationNoise(0.1)))), Sequential(()))),
            ("inner", Sequential((("more", PreactivationNoise(0.1)), ("empty", Sequential(()))))),
            ("pool", MaxPool(2)),
            ("mean", MeanPool(2)),
            ("relu", ReLU()),
            ("flatten", Flatten()),
            ("features", FeatureNoise(0.5)),
            ("fc", Linear(4, joint=True)),
        )
    ),
    (1, 12, 12),
    4,
    micro_batch=5,
)


@pytest.mark.parametrize("model", [EVERYTHING, lenet5(), cnn5(sigma=0.8), cnn5((1, 28, 28), 7)], ids=lambda m: m.name)
def test_specification_survives_json(model: Model) -> None:
    assert Model.from_spec(json.loads(json.dumps(model.spec()))) == model


def broken(**changes: Any) -> dict[str, Any]:
    spec = EVERYTHING.spec() | changes
    return {k: v for k, v in spec.items() if v is not None}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            broken(layers=[{"name": "a", "type": "Maxout"}]),
            "unknown layer 'Maxout', expected one of BatchNorm, ",
        ),
        (broken(layers=[{"name": "a", "type": "Conv2d", "channels": 3}]), "not a model specification.*kernel"),
        (broken(layers=[{"name": "a", "type": "ReLU", "slope": 3}]), "not a model specification.*slope"),
        (broken(layers=[{"type": "ReLU"}]), "not a model specification.*name"),
        (broken(layers=[{"name": "ReLU"}]), "not a model specification.*type"),
        (broken(layers=3), "not a model specification"),
        (broken(classes=None), "not a model specification.*classes"),
        (broken(layers=[{"name": "n", "type": "PreactivationNoise", "sigma": -1}]), "sigma must be >= 0"),
        ([], "not a model specification"),
    ],
)
def test_a_specification_that_cannot_be_read(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model.from_spec(spec)


def test_check_accepts_the_models_own_parameters_in_either_precision() -> None:
    EVERYTHING.check(flatten(EVERYTHING.init(np.random.default_rng(1))))
    EVERYTHING.check({k: p.astype(np.float64) for k, p in flatten(EVERYTHING.init(np.random.default_rng(1))).items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: flatten(lenet5().init(np.random.default_rng(0))),
            "another model's, not everything's: they differ in .*conv1.b",
        ),
        (lambda p: {k: v for k, v in p.items() if k != "fc.b"}, r"they differ in fc\.b"),
        (lambda p: p | {"fc.c": p["fc.b"]}, r"they differ in fc\.c"),
        (lambda p: p | {"fc.b": p["fc.b"][:2]}, r"fc\.b must be float \(4,\), got float32 \(2,\)"),
        (lambda p: p | {"fc.b": p["fc.b"].astype(int)}, r"fc\.b must be float \(4,\), got int64"),
        (lambda p: p | {"conv.w": p["conv.w"] * np.nan}, r"conv\.w holds a NaN"),
        (lambda p: p | {"noise.sigma": np.array(np.inf)}, r"noise\.sigma holds a NaN or an inf"),
        (lambda p: p | {"norm.running_var": -p["norm.running_var"]}, r"norm\.running_var holds a negative variance"),
    ],
)
def test_check_says_what_is_wrong(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EVERYTHING.check(change(flatten(EVERYTHING.init(np.random.default_rng(0)))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": ["a", "b", "c"]}, "shape must be"),
        ({"shape": [1, 28]}, "shape must be"),
        ({"shape": [1.5, 28, 28]}, "shape must be"),
        ({"shape": [1, 10**6, 28]}, "at most"),
        ({"shape": 5}, "not a model specification"),
        ({"classes": True}, "classes >= 2"),
        ({"micro_batch": 0}, "micro_batch >= 1"),
        ({"layers": 5}, "not a model specification"),
        ({"layers": [5]}, "not a model specification"),
        (
            {"layers": [{"name": "a", "type": "Conv2d", "channels": 1.5, "kernel": 3}]},
            "channels must be of the type int",
        ),
        ({"layers": [{"name": "a", "type": "MaxPool", "size": None}]}, "size must be of the type int"),
        ({"layers": [{"name": "a", "type": "Linear", "features": 3, "joint": "x"}]}, "joint must be of the type bool"),
        ({"layers": [{"name": "a", "type": "PreactivationNoise", "sigma": "0.6"}]}, "sigma must be of the type float"),
        ({"layers": [{"name": "a", "type": "PreactivationNoise", "sigma": 1e39}]}, "sigma must be at most 1e"),
    ],
)
def test_a_specification_of_other_types_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model.from_spec(lenet5().spec() | change)


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("noise", ["features", "own"])
def test_forms_are_those_of_the_parameters_and_take_no_memory(name: str, noise: str) -> None:
    shape = (3, 32, 32)
    sigma = 0.5 if name in ("lenet5", "cnn5") else 0.0
    model = models.MODELS[name](shape, 10, sigma)
    if noise == "features":
        model = models.with_feature_noise(model, 0.5)
    tracemalloc.start()
    forms = model.forms()
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    params = flatten(model.init(np.random.default_rng(0)))
    assert {k: (p.shape, p.dtype) for k, p in forms.items()} == {k: (p.shape, p.dtype) for k, p in params.items()}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"type": "Linear", "features": 10**9}, "a network must have at most 67,108,864 parameters"),
        ({"type": "Linear", "features": 10**300}, "a network must have at most 67,108,864 parameters"),
        ({"type": "Conv2d", "channels": 10**6, "kernel": 1}, "at most 67,108,864 numbers a micro-batch, huge makes 64"),
        ({"type": "Conv2d", "channels": 1, "kernel": 1, "padding": 10**6}, "at most 67,108,864 numbers a micro-batch"),
    ],
)
def test_a_specification_of_a_network_that_needs_gigabytes_is_refused(layer: dict[str, Any], message: str) -> None:
    layers = lenet5().spec()["layers"]
    where = 10 if layer["type"] == "Linear" else 0
    spec = lenet5().spec() | {"layers": [*layers[:where], {"name": "huge"} | layer, *layers[where:]]}
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        Model.from_spec(spec)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_network_that_is_too_large_is_not_drawn() -> None:
    model = models.with_feature_noise(lenet5(), 0.5, bottleneck=10_000)
    with pytest.raises(ValueError, match="at most 67,108,864 parameters"):
        model.init(np.random.default_rng(0))


def test_a_network_must_end_in_its_classes() -> None:
    with pytest.raises(ValueError, match=r"must end in 5 logits, got the output shape \(4,\)"):
        replace(EVERYTHING, classes=5).init(np.random.default_rng(0))


def test_the_name_of_before_is_the_same_module() -> None:
    """Plugins written by the documents of before import from npsnn.models.model."""
    before = import_module("npsnn.models.model")
    assert before.Model is models.Model and before.model == models.model
