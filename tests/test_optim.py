"""Update rules against plain scalar loops, and the filters' unit norms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npsnn.optim import OPTIMIZERS, SGD, Adam, Arrays, Optimizer, unit_norm

DECAYED = {"fc.w"}
START = {"fc.w": 1.0, "fc.b": -2.0, "noise.sigma": 0.5}


def sgd(w: float, grads: list[float], lr: float, momentum: float, decay: float) -> float:
    velocity = 0.0
    for g in grads:
        velocity = momentum * velocity + g + decay * w
        w -= lr * velocity
    return w


def adam(w: float, grads: list[float], lr: float, momentum: float, decay: float) -> float:
    """Kingma & Ba's Algorithm 1, with Loshchilov & Hutter's decoupled decay; momentum is not used."""
    first = second = 0.0
    for t, g in enumerate(grads, start=1):
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        corrected = first / (1 - 0.9**t), second / (1 - 0.999**t)
        w = w - lr * decay * w - lr * corrected[0] / (corrected[1] ** 0.5 + 1e-8)
    return w


def steps(rule: Optimizer, grads: list[Arrays], lr: float) -> Arrays:
    params = {k: np.array([v]) for k, v in START.items()}
    state = rule.init(params)
    for i, g in enumerate(grads, start=1):
        params, state = rule.update(params, g, state, lr, i, DECAYED)
    return params


@pytest.mark.parametrize(("name", "by_hand"), [("sgd", sgd), ("adam", adam)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_are_those_of_a_plain_loop(
    name: str, by_hand: Callable[..., float], momentum: float, decay: float
) -> None:
    rng = np.random.default_rng(0)
    grads = {k: list(rng.standard_normal(6)) for k in START}
    rule = SGD(1.0, momentum, decay) if name == "sgd" else Adam(1.0, decay)
    found = steps(rule, [{k: np.array([g[i]]) for k, g in grads.items()} for i in range(6)], 0.05)
    for k, start in START.items():
        expected = by_hand(start, grads[k], 0.05, momentum, decay if k == "fc.w" else 0.0)
        assert found[k][0] == pytest.approx(expected, rel=1e-12), k


def test_two_steps_by_hand() -> None:
    params, state = {"w": np.array([1.0])}, {"velocity/w": np.array([0.0])}
    rule = SGD(momentum=0.5)
    params, state = rule.update(params, {"w": np.array([2.0])}, state, 0.1, 1)
    assert params["w"] == pytest.approx(0.8)
    params, state = rule.update(params, {"w": np.array([1.0])}, state, 0.1, 2)
    assert state["velocity/w"] == pytest.approx(2.0) and params["w"] == pytest.approx(0.6)
    first = Adam().update({"w": np.array([1.0])}, {"w": np.array([1e-3])}, Adam().init(params), 0.01, 1)[0]
    assert first["w"] == pytest.approx(0.99, rel=1e-5), "Adam's first step is lr long, whatever the gradient"


def test_only_what_is_named_decays() -> None:
    still: list[Arrays] = [{k: np.zeros(1) for k in START}]
    for rule in (SGD(weight_decay=0.5), Adam(weight_decay=0.5)):
        found = steps(rule, still, 0.1)
        assert found["fc.w"] == pytest.approx(0.95)
        assert found["fc.b"] == START["fc.b"] and found["noise.sigma"] == START["noise.sigma"]


@pytest.mark.parametrize("rule", [SGD(0.1, 0.9, 0.1), Adam(0.1, 0.1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arguments_stay_and_types_stay(rule: Optimizer, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    params = {k: rng.standard_normal((3, 2)).astype(dtype) for k in START} | {"noise.sigma": np.array(0.5, dtype)}
    grads = {k: rng.standard_normal(p.shape).astype(dtype) for k, p in params.items()}
    state = rule.init(params)
    for group in (params, grads, state):
        for a in group.values():
            np.asarray(a).setflags(write=False)
    kept = [dict(params), dict(grads), dict(state)]
    new, new_state = rule.update(params, grads, state, 0.1, 1, DECAYED)
    for group, before in zip((params, grads, state), kept, strict=True):
        assert group.keys() == before.keys() and all(group[k] is before[k] for k in group)
    assert {a.dtype for a in (*new.values(), *new_state.values())} == {np.dtype(dtype)}
    assert {k: a.shape for k, a in new.items()} == {k: a.shape for k, a in params.items()}
    assert new_state.keys() == state.keys()
    again = rule.update(params, grads, state, 0.1, 1, DECAYED)[0]
    assert all((again[k] == new[k]).all() for k in new)


@pytest.mark.parametrize("rule", [SGD(0.1, 0.9, 0.1), Adam(0.1, 0.1)])
def test_parameters_without_a_gradient_stay(rule: Optimizer) -> None:
    params = {k: np.array([v]) for k, v in START.items()}
    state = rule.init(params)
    new, new_state = rule.update(params, {"fc.w": np.ones(1)}, state, 0.1, 1)
    assert new["fc.w"] != params["fc.w"]
    assert new["fc.b"] is params["fc.b"]
    assert all(new_state[k] is state[k] for k in state if k.endswith("fc.b"))


@pytest.mark.parametrize("rule", [SGD(), Adam()])
def test_a_parabola_is_descended(rule: Optimizer) -> None:
    params, target = {"x": np.array([5.0, -3.0])}, np.array([1.0, 2.0])
    state = rule.init(params)
    for i in range(1, 400):
        params, state = rule.update(params, {"x": params["x"] - target}, state, 0.05, i)
    np.testing.assert_allclose(params["x"], target, atol=1e-3)


def test_optimizers_by_name() -> None:
    assert dict(OPTIMIZERS) == {"sgd": SGD, "adam": Adam}
    values = [SGD(0.5, 0.7, 0.1), Adam(0.1)]
    assert [OPTIMIZERS.decode(OPTIMIZERS.encode(value)) for value in values] == values


@pytest.mark.parametrize(
    ("rule", "name", "value"),
    [
        (SGD, "lr", -1.0),
        (SGD, "momentum", 1.0),
        (SGD, "weight_decay", -0.1),
        (Adam, "lr", float("nan")),
        (Adam, "weight_decay", -0.1),
        (Adam, "beta1", 1.0),
        (Adam, "beta2", -0.1),
        (Adam, "epsilon", float("inf")),
        (Adam, "lr", "x"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(rule: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}\b.* must be .*, got {value!r}"):
        rule(**{name: value})


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1), st.sampled_from(["l1", "l2"]))
def test_each_filter_gets_unit_norm(filters: int, size: int, seed: int, norm: str) -> None:
    w = np.random.default_rng(seed).standard_normal((filters, size, size, 2)) * 10
    unit, flat = unit_norm(w, norm), w.reshape(filters, -1)
    order = {"l1": 1, "l2": 2}[norm]
    lengths = np.linalg.norm(flat, order, axis=1)
    np.testing.assert_allclose(np.linalg.norm(unit.reshape(filters, -1), order, axis=1), 1)
    np.testing.assert_allclose(unit.reshape(filters, -1) * lengths[:, None], flat)
    np.testing.assert_allclose(unit_norm(unit, norm), unit)


def test_norms_by_hand() -> None:
    w = np.array([[3.0, -4.0], [0.0, 0.0], [0.0, 0.5]], np.float32)
    np.testing.assert_allclose(unit_norm(w, "l2"), [[0.6, -0.8], [0, 0], [0, 1]], rtol=1e-6)
    np.testing.assert_allclose(unit_norm(w, "l1"), [[3 / 7, -4 / 7], [0, 0], [0, 1]], rtol=1e-6)
    assert unit_norm(w, "none") is w and unit_norm(w, "l1").dtype == np.float32
