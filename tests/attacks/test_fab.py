"""FAB: the distances of linear networks, exactly; borders in standard deviations; images that depend on no other."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from alone import Alone
from scipy.special import ndtr
from small_networks import Asked, convolutional, images, linear, on_features, predicted

from npsnn.attacks import FAB, Ball, ClosedForm, EoT, Judging, robust_accuracy
from npsnn.attacks.aims import likeliest
from npsnn.attacks.fab import Way
from npsnn.attacks.hyperplanes import onto_plane
from npsnn.attacks.plan import Plan
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.classifier import Classifier
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.streams import Stream

X = images(6)
STREAM = Stream(3)
NORMS = ("linf", "l2")


def rivals(network: Classifier, x: np.ndarray, k: int) -> list[tuple[np.ndarray, float]]:
    """z_t - z_k of an image and its gradient, for each class t other than k, of a linear network."""
    w, z = network.params["fc"]["w"], network.predict(x[None])[0]
    others = sorted(set(range(len(w))) - {k})
    return [((w[t] - w[k]).reshape(x.shape), float(z[t] - z[k])) for t in others]


def distance(network: Classifier, x: np.ndarray, k: int, norm: str, beyond: float = 0.0) -> float:
    """From an image to where another class leads by `beyond`, in the box."""
    steps = [onto_plane(norm, x[None], g[None], np.array([f - beyond])) for g, f in rivals(network, x, k)]
    ends = [f - beyond + (g * d).sum() for (g, f), d in zip(rivals(network, x, k), steps, strict=True)]
    return min(float(Ball(norm, 1).size(d)[0]) for d, end in zip(steps, ends, strict=True) if abs(end) < 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 4, 100])
def test_the_distance_of_a_linear_network_is_found_in_a_step(norm: str, classes: int) -> None:
    network = linear(sigma=0.0, classes=classes)
    target, labels = expectation(network), predicted(network, X)
    dual = {"linf": 1, "l2": 2}[norm]
    for n in range(len(X)):
        x, k = X[n : n + 1], int(labels[n])
        least = min(-f / np.linalg.norm(g.ravel(), dual) for g, f in rivals(network, x[0], k))
        np.testing.assert_allclose(distance(network, x[0], k, norm), least)
        attack = FAB(least * (1 + 1e-6), norm, steps=1, targets=classes)
        found = attack(target, x, labels[n : n + 1], STREAM)
        attack.ball.check(found, x)
        assert predicted(network, found) != k
        nearer = replace(attack, eps=least * (1 - 1e-6), steps=4)
        np.testing.assert_array_equal(nearer(target, x, labels[n : n + 1], STREAM), x)


@pytest.mark.parametrize(("norm", "within"), [("linf", 1e-6), ("l2", 0.02)])
def test_the_distance_in_the_box_is_that_of_the_projections(norm: str, within: float) -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.uniform(size=X.shape) < 0.6, np.round(X), X)
    network = linear(sigma=0.0)
    target, labels = expectation(network), predicted(network, x)
    for n in range(len(x)):
        one, k = x[n : n + 1], int(labels[n])
        least = distance(network, x[n], k, norm)
        found = FAB(least * (1 + within), norm, steps=20)(target, one, labels[n : n + 1], STREAM)
        assert predicted(network, found) != k
        nearer = FAB(least * (1 - 1e-6), norm, steps=20)
        np.testing.assert_array_equal(nearer(target, one, labels[n : n + 1], STREAM), one)


def test_a_step_is_the_papers() -> None:
    """By its formula, from a point that is not the image, with the plane of a class that is not the likeliest."""
    network, ball = linear(sigma=0.0), Ball("l2", 1.0)
    target = expectation(network, "targeted-win")
    labels = predicted(network, X)
    aimed = np.stack([labels, (labels + 1) % 3], axis=1)
    start = np.clip(X + 0.2 * np.random.default_rng(1).standard_normal(X.shape), 0, 1)
    way = replace(Way.begin(X, aimed), point=start)
    plane = way.look(ball, target, STREAM, 1, 0.0)
    way.move(ball, *plane)
    for n in range(len(X)):
        g, f = rivals(network, start[n], int(labels[n]))[aimed[n, 1] - (aimed[n, 1] > labels[n])]
        beyond = predicted(network, start[n : n + 1])[0] != labels[n]
        assert plane[1][n] == beyond
        base = X[n] + 0.9 * (start[n] - X[n]) if beyond else start[n]
        steps = []
        for v in (base, X[n]):
            height = f + (g * (v - start[n])).sum()
            steps.append(onto_plane("l2", v[None], g[None], np.array([height]))[0])
        near, far = (np.linalg.norm(d) for d in steps)
        part = min(near / (near + far), 0.1)
        wanted = np.clip((1 - part) * (base + 1.05 * steps[0]) + part * (X[n] + 1.05 * steps[1]), 0, 1)
        np.testing.assert_allclose(way.point[n], wanted, rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["expectation", "known", "closed form", "sampled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_is_its_images_alone(norm: str, kind: str, dtype: Any) -> None:
    """To the bit: some images are done in the first step, others never, and no number of one enters another's."""
    sigma = 0.0 if kind == "expectation" else 0.3
    network = convolutional(sigma).astype(dtype)
    x = images(8, low=0.0, high=1.0).astype(dtype)
    labels = predicted(network, x)
    labels[5] = (labels[5] + 1) % 3
    target = {
        "expectation": lambda: expectation(network),
        "known": lambda: known(network, Stream(1).at("judge")),
        "closed form": lambda: closed_form(network, "least-win-probability"),
        "sampled": lambda: sampled(network, 2),
    }[kind]()
    attack = FAB({"linf": 0.05, "l2": 0.3}[norm], norm, steps=5)
    whole = attack(Alone(target), x, labels, STREAM)
    alone = [attack(Alone(target), x[n : n + 1], labels[n : n + 1], STREAM.further(n)) for n in range(len(x))]
    assert whole.dtype == dtype and whole.tobytes() == np.concatenate(alone).tobytes()
    assert (whole != x).any(axis=(1, 2, 3)).sum() > 0
    np.testing.assert_allclose(attack(target, x, labels, STREAM), whole, atol=1e-4 if dtype == np.float32 else 1e-9)


