"""Named networks, as values: `replace(lenet5(), ...)` makes another."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from npsnn.affine import Conv2d, Linear, MeanPool, Normalise
from npsnn.backbones import backbone
from npsnn.layers import Flatten, Forms, Layer, MaxPool, Params, PReLU, ReLU, Shape
from npsnn.network import Residual, Sequential, flatten, leaves, mapped
from npsnn.noise import NOISE_LAYERS, FeatureNoise, NoiseLayer, PreactivationNoise
from npsnn.normalisation import BatchNorm
from npsnn.streams import WHOLE
from npsnn.validate import as_int, check_sigma

LAYERS: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        BatchNorm,
        Conv2d,
        FeatureNoise,
        Flatten,
        Linear,
        MaxPool,
        MeanPool,
        Normalise,
        PReLU,
        PreactivationNoise,
        ReLU,
        Residual,
    )
}

LARGEST_IMAGE = 4096


@dataclass(frozen=True, repr=False)
class Model:
    """A network and the images it is made for.

    shape: one image, (C, H, W). micro_batch: the examples computed at a time, which fixes the order of all sums.
    """

    name: str
    network: Sequential
    shape: Shape
    classes: int
    micro_batch: int = 64

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a string, got {self.name!r}")
        for name in ("classes", "micro_batch"):
            object.__setattr__(self, name, as_int(getattr(self, name)))
        object.__setattr__(self, "shape", tuple(as_int(n) for n in self.shape))
        numbers = (*self.shape, self.classes, self.micro_batch)
        if len(self.shape) != 3 or not all(type(n) is int for n in numbers) or min(*numbers, self.classes - 1) < 1:
            what = f"shape {self.shape}, classes {self.classes}, micro_batch {self.micro_batch}"
            raise ValueError(f"shape must be (C, H, W), classes >= 2 and micro_batch >= 1, got {what}")
        if max(self.shape) > LARGEST_IMAGE:
            raise ValueError(f"shape must be at most {LARGEST_IMAGE} in each direction, got {self.shape}")
        layers = [layer for _, layer in self.network.layers]
        if sum(isinstance(layer, NOISE_LAYERS) for layer in layers) > 1:
            raise ValueError(f"{self.name}: there must be at most one noise layer")
        if reserved := [
            name for name, layer in self.network.layers if isinstance(layer, NOISE_LAYERS) and name in WHOLE
        ]:
            raise ValueError(f"{self.name}: a noise layer must have a name of its own, got {reserved[0]}")
        following = [*layers[1:], None]
        noisy = [after for layer, after in zip(layers, following, strict=True) if isinstance(layer, FeatureNoise)]
        if any(not isinstance(after, Linear) or not after.joint for after in noisy):
            raise ValueError(f"{self.name}: after feature noise comes the last layer, Linear(classes, joint=True)")
        if any(isinstance(layer, Linear) and layer.joint for layer in layers[:-1]):
            raise ValueError(f"{self.name}: only the last layer may be joint, nothing takes a covariance matrix")
        inside = [part for layer in layers if isinstance(layer, Residual) for _, part in leaves(layer)]
        if any(isinstance(part, NOISE_LAYERS) or (isinstance(part, Linear) and part.joint) for part in inside):
            raise ValueError(f"{self.name}: a Residual must hold neither noise nor a joint layer")

    def __repr__(self) -> str:
        layers, shape = len(self.network.layers), "x".join(map(str, self.shape))
        return f"<Model {self.name}, {shape} images, {self.classes} classes, {layers} layers>"

    def init(self, rng: np.random.Generator) -> Params:
        """Initial parameters, He-normal in float32; raises ValueError as `forms`."""
        self.forms()
        params, _ = self.network.init(rng, self.shape)
        return params

    def forms(self) -> dict[str, np.ndarray]:
        """Placeholders of its parameters, flat, which take no memory: nothing is drawn.

        Raises ValueError where a layer does not fit the images, and where the network is larger than `layers.LARGEST`.
        """
        params, out = self.network.init(Forms(self.micro_batch), self.shape)
        if out != (self.classes,):
            raise ValueError(f"{self.name} must end in {self.classes} logits, got the output shape {out}")
        return flatten(params)

    @property
    def noisy(self) -> bool:
        """Whether it has a noise layer."""
        return any(isinstance(layer, NOISE_LAYERS) for _, layer in self.network.layers)

    @property
    def noise(self) -> tuple[str, NoiseLayer]:
        """Its noise layer with its name; raises ValueError where there is none."""
        for name, layer in self.network.layers:
            if isinstance(layer, NOISE_LAYERS):
                return name, layer
        raise ValueError(f"{self.name} has no noise layer; noise on its features gives it one")

    @property
    def noise_layer(self) -> str:
        """The name of its noise layer; raises ValueError where there is none."""
        return self.noise[0]

    @property
    def noisy_weights(self) -> str:
        """The flat name of the weights whose output the noise is added to."""
        name, layer = self.before_noise.layers[-1] if self.before_noise.layers else ("", None)
        if not isinstance(layer, Conv2d | Linear):
            raise ValueError(f"{self.name}: the layer before the noise must have weights, got {layer}")
        return f"{name}.w"

    @property
    def before_noise(self) -> Sequential:
        """The layers that compute the noisy pre-activation's mean."""
        layers = self.network.layers
        return Sequential(layers[: [name for name, _ in layers].index(self.noise_layer)])

    def convolving(self, method: str) -> "Model":
        """The same model, its convolutions by `method`: "auto", "direct" or "winograd" (`npsnn.affine.Conv2d`)."""
        return replace(self, network=mapped(self.network, partial(_by_method, method)))

    def spec(self) -> dict[str, Any]:
        """The model as JSON; `from_spec` reads it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": self.classes,
            "micro_batch": self.micro_batch,
            "layers": _entries(self.network),
        }

    @staticmethod
    def from_spec(spec: Any) -> "Model":
        """The model that `spec` describes; raises ValueError naming what is wrong with it, or where it is too large."""
        if not isinstance(spec, dict):
            raise ValueError(f"spec is not a model specification: it must be a JSON object, got {type(spec).__name__}")
        try:
            network = _sequential(spec["layers"])
            model = Model(spec["name"], network, tuple(spec["shape"]), spec["classes"], spec["micro_batch"])
            model.forms()
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"spec is not a model specification: {error!r}") from error
        return model

    def check(self, flat: dict[str, np.ndarray]) -> None:
        """Raise ValueError unless `flat` holds this model's parameters, all of them, with its shapes, all finite."""
        expected = self.forms()
        if flat.keys() != expected.keys():
            odd = ", ".join(sorted(flat.keys() ^ expected.keys()))
            raise ValueError(f"the parameters are another model's, not {self.name}'s: they differ in {odd}")
        for name, value in flat.items():
            if value.shape != expected[name].shape or value.dtype not in (np.float32, np.float64):
                want = f"float {expected[name].shape}"
                raise ValueError(f"{self.name}: {name} must be {want}, got {value.dtype} {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{self.name}: {name} holds a NaN or an infinity")
            if name.endswith(".sigma"):
                check_sigma(float(value), least=0)  # a learned one may have become small
            if name.endswith(".running_var") and value.min(initial=0) < 0:
                raise ValueError(f"{self.name}: {name} holds a negative variance")


