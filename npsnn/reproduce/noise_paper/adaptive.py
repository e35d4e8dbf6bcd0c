"""Figure 7 of the noise paper: FGSM by the closed form on networks that keep their noise, against other gradients."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from npsnn.attacks import FGSM
from npsnn.attacks.sources import ClosedForm, EoT, Expectation
from npsnn.reproduce.claims import Ruling
from npsnn.reproduce.experiments import Column, Draw, Grid, Rule, enter
from npsnn.reproduce.jobs import Job
from npsnn.reproduce.noise_paper.networks import OFF, SEEDS, Row, noise_aware, noise_unseen, sampled
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.plots import curves as drawn
from npsnn.reproduce.records import Records
from npsnn.reproduce.rules import above, all_of, no_less
from npsnn.reproduce.scales import NOISE_PAPER, Scale

EPS = (0.05, 0.1, 0.2, 0.3)
"""Radii in Linf; the paper's text has none."""
DECIDING = (0.1, 0.2)
"""The radii that decide: at others too little is lost, or too little is left."""
SIGMAS = (0.6, 0.8)
"""The noise that is kept at inference (Sec. 4)."""
NEAR = 0.05
"""How much more than an unprotected network is "almost as vulnerable": a fraction."""
UNPROTECTED = "unprotected"
PLAIN, ADAPTIVE, EXACT = "plain", "adaptive", "adaptive, exact"
RULES = {ADAPTIVE: "by the paper's loss and rule", EXACT: "win probability by the true moments"}
"""What tells the parts of a claim about adaptive attacks apart."""
WON = "adaptive, win probability"
"""The control that tells the loss from the rule: the paper's rule with the objective of `EXACT`."""
BOTH = "The claim is asked of two attacks: the paper's own loss and rule, and the win probability by the true moments."


def kinds(eot: int) -> dict[str, Any]:
    """The sources of gradients by what the columns call them.

    eot: draws of the noise for a gradient.
    """
    return {
        PLAIN: Expectation(),
        ADAPTIVE: ClosedForm("noise-aware", propagation="laplace"),
        WON: ClosedForm("win-probability", propagation="laplace"),
        EXACT: ClosedForm("win-probability"),
        "EoT": EoT(eot),
    }


def randomised(sigma: float) -> str:
    """The row that decides: trained with sampled noise, which it keeps."""
    return f"sampled noise, sigma {sigma:g}"


def rows() -> tuple[dict[str, Row], dict[str, Mapping[str, float]]]:
    """The networks, and the noise that they keep."""
    found: dict[str, Row] = {UNPROTECTED: noise_unseen}
    kept: dict[str, Mapping[str, float]] = {UNPROTECTED: OFF}
    for sigma in SIGMAS:
        readings = {
            randomised(sigma): sampled(sigma),
            f"unit filters, sampled noise, sigma {sigma:g}": sampled(sigma, "l1"),
            f"noise at inference alone, sigma {sigma:g}": noise_unseen,
            f"noise-aware, sigma {sigma:g}": noise_aware(sigma),
        }
        found |= readings
        kept |= {name: {"sigma": sigma} for name in readings}
    return found, kept


def columns(scale: Scale) -> Iterator[Column]:
    """The images as they are, and FGSM at each radius by each source of gradients."""
    yield Column("clean")
    for eps in EPS:
        for kind, source in kinds(scale.eot).items():
            yield Column(f"{kind} {eps:g}", FGSM(eps, source=source))


def plain_columns(scale: Scale) -> Iterator[Column]:
    """Those of a network without noise, on which all gradients are the same."""
    yield from (column for column in columns(scale) if column.name.split()[0] in ("clean", PLAIN))


def almost_unprotected(panels: Mapping[str, Panel]) -> Ruling:
    """Whether the adaptive attack leaves of sigma 0.6 hardly more than FGSM leaves of the unprotected network."""
    row = randomised(SIGMAS[0])
    places = [((UNPROTECTED, PLAIN), (row, kind), eps) for kind in (ADAPTIVE, EXACT) for eps in DECIDING]
    parts = [
        no_less(panels["curves"], (curve(*other), str(eps)), (curve(*one), str(eps)), NEAR)
        for other, one, eps in places
    ]
    why = f"The noise may leave {100 * NEAR:g} points more than FGSM leaves of the unprotected network. {BOTH}"
    return all_of(*parts, why=why, names=[RULES[kind] for kind in (ADAPTIVE, EXACT) for _ in DECIDING])


