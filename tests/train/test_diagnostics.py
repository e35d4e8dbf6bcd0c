"""What is measured on the noise while a network is trained."""

from typing import Any

import numpy as np
import pytest
from small_networks import away_from_the_start, images, several

from npsnn import models
from npsnn.layers.base import Passing
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.noise import COVARIANCES
from npsnn.layers.params import flatten
from npsnn.reference import alignment
from npsnn.train import diagnostics
from npsnn.workers.threads import Threads


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_noise_on_features_lies_to_the_class_vectors(covariance: str) -> None:
    model, params = away_from_the_start(covariance)
    found = diagnostics.feature_noise(model, params)
    matrix, w = model.noise[1].factor({"L": params["noise.L"]}, 4), params["fc3.w"]  # type: ignore[attr-defined]
    S = w @ matrix @ matrix.T @ w.T
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)[np.triu_indices(5, 1)]
    assert found == {
        "trace": pytest.approx(np.trace(matrix @ matrix.T)),
        "common": pytest.approx(alignment.common_variance(S)),
        "differences": pytest.approx(alignment.difference_variance(S)),
        "cosine": pytest.approx(cosines.mean()),
    }
    assert diagnostics.feature_noise(models.lenet5(), {}) is None


def test_each_noise_layer_is_measured_at_its_own_input() -> None:
    network = several(0.3, features=0.8).with_sigma({"noise": 0.45})
    x = images(7)
    heard: dict[str, np.ndarray] = {}

    def spy(path: str) -> Any:
        def forward(params: Any, m: Moments, noise: Any) -> Any:
            heard[path] = m.mean
            return m, None

        return forward

    with pytest.MonkeyPatch.context() as patch:
        for path, layer in network.model.noise_layers.items():
            patch.setitem(layer.__dict__, "passed" if isinstance(layer, Passing) else "forward", spy(path))
        network.model.network.forward(network.params, Moments(network.to_engine(x)), EXPECTATION)
    found = diagnostics.inputs(network, x, network.sigmas)
    assert found.keys() == heard.keys() == network.sigmas.keys() and len(heard) > 2
    for path, mean in found.items():
        np.testing.assert_array_equal(mean, heard[path])
    pixels = np.round(255 * x).astype(np.uint8)
    with Threads(2) as workers:
        ratios = diagnostics.ratios(network, pixels, workers)
        without = diagnostics.ratios(network.with_sigma({"noise": 0.0}), pixels, workers)
        assert diagnostics.ratios(network.with_sigma(0.0), pixels, workers) == {}
    wanted = diagnostics.inputs(network, pixels, network.sigmas)
    assert ratios == {k: pytest.approx(np.abs(m).mean() / network.sigmas[k]) for k, m in wanted.items()}
    assert without == {k: r for k, r in ratios.items() if k != "noise"}


def test_each_noise_layer_has_a_slope() -> None:
    network = several(0.3, features=0.8)
    params = flatten(network.params)
    grads = {k: np.full_like(p, i) for i, (k, p) in enumerate(params.items())}
    found = diagnostics.slopes(network.model, params, grads)
    assert list(found) == list(network.sigmas)
    names = [f"{path}.sigma" for path in found if path != "features"]
    assert [found[name.removesuffix(".sigma")] for name in names] == [grads[name] for name in names]
