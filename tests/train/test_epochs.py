"""One step and one epoch: gradients of the total loss, the learned sigma, and what an epoch reports."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from trainers import trainer_of

from npsnn import models
from npsnn.data import Split, digits
from npsnn.layers.moments import EXPECTATION
from npsnn.objectives import OBJECTIVES, largest_stationary_sigma, sigma_reward
from npsnn.ops.gaussian import RULES
from npsnn.optim import OPTIMIZERS, Arrays
from npsnn.streams import Stream
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, State, Step, Trainer, TrainingError
from npsnn.workers.processes import Processes

SIGMA = "noise.sigma"


def split(count: int, seed: int = 0) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(seed)), labels)


TRAIN, VALIDATION = split(150), split(70, seed=1)


@contextmanager
def training(threads: int = 1, train: Split = TRAIN, **options: Any) -> Iterator[Trainer]:
    config = Config(**options)
    model = models.build("lenet5", (1, 28, 28), 10, config.sigma, config.noise, config.covariance, config.bottleneck)
    with Processes(threads) as workers:
        yield trainer_of(config, model, train, VALIDATION, workers)


def double(params: Arrays) -> Arrays:
    return {k: p.astype(np.float64) for k, p in params.items()}


def moved(params: Arrays, direction: Arrays, by: float) -> Arrays:
    return {k: p + by * direction[k] for k, p in params.items()}


def off_the_kinks(params: Arrays) -> Arrays:
    """Initial biases are 0, which puts the units that see only black pixels exactly on the kink of their ReLU."""
    rng = np.random.default_rng(0)
    return {k: p + 0.05 * rng.standard_normal(p.shape) if k.endswith(".b") else p for k, p in params.items()}


# the expected cross-entropy has the gradient of the integral, not of its sum over 64 points: tests/test_objectives.py
@pytest.mark.slow
@pytest.mark.parametrize("propagation", RULES)
@pytest.mark.parametrize("loss", ["noise-aware", "mse", "cross-entropy"])
def test_gradients_are_those_of_the_mean_loss(loss: str, propagation: str) -> None:
    chosen = np.arange(70)  # more than one micro-batch
    with training(loss=loss, propagation=propagation) as trainer:
        params = off_the_kinks(double(trainer.initial().params))
        grads = trainer.gradient(params, chosen).grads
        assert grads is not None and grads.keys() == params.keys()
        for seed in range(2):
            rng = np.random.default_rng(seed)
            direction = {k: rng.standard_normal(p.shape) for k, p in params.items()}
            h = 1e-7 if propagation == "exact" else 1e-10  # the other rules jump: seldom, if h is small
            up, down = (trainer.gradient(moved(params, direction, by), chosen).loss for by in (h, -h))
            slope = sum(float((g * direction[k]).sum()) for k, g in grads.items())
            assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_batch_is_the_mean_of_its_examples() -> None:
    with training() as trainer:
        params = double(trainer.initial().params)
        whole = trainer.gradient(params, np.arange(70, 0, -1))
        each = [trainer.gradient(params, np.array([i])) for i in range(70, 0, -1)]
        assert whole.loss == pytest.approx(np.mean([t.loss for t in each]))
        assert whole.correct == sum(t.correct for t in each)
        assert whole.grads is not None
        for name, g in whole.grads.items():
            mean = np.mean([(t.grads or {})[name] for t in each], axis=0)
            np.testing.assert_allclose(g, mean, rtol=1e-9, atol=1e-12)


def test_the_loss_and_the_correct_are_the_objective_and_the_mean_prediction() -> None:
    with training(loss="cross-entropy") as trainer:
        network = trainer.network(double(trainer.initial().params))
        total = trainer.gradient(double(trainer.initial().params), np.arange(30))
        mean = network.scores(TRAIN.images[:30], EXPECTATION)
        value, _ = OBJECTIVES["cross-entropy"](mean, TRAIN.labels[:30])
        assert total.loss == pytest.approx(value.mean())
        assert total.correct == (mean.mean.argmax(axis=0) == TRAIN.labels[:30]).sum()


@pytest.mark.slow
def test_gradients_are_bit_identical_for_any_threads() -> None:
    found = []
    for threads in (1, 2, 3, 5):
        with training(threads=threads) as trainer:
            total = trainer.gradient(trainer.initial().params, np.arange(150))
            found.append((total.loss, {k: g.tobytes() for k, g in (total.grads or {}).items()}))
    assert all(f == found[0] for f in found)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"augmentation": "crop-flip"}, {"noise": "features"}], ids=str)
def test_sampled_noise_is_bit_identical_for_any_threads(options: dict[str, Any]) -> None:
    found = []
    for threads in (1, 2, 5):
        with training(threads=threads, propagation="sampled", loss="cross-entropy", **options) as trainer:
            draws = Stream(0).at("training", 3).from_sample(256)
            total = trainer.gradient(trainer.initial().params, np.arange(150), draws)
            other = trainer.gradient(trainer.initial().params, np.arange(150), Stream(0).at("training", 4))
            found.append((total.loss, {k: g.tobytes() for k, g in (total.grads or {}).items()}))
            assert other.loss != total.loss
    assert all(f == found[0] for f in found)


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_batch() -> None:
    images = TRAIN.images[np.arange(1024) % 150], TRAIN.labels[np.arange(1024) % 150]
    with training(train=Split(*images), propagation="exact") as trainer:
        params = trainer.initial().params
        peaks = []
        for batch in (128, 1024):
            tracemalloc.start()
            trainer.gradient(params, np.arange(batch))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] <= 1.3 * peaks[0] + images[0].nbytes
    assert peaks[0] < 100e6


def rho_step(trainer: Trainer, state: State, chosen: np.ndarray, lr: float) -> float:
    """d(loss)/d(rho) as one step of plain gradient descent shows it, rho = ln sigma."""
    total = trainer.gradient(state.params, chosen)
    after = trainer.updated(state, total.grads or {}, lr)
    return float(np.log(state.params[SIGMA]) - np.log(after.params[SIGMA])) / lr


@pytest.mark.parametrize("propagation", RULES)
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_learned_sigma_follows_the_total_loss(propagation: str, alpha: float) -> None:
    options = {"learn_sigma": True, "sigma_reward": alpha, "propagation": propagation}
    with training(optimizer="sgd", momentum=0.0, sigma=0.5, **options) as trainer:
        state = trainer.initial()
        state = replace(state, params=double(state.params), optimizer=double(state.optimizer))
        chosen, h = np.arange(70), 1e-6

        def total(rho: float) -> float:
            sigma = np.exp(rho)
            return trainer.gradient(state.params | {SIGMA: np.array(sigma)}, chosen).loss

        rho = float(np.log(state.params[SIGMA]))
        slope = (total(rho + h) - total(rho - h)) / (2 * h)
        assert abs(slope) > 1e-5
        assert rho_step(trainer, state, chosen, 1e-3) == pytest.approx(slope, rel=1e-5)


def test_the_reward_for_noise() -> None:
    for sigma in (0.0, 0.3, 2.0):
        value, slope = sigma_reward(sigma, 0.7)
        assert value == pytest.approx(-0.7 * sigma**2)
        assert slope == pytest.approx((sigma_reward(sigma + 1e-6, 0.7)[0] - sigma_reward(sigma - 1e-6, 0.7)[0]) / 2e-6)
    r = np.linspace(0, 5, 100_001)
    largest = (r * np.exp(-(r**2) / 2)).max() / np.sqrt(2 * np.pi)
    assert largest_stationary_sigma(0.7) == pytest.approx((largest / 1.4) ** 0.5)


def test_a_learned_sigma_stops_at_its_cap() -> None:
    with training(learn_sigma=True, sigma_reward=5.0, sigma=0.6, sigma_max=0.65, lr=0.05) as trainer:
        state = trainer.initial()
        for _ in range(4):
            state = trainer.updated(state, trainer.gradient(state.params, np.arange(20)).grads or {}, 0.05)
        assert state.params[SIGMA] == np.float32(0.65)


def test_a_given_sigma_stays_bit_for_bit() -> None:
    with training(sigma=0.7, weight_decay=0.1, lr=0.1) as trainer:
        state = trainer.initial()
        after = trainer.updated(state, trainer.gradient(state.params, np.arange(20)).grads or {}, 0.1)
        assert after.params[SIGMA] == state.params[SIGMA] == np.float32(0.7)
        assert after.steps == 1 and (after.params["fc1.w"] != state.params["fc1.w"]).any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_weights_decay(optimizer: str) -> None:
    with training(optimizer=optimizer, weight_decay=0.1, learn_sigma=True) as trainer:
        state = trainer.initial()
        state = replace(state, params={k: p + 1 for k, p in state.params.items()})
        after = trainer.updated(state, {k: p * 0 for k, p in state.params.items()}, 0.1).params
        moved = {k for k, p in after.items() if not np.allclose(p, state.params[k], rtol=1e-6)}
        assert moved == {k for k in after if k.endswith(".w")}


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
def test_the_first_layer_keeps_its_norm(norm: str, order: int) -> None:
    with training(first_layer_norm=norm, lr=0.05) as trainer:
        state = trainer.initial()
        for _ in range(2):
            w = state.params["conv1.w"].reshape(6, -1)
            np.testing.assert_allclose(np.linalg.norm(w, order, axis=1), 1, rtol=1e-6)
            state = trainer.updated(state, trainer.gradient(state.params, np.arange(20)).grads or {}, 0.05)
        assert (np.linalg.norm(state.params["conv2.w"].reshape(16, -1), order, axis=1) > 1.1).all()


def run_epoch(trainer: Trainer, state: State) -> tuple[list[Step], State, Epoch, list[np.ndarray]]:
    """An epoch, and the images that each of its batches chose."""
    chosen, gradient = [], type(trainer).gradient

    def watched(self: Trainer, params: Arrays, rows: np.ndarray, *others: Any) -> Any:
        chosen.append(rows)
        return gradient(self, params, rows, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "gradient", watched)
        *steps, (after, record) = trainer.epoch(state)  # type: ignore[misc]
    return steps, after, record, chosen  # type: ignore[return-value]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    with training(batch_size=64, seed=4) as trainer:
        state = trainer.initial()
        orders = []
        for epoch in (0, 0, 1):
            steps, after, _, chosen = run_epoch(trainer, replace(state, epoch=epoch))
            assert [len(c) for c in chosen] == [64, 64, 22] and after.epoch == epoch + 1 and after.steps == 3
            assert [(s.epoch, s.step, s.steps) for s in steps] == [(epoch + 1, i, 3) for i in (1, 2, 3)]
            orders.append(np.concatenate(chosen))
            assert sorted(orders[-1]) == list(range(150))
    assert (orders[0] == orders[1]).all() and (orders[0] != orders[2]).any()


def test_the_reward_is_part_of_the_loss_and_of_its_gradient() -> None:
    with training(sigma_reward=0.2, learn_sigma=True) as rewarded, training() as plain:
        params = plain.initial().params
        found, without = (t.gradient(params, np.arange(70)) for t in (rewarded, plain))
        assert found.loss == pytest.approx(without.loss - 0.2 * 0.36)
        assert (found.grads or {})[SIGMA] == pytest.approx((without.grads or {})[SIGMA] - 2 * 0.2 * 0.6)


def test_an_epoch_reports_means_over_the_images() -> None:
    with training(batch_size=64, lr=0.0, sigma_reward=0.2, learn_sigma=True) as trainer:
        state = trainer.initial()
        steps, _, record, _ = run_epoch(trainer, state)
        whole = trainer.gradient(state.params, np.arange(150))
        assert record.loss == pytest.approx(np.average([s.loss for s in steps], weights=[64, 64, 22]))
        assert record.loss == pytest.approx(whole.loss, rel=1e-5)
        assert record.training_accuracy == whole.correct / 150
        assert record.sigma == pytest.approx(0.6) and record.lr == 0.0
        assert record.sigma_gradient == pytest.approx(float((whole.grads or {})[SIGMA]), rel=1e-4)
        assert record.examples_per_second == pytest.approx(150 / record.seconds)
        logits = trainer.network(state.params).scores(VALIDATION.images, EXPECTATION).mean
        assert record.validation_accuracy == (logits.argmax(axis=0) == VALIDATION.labels).mean()
        assert record.noisy_validation_accuracy == trainer.validated(
            trainer.network(state.params), Stream(0).at("validation noise", 1)
        )


def test_the_first_layer_is_measured_in_sigmas() -> None:
    with training(sigma=0.5) as trainer:
        network = trainer.network(trainer.initial().params)
        w, b = (network.params["conv1"][k] for k in "wb")
        x = np.pad(VALIDATION.images[:, 0] / 255, ((0, 0), (2, 2), (2, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
        mu = np.einsum("nhwij,oij->nohw", windows, w[..., 0]) + b[:, None, None]
        assert trainer.ratios(network) == {"noise": pytest.approx(np.abs(mu).mean() / 0.5, rel=1e-5)}
        assert trainer.ratios(network.with_sigma(0.0)) == {}


@pytest.mark.parametrize(("schedule", "factors"), [("constant", [1, 1, 1]), ("cosine", [0.75, 0.5, 0.25])])
def test_the_learning_rate_follows_the_schedule(schedule: str, factors: list[float]) -> None:
    """Epochs 2 of 3, three steps each: 3/9, 4/9 and 5/9 are done."""
    used: list[float] = []
    with (
        training(batch_size=64, epochs=3, schedule=schedule, lr=0.01) as trainer,
        pytest.MonkeyPatch.context() as patch,
    ):
        updated = Trainer.updated

        def watched(self: Trainer, state: State, grads: Arrays, lr: float, *others: Any) -> State:
            used.append(lr)
            return updated(self, state, grads, lr, *others)

        patch.setattr(Trainer, "updated", watched)
        _, _, record, _ = run_epoch(trainer, replace(trainer.initial(), epoch=1))
    expected = factors if schedule == "constant" else [(1 + np.cos(np.pi * i / 9)) / 2 for i in (3, 4, 5)]
    assert used == pytest.approx([0.01 * f for f in expected]) and record.lr == used[-1]


@pytest.mark.parametrize(("name", "value", "message"), [("fc3.b", np.nan, "the loss became nan"), ("fc3.w", 1e300, "")])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_stops_the_training(name: str, value: float, message: str) -> None:
    with training(batch_size=64, optimizer="sgd") as trainer:
        state = trainer.initial()
        bad = replace(state, epoch=2, params=double(state.params))
        bad.params[name] = np.full_like(bad.params[name], value)
        with pytest.raises(TrainingError, match=rf"{message}.* in epoch 3, step 1 of 3: try a smaller --lr") as caught:
            run_epoch(trainer, bad)
    assert "\n" not in str(caught.value)


def test_a_clock_that_stands_still_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npsnn.train.epochs.perf_counter", lambda: 5.0)
    with training(train=split(4)) as trainer:
        *_, (_, epoch) = trainer.epoch(trainer.initial())
    assert isinstance(epoch, Epoch) and epoch.examples_per_second > 0