def test_images_that_are_misread_are_aimed_at_no_more() -> None:
    """Nor those that are misread as they are; and the work on an image ends with the look that finds it misread."""
    network = linear(sigma=0.0)
    target, labels = Asked.like(expectation(network)), predicted(network, X)
    sizes: list[int] = []

    class Counted(Alone):
        def looked(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, ...]:
            sizes.append(len(x))
            return super().looked(x, labels, stream)

        def ascending(self, objective: Any) -> Alone:
            return Counted(self.target.ascending(objective))

    wrong = labels.copy()
    wrong[0] = (wrong[0] + 1) % 3
    found = FAB(0.9, steps=30)(Counted(target), X, wrong, STREAM)
    np.testing.assert_array_equal(found[0], X[0])
    assert (predicted(network, found) != wrong).all()
    assert sizes[0] == 5 and sum(sizes) == 10, "a look at the image and one at the first point"


def test_one_class_is_aimed_at_after_the_other_from_the_likeliest_on() -> None:
    z = np.array([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0], [3.0, 0.0]])
    aims = likeliest(z, np.array([3, 1]), 9)
    assert [a.tolist() for a in aims] == [[[3, 2], [1, 0]], [[3, 1], [1, 2]], [[3, 0], [1, 3]]]
    assert len(likeliest(z, np.array([3, 1]), 2)) == 2
    assert likeliest(z[:1], np.zeros(2, int), 9) == []


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kappa", [0.0, 1.0])
def test_the_border_of_the_closed_form_is_in_standard_deviations(norm: str, kappa: float) -> None:
    """Two logits of noise 0.3 each differ by one of 0.3 √2; the first point overshoots by a twentieth."""
    network, ball = linear(sigma=0.3), Ball(norm, 0.5)
    labels = predicted(network, X)
    aimed = np.stack([labels, (labels + 1) % 3], axis=1)
    way, target = Way.begin(X, aimed), closed_form(network, "targeted-win")
    for step in range(2):
        plane = way.look(ball, target, STREAM, step, kappa)
        if step == 0:
            way.move(ball, *plane)
    dual = {"linf": 1, "l2": 2}[norm]
    for n in range(len(X)):
        g, f = rivals(network, X[n], int(labels[n]))[aimed[n, 1] - (aimed[n, 1] > labels[n])]
        least = (kappa * 0.3 * np.sqrt(2) - f) / np.linalg.norm(g.ravel(), dual)
        np.testing.assert_allclose(way.nearest[n], 1.05 * least, rtol=1e-6)


