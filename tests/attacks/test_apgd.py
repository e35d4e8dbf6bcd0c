"""APGD at known optima, equal to its plain version, and what it keeps of an image."""

from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from alone import Alone
from scipy.stats import norm as normal
from small_networks import convolutional, images, linear, on_features, predicted

from npsnn import models
from npsnn.attacks import APGD, APGDT, ClosedForm, EoT, Expectation, Judging, l1, robust_accuracy, sparse_walks
from npsnn.attacks.balls import Ball
from npsnn.attacks.targets import NetworkTarget, closed_form, expectation, known, sampled
from npsnn.attacks.walks import Walk, checkpoints, started
from npsnn.classifier import Classifier
from npsnn.layers.params import flatten
from npsnn.reference import apgd as plain
from npsnn.streams import Stream

NORMS = ("linf", "l2")
DUAL = {"linf": 1, "l2": 2}
X = images(6, low=0.2, high=0.8)


def quiet(network: Classifier) -> Classifier:
    """The network without its noise."""
    return network.with_sigma(0.0)


def test_checkpoints_are_the_papers() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(20) == [5, 9, 12, 14, 16, 18, 19, 20]
    assert checkpoints(1) == [1] and checkpoints(2) == [1, 2]
    for steps in range(1, 300):
        assert checkpoints(steps) == plain.checkpoints(steps)
        assert checkpoints(steps)[-1] <= steps


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("stop", [True, False], ids=["certain", "not certain"])
@pytest.mark.parametrize("objective", ["cross-entropy", "dlr"])
def test_it_equals_the_plain_version(norm: str, stop: bool, objective: str) -> None:
    """On a network without noise, where it stops at a misread image, and without the noise, where it goes on."""
    network = convolutional()
    target, labels = expectation(quiet(network) if stop else network, objective), predicted(network, X)
    assert target.certain == stop
    attack = APGD({"linf": 0.06, "l2": 0.2}[norm], norm, steps=40)
    found, going = attack(Alone(target), X, labels, Stream(3)), 0
    starts = started(attack.ball, X, Stream(3).at("restart", 0, "start"))
    for n, (image, label) in enumerate(zip(X, labels, strict=True)):

        def look(flat: np.ndarray, label: Any = labels[n : n + 1]) -> tuple[float, np.ndarray, bool]:
            loss, misread, gradient = target.looked(flat.reshape(1, *X.shape[1:]), label, Stream(0))
            return float(loss[0]), gradient.ravel(), bool(misread[0])

        best = plain.apgd(look, image.ravel(), starts[n].ravel(), attack.eps, norm, 40, stop)
        np.testing.assert_array_equal(found[n].ravel(), best)
        going += predicted(network, found[n][None])[0] == label
    assert 0 < going < len(X), "a test of both ends needs images that are misread and images that are not"


@pytest.mark.parametrize("norm", NORMS)
def test_on_draws_it_equals_the_plain_version(norm: str) -> None:
    network = convolutional(0.5)
    target, labels = sampled(network, 2), predicted(network, X)
    attack, stream = APGD({"linf": 0.12, "l2": 0.35}[norm], norm, steps=25), Stream(3)
    found, own = attack(Alone(target), X, labels, stream), stream.at("restart", 0)
    starts = started(attack.ball, X, own.at("start"))
    for n, image in enumerate(X):

        def gradient(flat: np.ndarray, step: int, n: int = n) -> np.ndarray:
            _, g = target(flat.reshape(1, *X.shape[1:]), labels[n : n + 1], own.further(n).at("step", step))
            return np.asarray(g.ravel())

        def value(flat: np.ndarray, step: int, n: int = n) -> float:
            noise = own.further(n).at("checkpoint", step)
            return float(target.value(flat.reshape(1, *X.shape[1:]), labels[n : n + 1], noise)[0])

        best = plain.apgd_on_draws(gradient, value, image.ravel(), starts[n].ravel(), attack.eps, norm, 25)
        np.testing.assert_array_equal(found[n].ravel(), best)


