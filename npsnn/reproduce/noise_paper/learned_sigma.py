"""Table 1 of the noise paper: the noise that a training ends at which learns it, and where it still goes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, Ruling
from npsnn.reproduce.experiments import Draw, Rule, enter, note
from npsnn.reproduce.jobs import Train
from npsnn.reproduce.noise_paper.networks import SEEDS, Row, learned, longer, trained
from npsnn.reproduce.panels import NUMBER, PERCENT, Panel, shown
from npsnn.reproduce.records import Records, Seeds
from npsnn.reproduce.rules import above, all_of, like_theirs, near
from npsnn.reproduce.scales import NOISE_PAPER, Scale
from npsnn.reproduce.wording import needing

START, OTHER = 1.9, 0.5
"""The paper's sigma_0, and another."""
REWARD = 0.25
"""alpha of the Bimodel."""
LONGER = 3
"""How many times the epochs the long trainings have."""
CLOSE = 0.1
"""How far from another sigma is "the same": the paper's two differ by 0.09."""
STILL = 0.01
"""How far a sigma that has converged still moves in the last third of the training, as a part of itself."""
ZERO = 0.02
"""The sigma that is as good as none, in the unit of images in [0, 1]."""
END, MOVED, SLOPE, RATIO = "sigma at the end", "moved in the last third", "dLoss / dsigma", "mean |mu1| / sigma"
MODEL, BIMODEL, ELSEWHERE, HELD = "Model", "Bimodel", f"Model from {OTHER}", "Model, unit filters"


def rows() -> dict[str, Row]:
    """The trainings by what the table calls them, and the readings beside them."""
    short = {
        MODEL: learned(START),
        BIMODEL: learned(START, reward=REWARD),
        ELSEWHERE: learned(OTHER),
        HELD: learned(START, "l1"),
        "Bimodel, unit filters": learned(START, "l1", REWARD),
        "Model, SGD": learned(START, optimizer="sgd", lr=0.01),
        "Model, exact moments": learned(START, propagation="exact"),
    }
    return short | {f"{name}, {LONGER} times as long": longer(LONGER, short[name]) for name in (MODEL, HELD)}


def trajectory(epochs: list[Mapping[str, Any]], start: float) -> np.ndarray:
    """Sigma before the first epoch and after each, (E + 1,)."""
    return np.array([start, *(float(epoch["sigma"]) for epoch in epochs)])


