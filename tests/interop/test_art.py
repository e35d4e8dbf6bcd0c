"""npsnn's networks in the Adversarial Robustness Toolbox."""

import warnings
from typing import Any

import numpy as np
import pytest
import small_networks
import torch_networks

from npsnn import attacks
from npsnn.interop.art import estimator
from npsnn.layers.moments import Moments
from npsnn.objectives import cross_entropy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the toolbox's own
    pytest.importorskip("art")
    from art.attacks.evasion import CarliniL2Method, HopSkipJump, ProjectedGradientDescent
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
def test_their_pgd_finds_what_ours_finds() -> None:
    pytest.importorskip("torch")  # which trains the network
    network = torch_networks.rebuilt(torch_networks.trained())
    x, labels = torch_networks.few_digits()[2:]
    steps: dict[str, Any] = {"eps": 0.06, "eps_step": 0.015, "max_iter": 10, "num_random_init": 1}
    pgd = ProjectedGradientDescent(estimator(network), batch_size=64, verbose=False, **steps)
    theirs = attacks.accuracy(network, np.clip(pgd.generate(x, labels), 0, 1), labels, 50)
    ours = attacks.PGD(0.06, steps=10, source=attacks.EoT(1))
    (result,) = attacks.robust_accuracy(network, x, labels, [ours], attacks.Judging(draws=50))
    assert result.accuracy.mean < attacks.accuracy(network, x, labels, 10).mean - 0.1
    assert abs(theirs.mean - result.accuracy.mean) < 0.02


def test_gradients_and_losses_are_the_networks() -> None:
    network, x = small_networks.convolutional(0.0), small_networks.images(5)
    labels, adapter = np.array([0, 1, 2, 1, 0]), estimator(network)
    assert adapter.input_shape == network.model.shape and adapter.nb_classes == 3
    assert np.allclose(adapter.predict(x), network.predict(x))
    softmax = estimator(network, probabilities=True)
    assert np.allclose(softmax.predict(x).sum(axis=1), 1)
    each = adapter.class_gradient(x)
    assert each.shape == (5, 3, *network.model.shape)
    assert np.array_equal(adapter.class_gradient(x, labels)[:, 0], each[range(5), labels])
    assert np.array_equal(adapter.class_gradient(x, 2)[:, 0], each[:, 2])
    expected = network.input_gradient(x, labels, "cross-entropy")
    several = np.eye(3)[labels] + np.eye(3)[2] > 0  # as the toolbox makes labels of logits that are equal
    for y in (labels, np.eye(3)[labels], labels[:, None], several):
        assert np.allclose(adapter.loss_gradient(x, y), expected, atol=1e-6)
    losses = cross_entropy(Moments(network.predict(x).T), labels)[0]
    assert np.allclose(adapter.compute_loss(x, labels), losses, atol=1e-6)
    assert np.isclose(adapter.compute_loss(x, labels, reduction="mean"), losses.mean(), atol=1e-6)
    softmaxed = np.exp(network.predict(x)) / np.exp(network.predict(x)).sum(axis=1, keepdims=True)
    chained = np.einsum("nk,nk...->n...", softmaxed - np.eye(3)[labels], each)
    assert np.allclose(chained, expected, atol=1e-6), "the gradients of the classes are those of the logits"


@pytest.mark.parametrize("probabilities", [False, True])
def test_the_gradients_of_classes_are_those_of_what_predict_returns(probabilities: bool) -> None:
    network, x = small_networks.convolutional(0.0), small_networks.images(5).clip(0.1, 0.9)
    adapter, step = (
        estimator(network, probabilities=probabilities),
        np.random.default_rng(0).normal(size=x.shape) * 1e-5,
    )
    difference = (adapter.predict(x + step) - adapter.predict(x - step)) / 2
    slopes = (adapter.class_gradient(x) * step[:, None]).sum(axis=(2, 3, 4))
    assert np.abs(slopes - difference).max() < 1e-4 * np.abs(difference).max()
    each = adapter.class_gradient(x, np.array([[0], [1], [2], [1], [0]]))
    assert np.array_equal(each[:, 0], adapter.class_gradient(x)[range(5), [0, 1, 2, 1, 0]])


def test_each_call_is_a_draw_that_the_seed_gives_again() -> None:
    network, x = small_networks.convolutional(), small_networks.images(4)
    one, two, labels = estimator(network, 3), estimator(network, 3), np.zeros(4, int)
    calls = [(e.predict(x), e.predict(x), e.loss_gradient(x, labels), e.class_gradient(x)) for e in (one, two)]
    assert all(np.array_equal(a, b) for a, b in zip(*calls, strict=True))
    assert not np.array_equal(calls[0][0], calls[0][1])
    alone = [estimator(network, 3).class_gradient(x, k)[:, 0] for k in range(3)]
    assert np.array_equal(estimator(network, 3).class_gradient(x), np.stack(alone, axis=1)), "classes have one draw"
    assert np.ptp([one.predict(x) for _ in range(30)], axis=0).min() > 0
    averaged = estimator(network.averaging(400))
    assert np.abs(averaged.predict(x) - network.sample(x, 9, 400).mean(axis=0)).max() < 0.2


def test_other_attacks_of_the_toolbox_run() -> None:
    network, x = small_networks.convolutional(0.0), small_networks.images(4).astype(np.float32)
    labels = small_networks.predicted(network, x)
    for attack in (
        CarliniL2Method(estimator(network), initial_const=10, learning_rate=0.1, verbose=False),
        HopSkipJump(estimator(network), max_iter=2, max_eval=100, init_eval=5, verbose=False),
    ):
        found = np.clip(attack.generate(x, labels), 0, 1)
        assert attacks.accuracy(network, found, labels, 1).mean < 0.5, type(attack).__name__


def test_what_an_estimator_cannot_do_is_refused_in_a_line() -> None:
    network, x = small_networks.convolutional(), small_networks.images(4)
    adapter = estimator(network)
    with pytest.raises(NotImplementedError, match="trained and saved by npsnn"):
        adapter.fit(x, np.zeros(4, int))
    with pytest.raises(NotImplementedError, match="no activations"):
        adapter.get_activations(x, "conv")
    with pytest.raises(ValueError, match=r"images must have the shape"):
        adapter.predict(x[:, :1])
    with pytest.raises(ValueError, match="labels must be in 0"):
        adapter.loss_gradient(x, np.full(4, 3))
    said = {
        r" of the shape \(4, 3\), got \(4, 7\)": np.eye(7)[:4],
        ", got rows of other numbers": np.full((4, 3), 1 / 3),
    }
    for got, y in said.items():
        with pytest.raises(ValueError, match=f"y must be classes or one-hot rows{got}"):
            adapter.loss_gradient(x, y)
    with pytest.raises(ValueError, match="reduction must be one of none, mean, sum, got 'max'"):
        adapter.compute_loss(x, np.zeros(4, int), reduction="max")
    with pytest.raises(TypeError, match=r"network must be an npsnn\.Classifier, got Model"):
        estimator(network.model)
