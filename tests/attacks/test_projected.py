"""FGSM at a known optimum, PGD at least as strong, restarts chosen for each image on noise of their own."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from npsnn import models
from npsnn.attacks.balls import NORMS, Ball
from npsnn.attacks.projected import GradientAttack, bim, fgsm, pgd
from npsnn.attacks.targets import closed_form, expectation, sampled
from npsnn.classifier import Classifier
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.streams import Stream

SHAPE = (1, 3, 4)
LAYERS = (("flatten", Flatten()), ("fc", Linear(2)), ("noise", PreactivationNoise(0.3)))
LINEAR = Model("linear", Sequential(LAYERS), SHAPE, 2)  # type: ignore[arg-type]


@pytest.fixture
def linear() -> Classifier:
    return Classifier(LINEAR, LINEAR.init(np.random.default_rng(0))).astype(np.float64)


@pytest.fixture(scope="module")
def lenet() -> Classifier:
    model = models.lenet5(sigma=0.2)
    return Classifier(model, model.init(np.random.default_rng(0))).astype(np.float64)


X = np.random.default_rng(1).uniform(0.4, 0.6, (6, *SHAPE))
LABELS = np.array([0, 1, 0, 1, 1, 0])
IMAGES = np.random.default_rng(2).uniform(0, 1, (6, 1, 28, 28))
TARGETS = [expectation, lambda c: sampled(c, 2), lambda c: closed_form(c, "win-probability")]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("attack", [fgsm, bim, lambda eps, norm: pgd(eps, norm, 40)])
def test_on_a_linear_model_the_known_optimum_is_reached(linear: Classifier, attack: Any, kind: int, norm: str) -> None:
    """The margin w·x + b falls by eps |w|_1 in the linf ball and by eps |w|_2 in the l2 ball, and by no more."""
    eps, w = 0.1, linear.params["fc"]["w"]
    x_adv = attack(eps, norm)(TARGETS[kind](linear), X, LABELS, Stream(0))
    logits, before = linear.predict(x_adv), linear.predict(X)
    rows = np.arange(6)
    fall = (before[rows, LABELS] - before[rows, 1 - LABELS]) - (logits[rows, LABELS] - logits[rows, 1 - LABELS])
    size = np.linalg.norm(w[0] - w[1], {"linf": 1, "l2": 2}[norm])
    assert (fall <= eps * size * (1 + 1e-9)).all()
    # a random start is forgotten in the linf ball, and decays in the l2 ball
    least = 0.97 if norm == "l2" and attack is not fgsm else 1 - 1e-9
    assert (fall >= least * eps * size).all()


@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_is_one_step_of_the_whole_length(linear: Classifier, norm: str) -> None:
    target, eps = expectation(linear), 0.1
    x_adv = fgsm(eps, norm)(target, X, LABELS, Stream(0))
    g = target(X, LABELS, Stream(0))[1]
    step = np.sign(g) if norm == "linf" else g / np.sqrt((g**2).sum(axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(x_adv, X + eps * step, rtol=1e-9)
    assert fgsm(eps, norm).general == GradientAttack(Ball(norm, eps), 1, eps)


def test_steps_and_their_lengths() -> None:
    assert bim(0.2, "l2", 10).general == GradientAttack(Ball("l2", 0.2), 10, 0.02)
    assert pgd(0.2, "l2", 10, 3).general == GradientAttack(Ball("l2", 0.2), 10, pytest.approx(0.05), True, 3)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", range(3))
def test_more_steps_are_stronger(lenet: Classifier, kind: int, norm: str) -> None:
    target, eps, labels = TARGETS[kind](lenet), {"linf": 0.05, "l2": 1.0}[norm], np.arange(6)
    attacks = [fgsm(eps, norm), bim(eps, norm, 10), pgd(eps, norm, 10)]
    judge = expectation(lenet)
    found = [a(target, IMAGES, labels, Stream(0)) for a in attacks]
    losses = [judge(x, labels, Stream(9))[0].mean() for x in (IMAGES, *found)]
    assert losses[0] < losses[1] < min(losses[2:])
    for attack, x_adv in zip(attacks, found, strict=True):
        attack.ball.check(x_adv, IMAGES)


def test_without_room_nothing_moves(lenet: Classifier) -> None:
    for attack in (fgsm(0.0), bim(0.0, "l2"), pgd(0.0, "linf", 2, 2), pgd(0.0, "l2", 2)):
        np.testing.assert_array_equal(attack(expectation(lenet), IMAGES, np.arange(6), Stream(0)), IMAGES)


def test_walls_of_the_box_hold(lenet: Classifier) -> None:
    corners = np.round(IMAGES)
    for attack in (fgsm(0.3), pgd(0.3, steps=3), pgd(3.0, "l2", 3)):
        x_adv = attack(expectation(lenet), corners, np.arange(6), Stream(0))
        assert x_adv.min() >= 0 and x_adv.max() <= 1 and (x_adv != corners).any()


@dataclass
class Landscape:
    """Flat, so that only the random start matters; notes what it was asked. The loss is the first pixel's."""

    passes: int = 1
    asked: list[Stream] = field(default_factory=list)

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(stream)
        return np.sin(40 * x[:, 0, 0, 0]), np.zeros_like(x)


