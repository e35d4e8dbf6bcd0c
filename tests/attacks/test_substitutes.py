"""A substitute learns what the attacked network answers, asks for no more than it says, and transfers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import SHAPE, convolutional, images, linear, normalised, predicted

from npsnn import attacks
from npsnn.attacks import substitutes
from npsnn.attacks.judging import Judging
from npsnn.attacks.sources import Expectation, Transfer
from npsnn.attacks.substitutes import Voted, answered, logit, small, substitute
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.params import flatten
from npsnn.streams import Stream

QUIET = linear(0.0, classes=3)
SEEDS = images(24, seed=5)
FEW: dict[str, Any] = {"rounds": 3, "epochs": 4, "lr": 3e-3, "votes": 3}


def bytes_of(network: Any) -> bytes:
    return b"".join(p.tobytes() for p in flatten(network.params).values())


def test_it_reads_most_images_as_the_attacked_network_does() -> None:
    found = substitute(QUIET, images(200, seed=5), rounds=2, epochs=60, lr=3e-3)
    x = images(300, seed=6)
    agree = (predicted(found, x) == predicted(QUIET, x)).mean()
    commonest = np.bincount(predicted(QUIET, x)).max() / 300
    assert agree > max(0.75, commonest + 0.1)
    assert found.model.name == "substitute" and not found.random


def test_its_images_transfer() -> None:
    """Better than the start of its training does, and as an attack in every other respect."""
    found = substitute(QUIET, SEEDS, rounds=4, epochs=15, lr=3e-3)
    x = images(60, seed=7)
    labels = predicted(QUIET, x)
    source = Transfer(found, source=Expectation(), name="substitute")
    made = [attacks.FGSM(0.03, source=source), attacks.FGSM(0.03)]
    (result, own) = attacks.robust_accuracy(QUIET, x, labels, made, Judging())
    rng = np.random.default_rng(0)
    random = np.clip(x + 0.03 * rng.choice([-1, 1], x.shape), 0, 1)
    assert result.attack == "substitute-fgsm" and result.surrogate is not None
    chance = attacks.accuracy(QUIET, random, labels).mean
    assert own.accuracy.mean <= result.accuracy.mean < chance - 0.2


def test_it_asks_for_classes_alone_and_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, voted = list[tuple[int, int]](), Voted.__call__

    def counted(self: Voted, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        assert not labels.any()
        asked.append((len(x), self.votes))
        return voted(self, x, labels, stream)

    monkeypatch.setattr(Voted, "__call__", counted)
    monkeypatch.setattr(type(QUIET), "loss_gradients", gradients := Gradients(type(QUIET).loss_gradients))
    network = convolutional(0.3)
    found = substitute(network, SEEDS, **FEW)
    assert sum(n for n, _ in asked) == 24 * 2 ** (3 - 1) and {votes for _, votes in asked} == {3}
    assert {model.name for model in gradients.models} == {found.model.name}, "the attacked network is asked for none"


class Gradients:
    """Notes whose gradients are taken."""

    def __init__(self, true: Any) -> None:
        self.true, self.models = true, list[Any]()

    def __get__(self, network: Any, kind: Any) -> Any:
        self.models.append(network.model)
        return lambda *arguments: self.true(network, *arguments)


def test_a_random_network_is_asked_for_the_commonest_class() -> None:
    network = linear(sigma=0.8)
    x = np.repeat(SEEDS[:1], 400, axis=0)
    draws = np.concatenate([answered(network, x, 1, Stream(0).at(n)) for n in range(3)])
    share = np.bincount(draws, minlength=3) / len(draws)
    assert 0.4 < share.max() < 0.9
    votes = answered(network, x, 31, Stream(1))
    assert (votes == share.argmax()).mean() > share.max() + 0.08
    one = Voted(network, 2)(x[:5], np.zeros(5, int), Stream(3))
    two = [Voted(network, 1)(x[:5], np.zeros(5, int), s) for s in (Stream(3), Stream(4))]
    assert one.shape == two[0].shape == (5,) and one.dtype == np.int64
    np.testing.assert_array_equal(answered(QUIET, SEEDS, 5, Stream(0)), predicted(QUIET, SEEDS))


def test_added_images_are_moved_along_the_sign_of_the_answered_classs_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[np.ndarray]()
    train = substitutes._State.train

    def noting(self: Any, x: np.ndarray, *rest: Any) -> None:
        seen.append(x)
        train(self, x, *rest)
        networks.append(self.network)

    networks = list[Any]()
    monkeypatch.setattr(substitutes._State, "train", noting)
    substitute(QUIET, SEEDS, **FEW)
    assert [len(x) for x in seen] == [24, 48, 96]
    labels = predicted(QUIET, SEEDS)
    _, g = networks[0].loss_gradient(SEEDS, labels, EXPECTATION, logit)
    np.testing.assert_array_equal(seen[1][24:], (SEEDS + 0.1 * np.sign(g)).clip(0, 1))
    up = networks[0].predict(SEEDS + 1e-3 * np.sign(g)) - networks[0].predict(SEEDS)
    assert (up[np.arange(24), labels] > 0).mean() > 0.9
    value, cotangent = logit(Moments(np.arange(6.0).reshape(3, 2)), np.array([2, 0]))
    np.testing.assert_array_equal(value, [4, 1])
    np.testing.assert_array_equal(cotangent.mean, [[0, 1], [0, 0], [1, 0]])


def test_the_same_bytes_for_a_seed_and_any_threads() -> None:
    network = replace(convolutional(0.3), model=replace(convolutional(0.3).model, micro_batch=5))
    found = [
        bytes_of(substitute(replace(network, threads=t), SEEDS, **FEW, rng=s)) for t, s in ((1, 0), (2, 0), (1, 1))
    ]
    assert found[0] == found[1] != found[2]
    eight = (255 * SEEDS).astype(np.uint8)
    assert bytes_of(substitute(QUIET, eight, **FEW)) == bytes_of(substitute(QUIET, eight / np.float32(255), **FEW))


@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 20), 4), ((1, 2, 2), 2), ((3, 5, 5), 100)])
def test_any_shape_and_number_of_classes(shape: tuple[int, int, int], classes: int) -> None:
    model = small(shape, classes)
    assert model.forms() and model.classes == classes


def test_what_does_not_fit_is_refused_by_name() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"rounds": 0}, "rounds must be >= 1, got 0"),
        ({"votes": 0}, "votes must be >= 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number >= 1, got 1.5"),
        ({"step": 0.0}, "step must be > 0 and at most 1, got 0.0"),
        ({"lr": -1.0}, "lr must be >= 0 and finite, got -1.0"),
        ({"images": SEEDS[:0]}, "images must hold at least one, got none"),
        ({"images": SEEDS[:, :1]}, r"shape \(N, 2, 3, 4\)"),
        ({"model": small(SHAPE, 4)}, r"model must have 3 classes and images \(2, 3, 4\), got 4 classes"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            substitute(QUIET, **{"images": SEEDS, **options})
    batch = normalised(8)
    network = replace(QUIET, model=replace(batch), params=batch.init(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="model must have no batch normalisation, got normalised"):
        substitute(network, np.zeros((2, 1, 28, 28)), model=batch)
