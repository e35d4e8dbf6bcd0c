"""Robust accuracy: intervals that cover, attacks that are checked, and the worst case for each image."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from npsnn import attacks, certify, models
from npsnn.attacks.balls import Ball
from npsnn.attacks.evaluation import run
from npsnn.attacks.judging import Accuracy, accuracy, judge
from npsnn.attacks.plan import Plan, evaluate
from npsnn.attacks.projected import GradientAttack
from npsnn.attacks.results import Result
from npsnn.attacks.targets import NetworkTarget, expectation
from npsnn.attacks.worst import worst_case
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers.moments import Sampled
from npsnn.models.passes import Passes
from npsnn.streams import Stream
from npsnn.train import fit
from npsnn.train.config import Config


def split(count: int, seed: int) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(seed)), labels)


TEST = split(140, 1)
X, LABELS = (TEST.images / np.float32(255)).astype(np.float32), TEST.labels
SMALL = Plan(
    attacks=("fgsm", "pgd", "adaptive-fgsm"), eps=(0.05, 0.1), steps=2, restarts=2, eot=2, draws=3, selection=10
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """LeNet-5, right about most of these images under its noise, and not about all."""
    folder = tmp_path_factory.mktemp("network")
    config = Config(epochs=4, batch_size=32, lr=2e-3, sigma=0.4)
    assert list(fit(config, Dataset("few digits", split(600, 0), TEST, 10, {}), folder))
    return replace(Classifier.load(folder), threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("draws", [1, 10, 50])
@pytest.mark.parametrize("shape", [(0.5, 0.2), (2, 2), (5, 1)])
def test_intervals_cover_the_accuracy_over_all_images_and_noise(draws: int, shape: tuple[float, float]) -> None:
    """Images are right with probabilities from a Beta distribution, and are each averaged over draws."""
    rng, examples, trials = np.random.default_rng(0), 200, 1000
    right = rng.binomial(draws, rng.beta(*shape, (trials, examples))) / draws
    intervals = np.array([Accuracy(each).ci95 for each in right])
    truth = shape[0] / sum(shape)
    assert 0.93 <= ((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean() <= 0.98


@pytest.mark.slow
def test_without_noise_the_accuracy_is_the_expectation_networks(network: Classifier) -> None:
    quiet = network.with_sigma(0.0)
    found = accuracy(quiet, X, LABELS, draws=3)
    assert set(found.each) <= {0.0, 1.0}
    np.testing.assert_array_equal(found.each, network.predict(X).argmax(axis=1) == LABELS)
    np.testing.assert_array_equal(accuracy(quiet, X, LABELS, draws=1, rng=5).each, found.each)


@pytest.mark.slow
def test_the_accuracy_is_the_mean_over_draws(network: Classifier) -> None:
    found = accuracy(network, X, LABELS, draws=4, rng=3)
    logits = [
        np.concatenate(
            [
                network.scores(X[s : s + 64], Sampled(Stream(3).at(d).from_sample(s))).mean.argmax(axis=0)
                for s in range(0, 140, 64)
            ]
        )
        for d in range(4)
    ]
    np.testing.assert_array_equal(found.each, np.mean([p == LABELS for p in logits], axis=0))
    assert found.mean == found.each.mean()
    assert 0.5 < found.mean < 1 and set(found.each) - {0.0, 1.0}
    assert (accuracy(network, X, LABELS, draws=4, rng=4).each != found.each).any()


@pytest.mark.slow
def test_8_bit_images_and_progress(network: Classifier) -> None:
    done: list[int] = []
    found = accuracy(network, TEST.images, LABELS, draws=2, progress=done.append)
    np.testing.assert_array_equal(found.each, accuracy(network, X, LABELS, draws=2).each)
    assert done == [64, 64, 12]


def same(a: Result, b: Result) -> bool:
    return a.x_adv.tobytes() == b.x_adv.tobytes() and a.accuracy.each.tobytes() == b.accuracy.each.tobytes()


@pytest.mark.slow
def test_results_are_bit_identical_for_any_threads(network: Classifier) -> None:
    plan = replace(SMALL, eps=(0.1,))
    runs = [list(evaluate(replace(network, threads=t), X, LABELS, plan)) for t in (1, 2, 3)]
    for other in runs[1:]:
        assert all(same(a, b) for a, b in zip(runs[0], other, strict=True))
    worst = [worst_case(replace(network, threads=t), LABELS, runs[0], plan.judging()).each for t in (1, 3)]
    np.testing.assert_array_equal(*worst)


@pytest.mark.slow
def test_results_do_not_depend_on_the_micro_batches(network: Classifier) -> None:
    """Draws are keyed by sample; what differs is the rounding of sums."""
    plan = replace(SMALL, norm="l2", eps=(0.5,))
    small = replace(network, model=replace(network.model, micro_batch=9)).astype(np.float64)
    for a, b in zip(*(evaluate(c, X, LABELS, plan) for c in (small, network.astype(np.float64))), strict=True):
        np.testing.assert_allclose(a.x_adv, b.x_adv, atol=1e-6)
        np.testing.assert_array_equal(a.accuracy.each, b.accuracy.each)


@pytest.mark.slow
def test_a_plan_is_worked_through(network: Classifier) -> None:
    done: list[int] = []
    results = list(evaluate(network, X, LABELS, SMALL, done.append))
    assert [(r.attack, r.eps) for r in results] == [(a, e) for e in SMALL.eps for a in SMALL.attacks]
    assert [r.gradient for r in results[:3]] == ["sampled", "sampled", "closed-form"]
    assert [r.gradient_passes for r in results[:3]] == [2, 2 * (2 * 2 + 2), 1]
    assert sum(done) == 140 * len(results)
    for r in results:
        Ball(r.norm, r.eps).check(r.x_adv, X)
        assert r.bad_gradients == 0 and r.zero_gradients == 0 and r.seconds > 0
    clean = accuracy(network, X, LABELS).mean
    assert all(r.accuracy.mean < clean for r in results)
    assert results[4].accuracy.mean < results[1].accuracy.mean, "a larger ball is worse for the defence"


def test_no_room_no_effect(network: Classifier) -> None:
    plan = replace(SMALL, eps=(0.0,), sigma=0.0)
    clean = accuracy(network.with_sigma(0.0), X, LABELS).each
    for result in evaluate(network, X, LABELS, plan):
        np.testing.assert_array_equal(result.accuracy.each, clean)
        assert result.gradient == ("closed-form" if result.attack == "adaptive-fgsm" else "expectation")


@pytest.mark.slow
def test_attack_and_judgement_never_share_noise(network: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[Stream]] = {"attack": set(), "judge": set()}
    gradients, logits = Classifier.loss_gradients, Passes.logits

    def watched(original: Any, kind: str, position: int) -> Any:
        def call(*args: Any) -> Any:
            seen[kind] |= {noise.stream for noise in args[position] if isinstance(noise, Sampled)}
            return original(*args)

        return call

    monkeypatch.setattr(Classifier, "loss_gradients", watched(gradients, "attack", 3))
    monkeypatch.setattr(Passes, "logits", watched(logits, "judge", 2))
    results = list(evaluate(network, X, LABELS, SMALL))
    before = len(seen["judge"])
    worst_case(network, LABELS, results[:3], replace(SMALL.judging(), selection=4))
    assert before == 3 * 3 * (1 + len(SMALL.eps)), "the attacks of one eps, and none, are judged on the same draws"
    assert len(seen["judge"]) == before + 3 * (4 + 3), "the worst case is chosen on others, and judged on others"
    assert seen["attack"] and not seen["attack"] & seen["judge"]


class Cheat(GradientAttack):
    """Goes `by` farther than it may."""

    by = 0.0

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        return x + np.float32(self.by) if len(x) == 12 else x


@pytest.mark.parametrize(("by", "message"), [(0.2, "must be"), (-0.2, "must be"), (np.nan, "must be finite")])
def test_an_attack_that_leaves_its_ball_or_the_box_is_caught(network: Classifier, by: float, message: str) -> None:
    cheat = type("Cheat", (Cheat,), {"by": by})(Ball("linf", 0.1), 1, 0.1)
    with pytest.raises(ValueError, match=f"adversarial images {message}"):
        run("cheat", cheat, expectation(network), X, LABELS, 1, Stream(0))
    inside = (0.5 * X + 0.25).astype(np.float32)
    with pytest.raises(ValueError, match=f"adversarial images {message}"):
        run("cheat", cheat, expectation(network), inside, LABELS, 1, Stream(0))


@dataclass(frozen=True)
class Poor(NetworkTarget):
    """Hides its gradient at the first step: none for labels 0, NaN for 1, one infinite pixel for 2."""

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        loss, g = super().__call__(x, labels, stream)
        if stream.path[-1] == 0:
            g[labels == 0] = 0
            g[labels == 1] = np.nan
            g[np.flatnonzero(labels == 2), 0, 3, 3] = np.inf
        return loss, g


def test_zero_and_non_finite_gradients_are_counted(network: Classifier) -> None:
    base = expectation(network)
    poor = Poor(base.classifier, base.kind, base.objective)
    for steps in (1, 3):
        attack = GradientAttack(Ball("linf", 0.1), steps, 0.1)
        result = run("fgsm", attack, poor, X, LABELS, 1, Stream(0))
        assert result.zero_gradients == 14 and result.bad_gradients == 28, "images, not steps"
        moved = (result.x_adv != X).any(axis=(1, 2, 3))
        np.testing.assert_array_equal(moved, (LABELS > 2) | (steps > 1))


def test_the_worst_case_is_taken_image_by_image(network: Classifier) -> None:
    quiet = replace(SMALL, sigma=0.0)
    results = list(evaluate(network, X, LABELS, quiet))[:3]
    worst = worst_case(network, LABELS, results, quiet.judging())
    np.testing.assert_array_equal(worst.each, np.min([r.accuracy.each for r in results], axis=0))
    halves = [np.where((parity == LABELS % 2)[:, None, None, None], results[1].x_adv, X) for parity in (0, 1)]
    split_up = [
        replace(r, x_adv=x, accuracy=accuracy(network.with_sigma(0.0), x, LABELS))
        for r, x in zip(results, halves, strict=False)
    ]
    both = worst_case(network, LABELS, split_up, quiet.judging())
    np.testing.assert_array_equal(
        both.each, results[1].accuracy.each * accuracy(network.with_sigma(0.0), X, LABELS).each
    )


@pytest.mark.slow
def test_the_worst_case_is_no_better_than_no_attack(network: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks that go the wrong way leave more than they found."""
    true = Classifier.loss_gradients

    def reversed_(self: Classifier, *arguments: Any) -> Any:
        value, gradient = true(self, *arguments)
        return value, -gradient

    monkeypatch.setattr(Classifier, "loss_gradients", reversed_)
    plan = replace(SMALL, attacks=("fgsm", "adaptive-fgsm"), eps=(0.1,), draws=10, selection=100)
    results, clean = list(evaluate(network, X, LABELS, plan)), accuracy(network, X, LABELS, 10)
    assert all(r.accuracy.mean > clean.mean + 0.05 for r in results)
    found = worst_case(network, LABELS, results, plan.judging())
    assert found.mean < clean.mean + 0.03
    assert found.strongest == "no attack" and found.alone.mean >= found.mean


