"""check_layer passes every layer of npsnn, and names what is wrong with each faulty one."""

from dataclasses import dataclass
from typing import Any

import careless_layers as careless
import faulty_layers as faulty
import numpy as np
import pytest
from entering import entered

from npsnn.layers import (
    BatchNorm,
    Centres,
    Conv2d,
    Dropout,
    FeatureNoise,
    Flatten,
    Linear,
    MaxPool,
    MeanPool,
    Mixing,
    NoisyConv2d,
    NoisyLinear,
    Normalise,
    OverlappingMaxPool,
    PreactivationNoise,
    PReLU,
    ReLU,
    Residual,
    Sequential,
)
from npsnn.layers.base import LAYERS, layer
from npsnn.testing import check_layer

IMAGE, VECTOR = (2, 5, 4), (6,)
LOWER = {"valid": {"L": np.tril}}
NOISY = Sequential((("conv", Conv2d(2, 3, padding=1)), ("noise", PreactivationNoise(0.5)), ("bn", BatchNorm())))
ANSWERING = Sequential((("conv", Conv2d(2, 3, padding=1)), ("bn", BatchNorm()), ("flat", Flatten()), ("fc", Linear(3))))
SPREADS: list[dict[str, Any]] = [
    {"scope": "layer"},
    {"scope": "channel"},
    {"scope": "element", "start": 0.6},
    {"scope": "channel", "through_std": True},
    {"scope": "layer", "through_std": True},
    {"spread": "free"},
]
"""The noises that weights may have."""
OURS: list[tuple[Any, tuple[int, ...], dict[str, Any]]] = [
    (Conv2d(3, 2, stride=2, padding=1), IMAGE, {}),
    (Conv2d(3, 3, padding=1, bias=False), IMAGE, {}),
    (Conv2d(3, 3, padding=1, method="winograd"), IMAGE, {}),
    (Linear(3), VECTOR, {}),
    (Linear(3, joint=True), VECTOR, {}),
    (Normalise((0.2, 0.5), (0.4, 0.3)), IMAGE, {}),
    (MeanPool(2), IMAGE, {}),
    (MaxPool(2), IMAGE, {"approximation": 0.1}),  # Clark's formulas are exact for a pair
    (OverlappingMaxPool(2, 2, 1), IMAGE, {"approximation": 0.1}),
    (ReLU(), IMAGE, {}),
    (ReLU(), VECTOR, {}),
    (PReLU(), IMAGE, {}),
    (PReLU(), VECTOR, {}),
    (Flatten(), IMAGE, {}),
    (Dropout(0.4), IMAGE, {}),
    (Dropout(0.4), VECTOR, {}),
    (Dropout(0.4, channels=True), IMAGE, {}),
    (BatchNorm(), IMAGE, {}),
    (BatchNorm(epsilon=1e-3), VECTOR, {}),
    (PreactivationNoise(0.7), IMAGE, {}),
    (PreactivationNoise(0.7, "channel"), IMAGE, {}),
    (PreactivationNoise(0.7, "unit"), IMAGE, {}),
    (PreactivationNoise(0.7, "unit"), VECTOR, {}),
    (PreactivationNoise(0.7, "unit", shared=True), IMAGE, {}),
    (PreactivationNoise(0.7, shared=True), VECTOR, {}),
    *((NoisyConv2d(3, 2, 2, 1, **spread), IMAGE, {}) for spread in SPREADS),
    (NoisyConv2d(3, 3, padding=1, bias=False, spread="free"), IMAGE, {}),
    (NoisyLinear(3, scope="element", through_std=True), VECTOR, {}),
    (NoisyLinear(3, spread="free"), VECTOR, {}),
    (NoisyLinear(3, joint=True), VECTOR, {}),
    (NoisyLinear(3, joint=True, spread="free"), VECTOR, {}),
    (FeatureNoise(0.7), VECTOR, LOWER),
    (FeatureNoise(0.7, "diagonal"), VECTOR, {}),
    (FeatureNoise(0.7, "scalar"), VECTOR, {}),
    (NOISY, IMAGE, {}),
    (Residual(NOISY, Sequential(())), IMAGE, {"approximation": 1.0}),  # drops a covariance (audit N15)
    (Centres(3), VECTOR, {}),
    (Centres(3, "paper"), VECTOR, {}),
    *[(Mixing(ANSWERING, 3, 4, 0.6, choice), IMAGE, {}) for choice in ("predicted", "other", "combined")],
]


