"""FMN: near the distances of linear networks in every norm, its projections, its radius, and one set of draws."""

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from alone import Alone
from hypothesis import given
from hypothesis import strategies as st
from small_networks import convolutional, images, linear, predicted
from strategies import SEEDS

from npsnn.attacks import FAB, FMN, ClosedForm, EoT, Judging, Limit, robust_accuracy
from npsnn.attacks.fmn import _PROJECTIONS, _next
from npsnn.attacks.hyperplanes import onto_plane
from npsnn.attacks.plan import Plan
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.classifier import Classifier
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.streams import Stream

X = images(6)
STREAM = Stream(3)
NORMS = ("linf", "l2", "l1", "l0")


def distances(network: Classifier, x: np.ndarray, k: int, norm: str, beyond: float = 0.0) -> list[float]:
    """From an image to where each other class leads by `beyond`, in the box, of a linear network."""
    w, z = network.params["fc"]["w"], network.predict(x[None])[0]
    found = []
    for t in sorted(set(range(len(w))) - {k}):
        g, f = (w[t] - w[k]).reshape(x.shape), float(z[t] - z[k]) - beyond
        if norm == "l0":  # each pixel gains the most that its channels can
            gains = np.sort(np.maximum(g * (1 - x), -g * x).sum(axis=0).ravel())[::-1]
            found.append(float(1 + (np.cumsum(gains) < -f).sum()))
        else:
            step = onto_plane(norm, x[None], g[None], np.array([f]))
            found.append(float(Limit(norm, inf).size(step)[0]) if abs(f + (g * step).sum()) < 1e-9 else inf)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_the_distance_of_a_linear_network(norm: str, dtype: Any) -> None:
    """To one of the borders: which of them is a matter of the way."""
    network, x = linear(sigma=0.0).astype(dtype), X.astype(dtype)
    labels = predicted(network, x)
    attack = FMN(norm=norm, steps=500)
    found = attack(expectation(network, "margin"), x, labels, STREAM)
    assert found.dtype == dtype and (predicted(network, found) != labels).all()
    for n in range(len(X)):
        every = np.array(distances(linear(sigma=0.0), x[n].astype(np.float64), int(labels[n]), norm))
        size = attack.ball.size(found[n : n + 1].astype(np.float64) - x[n])[0]
        assert size >= every.min() * (1 - 1e-5)
        assert (np.abs(size - every) <= (1 if norm == "l0" else 0.03 * every)).any()


@pytest.mark.slow
@pytest.mark.parametrize("source", [ClosedForm(), EoT(100)])
def test_on_a_network_that_keeps_its_noise_kappa_is_beyond_the_border(source: Any) -> None:
    """In standard deviations on the closed form, two logits of noise 0.3 each differing by one of 0.3 √2; in logits."""
    network = linear(sigma=0.3, classes=2)
    labels = predicted(network, X)
    attack = FMN(0.5, "l2", steps=300, source=source)
    result = next(robust_accuracy(network, X, labels, [attack], Judging(draws=400)))
    beyond = 0.5 * 0.3 * np.sqrt(2) if isinstance(source, ClosedForm) else 0.5
    wanted = [distances(network, X[n], int(labels[n]), "l2", beyond)[0] for n in range(len(X))]
    np.testing.assert_allclose(result.size, wanted, rtol=0.01 if isinstance(source, ClosedForm) else 0.1)
    if isinstance(source, ClosedForm):
        np.testing.assert_allclose(result.accuracy.each, 0.3085, atol=0.1)
    assert result.says == {"kappa": 0.5} and result.eps == inf and result.distances is not None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["expectation", "known", "closed form", "sampled"])
def test_a_batch_is_its_images_alone(norm: str, kind: str) -> None:
    network = convolutional(0.0 if kind == "expectation" else 0.3)
    x = images(6, low=0.0, high=1.0)
    labels = predicted(network, x)
    labels[5] = (labels[5] + 1) % 3
    target = {
        "expectation": lambda: expectation(network, "margin"),
        "known": lambda: known(network, Stream(1).at("judge"), "margin"),
        "closed form": lambda: closed_form(network, "least-win-probability"),
        "sampled": lambda: sampled(network, 2, "margin"),
    }[kind]()
    attack = FMN(norm=norm, steps=12)
    whole = attack(Alone(target), x, labels, STREAM)
    alone = [attack(Alone(target), x[n : n + 1], labels[n : n + 1], STREAM.further(n)) for n in range(len(x))]
    assert whole.tobytes() == np.concatenate(alone).tobytes()
    assert (whole != x).any()


def test_what_is_misread_already_or_never_comes_back_as_it_was() -> None:
    network = linear(sigma=0.0)
    wrong = (predicted(network, X) + 1) % 3
    stuck = replace(network, params=network.params | {"fc": {"w": np.zeros((3, 24)), "b": np.array([1.0, 0, 0])}})
    for norm in NORMS:
        attack = FMN(norm=norm, steps=5)
        np.testing.assert_array_equal(attack(expectation(network, "margin"), X, wrong, STREAM), X)
        np.testing.assert_array_equal(attack(expectation(stuck, "margin"), X, np.zeros(6, int), STREAM), X)
        assert len(attack(expectation(network, "margin"), X[:0], wrong[:0], STREAM)) == 0
    moved = FMN(0.5, "l2", steps=50)(expectation(network, "margin"), X, wrong, STREAM)
    assert (moved != X).any(), "a confidence that it has not got"