@pytest.mark.slow
def test_the_worst_case_is_no_better_than_any_attack(network: Classifier) -> None:
    plan = replace(SMALL, draws=20, eps=(0.05,))
    results = list(evaluate(network, X, LABELS, plan))
    worst = worst_case(network, LABELS, results, plan.judging())
    for r in results:
        assert worst.mean <= r.accuracy.mean + 5 * np.sqrt(2 * 0.25 / (20 * 140))


@pytest.mark.parametrize(
    ("options", "gradient", "like"),
    [
        ({}, "closed-form", {"objective": "win-probability"}),
        ({"propagation": "laplace"}, "closed-form", {"propagation": "laplace", "objective": "noise-aware"}),
        ({"propagation": "laplace", "objective": "cross-entropy"}, "expectation", {"sigma": 0.0}),
        ({"propagation": "linear", "objective": "mse"}, "expectation", {"sigma": 0.0, "objective": "mse"}),
    ],
)
def test_what_an_adaptive_attack_ascends(
    network: Classifier, options: dict[str, Any], gradient: str, like: dict[str, Any]
) -> None:
    one = Plan(attacks=("adaptive-fgsm",), eps=(0.1,), draws=1)
    (found,) = evaluate(network, X, LABELS, replace(one, **options))
    (same,) = evaluate(network, X, LABELS, replace(one, **like))
    assert found.gradient == gradient
    np.testing.assert_array_equal(found.x_adv, same.x_adv)


