"""Targeted versions of the gradient attacks: the image is to be read as one class."""

from dataclasses import dataclass, field
from typing import Any

from npsnn.attacks.apgd import APGD
from npsnn.attacks.balls import Limit
from npsnn.attacks.base import Attack, ask, attack
from npsnn.attacks.momentum import MomentumFGSM
from npsnn.attacks.projected import BIM, FGSM, PGD, GradientAttack
from npsnn.attacks.sources import Ascends, Source
from npsnn.attacks.targets import Queried, given
from npsnn.backend import Array, namespace
from npsnn.ops.loss import one_hot
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_choice

AIMS = ("likeliest", "least-likely")
"""The aims that depend on the image; a class is named by its number."""
KINDS = (FGSM, BIM, PGD, GradientAttack, MomentumFGSM, APGD)
"""The attacks that have a targeted version: all that they ask of a target is a loss and its gradient."""


def check_aim(aim: Any) -> None:
    """Raise ValueError unless an aim is a word of `AIMS` or the number of a class."""
    if not (isinstance(aim, str) and aim.isdecimal()):
        check_choice("toward", aim, (*AIMS, "the number of a class"))


@attack("targeted")
@dataclass(frozen=True)
class Toward(Attack):
    """An attack that lowers its objective for one class, as if this class were the label, instead of raising it.

    With the cross-entropy, the loss of the class is lowered; with a margin, the class is to lead. The image is moved to
    its class to the end of the steps, whatever it is read as on the way. What is judged is misreading, as of any
    attack; `aims` says which class was aimed at.

    attack: an attack by gradients, FGSM, BIM, PGD, MI-FGSM or APGD, with its own source.
    aim: "likeliest" or "least-likely", of the classes other than the label by the clean image's logits; or the number
        of a class, for which images of this label have the likeliest other one.
    Raises TypeError for an attack of another kind, ValueError for what is no aim.
    Source: Kurakin, Goodfellow and Bengio 2017 (arXiv 1607.02533), Sec. 2.3, the least likely class.
    """

    attack: Any = field(default=PGD(0.1))
    aim: str = "least-likely"

    offer = None

    def __post_init__(self) -> None:
        check_aim(self.aim)
        if not isinstance(self.attack, KINDS):
            names = ", ".join(kind.__name__ for kind in KINDS)
            raise TypeError(f"attack must be one of {names} to aim at a class, got {self.attack!r:.80}")

    @property
    def ball(self) -> Limit:
        """The ball of the attack."""
        found: Limit = self.attack.ball
        return found

    @property
    def source(self) -> Source:  # type: ignore[override]
        """The source of the attack's gradients."""
        found: Source = self.attack.source
        return found

    @property
    def ascends(self) -> Ascends:  # type: ignore[override]
        """The objectives of the attack."""
        found: Ascends = ask(self.attack, "ascends")
        return found

    @property
    def label(self) -> str:
        """The attack's name and the aim."""
        return f"{self.attack.label}-to-{self.aim}"

    def fits(self, shape: tuple[int, ...], classes: int) -> None:
        """Raise ValueError for a class that the network does not have, and where the attack itself does not fit."""
        ask(self.attack, "fits")(shape, classes)
        self._check_class(classes)

    def _check_class(self, classes: int) -> None:
        if self.aim not in AIMS and int(self.aim) >= classes:
            raise ValueError(f"toward must be a class below {classes}, got {self.aim}")

    def passes(self, target: Queried) -> int:
        """Forward and backward passes for one image."""
        return int(self.attack.passes(target)) + target.passes

    def aims(self, target: Queried, x: Array, labels: Array, stream: Stream) -> Array:
        """The class that each image is moved to, (N,); arguments as of a call."""
        logits = target.answers(x, stream.at("aims"))
        xp = namespace(logits)
        own = one_hot(logits, labels) > 0
        likeliest = xp.where(own, -xp.inf, logits).argmax(axis=0)
        if self.aim == "likeliest":
            return likeliest.astype(labels.dtype)
        if self.aim == "least-likely":
            return xp.where(own, xp.inf, logits).argmin(axis=0).astype(labels.dtype)
        self._check_class(len(logits))
        return xp.where(labels == int(self.aim), likeliest, int(self.aim)).astype(labels.dtype)

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for one micro-batch: (N, C, H, W) in [0, 1] -> the same shape, in the ball and the box."""
        x, labels, stream = given(target, x, labels, stream)
        if not len(x):
            return x
        found: Array = self.attack(Lowered(target), x, self.aims(target, x, labels, stream), stream.at("toward"))
        return found


@dataclass(frozen=True)
class Lowered:
    """A target whose loss is the negative of another's: who ascends it lowers the loss of the labels it is given.

    No look is certain: an image that is not read as the class may be, a step later.
    """

    target: Queried
    certain: bool = False

    @property
    def passes(self) -> int:
        return self.target.passes

    @property
    def random(self) -> bool:
        return self.target.random

    def __call__(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
        loss, gradient = self.target(x, labels, stream)
        return -loss, -gradient

    def value(self, x: Array, labels: Array, stream: Stream) -> Array:
        return -self.target.value(x, labels, stream)
