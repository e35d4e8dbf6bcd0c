"""The law of each layer's outputs under the noise: draws against the normal law that the closed form carries.

The measurement `law` keeps what Figure 3 and the claims on the closed form are decided by.
"""

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtr

from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.reshape import Flatten
from npsnn.ops.gaussian import RULES
from npsnn.reproduce.measures import measure
from npsnn.streams import Stream

Floats: TypeAlias = np.ndarray

UNITS = 50
"""Units of a layer that are looked at, evenly spaced; all logits."""
FITTED = "fitted"
"""Beside the rules: the normal law of the drawn mean and variance, the best that any rule could carry."""
ROUNDING = 1e-9
"""A deviation below this part of the mean is none: the unit does not move."""
POINTS = 101
"""Quantiles that are kept of a unit that is drawn in a picture."""


def distance(drawn: Floats, mean: Floats, sd: Floats) -> Floats:
    """Kolmogorov's distance sup |F_n - F| between draws and the normal law, for each unit.

    drawn: (units, draws).
    mean: (units,).
    sd: (units,); 0 for a law that is one point, of which what differs by rounding is no other point.
    """
    s = np.sort(drawn, axis=1)
    n = s.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        law = ndtr((s - mean[:, None]) / sd[:, None])
    above = (np.arange(1, n + 1) / n - law).max(axis=1)
    below = (law - np.arange(n) / n).max(axis=1)
    slack = ROUNDING * np.maximum(1, np.abs(mean))[:, None]
    point = np.maximum((s < mean[:, None] - slack).mean(axis=1), (s > mean[:, None] + slack).mean(axis=1))
    still = sd <= slack[:, 0]
    return np.asarray(np.where(still, point, np.maximum(above, below)))


@measure("law")
def law(
    networks: list[Classifier], dataset: Dataset, images: int, draws: int, drawn_units: int = 4, seed: int = 0
) -> tuple[dict[str, Any], dict[str, float]]:
    """The laws of the outputs of each layer above the noise, drawn and carried, of one network.

    networks: one network with noise on a pre-activation.
    dataset: its data; the first test images are taken.
    images: number of images.
    draws: draws of the noise for each image.
    drawn_units: units of each layer of the first image whose quantiles are kept, those that vary most.
    seed: seed of the draws.
    Returns figures by layer, and the seconds of the draws and of each rule.
    """
    (network,) = networks
    network = network.to("cpu").astype(np.float64)
    before, steps = network.model.before_noise, network.model.network.layers
    steps, took = steps[len(before.layers) :], dict[str, float]()
    x = network.to_engine(dataset.test.images[:images])
    below = before.forward(network.params, Moments(x), EXPECTATION)[0].mean
    rows: dict[str, list[dict[str, Any]]] = {}
    wins: list[dict[str, float]] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    for i in range(below.shape[-1]):
        one = below[..., i : i + 1]
        many = np.broadcast_to(one, (*one.shape[:-1], draws))
        begun = perf_counter()
        drawn = dict(_through(network, steps, many, Sampled(Stream(seed, ("law", i)))))
        took["draws"] = took.get("draws", 0.0) + perf_counter() - begun
        carried = {}
        for rule, value in RULES.items():
            begun = perf_counter()
            carried[rule] = dict(_through(network, steps, one, Propagated(value)))
            took[rule] = took.get(rule, 0.0) + perf_counter() - begun
        quiet = dict(_through(network, steps, one, EXPECTATION))
        for layer, found in drawn.items():
            laws = {rule: _law(of[layer]) for rule, of in carried.items()}
            row, curve = _compared(found.mean.reshape(-1, draws), laws, quiet[layer].mean.ravel(), drawn_units)
            rows.setdefault(layer, []).append(row)
            curves.setdefault(layer, curve)
        last = next(reversed(drawn))
        wins.append(_wins(drawn[last].mean, {r: c[last] for r, c in carried.items()}, int(dataset.test.labels[i])))
    values = {
        "layers": list(rows),
        "images": len(wins),
        "draws": draws,
        "units": {layer: _mean(of) for layer, of in rows.items()},
        "wins": _mean(wins),
        "curves": curves,
    }
    return values, took


