"""A target that notes what an attack meets on the way."""

from dataclasses import dataclass, replace

import numpy as np

from npsnn.attacks.balls import each
from npsnn.attacks.targets import NetworkTarget
from npsnn.backend import Array, namespace
from npsnn.inputs import in_kind
from npsnn.objectives import Objective
from npsnn.streams import Stream


@dataclass
class Watched:
    """A target that notes which images ever met a zero or a non-finite gradient, and passes on 0 for the latter.

    And which were ever misread under the attack's eyes, and which have logits that are not finite. The notes, (4, N) of
    bools in the order of their names, are where the images are.
    """

    target: NetworkTarget
    notes: Array
    stream: Stream

    @staticmethod
    def of(target: NetworkTarget, x: Array, stream: Stream) -> "Watched":
        """The target with no notes yet on the images x, whose samples are those of the stream."""
        return Watched(target, namespace(x).zeros((4, len(x)), bool), stream)

    @property
    def passes(self) -> int:
        return self.target.passes

    @property
    def random(self) -> bool:
        return self.target.random

    @property
    def certain(self) -> bool:
        return self.target.certain

    @property
    def signed(self) -> bool:
        return self.target.signed

    def looks(self, draws: int) -> int:
        return self.target.looks(draws)

    def _note(self, row: int, met: Array, stream: Stream) -> None:
        notes, met = self.notes[row], in_kind(met, self.notes)
        if stream.samples is None:
            notes |= namespace(notes).asarray(met)
        else:
            columns = {self.stream.sample(n): n for n in range(len(notes))}
            notes[[columns[sample] for sample in stream.samples[: len(met)]]] |= met

    def __call__(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array]:
        loss, g = self.target(x, labels, stream)
        return loss, self._seen(g, stream)

    def looked(self, x: Array, labels: Array, stream: Stream) -> tuple[Array, Array, Array]:
        loss, misread, g = self.target.looked(x, labels, stream)
        # an image that is misread for sure needs no slope; a ratio of logits has none where the label is third
        return loss, misread, self._seen(g, stream, in_kind(misread, g) < 1)

    def answers(self, x: Array, stream: Stream) -> Array:
        return self.target.answers(x, stream)

    def ascending(self, objective: str | Objective) -> "Watched":
        """The target with another objective, which notes in the same place."""
        return replace(self, target=self.target.ascending(objective))

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
