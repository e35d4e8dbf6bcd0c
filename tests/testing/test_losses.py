"""check_loss passes every loss of npsnn, and names what is wrong with each faulty one."""

from typing import Any

import faulty_losses as faulty
import pytest
from entering import entered
from small_networks import several

from npsnn import attacks, train
from npsnn.layers import Conv2d, Flatten, Linear, PreactivationNoise, ReLU, Sequential
from npsnn.models import Model, with_centres
from npsnn.testing import check_loss
from npsnn.train.losses import LOSSES

ONE_DRAW = attacks.EoT(1)
FEW = attacks.Inner(0.1, steps=2, step_size=0.06)
SOFT = attacks.Inner(0.1, steps=2, step_size=0.06, start="gauss", labels="soft")
OWN = attacks.Inner(0.1, steps=2, step_size=0.06, labels="predicted")
LESS: dict[str, Any] = {"entries": 2}
DENSE: Any = (
    ("conv", Conv2d(2, 3, padding=1)),
    ("relu", ReLU()),
    ("flatten", Flatten()),
    ("fc1", Linear(4)),
    ("noise", PreactivationNoise(0.3)),
    ("relu1", ReLU()),
    ("fc2", Linear(5)),
    ("relu2", ReLU()),
    ("fc3", Linear(3, joint=True)),
)
CODE, PAPER = (with_centres(Model("dense", Sequential(DENSE), (2, 3, 4), 3), form) for form in ("code", "paper"))
OURS: list[tuple[Any, dict[str, Any]]] = [
    (train.CrossEntropy(), {}),
    (train.MSE(), {}),
    (train.NoiseAware(), {}),
    # the gradient by the variance is the integral's, not that of its 64 points
    (train.ExpectedCrossEntropy(), {"rtol": 0.3}),
    (train.Adversarial(train.CrossEntropy(), attacks.BIM(0.1, steps=2, source=ONE_DRAW), mix=1.0), {}),
    (train.Adversarial(train.NoiseAware(), attacks.PGD(0.1, steps=2, source=ONE_DRAW)), {"adds_up": False}),
    (train.PCL(0.7, 0.3), {"model": CODE}),
    (train.PCL(0.7, train.Times(0.6, train.Ramp(1.0))), {"model": PAPER}),
    (train.Mixup(), {"adds_up": False}),  # partners are of one micro-batch
    (train.Mixup(0.3), {"adds_up": False}),
    (train.TRADES(2.0, SOFT), LESS),
    (train.MART(2.0, FEW), LESS),
    (train.CleanAndAttacked(OWN, 0.25, train.NoiseAware()), LESS),
    (train.BPFC(7, 0.5), LESS),
    (train.RLFLAT(FEW), LESS),
    (train.RLFLAT(SOFT, 0.7, "T", 2.0), LESS),
]


@pytest.mark.parametrize(("checked", "options"), OURS, ids=lambda part: getattr(type(part), "__name__", ""))
def test_every_loss_of_npsnn_is_held_to_it(checked: Any, options: dict[str, Any]) -> None:
    check_loss(checked, **options)


def test_a_model_may_have_several_noises() -> None:
    check_loss(train.CrossEntropy(), model=several().model, entries=2)


def test_no_loss_of_npsnn_is_left_out() -> None:
    ours = {kind for kind in LOSSES.values() if kind.__module__.startswith("npsnn.")}
    assert ours == {type(checked) for checked, _ in OURS}


def test_right_losses_pass() -> None:
    with entered(train.loss, faulty.Right, faulty.TwoViews):
        check_loss(faulty.Right())
        check_loss(faulty.TwoViews())


FAULTS = [
    (faulty.NoGradient, "must have the method gradient"),
    (faulty.Unfrozen, "must be of a frozen dataclass"),
    (faulty.WrongGradient, r"with the noise off: d/dfc\.b"),
    (faulty.ForgottenGradient, r"there must be gradients of .*noise\.sigma, got them of"),
    (faulty.Mean, "two parts of a batch add up to other sums than the batch; return sums, not means"),
    (faulty.NoTotal, "gradient must return a Total, got tuple"),
    (faulty.Each, "the sum of the values is array"),
    (faulty.CountsTwice, "of 5 images .* are said to be read correctly"),
    (faulty.DrawsElsewhere, "two calls with the same streams differ"),
    (faulty.DrawsForTheBatch, "two parts of a batch add up to other sums .* key draws by the sample"),
    (faulty.DoublePrecision, r"the gradient of \S+ is float64 in float32"),
    (faulty.KeepsOnItself, "a call changes the loss, which threads share"),
    (faulty.WritesToTheImages, "gradient writes to one of its arguments"),
    (faulty.TakesWhatIsStored, "8-bit images have other sums than the floats"),
    (faulty.RefusesDraws, "under a draw: no draws, please"),
    (faulty.PassesOnceMore, "in a network with BatchNorm: two parts of a batch, which must make the same passes"),
    (faulty.SaysThatItIsBlind, "says that it does not see the variance, but another variance gives it another value"),
]


@pytest.mark.parametrize(("kind", "said"), FAULTS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_faulty_loss_is_told_what_is_wrong(kind: Any, said: str) -> None:
    with entered(train.loss, kind), pytest.raises(AssertionError, match=said) as caught:
        check_loss(kind())
    assert kind.__name__ in str(caught.value)


def test_every_fault_is_tried() -> None:
    every = {v for v in vars(faulty).values() if isinstance(v, type) and v.__module__ == faulty.__name__}
    assert every - {kind for kind, _ in FAULTS} == {faulty.Right, faulty.TwoViews, faulty.Changed}


def test_a_loss_must_be_in_the_table() -> None:
    with pytest.raises(AssertionError, match=r"put @loss above it \(from npsnn.train import loss\)"):
        check_loss(faulty.Right())
