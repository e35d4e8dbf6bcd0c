"""Networks on the same images and draws: what a row says, and what it is measured on."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, linear, on_features, predicted

from npsnn import attacks, seeing
from npsnn.attacks import FGSM, Judging
from npsnn.classifier import Classifier
from npsnn.seeing import Compared

X = images(24)
LABELS = predicted(linear(), X)
JUDGING = Judging(draws=6, selection=5)


def compared(networks: Mapping[str, Classifier], some: Any = (), judging: Judging = JUDGING) -> list[Compared]:
    return list(seeing.compare(networks, X, LABELS, some, judging))


def test_a_row_has_what_each_attack_alone_leaves() -> None:
    networks = {"a": linear(), "b": linear(seed=3), "c": convolutional()}
    clean, row = compared(networks, [FGSM(0.05)])
    assert (clean.attack, clean.eps, row.attack, row.norm, row.eps) == ("no attack", 0, "fgsm", "linf", 0.05)
    for name, network in networks.items():
        (alone,) = attacks.robust_accuracy(network, X, LABELS, [FGSM(0.05)], JUDGING)
        np.testing.assert_array_equal(row.accuracies[name].each, alone.accuracy.each)
        np.testing.assert_array_equal(clean.accuracies[name].each, alone.clean)
    assert list(row.differences) == ["b", "c"]
    paired = row.differences["b"]
    each = row.accuracies["b"].each - row.accuracies["a"].each
    assert paired.mean == pytest.approx(each.mean()) and paired.ci95 == attacks.statistics.paired_interval(each)


def test_an_interval_by_hand() -> None:
    """Of 20 images 6 are right for b alone, 1 for a alone: b = 6.5, c = 1.5 and n = 22 of Agresti and Min."""
    one, other = np.zeros(20), np.zeros(20)
    one[:6] = other[6:7] = one[7:12] = other[7:12] = 1
    paired = seeing.Paired.of(one, other)
    half = 1.959964 * math.sqrt((6.5 + 1.5) / 22 - (5 / 22) ** 2) / math.sqrt(22)
    assert paired.mean == 5 / 20 and paired.ci95 == pytest.approx((5 / 22 - half, 5 / 22 + half))
    assert paired.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # of 7 images that differ, 6 or 7 for one side


def test_attacks_may_come_once() -> None:
    networks, progress = {"a": linear(), "b": linear(seed=3)}, list[int]()
    rows = seeing.compare(networks, X, LABELS, (FGSM(eps) for eps in (0.05,)), JUDGING, progress.append)
    assert [row.attack for row in rows] == ["no attack", "fgsm"]
    assert sum(progress) == 2 * 2 * len(X)


def test_a_network_differs_in_nothing_from_itself() -> None:
    """The draws are the same: with draws of their own, 6 draws of 24 images would not all agree."""
    for row in compared({"a": linear(), "b": linear()}, [FGSM(0.02)]):
        np.testing.assert_array_equal(row.accuracies["a"].each, row.accuracies["b"].each)
        assert row.differences["b"].mean == 0 and row.differences["b"].p_value == 1
        assert 0 < row.accuracies["a"].mean < 1


def test_a_clear_difference_is_none_of_luck_and_a_slight_one_may_be() -> None:
    rows = compared({"a": linear(), "b": linear(seed=5), "c": linear(0.31)})
    clear, slight = rows[0].differences["b"], rows[0].differences["c"]
    assert clear.mean < 0 and clear.ci95[1] < 0 and clear.p_value < 0.01
    assert slight.ci95[0] < 0 < slight.ci95[1] and slight.p_value > 0.05


def test_several_attacks_of_a_ball_have_a_worst_case() -> None:
    some = [FGSM(0.05), FGSM(0.1), attacks.PGD(0.05, steps=2)]
    rows = compared({"a": linear(), "b": linear(seed=3)}, some)
    assert [(r.attack, r.eps) for r in rows] == [
        ("no attack", 0), ("fgsm", 0.05), ("pgd", 0.05), ("worst of them", 0.05), ("fgsm", 0.1),
    ]  # fmt: skip


def test_members_of_a_group_that_networks_meet_otherwise_have_the_worst_case_alone() -> None:
    networks = {"noisy": linear(), "plain": linear().with_sigma(0)}
    rows = compared(networks, [attacks.Quick(0.05, steps=2)])
    assert [r.attack for r in rows] == ["no attack", "worst of them"]
    assert [c.code for c in rows[1].caveats["plain"]] == [] or rows[1].caveats["plain"]


def test_shared_draws_are_a_caveat() -> None:
    from small_networks import on_weights

    model = on_weights()
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    (row,) = seeing.compare({"a": network, "b": network}, X, LABELS, (), JUDGING)
    assert [c.code for c in row.caveats["a"]] == ["shared-draws"]


def test_what_is_no_comparison_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ValueError, match="networks must hold two or more to compare, got 1"):
        seeing.compare({"a": linear()}, X, LABELS)
    with pytest.raises(TypeError, match="judging must be a Judging"):
        seeing.compare({"a": linear(), "b": linear()}, X, LABELS, (), 10)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="attacks must be a list"):
        seeing.compare({"a": linear(), "b": linear()}, X, LABELS, FGSM(0.1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must"):
        list(seeing.compare({"a": linear(), "b": on_features()}, X[:, :1], LABELS))
