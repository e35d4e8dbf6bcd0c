"""Whether the loss of an attack still rose where its steps ended: of each image, and beside what is left."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from checklist_networks import LABELS, SOUND, X
from small_networks import images, linear, predicted

from npsnn.attacks import APGD, FAB, PGD, EoT, Group, Judging, Toward, robust_accuracy
from npsnn.attacks.base import InBall
from npsnn.attacks.climbs import Climbs
from npsnn.attacks.flags import of_answers, of_steps
from npsnn.attacks.sources import DRAWN, Source

STEPS = np.arange(20.0)
LOSSES = {
    "rising": (STEPS, True),
    "at its end": (np.minimum(STEPS, 15), False),
    "nearly": (np.where(STEPS < 18, np.minimum(STEPS, 15), 15.5), False),
    "jumping": (np.where(STEPS < 18, np.minimum(STEPS, 15), 16), True),
    "falling": (-STEPS, False),
    "back": (np.where(STEPS < 10, 3, np.where(STEPS < 19, 0, 2.9)), False),
    "without a number": (np.where(STEPS < 15, STEPS, np.nan), False),
    "constant": (np.zeros(20), False),
    "never a number": (np.full(20, np.nan), False),
}


def climbed(losses: np.ndarray, start: int = 0, into: Climbs | None = None) -> Climbs:
    """The climbs of images whose losses are the columns, a step a row."""
    climbs = into or Climbs()
    for step, row in enumerate(losses):
        climbs.note(row, slice(len(row)), ("attack", "restart", start, "step", step))
    return climbs


def test_a_loss_rises_that_gains_a_twentieth_in_the_last_tenth() -> None:
    """Of 20 steps the last two, of which the loss has gained 15 before: 0.5 more is too little, 1 is enough."""
    found = climbed(np.stack([losses for losses, _ in LOSSES.values()], axis=1)).rising(np.zeros(len(LOSSES), bool))
    assert dict(zip(LOSSES, found.tolist(), strict=True)) == {name: rises for name, (_, rises) in LOSSES.items()}


@pytest.mark.parametrize(("steps", "rises"), [(9, False), (10, True)])
def test_nothing_is_said_of_fewer_than_ten_steps(steps: int, rises: bool) -> None:
    assert climbed(STEPS[:steps, None]).rising(np.zeros(1, bool)).tolist() == [rises]


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_starts_the_highest_loss_counts(order: int) -> None:
    high, low = (LOSSES["at its end"][0][:, None] + 9, STEPS[:, None])
    climbs = Climbs()
    for start, losses in list(enumerate((high, low)))[::order]:
        climbed(losses, start, climbs)
    assert not climbs.rising(np.zeros(1, bool))[0]
    assert climbed(low + 99, 2, climbs).rising(np.zeros(1, bool))[0]


def test_an_image_that_is_done_rises_no_more_and_others_do() -> None:
    """The second image is left out from step 10 on; the columns say which of the batch are meant."""
    climbs = Climbs()
    for step in range(20):
        columns: Any = slice(3) if step < 10 else [0, 2]
        climbs.note(np.array([step, step, min(step, 9)])[columns], columns, ("step", step))
    assert climbs.rising(np.zeros(3, bool)).tolist() == [True, False, False]


def test_what_is_asked_beside_the_steps_counts_for_nothing() -> None:
    climbs = climbed(np.zeros((20, 1)))
    for path in (("choice",), ("step", 3, "look"), ("checkpoint", 4), ()):
        climbs.note(np.array([9.0]), slice(1), path)
    assert not climbs.rising(np.zeros(1, bool))[0]


def codes(result: Any) -> set[str]:
    return {caveat.code for caveat in result.caveats}


@pytest.mark.parametrize("sigma", [0.0, 0.06])
@pytest.mark.parametrize("group", ["", "two"])
def test_few_and_short_steps_are_said_beside_what_they_leave(sigma: float, group: str) -> None:
    network = SOUND.with_sigma(sigma)
    made: Any = [
        replace(PGD(0.02, steps=20, source=EoT(20)).general, step_size=0.001, random_start=False),
        PGD(0.02, steps=40),
    ]
    made += [APGD(0.02, steps=50, source=EoT(3))]
    made = Group(group, made) if group else made
    short, *others = robust_accuracy(network, X, LABELS, made, Judging(draws=5, selection=5))
    left = int((~short.success).sum())
    assert left > 20
    assert "still-rising" in codes(short)
    (text,) = [c.text for c in short.caveats if c.code == "still-rising"]
    count = int((short.rising & ~short.success).sum())
    assert text.startswith(f"the loss of {count} of the {left} images that are left still rises where the steps end")
    assert short.images["rising"] is short.rising
    for result in others:
        assert "still-rising" not in codes(result), result.attack


@dataclass(frozen=True)
class Mine(InBall):
    """One long way in a straight line."""

    steps: int = 20
    source: Source = DRAWN

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        here = x
        for step in range(self.steps):
            _, gradient = target(here, labels, stream.at("step", step))
            here = self.ball.project(here + self.eps / self.steps * np.sign(gradient), x)
        return here


class Climbing(Mine):
    climbs = True


def test_attacks_that_climb_no_single_loss_have_no_such_flag() -> None:
    """As one that lowers a loss, goes to the border, shrinks its ball, or does not say that it climbs."""
    network, x = SOUND.with_sigma(0.0), X[:10]
    attacks: list[Any] = [Climbing(0.01), Mine(0.02), Toward(PGD(0.01, steps=20)), FAB(0.01, steps=20)]
    attacks += [APGD(0.3, "l1", steps=30)]
    climbing, *others = robust_accuracy(network, x, LABELS[:10], attacks)
    assert "still-rising" in codes(climbing)
    for result in others:
        assert not result.rising.any(), result.attack


@pytest.mark.parametrize(
    ("rising", "left", "flagged"), [(0, 0, 0), (0, 9, 0), (2, 3, 0), (3, 3, 1), (12, 29, 0), (40, 100, 0), (45, 100, 1)]
)
def test_a_third_of_the_images_that_are_left_may_rise_and_luck_is_no_rise(rising: int, left: int, flagged: int) -> None:
    assert len(of_steps(rising, left)) == flagged


def test_a_network_that_answers_with_probabilities_is_named() -> None:
    """Two logits of the opposite weights add up to 1; with another bias they do not, and some are below 0."""
    network, x = linear(0.0, classes=2), images(6)
    w = np.full((1, 24), 0.01) * np.array([[1], [-1]])
    for bias, flagged in (([0.5, 0.5], True), ([0.6, 0.5], False), ([1.5, -0.5], False)):
        one = replace(network, params=network.params | {"fc": {"w": w, "b": np.array(bias)}})
        (result,) = robust_accuracy(one, x, predicted(one, x), [PGD(0.01, steps=2)])
        assert result.probabilities is flagged
        assert ("probabilities" in codes(result)) is flagged
    assert of_answers(False) == []
