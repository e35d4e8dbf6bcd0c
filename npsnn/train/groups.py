"""Groups of parameters by name: other learning rates and other decay than the rest has."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from npsnn.models.base import Model
from npsnn.optim import Arrays
from npsnn.train.constraints import Constraint, constraint
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.validate import check_types
from npsnn.words import nearest


class Group(Constraint):
    """A constraint on the gradients of the parameters whose names meet any of its patterns.

    names: patterns of flat names, as "fc2.w", "*.b" or "block1.*".
    """

    names: tuple[str, ...]

    def begin(self, model: Model, params: Arrays) -> Arrays:
        self.of(params)
        return params

    def of(self, params: Iterable[str]) -> set[str]:
        """The names that meet a pattern; raises ValueError for a pattern that none meets."""
        known, found = list(params), set[str]()
        for pattern in self.names:
            met = {name for name in known if fnmatchcase(name, pattern)}
            if not met:
                which = f"{', '.join(known):.200}"
                raise ValueError(
                    f"names must meet parameters, {pattern!r} meets none of {which}{nearest(pattern, known)}"
                )
            found |= met
        return found

    def _check_names(self) -> None:
        check_types(self)
        if not self.names:
            raise ValueError("names must hold a pattern of parameters, as ('*.b',), got ()")


@constraint("gradient-factor")
@dataclass(frozen=True)
class GradientFactor(Group):
    """Multiplies the gradients of some parameters by a factor: under SGD another learning rate, under 0 none at all.

    names: patterns of flat names, in which * stands for anything, as ("*.sigma", "block1.*").
    factor: >= 0, or a schedule of it.
    Adam's steps depend on no factor but 0. Weight decay by the optimiser comes after the factor.
    Raises ValueError for a pattern that meets no parameter.
    """

    names: tuple[str, ...]
    factor: Scalar

    def __post_init__(self) -> None:
        check_scalar(self, "factor")
        self._check_names()

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        return params, grads | {k: self.factor * grads[k] for k in self.of(params) if k in grads}


@constraint("decay")
@dataclass(frozen=True)
class Decay(Group):
    """Adds weight_decay · p to the gradient of some parameters p, beside what the optimiser decays.

    names: patterns of flat names, in which * stands for anything, as ("*.alpha", "fc2.*").
    weight_decay: >= 0, or a schedule of it.
    Raises ValueError for a pattern that meets no parameter.
    """

    names: tuple[str, ...]
    weight_decay: Scalar

    def __post_init__(self) -> None:
        check_scalar(self, "weight_decay")
        self._check_names()

    def before(self, model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
        return params, grads | {k: grads[k] + self.weight_decay * params[k] for k in self.of(params) if k in grads}