def reach(network: Classifier, x: np.ndarray, labels: np.ndarray, norm: str) -> np.ndarray:
    """The distance of each image from the nearest boundary of a linear network, without the box."""
    w, z = network.params["fc"]["w"], network.predict(x)
    distances = np.full((len(x), len(w)), np.inf)
    for n, label in enumerate(labels):
        for t in set(range(len(w))) - {label}:
            distances[n, t] = (z[n, label] - z[n, t]) / np.linalg.norm(w[label] - w[t], DUAL[norm])
    return distances.min(axis=1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 4, pytest.param(100, marks=pytest.mark.slow)])
def test_on_a_linear_network_it_reaches_the_boundary_and_no_farther(classes: int, norm: str) -> None:
    """Each image is attacked 1 % beyond its distance and 1 % short of it, far from the walls of the box."""
    network = quiet(linear(classes=classes))
    x = images(3 if classes == 100 else 8, low=0.45, high=0.55)
    labels = predicted(network, x)
    for n, distance in enumerate(reach(network, x, labels, norm)):
        one = slice(n, n + 1)
        if not 1e-4 < distance < {"linf": 0.4, "l2": 0.4}[norm]:
            continue
        attacks = [APGDT(1.0, norm, steps=30, targets=99)]
        attacks += [APGD(1.0, norm, steps=30, source=EoT(1, o)) for o in ("cross-entropy", "margin") if classes == 2]
        for attack in attacks:
            for part, misread in ((1.01, True), (0.99, False)):
                (result,) = robust_accuracy(network, x[one], labels[one], [replace(attack, eps=part * distance)])
                assert (result.accuracy.mean == 0) == misread


@pytest.mark.parametrize(
    "source", [EoT(3, "margin"), ClosedForm("least-win-probability"), Expectation("margin")], ids=str
)
def test_with_noise_on_two_logits_it_is_optimal(source: Any) -> None:
    """P(misread) is Φ((eps ‖w‖_1 - margin)/(√2 σ)) at the best: what many draws of it must agree with."""
    sigma, eps = 0.3, 0.03
    network = linear(sigma, classes=2)
    x = images(20, low=0.4, high=0.6)
    labels = predicted(network, x)
    (result,) = robust_accuracy(network, x, labels, [APGD(eps, steps=20, source=source)], Judging(draws=400))
    w, rows = network.params["fc"]["w"], np.arange(len(x))
    z = network.with_sigma(0.0).predict(x)
    margins = z[rows, labels] - z[rows, 1 - labels] - eps * np.abs(w[0] - w[1]).sum()
    after = network.with_sigma(0.0).predict(result.x_adv)
    np.testing.assert_allclose(after[rows, labels] - after[rows, 1 - labels], margins, atol=1e-9)
    right = normal.cdf(margins / (sqrt(2) * sigma))
    error = np.sqrt((right * (1 - right)).mean() / (400 * len(x)))
    assert abs(result.accuracy.mean - right.mean()) < 4 * error


ATTACKS = [
    APGD(0.1, steps=12, restarts=2),
    APGD(0.4, "l2", steps=12),
    APGDT(0.1, steps=12),
    APGDT(0.4, "l2", steps=12, targets=1),
    APGD(0.5, "l1", steps=12, restarts=2),
    APGDT(0.5, "l1", steps=12, targets=2),
]
TARGETS = {
    "certain": lambda o: expectation(quiet(convolutional()), o),
    "known": lambda o: known(convolutional(), 5, o),
    "expectation": lambda o: expectation(convolutional(), o),
    "sampled": lambda o: sampled(convolutional(), 2, o),
    "closed form": lambda o: closed_form(convolutional(), o),
    "features": lambda o: closed_form(on_features(), o),
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.label}-{a.norm}")
@pytest.mark.parametrize("kind", TARGETS)
def test_a_batch_is_its_images_one_by_one_to_the_bit(kind: str, attack: Any) -> None:
    target = TARGETS[kind](attack.ascends.plain)
    labels, stream = predicted(target.classifier, X), Stream(4).from_sample(7)
    whole = attack(Alone(target), X, labels, stream)
    ones = [attack(Alone(target), X[n : n + 1], labels[n : n + 1], stream.further(n)) for n in range(len(X))]
    assert whole.tobytes() == np.concatenate(ones).tobytes()
    attack.ball.check(whole, X)
    assert (whole != X).any()


