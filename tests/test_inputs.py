"""Images and labels in whatever form people have them: the same answers, and a line for what is none."""

from typing import Any

import numpy as np
import pytest

from npsnn import attacks, bounds, models
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, augment
from npsnn.inputs import as_images, as_labels
from npsnn.streams import Stream
from npsnn.train import fit
from npsnn.train.config import Config
from npsnn.train.epochs import State

MODEL = models.with_feature_noise(models.lenet5(), 0.5, "full", bottleneck=4)
NETWORK = Classifier(MODEL, MODEL.init(np.random.default_rng(0)), threads=1)
PIXELS = np.random.default_rng(1).integers(0, 256, (3, 1, 28, 28), np.uint8)
X = (PIXELS / 255).astype(np.float32)
LABELS = np.array([3, 1, 4])


class Pixels(np.ndarray):
    """A subclass, as libraries have them."""


FORMS = {
    "8-bit": lambda x: PIXELS,
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f4"),
    "not contiguous": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "a subclass": lambda x: x.view(Pixels),
    "lists": lambda x: x.tolist(),
    "beyond by rounding": lambda x: np.where(x == 1, np.float32(1.000001), np.where(x == 0, np.float32(-1e-6), x)),
}
CALLS = {
    "predict": lambda x: NETWORK.predict(x),
    "moments": lambda x: NETWORK.moments(x)[0],
    "sample": lambda x: NETWORK.sample(x, 0, draws=1)[0],
    "input_gradient": lambda x: NETWORK.input_gradient(x, LABELS, "expected-cross-entropy"),
    "accuracy": lambda x: attacks.accuracy(NETWORK, x, LABELS).each,
    "gap": lambda x: bounds.gap(NETWORK, x, x, LABELS, draws=10).clean,
}


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_of_the_images_has_the_same_answer(form: str, call: str) -> None:
    given = FORMS[form](X)
    tolerance = 5e-3 if form == "float16" else 1e-4
    np.testing.assert_allclose(CALLS[call](given), CALLS[call](X), rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["fgsm", "pgd", "random", "cw", "one-pixel"])
@pytest.mark.parametrize("form", list(FORMS))
def test_attacks_take_every_form_and_stay_in_their_ball(form: str, attack: str) -> None:
    plan = attacks.Plan(attack, eps=0.1, steps=2, eot=1, draws=1, samples=2, population=5, generations=1, cw_steps=2)
    given = FORMS[form](X)
    (result,) = attacks.evaluate(NETWORK, given, LABELS, plan)
    assert result.x_adv.dtype in (np.float32, np.float64) and result.x_adv.dtype.isnative
    limit = plan.attack(attack, 1 if attack == "one-pixel" else 0.0 if attack == "cw" else 0.1).ball
    limit.check(result.x_adv, as_images(given))


def test_an_attack_by_itself_takes_8_bits_lists_and_any_source_of_randomness() -> None:
    pgd, target = attacks.pgd(0.1, steps=2), attacks.sampled(NETWORK, 1)
    whole, listed = pgd(target, X, LABELS, 0), pgd(target, PIXELS, LABELS.tolist(), 0)
    np.testing.assert_allclose(whole, listed, atol=1e-6)
    drawn = [pgd(target, X, LABELS, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    loss, _ = target(X, LABELS, 0)
    np.testing.assert_array_equal(loss, target.value(X, LABELS, 0))
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator, a Stream or a whole number, got 0.5"):
        pgd(target, X, LABELS, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64, ">i4", list])
def test_labels_may_be_integers_of_any_kind(kind: Any) -> None:
    labels = LABELS.tolist() if kind is list else LABELS.astype(kind)
    expected = CALLS["input_gradient"](X)
    np.testing.assert_array_equal(NETWORK.input_gradient(X, labels, "expected-cross-entropy"), expected)
    np.testing.assert_array_equal(attacks.accuracy(NETWORK, X, labels).each, CALLS["accuracy"](X))
    (result,) = attacks.evaluate(NETWORK, X, labels, attacks.Plan("fgsm", eps=0.1, eot=1, draws=1))
    assert result.x_adv.shape == X.shape
    assert as_labels(labels, 3, 10).dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS == 1, "must be 3 integers, got bool"),
        (LABELS.astype(float), r"must be 3 integers, got float64 of the shape \(3,\); convert them by astype\(int\)"),
        (np.eye(10)[LABELS], r"of the shape \(3, 10\); of one-hot vectors take argmax\(axis=1\)"),
        (LABELS[:, None], r"of the shape \(3, 1\); flatten them by ravel\(\)"),
        (LABELS[:2], r"must be 3 integers, got int64 of the shape \(2,\)$"),
        (["3", "1", "4"], "must be 3 integers, got <U1"),
        (np.array([0, 2**64 - 1, 0], np.uint64), "must be in 0 ... 9, got 0 to 18446744073709551615"),
        (np.ma.masked_equal(LABELS, 1), "labels must be plain numbers, got masked ones"),
        (None, r"must be 3 integers, got object of the shape \(\)"),
    ],
)
def test_labels_that_are_none(labels: Any, message: str) -> None:
    for call in (NETWORK.input_gradient, lambda x, y: attacks.accuracy(NETWORK, x, y)):
        with pytest.raises(ValueError, match=f"labels .*{message.removeprefix('labels ')}"):
            call(X, labels)


