"""Whether the moments of a layer are the moments of something: of the plain layer, and of draws."""

from dataclasses import replace

import numpy as np

from npsnn.layers.base import Params, Want
from npsnn.layers.moments import EXPECTATION, WHOLE, Batch, Moments, Propagated, Sampled
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import flatten
from npsnn.ops.gaussian import EXACT, RULES
from npsnn.reference import montecarlo
from npsnn.reference.differences import slope
from npsnn.streams import Stream
from npsnn.testing.demands import close, demand
from npsnn.testing.inputs import moments_away_from_kinks
from npsnn.testing.passes import Subject

DRAWS, SHARED_DRAWS = 10_000, 1_000
DRAW = Stream(5).at("laws")
SIGNIFICANT, SMALL = 5.0, 2e-3
"""Standard errors that draws may be off, and the part of the largest moment that few draws do not show."""


def check_no_variance(subject: Subject, m: Moments) -> None:
    """Raise AssertionError unless the variance 0 is the plain layer, under every rule."""
    plain = subject.forward(Moments(m.mean), EXPECTATION)
    assert plain is not None
    for name, rule in RULES.items():
        passed = subject.forward(Moments(m.mean, np.zeros_like(m.mean)), Propagated(rule))
        if passed is None or subject.random:
            continue
        out, back = passed
        who = f"{subject.layer} under the rule {name}"
        demand(close(out.mean, plain[0].mean, 1e-12), f"{who}: the variance 0 gives another mean than the plain layer")
        demand(not np.any(out.var), f"{who}: the variance 0 becomes {np.max(np.asarray(out.var)):g}")
        below, _ = back(Moments(np.ones_like(out.mean), np.ones_like(out.var)), Want.BOTH)
        finite = below is not None and all(np.isfinite(x).all() for x in (below.mean, below.var) if x is not None)
        demand(finite, f"{who}: the variance 0 has a cotangent that is not finite")


def check_one_number(subject: Subject, m: Moments) -> None:
    """Raise AssertionError unless a variance that is a view of one number counts as that number everywhere."""
    view = np.broadcast_to(np.float64(0.3), m.mean.shape)
    for name, rule in RULES.items():
        if subject.forward(Moments(m.mean, view), Propagated(rule)) is None:
            continue
        found = []
        for var in (view, view.copy()):  # a frozen copy, as `forward` makes one, would be no view
            out, back = subject.layer.forward(subject.params, Moments(m.mean, var), Propagated(rule))
            below, _ = back(Moments(np.ones_like(out.mean), np.ones_like(out.var)), Want.BOTH)
            assert below is not None
            found.append((out.mean, out.var, below.mean, 0.0 if below.var is None else below.var.sum()))
        demand(
            all(close(a, b, 1e-9) for a, b in zip(*found, strict=True)),
            f"{subject.layer} under the rule {name}: a variance that is a view of one number gives other results",
        )


def check_draws(subject: Subject, approximation: float) -> None:
    """Raise AssertionError unless the exact rule's moments are those of draws of the input and of the layer's noise.

    approximation: as in `npsnn.testing.check_layer`.
    """
    _check_draws(subject, approximation, None)
    if subject.random_in_training and not subject.random:
        _check_draws(subject, approximation, WHOLE)


def _check_draws(subject: Subject, approximation: float, training: Batch | None) -> None:
    rng = np.random.default_rng(7)
    m = moments_away_from_kinks(subject.shape, 1, rng, farthest=2.0)
    assert m.var is not None
    passed = subject.forward(m, Propagated(EXACT, training))
    if passed is None:
        return
    out, _ = passed
    y = np.moveaxis(_drawn(subject, m, Sampled(DRAW, training), rng), -1, 0)
    mean = out.mean[..., 0]
    assert out.var is not None
    _check_law(subject, "mean", montecarlo.estimate(y), mean, approximation)
    if out.var.shape == out.mean.shape:
        _check_law(subject, "variance", montecarlo.estimate((y - mean) ** 2), out.var[..., 0], approximation)
    else:
        products = (y - mean)[:, :, None] * (y - mean)[:, None]
        _check_law(subject, "covariance", montecarlo.estimate(products), out.var[..., 0], approximation)


