"""Training meets draws of its own in every epoch, batch, micro-batch and image, and noise alone moves nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import normalised
from trainers import trainer_of

from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, as_float, digits
from npsnn.layers.params import flatten
from npsnn.models import MODELS, build
from npsnn.streams import Stream
from npsnn.train import fit
from npsnn.train.config import Config
from npsnn.train.epochs import Step, Trainer
from npsnn.train.flat import loss_of
from npsnn.train.losses.adversarial import Adversarial, attacked
from npsnn.workers.processes import Processes

FEATURES: dict[str, Any] = {"noise": "features", "bottleneck": 8, "sigma": 0.5}
RANDOM: dict[str, dict[str, Any]] = {
    "noise": {"propagation": "sampled", "loss": "cross-entropy"},
    "feature noise": FEATURES | {"propagation": "sampled", "loss": "cross-entropy"},
    "augmentation": {"propagation": "linear", "augmentation": "crop-flip"},
    "adversary": {"propagation": "linear", "adversarial": "fgsm", "adversarial_mix": 1.0},
}
"""Options of trainings in which one thing alone is drawn."""
random = pytest.mark.parametrize("options", RANDOM.values(), ids=list(RANDOM))


def alike(count: int) -> Split:
    """One image many times: what differs between two of them is what was drawn."""
    image = digits.draw(np.array([3]), np.random.default_rng(0))
    return Split(np.repeat(image, count, axis=0), np.full(count, 3))


@contextmanager
def training(options: dict[str, Any], train: Split) -> Iterator[Trainer]:
    config = Config(**options)
    model = build("lenet5", (1, 28, 28), 10, config.sigma, config.noise, config.covariance, config.bottleneck)
    with Processes(1) as workers:
        yield trainer_of(config, model, train, train, workers)


@random
def test_every_step_of_every_epoch_has_draws_of_its_own(options: dict[str, Any]) -> None:
    data = Dataset("one digit", alike(140), alike(10), 10, {"train": "140"})  # 12 of the 140 are for validation
    still = Config(**options | {"epochs": 3, "batch_size": 64, "lr": 1e-30})
    losses = [record.loss for record in fit(still, data, threads=1) if isinstance(record, Step)]
    assert len(losses) == 6
    assert len(set(losses)) == 6, "the network and the images are the same in every step"


@random
def test_micro_batches_and_images_have_draws_of_their_own(options: dict[str, Any]) -> None:
    with training(options, alike(128)) as trainer:
        params, draws = trainer.initial().params, Stream(0).at("training", 1)
        whole, half, one = (trainer.gradient(params, np.arange(n), draws).loss for n in (128, 64, 1))
    assert whole != pytest.approx(half, rel=1e-12) and half != pytest.approx(one, rel=1e-12)


@random
def test_an_image_is_drawn_for_by_its_place_in_the_epoch(options: dict[str, Any]) -> None:
    """So where a batch ends changes nothing: the gradients of two batches are those of one twice as long."""
    with training(options, alike(128)) as trainer:
        params = {k: p.astype(np.float64) for k, p in trainer.initial().params.items()}
        draws = Stream(0).at("training", 1).from_sample(64)
        whole = trainer.gradient(params, np.arange(128), draws)
        first = trainer.gradient(params, np.arange(64), draws)
        second = trainer.gradient(params, np.arange(64, 128), draws.from_sample(128))
    assert whole.loss == pytest.approx((first.loss + second.loss) / 2, rel=1e-12)
    for name, g in (whole.grads or {}).items():
        halves = (first.grads or {})[name], (second.grads or {})[name]
        np.testing.assert_allclose(g, (halves[0] + halves[1]) / 2, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
def test_noise_trained_alone_leaves_the_averages_of_batch_norm(
    augmentation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS._entries, "normalised", lambda *arguments: normalised(16))
    labels = np.arange(60) % 10
    split = Split(digits.draw(labels, np.random.default_rng(1)), labels)
    data = Dataset("few digits", split, split, 10, {"train": "60"})
    options: dict[str, Any] = FEATURES | RANDOM["noise"] | {"model": "normalised", "learn_sigma": True, "epochs": 1}
    options |= {"batch_size": 20, "augmentation": augmentation, "max_entropy": 0.1}
    for _ in fit(Config(**options), data, tmp_path / "whole", threads=1):
        pass
    begun = Classifier.load(tmp_path / "whole")
    for _ in fit(Config(**options | {"noise_only": True, "sigma": 0.25}), data, tmp_path / "alone", 1, start=begun):
        pass
    before, after = (flatten(Classifier.load(tmp_path / name).params) for name in ("whole", "alone"))
    assert "bn.running_mean" in after and before.keys() == after.keys()
    assert (before["bn.running_mean"] != 0).any(), "the first training was to move them"
    assert {k for k in before if (before[k] != after[k]).any()} == {"noise.L"}


@pytest.mark.parametrize("adversary", ["fgsm", "pgd"])
@pytest.mark.parametrize("noise", ["preactivation", "features"])
def test_adversarial_training_attacks_the_network_under_its_noise(adversary: str, noise: str) -> None:
    config = Config(
        sigma=1.5, noise=noise, bottleneck=8, adversarial=adversary, adversarial_eps=0.1, adversarial_mix=1.0
    )
    model, adversarial = build("lenet5", (1, 28, 28), 10, config.sigma, noise, "full", 8), loss_of(config)
    assert isinstance(adversarial, Adversarial)
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    images, labels = alike(12).images, alike(12).labels

    def found(of: Classifier, seed: int) -> np.ndarray:
        return attacked(of, images, labels, adversarial.attack, 1.0, Stream(seed))

    noisy = found(network, 0)
    assert (noisy[0] != noisy[1:]).any(axis=(1, 2, 3)).all(), "each image has a draw of its own"
    assert (noisy != found(network, 1)).any() and (noisy == found(network, 0)).all()
    silent = found(network.with_sigma(0.0), 0)
    np.testing.assert_array_equal(silent, np.repeat(silent[:1], 12, axis=0))
    assert (silent == found(network.with_sigma(0.0), 1)).all()


def test_adversarial_images_are_of_the_network_as_it_is_now() -> None:
    options = RANDOM["adversary"] | {"sigma": 0.0, "loss": "mse", "adversarial_eps": 0.2}
    with training(options, alike(8)) as trainer:
        model, split = trainer.model, trainer.train
        early, late = (Classifier(model, model.init(np.random.default_rng(seed))) for seed in (0, 1))
        adversarial = trainer.training.loss
        assert isinstance(adversarial, Adversarial)
        seen = [
            attacked(network, split.images, split.labels, adversarial.attack, 1.0, Stream(0))
            for network in (early, late)
        ]
        assert (seen[0] != seen[1]).any()
        x = as_float(split.images)
        for network, images in zip((early, late), seen, strict=True):
            values = []
            for attacked_images in (x, images):
                logits = network.predict(attacked_images)
                values.append(np.log(np.exp(logits).sum(axis=1)) - logits[:, 3])
            assert (values[1] > values[0]).all(), "each is attacked on itself"


def test_validation_sees_other_noise_in_each_epoch_and_for_each_image() -> None:
    """Under strong noise some of 128 like images are right and some are not, another number in another epoch."""
    options = RANDOM["feature noise"] | {"sigma": 2.0, "lr": 1e-30, "epochs": 6, "batch_size": 128}
    with training(options, alike(128)) as trainer:
        state, right = trainer.initial(), []
        for _ in range(6):
            *_, (state, record) = trainer.epoch(state)  # type: ignore[misc]
            right.append(round(128 * record.noisy_validation_accuracy))
    assert len(set(right)) > 1 and all(0 < n < 128 for n in right)
    assert any(n % 2 for n in right), "two micro-batches of one noise have an even number of right answers"


def test_validation_is_of_the_validation_images_alone() -> None:
    with training({"batch_size": 8, "sigma": 0.1, "loss": "cross-entropy"}, alike(128)) as trainer:
        other = replace(trainer, validation=Split(alike(40).images, (alike(40).labels + 1) % 10))
        accuracies = []
        for one in (trainer, other):
            *_, (_, record) = one.epoch(one.initial())  # type: ignore[misc]
            accuracies.append(record.validation_accuracy)
    assert sorted(accuracies) == [0.0, 1.0], "the same image, with one label and with another"
