"""What the four networks compute on a CPU and on a GPU: moments, loss and gradients, with CUDA graphs and without.

An error is the largest difference of an array's entries over that array's largest entry, from a CPU's with the same
noise: the CPU is given the numbers that a GPU draws, which are one formula (`npsnn.philox`). `apart` is the same
between a GPU with graphs and without: 0 where they agree bit for bit. In double precision every treatment of the noise
is compared. In single precision a unit that is close to a kink falls on either side, and its gradient with it; so there
the noise is carried by the exact rule, which has no kinks, and in the networks without noise the images are drawn anew
until no unit is close to one.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import compare_torch
import numpy as np
from gpu_device import graphs, recorded

from npsnn import models
from npsnn.backend import to_device, to_host
from npsnn.gpu.graphs import Graphs
from npsnn.layers.base import Want
from npsnn.layers.batchnorm import is_statistic
from npsnn.layers.moments import WHOLE, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise
from npsnn.layers.params import flatten, unflatten
from npsnn.models import Model
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream

LIMITS = {"float64": 1e-9, "float32": 1e-3}
SHAPES = {"lenet5": (1, 28, 28), "cnn5": (3, 32, 32), "lenetpp": (1, 28, 28), "resnet18": (3, 16, 16)}
SMALL = {"lenetpp": (1, 28, 28), "resnet18": (3, 8, 8)}
"""Of images that no unit is close to a kink on, of which there are few."""
SIGMA = 0.6
IMAGES, CLASSES = 4, 10

Arrays: TypeAlias = dict[str, Any]
Computation: TypeAlias = Callable[[str], Arrays]
"""What a device ("cpu", "cuda") computes: arrays whose keys say what they are before a colon."""
Treated: TypeAlias = Callable[[tuple[Stream, ...]], Noise]


@dataclass(frozen=True)
class Comparison:
    """One computation: the error of each kind of result, and the largest that counts as rounding.

    apart: how far a GPU with graphs is from one without.
    graphs: how many graphs were recorded for it.
    warned: what was warned of.
    """

    model: str
    what: str
    dtype: str
    errors: dict[str, float]
    apart: float
    graphs: int
    warned: tuple[str, ...] = ()

    @property
    def limit(self) -> float:
        return LIMITS[self.dtype]

    @property
    def passed(self) -> bool:
        return all(error <= self.limit for error in (*self.errors.values(), self.apart))


@contextmanager
def numbers_of_a_gpu() -> Iterator[None]:
    """A CPU draws the numbers that a GPU draws."""
    own = Stream._samples

    def keyed(self: Stream, shape: tuple[int, ...], kind: str, dtype: Any) -> Any:
        return self._keyed(np.empty(shape, dtype), kind)

    try:
        Stream._samples = keyed  # type: ignore[method-assign]
        yield
    finally:
        Stream._samples = own  # type: ignore[method-assign]


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
    batch = both_ways(model, flat, x, labels, lambda _: Expectation(training=WHOLE), "cross-entropy")("cpu")
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


def errors(found: Arrays, wanted: Arrays) -> dict[str, float]:
    """The largest error of each kind of result."""
    every: dict[str, float] = {}
    for key in found.keys() | wanted.keys():
        both = key in found and key in wanted
        error = relative(found[key], to_host(wanted[key])) if both else float("inf")
        kind = key.partition(":")[0]
        every[kind] = max(error, every.get(kind, 0.0))
    return dict(sorted(every.items()))


def compared(model: str, what: str, dtype: str, device: str, f: Computation, cpu: bool = True) -> Comparison:
    """f of the device, against itself without graphs, and against f("cpu").

    cpu: whether a CPU comes to the same but for rounding.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with graphs(False):
            plain, _ = counted(f(device))
        with graphs(True):
            found, count = counted(f(device))
        apart = max(errors(found, plain).values())
        with numbers_of_a_gpu():
            wanted = f("cpu") if cpu else found
    told = tuple(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught))
    return Comparison(model, what, dtype, errors(found, wanted) if cpu else {}, apart, count, told)


