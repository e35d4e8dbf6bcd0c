"""npsnn's side of the benchmarks on a CPU: JOB, a bench_cases.Job as JSON; then it obeys its input.

Writes parameters and batch to the job's file, if it names one, from which the other sides start.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from bench_cases import Case, Job
from bench_side import answer, milliseconds, peak_memory

import npsnn
from npsnn import models
from npsnn.attacks.targets import Target, closed_form, expectation, sampled
from npsnn.classifier import Classifier
from npsnn.data import Split, as_float
from npsnn.host import keep_freed_memory
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.batchnorm import is_statistic
from npsnn.layers.containers import Sequential
from npsnn.layers.params import unflatten
from npsnn.models import Model
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train.config import Config
from npsnn.train.epochs import State, Trainer
from npsnn.train.flat import training_of
from npsnn.train.loop import workers_for
from npsnn.train.training import Training
from npsnn.workers.base import gathered, micro_batches
from npsnn.workers.threads import Threads

LR = 1e-9
"""So small that every step finds the same network."""


def model_of(case: Case) -> Model:
    """The case's model, its backbones under noise features of level 0."""
    noise = "features" if case.model in ("lenetpp", "resnet18") else "preactivation"
    model = models.build(case.model, case.shape, case.classes, case.sigma, noise)
    return model if case.width == 1 else replace(model, network=_widened(model.network, case.width))


def _widened(network: Sequential, factor: int) -> Sequential:
    """The network with `factor` times the channels and features, but for its logits."""
    layers = []
    for name, layer in network.layers:
        if isinstance(layer, Conv2d):
            layer = replace(layer, channels=factor * layer.channels)
        elif isinstance(layer, Linear) and not layer.joint:
            layer = replace(layer, features=factor * layer.features)
        layers.append((name, layer))
    return Sequential(tuple(layers))


def training_of_case(case: Case) -> Training:
    """Plain gradient descent on the case's loss."""
    loss = "cross-entropy" if case.step in ("plain", "sampled") else "noise-aware"
    rule = {"exact": "exact", "sampled": "sampled"}.get(case.step, "laplace")
    noise = "features" if case.model in ("lenetpp", "resnet18") else "preactivation"
    options: dict[str, Any] = {"model": case.model, "noise": noise, "sigma": case.sigma}
    config = Config(**options, optimizer="sgd", momentum=0.0, propagation=rule, loss=loss)
    return replace(training_of(config, case.shape, case.classes), model=model_of(case))


def batch_of(case: Case, examples: int) -> Split:
    """Random images, of no data set: a step's time does not depend on what they show."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (examples, *case.shape), np.uint8)
    return Split(images, rng.integers(0, case.classes, examples))


@dataclass
class Stepping:
    """Forward, backward and update of a batch."""

    trainer: Trainer
    state: State

    def step(self) -> None:
        grads = self.trainer.gradient(self.state.params, np.arange(len(self.trainer.train))).grads or {}
        self.state = self.trainer.updated(self.state, grads, LR)

    def gradients(self) -> tuple[float, Arrays]:
        """The mean loss and the gradients of the parameters that it depends on."""
        total = self.trainer.gradient(self.state.params, np.arange(len(self.trainer.train)))
        silent = not self.trainer.network(self.state.params).random
        unused = f"{self.trainer.model.noise_layer}." if silent else "-"
        grads = (total.grads or {}).items()
        return total.loss, {k: g for k, g in grads if not k.startswith(unused) and not is_statistic(k)}


@dataclass
class Attack:
    """The gradient of each example's loss with respect to its image, micro-batches on all threads."""

    target: Target
    images: np.ndarray
    labels: np.ndarray
    workers: Threads
    micro_batch: int

    def step(self) -> tuple[float, np.ndarray]:
        """The summed loss, and the gradient of every image."""
        parts, stream = micro_batches(len(self.images), self.micro_batch), Stream(0)

        def one(i: int) -> tuple[np.ndarray, np.ndarray]:
            rows = parts[i]
            return self.target(self.images[rows], self.labels[rows], stream.from_sample(rows.start))

        found = gathered(self.workers, one, len(parts))
        return sum(float(loss.sum()) for loss, _ in found), np.concatenate([g for _, g in found])

    def gradients(self) -> tuple[float, Arrays]:
        loss, gradient = self.step()
        return loss, {"x": gradient}


@contextmanager
def prepared(job: Job) -> Iterator[tuple[Stepping | Attack, Arrays]]:
    """The step of the job, and the parameters and the batch that it starts from, in the host's memory."""
    case = job.case
    model, batch = model_of(case), batch_of(case, job.batch_size)
    with workers_for(job.threads, "cpu") as workers:
        trainer = Trainer(training_of_case(case), batch, batch, workers, "cpu")
        state = trainer.initial()
        start = {"images": batch.images, "labels": batch.labels, **{k: p for k, p in state.params.items()}}
        if not case.attack:
            yield Stepping(trainer, state), start
            return
        network = Classifier(model, unflatten(state.params))
        targets = {
            "plain": lambda: expectation(network),
            "sampled": lambda: sampled(network, case.draws),
            "noise-aware": lambda: closed_form(network, "noise-aware", "laplace"),
            "exact": lambda: closed_form(network, "noise-aware", "exact"),
        }
        images = as_float(batch.images)
        yield Attack(targets[case.step](), images, batch.labels, workers, network.micro_batch), start


def main(job: Job, lines: Iterable[str] = sys.stdin) -> None:
    keep_freed_memory()
    with prepared(job) as (work, arrays):
        if job.start is not None:
            np.savez(job.start, **arrays)

        def gradients(path: str) -> float:
            loss, found = work.gradients()
            np.savez(path, **{k: g for k, g in found.items()})
            return float(loss)

        commands = {
            "version": lambda _: f"{npsnn.__version__} with NumPy {np.__version__}",
            "gradients": gradients,
            "time": lambda seconds: milliseconds(work.step, float(seconds)),
            "memory": lambda _: peak_memory(),
        }
        answer(commands, lines)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
