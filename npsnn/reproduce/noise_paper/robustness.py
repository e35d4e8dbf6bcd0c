"""Figures 4 and 5 of the noise paper: PGD over eps on the expectation network, for levels of the training noise."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from npsnn.attacks import APGD, FGSM, PGD
from npsnn.attacks.ensemble import Auto
from npsnn.attacks.sources import Expectation
from npsnn.reproduce.claims import HOLDS, OPEN, Ruling
from npsnn.reproduce.experiments import Column, Grid, Rule, enter
from npsnn.reproduce.noise_paper.networks import (
    OFF,
    SEEDS,
    SIGMAS,
    UNIT_SIGMAS,
    Row,
    attacked,
    baseline,
    noise_aware,
    noisy_rows,
    sampled,
    squared_error,
    without_noise,
)
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.rules import above, all_of, fairly, no_less, rises
from npsnn.reproduce.scales import NOISE_PAPER, Scale

EPS = {"mnist": (0.05, 0.1, 0.2, 0.3), "cifar10": (2 / 255, 4 / 255, 8 / 255)}
"""Radii in Linf; the paper's text has none."""
MOST = {"mnist": None, "cifar10": SEEDS}
"""The most seeds of a training by data set, None for the scale's: three leave most of Figure 4 open."""
MIDDLE = {data: eps[1] for data, eps in EPS.items()}
"""The radius of the attacks that decide, and of the adversarial training beside them."""
NEAR = 0.05
"""How much less than adversarial training is "similar": a fraction."""
LEVELS = [f"sigma {sigma:g}" for sigma in SIGMAS]
BASELINE, TRAINED, ALONE = "baseline", "adversarial training", "squared error, no noise"


def strong(eps: float, scale: Scale) -> Auto:
    """All kinds of strong attack with the budgets of a scale."""
    return Auto(eps, steps=scale.steps, fab_steps=scale.steps, queries=scale.queries)


def columns(data: str, scale: Scale, radii: Iterable[float] = ()) -> Iterator[Column]:
    """The images as they are, each attack at each radius, and the strong group at the middle radius.

    radii: other radii than those of the data set.
    """
    yield Column("clean", None, OFF, 0.0)
    for eps in radii or EPS[data]:
        yield Column(f"FGSM {eps:.3g}", FGSM(eps, source=Expectation()), OFF)
        yield Column(f"PGD {eps:.3g}", PGD(eps, steps=scale.steps, source=Expectation()), OFF, eps)
        yield Column(f"APGD {eps:.3g}", APGD(eps, steps=scale.steps, source=Expectation()), OFF)
    yield Column(f"Auto {MIDDLE[data]:.3g}", strong(MIDDLE[data], scale), OFF)


def rows(data: str) -> Mapping[str, Row]:
    """The networks by what the panels call them."""
    return (
        {BASELINE: baseline, ALONE: squared_error}
        | noisy_rows()
        | {f"unit filters, sigma {sigma:g}": noise_aware(sigma, "l1") for sigma in UNIT_SIGMAS}
        | {"unit filters, squared error, no noise": without_noise("l1")}
        | {"sampled noise, sigma 0.6": sampled(0.6)}
        | {TRAINED: attacked(MIDDLE[data])}
    )


def more_noise(attacks: Sequence[str]) -> Rule:
    """The rule of "higher sigma is more robust", under each of these attacks."""
    why = (
        "The weakest noise against the strongest, with the filters free, as the paper has them. The rows with unit "
        "filters are the control: with free filters a network can outgrow its noise (audit N42)."
    )
    return lambda panels: all_of(
        *(rises(panels["grid"], [(level, attack) for level in LEVELS]) for attack in attacks), why=why, names=attacks
    )


def better_than_baseline(attacks: Sequence[str]) -> Rule:
    """The rule of "every level of noise is more robust than the baseline", under each of these attacks."""

    def rule(panels: Mapping[str, Panel]) -> Ruling:
        why = _controls(panels["grid"], attacks)
        places = [((level, attack), (BASELINE, attack)) for attack in attacks for level in LEVELS]
        names = [level for _ in attacks for level in LEVELS]
        return all_of(*(above(panels["grid"], *pair) for pair in places), why=why, names=names)

    return rule


