"""Layers that hold layers, and how to walk through them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np

from npsnn.backend import Array, fused, later
from npsnn.interrupts import heed
from npsnn.layers.base import Backward, Forms, Layer, Params, Passing, Shape, Want, couples_batch, layer, passed
from npsnn.layers.moments import Moments, Noise
from npsnn.validate import check_types


@layer
@dataclass(frozen=True)
class Sequential(Passing):
    """Named layers, one after the other; the parameters of the layer "conv1" are params["conv1"].

    layers: pairs of a name and a layer.
    Raises ValueError for a name that is taken, is empty, or has a dot.
    """

    layers: tuple[tuple[str, Layer], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.layers]
        if len(set(names)) < len(names) or any(not name or "." in name for name in names):
            raise ValueError(f"layers must have different names, without a dot, got {', '.join(names)}")

    def __repr__(self) -> str:
        return f"<Sequential {', '.join(name for name, _ in self.layers)}>"

    @property
    def couples_batch(self) -> bool:
        """Whether any layer inside does, at whatever depth."""
        return any(couples_batch(part) for _, part in self.layers)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        params: Params = {}
        for name, part in self.layers:
            params[name], shape = part.init(rng, shape)
            if isinstance(rng, Forms):
                rng.output(name, shape)
        return {name: p for name, p in params.items() if p}, shape

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        steps: list[tuple[str, Backward]] = []
        for name, part in self.layers:
            heed()
            m, back = passed(part, params.get(name, {}), m, noise.at(name))
            steps.append((name, back))
        first = next((i for i, (name, _) in enumerate(steps) if name in params), len(steps))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads: Params = {}
            cotangent: Moments | None = g
            above = want | Want.INPUT
            for i in range(len(steps) - 1, -1 if Want.INPUT in want else first - 1, -1):
                heed()
                name, back = steps[i]
                cotangent, found = back(known(cotangent), above if i > first else want)
                if found:
                    grads[name] = found
            return cotangent if Want.INPUT in want else None, grads

        return m, backward


@layer
@dataclass(frozen=True)
class Residual(Passing):
    """The sum of two branches of one input, body(x) + shortcut(x).

    body: layers of one branch.
    shortcut: layers of the other; no layers are the identity.
    Means add. Variances add as if the branches were independent, which is right for the noise that each branch adds.
    The noise of x itself is in both: the covariance of the branches is dropped there, like the one between units (audit
        N15).
    Under a draw of the noise the sum is exact. The parameters are {"body": {...}, "shortcut": {...}}.
    Raises ValueError for branches with different output shapes.
    """

    body: Sequential
    shortcut: Sequential

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def couples_batch(self) -> bool:
        """Whether a layer of either branch does."""
        return self.body.couples_batch or self.shortcut.couples_batch

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        body, out = self.body.init(rng, shape)
        shortcut, other = self.shortcut.init(rng, shape)
        if out != other:
            raise ValueError(f"both branches of a Residual must have one output shape, got {out} and {other}")
        return {name: p for name, p in (("body", body), ("shortcut", shortcut)) if p}, out

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        m = m.settled()  # both branches take it
        y, body = self.body.passed(params.get("body", {}), m, noise.at("body"))
        z, shortcut = self.shortcut.passed(params.get("shortcut", {}), m, noise.at("shortcut"))
        branches = [("body", body, y.var is not None), ("shortcut", shortcut, z.var is not None)]

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads: Params = {}
            cotangents = []
            for name, back, has_var in branches:
                dx, found = back(Moments(g.mean, g.var if has_var else None), want)
                cotangents.append(dx)
                if found:
                    grads[name] = found
            if Want.INPUT not in want:
                return None, grads
            a, b = map(known, cotangents)
            return Moments(_sum(a.mean, b.mean), _added(a.var, b.var)), grads

        return Moments(later(_sum, y.mean, z.mean), _added(y.var, z.var)), backward


@fused
def _sum(a: Array, b: Array) -> Array:
    return a + b


def _added(a: Array | None, b: Array | None) -> Array | None:
    """a + b, where None is zero."""
    if a is None or b is None:
        return b if a is None else a
    if a.shape != b.shape:  # of a variance that is one number, one branch may give that number's cotangent alone
        a, b = a.sum(keepdims=True), b.sum(keepdims=True)
    return a + b


def leaves(layer: Layer, name: str = "") -> Iterator[tuple[str, Layer]]:
    """The layers inside a layer that hold no others, each with its path, as "block1.body.conv1".

    layer: the layer to look into.
    name: path of that layer, which the paths begin with.
    """
    for path, part in nested(layer, name):
        if not parts(part) and not isinstance(part, Sequential):
            yield path, part


def nested(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """A layer and all layers inside it, containers among them, each with its path.

    layer: the layer to look into.
    path: path of that layer, which the other paths begin with.
    """
    yield path, layer
    for name, part in parts(layer):
        yield from nested(part, f"{path}.{name}" if path else name)


def parts(layer: Layer) -> tuple[tuple[str, Layer], ...]:
    """The layers directly inside a layer, by name: the layers of a Sequential, else each field that is a Sequential."""
    if isinstance(layer, Sequential):
        return layer.layers
    names: list[str] = [f.name for f in fields(layer)] if is_dataclass(layer) else []
    return tuple((name, part) for name in names if isinstance(part := getattr(layer, name), Sequential))


def mapped(network: Sequential, f: Callable[[Layer], Layer]) -> Sequential:
    """The network with another layer in place of each layer that holds no others.

    network: the network.
    f: from a layer to the one in its place.
    """

    def one(part: Layer) -> Layer:
        inner = held(part, lambda network: mapped(network, f))
        return inner if parts(part) or isinstance(part, Sequential) else f(part)

    return Sequential(tuple((name, one(part)) for name, part in network.layers))


def held(layer: Layer, f: Callable[[Sequential], Sequential]) -> Layer:
    """The layer with another Sequential in place of each Sequential that it is or has as a field.

    layer: the layer.
    f: from a Sequential to the one in its place.
    """
    if isinstance(layer, Sequential):
        return f(layer)
    inside = {name: f(part) for name, part in parts(layer) if isinstance(part, Sequential)}
    return replace(layer, **inside) if inside else layer  # type: ignore[type-var]


def known(g: Moments | None) -> Moments:
    """The cotangent, which a layer was asked for."""
    assert g is not None, "a layer above the first parameters returned no input cotangent"
    return g
