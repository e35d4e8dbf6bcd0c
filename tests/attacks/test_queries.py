"""Several draws asked at once: the sums of single draws, for one pass through the layers before the first noise."""

from collections.abc import Callable

import numpy as np
import pytest
from small_networks import convolutional, images, on_features, predicted, several

from npsnn import attacks
from npsnn.attacks.queries import gradients, logits, values
from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise, Sampled
from npsnn.objectives import OBJECTIVES
from npsnn.ops import conv
from npsnn.streams import Stream

NETWORKS: dict[str, Callable[[], Classifier]] = {
    "first layer": convolutional,
    "features": lambda: on_features(0.3),
    "several": several,
    "several and features": lambda: several(features=0.4),
    "averaged": lambda: on_features(0.3).averaging(3),
}
DRAWS: list[Noise] = [Sampled(Stream(4).at(n)) for n in range(4)]


@pytest.mark.parametrize("objective", ["cross-entropy", "margin", "dlr"])
@pytest.mark.parametrize("name", NETWORKS)
def test_several_draws_are_the_sum_of_single_ones(name: str, objective: str) -> None:
    network, x = NETWORKS[name](), images(5)
    labels, of = predicted(network, x), OBJECTIVES[objective]
    value, gradient = gradients(network, x, labels, DRAWS, of)
    singles = [network.loss_gradient(x, labels, draw, of) for draw in DRAWS]
    np.testing.assert_array_equal(value, sum(v for v, _ in singles))
    summed = np.sum([g for _, g in singles], axis=0)
    np.testing.assert_allclose(gradient, summed, rtol=1e-9, atol=1e-12 * np.abs(summed).max())
    for draw, answer, worth in zip(
        DRAWS, logits(network, x, DRAWS), values(network, x, labels, DRAWS, of), strict=True
    ):
        m = network.scores(x, draw).mean
        np.testing.assert_array_equal(answer, m)
        np.testing.assert_array_equal(worth, network.loss_gradient(x, labels, draw, of)[0])


def test_noise_on_the_features_costs_one_pass_through_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, counted = on_features(0.3), images(5), list[int]()
    labels, backward = predicted(network, x), conv.conv2d_input_backward
    monkeypatch.setattr(conv, "conv2d_input_backward", lambda *a: counted.append(1) or backward(*a))
    attacks.sampled(network, 20)(x, labels, Stream(0))
    assert len(counted) == 1