def test_every_step_meets_the_same_draws() -> None:
    seen: list[Stream] = []

    class Noted(Alone):
        def looked(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, ...]:
            seen.append(stream)
            return super().looked(x, labels, stream)

    FMN(steps=4)(Noted(sampled(convolutional(), 2, "margin")), X, np.zeros(6, int), STREAM)
    assert len(seen) == 4 and len(set(seen)) == 1


def test_the_radius_follows_the_border() -> None:
    radius, nearest = np.array([1.0, 1.0, 1.0, 1.0, inf, inf]), np.array([inf, 0.9, 0.5, inf, inf, 0.0])
    misread = np.array([False, False, True, False, False, True])
    found = _next("l2", radius, misread, nearest, np.array([1.5, 7.0, 7.0, 0.2, 0.3, 7.0]), 0.1)
    np.testing.assert_allclose(found, [1.5, 1.1, 0.5, 1.1, 0.3, 0.0])
    pixels = np.array([0.0, 30.0, 30.0, 3.0, 1.0])
    misread = np.array([False, False, True, True, True])
    found = _next("l0", pixels, misread, np.array([inf, inf, 40.0, 3.0, 1.0]), pixels, 0.1)
    np.testing.assert_array_equal(found, [1, 33, 27, 2, 0])


@given(SEEDS, st.sampled_from(["linf", "l2", "l1"]), st.integers(1, 12))
def test_a_projection_is_the_nearest_point_of_the_ball(seed: int, norm: str, size: int) -> None:
    """The rest stands at an obtuse angle on the way to every other point of the ball."""
    rng = np.random.default_rng(seed)
    delta, radius = rng.standard_normal((4, 1, 1, size)), np.array([0.0, 0.3, 1.5, 100.0])
    found, ball = _PROJECTIONS[norm](delta, radius), Limit(norm, inf)
    assert (ball.size(found) <= radius * (1 + 1e-12)).all()
    np.testing.assert_array_equal(found[3], delta[3])
    others = rng.standard_normal((50, *delta.shape))
    for other in others:
        other *= (radius / ball.size(other)).reshape(-1, 1, 1, 1)
        assert (((delta - found) * (other - found)).sum(axis=(1, 2, 3)) <= 1e-9).all()
    # corners of the ball of L1, and of the others' way to the point itself
    for i in range(size):
        corner = np.zeros_like(delta)
        corner[..., i] = np.sign(delta[..., i]) * radius.reshape(-1, 1, 1)
        assert (((delta - found) * (corner - found)).sum(axis=(1, 2, 3)) <= 1e-9).all()


def test_in_l0_the_pixels_that_change_most_keep_all_their_channels() -> None:
    delta = np.array([[[[1.0, 0.0, 3.0]], [[1.0, 2.0, 0.0]]]])
    for radius, kept in ((0, []), (1, [2]), (2, [1, 2]), (3, [0, 1, 2]), (9, [0, 1, 2])):
        found = _PROJECTIONS["l0"](delta, np.array([float(radius)]))
        wanted = np.where(np.isin(np.arange(3), kept), delta, 0)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_a_shorter_way_than_fabs_is_none() -> None:
    """The nearest image that FMN finds is about where FAB begins to succeed."""
    network = convolutional(0.0)
    x = images(8, low=0.1, high=0.9)
    labels = predicted(network, x)
    for norm in ("linf", "l2"):
        attack = FMN(norm=norm, steps=300)
        sizes = attack.ball.size(attack(expectation(network, "margin"), x, labels, STREAM) - x)
        for n in range(len(x)):
            one, label = x[n : n + 1], labels[n : n + 1]
            assert (FAB(sizes[n] * 1.1, norm, steps=50)(expectation(network), one, label, STREAM) != one).any()
            nearer = FAB(sizes[n] * 0.8, norm, steps=50)(expectation(network), one, label, STREAM)
            np.testing.assert_array_equal(nearer, one)


@pytest.mark.parametrize("classes", [2, 4, 100])
def test_images_of_any_shape_and_number_of_classes(classes: int) -> None:
    layers: Any = (("flatten", Flatten()), ("fc", Linear(classes)))
    model = Model("wide", Sequential(layers), (1, 28, 20), classes)
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    x = np.random.default_rng(1).random((1, 1, 28, 20), np.float32)
    labels = network.predict(x).argmax(axis=1)
    for norm in NORMS:
        found = FMN(norm=norm, steps=40)(expectation(network, "margin"), x, labels, STREAM)
        assert found.shape == x.shape and network.predict(found).argmax(axis=1) != labels


def test_what_a_plan_makes_of_it() -> None:
    plan = Plan(("fmn", "adaptive-fmn"), norm="l0", kappa=(0.0, 1.0), fmn_steps=7, eot=2)
    assert plan.made() == [FMN(k, "l0", 7, s) for k in (0.0, 1.0) for s in (EoT(2), ClosedForm())]
    assert plan.made()[0].passes(sampled(linear(), 2)) == 14
    for norm in ("l0", "l1"):
        assert Plan(("fmn",), norm=norm).made() == [FMN(norm=norm, source=EoT(10))]
    with pytest.raises(ValueError, match=r"norm must be one of linf, l2.*, got 'l0'"):
        Plan(("fmn", "pgd"), norm="l0")
    with pytest.raises(ValueError, match="fmn_steps must be >= 1, got 0"):
        Plan(("fmn",), fmn_steps=0)
    for wrong, said in (
        ({"norm": "l3"}, "norm must be one of linf, l2, l1, l0, got 'l3'"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"kappa": -1.0}, "kappa must be >= 0 and finite, got -1"),
    ):
        with pytest.raises(ValueError, match=said):
            FMN(**wrong)
