"""Small sound files of the kinds that networks are exchanged in, for scripts/fuzz.py; each kind needs its package."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from npsnn.classifier import Classifier
from npsnn.interop import formats, layout
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.pool import MaxPool, MeanPool
from npsnn.layers.reshape import Flatten
from npsnn.models import Model

SHAPE = (1, 6, 6)
PACKAGES = {"safetensors": "safetensors", "PyTorch": "torch", "ONNX": "onnx", "ONNX arrays": "onnx"}
"""The kinds of files, and the package that each needs, which is an extra of npsnn."""


@cache
def network() -> Classifier:
    """A network with few numbers and a layer of most kinds."""
    block = Residual(Sequential((("conv", Conv2d(2, 1, bias=False)), ("bn", BatchNorm()))), Sequential(()))
    layers = ("normalise", Normalise((0.5,), (0.25,))), ("conv", Conv2d(2, 3)), ("noise", PreactivationNoise(0.5))
    rest = ("prelu", PReLU()), ("pool", MaxPool(2)), ("block", block), ("relu", ReLU()), ("mean", MeanPool(2))
    head = ("flatten", Flatten()), ("fc", Linear(3, joint=True))
    model = Model("small", Sequential((*layers, *rest, *head)), SHAPE, 3)
    return Classifier(model, model.init(np.random.default_rng(0)), threads=1)


def saved(kind: str, **settings: Any) -> bytes:
    """The content of the network's file."""
    with TemporaryDirectory() as folder:
        formats.save(network(), Path(folder) / "file", kind, **settings)
        return (Path(folder) / "file").read_bytes()


def safetensors_files() -> tuple[bytes, ...]:
    """A file of npsnn's own, and the same in half precision."""
    half = {name: array.astype(np.float16) for name, array in layout.entries(network()).items()}
    about = {"npsnn": json.dumps(network().spec, sort_keys=True)}
    return saved("safetensors"), import_module("safetensors.numpy").save(half, about)


def torch_files() -> tuple[bytes, ...]:
    """A state_dict as PyTorch writes it, as it did before 1.6, and in a checkpoint with brain floats."""
    torch, found = import_module("torch"), []
    state = import_module("npsnn.interop.torch").state_dict(network())
    brain = {"epoch": 3, "state_dict": {name: t.bfloat16() for name, t in state.items()}}
    for content, settings in ((state, {}), (state, {"_use_new_zipfile_serialization": False}), (brain, {})):
        torch.save(content, stream := io.BytesIO(), **settings)
        found.append(stream.getvalue())
    return tuple(found)


def apart() -> tuple[bytes, bytes]:
    """An ONNX file whose arrays stand in apart.data, and the arrays."""
    onnx = import_module("onnx")
    made, arrays = onnx.load_model_from_string(saved("onnx")), b""
    for tensor in made.graph.initializer:
        raw = onnx.numpy_helper.to_array(tensor).tobytes()
        for key, value in (("location", "apart.data"), ("offset", len(arrays)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        arrays += raw
        tensor.raw_data, tensor.data_location = b"", onnx.TensorProto.EXTERNAL
    return made.SerializeToString(), arrays


def reads(name: str, **settings: Any) -> Callable[[Path], None]:
    """What reads a file of that name in a folder, and asks what is read for an answer."""

    def read(folder: Path) -> None:
        found = formats.load(folder / name, **settings)
        with suppress(ValueError):  # logits that overflow
            found.predict(np.full((1, *found.model.shape), 0.5, np.float32))

    return read


def sources(kind: str) -> tuple[str, tuple[bytes, ...], Callable[[Path], None], dict[str, bytes]]:
    """The file of a kind that is mutated, its sound contents, what reads it, and the files beside it."""
    if kind == "safetensors":
        return "a.safetensors", safetensors_files(), reads("a.safetensors"), {}
    if kind == "PyTorch":
        return "a.pt", torch_files(), reads("a.pt", model=network().model), {}
    graph, arrays = apart()
    beside, read = {"net/a.onnx": graph, "net/apart.data": arrays}, reads("net/a.onnx")
    if kind == "ONNX":
        return "net/a.onnx", (saved("onnx"), graph), read, beside
    return "net/apart.data", (arrays,), read, beside
