"""The settings of a run as HTML: what was set first, then all of it, and the layers of its network."""

from collections.abc import Mapping
from typing import Any

from npsnn.pages.page import folded, listed, table


def html(config: Mapping[str, Any]) -> str:
    """The settings that a run's config.json holds.

    config: the document.
    """
    flat_options, training = config.get("train"), config.get("training")
    options: dict[str, Any] = next((o for o in (training, flat_options) if isinstance(o, dict)), {})
    recipe = config.get("recipe")
    parts = [listed(flat(recipe, "recipe"))] if isinstance(recipe, dict) else []
    if options is flat_options:
        usual = _defaults()
        own = {name: value for name, value in options.items() if usual.get(name, value) != value}
        parts += [listed(flat(own)) if own else "<p>All options have their defaults.</p>\n"]
        parts += [folded("All options", listed(flat(options)))]
    else:
        parts += [listed(flat(options))]
    spec = config.get("spec")
    layers = spec.get("layers") if isinstance(spec, dict) else None
    if isinstance(layers, list):
        parts += [
            folded("The network, layer by layer", _layers([layer for layer in layers if isinstance(layer, dict)]))
        ]
    return "".join(parts)


def _defaults() -> dict[str, Any]:
    """The default of each flat option."""
    from dataclasses import asdict

    from npsnn.train.config import Config

    return asdict(Config())


def _layers(layers: list[dict[str, Any]]) -> str:
    rows = []
    for layer in layers:
        rest = {name: value for name, value in layer.items() if name not in ("name", "type")}
        rows.append(
            (str(layer.get("name", "")), str(layer.get("type", "")), ", ".join(f"{k} {v}" for k, v in flat(rest)))
        )
    return table(("layer", "type", "options"), rows)


def flat(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Options within options as names and words, one pair each."""
    found: list[tuple[str, str]] = []
    for name, value in options.items():
        whole = f"{prefix} {name}".strip().replace("_", " ")
        if isinstance(value, dict):
            found += flat(value, whole)
        else:
            found.append((whole, shown(value)))
    return found


def shown(value: Any) -> str:
    """A value of JSON in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(own)}" for name, own in value.items())
    return "none" if value is None else str(value)
