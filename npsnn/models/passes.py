"""The passes of a network that predictions, judging and attacks ask for.

A GPU computes the layers before the first noise once for all draws. The backward pass through them is linear in the
cotangent: the draws' cotangents are summed first, each times its own unit, and go back as one. The sums thus have
another order than on a CPU, where each draw has passes of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from npsnn.backend import Array, fused, namespace
from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.moments import Moments, Noise
from npsnn.models import averaging
from npsnn.models.averaging import Answer
from npsnn.models.model import Model
from npsnn.objectives import Objective, in_units


def engine_form(x: Array, like: Array) -> Array:
    """Images (N, C, H, W), of 8 bits or in [0, 1], as (H, C, W, N) in [0, 1], with the dtype and device of `like`."""
    xp, eight_bit = namespace(like), x.dtype == "uint8"
    # moved as they are: 8-bit images are a quarter of the floats
    moved = xp.ascontiguousarray(xp.asarray(x).transpose(2, 1, 3, 0), None if eight_bit else like.dtype)
    return moved.astype(like.dtype) / 255 if eight_bit else moved


def double(m: Moments) -> Moments:
    """The moments in double precision."""
    return Moments(*(None if z is None else z.astype("float64") for z in (m.mean, m.var)))


@fused
def _added(total: Array, cotangent: Array, unit: Array) -> Array:
    return total + cotangent * unit


@dataclass(frozen=True, eq=False)
class Passes:
    """The passes of a network; images (N, C, H, W) may be of any library, and answers are where the parameters are.

    model: the network.
    params: its parameters.
    average: draws of the noise whose logits are averaged for one answer.
    like: one of the parameters, for their dtype and device.
    """

    model: Model
    params: Params
    average: int
    like: Array

    def forward(self, x: Array, noise: Noise) -> tuple[Moments, Backward]:
        """The moments of the logits, (classes, N), and the backward pass."""
        return averaging.forward(self.model, self.params, self._moments(x), noise, self.average)

    def gradient(self, x: Array, labels: Array, noise: Noise, objective: Objective) -> tuple[Array, Array]:
        """An objective of each image, (N,), and its gradient by the image, float64 (N, C, H, W)."""
        m, backward = self.forward(x, noise)
        value, cotangent, unit = in_units(objective, m, self._moved(labels))
        g, _ = backward(cotangent, Want.INPUT)
        assert g is not None
        return value, (g.mean * unit).transpose(3, 1, 0, 2)

    def logits(self, x: Array, noises: Sequence[Noise]) -> Array:
        """The means of the logits under each noise, (noises, classes, N), on a GPU."""
        _, _, answer = self._split(x, noises)
        return namespace(self.like).stack([answer(noise)[0].mean for noise in noises])

    def values(self, x: Array, labels: Array, noises: Sequence[Noise], objective: Objective) -> Array:
        """An objective of each image under each noise, float64 (noises, N), on a GPU."""
        _, _, answer = self._split(x, noises)
        labels = self._moved(labels)
        return namespace(self.like).stack([objective(double(answer(noise)[0]), labels)[0] for noise in noises])

    def gradients(self, x: Array, labels: Array, noises: Sequence[Noise], objective: Objective) -> tuple[Array, Array]:
        """The sums over the noises of what `gradient` returns, on a GPU."""
        if len(noises) == 1:
            return self.gradient(x, labels, noises[0], objective)
        features, into, answer = self._split(x, noises)
        labels, values, total = self._moved(labels), None, None
        for noise in noises:
            m, back = answer(noise)
            value, cotangent, unit = in_units(objective, m, labels)
            below = back(cotangent, Want.INPUT).mean
            values = value if values is None else values + value
            total = below * unit if total is None else _added(total, below, unit)
        assert total is not None, "there must be a noise"
        unit = namespace(self.like).abs(total).reshape(-1, total.shape[-1]).max(axis=0)
        unit = namespace(self.like).where(unit > 1e-300, unit, 1)
        g, _ = into(Moments((total / unit).astype(features.mean.dtype)), Want.INPUT)
        assert g is not None
        return values, (g.mean * unit).transpose(3, 1, 0, 2)

    def _split(self, x: Array, noises: Sequence[Noise]) -> tuple[Moments, Backward, Callable[[Noise], Answer]]:
        return averaging.split(self.model, self.params, self._moments(x), noises[0], self.average)

    def _moments(self, x: Array) -> Moments:
        return Moments(engine_form(x, self.like))

    def _moved(self, labels: Array) -> Array:
        return namespace(self.like).asarray(labels)
