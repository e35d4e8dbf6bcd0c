"""What trainings and attacks of the four networks come to on a CPU and on a GPU, with CUDA graphs and without.

Attacks walk in L2: in Linf a gradient's sign decides, and rounding the sign of a gradient of almost 0. One walks there
with graphs and without, which agree bit for bit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from gpu_compare import (
    CLASSES,
    IMAGES,
    SIGMA,
    Arrays,
    Computation,
    averages,
    build,
    images,
    recorded,
    start,
)

from npsnn import attacks
from npsnn.backend import to_device, to_host
from npsnn.classifier import Classifier
from npsnn.data import Split
from npsnn.layers.noise import FeatureNoise
from npsnn.layers.params import unflatten
from npsnn.models import Model
from npsnn.streams import Stream
from npsnn.train.config import Config
from npsnn.train.epochs import Trainer
from npsnn.train.flat import training_of
from npsnn.train.training import Training
from npsnn.workers.processes import Processes

STEPS = 20
LINF = "PGD in Linf"
Job = tuple[str, str, Computation, Mapping[str, bool]]
"""What it is, its dtype, what computes it, and how `compared` is to compare it."""


def trainer_of(name: str, device: str, workers: Processes, dtype: str, **options: Any) -> Trainer:
    """A training of STEPS steps, of a network with its noise, on images drawn from a seed."""
    model = build(name)
    noise = "features" if isinstance(model.noise[1], FeatureNoise) else "preactivation"
    config = Config(model=name, noise=noise, sigma=SIGMA, learn_sigma=True, epochs=1, batch_size=IMAGES, **options)
    chosen: Training = replace(training_of(config, model.shape, CLASSES), model=model)
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (IMAGES * STEPS, *model.shape), dtype=np.uint8)
    split = Split(pixels, rng.integers(0, CLASSES, len(pixels)))
    held = Split(pixels[:IMAGES], split.labels[:IMAGES])
    return Trainer(chosen, split, held, workers, device, start(model, dtype))


def epoch(name: str, dtype: str, **options: Any) -> Computation:
    """The parameters after an epoch and the losses on the way, as a training has them."""

    def f(device: str) -> Arrays:
        with Processes(1) as workers:
            trainer = trainer_of(name, device, workers, dtype, **options)
            *records, (state, _) = trainer.epoch(trainer.initial())
            found = {f"parameters:{k}": to_host(p) for k, p in state.params.items()}
            found |= {f"optimizer:{k}": to_host(a) for k, a in state.optimizer.items()}
            found["losses"] = np.array([record.loss for record in records])
            return found if device == "cpu" else found | {"graphs": recorded()}

    return f


def trainings(name: str) -> Iterator[Job]:
    """Twenty steps with noise in closed form, and with drawn noise in both precisions."""
    closed = "expected-cross-entropy" if isinstance(build(name).noise[1], FeatureNoise) else "noise-aware"
    carried = {"optimizer": "sgd", "loss": closed, "propagation": "laplace"}
    drawn = {"optimizer": "adam", "loss": "cross-entropy", "propagation": "sampled"}
    yield f"{STEPS} steps of SGD, closed form", "float64", epoch(name, "float64", **carried), {}
    if name in ("lenet5", "cnn5"):  # a CPU takes long for the others
        yield f"{STEPS} steps of Adam, drawn", "float64", epoch(name, "float64", **drawn), {}
    # units fall on either side of a kink, and their weights go elsewhere: with the GPU itself alone
    yield f"{STEPS} steps of Adam, drawn", "float32", epoch(name, "float32", **drawn), {"cpu": False}


SOURCES = {"expectation": attacks.Expectation(), "closed form": attacks.ClosedForm(), "EoT": attacks.EoT(3)}


def walks(source: Any) -> dict[str, Any]:
    """Each attack that takes gradients or values of a source, small."""
    search: dict[str, Any] = {"pixels": 1, "population": 6, "generations": 3, "draws": 2, "source": source}
    return {
        "FGSM": attacks.FGSM(0.5, "l2", source),
        "BIM": attacks.BIM(0.5, "l2", 4, source),
        "PGD, 2 restarts": attacks.PGD(0.5, "l2", 3, 2, source),
        LINF: attacks.PGD(0.1, "linf", 3, 1, source),
        "C&W": attacks.CarliniWagner(0.0, 8, 0.2, 10.0, 2, 2, source=source),
        "One-Pixel": attacks.OnePixel(**search),
    }


FEW = ("FGSM", "PGD, 2 restarts")
"""What the networks other than LeNet-5 are attacked by."""


@cache
def attacked(name: str, dtype: str) -> tuple[Model, Arrays, Any, Any]:
    """A network, its parameters, and two images with the labels that the network gives them."""
    model = build(name)
    flat, (x, labels) = start(model, dtype), images(model, dtype)
    flat |= averages(model, flat, x, labels)
    return model, flat, x[:2], Classifier(model, unflatten(flat), threads=1).predict(x[:2]).argmax(axis=1)


def walked(name: str, attack: Any, dtype: str) -> Computation:
    """The adversarial images; on a GPU those of the second of two equal calls, which graphs have."""
    model, flat, x, labels = attacked(name, dtype)

    def f(device: str) -> Arrays:
        network = Classifier(model, unflatten(flat), threads=1).to(device)
        target, given = attack.source.of(network, attack.ascends), (to_device(x, device), to_device(labels, device))
        for _ in range(1 if device == "cpu" else 2):
            found = {"images": to_host(attack(target, *given, Stream(5)))}
        if np.array_equal(found["images"], x):
            raise ValueError("the attack moved no image, so that nothing can be compared")
        return found if device == "cpu" else found | {"graphs": recorded()}

    return f


def walking(name: str) -> Iterator[Job]:
    """Each attack on each source; PGD in single precision as well, with the GPU itself alone."""
    for of, source in SOURCES.items():
        for what, attack in walks(source).items():
            if name == "lenet5" or (what in FEW and of != "expectation"):
                yield f"{what}, {of}", "float64", walked(name, attack, "float64"), {"cpu": what != LINF}
        few = walks(source)[FEW[-1]]
        yield f"{FEW[-1]}, {of}", "float32", walked(name, few, "float32"), {"cpu": False}
    if name == "lenet5":
        search = attacks.RandomSearch(0.5, "l2", samples=6, draws=2)
        yield "random search", "float64", walked(name, search, "float64"), {}
