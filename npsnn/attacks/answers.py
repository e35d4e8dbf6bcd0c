"""What an attack learns of a network that tells nothing but its answers: a vote of its draws, and what votes cost."""

from dataclasses import dataclass, field

import numpy as np

from npsnn.attacks.targets import Queried
from npsnn.streams import Stream

FIRST = 5
"""The draws of a first vote."""


@dataclass
class Answers:
    """The answers of a network about some images, counted against each image's budget.

    A network without noise has one answer. A random one is asked for a vote: of 5 draws at first, and of twice as many
    as long as the share is within 1/√draws of a tie, which is two standard errors, and there are fewer than `votes`.
    So most draws are spent near the boundary, where a few would decide by luck.

    labels: of the images, (N,).
    queries: number of draws that each image may be asked about.
    votes: number of draws of one vote at most.
    """

    target: Queried
    labels: np.ndarray
    stream: Stream
    queries: int
    votes: int
    spent: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.spent = np.zeros(len(self.labels), int)

    @property
    def random(self) -> bool:
        """Whether answers about one image differ."""
        return self.target.looks(2) > 1

    def left(self, images: np.ndarray) -> np.ndarray:
        """The draws that are left of each image's budget."""
        return np.asarray(self.queries - self.spent[images])

    def share(self, x: np.ndarray, images: np.ndarray, draws: int, *path: str | int) -> np.ndarray:
        """The share of some draws that misread a point of each of these images, (n,).

        x: a point of each, (n, C, H, W).
        images: which images of the batch they belong to.
        path: names the random numbers.
        """
        draws = self.target.looks(draws)
        self.spent[images] += draws
        own = self.stream.at(*path)
        own = own if len(images) == len(self.labels) else own.chosen(images)
        return np.asarray(self.target.misread(x, self.labels[images], draws, own))

    def misread(self, x: np.ndarray, images: np.ndarray, *path: str | int) -> np.ndarray:
        """Whether a vote finds a point of each image misread, (n,); not where its budget allows no vote.

        The arguments are those of `share`.
        """
        wrong, asked = np.zeros(len(images)), np.zeros(len(images))
        open_, so_far, round_ = np.arange(len(images)), 0, 0
        while len(open_):
            more = min(so_far or FIRST, self.votes - so_far) if self.random else 1
            open_ = open_[self.left(images[open_]) >= more]
            if not len(open_):
                break
            wrong[open_] += more * self.share(x[open_], images[open_], more, *path, "round", round_)
            asked[open_] += more
            so_far, round_ = so_far + more, round_ + 1
            if not self.random or so_far >= self.votes:
                break
            open_ = open_[np.abs(wrong[open_] / so_far - 0.5) <= 1 / np.sqrt(so_far)]
        return 2 * wrong > asked
