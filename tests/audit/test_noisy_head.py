"""The cards that take the engine's noisy classifier as a whole hold, and need all of it to be right."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from npsnn import audit, bounds
from npsnn.audit import noisy_head
from npsnn.classifier import Classifier
from npsnn.layers import noise
from npsnn.layers.affine import Linear
from npsnn.ops import linear


def holds(card: str) -> bool:
    return audit.examine(audit.CARDS[card]).supported


@pytest.mark.slow
@pytest.mark.parametrize("card", ["E3", "E4", "A32", "B3", "B6"])
def test_the_card_holds(card: str) -> None:
    assert holds(card)


def test_a_gradient_right_for_symmetric_cotangents_alone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(self: noise.FeatureNoise, L: Any, m: Any) -> Any:
        y, backward = propagated(self, L, m)

        def skewed(g: Any, want: Any) -> Any:
            lower = None if g.var is None else np.tril(g.var[..., 0])[..., None] * 2
            return backward(replace(g, var=lower), want)

        return y, skewed

    propagated = noise.FeatureNoise._propagated
    monkeypatch.setattr(noise.FeatureNoise, "_propagated", gradient)
    assert not holds("E3")


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1 / 3, -1.0])
def test_a_common_covariance_whose_cotangent_is_no_sum_is_noticed(
    factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = linear.full_covariance_backward
    monkeypatch.setattr(linear, "full_covariance_backward", lambda ds, v, w: right(factor * ds, v, w))
    assert not holds("E3")


def test_bounds_that_forget_the_average_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = bounds._head

    def forgetful(classifier: Classifier, layer: Any) -> Any:
        return right(replace(classifier, average=1), layer)

    monkeypatch.setattr(bounds, "_head", forgetful)
    assert not holds("E4")


def test_the_head_of_the_checks_is_the_engines() -> None:
    whole = noisy_head.drawn_head(np.random.default_rng(0), 3, 4, 5)
    network = whole.network()
    np.testing.assert_allclose(network.predict(whole.images), whole.F @ whole.W.T + whole.b, rtol=1e-12)
    assert isinstance(network.model.network.layers[-1][1], Linear)
    assert {whole.network(kind).params["noise"]["L"].ndim for kind in noise.COVARIANCES} == {0, 1, 2}
