"""Settings that several defences share: those chosen for small images, and the fields of a training attack."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from npsnn.validate import option

if TYPE_CHECKING:
    from npsnn.layers.params import Role

COLOUR: Mapping[str, Any] = {"model": "resnet18", "optimizer": "sgd", "augmentation": "crop-flip"}
"""What the settings of most papers have for CIFAR-10; `instead` names the other networks of the papers."""
SMALL: Mapping[str, Any] = {"model": "lenet5", "optimizer": "adam", "lr": 1e-3, "epochs": 10, "batch_size": 128}
"""The network and the optimiser that the settings chosen here have for grey images of 28 x 28 pixels."""
RADII = {"mnist": 0.3, "fashion-mnist": 0.1, "digits": 0.1}
"""The radius of training attacks in the settings chosen here."""


def chosen(**own: Any) -> dict[str, dict[str, Any]]:
    """The settings chosen here for the small data sets, without an attack; own: those of the defence itself."""
    return {dataset: {**SMALL, **own} for dataset in RADII}


def attacked(step: float | None = None, **own: Any) -> dict[str, dict[str, Any]]:
    """The settings chosen here for the small data sets, with an attack of the radius of `RADII`.

    step: length of the attack's steps, as a part of the radius; None for an attack of one step.
    own: settings of the defence itself.
    """
    length = {} if step is None else {dataset: {"step_size": step * eps} for dataset, eps in RADII.items()}
    return {dataset: {**SMALL, "eps": eps, **length.get(dataset, {}), **own} for dataset, eps in RADII.items()}


def eps_option(default: float, shown: str) -> Any:
    """The radius of the training attack, as a field."""
    return option(
        default,
        "Radius of the training attack in Linf, in units of the [0, 1] pixel.",
        "Training attack",
        low=0,
        high=1,
        fraction=True,
        shown=shown,
    )


def steps_option(default: int) -> Any:
    """The steps of the training attack, as a field."""
    return option(default, "Steps of the training attack.", "Training attack", low=1)


def step_option(default: float, shown: str) -> Any:
    """The length of a step of the training attack, as a field."""
    return option(
        default,
        "Length of a step of the training attack, in units of the [0, 1] pixel.",
        "Training attack",
        low=0,
        fraction=True,
        shown=shown,
    )


def beside(own: Any, begins: float) -> Any:
    """½ CE(f(x), y) + ½ CE(f(x'), y) once the attack has begun; before, the clean images alone."""
    from npsnn.attacks import EoT, Inner
    from npsnn.optim import Since, Times
    from npsnn.train.losses import CleanAndAttacked

    attack = Inner(own.eps, "linf", own.steps, own.step_size, "uniform", "predicted", EoT(1))
    return CleanAndAttacked(attack, Times(0.5, Since(begins)) if begins else 0.5)


def all_roles() -> "Role":
    """Every role: the noise is trained as well."""
    from npsnn.layers.params import Role

    return Role.ALL
