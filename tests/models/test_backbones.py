"""The backbones of A2SNN: their sizes, gradients and moments, and models whose layers hold others."""

import json
from itertools import pairwise
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from on_device import same
from strategies import batch_last
from threadpoolctl import threadpool_limits

from npsnn import models
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Backward, Want
from npsnn.layers.batchnorm import BatchNorm, is_statistic
from npsnn.layers.containers import Residual, Sequential, leaves
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.models.backbones import BACKBONES, backbone
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_directional

NAMES = ("lenetpp", "lenetpp-authors", "resnet18", "resnet18-authors")
each_name = pytest.mark.parametrize("name", NAMES)
rng_0 = np.random.default_rng


def weights(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(prod(shape) for name, shape in shapes.items() if not is_statistic(name))


def shapes_of(model: Model) -> dict[str, tuple[int, ...]]:
    return {k: p.shape for k, p in flatten(model.init(rng_0(0))).items()}


def test_resnet18_is_the_network_of_its_docstring() -> None:
    model = models.build("resnet18", (3, 32, 32), 10, 0.0)
    shapes = shapes_of(model)
    # 11 173 962 is the usual ResNet-18 for CIFAR-10, whose classifier is on the 512 channels
    assert weights(shapes) == 11_173_962 - 5130 + (512 + 1) * 32 + (32 + 1) * 10
    assert shapes["conv1.w"] == (64, 3, 3, 3) and "conv1.b" not in shapes and shapes["bn1.running_var"] == (64,)
    assert shapes["block3.body.conv1.w"] == (128, 3, 3, 64) and shapes["block3.shortcut.conv1.w"] == (128, 1, 1, 64)
    assert "block4.shortcut.conv1.w" not in shapes and shapes["block8.body.conv2.w"] == (512, 3, 3, 512)
    found = dict(leaves(model.network))
    strides = [layer.stride for name, layer in found.items() if isinstance(layer, Conv2d) and "body" in name]
    assert strides == [1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1]
    layers = list(found.values())
    assert all(isinstance(after, BatchNorm) for layer, after in pairwise(layers) if is_conv(layer))
    assert sum(isinstance(layer, ReLU) for layer in layers) == 17 and not any(
        isinstance(layer, MaxPool) for layer in layers
    )
    assert model.network.couples_batch and model.micro_batch == 64


@pytest.mark.slow
@pytest.mark.parametrize(("pixels", "left"), [(32, 4), (28, 4), (33, 5), (8, 1), (1, 1)])
def test_resnet18_takes_the_mean_of_all_that_is_left(pixels: int, left: int) -> None:
    *convolutions, pool, _, _ = backbone("resnet18", (1, pixels, pixels))
    _, out = Sequential(tuple(convolutions)).init(rng_0(0), (1, pixels, pixels))
    assert out == (512, left, left) and pool == ("pool", MeanPool(left))


def test_resnet18_of_the_authors_has_the_stem_for_imagenet() -> None:
    model, plain = (models.build(name, (3, 32, 32), 10, 0.0) for name in ("resnet18-authors", "resnet18"))
    shapes = shapes_of(model)
    assert shapes["conv1.w"] == (64, 7, 7, 3) and "conv1.b" not in shapes
    assert shapes.keys() == shapes_of(plain).keys()
    assert {k for k, shape in shapes_of(plain).items() if shapes[k] != shape} == {"conv1.w"}
    layers = dict(model.network.layers)
    assert layers["conv1"] == Conv2d(64, 7, 2, padding=3, bias=False)
    assert layers["maxpool"] == OverlappingMaxPool(3, 2, 1)
    names = [name for name, _ in model.network.layers]
    assert names[:5] == ["conv1", "bn1", "relu1", "maxpool", "block1"]
    assert names[-4:] == ["flatten", "bottleneck", "relu10", "classifier"]
    assert {k: v for k, v in layers.items() if "block" in k} == {k: v for k, v in plain.network.layers if "block" in k}
    assert models.resnet18(variant="authors") == model and models.resnet18() == plain
    with pytest.raises(ValueError, match="variant must be one of original, authors, got 'imagenet'"):
        models.resnet18(variant="imagenet")


def sizes(model: Model, pixels: int) -> dict[str, int]:
    """The height of the image after each layer that leaves one."""
    x = batch_last(rng_0(1).random((1, 3, pixels, pixels))).astype(np.float32)
    m, found, params = Moments(x), {}, model.init(rng_0(0))
    for name, layer in model.network.layers:
        m, _ = layer.forward(params.get(name, {}), m, EXPECTATION)
        if m.mean.ndim == 4:
            found[name] = len(m.mean)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixels", "wanted"), [(32, [16, 8, 8, 4, 2, 1, 1]), (33, [17, 9, 9, 5, 3, 2, 1]), (64, [32, 16, 16, 8, 4, 2, 1])]
)
def test_the_images_in_resnet18_of_the_authors(pixels: int, wanted: list[int]) -> None:
    found = sizes(models.build("resnet18-authors", (3, pixels, pixels), 10, 0.0), pixels)
    places = ("conv1", "maxpool", "block2", "block4", "block6", "block8", "pool")
    assert [found[name] for name in places] == wanted


