"""Certificates: the exact radius of linear networks is reached and never passed, and errors are as rare as said."""

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from small_networks import convolutional, images, predicted, several
from smoothed_networks import Known, on_images, on_units, without_noise

from npsnn import Stream, certify
from npsnn.certify import ABSTAIN, Certificate, Certificates, Plan, votes
from npsnn.classifier import Classifier

DISTANCES = np.array([0.05, 0.1, 0.2, 0.3, -0.1, -0.25])


def found(known: Known, distances: np.ndarray = DISTANCES, **options: Any) -> Certificates:
    labels = (distances > 0).astype(int)
    return certify.certify(known.network, known.at(distances), labels, **options)


@pytest.mark.parametrize("known", [on_images(), on_images(later=0.3), on_units(0.8)], ids=["images", "later", "units"])
def test_no_radius_passes_the_boundary(known: Known) -> None:
    got = found(known, n=4_000)
    assert (got.radius <= np.abs(DISTANCES)).all()
    assert got.correct[~got.abstained].all() and got.correct.sum() >= 4
    assert (got.radius[got.correct] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("known", "unit"), [(on_images(0.25), 0.25), (on_units(2.0, aligned=True), None)], ids=["images", "units"]
)
def test_the_radius_is_the_distance_in_the_limit_of_many_draws(known: Known, unit: float | None) -> None:
    smoothed = certify.smoothing(known.network)
    assert unit is None or smoothed.unit == unit
    distances = np.array([0.3, 0.8, 1.5, -1.0]) * smoothed.unit
    got = found(known, distances, n=40_000)
    assert (got.radius <= np.abs(distances)).all()
    np.testing.assert_allclose(got.radius, np.abs(distances), atol=0.05 * smoothed.unit)
    np.testing.assert_allclose(got.radius, smoothed.unit * ndtri([row.lower for row in got.rows]))


def test_so_much_of_single_draws_is_left_at_least_by_any_attack() -> None:
    """The worst image at a radius r is r nearer to the boundary: a linear network leaves exactly this bound."""
    known, distances = on_images(0.25), np.array([0.1, 0.3, 0.5, -0.2])
    labels = np.array([1, 1, 1, 1])
    got = certify.certify(known.network, known.at(distances), labels, n=20_000)
    for radius in (0.0, 0.1, 0.4, 2.0):
        bound, exact = got.in_draws(radius).each, ndtr((distances - radius) / 0.25)
        assert (bound <= exact).all() and bound[3] == 0
        np.testing.assert_allclose(bound[:3], exact[:3], atol=0.025)
    assert got.in_draws().mean >= got.accuracy().mean / 2


def test_averaged_answers_have_the_same_radius_in_the_limit() -> None:
    """The mean of 4 draws is right more often, and its radius is half as large: of a linear network both cancel."""
    known, distances = on_images(0.25), np.array([0.1, 0.2])
    averaged = Known(known.network.averaging(4), known.normal)
    got = found(averaged, distances, n=10_000)
    assert (got.radius <= distances).all()
    np.testing.assert_allclose(got.radius, distances, atol=0.015)
    assert got.rows[0].lower > 0.75 > ndtr(0.1 / 0.25)


def test_noise_on_the_images_of_any_network() -> None:
    own, added = found(on_images(0.25), n=2_000), found(without_noise(), n=2_000, sigma=0.25)
    np.testing.assert_allclose(own.radius, added.radius, atol=0.04)
    assert (added.radius <= np.abs(DISTANCES)).all()


@pytest.mark.slow
def test_a_certificate_is_wrong_as_rarely_as_alpha_says() -> None:
    """At 0.8 standard deviations; and on the boundary, where classes chosen by their own votes would err twice."""
    known, alpha, times = on_images(0.25), 0.05, 4_000
    far = found(known, np.full(times, 0.2), n0=10, n=60, alpha=alpha)
    missed = (far.radius > 0.2) | (~far.abstained & ~far.correct)
    assert missed.mean() <= alpha + 4 * np.sqrt(alpha / times)
    assert missed.mean() > alpha / 4
    near = found(known, np.zeros(times), n0=10, n=60, alpha=alpha)
    assert alpha / 4 < (~near.abstained).mean() <= alpha + 4 * np.sqrt(alpha / times)


def test_predictions_abstain_near_the_boundary_and_are_right_elsewhere() -> None:
    known, alpha = on_images(0.25), 0.01
    answers = certify.predict(known.network, known.at(np.array([0.0, 0.4, -0.4])), n=500, alpha=alpha)
    assert answers.tolist() == [ABSTAIN, 1, 0]
    some = certify.predict(known.network, known.at(np.full(1_000, 0.01)), n=40, alpha=0.1)
    assert (some == 0).mean() <= 0.1 and (some == ABSTAIN).any()
    assert certify.predict(known.network, known.at(np.zeros(0))).shape == (0,)


def same(a: Certificate, b: Certificate) -> bool:
    return (a.index, a.label, a.predicted, a.radius, a.answer) == (b.index, b.label, b.predicted, b.radius, b.answer)


@pytest.mark.parametrize("network", [convolutional(), several(), convolutional().averaging(2)])
def test_draws_belong_to_the_image_and_to_nothing_else(network: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(7)
    labels = predicted(network, x)
    plan = Plan(samples=300, selection=20)
    whole = list(certify.certificates(network, x, labels, plan, rng=5))
    assert [row.index for row in whole] == list(range(7))
    rest = certify.certificates(network, x[3:], labels[3:], plan, Stream(5).further(3))
    assert all(same(a, b) for a, b in zip(whole[3:], rest, strict=True))
    monkeypatch.setattr(votes, "JOB", 1)
    monkeypatch.setattr(votes, "TOGETHER", 0.0)
    again = certify.certificates(network, x, labels, plan, rng=5)
    assert all(same(a, b) for a, b in zip(whole, again, strict=True))
    other = list(certify.certificates(network, x, labels, plan, rng=6))
    assert not all(same(a, b) for a, b in zip(whole, other, strict=True))


@pytest.mark.slow
def test_workers_change_nothing() -> None:
    from dataclasses import replace

    network, x = convolutional(), images(5)
    labels, plan = predicted(network, x), Plan(samples=3_000)
    one, two = (list(certify.certificates(replace(network, threads=n), x, labels, plan)) for n in (1, 2))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_selection_and_estimation_have_draws_of_their_own() -> None:
    network, x = convolutional(2.0), images(3)
    draws = {votes.SELECTION: 500, votes.ESTIMATION: 500}
    counted = [row.counts for row in votes.votes(network, x, draws, Stream(0))]
    assert all(sum(count) == 500 for counts in counted for count in counts)
    assert len({tuple(count) for counts in counted for count in counts}) == 6
