"""Figure 3 of the noise paper: the normal law that the closed form carries, against draws of a trained network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from npsnn.ops.gaussian import RULES
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter
from npsnn.reproduce.jobs import Measure
from npsnn.reproduce.noise_paper import law
from npsnn.reproduce.noise_paper.networks import Row, noise_aware, trained
from npsnn.reproduce.panels import NUMBER, Panel
from npsnn.reproduce.records import MissingError, Record, Records, Seeds
from npsnn.reproduce.rules import all_of, at_most
from npsnn.reproduce.scales import NOISE_PAPER, Scale

FREE = "sigma 0.6"
"""The network that decides: the noise-aware loss with free filters, as the paper has it."""
NETWORKS: Mapping[str, Row] = {
    FREE: noise_aware(0.6),
    "sigma 3": noise_aware(3.0),
    "unit filters, sigma 0.6": noise_aware(0.6, "l1"),
    "unit filters, sigma 3": noise_aware(3.0, "l1"),
}
LAWS = {"laplace": "Eq. 6 (laplace)", "exact": "true moments of a unit (exact)", "linear": "linearised (linear)"} | {
    law.FITTED: "normal law of the draws' mean and variance"
}
"""The rows by the name of a law in the measurement."""
MEANS = ("-3", "-2", "-1", "-0.5", "0", "0.5", "1", "2", "3")
"""Means of one unit before its ReLU, in its standard deviations."""
PAPER, FITTED = LAWS["laplace"], LAWS[law.FITTED]
NORMAL, CLOSE = 0.05, 0.1
"""Kolmogorov distances: of a law that may be called normal, and of a law that is well approximated."""


def measurements(scale: Scale) -> Iterator[tuple[str, Measure]]:
    """The measurement of each network and seed at a scale, with the network's name."""
    settings = (("draws", 200 * scale.draws), ("images", 20 if scale.decides else 2))
    for (name, _), train in trained(scale, "mnist", NETWORKS):
        yield name, Measure(train.name, "law", (train,), settings)


def recorded(scale: Scale, records: Records) -> dict[str, list[Record]]:
    """The records that there are, by network."""
    found: dict[str, list[Record]] = {}
    for name, record in records.there(measurements(scale)):
        found.setdefault(name, []).append(record)
    return found


def how(scale: Scale, found: Mapping[str, list[Record]]) -> str:
    """How the laws were measured, in a sentence."""
    setting = scale.on(NOISE_PAPER, "mnist")
    records = [record for some in found.values() for record in some]
    if setting is None or not records:
        return f"Not measured at the scale {scale.name}."
    one, seeds = records[0].values, max(map(len, found.values()))
    return (
        f"{setting.dataset}, {setting.model}, {setting.epochs} epochs, {seeds} seed{'s' if seeds > 1 else ''}, "
        f"{one['images']} test images with {one['draws']:,} draws each."
    )


def by_layer(name: str, of: list[Record], note: str) -> Panel:
    """The distances of a network's laws from the draws, layer by layer."""
    layers = [layer for layer in of[0].values["layers"] if layer != "noise"] if of else []
    cells = {
        (row, layer): Seeds(tuple(record.values["units"][layer][f"distance {rule}"] for record in of))
        for rule, row in LAWS.items()
        for layer in layers
    }
    title = f"Kolmogorov distance of the normal law from the draws, by layer: {name}"
    return Panel(title, list(LAWS.values()), layers, cells, unit=NUMBER, note=note)


def one_unit() -> Panel:
    """The unit of the figure: N(mu, 1) through a ReLU, by what the rules carry."""
    means = np.array([float(column) for column in MEANS])
    levels = (np.arange(20_000) + 0.5) / 20_000
    drawn = np.maximum(means[:, None] + ndtri(levels), 0)
    laws = {rule: RULES[rule].rectify(means, np.ones_like(means))[:2] for rule in RULES}
    laws[law.FITTED] = drawn.mean(axis=1), drawn.var(axis=1)
    cells = {
        (row, column): Seeds((float(d),))
        for rule, row in LAWS.items()
        for column, d in zip(MEANS, law.distance(drawn, laws[rule][0], np.sqrt(laws[rule][1])), strict=True)
    }
    title = "Kolmogorov distance of the normal law from that of one rectified unit N(mu, 1)"
    x = {column: float(column) for column in MEANS}
    note = "By 20,000 quantiles of the law, without any network; the columns are mu."
    return Panel(title, list(LAWS.values()), list(MEANS), cells, x=x, axis="mu", unit=NUMBER, note=note)


