"""The graph of an ONNX file: its nodes, its constants, and which node takes which value."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, defs, helper, numpy_helper

from npsnn import files
from npsnn.layers.base import Shape
from npsnn.models.base import LARGEST_IMAGE

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
LIMIT = 1 << 30
"""The bytes that a file beside the graph's may have."""
IGNORED = ("Constant", "Identity", "Dropout")
"""The nodes that are looked through: what they put out is a constant, or their first input."""
OLDEST = 7
"""The opset from which nodes mean what they do today: Dropout drew, and Gemm had a flag for broadcasting, before."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node: its kind, its name for messages, its inputs and attributes, and its one output."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"node {self.name:.80} ({self.kind:.80})"

    def only(self, **settings: Any) -> None:
        """Raise ValueError where an attribute is there, and not as said."""
        for name, wanted in settings.items():
            value = self.attributes.get(name, wanted)
            if value != wanted:
                raise ValueError(f"{name} must be {wanted}, got {value!r:.80}")

    def one(self, name: str, default: int, each: int = 2) -> int:
        """The number that an attribute of several has everywhere; raises ValueError where they differ.

        name: of the attribute.
        default: the number where the attribute is not there.
        each: how many there must be.
        """
        values = list(self.attributes.get(name, [default] * each))
        if len(set(values)) != 1 or len(values) != each:
            raise ValueError(f"{name} must be one number in all directions, {each} times, got {values}")
        return int(values[0])


class Graph:
    """A graph whose values lead from one input to one output.

    graph: as the package onnx reads it.
    folder: where files stand that constants may be in.
    opset: version of its nodes.
    Raises ValueError for an attribute that a node of this version does not have, and for dropout that draws.
    """

    def __init__(self, graph: Any, folder: Path, opset: int) -> None:
        self.graph, self.folder = graph, folder
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._same: dict[str, str] = {}
        self._takers: dict[str, list[Node]] = {}
        self._files: dict[str, bytes] = {}
        nodes = [_node(made, number, opset) for number, made in enumerate(graph.node, start=1)]
        for node in nodes:
            if node.kind == "Constant":
                self._constants[node.output] = _constant(node)
            elif node.kind in IGNORED and node.inputs:
                self._check_rests(node)
                self._same[node.output] = self.value(node.inputs[0])
        for node in nodes:
            if node.kind not in IGNORED:
                node = Node(node.kind, node.name, tuple(map(self.value, node.inputs)), node.output, node.attributes)
                for value in dict.fromkeys(node.inputs):
                    self._takers.setdefault(value, []).append(node)

    def _check_rests(self, node: Node) -> None:
        """Raise ValueError for dropout in the mode of training, which draws whenever the network answers."""
        mode = node.inputs[2] if len(node.inputs) > 2 else ""
        if mode and ((found := self.constant(mode)) is None or np.any(found)):
            what = "what is computed" if found is None else "true"
            raise ValueError(f"{node}: training_mode must be false, got {what}: noise is exported, and not imported")

    def value(self, name: str) -> str:
        """The value of that name, or the one that it is the same as."""
        return self._same.get(name, name)

    def taking(self, value: str) -> list[Node]:
        """The nodes that take a value."""
        return self._takers.get(value, [])

    @contextmanager
    def only(self, value: str, node: Node) -> Iterator[None]:
        """A block in which one node alone takes a value."""
        before = self._takers[value]
        self._takers[value] = [node]
        try:
            yield
        finally:
            self._takers[value] = before

    def next(self, value: str, *kinds: str) -> Node | None:
        """The one node that takes a value, where it is of one of these kinds."""
        takers = self.taking(value)
        return takers[0] if len(takers) == 1 and takers[0].kind in kinds else None

    def joins(self, node: Node) -> bool:
        """Whether a node is the sum of two values, neither of which is a constant."""
        return node.kind == "Add" and not any(name in self._constants for name in node.inputs)

    def constant(self, name: str) -> np.ndarray | None:
        """The array of a constant; None for another value. Raises ValueError for a damaged one."""
        tensor = self._constants.get(name)
        if tensor is None or isinstance(tensor, np.ndarray):
            return tensor
        place = ""
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            tensor, where = self._external(tensor, name)
            place = f" in {where}"
        try:
            array: np.ndarray = numpy_helper.to_array(tensor)
        except Exception as error:  # a damaged tensor can raise nearly anything
            raise ValueError(f"the array {name:.80}{place} is damaged: {error}") from error
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def _external(self, tensor: Any, name: str) -> tuple[Any, str]:
        """The tensor with its numbers, and the name of the file beside the graph's that they stand in."""
        about = {entry.key: entry.value for entry in tensor.external_data}
        where = about.get("location", "")
        try:
            start, length = int(about.get("offset", 0)), int(about.get("length", 0))
        except ValueError:
            start = length = 0
        if not where or Path(where).name != where or min(start, length - 1) < 0:
            raise ValueError(f"the array {name:.80} must be in this file or in one beside it, got {where!r:.80}")
        if where not in self._files:
            try:
                self._files[where] = files.read_bytes(self.folder / where, LIMIT)
            except OSError as error:
                raise ValueError(f"the array {name:.80} is in {where}: {error.strerror}") from error
        found = TensorProto(dims=tensor.dims, data_type=tensor.data_type, name=tensor.name)
        found.raw_data = self._files[where][start : start + length]
        return found, where

    def weights(self, node: Node, place: int, what: str) -> np.ndarray:
        """The array of finite floats that a node has as an input; raises ValueError for any other input."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        array = self.constant(name) if name else None
        if array is None:
            raise ValueError(f"its {what} must be a constant, got the value {name!r:.80}")
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"its {what} must hold floats, got {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"its {what} holds a NaN or an infinity")
        return array

    def ends(self, shape: Shape | None) -> tuple[str, str, Shape]:
        """The names of the input and of the output, and the shape of one image.

        shape: the shape where the user gives it.
        """
        inputs = [value for value in self.graph.input if value.name not in self._constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            has = f"{len(inputs)} inputs and {len(self.graph.output)} outputs"
            raise ValueError(f"it must be a network with one input, images, and one output, logits; it has {has}")
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in FLOATS:
            raise ValueError(f"its input {inputs[0].name:.80} must be an array of floats")
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim][1:]
        said = None if len(sizes) != 3 or not all(sizes) else tuple(int(n) for n in sizes if n)
        if shape is None and said is None:
            raise ValueError("its input must say the shape (N, C, H, W) of images: give the shape of one, C,H,W")
        if shape is not None and len(sizes) not in (0, 3):
            raise ValueError(f"its input must be images (N, C, H, W), got {len(sizes) + 1} axes")
        if shape is not None and any(n and n != own for n, own in zip(sizes, shape, strict=False)):
            raise ValueError(f"its images have the shape {tuple(sizes)}, got {tuple(shape)}")
        given = tuple(shape or said or ())
        if not 1 <= min(given) <= max(given) <= LARGEST_IMAGE:
            raise ValueError(f"its images must have from 1 to {LARGEST_IMAGE} in each direction, got the shape {given}")
        return inputs[0].name, self.value(self.graph.output[0].name), given


def opset_of(model: Any) -> int:
    """The version of a model's nodes; raises ValueError for one whose nodes may mean something else."""
    found = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    newest = defs.onnx_opset_version()
    if len(found) != 1 or not OLDEST <= found[0] <= newest:
        got = " and ".join(map(str, found)) or "none"
        raise ValueError(f"it must have nodes of one opset from {OLDEST} to {newest}, got {got}")
    return int(found[0])


