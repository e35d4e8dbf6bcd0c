"""A training as a value: the network, and what it is trained by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from npsnn.data.augment import AUGMENTATIONS, Augmentation, unchanged
from npsnn.layers.params import Role
from npsnn.models.base import Model
from npsnn.optim import OPTIMIZERS, SCHEDULES, Adam, Constant, Optimizer, Schedule, check_longer
from npsnn.streams import Stream
from npsnn.tables import Table
from npsnn.train import groups, operator_norm, posterior, rewards  # noqa: F401  (which enter their classes)
from npsnn.train.constraints import CONSTRAINTS, Constraint
from npsnn.train.losses import LOSSES, Loss, NoiseAware
from npsnn.train.scheduled import at, schedules
from npsnn.train.terms import TERMS, Term
from npsnn.train.treatments import TREATMENTS, Carried, Treatment
from npsnn.validate import check_count
from npsnn.words import brief

TABLES: dict[str, Table[Any]] = {
    "loss": LOSSES,
    "noise": TREATMENTS,
    "terms": TERMS,
    "constraints": CONSTRAINTS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augmentation": AUGMENTATIONS,
}
"""The tables through which the fields of these names are saved and read."""
SEVERAL = ("terms", "constraints")
SCHEDULED = ("loss", "noise", "terms", "constraints")
"""The fields in whose values a schedule may stand for a number."""
COUNTS = {"epochs": 1, "batch_size": 1, "limit": 2, "micro_batch": 1}
OPTIONAL = ("limit", "micro_batch")


@dataclass(frozen=True)
class Training:
    """What makes a trained network of data. Two runs of one training on one data set are bit-identical on one machine.

    model: network to train.
    loss: what is descended, as the mean over a batch.
    noise: how training carries the noise.
    terms: what is added to the loss for the parameters alone.
    constraints: what holds the parameters around each update, one after the other.
    optimizer: update rule, with the learning rate.
    schedule: factor of the learning rate over the training.
    trains: roles of the parameters that are trained. Role.ALL learns the noise as well, Role.NOISE the noise alone.
        Without Role.STATISTIC running averages stay, and BatchNorm takes them instead of the batch's statistics.
    augmentation: change of each training image.
    epochs: passes over the training images.
    batch_size: images for one update.
    seed: seed of all random numbers.
    limit: number of training images, None for all.
    micro_batch: number of images that are computed at a time, which becomes the model's, and is that of a GPU as well;
        None for the model's own, and on a GPU for the batch. A GPU has the whole batch where layers couple its images.
    Raises ValueError, naming the field, for a value out of its range, and for a constraint on what is not trained;
    TypeError for what is no such value at all.
    """

    model: Model
    loss: Loss = field(default_factory=NoiseAware)
    noise: Treatment = field(default_factory=Carried)
    terms: tuple[Term, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    optimizer: Optimizer = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Constant)
    trains: Role = Role.WEIGHT | Role.BIAS | Role.STATISTIC
    augmentation: Augmentation = unchanged
    epochs: int = 5
    batch_size: int = 128
    seed: int = 0
    limit: int | None = None
    micro_batch: int | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        for name in SEVERAL:
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, tuple | list) else (value,))
        self._check_kinds()
        for name, least in COUNTS.items():
            if getattr(self, name) is not None or name not in OPTIONAL:
                check_count(name, getattr(self, name), least)
        if self.micro_batch is not None:
            object.__setattr__(self, "model", replace(self.model, micro_batch=self.micro_batch))
        Stream(self.seed)  # which says what a seed must be
        if not self.trains:
            raise ValueError("trains must have a role of parameters, got none")
        for each in self.constraints:
            if each.needs not in self.trains:
                raise ValueError(f"{each} acts on parameters that are not trained: trains must have {each.needs.name}")

    def _check_kinds(self) -> None:
        """Raise TypeError, naming the field, for a value that lacks what its field is asked for."""
        has: dict[str, Callable[[Any], bool]] = {
            "model": lambda v: isinstance(v, Model),
            "loss": lambda v: hasattr(v, "gradient"),
            "noise": lambda v: isinstance(v, Treatment),
            "optimizer": lambda v: hasattr(v, "lr") and hasattr(v, "update"),
            "trains": lambda v: isinstance(v, Role),
            **dict.fromkeys(("schedule", "augmentation", "terms"), callable),
            "constraints": lambda v: isinstance(v, Constraint),
        }
        for name, fits in has.items():
            value = getattr(self, name)
            for each in value if name in SEVERAL else (value,):
                made = isinstance(each, type)
                if made or not fits(each):
                    such = f"a value, as {each.__name__}()" if made else _KINDS[name]
                    raise TypeError(f"{name} must be {such}, got {each!r:.80}")

    def to_json(self) -> dict[str, Any]:
        """The training as JSON; `from_json` reads it.

        Raises ValueError, with the line that mends it, where a value is in no table.
        """
        return {f.name: self._encoded(f.name) for f in fields(self)}

    def _encoded(self, name: str) -> Any:
        value = getattr(self, name)
        if name == "model":
            return self.model.spec()
        if name == "trains":
            return [role.name for role in self.trains]
        if name in SEVERAL:
            return [TABLES[name].encode(each) for each in value]
        return TABLES[name].encode(value) if name in TABLES else value

    @staticmethod
    def from_json(document: Any) -> "Training":
        """The training that `to_json` made JSON of; what it lacks has its default.

        Raises ValueError, naming what is wrong.
        """
        from npsnn import attacks  # noqa: F401  (whose table a loss may need)

        if not isinstance(document, Mapping):
            raise ValueError(f"a training must be a JSON object, got {document!r:.80}")
        if odd := document.keys() - {f.name for f in fields(Training)}:
            raise ValueError(f"a training has no {', '.join(sorted(odd))}")
        try:
            return Training(**{name: _decoded(name, value) for name, value in document.items()})
        except TypeError as error:
            raise ValueError(f"this training cannot be made: {error}") from error

    @cached_property
    def scheduled(self) -> tuple[Any, ...]:
        """The schedules that stand for numbers of the loss, the treatment, the terms and the constraints."""
        return tuple(schedules(tuple(getattr(self, name) for name in SCHEDULED)))

    def at(self, done: float) -> "Training":
        """The training of one step, with numbers in the place of those schedules; itself where there are none.

        done: part of the training that is done, from 0 to 1.
        Raises ValueError for a number that is out of the range of its field.
        """
        if not self.scheduled:
            return self
        before, now = vars(self).get("_now", (None, self))
        if before != done:
            now = replace(self, **{name: at(getattr(self, name), done) for name in SCHEDULED})
            vars(self)["_now"] = done, now  # each part of a batch and each update asks for it
        return now  # type: ignore[no-any-return]

    def numbers(self, done: float) -> tuple[float, ...]:
        """The numbers that the schedules give at a part of the training."""
        return tuple(float(each(done)) for each in self.scheduled)

    @property
    def any_length(self) -> bool:
        """Whether the steps so far would be the same in a longer training."""
        return self.schedule == Constant() and not self.scheduled

    def lengthened(self, epochs: int) -> "Training":
        """The training with more epochs; raises ValueError where one of so many would have begun otherwise."""
        over = next((s for s in (self.schedule, *self.scheduled) if s != Constant()), self.schedule)
        check_longer(epochs, self.epochs, self.any_length, f"{over}")
        return replace(self, epochs=epochs)


_KINDS = {
    "model": "a Model",
    "loss": "a loss, with the method gradient(network, images, labels, noise, stream)",
    "noise": "a treatment of the noise, as Carried('exact') or Drawn()",
    "terms": "terms, each called as term(model, params)",
    "constraints": "constraints, of the class npsnn.train.Constraint",
    "optimizer": "an optimiser, as Adam(1e-3)",
    "schedule": "a schedule, called as schedule(done)",
    "trains": "a Role, as Role.ALL",
    "augmentation": "an augmentation, called as augmentation(images, stream)",
}


def _decoded(name: str, value: Any) -> Any:
    if name == "model":
        return Model.from_spec(value)
    if name == "trains":
        return _roles(value)
    if name in SEVERAL:
        if not isinstance(value, list):
            raise ValueError(f"{name} must be a list, got {value!r:.80}")
        return tuple(TABLES[name].decode(each) for each in value)
    return TABLES[name].decode(value) if name in TABLES else value


def _roles(names: Any) -> Role:
    known = [role.name for role in Role]
    if not isinstance(names, list) or any(name not in known for name in names):
        raise ValueError(f"trains must be a list of {', '.join(map(str, known))}, got {names!r:.80}")
    found = Role(0)
    for name in names:
        found |= Role[name]
    return found
