"""Images judged, sampled and attacked in parts: each row meets the noise that it meets in the whole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from npsnn import attacks, models
from npsnn.attacks.judging import Judging, accuracy
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


def test_the_results_of_shards_are_those_of_their_rows(network: Classifier, labels: np.ndarray) -> None:
    """Robust accuracy of attacks that draw and that know a draw; the worst case's judge."""
    small = replace(network, model=replace(MODEL, micro_batch=3))
    some = [attacks.PGD(0.1, steps=2, source=attacks.EoT(2)), attacks.Square(0.1, queries=4)]
    knowing = [attacks.FGSM(0.01, source=attacks.Known(Stream(23)))]

    def each(rows: slice, tried: list[Any], first: int) -> dict[str, np.ndarray]:
        judging = Judging(draws=3, selection=4, first=first)
        results = list(attacks.robust_accuracy(small, X[rows], labels[rows], tried, judging))
        worst = attacks.worst_case(small, labels[rows], results[:1], judging)
        found = {"known": worst.alone.each} if tried is knowing else {}  # a choice among equals depends on all images
        return found | {f"{r.attack} {name}": a for r in results for name, a in (r.images | {"x": r.x_adv}).items()}

    for tried in (some, knowing):
        whole = each(slice(0, 9), tried, 0)
        shards = [each(slice(0, 3), tried, 0), each(slice(3, 9), tried, 3)]
        assert whole.keys() == shards[0].keys()
        for name, expected in whole.items():
            np.testing.assert_array_equal(np.concatenate([shard[name] for shard in shards]), expected, name)
        wrong = each(slice(3, 9), tried, 0)
        assert any((wrong[name] != expected[3:]).any() for name, expected in whole.items())


def test_a_judging_begins_at_the_index_of_an_image() -> None:
    assert Judging(seed=2, first=7).stream == Stream(2, first=7)
    for first, error in ((-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="first must be"):
            Judging(first=first)  # type: ignore[arg-type]
