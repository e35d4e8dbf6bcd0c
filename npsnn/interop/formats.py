"""The kinds of files that networks are exported to and imported from, by name."""

import os
from collections.abc import Mapping
from pathlib import Path

from npsnn.classifier import Classifier
from npsnn.interop import onnx, safetensors, torch
from npsnn.layers.base import Shape
from npsnn.models.base import Model
from npsnn.validate import check_choice, listed

SUFFIXES = {"safetensors": (".safetensors",), "torch": (".pt", ".pth", ".bin"), "onnx": (".onnx",)}
"""What the names of the files of each kind end in; an exported file ends in the first."""
FORMATS = tuple(SUFFIXES)


def save(network: Classifier, path: str | os.PathLike[str], kind: str, noise: bool = False) -> None:
    """Write a network to a file, whole or not at all.

    network: the network.
    path: of the file, which is replaced.
    kind: "safetensors", "torch" or "onnx".
    noise: whether an ONNX file draws the noise; files of other kinds hold parameters alone.
    Raises ValueError for another kind and for noise in other files than ONNX's, and as `save` of each kind.
    """
    check_choice("format", kind, FORMATS)
    if kind == "onnx":
        onnx.save(network, path, noise)
    elif noise:
        raise ValueError(f"noise is drawn by ONNX files, files of {kind} hold parameters alone")
    elif kind == "torch":
        torch.save(network, path)
    else:
        safetensors.save(network, path)


def load(
    path: str | os.PathLike[str],
    kind: str | None = None,
    model: Model | None = None,
    rename: Mapping[str, str] | None = None,
    shape: Shape | None = None,
) -> Classifier:
    """Read a network from a file.

    path: of the file.
    kind: "safetensors", "torch" or "onnx"; None for what the name of the file ends in.
    model: the network that the entries of a safetensors file or a checkpoint of PyTorch belong to.
    rename: other names for its layers, from the file's to the model's.
    shape: one image, (C, H, W), of an ONNX file that does not say it.
    Raises ValueError for another kind, for a checkpoint of PyTorch without a model, and for a model, names or a shape
    where the file takes none; and as `load` of each kind.
    """
    kind = kind_of(path) if kind is None else kind
    check_choice("format", kind, FORMATS)
    if kind == "onnx":
        if model is not None or rename:
            raise ValueError(f"an ONNX file says itself what its network is: {path} takes no model and no names")
        return onnx.load(path, shape)
    if kind == "safetensors":
        return safetensors.load(path, model, rename)
    if model is None:
        raise ValueError(f"a checkpoint of PyTorch does not describe its network: name the model of {path}")
    return torch.load(path, model, rename)


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of file that a name ends in; raises ValueError, naming the endings, for another."""
    suffix = Path(path).suffix.lower()
    for kind, known in SUFFIXES.items():
        if suffix in known:
            return kind
    every = listed(ending for known in SUFFIXES.values() for ending in known)
    raise ValueError(f"{path} must end in {every}, or its format must be given ({listed(FORMATS)})")
