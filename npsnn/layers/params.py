"""Parameters of nested layers as one flat dictionary, and back, and the role of each parameter."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Flag, auto

from npsnn.backend import Array
from npsnn.layers.base import Params
from npsnn.layers.containers import Sequential, nested


class Role(Flag):
    """The part that a parameter plays in training; a layer declares it as `roles: ClassVar[Mapping[str, Role]]`.

    WEIGHT: trained with weight decay; the role of every parameter that its layer does not declare.
    BIAS: trained without weight decay.
    NOISE: the size of a noise.
    STATISTIC: a running average, which no gradient moves.
    """

    WEIGHT = auto()
    BIAS = auto()
    NOISE = auto()
    STATISTIC = auto()
    ALL = WEIGHT | BIAS | NOISE | STATISTIC


def roles(network: Sequential, names: Iterable[str]) -> dict[str, Role]:
    """The role of each parameter of a network.

    network: the network, of whose layers each declares the roles of its parameters.
    names: flat names, as "block1.body.conv1.w".
    Raises ValueError for a parameter of no layer.
    """
    declared = {path: getattr(layer, "roles", {}) for path, layer in nested(network) if path}
    found = {}
    for name in names:
        path, _, own = name.rpartition(".")
        while path and path not in declared:  # a layer of a user may nest its parameters
            path, _, last = path.rpartition(".")
            own = f"{last}.{own}"
        if path not in declared:
            raise ValueError(f"parameter {name} belongs to no layer, expected one of {', '.join(declared)}")
        found[name] = declared[path].get(own, Role.WEIGHT)
    return found


def of_layer(path: str, flat: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters of one layer, by their own names.

    path: path of the layer, as "block1.body.conv1".
    flat: flat dictionary of a network's parameters.
    """
    return {k.removeprefix(f"{path}."): p for k, p in flat.items() if k.startswith(f"{path}.")}


def at_path(path: str, params: Params) -> Params:
    """The parameters of one layer, {} for a layer without any.

    path: path of the layer, as "block1.body.conv1"; "" for the whole network.
    params: nested dictionary of a network's parameters.
    """
    for name in path.split(".") if path else ():
        params = params.get(name, {})
    return params


def flatten(params: Params, prefix: str = "") -> dict[str, Array]:
    """Flatten a nested dictionary of parameters: {"conv1": {"w": ...}} -> {"conv1.w": ...}.

    params: nested dictionary.
    prefix: what the flat names begin with.
    """
    flat: dict[str, Array] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def any_of(params: Params) -> Array:
    """The first parameter, which tells the dtype and the device of all; raises StopIteration where there is none.

    params: nested dictionary.
    """
    return next(iter(_walked(params)))


def _walked(params: Params) -> Iterator[Array]:
    for value in params.values():
        if isinstance(value, dict):
            yield from _walked(value)
        else:
            yield value


def unflatten(flat: Mapping[str, Array] | Iterable[tuple[str, Array]]) -> Params:
    """Nest a flat dictionary of parameters: {"conv1.w": ...} -> {"conv1": {"w": ...}}."""
    params: Params = {}
    for name, value in dict(flat).items():
        *path, last = name.split(".")
        inner = params
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return params
