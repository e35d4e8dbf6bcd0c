"""What flows through a network, and how its noise is treated on the way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from npsnn.backend import Array, Later, settled
from npsnn.ops.gaussian import EXACT, Rule
from npsnn.streams import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean and variance of independent Gaussian activations, or the cotangent of such a pair.

    mean: (..., N), batch last.
    var: variances of the shape of mean; None for a deterministic activation, and for a cotangent that is zero. A
        variance that is one number everywhere may be a view of the number, with strides 0, and has the number's
        cotangent. After `FeatureNoise` var is a covariance, (features, features, N) or (features, features, 1), and
        after `Linear(..., joint=True)` that of the logits, (classes, classes, N).
    """

    mean: Array
    var: Array | None = None

    def settled(self) -> "Moments":
        """The same, with a mean that is computed: on a GPU a layer may leave that to the next one."""
        return Moments(settled(self.mean), self.var) if type(self.mean) is Later else self


@dataclass(frozen=True, slots=True)
class Batch:
    """The mini-batch that is being trained on, of which a layer sees a part: a micro-batch.

    examples: number of examples of the batch; None where the layer sees all of them.
    total: from an array of sums over the part to the sums over the batch; all parts call it equally often.
    """

    examples: int | None = None
    total: Callable[[Array], Array] = lambda sums: sums


WHOLE = Batch()


@dataclass(frozen=True, slots=True)
class Expectation:
    """The noise is off: the network that the noise paper calls the expectation model (audit N41).

    training: batch that is trained on, whose statistics BatchNorm takes; None outside of training.
    """

    training: Batch | None = None

    def at(self, name: str) -> "Expectation":
        return self


@dataclass(frozen=True, slots=True)
class Sampled:
    """One draw of the noise is added to the mean.

    stream: random numbers, keyed by sample.
    training: as for `Expectation`.
    scale: factor of the size of every noise: of standard deviations, and of the rate of dropout.
    """

    stream: Stream
    training: Batch | None = None
    scale: float = 1.0

    def at(self, name: str) -> "Sampled":
        return Sampled(self.stream.at(name), self.training, self.scale)

    def sized(self, size: Array) -> Array:
        """The size of a noise times the scale; the size itself, to the bit, for a scale of 1."""
        return size if type(self.scale) is float and self.scale == 1.0 else size * self.scale


@dataclass(frozen=True, slots=True)
class Propagated:
    """The variance of the noise is carried through the network in closed form.

    rule: how a variance goes through a non-linear layer.
    training: as for `Expectation`.
    on: whether there is noise at all. None asks the parameters of each noise layer, for which the host waits for a GPU.
        True carries a variance through every noise layer, where sigma 0 is the limit. False adds no variance.
    """

    rule: Rule = EXACT
    training: Batch | None = None
    on: bool | None = None

    def at(self, name: str) -> "Propagated":
        return self

    def known(self, on: bool | None) -> "Propagated":
        """The same, where whether there is noise is known, unless this says so itself.

        on: as for the field.
        """
        return self if on is None or self.on is not None else replace(self, on=on)


Noise: TypeAlias = Expectation | Sampled | Propagated
EXPECTATION = Expectation()
