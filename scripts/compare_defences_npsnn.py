"""How npsnn computes the cases of scripts/compare_defences.py, and how its random numbers are noted for the twin."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npsnn import Classifier
from npsnn.backend import Array
from npsnn.layers import Conv2d, Flatten, Linear, MaxPool, ReLU, Sequential
from npsnn.layers.base import Want
from npsnn.layers.moments import EXPECTATION, WHOLE, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models import Model
from npsnn.streams import Stream

Arrays = dict[str, np.ndarray]
SHAPE, CLASSES, EXAMPLES = (2, 6, 6), 4, 5
LABELS = np.arange(EXAMPLES) * 3 % CLASSES
CONVOLUTION, DENSE, LOGITS = Conv2d(3, 3, padding=1), Linear(12), Linear(CLASSES)
STATISTICAL = Role.NOISE | Role.STATISTIC


@dataclass(frozen=True)
class Case:
    """A function, and its value and gradients by npsnn.

    formula: name of the twin's function.
    network: the network, and its parameters.
    noise: how the twin carries the noise.
    given: images, labels and random numbers by name, batch first; "d." begins the names of draws of the noise.
    found: the value, and the gradients by the images, "x", and by parameters, "p.conv.w".
    options: arguments of the twin's function.
    scale: factor of the size of every noise under draws.
    """

    name: str
    formula: str
    network: Classifier
    noise: str
    given: Arrays
    found: Arrays
    options: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def arrays(self) -> Arrays:
        """All that the twin is given."""
        return self.given | named(flatten(self.network.params))


@dataclass(frozen=True)
class Recorder(Stream):
    """A stream that notes the numbers drawn from it, by the path from `depth` on."""

    seen: Arrays = field(default_factory=dict, repr=False, compare=False)
    depth: int = 0

    def normal(self, like: Array) -> Array:
        return self._noted(super().normal(like))

    def uniform(self, like: Array) -> Array:
        return self._noted(super().uniform(like))

    def _noted(self, numbers: Array) -> Array:
        words = [str(word) for word in self.path[self.depth :]]
        if "one draw" in words:  # of a batch, which its first image names
            place = words.index("one draw")
            del words[place : place + 2]
        self.seen[".".join(words)] = numbers
        return numbers


@dataclass(frozen=True)
class Watched:
    """An attack that notes the images it finds."""

    attack: Any
    found: list[np.ndarray] = field(default_factory=list)

    @property
    def ball(self) -> Any:
        return self.attack.ball

    @property
    def source(self) -> Any:
        return self.attack.source

    def __call__(self, target: Any, x: Array, labels: Array, stream: Any) -> Array:
        self.found.append(self.attack(target, x, labels, stream))
        return self.found[-1]


def images(seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).random((EXAMPLES, *SHAPE))


def named(flat: Arrays) -> Arrays:
    return {f"p.{k}": np.asarray(a) for k, a in flat.items()}


def batch_first(numbers: Array) -> np.ndarray:
    """The engine's (H, C, W, N) as (N, C, H, W), (D, N) as (N, D); the draw of a weight has no example."""
    first = np.moveaxis(numbers, -1, 0)
    return first.swapaxes(1, 2) if first.ndim == 4 else first


def started(model: Model) -> Classifier:
    """The model in double precision with no parameter at its first value; biases above 0 keep its ReLUs alive."""
    rng = np.random.default_rng(1)
    flat = flatten(model.init(rng))
    of = roles(model.network, flat)

    def moved(name: str, p: np.ndarray) -> np.ndarray:
        scaled, more = p.astype(np.float64) * rng.uniform(0.5, 1, p.shape), 0.2 * rng.standard_normal(p.shape)
        if name.endswith("alpha"):  # has either sign
            return scaled * rng.choice([-1, 1], p.shape)
        return scaled if of[name] & STATISTICAL else scaled + (abs(more) if of[name] is Role.BIAS else more)

    return Classifier(model, unflatten({k: np.asarray(moved(k, p)) for k, p in flat.items()}), threads=1)


