"""The multiply-adds of a model's step, counted from its layers."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from bench_cases import Case
from bench_npsnn import model_of

from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.base import Shape
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noise import PreactivationNoise


def products(layer: Any, shape: Shape, variance: bool) -> tuple[list[int], Shape, bool]:
    """Multiply-adds of one example's forward pass, for each convolution and linear layer; and what comes out of it.

    What comes out is its shape, and whether it has a variance. Convolutions count as direct ones, whatever computes
    them. A variance goes through the same map as the mean and counts as much; the covariance W diag(v) Wᵀ of a joint
    layer counts features² inputs. Everything else counts nothing.
    """
    if isinstance(layer, Sequential):
        found: list[int] = []
        for _, part in layer.layers:
            more, shape, variance = products(part, shape, variance)
            found += more
        return found, shape, variance
    if isinstance(layer, Residual):
        body, out, variance = products(layer.body, shape, variance)
        return body + products(layer.shortcut, shape, variance)[0], out, variance
    params, out = layer.init(np.random.default_rng(0), shape)
    if isinstance(layer, PreactivationNoise):
        return [], out, layer.sigma > 0
    if not isinstance(layer, Conv2d | Linear):
        return [], out, variance
    one = params["w"].size * (prod(out[1:]) if isinstance(layer, Conv2d) else 1)
    carried = 0
    if variance:
        joint = isinstance(layer, Linear) and layer.joint
        carried = layer.features * one if joint else one
    return [one + carried], out, variance


def step_flops(case: Case) -> int:
    """Floating-point operations of one example's step, two for each multiply-add.

    A training step is three forward passes (forward, gradients of the inputs, gradients of the weights) less the
    gradient of the images, which nobody asks for; an attack is two, without gradients of the weights. Each draw of a
    sampled step is one of them.
    """
    propagated = replace(case, step="plain") if case.step == "sampled" else case  # a draw has no variance
    each, _, _ = products(model_of(propagated).network, case.shape, False)
    once = 2 * sum(each) if case.attack else 3 * sum(each) - each[0]
    return 2 * case.draws * once
