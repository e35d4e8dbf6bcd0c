"""Each claim of the noise paper on made-up panels: the verdict comes where it must, and not where it must not."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from tiny_reproduction import tiny

from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, PART
from npsnn.reproduce.experiments import Experiment
from npsnn.reproduce.noise_paper import (
    accuracy,
    adaptive,
    best_clean,
    boundary,
    closed_form,
    cost,
    densities,
    learned_sigma,
    robustness,
)
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.records import MissingError, Records, Seeds
from npsnn.reproduce.whole import experiments

Value: TypeAlias = Callable[[str, str, str], float]
"""From a panel, a row and a column to the mean of a cell."""
BY_CLAIM = {id: e for e in experiments() if e.paper == "noise paper" for id in e.decides}


def panels(experiment: Experiment, value: Value, spread: float = 0.001) -> Mapping[str, Panel]:
    """The experiment's panels with every cell made up: three seeds, `spread` apart."""
    found = {}
    for name, panel in experiment.panels(tiny(), Records(Path("nowhere"))).items():
        columns = panel.columns or ["relu1", "fc2", "relu2", "fc3"]  # known from the records alone
        cells = {
            (row, column): Seeds(tuple(value(name, row, column) + k * spread for k in (-1, 0, 1)))
            for row in panel.rows
            for column in columns
        }
        found[name] = replace(panel, columns=columns, cells=cells)
    return found


def verdict(claim: str, value: Value, spread: float = 0.001) -> str:
    experiment = BY_CLAIM[claim]
    return experiment.decides[claim](panels(experiment, value, spread)).verdict


def of_row(means: Mapping[str, float], other: float = 0.5) -> Value:
    return lambda panel, row, column: means.get(row, other)


def of_column(means: Mapping[str, float], other: float = 0.5) -> Value:
    return lambda panel, row, column: means.get(column, other)


def by_level(*means: float) -> dict[str, float]:
    return dict(zip(robustness.LEVELS, means, strict=True))


def under(attack: str, there: Value, elsewhere: Value) -> Value:
    return lambda panel, row, column: (there if column.startswith(attack) else elsewhere)(panel, row, column)


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_more_noise_is_more_robust(data: str) -> None:
    claim, up, down = f"noise-robust-{data}", of_row(by_level(0.1, 0.2, 0.3, 0.4)), of_row(by_level(0.4, 0.3, 0.2, 0.1))
    assert verdict(claim, up) == HOLDS and verdict(claim, down) == FAILS
    assert verdict(claim, under("APGD", down, up)) == PART, "PGD alone"
    assert verdict(claim, of_row(by_level(0.1, 0.5, 0.3, 0.4))) == PART, "a step goes down"


@pytest.mark.parametrize("claim", ["noise-above-baseline-mnist", "noise-above-baseline-cifar10", "noise-fgsm"])
def test_every_level_is_above_the_baseline(claim: str) -> None:
    assert verdict(claim, of_row({"baseline": 0.2})) == HOLDS
    assert verdict(claim, of_row({"baseline": 0.6})) == FAILS
    assert verdict(claim, of_row({"baseline": 0.2} | by_level(0.1, 0.3, 0.3, 0.3))) == PART


def test_the_controls_stand_beside_the_verdict() -> None:
    found = BY_CLAIM["noise-above-baseline-mnist"]
    means = {"baseline": 0.2, robustness.ALONE: 0.31} | by_level(0.5, 0.6, 0.7, 0.8)
    why = found.decides["noise-above-baseline-mnist"](panels(found, of_row(means))).why
    assert "keeps 31.0 % under PGD 0.1, 31.0 % under APGD 0.1, 31.0 % under Auto 0.1." in why
    assert "keep 50.0 %, 60.0 %, 70.0 %, 80.0 %, the baseline 20.0 %." in why


