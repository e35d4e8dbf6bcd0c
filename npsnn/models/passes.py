"""The passes of a network that predictions, judging and attacks ask for; on a GPU each is one CUDA graph.

The layers before the first noise are computed once for all draws. The backward pass through them is linear in the
cotangent: the draws' cotangents are summed first, each times its own unit, and go back as one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, TypeAlias

from npsnn.backend import Array, fused, namespace, on_gpu, stacked
from npsnn.gpu.graphs import Graphs, recording
from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.models import averaging, sigmas
from npsnn.models.averaging import Answer
from npsnn.models.base import Model
from npsnn.objectives import OBJECTIVES, Objective, in_units, keeps_units
from npsnn.streams import Stream
from npsnn.workers.base import micro_batches

Noises: TypeAlias = Sequence[Noise]

ANSWERS = 50
"""Draws of the noise that one graph has passes for; of more draws there are several launches."""


def engine_form(x: Array, like: Array) -> Array:
    """Images (N, C, H, W), of 8 bits or in [0, 1], as (H, C, W, N) in [0, 1], with the dtype and device of `like`."""
    xp, eight_bit = namespace(like), x.dtype == "uint8"
    turned = xp.asarray(x).transpose(2, 1, 3, 0)
    if eight_bit and on_gpu(like):
        return _unit(like.dtype)(turned)
    # moved as they are: 8-bit images are a quarter of the floats
    moved = xp.ascontiguousarray(turned, None if eight_bit else like.dtype)
    return _unit(like.dtype)(moved) if eight_bit else moved


@cache
def _unit(dtype: Any) -> Callable[[Array], Array]:
    @fused
    def in_unit(pixels: Array) -> Array:
        return pixels.astype(dtype) / 255

    return in_unit


def double(m: Moments) -> Moments:
    """The moments in double precision."""
    return Moments(*(None if z is None else z.astype("float64") for z in (m.mean, m.var)))


def _streams(noises: Noises) -> tuple[Stream, ...]:
    return tuple(noise.stream for noise in noises if isinstance(noise, Sampled))


def _lasting(noises: Noises, objective: Objective | None) -> bool:
    """Whether it pays to record what is computed of these, and a recording computes the same.

    An objective in no table may be of one call alone, as is a batch that is trained on. A class of streams of one's own
    has other numbers. What is recorded already, as a part of something larger, is recorded once.
    """
    named = objective is None or getattr(objective, "ascended", objective) in OBJECTIVES.values()
    plain = all(type(stream) is Stream and stream.samples is None for stream in _streams(noises))
    return named and plain and all(noise.training is None for noise in noises) and not recording()


@fused
def _added(total: Array, cotangent: Array, unit: Array) -> Array:
    return total + cotangent * unit


@dataclass(frozen=True, eq=False)
class Passes:
    """The passes of a network; images (N, C, H, W) may be of any library, and answers are where the parameters are.

    model: the network.
    params: its parameters, which must stay the same arrays.
    average: draws of the noise that make one answer.
    answer: what of these draws makes the answer, "logits", "probabilities" or "votes". Where it is votes, values and
        gradients are those of the probabilities.
    noise_off: whether the noise is off.
    like: one of the parameters, for their dtype and device.
    """

    model: Model
    params: Params
    average: int
    answer: str
    noise_off: bool
    like: Array
    _graphs: Graphs = field(default_factory=Graphs, init=False)

    @cached_property
    def random(self) -> bool:
        """Whether answers differ from one draw of the noise to another."""
        return not self.noise_off and sigmas.draws(self.model, self.params)

    def tell(self, random: bool) -> None:
        """Take it as known whether answers are random, where the host cannot wait for the parameters."""
        vars(self)["random"] = random

    def moments(self, x: Array, noise: Noise) -> Moments:
        """The moments of the logits, (classes, N)."""

        def f(x: Array, labels: None, noises: Noises) -> Moments:
            return self._forward(x, noises[0], self.answer)[0]

        found: Moments = self._run("moments", f, x, None, [noise])
        return found

    def logits(self, x: Array, noises: Noises, smooth: bool = False) -> Array:
        """The means of the logits under each noise, (noises, classes, N).

        smooth: whether the probabilities answer in the place of votes, as they do for values and gradients.
        """
        of = self._smooth if smooth else self.answer

        def f(x: Array, labels: None, noises: Noises) -> Array:
            answer = self._split(x, noises, of)[2]
            return stacked([answer(noise)[0].mean for noise in noises])

        parts = [self._run(f"logits of {of}", f, x, None, some) for some in self._parts(noises)]
        return namespace(self.like).concatenate(parts)

    def values(self, x: Array, labels: Array, noises: Noises, objective: Objective) -> Array:
        """An objective of each image under each noise, float64 (noises, N)."""

        def f(x: Array, labels: Array, noises: Noises) -> Array:
            answer = self._split(x, noises, self._smooth)[2]
            return stacked([objective(double(answer(noise)[0]), labels)[0] for noise in noises])

        parts = [self._run("values", f, x, labels, some, objective) for some in self._parts(noises)]
        return namespace(self.like).concatenate(parts)

    def gradients(self, x: Array, labels: Array, noises: Noises, objective: Objective) -> tuple[Array, Array]:
        """The sums over the noises of an objective of each image, (N,), and of its gradient by the image, both float64.

        noises: draws of the noise, or one noise of any kind.
        """

        def f(x: Array, labels: Array, noises: Noises) -> tuple[Array, Array]:
            of = self._of_one if len(noises) == 1 else self._of_several
            return of(x, labels, noises, objective)

        first, *more = self._parts(noises)
        values, gradient = self._run("gradients", f, x, labels, first, objective)
        for some in more:
            more_values, more_gradient = self._run("gradients", f, x, labels, some, objective)
            values, gradient = values + more_values, gradient + more_gradient
        return values, gradient

    def _of_one(self, x: Array, labels: Array, noises: Noises, objective: Objective) -> tuple[Array, Array]:
        m, backward = self._forward(x, noises[0], self._smooth)
        values, cotangent, unit = in_units(objective, m, labels)
        g, _ = backward(cotangent, Want.INPUT)
        assert g is not None
        return values, (g.mean * unit).transpose(3, 1, 0, 2)

    def _of_several(self, x: Array, labels: Array, noises: Noises, objective: Objective) -> tuple[Array, Array]:
        xp, (features, into, answer) = namespace(self.like), self._split(x, noises, self._smooth)
        values = total = None
        for noise in noises:
            m, back = answer(noise)
            value, cotangent, unit = in_units(objective, m, labels)
            below = back(cotangent, Want.INPUT).mean
            values = value if values is None else values + value
            total = below * unit if total is None else _added(total, below, unit)
        assert total is not None, "there must be a noise"
        unit = xp.abs(total).reshape(-1, total.shape[-1]).max(axis=0)
        unit = xp.where((unit > 1e-300) & keeps_units(objective), unit, 1)
        g, _ = into(Moments((total / unit).astype(features.mean.dtype)), Want.INPUT)
        assert g is not None
        return values, (g.mean * unit).transpose(3, 1, 0, 2)

    @property
    def _smooth(self) -> str:
        """The part of several draws that makes an answer with a gradient."""
        return "probabilities" if self.answer == "votes" else self.answer

    def _forward(self, x: Array, noise: Noise, answer: str) -> tuple[Moments, Backward]:
        m = Moments(engine_form(x, self.like))
        return averaging.forward(self.model, self.params, m, noise, self.average, answer)

    def _split(self, x: Array, noises: Noises, answer: str) -> tuple[Moments, Backward, Callable[[Noise], Answer]]:
        m = Moments(engine_form(x, self.like))
        return averaging.split(self.model, self.params, m, noises[0], self.average, answer)

    def _parts(self, noises: Noises) -> list[Noises]:
        return [noises[s] for s in micro_batches(len(noises), max(1, ANSWERS // self.average))]

    def _run(
        self,
        name: str,
        f: Callable[..., Any],
        x: Array,
        labels: Array | None,
        noises: Noises,
        objective: Objective | None = None,
    ) -> Any:
        """f(x, labels, noises), on a GPU as a graph whose data are the images, the labels and the keys of the draws.

        name: what f computes, for the objective.
        """
        heard, xp = [self._heard(noise) for noise in noises], namespace(self.like)
        arrays = {"x": xp.asarray(x)} | ({} if labels is None else {"labels": xp.asarray(labels)})
        if not on_gpu(self.like) or not _lasting(heard, objective):
            return f(arrays["x"], arrays.get("labels"), heard)

        def recorded(arrays: dict[str, Array], streams: Any) -> Any:
            own = iter(streams)
            again = [replace(noise, stream=next(own)) if isinstance(noise, Sampled) else noise for noise in heard]
            return f(arrays["x"], arrays.get("labels"), again)

        drawn = _streams(heard)
        kinds = tuple((n.stream.shared, n.scale) if isinstance(n, Sampled) else n for n in heard)
        return self._graphs.run((name, objective, kinds), recorded, arrays, drawn)

    def _heard(self, noise: Noise) -> Noise:
        if self.noise_off:
            return EXPECTATION
        if isinstance(noise, Propagated) and noise.on is None and on_gpu(self.like):
            return noise.known(self.random)
        return noise
