"""npsnn's side of what is timed on a GPU: DEVICE; then it obeys its input, one job after the other.

A step is a training's own: the batch, another one each time, is taken from the host's memory, and the loss comes back.
"""

import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import checkout  # noqa: F401
import numpy as np
from bench_cases import SIGMA, Case, Job
from bench_npsnn import LR, batch_of, training_of_case
from bench_side import answers, memory_now, milliseconds, peak_memory, reset_peak_memory, serve
from gpu_device import computing_on, device_memory, free_device_memory, graphs, recorded

import npsnn
from npsnn import attacks, models, train
from npsnn.backend import to_host, to_numbers
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, as_float
from npsnn.gpu import blas
from npsnn.layers.batchnorm import is_statistic
from npsnn.streams import Stream
from npsnn.train.epochs import Trainer
from npsnn.train.loop import workers_for

WARM = 4
"""Steps before anything is timed: a graph is recorded at the second, and kernels are compiled at the first."""
MODES = {"graph": True, "plain": False}


@dataclass
class Stepping:
    """A training that goes on: forward, backward and update of one batch after the other."""

    trainer: Trainer
    rows: list[np.ndarray]
    done: int = 0

    def step(self) -> float:
        """The loss, which the host waits for."""
        rows = self.rows[self.done % len(self.rows)]
        self.done += 1
        loss, *_ = self.trainer.steps.step(rows, Stream(0).from_sample(self.done * len(rows)), LR)
        return loss


class Server:
    """What the commands do; `use` makes the job whose steps the others take."""

    def __init__(self, device: str) -> None:
        self.device, self.workers = device, ExitStack()
        self.stepping: dict[str, Stepping] = {}

    def use(self, text: str) -> dict[str, Any]:
        """A job from JSON: its steps with graphs and without, warmed up, and its start in the job's file."""
        self.stepping.clear()
        self.workers.close()
        free_device_memory()
        reset_peak_memory()
        job = Job.from_json(text)
        tf32(job.tf32)
        split = batch_of(job.case, job.batches * job.batch_size)
        rows = list(np.random.default_rng(1).permutation(len(split)).reshape(job.batches, job.batch_size))
        workers = self.workers.enter_context(workers_for(1, self.device))
        found: dict[str, Any] = {}
        for mode, wanted in MODES.items():
            with graphs(wanted):
                trainer = Trainer(training_of_case(job.case), split, split, workers, self.device)
                state = trainer.initial()
                if wanted and job.start is not None:
                    arrays = {"images": split.images, "labels": split.labels, "rows": np.array(rows)}
                    np.savez(job.start, **arrays, **{k: to_host(p) for k, p in state.params.items()})
                trainer.steps.begin(state)
                own = self.stepping[mode] = Stepping(trainer, rows)
                losses = [own.step() for _ in range(WARM)]
            if wanted:  # before there is memory of steps without graphs
                found = {"losses": losses, "graphs": recorded(), "memory": memory()}
        return {"version": f"{npsnn.__version__} with NumPy {np.__version__}", **found}

    def gradients(self, path: str) -> float:
        """The loss of the first batch; the gradients that it depends on are in the file."""
        with graphs(False):
            mine = self.stepping["plain"]
            params = mine.trainer.steps.state.params
            total = mine.trainer.gradient(params, mine.rows[0])
            silent = not mine.trainer.network(params).random
            unused = f"{mine.trainer.model.noise_layer}." if silent else "-"
        grads = {k: g for k, g in (total.grads or {}).items() if not k.startswith(unused) and not is_statistic(k)}
        np.savez(path, **{k: to_host(g) for k, g in grads.items()})
        return to_numbers(total.loss)[0]

    def time(self, arguments: str) -> float:
        """MODE SECONDS: the mean milliseconds of a step."""
        mode, seconds = arguments.split()
        with graphs(MODES[mode]):
            return milliseconds(self.stepping[mode].step, float(seconds))

    def profile(self, steps: str) -> dict[str, Any]:
        """Kernels of a step with graphs, by CUDA's trace."""
        from gpu_profile import traced

        with graphs(True):
            return traced(self.stepping["graph"].step, int(steps))

    def attack(self, arguments: str) -> dict[str, Any]:
        """NAME IMAGES TF32: seconds of the whole call of robust_accuracy, the first time and the second."""
        name, count, with_tf32 = arguments.split()
        tf32(with_tf32 == "on")
        return timed_attack(name, int(count), self.device)

    def training(self, arguments: str) -> dict[str, Any]:
        """CASE BATCH_SIZE STEPS PARTS: memory after each of so many parts of a training."""
        model, step, *numbers = arguments.split()
        tf32(False)
        return long_training(Case(model, step), *map(int, numbers), device=self.device)


