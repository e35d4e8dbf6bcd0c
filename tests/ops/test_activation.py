"""PReLU without and with variance: against loops, draws and finite differences."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from strategies import Pixels, batch_first, batch_last, frozen, gaussians, images, signed

from npsnn.ops.activation import prelu, prelu_backward, prelu_slope_backward
from npsnn.ops.gaussian import DETERMINISTIC, EXACT, RULES, Rule
from npsnn.reference import normalisation
from npsnn.testing.gradients import Arrays, check_gradient

IMAGES = images(largest=4)
DRAWS = 200_000
SLOPES = [0.25, 0.0, 1.0, -0.5, 1.7]
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def values(pixels: Pixels) -> tuple[Arrays, np.random.Generator]:
    rng = pixels.rng
    mean, var = gaussians(rng, pixels.shape)
    slope = rng.uniform(-0.5, 1.5, pixels.channels)
    return {"mean": frozen(mean), "var": frozen(var), "slope": frozen(slope)}, rng


@given(IMAGES)
def test_numbers_are_those_of_the_loops(pixels: Pixels) -> None:
    rng = pixels.rng
    x, slope = signed(rng, pixels.shape), rng.uniform(-0.5, 1.5, pixels.channels)
    y, var, saved = prelu(frozen(x), None, slope, DETERMINISTIC)
    np.testing.assert_array_equal(y, batch_last(normalisation.prelu(batch_first(x), slope)))
    dy = frozen(rng.normal(size=y.shape))
    dx, dvar = prelu_backward(dy, None, slope, saved, DETERMINISTIC)
    dslope = prelu_slope_backward(dy, None, slope, saved)
    assert var is None and dvar is None
    want_dx, want_dslope = normalisation.prelu_gradients(batch_first(dy), batch_first(x), slope)
    np.testing.assert_allclose(dx, batch_last(want_dx), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dslope, want_dslope, rtol=1e-12, atol=1e-13)
    f = {"x": x, "slope": slope}
    check_gradient(
        lambda a: (prelu(a["x"], None, a["slope"], DETERMINISTIC)[0] * dy).sum(), f, {"x": dx, "slope": dslope}
    )


def test_the_slope_at_0_is_the_lower_one() -> None:
    x, slope = np.zeros((2, 3)), np.array([0.25, -0.5])
    y, _, saved = prelu(x, None, slope, DETERMINISTIC)
    assert (y == 0).all()
    dx, _ = prelu_backward(np.ones_like(x), None, slope, saved, DETERMINISTIC)
    np.testing.assert_array_equal(dx, np.broadcast_to(slope[:, None], (2, 3)))


@given(IMAGES)
def test_exact_moments_and_gradients_are_those_of_the_two_halves(pixels: Pixels) -> None:
    a, rng = values(pixels)
    m, v, saved = prelu(a["mean"], a["var"], a["slope"], EXACT)
    dm, dv = rng.normal(size=(2, *m.shape))
    dmean, dvar = prelu_backward(dm, dv, a["slope"], saved, EXACT)
    dslope = np.zeros_like(a["slope"])
    for place in np.ndindex(*m.shape):
        args = float(a["mean"][place]), float(a["var"][place]), float(a["slope"][place[1]])
        np.testing.assert_allclose((m[place], v[place]), normalisation.prelu_moments(*args), rtol=1e-9, atol=1e-13)
        (m_mu, m_v, v_mu, v_v), (m_a, v_a) = normalisation.prelu_moment_gradients(*args)
        got = dmean[place], dvar[place]
        want = dm[place] * m_mu + dv[place] * v_mu, dm[place] * m_v + dv[place] * v_v
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
        dslope[place[1]] += dm[place] * m_a + dv[place] * v_a
    np.testing.assert_allclose(prelu_slope_backward(dm, dv, a["slope"], saved), dslope, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("slope", SLOPES)
def test_exact_moments_are_those_of_draws(slope: float) -> None:
    rng = np.random.default_rng(0)
    mean, var = np.array([[-1.5, -0.2, 0.0, 0.3, 2.0]]), np.array([[1.0, 0.5, 2.0, 0.01, 1.5]])
    m, v, _ = prelu(mean, var, np.array([slope]), EXACT)
    x = mean + np.sqrt(var) * rng.standard_normal((DRAWS, 5))
    y = np.where(x > 0, x, slope * x)
    fourth = ((y - y.mean(axis=0)) ** 4).mean(axis=0)
    assert (np.abs(m[0] - y.mean(axis=0)) < 5 * np.sqrt(y.var(axis=0) / DRAWS)).all()
    assert (np.abs(v[0] - y.var(axis=0)) < 5 * np.sqrt((fourth - y.var(axis=0) ** 2) / DRAWS)).all()


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_far_from_0_it_is_one_of_two_lines(slope: float, dtype: type) -> None:
    mean = np.array([[-1e6, -200.0, -30.0, 30.0, 200.0, 1e6]], dtype)
    m, v, _ = prelu(mean, np.full_like(mean, 4), np.array([slope], dtype), EXACT)
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(m, np.where(mean > 0, mean, slope * mean), rtol=tolerance, atol=1e-38)
    np.testing.assert_allclose(v, np.where(mean > 0, 4, 4 * slope**2), rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("name", ["laplace", "linear"])
@given(IMAGES)
def test_rules_that_mask_keep_the_variance_or_shrink_it(name: str, pixels: Pixels) -> None:
    a, _ = values(pixels)
    m, v, _ = prelu(a["mean"], a["var"], a["slope"], RULES[name])
    for place in np.ndindex(*m.shape):
        mu, var, slope = float(a["mean"][place]), float(a["var"][place]), float(a["slope"][place[1]])
        kept = mu >= -3 * sqrt(var) if name == "laplace" else mu > 0
        np.testing.assert_allclose(
            (m[place], v[place]), normalisation.prelu_masked(mu, var, slope, kept), rtol=1e-12, atol=1e-14
        )


@each_rule
@pytest.mark.parametrize("with_var", [True, False])
@given(IMAGES)
def test_gradients(rule: Rule, with_var: bool, pixels: Pixels) -> None:
    a, rng = values(pixels)
    m, v, saved = prelu(a["mean"], a["var"], a["slope"], rule)
    dm, dv = frozen(rng.normal(size=m.shape)), frozen(rng.normal(size=v.shape)) if with_var else None
    dmean, dvar = prelu_backward(dm, dv, a["slope"], saved, rule)
    dslope = prelu_slope_backward(dm, dv, a["slope"], saved)

    def f(a: Arrays) -> float:
        m, v, _ = prelu(a["mean"], a["var"], a["slope"], rule)
        return (m * dm).sum() + ((v * dv).sum() if with_var else 0)

    check_gradient(f, a, {"mean": dmean, "var": dvar, "slope": dslope})


@each_rule
def test_zero_variance_is_the_plain_function(rule: Rule) -> None:
    rng = np.random.default_rng(1)
    x, slope = signed(rng, (3, 2, 4, 2)), np.array([0.25, -0.5])
    y, _, plain = prelu(x, None, slope, DETERMINISTIC)
    m, v, saved = prelu(x, np.zeros_like(x), slope, rule)
    np.testing.assert_array_equal(m, y)
    assert (v == 0).all()
    dm, dv = rng.normal(size=(2, *x.shape))
    got, dvar = prelu_backward(dm, dv, slope, saved, rule)
    np.testing.assert_array_equal(got, prelu_backward(dm, None, slope, plain, DETERMINISTIC)[0])
    np.testing.assert_allclose(dvar, dv * np.where(x > 0, 1, slope[:, None, None] ** 2), rtol=1e-12)
    wanted = prelu_slope_backward(dm, None, slope, plain)
    np.testing.assert_allclose(prelu_slope_backward(dm, dv, slope, saved), wanted, rtol=1e-12)


@each_rule
def test_a_variance_that_is_one_number_seen_everywhere(rule: Rule) -> None:
    rng = np.random.default_rng(2)
    mean, slope = signed(rng, (3, 2, 4, 2)), np.array([0.25, 0.5])
    seen, whole = np.broadcast_to(np.array(0.7), mean.shape), np.full_like(mean, 0.7)
    one, two = (prelu(mean, var, slope, rule) for var in (seen, whole))
    dm, dv = rng.normal(size=(2, *mean.shape))
    for x, y in zip(one[:2], two[:2], strict=True):
        np.testing.assert_array_equal(x, y)
    backs = [prelu_backward(dm, dv, slope, saved, rule) for _, _, saved in (one, two)]
    for x, y in zip(*backs, strict=True):
        np.testing.assert_array_equal(x, y)


@each_rule
def test_single_precision_stays(rule: Rule) -> None:
    a, _ = values(Pixels(4, 2, 3, 4, 5))
    a = {name: frozen(v.astype("f")) for name, v in a.items()}
    m, v, saved = prelu(a["mean"], a["var"], a["slope"], rule)
    found = [m, v, *prelu_backward(m, v, a["slope"], saved, rule), prelu_slope_backward(m, v, a["slope"], saved)]
    assert {x.dtype for x in found} == {np.dtype(np.float32)}
