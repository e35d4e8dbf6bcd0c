"""The square root of covariances: LAPACK's and that of Jacobi's rotations, which a GPU takes, are the same."""

from types import ModuleType

import numpy as np
import pytest

from npsnn.backend import to_host
from npsnn.ops.root import _rounds, jacobi, square_root

KINDS = ("full", "flat", "equal", "none", "large")


def covariances(d: int, kind: str) -> np.ndarray:
    a = np.random.default_rng(d).standard_normal((20, d, max(1, d // 3) if kind == "flat" else d))
    m = a @ a.transpose(0, 2, 1)
    return {"equal": np.zeros_like(m) + 3 * np.eye(d) + 1, "none": 0 * m, "large": 1e100 * m}.get(kind, m)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3, 5, 10, pytest.param(24, marks=pytest.mark.slow)])
def test_rotations_find_the_same_root(double: ModuleType, d: int, kind: str) -> None:
    m = covariances(d, kind)
    theirs, ours = square_root(m), to_host(square_root(double.asarray(m)))
    # the root of an eigenvalue of 0 has half of its digits
    limit = 1e-7 if kind == "flat" else 1e-12
    assert np.abs(ours - theirs).max() <= limit * np.abs(theirs).max()
    assert np.abs(ours @ ours - m).max() <= 1e-9 * np.abs(m).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eigenvalues_and_axes(dtype: type) -> None:
    m = covariances(7, "full").astype(dtype)
    size, axes = jacobi(m)
    assert size.dtype == axes.dtype == dtype
    eps = 40 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.zeros_like(m) + np.eye(7), atol=eps)
    np.testing.assert_allclose((axes * size[:, None]) @ axes.transpose(0, 2, 1), m, atol=eps * m.max())
    np.testing.assert_allclose(np.sort(size), np.linalg.eigvalsh(m), atol=eps * m.max())


@pytest.mark.parametrize("d", [1, 2, 5, 10, 11])
def test_each_pair_of_axes_meets_once_in_a_sweep(d: int) -> None:
    rounds = _rounds(d)
    assert all(partners[partners[i]] == i for partners in rounds for i in range(d))
    met = [(i, j) for partners in rounds for i, j in enumerate(partners) if i < j]
    assert sorted(met) == [(i, j) for i in range(d) for j in range(i + 1, d)]
