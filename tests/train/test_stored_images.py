"""A network that mixes with stored images: trained, saved, gone on with, attacked, and judged by its mixtures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphed import BATCH, check_same

from npsnn import attacks, models
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers import Flatten, Linear, Mixing, Moments, PreactivationNoise, ReLU, Sequential
from npsnn.layers.moments import Sampled
from npsnn.layers.params import Role, flatten, roles
from npsnn.models import Model, with_mixing
from npsnn.objectives import cross_entropy
from npsnn.runs.checkpoint import BEST, LAST
from npsnn.streams import Stream
from npsnn.testing import check_model
from npsnn.testing.gradients import check_gradient
from npsnn.train import Adam, CrossEntropy, Mixup, Training, fit, resume, split_validation
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, Step

LAYERS: Any = (("flatten", Flatten()), ("fc1", Linear(40)), ("relu", ReLU()), ("fc2", Linear(10, joint=True)))
DENSE = Model("dense", Sequential(LAYERS), (1, 28, 28), 10, micro_batch=32)
MIXED = with_mixing(DENSE, 3)


def split(count: int, seed: int) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(seed)), labels)


DATA = Dataset("few digits", split(120, 0), split(40, 1), 10, {})
TRAINING = Training(MIXED, Mixup(), optimizer=Adam(2e-3), epochs=2, batch_size=50)


def finished(run: Iterator[Step | Epoch]) -> list[Epoch]:
    return [record for record in run if isinstance(record, Epoch)]


def files(folder: Path) -> tuple[bytes, bytes]:
    return (folder / LAST).read_bytes(), (folder / BEST).read_bytes()


def test_a_named_model_gets_stored_images() -> None:
    noisy = models.lenet5()
    model = with_mixing(noisy, 5, weight=0.6, choice="other")
    (name, layer), *others = model.network.layers
    assert isinstance(layer, Mixing) and (name, others) == ("mixing", [])
    assert (layer.classes, layer.pool, layer.weight, layer.choice) == (10, 5, 0.6, "other")
    inside = [(n, part) for n, part in noisy.network.layers if n != "noise"][:-1]
    assert layer.body.layers == (*inside, ("fc3", Linear(10)))
    names = {name for name, role in roles(model.network, model.forms()).items() if role is Role.STATISTIC}
    assert names == {"mixing.pool"} and model.forms()["mixing.pool"].shape == (10, 5, 28, 1, 28)
    check_model(with_mixing(replace(DENSE, shape=(1, 4, 4)), 2))


def test_the_pool_is_saved_and_no_gradient_moves_it(tmp_path: Path) -> None:
    finished(fit(TRAINING, DATA, tmp_path / "run", threads=1))
    first = MIXED.init(Stream(0).at("init").generator())
    network = Classifier.load(tmp_path / "run")
    assert network.model == MIXED and network.random
    pool = network.params["mixing"]["pool"]
    assert pool.shape == (10, 3, 28, 1, 28)
    train, held = split_validation(DATA.train, 0, None)
    for k, images in enumerate((255 * pool.swapaxes(2, 3)).round().astype(np.uint8)):
        assert all((train.images[train.labels == k] == image).all(axis=(1, 2, 3)).any() for image in images)
        assert not any((held.images == image).all(axis=(1, 2, 3)).any() for image in images)
    moved = {k for k, p in flatten(network.params).items() if (p != flatten(first)[k]).any()}
    assert moved == {"mixing.pool", *(f"mixing.body.{layer}.{own}" for layer in ("fc1", "fc2") for own in "wb")}
    x, _ = DATA.test.images[:8], DATA.test.labels[:8]
    one, other = network.sample(x, 3, 2)
    assert (one != other).any() and (network.sample(x, 3, 1)[0] == one).all()
    assert (network.with_sigma(0).sample(x, 3, 1)[0] == network.predict(x)).all()


def test_a_run_that_stopped_goes_on_to_the_same_files(tmp_path: Path) -> None:
    finished(fit(TRAINING, DATA, tmp_path / "whole", threads=1))
    finished(fit(replace(TRAINING, epochs=1), DATA, tmp_path / "parts", threads=2))
    finished(resume(tmp_path / "parts", DATA, threads=2, epochs=2))
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_draws_do_not_depend_on_threads_and_micro_batches() -> None:
    network = Classifier(MIXED, MIXED.init(np.random.default_rng(0)), threads=1)
    x = DATA.train.images[:80]
    found = network.sample(x, 5, 2)
    assert (replace(network, threads=3).sample(x, 5, 2) == found).all()
    np.testing.assert_allclose(
        replace(network, model=replace(MIXED, micro_batch=7)).sample(x, 5, 2), found, rtol=1e-5, atol=1e-5
    )


def small(choice: str = "predicted", body: Model = DENSE) -> tuple[Classifier, np.ndarray, np.ndarray]:
    """A network for few pixels in float64, three images and their labels."""
    model = with_mixing(replace(body, shape=(1, 4, 4)), 3, choice=choice)
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1).astype(np.float64)
    return network, np.random.default_rng(1).random((3, 1, 4, 4)), np.array([0, 1, 2])


@pytest.mark.parametrize("answer", ["logits", "probabilities"])
@pytest.mark.parametrize("choice", ["predicted", "other", "combined"])
def test_the_gradient_of_an_averaged_answer_goes_through_the_mixtures(choice: str, answer: str) -> None:
    network, x, labels = small(choice)
    network, noise = network.averaging(4, answer), Sampled(Stream(2))
    _, gradient = network.loss_gradient(x, labels, noise, cross_entropy)

    def f(a: dict[str, np.ndarray]) -> float:
        return float(cross_entropy(network.scores(a["x"], noise), labels)[0].sum())

    check_gradient(f, {"x": x}, {"x": gradient}, step=1e-6)


def test_the_predicted_class_is_computed_once_for_all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five draws of an answer of four take 21 passes of the body, to the bits of 40."""
    network, x, labels = small("other")
    network, noises = network.averaging(4, "probabilities"), [Sampled(Stream(2).at(d)) for d in range(5)]
    passes: list[int] = []
    forward = Mixing._answered
    monkeypatch.setattr(Mixing, "_answered", lambda *given: passes.append(1) or forward(*given))  # type: ignore[func-returns-value]
    values, gradient = network.loss_gradients(x, labels, noises, cross_entropy)
    assert len(passes) == 21
    monkeypatch.delattr(Mixing, "prepared")
    plain, wanted = network.loss_gradients(x, labels, noises, cross_entropy)
    assert len(passes) == 21 + 40
    assert (values == plain).all() and (gradient == wanted).all()