@pytest.mark.parametrize(("checked", "shape", "options"), OURS, ids=lambda part: getattr(type(part), "__name__", ""))
def test_every_layer_of_npsnn_is_held_to_it(checked: Any, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    check_layer(checked, shape, **options)


def test_no_layer_of_npsnn_is_left_out() -> None:
    ours = {kind for kind in LAYERS.values() if kind.__module__.startswith("npsnn.")}
    assert ours == {type(checked) for checked, _, _ in OURS}


def test_a_right_layer_and_one_that_refuses_a_variance_pass() -> None:
    with entered(layer, faulty.Right, faulty.RefusesWithAReason):
        check_layer(faulty.Right())
        check_layer(faulty.Right(), (3,))
        check_layer(faulty.RefusesWithAReason())


FAULTS = [
    (faulty.WrongMeanGradient(), "with the noise off: d/dinput mean.* the backward pass gave"),
    (faulty.WrongVarianceGradient(), "under the rule laplace: d/dinput variance"),
    (faulty.WrongWeightGradient(), "with the noise off: d/dw"),
    (faulty.ForgottenGradient(), "gradients must be of b, w, got them of w"),
    (faulty.UnshapedCotangent(), r"the input is \(5, 2, 4, 3\), the cotangent of its mean \(120,\)"),
    (faulty.OtherWhereAlone(), "the input's cotangent is another one where the parameters' are not wanted"),
    (faulty.NothingWhereBoth(), "must return the input's cotangent, got None"),
    (faulty.DropsVariance(), "it was given a variance and returns none"),
    (faulty.InventsVariance(), "its input has no variance and it draws no noise, but its output has a variance"),
    (faulty.NegativeVariance(), "its variance has the negative entry"),
    (
        faulty.TransposedOutput(),
        r"output shape \(2, 5, 4\), so the mean must be \(5, 2, 4, 3\), batch last",
    ),
    (faulty.SmallestVariance(), "the variance 0 becomes 1e-06"),
    (faulty.DoublePrecision(), "the mean is float64 for an input of float32"),
    (faulty.OverflowsSoon(), "the mean is another in float32 than in float64"),
    (faulty.CouplesInSecret(), "in training: a batch in two parts gives other outputs .* set couples_batch = True"),
    (faulty.CouplesWithoutMeeting(), "in training: two parts of a batch, which meet in total, give other outputs"),
    (faulty.CannotVariance(), "must carry a variance, or refuse it with a ValueError that says why"),
    (faulty.RefusesInSilence(), "refuses a variance, and must say why"),
    (faulty.RefusesAll(), "refuses an input without variance: not today"),
    (faulty.HalfTheMoments(), "under the rule exact: the mean of a unit is .* that of 10,000 draws"),
    (careless.Overwrites(), "forward writes to one of its arguments"),
    (careless.OverwritesTheCotangent(), "the backward pass writes to one of its arguments"),
    (careless.KeepsElsewhere(), "a second forward pass changes the first one's backward pass"),
    (careless.ReusesItsOutput(), "a second forward pass changes what the first one returned"),
    (careless.KeepsOnItself(), "a pass changes the layer, which threads share"),
    (careless.Unrepeatable(), "two forward passes of one input differ"),
    (careless.DrawsInSecret(), r"draws noise and must say so: random: ClassVar\[bool\] = True"),
    (careless.DrawsForTheBatch(), "under a draw: a batch in two parts gives other outputs .* key draws by the sample"),
    (careless.SaysThatItDraws(), "says that it draws noise, but two streams give the same output"),
    (careless.PromisesAnotherShape(), r"promises the output shape \(1, 5, 4\)"),
    (careless.NoShape(), r"must return the output's shape, .* got \[2, 5, 4\]"),
    (careless.DoubleParameters(), "the parameter w must be an array of float32, got float64"),
    (careless.OtherParameters(), "init makes other parameters of the same generator"),
    (careless.TakesMemory(), "the parameter b must be an array of float32, got float32"),
    (careless.TakesMemoryInForms(), "the parameter w takes memory where only the forms are asked for"),
    (careless.OtherForms(), "init makes parameters of other names or shapes"),
    (careless.MisspeltRole(), "roles name w_, which is no parameter; did you mean w"),
    (careless.TwoRoles(), "the role of b must be one of WEIGHT, BIAS, NOISE, STATISTIC"),
    (careless.Incomparable(), "is read from a file as .* give it fields that compare equal"),
    (careless.Unsaveable(), "cannot be saved: .*ndarray is in no table"),
    (careless.Unfrozen(), "must be of a frozen dataclass"),
    (careless.WrongLevel(0.7), "at_level of 0.3 has the level"),
    (careless.WrongCap(0.7), "is capped at .* to"),
    (careless.WrongSlope(0.7), "the derivative by the level is"),
    (careless.NoNoiseRole(0.7), "a noise layer must declare the role NOISE"),
    (careless.IgnoresTheScale(0.7), "half of the scale must halve the noise"),
    (careless.DrawsInTrainingInSecret(), "draws noise in training and must say so: random_in_training"),
    (careless.SharesInWords(0.7, shared=True), "an example alone has another one than in the batch"),
    (careless.OneDrawForAll(0.7, shared=True), "batches with another first sample have the same draw"),
    (careless.ForgetsTheParts(0.7, shared=True), r"other outputs .* draw by noise.stream.one_draw\(\)"),
]


@pytest.mark.parametrize(("checked", "said"), FAULTS, ids=lambda part: getattr(type(part), "__name__", ""))
def test_a_faulty_layer_is_told_what_is_wrong(checked: Any, said: str) -> None:
    with entered(layer, type(checked)), pytest.raises(AssertionError, match=said) as caught:
        check_layer(checked)
    assert type(checked).__name__ in str(caught.value)


def test_every_fault_is_tried() -> None:
    every = {v for k, v in vars(faulty).items() if isinstance(v, type) and v.__module__ == faulty.__name__}
    tried = {type(checked) for checked, _ in FAULTS}
    assert every - tried == {faulty.Right, faulty.RefusesWithAReason, faulty.Changed}


def test_a_layer_must_be_in_the_table_and_at_the_top_of_a_module() -> None:
    with pytest.raises(AssertionError, match=r"put @layer above it \(from npsnn.layers.base import layer\)"):
        check_layer(faulty.Right())

    @dataclass(frozen=True)
    class Local(faulty.Right):
        pass

    with entered(layer, Local), pytest.raises(AssertionError, match="define its class at the top of a module"):
        check_layer(Local())
