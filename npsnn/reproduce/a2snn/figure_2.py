"""A2SNN's Figure 2: noise and class vectors of m2, m3 and m5 on two features of Fashion-MNIST."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npsnn.reproduce.a2snn.class_vectors import CHANCE, directions
from npsnn.reproduce.a2snn.deciding import constant, measured, present, strictly, trained
from npsnn.reproduce.a2snn.networks import Row, ours
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Job, Measure
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above, all_of, at_most, fairly
from npsnn.reproduce.scales import A2SNN, Scale

DATA = "fashion-mnist"
SEEDS = 3
RANDOM = "random directions"
TO_AXES, TO_EIGENVECTORS, RATIO = "angle to axes", "angle to eigenvectors", "ratio of sds"
ANGLES, READ = "angles", "read"
NEAR = 10.0
"""The mean angle in degrees up to which directions are called near: random ones have 22.5."""
ROUND = 1.5
"""The ratio of standard deviations up to which a covariance is called near-spherical."""
RINGS = (1, 2, 3)
"""The contours that are drawn, in standard deviations."""


def two_features(variant: str, name: str = "2-features", **options: object) -> Row:
    """A model of the ablation with two features before its classifier."""
    return ours(variant, DATA, name, bottleneck=2, **options)


ROWS = {
    **{variant: two_features(variant) for variant in ("m2", "m3", "m5")},
    "m5, pairwise": two_features("m5", "2-features-pairwise", pairwise=True),
}


def outline(sigma: np.ndarray, ring: float, points: int = 120) -> np.ndarray:
    """A contour of N(0, Sigma) that is so many standard deviations from the middle, (2, points).

    sigma: (2, 2).
    """
    sds, axes = directions(sigma)
    turn = np.linspace(0, 2 * np.pi, points)
    found: np.ndarray = ring * axes @ (sds[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
    return found


def drawn(w: np.ndarray, sigma: np.ndarray) -> Draw:
    """The plot: contours of the noise, and class vectors scaled to it.

    w: (C, 2). sigma: (2, 2).
    """

    def draw(axes: Any) -> None:
        reach = RINGS[-1] * directions(sigma)[0][0]
        for ring in RINGS:
            axes.plot(*outline(sigma, ring), color="C0", lw=1)
        longest = np.linalg.norm(w, axis=1).max()
        for number, (x, y) in enumerate(w * reach / longest):
            axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": "C3", "lw": 1})
            axes.annotate(str(number), (1.08 * x, 1.08 * y), ha="center", va="center", fontsize=7)
        axes.set_xlim(-1.2 * reach, 1.2 * reach)
        axes.set_ylim(-1.2 * reach, 1.2 * reach)
        axes.set_aspect("equal")
        axes.set_xlabel("first feature")
        axes.set_ylabel("second feature")

    return draw


def on_axes(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m2's class vectors are nearer the axes than random directions, and near."""
    panel = panels[ANGLES]
    place = ("m2", TO_AXES)
    found = all_of(above(panel, (RANDOM, TO_AXES), place), at_most(panel, place, NEAR))
    return fairly(panels[READ], ("m2",), found)


def spherical(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m3's noise is about as large in each direction."""
    return fairly(panels[READ], ("m3",), at_most(panels[ANGLES], ("m3", RATIO), ROUND))


def best_aligned(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5's class vectors are nearer the eigenvectors than m2's, m3's and random directions."""
    panel = panels[ANGLES]
    found = (above(panel, (row, TO_EIGENVECTORS), ("m5", TO_EIGENVECTORS)) for row in (RANDOM, "m2", "m3"))
    return fairly(panels[READ], ("m2", "m3", "m5"), strictly(*found))


def off_axes(panels: Mapping[str, Panel]) -> Ruling:
    """Whether m5's class vectors are farther from the axes than m2's."""
    return fairly(panels[READ], ("m2", "m5"), above(panels[ANGLES], ("m5", TO_AXES), ("m2", TO_AXES)))


SAYS = """The networks have a bottleneck of two features, with noise of 2 x 2. Angles are means over the ten class
vectors, to the nearest axis or eigenvector on either side; *random directions* have 22.5 degrees in the mean. The
noise of m2 is along the axes by its construction, so the claim about m2 is of its class vectors. Near is up to 10
degrees, near-spherical a ratio of up to 1.5.

A network that has not learned has class vectors and noise as well, which say nothing (second panel).

Where the noise is nearly round, eigenvectors are nearly arbitrary, and an angle to them says little: read it with the
ratio. Ten class vectors in a plane cannot all lie on two orthogonal lines and still tell ten classes apart, unless
their biases do. The plots are of the first seed; arrows have the scale of the largest contour.
"""


@dataclass(frozen=True)
class Plane:
    """The class vectors and the noise of networks with two features."""

    name: str = "a2snn-figure-2"
    paper: str = A2SNN
    shows: str = "Fig. 2"
    title: str = "Noise and class vectors on two features, Fashion-MNIST"
    decides: Mapping[str, Rule] = field(
        default_factory=lambda: {
            "a2snn-isotropic-on-axes": on_axes,
            "a2snn-entropy-spherical": spherical,
            "a2snn-aligned-with-eigenvectors": best_aligned,
            "a2snn-free-of-axes": off_axes,
        }
    )
    says: str = SAYS

    def jobs(self, scale: Scale) -> Iterator[Job]:
        """A measurement of each network."""
        for _, _, job in self._jobs(scale):
            yield job

    def _jobs(self, scale: Scale) -> Iterator[tuple[str, int, Measure]]:
        for row, seed, train in trained(ROWS, DATA, scale, SEEDS):
            yield row, seed, Measure(train.name, "class-vectors", (train,))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """Angles of the class vectors, and the accuracy of the networks."""
        about = note(scale, A2SNN, DATA, seeds=SEEDS, by="validation images under one draw")
        keys = {TO_AXES: "to axes", TO_EIGENVECTORS: "to eigenvectors", RATIO: "ratio"}
        figures = {column: lambda record, key=key: record.values[key] for column, key in keys.items()}
        found = measured(
            "Angles in degrees of class vectors to the nearest axis and to the nearest eigenvector of Sigma, and the "
            "ratio of the standard deviations along the eigenvectors",
            ((row, job) for row, _, job in self._jobs(scale)),
            figures,
            records,
            about,
        )
        cells = dict(found.cells)
        if like := cells.get(("m2", TO_AXES)):
            cells |= {(RANDOM, column): constant(CHANCE, like) for column in (TO_AXES, TO_EIGENVECTORS)}
        read = measured(
            "Accuracy of these networks",
            ((row, train) for row, _, train in trained(ROWS, DATA, scale, SEEDS)),
            {"clean": lambda record: record.values["epochs"][-1]["noisy_validation_accuracy"]},
            records,
            about,
            "%",
        )
        angle = Panel(found.title, [*found.rows, RANDOM], found.columns, cells, unit=found.unit, note=about)
        return {ANGLES: angle, READ: read}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """The plane of each network of the first seed."""
        found: dict[str, Draw] = {}
        for row, seed, job in self._jobs(scale):
            record = present(records, job) if seed == 0 else None
            if record is not None:
                w, sigma = (np.array(record.values[name]) for name in ("W", "Sigma"))
                found[f"{row}: contours of the noise at 1, 2 and 3 standard deviations, and class vectors"] = drawn(
                    w, sigma
                )
        return found


enter(Plane())
