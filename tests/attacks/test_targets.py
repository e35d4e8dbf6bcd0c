"""The three targets: what they average, and that their gradients are gradients."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from small_networks import images, linear, predicted

from npsnn import attacks, models
from npsnn.attacks.base import target_of
from npsnn.attacks.judging import judge
from npsnn.attacks.plan import Plan
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.attacks.watched import Watched
from npsnn.classifier import Classifier
from npsnn.layers.moments import EXPECTATION, Moments, Propagated, Sampled
from npsnn.objectives import OBJECTIVES, TARGETED, losses
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream

MODEL = models.lenet5(sigma=0.4)
X = np.random.default_rng(0).uniform(0.1, 0.9, (4, 1, 28, 28))
LABELS = np.array([3, 1, 4, 1])


@pytest.fixture
def network() -> Classifier:
    return Classifier(MODEL, MODEL.init(np.random.default_rng(0))).astype(np.float64)


def difference(target: Any, stream: Stream, direction: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """Derivative of each example's loss along `direction`, under the same noise."""
    losses = [target(X + by * direction, LABELS, stream)[0] for by in (h, -h)]
    return (losses[0] - losses[1]) / (2 * h)


@pytest.mark.parametrize("objective", losses())
@pytest.mark.parametrize("kind", [*RULES, "sampled", "expectation"])
def test_gradients_are_gradients_of_the_loss(kind: str, objective: str, network: Classifier) -> None:
    if objective == "win-probability" and kind not in RULES:
        with pytest.raises(ValueError, match="needs noise"):
            expectation(network, objective)(X, LABELS, Stream(0))
        return
    target = {
        "sampled": lambda: sampled(network, 2, objective),
        "expectation": lambda: expectation(network, objective),
    }.get(kind, lambda: closed_form(network, objective, kind))()
    loss, gradient = target(X, LABELS, Stream(0))
    assert loss.shape == (4,) and gradient.shape == X.shape
    direction = np.random.default_rng(1).standard_normal(X.shape) / 28
    slope = (gradient * direction).sum(axis=(1, 2, 3))
    h = 1e-6 if kind == "exact" else 1e-9  # the other rules and the plain ReLU have kinks
    # the expected cross-entropy has the integral's gradient by the variance, not that of its 64 points
    rtol = 1e-2 if objective == "expected-cross-entropy" else 1e-5
    np.testing.assert_allclose(difference(target, Stream(0), direction, h), slope, rtol=rtol, atol=2e-5)


def test_the_sampled_gradient_is_the_mean_over_single_draws(network: Classifier) -> None:
    stream = Stream(7).at("step", 3)
    loss, gradient = sampled(network, 3)(X, LABELS, stream)
    draws = [
        network.loss_gradient(X, LABELS, Sampled(stream.at("draw", d)), OBJECTIVES["cross-entropy"]) for d in range(3)
    ]
    np.testing.assert_allclose(loss, np.mean([d[0] for d in draws], axis=0))
    np.testing.assert_allclose(gradient, np.mean([d[1] for d in draws], axis=0))
    assert len({d[1].tobytes() for d in draws}) == 3, "the draws must differ"


