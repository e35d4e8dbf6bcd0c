"""The parameters of a network by PyTorch's names and in PyTorch's layout, and back.

A filter is (channels, rows, columns, input channels) here and (channels, input channels, rows, columns) there. Matrices
are (features, inputs) in both, and `Flatten` puts channels first in both. The parameters "w", "b" and "slope" of
convolutions, linear layers, BatchNorm and PReLU are called "weight", "bias" and "weight" there. Every other parameter
keeps its name: "sigma", "L", "alpha" and "rho" of noise are entries of their own.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from npsnn.classifier import Classifier
from npsnn.layers.activation import PReLU
from npsnn.layers.affine import Affine, Conv2d
from npsnn.layers.base import Layer
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import nested
from npsnn.layers.mixing import Mixing
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models.base import Model
from npsnn.words import nearest

NAMES = {"w": "weight", "b": "bias", "slope": "weight"}
FILTER, STORED = (0, 3, 1, 2), (0, 1, 3, 2, 4)
"""The axes of a filter, and of the stored images of `Mixing`, in PyTorch's order."""
COUNTER = "num_batches_tracked"
"""An entry that BatchNorm of PyTorch has besides, and that no answer depends on."""
WRAPPED = "module."
"""What the names of all entries begin with where PyTorch had the network on several GPUs."""
SHOWN = 4
"""The entries that a message names."""


@dataclass(frozen=True)
class Place:
    """Where one parameter stands in PyTorch.

    name: of the entry.
    axes: axes of the parameter in PyTorch's order; None where the order is the same.
    """

    name: str
    axes: tuple[int, ...] | None = None

    def there(self, array: np.ndarray) -> np.ndarray:
        """The parameter in PyTorch's layout."""
        return array if self.axes is None else array.transpose(self.axes)

    def here(self, array: np.ndarray) -> np.ndarray:
        """An entry in npsnn's layout."""
        turned = array if self.axes is None else array.transpose(np.argsort(self.axes))
        return np.array(turned, order="C")  # a scalar stays an array


def places(model: Model, names: Iterable[str]) -> dict[str, Place]:
    """Where each parameter of a network stands in PyTorch.

    model: the network.
    names: flat names of its parameters, as "block1.body.conv1.w".
    """
    layers = dict(nested(model.network))
    return {name: _place(layers, name) for name in names}


def _place(layers: Mapping[str, Layer], name: str) -> Place:
    path, _, own = name.rpartition(".")
    while path not in layers:  # a layer of a user may nest its parameters
        path, _, last = path.rpartition(".")
        own = f"{last}.{own}"
    layer = layers[path]
    theirs = NAMES.get(own, own) if isinstance(layer, Affine | BatchNorm | PReLU) else own
    filters = isinstance(layer, Conv2d) and own in ("w", "rho")
    elements = isinstance(layer, Conv2d) and own == "alpha" and getattr(layer, "scope", "") == "element"
    axes = FILTER if filters or elements else STORED if isinstance(layer, Mixing) and own == "pool" else None
    return Place(f"{path}.{theirs}", axes)


def entries(network: Classifier) -> dict[str, np.ndarray]:
    """The parameters of a network by PyTorch's names, in PyTorch's layout, in the order of the forward pass.

    network: the network; its arrays are copied.
    Raises TypeError for what is no network; ValueError for one whose noise is off, or whose answers are averages:
    parameters do not say so; and for one of layers that no file can hold.
    """
    if not isinstance(network, Classifier):
        raise TypeError(f"network must be an npsnn.Classifier, got {type(network).__name__}")
    network.model.spec()  # refuses functions, whose one parameter says nothing
    flat = network.saved_params()
    found = places(network.model, flat)
    return {found[name].name: np.array(found[name].there(p), order="C") for name, p in flat.items()}


