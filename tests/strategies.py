"""Shapes and hyper-parameters from Hypothesis; values from a seeded generator, away from every kink."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from npsnn.testing.demands import frozen as frozen

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Pixels:
    """A batch of images: seed of its values, (N, C, H, W)."""

    seed: int
    batch: int
    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, C, W, N), as the engine has it."""
        return self.height, self.channels, self.width, self.batch

    @property
    def image(self) -> tuple[int, ...]:
        return self.channels, self.height, self.width

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


@dataclass(frozen=True)
class Convolution:
    pixels: Pixels
    filters: int
    kernel: tuple[int, int]
    stride: int
    padding: int


@st.composite
def images(draw: st.DrawFn, smallest: int = 1, largest: int = 6, most_channels: int = 3) -> Pixels:
    side = st.integers(smallest, largest)
    return Pixels(
        draw(SEEDS), draw(st.integers(1, 3)), draw(st.integers(1, most_channels)), height=draw(side), width=draw(side)
    )


@st.composite
def convolutions(draw: st.DrawFn, square: bool = False) -> Convolution:
    """Kernels of 1 to 5 pixels, strides that leave rows over, padding up to 2."""
    size = st.integers(1, 5)
    kh = draw(size)
    kw = kh if square else draw(size)
    padding = draw(st.integers(0, 2))
    seed, batch, channels = draw(SEEDS), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    low = [max(1, k - 2 * padding) for k in (kh, kw)]
    height, width = (draw(st.integers(least, least + 5)) for least in low)
    pixels = Pixels(seed, batch, channels, height, width)
    return Convolution(pixels, draw(st.integers(1, 3)), (kh, kw), draw(st.integers(1, 3)), padding)


def signed(rng: np.random.Generator, shape: tuple[int, ...], low: float = 0.1, high: float = 2.0) -> np.ndarray:
    """Numbers of either sign with low < |x| < high."""
    return rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(rng: np.random.Generator, shape: tuple[int, ...], spacing: float = 0.05) -> np.ndarray:
    """A permutation of evenly spaced numbers round 0: no two are closer than `spacing`."""
    count = int(np.prod(shape))
    return (rng.permutation(count).reshape(shape) - (count - 1) / 2) * spacing


def variances(rng: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.05, 1.5, shape)


def gaussians(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances with |mean| > 0.1 and mean / sd not near -3, where the Laplace rule jumps."""
    sd = rng.uniform(0.3, 1.2, shape)
    distance = np.where(rng.random(shape) < 0.8, rng.uniform(0.4, 2.8, shape), rng.uniform(3.2, 4.5, shape))
    return sd * distance * rng.choice([-1.0, 1.0], shape), sd**2


def batch_last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (H, C, W, N)."""
    return np.ascontiguousarray(x.transpose(2, 1, 3, 0))


def batch_first(x: np.ndarray) -> np.ndarray:
    """(H, C, W, N) -> (N, C, H, W)."""
    return np.ascontiguousarray(x.transpose(3, 1, 0, 2))