def counted(found: Arrays) -> tuple[Arrays, int]:
    """The arrays in the host's memory, and the number of graphs under the key "graphs"."""
    return {k: to_host(a) for k, a in found.items() if k != "graphs"}, found["graphs"]


def both_ways(
    model: Model,
    flat: Arrays,
    x: Any,
    labels: Any,
    treated: Treated,
    objective: str,
    streams: tuple[Stream, ...] = (),
) -> Computation:
    """Forward and backward pass on a device, as `compared` asks for it; the third one, which is a graph's."""

    def passes(given: Arrays, drawn: tuple[Stream, ...]) -> Arrays:
        params = unflatten({k.partition("/")[2]: a for k, a in given.items() if k.startswith("params/")})
        m, backward = model.network.forward(params, Moments(given["x"]), treated(drawn))
        value, cotangent = OBJECTIVES[objective](m, given["labels"])
        g, grads = backward(cotangent, Want.BOTH)
        assert g is not None
        found = {"moments:mean": m.mean, "loss": value, "input gradient": g.mean}
        if m.var is not None:
            found["moments:var"] = m.var
        kinds = {k: "statistics" if is_statistic(k) else "gradients" for k in flatten(grads)}
        return found | {f"{kinds[k]}:{k}": a for k, a in flatten(grads).items()}

    def f(device: str) -> Arrays:
        given = {"x": np.ascontiguousarray(x.transpose(2, 1, 3, 0)), "labels": labels}
        given |= {f"params/{k}": p for k, p in flat.items()}
        on, kept = {k: to_device(a, device) for k, a in given.items()}, Graphs()
        for _ in range(1 if device == "cpu" else 3):
            found = kept.run("both ways", passes, on, streams)
        return found if device == "cpu" else found | {"graphs": recorded()}

    return f


def passes(name: str) -> Iterator[tuple[str, str, Computation, dict[str, bool]]]:
    """Moments, loss and all gradients under every treatment of the noise: what, dtype, f and how to compare it."""
    model = build(name)
    flat, (x, labels) = start(model, "float64"), images(model, "float64")
    flat |= averages(model, flat, x, labels)
    closed = "expected-cross-entropy" if isinstance(model.noise[1], FeatureNoise) else "noise-aware"
    given = model, flat, x, labels

    def drawn(streams: tuple[Stream, ...]) -> Noise:
        return Sampled(streams[0], training=WHOLE)

    yield "noise off", "float64", both_ways(*given, lambda _: Expectation(), "cross-entropy"), {}
    yield "training, drawn", "float64", both_ways(*given, drawn, "cross-entropy", (Stream(3),)), {}
    for rule in ("laplace", "exact"):
        yield rule, "float64", both_ways(*given, lambda _, rule=rule: carried(rule), closed), {}  # type: ignore[misc]
    yield single(name)


def carried(rule: str) -> Noise:
    """The noise in closed form, of which it is known that there is some."""
    return Propagated(RULES[rule], on=True)


def single(name: str) -> tuple[str, str, Computation, dict[str, bool]]:
    """The same in single precision, away from kinks."""
    model, labels = build(name), np.arange(IMAGES)
    if name in ("lenet5", "cnn5"):
        flat, (x, _) = start(model, "float32"), images(model, "float32")
        return "exact", "float32", both_ways(model, flat, x, labels, lambda _: carried("exact"), "noise-aware"), {}
    model = models.build(name, SMALL[name], CLASSES, 0.0)
    flat = compare_torch.start(model, "float32", training=True, seed=0)
    x, _ = flat.pop("x"), flat.pop("cotangent")
    noise = Expectation(training=WHOLE)
    return "training", "float32", both_ways(model, flat, x, labels, lambda _: noise, "cross-entropy"), {}
