"""Models that answer by mixing an image with stored ones."""

from dataclasses import replace
from typing import Any

from npsnn.layers.affine import Linear
from npsnn.layers.base import Layer
from npsnn.layers.containers import Sequential, mapped
from npsnn.layers.mixing import Mixing
from npsnn.models.base import Model, without_noise


def with_mixing(model: Model, pool: int = 100, **options: Any) -> Model:
    """The model inside a layer `Mixing`: its parameters are "mixing.pool" and, as "mixing.body.conv1.w", its own.

    model: any model. Its noise layers are left out, and its last layer is no longer joint, for nothing carries a
        variance there.
    pool: number of stored images of each class.
    options: fields of `npsnn.layers.Mixing`, as choice="other".
    Raises ValueError for options that are not as `Mixing` says.
    """
    body = mapped(without_noise(model).network, _not_joint)
    return replace(model, network=Sequential((("mixing", Mixing(body, model.classes, pool, **options)),)))


def _not_joint(layer: Layer) -> Layer:
    return replace(layer, joint=False) if isinstance(layer, Linear) and layer.joint else layer