def test_noise_is_added_after_the_relu_on_the_features() -> None:
    model = models.build("resnet18-authors", (3, 32, 32), 10, 1.0, "features", "full", 16)
    *_, before, relu, noise, last = model.network.layers
    assert before == ("bottleneck", Linear(16)) and relu == ("relu10", ReLU())
    assert noise[0] == "noise" and last == ("classifier", Linear(10, joint=True))
    plain = models.build("resnet18", (3, 32, 32), 10, 1.0, "features", "full", 16)
    assert [name for name, _ in plain.network.layers][-3:] == ["bottleneck", "noise", "classifier"]

    # another layer than a ReLU is none of the bottleneck's
    other = (("flatten", Flatten()), ("bottleneck", Linear(4)), ("prelu", PReLU()), ("last", Linear(3)))
    with pytest.raises(ValueError, match="different names"):
        models.with_feature_noise(Model("own", Sequential(other), (1, 1, 5), 3), 1.0, bottleneck=6)


def is_conv(layer: object) -> bool:
    return isinstance(layer, Conv2d)


@pytest.mark.parametrize(("name", "flat"), [("lenetpp", 128 * 3 * 3), ("lenetpp-authors", 128 * 4 * 4)])
def test_lenetpp_is_the_network_of_its_docstring(name: str, flat: int) -> None:
    model = models.build(name, (1, 28, 28), 10, 0.0)
    shapes = shapes_of(model)
    pairs = zip((1, 32, 32, 64, 64, 128), (32, 32, 64, 64, 128, 128), strict=True)
    convolutions = sum((25 * before + 1) * after + after for before, after in pairs)
    assert weights(shapes) == convolutions + (flat + 1) * 32 + (32 + 1) * 10
    assert shapes["bottleneck.w"] == (32, flat) and shapes["prelu6.slope"] == (128,)
    kinds = [type(layer) for _, layer in model.network.layers]
    pair = [Conv2d, PReLU] * 2
    assert kinds[:15] == [*pair, MaxPool] * 3 if name == "lenetpp" else kinds[:12] == pair * 3
    assert not model.network.couples_batch and model.micro_batch == 64


def test_the_variants_of_lenetpp() -> None:
    assert models.lenetpp() == models.build("lenetpp", (1, 28, 28), 10, 0.0)
    assert models.lenetpp(variant="authors") == models.build("lenetpp-authors", (1, 28, 28), 10, 0.0)
    with pytest.raises(ValueError, match="variant must be one of original, authors, got 'printed'"):
        models.lenetpp(variant="printed")


