"""MI-FGSM by its formula, image by image, and with what it has to bear."""

from typing import Any

import numpy as np
import pytest
from alone import Alone
from small_networks import convolutional, images, predicted

from npsnn.attacks import BIM, ClosedForm, EoT, Expectation, MomentumFGSM
from npsnn.attacks.plan import Plan
from npsnn.attacks.targets import closed_form, expectation, sampled
from npsnn.streams import Stream

X = images(6, low=0.2, high=0.8)
LABELS = predicted(convolutional(), X)
TARGETS = {"expectation": expectation, "sampled": lambda c: sampled(c, 2), "closed form": closed_form}


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_its_steps_are_those_of_the_formula(decay: float) -> None:
    target, eps = expectation(convolutional()), 0.1
    found = MomentumFGSM(eps, steps=4, decay=decay)(target, X, LABELS, Stream(0))
    for n, image in enumerate(X):
        x_adv, g = image, np.zeros(image.shape)
        for _ in range(4):
            gradient = target(x_adv[None], LABELS[n : n + 1], Stream(0))[1][0]
            g = decay * g + gradient / np.abs(gradient).sum()
            x_adv = np.clip(x_adv + eps / 4 * np.sign(g), 0, 1)
        np.testing.assert_allclose(found[n], x_adv, atol=1e-12)


def test_without_momentum_it_is_bim() -> None:
    target = expectation(convolutional())
    for norm in ("linf", "l2"):
        ours = MomentumFGSM(0.1, norm, steps=5, decay=0.0)(target, X, LABELS, Stream(0))
        np.testing.assert_allclose(ours, BIM(0.1, norm, steps=5)(target, X, LABELS, Stream(0)), atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_batch_is_its_images_one_by_one_to_the_bit(kind: str, norm: str) -> None:
    target, attack, stream = Alone(TARGETS[kind](convolutional())), MomentumFGSM(0.3, norm, steps=4), Stream(4)
    whole = attack(target, X, LABELS, stream)
    ones = [attack(target, X[n : n + 1], LABELS[n : n + 1], stream.further(n)) for n in range(len(X))]
    assert whole.tobytes() == np.concatenate(ones).tobytes() and (whole != X).any()
    assert attack(target, X[:0], LABELS[:0], stream).shape == (0, *X.shape[1:])


def test_a_plan_names_it() -> None:
    plan = Plan(("mi-fgsm", "adaptive-mi-fgsm"), eps=(0.1,), steps=7, eot=0, objective="margin")
    assert plan.made() == [
        MomentumFGSM(0.1, steps=7, source=Expectation("margin")),
        MomentumFGSM(0.1, steps=7, source=ClosedForm("margin")),
    ]
    assert MomentumFGSM(0.1).source == EoT() and MomentumFGSM(0.1).label == "mi-fgsm"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"steps": 0}, "steps must be >= 1, got 0"), ({"decay": -1.0}, "decay must be >= 0 and finite, got -1.0")],
)
def test_what_is_no_setting_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MomentumFGSM(0.1, **wrong)
