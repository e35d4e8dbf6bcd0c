"""Losses: one view, several views, and attacked images, each against differences or another way to compute it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import own_training as own
import pytest
from entering import put_back, taken_out
from own_training import Agreement, own_training, two_noises
from small_networks import SHAPE, convolutional, images, several

from npsnn import attacks, objectives
from npsnn.classifier import Classifier
from npsnn.data import Split, digits
from npsnn.layers.moments import EXPECTATION, WHOLE, Moments, Propagated, Sampled
from npsnn.layers.params import Role, flatten, unflatten
from npsnn.streams import Stream
from npsnn.train import Training
from npsnn.train.epochs import Trainer
from npsnn.train.losses import (
    LOSSES,
    MSE,
    Adversarial,
    CrossEntropy,
    ExpectedCrossEntropy,
    NoiseAware,
    Total,
    one_view,
    plain,
    total,
    view,
)
from npsnn.train.losses.adversarial import attacked
from npsnn.workers.processes import Processes

LABELS = np.array([0, 1, 2, 0, 1])
OF_ONE_VIEW = {
    NoiseAware(): objectives.noise_aware,
    MSE(): objectives.mse,
    CrossEntropy(): objectives.cross_entropy,
    ExpectedCrossEntropy(): objectives.expected_cross_entropy,
}


taken_out(own)


@pytest.fixture(autouse=True, scope="module")
def _own_values() -> Iterator[None]:
    with put_back(own):
        yield


@pytest.mark.parametrize("loss", OF_ONE_VIEW, ids=str)
def test_a_loss_of_one_view_is_its_objective(loss: Any) -> None:
    network, x, noise = convolutional(), images(5), Propagated()
    found = loss.gradient(network, x, LABELS, noise, Stream(0))
    m = network.scores(x, noise)
    assert found.loss == pytest.approx(OF_ONE_VIEW[loss](m, LABELS)[0].sum())
    assert found.correct == (m.mean.argmax(axis=0) == LABELS).sum()
    assert (found.grads or {}).keys() == flatten(network.params).keys()
    wanted = one_view(network, x, LABELS, OF_ONE_VIEW[loss], noise)
    assert all((found.grads[k] == g).all() for k, g in (wanted.grads or {}).items())


@pytest.mark.parametrize("loss", OF_ONE_VIEW, ids=str)
def test_a_loss_says_whether_the_variance_enters(loss: Any) -> None:
    m = Moments(np.random.default_rng(0).normal(size=(3, 5)), np.abs(np.random.default_rng(1).normal(size=(3, 3, 5))))
    wider = Moments(m.mean, None if m.var is None else m.var + np.eye(3)[..., None])
    moved = (OF_ONE_VIEW[loss](m, LABELS)[0] != OF_ONE_VIEW[loss](wider, LABELS)[0]).any()
    assert getattr(loss, "sees_variance", True) == moved


TRAIN = Split(digits.draw(np.arange(60) % 10, np.random.default_rng(0)), np.arange(60) % 10)


@contextmanager
def trainer_of(training: Training, threads: int = 1) -> Iterator[Trainer]:
    with Processes(threads) as workers:
        yield Trainer(training, TRAIN, TRAIN, workers, "cpu")


@pytest.mark.parametrize("normalised", [False, True], ids=["plain", "normalised"])
def test_a_loss_of_two_views_has_the_gradient_of_its_value(normalised: bool) -> None:
    """Of a whole batch in several parts, with two noise layers, terms, and statistics of the batch in each view."""
    with trainer_of(own_training(normalised)) as trainer:
        params = {k: p.astype(np.float64) for k, p in trainer.initial().params.items()}
        params = {k: p + 0.05 if k.endswith(".b") else p for k, p in params.items()}
        draws, chosen = Stream(0).at("training", 1), np.arange(40)
        grads = trainer.gradient(params, chosen, draws).grads
        assert grads is not None and grads.keys() == params.keys()
        statistics = {k for k in grads if "running" in k}
        assert bool(statistics) == normalised
        for seed in range(3):
            rng = np.random.default_rng(seed)
            direction = {k: rng.standard_normal(p.shape) for k, p in params.items() if k not in statistics}
            h, ends = 1e-7, []
            for by in (h, -h):
                moved = params | {k: params[k] + by * d for k, d in direction.items()}
                ends.append(float(trainer.gradient(moved, chosen, draws).loss))
            slope = sum(float((grads[k] * d).sum()) for k, d in direction.items())
            assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_noise_alone_is_trained_on_the_network_in_its_form_for_inference() -> None:
    """BatchNorm takes its running averages then, so that an image's loss does not depend on the rest of its batch."""
    for trains, alone in ((Role.NOISE, True), (Role.ALL, False)):
        training = own_training(True, loss=CrossEntropy(), terms=[], constraints=[], trains=trains)
        with trainer_of(training) as trainer:
            params = {k: p.astype(np.float64) for k, p in trainer.initial().params.items()}
            whole = trainer.gradient(params, np.arange(4)).loss
            each = [trainer.gradient(params, np.array([i]), Stream(3).from_sample(i)).loss for i in range(4)]
        assert (whole == pytest.approx(np.mean(each), rel=1e-9)) == alone