def network_of(model: Model, given: Mapping[str, np.ndarray], rename: Mapping[str, str] | None = None) -> Classifier:
    """A network of entries with PyTorch's names and layout.

    model: the network.
    given: arrays of floats by name. Half precision becomes single precision; where one array is of double precision
        all become so. Entries `num_batches_tracked` are passed over.
    rename: other names for layers, as {"features.0": "conv1"}: from the file's name to the model's.
    Parameters of noise that no entry has are the model's own, with a warning. Raises ValueError, naming the entry, for
    one that is missing, unexpected, of another shape, no array of floats, or not finite; TypeError for no model and for
    names that are no strings.
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a network of npsnn.models, as lenet5(), got {model!r:.80}")
    if rename and not (
        isinstance(rename, Mapping) and all(isinstance(n, str) for pair in rename.items() for n in pair)
    ):
        raise TypeError(f"rename must map names of layers to names of layers, got {rename!r:.80}")
    forms = model.forms()
    found = places(model, forms)
    given = _renamed(given, rename or {})
    own = {place.name: name for name, place in found.items()}
    of = roles(model.network, forms)
    kept = [name for theirs, name in own.items() if theirs not in given and of[name] is Role.NOISE]
    missing = [theirs for theirs, name in own.items() if theirs not in given and name not in kept]
    unexpected = [name for name in given if name not in own]
    if missing or unexpected:
        raise ValueError(_differing(model, missing, unexpected, own))
    double = any(array.dtype == np.float64 for array in given.values())
    flat = {}
    for theirs, name in own.items():
        if theirs in given:
            shape = found[name].there(np.broadcast_to(np.float32(0), forms[name].shape)).shape
            flat[name] = found[name].here(_checked(model, theirs, given[theirs], shape, double))
    if kept:
        flat = _with_own(model, flat, kept, np.float64 if double else np.float32)
    model.check(flat)
    return Classifier(model, unflatten({name: flat[name] for name in forms}))


def _renamed(given: Mapping[str, np.ndarray], rename: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The entries by the model's names, without counters; raises ValueError for a layer that is not there, or twice."""
    kept = {name: array for name, array in given.items() if name.rpartition(".")[2] != COUNTER}
    if kept and all(name.startswith(WRAPPED) for name in kept):
        kept = {name.removeprefix(WRAPPED): array for name, array in kept.items()}
    found: dict[str, np.ndarray] = {}
    used = set()
    for name, array in kept.items():
        before = max((b for b in rename if name == b or name.startswith(f"{b}.")), key=len, default=None)
        used.add(before)
        name = name if before is None else rename[before] + name.removeprefix(before)
        if name in found:
            raise ValueError(f"rename must give each layer a name of its own, got {name} twice")
        found[name] = array
    for before in rename:
        if before not in used:
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in kept))
            raise ValueError(f"rename must be of layers of the file, got {before}{nearest(before, layers)}")
    return found


def _differing(model: Model, missing: list[str], unexpected: list[str], own: Mapping[str, str]) -> str:
    parts = [f"{what} {_some(names)}" for what, names in (("missing", missing), ("unexpected", unexpected)) if names]
    said = f"the entries are not those of {model.name}: {'; '.join(parts)}"
    if missing and unexpected:
        before, after = (names[0].rpartition(".")[0] for names in (unexpected, missing))
        if before != after:
            return f"{said}; where only names differ, rename layers, as {before}={after}"
    return said


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name:.80}" for name in names[:SHOWN]) + more


def _checked(model: Model, name: str, array: np.ndarray, shape: tuple[int, ...], double: bool) -> np.ndarray:
    """The array of an entry in the network's precision, once it has the shape and only finite numbers."""
    if array.dtype.kind != "f":
        raise ValueError(f"{name} must hold floats, got {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape} in {model.name}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a NaN or an infinity")
    return array.astype(np.float64 if double else np.float32)


def _with_own(
    model: Model, flat: dict[str, np.ndarray], kept: list[str], dtype: type[np.floating]
) -> dict[str, np.ndarray]:
    """The parameters, with those of the model for the noise that has none."""
    drawn = flatten(model.init(np.random.default_rng(0)))
    warnings.warn(f"there is no {_some(kept)}: the noise is {model.name}'s own", stacklevel=4)
    return flat | {name: drawn[name].astype(dtype) for name in kept}
