"""npsnn's layers as nodes of ONNX.

Imports the package onnx: `npsnn.interop.onnx.save` imports this file when it is asked for a file.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Layer, Params
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.centres import Centres
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.mixing import Mixing
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.layers.params import at_path, flatten, unflatten
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten

OPSET, IR = 17, 8
"""The versions of the nodes and of the file: old enough for programs of 2022."""


def content_of(network: Classifier, noise: bool) -> bytes:
    """The bytes of the file; arguments and errors as of `npsnn.interop.onnx.save`."""
    if noise and network.average > 1:
        raise ValueError(f"noise must be off for a network that averages {network.average} draws, got it drawn")
    flat = {name: to_host(p) for name, p in flatten(network.params).items()}
    graph = _Graph(unflatten(flat), noise and not network.noise_off)
    model, batch = network.model, "N"
    last = graph.sequential(model.network, "", "images")
    graph.node("Identity", "logits", [last], output="logits")
    made = helper.make_graph(
        graph.nodes,
        model.name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, *model.shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, model.classes])],
        graph.constants,
    )
    found = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="npsnn")
    found.ir_version = IR
    helper.set_model_props(found, {"npsnn": json.dumps(network.spec, sort_keys=True)})
    onnx.checker.check_model(found)
    content: bytes = found.SerializeToString(deterministic=True)
    return content


class _Graph:
    """Nodes and constants. params: of the whole network; noise: whether it is drawn."""

    def __init__(self, params: Params, noise: bool) -> None:
        self.params, self.noise, self.flat = params, noise, False
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, path: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node; the name of its output, which is made of the path of the layer, is returned."""
        output = output or f"{path}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [output], f"{path}/{kind}", **attributes))
        return output

    def constant(self, name: str, array: Any) -> str:
        """Add an array of single precision, or of whole numbers; its name is returned."""
        array = np.asarray(array)
        array = array if array.dtype == np.int64 else np.array(array, np.float32, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def sequential(self, layers: Sequential, path: str, x: str) -> str:
        for name, part in layers.layers:
            x = self.layer(part, f"{path}{name}", x)
        return x

    def layer(self, part: Layer, path: str, x: str) -> str:
        """Add a layer to the value of the name x; the name of its output is returned."""
        make = MAKERS.get(type(part))
        if make is None:
            raise ValueError(f"{path} has no counterpart in ONNX: {type(part).__name__} is a layer of your own")
        return make(self, part, path, x, at_path(path, self.params))

    def affine(self, part: Any, path: str, inputs: list[str]) -> str:
        """Add a convolution or a linear layer; inputs: the names of x, the weights and, if there is one, the bias."""
        if isinstance(part, Linear):
            return self.node("Gemm", path, inputs, transB=1)
        settings: dict[str, Any] = {"pads": [part.padding] * 4, "strides": [part.stride] * 2}
        return self.node("Conv", path, inputs, kernel_shape=[part.kernel] * 2, **settings)


def _there(w: np.ndarray) -> np.ndarray:
    """Weights with ONNX's order of axes, which is PyTorch's."""
    return w.transpose(0, 3, 1, 2) if w.ndim == 4 else w


def _affine(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    names = [graph.constant(f"{path}.weight", _there(own["w"]))]
    if "b" in own:
        names.append(graph.constant(f"{path}.bias", own["b"]))
    return graph.affine(part, path, [x, *names])


def _noisy(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    """Weights w + s ε with one draw for a batch, as the layer has it."""
    if not graph.noise:
        return _affine(graph, part.quiet(), path, x, own)
    size, size_b = part.sizes(own)
    inputs = [x, _drawn(graph, f"{path}.weight", _there(own["w"]), _there(np.broadcast_to(size, own["w"].shape)))]
    if "b" in own and size_b is None:
        inputs.append(graph.constant(f"{path}.bias", own["b"]))
    elif "b" in own:
        inputs.append(_drawn(graph, f"{path}.bias", own["b"], size_b))
    return graph.affine(part, path, inputs)


def _drawn(graph: _Graph, name: str, mean: np.ndarray, size: np.ndarray) -> str:
    drawn = graph.node("RandomNormal", name, [], shape=list(mean.shape))
    noise = graph.node("Mul", name, [drawn, graph.constant(f"{name}_std", size)])
    return graph.node("Add", name, [noise, graph.constant(name, mean)])


def _independent(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    if not graph.noise:
        return x
    sigma, like = own["sigma"], x
    sigma = sigma[:, None, None] if sigma.ndim == 1 and not graph.flat else sigma
    if part.shared:  # one draw for a batch: that of its first image
        ends = [graph.constant(f"{path}.{name}", np.array([n], np.int64)) for name, n in (("first", 0), ("end", 1))]
        like = graph.node("Slice", path, [x, *ends, ends[0]])
    drawn = graph.node("RandomNormalLike", path, [like])
    noise = graph.node("Mul", path, [drawn, graph.constant(f"{path}.sigma", sigma)])
    return graph.node("Add", path, [x, noise])


def _correlated(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    if not graph.noise:
        return x
    drawn, factor = graph.node("RandomNormalLike", path, [x]), own["L"]
    kind = "MatMul" if factor.ndim == 2 else "Mul"
    noise = graph.node(kind, path, [drawn, graph.constant(f"{path}.L", factor.T)])
    return graph.node("Add", path, [x, noise])


def _normalise(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    for kind, name in (("Sub", "mean"), ("Div", "std")):
        values = np.array(getattr(part, name), np.float32)[:, None, None]
        x = graph.node(kind, path, [x, graph.constant(f"{path}.{name}", values)])
    return x


def _norm(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    names = {"w": "weight", "b": "bias"}
    each = [graph.constant(f"{path}.{names.get(n, n)}", own[n]) for n in ("w", "b", "running_mean", "running_var")]
    return graph.node("BatchNormalization", path, [x, *each], epsilon=part.epsilon)


def _prelu(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    slope = own["slope"] if graph.flat else own["slope"][:, None, None]
    return graph.node("PRelu", path, [x, graph.constant(f"{path}.weight", slope)])


def _max_pool(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    stride, padding = getattr(part, "stride", part.size), getattr(part, "padding", 0)
    pads, strides = [padding] * 4, [stride] * 2
    return graph.node("MaxPool", path, [x], kernel_shape=[part.size] * 2, strides=strides, pads=pads)


def _mean_pool(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    return graph.node("AveragePool", path, [x], kernel_shape=[part.size] * 2, strides=[part.size] * 2)


def _flatten(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    graph.flat = True
    return graph.node("Flatten", path, [x], axis=1)


def _residual(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    before = graph.flat
    body = graph.sequential(part.body, f"{path}.body.", x)
    after, graph.flat = graph.flat, before
    shortcut = graph.sequential(part.shortcut, f"{path}.shortcut.", x)
    graph.flat = after
    return graph.node("Add", path, [body, shortcut])


def _mixing(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    if graph.noise:
        raise ValueError(f"{path} mixes images, whose draws have no counterpart in ONNX: leave the noise off")
    return graph.sequential(part.body, f"{path}.body.", x)


def _nothing(graph: _Graph, part: Any, path: str, x: str, own: Params) -> str:
    return x


MAKERS: dict[type, Callable[[_Graph, Any, str, str, Params], str]] = {
    Conv2d: _affine,
    Linear: _affine,
    NoisyConv2d: _noisy,
    NoisyLinear: _noisy,
    Normalise: _normalise,
    BatchNorm: _norm,
    ReLU: lambda graph, part, path, x, own: graph.node("Relu", path, [x]),
    PReLU: _prelu,
    MaxPool: _max_pool,
    OverlappingMaxPool: _max_pool,
    MeanPool: _mean_pool,
    Flatten: _flatten,
    Dropout: _nothing,
    Centres: _nothing,
    PreactivationNoise: _independent,
    FeatureNoise: _correlated,
    Sequential: lambda graph, part, path, x, own: graph.sequential(part, f"{path}.", x),
    Residual: _residual,
    Mixing: _mixing,
}
"""What makes the nodes of each layer; a subclass of a user may compute something else, and has none."""
