"""Centres of the classes among features, which training pulls features to and pushes them from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.layers.base import Backward, Forms, Params, Passing, Shape, Want, layer
from npsnn.layers.moments import Moments, Noise
from npsnn.layers.params import Role
from npsnn.validate import check_choice, check_count, check_types

FORMS = {"code": ("near", "far"), "paper": ("centres",)}
"""The parameters of each form."""


@layer
@dataclass(frozen=True)
class Centres(Passing):
    """Leaves a vector of D features as it is, and holds the centres of the classes among such features.

    classes: number of classes, >= 2.
    form: "code" for two sets of centres, the parameters "near" and "far" of shape (classes, D); "paper" for one set,
        "centres".
    The forward pass does not use the centres, and the backward pass gives them gradients of 0: the loss "pcl"
    (`npsnn.train.losses.pcl.PCL`) puts its own in their place. Centres begin as standard normal numbers and have no
    weight decay.
    Raises ValueError for another form, fewer classes, and for an image in place of a vector.
    Source: Mustafa et al. 2019 (PCL), Sec. 3; the authors' code has two sets, which begin so.
    """

    classes: int
    form: str = "code"
    roles: ClassVar[Mapping[str, Role]] = dict.fromkeys(("near", "far", "centres"), Role.BIAS)

    def __post_init__(self) -> None:
        check_types(self)
        check_count("classes", self.classes, least=2)
        check_choice("form", self.form, FORMS)

    def init(self, rng: np.random.Generator, shape: Shape) -> tuple[Params, Shape]:
        if len(shape) != 1:
            raise ValueError(f"{self} needs a vector, got the shape {shape}; put Flatten() before it")
        size = (self.classes, *shape)
        if isinstance(rng, Forms):
            return {name: rng.parameter(size) for name in FORMS[self.form]}, shape
        return {name: rng.standard_normal(size, np.float32) for name in FORMS[self.form]}, shape

    def passed(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            return g, {name: 0 * p for name, p in params.items()} if Want.PARAMS in want else {}

        return m, backward
