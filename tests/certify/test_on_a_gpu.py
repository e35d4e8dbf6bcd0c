"""Certificates on a GPU, which is the double: the same votes as on a CPU, and only votes come back."""

from types import ModuleType

import numpy as np
import pytest
from small_networks import convolutional, images, on_features, predicted, several

from npsnn import certify
from npsnn.certify import Plan

PLAN = Plan(samples=300, selection=20)


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize(
    ("name", "sigma"), [("convolutional", None), ("several", None), ("averaged", None), ("features", 0.2)]
)
def test_a_gpu_counts_what_a_cpu_counts(double: ModuleType, name: str, sigma: float | None) -> None:
    made = {"convolutional": convolutional, "several": several, "features": on_features}
    network = convolutional().averaging(2) if name == "averaged" else made[name]()
    x = images(3)
    labels = predicted(network, x)
    plan = Plan(samples=300, selection=20, sigma=sigma)
    rows = list(certify.certificates(network, x, labels, plan))
    there = list(certify.certificates(network.to("cuda"), x, labels, plan))
    assert [row.predicted for row in there] == [row.predicted for row in rows]
    # sums have another order there, and a tie may fall the other way
    np.testing.assert_allclose([row.lower for row in there], [row.lower for row in rows], atol=0.004)
    np.testing.assert_allclose([row.radius for row in there], [row.radius for row in rows], atol=0.01)


def test_logits_that_are_not_finite_are_an_error_there_too(double: ModuleType) -> None:
    network = convolutional()
    network.params["fc"]["b"][1] = np.inf
    for one in (network, network.to("cuda")):
        with pytest.raises(ValueError, match="not finite under a noise"):
            certify.certify(one, images(2), np.zeros(2, int), n=100)