def _through(network: Classifier, steps: Any, x: Floats, noise: Noise) -> Iterator[tuple[str, Moments]]:
    """The outputs of each layer from the noise on."""
    m = Moments(x)
    for name, layer in steps:
        m, _ = layer.forward(network.params.get(name, {}), m, noise.at(name))
        if not isinstance(layer, Flatten):
            yield name, m


def _law(m: Moments) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each unit of one image, (units,) each."""
    mean = m.mean.ravel()
    if m.var is None:
        return mean, np.zeros_like(mean)
    var = np.asarray(m.var)
    if var.ndim > m.mean.ndim:  # the covariance of the logits
        var = np.diagonal(var[..., 0])
    return mean, np.sqrt(np.broadcast_to(var.ravel() if var.size > 1 else var.ravel()[0], mean.shape))


def _compared(
    drawn: Floats, laws: Mapping[str, tuple[Floats, Floats]], quiet: Floats, kept: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is said of a layer of one image, and the quantiles of some of its units."""
    chosen = np.unique(np.linspace(0, len(drawn) - 1, min(UNITS, len(drawn))).astype(int))
    drawn, quiet = drawn[chosen], quiet[chosen]
    laws = {rule: (mean[chosen], sd[chosen]) for rule, (mean, sd) in laws.items()}
    mean, sd = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
    sd = np.where(sd > ROUNDING * np.maximum(1, np.abs(mean)), sd, 0)
    laws[FITTED] = mean, sd
    moving = sd > 0
    row: dict[str, Any] = {f"distance {rule}": float(distance(drawn, *of).mean()) for rule, of in laws.items()}
    if moving.any():
        scale = float(np.sqrt(np.square(sd).mean()))
        row["spread"] = float(sd[moving].max() / sd[moving].min())
        row["quiet"] = float(np.sqrt(np.square(quiet - mean).mean())) / scale
        row["sd"] = scale
        for rule, (there, width) in laws.items():
            inside = np.abs(drawn - there[:, None]) <= 3 * width[:, None]
            row[f"inside {rule}"] = float(inside[moving].mean())
            row[f"off {rule}"] = float(np.sqrt(np.square(there - mean).mean())) / scale
            row[f"width {rule}"] = float(np.sqrt(np.square(width).mean())) / scale
    most = np.sort(np.argsort(-sd, kind="stable")[:kept])
    quantiles = np.quantile(drawn[most], np.linspace(0, 1, POINTS), axis=1).T
    curves = [
        {
            "unit": int(chosen[unit]),
            "quantiles": np.round(q, 6).tolist(),
            "laws": {rule: [round(float(m[unit]), 6), round(float(s[unit]), 6)] for rule, (m, s) in laws.items()},
        }
        for unit, q in zip(most, quantiles, strict=True)
    ]
    return row, curves


def _wins(drawn: Floats, carried: Mapping[str, Moments], label: int) -> dict[str, float]:
    """How far the probabilities P(Y_k > Y_i) of the closed form are from the shares of the draws, by rule."""
    others = np.delete(np.arange(len(drawn)), label)
    share = (drawn[label] > drawn[others]).mean(axis=1)
    found = {}
    for rule, m in carried.items():
        mean, (_, sd) = m.mean.ravel(), _law(m)
        var = np.square(sd)
        S = m.var[..., 0] if m.var is not None and m.var.ndim > m.mean.ndim else np.diag(var)
        spread = np.sqrt(np.maximum(var[label] + var[others] - 2 * S[label, others], 0))
        gap = mean[label] - mean[others]
        with np.errstate(divide="ignore", invalid="ignore"):
            win = np.where(spread > 0, ndtr(gap / spread), (gap > 0) + 0.5 * (gap == 0))
        found[rule] = float(np.abs(win - share).mean())
    return found


def _mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The means of figures over images, of the images that have them."""
    names = {name for row in rows for name in row}
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in sorted(names)}