def _controls(panel: Panel, attacks: Sequence[str]) -> str:
    """What is left of the loss without its noise, and what the strongest attack leaves of each network."""

    def left(row: str, column: str) -> str:
        return f"{100 * panel[row, column].mean:.1f} %"

    auto = next(column for column in panel.columns if column.startswith("Auto"))
    alone = ", ".join(f"{left(ALONE, column)} under {column}" for column in (*attacks, auto))
    levels = ", ".join(left(level, auto) for level in LEVELS)
    return (
        f"The baseline has another loss as well. The control, the squared error without noise, keeps {alone}. Under "
        f"{auto} the levels of noise keep {levels}, the baseline {left(BASELINE, auto)}."
    )


def best(panel: Panel, among: Iterable[str], column: str) -> str:
    """The row of the highest mean in a column."""
    return max(among, key=lambda row: panel[row, column].mean)


def beside_attacked(panel: Panel, row: str, column: str, within: float) -> Ruling:
    """Whether a row is at most a margin below adversarial training; open where that is no better than the baseline."""
    taken = above(panel, (TRAINED, column), (BASELINE, column))
    if taken.verdict != HOLDS:
        why = "Adversarial training is not surely above the baseline: it is no measure here."
        return Ruling(OPEN, taken.figure, why)
    return fairly(panel, (row, TRAINED), no_less(panel, (row, column), (TRAINED, column), within))


def like_attacked(attacks: Sequence[str]) -> Rule:
    """The rule of "similar robustness to adversarial training": no more than `NEAR` below it."""
    why = (
        f"The best of the paper's levels of noise, chosen by these very images, may stay {100 * NEAR:g} points below "
        "adversarial training at the radius of the attack."
    )

    def rule(panels: Mapping[str, Panel]) -> Ruling:
        grid = panels["grid"]
        parts = [beside_attacked(grid, best(grid, LEVELS, attack), attack, NEAR) for attack in attacks]
        return all_of(*parts, why=" ".join([why, *{part.why: None for part in parts if part.why}]), names=attacks)

    return rule


SAYS = """
**Readings.** The paper's text names neither the radii of its PGD nor its steps, the unit of sigma, the optimiser, the
epochs or a norm of the filters. Here images are in [0, 1], sigma is in the unit of the first pre-activation, the
optimiser is Adam with a rate of 0.001, PGD takes steps of 2.5 eps / steps from a random point, and the network is
attacked and judged with its noise off, as the paper infers. `PGD` is the paper's plain reading, `FGSM` is the attack of
Sec. 3.1 and 6, for whose figures the paper refers to a supplement that does not have them, `APGD` and the group `Auto`
(on a network without noise AutoAttack's attacks) are the stronger judges. A verdict asks for both PGD and APGD: what
holds under PGD alone is a claim about PGD.

**Controls.** The row of the squared error without noise has all of the loss but its noise: what that row has is no
merit of the noise. The rows with unit filters hold each filter of the first layer at an L1 norm of 1, so that the
network cannot outgrow its noise (audit N42). Such filters also let a change of eps in every pixel move a unit by eps at
most: the row of unit filters without noise has that alone. The row of sampled noise is the cross-entropy under draws,
without any closed form. Adversarial training takes ten steps of eps/10 from the image itself, of every image, at
the radius of the columns that decide.

**A sceptic would ask** whether gradients vanish under the squared error, so that PGD stalls where there is no
robustness: APGD on the cross-entropy scales its steps, and `Auto` has members without gradients. The row of the squared
error without noise tells: what it keeps under PGD and APGD and not under `Auto` is no robustness.
"""


def grid(figure: int, data: str, name: str, claims: str) -> Grid:
    """Figure 4 or 5.

    claims: what the ids of its claims end in.
    """
    eps = f"{MIDDLE[data]:.3g}"
    attacks = [f"PGD {eps}", f"APGD {eps}"]
    return Grid(
        name=f"noise-figure-{figure}",
        paper=NOISE_PAPER,
        shows=f"Fig. {figure}",
        title=f"Robustness of the expectation network to PGD, {name}",
        data=data,
        rows=rows(data),
        columns=lambda scale: columns(data, scale),
        decides={
            f"noise-robust-{claims}": more_noise(attacks),
            f"noise-above-baseline-{claims}": better_than_baseline(attacks),
            f"noise-like-attacked-{claims}": like_attacked(attacks),
        }
        | ({"noise-fgsm": better_than_baseline([f"FGSM {eps}"])} if figure == 4 else {}),
        axis="eps",
        says=SAYS,
        seeds=MOST[data],
    )


enter(grid(4, "mnist", "MNIST", "mnist"), grid(5, "cifar10", "CIFAR-10", "cifar10"))
