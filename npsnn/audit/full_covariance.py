"""The full covariance of the noise through a network, with the engine's layers as its matrices (extension E5)."""

from math import prod
from typing import TypeAlias

import numpy as np

from npsnn.audit.card import Floats
from npsnn.layers import levels
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Affine, Conv2d, Linear
from npsnn.layers.base import Layer, Params
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.centres import Centres
from npsnn.layers.dropout import Dropout
from npsnn.layers.moments import EXPECTATION, Moments, Propagated
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear
from npsnn.layers.pool import MaxPool
from npsnn.layers.reshape import Flatten
from npsnn.ops.channels import per_channel
from npsnn.reference import covariance

COVERED = (Affine, BatchNorm, Centres, Dropout, FeatureNoise, Flatten, MaxPool, PReLU, PreactivationNoise, ReLU)
"""The layers that can pass on a full covariance; but not a `NoisyConv2d`, whose outputs share their noisy filters."""

MOST_UNITS = 4096  # of a layer, for its covariance: 128 MiB
LARGEST_MATRIX = 2**26  # entries of the matrix of one layer: 512 MiB

State: TypeAlias = tuple[Floats, Floats]
"""Mean (units,), and variance (units,) or covariance (units, units), in the engine's order of (H, C, W)."""


def through(layer: Layer, params: Params, mean: Floats, V: Floats, matrix: Floats | None) -> State:
    """Mean and variance, or covariance, after one layer.

    layer: the layer.
    params: its parameters.
    mean: mean of its inputs, (H, C, W, 1) or (features, 1).
    V: variance (units,) or covariance (units, units) of its inputs.
    matrix: the layer as a matrix (outputs, inputs), None for a layer that needs none.
    """
    if isinstance(layer, PreactivationNoise):
        added = np.broadcast_to(levels.spread(params["sigma"], mean) ** 2, mean.shape).ravel()
        return mean, V + (added if V.ndim == 1 else np.diag(added))
    if isinstance(layer, Centres | Dropout):  # the latter drops in training alone
        return mean, V
    if isinstance(layer, FeatureNoise):
        L = layer.factor(params, mean.size)
        return mean, (np.diag(V) if V.ndim == 1 else V) + L @ L.T
    if isinstance(layer, ReLU):
        relu = covariance.rectified_moments if V.ndim == 1 else covariance.rectified_covariance
        m, V = relu(mean.ravel(), V)
        return m.reshape(mean.shape), V
    if isinstance(layer, PReLU):
        slope = np.broadcast_to(per_channel(params["slope"], mean), mean.shape).ravel()
        leaky = covariance.leaky_moments if V.ndim == 1 else covariance.leaky_covariance
        m, V = leaky(mean.ravel(), V, slope)
        return m.reshape(mean.shape), V
    m_there = layer.forward(params, Moments(mean), EXPECTATION)[0].mean
    if isinstance(layer, MaxPool):
        m, V = covariance.max_pool(mean.ravel(), V, _windows(mean.shape, layer.size))
        return m.reshape(m_there.shape), V
    if isinstance(layer, Flatten):
        places = np.arange(mean.size).reshape(mean.shape)
        order = layer.forward({}, Moments(places), EXPECTATION)[0].mean.ravel()
        return m_there, V[order] if V.ndim == 1 else V[np.ix_(order, order)]
    if matrix is not None:
        V_there = covariance.affine(mean.ravel(), V, matrix, np.zeros(len(matrix)))[1]
        return m_there, V_there + _of_weights(layer, params, mean, V) if isinstance(layer, NoisyLinear) else V_there
    if V.ndim == 2:  # BatchNorm: a number for each unit
        zero, one = (layer.forward(params, Moments(mean * 0 + x), EXPECTATION)[0].mean.ravel() for x in (0, 1))
        slope = one - zero
        return m_there, np.outer(slope, slope) * V
    # a constant affine layer maps independent units to independent ones
    var = layer.forward(params, Moments(mean, V.reshape(mean.shape)), Propagated())[0].var
    assert var is not None
    return m_there, var.ravel()


def _of_weights(layer: NoisyLinear, params: Params, mean: Floats, V: Floats) -> Floats:
    """The covariance that noisy weights add, for inputs of any covariance: the rows of weights are independent."""
    sizes, of_bias = layer.sizes(params)
    second = mean.ravel() ** 2 + (V if V.ndim == 1 else np.diag(V))
    added = np.broadcast_to(sizes, params["w"].shape) ** 2 @ second
    return np.asarray(np.diag(added if of_bias is None else added + of_bias**2))


def _windows(shape: tuple[int, ...], k: int) -> covariance.Indices:
    """Places of (H, C, W) in windows of k by k: (windows, rows, columns), as the engine orders its outputs."""
    h, c, w = shape[0] // k, shape[1], shape[2] // k
    places = np.arange(shape[0] * c * shape[2]).reshape(shape[:3])[: h * k, :, : w * k]
    return places.reshape(h, k, c, w, k).transpose(0, 2, 3, 1, 4).reshape(-1, k, k)


def matrices(steps: tuple[tuple[str, Layer], ...], params: Params, x: Floats) -> tuple[dict[str, Floats], str]:
    """The matrices of the affine layers, by name, from the first layer that makes units share noise; or a reason.

    steps: layers from the noise on, by name.
    params: parameters of the network.
    x: inputs of the first of these layers, a batch of one.

    The second result tells why there are no matrices, or is "".
    """
    wanted: dict[str, tuple[Affine, tuple[int, ...]]] = {}
    for name, layer in steps:
        shape = x.shape
        if not isinstance(layer, COVERED) or isinstance(layer, NoisyConv2d):
            return {}, f"{name} is a {type(layer).__name__}, through which no full covariance is computed"
        x = layer.forward(params.get(name, {}), Moments(x), EXPECTATION)[0].mean
        if not isinstance(layer, Affine) or not (wanted or isinstance(layer, Conv2d | Linear)):
            continue
        if x.size > MOST_UNITS:
            return {}, f"{name} has {x.size:,} units, and a full covariance is computed for at most {MOST_UNITS:,}"
        if x.size * prod(shape) > LARGEST_MATRIX:
            return {}, f"{name} has a matrix of {x.size:,} by {prod(shape):,}, the largest is of {LARGEST_MATRIX:,}"
        wanted[name] = layer, shape
    return {name: _matrix(layer, params.get(name, {}), shape) for name, (layer, shape) in wanted.items()}, ""


def _matrix(layer: Affine, params: Params, shape: tuple[int, ...]) -> Floats:
    """(outputs, inputs): what the layer makes of the unit vectors, as columns of its batch, without the bias."""
    inputs, parts = prod(shape), []
    for start in range(0, inputs, 256):
        units = np.eye(inputs, min(256, inputs - start), -start)
        n = units.shape[1]
        units = units.reshape(*shape[:-1], n)
        parts.append(layer.apply(layer.weight(params, units), units)[0].reshape(-1, n))
    return np.concatenate(parts, axis=1)
