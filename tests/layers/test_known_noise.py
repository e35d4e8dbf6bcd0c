"""Noise of which the treatment says whether there is any: no layer asks its parameters for it."""

from typing import Any

import numpy as np
import pytest
from cupy_double import Module, synchronisations
from small_networks import convolutional, images, on_features, several

from npsnn.classifier import Classifier
from npsnn.layers.base import Want
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated
from npsnn.layers.params import flatten
from npsnn.models import with_feature_noise
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES

X, LABELS = images(5), np.array([0, 1, 2, 1, 0])


def features(covariance: str) -> Classifier:
    model = with_feature_noise(convolutional().model, 0.8, covariance, 5)
    return Classifier(model, model.init(np.random.default_rng(2))).astype(np.float64)


NETWORKS = {
    "preactivation": convolutional(),
    "features": on_features(),
    "diagonal": features("diagonal"),
    "scalar": features("scalar"),
    "several": several(features=0.4),
}
CASES = [
    (name, rule, objective)
    for name in NETWORKS
    for rule in RULES
    for objective in ("noise-aware", "cross-entropy", "expected-cross-entropy")
]


def passed(network: Classifier, noise: Noise, objective: str) -> dict[str, Any]:
    """Moments of the logits, the values, and all gradients."""
    m, back = network.model.network.forward(network.params, Moments(network.to_engine(X)), noise)
    values, cotangent = OBJECTIVES[objective](m, LABELS)
    below, grads = back(cotangent, Want.BOTH)
    assert below is not None
    var = None if m.var is None else np.asarray(m.var)
    return {"mean": m.mean, "var": var, "values": values, "input": below.mean} | flatten(grads)


def quiet(network: Classifier) -> Classifier:
    """The network with all its noise at 0, and asked for it all the same."""
    return network.with_sigma(dict.fromkeys(network.sigmas, 0.0))


@pytest.mark.parametrize(("name", "rule", "objective"), CASES)
def test_sigma_0_that_is_carried_is_the_limit(name: str, rule: str, objective: str) -> None:
    network = quiet(NETWORKS[name])
    found = passed(network, Propagated(RULES[rule], on=True), objective)
    wanted = passed(network, Propagated(RULES[rule]), objective)
    assert found.pop("var") is not None and wanted.pop("var") is None
    assert not any(np.any(m) for m in [passed(network, Propagated(RULES[rule], on=True), objective)["var"]])
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-12, atol=1e-15, err_msg=key)


@pytest.mark.parametrize(("name", "rule", "objective"), CASES)
def test_what_is_known_is_not_asked(name: str, rule: str, objective: str) -> None:
    network = NETWORKS[name]
    for on, other in ((True, Propagated(RULES[rule])), (False, EXPECTATION)):
        found = passed(network, Propagated(RULES[rule], on=on), objective)
        for key, value in passed(network, other, objective).items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_a_gpu_is_asked_nothing(double: Module) -> None:
    for name, network in NETWORKS.items():
        there = network.to("cuda")
        x = double.asarray(X)
        with synchronisations() as waits:
            there.scores(x, Propagated(RULES["laplace"], on=True))
            there.scores(x, Propagated(RULES["laplace"], on=False))
        assert not waits, name
        with synchronisations() as waits:
            there.scores(x, Propagated(RULES["laplace"]))
        assert waits, "which shows that it could have been asked"


def test_what_the_noise_says_itself_comes_first() -> None:
    assert Propagated().known(True) == Propagated(on=True) == Propagated(on=True).known(False)
    assert Propagated(on=False).known(True) == Propagated(on=False) and Propagated().known(None) == Propagated()
    assert Propagated(on=True).at("second") == Propagated(on=True)