def scaled(network: Classifier, scale: float, offset: float) -> Classifier:
    """The network whose logits are scale · z + offset."""
    fc = network.params["fc"]
    return replace(network, params=network.params | {"fc": {"w": scale * fc["w"], "b": scale * fc["b"] + offset}})


@pytest.mark.parametrize("attack", [APGD(0.1, steps=20, source=EoT(1, "dlr")), APGDT(0.1, steps=20)])
def test_neither_scale_nor_offset_of_the_logits_changes_it(attack: Any) -> None:
    network = quiet(convolutional())
    labels = predicted(network, X)
    found = [next(robust_accuracy(n, X, labels, [attack])).x_adv for n in (network, scaled(network, 1000.0, 7.0))]
    np.testing.assert_allclose(*found, atol=1e-9)
    assert (predicted(network, found[0]) != labels).any()


def of_classes(classes: int, shape: tuple[int, int, int]) -> Classifier:
    model = models.build("lenet5", shape, classes, 0.3)
    return Classifier(model, model.init(np.random.default_rng(0)), threads=1)


@pytest.mark.parametrize("noisy", [True, False], ids=["noise", "no noise"])
@pytest.mark.parametrize(
    ("classes", "shape"), [(2, (1, 28, 20)), (3, (3, 28, 20)), (4, (1, 28, 28)), (100, (1, 28, 28))]
)
def test_few_and_many_classes_one_image_and_no_square(classes: int, shape: tuple[int, int, int], noisy: bool) -> None:
    network = of_classes(classes, shape) if noisy else quiet(of_classes(classes, shape))
    x = np.random.default_rng(1).uniform(0, 1, (1, *shape)).astype(np.float32)
    attacks = [APGD(0.1, steps=3, source=s) for s in (EoT(2), EoT(2, "dlr"), EoT(2, "margin"), ClosedForm())]
    attacks += [APGDT(0.1, steps=3, targets=2, source=s) for s in (EoT(2), EoT(2, "targeted-margin"), ClosedForm())]
    for result in robust_accuracy(network, x, np.array([1]), attacks, Judging(draws=2)):
        assert result.x_adv.shape == x.shape and result.bad_gradients == 0


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.label}-{a.norm}")
@pytest.mark.parametrize("kind", TARGETS)
def test_nothing_to_attack_and_no_room(kind: str, attack: Any) -> None:
    target = TARGETS[kind](attack.ascends.plain)
    labels = predicted(target.classifier, X)
    assert attack(target, X[:0], labels[:0], Stream(0)).shape == (0, *X.shape[1:])
    np.testing.assert_array_equal(replace(attack, eps=0.0)(target, X, labels, Stream(0)), X)


def never(x: np.ndarray) -> np.ndarray:
    return np.zeros(len(x))


