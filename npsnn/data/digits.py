"""The built-in set `digits`: figures 0 to 9 that look drawn by hand, made by npsnn, so that nothing is downloaded.

Each figure is a skeleton of straight segments and arcs, bent by a smooth random field, put through a random affine map
and inked with a random pen. Position, slant and size vary enough that no fixed template separates the classes.
"""

import contextlib
import json
from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.data.dataset import Dataset, Images, Labels, Split
from npsnn.files import replacing
from npsnn.files.npz import read_npz, write_npz

VERSION = 1
"""Raise this with every change of what is drawn: a cache of another version is drawn afresh."""

CLASSES = 10
SIZES = {"train": 12_000, "test": 2_000}
SIDE = 28
SEED = 20_240_229
CHUNK = 64  # images drawn at once: 64 x 784 float32 is 200 kB, which stays in a core's cache

Array = npt.NDArray[Any]
Points = list[tuple[float, float]]


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> Points:
    """Points on an ellipse.

    x, y: of the centre.
    rx, ry: the half-axes.
    start, stop: angles in degrees; 0 is right and 90 is down.
    """
    steps = max(2, round(abs(stop - start) / 30))
    angles = [(start + (stop - start) * i / steps) * pi / 180 for i in range(steps + 1)]
    return [(x + rx * cos(a), y + ry * sin(a)) for a in angles]


# Skeletons as lists of strokes, one to three ways to write each figure; x from -0.6 to 0.6, y from -1 at the top to 1.
FIGURES: list[list[list[Points]]] = [
    [[arc(0, 0, 0.6, 1, -90, 270)]],
    [
        [[(0, -1), (0, 1)]],
        [[(-0.35, -0.6), (0.05, -1), (0.05, 1)]],
        [[(-0.35, -0.65), (0, -1), (0, 1)], [(-0.35, 1), (0.35, 1)]],
    ],
    [
        [[*arc(0, -0.45, 0.55, 0.55, -170, 40), (-0.6, 1), (0.6, 1)]],
        [[*arc(0, -0.5, 0.5, 0.5, -180, 60), (-0.35, 0.75), *arc(-0.3, 0.82, 0.2, 0.18, 180, -60), (0.6, 1)]],
    ],
    [
        [[*arc(-0.02, -0.52, 0.48, 0.48, -155, 80), *arc(-0.02, 0.46, 0.58, 0.54, -80, 150)]],
        [[(-0.5, -1), (0.45, -1), (-0.05, -0.2), *arc(-0.05, 0.4, 0.58, 0.6, -80, 145)]],
    ],
    [
        [[(-0.3, -1), (-0.55, 0.2), (0.6, 0.2)], [(0.25, -0.55), (0.2, 1)]],
        [[(0.25, 1), (0.25, -1), (-0.6, 0.35), (0.6, 0.35)]],
    ],
    [
        [[(0.5, -1), (-0.4, -1), (-0.47, -0.1), *arc(-0.03, 0.38, 0.58, 0.62, -125, 145)]],
    ],
    [
        [[*arc(0.5, 0.4, 1.05, 1.4, -100, -180), *arc(0, 0.45, 0.55, 0.55, 180, -180)]],
        [[*arc(0.55, 0.45, 1.1, 1.55, -115, -180), *arc(-0.05, 0.5, 0.5, 0.48, 180, -130)]],
    ],
    [
        [[(-0.55, -1), (0.55, -1), (-0.15, 1)]],
        [[(-0.55, -0.75), (-0.5, -1), (0.55, -1), (0, 1)], [(-0.25, 0), (0.5, 0)]],
    ],
    [[arc(0, -0.52, 0.45, 0.48, 90, -270), arc(0, 0.48, 0.55, 0.52, -90, 270)]],
    [
        [arc(0, -0.45, 0.5, 0.55, 0, -360), [(0.5, -0.45), (0.42, 1)]],
        [arc(0, -0.45, 0.55, 0.55, 0, -360), arc(-0.5, -0.4, 1.05, 1.4, 0, 85)],
    ],
]


def _segments(strokes: list[Points], count: int | None = None) -> list[tuple[float, ...]]:
    """The straight segments (x1, y1, x2, y2) of the strokes, the last one repeated up to `count`."""
    found: list[tuple[float, ...]] = [(*p, *q) for stroke in strokes for p, q in pairwise(stroke)]
    return found + found[-1:] * ((count or 0) - len(found))