def figures(epochs: list[Mapping[str, Any]], start: float) -> dict[str, float]:
    """What a training says of its sigma at its end, by column.

    epochs: its records.
    start: sigma_0.
    """
    sigma = trajectory(epochs, start)
    last = max(1, len(epochs) // 3)
    found = {END: sigma[-1], MOVED: (sigma[-1] - sigma[-1 - last]) / max(sigma[-1], 1e-9)}
    for column, name in ((SLOPE, "sigma_gradient"), (RATIO, "first_layer_ratio")):
        if isinstance(epochs[-1].get(name), int | float):
            found[column] = float(epochs[-1][name])
    return {column: float(value) for column, value in found.items()}


def converged(panel: Panel, row: str) -> Ruling:
    """Whether sigma has converged to another value than 0, by its last third and its size; open while it moves."""
    moved, end = panel[row, MOVED], panel[row, END]
    needed = f"a change between -{100 * STILL:g} and {100 * STILL:g} %, and sigma above {ZERO:g}"
    figure = (
        f"{row}: sigma {shown(end, NUMBER)} at the end, changed in the last third of the epochs by "
        f"{shown(moved, PERCENT, signed=True)} % of that, {needing(panel, [(row, END)], needed)}"
    )
    if moved.ci95 is None or end.ci95 is None:
        return Ruling(OPEN, figure)
    if end.ci95[1] < ZERO:
        return Ruling(FAILS, figure)
    low, high = moved.ci95
    rests = low >= -STILL and high <= STILL
    return Ruling(HOLDS if rests and end.ci95[0] > ZERO else OPEN, figure)


def not_zero(panels: Mapping[str, Panel]) -> Ruling:
    """Whether the training without a reward converges to a sigma above 0, and does so where no filter can grow."""
    panel = panels["table"]
    long = {f"{name}, {LONGER} times as long": filters for name, filters in ((MODEL, "free"), (HELD, "unit"))}
    slope = ", ".join(f"{row}: slope {shown(panel[row, SLOPE], NUMBER)}" for row in long if (row, SLOPE) in panel.cells)
    why = (
        f"A sigma has converged where it moves by less than {100 * STILL:g} % in the last third of the long training. "
        "One that still moves has not converged in that time, and where it would end cannot be told. While the slope "
        f"dLoss / dsigma is above 0 the loss still falls as sigma falls (audit N31). {slope}. Free filters can outgrow "
        "the noise, which also halts sigma; unit filters cannot (N42)."
    )
    names = [f"{filters} filters" for filters in long.values()]
    return all_of(*(converged(panel, row) for row in long), why=why, names=names)


SAYS = """
**Readings.** The paper says neither the optimiser, the rate, the epochs nor the unit of sigma. Here sigma is learned as
exp(rho) with the optimiser of the weights (Adam, 0.001) and capped at 4. Rows beside the paper's two take SGD with
momentum, the true moments in the place of Eq. 6, and a longer training. The noise-aware loss has the derived sign
(audit N20); with the printed sign sigma would grow.

**Controls.** At a fixed point dLoss / dsigma is 0. Without a reward every image that is read rightly pushes sigma down,
ever more weakly (audit N31), so that a sigma that seems to rest says where the training stopped. With a reward of 0.25
no sigma above 0.70 can be stationary, whatever the weights (N30), while Table 1 has 0.79. The column of |mu1| / sigma
shows what free filters do: they grow and leave the noise behind (N42), which the rows with unit filters cannot.

**A sceptic would ask** whether the hypothesis is refuted by a value that depends on the length of the training: compare
the rows that train longer. A sigma of 4 is at the cap, and rests because it may not grow.
"""


@dataclass(frozen=True)
class LearnedSigma:
    """Trainings that learn sigma by what their last records say of it."""

    name: str = "noise-table-1"
    paper: str = NOISE_PAPER
    shows: str = "Table 1"
    title: str = "Sigma that is learned from 1.9"
    says: str = SAYS

    @property
    def decides(self) -> Mapping[str, Rule]:
        return {
            "noise-sigma-model": lambda panels: like_theirs(
                panels["table"], (MODEL, END), CLOSE, "The paper does not say how long it trained: see the longer rows."
            ),
            "noise-sigma-bimodel": lambda panels: like_theirs(
                panels["table"],
                (BIMODEL, END),
                CLOSE,
                "With this reward no sigma above 0.70 is stationary (audit N30).",
            ),
            "noise-reward-more": lambda panels: above(
                panels["table"], (BIMODEL, END), (MODEL, END), why="Both trainings begin at the same sigma."
            ),
            "noise-sigma-not-zero": not_zero,
            "noise-sigma-start": lambda panels: near(
                panels["table"], (MODEL, END), (ELSEWHERE, END), CLOSE, "The same training from two sigma_0."
            ),
        }

    def jobs(self, scale: Scale) -> Iterator[Train]:
        """The trainings alone: their records have sigma after each epoch."""
        yield from (train for _, train in trained(scale, "mnist", rows()))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The table."""
        found: dict[tuple[str, str], list[float]] = {}
        for name, epochs, start in self._epochs(scale, records):
            for column, value in figures(epochs, start).items():
                found.setdefault((name, column), []).append(value)
        panel = Panel(
            title=self.title,
            rows=list(rows()),
            columns=[END, MOVED, SLOPE, RATIO],
            cells={place: Seeds(tuple(values)) for place, values in found.items()},
            theirs={(MODEL, END): 0.7, (BIMODEL, END): 0.79},
            unit=NUMBER,
            note=note(scale, self.paper, "mnist", seeds=SEEDS, by=""),
        )
        return {"table": panel}

    def _epochs(self, scale: Scale, records: Records) -> Iterator[tuple[str, list[Mapping[str, Any]], float]]:
        trainings = ((((name, train)), train) for (name, _), train in trained(scale, "mnist", rows()))
        for (name, train), record in records.there(trainings, lambda beside: beside[0]):
            yield name, record.values["epochs"], train.of.sigma  # type: ignore[union-attr]

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """Sigma over the epochs, the first seed of each training."""
        courses: dict[str, np.ndarray] = {}
        for name, epochs, start in self._epochs(scale, records):
            courses.setdefault(name, trajectory(epochs, start))

        def draw(axes: Any) -> None:
            for name, sigma in courses.items():
                axes.plot(range(len(sigma)), sigma, label=name)
            for theirs in (0.7, 0.79):
                axes.axhline(theirs, color="grey", linewidth=0.8, linestyle=":")
            axes.set_xlabel("epoch")
            axes.set_ylabel("sigma")
            axes.set_ylim(bottom=0)
            axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

        return {"Sigma over the epochs, the paper's two values dotted": draw} if courses else {}


enter(LearnedSigma())