@dataclass
class Landscape:
    """A loss and a misreading of one's own, with the gradient `slope`; notes how many images it was asked."""

    loss: Any
    misreads: Any = never
    slope: float = 1.0
    certain: bool = True
    random: bool = False
    passes: int = 1
    asked: list[int] = field(default_factory=list)
    streams: list[tuple[str, Stream]] = field(default_factory=list)

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        self.streams.append(("gradient", stream))
        return self.loss(x), np.full_like(x, self.slope)

    def looked(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.asked.append(len(x))
        loss, gradient = self(x, labels, stream)
        return loss, self.misreads(x).astype(float), gradient

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        self.streams.append(("value", stream))
        return np.asarray(self.loss(x))

    def answers(self, x: np.ndarray, stream: Stream) -> np.ndarray:
        return np.stack([1 - self.misreads(x), self.misreads(x), -np.ones(len(x))])

    def ascending(self, objective: Any) -> "Landscape":
        return self


MIDDLE = np.full((5, 1, 2, 2), 0.5)
ZEROS = np.zeros(5, int)


def first(x: np.ndarray) -> np.ndarray:
    return x[:, 0, 0, 0]


def test_a_misread_point_wins_against_a_higher_loss() -> None:
    """Here the loss rises with the pixel, and only a band below the top is misread."""
    band = Landscape(first, lambda x: (first(x) > 0.55) & (first(x) < 0.599))
    found = APGD(0.1, steps=20)(band, MIDDLE, ZEROS, Stream(0))
    unsure = APGD(0.1, steps=20)(replace(band, certain=False), MIDDLE, ZEROS, Stream(0))
    starts = Ball("linf", 0.1).random(MIDDLE, Stream(0).at("restart", 0, "start"))
    passed = band.misreads(starts)
    assert passed.any() and not passed.all()
    np.testing.assert_array_equal(found[passed], starts[passed])
    np.testing.assert_allclose(first(unsure), 0.6)


def test_a_misread_image_is_passed_no_more() -> None:
    """The first two images are misread as they are, two more at the first step, and the last one never."""
    x = np.concatenate([np.full((2, 1, 2, 2), 0.9), np.full((2, 1, 2, 2), 0.5), np.full((1, 1, 2, 2), 0.1)])
    for attack, more in ((APGD(0.1, steps=20, restarts=3), 3), (APGDT(0.1, steps=20), 2)):
        target = Landscape(first, lambda x: first(x) > 0.595)
        found = attack(target, x, ZEROS, Stream(0))
        np.testing.assert_array_equal(found[:2], x[:2])
        assert (first(found) > 0.595).tolist() == [True] * 4 + [False]
        assert target.asked[:2] == [3, 3] and target.asked[2:] == [1] * (21 * more - 2)


@pytest.mark.parametrize("attack", [APGD(0.1, steps=20), APGD(0.1, "l2", 20), APGDT(0.1, steps=20)], ids=str)
@pytest.mark.parametrize("certain", [True, False])
def test_a_gradient_of_zero_leaves_a_point_where_it_is(attack: Any, certain: bool) -> None:
    flat = Landscape(lambda x: np.zeros(len(x)), slope=0.0, certain=certain)
    found = attack(flat, MIDDLE, ZEROS, Stream(0))
    np.testing.assert_array_equal(found, attack.ball.random(MIDDLE, Stream(0).at("restart", 0, "start")))
    lost = Landscape(lambda x: np.full(len(x), np.nan), slope=0.0, certain=certain, random=not certain)
    assert np.isfinite(attack(lost, MIDDLE, ZEROS, Stream(0))).all()


def test_each_image_keeps_its_best_start() -> None:
    wild = Landscape(lambda x: np.sin(400 * first(x)), slope=0.0, certain=False)
    starts = [APGD(0.1).ball.random(MIDDLE, Stream(3).at("restart", r, "start")) for r in range(5)]
    losses = np.stack([wild.loss(s) for s in starts])
    best = losses.argmax(axis=0)
    assert len(set(best)) > 1
    for random in (False, True):
        target = replace(wild, random=random)
        found = APGD(0.1, steps=1, restarts=5)(target, MIDDLE, ZEROS, Stream(3))
        if random:  # the clean image is the best point that a walk on draws begins with
            losses = np.maximum(losses, wild.loss(MIDDLE))
        np.testing.assert_array_equal(wild.loss(found), losses.max(axis=0))


def test_points_are_compared_on_noise_that_no_step_has_seen() -> None:
    target = Landscape(first, certain=False, random=True)
    APGD(0.1, steps=20, restarts=2)(target, MIDDLE, ZEROS, Stream(3).from_sample(128))
    steps = [stream for kind, stream in target.streams if kind == "gradient"]
    compared = [stream for kind, stream in target.streams if kind == "value"]
    assert len(steps) == 40 and len(set(steps)) == 40
    assert len(compared) == 2 * (3 * 8 + 1) and len(set(compared)) == 2 * 8 + 1, "one noise for all that is compared"
    assert not set(steps) & set(compared)
    assert {s.first for _, s in target.streams} == {128}


def test_the_last_comparison_on_draws_is_at_the_end() -> None:
    target = Landscape(first, certain=False, random=True)
    APGD(0.1, steps=100)(target, MIDDLE, ZEROS, Stream(3))
    at = [stream.path[-1] for kind, stream in target.streams if kind == "value"]
    assert sorted(set(at)) == [22, 41, 57, 70, 80, 87, 93, 100]


def test_at_the_first_checkpoint_a_best_loss_that_never_rose_halves_the_steps() -> None:
    """The two conditions one by one: 8 of 10 steps have raised the loss, 7 have, and 8 below that of the start."""
    target = Landscape(first, certain=False)
    walk = Walk.at(MIDDLE[:3], 0.2, target, MIDDLE[:3], ZEROS[:3], Stream(0))
    walk.risen, walk.best_loss = np.array([8, 7, 8]), np.array([0.7, 0.7, 0.5])
    walk.check(10)
    np.testing.assert_allclose(walk.length, [0.2, 0.1, 0.1])
    walk.risen = np.array([8, 8, 8])
    walk.check(10)
    # the best loss of none has risen since; those that were halved then are not halved for this again
    np.testing.assert_allclose(walk.length, [0.1, 0.1, 0.1])


def test_a_start_whose_loss_is_nan_never_wins() -> None:
    x = np.full((40, 1, 2, 2), 0.5)
    target = Landscape(lambda x: np.where(first(x) < 0.5, np.nan, first(x)), slope=0.0, certain=False)
    attack = APGD(0.3, steps=1, restarts=6)
    starts = np.stack([first(attack.ball.random(x, Stream(0).at("restart", r, "start"))) for r in range(6)])
    found, able = first(attack(target, x, np.zeros(40, int), Stream(0))), (starts >= 0.5).any(axis=0)
    assert (starts[0] < 0.5).any()
    np.testing.assert_array_equal(found[able], starts.max(axis=0)[able])


def test_the_layout_of_a_gradient_changes_no_bit() -> None:
    @dataclass(frozen=True)
    class Turned(Alone):
        def looked(self, *asked: Any) -> tuple[np.ndarray, ...]:
            *rest, gradient = super().looked(*asked)
            return *rest, np.moveaxis(np.ascontiguousarray(np.moveaxis(gradient, 0, -1)), -1, 0)

    target = expectation(quiet(convolutional()))
    labels = predicted(target.classifier, X)
    attack = APGD(0.2, "l2", steps=12)
    found = [attack(kind(target), X, labels, Stream(0)) for kind in (Alone, Turned)]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("attack", [APGD(0.1, steps=9), APGD(0.1, steps=9, restarts=3), APGDT(0.1, steps=9)], ids=str)
def test_no_draw_decides_by_its_luck(attack: Any) -> None:
    """A loss that is the noise's alone: no point is better than another, and the attack returns what does not matter.

    Its right answers, one of 20 draws being wrong, are as many as without an attack.
    """
    network = linear(0.3)
    w, b = np.zeros_like(network.params["fc"]["w"]), np.array([0.7, 0.0, 0.0])
    network = replace(network, params=network.params | {"fc": {"w": w, "b": b}})
    x = images(400)
    (result,) = robust_accuracy(network, x, np.zeros(400, int), [replace(attack, source=EoT(1))], Judging(draws=10))
    low, high = result.accuracy.ci95
    assert low < result.clean.mean() < high and abs(result.clean.mean() - 0.9) < 0.08  # type: ignore[union-attr]


def test_passes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    for name in ("__call__", "looked", "value", "answers"):
        own = getattr(NetworkTarget, name)
        monkeypatch.setattr(NetworkTarget, name, lambda *a, own=own, **k: counted.append(a[0].passes) or own(*a, **k))
    for kind in TARGETS:
        for attack in ATTACKS:
            target = TARGETS[kind](attack.ascends.plain)
            if isinstance(attack, APGDT):
                attack = replace(attack, targets=min(attack.targets, 2))
            counted.clear()
            # no image is misread that is not moved, and the search has to be made to the end
            replace(attack, eps=1e-9)(target, X, predicted(target.classifier, X), Stream(0))
            assert attack.passes(target) == sum(counted)


def test_what_is_no_setting_is_named() -> None:
    for make, said in (
        (lambda: APGD(0.1, steps=0), "steps must be >= 1, got 0"),
        (lambda: APGD(0.1, restarts=0), "restarts must be >= 1, got 0"),
        (lambda: APGDT(0.1, steps=1.5), "steps must be a whole number >= 1, got 1.5"),  # type: ignore[arg-type]
        (lambda: APGDT(0.1, targets=0), "targets must be >= 1, got 0"),
        (lambda: APGD(0.1, "l7"), "norm must be one of linf, l2"),
    ):
        with pytest.raises(ValueError, match=said):
            make()


@pytest.mark.slow
def test_stronger_than_pgd_at_its_own_loss() -> None:
    from npsnn.attacks import PGD

    network = of_classes(10, (1, 28, 28)).astype(np.float64)
    x, labels = np.random.default_rng(2).uniform(0, 1, (8, 1, 28, 28)), np.arange(8)
    target = expectation(network)
    assert flatten(network.params)
    ours, theirs = (target(a(target, x, labels, Stream(0)), labels, Stream(0))[0] for a in (APGD(0.02), PGD(0.02)))
    assert ours.mean() > theirs.mean()


def test_in_l1_a_wider_radius_hands_on_its_highest_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misreading ends the walk of the last radius alone; and the steps go on with as few entries as they had."""
    network, x = linear(0.0), images(6, low=0.2, high=0.8)
    labels = predicted(network, x)
    target, seen = expectation(network, "margin"), list[Any]()
    stage = sparse_walks._stage

    def watched(number: int, ball: Ball, *rest: Any) -> Any:
        found, loss = stage(number, ball, *rest)
        seen.append((number, found, loss))
        return found, loss

    moved, along = list[int](), l1.along
    monkeypatch.setattr(sparse_walks, "_stage", watched)
    monkeypatch.setattr(l1, "along", lambda g, k: (moved.append(int(np.max(k))), along(g, k))[1])
    APGD(0.8, "l1", steps=60)(target, x, labels, Stream(0))
    assert [number for number, *_ in seen] == [0, 1, 2]
    for number, found, loss in seen:
        real = target(found, labels, Stream(0))[0]
        assert (real > 0).all(), "all are misread in balls as wide as these"
        assert np.isinf(loss).all() == (number == 2)
    for _, found, loss in seen[:2]:
        np.testing.assert_allclose(loss, target(found, labels, Stream(0))[0])
    wide = [target(found, labels, Stream(0))[0].mean() for _, found, _ in seen]
    assert wide[0] > 1.5 * wide[2], "the loss of the widest ball rose beyond the first misreading"
    assert moved[0] == int(0.2 * 24) and moved[18] <= max((seen[0][1] != x).reshape(6, -1).sum(axis=1)) / 1.5