def picture(curves: Mapping[str, list[dict[str, Any]]], layer: str) -> Draw:
    """The distribution functions of the units of a layer that vary most: draws, and the laws that are carried."""

    def draw(axes: Any) -> None:
        for k, unit in enumerate(curves[layer]):
            quantiles, color = np.array(unit["quantiles"]), f"C{k}"
            levels = np.linspace(0, 1, len(quantiles))
            axes.plot(quantiles, levels, color=color, label=f"unit {unit['unit']}, draws")
            for rule, style in (("laplace", ":"), ("exact", "--")):
                mean, sd = unit["laws"][rule]
                xs = np.linspace(quantiles[0], quantiles[-1], 200)
                axes.plot(xs, _normal(xs, mean, sd), style, color=color, label=f"unit {unit['unit']}, {rule}")
        axes.set_xlabel(f"output of {layer}")
        axes.set_ylabel("probability of at most this")
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return draw


def _normal(x: np.ndarray, mean: float, sd: float) -> np.ndarray:
    found = ndtr((x - mean) / sd) if sd > 0 else x >= mean
    return np.asarray(found, float)


SAYS = """
**Readings.** Figure 3 shows one unit by itself, N(mu, 1) through a ReLU, and its density with an atom at 0, not the
normal law of Eq. 6: the first panel has that unit beside that law. The other panels have the laws of every layer of a
trained network. Draws are compared with the normal law that a rule carries, by
Kolmogorov's distance: the largest difference of the two distribution functions, 0 for the same law and 1 for laws that
share nothing. A layer's figure is the mean over 50 of its units and all images. `laplace` is the paper's Eq. 6; where
its variances are 0 the law is a point.

**Control.** The last row is the normal law of the draws' own mean and variance, the best that any rule could carry:
what it is off by is not normal, or the error of finite draws, which is about 0.6 over the root of their number. The row
of the true moments differs from the last row by its assumption of independent units (audit N15).

**A sceptic would ask** whether a law with an atom at 0, as ReLU makes, can be near a normal one at all: compare the
layers of ReLU with the affine ones after them.
"""


@dataclass(frozen=True)
class Densities:
    """The laws of the layers of trained networks."""

    name: str = "noise-figure-3"
    paper: str = NOISE_PAPER
    shows: str = "Fig. 3"
    title: str = "The law of each layer's outputs under the noise"
    says: str = SAYS

    @property
    def decides(self) -> Mapping[str, Rule]:
        return {"noise-relu-normal": relu_normal, "noise-output-normal": output_normal}

    def jobs(self, scale: Scale) -> Iterator[Measure]:
        """A measurement of each network."""
        yield from (job for _, job in measurements(scale))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The distances of the figure's one unit, and by layer, a panel for each network."""
        found = recorded(scale, records)
        by_network = {name: by_layer(name, found.get(name, []), how(scale, found)) for name in NETWORKS}
        return {"one unit": one_unit(), **by_network}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """Units of the first ReLU and of the logits of the network that decides, on the first image."""
        of = recorded(scale, records).get(FREE, [])
        layers = of[0].values["layers"] if of else []
        wanted = [layer for layer in layers if layer.startswith("relu")][:1] + layers[-1:]
        return {
            f"Draws and normal laws after {layer}, {FREE}": picture(of[0].values["curves"], layer) for layer in wanted
        }


def relu_normal(panels: Mapping[str, Panel]) -> Ruling:
    """Whether the paper's rule is near the law after each ReLU."""
    panel = panels[FREE]
    layers = [layer for layer in panel.columns if layer.startswith("relu")]
    if not layers:
        raise MissingError(f"{panel.title}: not measured")
    parts = [at_most(panel, (PAPER, layer), CLOSE) for layer in layers]
    return all_of(*parts, why="The law of Eq. 6 after each ReLU against the draws.")


def output_normal(panels: Mapping[str, Panel]) -> Ruling:
    """Whether the logits are normal at all, whatever their moments."""
    panel = panels[FREE]
    if not panel.columns:
        raise MissingError(f"{panel.title}: not measured")
    return at_most(panel, (FITTED, panel.columns[-1]), NORMAL, "The best normal law of the logits against the draws.")


enter(Densities())
