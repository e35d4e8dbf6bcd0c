"""One forward pass of a layer and its backward pass: shapes, types, gradients, and that nothing is kept or written."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from npsnn.layers.base import Backward, Layer, Params, Shape, Want, is_random, is_random_in_training, shares_draw
from npsnn.layers.containers import nested
from npsnn.layers.moments import Expectation, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import Role, at_path, flatten, unflatten
from npsnn.testing.demands import demand, frozen, frozen_moments, same, unwritten
from npsnn.testing.gradients import Arrays, check_gradient
from npsnn.testing.inputs import Valid, engine_shape, role_of


@dataclass(frozen=True)
class Subject:
    """A layer that is checked.

    shape, out: of one example, of its input and of its output.
    start: its initial parameters.
    params: parameters to try it with, in float64.
    valid: as in `npsnn.testing.check_layer`.
    entries: the entries of each array to try a gradient with.
    """

    layer: Layer
    shape: Shape
    out: Shape
    start: Params
    params: Params
    valid: Valid
    entries: int

    @property
    def random(self) -> bool:
        """Whether it, or a layer inside it, says that it draws noise."""
        return any(is_random(part) for _, part in nested(self.layer))

    @property
    def random_in_training(self) -> bool:
        """Whether it, or a layer inside it, says that it draws noise in training, if not elsewhere as well."""
        return any(is_random_in_training(part) for _, part in nested(self.layer))

    @property
    def shared(self) -> bool:
        """Whether it, or a layer inside it, says that all examples of a micro-batch share a draw."""
        return any(shares_draw(part) for _, part in nested(self.layer))

    def draws(self, noise: Noise) -> bool:
        """Whether there is noise of the layer's own under this treatment."""
        return not isinstance(noise, Expectation) and (
            self.random if noise.training is None else self.random_in_training
        )

    @property
    def learned(self) -> set[str]:
        """The flat names of the parameters that have gradients."""
        found = role_of(self.layer, flatten(self.params))
        return {name for name, role in found.items() if not role & Role.STATISTIC}

    def forward(self, m: Moments, noise: Noise, params: Params | None = None) -> tuple[Moments, Backward] | None:
        """The layer's forward pass of frozen arguments; None where it refuses, with a reason, what it may refuse."""
        given = unflatten({k: frozen(p) for k, p in flatten(params or self.params).items()})
        try:
            return unwritten(f"{self.layer}", "forward", lambda: self.layer.forward(given, frozen_moments(m), noise))
        except ValueError as refusal:
            if m.var is None and not (isinstance(noise, Propagated) and self.draws(noise)):
                raise AssertionError(f"{self.layer} refuses an input without variance: {refusal}") from refusal
            demand(str(refusal).strip(), f"{self.layer} refuses a variance, and must say why in its ValueError")
            return None
        except (TypeError, NotImplementedError, AttributeError) as error:
            if m.var is None:
                raise
            raise AssertionError(
                f"{self.layer} must carry a variance, or refuse it with a ValueError that says why, got {error!r}"
            ) from error


def check_pass(subject: Subject, m: Moments, noise: Noise, how: str) -> bool:
    """Raise AssertionError where a forward pass, or its backward pass, breaks the rules; False where it is refused.

    m: the input.
    noise: how it is treated.
    how: `noise` in words, for messages.
    """
    passed = subject.forward(m, noise)
    if passed is None:
        return False
    out, back = passed
    _check_form(subject, m, noise, out, how)
    again = subject.forward(m, noise)
    demand(again and same(again[0], out), f"{subject.layer} {how}: two forward passes of one input differ")
    g = _cotangents(out)
    _check_backward(subject, m, back, g, noise.training is not None, how)
    _check_closures(subject, m, noise, g, how)
    _check_differences(subject, m, noise, g, how)
    if g.var is not None:
        _check_differences(subject, m, noise, Moments(g.mean), f"{how}, with a cotangent of the mean alone")
    return True


