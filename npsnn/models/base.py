"""A network as a value: its layers, the images it is made for, and its specification as JSON."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from npsnn.foreign import asked_for
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import LAYERS, Forms, Layer, Params, Shape, is_random, is_random_in_training, shares_draw
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Sequential, held, leaves, mapped, nested, parts
from npsnn.layers.noise import FeatureNoise, NoiseLayer, PreactivationNoise, noise_layers
from npsnn.layers.params import flatten, of_layer
from npsnn.streams import WHOLE
from npsnn.tables import Table
from npsnn.validate import as_int, check_sigma

LARGEST_IMAGE = 4096

MODELS: Table[Callable[..., "Model"]] = Table(
    "model", "from npsnn.models.base import model", asked_for(__call__="shape, classes, sigma")
)
"""Networks by name: `@model("name")` above a function (shape, classes, sigma) -> Model enters it."""
model = MODELS.enter


@dataclass(frozen=True, repr=False)
class Model:
    """A network and the images that it is made for.

    name: name of the network, for people.
    network: its layers; any number of them may be noise.
    shape: one image, (C, H, W).
    classes: number of logits, >= 2.
    micro_batch: number of examples computed at a time, which fixes the order of all sums.
    Raises ValueError for numbers that are not as said, and for a layer at a place that it is not made for: noise on
    features comes right before the last layer, which is joint, and neither stands inside another layer.
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
        if not self.network.layers:
            raise ValueError(f"{self.name}: the network must have at least one layer, got none")
        self._check_order()

    def _check_order(self) -> None:
        """Raise ValueError where a layer stands at a place that it is not made for."""
        for path, layer in nested(self.network):
            own = path.rpartition(".")[2]
            if (is_random(layer) or is_random_in_training(layer)) and own in WHOLE:
                raise ValueError(f"{self.name}: a layer that draws must have a name of its own, got {own}")
        layers = [layer for _, layer in self.network.layers]
        inside = [part for layer in layers if parts(layer) for _, part in leaves(layer)]
        if any(isinstance(part, FeatureNoise) or (isinstance(part, Linear) and part.joint) for part in inside):
            raise ValueError(f"{self.name}: feature noise or a joint layer must not stand inside another layer")
        following = [*layers[1:], None]
        noisy = [after for layer, after in zip(layers, following, strict=True) if isinstance(layer, FeatureNoise)]
        if any(not isinstance(after, Linear) or not after.joint for after in noisy):
            raise ValueError(f"{self.name}: after feature noise comes the last layer, Linear(classes, joint=True)")
        if any(isinstance(layer, Linear) and layer.joint for layer in layers[:-1]):
            raise ValueError(f"{self.name}: only the last layer may be joint, nothing takes a covariance matrix")

    def __repr__(self) -> str:
        layers, shape = len(self.network.layers), "x".join(map(str, self.shape))
        return f"<Model {self.name}, {shape} images, {self.classes} classes, {layers} layers>"

    def init(self, rng: np.random.Generator) -> Params:
        """Draw initial parameters, He-normal in float32; raises ValueError as `forms`."""
        self.forms()
        params, _ = self.network.init(rng, self.shape)
        return params

    def forms(self) -> dict[str, np.ndarray]:
        """Placeholders of the parameters, flat, which take no memory: nothing is drawn.

        Raises ValueError where a layer does not fit the images, and for a network larger than
        `npsnn.layers.base.LARGEST`.
        """
        rng = Forms(self.micro_batch)
        params, out = self.network.init(rng, self.shape)
        if out != (self.classes,):
            raise ValueError(f"{self.name} must end in {self.classes} logits, got the output shape {out}")
        for path, layer in list(self.noise_layers.items())[1:]:
            if isinstance(layer, FeatureNoise):  # after other noise: a covariance for each example
                features = params[self.network.layers[-1][0]]["w"].shape[1]
                rng.output(f"the covariance after {path}", (features, features))
        return flatten(params)

    @property
    def noisy(self) -> bool:
        """Whether any layer draws noise."""
        return any(is_random(layer) for _, layer in nested(self.network))

    @property
    def shares_draws(self) -> bool:
        """Whether any layer gives all examples of a micro-batch one draw of its noise."""
        return any(shares_draw(layer) for _, layer in nested(self.network))

    @property
    def propagates(self) -> bool:
        """Whether moments go through it outside of training: no layer says that it refuses them."""
        return all(getattr(layer, "propagates", True) for _, layer in nested(self.network))

    @cached_property
    def noise_layers(self) -> dict[str, NoiseLayer]:
        """Every noise layer by its path, as "noise" or "block1.body.noise", in the order of the forward pass."""
        return noise_layers(self.network)

    @property
    def noise(self) -> tuple[str, NoiseLayer]:
        """The path of the one noise layer, and the layer; raises ValueError where there is none, or several."""
        found = self.noise_layers
        if not found:
            raise ValueError(f"{self.name} has no noise layer; noise on its features gives it one")
        if len(found) > 1:
            raise ValueError(f"{self.name} must have one noise layer here, got {', '.join(found)}")
        return next(iter(found.items()))

    @property
    def noise_layer(self) -> str:
        """The path of the one noise layer; raises ValueError where there is none, or several."""
        return self.noise[0]

    @property
    def noisy_weights(self) -> str:
        """The flat name of the weights that the first noise is added to, or that are right before it.

        Raises ValueError where there are none.
        """
        path, inside = next(iter(self.noise_layers), ""), dict(nested(self.network))
        if path and self.noise_layers[path].on_weights:
            return f"{path}.w"
        parent, _, name = path.rpartition(".")
        beside = parts(inside[parent])
        place = [n for n, _ in beside].index(name) if path else 0
        before, layer = beside[place - 1] if place else ("", None)
        if not isinstance(layer, Conv2d | Linear):
            raise ValueError(f"{self.name}: the layer before the noise must have weights, got {layer}")
        return f"{parent}.{before}.w" if parent else f"{before}.w"

    @property
    def before_noise(self) -> Sequential:
        """The layers before the first that is, or holds, noise; raises ValueError where there is none."""
        for place, (_, layer) in enumerate(self.network.layers):
            if any(is_random(part) for _, part in nested(layer)):
                return Sequential(self.network.layers[:place])
        raise ValueError(f"{self.name} has no noise layer; noise on its features gives it one")

    def convolving(self, method: str) -> "Model":
        """The same model with its convolutions computed in another way.

        method: "auto", "direct" or "winograd" (`npsnn.layers.Conv2d`).
        """
        return replace(self, network=mapped(self.network, partial(_by_method, method)))

    def spec(self) -> dict[str, Any]:
        """The model as JSON, which `from_spec` reads.

        Raises ValueError for a layer that is in no table, with the line that mends it.
        """
        return {
            "name": self.name,
            "shape": list(self.shape),
            "classes": self.classes,
            "micro_batch": self.micro_batch,
            "layers": _entries(self.network),
        }

    @staticmethod
    def from_spec(spec: Any) -> "Model":
        """Make the model that a specification describes.

        spec: JSON as `spec` makes it.
        Raises ValueError that names what is wrong, or says that the network is too large. A layer of a plugin needs its
        plugin.
        """
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
        """Raise ValueError unless the parameters are this model's: all of them, of its shapes, and finite.

        flat: parameters by flat name.
        """
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
        for path, layer in leaves(self.network):
            own = of_layer(path, flat)
            if isinstance(layer, PreactivationNoise):
                for sigma in (own["sigma"].min(initial=0), own["sigma"].max(initial=0)):
                    check_sigma(float(sigma), least=0)  # a learned one may have become small
            if isinstance(layer, BatchNorm) and own["running_var"].min(initial=0) < 0:
                raise ValueError(f"{self.name}: {path}.running_var holds a negative variance")


