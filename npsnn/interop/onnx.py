"""Networks to and from ONNX files. Needs the extra `onnx`; any program that runs ONNX runs the files."""

import os

from npsnn import files
from npsnn.classifier import Classifier
from npsnn.files.paths import user_path
from npsnn.interop import needed
from npsnn.layers.base import Shape

__all__ = ["load", "save"]

LIMIT = 1 << 30
"""The bytes that a file may have."""


def save(network: Classifier, path: str | os.PathLike[str], noise: bool = False) -> None:
    """Write a network to an ONNX file, whole or not at all.

    network: the network; one in double precision is written in single precision.
    path: of the file, which is replaced.
    noise: whether the noise is drawn, by nodes RandomNormalLike and RandomNormal; otherwise it is off.
    The input "images" is (N, C, H, W) in [0, 1] for any N, the output "logits" (N, classes). The nodes are of opset 17.
    Raises OSError, naming the file, where it cannot be written, ImportError without the package onnx, and
    ValueError for a layer that ONNX has no nodes for, and for noise where answers are averages of several draws.
    """
    needed("onnx", "onnx")
    from npsnn.interop import onnx_out

    files.write_atomic(user_path(path), onnx_out.content_of(network, noise))


def load(path: str | os.PathLike[str], shape: Shape | None = None, name: str | None = None) -> Classifier:
    """Read a network from an ONNX file.

    path: of the file; arrays may stand in a file beside it, as `torch.onnx.export` leaves them.
    shape: one image, (C, H, W); None where the file says it.
    name: name of the model; None for the name of the file.
    The nodes may be Conv, Gemm, MatMul with Add, Relu, PRelu, MaxPool, AveragePool, GlobalAveragePool,
    ReduceMean over the image, BatchNormalization, Flatten, Reshape to vectors, Identity, Dropout, and Add of two
    branches of one value; Sub with Mul or Div by constants of the channels is `npsnn.layers.Normalise`. Images are in
    [0, 1].
    Raises FileNotFoundError or another OSError where the file cannot be read, and ValueError, naming the file and the
    node, where it is damaged or has a node, or a setting of one, that npsnn has no layer for.
    """
    path = user_path(path)
    content = files.read_bytes(path, LIMIT)
    needed("onnx", "onnx")
    from npsnn.interop import onnx_in

    with files.blamed(path):
        return onnx_in.network_of(content, path.parent, shape, path.stem if name is None else name)
