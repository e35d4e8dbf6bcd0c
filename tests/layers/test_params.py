"""Parameters by flat names: their roles, and the part of a layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from npsnn.layers import Conv2d, FeatureNoise, Linear, PreactivationNoise, PReLU, Residual, Role, Sequential, roles
from npsnn.layers.base import Params
from npsnn.layers.batchnorm import BatchNorm
from npsnn.layers.noise import noise_layers
from npsnn.layers.params import flatten, of_layer

BODY = Sequential((("conv", Conv2d(2, 3, padding=1)), ("noise", PreactivationNoise(0.3)), ("bn", BatchNorm())))
NETWORK = Sequential(
    (
        ("first", PreactivationNoise(0.1)),
        ("block", Residual(BODY, Sequential(()))),
        ("prelu", PReLU()),
        ("inner", Sequential((("more", PreactivationNoise(0.2)),))),
    )
)


@dataclass(frozen=True)
class Gated:
    """A container of a user, with a parameter beside the layers that it holds."""

    body: Sequential
    roles: ClassVar[Mapping[str, Role]] = {"gate": Role.BIAS, "deep.gate": Role.STATISTIC}


def test_every_parameter_has_the_role_that_its_layer_declares() -> None:
    params, _ = NETWORK.init(np.random.default_rng(0), (2, 4, 4))
    assert roles(NETWORK, flatten(params)) == {
        "first.sigma": Role.NOISE,
        "block.body.conv.w": Role.WEIGHT,
        "block.body.conv.b": Role.BIAS,
        "block.body.noise.sigma": Role.NOISE,
        "block.body.bn.w": Role.WEIGHT,
        "block.body.bn.b": Role.BIAS,
        "block.body.bn.running_mean": Role.STATISTIC,
        "block.body.bn.running_var": Role.STATISTIC,
        "prelu.slope": Role.BIAS,
        "inner.more.sigma": Role.NOISE,
    }
    head = Sequential((("noise", FeatureNoise(0.5)), ("last", Linear(3, joint=True))))
    found = roles(head, ["noise.L", "last.w", "last.b"])
    assert list(found.values()) == [Role.NOISE, Role.WEIGHT, Role.BIAS]
    assert all(role in Role.ALL for role in Role)


def test_a_container_may_have_parameters_of_its_own() -> None:
    network = Sequential((("gated", Gated(Sequential((("fc", Linear(3)),)))),))
    names = ["gated.gate", "gated.deep.gate", "gated.other", "gated.body.fc.b"]
    want = [Role.BIAS, Role.STATISTIC, Role.WEIGHT, Role.BIAS]
    assert list(roles(network, names).values()) == want


@pytest.mark.parametrize("name", ["nowhere.w", "w", "block.bodies.conv.w"])
def test_a_parameter_of_no_layer_is_refused(name: str) -> None:
    if name.startswith("block"):  # a Residual may have a parameter of its own, as far as its name can tell
        assert roles(NETWORK, [name]) == {name: Role.WEIGHT}
        return
    with pytest.raises(ValueError, match=f"parameter {name} belongs to no layer, expected one of first, block"):
        roles(NETWORK, [name])


def test_the_part_of_a_layer_is_found_by_its_path() -> None:
    flat: Params = {"a.w": 1, "a.b.w": 2, "ab.w": 3}
    assert of_layer("a", flat) == {"w": 1, "b.w": 2}
    assert of_layer("a.b", flat) == {"w": 2}
    assert of_layer("c", flat) == {}


def test_noise_layers_are_found_at_every_depth_in_the_order_of_the_forward_pass() -> None:
    assert {path: layer.sigma for path, layer in noise_layers(NETWORK).items()} == {  # type: ignore[attr-defined]
        "first": 0.1,
        "block.body.noise": 0.3,
        "inner.more": 0.2,
    }
    assert list(noise_layers(NETWORK)) == ["first", "block.body.noise", "inner.more"]
