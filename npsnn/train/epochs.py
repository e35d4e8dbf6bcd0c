"""One training's steps and epochs: gradients over micro-batches, updates, and what is measured on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from npsnn.backend import Array, namespace, to_host, to_numbers
from npsnn.classifier import Classifier
from npsnn.data import Split
from npsnn.layers.batchnorm import is_statistic
from npsnn.layers.moments import EXPECTATION, Batch, Moments, Noise, Sampled
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models.model import Model
from npsnn.optim import SCHEDULES, Arrays, Optimizer
from npsnn.streams import Stream
from npsnn.train.config import Config
from npsnn.train.flat import optimizer_of
from npsnn.train.gradients import PartGradient, Total
from npsnn.train.updates import authors_start, decayed, diagnostics, moved_averages, of_layer, projected, rewards
from npsnn.workers.processes import Processes
from npsnn.workers.threads import micro_batches

DIAGNOSED = 1024
"""The validation examples over which mean |mu1| / sigma is taken."""


class TrainingError(ValueError):
    """Training cannot go on; the message says where it stopped and what to try."""


@dataclass(frozen=True)
class Step:
    """One update: its epoch and number, both from 1, and the mean loss of its batch."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    loss and training_accuracy are means over the epoch as it ran (the accuracy is the mean prediction's),
    validation_accuracy is the expectation network's after it, by which best.npz is chosen; noisy_validation_accuracy is
    the network's under one draw of its noise for each image. sigma_gradient is the mean of dLoss/dsigma: a sigma
    that has stopped moving while it is not 0 has stalled, not converged (audit N31). first_layer_ratio is
    mean |mu1| / sigma over what the noise is added to: a network may escape its noise by raising it (audit N42).
    feature_noise: the diagnostics of noise on features (`npsnn.train.updates.diagnostics`).
    """

    epoch: int
    loss: float
    training_accuracy: float
    validation_accuracy: float
    noisy_validation_accuracy: float
    sigma: float
    sigma_gradient: float
    first_layer_ratio: float | None
    lr: float
    seconds: float
    examples_per_second: float
    feature_noise: dict[str, float] | None = None


@dataclass(frozen=True, eq=False)
class State:
    """All that the next epoch depends on; arrays are flat dictionaries."""

    params: Arrays = field(repr=False)
    optimizer: Arrays = field(repr=False)
    epoch: int
    steps: int
    best: float


@dataclass(frozen=True)
class Trainer:
    """What stays the same throughout a training: the options, the network's form, the images and the threads.

    start: flat parameters to begin with, instead of such as are drawn.
    """

    config: Config
    model: Model
    train: Split
    validation: Split
    workers: Processes
    device: str
    start: Arrays | None = None

    def network(self, params: Arrays) -> Classifier:
        return Classifier(self.model, unflatten(params))

    def initial(self) -> State:
        """The state before the first epoch, drawn from the seed or as given."""
        rng = Stream(self.config.seed).at("init").generator()
        drawn = self.model.init(rng) if self.start is None else unflatten(self.start)
        network = Classifier(self.model, drawn).to(self.device)
        params = flatten(network.params)
        if self.config.authors_code:
            params = authors_start(self.config, self.model, params)
        params = projected(self.config, self.model, params)
        return State(params, self.optimizer.init(params), epoch=0, steps=0, best=-1.0)

    @cached_property
    def part_gradient(self) -> PartGradient:
        """One object for all steps: a process that has it is not sent it again."""
        return PartGradient(self.config, self.model)

    @cached_property
    def optimizer(self) -> Optimizer:
        chosen = optimizer_of(self.config)
        return replace(chosen, weight_decay=0.0) if self.config.authors_code else chosen  # type: ignore[type-var]

    @cached_property
    def decayed(self) -> frozenset[str]:
        """The names of the parameters that weight decay is for."""
        found = roles(self.model.network, self.model.forms())
        return frozenset(name for name, role in found.items() if role is Role.WEIGHT)

    def gradient(self, params: Arrays, chosen: np.ndarray, draws: Stream | None = None) -> Total:
        """The mean loss over the chosen training images with the rewards for noise, and its gradients, on all threads.

        draws: for the noise of a training that samples it and for augmentation, keyed by an image's place in `chosen`.
        """
        network, coupled = self.network(params), self.model.network.couples_batch
        # on a GPU, which one thread uses, a batch that is coupled stays whole
        parts = micro_batches(len(chosen), len(chosen) if coupled and network.on_gpu else network.micro_batch)
        draws = draws or Stream(self.config.seed)
        one_draw = draws.one_draw() if self.config.authors_code else None  # for all examples (audit B6)

        def part(i: int) -> tuple[Any, ...]:
            rows, own = chosen[parts[i]], draws.from_sample(draws.first + parts[i].start)
            return params, self.train.images[rows], self.train.labels[rows], own, (one_draw or own).at("noise")

        total, of_part = Total(), self.part_gradient
        if coupled:
            met = self.workers.in_step(lambda i, sums: of_part(*part(i), batch=Batch(len(chosen), sums)), len(parts))
            for result in met:
                total.add(result)
        else:
            self.workers.spread(of_part, part, len(parts), total.add)
        grads = {k: g if is_statistic(k) else g / len(chosen) for k, g in (total.grads or {}).items()}
        reward, rewarded = rewards(self.config, self.model, params)
        grads |= {k: grads[k] + g for k, g in rewarded.items()}
        return Total(total.loss / len(chosen) + reward, total.correct, grads)

    def updated(self, state: State, grads: Arrays, lr: float) -> State:
        """One step of the optimiser by the gradients of the whole loss, then the constraints.

        A learned sigma is in the form exp(rho); noise that is not learned stays as it is.
        """
        noise = self.model.noise_layer if self.model.noisy else ""
        params, grads = moved_averages(self.model, state.params, grads)
        if self.config.noise_only or not self.config.learn_sigma:
            kept = self.config.noise_only
            grads = {k: g for k, g in grads.items() if k.startswith(f"{noise}.") == kept}
        xp, sigma = namespace(*params.values()), f"{noise}.sigma"
        if sigma in grads:
            grads = grads | {sigma: params[sigma] * grads[sigma]}
            params[sigma] = xp.log(params[sigma])
        if self.config.authors_code:
            grads = decayed(self.config, self.model, params, grads)
        params, moments = self.optimizer.update(params, grads, state.optimizer, lr, state.steps + 1, self.decayed)
        if sigma in grads:
            params[sigma] = xp.exp(params[sigma])
        params = projected(self.config, self.model, params)
        return replace(state, params=params, optimizer=moments, steps=state.steps + 1)

    def epoch(self, state: State) -> Iterator[Step | tuple[State, Epoch]]:
        """Yields each step, and last the state and the record after the epoch."""
        c, number, start = self.config, state.epoch + 1, perf_counter()
        order = Stream(c.seed).at("shuffle", number).generator().permutation(len(self.train))
        batches = micro_batches(len(order), c.batch_size)
        draws = Stream(c.seed).at("training", number)
        lr, loss, correct, slope = 0.0, 0.0, 0.0, 0.0
        for step, batch in enumerate(batches):
            total = self.gradient(state.params, order[batch], draws.from_sample(batch.start))
            grads = total.grads or {}
            lr = c.lr * SCHEDULES[c.schedule]()((number - 1 + step / len(batches)) / c.epochs)
            before, state = state.params, self.updated(state, grads, lr)
            # asked for last: a GPU has all of the step before the host waits for it
            value, hits, steepness = to_numbers(total.loss, total.correct, self.sigma_slope(before, grads))
            if not np.isfinite(value):
                raise TrainingError(_diverged(f"the loss became {value}", number, step + 1, len(batches), c))
            loss += value * (batch.stop - batch.start)
            correct += hits
            slope += steepness * (batch.stop - batch.start) / len(order)
            yield Step(number, step + 1, len(batches), value)
        seconds = max(perf_counter() - start, 1e-9)  # a coarse clock may stand still
        # Within an epoch the next loss tells; the last update has no next.
        if not all(np.isfinite(to_host(p)).all() for p in state.params.values()):
            raise TrainingError(_diverged("a parameter overflowed", number, len(batches), len(batches), c))
        network = self.network(state.params)
        accuracy = self.validated(network, lambda s: EXPECTATION)
        noise = Stream(c.seed).at("validation noise", number)
        record = Epoch(
            epoch=number,
            loss=loss / len(order),
            training_accuracy=correct / len(order),
            validation_accuracy=accuracy,
            noisy_validation_accuracy=self.validated(network, lambda s: Sampled(noise.from_sample(s.start))),
            sigma=network.sigma,
            sigma_gradient=slope,
            first_layer_ratio=self.first_layer_ratio(network),
            lr=lr,
            seconds=seconds,
            examples_per_second=len(order) / seconds,
            feature_noise=diagnostics(self.model, state.params),
        )
        yield replace(state, epoch=number, best=max(state.best, accuracy)), record

    def sigma_slope(self, params: Arrays, grads: Arrays) -> Array:
        """dLoss/dsigma of the noise layer's level, an array of no dimensions; 0 without noise."""
        if not self.model.noisy:
            return namespace(*params.values()).zeros(())
        name, layer = self.model.noise
        return layer.slope(of_layer(name, params), of_layer(name, grads))

    def validated(self, network: Classifier, noise: Callable[[slice], Noise]) -> float:
        """Part of the validation images that the network classifies correctly under `noise`."""
        held = self.validation
        parts = micro_batches(len(held), network.micro_batch)

        def correct(i: int) -> int:
            mean = network.scores(held.images[parts[i]], noise(parts[i])).mean
            return int((to_host(mean).argmax(axis=0) == held.labels[parts[i]]).sum())

        hits: int = sum(self.workers.map(correct, len(parts)))
        return hits / len(held)

    def first_layer_ratio(self, network: Classifier) -> float | None:
        """mean |mu1| / sigma over the first pre-activations of some validation images; None without noise."""
        if not network.random:
            return None
        count = min(DIAGNOSED, len(self.validation))
        parts = micro_batches(count, network.micro_batch)

        def mean_size(i: int) -> float:
            x = Moments(network.to_engine(self.validation.images[parts[i]]))
            mu = self.model.before_noise.forward(network.params, x, EXPECTATION)[0].mean
            return float(abs(mu).sum() / (mu[..., 0].size * count))

        return sum(self.workers.map(mean_size, len(parts))) / network.sigma


def _diverged(what: str, epoch: int, step: int, steps: int, config: Config) -> str:
    return f"{what} in epoch {epoch}, step {step} of {steps}: try a smaller --lr (it was {config.lr:g})" + (
        ", or --optimizer adam" if config.optimizer == "sgd" else ", or a smaller --sigma"
    )
