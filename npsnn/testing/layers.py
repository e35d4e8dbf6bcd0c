"""Whether a layer keeps to what npsnn asks of layers."""

from typing import Any

import numpy as np

from npsnn.layers.base import LAYERS, Forms, Layer, Params, Shape, couples_batch
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Propagated, Sampled
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import Role, flatten
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.testing import batches, laws
from npsnn.testing.demands import demand, same
from npsnn.testing.inputs import Valid, moments_away_from_kinks, params_away_from_the_start, role_of
from npsnn.testing.passes import Subject, check_pass, check_precision
from npsnn.testing.saved import check_frozen, check_saved
from npsnn.words import nearest_word

EXAMPLES = 3
DRAW = Stream(3).at("check_layer")


def check_layer(
    layer: Layer,
    shape: Shape = (2, 5, 4),
    *,
    valid: Valid | None = None,
    approximation: float = 0.0,
    entries: int = 20,
) -> None:
    """Raise AssertionError, with a sentence that names what is wrong, unless a layer keeps to the rules of layers.

    * The layer is a frozen dataclass in the table of layers. A file and another process give it back.
    * `init` makes parameters in float32, the same ones from one seed. It promises the shape that `forward` returns, and
      takes no memory where only the forms are asked for (`npsnn.layers.base.filled`).
    * `roles` name parameters that exist.
    * With the noise off, under a draw, and propagated by each of the three rules: the gradients of input, variance and
      parameters agree with finite differences, in which the layer's `constants` are held; a backward pass returns what
      is wanted; no argument is written to; two forward passes may precede one backward pass; float32 stays float32.
    * A variance is carried, or refused with a ValueError that says why. A variance of 0 is the plain layer. Under the
      exact rule the moments are those of draws.
    * An example's output does not depend on the others in the batch, unless the layer says that it `couples_batch`.
      Two parts of a batch that meet in `Batch.total` then give what the whole batch gives.
    * The layer draws noise if and only if it says so (`random`, `random_in_training`). Draws are keyed by the sample. A
      layer that says that it is `shared` has one draw for all examples of a micro-batch instead, and another one where
      the first sample is another. A `NoiseLayer` reads, sets and caps its level, and heeds `Sampled.scale`.

    layer: to check.
    shape: of one example that the layer takes, (C, H, W) or (features,).
    valid: what makes any numbers such as a parameter may have, by the parameter's name, as {"L": numpy.tril}.
    approximation: by how much the moments of the exact rule may differ from those of draws, for a layer whose closed
        form is not exact; as a part of the largest standard deviation or variance.
    entries: the entries of each array to try a gradient with.
    """
    check_frozen(layer)
    check_saved(LAYERS, layer)
    before = dict(vars(layer))
    start, out = _initial(layer, shape)
    rng = np.random.default_rng(5)
    _check_roles(layer, start)
    params = params_away_from_the_start(layer, start, valid or {}, rng)
    subject = Subject(layer, shape, out, start, params, valid or {}, entries)
    m = moments_away_from_kinks(shape, EXAMPLES, rng)
    for how, noise, given in _treatments(subject, m):
        if check_pass(subject, given, noise, how):
            check_precision(subject, given, noise, how)
    batches.check_randomness(subject, m.mean)
    batches.check_examples(subject, m.mean)
    if couples_batch(layer):
        batches.check_parts(subject, m.mean)
    laws.check_no_variance(subject, m)
    laws.check_one_number(subject, m)
    laws.check_draws(subject, approximation)
    if isinstance(layer, NoiseLayer):
        laws.check_level(subject, layer, m.mean)
    demand(dict(vars(layer)) == before, f"{layer}: a pass changes the layer, which threads share")


def _treatments(subject: Subject, m: Any) -> list[tuple[str, Any, Any]]:
    """In words, the treatment of the noise, and the input, with a variance and without."""
    plain = type(m)(m.mean)
    found: list[tuple[str, Any, Any]] = [
        ("with the noise off", EXPECTATION, plain),
        ("in training", Expectation(WHOLE), plain),
        ("under a draw", Sampled(DRAW), plain),
        ("under a draw in training, of a smaller scale", Sampled(DRAW, WHOLE, 0.6), plain),
    ]
    for name, rule in RULES.items():
        found.append((f"under the rule {name}, without a variance", Propagated(rule), plain))
        found.append((f"under the rule {name}", Propagated(rule), m))
    if subject.random_in_training and not subject.random:
        found.append(("under the rule exact in training, without a variance", Propagated(training=WHOLE), plain))
        found.append(("under the rule exact in training", Propagated(training=WHOLE), m))
    return found


def _initial(layer: Layer, shape: Shape) -> tuple[Params, Shape]:
    """The layer's initial parameters and its output's shape."""
    (params, out), (again, _) = (layer.init(np.random.default_rng(0), shape) for _ in range(2))
    demand(
        isinstance(out, tuple) and len(out) in (1, 3) and all(type(n) is int and n > 0 for n in out),
        f"{layer}: init must return the output's shape, (C, H, W) or (features,), got {out!r}",
    )
    demand(same(params, again), f"{layer}: init makes other parameters of the same generator")
    flat = flatten(params)
    for name, p in flat.items():
        demand(
            isinstance(p, np.ndarray) and p.dtype == np.float32,
            f"{layer}: the parameter {name} must be an array of float32, got {getattr(p, 'dtype', type(p))}",
        )
    forms, also = layer.init(Forms(1), shape)
    demand(also == out, f"{layer}: init promises {out}, but where only the forms are asked for {also}")
    found = {name: np.shape(p) for name, p in flatten(forms).items()}
    demand(
        found == {name: p.shape for name, p in flat.items()},
        f"{layer}: where only the forms are asked for, init makes parameters of other names or shapes, {found}",
    )
    for name, p in flatten(forms).items():
        demand(
            p.size == 1 or not any(p.strides),
            f"{layer}: the parameter {name} takes memory where only the forms are asked for: make it by "
            "npsnn.layers.base.filled, or by rng.parameter(shape) where rng is a Forms",
        )
    return params, out


def _check_roles(layer: Layer, start: Params) -> None:
    declared, flat = getattr(layer, "roles", {}), flatten(start)
    undeclared = flat.keys() - declared.keys()
    for name, role in declared.items():
        meant = nearest_word(name, undeclared)  # an option may take a parameter away
        demand(name in flat or not meant, f"{layer}: roles name {name}, which is no parameter; did you mean {meant}?")
        demand(
            isinstance(role, Role) and len(role) == 1,
            f"{layer}: the role of {name} must be one of WEIGHT, BIAS, NOISE, STATISTIC, got {role!r}",
        )
    noises = [name for name, role in role_of(layer, flat).items() if role is Role.NOISE]
    demand(
        noises or not isinstance(layer, NoiseLayer),
        f"{layer}: a noise layer must declare the role NOISE of the parameter that is the size of its noise",
    )
