"""Images before and after attacks, what was changed, and how a network reads them: as HTML or as one PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from npsnn.attacks.judging import Judging, checked, checked_judging
from npsnn.classifier import Classifier
from npsnn.files import write_atomic
from npsnn.files.npz import read_npz
from npsnn.inputs import as_images
from npsnn.pages import page, pixels
from npsnn.validate import check_choice, check_count

PICKS = FIRST, FOOLED, KEPT = "first", "fooled", "kept"
"""Which images are shown: the first ones; those that are right until an attack; those that stay right."""
LIMIT = 1 << 32
"""The bytes that a file of adversarial images may have."""


@dataclass(frozen=True)
class Reading:
    """How a network reads an image: the class that most draws name, and in how many of them.

    name: of the class.
    right: whether the class is the label.
    count: number of draws that name it.
    draws: number of draws; 1 of a network without noise.
    """

    name: str
    right: bool
    count: int
    draws: int

    def __str__(self) -> str:
        said = f" in {self.count} of {self.draws} draws" if self.draws > 1 else ""
        return f"{'✓' if self.right else '✗'} {self.name}{said}"


@dataclass(frozen=True, eq=False)
class Changed:
    """An image after an attack.

    attack: the attack's name.
    x: the image, (C, H, W), floats in [0, 1].
    reading: how it is read.
    """

    attack: str
    x: np.ndarray
    reading: Reading


@dataclass(frozen=True, eq=False)
class Shown:
    """An image of a gallery.

    index: its number among the images.
    label: name of its class.
    x: the image, (C, H, W), floats in [0, 1].
    reading: how it is read without an attack.
    changed: what attacks made of it.
    """

    index: int
    label: str
    x: np.ndarray
    reading: Reading
    changed: Sequence[Changed]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images with what attacks made of them.

    title: above them.
    says: how they were chosen and read, in a sentence.
    images: the images.
    """

    title: str
    says: str
    images: Sequence[Shown] = field(default_factory=tuple)

    def write(self, path: Path, dark: bool = False) -> None:
        """Write the gallery as one HTML file or one PNG, as the ending of the path says.

        dark: whether a PNG has dark paper; a page follows its reader.
        Raises ValueError for another ending, for a PNG without matplotlib, OSError, naming the file.
        """
        from npsnn.seeing import plots

        plots.check_path(path, "path", ENDINGS)
        content = plots.gallery(self, dark) if path.suffix == ".png" else self.page().encode()
        write_atomic(path, content)

    def page(self) -> str:
        """The HTML file, which asks for nothing from outside."""
        body = f"<h1>{escape(self.title)}</h1>\n<p>{escape(self.says)}</p>\n{self.html()}"
        return page.page(self.title, body, page.views())

    def html(self) -> str:
        """The images as a part of a page that has the rules of `npsnn.pages.page.views`."""
        return f'<div class="images">\n{"".join(map(_html, self.images))}</div>\n'


ENDINGS = (".html", ".png")


def gallery(
    network: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    attacked: Mapping[str, np.ndarray],
    judging: Judging | None = None,
    count: int = 8,
    pick: str = FIRST,
    names: Sequence[str] = (),
    title: str = "",
) -> Gallery:
    """Choose images, and let the network read them as they are and as attacks left them.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    attacked: images of the shape of x by the names of attacks, as {"pgd at 0.1": result.x_adv}.
    judging: the network's noise, and on how many draws each image is read.
    count: the most images that are shown.
    pick: "first", the first images; "fooled", right by most draws and misread after an attack; "kept", right by most
        draws after every attack.
    names: of the classes; by default their numbers.
    title: of the gallery.
    Raises ValueError for what does not fit the network, and where no image is such as `pick` asks for.
    """
    judging = checked_judging(judging or Judging())
    check_count("count", count)
    check_choice("pick", pick, PICKS)
    x, labels = checked(network, x, labels)
    changed = {name: _fitting(images, x, name) for name, images in attacked.items()}
    names = names or [str(c) for c in range(network.model.classes)]
    if len(names) != network.model.classes:
        raise ValueError(f"names must be of {network.model.classes} classes, got {len(names)}")
    read = _Reading(judging.defended(network), labels, judging, names)
    known = slice(count) if pick == FIRST else slice(None)
    clean = read(x[known], known)
    after = {name: read(images[known], known) for name, images in changed.items()}
    places = [i for i, own in enumerate(clean) if _picked(pick, own, [found[i] for found in after.values()])][:count]
    if not places:
        raise ValueError(f"none of {len(clean)} images is {pick}: take another pick or more images")
    images = [
        Shown(i, names[labels[i]], x[i], clean[i], [Changed(n, changed[n][i], after[n][i]) for n in changed])
        for i in places
    ]
    return Gallery(title or network.model.name, _says(pick, len(images), len(x), clean[0].draws), images)


