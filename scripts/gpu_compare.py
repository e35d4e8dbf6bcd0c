"""What the four networks compute on a CPU and on a GPU, with the same noise: moments, gradients, training, attacks.

An error is the largest difference of an array's entries over that array's largest entry. In double precision every
treatment of the noise is compared. In single precision a unit that is close to a kink falls on either side, and its
gradient with it; so there the noise is carried by the exact rule, which has no kinks, and in the networks without noise
the images are drawn anew until no unit is close to one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import compare_torch
import numpy as np

from npsnn import models
from npsnn.attacks import closed_form, pgd, sampled
from npsnn.backend import to_device, to_host
from npsnn.classifier import Classifier
from npsnn.data import Split
from npsnn.layers.base import Want
from npsnn.layers.batchnorm import is_statistic
from npsnn.layers.moments import WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.models import Model
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.train.config import Config
from npsnn.train.epochs import Trainer
from npsnn.train.flat import training_of
from npsnn.workers.processes import Processes

LIMITS = {"float64": 1e-9, "float32": 1e-3}
SHAPES = {"lenet5": (1, 28, 28), "cnn5": (3, 32, 32), "lenetpp": (1, 28, 28), "resnet18": (3, 32, 32)}
SIGMA = 0.6
IMAGES, CLASSES, STEPS = 4, 10, 3

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One computation on both devices: the error of each kind of result, and the largest that counts as rounding."""

    model: str
    what: str
    dtype: str
    errors: dict[str, float]

    @property
    def limit(self) -> float:
        return LIMITS[self.dtype]

    @property
    def passed(self) -> bool:
        return all(error <= self.limit for error in self.errors.values())


@dataclass(frozen=True)
class DeviceStream(Stream):
    """A stream whose numbers are a GPU's on a CPU as well."""

    def _samples(self, shape: tuple[int, ...], kind: str, dtype: Any) -> Any:
        return self._keyed(np.empty(shape, dtype), kind)


def build(name: str, sigma: float = SIGMA) -> Model:
    """The network with its noise: on the first pre-activation, or on the features of the two that have no other."""
    noise = "preactivation" if name in ("lenet5", "cnn5") else "features"
    return models.build(name, SHAPES[name], CLASSES, sigma, noise)


def start(model: Model, dtype: str) -> Arrays:
    """Flat parameters of which none is at its first value, drawn from a seed."""
    rng = np.random.default_rng(0)
    flat = flatten(model.init(rng))
    moved = {k: p + 0.2 * rng.random(p.shape) if p.ndim == 1 else p for k, p in flat.items()}
    return {k: p.astype(dtype) for k, p in moved.items()}


def images(model: Model, dtype: str) -> tuple[Any, Any]:
    """Images (N, C, H, W) and labels (N,), drawn from a seed."""
    rng = np.random.default_rng(1)
    return rng.random((IMAGES, *model.shape)).astype(dtype), rng.integers(0, CLASSES, IMAGES)


def averages(model: Model, flat: Arrays, x: Any, labels: Any) -> Arrays:
    """The running averages that these images have.

    Under others a deep network's logits lie so far apart that the gradient of the noise vanishes, but for rounding.
    """
    batch = both_ways(model, flat, x, labels, Expectation(training=WHOLE), "cross-entropy")("cpu")
    return {k.partition(":")[2]: a for k, a in batch.items() if k.startswith("statistics:")}


def relative(found: Any, wanted: Any) -> float:
    """The error of an array; infinite where one side alone is not finite or has another shape or dtype."""
    found = to_host(found)
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return float("inf")
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return 0.0 if np.array_equal(found, wanted, equal_nan=True) else float("inf")
    largest = float(np.abs(wanted).max(initial=0))
    return float(np.abs(found - wanted).max(initial=0)) / (largest or 1.0)


def compared(model: str, what: str, dtype: str, device: str, f: Callable[[str], Arrays]) -> Comparison:
    """f("cpu") against f(device): dictionaries of arrays, whose keys say what they are before a colon."""
    wanted, found = f("cpu"), f(device)
    errors: dict[str, float] = {}
    for key in found.keys() | wanted.keys():
        both = key in found and key in wanted
        error = relative(found[key], to_host(wanted[key])) if both else float("inf")
        kind = key.partition(":")[0]
        errors[kind] = max(error, errors.get(kind, 0.0))
    return Comparison(model, what, dtype, dict(sorted(errors.items())))


