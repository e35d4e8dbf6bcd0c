"""The reward of Learn2Perturb, as a term and as the authors' code has it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import of_units, on_features, several

from npsnn.layers.params import flatten
from npsnn.optim import SGD, Arrays, Harmonic, Times
from npsnn.train import AlternatingReward, Role, RootReward, SigmaFloor
from npsnn.train.scheduled import at

NAMES = ["noise.sigma", "block.body.noise.sigma", "last.sigma"]


def drawn(seed: int = 0, low: float = 0.05) -> Arrays:
    """Parameters with other standard deviations for each unit."""
    rng = np.random.default_rng(seed)
    params = {k: p.astype(np.float64) for k, p in flatten(of_units().init(rng)).items()}
    return params | {name: rng.uniform(low, 1.0, params[name].shape) for name in NAMES}


@given(st.integers(0, 99), st.floats(0, 10))
def test_the_reward_is_the_sum_of_the_roots(seed: int, weight: float) -> None:
    params = drawn(seed)
    value, grads = RootReward(weight)(of_units(), params)
    roots = sum(float(root) for name in NAMES for root in np.sqrt(params[name]).ravel())
    assert value == pytest.approx(-weight * roots) and grads.keys() == set(NAMES)
    for name in NAMES:
        np.testing.assert_allclose(grads[name], -weight / (2 * np.sqrt(params[name])), rtol=1e-12)
    assert all((grads[name] <= 0).all() for name in NAMES), "descent raises the noise"
    assert (
        RootReward(weight)(of_units(), params | {NAMES[0]: params[NAMES[0]].astype(np.float32)})[1][NAMES[0]].dtype
        == np.float32
    )


def test_the_weight_may_be_that_of_the_paper() -> None:
    """gamma / h(t) from the epoch on in which the noise begins, and nothing before."""
    term = RootReward(Times(1e-4, Harmonic(350, 10)))
    params = drawn()
    one = RootReward(1e-4)(of_units(), params)[0]
    assert at(term, 9.5 / 350)(of_units(), params)[0] == 0
    assert at(term, 10 / 350)(of_units(), params)[0] == pytest.approx(one)
    assert at(term, 12.5 / 350)(of_units(), params)[0] == pytest.approx(one / (1 + 1 / 2 + 1 / 3))


def simulated(theta: np.ndarray, slopes: list[np.ndarray], lr: float, weight: float, floor: float) -> np.ndarray:
    """The authors' loop without momentum: for each batch a step on the reward, a step on the loss, and the floor."""
    for slope in slopes:
        theta = theta - lr * (-weight / (2 * np.sqrt(theta)))
        theta = np.maximum(theta - lr * slope, floor)
    return theta


def test_steps_on_the_reward_alternate_with_updates_as_in_the_authors_loop() -> None:
    model, params, rng = of_units(), drawn(), np.random.default_rng(1)
    lr, weight, floor = 0.1, 0.05, 0.2
    slopes = [{name: rng.standard_normal(params[name].shape) for name in NAMES} for _ in range(5)]
    floored, alternating, rule = SigmaFloor(floor), AlternatingReward(weight, lr), SGD(lr, momentum=0.0)
    state = alternating.begin(model, params)
    for number, slope in enumerate(slopes, start=1):
        inside, grads = alternating.before(model, state, slope)
        moved = rule.update(inside, grads, {}, lr, number)[0]
        held = floored.after(model, moved)
        state = alternating.after(model, held)
        for name in NAMES:
            expected = simulated(params[name], [s[name] for s in slopes[:number]], lr, weight, floor)
            np.testing.assert_allclose(held[name], expected, rtol=1e-12)
    assert {k for k in params if (state[k] != params[k]).any()} == set(NAMES)
    assert AlternatingReward.needs is Role.NOISE
    assert all((AlternatingReward(0.0, lr).after(model, params)[name] == params[name]).all() for name in NAMES)


def test_the_floor_raises_what_is_below_it() -> None:
    params = drawn(low=0.0)
    after = SigmaFloor(0.4).begin(of_units(), params)
    for name in NAMES:
        np.testing.assert_array_equal(after[name], np.maximum(params[name], 0.4))
    assert (after["other.sigma"] == 0.5).all()
    negative = SigmaFloor(0.4).after(of_units(), params | {NAMES[0]: -params[NAMES[0]]})
    assert (negative[NAMES[0]] == 0.4).all()
    network = several(0.3)
    scalars = SigmaFloor(0.5).after(network.model, flatten(network.params))
    assert scalars["noise.sigma"] == 0.5 and scalars["block.body.noise.sigma"] == np.float32(0.6)
    with pytest.raises(ValueError, match=r"floor must be >= 0 and finite, got -0\.1"):
        SigmaFloor(-0.1)
    with pytest.raises(ValueError, match="SigmaFloor needs noise on pre-activations, convolutional has none"):
        SigmaFloor(0.1).begin(on_features().model, flatten(on_features().params))


@pytest.mark.parametrize("kind", [RootReward(0.1), AlternatingReward(0.1, 0.1)], ids=lambda kind: type(kind).__name__)
def test_a_sigma_that_has_no_root_is_refused(kind: Any) -> None:
    call = kind if isinstance(kind, RootReward) else kind.after
    params, name = drawn(), type(kind).__name__
    for bad in (0.0, -0.1):
        with pytest.raises(ValueError, match=rf"{name} needs a sigma above 0, last.sigma holds .*put SigmaFloor"):
            call(of_units(), params | {"last.sigma": np.array([0.1, bad, 0.1, 0.1])})
    diverged = call(of_units(), params | {"last.sigma": np.array([0.1, np.nan, 0.1, 0.1])})
    assert np.isnan(diverged[0] if isinstance(diverged, tuple) else diverged["last.sigma"]).any()
    network = several(0.3)
    with pytest.raises(ValueError, match=f"{name} needs noise of the scope unit, several has none"):
        call(network.model, flatten(network.params))
