"""npsnn's networks in foolbox."""

import warnings

import numpy as np
import pytest
import small_networks
import torch_networks

from npsnn import attacks
from npsnn.interop.foolbox import model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # foolbox's own
    torch, foolbox = pytest.importorskip("torch"), pytest.importorskip("foolbox")


@pytest.mark.slow
def test_their_pgd_finds_what_ours_finds() -> None:
    network = torch_networks.rebuilt(torch_networks.trained())
    x, labels = torch_networks.few_digits()[2:]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        pgd = foolbox.attacks.LinfPGD(steps=10, abs_stepsize=0.015)
        _, found, _ = pgd(model(network), torch.tensor(x), torch.tensor(labels), epsilons=0.06)
    theirs = attacks.accuracy(network, found.numpy(), labels, 50)
    ours = attacks.PGD(0.06, steps=10, source=attacks.EoT(1))
    (result,) = attacks.robust_accuracy(network, x, labels, [ours], attacks.Judging(draws=50))
    assert result.accuracy.mean < attacks.accuracy(network, x, labels, 10).mean - 0.1
    assert abs(theirs.mean - result.accuracy.mean) < 0.02


def test_a_model_of_foolbox_answers_as_the_network() -> None:
    network, x = small_networks.convolutional(0.0), small_networks.images(5)
    theirs = model(network)
    assert isinstance(theirs, foolbox.Model) and tuple(theirs.bounds) == (0, 1)
    assert np.allclose(theirs(torch.tensor(x)), network.predict(x))
    labels = torch.tensor(small_networks.predicted(network, x))
    images = torch.tensor(x.astype(np.float32))
    _, _, success = foolbox.attacks.LinfDeepFoolAttack(steps=20)(theirs, images, labels, epsilons=0.5)
    assert success.all()


def test_each_call_is_a_draw_that_the_seed_gives_again() -> None:
    network, x = small_networks.convolutional(), torch.tensor(small_networks.images(3))
    one, two = model(network, 1), model(network, 1)
    first = one(x)
    assert (
        torch.equal(first, two(x)) and not torch.equal(first, one(x)) and not torch.equal(first, model(network, 2)(x))
    )


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"network must be an npsnn\.Classifier, got function"):
        model(lambda x: x)
