"""Networks in safetensors files: the entries of a PyTorch state_dict, and the network as JSON beside them.

`safetensors.torch.load_file` reads such a file in PyTorch. Needs the extra `safetensors`.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from npsnn import files
from npsnn.classifier import Classifier
from npsnn.files import json_files
from npsnn.files.paths import user_path
from npsnn.interop import layout, needed
from npsnn.models.base import Model

__all__ = ["load", "save"]

SPEC = "npsnn"
"""The entry of the file's metadata that describes the network, as config.json of a run does under "spec"."""
LIMIT = 1 << 30
"""The bytes that a file may have: twice what the largest network of double precision needs."""
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
"""NumPy's names of the types that are read. NumPy has no brain floats: their bits are the upper half of F32's."""


def save(network: Classifier, path: str | os.PathLike[str]) -> None:
    """Write a network to a safetensors file, whole or not at all; equal networks give equal bytes.

    network: the network. The sizes of its noise are entries of their own, as "noise.sigma".
    path: of the file, which is replaced.
    Raises OSError, naming the file, where it cannot be written, ImportError without the package safetensors, and
    ValueError for a layer that is in no table, and as `npsnn.Classifier.save`.
    """
    serialised = needed("safetensors.numpy", "safetensors").save
    # one entry of metadata alone: the order of several is not fixed
    metadata = {SPEC: json.dumps(network.spec, sort_keys=True)}
    content: bytes = serialised(layout.entries(network), metadata)
    files.write_atomic(user_path(path), content)


def load(
    path: str | os.PathLike[str], model: Model | None = None, rename: Mapping[str, str] | None = None
) -> Classifier:
    """Read a network from a safetensors file.

    path: of the file.
    model: the network; None for the one that the file describes, as files of `save` do.
    rename: other names for layers, from the file's to the model's.
    Raises FileNotFoundError or another OSError where the file cannot be read, and ValueError, naming the file, where it
    is damaged, describes no network, or has other entries than the model (`npsnn.interop.layout.network_of`).
    """
    path = user_path(path)
    content = files.read_bytes(path, LIMIT)
    arrays, metadata = _read(content, str(path))
    with files.blamed(path):
        if model is None:
            if SPEC not in metadata:
                raise ValueError("it does not describe its network: name the model")
            model = Model.from_spec(json_files.parse_json(str(metadata[SPEC]), "its metadata"))
        return layout.network_of(model, arrays, rename)


def _read(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a safetensors file, and its metadata.

    content: bytes of the file.
    name: of the file, for messages.
    """
    package = needed("safetensors", "safetensors")
    try:
        found = package.deserialize(content)
    except package.SafetensorError as error:
        raise ValueError(f"{name} is damaged or no safetensors file: {error}") from error
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]  # which is sound, or it would not be read
    try:
        metadata = json.loads(header).get("__metadata__") or {}
    except RecursionError as error:
        raise ValueError(f"{name} is damaged or no safetensors file: {error}") from error
    return {entry: _array(about, f"{name}: {entry}") for entry, about in found}, metadata


def _array(about: Mapping[str, Any], name: str) -> np.ndarray:
    kind = str(about["dtype"])
    if kind not in TYPES:
        raise ValueError(f"{name} must hold floats, got {kind}")
    try:
        array = np.frombuffer(about["data"], TYPES[kind]).reshape(about["shape"])
    except (ValueError, OverflowError) as error:  # of no numbers in sizes that NumPy has not
        raise ValueError(f"{name} must have sizes that an array can have, got {about['shape']}") from error
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else array
