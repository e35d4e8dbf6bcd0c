"""Answers by the probabilities or the votes of several draws: what they are, their gradients, and who asks for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, linear, on_features, predicted, several

from npsnn import attacks, bounds
from npsnn.attacks import identity
from npsnn.attacks.judging import judge
from npsnn.attacks.queries import logits, values
from npsnn.certify.votes import votes
from npsnn.classifier import Classifier
from npsnn.layers.base import Want
from npsnn.layers.moments import EXPECTATION, Moments, Propagated, Sampled
from npsnn.models.averaging import forward
from npsnn.objectives import OBJECTIVES
from npsnn.reference import answers as reference
from npsnn.streams import Stream
from npsnn.testing.gradients import Arrays, check_gradient

X = images(4)
LABELS = np.array([0, 1, 2, 1])
NETWORKS = {"last": linear, "first": convolutional, "features": on_features, "several": several}
NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
POOLED = pytest.mark.parametrize("answer", ["probabilities", "votes"])
Make = Callable[[], Classifier]


def drawn(network: Classifier, count: int, stream: Stream) -> np.ndarray:
    """The logits of each draw of an answer, (draws, classes, N)."""
    return np.stack([network.scores(X, Sampled(stream.at("average", i))).mean for i in range(count)])


@NETWORK
def test_one_draw_answers_with_its_own_logits(network: Make) -> None:
    """So the class is the plain one, and no value of an attack changes."""
    one = network()
    for answer in ("probabilities", "votes"):
        pooled = one.averaging(1, answer)
        for noise in (EXPECTATION, Sampled(Stream(3).at("draw", 0)), Propagated()):
            ours, theirs = pooled.scores(X, noise), one.scores(X, noise)
            assert ours.mean.tobytes() == theirs.mean.tobytes()
            found = [c.loss_gradient(X, LABELS, noise, OBJECTIVES["cross-entropy"]) for c in (pooled, one)]
            assert all(a.tobytes() == b.tobytes() for a, b in zip(*found, strict=True))
        assert attacks.closed_form(pooled).objective is attacks.closed_form(one).objective


@NETWORK
def test_an_answer_is_that_of_keyed_draws(network: Make) -> None:
    one, stream = network(), Stream(7).from_sample(11)
    z = drawn(one, 3, stream)
    probabilities, counted = (one.averaging(3, a).scores(X, Sampled(stream)).mean for a in ("probabilities", "votes"))
    for n in range(len(X)):
        mean = reference.mean_probability(z[..., n])
        np.testing.assert_allclose(probabilities[:, n], np.log(mean), rtol=1e-9)
        np.testing.assert_allclose(counted[:, n], reference.votes(z[..., n]) + mean, rtol=1e-9)
    tail = one.averaging(3, "probabilities").scores(X[2:], Sampled(stream.from_sample(13))).mean
    np.testing.assert_allclose(tail, probabilities[:, 2:], rtol=1e-9)
    np.testing.assert_array_equal(one.averaging(3, "votes").predict(X), one.predict(X))


@NETWORK
@pytest.mark.parametrize("objective", ["cross-entropy", "margin", "dlr"])
def test_gradients_are_those_of_the_whole_answer(network: Make, objective: str) -> None:
    """By finite differences of the objective of the answer, for one and for several answers of a gradient."""
    pooled, f = network().averaging(3, "probabilities"), OBJECTIVES[objective]
    for noises in ([Sampled(Stream(9))], [Sampled(Stream(9).at(d)) for d in range(2)]):

        def value(a: Arrays, noises: Any = noises) -> float:
            return sum(float(f(pooled.scores(a["x"], noise), LABELS)[0].sum()) for noise in noises)

        found, gradient = pooled.loss_gradients(X, LABELS, noises, f)
        np.testing.assert_allclose(found.sum(), value({"x": X}), rtol=1e-9)
        check_gradient(value, {"x": X}, {"x": gradient}, entries=8, step=1e-5)


def test_the_loss_of_an_answer_is_that_of_the_labels_mean_probability() -> None:
    """And each draw's part in its gradient is its share in this probability."""
    network, stream = linear(), Stream(5)
    z = drawn(network, 4, stream)
    value, gradient = network.averaging(4, "probabilities").loss_gradient(
        X, LABELS, Sampled(stream), OBJECTIVES["cross-entropy"]
    )
    w = network.params["fc"]["w"]
    for n, k in enumerate(LABELS):
        assert value[n] == pytest.approx(reference.surprise(z[..., n], int(k)), rel=1e-9)
        wanted = reference.surprise_gradient(z[..., n], int(k)).sum(axis=0) @ w
        np.testing.assert_allclose(np.abs(gradient[n]).sum(), np.abs(wanted).sum(), rtol=1e-9)


