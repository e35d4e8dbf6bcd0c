"""FGSM and PGD as A2SNN's authors ran them, to set what their judge leaves beside what npsnn's attacks leave.

    for result in attacks.robust_accuracy(network, x, labels, [attacks.Authors(8 / 255), attacks.PGD(8 / 255)]):
        print(result.attack, result.accuracy.mean, result.zero_gradients)

Both are weaker than npsnn's: their cross-entropy loses its gradient where a margin is large (audit B11), and their PGD
takes short steps from a random start (audit B12).
"""

from dataclasses import dataclass
from typing import ClassVar

from npsnn.attacks.balls import Ball
from npsnn.attacks.base import Offer, attack
from npsnn.attacks.groups import Group, Grouping
from npsnn.attacks.projected import GradientAttack, Setting
from npsnn.attacks.sources import EoT, Source
from npsnn.validate import check_types

SOURCE = EoT(50, "float32-cross-entropy")
"""The sum of the gradients of 50 draws, each of PyTorch's cross-entropy in single precision."""
STEPS = 10


class AsAuthors(Setting):
    """A setting of `GradientAttack` that A2SNN's authors have in Linf alone."""

    offer = None

    def __post_init__(self) -> None:
        if self.norm != "linf":
            raise ValueError(f"norm must be linf for the attacks of A2SNN's authors, got {self.norm!r}")
        super().__post_init__()


@attack("authors-fgsm")
@dataclass(frozen=True)
class AuthorsFGSM(AsAuthors):
    """One step of the whole length eps from the image.

    eps: radius, and length of the step, in units of the [0, 1] pixel.
    norm: "linf".
    source: where its gradients come from.
    Source: FGSMMC of A2SNN's authors, github.com/peustr/foolbox, commit 63de32c.
    """

    source: Source = SOURCE

    @property
    def general(self) -> GradientAttack:
        return GradientAttack(self.ball, 1, self.eps, source=self.source)


@attack("authors-pgd")
@dataclass(frozen=True)
class AuthorsPGD(AsAuthors):
    """Ten steps of eps/10 from a point that is uniform in the ball: the mean reach of a pixel is 0.5 to 0.6 eps.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf".
    source: where its gradients come from.
    Source: PGDMC(rel_stepsize=0.1, steps=10) of A2SNN's authors, github.com/peustr/foolbox, commit 63de32c. The paper
    does not say where the steps begin (audit B12).
    """

    source: Source = SOURCE

    @property
    def general(self) -> GradientAttack:
        return GradientAttack(self.ball, STEPS, self.eps / STEPS, random_start=True, source=self.source)


@dataclass(frozen=True)
class Authors(Grouping):
    """FGSM and PGD in Linf as A2SNN's authors ran them; each attacks every image.

    Success is judged as that of all attacks is, and not in one pass with one draw for a batch (audit B9).

    eps: radius in units of the [0, 1] pixel.
    Source: test.py of A2SNN's authors' code with their fork of foolbox (audit B17).
    """

    eps: float

    label: ClassVar[str] = "authors"
    offer: ClassVar[Offer] = Offer(
        "FGSM and PGD in Linf as A2SNN's authors ran them: 50 draws, a cross-entropy that loses its gradient, steps of "
        "eps/10 from a random start (audit B11, B12)."
    )

    def __post_init__(self) -> None:
        check_types(self)
        _ = self.members

    @property
    def ball(self) -> Ball:
        """All images within eps."""
        return Ball("linf", self.eps)

    @property
    def members(self) -> tuple[AuthorsFGSM, AuthorsPGD]:
        """The two attacks."""
        return AuthorsFGSM(self.eps), AuthorsPGD(self.eps)

    def of(self, network: object) -> Group:
        """The members, which are the same for every network."""
        return Group(self.label, self.members, apart=True)
