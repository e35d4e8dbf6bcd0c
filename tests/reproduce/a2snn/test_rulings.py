"""Each claim of A2SNN on made-up panels: the verdict comes where it must, and not where it must not."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from tiny_reproduction import tiny

from npsnn.reproduce.a2snn import (
    costs,
    criteria,
    deciding,
    figure_1,
    figure_2,
    noise,
    table_2,
    table_3,
    table_6,
    theorem_1,
)
from npsnn.reproduce.a2snn.claims import CLAIMS
from npsnn.reproduce.a2snn.printed import PRINTED
from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, PART, Ruling
from npsnn.reproduce.experiments import Experiment, Grid
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import MissingError, Records, Seeds
from npsnn.reproduce.scales import A2SNN, SMALL
from npsnn.reproduce.whole import experiments

Value: TypeAlias = Callable[[str, str, str], float]
"""From a panel, a row and a column to the mean of a cell."""
BY_CLAIM: dict[str, Experiment] = {id: e for e in experiments() if e.paper == A2SNN for id in e.decides}


def panels(experiment: Experiment, value: Value, spread: float) -> Mapping[str, Panel]:
    """The experiment's panels with every cell made up: three seeds, `spread` apart."""
    made = experiment.panels(tiny(), Records(Path("nowhere")))
    return {
        name: replace(
            panel,
            cells={
                (row, column): Seeds(tuple(value(name, row, column) + k * spread for k in (-1, 0, 1)))
                for row in panel.rows
                for column in panel.columns
            },
        )
        for name, panel in made.items()
    }


def verdict(claim: str, value: Value, spread: float = 0.001) -> str:
    id = f"a2snn-{claim}"
    return BY_CLAIM[id].decides[id](panels(BY_CLAIM[id], value, spread)).verdict


def row(**means: float) -> Value:
    """A mean for each row, 0.5 for the others; an underscore stands for a hyphen."""
    of = {name.replace("_", "-"): mean for name, mean in means.items()}
    return lambda panel, row, column: of.get(row, 0.5)


def rows(means: Mapping[str, float], other: float = 0.5) -> Value:
    return lambda panel, row, column: means.get(row, other)


def columns(means: Mapping[str, float], other: float = 0.5) -> Value:
    return lambda panel, row, column: means.get(column, other)


def cells(means: Mapping[tuple[str, str], float], other: float = 0.5) -> Value:
    return lambda panel, row, column: means.get((row, column), other)


def theirs(claim: str, judge: str = "PGD") -> Value:
    """The paper's own figures; attacks that it has not leave what its PGD leaves."""
    grid = BY_CLAIM[f"a2snn-{claim}"]
    assert isinstance(grid, Grid)
    return lambda panel, row, column: grid.theirs.get((row, column), grid.theirs.get((row, judge), 50.0)) / 100


def over_kappa(*means: float) -> Value:
    return columns(dict(zip(table_2.DRAWN.values(), means, strict=True)))


