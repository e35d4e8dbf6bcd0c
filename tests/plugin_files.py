"""A plugin, and a process that has loaded none."""

import sys

from npsnn import tables
from npsnn.runs import plugins
from npsnn.workers import pool

MINE = """
from dataclasses import dataclass

from npsnn.layers import Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.layers.base import layer
from npsnn.models.base import Model, model


@layer
@dataclass(frozen=True)
class Mine(ReLU):
    slope: float = 0.1


@model("mine")
def mine(shape, classes, sigma=0.0):
    layers = ("flat", Flatten()), ("fc1", Linear(4)), ("noise", PreactivationNoise(sigma)), ("act", Mine())
    return Model("mine", Sequential((*layers, ("fc2", Linear(classes)))), shape, classes, 4)
"""
"""A layer, and a model with it and with noise of its own."""


def forget() -> None:
    """Make this process one that has loaded no plugin."""
    plugins._LOADED.clear()
    plugins._WARNED.clear()
    pool.FIRST.clear()
    for name in [name for name in sys.modules if name.startswith("npsnn_plugin_")]:
        del sys.modules[name]
    for own, entry in list(tables._TYPES.items()):
        if entry.__module__.startswith("npsnn_plugin_"):
            entries = tables._TABLES.pop(own)._entries
            del tables._TYPES[own]
            for name in [name for name, value in entries.items() if value is entry]:
                del entries[name]