def test_what_does_not_fit_the_network_is_refused(network: Classifier) -> None:
    wrong: list[tuple[Any, Any, str]] = [
        (X[:0], LABELS[:0], "at least one image"),
        (X[:, :, 1:], LABELS, r"shape \(N, 1, 28, 28\)"),
        (X * 255, LABELS, r"in \[0, 1\]"),
        (X, LABELS[:-1], "140 integers"),
        (X, LABELS + 1, r"0 \.\.\. 9"),
    ]
    for x, labels, message in wrong:
        with pytest.raises(ValueError, match=message):
            accuracy(network, x, labels)
        with pytest.raises(ValueError, match=message):
            next(evaluate(network, x, labels, SMALL))
    with pytest.raises(ValueError, match="draws must be >= 1, got 0"):
        accuracy(network, X, LABELS, draws=0)


def test_a_part_of_the_draws_is_a_part(network: Classifier) -> None:
    each = judge(network, X[:64], LABELS[:64], 4, Stream(0))
    assert each.shape == (64,) and set(each) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert set(judge(network.with_sigma(0), X[:64], LABELS[:64], 9, Stream(0))) <= {0.0, 1.0}


@pytest.mark.parametrize("network", ["noise", None, 3])
def test_what_is_no_network_is_told_so(network: Any) -> None:
    """A run's name, say, where the network that is in it is meant."""
    x, y = np.zeros((2, 1, 28, 28), np.float32), np.zeros(2, int)
    calls = (
        lambda: attacks.robust_accuracy(network, x, y, [attacks.FGSM(0.1)]),
        lambda: attacks.auto(network, 0.1),
        lambda: list(attacks.examine(network, x, y)),
        lambda: certify.certify(network, x, y),
    )
    for call in calls:
        with pytest.raises(TypeError, match=rf"network must be a Classifier, as .*, got {network!r}"):
            call()


def test_an_attack_that_fits_no_image_is_refused_before_any_other() -> None:
    model = models.lenet5(sigma=0.3)
    network = Classifier(model, model.init(np.random.default_rng(0)))
    x, y = np.zeros((2, 1, 28, 28), np.float32), np.zeros(2, int)
    for last in (attacks.OnePixel(785), attacks.SparseRS(785), attacks.Toward(attacks.FGSM(0.1), "10")):
        with pytest.raises(ValueError, match=r"must be at most 784|must be a class below 10"):
            attacks.robust_accuracy(network, x, y, [attacks.FGSM(0.1), last])


class Picky(attacks.FGSM):
    """An attack that no image fits."""

    def fits(self, shape: tuple[int, ...], classes: int) -> None:
        raise ValueError(f"eps must be another one for {shape}")


def test_an_attack_toward_a_class_fits_where_its_own_does() -> None:
    with pytest.raises(ValueError, match=r"eps must be another one for \(1, 28, 28\)"):
        attacks.Toward(Picky(0.1)).fits((1, 28, 28), 10)