def _skeletons() -> tuple[Array, Array]:
    """Segments (V, S, 2, 2) of all variants: index, end, (x, y); and the variants' numbers (10, 6) to pick from."""
    variants = [strokes for figure in FIGURES for strokes in figure]
    most = max(len(_segments(strokes)) for strokes in variants)
    table = np.array([_segments(strokes, most) for strokes in variants]).reshape(len(variants), most, 2, 2)
    starts = np.cumsum([0] + [len(figure) for figure in FIGURES])
    # Six places are a multiple of one, two and three variants, so that each of a figure's is as likely.
    picks = np.array([[starts[k] + i % len(figure) for i in range(6)] for k, figure in enumerate(FIGURES)])
    return table, picks


def _bend(points: Array, rng: np.random.Generator) -> Array:
    """The points (N, S, 2, 2) moved by a smooth random field, so that joined segments stay joined."""
    n = len(points)
    moved = points.copy()
    for _ in range(2):
        wave = rng.normal(0, 2.0, (n, 1, 1, 2))
        phase = rng.uniform(0, 2 * pi, (n, 1, 1))
        push = rng.normal(0, 0.065, (n, 1, 1, 2))
        moved += push * np.sin((points * wave).sum(-1) + phase)[..., None]
    return moved


def _place(points: Array, rng: np.random.Generator) -> Array:
    """The points (N, S, 2, 2) in pixels: scaled, sheared, rotated and shifted at random."""
    n = len(points)
    height = rng.uniform(7.0, 9.5, n)
    width = height * rng.uniform(0.85, 1.2, n)
    angle, shear = rng.normal(0, 0.12, n).clip(-0.3, 0.3), rng.normal(0, 0.15, n).clip(-0.4, 0.4)
    c, s = np.cos(angle), np.sin(angle)
    # Rotation times shear (the top leans right) times scale, as (N, 2, 2) matrices.
    affine = np.stack([c * width, -(c * shear + s) * height, s * width, (c - s * shear) * height], -1).reshape(n, 2, 2)
    shift = rng.uniform(-2.5, 2.5, (n, 2)) + (SIDE - 1) / 2
    placed: Array = np.einsum("nij,nsej->nsei", affine, points) + shift[:, None, None, :]
    return placed


def _distances(segments: Array) -> Array:
    """The distance in pixels of every pixel from the nearest segment: float32 (N, S, 2, 2) -> (N, 784)."""
    y, x = (a.reshape(1, -1).astype(np.float32) for a in np.indices((SIDE, SIDE)))
    nearest = np.full((len(segments), SIDE * SIDE), np.inf, np.float32)
    for s in range(segments.shape[1]):
        (x1, y1), (x2, y2) = (segments[:, s, end].T[..., None] for end in (0, 1))
        dx, dy = x2 - x1, y2 - y1
        along = ((x - x1) * dx + (y - y1) * dy) / np.maximum(dx * dx + dy * dy, 1e-6)
        np.clip(along, 0, 1, out=along)
        np.minimum(nearest, (x - x1 - along * dx) ** 2 + (y - y1 - along * dy) ** 2, out=nearest)
    return np.sqrt(nearest)


def draw(labels: Labels, rng: np.random.Generator) -> Images:
    """One random image for each label, uint8 (N, 1, 28, 28).

    labels: int64 (N,), 0 to 9.
    rng: whose draws decide the shapes.
    """
    table, picks = _skeletons()
    n = len(labels)
    chosen = table[picks[labels, rng.integers(6, size=n)]]
    segments = _place(_bend(chosen, rng), rng).astype(np.float32)
    radius = rng.uniform(0.8, 1.6, (n, 1)).astype(np.float32)
    ink = rng.uniform(0.65, 1.0, (n, 1)).astype(np.float32)
    grain = rng.uniform(0.0, 0.12, (n, 1)).astype(np.float32)
    images = np.empty((n, SIDE * SIDE), np.uint8)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        # One pixel of soft edge, as if the pen had been sampled by area.
        shade = ink[part] * np.clip(radius[part] + 0.5 - _distances(segments[part]), 0, 1)
        shade += grain[part] * rng.standard_normal(shade.shape, np.float32)
        images[part] = np.rint(255 * np.clip(shade, 0, 1))
    return images.reshape(n, 1, SIDE, SIDE)


