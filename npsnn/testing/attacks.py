"""Whether an attack keeps to what npsnn asks of attacks."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from npsnn.attacks.balls import Limit
from npsnn.attacks.base import ATTACKS, ask, checked_attack
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.judging import Judging
from npsnn.classifier import Classifier
from npsnn.streams import Stream, as_stream
from npsnn.testing.demands import close, demand, frozen, same, unwritten
from npsnn.testing.networks import small_network
from npsnn.testing.saved import check_frozen, check_saved

STREAM = Stream(9).at("check_attack")
EXAMPLES = 5
DRAW = 0.1
"""The noise of a gradient, beside gradients of the size 1."""


def check_attack(attack: Any, network: Classifier | None = None) -> None:
    """Raise AssertionError, with a sentence that names what is wrong, unless an attack keeps to the rules of attacks.

    * The attack is a frozen dataclass in the table of attacks. A file and another process give it back.
    * Images stay in the ball and in [0, 1], and keep their shape and dtype; no argument is written to. That holds for
      black and white pixels, and for a gradient that is 0, too.
    * The same images come out for the same stream: to the bit whatever the number of threads, and but for rounding
      whatever the micro-batch.
    * `passes` says how many gradients, or forward passes of an attack that is `forward_only`, an image takes at most.
    * An attack with the field eps, or a ball as a field, leaves the images as they are at a radius of 0.

    attack: to check.
    network: to attack; by default a small one with noise, for images of the shape (2, 3, 4).
    """
    try:
        checked_attack(attack)
    except TypeError as error:
        raise AssertionError(str(error)) from error
    check_frozen(attack)
    check_saved(ATTACKS, attack)
    _check_names(attack)
    before = dict(vars(attack))
    network = network or small_network()
    for dtype in (np.float32, np.float64):
        x, labels = _images(network, dtype)
        _check_call(attack, x, labels)
        _check_parts(attack, x, labels)
    x, labels = _images(network, np.float32)
    _check_flat(attack, x, labels)
    _check_radius(attack, x, labels)
    _check_threads(attack, network, x, labels)
    demand(dict(vars(attack)) == before, f"{attack}: a call changes the attack, which threads share")


@dataclass
class Slope:
    """A target of which everything is known: a loss that is linear in the image, with noise of each image's own.

    No example's numbers depend on the batch it comes in, not even by rounding. An image is misread if its loss is
    above 0.

    size: of the gradient's entries.
    draw: of the noise of the gradient's entries.
    """

    size: float = 1.0
    draw: float = DRAW
    passes: int = 3
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("gradients", "values", "looks"), 0))

    @property
    def random(self) -> bool:
        return self.draw > 0

    @property
    def certain(self) -> bool:
        return not self.random

    def looks(self, draws: int) -> int:
        return draws if self.random else 1

    def ascending(self, objective: Any) -> "Slope":
        """The same target, whatever the objective: there is but one loss."""
        return self

    def _gradient(self, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        pattern = np.sin(1 + np.arange(x[0].size)).reshape(x.shape[1:])
        noise = np.moveaxis(as_stream(stream).normal(np.moveaxis(x.astype(np.float64), 0, -1)), -1, 0)
        own = labels if labels.ndim == 1 else labels[:, 0]
        side = (1 - 2 * (own % 2)).reshape(-1, 1, 1, 1)
        return np.asarray(self.size * (pattern * side + self.draw * noise))

    def _loss(self, x: np.ndarray, labels: np.ndarray, stream: Any) -> tuple[np.ndarray, np.ndarray]:
        g = self._gradient(x, labels, stream)
        return np.array([float(((one - 0.5) * slope).sum()) for one, slope in zip(x, g, strict=True)]), g

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Any) -> tuple[np.ndarray, np.ndarray]:
        self.counted["gradients"] += len(x) * self.passes
        return self._loss(x, labels, stream)

    def looked(self, x: np.ndarray, labels: np.ndarray, stream: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        loss, g = self(x, labels, stream)
        return loss, (loss > 0).astype(float), g

    def answers(self, x: np.ndarray, stream: Any) -> np.ndarray:
        """Logits of three classes, of which the first two differ by the loss."""
        self.counted["looks"] += len(x) * self.passes
        loss = self._loss(x, np.zeros(len(x), int), stream)[0]
        return np.stack([-loss / 2, loss / 2, np.full(len(x), -np.inf)])

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        self.counted["values"] += len(x) * self.passes
        return self._loss(x, labels, stream)[0]

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Any) -> np.ndarray:
        self.counted["looks"] += len(x) * self.looks(draws)
        losses = [self._loss(x, labels, as_stream(stream).at(d))[0] > 0 for d in range(self.looks(draws))]
        return np.asarray(np.mean(losses, axis=0))


def _images(network: Classifier, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images, some pixels of which are black and white, and labels."""
    rng = np.random.default_rng(10)
    x = rng.random((EXAMPLES, *network.model.shape))
    x = np.clip(1.4 * x - 0.2, 0, 1).astype(dtype)
    return frozen(x), frozen(np.arange(EXAMPLES) % network.model.classes)


