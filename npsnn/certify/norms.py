"""How much a layer can stretch the difference of two inputs in L2: upper bounds that hold, rounding included.

The bound of an affine layer is on its operator norm. All is computed in float64 from the parameters as they are.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.backend import to_host
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Forms, Layer, Params, Shape, is_random
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential, nested
from npsnn.layers.dropout import Dropout
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.noisy_weights import NoisyWeights
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten

MARGIN = 1e-9
"""The part that is added to a norm for the rounding of float64.

A norm of a sum of K² taps, each m x n, computed by products, a Gram matrix and its largest eigenvalue, is off by at
most about (K² + m + n) K √(min(m, n)) 2⁻⁵² of itself: below 1e-10 for every network that npsnn makes.
"""

Floats = npt.NDArray[np.float64]


def linear_bound(w: npt.ArrayLike) -> float:
    """The largest singular value of a matrix, plus the margin for rounding.

    w: the matrix.
    Raises ValueError for a matrix that is not finite.
    """
    unit, weights = _in_units(w)
    return unit * float(np.linalg.norm(weights, 2)) * (1 + MARGIN)


def convolution_bound(w: npt.ArrayLike, image: tuple[int, int], stride: int = 1, padding: int = 0) -> float:
    """An upper bound of the operator norm of a convolution of zero-padded images.

        ‖A‖ <= max over f of ‖Ŵ(f)‖₂,    Ŵ(f) = Σ_t W_t exp(-2πi f·t),

    over the P x Q frequencies f = (a/P, b/Q) of a torus, where W_t is the matrix (filters, channels) of the tap t.

    Proof. Let P x Q be the size of the padded image.

    1. Without a stride. E puts an image in the middle of a torus of P x Q pixels, with zeros around it: ‖E‖ = 1. C is
       the circular cross-correlation on the torus, (Cx)(s) = Σ_t W_t x(s + t), where s + t is taken modulo P and Q.
       R keeps the outputs s of the layer: ‖R‖ <= 1. An output of the layer has all its taps inside the padded image,
       0 <= s + t < P, so no tap goes round the torus and A = R C E. Hence ‖A‖ <= ‖C‖. The discrete Fourier transform
       of P x Q points is unitary up to a factor and maps C to a block for each of its frequencies: Cx has the
       transform conj(Ŵ)(f) x̂(f), with W real. So ‖C‖ is the maximum above, exactly, over these frequencies alone;
       nothing between them is asked for, since every image of the layer is an image of this very torus.
    2. With a stride q. Cut the padded image, with zeros added to a multiple of q, into blocks of q x q pixels, each
       seen as one pixel with q² times the channels; cut the kernel, with zeros added, in the same way. An output at
       q s is then the output at s of the convolution of blocks, without a stride. The cuts only rename the numbers of
       an image, which keeps L2. Taps that reach beyond the last block have weights 0. So 1. holds of the blocks.

    Real weights give f and -f the same norm, so half of the frequencies are computed.

    w: filters (filters, kernel, kernel, channels).
    image: height and width of the image, in pixels, before padding.
    stride: step between two outputs, in pixels.
    padding: zeros on each side, in pixels.
    Raises ValueError for weights that are not finite.
    Source: PixelDP (Lecuyer et al. 2019) needs such a bound; its own, ⌈k/stride⌉ ‖W‖, is 1.4 to 1.7 times as large.
    """
    unit, weights = _in_units(w)
    taps = _blocks(weights, stride)
    rows, columns = (_phases(-(-(size + 2 * padding) // stride), len(taps)) for size in image)
    largest = 0.0
    for row in rows[: len(rows) // 2 + 1]:
        transformed = np.tensordot(columns, np.tensordot(row, taps, 1), 1)
        largest = max(largest, _largest_singular_value(transformed))
    return unit * largest * (1 + MARGIN)


def _in_units(w: npt.ArrayLike) -> tuple[float, Floats]:
    """The largest entry, and the weights in units of it, whose squares neither overflow nor vanish."""
    weights = np.asarray(w, np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite for a bound of their norm, got a NaN or an infinity")
    unit = float(np.abs(weights).max(initial=0))
    return unit, weights / (unit or 1)


def _blocks(w: Floats, q: int) -> Floats:
    """The taps of the filters over blocks of q x q pixels: (K, K, filters, channels q²) for K = ⌈kernel/q⌉."""
    filters, kernel, _, channels = w.shape
    blocks = -(-kernel // q)
    grown = np.zeros((filters, blocks * q, blocks * q, channels))
    grown[:, :kernel, :kernel] = w
    cut = grown.reshape(filters, blocks, q, blocks, q, channels)
    return cut.transpose(1, 3, 0, 2, 4, 5).reshape(blocks, blocks, filters, q * q * channels)


def _phases(period: int, taps: int) -> npt.NDArray[np.complex128]:
    """exp(-2πi a t/P) for the frequencies a < P and the taps t: (P, taps)."""
    turns = np.outer(np.arange(period), np.arange(taps)) % period  # exact, so that the angles are small
    phases: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * turns / period)
    return phases


def _largest_singular_value(matrices: npt.NDArray[np.complex128]) -> float:
    """Of several matrices, (..., m, n), by the smaller of their Gram matrices."""
    turned = matrices.conj().swapaxes(-1, -2)
    gram = matrices @ turned if matrices.shape[-2] <= matrices.shape[-1] else turned @ matrices
    return float(np.sqrt(max(0.0, np.linalg.eigvalsh(gram).max())))


def _convolution(layer: Conv2d, params: Params, shape: Shape) -> float:
    return convolution_bound(to_host(params["w"]), shape[1:], layer.stride, layer.padding)  # type: ignore[arg-type]


def _batch_norm(layer: BatchNorm, params: Params, shape: Shape) -> float:
    w, var = (to_host(params[name]).astype(np.float64) for name in ("w", "running_var"))
    return float(np.abs(w / np.sqrt(var + layer.epsilon)).max()) * (1 + MARGIN)


def _sequential(layer: Sequential, params: Params, shape: Shape) -> float:
    bound = 1.0
    for name, part in layer.layers:
        bound *= stretch(part, params.get(name, {}), shape, name)
        shape = part.init(Forms(1), shape)[1]
    return bound


def _residual(layer: Residual, params: Params, shape: Shape) -> float:
    branches = (("body", layer.body), ("shortcut", layer.shortcut))
    return sum(_sequential(branch, params.get(name, {}), shape) for name, branch in branches)


Bound = Callable[[Any, Params, Shape], float]

BOUNDS: dict[type, Bound] = {
    Conv2d: _convolution,
    Linear: lambda layer, params, shape: linear_bound(to_host(params["w"])),
    Normalise: lambda layer, params, shape: (1 + MARGIN) / min(layer.std),
    BatchNorm: _batch_norm,
    Flatten: lambda layer, params, shape: 1.0,
    Dropout: lambda layer, params, shape: 1.0,
    ReLU: lambda layer, params, shape: 1.0,
    PReLU: lambda layer, params, shape: float(np.maximum(1.0, np.abs(to_host(params["slope"]))).max()),
    # |max a - max b| <= max |a - b| <= ‖a - b‖ in each window, and windows share no pixel
    MaxPool: lambda layer, params, shape: 1.0,
    # of windows that overlap, at most ⌈size / stride⌉² share a pixel
    OverlappingMaxPool: lambda layer, params, shape: float(-(-layer.size // layer.stride)),
    # a window's mean is 1/size² times a sum of size² numbers: by Cauchy and Schwarz at most 1/size times their norm
    MeanPool: lambda layer, params, shape: 1 / layer.size,
    Sequential: _sequential,
    Residual: _residual,
}
"""The bounds that are known, by the class of the layer itself: a subclass may compute anything."""


def stretch(layer: Layer, params: Params, shape: Shape, name: str = "") -> float:
    """A bound of ‖f(x + d) - f(x)‖₂ / ‖d‖₂ for the function f of a layer without noise, outside of training.

    layer: the layer.
    params: its own parameters.
    shape: of its input, (C, H, W) or (features,).
    name: of the layer, for messages.
    Raises ValueError for a layer that draws noise, and for one of which no bound is known.
    """
    what = f"{name}, {layer!s:.80}" if name else f"{layer!s:.80}"
    noise = (PreactivationNoise, FeatureNoise, NoisyWeights)
    if isinstance(layer, noise) and not layer.draws(params):
        quiet = layer.quiet()
        return 1.0 if quiet is None else stretch(quiet, params, shape, name)
    if any(is_random(part) for _, part in nested(layer)):
        raise ValueError(f"noise inside of another layer cannot be certified, got {what}: give a sigma for the images")
    if type(layer) not in BOUNDS:
        known = ", ".join(kind.__name__ for kind in BOUNDS)
        raise ValueError(
            f"layers before the noise must have a known bound ({known}), got {what}: give a sigma for the images"
        )
    return BOUNDS[type(layer)](layer, params, shape)
