"""C&W: known distances of linear networks, images only where fresh noise agrees, the clean one where it fails."""

from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import Asked, convolutional, images, linear, predicted

from npsnn.attacks.carlini_wagner import CarliniWagner, boxed, margin_loss, next_constants
from npsnn.attacks.judging import accuracy
from npsnn.attacks.targets import NetworkTarget, closed_form, expectation, sampled
from npsnn.classifier import Classifier
from npsnn.reference import protocol
from npsnn.streams import Stream

X = images(6)
THOROUGH = CarliniWagner(steps=300, lr=0.01, searches=12)
QUICK = CarliniWagner(steps=25, lr=0.05, searches=3)


def distances(x_adv: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.sqrt(((x_adv - x) ** 2).sum(axis=(1, 2, 3)))


def nearest(network: Classifier, x: np.ndarray, labels: np.ndarray, beyond: float) -> np.ndarray:
    """The distance of each image from where another class leads by `beyond`, straight to the plane."""
    w, logits = network.params["fc"]["w"], network.predict(x)
    found = []
    for n, k in enumerate(labels):
        rivals = set(range(len(w))) - {int(k)}
        found.append(min((logits[n, k] - logits[n, i] + beyond) / np.linalg.norm(w[k] - w[i]) for i in rivals))
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.0, 0.4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_distance_of_a_linear_classifier_is_its_margin_over_its_slope(kappa: float, dtype: Any) -> None:
    network = linear(sigma=0.0).astype(dtype)
    x, labels = X.astype(dtype), predicted(network, X.astype(dtype))
    x_adv = replace(THOROUGH, kappa=kappa)(expectation(network, "margin"), x, labels, Stream(0))
    assert x_adv.dtype == dtype
    least = nearest(network, x, labels, kappa)
    assert (distances(x_adv, x) >= least * (1 - 1e-5)).all()
    np.testing.assert_allclose(distances(x_adv, x), least, rtol=0.01, atol=5e-4)
    assert (predicted(network, x_adv) != labels).all()


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.2, 1.0])
def test_in_closed_form_the_margin_is_in_standard_deviations(kappa: float) -> None:
    """Two logits of noise sigma each differ by one of sigma √2."""
    network = linear(sigma=0.3)
    labels = predicted(network, X)
    target = closed_form(network, "least-win-probability")
    x_adv = replace(THOROUGH, kappa=kappa, draws=400)(target, X, labels, Stream(0))
    np.testing.assert_allclose(
        distances(x_adv, X), nearest(network, X, labels, kappa * 0.3 * sqrt(2)), rtol=0.01, atol=5e-4
    )


@pytest.mark.slow
def test_the_expectation_over_draws_comes_near_the_same_distance() -> None:
    """Of two classes: of more, the mean of the drawn margins is less than the margin of the means."""
    network = linear(sigma=0.3, classes=2)
    labels = predicted(network, X)
    attack = replace(THOROUGH, kappa=0.3, steps=150, searches=8)
    x_adv = attack(sampled(network, 8, "margin"), X, labels, Stream(0))
    ratio = distances(x_adv, X) / nearest(network, X, labels, 0.3)
    assert (ratio < 1.3).all() and (ratio > 0.7).all(), ratio


@pytest.mark.slow
def test_success_is_fresh_noises_word_and_failure_the_clean_image() -> None:
    """At kappa 0 half the draws misread; an attack that must fool all of them finds nothing there, and says so."""
    network = linear(sigma=0.3)
    labels = predicted(network, X)
    target = closed_form(network, "least-win-probability")
    found = replace(THOROUGH, share=0.4, draws=200)(target, X, labels, Stream(0))
    left = accuracy(network, found, labels, 500, 7).each
    assert (distances(found, X) > 0).all() and (left < 0.6).all() and (left > 0.3).all()
    np.testing.assert_array_equal(replace(THOROUGH, share=0.9, draws=200)(target, X, labels, Stream(0)), X)


def test_what_cannot_be_misread_comes_back_as_it_was() -> None:
    network = linear(sigma=0.0)
    stuck = replace(network, params=network.params | {"fc": {"w": np.zeros((3, 24)), "b": np.array([1.0, 0, 0])}})
    corners = np.round(X)
    for x in (X, corners, corners.astype(np.float32)):
        np.testing.assert_array_equal(QUICK(expectation(stuck, "margin"), x, np.zeros(6, int), Stream(0)), x)


def test_what_is_misread_already_comes_back_as_it_was() -> None:
    network = linear(sigma=0.0)
    wrong = (predicted(network, X) + 1) % 3
    np.testing.assert_array_equal(QUICK(expectation(network, "margin"), X, wrong, Stream(0)), X)
    x_adv = replace(QUICK, kappa=5.0, steps=100)(expectation(network, "margin"), X, wrong, Stream(0))
    assert (distances(x_adv, X) > 0).any(), "but not with a confidence it has not got"


@dataclass(frozen=True)
class Blind(NetworkTarget):
    """Says nothing but NaN, or is blind for one pixel."""

    bad: float = np.nan
    whole: bool = True

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        loss, g = super().__call__(x, labels, stream)
        if self.whole:
            return np.full_like(loss, self.bad), np.full_like(g, self.bad)
        g[:, 0, 0, 0] = self.bad
        return loss, g


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, inf, -inf])
def test_no_image_is_ever_black_or_nan(bad: float) -> None:
    network = linear(sigma=0.0)
    labels = predicted(network, X)
    base = expectation(network, "margin")
    half_blind = THOROUGH(Blind(network, base.kind, base.objective, bad=bad, whole=False), X, labels, Stream(0))
    assert np.isfinite(half_blind).all() and (predicted(network, half_blind) != labels).all()
    # a margin that is -inf is success by word; by fresh noise it is not
    found = QUICK(Blind(network, base.kind, base.objective, bad=bad), X, labels, Stream(0))
    np.testing.assert_array_equal(found, X)


