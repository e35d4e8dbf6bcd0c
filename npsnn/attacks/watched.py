"""A target that notes what an attack meets on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from npsnn.attacks.balls import each
from npsnn.attacks.climbs import Climbs
from npsnn.attacks.targets import NetworkTarget
from npsnn.backend import Array, namespace
from npsnn.inputs import in_kind
from npsnn.objectives import Objective
from npsnn.streams import Stream


@dataclass
class Watched:
    """A target that notes which images ever met a zero or a non-finite gradient, and passes on 0 for the latter.

    And which were ever misread under the attack's eyes, and which have logits that are not finite. The notes, (4, N) of
    bools in the order of their names, are where the images are. The losses of its steps are in `climbs`.

    rounds: whether the images are rounded before they are judged. An image that a look finds misread may then be read
        rightly: no look is certain, and attacks go on to the highest loss.
    """

    target: NetworkTarget
    notes: Array
    stream: Stream
    rounds: bool = False
    climbs: Climbs = field(default_factory=Climbs)

    @staticmethod
    def of(target: NetworkTarget, x: Array, stream: Stream, rounds: bool = False) -> "Watched":
        """The target with no notes yet on the images x, whose samples are those of the stream."""
        return Watched(target, namespace(x).zeros((4, len(x)), bool), stream, rounds)

    @property
    def passes(self) -> int:
        return self.target.passes

    @property
    def random(self) -> bool:
        return self.target.random

    @property
    def certain(self) -> bool:
        return self.target.certain and not self.rounds

    @property
    def signed(self) -> bool:
        return self.target.signed

    def looks(self, draws: int) -> int:
        return self.target.looks(draws)

    def _note(self, row: int, met: Array, stream: Stream) -> None:
        self.notes[row][self._columns(stream, len(met))] |= namespace(self.notes).asarray(in_kind(met, self.notes))

    def _columns(self, stream: Stream, images: int) -> Sequence[int] | slice:
        """Which images of the batch those of a stream are; ValueError for a part of the batch that it does not tell."""
        batch = self.notes.shape[1]
        if images == batch and (stream.first, stream.samples) == (self.stream.first, self.stream.samples):
            return slice(batch)
        columns = {self.stream.sample(n): n for n in range(batch)}
        found = [columns[s] for s in map(stream.sample, range(images)) if s in columns]
        if len(found) == images:
            return found
        if images == batch:  # an attack's own stream, which knows no samples
            return slice(batch)
        what = "the attack's stream, cut as the images are: stream.further(n) for x[n:], stream.chosen(n) for x[n]"
        raise ValueError(f"the stream of {images} of {batch} images must be {what}; got one of other samples")

    def __call__(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
        loss, g = self.target(x, labels, stream)
        self._step(loss, stream)
        return loss, self._seen(g, stream)

    def looked(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array, Array]:
        loss, misread, g = self.target.looked(x, labels, stream)
        self._step(loss, stream)
        # an image that is misread for sure needs no slope; a ratio of logits has none where the label is third
        return loss, misread, self._seen(g, stream, in_kind(misread, g) < 1)

    def answers(self, x: Array, stream: Stream) -> Array:
        return self.target.answers(x, stream)

    def ascending(self, objective: str | Objective) -> "Watched":
        """The target with another objective, which notes in the same place."""
        return replace(self, target=self.target.ascending(objective))

    def _step(self, loss: Array, stream: Stream) -> None:
        self.climbs.note(loss, self._columns(stream, len(loss)), stream.path)

    def _seen(self, g: Array, stream: Stream, noted: Array | bool = True) -> Array:
        """The gradient with 0 for what is not finite, once it is noted of whom it was so.

        stream: that of the gradient, whose samples are those of the images.
        noted: of whom it is noted that the gradient is 0.
        """
        xp, flat = namespace(g), g.reshape(len(g), -1)
        bad = ~xp.isfinite(flat).all(axis=1)
        self._note(0, (flat == 0).all(axis=1) & noted, stream)
        self._note(1, bad, stream)
        # a GPU is not asked whether any is
        return g if xp is np and not bad.any() else xp.where(each(bad), 0, g)

    def value(self, x: Array, labels: Array, stream: Stream) -> Array:
        return self.target.value(x, labels, stream)

    def misread(self, x: Array, labels: Array, draws: int, stream: Stream) -> Array:
        part = self.target.misread(x, labels, draws, stream)
        self._note(2, part > 0, stream)
        self._note(3, namespace(part).isnan(part), stream)
        return part
