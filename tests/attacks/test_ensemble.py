"""The groups auto and quick: who is a member on which network, and when the name AutoAttack is earned."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, linear, on_features, predicted

from npsnn import attacks
from npsnn.attacks import (
    APGD,
    APGDT,
    FAB,
    FGSM,
    Auto,
    ClosedForm,
    EoT,
    Expectation,
    Group,
    Judging,
    Known,
    Quick,
    Square,
)
from npsnn.attacks.base import ATTACKS, GROUPED, attack, target_of
from npsnn.attacks.ensemble import GROUPS
from npsnn.attacks.groups import STANDARD, grouped
from npsnn.attacks.plan import Plan
from npsnn.classifier import Classifier
from npsnn.models import with_mixing

SMALL: dict[str, Any] = {"steps": 3, "targets": 2, "fab_steps": 3, "queries": 12, "gradient_draws": 2}
FOUR = linear(0.0, classes=4)


def test_the_standard_version_has_autoattacks_members_budgets_and_order() -> None:
    for norm in ("linf", "l2"):
        group = attacks.standard(0.1, norm)
        assert group.members == (
            APGD(0.1, norm, steps=100, restarts=1),
            APGDT(0.1, norm, steps=100, targets=9),
            FAB(0.1, norm, steps=100, targets=9),
            Square(0.1, norm, queries=5000),
        )
        assert [member.label for member in group] == ["apgd", "apgd-t", "fab-t", "square"]
        assert attacks.auto(FOUR, 0.1, norm).members == group.members


@pytest.mark.parametrize(
    ("made", "network", "name"),
    [
        (attacks.standard(0.1), FOUR, STANDARD),
        (attacks.standard(0.1, "l2"), FOUR, STANDARD),
        (Auto(0.1), FOUR, STANDARD),
        (attacks.auto(FOUR, 0.1), FOUR, STANDARD),
        (attacks.standard(0.1), linear(0.3, classes=4), "auto"),
        (Auto(0.1), linear(0.3, classes=4), "auto"),
        (Auto(0.1), linear(0.0, classes=3), "auto"),
        (Auto(0.1, steps=99), FOUR, "auto"),
        (Auto(0.1, queries=4999), FOUR, "auto"),
        (attacks.standard(0.1, source=Known(0)), linear(0.3, classes=4), "auto"),
        (Quick(0.1), FOUR, "quick"),
        (replace(attacks.standard(0.1), members=attacks.standard(0.1).members[::-1]), FOUR, "auto"),
        (Group("auto", attacks.standard(0.1).members), FOUR, "auto"),
        (replace(attacks.auto(FOUR, 0.1), members=attacks.auto(FOUR, 0.1).members[:2]), FOUR, "auto"),
        (attacks.auto(FOUR, 0.1), linear(0.3, classes=4), "auto"),
    ],
)
def test_a_figure_is_called_autoattack_only_where_all_is_as_there(made: Any, network: Classifier, name: str) -> None:
    """Members, budgets, order, losses that the classes suffice for, and a network with one answer."""
    assert [group.name for group in grouped([made], network)] == [name]
    assert grouped(made, network) == grouped([made], network)


@pytest.mark.parametrize("network", [convolutional(0.3), on_features(0.3)])
def test_a_random_network_meets_members_that_know_of_its_noise(network: Classifier) -> None:
    group = attacks.auto(network, 0.1)
    assert [member.label for member in group] == [
        "adaptive-apgd",
        "noise-off-apgd",
        "adaptive-apgd-t",
        "adaptive-fab-t",
        "apgd",
        "adaptive-square",
    ]
    sources = {member.label: member.source for member in group}
    assert sources["apgd"] == EoT(20, "true-class-probability")
    assert sources["noise-off-apgd"] == Expectation(name="noise-off")
    assert {source for label, source in sources.items() if label.startswith("adaptive-")} == {ClosedForm()}
    kinds = {member.label: target_of(member, network).kind for member in group}
    assert kinds["noise-off-apgd"] == "expectation" and kinds["apgd"] == "sampled"


def test_a_random_network_without_a_closed_form_is_attacked_by_draws() -> None:
    network = convolutional(0.0)
    model = with_mixing(network.model, 2)
    pool = np.random.default_rng(0).random((3, 2, 3, 2, 4))
    mixed = Classifier(model, {"mixing": {"body": network.params, "pool": pool}}, threads=1)
    group = attacks.auto(mixed, 0.1)
    assert [member.label for member in group] == ["apgd", "noise-off-apgd", "apgd-t", "fab-t", "square"]
    kinds = {member.label: target_of(member, mixed).kind for member in group}
    assert {label for label, kind in kinds.items() if kind == "sampled"} == {"apgd", "apgd-t", "fab-t", "square"}
    x = images(4)
    found = list(attacks.robust_accuracy(mixed, x, predicted(mixed, x), [Auto(0.02, **SMALL)], Judging(draws=2)))
    assert [r.attack for r in found] == [m.label for m in group]
    assert [m.label for m in attacks.Quick(0.1).of(mixed)] == ["apgd", "noise-off-apgd"]
    quiet = [member.label for member in attacks.auto(mixed.with_sigma(0), 0.1)]
    assert quiet == ["apgd", "apgd-t", "fab-t", "square"]


def test_quick_has_the_members_that_take_most_for_their_cost() -> None:
    for network in (FOUR, convolutional(0.3)):
        quick, whole = attacks.Quick(0.1).of(network), Auto(0.1).of(network)
        assert quick.members == whole.members[:2] and quick.name == "quick"


def test_the_defended_network_says_who_the_members_are() -> None:
    """Not the network as it was trained: judged without noise it is certain."""
    network, x = linear(0.3, classes=4), images(12)
    labels = predicted(network, x)
    quiet = list(attacks.robust_accuracy(network, x, labels, [Auto(0.02, **SMALL)], Judging(sigma=0.0)))
    noisy = list(attacks.robust_accuracy(network, x, labels, [Auto(0.02, **SMALL)], Judging(draws=2)))
    assert [r.attack for r in quiet] == ["apgd", "apgd-t", "fab-t", "square"]
    assert [r.attack for r in noisy] == [m.label for m in Auto(0.02).of(network)]
    assert quiet[0].met is not None and noisy[0].met is None


@pytest.mark.parametrize("sigma", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_three_lines_give_the_members_and_the_figure(sigma: float, classes: int) -> None:
    network, x = linear(sigma, classes=classes), images(20)
    labels = predicted(network, x)
    judging = Judging(draws=4, selection=20)
    results = list(attacks.robust_accuracy(network, x, labels, attacks.auto(network, 0.01, **SMALL), judging))
    worst = attacks.worst_case(network, labels, results, judging)
    least = min(r.accuracy.mean for r in results)
    assert worst.mean <= least + (0.15 if sigma else 0)
    assert least < 1 and len({r.attack for r in results}) == len(results)


def test_a_larger_ball_leaves_no_more() -> None:
    x = images(40)
    labels = predicted(FOUR, x)
    left = []
    for eps in (0.0, 0.005, 0.02, 0.08):
        *_, last = attacks.robust_accuracy(FOUR, x, labels, Auto(eps, **SMALL))
        left.append(last.accuracy.mean)
    assert left[0] == 1 and left == sorted(left, reverse=True) and left[-1] == 0


@pytest.mark.parametrize("network", [linear(0.0, classes=4), linear(0.3, classes=4)])
def test_the_bytes_are_those_of_any_number_of_threads(network: Classifier) -> None:
    network = replace(network, model=replace(network.model, micro_batch=7))
    x = images(30)
    labels, judging = predicted(network, x), Judging(draws=3, selection=5)
    found = []
    for threads in (1, 3):
        some = replace(network, threads=threads)
        results = list(attacks.robust_accuracy(some, x, labels, Auto(0.01, **SMALL), judging))
        worst = attacks.worst_case(some, labels, results, judging)
        found.append([v.tobytes() for r in (*results, worst) for v in (r.x_adv,)] + [worst.each.tobytes()])
    assert found[0] == found[1]


def test_a_plan_names_groups() -> None:
    plan = Plan(
        ("auto", "fgsm"), eps=(0.1, 0.2), apgd_steps=7, targets=3, fab_steps=5, queries=40, propagation="laplace"
    )
    whole = {"steps": 7, "targets": 3, "fab_steps": 5, "queries": 40, "propagation": "laplace"}
    first, second, *_ = plan.made()
    assert first == Auto(0.1, **whole) and second == FGSM(0.1, source=EoT(10))  # type: ignore[arg-type]
    assert Plan().attacks == ("quick",) and Plan(eps=(0.1,)).made() == [Quick(0.1)]
    assert Plan(("quick",), norm="l2", eps=(0.5,)).made() == [Quick(0.5, "l2")]
    assert {*GROUPS} == {*GROUPED}


@pytest.mark.parametrize("name", GROUPED)
def test_no_attack_is_called_as_a_group(name: str) -> None:
    with pytest.raises(
        ValueError, match=f"the attack {name} of FGSM must have another name: {name} is a group of attacks"
    ):
        attack(name)(FGSM)
    assert name not in ATTACKS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -1}, "eps must be >= 0"),
        ({"norm": "l7"}, "norm must be one of linf, l2"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"targets": 0}, "targets must be >= 1, got 0"),
        ({"fab_steps": 0}, "steps must be >= 1, got 0"),
        ({"queries": 0}, "queries must be >= 1, got 0"),
        ({"gradient_draws": 0}, "draws must be >= 1, got 0"),
        ({"propagation": "clark"}, "unknown propagation .clark., expected one of"),
        ({"steps": 1.5}, "steps must be of the type int, got 1.5"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Auto(**({"eps": 0.1} | options))


def test_one_image_and_nothing_left() -> None:
    x = images(1)
    labels = predicted(FOUR, x)
    *_, last = attacks.robust_accuracy(FOUR, x, labels, Auto(0.5, **SMALL))
    assert last.accuracy.mean == 0
    results = list(attacks.robust_accuracy(FOUR, x, (labels + 1) % 4, Auto(0.5, **SMALL)))
    assert [r.took for r in results] == [0] * 4 and [r.seconds for r in results] == [0] * 4
    np.testing.assert_array_equal(results[-1].x_adv, x)
