"""Signs that attacks fail for reasons of their own are beside what they leave, and no others."""

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from checklist_networks import BACKWARDS, BLIND, DRAWN_BACKWARDS, LABELS, SOUND, X, spoiled
from small_networks import images, linear, predicted

from npsnn.attacks import (
    APGDT,
    BIM,
    PGD,
    CarliniWagner,
    EoT,
    Expectation,
    Group,
    Judging,
    RandomSearch,
    Square,
    robust_accuracy,
    worst_case,
)
from npsnn.attacks.flags import of_replaced, of_together, of_unbounded
from npsnn.attacks.judging import Accuracy
from npsnn.classifier import Classifier
from npsnn.objectives import OBJECTIVES

EPS = 0.06
SEARCH = RandomSearch(EPS, samples=15, draws=5)
OFF = PGD(EPS, source=Expectation(name="noise-off"))
DRAWN = PGD(EPS, steps=5, source=EoT(3))


def flags(network: Classifier, *attacks: Any, group: str = "") -> dict[str, str]:
    judging = Judging(draws=5, selection=5)
    made: Any = Group(group, attacks) if group else attacks
    results = list(robust_accuracy(network, X, LABELS, made, judging))
    return {caveat.code: caveat.text for caveat in worst_case(network, LABELS, results, judging).caveats}


@pytest.mark.parametrize("network", [SOUND, SOUND.with_sigma(0.0)])
def test_a_sound_network_has_no_flag(network: Classifier) -> None:
    assert flags(network, DRAWN, SEARCH, OFF) == {}
    assert flags(network, DRAWN, SEARCH, group="two") == {}
    assert flags(network, SEARCH) == flags(network, OFF) == {}, "nothing to compare with"


def test_a_black_box_that_takes_more_than_the_gradients() -> None:
    found = flags(spoiled(BACKWARDS), DRAWN, SEARCH)
    what = "random, which takes no gradient, leaves less than pgd, the best of those that do"
    assert found == {"black-box": f"{what}: the gradients mislead"}


def test_a_black_box_that_takes_what_the_gradients_left() -> None:
    quiet = spoiled(BLIND, SOUND.with_sigma(0.0))
    (text,) = flags(quiet, BIM(EPS, steps=2), SEARCH, group="two").values()
    assert text.startswith("random, which takes no gradient, took ") and text.endswith(
        " images that were left: the gradients mislead"
    )
    assert flags(quiet, SEARCH, BIM(EPS, steps=2), group="two") == {}, "it was the first, and nothing had been left"


def test_what_was_left_is_counted_as_it_was_left() -> None:
    network, x = linear(0.0), images(40)
    labels = predicted(network, x)
    results = list(robust_accuracy(network, x, labels, Group("two", (BIM(0.012, steps=1), Square(0.012, queries=9)))))
    assert results[1].met is not None
    blind = replace(results[1], accuracy=Accuracy(np.zeros(40)))
    left = int(blind.met.sum())  # type: ignore[union-attr]
    assert 0 < left < 40
    (caveat,) = of_together([results[0], blind])
    assert f"took {left} of {left} images that were left" in caveat.text


def test_two_images_are_luck() -> None:
    """Of 40 a search takes two more than the gradients: by chance in one case of four."""
    white, blind = robust_accuracy(SOUND, X, LABELS, [DRAWN, SEARCH], Judging(draws=5))
    for taken, flagged in ((2, False), (20, True)):
        left = [
            replace(r, accuracy=Accuracy((np.arange(40) >= n).astype(float))) for r, n in ((white, 0), (blind, taken))
        ]
        assert bool(of_together(left)) is flagged


def test_gradients_of_another_network_that_serve_better() -> None:
    assert flags(spoiled(DRAWN_BACKWARDS), DRAWN, OFF) == {
        "transfer": "noise-off-pgd takes more by the gradients of another network than pgd by this one's own: these "
        "mislead"
    }


@pytest.mark.parametrize(
    ("norm", "eps", "each", "flagged"),
    [
        ("linf", 1.0, [1.0] * 30 + [0.0] * 10, True),
        ("linf", 1.0, [0.0] * 40, False),
        ("linf", 0.9, [1.0] * 40, False),
        ("l2", 24**0.5, [1.0] * 40, True),
        ("l2", 4.8, [1.0] * 40, False),
        ("l0", 12, [1.0] * 40, True),
        ("l1", 24, [1.0] * 40, True),
        ("l2", inf, [1.0] * 30 + [0.0] * 10, True),
        ("l2", inf, [0.5] * 40, False),
        ("l2", inf, [0.9] * 40, True),
        ("linf", 1.0, [0.2] * 40, True),
    ],
)
def test_an_attack_that_nothing_bounds_takes_all(norm: str, eps: float, each: list[float], flagged: bool) -> None:
    """On the boundary, where an attack that looks for the nearest image stops, noise decides."""
    found = of_unbounded(norm, eps, Accuracy(np.array(each)), (2, 3, 4))
    assert [caveat.code for caveat in found] == ["unbounded"] * flagged


def test_a_result_says_that_nothing_bounded_its_attack() -> None:
    network, x = spoiled(BLIND, SOUND.with_sigma(0.0)), X[:20]
    attacks: list[Any] = [PGD(1.0, steps=2), CarliniWagner(steps=2, searches=1)]
    for r in robust_accuracy(network, x, LABELS[:20], attacks):
        assert "unbounded" in {caveat.code for caveat in r.caveats}
    for r in robust_accuracy(SOUND.with_sigma(0.0), x, LABELS[:20], [PGD(1.0, steps=9), PGD(0.01, steps=9)]):
        assert "unbounded" not in {caveat.code for caveat in r.caveats}


@pytest.mark.parametrize(
    ("name", "classes", "text"),
    [
        ("dlr", 2, "dlr needs 3 classes: of 2 it is margin"),
        ("dlr", 3, ""),
        ("targeted-dlr", 2, "targeted-dlr needs 4 classes: of 2 it is targeted-margin"),
        ("targeted-dlr", 3, "targeted-dlr needs 4 classes: of 3 it is targeted-margin"),
        ("targeted-dlr", 4, ""),
        ("cross-entropy", 2, ""),
    ],
)
def test_a_loss_that_needs_more_classes_is_named(name: str, classes: int, text: str) -> None:
    assert [caveat.text for caveat in of_replaced(OBJECTIVES[name], classes)] == ([text] if text else [])


@pytest.mark.parametrize(("classes", "codes"), [(2, {"replaced-loss"}), (3, {"replaced-loss"}), (4, set())])
def test_a_result_names_the_loss_that_was_replaced(classes: int, codes: set[str]) -> None:
    """Also where no image was left to be attacked."""
    network, x = linear(0.0, classes=classes), images(10)
    labels = predicted(network, x)
    group = Group("two", (Square(0.2, queries=5), APGDT(0.2, steps=2)))
    results = list(robust_accuracy(network, x, labels, [APGDT(0.01, steps=2), replace(group)]))
    for r in results:
        found = {caveat.code for caveat in r.caveats}
        assert found == (codes if r.attack == "apgd-t" else set())
