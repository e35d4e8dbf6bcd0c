"""Groups of parameters: their gradients, and patterns of their names."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import several

from npsnn.layers.params import flatten
from npsnn.optim import SGD
from npsnn.train import Decay, GradientFactor

NETWORK = several(0.3)
MODEL, PARAMS = NETWORK.model, flatten(NETWORK.params)
GRADS = {k: np.full_like(p, 2.0) for k, p in PARAMS.items()}


@given(st.floats(0, 10))
def test_a_factor_multiplies_the_gradients_of_its_group_alone(factor: float) -> None:
    params, grads = GradientFactor(("block.*", "fc.b"), factor).before(MODEL, PARAMS, GRADS)
    group = {"block.body.conv.w", "block.body.conv.b", "block.body.noise.sigma", "fc.b"}
    assert params is PARAMS and grads.keys() == GRADS.keys()
    for name, g in grads.items():
        assert (g == factor * GRADS[name]).all() if name in group else g is GRADS[name]


def test_a_factor_is_another_learning_rate_of_sgd() -> None:
    grads = GradientFactor(("fc.w",), 0.5).before(MODEL, PARAMS, GRADS)[1]
    rule = SGD(0.2, momentum=0.0)
    half, whole = (rule.update(PARAMS, g, {}, lr, 1)[0] for g, lr in ((grads, 0.2), (GRADS, 0.1)))
    np.testing.assert_allclose(half["fc.w"], whole["fc.w"])
    assert (GradientFactor(("*",), 0.0).before(MODEL, PARAMS, GRADS)[1]["fc.w"] == 0).all()


@given(st.floats(0, 10))
def test_decay_adds_the_parameters_to_their_gradients(weight_decay: float) -> None:
    params, grads = Decay(("*.w", "*.sigma"), weight_decay).before(MODEL, PARAMS, GRADS)
    assert params is PARAMS
    for name, g in grads.items():
        if name.endswith((".w", ".sigma")):
            np.testing.assert_allclose(g, GRADS[name] + weight_decay * PARAMS[name])
        else:
            assert g is GRADS[name]


def test_what_is_not_trained_gets_no_gradient() -> None:
    trained = {"fc.w": GRADS["fc.w"]}
    for constraint in (GradientFactor(("fc.*",), 0.5), Decay(("fc.*",), 0.5)):
        assert constraint.before(MODEL, PARAMS, trained)[1].keys() == {"fc.w"}


@pytest.mark.parametrize("make", [lambda names: GradientFactor(names, 0.5), lambda names: Decay(names, 0.5)])
def test_a_pattern_that_meets_nothing_is_refused(make: Any) -> None:
    constraint = make(("fc.w", "fc.W"))
    for call in (
        lambda: constraint.begin(MODEL, PARAMS),
        lambda: constraint.before(MODEL, PARAMS, GRADS),
    ):
        with pytest.raises(ValueError, match=r"names must meet parameters, 'fc.W' meets none of conv.w, .*mean fc.w\?"):
            call()
    assert make("fc.*").names == ("fc.*",)
    with pytest.raises(ValueError, match="names must hold a pattern"):
        make(())
    with pytest.raises(ValueError, match="names must be of the type"):
        make((1,))


def test_a_number_out_of_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be >= 0 and finite, got -1"):
        GradientFactor(("*",), -1)
    with pytest.raises(ValueError, match="weight_decay must be >= 0 and finite, got nan"):
        Decay(("*",), float("nan"))
