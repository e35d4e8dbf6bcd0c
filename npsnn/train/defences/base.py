"""A defence of the literature as a value: its fields are its settings, and `training` makes what trains it.

    from dataclasses import dataclass

    from npsnn.train import MSE, CrossEntropy
    from npsnn.train.defences import Defence, defence
    from npsnn.validate import option

    @defence("mine")
    @dataclass(frozen=True)
    class Mine(Defence):
        squared: bool = option(False, "Descend the squared error.", "Defence")

        def loss(self):
            return MSE() if self.squared else CrossEntropy()

    training = Mine.on("fashion-mnist", epochs=10).training(dataset)

No module of defences imports attacks, losses or models before a training is made: their settings alone are needed to
list and to explain them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from npsnn.data.augment import AUGMENTATIONS
from npsnn.models import MODELS
from npsnn.models.averaging import ANSWERS
from npsnn.optim import OPTIMIZERS
from npsnn.tables import Table
from npsnn.validate import check_choice, check_options, declared, option
from npsnn.words import nearest

if TYPE_CHECKING:
    from npsnn.data import Dataset
    from npsnn.layers.params import Role
    from npsnn.models import Model
    from npsnn.train import Constraint, Loss, Term, Training, Treatment

Settings: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Settings by data set."""
ALIKE = {"cifar10-unverified": "cifar10", "svhn": "cifar10"}
"""The data set whose settings another one takes where it has none of its own: colour images of 32 x 32 pixels."""


def _check_entry(kind: Any, name: str) -> None:
    """Raise TypeError or ValueError, naming what is wrong, for what is no class of defences."""
    if not (isinstance(kind, type) and issubclass(kind, Defence) and is_dataclass(kind)):
        raise TypeError(f"the defence {name} must be a dataclass that inherits from npsnn.train.defences.Defence")
    known = [f.name for f in fields(kind)]
    if odd := [field for field in known if field not in declared(kind)]:
        raise TypeError(f"{kind.__name__}.{odd[0]} must be declared by npsnn.validate.option, which says what it is")
    check_choice(f"{kind.__name__}.answers[0]", kind.answers[0], ANSWERS)
    named: dict[str, Any] = {"departures": kind.departures}
    named |= {f"{place}[{data!r}]": s for place in TABLED for data, s in getattr(kind, place).items()}
    for place, settings in named.items():
        for field in settings:
            check_choice(f"a setting in {kind.__name__}.{place}", field, known)


TABLED = ("published", "chosen", "instead")
"""The attributes of a defence that hold something for settings by data set."""
DEFENCES: Table[type["Defence"]] = Table("defence", "from npsnn.train.defences import defence", _check_entry)
"""Every defence by name: `@defence("name")` above a dataclass enters it."""
defence = DEFENCES.enter


class Departure(NamedTuple):
    """What the authors' code does where the paper says something else, or says nothing.

    value: of the setting, in the code.
    text: what differs, as a sentence.
    row: row of the audit.
    """

    value: Any
    text: str
    row: str


Departures: TypeAlias = Mapping[str, Departure]
"""Departures by setting."""
Instead: TypeAlias = Mapping[str, Mapping[str, str]]
"""Words by data set and setting."""


