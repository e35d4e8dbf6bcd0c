"""Distances to centres: values against loops, gradients against finite differences, and a distance that is 0."""

from typing import Any

import numpy as np
import pytest

from npsnn.ops import centres
from npsnn.testing.gradients import Arrays, check_gradient

LABELS = np.array([0, 2, 2, 1, 3, 0])
HOT = (np.arange(4)[:, None] == LABELS).astype(float)
PULL, PUSH = 0.7, 0.4


def drawn() -> Arrays:
    rng = np.random.default_rng(0)
    return {"f": rng.normal(size=(5, 6)), "near": rng.normal(size=(4, 5)), "far": rng.normal(size=(4, 5))}


def looped(a: Arrays, form: str) -> np.ndarray:
    """The values, example by example and centre by centre."""
    found = []
    for f, y in zip(a["f"].T, LABELS, strict=True):
        others = [j for j in range(4) if j != y]
        if form == "code":
            pull = ((f - a["near"][y]) ** 2).sum()
            push = [((f - a["far"][j]) ** 2).sum() for j in others]
        else:
            c = a["near"]
            pull = np.linalg.norm(f - c[y])
            push = [np.linalg.norm(f - c[j]) + np.linalg.norm(c[y] - c[j]) for j in others]
        found.append(PULL * pull - PUSH * np.mean(push))
    return np.array(found)


def answered(a: Arrays, form: str) -> tuple[np.ndarray, Arrays]:
    if form == "code":
        value, f, near, far = centres.squared(a["f"], a["near"], a["far"], HOT, PULL, PUSH)
        return value, {"f": f, "near": near, "far": far}
    value, f, near = centres.plain(a["f"], a["near"], HOT, PULL, PUSH)
    return value, {"f": f, "near": near}


@pytest.mark.parametrize("form", ["code", "paper"])
def test_values_and_gradients(form: str) -> None:
    a = drawn()
    value, grads = answered(a, form)
    np.testing.assert_allclose(value, looped(a, form), rtol=1e-12)
    check_gradient(lambda b: float(answered(a | b, form)[0].sum()), {k: a[k] for k in grads}, grads)


def test_the_gradient_of_a_distance_that_is_0_is_0() -> None:
    """The features of an example are those of its centre, and two centres are one."""
    a = drawn()
    a["near"][3] = a["near"][2]
    a["f"][:, 0] = a["near"][0]
    value, grads = answered(a, "paper")
    np.testing.assert_allclose(value, looped(a, "paper"), rtol=1e-12)
    assert all(np.isfinite(g).all() for g in grads.values())
    others = [(a["f"][:, 0] - a["near"][j]) / np.linalg.norm(a["f"][:, 0] - a["near"][j]) for j in (1, 2, 3)]
    np.testing.assert_allclose(grads["f"][:, 0], -PUSH * np.mean(others, axis=0), rtol=1e-12)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_single_precision_stays_single(form: str) -> None:
    a: dict[str, Any] = {k: p.astype(np.float32) for k, p in drawn().items()}
    given = [a["f"], a["near"], *([a["far"]] if form == "code" else []), HOT.astype(np.float32)]
    found = (centres.squared if form == "code" else centres.plain)(*given, PULL, PUSH)  # type: ignore[operator]
    assert {x.dtype for x in found} == {np.dtype(np.float32)}