def test_every_level_leaves_the_border_farther_away() -> None:
    assert verdict("noise-boundary", of_row({"baseline": 0.2})) == HOLDS
    assert verdict("noise-boundary", of_row({"baseline": 0.6})) == FAILS
    in_l2 = lambda panel, row, column: 0.6 if row == "baseline" and column == boundary.LINF else 0.4  # noqa: E731
    assert verdict("noise-boundary", under(boundary.L2, of_row({"baseline": 0.2}), in_l2)) == PART


def test_learned_noise_defends() -> None:
    assert verdict("noise-variance-defends", of_row({"baseline": 0.2})) == HOLDS
    assert verdict("noise-variance-defends", of_row({"baseline": 0.6})) == FAILS
    assert verdict("noise-variance-defends", of_row({"baseline": 0.4, learned_sigma.BIMODEL: 0.3})) == PART


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_similar_to_adversarial_training(data: str) -> None:
    claim, low = f"noise-like-attacked-{data}", {"baseline": 0.1, robustness.TRAINED: 0.8}
    assert verdict(claim, of_row(low | by_level(0.1, 0.2, 0.78, 0.3))) == HOLDS, "the best level counts"
    assert verdict(claim, of_row(low | by_level(0.1, 0.2, 0.95, 0.3))) == HOLDS, "better is similar enough"
    assert verdict(claim, of_row(low | by_level(0.1, 0.2, 0.7, 0.3))) == FAILS
    untaken = {"baseline": 0.1, robustness.TRAINED: 0.1} | by_level(0.1, 0.1, 0.1, 0.1)
    assert verdict(claim, of_row(untaken)) == OPEN, "an adversarial training that has not taken is no measure"
    one_answer = {"baseline": 0.05, robustness.TRAINED: 0.12} | by_level(0.2, 0.2, 0.3, 0.2)
    assert verdict(claim, of_row(one_answer)) == OPEN, "one answer for all images, which no attack changes"


def along(*, noise: float, attacked: float, robust: float = 1.0) -> Value:
    """Clean accuracies that fall by these steps along both axes, where robustness rises by `robust` times as much."""
    steps = {accuracy.NOISE: noise, accuracy.ATTACKED: attacked}
    columns = {
        accuracy.column(label, x): (k, name)
        for name, (label, networks) in accuracy.PANELS.items()
        for k, x in enumerate(networks)
    }

    def value(panel: str, row: str, column: str) -> float:
        if panel == accuracy.TOGETHER:
            row, column = column, row
        k, name = columns[column]
        return 0.9 - k * steps[name] if row == accuracy.CLEAN else 0.4 + robust * k * abs(steps[name])

    return value


def test_accuracy_declines_along_both_axes() -> None:
    assert verdict("noise-accuracy-declines", along(noise=0.02, attacked=-0.02)) == HOLDS
    assert verdict("noise-accuracy-declines", along(noise=-0.02, attacked=0.02)) == FAILS
    assert verdict("noise-attacked-declines", along(noise=-0.02, attacked=0.02)) == HOLDS
    assert verdict("noise-attacked-declines", along(noise=0.02, attacked=-0.02)) == FAILS


def test_noise_mirrors_the_radius() -> None:
    claim = "noise-mirrors-attacked"
    assert verdict(claim, along(noise=0.02, attacked=0.02)) == HOLDS
    assert verdict(claim, along(noise=0.02, attacked=0.02, robust=-1)) == PART
    assert verdict(claim, along(noise=-0.02, attacked=-0.02, robust=-1)) == FAILS


def test_no_drop_is_against_the_vanilla_network() -> None:
    assert verdict("noise-no-drop", along(noise=0.001, attacked=0.3)) == HOLDS
    assert verdict("noise-no-drop", along(noise=0.05, attacked=0.3)) == FAILS
    assert verdict("noise-no-drop", along(noise=0.002, attacked=0.3)) == PART, (
        "the two strongest lose 0.6 points and more"
    )
    falling = along(noise=0.05, attacked=0.3)

    def above_squared_error(panel: str, row: str, column: str) -> float:
        return 0.5 if accuracy.column("sigma", 0) in (row, column) else falling(panel, row, column)

    assert verdict("noise-no-drop", above_squared_error) == FAILS