def test_every_step_and_every_sample_meets_noise_of_its_own(network: Classifier) -> None:
    target = sampled(network, 1)
    first, second = (target(X, LABELS, Stream(0).at("step", s))[1] for s in (0, 1))
    assert (first != second).any(axis=(1, 2, 3)).all()
    same = np.repeat(X[:1], 4, axis=0)
    gradients = target(same, np.full(4, 3), Stream(0))[1]
    assert len({g.tobytes() for g in gradients}) == 4
    tail = target(X[2:], LABELS[2:], Stream(0).from_sample(2))[1]
    np.testing.assert_allclose(target(X, LABELS, Stream(0))[1][2:], tail, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_many_draws_approach_the_smoothed_loss(network: Classifier) -> None:
    """Averages over draws 0 ... 199 and over as many others agree within five standard errors."""
    losses = np.stack([sampled(network, 1)(X, LABELS, Stream(s))[0] for s in range(100)])
    mean, error = losses.mean(axis=0), losses.std(axis=0, ddof=1) / 10
    more = sampled(network, 100)(X, LABELS, Stream(1000))[0]
    assert (np.abs(more - mean) < 5 * np.sqrt(2) * error).all()
    assert (error > 0).all()


@pytest.mark.parametrize("objective", ["cross-entropy", "mse", "noise-aware"])
def test_expectation_is_the_network_with_sigma_0(objective: str, network: Classifier) -> None:
    quiet = network.with_sigma(0.0)
    expected = expectation(network, objective)(X, LABELS, Stream(0))
    for other in (sampled(quiet, 2, objective), closed_form(quiet, objective), expectation(quiet, objective)):
        for ours, theirs in zip(other(X, LABELS, Stream(5)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_targets_and_their_passes(network: Classifier) -> None:
    targets = expectation(network), sampled(network, 7), closed_form(network)
    assert [t.kind for t in targets] == ["expectation", "sampled", "closed-form"]
    assert [t.passes for t in targets] == [1, 7, 1]
    assert closed_form(network, "noise-aware").objective is OBJECTIVES["noise-aware"]
    assert closed_form(network, propagation="laplace").rule is RULES["laplace"]
    assert closed_form(network).rule is RULES[Plan().propagation]
    assert closed_form(network).objective is OBJECTIVES["win-probability"]
    assert closed_form(network.with_sigma(0.0)).objective is OBJECTIVES["cross-entropy"], "nobody wins by chance"
    assert sampled(network, 2).objective is expectation(network).objective is OBJECTIVES["cross-entropy"]


def test_what_each_target_computes(network: Classifier) -> None:
    for target, noise in (
        (expectation(network, "mse"), EXPECTATION),
        (closed_form(network, "mse", "laplace"), Propagated(RULES["laplace"])),
    ):
        expected = network.loss_gradient(X, LABELS, noise, OBJECTIVES["mse"])
        for ours, theirs in zip(target(X, LABELS, Stream(0)), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_function_of_ones_own_is_an_objective(network: Classifier) -> None:
    def mine(m: Moments, labels: np.ndarray) -> tuple[np.ndarray, Moments]:
        return 2 * m.mean.sum(axis=0), Moments(np.full_like(m.mean, 2))

    expected = network.loss_gradient(X, LABELS, EXPECTATION, mine)
    for target in (expectation(network, mine), closed_form(network.with_sigma(0), mine)):
        for ours, theirs in zip(target(X, LABELS, Stream(0)), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for target in (sampled(network, 2, mine), known(network, 0, mine), closed_form(network, mine)):
        assert target.objective is mine


def test_wrong_names_are_refused(network: Classifier) -> None:
    with pytest.raises(ValueError, match="unknown objective 'hinge', expected one of noise-aware"):
        sampled(network, 1, "hinge")
    with pytest.raises(ValueError, match="unknown propagation 'clark', expected one of laplace"):
        closed_form(network, propagation="clark")
    with pytest.raises(ValueError, match="draws must be >= 1, got 0"):
        sampled(network, 0)


@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize("kind", range(3))
def test_values_are_those_of_the_gradient(kind: int, count: int, network: Classifier) -> None:
    """Of more images than a micro-batch holds, too."""
    small = replace(network, model=replace(network.model, micro_batch=4))
    target = [expectation(small, "margin"), sampled(small, 2), closed_form(small, "least-win-probability")][kind]
    x, labels = np.concatenate([X, X, X])[:count], np.tile(LABELS, 3)[:count]
    stream = Stream(3).at("step").from_sample(20)
    np.testing.assert_allclose(target.value(x, labels, stream), target(x, labels, stream)[0], rtol=1e-9)
    assert target.random == (kind == 1)


def test_misread_is_what_judging_says(network: Classifier) -> None:
    found = sampled(network, 1).misread(X, LABELS, 7, Stream(2))
    np.testing.assert_allclose(found, 1 - judge(network, X, LABELS, 7, Stream(2)))
    np.testing.assert_array_equal(
        expectation(network).misread(X, LABELS, 1, Stream(2)), judge(network, X, LABELS, 1, Stream(2)) == 0
    )


def test_the_closed_form_of_noise_on_the_features() -> None:
    """It moves no mean: the loss that knows of it is the expected cross-entropy."""
    model = models.with_feature_noise(models.lenet5(sigma=0.0), 0.5)
    network = Classifier(model, model.init(np.random.default_rng(0))).astype(np.float64)
    for rule in RULES:
        assert closed_form(network, propagation=rule).objective is OBJECTIVES["expected-cross-entropy"]
        assert closed_form(network, propagation=rule).kind == "closed-form"
        assert closed_form(network, "cross-entropy", rule).kind == "expectation"
        assert closed_form(network, "margin", rule).kind == "expectation"
    quiet = network.with_sigma(0)
    np.testing.assert_allclose(closed_form(quiet)(X, LABELS, Stream(0))[0], expectation(quiet)(X, LABELS, Stream(0))[0])


def test_a_margin_in_standard_deviations_needs_noise(network: Classifier) -> None:
    with pytest.raises(ValueError, match="least-win-probability objective needs noise: sigma must be > 0, got 0"):
        closed_form(network.with_sigma(0), "least-win-probability")


@pytest.mark.parametrize("kind", ["sampled", "expectation", "closed-form"])
def test_a_look_has_the_gradient_of_a_call_and_counts_what_its_draws_misread(kind: str, network: Classifier) -> None:
    target = {"sampled": sampled(network, 3), "expectation": expectation(network), "closed-form": closed_form(network)}[
        kind
    ]
    stream = Stream(0).at("look")
    loss, misread, gradient = target.looked(X, LABELS, stream)
    for found, wanted in zip((loss, gradient), target(X, LABELS, stream), strict=True):
        np.testing.assert_array_equal(found, wanted)
    noises = {
        "sampled": [Sampled(stream.at("draw", d)) for d in range(3)],
        "expectation": [EXPECTATION],
        "closed-form": [Propagated(RULES["exact"])],
    }[kind]
    answers = np.stack([network.scores(X, noise).mean for noise in noises])
    np.testing.assert_array_equal(misread, (answers.argmax(axis=1) != LABELS).mean(axis=0))
    np.testing.assert_array_equal(target.answers(X, stream), answers.mean(axis=0))


@pytest.mark.parametrize("objective", TARGETED)
def test_an_aimed_objective_raises_the_second_column(objective: str, network: Classifier) -> None:
    aimed = np.stack([LABELS, (LABELS + 2) % 10], axis=1)
    target = sampled(network, 2).ascending(objective)
    loss, gradient = target(X, aimed, Stream(0))
    z = target.answers(X, Stream(0))
    assert loss.shape == (4,) and gradient.shape == X.shape
    if objective == "targeted-margin":
        np.testing.assert_allclose(loss, z[aimed[:, 1], range(4)] - z[LABELS, range(4)])
    with pytest.raises(ValueError, match=r"labels must be in 0 \.\.\. 9"):
        target(X, aimed + 5, Stream(0))
    with pytest.raises(ValueError, match="labels must be 4 integers"):
        sampled(network, 2)(X, aimed, Stream(0))
    with pytest.raises(
        ValueError, match=rf"each label with the class to raise, for the objective {objective}, got \(4,\)"
    ):
        target(X, LABELS, Stream(0))
    with pytest.raises(ValueError, match="labels must be 8 integers, got float64"):
        target(X, aimed.astype(float), Stream(0))
    loss_of_small = target(X, aimed.astype(np.uint8), Stream(0))[0]
    np.testing.assert_array_equal(loss_of_small, loss)


def test_some_images_of_a_batch_meet_their_own_draws(network: Classifier) -> None:
    for target in (sampled(network, 2), known(network, Stream(1).at("judge"))):
        whole, part = Stream(0).from_sample(5), [3, 0]
        loss, misread, gradient = target.looked(X, LABELS, whole)
        for found, wanted in zip(target.looked(X[part], LABELS[part], whole.chosen(part)), (loss, misread, gradient),
                                 strict=True):  # fmt: skip
            np.testing.assert_allclose(found, wanted[part], rtol=1e-12, atol=1e-18)


def test_a_look_is_certain_where_no_draw_differs_from_another(network: Classifier) -> None:
    stream = Stream(1).at("judge")
    assert [t(network).certain for t in (closed_form, expectation, lambda n: sampled(n, 2))] == [False] * 3
    assert known(network, stream).certain
    off = network.with_sigma(0)
    assert all(t(off).certain for t in (closed_form, expectation, lambda n: sampled(n, 2)))


@dataclass
class Blank:
    """A target of no gradient where a pixel is 0, and of one that is not finite where a pixel is 1."""

    def looked(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        corner = x[:, :1, :1, :1]
        gradient = np.where(corner == 0, 0.0, np.where(corner == 1, np.inf, 1.0)) * np.ones_like(x)
        return np.zeros(len(x)), np.zeros(len(x)), gradient

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        return (x[:, 0, 0, 0] == 0.25).astype(float)

    def ascending(self, objective: str) -> "Blank":
        return Blank()


@pytest.mark.parametrize("stream", [Stream(0), Stream(0).from_sample(7), Stream(0).chosen([9, 2, 5, 3])])
def test_what_a_part_of_the_batch_meets_is_noted_of_its_images(stream: Stream) -> None:
    x = np.full((4, 1, 2, 2), 0.5)
    x[2], x[0], x[3] = 0, 1, 0.25
    watched: Any = Watched.of(Blank(), x, stream)  # type: ignore[arg-type]
    part = [3, 2, 0]
    own = stream.chosen(part)
    _, _, gradient = watched.ascending("margin").looked(x[part], LABELS[part], own.at("step", 1))
    assert np.isfinite(gradient).all()
    watched.misread(x[part], LABELS[part], 1, own.at("judge"))
    zero, bad, once, lost = watched.notes.tolist()
    assert zero == [False, False, True, False] and bad == [True, False, False, False]
    assert once == [False, False, False, True] and not any(lost)


def test_a_part_that_an_attack_cuts_out_is_noted_of_its_images() -> None:
    """By `further`, of which the stream knows where it begins, and by a stream of its own for the whole batch alone."""
    x = np.full((4, 1, 2, 2), 0.5)
    x[2] = 0
    for stream in (Stream(0).from_sample(64), Stream(0).chosen([9, 2, 5, 3])):
        watched: Any = Watched.of(Blank(), x, stream)  # type: ignore[arg-type]
        for n in (1, 2):
            watched.ascending("margin").looked(x[n : n + 1], LABELS[n : n + 1], stream.further(n))
        assert watched.notes[0].tolist() == [False, False, True, False]
        watched.looked(x, LABELS[:4], Stream(7))
        with pytest.raises(ValueError, match=r"the stream of 2 of 4 images must be the attack's stream, cut as"):
            watched.looked(x[:2], LABELS[:2], Stream(7))


@pytest.mark.parametrize(
    ("attack", "objective"),
    [
        (lambda s: attacks.APGD(0.1, source=s), "targeted-dlr"),
        (lambda s: attacks.PGD(0.1, source=s), "targeted-margin"),
        (lambda s: attacks.Square(0.1, source=s), "targeted-dlr"),
        (lambda s: attacks.APGDT(0.1, source=s), "cross-entropy"),
        (lambda s: attacks.APGDT(0.1, source=attacks.Transfer(linear(0.0), source=s)), "dlr"),
        (lambda s: attacks.FMN(source=s), "cross-entropy"),
        (lambda s: attacks.FMN(source=s), "true-class-probability"),
        (lambda s: attacks.CarliniWagner(source=s), "cross-entropy"),
    ],
)
def test_an_objective_that_an_attack_cannot_ascend_is_refused_before_it_runs(attack: Any, objective: str) -> None:
    network, x = linear(0.3), images(2)
    made = attack(attacks.EoT(2, objective))
    with pytest.raises(ValueError, match=f"the objective of {made.label} must be one of .*, got '{objective}'"):
        next(attacks.robust_accuracy(network, x, predicted(network, x), [made]))
    assert target_of(attack(attacks.EoT(2)), network).objective
