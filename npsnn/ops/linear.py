"""Matrix products, batch last, and the joint covariance of the outputs."""

from npsnn.backend import Array


def linear(x: Array, w: Array) -> Array:
    """(I, N), (O, I) -> (O, N)."""
    return w @ x


def linear_input_backward(dy: Array, w: Array) -> Array:
    """Cotangent of the input: (O, N), (O, I) -> (I, N)."""
    return w.T @ dy


def linear_weight_backward(dy: Array, x: Array) -> Array:
    """Cotangent of the weights: (O, N), (I, N) -> (O, I)."""
    return dy @ x.T


def joint_covariance(v: Array, w: Array) -> Array:
    """Covariance S = W diag(v) Wᵀ of the outputs of independent inputs: (I, N), (O, I) -> (O, O, N).

    Source: noise paper Sec. 2.2; it keeps the correlation that the paper's independent outputs drop (audit N21).
    """
    o, i = w.shape
    return ((w[:, None] * w).reshape(o * o, i) @ v).reshape(o, o, -1)


def joint_covariance_backward(ds: Array, v: Array, w: Array) -> tuple[Array, Array]:
    """Cotangents of the variances and the weights: (O, O, N), (I, N), (O, I) -> (I, N), (O, I)."""
    o, i = w.shape
    flat = ds.reshape(o * o, -1)
    dpairs = (flat @ v.T).reshape(o, o, i)
    dw = ((dpairs + dpairs.transpose(1, 0, 2)) * w).sum(axis=1)
    return (w[:, None] * w).reshape(o * o, i).T @ flat, dw