def test_the_term_of_the_loss_has_more_accuracy_than_the_squared_error_alone() -> None:
    assert verdict("noise-term-helps", along(noise=-0.01, attacked=0.0)) == HOLDS
    assert verdict("noise-term-helps", along(noise=0.01, attacked=0.0)) == FAILS


def fooled(unprotected: float, **left: float) -> Value:
    """What is left of the unprotected network, and of the others by the kind of attack."""

    def value(panel: str, row: str, column: str) -> float:
        network, kind = row.split(": ")
        return (
            unprotected
            if network == adaptive.UNPROTECTED
            else left.get(kind.removesuffix(" FGSM").replace(", ", "_"), 0.5)
        )

    return value


def test_the_adaptive_attack_leaves_almost_an_unprotected_network() -> None:
    claim, rest = "noise-adaptive-unprotected", {"plain": 0.9, "EoT": 0.3}
    assert verdict(claim, fooled(0.3, adaptive=0.33, adaptive_exact=0.2, **rest)) == HOLDS
    assert verdict(claim, fooled(0.3, adaptive=0.5, adaptive_exact=0.5, **rest)) == FAILS
    assert verdict(claim, fooled(0.3, adaptive=0.5, adaptive_exact=0.3, **rest)) == PART


def test_the_adaptive_attack_is_stronger_than_the_plain_one() -> None:
    claim, rest = "noise-adaptive-stronger", {"plain": 0.5, "EoT": 0.3}
    assert verdict(claim, fooled(0.3, adaptive=0.4, adaptive_exact=0.4, **rest)) == HOLDS
    assert verdict(claim, fooled(0.3, adaptive=0.6, adaptive_exact=0.5, **rest)) == FAILS
    assert verdict(claim, fooled(0.3, adaptive=0.6, adaptive_exact=0.4, **rest)) == PART


def test_clean_data_alone_within_ten_points() -> None:
    name = next(iter(best_clean.candidates()))
    means = {"baseline": 0.1, robustness.TRAINED: 0.8}
    assert verdict("noise-clean-alone", of_row(means | {name: 0.72})) == HOLDS
    assert verdict("noise-clean-alone", of_row(means | {name: 0.65})) == PART, "above the baseline, and not near"
    assert verdict("noise-clean-alone", of_row(means | {"baseline": 0.7, name: 0.65})) == FAILS

    def one_alone(panel: str, row: str, column: str) -> float:
        return (means | {name: 0.72 if panel == "mnist" else 0.6}).get(row, 0.5)

    assert verdict("noise-clean-alone", one_alone) == PART
    assert verdict("noise-clean-alone", of_row(dict.fromkeys(means, 0.1))) == OPEN


def test_the_laws_of_layers() -> None:
    relu, out = "noise-relu-normal", "noise-output-normal"
    assert (
        verdict(relu, of_row({densities.PAPER: 0.05})) == HOLDS
        and verdict(relu, of_row({densities.PAPER: 0.3})) == FAILS
    )
    assert (
        verdict(out, of_row({densities.FITTED: 0.02})) == HOLDS
        and verdict(out, of_row({densities.FITTED: 0.3})) == FAILS
    )

    def relus_alone(panel: str, row: str, column: str) -> float:
        return 0.3 if row == densities.PAPER and column.startswith("relu") else 0.01

    assert verdict(relu, relus_alone) == FAILS, "affine layers do not count"


@pytest.mark.parametrize(
    ("claim", "column", "good", "bad"),
    [
        ("noise-expectation", closed_form.QUIET, 0.05, 0.9),
        ("noise-variance-alone", closed_form.RATIO, 1.05, 1.5),
        ("noise-deterministic", closed_form.EXPECTATION, 0.0, 0.01),
        ("noise-inference-cheap", closed_form.TIMES, 9.0, 1.1),
        ("noise-coverage", closed_form.INSIDE, 0.9973, 0.95),
    ],
)
def test_what_the_logits_tell(claim: str, column: str, good: float, bad: float) -> None:
    assert verdict(claim, of_column({column: good}), spread=0.0) == HOLDS
    assert verdict(claim, of_column({column: bad}), spread=0.0) == FAILS


