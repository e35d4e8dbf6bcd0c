"""Matrix products, batch last, and the joint covariance of the outputs."""

from npsnn.backend import Array, fused, namespace
from npsnn.products import matmul


def linear(x: Array, w: Array) -> Array:
    """w x: inputs (I, N), weights (O, I) -> (O, N)."""
    return matmul(w, x)


def linear_input_backward(dy: Array, w: Array) -> Array:
    """Cotangent of the input: (O, N), (O, I) -> (I, N)."""
    return matmul(w.T, dy)


def linear_weight_backward(dy: Array, x: Array) -> Array:
    """Cotangent of the weights: (O, N), (I, N) -> (O, I)."""
    return matmul(dy, x.T)


def joint_covariance(v: Array, w: Array) -> Array:
    """Covariance S = W diag(v) Wᵀ of the outputs of independent inputs, (O, O, N).

    It keeps the correlation that the paper's independent outputs drop (audit N21).

    v: variances of the inputs, (I, N).
    w: (O, I).
    Source: noise paper Sec. 2.2.
    """
    o, i = w.shape
    return matmul((w[:, None] * w).reshape(o * o, i), v).reshape(o, o, -1)


def joint_covariance_backward(ds: Array, v: Array, w: Array) -> tuple[Array, Array]:
    """Cotangents of the variances, (I, N), and of the weights, (O, I).

    ds: cotangent of the covariance, (O, O, N).
    v, w: as in `joint_covariance`.
    """
    o, i = w.shape
    flat = ds.reshape(o * o, -1)
    dpairs = matmul(flat, v.T).reshape(o, o, i)
    dw = _summed_pairs(dpairs, dpairs.transpose(1, 0, 2), w)
    return matmul((w[:, None] * w).reshape(o * o, i).T, flat), dw


@fused
def _summed_pairs(dpairs: Array, swapped: Array, w: Array) -> Array:
    return namespace(dpairs).sum((dpairs + swapped) * w, axis=1)


def full_covariance(cov: Array, w: Array) -> Array:
    """Covariance W cov Wᵀ of the outputs of correlated inputs, (O, O, N).

    cov: of the inputs, (I, I, N).
    w: (O, I).
    Source: A2SNN Sec. 3 (audit A3).
    """
    return matmul(w, _from_left(w, cov))


def full_covariance_backward(ds: Array, cov: Array, w: Array) -> tuple[Array, Array]:
    """Cotangents of the inputs' covariance, (I, I, N), and of the weights, (O, I).

    ds: cotangent of the outputs' covariance, (O, O, N).
    cov, w: as in `full_covariance`.
    """
    o, i = w.shape
    both = (ds + ds.transpose(1, 0, 2)).reshape(o, -1)
    dw = matmul(both, _from_left(w, cov).transpose(0, 2, 1).reshape(-1, i))
    return matmul(w.T, _from_left(w.T, ds)), dw


def _from_left(w: Array, cov: Array) -> Array:
    """w cov, example by example: (O, I), (I, J, N) -> (O, J, N)."""
    i, j, n = cov.shape
    return matmul(w, cov.reshape(i, j * n)).reshape(-1, j, n)