def test_a_double_beyond_the_range_of_float32_and_one_beyond_that_of_doubles() -> None:
    for value in (1e300, np.longdouble("1e4000"), -np.inf):
        with pytest.raises(ValueError, match="images must be finite and in"):
            NETWORK.predict(np.full((1, 1, 28, 28), value))


def test_images_in_the_engines_form_are_not_copied() -> None:
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        assert as_images(x) is x


@pytest.mark.parametrize("count", [2.5, "2", None, True, np.float64(2)])
def test_a_number_of_draws_or_steps_is_whole(count: Any) -> None:
    for name, call in {
        "draws": lambda: attacks.accuracy(NETWORK, X, LABELS, count),
        "average": lambda: NETWORK.averaging(count),
        "steps": lambda: attacks.pgd(0.1, steps=count),
        "restarts": lambda: attacks.pgd(0.1, restarts=count),
        "samples": lambda: attacks.RandomSearch(0.1, samples=count),
        "pixels": lambda: attacks.OnePixel(count),
        "searches": lambda: attacks.CarliniWagner(searches=count),
    }.items():
        with pytest.raises(
            ValueError,
            match=rf"{name} must be a whole number >= 1, got {count!r}".replace("(", r"\(").replace(")", r"\)"),
        ):
            call()
    for call in (lambda: NETWORK.sample(X, 0, count), lambda: bounds.gap(NETWORK, X, X, LABELS, count)):
        with pytest.raises(ValueError, match="draws must be a whole number >= "):
            call()
    with pytest.raises(ValueError, match="draws must be a whole number >= "):
        attacks.sampled(NETWORK, count)


@pytest.mark.parametrize("eps", ["8/255", None, True, (0.1,)])
def test_a_radius_is_a_number(eps: Any) -> None:
    with pytest.raises(ValueError, match="eps must be >= 0 and finite, got"):
        attacks.fgsm(eps)


def test_results_print_in_a_line_and_compare_harmlessly() -> None:
    plan = attacks.Plan("fgsm", eps=0.1, eot=1, draws=2)
    (result,) = attacks.evaluate(NETWORK, PIXELS, LABELS, plan)
    gap = bounds.gap(NETWORK, X, result.x_adv, LABELS, draws=10)
    worst = attacks.worst_case(NETWORK, LABELS, [result], plan.judging())
    split = Split(PIXELS, LABELS)
    dataset = Dataset("mine", split, split, 10, {})
    state = State(NETWORK.params, {}, 0, 0, 0.0)
    target = attacks.expectation(NETWORK)
    for value in (result, result.accuracy, worst, gap, split, dataset, state, NETWORK, MODEL, target):
        shown = repr(value)
        assert "\n" not in shown and "array" not in shown and len(shown) < 500, shown
        assert value == value and len({value, value}) == 1
    assert repr(split) == "<Split of 3 images, 1x28x28>"
    assert repr(attacks.Accuracy(np.array([1.0, 0.5]))).startswith("<Accuracy 0.75 of 2 images, 95 % interval ")
    assert repr(MODEL) == "<Model lenet5, 1x28x28 images, 10 classes, 16 layers>"