def both_ways(model: Model, flat: Arrays, x: Any, labels: Any, noise: Noise, objective: str) -> Callable[[str], Arrays]:
    """Forward and backward pass on a device, as `compared` asks for it."""

    def f(device: str) -> Arrays:
        on = [to_device(a, device) for a in (np.ascontiguousarray(x.transpose(2, 1, 3, 0)), labels)]
        params = unflatten({k: to_device(p, device) for k, p in flat.items()})
        m, backward = model.network.forward(params, Moments(on[0]), noise)
        value, cotangent = OBJECTIVES[objective](m, on[1])
        g, grads = backward(cotangent, Want.BOTH)
        assert g is not None
        found = {"moments:mean": m.mean, "loss": value, "input gradient": g.mean}
        if m.var is not None:
            found["moments:var"] = m.var
        kinds = {k: "statistics" if is_statistic(k) else "gradients" for k in flatten(grads)}
        return found | {f"{kinds[k]}:{k}": a for k, a in flatten(grads).items()}

    return f


def passes(name: str, device: str) -> Iterator[Comparison]:
    """Moments, loss and all gradients under every treatment of the noise, in double precision."""
    model = build(name)
    flat, (x, labels) = start(model, "float64"), images(model, "float64")
    flat |= averages(model, flat, x, labels)
    features = isinstance(model.noise[1], FeatureNoise)
    closed = "expected-cross-entropy" if features else "noise-aware"
    treatments: dict[str, tuple[Noise, str]] = {
        "noise off": (Expectation(), "cross-entropy"),
        "training, sampled": (Sampled(DeviceStream(3), training=WHOLE), "cross-entropy"),
    }
    treatments |= {rule: (Propagated(RULES[rule]), closed) for rule in ("laplace", "exact")}
    for what, (noise, objective) in treatments.items():
        yield compared(name, what, "float64", device, both_ways(model, flat, x, labels, noise, objective))


def single(name: str, device: str) -> Comparison:
    """The same in single precision, away from kinks."""
    model, labels = build(name), np.arange(IMAGES)
    if name in ("lenet5", "cnn5"):
        flat, (x, _) = start(model, "float32"), images(model, "float32")
        f = both_ways(model, flat, x, labels, Propagated(RULES["exact"]), "noise-aware")
        return compared(name, "exact", "float32", device, f)
    shape = compare_torch.SMALL.get((name, "float32"), SHAPES[name])
    model = models.build(name, shape, CLASSES, 0.0)
    flat = compare_torch.start(model, "float32", training=True, seed=0)
    x, _ = flat.pop("x"), flat.pop("cotangent")
    noise = Expectation(training=WHOLE)
    return compared(name, "training", "float32", device, both_ways(model, flat, x, labels, noise, "cross-entropy"))


def training(name: str, device: str) -> Comparison:
    """The parameters after a few steps of SGD with momentum, in double precision."""
    preactivation = name in ("lenet5", "cnn5")
    loss, propagation = ("noise-aware", "laplace") if preactivation else ("cross-entropy", "sampled")
    options: dict[str, Any] = {"optimizer": "sgd", "learn_sigma": True, "loss": loss, "propagation": propagation}
    config = Config(model=name, noise="preactivation" if preactivation else "features", sigma=SIGMA, **options)
    model = build(name)
    chosen = replace(training_of(config, model.shape, CLASSES), model=model)
    rng, count = np.random.default_rng(2), IMAGES * STEPS
    pixels = rng.integers(0, 256, (count, *model.shape), dtype=np.uint8)
    split = Split(pixels, rng.integers(0, CLASSES, count))

    def f(device: str) -> Arrays:
        with Processes(1) as workers:
            trainer = Trainer(chosen, split, split, workers, device, start(model, "float64"))
            state = trainer.initial()
            for step in range(STEPS):
                rows = np.arange(step * IMAGES, (step + 1) * IMAGES)
                total = trainer.gradient(state.params, rows, DeviceStream(4).from_sample(int(rows[0])))
                state = trainer.updated(state, total.grads or {}, 1e-3)
        return {f"parameters:{k}": p for k, p in state.params.items()}

    return compared(name, f"{STEPS} steps of SGD, {propagation}", "float64", device, f)


def attacks(name: str, device: str) -> Iterator[Comparison]:
    """The adversarial images of PGD in L2 on the closed form and on draws, in double precision.

    Not in Linf: there a gradient's sign decides, and rounding the sign of a gradient of almost 0.
    """
    model = build(name)
    x, labels = images(model, "float64")
    network = Classifier(model, unflatten(start(model, "float64")), threads=1)
    for what, target in (("closed form", closed_form), ("2 draws", lambda c: sampled(c, 2))):

        def f(device: str, target: Any = target) -> Arrays:
            attack = pgd(0.5, "l2", steps=STEPS)
            return {"images": attack(target(network.to(device)), x, labels, DeviceStream(5))}

        yield compared(name, f"PGD, {what}", "float64", device, f)


def everything(name: str, device: str) -> Iterator[Comparison]:
    """All comparisons of one network."""
    yield from passes(name, device)
    yield single(name, device)
    yield training(name, device)
    yield from attacks(name, device)
