"""Defences of the literature: each a value whose fields are its settings, in a table that `npsnn train --recipe` reads.

training = train.defences.on("trades", "fashion-mnist", epochs=10).training(dataset)
"""

from typing import Any

from npsnn.tables import import_all
from npsnn.train.defences.base import DEFENCES, Defence, Departure, defence

__all__ = ["DEFENCES", "Defence", "Departure", "defence", "on"]

import_all(__name__, __path__)  # a new file here needs no line here


def on(name: str, dataset: str, code: bool = False, **given: Any) -> Any:
    """The named defence with its settings for a data set; arguments and errors are those of `Defence.on`."""
    return DEFENCES.named(name).on(dataset, code, **given)