def test_what_does_not_fit_the_attacked_network_is_named() -> None:
    attack, target = attacks.fgsm(0.1), attacks.expectation(NETWORK)
    for call, error, message in (
        (
            lambda: attack(NETWORK, X, LABELS, 0),
            TypeError,
            r"target must be one such as sampled\(classifier, draws=10\)",
        ),
        (lambda: attack(target, X, LABELS + 9, 0), ValueError, r"labels must be in 0 ... 9, got 10 to 13"),
        (lambda: attack(target, X[:, :, 1:], LABELS, 0), ValueError, r"shape \(N, 1, 28, 28\), got \(3, 1, 27, 28\)"),
        (lambda: attack(target, X[0], LABELS, 0), ValueError, r"shape \(N, C, H, W\), got \(1, 28, 28\)"),
        (lambda: target.value(X, LABELS[:2], 0), ValueError, "labels must be 3 integers"),
        (lambda: list(attacks.evaluate(NETWORK, X, LABELS, "pgd")), TypeError, "plan must be a Plan, got 'pgd'"),
        (lambda: list(attacks.examine(NETWORK, X, LABELS, attacks.Plan())), TypeError, "options must be a Checklist"),
        (lambda: attacks.worst_case(NETWORK, LABELS, [], attacks.Judging()), ValueError, "at least one, got none"),
        (lambda: NETWORK.input_gradient(X, LABELS, None), ValueError, "unknown objective None, expected one of"),
        (lambda: NETWORK.with_sigma("0.3"), ValueError, "sigma must be >= 0 and finite, got '0.3'"),
        (
            lambda: NETWORK.with_sigma(10**400),
            ValueError,
            r"sigma must be at most 1e\+09, got 1000000000000000000000000$",
        ),
        (lambda: attacks.CarliniWagner(kappa="1"), ValueError, "kappa must be of the type float, got '1'"),
        (lambda: attacks.OnePixel(mutation="1"), ValueError, r"mutation must be in \[0, 2\], got '1'"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_trainings_and_classifiers_name_what_they_are_not_made_of() -> None:
    empty, one, all_three = (
        Dataset("mine", Split(PIXELS[:n], LABELS[:n]), Split(PIXELS, LABELS), 10, {}) for n in (0, 1, 3)
    )
    for call, error, message in (
        (lambda: fit("lenet5", one), TypeError, "training must be a Training or a Config, got 'lenet5'"),
        (lambda: fit(None, one), TypeError, "training must be a Training or a Config, got None"),
        (lambda: fit(Config(), "digits"), TypeError, "dataset must be a Dataset, got 'digits'"),
        (lambda: fit(Config(), one, start=3), TypeError, "start must be a Classifier, got 3"),
        (lambda: fit(Config(), one), ValueError, "mine must have two images to train on and to validate, got 1"),
        (lambda: fit(Config(), empty), ValueError, "to train on and to validate, got 0"),
        (lambda: fit(Config(), all_three, threads=1.5), ValueError, "threads must be a whole number >= 1, got 1.5"),
        (lambda: Classifier(MODEL, {}), TypeError, "a Classifier is of a Model and its parameters, got"),
        (lambda: Classifier(None, NETWORK.params), TypeError, "a Classifier is of a Model"),
        (lambda: models.lenetpp(sigma=0.5), ValueError, "lenetpp has no noise on its first layer, so sigma must be 0"),
        (lambda: models.resnet18(sigma=0.5), ValueError, "resnet18 has no noise on its first layer, so sigma must"),
    ):
        with pytest.raises(error, match=message):
            list(call())


def test_shapes_and_classes_may_be_numpys_integers_and_lists() -> None:
    plain = models.lenet5((1, 30, 30), 7)
    assert models.lenet5(tuple(np.array([1, 30, 30])), np.int64(7)) == models.lenet5([1, 30, 30], 7) == plain


def test_augmentation_takes_a_whole_number_for_a_stream() -> None:
    np.testing.assert_array_equal(augment(PIXELS, 3), augment(PIXELS, Stream(3)))
