"""Whether the loss that an attack climbs still rises where its steps end."""

from collections.abc import Sequence
from math import inf

import numpy as np

from npsnn.backend import Array, namespace, stacked

TENTH = 10
"""The last of the steps are a tenth; of fewer steps than ten nothing is said."""
RISE = 0.05
"""The part of all that a start has gained which the last steps must have gained, or the loss is at its end."""
NOTHING = -1e300
"""In the place of a loss that is no number, or that was not asked for: the least there is."""


class Climbs:
    """The losses of an attack's steps, by start: what its target was asked for on a stream `at("step", k)`."""

    def __init__(self) -> None:
        self._starts: dict[tuple[str | int, ...], list[tuple[Sequence[int] | slice, Array]]] = {}

    def note(self, loss: Array, columns: Sequence[int] | slice, path: tuple[str | int, ...]) -> None:
        """Note what a step was told, unless the path is that of no step.

        loss: of each image, (n,). columns: which images of the batch they are. path: that of the step's stream.
        """
        if path[-2:-1] == ("step",):
            self._starts.setdefault(path[:-2], []).append((columns, loss))

    def rising(self, like: Array) -> Array:
        """Which images gained, in the last tenth of the steps, 1/20 of all that they gained at least: (N,).

        Of each image the start of the highest loss counts, which is the one that an attack keeps. On draws of the noise
        a loss that has come to its end is highest in the last tenth for one image in ten, by luck.

        like: bools, an entry for each image, of the library that the losses are of.
        """
        xp = namespace(like)
        found, most = xp.zeros(len(like), bool), xp.full(len(like), -inf)
        for looks in (looks for looks in self._starts.values() if len(looks) >= TENTH):
            losses = _table(looks, len(like)) if xp is np else stacked([loss for _, loss in looks]).astype(float)
            losses = xp.where(xp.isfinite(losses), losses, NOTHING)
            early, best = losses[: -(len(looks) // TENTH)].max(axis=0), losses.max(axis=0)
            gained = (best > early) & (best - early > RISE * (best - losses[0]))
            found, most = xp.where(best > most, gained, found), xp.maximum(best, most)
        return found


def _table(looks: list[tuple[Sequence[int] | slice, Array]], images: int) -> np.ndarray:
    """The losses, a step a row and an image a column; NaN for an image that a step did not ask about."""
    losses = np.full((len(looks), images), np.nan)
    for row, (columns, loss) in zip(losses, looks, strict=True):
        row[columns] = loss
    return losses
