"""The cards about the noise paper's network as a whole notice what breaks them, and so do the networks they use."""

from dataclasses import replace
from typing import Any

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.audit import networks
from npsnn.layers.params import flatten
from npsnn.ops import gaussian
from npsnn.reference import differences, montecarlo


def _without_biases(f: Any) -> Any:
    def broken(*arguments: Any) -> Any:
        total = f(*arguments)
        total.grads = {name: g * (not name.endswith(".b")) for name, g in total.grads.items()}
        return total

    return broken


def _fixed_cut(mean: Any, var: Any) -> Any:
    """Eq. 6 with one threshold for all units, -3 times 0.4."""
    m, _, saved = gaussian.rectified_laplace(mean, var)
    return m, var * (mean >= -1.2), saved


MUTANTS: list[Mutant] = [
    # the biases left out, and the sum in place of the mean
    ("N1", "npsnn.train.losses.base.one_view", _without_biases),
    ("N1", "npsnn.reference.differences.slope", lambda f: lambda *a, **b: 6 * f(*a, **b)),
    # independent units: no covariance is dropped, and the diagonal is right
    ("N15", "npsnn.reference.plain.linear_covariance", lambda f: lambda v, W: f(v, W) * np.eye(len(W))),
    ("N15", "npsnn.reference.montecarlo.affine", lambda f: lambda z, W, b: _shuffled(f, z, W, b)),
    ("N15", "npsnn.ops.linear.linear", lambda f: lambda x, w: f(x, w) if w.min() < 0 else 16 * f(x, w)),
    # one layer's variances a little too large
    ("N15", "npsnn.ops.linear.linear", lambda f: lambda x, w: f(x, w) if w.min() < 0 else 1.1 * f(x, w)),
    # another LeNet-5
    ("N39", "npsnn.models.lenet5", lambda f: lambda: f(classes=11)),
    # the expectation taken for the network without noise, and the reverse
    ("N41", "npsnn.reference.plain.rectify", lambda f: lambda mu, v, rule: f(mu, v, "laplace")),
    ("N41", "npsnn.reference.montecarlo.network", lambda f: lambda x, w, s, d, rng: f(x, w, s / 10, d, rng)),
    ("N41", "npsnn.classifier.EXPECTATION", lambda f: networks.Propagated()),
    # a norm that does nothing, or of the whole layer; an affine layer that does not square
    ("N42", "npsnn.optim.unit_norm", lambda f: lambda w, norm: w),
    ("N42", "npsnn.optim.unit_norm", lambda f: lambda w, norm: w / np.linalg.norm(w)),
    ("N42", "npsnn.ops.conv.conv2d", lambda f: lambda cols, w, batch: f(cols, w if w.min() < 0 else w**0.5, batch)),
    # a threshold that does not scale with the unit's own deviation, growth of the first layer alone, and no growth
    ("N42", "npsnn.classifier.RULES", lambda rules: rules | {"laplace": replace(rules["laplace"], rectify=_fixed_cut)}),
    (
        "N42",
        "npsnn.audit.cards.whole_network._grown",
        lambda f: lambda flat, t: flat | {"conv1.w": flat["conv1.w"] * t},
    ),
    ("N42", "npsnn.audit.cards.whole_network._grown", lambda f: lambda flat, t: flat),
]


def _shuffled(f: Any, z: Any, W: Any, b: Any) -> Any:
    """The layer's draws, each unit in an order of its own, which takes away the correlations of its outputs."""
    y = f(z, W, b)
    return np.stack([np.roll(column, 7 * i) for i, column in enumerate(y.T)], axis=1)


test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


def test_the_networks_carry_the_sigma_they_were_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert networks.convolutional(rng, 0.3).sigma == 0.3
    assert networks.perceptron(rng, sigma=0.3).sigma == 0.3


def test_a_network_that_is_alive_carries_noise_to_its_outputs() -> None:
    network, images = networks.alive(np.random.default_rng(32))
    assert images.shape == (4, 1, 12, 12)
    assert all((network.moments(images, rule)[1] > 0).all() for rule in gaussian.RULES)


def test_training_learns_the_clusters_and_keeps_sigma() -> None:
    network, images, labels = networks.trained(np.random.default_rng(0), (12, 16, 4))
    assert (network.predict(images).argmax(axis=1) == labels).mean() >= 0.75
    assert network.sigma == 0.4


def test_the_matrices_of_a_perceptron_draw_its_layers() -> None:
    network = networks.perceptron(np.random.default_rng(1), (5, 4, 3))
    x = np.random.default_rng(2).uniform(0, 1, (1, 1, 5))
    draws = montecarlo.network(x.ravel(), networks.matrices(network), 0.0, 1, np.random.default_rng(0))
    np.testing.assert_allclose(draws[-1][0], network.predict(x[None])[0], rtol=1e-12)


def test_slopes_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(3)
    network, images = networks.alive(rng)
    x, flat = images[0], flatten(network.params)
    found = networks.slopes(network, x, 1, "exact", "noise-aware")
    assert found.value == networks.loss(network, flat, x, 1, "exact", "noise-aware")
    wanted = differences.gradient(lambda z: networks.loss(network, flat, z, 1, "exact", "noise-aware"), x, 1e-4)
    np.testing.assert_allclose(found.dx, wanted, atol=1e-8)
    dropped = networks.slopes(network, x, 1, "exact", "noise-aware", variance_channel=False)
    assert dropped.value == found.value
    assert not np.allclose(dropped.params["fc2.w"], found.params["fc2.w"], rtol=1e-6, atol=0)
