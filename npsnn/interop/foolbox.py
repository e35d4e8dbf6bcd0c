"""npsnn's networks in foolbox: its attacks take a network through `model`."""

from typing import Any

from npsnn.classifier import Classifier
from npsnn.interop import needed
from npsnn.interop.torch import as_module
from npsnn.streams import Randomness

EXTRA = "foolbox"
"""The extra of npsnn that installs foolbox and PyTorch, whose tensors foolbox computes with here."""


def model(network: Classifier, rng: Randomness = 0) -> Any:
    """Make a foolbox model of an npsnn network, with bounds (0, 1), for PyTorch's tensors of the CPU.

    network: the network. Each call is a fresh draw of its noise; `network.averaging(10)` answers by the mean of ten
        draws, and `network.with_sigma(0)` without noise.
    rng: source of randomness. The same calls in the same order have the same noise.
    foolbox stops an image at the first call that misreads it. Judge what it returns by `npsnn.attacks.accuracy`, on
    fresh draws.
    Raises ImportError without foolbox or PyTorch, TypeError for what is no network.
    """
    foolbox = needed("foolbox", EXTRA)
    return foolbox.PyTorchModel(as_module(network, rng), bounds=(0, 1), device="cpu")