def without_noise(model: Model) -> Model:
    """The model without its noise: each noise layer is left out, or becomes what is left of it without noise."""
    return replace(model, network=_quiet(model.network))


def _quiet(network: Sequential) -> Sequential:
    kept = ((name, layer.quiet() if isinstance(layer, NoiseLayer) else layer) for name, layer in network.layers)
    return Sequential(tuple((name, held(layer, _quiet)) for name, layer in kept if layer is not None))


def _by_method(method: str, layer: Layer) -> Layer:
    return replace(layer, method=method) if isinstance(layer, Conv2d) else layer


def _entries(network: Sequential) -> list[dict[str, Any]]:
    """The layers as JSON; those that hold others hold lists of the same form."""
    return [{"name": name, "type": LAYERS.type_of(layer)} | _values(layer) for name, layer in network.layers]


def _values(layer: Any) -> dict[str, Any]:
    """The fields of a layer as JSON."""
    if isinstance(layer, Sequential):
        return {"layers": _entries(layer)}
    values = {f.name: getattr(layer, f.name) for f in fields(layer) if f.init}
    return {name: _entries(v) if isinstance(v, Sequential) else v for name, v in values.items()}


def _sequential(entries: Any) -> Sequential:
    if not isinstance(entries, list):
        raise TypeError(f"layers must be a list, got {entries!r}")
    return Sequential(tuple((entry["name"], _layer(entry)) for entry in entries))


def _layer(entry: dict[str, Any]) -> Layer:
    kind = LAYERS.of_type(entry["type"])
    if kind is Sequential:
        return _sequential(entry["layers"])
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k not in ("name", "type")}
    nested = {f.name: _sequential(entry[f.name]) for f in fields(kind) if f.type in (Sequential, "Sequential")}
    layer: Layer = kind(**values | nested)
    return layer