def _check_names(attack: Any) -> None:
    label, says = ask(attack, "label"), ask(attack, "says")
    demand(isinstance(label, str) and label, f"{attack}: its label must be a word, got {label!r}")
    plain = isinstance(says, dict) and all(isinstance(k, str) and isinstance(v, Real) for k, v in says.items())
    numbers = plain and all(isfinite(v) for v in says.values())
    demand(numbers, f"{attack}: what it says of itself must be finite numbers by name, got {says!r}")


def _called(attack: Any, target: Slope, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
    before = _numpys()
    found: np.ndarray = unwritten(f"{attack}", "the attack", lambda: attack(target, x, labels, stream))
    demand(_numpys() == before, f"{attack}: draws come from np.random: draw from the stream, as stream.uniform(x)")
    return found


def _numpys() -> tuple[Any, ...]:
    """The state of NumPy's own generator, which no attack may draw from."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return kind, np.asarray(keys).tobytes(), *rest


def _check_call(attack: Any, x: np.ndarray, labels: np.ndarray) -> None:
    target = Slope()
    found = _called(attack, target, x, labels, STREAM)
    demand(isinstance(found, np.ndarray), f"{attack} must return an array of images, got {type(found).__name__}")
    demand(found.dtype == x.dtype, f"{attack} returns {found.dtype} for images of {x.dtype}")
    _check_inside(attack, found, x)
    again = _called(attack, Slope(), x, labels, STREAM)
    demand(same(found, again), f"{attack}: two calls with one stream give other images: draw from the stream alone")
    _check_passes(attack, target, len(x))


def _check_inside(attack: Any, found: np.ndarray, x: np.ndarray) -> None:
    try:
        attack.ball.check(found, x)
    except ValueError as error:
        raise AssertionError(f"{attack}: {error}") from error


def _check_passes(attack: Any, target: Slope, examples: int) -> None:
    told = ask(attack, "passes")(target)
    took = {name: count / examples for name, count in target.counted.items()}
    demand(isinstance(told, int) and told >= 0, f"{attack}: passes must return a whole number, got {told!r}")
    if ask(attack, "forward_only"):
        demand(not took["gradients"], f"{attack} says that it is forward_only, but takes gradients")
        # one more than it tells, for the clean image
        most = max(took["values"], took["looks"]) - target.passes
    else:
        most = took["gradients"]
    demand(most <= told, f"{attack}: passes tells of {told} for an image, but it took {most:g}")


def _check_parts(attack: Any, x: np.ndarray, labels: np.ndarray) -> None:
    """The same images, whatever the micro-batch; attacks that take one by one are handed no other."""
    whole = _called(attack, Slope(), x, labels, STREAM)
    for size in (1, 2):
        parts = [slice(i, i + size) for i in range(0, len(x), size)]
        found = [_called(attack, Slope(), x[s], labels[s], STREAM.further(s.start)) for s in parts]
        demand(
            close(np.concatenate(found), whole, 1e-5 if x.dtype == np.float32 else 1e-12),
            f"{attack}: micro-batches of {size} give other images than one of {len(x)}: key draws by the sample, as "
            "stream.normal and stream.uniform do, and let no image depend on the others",
        )


def _check_flat(attack: Any, x: np.ndarray, labels: np.ndarray) -> None:
    """A gradient that is 0, which a network without a doubt has, leads nowhere outside."""
    with np.errstate(all="ignore"):
        found = _called(attack, Slope(size=0.0), x, labels, STREAM)
    try:
        attack.ball.check(found, x)
    except ValueError as error:
        raise AssertionError(f"{attack} where the gradient is 0: {error}") from error


def _check_radius(attack: Any, x: np.ndarray, labels: np.ndarray) -> None:
    names = [f.name for f in fields(attack)] if is_dataclass(attack) else []
    if "eps" in names:
        still = replace(attack, eps=0.0)
    elif "ball" in names and isinstance(attack.ball, Limit):
        still = replace(attack, ball=replace(attack.ball, eps=0.0))
    else:
        return
    found = _called(still, Slope(), x, labels, STREAM)
    demand(same(found, np.asarray(x)), f"{still}: a radius of 0 must leave the images as they are")


def _check_threads(attack: Any, network: Classifier, x: np.ndarray, labels: np.ndarray) -> None:
    """A network is attacked on one thread and on two, in micro-batches of two images."""
    small = replace(network, model=replace(network.model, micro_batch=2))
    found = []
    for threads in (1, 2):
        try:
            (result,) = robust_accuracy(replace(small, threads=threads), x, labels, [attack], Judging(draws=2))
        except (ValueError, TypeError) as error:
            raise AssertionError(f"{attack} on {network}: {error}") from error
        found.append((result.x_adv, result.accuracy.each))
    demand(same(*found), f"{attack}: two threads give other images than one: draw from the stream alone")
