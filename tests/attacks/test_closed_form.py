"""The attack without sampling: on A2SNN's head its gradient is that of expectation over transformations."""

from math import sqrt

import numpy as np
import pytest
from small_networks import images, on_features

from npsnn.attacks.targets import NetworkTarget, closed_form, sampled
from npsnn.layers.moments import Moments
from npsnn.objectives import Objective, sobol_normal
from npsnn.ops import expected
from npsnn.streams import Stream

X, LABEL = images(1, seed=4), np.array([1])


def by_points(points: int) -> Objective:
    """The expected cross-entropy by more Sobol points than the engine's 64."""

    def objective(m: Moments, labels: np.ndarray) -> tuple[np.ndarray, Moments]:
        assert m.var is not None
        value, dmean, dvar = expected.expected_cross_entropy(m.mean, m.var, labels, sobol_normal(len(m.mean), points))
        return value, Moments(dmean, dvar)

    return objective


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.3, 1.5])
def test_its_gradient_is_the_mean_of_100000_draws(sigma: float) -> None:
    """Within 5 standard errors of the draws, to which 64 Sobol points add an error of their own.

    Measured against 16,384 points, which need no such allowance, it is 0.3 % and 0.9 % of the gradient's length; the
    standard error of the draws is 0.1 % and 0.3 %, and the gradient without noise is off by 3 % and 20 %.
    """
    network, draws = on_features(sigma), 100_000
    copies, labels = np.repeat(X, draws, axis=0), np.repeat(LABEL, draws)
    losses, gradients = sampled(network, 1, "cross-entropy")(copies, labels, Stream(1))
    mean, error = gradients.mean(axis=0), gradients.std(axis=0, ddof=1) / sqrt(draws)
    _, gradient = closed_form(network)(X, LABEL, Stream(0))
    value, exact = NetworkTarget(network, "closed-form", by_points(2**14))(X, LABEL, Stream(0))
    quadrature = np.abs(gradient[0] - exact[0])
    length = np.linalg.norm(exact[0])
    assert np.linalg.norm(quadrature) < 0.01 * length
    assert np.linalg.norm(error) < 0.005 * length
    assert (np.abs(exact[0] - mean) < 5 * error).all()
    assert (np.abs(gradient[0] - mean) < 5 * error + quadrature).all()
    assert abs(value[0] - losses.mean()) < 5 * losses.std(ddof=1) / sqrt(draws)
    quiet = closed_form(network, "cross-entropy")(X, LABEL, Stream(0))[1][0]
    assert (np.abs(quiet - mean) > 5 * error + quadrature).any(), "the noise must matter"
