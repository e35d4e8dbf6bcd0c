"""Reasons to read a number with care, for records and tables: one list for all commands and for Python."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from npsnn.runs import checkpoint

FEW = 100
"""Fewer images than these leave a 95 % interval about 20 points wide."""
LARGE_EPS = 0.5
"""A Linf ball of this radius holds the grey image, which shows nothing."""

MANY_SIGNS = 1 / 3
"""Halves of draws that are noise alone differ in half of the signs; where they differ in a third, 21 % are wrong."""


@dataclass(frozen=True)
class Caveat:
    """One reason to read a number with care: a code for programs, a clause for people."""

    code: str
    text: str


class Measured(Protocol):
    """An accuracy over some images: `npsnn.attacks.Accuracy`."""

    @property
    def mean(self) -> float: ...

    @property
    def ci95(self) -> tuple[float, float]: ...

    @property
    def one_draw(self) -> bool: ...


class Noisy(Protocol):
    """A network that may be random: `npsnn.Classifier`."""

    @property
    def random(self) -> bool: ...

    @property
    def sigmas(self) -> dict[str, float]: ...


def of_run(done: int, epochs: int, unverified: str | None) -> list[Caveat]:
    """Caveats of all that is measured on a run.

    done: the whole epochs it has, of `epochs`.
    unverified: what nobody has checked of its data set, or None.
    """
    found = []
    if done < epochs:
        found.append(Caveat("unfinished", f"the run has {done} of its {epochs} epochs"))
    if unverified:
        found.append(Caveat("unverified-data", unverified))
    return found


def of_origin(about: Mapping[str, Any]) -> list[Caveat]:
    """Caveats of a network that came without its training; about: the run's config.json."""
    if not checkpoint.is_untrained(about):
        return []
    file = about[checkpoint.UNTRAINED].get("file")
    came = f"the network is from {file}" if file else "the network was saved without its training"
    return [Caveat("training-unknown", f"{came}: what it was trained on, and how, is not known")]


def of_data(other: str) -> list[Caveat]:
    """Caveats of the data that a run is measured on; other: how they differ from the run's own, or ""."""
    if not other:
        return []
    return [Caveat("other-data", f"the data are not those the run was trained on, they differ in {other}")]


def at_chance(clean: Measured, labels: np.ndarray) -> float | None:
    """The accuracy of a network that always names the commonest class, unless `clean` is surely more than that."""
    one_class = float(np.bincount(labels).max()) / len(labels)
    return one_class if clean.ci95[0] <= one_class else None


def of_start(other: str) -> list[Caveat]:
    """Caveats of a run that began with another run's network; other: how the data differed from that run's, or ""."""
    if not other:
        return []
    return [
        Caveat("other-data-at-start", f"the network that the run began with had other data, they differ in {other}")
    ]


def of_network(own: Noisy, defended: Noisy, clean: Measured, labels: np.ndarray) -> list[Caveat]:
    """Caveats of a network before any attack.

    own: network of the run.
    defended: network that is measured, with the noise that it is left.
    clean: accuracy of that network without an attack, on images of these labels.
    labels: (N,).
    """
    from npsnn.models.sigmas import in_words  # not before it is needed: the commands' help shall not wait for layers

    images, one_class = len(labels), at_chance(clean, labels)
    found = []
    if own.random and not defended.random:
        noise = f"the network was trained with noise {in_words(own.sigmas)}, which is off"
        found.append(Caveat("noise-off", noise))
    if one_class is not None:
        guess = f"{100 * clean.mean:.1f} % clean accuracy is not surely more than {100 * one_class:.1f} %"
        found.append(Caveat("at-chance", f"{guess}, the part of the commonest class"))
    if clean.one_draw:
        what = "all images share one draw of the noise, and the intervals leave out how much draws differ"
        found.append(Caveat("one-draw", f"{what}: judge on more draws"))
    return found + of_few(images)


def of_few(images: int) -> list[Caveat]:
    """Caveats of the number of images alone."""
    return [Caveat("few-images", f"the number of images is {images}, fewer than {FEW}")] if images < FEW else []


def of_rounding(moved: bool) -> list[Caveat]:
    """Caveats of what was begun on one processor and went on on another that rounds differently."""
    return [Caveat("other-rounding", "parts were computed on processors that round differently")] if moved else []


def of_attack(
    norm: str,
    eps: float,
    zero: int,
    bad: int,
    images: int,
    noise_ignored: bool,
    signs: float | None = None,
    taken: tuple[int, int] = (0, 0),
) -> list[Caveat]:
    """Caveats of one attack's result.

    zero, bad: the images on which it met an all-zero or a non-finite gradient.
    taken: how many of both are misread all the same.
    noise_ignored: whether its gradient is that of the network without the noise it is defended by.
    signs: the mean share of pixels whose gradient has another sign in each half of its draws; None without draws.
    """
    found = []
    kinds = (zero, "zero-gradients", "an all-zero"), (bad, "bad-gradients", "a non-finite")
    for (count, code, kind), misread in zip(kinds, taken, strict=True):
        if count:
            where = f"{kind} gradient on {count:,} of {images:,} images"
            where += f", {misread:,} of which are misread" if misread else ""
            found.append(Caveat(code, f"{where}: the attack is weaker there than its name says"))
    if noise_ignored:
        found.append(Caveat("noise-ignored", "the gradient is that of the network without its noise"))
    if signs is not None and signs > MANY_SIGNS:
        halves = f"halves of its draws differ in the sign of {100 * signs:.0f} % of the pixels"
        found.append(Caveat("few-draws", f"{halves}: the attack is limited by its draws, and more make it stronger"))
    if norm == "linf" and LARGE_EPS <= eps < float("inf"):
        found.append(Caveat("large-eps", f"eps {eps:.4g} is in units of the [0, 1] pixel and takes any image to grey"))
    return found
