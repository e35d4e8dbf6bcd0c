"""Targeted versions: the image comes to be read as the class, by the negative of the class's own loss."""

from typing import Any

import numpy as np
import pytest
from alone import Alone
from small_networks import convolutional, images, linear, predicted

from npsnn.attacks import APGD, APGDT, BIM, FGSM, PGD, ClosedForm, EoT, MomentumFGSM, RandomSearch, Toward
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.judging import Judging
from npsnn.attacks.plan import Plan
from npsnn.attacks.targets import closed_form, expectation, sampled
from npsnn.streams import Stream

X = images(8, low=0.4, high=0.6)
QUIET = linear(0.0, classes=4)
LABELS = predicted(QUIET, X)


@pytest.mark.parametrize("attack", [FGSM(0.3), PGD(0.3), MomentumFGSM(0.3), APGD(0.3, steps=20), APGD(1.5, "l2", 20)])
@pytest.mark.parametrize("aim", ["likeliest", "least-likely", "2"])
def test_images_come_to_be_read_as_the_class(attack: Any, aim: str) -> None:
    z = QUIET.predict(X)
    order = z.argsort(axis=1)
    wanted = {"likeliest": order[:, -2], "least-likely": order[:, 0], "2": np.where(LABELS == 2, order[:, -2], 2)}[aim]
    target = expectation(QUIET)
    toward = Toward(attack, aim)
    np.testing.assert_array_equal(toward.aims(target, X, LABELS, Stream(0)), wanted)
    found = toward(target, X, LABELS, Stream(0))
    toward.ball.check(found, X)
    np.testing.assert_array_equal(predicted(QUIET, found), wanted)


def test_no_image_is_moved_to_its_label() -> None:
    least = QUIET.predict(X).argmin(axis=1)
    for aim in ("least-likely", "likeliest", str(least[0])):
        assert (Toward(PGD(0.1), aim).aims(expectation(QUIET), X, least, Stream(0)) != least).all()


def test_the_step_lowers_the_loss_of_the_class() -> None:
    target = expectation(QUIET)
    _, gradient = target(X, QUIET.predict(X).argmin(axis=1), Stream(0))
    np.testing.assert_allclose(Toward(FGSM(0.01))(target, X, LABELS, Stream(0)), X - 0.01 * np.sign(gradient))


@pytest.mark.parametrize("attack", [BIM(0.2, steps=4), APGD(0.2, steps=8, restarts=2), APGD(0.4, "l2", 8)], ids=str)
@pytest.mark.parametrize("kind", [expectation, lambda c: sampled(c, 2), closed_form])
def test_a_batch_is_its_images_one_by_one_to_the_bit(kind: Any, attack: Any) -> None:
    target, toward, stream = Alone(kind(convolutional())), Toward(attack), Stream(4)
    x = images(4)
    labels = predicted(convolutional(), x)
    whole = toward(target, x, labels, stream)
    ones = [toward(target, x[n : n + 1], labels[n : n + 1], stream.further(n)) for n in range(len(x))]
    assert whole.tobytes() == np.concatenate(ones).tobytes() and (whole != x).any()
    assert toward(target, x[:0], labels[:0], stream).shape == (0, *x.shape[1:])


def test_it_is_judged_and_named() -> None:
    toward = Toward(PGD(0.3, source=ClosedForm()), "likeliest")
    (result,) = robust_accuracy(convolutional(), X, predicted(convolutional(), X), [toward], Judging(draws=3))
    assert result.attack == "adaptive-pgd-to-likeliest" and result.gradient == "closed-form"
    plan = Plan(("pgd", "adaptive-apgd", "random"), eps=(0.1,), toward="3", eot=2)
    assert plan.made() == [
        Toward(PGD(0.1, source=EoT(2)), "3"),
        Toward(APGD(0.1, source=ClosedForm()), "3"),
        RandomSearch(0.1, draws=plan.draws),
    ]
    would = set(Plan(("random",)).unused(["toward"])["toward"])
    assert {"fgsm", "adaptive-apgd", "mi-fgsm"} <= would and not {"apgd-t", "cw", "square"} & would


def test_what_is_no_aim_is_named() -> None:
    for make, said in (
        (lambda: Toward(PGD(0.1), "far"), "toward must be one of likeliest, .*, the number of a class, got 'far'"),
        (lambda: Toward(PGD(0.1), -1), "toward must be one of .*, got -1"),  # type: ignore[arg-type]
        (lambda: Plan(("pgd",), toward="nearest"), "toward must be one of .*, got 'nearest'"),
        (lambda: Toward(PGD(0.1), "4")(expectation(QUIET), X, LABELS, Stream(0)), "a class below 4, got 4"),
    ):
        with pytest.raises(ValueError, match=said):
            make()
    with pytest.raises(TypeError, match=r"attack must be one of FGSM, BIM, .* to aim at a class, got APGDT"):
        Toward(APGDT(0.1))
