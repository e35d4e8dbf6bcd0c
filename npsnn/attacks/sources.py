"""Sources of gradients: where an attack takes them is a value, which makes a target once it meets the network.

@source("mine")
@dataclass(frozen=True)
class Mine:
    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget: ...
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from npsnn.attacks.targets import NetworkTarget, closed_form, expectation, known, sampled
from npsnn.classifier import Classifier
from npsnn.foreign import asked_for
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.streams import Randomness
from npsnn.tables import Table, named
from npsnn.validate import check_count

SOURCES: Table[type[Any]] = Table("source", "from npsnn.attacks import source", asked_for(of="network, ascends"))
"""Every source of gradients that a file may name: `@source` above a dataclass enters it."""
source = SOURCES.enter


@dataclass(frozen=True)
class Ascends:
    """The objectives that an attack ascends where its source names none.

    plain: on draws of the noise, and on a network without noise.
    closed_form: on the closed form of a network with noise; None for the choice of `attacks.closed_form`.
    """

    plain: str = "cross-entropy"
    closed_form: str | None = None


@runtime_checkable
class Source(Protocol):
    """Where an attack takes its gradients. One with a `prefix` puts it before the names of its attacks."""

    def of(self, network: Classifier, ascends: Ascends = ...) -> NetworkTarget:
        """The target of an attack on the network.

        ascends: the attack's own objectives, for a source that names none.
        """


def _check(objective: str | None) -> None:
    if objective is not None:
        OBJECTIVES.named(objective)


@source("expectation")
@dataclass(frozen=True)
class Expectation:
    """The network without its noise: the attacker ignores the noise, and the images transfer.

    objective: the name of what to ascend; None for the attack's own.
    """

    objective: str | None = None

    def __post_init__(self) -> None:
        _check(self.objective)

    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget:
        return expectation(network, self.objective or ascends.plain)


@source("eot")
@dataclass(frozen=True)
class EoT:
    """Expectation over transformations: gradients averaged over draws of the noise; one pass where there is no noise.

    draws: number of fresh draws for each gradient, >= 1.
    objective: the name of what to ascend; None for the attack's own.
    Source: A2SNN Sec. 4.1.
    """

    draws: int = 10
    objective: str | None = None

    def __post_init__(self) -> None:
        check_count("draws", self.draws)
        _check(self.objective)

    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget:
        name = self.objective or ascends.plain
        return sampled(network, self.draws, name) if network.random else expectation(network, name)


DRAWN = EoT()
"""The source of an attack that is given none."""


@source("closed-form")
@dataclass(frozen=True)
class ClosedForm:
    """The closed form of the randomised network: one pass for the whole distribution.

    objective: the name of what to ascend; None for the attack's own, or else the choice of `attacks.closed_form`.
    propagation: how the variance is carried, "exact", "laplace" or "linear".
    Source: noise paper Sec. 4, Eq. 10.
    """

    objective: str | None = None
    propagation: str = "exact"
    prefix: ClassVar[str] = "adaptive-"

    def __post_init__(self) -> None:
        _check(self.objective)
        named(RULES, self.propagation, "propagation")

    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget:
        if self.objective is None and ascends.closed_form is not None and not network.random:
            # without noise there are no standard deviations to measure a margin in
            return expectation(network, ascends.plain)
        return closed_form(network, self.objective or ascends.closed_form, self.propagation)


@dataclass(frozen=True)
class Known:
    """The draw of the noise by which the attack is also judged; no file holds it, as it belongs to one judging.

    judging: where that one draw is judged, as in `attacks.known`.
    objective: the name of what to ascend; None for the attack's own.
    """

    judging: Randomness
    objective: str | None = None

    def __post_init__(self) -> None:
        _check(self.objective)

    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget:
        return known(network, self.judging, self.objective or ascends.plain)
