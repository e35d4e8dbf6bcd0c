"""The cost of attacks before they are made: passes exactly, time by what a first micro-batch takes."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from small_networks import SHAPE, linear, on_features

from npsnn.attacks import (
    BIM,
    FGSM,
    Checklist,
    EoT,
    Group,
    Judging,
    Plan,
    RandomSearch,
    accuracy,
    closed_form,
    cost,
    evaluate,
    expectation,
    robust_accuracy,
    sampled,
    worst_case,
)
from npsnn.attacks.base import target_of
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.costs import _timed
from npsnn.attacks.plan import choices

X = np.random.default_rng(0).random((6, *SHAPE))
LABELS = np.arange(6) % 3


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_the_passes_are_those_that_the_results_will_have(sigma: float) -> None:
    quick: dict[str, Any] = {"steps": 3, "eot": 2, "draws": 2, "samples": 4, "population": 5, "generations": 2}
    quick |= {"apgd_steps": 3, "fab_steps": 2, "targets": 2, "queries": 9}
    plan = Plan(tuple(choices()), eps=(0.1, 0.2), pixels=(1, 2), cw_steps=3, cw_searches=2, **quick)
    network = linear(sigma)
    found = list(evaluate(network, X, LABELS, plan))
    whole = cost(network, X, LABELS, plan.made(), plan.judging())
    assert whole.passes == sum(result.gradient_passes for result in found)
    assert 0 < whole.seconds < 60


def test_the_time_is_of_all_images_and_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npsnn.attacks.costs._timed", lambda *args, **kw: 0.5)
    network, plan = linear(), Plan(("pgd",), eps=(0.1, 0.2), steps=4, eot=5, draws=10)
    whole = cost(network, X, LABELS, plan.made(), plan.judging())
    assert (whole.passes, whole.seconds) == (2 * 4 * 5, 0.5 * (2 * 4 * 5 + 2 * 10))
    assert whole.each == (0.5 * 30,) * 2 and whole.choosing == (0, 0), "one attack alone is the worst"
    many = np.tile(X, (100, 1, 1, 1)), np.tile(LABELS, 100)
    assert cost(network, *many, plan.made(), plan.judging()).seconds == pytest.approx(
        whole.seconds * 600 / network.micro_batch
    )


@pytest.mark.parametrize(("sigma", "draws", "selection"), [(0.3, 10, 40), (0.0, 1, 1)])
def test_the_time_to_choose_the_worst_counts(
    monkeypatch: pytest.MonkeyPatch, sigma: float, draws: int, selection: int
) -> None:
    """As many looks as there are: at each attack and at no attack, and at what is judged."""
    monkeypatch.setattr("npsnn.attacks.costs._timed", lambda *args, **kw: 1.0)
    network, judging, looks = linear(sigma), Judging(draws=10, selection=40), []
    made = Plan(("fgsm", "bim", "cw"), eps=(0.1, 0.2), steps=2, cw_steps=1, cw_searches=1).made()
    whole = cost(network, X, LABELS, made, judging)
    results = list(robust_accuracy(network, X, LABELS, made[:2], judging))
    monkeypatch.setattr("npsnn.attacks.worst.accuracy", lambda *a: looks.append(a[3]) or accuracy(*a))
    worst_case(network, LABELS, results, judging)
    counted = sum(looks) if sigma else len(looks)
    assert whole.choosing == (counted, counted, 0) and counted == 3 * selection + 3 * draws
    assert whole.seconds == pytest.approx(sum(whole.each) + 2 * counted) and not whole.at_most


def test_members_that_run_in_turn_cost_at_most_their_sum() -> None:
    group = Group("two", (FGSM(0.1), RandomSearch(0.1, samples=7)))
    assert cost(linear(0.0), X, LABELS, group).at_most and not cost(linear(), X, LABELS, group).at_most
    assert cost(linear(0.0), X, LABELS, group).passes == 8
    assert not cost(linear(0.0), X, LABELS, list(group)).at_most


def test_an_attack_that_needs_no_gradient_takes_the_time_of_forward_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "npsnn.attacks.costs._timed", lambda target, x, labels, what: 100.0 if what == "gradient" else 1.0
    )
    for attack, seconds in ((RandomSearch(0.1, samples=4, draws=2), 8 + 2), (FGSM(0.1, source=EoT(3)), 300 + 2)):
        assert cost(linear(), X, LABELS, [attack], Judging(draws=2)).seconds == seconds


def test_the_time_of_a_pass_is_a_part_of_that_of_the_draws_that_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that ticks once between any two looks at it."""
    ticks = count()
    monkeypatch.setattr("npsnn.attacks.costs.perf_counter", lambda: float(next(ticks)))
    network = on_features(0.3)
    for target, what, seconds in (
        (sampled(network, 4), "gradient", 1 / 4),
        (sampled(network, 4), "value", 1 / 4),
        (sampled(network, 4), "look", 1 / 10),
        (expectation(network.with_sigma(0)), "look", 1),
        (closed_form(network), "gradient", 1),
    ):
        assert _timed(target, X, LABELS, what) == seconds
    asked = list[tuple[str, int]]()
    monkeypatch.setattr("npsnn.attacks.costs._timed", lambda t, x, y, what: asked.append((what, t.passes)) or 1.0)
    cost(network, X, LABELS, [FGSM(0.1, source=EoT(3)), BIM(0.1, source=EoT(3)), FGSM(0.2, source=EoT(5))])
    assert asked == [("look", 10), ("gradient", 3), ("gradient", 5)], "draws of another number share another part"


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_a_checklist_plans_the_attacks_that_it_makes(sigma: float) -> None:
    options = Checklist(steps=2, draws=2, samples=3, pixels=(1, 2, 2), population=5, generations=1, eps=4 / 255)
    network = linear(sigma)
    suite = Suite(network, X, LABELS, options, None)
    assert len(suite.planned()) == options.runs(suite.noisy)
    assert cost(network, X, LABELS, options).passes == sum(a.passes(target_of(a, network)) for a in suite.planned())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="images must have the shape"):
        cost(linear(), X[:, :1], LABELS, Plan().made())
