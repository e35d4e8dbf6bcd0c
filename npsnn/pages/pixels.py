"""Small images as PNG, without a library: grey or colour, 8 bits."""

import base64
import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {1: 0, 3: 2}
"""PNG's number for a kind of image, by its channels."""


def shown(x: np.ndarray) -> np.ndarray:
    """An image as it can be shown: 8 bits, (H, W, 1) or (H, W, 3).

    x: (C, H, W), of 8 bits or floats in [0, 1]. An image of other than one or three channels is shown grey, by the mean
        of its channels.
    """
    values = x.astype(np.float64) * (1 if x.dtype == np.uint8 else 255)
    if len(values) not in _KINDS:
        values = values.mean(axis=0, keepdims=True)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def difference(x: np.ndarray, original: np.ndarray) -> tuple[np.ndarray, float]:
    """The change of an image as an image, grey where nothing changes, and the change that is black or white.

    x, original: (C, H, W), floats in [0, 1].
    Returns an image as `shown` does, and the largest change of a value, by which the change is scaled.
    """
    change = x.astype(np.float64) - original
    most = float(np.abs(change).max())
    return shown(0.5 + change / (2 * most) if most else np.full(x.shape, 0.5)), most


def png(image: np.ndarray) -> bytes:
    """The PNG file of an image of 8 bits, (H, W, 1) or (H, W, 3).

    Source: PNG specification, third edition, W3C 2025, Sec. 5 and 11.
    """
    h, w, channels = image.shape
    lines = np.concatenate([np.zeros((h, 1), np.uint8), image.reshape(h, w * channels)], axis=1)  # filter 0: none
    header = struct.pack(">IIBBBBB", w, h, 8, _KINDS[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + _chunk(b"IEND")


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def inline(image: np.ndarray, says: str) -> str:
    """The image as HTML that holds its file.

    image: as for `png`.
    says: what the image shows, in plain text.
    """
    from html import escape

    h, w, _ = image.shape
    source = base64.b64encode(png(image)).decode()
    return f'<img alt="{escape(says)}" width="{w}" height="{h}" src="data:image/png;base64,{source}">'
