"""Networks to and from PyTorch: state dictionaries, their files, and networks as modules.

`npsnn.interop.torch` has these functions.
"""

import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from npsnn import files
from npsnn.classifier import Classifier
from npsnn.files.paths import user_path
from npsnn.interop import layout, needed
from npsnn.layers.base import LARGEST, Shape
from npsnn.models.base import Model

__all__ = ["from_module", "load", "load_state_dict", "module", "save", "state_dict"]

LIMIT = 1 << 30
"""The bytes that a checkpoint may have."""
SAFE = (2, 6)
"""The version of PyTorch from which weights_only=True keeps its promise: CVE-2025-32434 got around it before."""
INSIDE = ("state_dict", "model_state_dict", "model")
"""The entries under which a checkpoint may hold the state_dict, beside those of an optimiser and others."""


def state_dict(network: Classifier) -> dict[str, Any]:
    """The parameters of a network as a PyTorch state_dict.

    network: the network. The sizes of its noise are entries of their own, as "noise.sigma".
    The entries are copies, in PyTorch's layout (`npsnn.interop.layout`), on the CPU. Raises ImportError without
    PyTorch, and ValueError as `npsnn.Classifier.save`.
    """
    torch = needed("torch", "torch")
    return {name: torch.from_numpy(array) for name, array in layout.entries(network).items()}


def load_state_dict(state: Mapping[str, Any], model: Model, rename: Mapping[str, str] | None = None) -> Classifier:
    """Make a network of a PyTorch state_dict.

    state: tensors by name; they are copied.
    model: the network that they are the parameters of.
    rename: other names for layers, as {"features.0": "conv1"}: from those of the state_dict to the model's.
    Parameters of noise that the state_dict lacks are the model's own, with a warning. Raises TypeError for no mapping
    of names to tensors, and ValueError as `npsnn.interop.layout.network_of`.
    """
    torch = needed("torch", "torch")
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"state must be a mapping of names to tensors, got {state!r:.80}")
    return layout.network_of(model, {name: _array(torch, name, value) for name, value in state.items()}, rename)


def _array(torch: Any, name: str, value: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"state must hold tensors alone, got {type(value).__name__} for {name:.80}")
    if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_nested:
        raise ValueError(f"{name:.80} must be a dense tensor with numbers, got {value.layout}, {value.dtype}")
    if value.numel() > LARGEST:  # of one number in a file, which stands for all of them
        raise ValueError(f"{name:.80} must have at most {LARGEST:,} numbers, got the shape {tuple(value.shape)}")
    value = value.detach().cpu()
    if value.dtype.is_floating_point and value.dtype not in (torch.float16, torch.float32, torch.float64):
        value = value.float()  # NumPy has no brain floats and no floats of 8 bits
    array: np.ndarray = value.resolve_conj().resolve_neg().numpy()
    return array


def save(network: Classifier, path: str | os.PathLike[str]) -> None:
    """Write the state_dict of a network to a file of PyTorch, whole or not at all.

    network: the network.
    path: of the file, which is replaced.
    `torch.load(path, weights_only=True)` reads the file. Raises OSError, naming the file, where it cannot be written,
    and ValueError as `state_dict`.
    """
    state, content = state_dict(network), BytesIO()
    needed("torch", "torch").save(state, content)
    files.write_atomic(user_path(path), content.getvalue())


def load(path: str | os.PathLike[str], model: Model, rename: Mapping[str, str] | None = None) -> Classifier:
    """Read a network from a checkpoint of PyTorch, of which nothing but tensors is unpickled (weights_only=True).

    path: of the file: a state_dict, or a dictionary that has one under "state_dict", "model_state_dict" or "model".
    model, rename: as for `load_state_dict`.
    Raises FileNotFoundError or another OSError where the file cannot be read, and ValueError, naming the file, where it
    holds more than tensors and plain values, is damaged, or has other entries than the model, and where PyTorch is
    older than 2.6, which a file can make run code all the same.
    """
    path = user_path(path)
    content = files.read_bytes(path, LIMIT)
    torch = needed("torch", "torch")
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < SAFE:
        raise ValueError(
            f"{path} must be read by PyTorch 2.6 or newer, which runs no code in it: got {torch.__version__}"
        )
    try:
        found = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything, and says it in many lines
        why = "damaged, no checkpoint of PyTorch, or with more than tensors"
        raise ValueError(f"{path} is {why}: save module.state_dict(), not the module") from error
    if isinstance(found, Mapping):
        found = next((found[name] for name in INSIDE if isinstance(found.get(name), Mapping)), found)
    with files.blamed(path):
        try:
            return load_state_dict(found, model, rename)
        except TypeError as error:
            raise ValueError(str(error)) from error


def module(network: Classifier, noise: bool = False) -> Any:
    """A network as a PyTorch module with the same parameters under the same names, in evaluation mode.

    network: the network.
    noise: whether the noise is drawn in each forward pass, from PyTorch's own generator; otherwise it is off.
    The module takes images (N, C, H, W) in [0, 1] and returns logits. Its state_dict has the entries of `state_dict`,
    and counters of BatchNorm besides. Raises ValueError for a layer that has no counterpart, and as `state_dict`.
    """
    needed("torch", "torch")
    from npsnn.interop import torch_modules

    return torch_modules.of_network(network, state_dict(network), noise)


def from_module(module: Any, shape: Shape, name: str = "imported") -> Classifier:
    """Make a network of a PyTorch Sequential, layer by layer, nested ones among them.

    module: the Sequential. It may hold Conv2d, Linear, BatchNorm1d and 2d, ReLU, PReLU, MaxPool2d, AvgPool2d,
        AdaptiveAvgPool2d(1), Flatten, Dropout, Dropout2d, Identity and Sequential. A layer has the name that it has
        there.
    shape: one image, (C, H, W).
    name: name of the model.
    The images of the network are in [0, 1]: a network trained on normalised images begins with `Normalise`. Raises
    ValueError, naming the layer, for one that npsnn has no counterpart of, or with settings that it does not have.
    """
    needed("torch", "torch")
    from npsnn.interop import torch_layers

    model, state = torch_layers.model_of(module, shape, name)
    return load_state_dict(state, model)