@pytest.mark.slow
@each_name
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 33, 33)])
def test_features_come_before_the_classifier(name: str, shape: tuple[int, ...]) -> None:
    features = backbone(name, shape, 5)
    rectified = name == "resnet18-authors"
    assert features[-2 if rectified else -1] == ("bottleneck", Linear(5))
    params, out = Sequential(features).init(rng_0(0), shape)
    assert out == (5,)
    x = batch_last(rng_0(1).random((2, *shape))).astype(np.float32)
    m, _ = Sequential(features).forward(params, Moments(x), EXPECTATION)
    assert m.mean.shape == (5, 2) and m.var is None and (m.mean < 0).any() != rectified
    model = models.build(name, shape, 7, 0.0)
    own = backbone(name, shape)
    assert (
        model.network.layers[:-1] == own
        and own[:-2] == features[:-2]
        and model.network.layers[-1]
        == (
            "classifier",
            Linear(7, joint=True),
        )
    )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("resnet18", (3, 32, 28), "resnet18 needs square images, got 32 x 28"),
        ("resnet18", (784,), "resnet18 needs an image"),
        ("resnet18-authors", (3, 32, 28), "resnet18-authors needs square images, got 32 x 28"),
        ("lenetpp", (1, 7, 28), "MaxPool.*at least 2 pixels"),
        ("lenetpp-authors", (1, 24, 28), "Conv2d.*at least 5 pixels, got 4 x 8"),
        ("lenetpp", (784,), "needs an image"),
        (
            "vgg",
            (3, 32, 32),
            "unknown backbone 'vgg', expected one of lenetpp, lenetpp-authors, resnet18, resnet18-authors",
        ),
    ],
)
def test_images_that_do_not_fit(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sequential(backbone(name, shape, 32)).init(rng_0(0), shape)
    assert set(NAMES) == set(BACKBONES) <= models.MODELS.keys()


def double_precision(model: Model, rng: np.random.Generator) -> Arrays:
    """Parameters near the initial ones, in float64 and none at its first value."""
    flat = {k: p.astype(np.float64) for k, p in flatten(model.init(rng)).items()}
    return {k: p + 0.1 * rng.random(p.shape) if p.ndim == 1 else p for k, p in flat.items()}


OTHERS = RULES.keys() - {"exact"}
CASES = [
    pytest.param("resnet18", (3, 16, 16), Expectation(training=WHOLE), False, marks=pytest.mark.slow),
    pytest.param("resnet18", (3, 16, 16), EXPECTATION, False, marks=pytest.mark.slow),
    pytest.param("resnet18", (3, 16, 16), Propagated(), True, marks=pytest.mark.slow),
    pytest.param("resnet18-authors", (3, 20, 20), Expectation(training=WHOLE), False, marks=pytest.mark.slow),
    pytest.param("resnet18-authors", (3, 20, 20), Propagated(), True, marks=pytest.mark.slow),
    ("lenetpp", (1, 12, 12), Propagated(), True),
    *[
        pytest.param("lenetpp", (1, 12, 12), Propagated(RULES[rule]), True, marks=pytest.mark.slow)
        for rule in sorted(OTHERS)
    ],
    ("lenetpp", (1, 12, 12), Sampled(Stream(0)), False),
    pytest.param("lenetpp-authors", (1, 25, 25), Propagated(), True, marks=pytest.mark.slow),
    ("lenetpp-authors", (1, 25, 25), EXPECTATION, False),
]
MOVED = {
    "resnet18": ("conv1.w", "bn1.w", "block1.body.bn2.b", "block3.shortcut.conv1.w", "block7.body.bn1.w"),
    "lenetpp": ("conv2.b", "prelu1.slope", "conv4.w", "prelu6.slope", "classifier.w"),
}
MOVED["lenetpp-authors"] = MOVED["lenetpp"]
MOVED["resnet18-authors"] = MOVED["resnet18"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape", "noise", "with_var"), CASES)
def test_gradients(name: str, shape: tuple[int, ...], noise: Noise, with_var: bool) -> None:
    model, rng = models.build(name, shape, 4, 0.0), rng_0(1)
    flat = double_precision(model, rng)
    x = batch_last(rng.random((3, *shape)))
    inputs = {"x": x} | ({"var": 0.01 + 0.1 * rng.random(x.shape)} if with_var else {})
    arrays = inputs | {k: flat[k] for k in MOVED[name]}

    def forward(a: Arrays) -> tuple[Moments, Backward]:
        params = unflatten(flat | {k: a[k] for k in MOVED[name]})
        return model.network.forward(params, Moments(a["x"], a.get("var")), noise)

    m, back = forward(arrays)
    gm, gv = rng.normal(size=m.mean.shape), rng.normal(size=m.var.shape) if with_var else None
    g, grads = back(Moments(gm, gv), Want.BOTH)
    found = flatten(grads)
    training = noise == Expectation(training=WHOLE)
    assert found.keys() == {k for k in flat if training or not is_statistic(k)}

    def f(a: Arrays) -> float:
        out, _ = forward(a)
        return (out.mean * gm).sum() + ((out.var * gv).sum() if with_var else 0)

    gradients = {"x": g.mean} | ({"var": g.var} if with_var else {}) | {k: found[k] for k in MOVED[name]}
    with threadpool_limits(1, "blas"):  # of such small products, threads that wait for one another take longer
        check_directional(f, arrays, gradients, rng, directions=1)


def nested() -> Model:
    body = Sequential((("conv", Conv2d(2, 3, padding=1, bias=False)), ("bn", BatchNorm(0.2, 1e-4))))
    inner = Residual(Sequential((("prelu", PReLU()),)), Sequential(()))
    outer = Residual(Sequential((*body.layers, ("inner", inner))), Sequential((("conv", Conv2d(2, 1)),)))
    layers = (("block", outer), *backbone("lenetpp", (2, 8, 8), 3)[-2:])
    return Model("nested", Sequential(layers), (2, 8, 8), 3)


@pytest.mark.parametrize("noise", [Expectation(training=WHOLE), EXPECTATION, *map(Propagated, RULES.values())])
def test_a_gpu_computes_the_same(cupy: ModuleType, noise: Noise) -> None:
    model, rng = nested(), rng_0(3)
    flat = double_precision(model, rng)
    x = batch_last(rng.random((3, *model.shape)))
    var = 0.1 + x if isinstance(noise, Propagated) else None
    m, back = model.network.forward(unflatten(flat), Moments(x, var), noise)
    far, far_back = model.network.forward(
        unflatten({k: cupy.asarray(p) for k, p in flat.items()}),
        Moments(cupy.asarray(x), None if var is None else cupy.asarray(var)),
        noise,
    )
    same((far, far_back(far, Want.BOTH)), (m, back(m, Want.BOTH)))


@pytest.mark.parametrize("model", [nested(), *(models.build(name, (3, 32, 32), 10, 0.0) for name in NAMES)])
def test_specification_survives_json(model: Model) -> None:
    again = Model.from_spec(json.loads(json.dumps(model.spec())))
    assert again == model
    model.check(flatten(again.init(rng_0(0))))


def test_a_specification_without_the_newer_options_is_read() -> None:
    spec = models.lenet5().spec()
    for entry in spec["layers"]:
        entry.pop("bias", None)
    assert Model.from_spec(spec) == models.lenet5()


def block(**changes: Any) -> dict[str, Any]:
    spec = nested().spec()
    entry = {k: v for k, v in (spec["layers"][0] | changes).items() if v is not None}
    return spec | {"layers": [entry, *spec["layers"][1:]]}


def buried(depth: int) -> list[Any]:
    layers: list[Any] = []
    for _ in range(depth):
        layers = [{"name": "block", "type": "Residual", "body": layers, "shortcut": []}]
    return layers


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (block(body=None), "not a model specification.*body"),
        (block(shortcut=5), "not a model specification.*layers must be a list, got 5"),
        (block(shortcut={}), "layers must be a list, got {}"),
        (block(shortcut=""), "layers must be a list, got ''"),
        (block(body=[5]), "not a model specification"),
        (block(body=[{"name": "a", "type": "Dropconnect"}]), "unknown layer 'Dropconnect'"),
        (block(body=[{"name": "a", "type": ["ReLU"]}]), r"unknown layer \['ReLU'\]"),
        (block(body=[{"name": "a.b", "type": "ReLU"}]), "different names, without a dot, got a.b"),
        (block(body=[{"name": "a", "type": "BatchNorm", "momentum": 2.0}]), r"momentum must be in \[0, 1\]"),
        (block(body=[{"name": "a", "type": "BatchNorm", "running_var": 2.0}]), "not a model specification"),
        (block(body=[{"name": "a", "type": "PReLU", "slope": 2.0}]), "not a model specification"),
        (block(activation="ReLU"), "not a model specification.*activation"),
        (nested().spec() | {"layers": buried(50_000)}, "not a model specification"),
        (nested().spec() | {"layers": {}}, "layers must be a list"),
        (block(body=[{"name": "n", "type": "FeatureNoise", "sigma": 1.0}]), "feature noise or a joint layer must not"),
        (block(body=[{"name": "n", "type": "Linear", "features": 3, "joint": True}]), "must not stand inside another"),
    ],
)
def test_a_nested_specification_that_cannot_be_read(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model.from_spec(spec)


def test_noise_stands_outside_of_blocks() -> None:
    net = nested().network
    quiet = Model("quiet", Sequential((("noise", PreactivationNoise(0.5)), *net.layers)), (2, 8, 8), 3)
    assert quiet.noise_layer == "noise"
    with pytest.raises(ValueError, match="nested has no noise layer"):
        _ = nested().noise_layer
