"""A function from images to logits as a network: whatever npsnn asks of a network, it asks of one layer.

    def answer(x, seed):
        noise = np.random.default_rng(seed).normal(size=(len(x), 64)) / 4
        hidden = x.reshape(len(x), -1) @ a + noise
        return np.maximum(hidden, 0) @ b, lambda g: (g @ b.T * (hidden > 0) @ a.T).reshape(x.shape)

    network = Target(answer, shape=(1, 8, 8))
    attacks.robust_accuracy(network, x, labels, attacks.auto(network, 0.1))

The function may be of any library. `npsnn.interop.torch.Target` makes such a function of a PyTorch module; in JAX,
`logits, pull = jax.vjp(f, x)` gives the two results, `logits` and `lambda g: pull(g)[0]`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

from npsnn.backend import on_gpu
from npsnn.classifier import Classifier
from npsnn.foreign import check_takes, name_of
from npsnn.interop.probes import Probed, checked_logits, in_line, probed
from npsnn.layers.base import Backward, Params, Shape, Want, filled, image_shape
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Noise, Propagated, Sampled
from npsnn.layers.params import Role
from npsnn.models.base import Model
from npsnn.streams import Stream
from npsnn.validate import check_count

LAYER = "function"
"""The name of the one layer of such a network."""
DRAWS, ROWS = 20, 5
"""The draws whose mean answers where the noise is off, of a function that cannot turn it off, and those of one call."""

Pullback: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""The vector-Jacobian product: from a cotangent of the logits, (n, classes), to the one of the images, (n, C, H, W)."""


class Function(Protocol):
    """What a function must be to become a target.

    x: images (n, C, H, W) in [0, 1], in the dtype of the target; a copy, which the function may write to.
    seed: whole number from 0 to 2**63 - 1 that names a draw of the noise. The same seed and the same n give the same
        noise; the noise of an image may depend on its place among the n. A function without noise ignores the seed.
    Returns the logits, (n, classes), and the vector-Jacobian product by x at the same draw.
    """

    def __call__(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, Pullback]: ...


class Part(NamedTuple):
    """Images that one call of the function answers for.

    seed: of the draw.
    columns: the places of the images among those that are asked about.
    rows: their places in the call.
    size: number of images of the call; other rows hold copies of an image, whose answers nobody uses.
    """

    seed: int
    columns: np.ndarray
    rows: np.ndarray
    size: int


