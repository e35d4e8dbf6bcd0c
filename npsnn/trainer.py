"""One training's steps and epochs: gradients over micro-batches, updates, and what is measured on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from npsnn.backend import namespace, to_host
from npsnn.classifier import Classifier
from npsnn.config import Config
from npsnn.data import Split
from npsnn.layers import Want
from npsnn.models import Model
from npsnn.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.network import flatten, unflatten
from npsnn.objectives import OBJECTIVES, Objective, sigma_reward
from npsnn.ops.gaussian import RULES
from npsnn.optim import SCHEDULES, Arrays, Optimizer, optimizer, unit_norm
from npsnn.parallel import Workers, micro_batches
from npsnn.streams import Stream

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
    mean |mu1| / sigma over the first pre-activations: a network may escape its noise by raising it (audit N42).
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


@dataclass(frozen=True)
class State:
    """All that the next epoch depends on; arrays are flat dictionaries."""

    params: Arrays
    optimizer: Arrays
    epoch: int
    steps: int
    best: float


@dataclass
class Total:
    """Sums over examples, added up in the order of the micro-batches."""

    loss: float = 0.0
    correct: int = 0
    grads: Arrays | None = None

    def add(self, other: "Total") -> None:
        self.loss += other.loss
        self.correct += other.correct
        if self.grads is None:
            self.grads = other.grads
        elif other.grads is not None:
            self.grads = {k: g + other.grads[k] for k, g in self.grads.items()}


def batch_gradient(
    network: Classifier, images: np.ndarray, labels: np.ndarray, objective: Objective, noise: Propagated
) -> Total:
    """Summed loss, correct mean predictions and summed parameter gradients of one micro-batch of images."""
    x = network.to_engine(images)
    target = namespace(x).asarray(labels)
    m, backward = network.model.network.forward(network.params, Moments(x), noise)
    values, cotangent = objective(m, target)
    _, grads = backward(cotangent, Want.PARAMS)
    return Total(float(values.sum()), int((m.mean.argmax(axis=0) == target).sum()), flatten(grads))


@dataclass(frozen=True)
class Trainer:
    """What stays the same throughout a training: the options, the network's form, the images and the threads."""

    config: Config
    model: Model
    train: Split
    validation: Split
    workers: Workers
    device: str

    def network(self, params: Arrays) -> Classifier:
        return Classifier(self.model, unflatten(params))

    def initial(self) -> State:
        """The state before the first epoch, drawn from the seed."""
        rng = Stream(self.config.seed).at("init").generator()
        network = Classifier(self.model, self.model.init(rng)).to(self.device)
        params = self._projected(flatten(network.params))
        return State(params, self.optimizer.init(params), epoch=0, steps=0, best=-1.0)

    @property
    def optimizer(self) -> Optimizer:
        return optimizer(self.config.optimizer, self.config.momentum, self.config.weight_decay)

    def gradient(self, params: Arrays, chosen: np.ndarray) -> Total:
        """Mean loss and gradients over the chosen training images, over micro-batches on all threads."""
        network = self.network(params)
        objective, noise = OBJECTIVES[self.config.loss], Propagated(RULES[self.config.propagation])
        parts = micro_batches(len(chosen), network.micro_batch)

        def one(i: int) -> Total:
            rows = chosen[parts[i]]
            return batch_gradient(network, self.train.images[rows], self.train.labels[rows], objective, noise)

        total = Total()
        self.workers.fold(one, len(parts), total.add)
        grads = {k: g / len(chosen) for k, g in (total.grads or {}).items()}
        return Total(total.loss / len(chosen), total.correct, grads)

    def updated(self, state: State, grads: Arrays, lr: float) -> State:
        """One step of the optimiser, sigma in the form exp(rho) if it is learned, and the first layer's norm."""
        c, sigma = self.config, f"{self.model.noise_layer}.sigma"
        params, grads = dict(state.params), dict(grads)
        xp = namespace(*params.values())
        if c.learn_sigma:
            reward = sigma_reward(float(params[sigma]), c.sigma_reward)[1]
            grads[sigma] = params[sigma] * (grads[sigma] + reward)
            params[sigma] = xp.log(params[sigma])
        else:
            del grads[sigma]
        params, moments = self.optimizer.update(params, grads, state.optimizer, lr, state.steps + 1)
        if c.learn_sigma:
            params[sigma] = xp.minimum(xp.exp(params[sigma]), xp.asarray(c.sigma_max, params[sigma].dtype))
        return replace(state, params=self._projected(params), optimizer=moments, steps=state.steps + 1)

    def _projected(self, params: Arrays) -> Arrays:
        name = self.model.noisy_weights
        return params | {name: unit_norm(params[name], self.config.first_layer_norm)}

    def epoch(self, state: State) -> Iterator[Step | tuple[State, Epoch]]:
        """Yields each step, and last the state and the record after the epoch."""
        c, number, start = self.config, state.epoch + 1, perf_counter()
        order = Stream(c.seed).at("shuffle", number).generator().permutation(len(self.train))
        batches = micro_batches(len(order), c.batch_size)
        lr, loss, correct, slope, sigma = 0.0, 0.0, 0, 0.0, f"{self.model.noise_layer}.sigma"
        for step, batch in enumerate(batches):
            total = self.gradient(state.params, order[batch])
            grads = total.grads or {}
            value, reward_slope = sigma_reward(float(state.params[sigma]), c.sigma_reward)
            value += total.loss
            if not np.isfinite(value):
                raise TrainingError(_diverged(f"the loss became {value}", number, step + 1, len(batches), c))
            lr = c.lr * SCHEDULES[c.schedule]((number - 1 + step / len(batches)) / c.epochs)
            state = self.updated(state, grads, lr)
            loss += value * (batch.stop - batch.start)
            correct += total.correct
            slope += (float(grads[sigma]) + reward_slope) * (batch.stop - batch.start) / len(order)
            yield Step(number, step + 1, len(batches), value)
        seconds = perf_counter() - start
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
        )
        yield replace(state, epoch=number, best=max(state.best, accuracy)), record

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
        if network.sigma == 0:
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
