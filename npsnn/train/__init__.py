"""Training: one loop that yields records, prints nothing, and keeps its run folder ready to go on from.

for record in train.fit(train.Config(model="lenet5", sigma=0.6), data.load("digits"), "runs/mine"):
    print(record)

`train.run` does the same in one call, for notebooks: it shows its progress and returns the network.

A training is a value, `train.Training(model, loss=train.CrossEntropy(), terms=[train.SigmaReward(0.1)])`, and so is
each of its parts; `train.Config` is the flat form of the command line. Classes of your own take part by the decorators
`loss`, `term`, `constraint`, `optimizer`, `schedule` and `treatment`, which enter them in the tables that runs are read
by.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from npsnn.layers.params import Role as Role
    from npsnn.optim import SGD as SGD
    from npsnn.optim import Adam as Adam
    from npsnn.optim import optimizer as optimizer
    from npsnn.schedules import Constant as Constant
    from npsnn.schedules import Cosine as Cosine
    from npsnn.schedules import Fall as Fall
    from npsnn.schedules import Falls as Falls
    from npsnn.schedules import Harmonic as Harmonic
    from npsnn.schedules import Ramp as Ramp
    from npsnn.schedules import Since as Since
    from npsnn.schedules import StepDown as StepDown
    from npsnn.schedules import Times as Times
    from npsnn.schedules import schedule as schedule
    from npsnn.train.config import Config as Config
    from npsnn.train.constraints import Constraint as Constraint
    from npsnn.train.constraints import PositiveSigma as PositiveSigma
    from npsnn.train.constraints import SafeFactor as SafeFactor
    from npsnn.train.constraints import SigmaCap as SigmaCap
    from npsnn.train.constraints import SigmaFloor as SigmaFloor
    from npsnn.train.constraints import UnitClasses as UnitClasses
    from npsnn.train.constraints import UnitFilters as UnitFilters
    from npsnn.train.constraints import constraint as constraint
    from npsnn.train.epochs import Epoch as Epoch
    from npsnn.train.epochs import Step as Step
    from npsnn.train.epochs import TrainingError as TrainingError
    from npsnn.train.groups import Decay as Decay
    from npsnn.train.groups import GradientFactor as GradientFactor
    from npsnn.train.loop import build as build
    from npsnn.train.loop import fit as fit
    from npsnn.train.loop import resume as resume
    from npsnn.train.loop import split_validation as split_validation
    from npsnn.train.losses import BPFC as BPFC
    from npsnn.train.losses import MART as MART
    from npsnn.train.losses import MSE as MSE
    from npsnn.train.losses import PCL as PCL
    from npsnn.train.losses import RLFLAT as RLFLAT
    from npsnn.train.losses import TRADES as TRADES
    from npsnn.train.losses import Adversarial as Adversarial
    from npsnn.train.losses import CleanAndAttacked as CleanAndAttacked
    from npsnn.train.losses import CrossEntropy as CrossEntropy
    from npsnn.train.losses import ExpectedCrossEntropy as ExpectedCrossEntropy
    from npsnn.train.losses import Loss as Loss
    from npsnn.train.losses import Mixup as Mixup
    from npsnn.train.losses import NoiseAware as NoiseAware
    from npsnn.train.losses import Total as Total
    from npsnn.train.losses import loss as loss
    from npsnn.train.losses import one_view as one_view
    from npsnn.train.losses import total as total
    from npsnn.train.losses import view as view
    from npsnn.train.losses import weighted as weighted
    from npsnn.train.operator_norm import OperatorNorm as OperatorNorm
    from npsnn.train.posterior import KLDivergence as KLDivergence
    from npsnn.train.rewards import AlternatingReward as AlternatingReward
    from npsnn.train.rewards import RootReward as RootReward
    from npsnn.train.running import Trained as Trained
    from npsnn.train.running import run as run
    from npsnn.train.scheduled import Scalar as Scalar
    from npsnn.train.scheduled import at as at
    from npsnn.train.scheduled import check_scalar as check_scalar
    from npsnn.train.terms import Alignment as Alignment
    from npsnn.train.terms import MaxEntropy as MaxEntropy
    from npsnn.train.terms import SigmaReward as SigmaReward
    from npsnn.train.terms import Term as Term
    from npsnn.train.terms import term as term
    from npsnn.train.training import Training as Training
    from npsnn.train.treatments import Carried as Carried
    from npsnn.train.treatments import Drawn as Drawn
    from npsnn.train.treatments import Treatment as Treatment
    from npsnn.train.treatments import treatment as treatment

_HOMES = {
    "npsnn.layers.params": "Role",
    "npsnn.optim": "SGD Adam optimizer",
    "npsnn.schedules": "Constant Cosine Fall Falls Harmonic Ramp Since StepDown Times schedule",
    "npsnn.train.config": "Config",
    "npsnn.train.constraints": "Constraint PositiveSigma SafeFactor SigmaCap SigmaFloor UnitClasses UnitFilters "
    "constraint",
    "npsnn.train.epochs": "Epoch Step TrainingError",
    "npsnn.train.groups": "Decay GradientFactor",
    "npsnn.train.loop": "build fit resume split_validation",
    "npsnn.train.losses": "BPFC MART MSE PCL RLFLAT TRADES Adversarial CleanAndAttacked CrossEntropy "
    "ExpectedCrossEntropy Loss Mixup NoiseAware Total loss one_view total view weighted",
    "npsnn.train.operator_norm": "OperatorNorm",
    "npsnn.train.posterior": "KLDivergence",
    "npsnn.train.rewards": "AlternatingReward RootReward",
    "npsnn.train.running": "Trained run",
    "npsnn.train.scheduled": "Scalar at check_scalar",
    "npsnn.train.terms": "Alignment MaxEntropy SigmaReward Term term",
    "npsnn.train.training": "Training",
    "npsnn.train.treatments": "Carried Drawn Treatment treatment",
}
"""The public names by the module that has them, which is imported when one of them is first used."""
_PLACES = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the options of a training need none of the attacks."""
    if name == "defences":
        return importlib.import_module("npsnn.train.defences")
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'npsnn.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, imported or not, beside the module's own."""
    return sorted({*globals(), *__all__})