def _check_form(subject: Subject, m: Moments, noise: Noise, out: Moments, how: str) -> None:
    who, examples = f"{subject.layer} {how}", m.mean.shape[-1]
    wanted = engine_shape(subject.out, examples)
    got = np.asarray(out.mean).shape
    promised = f"init promises the output shape {subject.out}, so the mean must be {wanted}, batch last"
    demand(got == wanted, f"{who}: {promised}, got {got}")
    carried = m.var is not None or (isinstance(noise, Propagated) and subject.draws(noise))
    if out.var is None:
        demand(
            m.var is None,
            f"{who}: it was given a variance and returns none: carry it, or refuse it with a ValueError that says why",
        )
        return
    demand(carried, f"{who}: its input has no variance and it draws no noise, but its output has a variance")
    joint = [(wanted[0], wanted[0], n) for n in (1, examples)] if len(wanted) == 2 else []
    demand(out.var.shape in [wanted, *joint], f"{who}: its variance must be {wanted}, got {out.var.shape}")
    marginal = out.var if out.var.shape == wanted else np.diagonal(out.var)
    demand((marginal >= 0).all(), f"{who}: its variance has the negative entry {marginal.min():g}")


def _cotangents(out: Moments) -> Moments:
    rng = np.random.default_rng(11)
    var = None if out.var is None else frozen(rng.standard_normal(out.var.shape).astype(out.mean.dtype))
    return Moments(frozen(rng.standard_normal(out.mean.shape).astype(out.mean.dtype)), var)


def _check_backward(subject: Subject, m: Moments, back: Backward, g: Moments, training: bool, how: str) -> None:
    """What is wanted comes back, with the shapes of what it is a gradient of, and the same however it is asked for."""
    who = f"{subject.layer} {how}"

    def asked(want: Want) -> tuple[Moments | None, Arrays]:
        below, grads = unwritten(who, "the backward pass", lambda: back(g, want))
        return below, flatten(grads)

    below, grads = asked(Want.BOTH)
    demand(isinstance(below, Moments), f"{who}: the backward pass must return the input's cotangent, got {below!r}")
    assert below is not None
    demand(
        np.shape(below.mean) == m.mean.shape,
        f"{who}: the input is {m.mean.shape}, the cotangent of its mean {np.shape(below.mean)}",
    )
    if below.var is not None:
        shape = None if m.var is None else m.var.shape
        demand(
            below.var.shape == shape, f"{who}: the input's variance is {shape}, the cotangent of it {below.var.shape}"
        )
    names, got = ", ".join(sorted(subject.learned)) or "none", ", ".join(sorted(grads)) or "none"
    # in training, a running average has the batch's statistic in the place of a gradient
    own = grads.keys() - (flatten(subject.params).keys() - subject.learned if training else set())
    demand(own == subject.learned, f"{who}: gradients must be of {names}, got them of {got}")
    only, none = asked(Want.INPUT)
    demand(same(only, below), f"{who}: the input's cotangent is another one where the parameters' are not wanted")
    demand(not none or same(none, grads), f"{who}: other gradients come back where only the input's is wanted")
    nothing, found = asked(Want.PARAMS)
    demand(same(found, grads), f"{who}: the gradients are other ones where the input's cotangent is not wanted")
    demand(nothing is None or same(nothing, below), f"{who}: another cotangent comes back where it is not wanted")


def _check_closures(subject: Subject, m: Moments, noise: Noise, g: Moments, how: str) -> None:
    """A second forward pass, of another input, must leave the first one's output and backward pass as they were."""
    first, undisturbed = _passed(subject, m, noise), _passed(subject, m, noise)
    wanted = undisturbed[1](g, Want.BOTH)
    kept = frozen_moments(first[0])
    other = Moments(m.mean[..., ::-1] + 0.5, None if m.var is None else m.var[..., ::-1] * 2)
    second = _passed(subject, other, noise)
    second[1](g, Want.BOTH)
    demand(same(first[0], kept), f"{subject.layer} {how}: a second forward pass changes what the first one returned")
    demand(
        same(first[1](g, Want.BOTH), wanted),
        f"{subject.layer} {how}: a second forward pass changes the first one's backward pass: "
        "keep what backward needs in the closure",
    )