def tf32(wanted: bool) -> None:
    """Let products of float32 round to TF32, or not."""
    blas.tf32(wanted)


def attacked(name: str) -> tuple[Case, Any]:
    """The network and the attack of that name: of random weights, on which the time does not depend."""
    known: dict[str, tuple[Case, Any]] = {
        "pgd": (Case("lenet5", "exact"), attacks.PGD(0.1, steps=20, source=attacks.ClosedForm())),
        "eot": (Case("resnet18"), attacks.PGD(8 / 255, steps=10, source=attacks.EoT(50))),
    }
    return known[name]


def timed_attack(name: str, count: int, device: str) -> dict[str, Any]:
    case, attack = attacked(name)
    noise = "features" if case.model == "resnet18" else "preactivation"
    model = models.build(case.model, case.shape, case.classes, SIGMA, noise)
    network = Classifier(model, model.init(np.random.default_rng(0))).to(device)
    split = batch_of(case, count)
    images = as_float(split.images)
    free_device_memory()
    reset_peak_memory()
    seconds, alone = [], []
    for _ in range(2):
        found: list[Any] = []

        def call(found: list[Any] = found) -> None:
            found += attacks.robust_accuracy(network, images, split.labels, [attack])

        seconds.append(milliseconds(call, 0) / 1e3)
        alone.append(found[0].seconds)
    return {"seconds": seconds, "attack_alone": alone, "graphs": recorded(), "memory": memory()}


def long_training(case: Case, batch_size: int, steps: int, parts: int, device: str) -> dict[str, Any]:
    """Memory after each part, an epoch of steps / parts updates, as `npsnn.train.fit` makes them."""
    each = steps // parts
    # of which a twelfth is held out for validation
    images = round(each * batch_size * 12 / 11)
    split = batch_of(case, images)
    training = replace(training_of_case(case), epochs=parts, batch_size=batch_size)
    dataset = Dataset("random", split, Split(split.images[:2], split.labels[:2]), case.classes, {})
    free_device_memory()
    reset_peak_memory()
    after = []
    done = 0
    for record in train.fit(training, dataset, threads=1, device=device):
        if isinstance(record, train.Step):
            done += 1
        else:
            after.append({"steps": done, "device": device_memory(), "host": memory_now()})
    return {"after": after}


def memory() -> dict[str, int]:
    """Peaks in bytes."""
    return {"device": device_memory(), "host": peak_memory()}


def warned(f: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """f, whose answer says what it warned of: a graph that could not be recorded, say."""

    def call(argument: str) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            found = f(argument)
        return found | {"warned": [str(w.message) for w in caught]}

    return call


def main(name: str) -> None:
    with answers() as out, computing_on(name) as device:
        server = Server(device)
        commands: dict[str, Callable[[str], object]] = {
            "job": warned(server.use),
            "gradients": server.gradients,
            "time": server.time,
            "profile": server.profile,
            "attack": warned(server.attack),
            "training": warned(server.training),
        }
        serve(commands, sys.stdin, out)


if __name__ == "__main__":
    main(sys.argv[1])
