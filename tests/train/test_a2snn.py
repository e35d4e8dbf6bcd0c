"""Training A2SNN's network: it learns, resumes, stays bit-identical, and its noise can be trained alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import normalised
from trainers import trainer_of

from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.params import flatten, unflatten
from npsnn.models import MODELS
from npsnn.runs.checkpoint import LAST, load_arrays
from npsnn.streams import Stream
from npsnn.train import build, fit, resume
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, Step, Trainer
from npsnn.train.flat import loss_of
from npsnn.train.losses.adversarial import Adversarial, attacked
from npsnn.workers.processes import Processes

SHORT: dict[str, Any] = {
    "noise": "features",
    "bottleneck": 8,
    "sigma": 0.5,
    "sigma_max": 50.0,
    "learn_sigma": True,
    "propagation": "sampled",
    "loss": "cross-entropy",
    "max_entropy": 0.1,
    "alignment": 0.5,
    "unit_classes": True,
    "epochs": 2,
    "batch_size": 40,
}


def split(count: int, seed: int) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(seed)), labels)


DATA = Dataset("few digits", split(200, 0), split(20, 1), 10, {"train": "200"})


def epochs(run: Iterator[Step | Epoch]) -> list[Epoch]:
    return [record for record in run if isinstance(record, Epoch)]


def params(folder: Path) -> dict[str, np.ndarray]:
    return flatten(Classifier.load(folder).params)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "m5"
    epochs(fit(Config(**SHORT), DATA, folder, threads=1))
    return folder


def test_the_noise_grows_and_is_reported() -> None:
    first, last = epochs(fit(Config(**SHORT), DATA))
    assert last.sigma > first.sigma > 0.5 and last.sigma_gradient < 0
    assert last.loss < first.loss
    assert last.feature_noise is not None
    assert last.feature_noise["trace"] == pytest.approx(8 * last.sigma**2, rel=1e-5)


def test_class_vectors_stay_on_the_sphere(trained: Path) -> None:
    np.testing.assert_allclose(np.linalg.norm(params(trained)["fc3.w"], axis=1), 1, rtol=1e-6)
    L = params(trained)["noise.L"]
    assert (np.diag(L) > 0).all() and (np.triu(L, 1) == 0).all() and (np.tril(L, -1) != 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, None])
def test_it_is_bit_identical_for_any_threads(threads: int | None, trained: Path, tmp_path: Path) -> None:
    epochs(fit(Config(**SHORT), DATA, tmp_path / "run", threads=threads))
    assert (tmp_path / "run" / LAST).read_bytes() == (trained / LAST).read_bytes()


def test_a_stopped_run_goes_on_as_if_it_had_not(trained: Path, tmp_path: Path) -> None:
    for record in fit(Config(**SHORT), DATA, tmp_path / "run"):
        if isinstance(record, Step) and record.epoch == 2:
            break
    assert len(epochs(resume(tmp_path / "run", DATA))) == 1
    assert (tmp_path / "run" / LAST).read_bytes() == (trained / LAST).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("covariance", ["full", "diagonal", "scalar"])
def test_noise_is_trained_alone_on_a_network_that_stays(covariance: str, trained: Path, tmp_path: Path) -> None:
    network = Classifier.load(trained)
    alone = Config(**SHORT | {"noise_only": True, "covariance": covariance, "sigma": 0.25})
    epochs(fit(alone, DATA, tmp_path / "alone", start=network))
    before, after = params(trained), params(tmp_path / "alone")
    moved = {k for k in before if before[k].shape != after[k].shape or (before[k] != after[k]).any()}
    assert moved == {"noise.L"}
    begun, _ = load_arrays(tmp_path / "alone" / LAST)
    assert begun["params/noise.L"].shape == after["noise.L"].shape


def test_training_noise_alone_needs_a_network_that_fits(trained: Path) -> None:
    with pytest.raises(ValueError, match="start must be one, got None"):
        fit(Config(**SHORT | {"noise_only": True}), DATA)
    with pytest.raises(ValueError, match="noise_only acts on a learned sigma: set learn_sigma"):
        Config(noise_only=True)
    with pytest.raises(ValueError, match=r"bottleneck\.\w must be float"):
        fit(Config(**SHORT | {"noise_only": True, "bottleneck": 9}), DATA, start=Classifier.load(trained))


def test_adversarial_training_attacks_part_of_the_images(trained: Path) -> None:
    network = Classifier.load(trained)
    images, labels = DATA.train.images[:10], DATA.train.labels[:10]
    for adversary in ("fgsm", "pgd"):
        config = Config(**SHORT | {"adversarial": adversary, "adversarial_eps": 0.1, "adversarial_mix": 0.4})
        adversarial = loss_of(config)
        assert isinstance(adversarial, Adversarial)
        x = attacked(network, images, labels, adversarial.attack, adversarial.mix, Stream(0))
        moved = np.abs(x - images / 255).reshape(10, -1).max(axis=1)
        assert (moved[:4] > 0.05).all() and (moved[:4] <= 0.1 + 1e-6).all() and (moved[4:] < 1e-6).all()
    (record,) = epochs(fit(Config(**SHORT | {"adversarial": "fgsm", "epochs": 1}), DATA))
    (clean,) = epochs(fit(Config(**SHORT | {"epochs": 1}), DATA))
    assert record.loss > clean.loss


def test_without_a_place_for_noise_training_is_refused() -> None:
    with pytest.raises(
        ValueError, match="noise must be features or none for resnet18, which has none on its first layer"
    ):
        fit(Config(model="resnet18"), DATA)


def test_augmentation_changes_what_is_learned_from() -> None:
    (plain,), (moved,) = (
        epochs(fit(Config(**SHORT | {"epochs": 1, "augmentation": kind}), DATA)) for kind in ("none", "crop-flip")
    )
    assert plain.loss != moved.loss


def test_batch_normalised_networks_train_and_keep_averages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their micro-batches share the statistics of the whole batch, on however many threads."""

    def gradient(micro_batch: int, threads: int) -> tuple[Trainer, Any, Any]:
        monkeypatch.setitem(MODELS._entries, "normalised", lambda *arguments: normalised(micro_batch))
        with Processes(threads) as workers:
            config = Config(**SHORT | {"model": "normalised"})
            trainer = trainer_of(config, build(config, DATA), DATA.train, DATA.test, workers)
            state = trainer.initial()
            return trainer, state, trainer.gradient(state.params, np.arange(40))

    trainer, state, total = gradient(16, 2)
    _, _, whole = gradient(40, 2)
    assert total.loss == pytest.approx(whole.loss, rel=1e-6) and total.correct == whole.correct
    for name, g in whole.grads.items():
        np.testing.assert_allclose(total.grads[name], g, rtol=1e-4, atol=1e-6 * abs(g).max(), err_msg=name)
    for threads in (1, 3, 5):
        _, _, again = gradient(16, threads)
        assert again.loss == total.loss
        for name, g in total.grads.items():
            np.testing.assert_array_equal(again.grads[name], g, err_msg=name)
    after, built = trainer.updated(state, total.grads, 0.0).params, trainer.model
    x = Classifier(built, unflatten(state.params)).to_engine(DATA.train.images[:40])
    y, _ = built.network.layers[0][1].forward({"w": state.params["conv.w"]}, Moments(x), EXPECTATION)
    np.testing.assert_allclose(after["bn.running_mean"], 0.1 * y.mean.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-6)
    unbiased = y.mean.transpose(1, 0, 2, 3).reshape(4, -1).var(axis=1, ddof=1)
    np.testing.assert_allclose(after["bn.running_var"], 0.9 + 0.1 * unbiased, rtol=1e-4)