def _passed(subject: Subject, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
    passed = subject.forward(m, noise)
    demand(passed is not None, f"{subject.layer} refuses an input that it has taken before")
    assert passed is not None
    return passed


def _check_differences(subject: Subject, m: Moments, noise: Noise, g: Moments, how: str) -> None:
    """The gradients of Σ mean·g.mean + Σ var·g.var against differences of it."""
    below, grads = _passed(subject, m, noise)[1](g, Want.BOTH)
    assert below is not None
    params, flat = flatten(subject.params), {k: d for k, d in flatten(grads).items() if k in subject.learned}
    arrays = {"input mean": m.mean} | {name: params[name] for name in sorted(subject.learned)}
    found: dict[str, Any] = {"input mean": below.mean} | flat
    if m.var is not None:
        arrays["input variance"], found["input variance"] = m.var, below.var

    held = constants(subject.layer, subject.params)

    def f(a: Arrays) -> float:
        own = params | held | {name: subject.valid.get(name, _as_is)(p) for name, p in a.items() if name in params}
        out, _ = subject.layer.forward(unflatten(own), Moments(a["input mean"], a.get("input variance")), noise)
        return float((out.mean * g.mean).sum() + (0 if g.var is None else (out.var * g.var).sum()))

    try:
        check_gradient(f, arrays, found, subject.entries)
    except AssertionError as error:
        raise AssertionError(f"{subject.layer} {how}: {error}") from error


def constants(layer: Layer, params: Params) -> Arrays:
    """The numbers that the gradients of a layer, and of layers inside it, take for constants, by flat name.

    params: the layer's own parameters, nested.
    """
    found: Arrays = {}
    for path, part in nested(layer):
        if hasattr(part, "constants"):
            own = part.constants(at_path(path, params))
            found |= {f"{path}.{name}" if path else name: frozen(value) for name, value in own.items()}
    return found


def _as_is(p: np.ndarray) -> np.ndarray:
    return p


def check_precision(subject: Subject, m: Moments, noise: Noise, how: str) -> None:
    """Raise AssertionError unless single precision stays single, and says the same as double precision."""
    single, double = (_cast(subject, m, noise, dtype) for dtype in (np.float32, np.float64))
    if single is None or double is None:
        return
    largest = max(np.abs(value).max(initial=0) for value in double.values())  # a gradient may be 0 but for rounding
    for name, value in single.items():
        demand(value.dtype == np.float32, f"{subject.layer} {how}: {name} is {value.dtype} for an input of float32")
        demand(double[name].dtype == np.float64, f"{subject.layer} {how}: {name} is {double[name].dtype} for float64")
        drawn = isinstance(noise, Sampled)  # each precision has draws of its own
        demand(
            drawn or np.abs(value - double[name]).max(initial=0) <= 1e-4 * largest,
            f"{subject.layer} {how}: {name} is another in float32 than in float64",
        )


def _cast(subject: Subject, m: Moments, noise: Noise, dtype: Any) -> Arrays | None:
    """What a pass in one precision returns, by name; None where it is refused."""

    def of(x: Any) -> np.ndarray:
        return np.asarray(x).astype(np.float32).astype(dtype)

    params = unflatten({k: of(p) for k, p in flatten(subject.params).items()})
    passed = subject.forward(Moments(of(m.mean), None if m.var is None else of(m.var)), noise, params)
    if passed is None:
        return None
    out, back = passed
    below, grads = back(_cotangents(out), Want.BOTH)
    assert below is not None
    found = {"the mean": out.mean, "the variance": out.var, "the cotangent of the input": below.mean}
    found |= {"the cotangent of the variance": below.var}
    found |= {f"the gradient of {name}": g for name, g in flatten(grads).items()}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}
