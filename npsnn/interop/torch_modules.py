"""npsnn's layers as PyTorch modules whose parameters have the names and the layout of `npsnn.interop.layout`.

Imports PyTorch: `npsnn.interop.torch.module` imports this file when it is asked for a module.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from npsnn.classifier import Classifier
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Layer
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.centres import Centres
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.mixing import Mixing
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten

State = Mapping[str, Any]


def of_network(network: Classifier, state: dict[str, Any], noise: bool) -> Any:
    """The network as a module; arguments and errors as of `npsnn.interop.torch.module`.

    state: its state_dict.
    """
    with torch.device("meta"):  # no numbers are drawn that the state replaces
        found = _Builder(state, noise).sequential(network.model.network, "")
    odd = found.load_state_dict(state, strict=False, assign=True)
    counters = [name for name in odd.missing_keys if not name.endswith("num_batches_tracked")]
    assert not odd.unexpected_keys and not counters, f"entries that differ: {odd}"
    return found.to("cpu").eval()


class Normalised(nn.Module):  # type: ignore[misc]
    """(x - mean) / std for each channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], dtype: Any) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            own = torch.tensor(values, dtype=dtype, device="cpu")[:, None, None]
            self.register_buffer(name, own, persistent=False)

    def forward(self, x: Any) -> Any:
        return (x - self.mean) / self.std


class Unit(nn.Module):  # type: ignore[misc]
    """A layer of the given parameters that leaves its input as it is, or adds Gaussian noise to it.

    noise: from the parameters by name, the input and standard normal numbers to what is added; None for nothing.
    shared: whether all images of a batch have one draw.
    """

    def __init__(self, own: State, noise: Callable[[State, Any, Any], Any] | None, shared: bool = False) -> None:
        super().__init__()
        for name, value in own.items():
            self.register_parameter(name, nn.Parameter(torch.empty_like(value, device="meta")))
        self.noise, self.shared = noise, shared

    def forward(self, x: Any) -> Any:
        if self.noise is None:
            return x
        drawn = torch.randn_like(x[:1] if self.shared else x)
        return x + self.noise(dict(self.named_parameters()), x, drawn)


def _independent(own: State, x: Any, drawn: Any) -> Any:
    sigma = own["sigma"]
    return (sigma[:, None, None] if sigma.ndim == 1 and x.ndim == 4 else sigma) * drawn


def _correlated(own: State, x: Any, drawn: Any) -> Any:
    factor = own["L"]
    return drawn @ factor.T if factor.ndim == 2 else factor * drawn


class Noisy(nn.Module):  # type: ignore[misc]
    """A convolution or a linear layer whose weights are w + s ε, with one draw for a batch, or w where noise is off."""

    def __init__(self, own: State, apply: Callable[[Any, Any, Any], Any], noise: bool) -> None:
        super().__init__()
        for name, value in own.items():
            self.register_parameter(name, nn.Parameter(torch.empty_like(value, device="meta")))
        self.apply_to, self.noise = apply, noise

    def forward(self, x: Any) -> Any:
        own = dict(self.named_parameters())
        w, b = own["weight"], own.get("bias")
        if self.noise and "rho" in own:
            w = w + own["rho"].exp() * torch.randn_like(w)
            b = b if b is None else b + own["rho_b"].exp() * torch.randn_like(b)
        elif self.noise:
            alpha = own["alpha"]
            alpha = alpha.reshape(-1, *(1,) * (w.ndim - 1)) if alpha.ndim == 1 else alpha
            w = w + alpha * w.std() * torch.randn_like(w)
        return self.apply_to(x, w, b)


class Sum(nn.Module):  # type: ignore[misc]
    """body(x) + shortcut(x)."""

    def __init__(self, body: Any, shortcut: Any) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Any) -> Any:
        return self.body(x) + self.shortcut(x)


class Body(nn.Module):  # type: ignore[misc]
    """The body of a network that mixes images, with the stored images, which its answer does not use."""

    def __init__(self, body: Any, pool: Any) -> None:
        super().__init__()
        self.body = body
        self.register_parameter("pool", nn.Parameter(torch.empty_like(pool, device="meta"), requires_grad=False))

    def forward(self, x: Any) -> Any:
        return self.body(x)