def _drawn(subject: Subject, m: Moments, noise: Sampled, rng: np.random.Generator) -> np.ndarray:
    """The layer's outputs for draws of its input, each with a draw of the noise of its own: (..., draws)."""
    assert m.var is not None
    count = SHARED_DRAWS if subject.shared else DRAWS
    x = m.mean + np.sqrt(m.var) * rng.standard_normal((*m.mean.shape[:-1], count))
    if not subject.shared:
        drawn = subject.forward(Moments(x), noise)
        assert drawn is not None
        return np.asarray(drawn[0].mean)
    found = []
    for d in range(count):
        own = replace(noise, stream=noise.stream.from_sample(d))
        out, _ = subject.layer.forward(subject.params, Moments(x[..., d : d + 1]), own)
        found.append(out.mean)
    return np.concatenate(found, axis=-1)


def _check_law(
    subject: Subject, what: str, found: montecarlo.Estimate, wanted: np.ndarray, approximation: float
) -> None:
    """`wanted` against the mean of draws, whose variance is known."""
    count = SHARED_DRAWS if subject.shared else DRAWS
    scale = np.sqrt(found.var.max()) if what == "mean" else np.abs(found.mean).max()
    off = np.abs(wanted - found.mean) - SIGNIFICANT * found.mean_error - (SMALL + approximation) * scale
    at = np.unravel_index(off.argmax(), off.shape)
    demand(
        off.max() <= 0,
        f"{subject.layer} under the rule exact: the {what} of a unit is {wanted[at]:.4g}, that of {count:,} draws "
        f"{found.mean[at]:.4g} with a standard error of {found.mean_error[at]:.1g}; refuse the variance where there is "
        "no closed form, or say how good it is by check_layer(..., approximation=)",
    )


def check_level(subject: Subject, layer: NoiseLayer, x: np.ndarray) -> None:
    """Raise AssertionError unless a noise layer reads, sets and caps its level, and knows the slope by it."""
    params = subject.params
    level = float(layer.level(params))
    demand(level > 0, f"{layer}: the level of its noise is {level:g}: check a layer whose noise is on")
    for wanted in (0.3, 2.0 * level):
        got = float(layer.level(layer.at_level(params, wanted)))
        demand(abs(got - wanted) <= 1e-6 * wanted, f"{layer}: at_level of {wanted:g} has the level {got:g}")
    for cap in (0.5 * level, 2.0 * level):
        got = float(layer.level(layer.capped(params, cap)))
        at_most = abs(got - min(cap, level)) <= 1e-6 * level
        demand(at_most, f"{layer}: the level {level:g} is capped at {cap:g} to {got:g}")
    off, one, less = (
        subject.forward(Moments(x), noise) for noise in (EXPECTATION, Sampled(DRAW), Sampled(DRAW, scale=0.5))
    )
    assert off is not None and one is not None and less is not None
    heeded = close(less[0].mean - off[0].mean, (one[0].mean - off[0].mean) / 2, 1e-9)
    demand(heeded, f"{layer}: half of the scale must halve the noise: multiply its size by noise.scale")
    kept = flatten(params).keys() == flatten(layer.at_level(params, level)).keys()
    demand(kept, f"{layer}: at_level must return all of the layer's parameters, {', '.join(flatten(params))}")
    demand(not layer.draws(layer.at_level(params, 0.0)), f"{layer}: at the level 0 it must draw nothing")
    passed = subject.forward(Moments(x), Sampled(DRAW))
    assert passed is not None
    g = np.random.default_rng(8).standard_normal(passed[0].mean.shape)
    _, grads = passed[1](Moments(g), Want.PARAMS)

    def f(t: float) -> float:
        moved: Params = layer.at_level(params, t)
        out, _ = layer.forward(moved, Moments(x), Sampled(DRAW))
        return float((out.mean * g).sum())

    wanted, got = slope(f, level, 1e-4 * level), float(layer.slope(params, grads))
    near = abs(got - wanted) <= 1e-6 * max(abs(wanted), 1e-3)
    demand(near, f"{layer}: the derivative by the level is {wanted:g}, slope gives {got:g}")
