"""The criterion that asks whether single precision loses the gradients that usual attacks follow.

An attack by PyTorch's cross-entropy of float32 logits has half of its gradient where the label leads by 17 or more, and
none where it leads by 104 (audit B11). npsnn's own attacks carry gradients in units that no precision loses.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npsnn.attacks.checklist.outcomes import Findings, Outcome, unreadable
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.judging import each_part
from npsnn.attacks.sources import EoT
from npsnn.attacks.statistics import needed, wilson_interval
from npsnn.attacks.targets import NetworkTarget
from npsnn.layers.moments import Moments
from npsnn.objectives import AS_IT_IS, margin
from npsnn.streams import Stream

FEW = 0.01
"""The part of the images that may be without a gradient by chance: a unit that is off for all that it sees, say."""
HALF, ALL = 17.0, 103.0
"""The margins from which on single precision loses the label's part of a gradient, and nearly all of it."""


class Left(NamedTuple):
    """What is left of the gradients of some images, under the same draws of the noise.

    none: which have an all-zero gradient of the cross-entropy in single precision, (N,).
    nowhere: which have an all-zero gradient in units that lose nothing, (N,).
    margins: by how much the mean logit of the label leads, (N,).
    """

    none: np.ndarray
    nowhere: np.ndarray
    margins: np.ndarray


@dataclass(frozen=True)
class Measuring:
    """What is left of the gradients of a micro-batch, as a job that workers can be handed.

    target: the network with the cross-entropy in single precision.
    """

    target: NetworkTarget

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> Left:
        none, nowhere = (
            (target(x, labels, stream)[1].reshape(len(x), -1) == 0).all(axis=1)
            for target in (self.target, self.target.ascending("cross-entropy"))
        )
        lead, _ = margin(Moments(self.target.answers(x, stream.at("margin"))), labels)
        return Left(none, nowhere, -lead)


def measured(suite: Suite) -> Left:
    """What is left of the gradient of each image as it is, averaged over as many draws as those of the attacks."""
    job = Measuring(EoT(suite.options.eot, AS_IT_IS).of(suite.network))
    parts = each_part(suite.network, job, suite.x, suite.labels, suite.stream.at("lost gradients"))
    return Left(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def lost_gradients(suite: Suite) -> Findings:
    """Fails if surely more than 1 % of the images that are right lose their gradient, or the median margin is 103.

    Undecided where fewer do, and where the median margin is 17 or more: an attack in single precision then follows
    another direction than the gradient's, and its figure says little.
    """
    right = suite.clean.each > 0.5
    left = Left(*(part[right] for part in measured(suite)))
    median = float(np.median(left.margins)) if right.any() else 0.0
    none, nowhere = int(left.none.sum()), int((left.none & left.nowhere).sum())
    figures = {"images that are right": float(right.sum()), "images without a gradient": float(none)}
    figures |= {"without one in any precision": float(nowhere), "median margin": median}
    text = f"of {right.sum():,} images that are right, {none:,} have no gradient in single precision, {nowhere:,} of "
    text += f"them in no precision; the median margin is {median:.3g}, where {HALF:g} loses half of a gradient and "
    text += f"{ALL:g} all of it"
    unsure = unreadable(suite.clean, suite.labels, needed())
    surely = bool(right.any()) and wilson_interval(left.none.astype(float))[0] > FEW
    if not unsure and (surely or median >= ALL):
        return Outcome.FAILS, text, figures
    if not unsure and none:
        unsure = f"so few of {right.sum():,} images are not surely more than {100 * FEW:.1f} %"
    if not unsure and median >= HALF:
        unsure = "half of the images have half of their gradient: what an attack in single precision leaves says little"
    return (Outcome.UNDECIDED, f"{text}; undecided: {unsure}", figures) if unsure else (Outcome.PASSES, text, figures)
