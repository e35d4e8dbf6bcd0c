"""Nodes of ONNX as npsnn's layers.

Imports the package onnx: `npsnn.interop.onnx.load` imports this file when it is asked for a network.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from npsnn.classifier import Classifier
from npsnn.interop.onnx_graph import Graph, Node, opset_of
from npsnn.interop.onnx_layers import READERS, Read
from npsnn.layers.affine import Linear
from npsnn.layers.base import Forms, Layer, Shape
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.params import flatten, unflatten
from npsnn.models.base import Model

DEPTH = 20
"""How deep branches may lie in one another."""
SINGLE = ("flatten", "normalise")
"""The layers that have a number only from the second on, as in npsnn's own networks."""


def network_of(content: bytes, folder: Path, shape: Shape | None, name: str) -> Classifier:
    """The network in the content of a file in a folder; arguments and errors as of `npsnn.interop.onnx.load`."""
    try:
        found = onnx.load_model_from_string(content)
    except Exception as error:  # the parser has its own errors, without a base of theirs
        raise ValueError(f"it is damaged or no ONNX file: {error}") from error
    try:
        return _network_of(Graph(found.graph, folder, opset_of(found)), shape, name)
    except (TypeError, KeyError, IndexError, OverflowError) as error:  # names that are no text, and the like
        raise ValueError(f"it is damaged: {type(error).__name__}, {error}") from error


def _network_of(graph: Graph, shape: Shape | None, name: str) -> Classifier:
    source, output, given = graph.ends(shape)
    reader = _Reader(graph)
    layers, end, out = reader.chain(source, given, output)
    if end != output:
        raise ValueError(f"{graph.taking(end)[0]} must lead to the output {output}, it meets another branch instead")
    if len(out) != 1:
        raise ValueError(f"it must end in a vector of logits, got the output shape {out}")
    parts = list(layers)
    if parts and isinstance(parts[-1][1], Linear):
        parts[-1] = parts[-1][0], replace(parts[-1][1], joint=True)
    model = Model(re.sub(r"[^\w-]+", "-", name) or "network", Sequential(tuple(parts)), given, out[0])
    flat = flatten({n: p for n, p in reader.params.items() if p})
    dtype = np.result_type(np.float32, *flat.values())  # of one precision
    flat = {name: np.asarray(p, dtype, order="C") for name, p in flat.items()}
    model.check(flat)
    return Classifier(model, unflatten(flat))


class _Reader:
    """Reads chains of nodes; params: of the layers so far, by their names."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.params: dict[str, Any] = {}
        self.seen: set[str] = set()

    def chain(self, at: str, shape: Shape, output: str, depth: int = 0) -> tuple[list[tuple[str, Layer]], str, Shape]:
        """The layers from a value on, to the output or to a sum of branches, the value there, and its shape."""
        layers: list[tuple[str, Layer]] = []
        params: dict[str, Any] = {}
        counts: Counter[str] = Counter()
        while at != output:
            takers = self.graph.taking(at)
            if not takers:
                raise ValueError(f"the value {at!r:.80} leads to nothing, expected it to lead to the output {output}")
            if len(takers) == 1 and self.graph.joins(takers[0]):
                break
            layer: Layer | None
            if len(takers) > 1:
                kind, layer, own, at = self.branched(at, takers, shape, output, depth)
            else:
                kind, layer, own, at = self.read(takers[0], at, shape)
            if at in self.seen:
                raise ValueError(f"the value {at:.80} comes twice: the graph leads in a circle")
            self.seen.add(at)
            if layer is not None:
                counts[kind] += 1
                name = kind if kind in SINGLE and counts[kind] == 1 else f"{kind}{counts[kind]}"
                _, shape = layer.init(Forms(1), shape)
                layers.append((name, layer))
                params[name] = own
        self.params = params
        return layers, at, shape

    def read(self, node: Node, at: str, shape: Shape) -> tuple[str, Layer | None, dict[str, np.ndarray], str]:
        """The layer of a node, or of several in a row: its kind, itself, its parameters, and the value after it."""
        reader = READERS.get(node.kind)
        if reader is None:
            raise ValueError(f"{node} has no counterpart in npsnn{_advice(node.kind)}")
        if node.inputs[0] != at and node.kind not in ("Add", "Mul"):
            raise ValueError(f"{node} must take the value {at} first, got it as a weight")
        try:
            found: Read = reader(self.graph, node, at, shape)
            if found.layer is not None:
                found.layer.init(Forms(1), shape)
        except ValueError as error:
            raise ValueError(f"{node}: {error}") from error
        own = {name: np.array(p, order="C") for name, p in found.params.items()}
        return found.kind, found.layer, own, found.end or node.output

    def branched(
        self, at: str, takers: list[Node], shape: Shape, output: str, depth: int
    ) -> tuple[str, Layer, dict[str, Any], str]:
        """The sum of two branches of one value."""
        if len(takers) > 2 or depth > DEPTH:
            what = ", ".join(str(node) for node in takers[:3])
            raise ValueError(f"a value may have two branches, which Add joins, got {len(takers)}: {what}")
        branches: list[tuple[list[tuple[str, Layer]], dict[str, Any]]] = []
        joined: list[tuple[Node | None, str]] = []
        for node in takers:
            if self.graph.joins(node):  # the value itself
                branches.append(([], {}))
                joined.append((node, at))
                continue
            layers, end, _ = self.branch(node, at, shape, output, depth)
            branches.append((layers, self.params))
            joined.append((self.graph.taking(end)[0] if end != output else None, end))
        (first, _), (second, _) = joined
        if first is None or first != second:
            raise ValueError(f"the branches of {at!r:.80} must meet in one Add, got {first} and {second}")
        body, shortcut = branches if first.inputs[0] == joined[0][1] else reversed(branches)
        if not body[0]:  # the value itself is the shortcut, whatever comes first in the sum
            body, shortcut = shortcut, body
        parts = [Sequential(tuple(layers)) for layers, _ in (body, shortcut)]
        own = {n: {k: p for k, p in b[1].items() if p} for n, b in (("body", body), ("shortcut", shortcut))}
        return "block", Residual(*parts), {n: p for n, p in own.items() if p}, first.output

    def branch(
        self, node: Node, at: str, shape: Shape, output: str, depth: int
    ) -> tuple[list[tuple[str, Layer]], str, Shape]:
        """The layers of one branch of a value, which begins with a node."""
        with self.graph.only(at, node):
            return self.chain(at, shape, output, depth + 1)


def _advice(kind: str) -> str:
    if kind in ("Softmax", "LogSoftmax"):
        return ": export a network that ends in logits"
    if kind == "Shape":
        return ": export it for a fixed number of images, or write flatten(1) in the place of view(x.size(0), -1)"
    return ": noise is exported, and not imported" if kind.startswith("Random") else ""