@dataclass(frozen=True)
class Defence:
    """The settings that all defences have, and the training that a defence makes of them; a defence says what differs.

    Times are parts of the training, so that a shorter training has the same course.
    Raises ValueError naming the field, what was expected and what came.
    """

    model: str = option("lenet5", "Network: {choices}.", "Network", choices=MODELS)
    optimizer: str = option("adam", "Update rule: {choices}.", "Optimiser", choices=OPTIMIZERS)
    lr: float = option(1e-3, "Learning rate.", "Optimiser", low=0)
    momentum: float = option(0.9, "Momentum of sgd.", "Optimiser", low=0, high=1, below=True)
    weight_decay: float = option(0.0, "Decay of weights, not of biases.", "Optimiser", low=0)
    falls: tuple[float, ...] | None = option(
        None, "Parts of the training after which the learning rate falls.", "Optimiser", low=0, high=1
    )
    fall: float = option(0.1, "Factor of the learning rate at each fall.", "Optimiser", low=0, high=1)
    epochs: int = option(10, "Passes over the training images.", "Optimiser", low=1)
    batch_size: int = option(128, "Images for one update.", "Optimiser", low=1)
    augmentation: str = option("none", "Change of each training image: {choices}.", "Data", choices=AUGMENTATIONS)

    paper: ClassVar[str] = ""
    """Title, authors and year."""
    what: ClassVar[str] = ""
    """The idea, in a sentence or two."""
    lacks: ClassVar[str] = ""
    """What the paper or its code has, and npsnn has not."""
    found: ClassVar[str] = ""
    """What others found of its robustness."""
    published: ClassVar[Settings] = {}
    """The settings of the paper or its code, by data set."""
    instead: ClassVar[Instead] = {}
    """What a published setting stands in the place of, in words, by data set and setting."""
    chosen: ClassVar[Settings] = {}
    """The settings for data sets that the paper does not have, chosen here."""
    departures: ClassVar[Departures] = {}
    """What the authors' code does otherwise, by setting."""
    answers: ClassVar[tuple[str, int]] = ("logits", 1)
    """How the defence answers: the mean of logits, of probabilities or of votes, over so many draws of the noise."""

    def __post_init__(self) -> None:
        check_options(self)
        if list(self.falls or ()) != sorted(set(self.falls or ())):
            raise ValueError(f"falls must be in their order, got {self.falls}")

    @classmethod
    def on(cls, dataset: str, code: bool = False, **given: Any) -> Any:
        """The defence with the settings for a data set.

        dataset: name of the data set. One that the paper does not have takes the settings chosen here.
        code: whether each setting in which the authors' code departs from the paper has the code's value.
        given: settings that take precedence.
        Raises ValueError for an unknown setting, naming the nearest.
        """
        known = [f.name for f in fields(cls)]
        if odd := [name for name in given if name not in known]:
            raise ValueError(f"{odd[0]} is no setting of {DEFENCES.name_of(cls)}{nearest(odd[0], known)}")
        theirs = {name: departure.value for name, departure in cls.departures.items()} if code else {}
        return cls(**dict(cls.settings(dataset)) | theirs | given)

    @classmethod
    def settings(cls, dataset: str) -> Mapping[str, Any]:
        """The settings for a data set that are not the defaults."""
        for of in (cls.published, cls.chosen):
            if (name := dataset if dataset in of else ALIKE.get(dataset, "")) in of:
                own = of[name]
                # digits of a house number are not mirrored
                return own if dataset != "svhn" or name == "svhn" else {**own, "augmentation": "none"}
        return cls.chosen.get("fashion-mnist", {})

    def explained(self, dataset: str) -> Iterator[tuple[str, Any, str]]:
        """Each setting with its value and where the value comes from.

        "paper or code" is a setting of the authors, read in their released code or in descriptions of their paper.

        dataset: the data set whose settings these began as.
        """
        like = dataset if dataset in self.published else ALIKE.get(dataset, dataset)
        theirs, ours = self.published.get(like), self.settings(dataset)
        of_all = {f.name for f in fields(Defence)}
        for f in fields(self):
            value, default, departure = getattr(self, f.name), f.default, self.departures.get(f.name)
            papers = theirs is not None and (f.name in theirs or f.name not in of_all)
            source = "paper or code" if papers else "chosen here" if f.name in ours else "default"
            if instead := self.instead.get(like, {}).get(f.name):
                source = f"in place of {instead}"
            if value != ours.get(f.name, default):
                source = "authors' code" if departure and value == departure.value else "given"
            yield f.name, value, source

    def idle(self) -> dict[str, str]:
        """The settings that change nothing beside the others, each with what it would take."""
        still = {} if self.optimizer == "sgd" else {"momentum": "optimizer is sgd"}
        return still | ({} if self.falls else {"fall": "falls are given"})

    def training(self, dataset: "Dataset", seed: int = 0, limit: int | None = None, conv: str = "auto") -> "Training":
        """The training of the defence on a data set.

        dataset: images to train on, whose shape and number of classes the network gets.
        seed: seed of all random numbers.
        limit: number of training images, None for all.
        conv: how convolutions are computed, "auto", "direct" or "winograd".
        """
        from npsnn.data.augment import AUGMENTATIONS
        from npsnn.train.loop import split_validation
        from npsnn.train.training import Training

        examples = len(split_validation(dataset.train, seed, limit)[0])
        return Training(
            model=self.network(dataset.image_shape, dataset.classes).convolving(conv),
            loss=self.loss(),
            noise=self.noise(),
            terms=self.terms(examples),
            constraints=self.constraints(),
            optimizer=self.rule(),
            schedule=self.course(),
            trains=self.trains(),
            augmentation=AUGMENTATIONS[self.augmentation],
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            limit=limit,
        )

    def network(self, shape: tuple[int, ...], classes: int) -> "Model":
        """The network, by default without noise.

        shape: one image, (C, H, W).
        classes: number of classes.
        """
        from npsnn.models import build

        return build(self.model, shape, classes, 0.0, "none")

    def loss(self) -> "Loss":
        """What is descended, by default the cross-entropy."""
        from npsnn.train.losses import CrossEntropy

        return CrossEntropy()

    def noise(self) -> "Treatment":
        """How training treats the noise, by default by draws."""
        from npsnn.train.treatments import Drawn

        return Drawn()

    def terms(self, examples: int) -> tuple["Term", ...]:
        """What is added to the loss for the parameters alone.

        examples: number of the training images.
        """
        return ()

    def constraints(self) -> tuple["Constraint", ...]:
        """What holds the parameters around each update."""
        return ()

    def trains(self) -> "Role":
        """The roles of the parameters that are trained, by default all but the noise."""
        from npsnn.layers.params import Role

        return Role.ALL & ~Role.NOISE

    def rule(self) -> Any:
        """The optimiser."""
        kind = OPTIMIZERS[self.optimizer]
        own = {f.name for f in fields(self)}
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind) if f.name in own})

    def course(self) -> Any:
        """The schedule of the learning rate."""
        from npsnn.optim import Constant

        return falls(self.falls, self.fall) if self.falls else Constant()


def falls(at: tuple[float, ...], factor: float) -> Any:
    """The schedule that is multiplied by a factor after each of some parts of the training."""
    from npsnn.optim import Falls

    return Falls(tuple(at), tuple(factor ** (n + 1) for n in range(len(at))))