def stronger(panels: Mapping[str, Panel]) -> Ruling:
    """Whether gradients of the closed form take more than those of the network without its noise."""
    curves = panels["curves"]
    parts = [
        above(curves, (curve(row, PLAIN), str(eps)), (curve(row, kind), str(eps)))
        for kind in (ADAPTIVE, EXACT)
        for row in map(randomised, SIGMAS)
        for eps in DECIDING
    ]
    row, eps = randomised(SIGMAS[0]), DECIDING[0]
    won, drawn = (f"{100 * curves[curve(row, kind), str(eps)].mean:.1f} %" for kind in (WON, "EoT"))
    why = (
        "Plain FGSM ignores the noise; the adaptive one is the same step by the closed form. Of the controls the "
        f"paper's rule with the win probability leaves {won} of {row} at eps {eps:g}, and gradients of draws, which "
        f"need no closed form, {drawn}."
    )
    names = [RULES[kind] for kind in (ADAPTIVE, EXACT) for _ in SIGMAS for _ in DECIDING]
    return all_of(*parts, why=f"{why} {BOTH}", names=names)


def curve(row: str, kind: str) -> str:
    """The name of the curve of a network under a kind of attack."""
    return f"{row}: {kind} FGSM"


SAYS = """
**Readings.** The defence is "such as PixelDP": noise on the first pre-activation that is kept at inference. PixelDP
trains with draws of that noise, so the rows `sampled noise` decide; the rows beside it keep noise that training has not
seen, or that the noise-aware loss was trained with. Every step is one FGSM step of length eps (Eq. 10), judged on fresh
draws. `plain` takes the gradient of the network without its noise; `adaptive` the gradient of the noise-aware loss
under the paper's own rule (with the derived signs, audit N20 and N35); `adaptive, exact` the gradient of the win
probability under the true moments; `EoT` averages gradients over draws, as any attacker could without a closed form.
The paper's text names neither radii nor images.

**Controls.** `adaptive, win probability` has the paper's rule and the objective of `adaptive, exact`. It tells whether
the loss or the rule makes the difference: the squared error of the noise-aware loss also grows where the right logit
grows, which is no attack on a network that another loss has trained. With unit filters the noise cannot be outgrown
(audit N42); with free filters a network trained with draws learns large filters, and what is left is almost no noise.
EoT tells whether the closed form is needed.

**A sceptic would ask** whether "vulnerable to the adaptive attack" means more than "vulnerable": that is so only where
the adaptive step takes clearly more images than the plain one.
"""


@dataclass(frozen=True)
class Adaptive:
    """Networks that keep their noise by kinds of one-step attack: a grid, and its curves over eps."""

    name: str = "noise-figure-7"
    paper: str = NOISE_PAPER
    shows: str = "Fig. 7"
    title: str = "Adaptive FGSM on networks that keep their noise"
    says: str = SAYS

    @property
    def decides(self) -> Mapping[str, Rule]:
        return {"noise-adaptive-unprotected": almost_unprotected, "noise-adaptive-stronger": stronger}

    def _grids(self) -> tuple[Grid, Grid]:
        """The networks that keep their noise, and the one without."""
        networks, kept = rows()
        noisy = Grid(
            name=self.name,
            paper=self.paper,
            shows=self.shows,
            title=self.title,
            data="mnist",
            rows={name: row for name, row in networks.items() if name != UNPROTECTED},
            columns=columns,
            kept=kept,
            seeds=SEEDS,
        )
        return noisy, replace(noisy, rows={UNPROTECTED: networks[UNPROTECTED]}, columns=plain_columns)

    def jobs(self, scale: Scale) -> Iterable[Job]:
        """Those of both grids."""
        return (job for grid in self._grids() for job in grid.jobs(scale))

    def panels(self, scale: Scale, records: Records) -> dict[str, Panel]:
        """The curves of each network and attack over eps, and the clean accuracies."""
        noisy, alone = (grid.panels(scale, records)["grid"] for grid in self._grids())
        cells = {**noisy.cells, **alone.cells}
        curves = {curve(UNPROTECTED, PLAIN): (UNPROTECTED, PLAIN)}
        curves |= {curve(row, kind): (row, kind) for row in noisy.rows for kind in kinds(scale.eot)}
        wanted = {(name, str(eps)): (row, f"{kind} {eps:g}") for name, (row, kind) in curves.items() for eps in EPS}
        clean = {(name, "clean"): (row, "clean") for name, (row, _) in curves.items()}
        panel = replace(
            noisy,
            rows=list(curves),
            columns=["clean", *map(str, EPS)],
            cells={to: cells[at] for to, at in (clean | wanted).items() if at in cells},
            x={"clean": 0.0} | {str(eps): eps for eps in EPS},
            axis="eps",
        )
        return {"curves": panel}

    def pictures(self, scale: Scale, records: Records) -> dict[str, Draw]:
        """A plot of each network that keeps its noise, beside the unprotected one."""
        panel, found = self.panels(scale, records)["curves"], {}
        for row in self._grids()[0].rows:
            own = [curve(UNPROTECTED, PLAIN), *(curve(row, kind) for kind in kinds(scale.eot))]
            if (draw := drawn(replace(panel, rows=own))) is not None:
                found[f"{self.title}: {row}"] = draw
        return found


enter(Adaptive())