def _check_attributes(made: Any, who: str, opset: int) -> None:
    try:
        known = defs.get_schema(made.op_type, opset).attributes
    except defs.SchemaError:  # no such node: whoever meets it says so
        return
    if odd := [attribute.name for attribute in made.attribute if attribute.name not in known]:
        has = ", ".join(sorted(known)) or "none"
        raise ValueError(f"{who} must have attributes of opset {opset} ({has}), got {odd[0]:.80}")


def _node(made: Any, number: int, opset: int) -> Node:
    name = made.name or f"number {number}"
    who = f"node {name:.80} ({made.op_type:.80})"
    if made.domain not in ("", "ai.onnx"):
        raise ValueError(f"{who} is of another set of nodes, {made.domain:.80}")
    if not made.output:
        raise ValueError(f"{who} has no output")
    if made.op_type == "BatchNormalization" and any(made.output[1:]):
        raise ValueError(f"{who} must have one output, got {len(made.output)}: those of training")
    _check_attributes(made, who, opset)
    attributes = {}
    for attribute in made.attribute:
        value = helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return Node(made.op_type, name, tuple(made.input), made.output[0], attributes)


def _constant(node: Node) -> Any:
    for name, value in node.attributes.items():
        if name == "value":
            return value
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            return np.asarray(value, np.float32 if "float" in name else np.int64)
    raise ValueError(f"{node} must hold an array of numbers, got {', '.join(node.attributes) or 'nothing'}")