HOLD_AND_FAIL: dict[str, tuple[Value, Value]] = {
    "above-stochastic-fgsm": (theirs("above-stochastic-fgsm", "FGSM"), row(m5=0.5)),
    "above-stochastic-pgd": (theirs("above-stochastic-pgd"), row(m5=0.7, pni=0.71)),
    "cw-best": (rows({"m5": 0.6}), row(adv_bnn=0.6)),
    "cw-high-confidence": (rows({"m5": 0.7}), row(m5=0.4)),
    "cw-falls": (over_kappa(0.5, 0.4, 0.3, 0.2, 0.1), over_kappa(0.1, 0.2, 0.3, 0.4, 0.5)),
    "one-pixel-best": (theirs("one-pixel-best"), row(m5=0.5)),
    "more-pixels": (theirs("more-pixels"), columns({"clean": 0.5, "3 pixels": 0.6})),
    "few-generations": (columns({table_3.few(n): n / 10 for n in (1, 2, 3)}), columns({table_3.few(3): 0.1})),
    "state-of-the-art": (theirs("state-of-the-art"), row(m5=0.6, trades=0.61)),
    "without-adversarial-training": (theirs("without-adversarial-training"), row(m5=0.6, pgd_training=0.7)),
    "fashion-mnist-strength": (theirs("fashion-mnist-strength"), columns({"FGSM 0.3": 0.05, "PGD 0.3": 0.0})),
    "averaging-degrades": (rows({table_6.SEVERAL: 0.4}), rows({table_6.SEVERAL: 0.55})),
    "independent-noise": (rows({table_6.APART: 0.49}), rows({table_6.APART: 0.3})),
    "not-regularisation": (rows({table_6.QUIET: 0.3}), rows({table_6.QUIET: 0.5})),
    "without-eot": (columns({"FGSM, one draw": 0.6, "PGD, one draw": 0.6}), columns({})),
    "adversarial-harms-clean": (rows({"AT": 0.4, "CT+AT": 0.4}), rows({"AT": 0.6, "CT+AT": 0.5})),
    "adversarial-no-benefit": (rows({"AT": 0.4, "CT+AT": 0.4}), rows({"AT": 0.6, "CT+AT": 0.6})),
    "best-at-all-strengths": (row(m5=0.6), row(m5=0.6, m3=0.7)),
    "graceful": (row(m0=0.3), row(m0=0.6)),
    "one-step-weaker": (columns({"criterion 1 passes": 1, "criterion 1 fails": 0}), columns({"criterion 1 passes": 0})),
    "black-box-weaker": (
        columns({"criterion 2 passes": 1, "criterion 2 fails": 0}),
        columns({"criterion 2 passes": 0}),
    ),
    "random-finds-nothing": (
        columns({"criterion 4 passes": 1, "criterion 4 fails": 0, criteria.RIGHT: 0.98}),
        columns({"criterion 4 passes": 0, criteria.RIGHT: 0.3}),
    ),
    "unbounded-takes-all": (columns({figure_1.UNBOUNDED: 0.001}), columns({figure_1.UNBOUNDED: 0.2})),
    "stronger-takes-more": (
        columns({figure_1.name(n): 0.8 - n / 10 for n in range(8)}),
        columns({figure_1.name(7): 0.6}),
    ),
    "no-obfuscation": (
        columns({f"criterion {n} fails": 0 for n in range(1, 10)}, 1),
        columns({f"criterion {n} passes": 0 for n in range(1, 10)}, 1),
    ),
    "isotropic-on-axes": (
        rows({figure_2.RANDOM: 22.5, "m2": 5.0}),
        rows({figure_2.RANDOM: 22.5, "m2": 22.5}),
    ),
    "entropy-spherical": (rows({"m3": 1.1}), rows({"m3": 3.0})),
    "aligned-with-eigenvectors": (
        rows({figure_2.RANDOM: 22.5, "m2": 15.0, "m3": 20.0, "m5": 4.0}),
        rows({figure_2.RANDOM: 22.5, "m2": 3.0, "m3": 20.0, "m5": 4.0}),
    ),
    "free-of-axes": (rows({"m5": 20.0, "m2": 5.0}), rows({"m5": 5.0, "m2": 5.1})),
    "eot-saturates": (
        columns({"EoT 10": 0.6, "EoT 20": 0.52}),
        columns({"EoT 35": 0.6, "EoT 100": 0.4}),
    ),
    "off-axes-clean": (row(m5=0.6), row(m5=0.4)),
    "bottleneck": (rows({}), rows({"512 features": 0.6})),
    "theorem-1": (columns({theorem_1.BROKEN: 0.0}), columns({theorem_1.BROKEN: 0.2})),
    "alignment-closes-the-gap": (rows({"m3": 0.6}), rows({"m3": 0.6, "m5": 1.4})),
    "entropy-keeps-noise": (rows({noise.NONE: 0.01}), rows({noise.NONE: 0.7})),
    "projection-needed": (rows({noise.FREE: 2.0}), rows({noise.FREE: 0.4})),
    "attack-agnostic": (row(m5=0.6), row(m5=0.5)),
    "adversarial-biased": (row(m5=0.6), row(pgd_training=0.6)),
    "fast": (rows({"m5": 0.2}), rows({"m5": 0.2, "pni": 0.1})),
    "adversarial-costs": (rows({"pgd-training": 0.9}), rows({"pgd-training": 0.4})),
}
"""For each claim but those of Table 5, panels of which it holds, and panels of which it does not."""
HOLD_AND_FAIL |= {
    f"{claim}-{data}": values
    for data in PRINTED
    for claim, values in {
        "entropy-helps": (row(m1=0.6), row(m1=0.45)),
        "anisotropic-helps": (row(m3=0.6), row(m3=0.5)),
        "alignment-comparable": (row(m3=0.51), row(m3=0.7)),
        "complementary": (row(m5=0.6), row(m5=0.6, m1=0.61)),
        "clean-kept": (row(m5=0.495), row(m5=0.45)),
        "numbers": (
            theirs(f"numbers-{data}"),
            cells({("m0", "clean"): PRINTED[data]["m0"][0] / 100}, 0.3),
        ),
    }.items()
}
EXACT = ("theorem-1", "one-step-weaker", "black-box-weaker", "random-finds-nothing", "no-obfuscation", "eot-saturates")
"""Claims about counts, which are the same for each seed, and about figures that must agree to a point."""