@dataclass(frozen=True)
class Lucky(NetworkTarget):
    """A network surely right, of which every tenth gradient says the opposite."""

    random: bool = True  # type: ignore[misc]

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(x), 1.0 if stream.path[-1] % 10 == 9 else -1.0), np.ones_like(x)  # type: ignore[operator]

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        return np.array([float((image != clean).any()) for image, clean in zip(x, X, strict=True)])


@pytest.mark.parametrize("random", [True, False])
def test_no_image_is_offered_for_one_lucky_draw(random: bool) -> None:
    base = expectation(linear(), "margin")
    target = Lucky(base.classifier, base.kind, base.objective, random=random)
    moved = distances(QUICK(target, X, np.zeros(6, int), Stream(0)), X) > 0
    assert (moved != random).all()


@given(st.integers(0, 2**32 - 1))
def test_images_stay_in_the_box(seed: int) -> None:
    network = convolutional(sigma=0.0)
    x = np.clip(images(4, seed, -0.5, 1.5), 0, 1).astype(np.float32)
    labels = predicted(network, x)
    found = replace(QUICK, lr=1.0, constant=100.0, kappa=3.0)(expectation(network, "margin"), x, labels, Stream(seed))
    QUICK.ball.check(found, x)
    assert found.dtype == np.float32 and QUICK.ball.eps == inf and QUICK.ball.norm == "l2"


@pytest.mark.slow
def test_pixels_at_the_walls_can_move() -> None:
    network = convolutional(sigma=0.0)
    x = np.round(images(8, 5))
    labels = predicted(network, x)
    x_adv = replace(THOROUGH, lr=0.05)(expectation(network, "margin"), x, labels, Stream(0))
    assert (predicted(network, x_adv) != labels).mean() > 0.8


TARGETS = [
    lambda c: expectation(c, "margin"),
    lambda c: sampled(c, 2, "margin"),
    lambda c: closed_form(c, "least-win-probability"),
]


@pytest.mark.parametrize("kind", range(3))
def test_a_batch_may_be_split_anywhere(kind: int) -> None:
    network = convolutional()
    target, labels = TARGETS[kind](network), predicted(network, X)
    whole = QUICK(target, X, labels, Stream(4))
    np.testing.assert_array_equal(whole, QUICK(target, X, labels, Stream(4)))
    parts = [QUICK(target, X[s], labels[s], Stream(4).from_sample(s.start)) for s in (slice(0, 2), slice(2, 6))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-7)
    assert (distances(whole, X) > 0).any()


def test_judged_noise_is_none_that_a_step_has_seen() -> None:
    network = convolutional()
    target = Asked.like(sampled(network, 2, "margin"))
    QUICK(target, X, predicted(network, X), Stream(3).from_sample(12))
    gradient, misread, value = (target.asked[what] for what in ("gradient", "misread", "value"))
    assert len(gradient) == len(set(gradient)) == QUICK.steps * QUICK.searches == QUICK.passes(target) / 2
    assert len(misread) == len(set(misread)) == 1 + QUICK.searches, "one candidate for each constant"
    assert not set(misread) & (set(gradient) | set(value))
    assert {s.first for s in (*gradient, *misread, *value)} == {12}


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 1e3), st.floats(0, 1e3), st.floats(1, 1e4), st.booleans(), st.booleans())
    ).filter(len)
)
def test_constants_are_searched_as_on_the_card(cases: list[tuple[float, float, float, bool, bool]]) -> None:
    c, low, high, unbounded, success = (np.array(column) for column in zip(*cases, strict=True))
    high = np.where(unbounded, inf, high)
    found = next_constants(c, low, high, success)
    wanted = [
        protocol.next_constant(*map(float, case[:3]), bool(case[3])) for case in zip(c, low, high, success, strict=True)
    ]
    np.testing.assert_array_equal(np.array(found).T, wanted)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from([0.0, 0.3, 2.0, inf]))
def test_formulas_of_the_card(seed: int, classes: int, kappa: float) -> None:
    rng = np.random.default_rng(seed)
    z, k = rng.standard_normal(classes), int(rng.integers(classes))
    assert margin_loss(z, k, kappa) == protocol.margin_loss(z, k, kappa)
    assert type(margin_loss(z, k, kappa)) is float
    omega = rng.normal(0, 20, (2, 3))
    np.testing.assert_array_equal(boxed(omega), protocol.boxed(omega))


def test_settings_of_the_paper() -> None:
    paper = CarliniWagner.paper(1.0)
    assert (paper.kappa, paper.lr, paper.steps, paper.constant, paper.searches) == (1.0, 5e-4, 1000, 1e-3, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"searches": 0}, "searches must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"lr": 0.0}, "lr must be > 0 and finite, got 0.0"),
        ({"constant": inf}, "constant must be > 0 and finite, got inf"),
        ({"kappa": -1.0}, "kappa must be >= 0 and finite, got -1.0"),
        ({"share": 0.0}, "share must be > 0 and at most 1, got 0.0"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CarliniWagner(**options)
