"""How far the closed form can be trusted: probabilities, one sentence, and networks with noisy weights."""

from dataclasses import replace

import numpy as np
import pytest
from compared_networks import RNG, fit_of, images, made

from npsnn.audit.layerwise import layerwise
from npsnn.audit.trust import Logits, probability_right
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.mixing import Mixing
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.layers.reshape import Flatten

LOGITS = Logits("exact", 0.01, 1.0, 0.0, 0.5, 0.02, 0.005, False)


@pytest.mark.parametrize("joint", [True, False])
def test_the_probability_of_a_correct_answer_is_that_of_draws(joint: bool) -> None:
    rng = RNG(0)
    L = rng.standard_normal((4, 4)) if joint else np.diag(rng.uniform(0.5, 2, 4))
    mean, V = rng.standard_normal(4), L @ L.T
    drawn = (mean + rng.standard_normal((100_000, 4)) @ L.T).argmax(axis=1)
    for k in range(4):
        p = probability_right(mean, V if joint else np.diag(V), k)
        assert abs(p - np.mean(drawn == k)) < 5 * 0.5 / np.sqrt(1e5) + 2e-3


def test_sure_logits_are_right_or_wrong() -> None:
    mean = np.array([0.0, 2.0, 1.0])
    assert [probability_right(mean, np.zeros(3), k) for k in range(3)] == [0, 1, 0]
    assert [probability_right(mean, np.ones((3, 3)), k) for k in range(3)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (replace(LOGITS, gaussian=True), "exact: noise in the last layer alone"),
        (LOGITS, "cannot be told from the draws"),
        (replace(LOGITS, mean_error=0.2), "near the draws"),
        (replace(LOGITS, sd_ratio=0.8), "near the draws"),
        (replace(LOGITS, mean_error=0.2, right_error=0.05), "Trust the mean"),
        (replace(LOGITS, sd_ratio=0.49), "Trust the mean of the closed form .rule exact. as a guide for attacks"),
        (replace(LOGITS, mean_error=0.73, quiet_error=0.21), "Do not trust the closed form"),
    ],
)
def test_one_sentence_says_how_far(found: Logits, says: str) -> None:
    sentence = found.sentence
    assert says.replace(".rule exact.", "(rule exact)") in sentence
    assert sentence.endswith(".") and sentence.count(". ") == 0


@pytest.mark.parametrize("joint", [True, False])
def test_a_bayesian_last_layer_comes_out_exact(joint: bool) -> None:
    last = NoisyLinear(4, joint=joint, spread="free", start=0.3)
    network = made((1, 1, 12), Flatten(), Linear(8), ReLU(), last)
    fit = layerwise(network, *images(network, 2), draws=800)
    assert fit.trust.startswith("The closed form is exact")
    assert fit.refusal == ""
    for f in fit.layers:
        assert f.mean_error < 2 * fit.mean_floor and abs(f.sd_ratio - 1) < 0.08, f
    for rule in fit.right_errors:
        found = fit.right_errors[rule]
        assert found is not None and found < 4 * fit.right_floor + 1e-3


def test_noisy_weights_are_drawn_anew_for_each_draw_and_carried_by_every_rule() -> None:
    network = made(
        (1, 1, 10), Flatten(), NoisyLinear(8), Dropout(0.3), ReLU(), NoisyLinear(6), NoisyLinear(4, joint=True)
    )
    fit = layerwise(network, *images(network, 2), draws=800)
    assert fit.refusal == ""
    for rule in ("exact", "covariance"):
        assert fit_of(fit, "noisylinear1", rule)[0] < 2 * fit.mean_floor
        assert abs(fit_of(fit, "noisylinear1", rule)[1] - 1) < 0.05
    mean_error, sd_ratio = fit_of(fit, "noisylinear5", "covariance")
    assert mean_error < 0.12 and abs(sd_ratio - 1) < 0.08
    assert not fit.trust.startswith("The closed form is exact")


def test_a_noisy_convolution_has_every_rule_but_no_full_covariance() -> None:
    network = made((1, 6, 6), NoisyConv2d(3, 3), ReLU(), Flatten(), Linear(4, joint=True))
    fit = layerwise(network, *images(network, 1), draws=400)
    assert fit.refusal == "noisyconv2d0 is a NoisyConv2d, through which no full covariance is computed"
    assert abs(fit_of(fit, "noisyconv2d0", "exact")[1] - 1) < 0.1
    assert fit.right_errors["covariance"] is None and fit.right_errors["exact"] is not None


def test_noise_of_units_and_of_channels_and_a_shared_draw_are_compared() -> None:
    unit, channel = PreactivationNoise(0.3, "unit"), PreactivationNoise(0.4, "channel", shared=True)
    network = made((1, 5, 5), Conv2d(2, 2), unit, ReLU(), Conv2d(3, 2), channel, Flatten(), Linear(4, joint=True))
    sizes = {"preactivationnoise1": {"sigma": RNG(3).uniform(0.1, 0.5, (2, 4, 4))}}
    network = replace(network, params=network.params | sizes)
    fit = layerwise(network, *images(network, 1), draws=800)
    for f in fit.layers:
        if f.rule == "covariance":
            assert f.mean_error < 2.5 * fit.mean_floor and abs(f.sd_ratio - 1) < 0.08, f
    assert fit.quiet_error > 0


def test_mixtures_of_images_have_no_rule() -> None:
    body = Sequential((("flatten", Flatten()), ("fc", Linear(4))))
    network = made((1, 2, 3), Mixing(body, 4, 2))
    with pytest.raises(ValueError, match="mixing0 draws noise that no rule carries"):
        layerwise(network, *images(network, 1), draws=2)