def generate(split: str) -> Split:
    """A whole split, drawn: classes equally frequent, in random order, the same on every call.

    Another processor or NumPy version may round a pixel differently; the digests of the data set then differ.

    split: "train" or "test".
    """
    rng = np.random.default_rng([SEED, VERSION, list(SIZES).index(split)])
    labels = rng.permutation(np.arange(SIZES[split], dtype=np.int64) % CLASSES)
    return Split(draw(labels, rng), labels)


def _digests(splits: Mapping[str, Split]) -> dict[str, str]:
    digests = {}
    for name, split in splits.items():
        digests[f"{name}-images"] = sha256(split.images.tobytes()).hexdigest()
        digests[f"{name}-labels"] = sha256(split.labels.astype("<i8").tobytes()).hexdigest()
    return digests


def _arrays(splits: Mapping[str, Split]) -> dict[str, Array]:
    """The arrays of the cache file: the splits, and with them their digests."""
    arrays: dict[str, Array] = {"version": np.array(VERSION), "digests": np.array(json.dumps(_digests(splits)))}
    for name, split in splits.items():
        arrays |= {f"{name}_images": split.images, f"{name}_labels": split.labels}
    return arrays


def _read_cache(path: Path) -> dict[str, Split]:
    """The splits in the cache file.

    Raises OSError where there is none, ValueError, naming it, where it is damaged, of another version, or changed.
    """
    limit = (1 << 16) + sum(SIZES.values()) * (SIDE * SIDE + 8)
    found = read_npz(path, "cache of the digits", limit)
    try:
        splits = {name: Split(found[f"{name}_images"], found[f"{name}_labels"]) for name in SIZES}
        wrong = found.keys() ^ (expected := _arrays(splits)).keys()
        wrong |= {name for name in ("version", "digests") if not np.array_equal(found[name], expected[name])}
        wrong |= {name for name in SIZES if splits[name].images.shape != (SIZES[name], 1, SIDE, SIDE)}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no cache of the digits: {error}") from error
    if wrong:
        raise ValueError(f"{path} is not as npsnn wrote it: it differs in {', '.join(sorted(wrong))}")
    return splits


def _write_cache(path: Path, splits: Mapping[str, Split]) -> None:
    """Keep the splits for the next time if the folder lets us; if not, the next time draws them again."""
    with contextlib.suppress(OSError):
        nearest = next(folder for folder in path.parents if folder.exists())
        # Asked of the mode bits, because the superuser could write to a folder that was made read-only on purpose.
        if nearest.stat().st_mode & 0o222:
            with replacing(path) as file:
                write_npz(file, **_arrays(splits))


def cache(folder: Path) -> Path:
    """The path of the file that keeps the digits once they are drawn.

    folder: of the data sets.
    """
    return folder / "digits" / "digits.npz"


def _dataset(splits: Mapping[str, Split]) -> Dataset:
    return Dataset("digits", splits["train"], splits["test"], CLASSES, _digests(splits))


def load(folder: Path | None) -> Dataset:
    """The set `digits`, from its cache file or drawn afresh; nothing is raised for a bad or an absent cache.

    folder: of the data sets, or None where there is none.
    """
    with contextlib.suppress(OSError, ValueError):
        if folder is not None:
            return _dataset(_read_cache(cache(folder)))
    splits = {name: generate(name) for name in SIZES}
    if folder is not None:
        _write_cache(cache(folder), splits)
    return _dataset(splits)


def verify(folder: Path | None) -> Dataset:
    """The set `digits`, drawn afresh.

    folder: of the data sets, or None where there is none.
    Raises ValueError, naming the cache file, where it holds something else.
    """
    splits = {name: generate(name) for name in SIZES}
    if folder is not None and (path := cache(folder)).exists():
        kept = _read_cache(path)
        if odd := [name for name, digest in _digests(splits).items() if _digests(kept)[name] != digest]:
            raise ValueError(
                f"{path} holds other digits than are drawn here, they differ in {', '.join(odd)}: it was changed, or "
                "drawn on another processor or by another version of NumPy; delete it to have them drawn again"
            )
    return _dataset(splits)
