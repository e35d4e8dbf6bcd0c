"""A PyTorch network with noise at inference, trained on the built-in digits, and the same network in npsnn."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from npsnn import data
from npsnn.classifier import Classifier
from npsnn.data import digits
from npsnn.layers import Conv2d, Flatten, Linear, MaxPool, PreactivationNoise, ReLU, Sequential
from npsnn.models import Model

SIGMA = 0.5
SHAPE = (1, 28, 28)


@cache
def few_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """3,000 images and labels to train on, and 300 to test on."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(digits, "SIZES", {"train": 3000, "test": 300})
        found = data.load("digits", Path(folder))
    return (
        *((data.as_float(found.train.images)), found.train.labels),
        data.as_float(found.test.images),
        found.test.labels,
    )


def module(noise: Any) -> Any:
    """A convolution, what makes the noise, ReLU, max pooling and a last layer; its weights are always the same."""
    from torch import nn, random

    with random.fork_rng([]):
        random.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 8, 5), noise, nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 36, 10))


def gaussian() -> Any:
    """Noise of `SIGMA` in training mode."""
    import torch

    class Gaussian(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x + SIGMA * torch.randn_like(x) if self.training else x

    return Gaussian()


@cache
def trained() -> Any:
    """The module after a few epochs, in eval mode but for its noise, which draws."""
    import torch

    images, labels = (torch.tensor(array) for array in few_digits()[:2])
    net = module(gaussian())
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        optimizer = torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(6):
            for part in torch.randperm(len(images)).split(100):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(images[part]), labels[part].long()).backward()
                optimizer.step()
    optimizer.zero_grad()
    net.eval()[1].train()
    return net


def rebuilt(net: Any) -> Classifier:
    """The same network in npsnn."""
    layers: Any = (
        ("conv", Conv2d(8, 5)),
        ("noise", PreactivationNoise(SIGMA)),
        ("relu", ReLU()),
        ("pool", MaxPool(4)),
        ("flatten", Flatten()),
        ("fc", Linear(10, joint=True)),
    )
    model = Model("rebuilt", Sequential(layers), SHAPE, 10)
    w, b, v, c = (p.detach().numpy() for p in net.parameters())
    params = {"conv": {"w": np.ascontiguousarray(w.transpose(0, 2, 3, 1)), "b": b}, "fc": {"w": v, "b": c}}
    noise = {"noise": {"sigma": np.asarray(SIGMA, w.dtype)}}
    return Classifier(model, params | noise, threads=1)