@pytest.mark.parametrize("source", [ClosedForm(), EoT(4)])
def test_on_a_network_that_keeps_its_noise_an_image_goes_to_the_radius(source: Any) -> None:
    """Of two classes the way of a linear network is the best there is: Φ of the lead at eps is the share misread."""
    network = linear(sigma=0.3, classes=2)
    labels = predicted(network, X)
    labels[0] = 1 - labels[0]  # misread as it is: the way is steepest
    eps = 0.02
    result = next(robust_accuracy(network, X, labels, [FAB(eps, source=source, steps=10)], Judging(draws=2)))
    assert result.size is not None
    np.testing.assert_allclose(result.size, eps, rtol=1e-6)
    for n in range(len(X)):
        g, f = rivals(network, X[n], int(labels[n]))[0]
        gained = float((g * (result.x_adv[n] - X[n])).sum())
        np.testing.assert_allclose(gained, eps * np.abs(g).sum(), rtol=1e-6)
        lead = closed_form(network, "targeted-win")(
            result.x_adv[n : n + 1], np.array([[labels[n], 1 - labels[n]]]), STREAM
        )[0]
        np.testing.assert_allclose(ndtr(lead), ndtr((f + gained) / (0.3 * np.sqrt(2))), rtol=1e-6)


def test_the_image_is_a_candidate_and_no_draw_is_luck() -> None:
    """A network that ignores the image: no look at lucky draws moves it, and what is left is what was there."""
    network = linear(sigma=0.3)
    deaf = replace(network, params=network.params | {"fc": {"w": np.zeros((3, 24)), "b": np.array([0.3, 0, 0])}})
    x = images(200)
    for source in (ClosedForm(), EoT(2)):
        result = next(robust_accuracy(deaf, x, np.zeros(200, int), [FAB(0.1, steps=2, source=source)]))
        np.testing.assert_array_equal(result.x_adv, x)
        assert result.zero_gradients == 200
        assert result.clean is not None and abs(result.accuracy.mean - result.clean.mean()) < 0.05


@pytest.mark.parametrize("make", [lambda: convolutional(0.3), on_features])
@pytest.mark.parametrize("source", [ClosedForm(), EoT(5)])
def test_noise_is_no_protection(make: Any, source: Any) -> None:
    network, x = make(), images(30, low=0.0, high=1.0)
    labels = predicted(network, x)
    result = next(robust_accuracy(network, x, labels, [FAB(0.3, steps=10, source=source)], Judging(draws=50)))
    assert result.clean is not None and result.accuracy.mean < 0.4 * result.clean.mean()


def test_a_look_has_value_and_gradient_of_the_same_draws() -> None:
    network = convolutional(0.3)
    target = Asked.like(sampled(network, 3))
    FAB(0.1, steps=2, targets=1)(target, X, predicted(network, X), STREAM)
    assert set(target.asked) == {"value"}, "no gradient apart from a look"


def wide(classes: int = 4, shape: tuple[int, int, int] = (1, 28, 20)) -> Classifier:
    layers: Any = (("flatten", Flatten()), ("fc", Linear(classes)), ("noise", PreactivationNoise(0.1)))
    model = Model("wide", Sequential(layers), shape, classes)
    return Classifier(model, model.init(np.random.default_rng(0)), threads=1)


@pytest.mark.parametrize("sigma", [0.0, 0.1])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_images_of_any_shape_and_number(sigma: float, count: int) -> None:
    network = wide().with_sigma(sigma)
    x = np.random.default_rng(1).random((count, 1, 28, 20), np.float32)
    for source in (EoT(2), ClosedForm()):
        attack = FAB(0.1, steps=3, source=source)
        target = source.of(network, FAB.ascends)
        found = attack(target, x, np.zeros(count, int), STREAM)
        assert found.shape == x.shape and found.dtype == x.dtype
        attack.ball.check(found, x)
        np.testing.assert_array_equal(replace(attack, eps=0.0)(target, x, np.zeros(count, int), STREAM), x)


def test_what_it_takes() -> None:
    network = convolutional(0.3)
    assert FAB(0.1, steps=10, targets=2).passes(sampled(network, 5)) == (2 * 12 + 2) * 5
    plan = Plan(("fab-t", "adaptive-fab-t"), eps=(0.1,), fab_steps=7, targets=3, kappa=(1.0, 2.0), eot=2)
    assert plan.made() == [
        FAB(0.1, steps=7, targets=3, source=EoT(2)),
        FAB(0.1, steps=7, targets=3, source=ClosedForm()),
    ]
    for name, value in (("fab_steps", 0), ("targets", 0)):
        with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
            Plan(("fab-t",), **{name: value})
    for name, value in (("steps", 0), ("targets", 0)):
        with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
            FAB(0.1, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kappa must be >= 0 and finite, got -1"):
        FAB(0.1, kappa=-1)
