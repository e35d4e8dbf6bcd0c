"""Parameters of nested layers as one flat dictionary, and back."""

from collections.abc import Iterable, Mapping

from npsnn.backend import Array
from npsnn.layers.base import Params


def flatten(params: Params, prefix: str = "") -> dict[str, Array]:
    """{"conv1": {"w": ...}} -> {"conv1.w": ...}."""
    flat: dict[str, Array] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def unflatten(flat: Mapping[str, Array] | Iterable[tuple[str, Array]]) -> Params:
    """{"conv1.w": ...} -> {"conv1": {"w": ...}}."""
    params: Params = {}
    for name, value in dict(flat).items():
        *path, last = name.split(".")
        inner = params
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return params
