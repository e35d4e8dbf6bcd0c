"""The attack inside of training: each start and each kind of labels against another way to the same images."""

from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
from alone import Alone
from small_networks import convolutional, images, linear, predicted

from npsnn import attacks, train
from npsnn.attacks import BIM, Ball, ClosedForm, GradientAttack, Inner, Judging, robust_accuracy, sampled
from npsnn.attacks.targets import closed_form, expectation
from npsnn.classifier import Classifier
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Sampled
from npsnn.streams import Stream

X = images(6)
LABELS = np.arange(6) % 3
STREAM = Stream(5).at("inner")
SOFT = Inner(0.05, steps=3, step_size=0.03, start="gauss", labels="soft")


def logits(network: Classifier, x: np.ndarray, noise: Noise) -> np.ndarray:
    flat = Moments(np.ascontiguousarray(x.transpose(2, 1, 3, 0)))
    return np.asarray(network.model.network.forward(network.params, flat, noise)[0].mean)


def slope_of_divergence(network: Classifier, clean: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Wᵀ (q - p) of a linear network with 200 digits, each image by itself; clean and moving are logits."""
    found = []
    with mp.workdps(200):
        for z, zz in zip(clean.T, moving.T, strict=True):
            e, ee = [mp.exp(mp.mpf(float(a))) for a in z], [mp.exp(mp.mpf(float(a))) for a in zz]
            apart = [a / sum(ee) - b / sum(e) for a, b in zip(ee, e, strict=True)]
            found.append([float(mp.sign(sum(map(mp.fmul, row, apart)))) for row in network.params["fc"]["w"].T])
    return np.array(found).reshape(-1, *X.shape[1:])


def gauss(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 0.001 * np.moveaxis(STREAM.at("start").normal(np.moveaxis(x, 0, -1)), -1, 0), 0, 1)


def test_uniform_and_true_is_the_attack_of_madry() -> None:
    target = sampled(convolutional(), 1)
    wanted = GradientAttack(Ball("linf", 0.1), 4, 0.03, random_start=True)(target, X, LABELS, STREAM)
    np.testing.assert_array_equal(Inner(0.1, "linf", 4, 0.03)(target, X, LABELS, STREAM.at("restart", 0)), wanted)
    still = Inner(0.1, "l2", 4, 0.025, "none")(target, X, LABELS, STREAM.at("restart", 0))
    np.testing.assert_array_equal(still, BIM(0.1, "l2", 4)(target, X, LABELS, STREAM))


def test_predicted_labels_are_the_network_s_own_answers() -> None:
    network, true = linear(0.0), Inner(0.1, steps=3)
    own, target = predicted(network, X), expectation(network)
    assert (own != LABELS).any()
    wanted = true(target, X, own, STREAM)
    np.testing.assert_array_equal(replace(true, labels="predicted")(target, X, LABELS, STREAM), wanted)
    assert (wanted != true(target, X, LABELS, STREAM)).any()


def test_soft_labels_are_the_probabilities_of_the_clean_images() -> None:
    """The gradient of KL(p || q) by q's logits is q - p; p and each step have a draw of the noise of their own."""
    network, x_adv = linear(0.3), gauss(X)
    p = logits(network, X, Sampled(STREAM.at("clean", "draw", 0)))
    for step in range(3):
        q = logits(network, x_adv, Sampled(STREAM.at("step", step, "draw", 0)))
        x_adv = np.clip(X + np.clip(x_adv + 0.03 * slope_of_divergence(network, p, q) - X, -0.05, 0.05), 0, 1)
    found = SOFT(sampled(network, 1), X, LABELS, STREAM)
    np.testing.assert_allclose(found, x_adv, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(SOFT(sampled(network, 1, "margin"), X, 2 - LABELS, STREAM), found)


@pytest.mark.parametrize("scale", [1.0, 60.0, 200.0])
def test_an_answer_that_is_sure_is_moved_all_the_same(scale: float) -> None:
    """1 - 1 is 0 in any precision: the entry of the label comes from those of the others."""
    network = linear(0.0)
    sharp = {"fc": {name: scale * a for name, a in network.params["fc"].items()}}
    network = replace(network, params=network.params | sharp)
    start = gauss(X)
    slope = slope_of_divergence(network, logits(network, X, EXPECTATION), logits(network, start, EXPECTATION))
    found = Inner(0.05, steps=1, step_size=0.01, start="gauss", labels="soft")(expectation(network), X, LABELS, STREAM)
    np.testing.assert_allclose(found, start + 0.01 * slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [expectation, lambda c: sampled(c, 2), closed_form])
def test_images_are_moved_one_by_one(kind: object) -> None:
    """To the bit, but for the frozen probabilities, which are those of a whole micro-batch."""
    target = kind(convolutional())  # type: ignore[operator]
    for labels in ("true", "predicted", "soft"):
        attack = replace(SOFT, labels=labels)
        asked = target if labels == "soft" else Alone(target)
        whole = attack(asked, X, LABELS, STREAM)
        ones = [attack(asked, X[n : n + 1], LABELS[n : n + 1], STREAM.further(n)) for n in range(len(X))]
        np.testing.assert_allclose(np.concatenate(ones), whole, rtol=0, atol=1e-9 if labels == "soft" else 0)
        assert (whole != X).any() and attack(asked, X[:0], LABELS[:0], STREAM).shape == (0, *X.shape[1:])


def test_training_and_judging_take_it() -> None:
    network = convolutional()
    images_8 = (255 * X).astype(np.uint8)
    (result,) = robust_accuracy(network, X, predicted(network, X), [SOFT], Judging(draws=3))
    assert (result.attack, result.gradient) == ("inner", "sampled") and result.accuracy.each.shape == (6,)
    loss = train.Adversarial(train.CrossEntropy(), replace(SOFT, labels="true", source=ClosedForm()), mix=1.0)
    found, plain = (
        one.gradient(network, images_8, LABELS, EXPECTATION, STREAM) for one in (loss, train.CrossEntropy())
    )
    assert found.loss > plain.loss


def test_the_passes_of_the_clean_images_count() -> None:
    target = sampled(convolutional(), 3)
    assert [replace(SOFT, labels=labels).passes(target) for labels in ("true", "predicted", "soft")] == [9, 12, 12]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"step_size": -0.1}, "step_size must be >= 0 and finite, got -0.1"),
        ({"step_size": float("nan")}, "step_size must be >= 0 and finite, got nan"),
        ({"start": "normal"}, "start must be one of uniform, gauss, none, got 'normal'"),
        ({"labels": "own"}, "labels must be one of true, predicted, soft, got 'own'"),
        ({"start": "none"}, "start must be uniform or gauss for the labels soft"),
        ({"eps": 2.0}, r"eps must be at most 1 in linf"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        attacks.base.checked_attack(replace(SOFT, **options))  # type: ignore[arg-type]