@pytest.mark.parametrize("norm", NORMS)
def test_each_image_keeps_its_best_restart(norm: str) -> None:
    target, restarts = Landscape(), 5
    attack = pgd(0.3, norm, 1, restarts)
    starts = [attack.ball.random(X, Stream(3).at("restart", r, "start")) for r in range(restarts)]
    losses = np.stack([target(s, LABELS, Stream(0))[0] for s in starts])
    best = losses.argmax(axis=0)
    assert len(set(best)) > 1, "a test of the choice for each image needs different winners"
    expected = np.stack(starts)[best, np.arange(6)]
    np.testing.assert_array_equal(attack(target, X, LABELS, Stream(3)), expected)


def test_restarts_never_lower_the_loss_they_are_chosen_by() -> None:
    target = Landscape()
    losses = [
        target(pgd(0.3, steps=1, restarts=r)(target, X, LABELS, Stream(3)), LABELS, Stream(0))[0] for r in (2, 3, 6, 12)
    ]
    assert (np.diff(losses, axis=0) >= 0).all()
    assert (losses[-1] > losses[0]).any()


def test_the_choice_is_made_on_noise_no_step_has_seen() -> None:
    target = Landscape()
    pgd(0.1, steps=3, restarts=4)(target, X, LABELS, Stream(3).from_sample(128))
    steps = [s for s in target.asked if "step" in s.path]
    choices = [s for s in target.asked if "step" not in s.path]
    assert len(steps) == 12 and len(set(steps)) == 12
    assert len(choices) == 4 and len(set(choices)) == 1, "one noise for all, or the luckier restart would win"
    assert not set(steps) & set(choices)
    assert {s.first for s in target.asked} == {128} and {s.seed for s in target.asked} == {3}


@dataclass
class Spoiled:
    """A loss that is NaN for the restarts that begin in the lower half."""

    passes: int = 1

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        first = x[:, 0, 0, 0]
        return np.where(first < 0.5, np.nan, first), np.zeros_like(x)


def test_a_loss_that_is_nan_never_wins() -> None:
    x = np.full((40, 1, 1, 1), 0.5)
    attack = pgd(0.3, steps=1, restarts=6)
    starts = np.stack([attack.ball.random(x, Stream(0).at("restart", r, "start")) for r in range(6)])[..., 0, 0, 0]
    found = attack(Spoiled(), x, np.zeros(40, int), Stream(0))[:, 0, 0, 0]
    able = (starts >= 0.5).any(axis=0)
    np.testing.assert_array_equal(found[able], starts.max(axis=0)[able])


def test_passes_are_counted(lenet: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, gradients = list[int](), Classifier.loss_gradients
    monkeypatch.setattr(
        Classifier, "loss_gradients", lambda *args: counted.extend([1] * len(args[3])) or gradients(*args)
    )
    for attack in (fgsm(0.1), bim(0.1, steps=3), pgd(0.1, steps=2), pgd(0.1, steps=2, restarts=3)):
        for target in (expectation(lenet), sampled(lenet, 2)):
            counted.clear()
            attack(target, IMAGES[:1], np.array([1]), Stream(0))
            assert attack.passes(target) == len(counted)


@pytest.mark.parametrize("kind", range(3))
def test_a_batch_may_be_split_anywhere(lenet: Classifier, kind: int) -> None:
    target, labels = TARGETS[kind](lenet), np.arange(6)
    attack = pgd(1.0, "l2", 2, 2)
    whole = attack(target, IMAGES, labels, Stream(0))
    parts = [attack(target, IMAGES[s], labels[s], Stream(0).from_sample(s.start)) for s in (slice(0, 1), slice(1, 6))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-9)


@pytest.mark.parametrize("field_name", ["steps", "restarts"])
def test_counts_must_be_positive(field_name: str) -> None:
    with pytest.raises(ValueError, match=f"{field_name} must be >= 1, got 0"):
        pgd(0.1, **{field_name: 0})