def test_a_body_that_draws_noise_predicts_anew_for_each_draw() -> None:
    layers: Any = (("flatten", Flatten()), ("noise", PreactivationNoise(0.3)), ("fc", Linear(10)))
    layer = Mixing(Sequential(layers), 10, 3)
    params, _ = layer.init(np.random.default_rng(0), (1, 4, 4))
    assert layer.prepared(params, Moments(np.zeros((4, 1, 4, 2))), Sampled(Stream(0))) is layer


def test_attacks_go_through_draws_and_the_closed_form_is_refused() -> None:
    network = Classifier(MIXED, MIXED.init(np.random.default_rng(0)), threads=1)
    x, labels = DATA.test.images[:5] / np.float32(255), DATA.test.labels[:5]
    attack, stream = attacks.BIM(0.1, steps=2), Stream(0)
    found = attack(attacks.sampled(network, 3), x, labels, stream)
    assert np.abs(found - x).max() == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(ValueError, match="a mixture of images is not Gaussian"):
        network.moments(x)
    with pytest.raises(ValueError, match="a mixture of images is not Gaussian"):
        attack(attacks.closed_form(network), x, labels, stream)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("choice", ["other", "combined"])
def test_a_training_on_a_gpu_is_of_graphs(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    model = with_mixing(models.lenet5(), 2, choice=choice)
    check_same(monkeypatch, Config(batch_size=BATCH, optimizer="sgd"), model=model, loss=CrossEntropy())


@pytest.mark.slow
def test_a_network_trained_by_mixup_reads_digits_by_its_mixtures() -> None:
    data, model = Dataset("digits", split(1500, 2), split(300, 3), 10, {}), with_mixing(DENSE, 20)
    *_, done = finished(fit(replace(TRAINING, model=model, epochs=12), data))
    assert done.noisy_validation_accuracy > 0.7 and done.validation_accuracy > 0.7