@dataclass(frozen=True, eq=False, repr=False)
class Answering:
    """The layer that answers for a whole network by calling a function.

    function: the function.
    quiet: what answers where the noise is off.
    classes: number of logits.
    random: whether answers differ from one draw to another.
    block: number of images that share a seed.
    shared: whether all images of a call have one draw.
    Under a draw, image i is row i mod block of the call for block i // block, whose seed is keyed by the draw and the
    block. So the noise of an image depends on the draw and on i alone: not on how images are dealt out in batches, nor
    on which images of a block are asked about. Where a draw is shared, each image is a call of its own.
    Propagated noise is refused: nothing is known of the function but its answers and their gradient.
    """

    function: Function
    quiet: Function
    classes: int
    random: bool
    block: int
    shared: bool = False
    propagates: ClassVar[bool] = False
    roles: ClassVar[Mapping[str, Role]] = {"dtype": Role.STATISTIC}

    def __repr__(self) -> str:
        return f"the function {name_of(self.function)}"

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        """As for every layer; the one parameter tells the dtype of the images, and nothing else."""
        return {"dtype": filled(rng, ())}, (self.classes,) if image_shape(self, shape) else ()

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        """As for every layer."""
        self._check(m, noise)
        x = np.array(m.mean.transpose(3, 1, 0, 2), order="C")  # (H, C, W, N) -> (N, C, H, W)
        stream = noise.stream if self.random and isinstance(noise, Sampled) else None
        function = self.quiet if self.random and stream is None else self.function
        mean, pullbacks = np.empty((self.classes, len(x)), x.dtype), []
        for part in [_whole(len(x))] if stream is None else self._drawn(stream, len(x)):
            logits, pullback = checked_logits(function, _placed(x, part), part.seed, self.classes)
            mean[:, part.columns] = logits[part.rows].T
            pullbacks.append((part, pullback))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            if Want.PARAMS in want:
                raise ValueError(f"{self!r} has gradients by the image alone, got a wish for the parameters'")
            below = np.empty_like(x)
            for part, pullback in pullbacks:
                cotangent = np.zeros((part.size, self.classes), x.dtype)
                cotangent[part.rows] = g.mean.T[part.columns]
                below[part.columns] = self._pulled(pullback, cotangent, x.shape[1:])[part.rows]
            return Moments(np.ascontiguousarray(below.transpose(2, 1, 3, 0))), {}

        return Moments(mean), backward

    def _check(self, m: Moments, noise: Noise) -> None:
        if noise.training is not None:
            raise ValueError(f"{self!r} cannot be trained by npsnn: its parameters are not npsnn's")
        if m.var is not None or (self.random and isinstance(noise, Propagated)):
            raise ValueError(f"{self!r} has no closed form of its noise: attack it by draws, as with EoT")
        if on_gpu(m.mean):
            raise ValueError(f"{self!r} takes arrays of the CPU, and computes where it was made: keep the target there")

    def _drawn(self, stream: Stream, count: int) -> Iterator[Part]:
        """The calls for one draw of some images; an image that is asked about twice is in two of them."""
        if stream.shared:
            seed = _seed(stream)
            yield from (Part(seed, np.array([n]), np.array([0]), 1) for n in range(count))
            return
        times: Counter[int] = Counter()
        places: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for column in range(count):
            block, row = divmod(stream.sample(column), self.block)
            again = times[stream.sample(column)]
            times[stream.sample(column)] += 1
            places.setdefault((block, again), []).append((column, row))
        for (block, _), found in places.items():
            columns, rows = np.array(found).T
            yield Part(_seed(stream.at("block", block)), columns, rows, self.block)

    def _pulled(self, pullback: Pullback, cotangent: np.ndarray, shape: Shape) -> np.ndarray:
        try:
            found = np.asarray(pullback(cotangent))
        except Exception as error:
            raise ValueError(f"{self!r} gives no gradient by the images: {in_line(error)}") from error
        if found.shape != (len(cotangent), *shape):
            wanted = (len(cotangent), *shape)
            raise ValueError(f"the gradient of {self!r} must have the images' shape {wanted}, got {found.shape}")
        return found


class FunctionModel(Model):
    """A model whose one layer calls a function: no file can hold it."""

    def spec(self) -> dict[str, Any]:
        """Refused: raises ValueError."""
        raise ValueError(f"{self.name} is a function, which no file of npsnn can hold: save it where it was made")


def _whole(count: int) -> Part:
    """One call for all images, whose draw does not matter."""
    every = np.arange(count)
    return Part(0, every, every, count)


def _placed(x: np.ndarray, part: Part) -> np.ndarray:
    """The images of a call, in their rows."""
    placed = np.repeat(x[part.columns[:1]], part.size, axis=0)
    placed[part.rows] = x[part.columns]
    return placed


def _seed(stream: Stream) -> int:
    return int(stream.at("seed").generator().integers(2**63))


