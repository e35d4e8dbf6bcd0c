"""The accuracy over all eps, from one attack that looks for the nearest misread image."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isinf
from typing import Any

import numpy as np

from npsnn.attacks.judging import Accuracy
from npsnn.attacks.results import Result


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy against an attacker who has the images of one attack, each from its own distance on.

    attack: the attack's label.
    norm: of the distances.
    says: what tells the attack from others of its label, as {"kappa": 0.5}.
    eps: where the accuracy changes, rising, the first of which is 0; (M,).
    accuracies: the accuracy from each eps on, up to the next; one for each eps.
    """

    attack: str
    norm: str
    says: dict[str, float]
    eps: np.ndarray
    accuracies: tuple[Accuracy, ...]

    @property
    def mean(self) -> np.ndarray:
        """The accuracies, (M,)."""
        return np.array([accuracy.mean for accuracy in self.accuracies])

    @property
    def ci95(self) -> np.ndarray:
        """The lower and the upper ends of their 95 % intervals, (2, M)."""
        return np.array([accuracy.ci95 for accuracy in self.accuracies]).T

    def at(self, eps: float) -> Accuracy:
        """The accuracy at one radius.

        eps: the radius, >= 0; an image that is misread at this very distance is lost.
        """
        if not eps >= 0:
            raise ValueError(f"eps must be >= 0, got {eps!r}")
        return self.accuracies[int(np.searchsorted(self.eps, eps, side="right")) - 1]


def curve(result: Result) -> Curve:
    """The accuracy over eps that an attack without a radius leaves: C&W, FMN.

    At eps an image counts with the part of the judging draws that read the attack's image correctly, if that image is
    within eps; else with the part that reads the image itself correctly. On a network without noise the accuracy is the
    part of the images that are right and whose distance is above eps. On one that keeps its noise it is what is judged,
    on draws that chose nothing, and may rise by chance. The intervals are over images, and over draws that each image
    has for itself: not over draws that images share.

    result: of such an attack, as `robust_accuracy` yields it.
    Raises ValueError for a result of an attack in a ball of finite radius, which has no nearest images.
    """
    if not isinf(result.eps):
        raise ValueError(f"the result must be of an attack without a radius, such as FMN, got {result.attack}")
    if result.size is None or result.clean is None:
        raise ValueError("the result must have the sizes and the clean accuracy, as robust_accuracy yields it")
    return of_images(result.attack, result.norm, result.says, result.size, result.clean, result.accuracy.each)


def of_images(
    attack: str, norm: str, says: Mapping[str, float], size: np.ndarray, clean: np.ndarray, right: np.ndarray
) -> Curve:
    """The same curve from figures of each image, as a run's record has them.

    size, clean, right: (N,), as `npsnn.attacks.Result.images` names them.
    """
    size = np.where(right == clean, 0, size)  # an image that is as right as before is no step
    steps = np.unique(np.append(size[size > 0], 0.0))
    found = tuple(Accuracy(np.where((size <= eps) & (size > 0), right, clean)) for eps in steps)
    return Curve(attack, norm, dict(says), steps, found)


def as_json(drawn: Curve) -> dict[str, Any]:
    """The curve as JSON: eps and, for each, the accuracy from there on with its interval."""
    low, high = drawn.ci95
    numbers = {"eps": drawn.eps, "accuracy": drawn.mean, "low": low, "high": high}
    about = {"attack": drawn.attack, **drawn.says, "norm": drawn.norm}
    return about | {name: [float(v) for v in values] for name, values in numbers.items()}