def _says(pick: str, count: int, of: int, draws: int) -> str:
    what = {
        FIRST: f"The first {count} images.",
        FOOLED: f"{count} of {of:,} images, the first that are read correctly and misread after an attack.",
        KEPT: f"{count} of {of:,} images, the first that are read correctly after every attack.",
    }[pick]
    how = (
        f" Each is read under {draws} draws of the noise; the class is the one that most draws name."
        if draws > 1
        else ""
    )
    return f"{what}{how} A change is scaled: grey is none, black and white are the largest change of the image."


def _picked(pick: str, clean: Reading, after: list[Reading]) -> bool:
    fooled = any(not reading.right for reading in after)
    return pick == FIRST or (clean.right and fooled == (pick == FOOLED))


def _fitting(images: np.ndarray, x: np.ndarray, name: str) -> np.ndarray:
    found: np.ndarray = as_images(images, x.shape[1:])
    if len(found) != len(x):
        raise ValueError(f"attacked must have {len(x)} images as x has, got {len(found)} for {name!r}")
    return found


@dataclass(frozen=True)
class _Reading:
    """Lets a network read images, whichever they are, under the same draws."""

    network: Classifier
    labels: np.ndarray
    judging: Judging
    names: Sequence[str]

    def __call__(self, x: np.ndarray, known: slice) -> list[Reading]:
        draws = self.judging.draws if self.network.random else 1
        named = self.network.sample(x, self.judging.stream.at("gallery"), draws).argmax(axis=2)  # (draws, N)
        classes = self.network.model.classes
        counts = (
            np.stack([np.bincount(own, minlength=classes) for own in named.T]) if len(x) else np.zeros((0, classes))
        )
        most = counts.argmax(axis=1)
        return [
            Reading(self.names[c], bool(c == label), int(of[c]), draws)
            for c, of, label in zip(most.tolist(), counts, self.labels[known], strict=True)
        ]


def saved(path: Path, x: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The adversarial images of `npsnn attack --save`, by the names of their attacks.

    path: of the file.
    x: (N, C, H, W), the test images.
    labels: (N,).
    Raises OSError where the file cannot be read, ValueError, naming it, where it is of other images.
    """
    found = read_npz(path, "file of adversarial images", LIMIT)
    own = found.pop("labels", None)
    if own is None or not found:
        raise ValueError(f"{path} must be a file of npsnn attack --save, got the arrays {', '.join(found) or 'none'}")
    count = len(own) if own.ndim == 1 else 0
    odd = [name for name, images in found.items() if images.shape != (count, *x.shape[1:])]
    if odd or not count or not np.array_equal(own, labels[:count]):
        what = f"{odd[0]} has the shape {found[odd[0]].shape}" if odd else "the labels differ"
        raise ValueError(f"{path} is of other images than these, {x.shape[1:]} each: {what}")
    return found


def _html(shown: Shown) -> str:
    heading = f"image {shown.index}, label {shown.label}"
    views = [_views(shown, changed) for changed in shown.changed] or [
        f'<div class="views">{_view(pixels.shown(shown.x), "image", str(shown.reading), heading)}</div>\n'
    ]
    return f'<section class="image"><h3>{escape(heading)}</h3>\n{"".join(views)}</section>\n'


def _views(shown: Shown, changed: Changed) -> str:
    """The image, its change and the attacked image, side by side."""
    change, most = pixels.difference(changed.x, shown.x)
    what = f"image {shown.index}"
    return (
        '<div class="views">'
        + _view(pixels.shown(shown.x), "image", str(shown.reading), what)
        + _view(change, "change", f"at most {most:.3g}", f"change of {what} by {changed.attack}")
        + _view(pixels.shown(changed.x), changed.attack, str(changed.reading), f"{what} after {changed.attack}")
        + "</div>\n"
    )


def _view(image: np.ndarray, name: str, says: str, alt: str) -> str:
    return page.figure(pixels.inline(image, alt), name, says)


def attacked_by(results: Sequence[Any]) -> dict[str, np.ndarray]:
    """The images of results of `npsnn.attacks.robust_accuracy`, by names for a gallery.

    Members of a group that ran in turn have one entry, the group's: they leave one image together. Attacks of several
    norms are told apart by theirs.
    """
    several = len({r.norm for r in results}) > 1

    def name(r: Any) -> str:
        words = [r.title if r.met is None else r.group, *([r.norm] if several else [])]
        return " ".join(words) if np.isinf(r.eps) else f"{' '.join(words)} at {r.eps:.4g}"

    return {name(r): r.x_adv for r in results}