def test_two_views_have_draws_of_their_own() -> None:
    network, x = several(), images(5)
    noise = Sampled(Stream(3))
    first, again, second = (network.scores(x, n).mean for n in (noise, noise, noise.at("second")))
    assert (first == again).all() and (first != second).all()
    # both views of one image under one draw agree, so that nothing is left of the divergence
    same = Agreement(beta=5.0, shift=0).values(first, first, LABELS)
    np.testing.assert_allclose(same[0], objectives.cross_entropy(Moments(first), LABELS)[0], rtol=1e-12)


def test_the_statistics_of_several_views_are_averaged() -> None:
    model = two_noises(normalised=True)
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1).astype(np.float64)
    batch = Sampled(Stream(0), WHOLE)
    x = TRAIN.images[:9]
    views = [view(network, x, batch), view(network, np.roll(x, 3, axis=2), batch.at("second"))]
    cotangents = [objectives.cross_entropy(one.logits, TRAIN.labels[:9])[1] for one in views]
    alone = [one.backward(c) for one, c in zip(views, cotangents, strict=True)]
    found = total(np.ones(9), TRAIN.labels[:9], *zip(views, cotangents, strict=True))
    assert found.loss == 9 and found.grads is not None
    assert found.correct == (views[0].logits.mean.argmax(axis=0) == TRAIN.labels[:9]).sum()
    for name, g in found.grads.items():
        both = alone[0][name] + alone[1][name]
        np.testing.assert_allclose(g, both / 2 if "running" in name else both, rtol=1e-12, err_msg=name)
        assert "running" not in name or (alone[0][name] != alone[1][name]).any()


def test_parts_add_up_and_have_the_same_statistics() -> None:
    whole = Total()
    for i in (1.0, 2.0):
        part = Total(np.array(i), np.array(1), {"a.w": np.full(2, i), "bn.running_mean": np.full(2, 7.0)})
        whole.add(part, {"bn.running_mean"})
    assert (whole.loss, whole.correct) == (3, 2) and whole.grads is not None
    assert (whole.grads["a.w"] == 3).all() and (whole.grads["bn.running_mean"] == 7).all()


def test_an_adversarial_loss_is_the_loss_on_attacked_images() -> None:
    network, x, stream = convolutional(), images(10, low=0.2, high=0.8), Stream(4)
    labels = np.arange(10) % 3
    loss = Adversarial(CrossEntropy(), attacks.BIM(0.1, steps=3, source=attacks.EoT(1)), mix=0.4)
    seen = attacked(network, x, labels, loss.attack, 0.4, stream)
    moved = np.abs(seen - x).reshape(10, -1).max(axis=1)
    assert (moved[:4] > 0.05).all() and (moved[:4] <= 0.1 + 1e-12).all() and (moved[4:] == 0).all()
    found = loss.gradient(network, x, labels, EXPECTATION, stream)
    wanted = CrossEntropy().gradient(network, seen, labels, EXPECTATION, stream)
    assert found.loss == wanted.loss and found.grads is not None
    assert all((found.grads[k] == g).all() for k, g in (wanted.grads or {}).items())
    assert (attacked(network, x, labels, loss.attack, 0.4, Stream(5)) != seen).any(), "the noise is drawn"
    nobody = Adversarial(CrossEntropy(), loss.attack, mix=0.0).gradient(network, x, labels, EXPECTATION, stream)
    assert nobody.loss == CrossEntropy().gradient(network, x, labels, EXPECTATION, stream).loss


class Grey:
    """A user's attack of no class of ours: every image becomes grey."""

    ball = attacks.Ball("linf", 0.5)

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        return np.full_like(x, 0.5)


def test_any_attack_can_be_trained_on() -> None:
    network, x = convolutional(), images(5)
    found = Adversarial(CrossEntropy(), Grey(), mix=1.0).gradient(network, x, LABELS, EXPECTATION, Stream(0))
    grey = np.full((5, *SHAPE), 0.5)
    assert found.loss == CrossEntropy().gradient(network, grey, LABELS, EXPECTATION, Stream(0)).loss
    with pytest.raises(TypeError, match="an attack must be a value"):
        Adversarial(CrossEntropy(), attacks.FGSM)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mix must be in \[0, 1\], got 1.5"):
        Adversarial(CrossEntropy(), Grey(), mix=1.5)


def test_losses_are_saved_by_name() -> None:
    assert set(LOSSES) >= {"noise-aware", "mse", "cross-entropy", "expected-cross-entropy", "adversarial"}
    nested = Adversarial(Agreement(beta=3.0), attacks.FGSM(0.1, source=attacks.EoT(2)), 0.25)
    for loss in (*OF_ONE_VIEW, Agreement(), nested):
        assert LOSSES.decode(LOSSES.encode(loss)) == loss
    assert plain(nested) == Agreement(beta=3.0) and plain(MSE()) == MSE()
    with pytest.raises(ValueError, match="Grey is in no table"):
        LOSSES.encode(Adversarial(CrossEntropy(), Grey()))


def test_a_view_may_be_asked_back_after_another() -> None:
    network, x = convolutional(), images(5)
    first, second = view(network, x, EXPECTATION), view(network, x[::-1], EXPECTATION)
    g = Moments(np.random.default_rng(0).normal(size=(3, 5)))
    before = view(network, x, EXPECTATION).backward(g)
    second.backward(Moments(g.mean[:, ::-1]))
    after = first.backward(g)
    assert all((after[k] == p).all() for k, p in before.items())
    assert unflatten(after).keys() == network.params.keys()
