"""A gallery as one PNG, by matplotlib; the other pictures are drawn by `npsnn.pages.plots`."""

from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING, Any

from npsnn.pages import pixels
from npsnn.pages.plots import DARK, LIGHT, check_library, check_path, png_of, style

if TYPE_CHECKING:
    import numpy as np

    from npsnn.seeing.galleries import Gallery, Shown

__all__ = ["check_path", "gallery"]

CELL, WORDS = 1.5, 0.6
"""Inches of the width of one image, and of the height of its words."""
COLUMNS = 25
"""The characters that a line of these words has room for."""
PER_LINE = 2
"""Images beside each other, each with its three views."""


def gallery(shown: "Gallery", dark: bool = False) -> bytes:
    """The PNG file of a gallery; ValueError without matplotlib.

    dark: whether it has light ink on dark paper.
    """
    check_library("a gallery as PNG")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    each = max(1, len(shown.images[0].changed)) if shown.images else 1
    _, high, broad = shown.images[0].x.shape if shown.images else (1, 1, 1)
    wide = min(PER_LINE, max(1, len(shown.images)))
    rows = each * ceil(len(shown.images) / wide)
    with mpl.rc_context(style(*(DARK if dark else LIGHT)) | {"font.size": 8}):
        size = 3 * CELL * wide + 0.2, (CELL * min(2.0, high / broad) + WORDS) * rows + 0.6
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, 3 * wide, squeeze=False)
        for place in axes.flat:
            place.set_axis_off()
        for number, image in enumerate(shown.images):
            line, column = divmod(number, wide)
            _draw(axes[each * line : each * (line + 1), 3 * column : 3 * (column + 1)], image)
        figure.suptitle(shown.title, x=0.01, ha="left", fontsize=10)
    return png_of(figure, dark)


def _draw(axes: Any, image: "Shown") -> None:
    """One image on its rows of three axes, a row for each attack."""
    words = f"image {image.index}, label {image.label}\n{image.reading}"
    if not image.changed:
        _show(axes[0, 0], pixels.shown(image.x), words)
        return
    for row, changed in zip(axes, image.changed, strict=True):
        change, most = pixels.difference(changed.x, image.x)
        _show(row[0], pixels.shown(image.x), words)
        _show(row[1], change, f"change\nat most {most:.3g}")
        _show(row[2], pixels.shown(changed.x), f"{changed.attack}\n{changed.reading}")


def _show(axes: Any, image: "np.ndarray", words: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title("\n".join(fill(line, COLUMNS) for line in words.splitlines()), fontsize=7.5)
