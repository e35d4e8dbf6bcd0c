"""Whether a model is sound as a whole: saved, started, differentiated, and random where it says so."""

import json
import pickle

import numpy as np

from npsnn.classifier import Classifier
from npsnn.layers.base import Want
from npsnn.layers.moments import EXPECTATION, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import Role, flatten, roles, unflatten
from npsnn.models.base import Model
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream
from npsnn.testing.demands import demand, frozen, same
from npsnn.testing.gradients import Arrays, check_directional
from npsnn.testing.inputs import Valid
from npsnn.testing.passes import constants

EXAMPLES = 3
STREAM = Stream(12).at("check_model")


def check_model(model: Model, valid: Valid | None = None) -> None:
    """Raise AssertionError, with a sentence that names what is wrong, unless a model keeps to the rules of models.

    * A file and another process give the model back.
    * `init` makes the same parameters from one seed, of the shapes that `forms` tells, and logits come out.
    * With the noise off, under a draw, and propagated by each rule that no layer refuses: the gradients of the images
      and of all parameters agree with finite differences along random directions.
    * Two draws differ if and only if the model is `noisy`, and no longer once its noise is off.

    model: to check. `check_layer` checks its layers.
    valid: what makes any numbers such as a parameter may have, by its flat name, as {"noise.L": numpy.tril}.
    """
    _check_saved(model)
    params = _started(model)
    for how, noise in _treatments():
        _check_gradients(model, params, valid or {}, noise, how)
    _check_noise(model)


def _treatments() -> list[tuple[str, Noise]]:
    rules = [(f"under the rule {name}", Propagated(rule)) for name, rule in RULES.items()]
    return [("with the noise off", EXPECTATION), ("under a draw", Sampled(STREAM)), *rules]


def _check_saved(model: Model) -> None:
    try:
        read = Model.from_spec(json.loads(json.dumps(model.spec(), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{model!r} cannot be saved: {error}") from error
    demand(read == model, f"{model!r} is read from its JSON as another model: give its layers fields of plain values")
    try:
        sent = pickle.loads(pickle.dumps(model))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"{model!r} cannot be sent to another process: {error}") from error
    demand(sent == model, f"{model!r} comes to another process as another model")


def _started(model: Model) -> Arrays:
    """Flat initial parameters, in double precision and moved a little."""
    first, second = (flatten(model.init(np.random.default_rng(0))) for _ in range(2))
    demand(same(first, second), f"{model!r}: init makes other parameters of the same generator")
    found = {name: p.shape for name, p in first.items()}
    told = {name: p.shape for name, p in model.forms().items()}
    demand(found == told, f"{model!r}: forms tells of other parameters than init makes")
    rng = np.random.default_rng(1)
    moved = {name: p.astype(np.float64) * rng.uniform(0.9, 1.1, p.shape) for name, p in first.items()}
    of = roles(model.network, moved)
    return {k: p + 0.05 * rng.standard_normal(p.shape) if of[k] is Role.BIAS else p for k, p in moved.items()}


def _check_gradients(model: Model, flat: Arrays, valid: Valid, noise: Noise, how: str) -> None:
    rng = np.random.default_rng(2)
    c, h, w = model.shape
    x = frozen(rng.uniform(0.1, 0.9, (h, c, w, EXAMPLES)))
    of = roles(model.network, flat)
    learned = {name for name in flat if of[name] is not Role.STATISTIC}
    flat = {name: frozen(valid[name](p) if name in valid else p) for name, p in flat.items()}
    try:
        m, back = model.network.forward(unflatten(flat), Moments(x), noise)
    except ValueError as refusal:
        demand(isinstance(noise, Propagated) and model.noisy, f"{model!r} {how}: {refusal}")
        return
    demand(m.mean.shape == (model.classes, EXAMPLES), f"{model!r} {how}: the logits have the shape {m.mean.shape}")
    gm, gv = rng.standard_normal(m.mean.shape), None if m.var is None else rng.standard_normal(m.var.shape)
    below, grads = back(Moments(gm, gv), Want.BOTH)
    names, got = ", ".join(sorted(learned)), ", ".join(sorted(flatten(grads)))
    demand(names == got, f"{model!r} {how}: there must be gradients of {names}, got them of {got}")
    assert below is not None

    held = constants(model.network, unflatten(flat))

    def f(a: Arrays) -> float:
        own = flat | held | {name: valid[name](p) if name in valid else p for name, p in a.items() if name in flat}
        out, _ = model.network.forward(unflatten(own), Moments(a["images"]), noise)
        return float((out.mean * gm).sum() + (0 if gv is None else (out.var * gv).sum()))

    arrays = {"images": x} | {name: flat[name] for name in learned}
    try:
        check_directional(f, arrays, {"images": below.mean} | flatten(grads), rng, directions=1)
    except AssertionError as error:
        raise AssertionError(f"{model!r} {how}: {error}") from error


def _check_noise(model: Model) -> None:
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    x = np.random.default_rng(3).random((EXAMPLES, *model.shape)).astype(np.float32)
    one, other = (network.sample(x, STREAM.at(i), 1) for i in range(2))
    if not model.noisy:
        demand(same(one, other), f"{model!r} says that it has no noise, but two draws differ")
        return
    demand(
        network.random != same(one, other),
        f"{model!r} is random by what its layers say: {network.random}, but two draws are "
        f"{'the same' if same(one, other) else 'different'}",
    )
    quiet = network.with_sigma(0)
    demand(
        same(quiet.sample(x, STREAM, 1)[0], quiet.predict(x)), f"{model!r}: a draw with the noise off is still random"
    )