def test_votes_judge_and_probabilities_are_attacked() -> None:
    network = linear(sigma=2.0)
    counted, mean = network.averaging(5, "votes"), network.averaging(5, "probabilities")
    noises = [Sampled(Stream(1).at(d)) for d in range(60)]
    answers = logits(counted, X, noises)
    assert set(np.floor(answers).ravel()) <= set(range(6)) and (np.floor(answers).sum(axis=1) == 5).all()
    assert (answers.argmax(axis=1) != logits(mean, X, noises).argmax(axis=1)).any(), "the two rules must differ"
    right = (answers.argmax(axis=1) == LABELS).mean(axis=0)
    np.testing.assert_array_equal(judge(counted, X, LABELS, 60, Stream(1)), right)
    f = OBJECTIVES["margin"]
    np.testing.assert_array_equal(values(counted, X, LABELS, noises, f), values(mean, X, LABELS, noises, f))
    found = [c.loss_gradients(X, LABELS, noises[:3], f) for c in (counted, mean)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*found, strict=True))
    ours, theirs = (attacks.sampled(c, 3).answers(X, Stream(0)) for c in (counted, mean))
    np.testing.assert_array_equal(ours, theirs)
    known = [attacks.known(c, Stream(0)) for c in (counted, mean)]
    assert [target.certain for target in known] == [False, True], "a look is not at the votes"


@POOLED
@NETWORK
def test_in_closed_form_the_draws_are_endlessly_many(network: Make, answer: str) -> None:
    one, pooled = network(), network().averaging(4, answer)
    for ours, theirs in zip(pooled.moments(X), one.moments(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for rule in ("exact", "laplace"):
        assert attacks.closed_form(pooled, propagation=rule).objective is OBJECTIVES["expected-probability"]
    assert attacks.closed_form(pooled, "win-probability").objective is OBJECTIVES["win-probability"]
    assert attacks.closed_form(pooled.with_sigma(0)).objective is not OBJECTIVES["expected-probability"]
    gradient = attacks.closed_form(pooled)(X, LABELS, Stream(0))[1]
    assert np.isfinite(gradient).all() and (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


def test_the_closed_form_is_the_limit_of_many_draws() -> None:
    """Noise on the features makes the logits Gaussian; 4,000 draws have an error of 2 % or so, the points of 1 %."""
    network = on_features(0.8)
    value, gradient = attacks.closed_form(network.averaging(2, "probabilities"))(X, LABELS, Stream(0))
    many = network.averaging(4_000, "probabilities")
    drawn_value, drawn_gradient = attacks.sampled(many, 1)(X, LABELS, Stream(2))
    single = attacks.closed_form(network)(X, LABELS, Stream(0))[0]
    np.testing.assert_allclose(value, drawn_value, atol=0.03)
    assert np.linalg.norm(gradient - drawn_gradient) < 0.05 * np.linalg.norm(drawn_gradient)
    assert np.abs(single - drawn_value).max() > 0.1, "it is not the expected cross-entropy"


def test_who_defends_says_what_answers() -> None:
    network = linear().averaging(6, "votes")
    for same in (network.with_sigma(0.4), network.with_sigma(0).with_sigma(0.1), network.astype(np.float32)):
        assert (same.average, same.answer) == (6, "votes")
    assert (network.averaging(2).average, network.averaging(2).answer) == (2, "votes")
    assert "votes averaged over 6 draws" in repr(network) and "answers averaged over 6" in repr(
        network.averaging(6, "logits")
    )
    for judging in (attacks.Judging(answer="probabilities"), attacks.Plan("fgsm", answer="probabilities").judging()):
        assert (judging.defended(network).average, judging.defended(network).answer) == (6, "probabilities")
    both = attacks.Checklist(average=3, answer="votes").judging.defended(linear())
    assert (both.average, both.answer) == (3, "votes")
    assert attacks.Judging(average=2).defended(network).answer == "votes"
    assert len({identity.of_network(network.averaging(6, a)) for a in ("logits", "probabilities", "votes")}) == 3


def test_attacks_by_an_answer_are_judged_by_it() -> None:
    network, labels = linear(sigma=1.0), predicted(linear(), X)
    plan = attacks.Plan(("fgsm", "adaptive-pgd"), average=40, answer="votes", draws=4, eot=2, eps=(0.05,), steps=2)
    found = list(attacks.evaluate(network, X, labels, plan))
    assert [r.gradient for r in found] == ["sampled", "closed-form"]
    single = attacks.accuracy(network, X, labels, 40).mean
    assert attacks.accuracy(network.averaging(40, "votes"), X, labels, 10).mean > single


def test_certificates_are_of_the_answers() -> None:
    """Each draw of a certificate is then a vote of several draws."""
    network = convolutional(1.5)
    single, counted = (
        next(votes(c, X[:1], {"draws": 128}, Stream(0))).counts[0] for c in (network, network.averaging(9, "votes"))
    )
    assert single.sum() == counted.sum() == 128 and counted.max() > single.max()


@pytest.mark.parametrize("answer", ["logit", "", None, 3])
def test_other_answers_are_refused(answer: Any) -> None:
    for make in (lambda: replace(linear(), answer=answer), lambda: attacks.Judging(answer=answer or "x")):
        with pytest.raises(ValueError, match="answer must be one of logits, probabilities, votes, got"):
            make()


def test_bounds_are_for_answers_of_logits() -> None:
    network = on_features().averaging(4, "votes")
    with pytest.raises(ValueError, match="the bounds are for answers of logits, got answers of votes"):
        bounds.gap(network, X, X, LABELS, draws=5)


@POOLED
def test_such_an_answer_has_no_gradient_by_the_parameters(answer: str) -> None:
    network = linear()
    m = Moments(network.to_engine(X))
    answered, backward = forward(network.model, network.params, m, Sampled(Stream(0)), 2, answer)
    with pytest.raises(ValueError, match="gradients by the image alone"):
        backward(answered, Want.PARAMS)
