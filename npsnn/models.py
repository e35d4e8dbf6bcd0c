"""Named networks, as values: `replace(lenet5(), ...)` makes another."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from npsnn.affine import Conv2d, Linear, MeanPool, Normalise
from npsnn.layers import Flatten, Layer, MaxPool, Params, ReLU, Shape
from npsnn.network import Sequential, flatten
from npsnn.noise import PreactivationNoise
from npsnn.validate import check_sigma

LAYERS: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (Conv2d, Flatten, Linear, MaxPool, MeanPool, Normalise, PreactivationNoise, ReLU)
}

LARGEST_IMAGE = 4096


@dataclass(frozen=True)
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
        numbers = (*self.shape, self.classes, self.micro_batch)
        if len(self.shape) != 3 or not all(type(n) is int for n in numbers) or min(*numbers, self.classes - 1) < 1:
            what = f"shape {self.shape}, classes {self.classes}, micro_batch {self.micro_batch}"
            raise ValueError(f"shape must be (C, H, W), classes >= 2 and micro_batch >= 1, got {what}")
        if max(self.shape) > LARGEST_IMAGE:
            raise ValueError(f"shape must be at most {LARGEST_IMAGE} in each direction, got {self.shape}")
        layers = [layer for _, layer in self.network.layers]
        if sum(isinstance(layer, PreactivationNoise) for layer in layers) > 1:
            raise ValueError(f"{self.name}: there must be at most one noise layer")
        if any(isinstance(layer, Linear) and layer.joint for layer in layers[:-1]):
            raise ValueError(f"{self.name}: only the last layer may be joint, nothing takes a covariance matrix")

    def init(self, rng: np.random.Generator) -> Params:
        """Initial parameters, He-normal in float32; raises ValueError where a layer does not fit the images."""
        params, out = self.network.init(rng, self.shape)
        if out != (self.classes,):
            raise ValueError(f"{self.name} must end in {self.classes} logits, got the output shape {out}")
        return params

    @property
    def noise_layer(self) -> str:
        """The name of its noise layer; raises ValueError where there is none."""
        for name, layer in self.network.layers:
            if isinstance(layer, PreactivationNoise):
                return name
        raise ValueError(f"{self.name} has no noise layer")

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

    def spec(self) -> dict[str, Any]:
        """The model as JSON; `from_spec` reads it."""
        layers = [
            {"name": name, "type": type(layer).__name__} | {f.name: getattr(layer, f.name) for f in fields(layer)}  # type: ignore[arg-type]
            for name, layer in self.network.layers
        ]
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": self.classes,
            "micro_batch": self.micro_batch,
            "layers": layers,
        }

    @staticmethod
    def from_spec(spec: dict[str, Any]) -> "Model":
        """The model that `spec` describes; raises ValueError naming what is wrong with it."""
        try:
            layers = tuple((entry["name"], _layer(entry)) for entry in spec["layers"])
            return Model(spec["name"], Sequential(layers), tuple(spec["shape"]), spec["classes"], spec["micro_batch"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a model specification: {error!r}") from error

    def check(self, flat: dict[str, np.ndarray]) -> None:
        """Raise ValueError unless `flat` holds this model's parameters, all of them, with its shapes, all finite."""
        expected = flatten(self.init(np.random.default_rng(0)))
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
                check_sigma(float(value))


def _layer(entry: dict[str, Any]) -> Layer:
    kind = LAYERS.get(entry["type"])
    if kind is None:
        raise ValueError(f"unknown layer {entry['type']!r}, expected one of {', '.join(sorted(LAYERS))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k not in ("name", "type")}
    layer: Layer = kind(**values)
    return layer


def lenet5(shape: Shape = (1, 28, 28), classes: int = 10, sigma: float = 0.6) -> Model:
    """LeNet-5 with noise on its first pre-activation, for images up to 32 pixels (padded to 32).

    Three 5x5 convolutions (6, 16, 120) and three fully connected layers (200, 200, classes), each hidden one with a
    ReLU, the first two convolutions with 2x2 max pooling. Source: noise paper Sec. 3.1; its two counts of the layers
    disagree (audit N39), this reading takes both "three convolutions" and "two of size 200".
    """
    layers: list[tuple[str, Layer]] = [
        ("conv1", Conv2d(6, 5, padding=max(0, (33 - shape[-1]) // 2))),
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

    Noise on the first pre-activation. Images of fewer than 32 pixels are padded so that five poolings leave one.
    Source: noise paper Sec. 3.1, which gives the layers but not their sizes.
    """
    layers: list[tuple[str, Layer]] = []
    for i, channels in enumerate((32, 64, 128, 128, 128), start=1):
        padding = 1 + max(0, (33 - shape[-1]) // 2) if i == 1 else 1
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
    return Model("cnn5", Sequential(tuple(layers)), shape, classes, micro_batch=32)


MODELS: dict[str, Callable[..., Model]] = {"lenet5": lenet5, "cnn5": cnn5}


def build(name: str, shape: Shape, classes: int, sigma: float) -> Model:
    """The named model for images of `shape`; raises ValueError for an unknown name, naming the choices."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}, expected one of {', '.join(MODELS)}")
    return MODELS[name](shape, classes, sigma)
