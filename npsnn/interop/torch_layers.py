"""The layers of a PyTorch Sequential as npsnn's.

Imports PyTorch: `npsnn.interop.torch.from_module` imports this file when it is asked for a network.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Forms, Layer, Shape
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model


def model_of(module: Any, shape: Shape, name: str) -> tuple[Model, dict[str, Any]]:
    """The model, and the entries of its parameters; arguments and errors as of `npsnn.interop.torch.from_module`."""
    if not isinstance(module, nn.Sequential):
        way = "export it by torch.onnx.export, and import the file"
        raise ValueError(f"module must be a Sequential, whose order is known, got {type(module).__name__}: {way}")
    check_plain(module, "module")
    if not isinstance(shape, tuple | list) or len(shape) != 3 or not all(type(n) is int for n in shape):
        raise ValueError(f"shape must be one image's, (C, H, W), got {shape!r:.80}")
    reader = _Reader(module)
    layers, out = reader.sequential(module, tuple(shape), "")
    if len(out) != 1:
        raise ValueError(f"module must end in a vector of logits, got the output shape {out}")
    parts = list(layers.layers)
    last, head = parts[-1]
    if isinstance(head, Linear):
        parts[-1] = last, replace(head, joint=True)
    return Model(name, Sequential(tuple(parts)), shape, out[0]), reader.state


class _Reader:
    """Reads modules; state: the entries that npsnn's layers ask for."""

    def __init__(self, module: Any) -> None:
        self.state = dict(module.state_dict())

    def sequential(self, module: Any, shape: Shape, path: str) -> tuple[Sequential, Shape]:
        parts: list[tuple[str, Layer]] = []
        rng = Forms(1)
        for name, child in module._modules.items():  # named_children leaves out a child that comes again
            where = f"{path}{name}"
            read = READERS.get(type(child))
            if read is None and not isinstance(child, nn.Sequential) and type(child) is not nn.Identity:
                raise ValueError(f"{where} has no counterpart in npsnn: {type(child).__name__}")
            check_plain(child, where)
            if type(child) is nn.Identity:
                continue
            if read is None:
                part, shape = self.sequential(child, shape, f"{where}.")
                parts.append((name, part))
                continue
            try:
                layer: Any = read(self, child, shape, where)
                _, shape = layer.init(rng, shape)
            except ValueError as error:
                raise ValueError(f"{where}, {type(child).__name__}: {error}") from error
            parts.append((name, layer))
        return Sequential(tuple(parts)), shape

    def spread(self, name: str, count: int) -> None:
        """Make an entry that is one number for all one number for each."""
        if len(self.state[name]) == 1:
            self.state[name] = self.state[name].expand(count)


def check_plain(module: Any, where: str) -> None:
    """Raise ValueError for a Sequential whose forward is code of its own, and for hooks, which may change an answer."""
    if isinstance(module, nn.Sequential) and type(module).forward is not nn.Sequential.forward:
        raise ValueError(f"{where} must be a plain Sequential, got {type(module).__name__} with a forward of its own")
    if module._forward_hooks or module._forward_pre_hooks:
        raise ValueError(f"{where} must have no forward hooks, which may change what {type(module).__name__} answers")


def only(**settings: tuple[Any, Any]) -> None:
    """Raise ValueError where a setting, the first of a pair, is not the one that npsnn's layer has."""
    for name, (value, wanted) in settings.items():
        if value != wanted:
            raise ValueError(f"{name} must be {wanted}, got {value}")


def one(name: str, value: Any) -> int:
    """The number that a setting has in both directions; raises ValueError for two."""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(set(both)) != 1 or type(both[0]) is not int:
        raise ValueError(f"{name} must be one number for both directions, got {value}")
    return both[0]


def _conv(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    only(groups=(m.groups, 1), dilation=(one("dilation", m.dilation), 1), padding_mode=(m.padding_mode, "zeros"))
    kernel, stride, padding = one("kernel_size", m.kernel_size), one("stride", m.stride), m.padding
    if padding == "same" and kernel % 2 == 0:
        raise ValueError(f"padding must be the same on all sides, got {padding} with kernel_size {kernel}")
    if isinstance(padding, str):
        padding = kernel // 2 if padding == "same" else 0
    return Conv2d(m.out_channels, kernel, stride, one("padding", padding), m.bias is not None)


def _linear(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    if m.bias is None:
        reader.state[f"{where}.bias"] = m.weight.new_zeros(m.out_features)
    return Linear(m.out_features)


def _norm(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    only(affine=(m.affine, True), track_running_stats=(m.track_running_stats, True))
    if m.momentum is None:
        raise ValueError("momentum must be a number, got None")
    return BatchNorm(m.momentum, m.eps)


def _prelu(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    reader.spread(f"{where}.weight", shape[0])
    return PReLU()


def _max_pool(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    only(dilation=(one("dilation", m.dilation), 1), ceil_mode=(m.ceil_mode, False), indices=(m.return_indices, False))
    size, stride, padding = one("kernel_size", m.kernel_size), one("stride", m.stride), one("padding", m.padding)
    return MaxPool(size) if stride == size and padding == 0 else OverlappingMaxPool(size, stride, padding)


def _mean_pool(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    size = one("kernel_size", m.kernel_size)
    only(stride=(one("stride", m.stride), size), padding=(one("padding", m.padding), 0))
    only(ceil_mode=(m.ceil_mode, False), divisor_override=(m.divisor_override, None))
    return MeanPool(size)


def _whole_mean(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    only(output_size=(one("output_size", m.output_size), 1))
    return whole_mean(shape)


def whole_mean(shape: Shape) -> Layer:
    """The mean over the whole image; raises ValueError where the image is not square."""
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"the mean over an image needs a square one, got the shape {shape}")
    return MeanPool(shape[1])


def _flatten(reader: _Reader, m: Any, shape: Shape, where: str) -> Layer:
    only(start_dim=(m.start_dim, 1), end_dim=(m.end_dim, -1))
    return Flatten() if len(shape) == 3 else Sequential(())


READERS: dict[Any, Callable[[_Reader, Any, Shape, str], Layer]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.ReLU: lambda reader, m, shape, where: ReLU(),
    nn.PReLU: _prelu,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _mean_pool,
    nn.AdaptiveAvgPool2d: _whole_mean,
    nn.Flatten: _flatten,
    nn.Dropout: lambda reader, m, shape, where: Dropout(m.p),
    nn.Dropout2d: lambda reader, m, shape, where: Dropout(m.p, channels=True),
}
"""What reads a module of each class; a subclass may compute something else, and has no reader."""