def small(*more: tuple[str, Any], first: Any = CONVOLUTION, hidden: Any = DENSE, last: Any = LOGITS) -> Model:
    """A convolution, pooling, ReLU and three dense layers.

    more: layers after the convolution; those whose names begin with "dense" stand after the first dense layer.
    """
    dense = [(name, layer) for name, layer in more if name.startswith("dense")]
    layers: Any = (
        ("conv", first),
        *((name, layer) for name, layer in more if not name.startswith("dense")),
        ("pool", MaxPool(2)),
        ("relu", ReLU()),
        ("flatten", Flatten()),
        ("fc1", hidden),
        *dense,
        ("relu1", ReLU()),
        ("fc2", Linear(10)),
        ("relu2", ReLU()),
        ("fc", last),
    )
    return Model("small", Sequential(layers), SHAPE, CLASSES)


def treatment(noise: str, scale: float = 1.0) -> tuple[Noise, Arrays]:
    """A treatment of the noise by the twin's name, and where its draws will stand."""
    kind, _, training = noise.partition("-")
    batch, seen = WHOLE if training else None, dict[str, np.ndarray]()
    if kind == "sampled":
        return Sampled(Recorder(5, seen=seen), batch, scale), seen
    return Propagated(training=batch) if kind == "propagated" else EXPECTATION, seen


def drawn(seen: Arrays) -> Arrays:
    return {f"d.{name}": batch_first(numbers) for name, numbers in seen.items()}


def learned(network: Classifier, grads: Arrays) -> Arrays:
    """The gradients of all that training moves."""
    of = roles(network.model.network, grads)
    return named({k: g for k, g in grads.items() if of[k] is not Role.STATISTIC})


def of_pass(name: str, model: Model, noise: str, scale: float = 1.0) -> Case:
    """A random linear function of the logits' moments, with its gradients by images and parameters."""
    network, rng, x = started(model), np.random.default_rng(3), images()
    treated, seen = treatment(noise, scale)
    m, backward = model.network.forward(network.params, Moments(network.to_engine(x)), treated)
    g = Moments(*(None if z is None else rng.standard_normal(z.shape) for z in (m.mean, m.var)))
    if g.var is not None and g.var.ndim == 3:
        g = Moments(g.mean, g.var + g.var.transpose(1, 0, 2))
    below, grads = backward(g, Want.BOTH)
    assert below is not None
    value = (m.mean * g.mean).sum() + (0 if m.var is None else (m.var * g.var).sum())
    given = {"x": x, "g": g.mean.T} | ({} if g.var is None else {"h": np.moveaxis(g.var, -1, 0)})
    found = {"value": value, "x": below.mean.transpose(3, 1, 0, 2)} | learned(network, flatten(grads))
    return Case(name, "moments", network, noise, given | drawn(seen), found, scale=scale)


def of_loss(name: str, formula: str, loss: Any, model: Model, noise: str, given: Any = None, **options: Any) -> Case:
    """A loss and its gradients by the parameters, with the images of its attack held.

    given: more arrays for the twin, of the loss, the images in the engine's form and the loss's own stream.
    """
    network, x, own = started(model), images(), Recorder(11)
    treated, seen = treatment(noise)
    total = loss.gradient(network, x, LABELS, treated, own)
    arrays = {"x": x, "labels": LABELS} | drawn(seen)
    if isinstance(getattr(loss, "attack", None), Watched):
        arrays["x_adv"] = loss.attack.found[-1]
    if given is not None:
        arrays |= given(loss, network.to_engine(x), own)
    found = {"value": np.asarray(total.loss)} | learned(network, total.grads)
    return Case(name, formula, network, noise, arrays, found, options)


def of_image(
    name: str,
    formula: str,
    network: Classifier,
    noise: str,
    objective: Any,
    given: Arrays | None = None,
    **options: Any,
) -> Case:
    """An objective and its gradient by the image, as attacks have it."""
    x = images()
    treated, seen = treatment(noise)
    values, gradient = network.loss_gradient(x, LABELS, treated, objective)
    arrays = {"x": x, "labels": LABELS} | drawn(seen) | (given or {})
    return Case(name, formula, network, noise, arrays, {"value": values.sum(), "x": gradient}, options)


def of_term(name: str, formula: str, term: Any, model: Model, **options: Any) -> Case:
    """A term of the parameters, which has gradients of some of them."""
    network = started(model)
    value, grads = term(model, flatten(network.params))
    return Case(name, formula, network, "off", {"x": images()}, {"value": np.asarray(value)} | named(grads), options)