def _by_method(method: str, layer: Layer) -> Layer:
    return replace(layer, method=method) if isinstance(layer, Conv2d) else layer


def _entries(network: Sequential) -> list[dict[str, Any]]:
    """The layers as JSON; those that hold others hold lists of the same form."""
    return [
        {"name": name, "type": type(layer).__name__}
        | {f.name: _entries(v) if isinstance(v := getattr(layer, f.name), Sequential) else v for f in fields(layer)}  # type: ignore[arg-type]
        for name, layer in network.layers
    ]


def _sequential(entries: Any) -> Sequential:
    if not isinstance(entries, list):
        raise TypeError(f"layers must be a list, got {entries!r}")
    return Sequential(tuple((entry["name"], _layer(entry)) for entry in entries))


def _layer(entry: dict[str, Any]) -> Layer:
    kind = LAYERS.get(entry["type"])
    if kind is None:
        raise ValueError(f"unknown layer {entry['type']!r}, expected one of {', '.join(sorted(LAYERS))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k not in ("name", "type")}
    nested = {f.name: _sequential(entry[f.name]) for f in fields(kind) if f.type is Sequential}
    layer: Layer = kind(**values | nested)
    return layer


def _missing(shape: Shape) -> int:
    """The black pixels put on all four sides for 32 in the shorter one, which leave something to the last layers."""
    return max(0, (33 - min(shape[1:], default=32)) // 2)


def lenet5(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.6) -> Model:
    """LeNet-5 with noise on its first pre-activation, for images of any size; a shorter side below 32 is padded to it.

    Three 5x5 convolutions (6, 16, 120) and three fully connected layers (200, 200, classes), each hidden one with a
    ReLU, the first two convolutions with 2x2 max pooling. Source: noise paper Sec. 3.1; its two counts of the layers
    disagree (audit N39), this reading takes both "three convolutions" and "two of size 200".
    """
    layers: list[tuple[str, Layer]] = [
        ("conv1", Conv2d(6, 5, padding=_missing(shape))),
        ("noise", PreactivationNoise(sigma)),
        ("pool1", MaxPool(2)),
        ("relu1", ReLU()),
        ("conv2", Conv2d(16, 5)),
        ("pool2", MaxPool(2)),
        ("relu2", ReLU()),
        ("conv3", Conv2d(120, 5)),
        ("relu3", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(200)),
        ("relu4", ReLU()),
        ("fc2", Linear(200)),
        ("relu5", ReLU()),
        ("fc3", Linear(classes, joint=True)),
    ]
    return Model("lenet5", Sequential(tuple(layers)), shape, classes)


def cnn5(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.6) -> Model:
    """Five 3x3 convolutions (32, 64, 128, 128, 128), each with 2x2 max pooling and ReLU, then 256, 128, classes.

    Noise on the first pre-activation. A shorter side of fewer than 32 pixels is padded so that five poolings leave one.
    Source: noise paper Sec. 3.1, which gives the layers but not their sizes.
    """
    layers: list[tuple[str, Layer]] = []
    for i, channels in enumerate((32, 64, 128, 128, 128), start=1):
        padding = 1 + _missing(shape) if i == 1 else 1
        layers.append((f"conv{i}", Conv2d(channels, 3, padding=padding)))
        if i == 1:
            layers.append(("noise", PreactivationNoise(sigma)))
        layers += [(f"pool{i}", MaxPool(2)), (f"relu{i}", ReLU())]
    layers += [
        ("flatten", Flatten()),
        ("fc1", Linear(256)),
        ("relu6", ReLU()),
        ("fc2", Linear(128)),
        ("relu7", ReLU()),
        ("fc3", Linear(classes, joint=True)),
    ]
    return Model("cnn5", Sequential(tuple(layers)), shape, classes)


def lenetpp(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.0, variant: str = "original") -> Model:
    """LeNet++ with a linear classifier on its 32 features, as published or, "authors", as A2SNN's authors have it.

    There is no noise in it, so sigma must be 0: `with_feature_noise` adds some. Source: `npsnn.backbones`.
    """
    names = {"original": "lenetpp", "authors": "lenetpp-authors"}
    if variant not in names:
        raise ValueError(f"variant must be one of {', '.join(names)}, got {variant!r}")
    return _classifier(names[variant], shape, classes, sigma)


def resnet18(shape: Shape = (3, 32, 32), classes: int = 10, sigma: float = 0.0) -> Model:
    """ResNet-18 with a linear classifier on its 32 features.

    There is no noise in it, so sigma must be 0: `with_feature_noise` adds some. Source: `npsnn.backbones`.
    """
    return _classifier("resnet18", shape, classes, sigma)


def _classifier(name: str, shape: Shape, classes: int, sigma: float) -> Model:
    if sigma != 0:
        why = f"has no noise on its first layer, so sigma must be 0, got {sigma!r}"
        raise ValueError(f"{name} {why}: set noise to features or none")
    layers = (*backbone(name, shape), ("classifier", Linear(classes, joint=True)))
    return Model(name, Sequential(layers), shape, classes)


MODELS: dict[str, Callable[..., Model]] = {
    "lenet5": lenet5,
    "cnn5": cnn5,
    "lenetpp": lenetpp,
    "lenetpp-authors": partial(lenetpp, variant="authors"),
    "resnet18": resnet18,
}


NOISY = ("lenet5", "cnn5")
"""The models with noise of their own, on the first pre-activation."""

NOISES = ("preactivation", "features", "none")


def without_noise(model: Model) -> Model:
    """The model without its noise layer."""
    kept = [(name, layer) for name, layer in model.network.layers if not isinstance(layer, NOISE_LAYERS)]
    return replace(model, network=Sequential(tuple(kept)))


def with_feature_noise(model: Model, sigma: float, covariance: str = "full", bottleneck: int = 32) -> Model:
    """The model as A2SNN has it: no noise but on `bottleneck` features, right before its last layer.

    A layer that makes the features is put in unless the model ends in one of that name. Raises ValueError where the
    last layer is not linear. Source: A2SNN Sec. 3 and 4.1; an activation after the bottleneck is not mentioned there.
    """
    kept = without_noise(model).network.layers
    if not kept or not isinstance(kept[-1][1], Linear):
        raise ValueError(f"{model.name} must end in a linear layer to take noise on its features")
    *features, (last, _) = kept
    if not features or features[-1][0] != "bottleneck":
        features.append(("bottleneck", Linear(bottleneck)))
    else:
        features[-1] = ("bottleneck", Linear(bottleneck))
    head: list[tuple[str, Layer]] = [("noise", FeatureNoise(sigma, covariance))]
    head.append((last, Linear(model.classes, joint=True)))
    return replace(model, network=Sequential((*features, *head)))


def build(
    name: str,
    shape: Shape,
    classes: int,
    sigma: float,
    noise: str = "preactivation",
    covariance: str = "full",
    bottleneck: int = 32,
) -> Model:
    """The named model for images of `shape`, with its own noise, for "features" with that of A2SNN, or with none.

    Raises ValueError for an unknown name, naming the choices.
    """
    for what, value, known in (("model", name, MODELS), ("noise", noise, NOISES)):
        if value not in known:
            raise ValueError(f"unknown {what} {value!r}, expected one of {', '.join(known)}")
    if noise == "preactivation":
        return MODELS[name](shape, classes, sigma)
    if noise == "none":
        return without_noise(MODELS[name](shape, classes))
    return with_feature_noise(MODELS[name](shape, classes), sigma, covariance, bottleneck)
