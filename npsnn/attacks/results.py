"""What an attack leaves, and all that is known of how it came about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npsnn.attacks.flags import of_answers, of_steps, of_unbounded
from npsnn.attacks.judging import Accuracy
from npsnn.runs.caveats import Caveat, of_attack
from npsnn.streams import Stream


def titled(label: str, says: Mapping[str, float]) -> str:
    """What an attack is called in tables: its label, and what tells it from others of the label."""
    return " ".join([label, *(f"{name} {value:g}" for name, value in says.items())])


@dataclass(frozen=True, eq=False)
class Result:
    """One attack at one eps; an infinite one for an attack that looks for the nearest image.

    attack: the attack's label.
    norm: of its ball.
    eps: of its ball.
    accuracy: what it leaves.
    gradient: the kind of its target.
    gradient_passes: of one image.
    seconds: of the attack alone, without the judging.
    zero_gradients: number of images that met an all-zero gradient.
    bad_gradients: number of images that met a non-finite gradient.
    x_adv: the images after the attack.
    says: what tells the attack from others of its label and ball, as {"kappa": 0.5}.
    size: the norm of each image's perturbation, (N,).
    misread_once: number of images that the attack itself saw misread at least once.
    control: the same number for the attack's control, random search without its perturbations.
    noise_ignored: whether the gradient is that of the network without the noise it is defended by.
    met_zero: which images met an all-zero gradient, (N,).
    met_bad: which images met a non-finite gradient, (N,).
    rising: of which images the loss still rose where the steps of the attack ended, (N,).
    x: the images before the attack.
    clean: the part of the draws in which each of these is right, (N,).
    by: the attack itself.
    replaced: caveats of an objective that has too few classes, in whose place another was ascended.
    group: the name of the group that the attack is a member of, "" for none.
    met: which images the attack met, (N,), those that the members before it had left; None where it met all. The images
        and the accuracy are then what these members and the attack leave together.
    known: the draw of the noise that the attack knew, by which it is judged; None where fresh draws judge.
    probabilities: whether the network answers with probabilities in the place of logits.
    surrogate: of a transfer, the accuracy without an attack of the network whose gradients were taken.
    wrong_signs: the share of the pixels of each clean image whose gradient has another sign in each half of the draws,
        (N,); None where gradients are not averaged over draws.
    """

    attack: str
    norm: str
    eps: float
    accuracy: Accuracy
    gradient: str
    gradient_passes: int
    seconds: float
    zero_gradients: int
    bad_gradients: int
    x_adv: np.ndarray = field(repr=False)
    says: Mapping[str, float] = field(default_factory=dict)
    size: np.ndarray | None = field(default=None, repr=False)
    misread_once: int = 0
    control: int | None = None
    noise_ignored: bool = False
    met_zero: np.ndarray | None = field(default=None, repr=False)
    met_bad: np.ndarray | None = field(default=None, repr=False)
    rising: np.ndarray | None = field(default=None, repr=False)
    x: np.ndarray | None = field(default=None, repr=False)
    clean: np.ndarray | None = field(default=None, repr=False)
    by: Any = field(default=None, repr=False)
    known: Stream | None = field(default=None, repr=False)
    probabilities: bool = False
    surrogate: Accuracy | None = field(default=None, repr=False)
    wrong_signs: np.ndarray | None = field(default=None, repr=False)
    replaced: tuple[Caveat, ...] = ()
    group: str = ""
    met: np.ndarray | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        accuracy = repr(self.accuracy).strip("<>").lower()
        return f"<Result {self.attack}, {self.norm} {self.eps:g}: {accuracy}>"

    @property
    def title(self) -> str:
        """What the attack is called in tables."""
        return titled(self.attack, self.says)

    @property
    def took(self) -> int | None:
        """How many of the images that it met the attack took; None where it met all."""
        return None if self.met is None else int((self.met & (self.accuracy.each < 1)).sum())

    @property
    def kappa(self) -> float | None:
        """The confidence of C&W; None of other attacks."""
        return self.says.get("kappa")

    @property
    def caveats(self) -> list[Caveat]:
        """The reasons to read the accuracy with care."""
        met = (self.zero_gradients, self.bad_gradients)
        signs = None if self.wrong_signs is None else float(self.wrong_signs.mean())
        zero, bad = (0 if m is None else int((m & self.success).sum()) for m in (self.met_zero, self.met_bad))
        found = of_attack(self.norm, self.eps, *met, len(self.accuracy.each), self.noise_ignored, signs, (zero, bad))
        found += of_answers(self.probabilities) + list(self.replaced)
        if self.rising is not None:
            found += of_steps(int((self.rising & ~self.success).sum()), int((~self.success).sum()))
        return found + of_unbounded(self.norm, self.eps, self.accuracy, self.x_adv.shape[1:])

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Figures of each image, each (N,): the part of the draws that are right with and without the attack, the
        norm of its perturbation, whether it met an all-zero or a non-finite gradient, whether its loss still rose at
        the end, whether the attack met it where others ran before, and the share of wrong signs.
        """
        known = {"right": self.accuracy.each, "size": self.size, "met_zero": self.met_zero, "met_bad": self.met_bad}
        known |= {"rising": self.rising, "clean": self.clean, "met": self.met, "wrong_signs": self.wrong_signs}
        return {name: values for name, values in known.items() if values is not None}

    @property
    def success(self) -> np.ndarray:
        """Which images at least half of the draws misread, whatever the attack took for success: (N,)."""
        return self.accuracy.each <= 0.5

    @property
    def misread_anyway(self) -> np.ndarray:
        """Which images at least half of the draws misread without the attack: (N,); none where that is not known.

        So do the fresh draws where the attack returned the clean image.
        """
        if self.clean is None:
            return np.zeros(len(self.x_adv), bool)
        unmoved = False if self.size is None else self.success & (self.size == 0)
        return np.asarray((self.clean <= 0.5) | unmoved)

    @property
    def moved(self) -> np.ndarray:
        """Which images most draws read correctly without the attack and misread under it, (N,)."""
        return np.asarray(self.success & ~self.misread_anyway)

    @property
    def distances(self) -> tuple[float, float] | None:
        """Median and mean of the norm over the images that were moved; None where none was."""
        if self.size is None or not self.moved.any():
            return None
        return float(np.median(self.size[self.moved])), float(self.size[self.moved].mean())