def test_every_claim_is_tried() -> None:
    assert {f"a2snn-{claim}" for claim in HOLD_AND_FAIL} == {claim.id for claim in CLAIMS}


@pytest.mark.parametrize("claim", HOLD_AND_FAIL)
def test_claim(claim: str) -> None:
    spread = 0.0 if claim in EXACT else 0.001
    holds, fails = HOLD_AND_FAIL[claim]
    assert (verdict(claim, holds, spread), verdict(claim, fails, spread)) == (HOLDS, FAILS)


@pytest.mark.parametrize("claim", HOLD_AND_FAIL)
def test_nothing_is_said_of_what_was_not_measured(claim: str) -> None:
    id = f"a2snn-{claim}"
    made = BY_CLAIM[id].panels(SMALL, Records(Path("nowhere")))
    with pytest.raises(MissingError):
        BY_CLAIM[id].decides[id](made)


def test_the_papers_table_5_bears_out_what_the_paper_says_of_it() -> None:
    """No margin is one that the paper's own figures miss; the judge, of which the paper has none, is left out."""
    said = ("entropy-helps", "anisotropic-helps", "alignment-comparable", "complementary", "clean-kept")
    for claim, data in itertools.product(said, PRINTED):
        id = f"a2snn-{claim}-{data}"
        found = BY_CLAIM[id].decides[id](panels(BY_CLAIM[id], theirs(f"{claim}-{data}"), 0.0))
        assert {part.verdict for part in found.parts or (found,) if part.name != "judge"} == {HOLDS}, (claim, data)


def test_the_papers_tables_2_and_3() -> None:
    """L2P rises from kappa 0 to 0.1, so that not every defence degrades at every step."""
    assert verdict("cw-falls", theirs("cw-falls"), 1e-4) == PART
    assert verdict("cw-best", theirs("cw-best"), 1e-4) == HOLDS, "though m5 is 0.8 and 0.7 points above L2P at 0 and 1"
    assert verdict("cw-high-confidence", theirs("cw-high-confidence", "kappa 5"), 1e-4) == HOLDS


def test_one_better_competitor_refutes_a_best() -> None:
    """Under one of two attacks it refutes half of the claim."""
    best = row(m5=0.6)
    assert verdict("state-of-the-art", best) == HOLDS
    beaten = lambda panel, row, column: 0.7 if (row, column) == ("trades", "judge") else best(panel, row, column)  # noqa: E731
    assert verdict("state-of-the-art", beaten) == PART


def test_a_network_that_has_not_learned_is_no_competitor() -> None:
    """One that gives one answer keeps a tenth of the images under every attack: it refutes and supports nothing."""

    below = {"m5": 0.5, "pgd-training": 0.115}
    id = "a2snn-without-adversarial-training"
    found = BY_CLAIM[id].decides[id](panels(BY_CLAIM[id], rows(below, 0.3), 0.001))
    assert found.verdict == OPEN and "no comparison: pgd-training classifies 11.4 % of clean images" in found.figure
    assert verdict("without-adversarial-training", rows(below | {"pgd-training": 0.25}, 0.3)) == HOLDS
    beaten = rows({"m5": 0.3, "pgd-training": 0.115}, 0.4)
    assert verdict("without-adversarial-training", beaten) == FAILS, "others are more robust"
    assert verdict("adversarial-harms-clean", rows({"AT": 0.11, "CT+AT": 0.11})) == OPEN
    assert verdict("adversarial-harms-clean", rows({"AT": 0.31, "CT+AT": 0.31})) == HOLDS


def test_numbers_of_another_network_are_not_compared() -> None:
    claim = "numbers-fashion-mnist"
    assert verdict(claim, cells({("m0", "clean"): 0.6}, 0.3)) == OPEN
    assert verdict(claim, cells({("m0", "clean"): 0.6}, 0.908)) == OPEN


