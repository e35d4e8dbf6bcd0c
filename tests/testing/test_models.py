"""check_model passes sound models, and names what is wrong with each faulty one."""

from dataclasses import dataclass, replace
from typing import Any

import careless_layers as careless
import faulty_layers as faulty
import numpy as np
import pytest
from entering import entered
from small_networks import on_features, on_weights, several

from npsnn.layers import Sequential, layer
from npsnn.models import Model, lenet5
from npsnn.testing import check_model
from npsnn.testing.networks import small_model

LOWER = {"noise.L": np.tril}


@pytest.mark.parametrize(
    ("model", "valid"),
    [
        (small_model(), None),
        (small_model(sigma=0.0), None),
        (lenet5((1, 12, 12), 3), None),
        (several().model, None),
        (on_features().model, LOWER),
        (on_weights(dropout=0.2), None),
    ],
    ids=["small", "silent", "lenet5", "several", "features", "weights"],
)
def test_a_sound_model_passes(model: Model, valid: Any) -> None:
    check_model(model, valid)


def wrong(inner: Any) -> Model:
    """The small model with a faulty layer before its last two."""
    *before, flatten, fc = small_model().network.layers
    return replace(small_model(), network=Sequential((*before, ("odd", inner), flatten, fc)))


FAULTS = [
    (faulty.WrongWeightGradient(), r"with the noise off: along .*odd\.w.* the slope is"),
    (faulty.WrongVarianceGradient(), "under the rule laplace: along"),
    (faulty.ForgottenGradient(), r"there must be gradients of conv\.b, .*odd\.b, odd\.w, got"),
    (careless.OtherParameters(), "init makes other parameters of the same generator"),
    (careless.OtherForms(), "forms tells of other parameters than init makes"),
    (careless.Unsaveable(), "cannot be saved"),
    (careless.Incomparable(), "is read from its JSON as another model"),
]


@pytest.mark.parametrize(("inner", "said"), FAULTS, ids=lambda part: getattr(type(part), "__name__", ""))
def test_a_faulty_model_is_told_what_is_wrong(inner: Any, said: str) -> None:
    with entered(layer, type(inner)), pytest.raises(AssertionError, match=said):
        check_model(wrong(inner))


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (careless.DrawsInSecret(), "says that it has no noise, but two draws differ"),
        (careless.SaysThatItDraws(), "is random by what its layers say: True, but two draws are the same"),
    ],
    ids=lambda part: getattr(type(part), "__name__", ""),
)
def test_a_model_without_noise_that_draws_and_one_that_does_not(inner: Any, said: str) -> None:
    layers = [(name, one) for name, one in wrong(inner).network.layers if name != "noise"]
    with entered(layer, type(inner)), pytest.raises(AssertionError, match=said):
        check_model(replace(small_model(), network=Sequential(tuple(layers))))


def test_a_layer_of_a_function_cannot_be_sent() -> None:
    @dataclass(frozen=True)
    class Local(faulty.Right):
        pass

    with entered(layer, Local), pytest.raises(AssertionError, match="cannot be sent to another process"):
        check_model(wrong(Local()))
