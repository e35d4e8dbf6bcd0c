"""Images as PNG: read again by a reader of these tests, any size, one channel or more."""

import struct
import zlib

import numpy as np
import pytest

from npsnn.pages import pixels


def read_png(content: bytes) -> np.ndarray:
    """The image in a PNG file whose lines have no filter; each chunk's check sum is verified."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(content):
        (size,), kind = struct.unpack(">I", content[at : at + 4]), content[at + 4 : at + 8]
        body = content[at + 8 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + size
    w, h, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(h, -1)
    assert depth == 8 and b"IEND" in chunks and not lines[:, 0].any()
    return lines[:, 1:].reshape(h, w, {0: 1, 2: 3}[colour])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 40, 30), (1, 1, 5)])
def test_an_image_is_read_as_it_was_written(shape: tuple[int, int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(read_png(pixels.png(pixels.shown(x))), x.transpose(1, 2, 0))
    np.testing.assert_array_equal(pixels.shown(x / 255), pixels.shown(x))


def test_an_image_of_other_channels_is_grey() -> None:
    x = np.stack([np.zeros((2, 3)), np.ones((2, 3))])
    assert pixels.shown(x).shape == (2, 3, 1) and set(pixels.shown(x).ravel()) == {128}


def test_a_change_is_scaled_to_black_and_white() -> None:
    x = np.full((1, 2, 2), 0.5)
    changed = x + np.array([[[0.0, 0.1], [-0.1, 0.05]]])
    image, most = pixels.difference(changed, x)
    assert most == pytest.approx(0.1)
    assert image[..., 0].tolist() == [[128, 255], [0, 191]]
    assert pixels.difference(x, x)[1] == 0 and set(pixels.difference(x, x)[0].ravel()) == {128}


def test_html_says_what_an_image_shows() -> None:
    html = pixels.inline(np.zeros((2, 3, 1), np.uint8), 'a "digit" & more')
    assert 'alt="a &quot;digit&quot; &amp; more" width="3" height="2" src="data:image/png;base64,' in html
