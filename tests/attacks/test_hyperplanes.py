"""The nearest points of hyperplanes in the box: against a linear program, a quadratic solver and the plain version."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from strategies import SEEDS

from npsnn.attacks.hyperplanes import onto_plane
from npsnn.reference import hyperplanes as reference

NORMS = ("linf", "l2", "l1")
D = 12


def problems(count: int, seed: int = 0, size: int = D) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, a third of their pixels black or white, normals, a fifth of their entries 0, and heights in reach."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (count, size))
    x = np.where(rng.uniform(size=x.shape) < 1 / 3, np.round(x), x)
    w = rng.standard_normal(x.shape) * (rng.uniform(size=x.shape) > 0.2)
    w[:, 0] += w[:, 0] == 0
    low, high = np.minimum(w, 0).sum(axis=1), np.maximum(w, 0).sum(axis=1)
    b = low + (high - low) * rng.uniform(0.02, 0.98, count)
    return x, w, b


def stepped(norm: str, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The library's steps of points (N, D)."""
    images, normals = (values.reshape(len(x), 1, 1, -1) for values in (x, w))
    return np.asarray(onto_plane(norm, images, normals, (w * x).sum(axis=1) - b)).reshape(x.shape)


def size(norm: str, d: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(d, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=-1))


@pytest.mark.parametrize("norm", NORMS)
def test_steps_end_on_the_plane_and_in_the_box_and_move_no_pixel_without_a_weight(norm: str) -> None:
    for count, dimensions in ((300, D), (20, 784)):
        x, w, b = problems(count, 1, dimensions)
        v = x + stepped(norm, x, w, b)
        np.testing.assert_allclose((w * v).sum(axis=1), b, atol=1e-12)
        assert v.min() >= -1e-15 and v.max() <= 1 + 1e-15
        assert (v == x)[w == 0].all() and (w == 0).any()


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_no_step_is_shorter_by_a_linear_program(norm: str) -> None:
    """Of x + p - q, with p and q >= 0: the largest entry, or the sum."""
    x, w, b = problems(100)
    found = size(norm, stepped(norm, x, w, b))
    for n in range(len(x)):
        both = np.concatenate([w[n], -w[n]])
        bounds = [(0, r) for r in np.concatenate([1 - x[n], x[n]])]
        if norm == "l1":
            best = linprog(np.ones(2 * D), A_eq=both[None], b_eq=[b[n] - w[n] @ x[n]], bounds=bounds)
        else:
            each = np.hstack([np.eye(2 * D), -np.ones((2 * D, 1))])
            best = linprog(
                np.r_[np.zeros(2 * D), 1], each, np.zeros(2 * D), np.r_[both, 0][None], [b[n] - w[n] @ x[n]],
                [*bounds, (0, None)],
            )  # fmt: skip
        assert best.status == 0
        np.testing.assert_allclose(found[n], best.fun, rtol=1e-8, atol=1e-12)


def test_no_step_is_shorter_by_a_quadratic_solver() -> None:
    x, w, b = problems(40)
    d = stepped("l2", x, w, b)
    for n in range(len(x)):
        plane = {"type": "eq", "fun": lambda v, n=n: w[n] @ v - b[n], "jac": lambda v, n=n: w[n]}
        best = minimize(
            lambda v, n=n: ((v - x[n]) ** 2).sum(), np.clip(x[n] + d[n], 0, 1), jac=lambda v, n=n: 2 * (v - x[n]),
            method="SLSQP", bounds=[(0, 1)] * D, constraints=[plane], options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        assert (d[n] ** 2).sum() <= best.fun + 1e-9
        # where the solver begins elsewhere, it ends at the same point
        best = minimize(
            lambda v, n=n: ((v - x[n]) ** 2).sum(), np.full(D, 0.5), jac=lambda v, n=n: 2 * (v - x[n]),
            method="SLSQP", bounds=[(0, 1)] * D, constraints=[plane], options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        np.testing.assert_allclose(best.x - x[n], d[n], atol=1e-5)


@given(SEEDS, st.sampled_from(NORMS), st.integers(1, 30))
def test_steps_are_those_of_the_plain_version(seed: int, norm: str, dimensions: int) -> None:
    x, w, b = problems(5, seed, dimensions)
    b[4] += 1e3  # out of reach
    wanted = [reference.onto_plane(norm, x[n], w[n], b[n]) for n in range(5)]
    np.testing.assert_allclose(stepped(norm, x, w, b), wanted, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("far", [1e3, -1e3])
def test_a_plane_out_of_reach_is_approached_to_the_nearest_corner(norm: str, far: float) -> None:
    x, w, b = problems(50, 2)
    v = x + stepped(norm, x, w, b + far)
    np.testing.assert_array_equal(v[w != 0], ((w > 0) == (far > 0))[w != 0])
    np.testing.assert_array_equal(v[w == 0], x[w == 0])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_scale_of_the_gradient_does_not_matter(norm: str, scale: float) -> None:
    x, w, b = problems(50, 3)
    above = (w * x).sum(axis=1) - b
    images, normals = x.reshape(-1, 1, 3, 4), w.reshape(-1, 1, 3, 4)
    wanted = onto_plane(norm, images, normals, above)
    np.testing.assert_allclose(onto_plane(norm, images, scale * normals, scale * above), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_plane_the_image_stays(norm: str) -> None:
    x, w, b = problems(6, 4)
    above = (w * x).sum(axis=1) - b
    w[0], w[1, 3], above[2], above[3] = 0, np.nan, np.nan, 0
    d = onto_plane(norm, x.reshape(6, 1, 3, 4), w.reshape(6, 1, 3, 4), above)
    assert np.isfinite(d).all() and (d[:4] == 0).all() and (d[4:] != 0).any(axis=(1, 2, 3)).all()
    none = np.zeros((0, 1, 3, 4))
    assert onto_plane(norm, none, none, np.zeros(0)).shape == none.shape


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_is_its_images_alone(norm: str, dtype: type) -> None:
    x, w, b = (values.astype(dtype) for values in problems(16, 5, 300))
    whole = stepped(norm, x, w, b)
    alone = np.concatenate([stepped(norm, x[n : n + 1], w[n : n + 1], b[n : n + 1]) for n in range(16)])
    assert whole.dtype == np.float64 and whole.tobytes() == alone.tobytes()


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm must be one of linf, l2, l1, got 'l0'"):
        onto_plane("l0", np.zeros((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), np.ones(1))
