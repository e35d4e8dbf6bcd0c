"""One training's steps and epochs: gradients over micro-batches, updates, and what is measured on the way."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import nan
from time import perf_counter
from typing import Any

import numpy as np

from npsnn.backend import Array, namespace, to_host
from npsnn.classifier import Classifier
from npsnn.data import Split
from npsnn.foreign import BlamedOn, all_read_only
from npsnn.gpu.graphs import Graphs
from npsnn.layers.moments import EXPECTATION, Batch, Sampled
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models.base import Model
from npsnn.models.sigmas import brief
from npsnn.optim import SGD, Arrays
from npsnn.streams import Stream
from npsnn.train import diagnostics
from npsnn.train.constraints import Constraint, RunningAverages
from npsnn.train.losses import Total
from npsnn.train.part import PartGradient
from npsnn.train.results import on_device
from npsnn.train.start import filled
from npsnn.train.steps import Steps
from npsnn.train.terms import summed
from npsnn.train.training import Training
from npsnn.workers.base import Workers, gathered, micro_batches

DIAGNOSED = 1024
"""The validation examples over which mean |mu1| / sigma is taken."""
NOT_FINITE = -1
"""Stands in the place of a number of images of which a logit is not finite."""


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
    mean |mu1| / sigma over what the noise is added to: a network may escape its noise by raising it (audit N42); of
    noise on weights, mean |w| over the root mean square of its standard deviations.
    These three have a number for each noise layer by path where there are several.
    feature_noise: the diagnostics of noise on features (`npsnn.train.diagnostics.feature_noise`).
    """

    epoch: int
    loss: float
    training_accuracy: float
    validation_accuracy: float
    noisy_validation_accuracy: float
    sigma: float | dict[str, float]
    sigma_gradient: float | dict[str, float]
    first_layer_ratio: float | dict[str, float] | None
    lr: float
    seconds: float
    examples_per_second: float
    feature_noise: dict[str, float] | None = None

    def __repr__(self) -> str:
        sigmas = self.sigma.values() if isinstance(self.sigma, dict) else [self.sigma]
        noise = "/".join(f"{sigma:.3g}" for sigma in sigmas)
        read = f"validation {self.validation_accuracy:.1%}, {self.noisy_validation_accuracy:.1%} noisy"
        return f"<Epoch {self.epoch}, loss {self.loss:.4g}, {read}, sigma {noise}, {self.seconds:.1f} s>"

    def figures(self) -> dict[str, float]:
        """All numbers of the epoch but its own, flat, for a table or a plot: {"loss": 0.3, "sigma": 0.6, ...}.

        Figures of several noise layers, and those of noise on features, have names as "sigma.block1.noise". The names
        are the same in all epochs of a training.
        """
        found = dict[str, float]()
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, dict):
                found |= {f"{f.name}.{name}": float(number) for name, number in value.items()}
            elif value is not None and f.name != "epoch":
                found[f.name] = float(value)
        return found


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

    training: Training
    train: Split
    validation: Split
    workers: Workers
    device: str
    start: Arrays | None = None

    @property
    def model(self) -> Model:
        return self.training.model

    def network(self, params: Arrays) -> Classifier:
        return Classifier(self.model, unflatten(params))

    def initial(self) -> State:
        """The state before the first epoch, drawn from the seed, and filled from the images, or as given."""
        rng = Stream(self.training.seed).at("init").generator()
        if self.start is None:
            drawn = filled(self.model, self.model.init(rng), self.train, self.training.seed)
        else:
            drawn = unflatten(self.start)
        network = Classifier(self.model, drawn).to(self.device)
        params = flatten(network.params)
        for constraint in self.constraints:
            with _constrained(constraint):
                params = constraint.begin(self.model, all_read_only(params))
        return State(params, self.training.optimizer.init(params), epoch=0, steps=0, best=-1.0)

    @cached_property
    def part_gradient(self) -> PartGradient:
        """One object for all steps: a process that has it is not sent it again."""
        return PartGradient(self.training)

    @cached_property
    def steps(self) -> Steps:
        """How steps are carried out; it keeps the CUDA graphs of this training."""
        return Steps(self)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints around the first update, running averages first where there are any."""
        return (*((RunningAverages(),) if self.statistics else ()), *self.training.at(0.0).constraints)

    def constraints_at(self, done: float) -> tuple[Constraint, ...]:
        """The constraints around an update; done: part of the training that is done, from 0 to 1, here and below."""
        training = self.training.at(done)
        if training is self.training:
            return self.constraints
        return (*self.constraints[: -len(training.constraints) or None], *training.constraints)

    @cached_property
    def roles(self) -> dict[str, Role]:
        """What each parameter is for."""
        return roles(self.model.network, self.model.forms())

    def of_role(self, role: Role) -> frozenset[str]:
        """The names of the parameters of one role."""
        return frozenset(name for name, own in self.roles.items() if own is role)

    @cached_property
    def decayed(self) -> frozenset[str]:
        """The names of the parameters that weight decay is for."""
        return self.of_role(Role.WEIGHT)

    @cached_property
    def statistics(self) -> frozenset[str]:
        """The names of the running averages."""
        return self.of_role(Role.STATISTIC)

    @cached_property
    def coupled(self) -> bool:
        """Whether what a batch makes of an image depends on the other images; all layers are asked."""
        return self.model.network.couples_batch

    def parts(self, examples: int, params: Arrays) -> list[slice]:
        """The parts in which a batch of so many examples is computed, in all steps with parameters on this device."""
        if examples not in self._parts:
            network = self.network(params)
            # a GPU, which one thread uses, has a batch that is coupled as a whole
            whole = network.on_gpu and self.coupled
            size = self.training.micro_batch or network.micro_batch
            self._parts[examples] = micro_batches(examples, examples if whole else size)
        return self._parts[examples]

    @cached_property
    def _parts(self) -> dict[int, list[slice]]:
        """The parts of the batches so far by the number of their examples."""
        return {}

    def gradient(self, params: Arrays, chosen: np.ndarray, draws: Stream | None = None, done: float = 0.0) -> Total:
        """The mean loss over the chosen training images with the rewards for noise, and its gradients, on all threads.

        draws: for the noise of a training that samples it and for augmentation, keyed by an image's place in `chosen`.
        """
        total = self.sums(params, chosen, draws, done)
        if self.workers.ranks > 1:  # which have added up in the host's memory
            total = on_device(total, self.device)
        return self.averaged(total, len(chosen), params, done)

    def sums(
        self,
        params: Arrays,
        chosen: np.ndarray,
        draws: Stream | None = None,
        done: float = 0.0,
        of_part: Callable[..., Total] | None = None,
    ) -> Total:
        """The sums of the loss over the chosen training images and its gradients; in the host's memory over ranks.

        draws: as for `gradient`.
        of_part: computes a part as `PartGradient` does, which it is by default.
        """
        parts, draws = self.parts(len(chosen), params), draws or Stream(self.training.seed)
        treatment = self.training.at(done).noise

        def part(i: int) -> tuple[Any, ...]:
            rows, own = chosen[parts[i]], draws.further(parts[i].start)
            noise = treatment.stream(draws, own).at("noise")
            return params, self.train.images[rows], self.train.labels[rows], own, noise, done

        total, found = Total(), of_part or self.part_gradient

        def add(result: Total) -> None:
            total.add(result, self.statistics)

        def meeting(*arguments: Any) -> Total:
            *own, sums = arguments
            return found(*own, batch=Batch(len(chosen), sums))

        if self.coupled:
            for result in self.workers.together(meeting, part, len(parts)):
                add(result)
        else:
            self.workers.reduce(found, part, len(parts), add)
        return total

    def averaged(self, total: Total, examples: int, params: Arrays, done: float = 0.0) -> Total:
        """The mean loss with the rewards for noise, and its gradients.

        total: sums over a batch.
        examples: number of the batch's examples.
        """
        grads = {k: g if k in self.statistics else g / examples for k, g in (total.grads or {}).items()}
        reward, rewarded = summed(self.training.at(done).terms, self.model, params)
        grads |= {k: grads[k] + g if k in grads else g for k, g in rewarded.items()}
        return Total(total.loss / examples + reward, total.correct, grads)

    def updated(self, state: State, grads: Arrays, lr: float, done: float = 0.0) -> State:
        """One step of the optimiser by the gradients of the whole loss, with the constraints around it."""
        params, grads = self.before(state.params, grads, done)
        step = state.steps + 1
        rule = self.training.optimizer
        params, grads, kept = map(all_read_only, (params, grads, state.optimizer))
        with BlamedOn("optimizer", rule, "arrays"):
            params, moments = rule.update(params, grads, kept, lr, step, self.decayed)
        # each part, term and update would make them so by itself
        return replace(state, params=all_read_only(self.after(params, done)), optimizer=moments, steps=step)

    def before(self, params: Arrays, grads: Arrays, done: float = 0.0) -> tuple[Arrays, Arrays]:
        """The parameters and the gradients that the optimiser is to see."""
        grads = {k: g for k, g in grads.items() if self.roles[k] in self.training.trains}
        for constraint in self.constraints_at(done):
            with _constrained(constraint):
                params, grads = constraint.before(self.model, all_read_only(params), all_read_only(grads))
        return params, grads

    def after(self, params: Arrays, done: float = 0.0) -> Arrays:
        """The parameters as the constraints leave them after the optimiser's update."""
        for constraint in self.constraints_at(done):
            with _constrained(constraint):
                params = constraint.after(self.model, all_read_only(params))
        return params

    def step(
        self, state: State, gradient: Callable[[Arrays], Total], lr: float, done: float = 0.0
    ) -> tuple[State, list[Array]]:
        """One step: the state after it, and the arrays of no dimensions that an epoch reports of it.

        gradient: from flat parameters to the mean loss of the step's batch and its gradients.
        lr: learning rate.
        The arrays are the loss, the number of correct predictions and dLoss/dsigma of each noise layer. Nothing here
        waits for a GPU.
        """
        total = gradient(state.params)
        grads = total.grads or {}
        after = self.updated(state, grads, lr, done)
        return after, [total.loss, total.correct, *diagnostics.slopes(self.model, state.params, grads).values()]

    def epoch(self, state: State) -> Iterator[Step | tuple[State, Epoch]]:
        """Yields each step, and last the state and the record after the epoch."""
        t, number, start = self.training, state.epoch + 1, perf_counter()
        order = Stream(t.seed).at("shuffle", number).generator().permutation(len(self.train))
        batches = micro_batches(len(order), t.batch_size)
        draws = Stream(t.seed).at("training", number)
        lr, loss, correct = 0.0, 0.0, 0.0
        slopes = dict.fromkeys(self.model.noise_layers, 0.0)
        steps = self.steps
        course = [(number - 1 + step / len(batches)) / t.epochs for step in range(len(batches))]
        steps.begin(state, course)
        for step, (batch, done) in enumerate(zip(batches, course, strict=True)):
            lr = t.optimizer.lr * t.schedule(done)
            value, hits, *steepness = steps.step(order[batch], draws.from_sample(batch.start), lr, done)
            if not np.isfinite(value):
                raise TrainingError(_diverged(f"the loss became {value}", number, step + 1, len(batches), t))
            loss += value * (batch.stop - batch.start)
            correct += hits
            for path, steep in zip(slopes, steepness, strict=True):
                slopes[path] += steep * (batch.stop - batch.start) / len(order)
            yield Step(number, step + 1, len(batches), value)
        seconds = max(perf_counter() - start, 1e-9)  # a coarse clock may stand still
        state = steps.state
        # Within an epoch the next loss tells; the last update has no next.
        if not all(np.isfinite(to_host(p)).all() for p in state.params.values()):
            raise TrainingError(_diverged("a parameter overflowed", number, len(batches), len(batches), t))
        network, graphs = self.network(steps.params), steps.graphs
        noise, ratios = Stream(t.seed).at("validation noise", number), self.ratios(network, graphs)
        accuracy, noisy = self.validated(network, graphs=graphs), self.validated(network, noise, graphs)
        if np.isnan(accuracy + noisy):
            raise TrainingError(_diverged("the logits overflowed", number, len(batches), len(batches), t))
        record = Epoch(
            epoch=number,
            loss=loss / len(order),
            training_accuracy=correct / len(order),
            validation_accuracy=accuracy,
            noisy_validation_accuracy=noisy,
            sigma=brief(network.sigmas),
            sigma_gradient=brief(slopes),
            first_layer_ratio=ratios if ratios and len(slopes) > 1 else next(iter(ratios.values()), None),
            lr=lr,
            seconds=seconds,
            examples_per_second=len(order) / seconds,
            feature_noise=diagnostics.feature_noise(self.model, state.params),
        )
        yield replace(state, epoch=number, best=max(state.best, accuracy)), record

    def validated(self, network: Classifier, draws: Stream | None = None, graphs: Graphs | None = None) -> float:
        """Part of the validation images that the network classifies correctly; NaN where a logit is not finite.

        draws: random numbers of the noise, keyed by sample; None where the noise is off.
        graphs: CUDA graphs of the network's parameters.
        """
        held = self.validation
        parts = micro_batches(len(held), network.micro_batch)

        def right(params: Arrays, given: Arrays, streams: tuple[Stream, ...]) -> tuple[Arrays, Array]:
            noise = Sampled(streams[0]) if streams else EXPECTATION
            mean = network.scores(given["images"], noise).mean
            xp = namespace(mean)
            hits = (mean.argmax(axis=0) == xp.asarray(given["labels"])).sum()
            return {}, xp.where(xp.isfinite(mean).all(), hits, NOT_FINITE)

        def correct(i: int) -> int:
            """How many are right of a part, or NOT_FINITE."""
            given = {"images": held.images[parts[i]], "labels": held.labels[parts[i]]}
            streams = () if draws is None else (draws.from_sample(parts[i].start),)
            if graphs is None:
                return int(right({}, given, streams)[1])
            return int(graphs.run_updating("validated", right, flatten(network.params), given, streams))

        hits = gathered(self.workers, correct, len(parts))
        return nan if NOT_FINITE in hits else sum(hits) / len(held)

    def ratios(self, network: Classifier, graphs: Graphs | None = None) -> dict[str, float]:
        """mean |mu| / sigma of each noise layer over some validation images; graphs: as for `validated`."""
        return diagnostics.ratios(network, self.validation.images[:DIAGNOSED], self.workers, graphs)


def _constrained(constraint: Constraint) -> AbstractContextManager[None]:
    return BlamedOn("constraint", constraint, "parameters and gradients")


def _diverged(what: str, epoch: int, step: int, steps: int, training: Training) -> str:
    rule = training.optimizer
    return f"{what} in epoch {epoch}, step {step} of {steps}: try a smaller --lr (it was {rule.lr:g})" + (
        ", or --optimizer adam" if isinstance(rule, SGD) else ", or a smaller --sigma"
    )
