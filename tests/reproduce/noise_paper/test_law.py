"""The measurement of laws: Kolmogorov's distance of known laws, and layers whose law is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from small_networks import convolutional, linear

from npsnn.certify import certify
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.reproduce.noise_paper.beyond import ABSTAINED, DRAW, QUIET, RADII, SMOOTHED, certificate, right_at
from npsnn.reproduce.noise_paper.closed_form import EXPECTATION, KEPT, answers
from npsnn.reproduce.noise_paper.densities import LAWS, one_unit
from npsnn.reproduce.noise_paper.law import FITTED, POINTS, distance, law

DRAWS = 1000
LEVELS = (np.arange(DRAWS) + 0.5) / DRAWS
NORMAL = np.random.default_rng(0).permutation(ndtri(LEVELS))
"""Draws that are as near to the standard normal law as so many can be."""


def data(network: Classifier, images: int = 4) -> Dataset:
    rng = np.random.default_rng(1)
    shape, classes = network.model.shape, network.model.classes
    x = rng.integers(0, 256, (images, *shape), np.uint8)
    split = Split(x, rng.integers(0, classes, images))
    return Dataset("made up", split, split, classes, {})


def of(drawn: np.ndarray, mean: float, sd: float) -> float:
    return float(distance(drawn[None], np.array([mean]), np.array([sd]))[0])


def test_the_same_law_is_half_a_draw_away() -> None:
    assert of(NORMAL, 0, 1) == pytest.approx(0.5 / DRAWS)
    assert of(3 + 2 * NORMAL, 3, 2) == pytest.approx(0.5 / DRAWS)


@pytest.mark.parametrize("shift", [0.3, -0.3, 2.0])
def test_a_law_that_is_shifted(shift: float) -> None:
    assert of(NORMAL + shift, 0, 1) == pytest.approx(2 * ndtr(abs(shift) / 2) - 1, abs=1 / DRAWS)


def test_a_law_that_is_wider() -> None:
    x = np.linspace(-6, 6, 10001)
    assert of(2 * NORMAL, 0, 1) == pytest.approx(np.abs(ndtr(x) - ndtr(x / 2)).max(), abs=1 / DRAWS)


def test_an_atom_is_met_from_both_sides() -> None:
    """A rectified normal law has half of its mass at 0, below which a normal law has another half."""
    assert of(np.maximum(NORMAL, 0), 0, 1) == pytest.approx(0.5)
    assert of(np.maximum(NORMAL + 1, 0), 1, 1) == pytest.approx(ndtr(-1), abs=1 / DRAWS)


def test_a_point_against_draws() -> None:
    assert of(np.full(DRAWS, 2.0), 2.0, 0.0) == 0
    assert of(np.full(DRAWS, 2.0 + 1e-13), 2.0, 0.0) == 0
    assert of(np.full(DRAWS, 2.1), 2.0, 0.0) == 1
    assert of(np.where(LEVELS < 0.3, 1.0, 2.0), 2.0, 0.0) == pytest.approx(0.3)
    assert of(np.where(LEVELS < 0.3, 3.0, 2.0), 2.0, 0.0) == pytest.approx(0.3)


def test_units_do_not_mix() -> None:
    drawn = np.stack([NORMAL, NORMAL + 2])
    np.testing.assert_allclose(distance(drawn, np.array([0.0, 2.0]), np.ones(2)), 0.5 / DRAWS)


def test_a_layer_of_noise_alone_has_the_law_that_all_rules_carry() -> None:
    network = linear(0.4)
    values, took = law([network], data(network), images=4, draws=4000)
    assert values["layers"] == ["noise"] and values["images"] == 4 and values["draws"] == 4000
    noise = values["units"]["noise"]
    for rule in ("laplace", "exact", "linear"):
        assert noise[f"distance {rule}"] < 0.03, "Kolmogorov's 5 % bound for 4000 draws is 0.021"
        assert noise[f"off {rule}"] < 0.05 and noise[f"width {rule}"] == pytest.approx(1, abs=0.03)
        assert values["wins"][rule] < 0.02
        assert took[rule] > 0
        assert noise[f"inside {rule}"] == pytest.approx(0.9973, abs=0.002)
    assert noise["sd"] == pytest.approx(0.4, abs=0.01) and noise["spread"] < 1.1
    assert took["draws"] > 0


def test_the_unit_of_figure_3() -> None:
    panel = one_unit()
    at = {column: panel[LAWS["laplace"], column].mean for column in panel.columns}
    assert at["0"] == pytest.approx(0.5, abs=1e-3), "N(0, 1) has half of its mass below the atom at 0"
    assert at["-3"] == pytest.approx(0.5, abs=1e-3) and at["3"] == pytest.approx(ndtr(-3), abs=1e-3)
    assert panel[LAWS["exact"], "0"].mean < 0.3 and panel[LAWS["exact"], "0.5"].mean < at["0.5"]
    moments = [panel[LAWS["exact"], c].mean - panel[LAWS[FITTED], c].mean for c in panel.columns]
    np.testing.assert_allclose(moments, 0, atol=2e-3, err_msg="the true moments are those of the law")


def test_after_a_relu_the_true_moments_are_nearer_than_the_papers_rule() -> None:
    network = convolutional(1.0)
    values, _ = law([network], data(network), images=3, draws=2000)
    assert values["layers"] == ["noise", "relu", "fc"], "flattening moves nothing"
    relu, logits = values["units"]["relu"], values["units"]["fc"]
    assert relu["off exact"] < 0.06 < 0.2 < relu["off laplace"], "in standard deviations, of 2000 draws"
    assert relu["width exact"] == pytest.approx(1, abs=0.05) and relu["width laplace"] > 1.2
    assert logits["distance exact"] < 0.06 < logits["distance laplace"], "independent units: the exact rule is exact"
    assert logits[f"distance {FITTED}"] < 0.03
    assert logits["quiet"] > 0.2, "the network without noise is not the mean (audit N41)"
    assert values["wins"]["exact"] < 0.03 < values["wins"]["laplace"]


def test_the_curves_are_of_units_that_vary_most() -> None:
    network = convolutional(1.0)
    values, _ = law([network], data(network), images=2, draws=500, drawn_units=2)
    for layer in values["layers"]:
        curves = values["curves"][layer]
        assert len(curves) == 2
        for curve in curves:
            assert len(curve["quantiles"]) == POINTS and np.all(np.diff(curve["quantiles"]) >= 0)
            mean, sd = curve["laws"][FITTED]
            assert curve["quantiles"][0] <= mean <= curve["quantiles"][-1] and sd > 0
    most = law([network], data(network), images=2, draws=500, drawn_units=50)[0]["curves"]["relu"]
    sds = {curve["unit"]: curve["laws"][FITTED][1] for curve in most}
    assert {c["unit"] for c in values["curves"]["relu"]} == set(sorted(sds, key=lambda unit: -sds[unit])[:2])


def test_the_probabilities_are_of_correlated_logits() -> None:
    """Logits that share almost all of their noise are told apart by what they do not share (audit N21)."""
    network = convolutional(1.0)
    w = network.params["fc"]["w"]
    alike = network.params["fc"] | {"w": w[:1] + 0.1 * w, "b": np.zeros(3)}
    network = replace(network, params=network.params | {"fc": alike})
    values, _ = law([network], data(network), images=3, draws=4000)
    assert values["wins"]["exact"] < 0.02


def test_the_same_seed_gives_the_same_figures() -> None:
    network = convolutional(1.0)
    one, two, other = (law([network], data(network), images=2, draws=50, seed=seed)[0] for seed in (3, 3, 4))
    assert one == two != other


def test_answers_differ_only_where_the_noise_is_kept() -> None:
    network = linear(3.0)
    found, took = answers([network], data(network, 200), images=100)
    assert found[EXPECTATION] == 0 and found[KEPT] > 0.3
    assert took.keys() == found.keys() and min(took.values()) > 0
    quiet = replace(network, noise_off=True)
    assert answers([quiet], data(network, 200), images=100)[0] == {EXPECTATION: 0, KEPT: 0}


def test_the_parts_that_are_right_and_certified() -> None:
    """Under little noise all answers are those without it; under much of it certificates are those of `certify`."""
    network = convolutional(sigma=1e-6)
    dataset = data(network, 12)
    right = network.predict(dataset.test.images).argmax(axis=1)
    for labels, part in ((right, 1.0), ((right + 1) % network.model.classes, 0.0)):
        split = replace(dataset.test, labels=labels)
        found, _ = certificate([network], replace(dataset, test=split), 12, 200, 20)
        assert [found[name] for name in (QUIET, DRAW, SMOOTHED, ABSTAINED)] == [part, part, part, 0.0]
    noisy = network.with_sigma(1.0)
    found, took = certificate([noisy], dataset, 12, 200, 20)
    certified = certify(noisy, dataset.test.images, dataset.test.labels, n0=20, n=200)
    assert all(found[right_at(radius)] == certified.accuracy(radius).mean for radius in RADII)
    assert found[ABSTAINED] == certified.abstained.mean() and took["seconds"] > 0
