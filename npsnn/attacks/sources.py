"""Sources of gradients: where an attack takes them is a value, which makes a target once it meets the network.

@source("mine")
@dataclass(frozen=True)
class Mine:
    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget: ...
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

from npsnn.attacks.targets import NetworkTarget, closed_form, expectation, known, sampled
from npsnn.backend import to_device
from npsnn.classifier import Classifier
from npsnn.foreign import asked_for
from npsnn.layers.params import flatten, unflatten
from npsnn.objectives import OBJECTIVES, Objective, untargeted
from npsnn.ops.gaussian import RULES
from npsnn.runs import provenance
from npsnn.streams import Randomness, as_stream
from npsnn.tables import WORD, Table, named
from npsnn.validate import check_count

SOURCES: Table[type[Any]] = Table("source", "from npsnn.attacks import source", asked_for(of="network, ascends"))
"""Every source of gradients that a file may name: `@source` above a dataclass enters it."""
source = SOURCES.enter


@dataclass(frozen=True)
class Ascends:
    """The objectives that an attack ascends where its source names none.

    plain: on draws of the noise, and on a network without noise.
    closed_form: on the closed form of a network with noise; None for the choice of `attacks.closed_form`.
    among: the names of the objectives that it can ascend; none of them for all that aim at no class.
    """

    plain: str = "cross-entropy"
    closed_form: str | None = None
    among: tuple[str, ...] = ()

    def check(self, attack: str, objective: Objective) -> None:
        """Raise ValueError for an objective, one of npsnn's own, that an attack of this name cannot ascend."""
        name = next((name for name, known in OBJECTIVES.items() if known is objective), None)
        among = self.among or untargeted()
        if name is not None and name not in among:
            raise ValueError(f"the objective of {attack} must be one of {', '.join(among)}, got {name!r}")


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


def _before(name: str) -> str:
    """The prefix of a word, which tables and files write before an attack's name."""
    if name and not WORD.fullmatch(name):
        raise ValueError(f"name must be a word of letters, digits and hyphens, got {name!r:.80}")
    return f"{name}-" if name else ""


@source("expectation")
@dataclass(frozen=True)
class Expectation:
    """The network without its noise: the attacker ignores the noise, and the images transfer.

    objective: the name of what to ascend; None for the attack's own.
    name: word before the names of its attacks, "noise-off" to tell them from attacks on draws; "" for none.
    """

    objective: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        _check(self.objective)
        _before(self.name)

    @property
    def prefix(self) -> str:
        """What stands before the names of its attacks."""
        return _before(self.name)

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
        object.__setattr__(self, "judging", as_stream(self.judging))  # a generator names one draw, not one a target
        _check(self.objective)

    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget:
        return known(network, self.judging, self.objective or ascends.plain)


@source("transfer")
@dataclass(frozen=True)
class Transfer:
    """The gradients of another network, the surrogate: the attacked network is asked for nothing, and only judged.

    A file holds the name of the surrogate's run and the digest of its parameters. Whoever reads it back has the network
    loaded from that run when it is first asked for gradients.

    network: the surrogate, or the folder or name of its run. The surrogate may be of any model, and has the shape and
        the classes of the attacked network.
    parameters: digest of the surrogate's parameters; "" for what they are found to be.
    source: how gradients are taken of it.
    name: word before the names of its attacks.
    Raises TypeError for what is no network; `of` raises ValueError for a network of another shape or number of classes,
    or of other parameters.
    Source: Papernot et al. 2016, arXiv 1605.07277.
    """

    network: Any
    parameters: str = ""
    source: Source = DRAWN
    name: str = "transfer"

    def __post_init__(self) -> None:
        _before(self.name)
        if isinstance(self.network, Classifier):
            vars(self)["surrogate"] = self.network
            object.__setattr__(self, "network", "")
        elif not isinstance(self.network, str):
            raise TypeError(f"network must be a Classifier or the name of a run, got {self.network!r:.80}")
        if not self.parameters:
            object.__setattr__(self, "parameters", provenance.of_network(self.surrogate.params))

    @property
    def prefix(self) -> str:
        """What stands before the names of its attacks."""
        return _before(self.name) + str(getattr(self.source, "prefix", ""))

    @cached_property
    def surrogate(self) -> Classifier:
        """The network whose gradients are taken."""
        shown = self.parameters[: provenance.SHOWN]
        if not self.network:
            raise ValueError(f"the network of the parameters {shown} is of no run: give it again, as Transfer(network)")
        found = Classifier.load(self.network)
        digest = provenance.of_network(found.params)
        if self.parameters not in ("", digest):
            raise ValueError(f"{self.network} must have the parameters {shown}, got {digest[: provenance.SHOWN]}")
        return found

    def taking(self, source: Source, name: str) -> "Transfer":
        """The same surrogate with gradients taken in another way, under another name."""
        made = replace(self, source=source, name=name)
        vars(made)["surrogate"] = self.surrogate
        return made

    def of(self, network: Classifier, ascends: Ascends = Ascends()) -> NetworkTarget:
        other = self.surrogate
        if (other.model.shape, other.model.classes) != (network.model.shape, network.model.classes):
            expected, got = (f"{c.model.classes} classes and images {c.model.shape}" for c in (network, other))
            raise ValueError(f"the network to transfer from must have {expected}, got {got}")
        if network.on_gpu and not other.on_gpu:
            there = {k: to_device(p, "cuda") for k, p in flatten(other.params).items()}
            other = replace(other, params=unflatten(there))
        return replace(self.source.of(replace(other, threads=network.threads), ascends), attacked=network)