def test_a_comparison_that_cannot_be_told_is_worse_than_one_that_holds_in_part() -> None:
    part, unsure = Ruling(PART, "part"), Ruling(OPEN, "open")
    assert deciding.strictly(Ruling(HOLDS, "a"), part, unsure).verdict == OPEN
    assert deciding.strictly(part, unsure, Ruling(FAILS, "f")).verdict == FAILS
    assert deciding.strictly(part, Ruling(HOLDS, "a")).figure == "holds in part against 1 of 2 others, the first: part"


def test_other_kinds_of_attack_say_nothing_where_hardly_anything_is_left() -> None:
    passing = {f"criterion {n} fails": 0.0 for n in range(1, 10)}
    found = panels(
        BY_CLAIM["a2snn-no-obfuscation"], columns(passing | {criteria.EOT: 0.04, criteria.OTHERS: 0.01}, 1), 0.0
    )
    ruling = criteria.hides_nothing(found)
    assert ruling.verdict == OPEN and ruling.named_parts[OPEN] == [criteria.ASKED[9]]
    assert "m5: 4.0 % for PGD with EoT, 1.0 % for APGD-T or Square" in ruling.parts[-1].figure
    assert ruling.parts[-1].figure.endswith(
        "no comparison: too little is left for the lead of 10 points that would count"
    )


def test_samples_that_find_what_looks_at_the_image_find_say_nothing() -> None:
    counted = {"criterion 4 passes": 1, "criterion 4 fails": 0, criteria.RIGHT: 0.3}
    assert verdict("random-finds-nothing", columns(counted | {criteria.UNMOVED: 0.3})) == OPEN
    assert verdict("random-finds-nothing", columns(counted | {criteria.UNMOVED: 0.9})) == PART


def test_class_vectors_of_a_network_that_has_not_learned_say_nothing() -> None:
    aligned = {figure_2.RANDOM: 22.5, "m2": 15.0, "m3": 20.0, "m5": 4.0}

    def value(panel: str, row: str, column: str) -> float:
        return aligned.get(row, 0.5) if panel == figure_2.ANGLES else 0.1 if row == "m5" else 0.8

    assert verdict("aligned-with-eigenvectors", value) == OPEN and verdict("free-of-axes", value) == OPEN
    assert verdict("entropy-spherical", lambda *at: value(*at) if at[0] == figure_2.READ else 1.1) == HOLDS


def test_nothing_is_owed_to_noise_where_nothing_is_left() -> None:
    assert verdict("not-regularisation", rows({"m5": 0.03, table_6.QUIET: 0.01})) == OPEN
    assert verdict("independent-noise", rows({"m5": 0.01, table_6.APART: 0.02})) == OPEN


def test_saturation_asks_that_fewer_draws_are_too_few() -> None:
    assert verdict("eot-saturates", columns({}), 0.0) == PART, "ten draws take as much as a hundred"


def test_criteria_of_seeds_that_disagree() -> None:
    def outcome(passes: tuple[float, ...], fails: tuple[float, ...]) -> str:
        names = [f"{criteria.column(1)} {word}" for word in ("passes", "fails")]
        made = dict(zip([("m5", name) for name in names], map(Seeds, (passes, fails)), strict=True))
        return criteria.outcome(Panel("made up", ["m5"], names, made), "m5", 1).verdict

    assert outcome((1, 1), (0, 0)) == HOLDS and outcome((0, 0), (1, 1)) == FAILS
    assert outcome((1, 0), (0, 1)) == PART
    assert outcome((1, 0), (0, 0)) == OPEN, "one is undecided"
    assert outcome((0, 0), (0, 1)) == OPEN


def test_a_mean_of_curves_is_over_seeds_and_images() -> None:
    import numpy as np

    one, two = (Seeds((a, b), (np.array([a, a]), np.array([b, b]))) for a, b in ((0.2, 0.4), (0.4, 0.8)))
    found = deciding.mean([one, two])
    assert found.values == pytest.approx((0.3, 0.6))
    np.testing.assert_allclose(found.each, [[0.3, 0.3], [0.6, 0.6]])
    assert deciding.mean([Seeds((0.2,)), Seeds((0.4,))]).each == ()


def test_costs_are_of_an_epoch() -> None:
    assert costs.SECONDS in costs.Costs().panels(tiny(), Records(Path("nowhere")))[costs.PANEL].columns
