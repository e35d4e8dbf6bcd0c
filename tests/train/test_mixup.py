"""Mixup: mixtures against a loop, the law of weights and partners, and trainings that do not depend on threads."""

from typing import Any

import numpy as np
import pytest
from graphed import BATCH, check_same
from small_networks import convolutional, images

from npsnn import attacks, models, train
from npsnn.data import Split, digits
from npsnn.layers import Flatten, Linear, ReLU, Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Sampled
from npsnn.models import Model
from npsnn.objectives import cross_entropy
from npsnn.streams import Stream
from npsnn.train import Adversarial, Mixup, Training
from npsnn.train.config import Config
from npsnn.train.epochs import Trainer
from npsnn.train.losses.mixup import partners
from npsnn.workers.processes import Processes

LABELS = np.array([0, 1, 2, 0, 1])
LIKE = np.empty((1, 1, 1, 50_000))
OWN = Stream(6)
LAYERS: Any = (("flatten", Flatten()), ("fc1", Linear(20)), ("relu", ReLU()), ("fc2", Linear(10)))
CENTRED = models.with_centres(Model("dense", Sequential(LAYERS), (1, 28, 28), 10, micro_batch=16))


def test_the_value_is_that_of_mixtures_and_of_both_labels() -> None:
    network, x, noise = convolutional(), images(5), Sampled(Stream(2))
    engine = network.to_engine(x)
    partner, weight = partners(engine, OWN.at("partners")), Mixup().weights(engine, OWN.at("weights"))
    mixed = np.stack([w * x[n] + (1 - w) * x[partner[n]] for n, w in enumerate(weight)])
    z = network.model.network.forward(network.params, Moments(network.to_engine(mixed)), noise)[0].mean
    ln_p = z - np.log(np.exp(z).sum(axis=0))
    each = [-(w * ln_p[LABELS[n], n] + (1 - w) * ln_p[LABELS[partner[n]], n]) for n, w in enumerate(weight)]
    found = Mixup().gradient(network, x, LABELS, noise, OWN)
    assert found.loss == pytest.approx(sum(each), rel=1e-12)
    assert found.correct == (z.argmax(axis=0) == LABELS).sum()


def test_an_image_alone_is_its_own_partner() -> None:
    network, x = convolutional(), images(1)
    found = Mixup().gradient(network, x, LABELS[:1], EXPECTATION, OWN)
    wanted, _ = cross_entropy(network.scores(x, EXPECTATION), LABELS[:1])
    assert found.loss == pytest.approx(wanted.sum(), rel=1e-12)


def test_partners_are_a_permutation_and_every_other_image_is_as_likely() -> None:
    draws, examples = 4000, 5
    counts = np.zeros((examples, examples))
    for i in range(draws):
        partner = partners(LIKE[..., :examples], Stream(5).from_sample(i))
        assert sorted(partner) == list(range(examples))
        counts[range(examples), partner] += 1
    p = 1 / (examples - 1)
    wanted = draws * p * (1 - np.eye(examples))
    assert (np.abs(counts - wanted) <= 5 * np.sqrt(draws * p * (1 - p)) * (wanted > 0)).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_are_of_a_beta_distribution(alpha: float) -> None:
    """Its mean, its variance 1/(4(2 alpha + 1)) and the part below a tenth, of 50,000 numbers."""
    from scipy.special import betainc

    found = Mixup(alpha).weights(LIKE, Stream(8))
    assert ((found >= 0) & (found <= 1)).all()
    square, below = (found - 0.5) ** 2, (found < 0.1).astype(float)
    for drawn, wanted in ((found, 0.5), (square, 1 / (4 * (2 * alpha + 1))), (below, betainc(alpha, alpha, 0.1))):
        assert abs(drawn.mean() - wanted) <= 5 * drawn.std() / np.sqrt(len(drawn))


def test_another_alpha_is_refused() -> None:
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha must be > 0 and finite"):
            Mixup(alpha)


def test_attacked_images_may_be_mixed() -> None:
    network, x = convolutional(), images(5)
    attack = attacks.BIM(0.1, steps=2, source=attacks.EoT(1))
    found = Adversarial(Mixup(), attack, 0.5).gradient(network, x, LABELS, EXPECTATION, OWN)
    assert np.isfinite(found.loss)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("loss", [Mixup(), Mixup(0.4), train.PCL()], ids=str)
def test_a_step_on_a_gpu_is_one_graph(monkeypatch: pytest.MonkeyPatch, loss: train.Loss) -> None:
    check_same(monkeypatch, Config(batch_size=BATCH, optimizer="sgd"), model=CENTRED, loss=loss)


@pytest.mark.parametrize("loss", [Mixup(), Mixup(0.4), train.PCL()], ids=str)
def test_gradients_are_bit_identical_for_any_threads(loss: train.Loss) -> None:
    data = Split(digits.draw(np.arange(70) % 10, np.random.default_rng(0)), np.arange(70) % 10)
    found = []
    for threads in (1, 2, 5):
        with Processes(threads) as workers:
            trainer = Trainer(Training(CENTRED, loss), data, data, workers, "cpu")
            total = trainer.gradient(trainer.initial().params, np.arange(70), Stream(0).at("training", 1))
            found.append((total.loss, {k: g.tobytes() for k, g in (total.grads or {}).items()}))
    assert all(f == found[0] for f in found)