class _Builder:
    """Makes a module of each layer. state: all entries by name; noise: whether it is drawn."""

    def __init__(self, state: State, noise: bool) -> None:
        self.state, self.noise, self.flat = state, noise, False
        self.dtype = next(iter(state.values())).dtype

    def sequential(self, layers: Sequential, path: str) -> Any:
        parts = [(name, self.module(part, f"{path}{name}.")) for name, part in layers.layers]
        try:
            return nn.Sequential(OrderedDict(parts))
        except KeyError as error:
            raise ValueError(f"PyTorch has no layer of a name that modules use themselves: {error}") from error

    def module(self, part: Layer, path: str) -> Any:
        """The module of one layer; path: what the names of its entries begin with."""
        make = MAKERS.get(type(part))
        if make is None:
            raise ValueError(f"{path[:-1]} has no counterpart in PyTorch: {type(part).__name__} is a layer of your own")
        own = {k.removeprefix(path): v for k, v in self.state.items() if k.startswith(path)}
        return make(self, part, path, own)

    def kind(self) -> dict[str, Any]:
        return {"dtype": self.dtype}


def _conv(build: _Builder, part: Any, path: str, own: State) -> Any:
    inputs = own["weight"].shape[1]
    settings = (part.kernel, part.stride, part.padding)
    return nn.Conv2d(inputs, part.channels, *settings, bias=part.bias, **build.kind())


def _noisy_conv(build: _Builder, part: Any, path: str, own: State) -> Any:
    stride, padding = part.stride, part.padding
    return Noisy(own, lambda x, w, b: nn.functional.conv2d(x, w, b, stride, padding), build.noise)


def _norm(build: _Builder, part: Any, path: str, own: State) -> Any:
    kind = nn.BatchNorm1d if build.flat else nn.BatchNorm2d
    return kind(len(own["weight"]), part.epsilon, part.momentum, **build.kind())


def _flatten(build: _Builder, part: Any, path: str, own: State) -> Any:
    build.flat = True
    return nn.Flatten()


def _residual(build: _Builder, part: Any, path: str, own: State) -> Any:
    before = build.flat
    body = build.sequential(part.body, f"{path}body.")
    after, build.flat = build.flat, before
    shortcut = build.sequential(part.shortcut, f"{path}shortcut.")
    build.flat = after
    return Sum(body, shortcut)


def _mixing(build: _Builder, part: Any, path: str, own: State) -> Any:
    if build.noise:
        raise ValueError(f"{path[:-1]} mixes images, whose draws have no counterpart in PyTorch: leave the noise off")
    return Body(build.sequential(part.body, f"{path}body."), own["pool"])


MAKERS: dict[type, Callable[[_Builder, Any, str, State], Any]] = {
    Conv2d: _conv,
    NoisyConv2d: _noisy_conv,
    Linear: lambda build, part, path, own: nn.Linear(own["weight"].shape[1], part.features, **build.kind()),
    NoisyLinear: lambda build, part, path, own: Noisy(own, nn.functional.linear, build.noise),
    Normalise: lambda build, part, path, own: Normalised(part.mean, part.std, build.dtype),
    BatchNorm: _norm,
    ReLU: lambda build, part, path, own: nn.ReLU(),
    PReLU: lambda build, part, path, own: nn.PReLU(len(own["weight"]), **build.kind()),
    MaxPool: lambda build, part, path, own: nn.MaxPool2d(part.size),
    OverlappingMaxPool: lambda build, part, path, own: nn.MaxPool2d(part.size, part.stride, part.padding),
    MeanPool: lambda build, part, path, own: nn.AvgPool2d(part.size),
    Flatten: _flatten,
    Dropout: lambda build, part, path, own: (nn.Dropout2d if part.channels else nn.Dropout)(part.p),
    Centres: lambda build, part, path, own: Unit(own, None),
    PreactivationNoise: lambda build, part, path, own: Unit(own, _independent if build.noise else None, part.shared),
    FeatureNoise: lambda build, part, path, own: Unit(own, _correlated if build.noise else None),
    Sequential: lambda build, part, path, own: build.sequential(part, path),
    Residual: _residual,
    Mixing: _mixing,
}
"""What makes the module of each layer; a subclass of a user may compute something else, and has none."""
