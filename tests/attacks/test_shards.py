"""Images judged, sampled and attacked in parts: each row meets the noise that it meets in the whole."""

import numpy as np
import pytest

from npsnn import attacks, models
from npsnn.attacks.judging import accuracy
from npsnn.attacks.targets import known
from npsnn.classifier import Classifier
from npsnn.streams import Stream

MODEL = models.lenet5(sigma=0.8)
X = np.random.default_rng(0).uniform(size=(9, 1, 28, 28)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier(MODEL, MODEL.init(np.random.default_rng(0)), threads=1)


@pytest.fixture(scope="module")
def labels(network: Classifier) -> np.ndarray:
    """What one draw says: right in some of the draws, not in all."""
    return np.asarray(network.sample(X, 7, 1)[0].argmax(axis=1))


def test_a_shard_of_the_images_has_the_noise_of_its_rows(network: Classifier, labels: np.ndarray) -> None:
    """In judging, in samples and under an attacker who knows the noise."""
    stream, rows = Stream(5), slice(3, 9)
    whole, shard = X, X[rows]
    later = stream.from_sample(3)
    expected = accuracy(network, whole, labels, 4, stream).each
    np.testing.assert_array_equal(accuracy(network, shard, labels[rows], 4, later).each, expected[rows])
    assert (accuracy(network, shard, labels[rows], 4, stream).each != expected[rows]).any()
    sampled_logits = network.sample(whole, stream, 2)[:, rows]
    np.testing.assert_allclose(network.sample(shard, later, 2), sampled_logits, atol=1e-4)
    knowing = known(network, stream).value(whole, labels, Stream(0))
    np.testing.assert_allclose(known(network, later).value(shard, labels[rows], Stream(0)), knowing[rows], rtol=1e-4)


def test_a_shard_of_the_images_is_attacked_like_its_rows(network: Classifier, labels: np.ndarray) -> None:
    pgd, target = attacks.pgd(0.1, steps=2), attacks.sampled(network, 2)
    whole = pgd(target, X, labels, Stream(3))
    shard = pgd(target, X[4:], labels[4:], Stream(3).from_sample(4))
    assert (shard == whole[4:]).mean() > 0.999
    assert (pgd(target, X[4:], labels[4:], Stream(3)) == whole[4:]).mean() < 0.9
