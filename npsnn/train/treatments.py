"""How training carries the noise, as values in a table: in closed form, or drawn for each example.

@treatment("mine")
@dataclass(frozen=True)
class Mine(Treatment):
    def noise(self, stream, training): ...
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from npsnn.layers.moments import Batch, Noise, Propagated, Sampled
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.tables import Table, named
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.validate import check_types


class Treatment(ABC):
    """What the noise of a network is during training."""

    def stream(self, batch: Stream, part: Stream) -> Stream:
        """The random numbers of the noise in a part of a batch, by default its own ones.

        batch: those of the whole batch, from its first sample on.
        part: the same, from the first sample of the part on.
        """
        return part

    @abstractmethod
    def noise(self, stream: Stream, training: Batch | None) -> Noise:
        """The noise in a part of a batch.

        stream: the random numbers that `stream` chose, for noise alone.
        training: the batch that is trained on, for BatchNorm; None where running averages are left alone.
        """


TREATMENTS: Table[type[Any]] = Table("treatment", "from npsnn.train import treatment")
"""Every treatment of the noise by name: `@treatment("name")` above a dataclass enters it."""
treatment = TREATMENTS.enter


@treatment("carried")
@dataclass(frozen=True)
class Carried(Treatment):
    """The variance is carried to the logits in closed form.

    rule: "laplace" is the noise paper's Eq. 6, "exact" the true moments (extensions E1, E2), "linear" linearises.
    """

    rule: str = "laplace"

    def __post_init__(self) -> None:
        check_types(self)
        named(RULES, self.rule, "rule")

    def noise(self, stream: Stream, training: Batch | None) -> Noise:
        return Propagated(RULES[self.rule], training)


@treatment("drawn")
@dataclass(frozen=True)
class Drawn(Treatment):
    """The noise is drawn for each example.

    scale: factor of the size of every noise, >= 0, or a schedule of it: Since(0.1) has the noise off at first.
        An attack of the training, and validation, have the noise at its full size.
    Raises ValueError for another scale.
    """

    scale: Scalar = 1.0

    def __post_init__(self) -> None:
        check_scalar(self, "scale")

    def noise(self, stream: Stream, training: Batch | None) -> Noise:
        return Sampled(stream, training, self.scale)