@dataclass(frozen=True, eq=False)
class MeanOf:
    """The mean answer of a function over fixed draws: a function without noise.

    function: the function, which is random.
    seeds: number of seeds, which are 0, 1, 2 and so on.
    rows: number of draws of a seed. Each image is so many copies in a call of its own, and its answer depends neither
        on the other images nor on its place among them. 1 where a call is one draw, which all images then share.
    The vector-Jacobian product asks the function again, so that one call at a time is in memory.
    """

    function: Function
    seeds: int
    rows: int

    @property
    def __name__(self) -> str:
        return name_of(self.function)

    def __call__(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, Pullback]:
        draws = self.seeds * self.rows

        def mean(part: np.ndarray) -> np.ndarray:
            return np.asarray(sum(self._summed(z) for z, _ in self._answers(part)) / draws)

        def pulled(part: np.ndarray, g: np.ndarray) -> np.ndarray:
            each = np.repeat(g / draws, self.rows, axis=0)
            return np.asarray(sum(self._summed(pull(each.copy())) for _, pull in self._answers(part)))

        size = len(x) if self.rows == 1 else 1
        parts = [slice(start, start + size) for start in range(0, len(x), size)]
        return np.concatenate([mean(x[s]) for s in parts]), lambda g: np.concatenate(
            [pulled(x[s], g[s]) for s in parts]
        )

    def _answers(self, part: np.ndarray) -> Iterator[tuple[np.ndarray, Pullback]]:
        for seed in range(self.seeds):
            yield self.function(np.repeat(part, self.rows, axis=0), seed)

    def _summed(self, values: np.ndarray) -> np.ndarray:
        """The sums over the copies of each image."""
        values = np.asarray(values)
        return np.asarray(values.reshape(-1, self.rows, *values.shape[1:]).sum(axis=1))


def Target(  # noqa: N802  # stands for the class that users expect; its value is a Classifier
    function: Function,
    shape: Shape,
    quiet: Function | None = None,
    *,
    random: bool | None = None,
    batch: int = 64,
    dtype: Any = "float32",
    name: str = "",
    threads: int | None = 1,
) -> Classifier:
    """Make a network of a function, for all of npsnn's attacks, judging and certificates.

    function: from images and a seed to the logits and their vector-Jacobian product, as `Function` says.
    shape: one image, (C, H, W).
    quiet: function that answers where the noise is off, and has no noise; None for the mean of 20 fixed draws.
    random: whether answers differ from one seed to another; None to see it by a few draws.
    batch: number of images of a call, >= 1. Images 0 to batch - 1 share a seed, and so do the next ones: another batch
        is other noise. Fewer images cost as much as a whole batch where the function is random.
    dtype: of the images and the logits, float32 or float64.
    name: of the network, for people; "" for the function's own.
    threads: number of threads that call the function, None for all cores.
    Training, closed forms and certificates by the function's own noise are refused where they are asked for.
    Raises TypeError for what cannot be called so; ValueError for other arguments, and where a few calls show an answer
    of a wrong shape, logits that are not finite, an image whose answer depends on the other images, or noise that the
    seed does not set.
    """
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    for one, what in ((function, "function"), (quiet, "quiet")):
        if one is not None:
            check_function(one, what)
    check_count("batch", batch)
    found = probed(function, shape, dtype, batch, random)
    return network_of(function, quiet, shape, found, batch=batch, dtype=dtype, name=name, threads=threads)


def check_function(function: Any, what: str) -> None:
    """Raise TypeError unless a value can be called with images and a seed; what: the argument, for messages."""
    if not callable(function):
        raise TypeError(f"{what} must be a function of images and a seed, got {function!r:.80}")
    check_takes(function, "x, seed", f"{what} {name_of(function)}")


def network_of(
    function: Function,
    quiet: Function | None,
    shape: Shape,
    found: Probed,
    *,
    batch: int,
    dtype: Any,
    name: str,
    threads: int | None,
) -> Classifier:
    """The network of a function, of which `probed` has found the number of classes and how it draws."""
    mean = MeanOf(function, DRAWS, 1) if found.shared else MeanOf(function, DRAWS // ROWS, ROWS)
    layer = Answering(function, quiet or mean, found.classes, found.random, batch, found.shared)
    network = Sequential(((LAYER, layer),))
    model = FunctionModel(name or name_of(function), network, tuple(shape), found.classes, batch)
    return Classifier(model, {LAYER: {"dtype": np.zeros((), dtype)}}, threads)
