"""Layers: frozen values that map the moments of their input to those of their output, and cotangents back."""

from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import LAYERS, Backward, Layer, Params, Shape, Want, filled, layer, rule_of
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.centres import Centres
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.mixing import Mixing
from npsnn.layers.moments import EXPECTATION, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise, NoiseLayer, PreactivationNoise, noise_layers
from npsnn.layers.noisy_weights import NoisyConv2d, NoisyLinear, NoisyWeights
from npsnn.layers.params import Role, roles
from npsnn.layers.pool import MaxPool, MeanPool, OverlappingMaxPool
from npsnn.layers.reshape import Flatten
from npsnn.tables import import_all

__all__ = [
    "EXPECTATION",
    "LAYERS",
    "Backward",
    "BatchNorm",
    "Centres",
    "Conv2d",
    "Dropout",
    "Expectation",
    "FeatureNoise",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Mixing",
    "Moments",
    "Noise",
    "NoiseLayer",
    "NoisyConv2d",
    "NoisyLinear",
    "NoisyWeights",
    "Normalise",
    "OverlappingMaxPool",
    "PReLU",
    "Params",
    "PreactivationNoise",
    "Propagated",
    "ReLU",
    "Residual",
    "Role",
    "Sampled",
    "Sequential",
    "Shape",
    "Want",
    "filled",
    "layer",
    "noise_layers",
    "roles",
    "rule_of",
]

import_all(__name__, __path__)  # a new file here needs no line here
