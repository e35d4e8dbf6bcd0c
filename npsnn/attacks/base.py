"""The base class of attacks, their table, and what an object must have to be one.

    @attack("mine")
    @dataclass(frozen=True)
    class Mine(Attack):
        eps: float

        @property
        def ball(self) -> Ball:
            return Ball("linf", self.eps)

        def __call__(self, target, x, labels, stream):
            _, gradient = target(x, labels, stream)
            return self.ball.project(x + self.eps * np.sign(gradient), x)

`attacks.robust_accuracy` takes any object that has a ball and can be called so. An object that is no `Attack` is asked
the same questions, and what it does not answer the base class answers for it (`ask`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npsnn.attacks.balls import Ball, Limit, check_linf
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.sources import SOURCES as SOURCES
from npsnn.attacks.sources import source as source
from npsnn.attacks.targets import NetworkTarget, Queried
from npsnn.backend import Array, to_device
from npsnn.classifier import Classifier
from npsnn.foreign import BlamedOn, check_takes, read_only
from npsnn.inputs import is_on_gpu
from npsnn.streams import Randomness, Stream
from npsnn.tables import Table
from npsnn.words import plain_word

ARGUMENTS = "target, x, labels, stream"
BALL = "ball, such as Ball('linf', 0.1)"
CALL = f"method __call__({ARGUMENTS})"

OPTIONS = frozenset(
    "answer average checkpoint config conv cw-constant cw-lr cw-searches cw-steps data-dir device draws eot eps "  # noqa: SIM905
    "generations help inference-sigma json kappa limit norm objective other-data pixels population propagation quiet "
    "restarts resume run runs-dir samples save seed steps tf32 threads "
    "on-grid selection transfer-from "
    "apgd-steps fab-steps fmn-steps targets curve certificate "
    "queries toward".split()
)
"""The options of `npsnn attack`: no attack can have a flag of such a name."""
GROUPED = ("auto", "quick", "authors")
"""The names of the groups of `npsnn.attacks.ensemble.GROUPS`."""


def _check_entry(kind: Any, name: str) -> None:
    """Raise ValueError for a name whose flag means something else, TypeError for what lacks what attacks have."""
    if plain_word(name) in OPTIONS:
        taken = plain_word(name)
        raise ValueError(
            f"the attack {name} of {kind.__name__} cannot have the flag --{taken}: it is an option of "
            f"npsnn attack, rename the attack"
        )
    if plain_word(name) in GROUPED:
        raise ValueError(f"the attack {name} of {kind.__name__} must have another name: {name} is a group of attacks")
    if plain_word(name).startswith("adaptive-"):
        raise ValueError(f"the attack {name} must not begin with adaptive-: that is the attack on the closed form")
    if not isinstance(kind, type):
        raise TypeError(f"{kind.__name__} must be a dataclass to be an attack, got a function")
    _check_has(kind, kind.__name__)
    check_takes(kind.__call__, f"self, {ARGUMENTS}", f"{kind.__name__}.__call__")


ATTACKS: Table[type[Any]] = Table("attack", "from npsnn.attacks import attack", _check_entry)
"""Every attack that the command line offers and a file may name: `@attack` above a dataclass enters it."""
attack = ATTACKS.enter


@dataclass(frozen=True)
class Offer:
    """How the command line offers an attack.

    help: one line; "" for the first line of the class's docstring.
    adaptive: one line about the same attack on the closed form, which has a name of its own then; "" for none.
    by_default: whether it runs where no attack is named.
    strengths: the option that holds its strengths, each of which is a run.
    options: the names of options, by the attack's field, where they differ.
    """

    help: str = ""
    adaptive: str = ""
    by_default: bool = False
    strengths: str = "eps"
    options: Mapping[str, str] = field(default_factory=dict)


class Attack:
    """What the harness asks of an attack. A class of its own sets what differs.

    ball: the set that the images stay in, a field or a property.
    source: where its gradients come from.
    ascends: the objectives that it ascends where its source names none.
    forward_only: whether forward passes are all it needs.
    on_device: whether it computes with a GPU's arrays where it is given some, through `npsnn.backend.namespace`, and
        returns one. It is a GPU's network that is attacked so; any other attack is given NumPy's.
    one_by_one: whether it takes images one at a time, as a search with many candidates for each image.
    climbs: whether its steps k, on the streams `stream.at("step", k)`, raise one loss as far as they can.
    offer: how the command line offers it; None for not at all.
    """

    source: Source = DRAWN
    ascends: ClassVar[Ascends] = Ascends()
    forward_only: ClassVar[bool] = False
    on_device: ClassVar[bool] = False
    one_by_one: ClassVar[bool] = False
    climbs: ClassVar[bool] = False
    offer: ClassVar[Offer | None] = Offer()

    if TYPE_CHECKING:

        @property
        def ball(self) -> Limit: ...

        def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Randomness) -> np.ndarray:
            """Adversarial images, of the shape of x.

            target: target(x, labels, stream) -> loss (N,), gradient of the shape of x.
            x: one micro-batch, (N, C, H, W) in [0, 1].
            labels: (N,).
            stream: random numbers keyed by sample, from the first of these images on.
            """

    @property
    def label(self) -> str:
        """Its name in results, files and streams of random numbers: "pgd", "adaptive-pgd"."""
        try:
            name = ATTACKS.name_of(self)
        except ValueError:  # in no table
            name = type(self).__name__
        return getattr(ask(self, "source"), "prefix", "") + name

    @property
    def says(self) -> dict[str, float]:
        """What tells it from others of its label and ball, by name: in its title, its row and the names of files."""
        return {}

    def passes(self, target: Queried) -> int:
        """Forward and backward passes for one image: by default one gradient for each of its `steps`, or one."""
        return int(getattr(self, "steps", 1) * target.passes)

    def fits(self, shape: tuple[int, ...], classes: int) -> None:
        """Raise ValueError where the attack can be none on such images; asked before anything is computed.

        shape: of an image, (C, H, W).
        classes: of the network.
        """

    def control(self) -> "Attack | None":
        """The attack without a perturbation, for one whose finds are compared with those of doing nothing."""
        return None

    @classmethod
    def planned(cls, options: Mapping[str, Any], source: Source) -> Any:
        """The attack that the options of a command make: each field has the value of the option of its name.

        options: by name, as the fields of `attacks.Plan`, and of several strengths the one to run.
        Raises ValueError for a field that has neither an option nor a default.
        """
        values = {name: options[option] for name, option in taken(cls, options).items()}
        own = [f for f in fields(cls) if f.init]  # type: ignore[arg-type]  # classes of a table are dataclasses
        if any(f.name == "source" for f in own):
            values["source"] = source
        for f in own:
            if f.name not in values and f.default is MISSING and f.default_factory is MISSING:
                raise ValueError(f"{cls.__name__} needs {f.name}, for which there is no option: give it a default")
        return cls(**values)


@dataclass(frozen=True)
class InBall(Attack):
    """An attack with the fields eps and norm, which make its ball.

    eps: radius in units of the [0, 1] pixel.
    norm: "linf" or "l2".
    """

    eps: float
    norm: str = "linf"

    def __post_init__(self) -> None:
        if isinstance(self.eps, Limit):
            name = type(self).__name__
            raise TypeError(f"{name} takes eps and norm, as {name}({self.eps.eps!r}, {self.eps.norm!r}), got a ball")
        _ = self.ball

    @property
    def ball(self) -> Ball:
        """All images within eps."""
        return Ball(self.norm, self.eps)


def taken(kind: type[Any], options: Mapping[str, Any]) -> dict[str, str]:
    """The options that the fields of a class of attacks take, by the name of the field."""
    offer = ask(kind, "offer") or Offer()
    named = {f.name: offer.options.get(f.name, f.name) for f in fields(kind) if f.init}
    return {name: option for name, option in named.items() if option in options}


def ask(asked: Any, what: str) -> Any:
    """`asked.what` of an attack or a class of attacks, or what `Attack` has where it has no such thing."""
    if hasattr(asked, what):
        return getattr(asked, what)
    default = vars(Attack)[what]
    if not hasattr(default, "__get__"):
        return default
    return default.__get__(None, asked) if isinstance(asked, type) else default.__get__(asked, type(asked))


def checked_attack(value: Any) -> Any:
    """The value, if it is an attack.

    Raises TypeError, naming what it lacks, for what is none; ValueError for a Linf radius beyond the box of pixels.
    """
    if isinstance(value, type):
        raise TypeError(f"an attack must be a value, as {value.__name__}(...), got the class")
    _check_has(value, f"{value!r:.80}")
    if not isinstance(value.ball, Limit):
        raise TypeError(f"the ball of {value!r:.80} must be a Ball or a Limit, got {value.ball!r:.80}")
    if value.ball.norm == "linf":
        check_linf(value.ball.eps)
    source = ask(value, "source")
    if isinstance(source, type) or not callable(getattr(source, "of", None)):
        got = f"the class {source.__name__}" if isinstance(source, type) else f"{source!r:.80}"
        raise TypeError(f"the source of {value!r:.80} must be a value such as EoT(50) or ClosedForm(), got {got}")
    check_takes(value, ARGUMENTS, f"{type(value).__name__}.__call__")
    return value


def _check_has(what: Any, name: str) -> None:
    """Raise TypeError unless an attack, or a class of attacks, has a ball and can be called."""
    own = dir(what)  # a property that fails has a name there all the same
    has_ball = hasattr(what, "ball") or "ball" in own or "ball" in getattr(what, "__dataclass_fields__", ())
    lacks = [] if has_ball else [BALL]
    lacks += [] if "__call__" in own else [CALL]
    if lacks:
        raise TypeError(f"{name} is no attack: it has no {' and no '.join(lacks)}")


def takes_device(value: Any) -> bool:
    """Whether an attack, or a target, takes a GPU's arrays: `on_device` must not be older than how it computes.

    So the attack of a class that inherits `on_device = True`, and is called in a way of its own, has to say it again.
    """
    for kind in type(value).__mro__:
        if "on_device" in vars(kind):
            return bool(vars(kind)["on_device"])
        if {"__call__", "value", "misread"} & vars(kind).keys():
            return False
    return False


def in_place(value: Any, target: Any, x: Array, labels: Array) -> tuple[Array, Array]:
    """Images and labels where the target's network computes, if the attack and the target take them there.

    value: the attack.
    target: a `NetworkTarget`, or what its source makes in its place.
    """
    network = getattr(target, "classifier", None)
    if not isinstance(network, Classifier) or not network.on_gpu or not (takes_device(value) and takes_device(target)):
        return x, labels
    return to_device(x, "cuda"), to_device(labels, "cuda")


def attacked(value: Any, target: Queried, x: Array, labels: Array, stream: Stream) -> Array:
    """The images that an attack makes of a micro-batch, which it cannot write to; an error in it has its name.

    Raises ValueError, naming the attack, where it writes to what it is given.
    """
    with BlamedOn("attack", ask(value, "label"), "images and labels"):
        found = value(target, read_only(x), read_only(labels), stream)
        return found if is_on_gpu(found) else np.asarray(found)


def check_fit(attacks: Iterable[Any], network: Classifier) -> None:
    """Raise ValueError where an attack can be none on images of the network, or on its classes."""
    for value in attacks:
        ask(value, "fits")(network.model.shape, network.model.classes)


def target_of(value: Any, network: Classifier) -> NetworkTarget:
    """What an attack on the network takes its gradients of, or asks for values."""
    check_fit([value], network)
    ascends: Ascends = ask(value, "ascends")
    made: NetworkTarget = ask(value, "source").of(network, ascends)
    if isinstance(made, NetworkTarget):
        ascends.check(ask(value, "label"), made.objective)
    return made
