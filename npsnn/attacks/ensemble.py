"""The groups `auto` and `quick`: strong attacks of several kinds, chosen for the kind of network that they meet.

    for result in attacks.robust_accuracy(network, x, labels, attacks.auto(network, 0.1)):
        print(result.attack, result.took, result.accuracy.mean)

Where the network is certain (it has no noise) the members are those of AutoAttack's standard version. AutoAttack's
version for random networks strikes an image off by the first single draw that misreads it, and so reports luck; the
members for such networks, and how they are judged, are npsnn's own.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from npsnn.attacks.apgd import APGD, APGDT
from npsnn.attacks.authors import Authors
from npsnn.attacks.balls import Ball
from npsnn.attacks.base import Offer
from npsnn.attacks.fab import FAB
from npsnn.attacks.groups import STANDARD, Group, Grouping
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Source
from npsnn.attacks.square import Square
from npsnn.classifier import Classifier
from npsnn.validate import check_network, check_types

ON_DRAWS = "true-class-probability"
"""What APGD ascends on draws: of all objectives the nearest to the share of draws that are read rightly."""
CLASSES = 4
"""The least number of classes of AutoAttack's losses; of fewer, other losses take their place."""


class Members(Group):
    """Members that may be those of AutoAttack, whose name the group has then, on a network that is certain."""

    def of(self, network: Classifier) -> Group:
        """The same members, under the name that fits them and the network."""
        fits = not network.random and network.model.classes >= CLASSES
        theirs = fits and self.members == Auto(self.ball.eps, self.ball.norm).certain()
        own = "auto" if self.name == STANDARD else self.name
        return replace(self, name=STANDARD if theirs else own)


@dataclass(frozen=True)
class Auto(Grouping):
    """All kinds of strong attack: AutoAttack's standard version where there is no noise, npsnn's own where there is.

    Without noise APGD, APGD-T, FAB-T and Square, each on the images that are still right. With noise every member
    attacks every image to the end: APGD on the closed form, APGD on the network with its noise off, whose images
    transfer, APGD-T and FAB-T on the closed form, APGD on draws of the noise, and Square on the closed form. A network
    with a layer that refuses propagated noise has no closed form: members on draws take the place of those on it.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    steps: number of gradient steps of APGD, and of APGD-T for each class.
    targets: number of classes that APGD-T and FAB-T aim at, at most.
    fab_steps: number of gradient steps of FAB-T for each class.
    queries: number of points that Square asks about.
    gradient_draws: draws of the noise for each gradient of APGD on draws.
    propagation: how the variance of the closed form is carried.
    Source: Croce and Hein 2020 (arXiv 2003.01690), Sec. 6; the members for random networks are npsnn's own.
    """

    eps: float
    norm: str = "linf"
    steps: int = 100
    targets: int = 9
    fab_steps: int = 100
    queries: int = 5000
    gradient_draws: int = 20
    propagation: str = "exact"

    label: ClassVar[str] = "auto"
    offer: ClassVar[Offer] = Offer(
        "All kinds of strong attack: without noise the standard AutoAttack (apgd, apgd-t, fab-t, square), with noise "
        "npsnn's own for random networks.",
        options={"steps": "apgd_steps"},
    )

    def __post_init__(self) -> None:
        check_types(self)
        _ = self.certain(), self.random()  # each member checks what is its own

    @property
    def ball(self) -> Ball:
        """All images within eps."""
        return Ball(self.norm, self.eps)

    def of(self, network: Classifier) -> Group:
        """The members for the defended network, noise and all."""
        random = self.random() if network.model.propagates else self.drawn()
        return Members(self.label, random if network.random else self.certain()).of(network)

    def certain(self, **source: Any) -> tuple[Any, ...]:
        """The members for a network that has one answer; source: where their gradients come from, as `source=`."""
        return (
            APGD(self.eps, self.norm, self.steps, **source),
            APGDT(self.eps, self.norm, self.steps, self.targets, **source),
            FAB(self.eps, self.norm, self.fab_steps, self.targets, **source),
            Square(self.eps, self.norm, self.queries, **source),
        )

    def random(self) -> tuple[Any, ...]:
        """The members for a network that keeps its noise."""
        closed = ClosedForm(propagation=self.propagation)
        return (
            APGD(self.eps, self.norm, self.steps, source=closed),
            APGD(self.eps, self.norm, self.steps, source=Expectation(name="noise-off")),
            APGDT(self.eps, self.norm, self.steps, self.targets, source=closed),
            FAB(self.eps, self.norm, self.fab_steps, self.targets, source=closed),
            APGD(self.eps, self.norm, self.steps, source=EoT(self.gradient_draws, ON_DRAWS)),
            Square(self.eps, self.norm, self.queries, source=closed),
        )

    def drawn(self) -> tuple[Any, ...]:
        """The members for a network that keeps its noise, and that has no closed form."""
        draws = EoT(self.gradient_draws)
        return (
            APGD(self.eps, self.norm, self.steps, source=EoT(self.gradient_draws, ON_DRAWS)),
            APGD(self.eps, self.norm, self.steps, source=Expectation(name="noise-off")),
            APGDT(self.eps, self.norm, self.steps, self.targets, source=draws),
            FAB(self.eps, self.norm, self.fab_steps, self.targets, source=draws),
            Square(self.eps, self.norm, self.queries, source=draws),
        )


@dataclass(frozen=True)
class Quick(Auto):
    """Those members of `Auto` that take most for what they cost.

    Without noise APGD and APGD-T, each on the images that are still right. With noise APGD on the closed form, or on
    draws where there is none, and APGD on the network with its noise off.
    """

    label: ClassVar[str] = "quick"
    offer: ClassVar[Offer] = Offer(
        "Those of auto that take most for what they cost: apgd and apgd-t, or with noise apgd on the closed form and "
        "on the network with its noise off.",
        by_default=True,
        options={"steps": "apgd_steps", "fab_steps": "", "queries": ""},  # of members that it has not
    )

    def of(self, network: Classifier) -> Group:
        """The members for the defended network, noise and all."""
        return Group(self.label, super().of(network).members[:2])


GROUPS: dict[str, type[Any]] = {"auto": Auto, "quick": Quick, "authors": Authors}
"""The groups that the command line offers, by their names."""


def standard(eps: float, norm: str = "linf", source: Source | None = None) -> Group:
    """The members of AutoAttack's standard version, in its order: APGD on the cross-entropy, APGD-T, FAB-T and Square.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    source: where gradients come from, such as a draw that is known (`attacks.Known`); None for each attack's own.
    Source: Croce and Hein 2020 (arXiv 2003.01690), Sec. 6.
    """
    return Members("auto", Auto(eps, norm).certain(**({} if source is None else {"source": source})))


def auto(network: Classifier, eps: float, norm: str = "linf", **options: Any) -> Group:
    """The members of `Auto` for a network: `standard` without noise, npsnn's own with it.

    network: the defended network, with the noise that it is judged by.
    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    options: other fields of `Auto`, such as queries=1000.
    """
    check_network(network)
    return Auto(eps, norm, **options).of(network)
