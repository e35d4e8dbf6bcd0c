"""Whether a loss keeps to what npsnn asks of losses."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from threading import BrokenBarrierError
from typing import Any

import numpy as np

from npsnn.classifier import Classifier
from npsnn.inputs import as_float
from npsnn.layers import BatchNorm, Sequential
from npsnn.layers.moments import WHOLE, Batch, Expectation, Noise, Propagated, Sampled
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models.base import Model
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.testing.demands import demand, frozen, same, unwritten
from npsnn.testing.gradients import Arrays, check_gradient
from npsnn.testing.networks import small_model, started
from npsnn.testing.saved import at_half, check_frozen, check_saved
from npsnn.train.losses.base import LOSSES, Total, plain
from npsnn.workers.threads import Threads

EXAMPLES = 5
OWN, DRAW = Stream(13).at("check_loss"), Stream(14).at("check_loss")
RTOL = 1e-9


def check_loss(
    loss: Any, *, model: Model | None = None, adds_up: bool = True, rtol: float = 1e-6, entries: int = 6
) -> None:
    """Raise AssertionError, with a sentence that names what is wrong, unless a loss keeps to the rules of losses.

    * The loss is a frozen dataclass in the table of losses. A file and another process give it back.
    * With the noise off, under a draw, and propagated by each rule that is not refused: the gradients of all parameters
      agree with finite differences of the value, all random numbers held fixed.
    * Two calls with the same streams give the same sums. The sums over two parts of a batch add up to the batch's, in a
      network with BatchNorm as well, where the parts meet. So draws must be keyed by the sample.
    * 8-bit images count as the floats that they stand for. No argument is written to. Gradients have the precision of
      the network.
    * A loss with `sees_variance = False` has the same value whatever the variance of the logits.

    loss: to check; schedules in the place of its numbers count as they are at half of a training.
    model: the network, for a loss that needs a layer of its own; by default a small one with noise on a pre-activation.
    adds_up: whether the sums over parts of a batch add up to the batch's; not those of a loss that treats a part of
        each micro-batch otherwise, as `npsnn.train.Adversarial` with a mix of 0.5.
    rtol: the relative error of gradients that is allowed, for a loss whose gradient is not that of its value.
    entries: the entries of each parameter to try a gradient with.
    """
    has = callable(getattr(loss, "gradient", None))
    demand(has, f"{loss!r} must have the method gradient(network, images, labels, noise, stream)")
    check_frozen(loss)
    check_saved(LOSSES, loss)
    loss = at_half(loss)
    before = dict(vars(loss))
    model = model or small_model()
    network = started(model, np.float64)
    for how, noise in _treatments(None):
        _check_sums(loss, network, noise, how, (entries, rtol))
    if adds_up:
        _check_parts(loss, model)
    _check_images(loss, model)
    _check_precision(loss, model)
    if getattr(loss, "sees_variance", True) is False:
        _check_blindness(plain(loss), network)
    demand(dict(vars(loss)) == before, f"{loss}: a call changes the loss, which threads share")


@dataclass(frozen=True, eq=False, repr=False)
class Taped(Classifier):
    """A network that notes the gradients by images that it gives, or gives those it was given before.

    The images that an attack finds are held fixed so: no gradient of a loss flows through the attack.

    tape: of what was given.
    answers: what to give again; None to note.
    """

    tape: list[Any] = field(default_factory=list)
    answers: Iterator[Any] | None = None

    def loss_gradients(self, *asked: Any, **options: Any) -> Any:
        if self.answers is not None:
            return next(self.answers)
        self.tape.append(super().loss_gradients(*asked, **options))
        return self.tape[-1]


def _fields(network: Classifier) -> dict[str, Any]:
    return {f.name: getattr(network, f.name) for f in fields(network)}


def _treatments(training: Batch | None) -> list[tuple[str, Noise]]:
    rules = [(f"under the rule {name}", Propagated(rule, training)) for name, rule in RULES.items()]
    return [("with the noise off", Expectation(training)), ("under a draw", Sampled(DRAW, training)), *rules]


def _images(network: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """8-bit images and labels."""
    rng = np.random.default_rng(15)
    x = rng.integers(0, 256, (EXAMPLES, *network.model.shape), np.uint8)
    return frozen(x), frozen(np.arange(EXAMPLES) % network.model.classes)


def _asked(loss: Any, network: Classifier, x: np.ndarray, labels: np.ndarray, noise: Noise, own: Stream = OWN) -> Total:
    held = replace(network, params=unflatten({k: frozen(p) for k, p in flatten(network.params).items()}))
    found: Total = unwritten(f"{loss}", "gradient", lambda: loss.gradient(held, frozen(x), labels, noise, own))
    return found


def _check_sums(loss: Any, network: Classifier, noise: Noise, how: str, differences: tuple[int, float]) -> None:
    x, labels = _images(network)
    try:
        found = _asked(loss, network, x, labels, noise)
    except ValueError as refusal:
        demand(isinstance(noise, Propagated) and str(refusal).strip(), f"{loss} {how}: {refusal}")
        return
    who, learned = f"{loss} {how}", flatten(network.params)
    demand(isinstance(found, Total), f"{who}: gradient must return a Total, got {type(found).__name__}")
    demand(np.ndim(found.loss) == 0 and np.isfinite(found.loss), f"{who}: the sum of the values is {found.loss!r}")
    right = int(found.correct)
    demand(0 <= right <= EXAMPLES, f"{who}: of {EXAMPLES} images {right} are said to be read correctly")
    names, got = ", ".join(sorted(learned)), ", ".join(sorted(found.grads or {}))
    demand(names == got, f"{who}: there must be gradients of {names}, got them of {got or 'none'}")
    again = _asked(loss, network, x, labels, noise)
    demand(
        same(again.grads, found.grads) and same(again.loss, found.loss),
        f"{who}: two calls with the same streams differ: draw from the streams alone",
    )

    entries, rtol = differences

    tape: list[Any] = []
    loss.gradient(Taped(**_fields(network), tape=tape), x, labels, noise, OWN)

    def f(a: Arrays) -> float:
        moved = Taped(**_fields(network) | {"params": unflatten(a)}, tape=tape, answers=iter(tape))
        return float(loss.gradient(moved, x, labels, noise, OWN).loss)

    try:
        check_gradient(f, learned, found.grads or {}, entries, step=1e-5, rtol=rtol)
    except AssertionError as error:
        raise AssertionError(f"{who}: {error}") from error


def _close(a: Total, b: Total, rtol: float = RTOL) -> bool:
    """Whether two sums agree; a gradient may be 0 but for rounding, so the largest of all counts."""
    if (a.grads or {}).keys() != (b.grads or {}).keys() or int(a.correct) != int(b.correct):
        return False
    pairs = [(a.loss, b.loss), *((g, (b.grads or {})[k]) for k, g in (a.grads or {}).items())]
    largest = max(np.abs(g).max(initial=0) for _, g in pairs)
    return all(np.abs(np.asarray(p) - q).max(initial=0) <= rtol * largest for p, q in pairs)


def _parts(loss: Any, network: Classifier, noise: Noise) -> Total:
    """The sums over two parts of a batch, which meet where the network couples them."""
    x, labels = _images(network)
    parts = [slice(0, 2), slice(2, None)]
    coupled = noise.training is not None

    def part(i: int, total: Any) -> Total:
        s = parts[i]
        own = replace(noise, training=Batch(EXAMPLES, total) if coupled else None)
        own = replace(own, stream=own.stream.further(s.start)) if isinstance(own, Sampled) else own
        return _asked(loss, network, x[s], labels[s], own, OWN.further(s.start))

    if coupled:
        with Threads(2) as workers:
            found = workers.together(part, lambda i: (i,), 2)
    else:
        found = [part(i, None) for i in range(2)]
    summed, of = Total(), roles(network.model.network, flatten(network.params))
    for one in found:
        summed.add(one, {name for name, role in of.items() if role is Role.STATISTIC})
    return summed


def _check_parts(loss: Any, model: Model) -> None:
    """The sums over two parts of a batch are those over the batch, in a network without BatchNorm and with it."""
    for what, network, training in (("", started(model, np.float64), None), (_COUPLED, _coupled(model), WHOLE)):
        for how, noise in _treatments(training):
            try:
                whole = _asked(loss, network, *_images(network), noise)
            except ValueError as refusal:
                demand(isinstance(noise, Propagated), f"{loss} {how}{what}: {refusal}")
                continue
            try:
                parts = _parts(loss, network, noise)
            except (ValueError, BrokenBarrierError) as error:
                meet = "two parts of a batch, which must make the same passes, do not come together"
                raise AssertionError(f"{loss} {how}{what}: {meet} ({error})") from error
            demand(
                _close(whole, parts),
                f"{loss} {how}{what}: two parts of a batch add up to other sums than the batch; return sums, not "
                "means, and key draws by the sample",
            )


_COUPLED = ", in a network with BatchNorm"


def _coupled(model: Model) -> Classifier:
    """The network with a BatchNorm after its first layer, in double precision."""
    (first, *rest) = model.network.layers
    return started(replace(model, network=Sequential((first, ("bn", BatchNorm()), *rest))), np.float64)


def _check_images(loss: Any, model: Model) -> None:
    network = started(model)
    x, labels = _images(network)
    eight_bit, floats = (_asked(loss, network, images, labels, Sampled(DRAW)) for images in (x, as_float(x)))
    agree = _close(eight_bit, floats, 1e-5)
    demand(agree, f"{loss}: 8-bit images have other sums than the floats in [0, 1] that they stand for")


def _check_precision(loss: Any, model: Model) -> None:
    network = started(model, np.float32)
    x, labels = _images(network)
    found = _asked(loss, network, x, labels, Sampled(DRAW))
    for name, g in (found.grads or {}).items():
        demand(np.asarray(g).dtype == np.float32, f"{loss}: the gradient of {name} is {np.asarray(g).dtype} in float32")


def _check_blindness(loss: Any, network: Classifier) -> None:
    """Images that an attack finds, on draws of the noise, are held fixed."""
    x, labels = _images(network)
    tape: list[Any] = []
    own, noise = _fields(network), Propagated(RULES["laplace"])
    one = loss.gradient(Taped(**own, tape=tape), x, labels, noise, OWN).loss
    louder = own | {"params": network.with_sigma({path: 2 * s for path, s in network.sigmas.items()}).params}
    other = loss.gradient(Taped(**louder, answers=iter(tape)), x, labels, noise, OWN).loss
    demand(
        same(one, other), f"{loss} says that it does not see the variance, but another variance gives it another value"
    )
