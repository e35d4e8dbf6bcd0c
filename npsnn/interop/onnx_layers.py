"""The layer of each kind of node."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from npsnn.interop.onnx_graph import Graph, Node
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Shape
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Sequential
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten


@dataclass(frozen=True)
class Read:
    """What a node was read as.

    kind: what the layer's name begins with.
    layer: the layer, None where the value stays as it is.
    params: its parameters.
    end: the value after it, where the layer is of several nodes; empty for the node's own output.
    """

    kind: str
    layer: Any = None
    params: dict[str, np.ndarray] = field(default_factory=dict)
    end: str = ""


def _padding(node: Node) -> int:
    """The black pixels on each side."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return 0
    if mode != "NOTSET":
        raise ValueError(f"auto_pad must be NOTSET or VALID, got {mode}: give pads in its place")
    return node.one("pads", 0, 4)


def _size(node: Node) -> int:
    """The height and width of a window."""
    if "kernel_shape" not in node.attributes:
        raise ValueError("kernel_shape must be there, got none")
    return node.one("kernel_shape", 0)


def _conv(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    w = graph.weights(node, 1, "filters")
    node.only(group=1)
    if w.ndim != 4 or w.shape[2] != w.shape[3] or node.one("dilations", 1) != 1:
        raise ValueError(f"its filters must be square and without dilations, got the shape {w.shape}")
    if w.shape[1] != shape[0]:
        raise ValueError(f"its filters are for {w.shape[1]} channels, got an image of {shape[0]}")
    if node.one("kernel_shape", w.shape[2]) != w.shape[2]:
        raise ValueError(f"kernel_shape must be that of its filters, {w.shape[2]}, got {node.one('kernel_shape', 0)}")
    params = {"w": w.transpose(0, 2, 3, 1)}
    if len(node.inputs) > 2 and node.inputs[2]:
        params["b"] = graph.weights(node, 2, "bias")
    layer = Conv2d(len(w), w.shape[2], node.one("strides", 1), _padding(node), "b" in params)
    return Read("conv", layer, params)


def _linear(w: np.ndarray, b: np.ndarray | None, shape: Shape, end: str = "") -> Read:
    """A matrix (features, inputs) with a bias that may be one number for all."""
    if w.ndim != 2 or shape != (w.shape[1],):
        raise ValueError(f"its matrix of the shape {w.shape} must fit its input, got the shape {shape}")
    if b is not None and b.size != 1 and (b.size != len(w) or b.shape[-1] != b.size):
        raise ValueError(f"its bias must be {len(w)} numbers in a row, got the shape {b.shape}")
    b = np.zeros(len(w), w.dtype) if b is None else np.broadcast_to(b.reshape(-1), (len(w),))
    return Read("fc", Linear(len(w)), {"w": w, "b": b}, end)


def _gemm(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    node.only(alpha=1.0, beta=1.0, transA=0)
    w = graph.weights(node, 1, "matrix")
    bias = graph.weights(node, 2, "bias") if len(node.inputs) > 2 and node.inputs[2] else None
    return _linear(w if node.attributes.get("transB", 0) else w.T, bias, shape)


def _matmul(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    w = graph.weights(node, 1, "matrix").T
    follows = graph.next(node.output, "Add")
    if follows is None or graph.joins(follows):
        return _linear(w, None, shape)
    place = 1 if follows.inputs[0] == node.output else 0
    return _linear(w, graph.weights(follows, place, "bias"), shape, follows.output)


def _norm(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    node.only(training_mode=0, spatial=1)
    names = {"w": "scale", "b": "bias", "running_mean": "mean", "running_var": "variance"}
    params = {name: graph.weights(node, i, what) for i, (name, what) in enumerate(names.items(), start=1)}
    return Read("bn", BatchNorm(epsilon=node.attributes.get("epsilon", 1e-5)), params)


def _prelu(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    slope = graph.weights(node, 1, "slope")
    each = slope.reshape(-1)
    channels = (shape[0], *(1,) * (len(shape) - 1))
    if slope.size != 1 and (slope.size != shape[0] or slope.shape[-len(shape) :] != channels):
        raise ValueError(f"its slope must be one number for each of {shape[0]} channels, got the shape {slope.shape}")
    return Read("prelu", PReLU(), {"slope": np.broadcast_to(each, shape[:1])})


def _max_pool(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    size, stride, padding = _size(node), node.one("strides", 1), _padding(node)
    if node.one("dilations", 1) != 1:
        raise ValueError("dilations must be 1")
    _check_floor(node, shape, size, stride, padding)
    plain = stride == size and padding == 0
    return Read("pool", MaxPool(size) if plain else OverlappingMaxPool(size, stride, padding))


def _check_floor(node: Node, shape: Shape, size: int, stride: int, padding: int) -> None:
    """Raise ValueError where windows beyond the edge count, and for windows that do not move."""
    if stride < 1:
        raise ValueError(f"strides must be >= 1, got {stride}")
    if node.attributes.get("ceil_mode", 0) and any((n + 2 * padding - size) % stride for n in shape[1:]):
        raise ValueError(f"ceil_mode must be 0 for an image of the shape {shape}, which windows of {size} do not fill")


def _mean_pool(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    size = _size(node)
    if node.one("strides", 1) != size or _padding(node) or node.one("dilations", 1) != 1:
        raise ValueError(f"strides must be the {size} of kernel_shape, without pads and dilations")
    _check_floor(node, shape, size, size, 0)
    return Read("pool", MeanPool(size))


def _whole_mean(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"the mean over an image needs a square one, got the shape {shape}")
    return Read("pool", MeanPool(shape[1]))


def _reduced(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    """The mean over the whole image, which may become a vector at once."""
    given = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes")
    axes = [] if given is None else np.asarray(given).tolist()
    if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise ValueError(f"axes must be 2 and 3, those of an image, got {axes}")
    pool = _whole_mean(graph, node, at, shape)
    if node.attributes.get("keepdims", 1):
        return pool
    return Read("mean", Sequential((("pool", pool.layer), ("flatten", Flatten()))))


def _flatten(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    node.only(axis=1)
    return Read("flatten", Flatten() if len(shape) == 3 else None)


def _reshape(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    sizes = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    count = prod(shape)
    images, numbers = sizes.tolist() if sizes is not None and sizes.shape == (2,) else (-1, -1)
    if numbers != count and (numbers, images) != (-1, max(images, 0)):  # -1 is whatever is left
        to = "what is computed" if sizes is None else sizes.tolist()
        raise ValueError(f"it must make vectors of {count} numbers of each image, got {to}")
    if images == 0:  # which stands for the number of images as it is, unless the node says otherwise
        node.only(allowzero=0)
    return Read("flatten", Flatten() if len(shape) == 3 else None)


def _normalise(graph: Graph, node: Node, at: str, shape: Shape) -> Read:
    """(x - mean) / std, or (x - mean) · (1 / std), of an image."""
    follows = graph.next(node.output, "Div", "Mul")
    if len(shape) != 3 or follows is None or follows.inputs[0] != node.output:
        raise ValueError("it has no counterpart in npsnn, but for (x - mean) / std of images")
    mean, std = (_channels(graph, each, shape) for each in (node, follows))
    if not (std > 0).all():
        raise ValueError("the standard deviations must be > 0")
    std = 1 / std if follows.kind == "Mul" else std
    return Read("normalise", Normalise(tuple(mean.tolist()), tuple(std.tolist())), {}, follows.output)


def _channels(graph: Graph, node: Node, shape: Shape) -> np.ndarray:
    """The constant of each channel, or of all, that a node takes second."""
    values = graph.weights(node, 1, "constant").astype(np.float64)
    if values.size != 1 and (values.size != shape[0] or values.shape[-2:] != (1, 1)):
        raise ValueError(f"its constant must be one number for each channel, got the shape {values.shape}")
    return np.broadcast_to(values.reshape(-1), shape[:1])


READERS: dict[str, Callable[[Graph, Node, str, Shape], Read]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Relu": lambda graph, node, at, shape: Read("relu", ReLU()),
    "PRelu": _prelu,
    "MaxPool": _max_pool,
    "AveragePool": _mean_pool,
    "GlobalAveragePool": _whole_mean,
    "ReduceMean": _reduced,
    "BatchNormalization": _norm,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Sub": _normalise,
}