def test_the_closed_form_of_the_logits() -> None:
    near, far = f"{closed_form.LAW}, laplace", f"{closed_form.WINS}, laplace"
    assert verdict("noise-closed-form", of_column({near: 0.05, far: 0.02})) == HOLDS
    assert verdict("noise-closed-form", of_column({near: 0.4, far: 0.02})) == PART
    assert verdict("noise-closed-form", of_column({near: 0.4, far: 0.2})) == FAILS


def test_costs() -> None:
    means = {cost.PLAIN: 1.0, cost.AWARE: 1.6, cost.DRAWN: 1.4, robustness.TRAINED: 8.0}
    assert verdict("noise-dearer-than-plain", of_row(means)) == HOLDS
    assert verdict("noise-cheaper-than-attacked", of_row(means)) == HOLDS
    assert verdict("noise-cheaper-than-draws", of_row(means)) == FAILS
    on_one = lambda panel, row, column: means[row] if panel == "mnist" else (means | {cost.DRAWN: 3.0}).get(row, 1.0)  # noqa: E731
    assert verdict("noise-cheaper-than-draws", lambda *at: on_one(*at) if at[1] in means else 1.0) == PART
    turned = means | {cost.AWARE: 0.9, robustness.TRAINED: 0.8, cost.DRAWN: 30.0}
    assert verdict("noise-dearer-than-plain", of_row(turned)) == FAILS
    assert verdict("noise-cheaper-than-attacked", of_row(turned)) == FAILS
    assert verdict("noise-cheaper-than-draws", of_row(turned)) == HOLDS


def ended(sigmas: Mapping[str, float], moved: float = 0.0, held: float | None = None) -> Value:
    """Trainings that end at these sigmas and moved so far in their last third; held: so far with unit filters."""

    def value(panel: str, row: str, column: str) -> float:
        if column == learned_sigma.END:
            return sigmas.get(row, 1.0)
        if column == learned_sigma.MOVED:
            return moved if held is None or "unit filters" not in row else held
        return 0.01

    return value


def test_table_1() -> None:
    theirs = {learned_sigma.MODEL: 0.72, learned_sigma.BIMODEL: 0.8, learned_sigma.ELSEWHERE: 0.7}
    ours = {learned_sigma.MODEL: 1.2, learned_sigma.BIMODEL: 1.0, learned_sigma.ELSEWHERE: 0.4}
    for claim in ("noise-sigma-model", "noise-sigma-bimodel", "noise-reward-more", "noise-sigma-start"):
        assert verdict(claim, ended(theirs)) == HOLDS, claim
        assert verdict(claim, ended(ours)) == FAILS, claim


def test_a_sigma_that_still_moves_has_not_converged() -> None:
    claim = "noise-sigma-not-zero"
    assert verdict(claim, ended({})) == HOLDS
    assert verdict(claim, ended({}, moved=-0.1)) == OPEN, "it still falls"
    assert verdict(claim, ended({}, moved=0.1)) == OPEN, "it still rises"
    assert verdict(claim, ended({}, moved=0.0, held=-0.1)) == OPEN, "it rests only where filters may grow"
    gone = {row: 0.005 for row in learned_sigma.rows() if "unit filters" in row}
    assert verdict(claim, ended(gone)) == PART, "it is 0 where no filter can grow"
    assert verdict(claim, ended({row: 0.005 for row in learned_sigma.rows()})) == FAILS, "it is 0"
    assert verdict(claim, ended({}, moved=0.0), spread=0.05) == OPEN


def test_claims_are_open_where_nothing_was_measured() -> None:
    for claim, experiment in BY_CLAIM.items():
        empty = experiment.panels(tiny(), Records(Path("nowhere")))
        with pytest.raises(MissingError):
            experiment.decides[claim](empty)
