"""Layers: frozen values that map the moments of their input to those of their output, and cotangents back."""

from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.affine import Conv2d, Linear, Normalise
from npsnn.layers.base import Backward, Layer, Params, Shape, Want
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.moments import EXPECTATION, Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise, PreactivationNoise
from npsnn.layers.pool import MaxPool, MeanPool
from npsnn.layers.reshape import Flatten

__all__ = [
    "EXPECTATION",
    "Backward",
    "BatchNorm",
    "Conv2d",
    "Expectation",
    "FeatureNoise",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Moments",
    "Noise",
    "Normalise",
    "PReLU",
    "Params",
    "PreactivationNoise",
    "Propagated",
    "ReLU",
    "Residual",
    "Sampled",
    "Sequential",
    "Shape",
    "Want",
]
