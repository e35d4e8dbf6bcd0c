"""The square root of covariance matrices: by LAPACK on a CPU, on a GPU in a form that a CUDA graph can have."""

from functools import cache

from npsnn.backend import Array, constant, fused, namespace, on_gpu
from npsnn.products import matmul


def square_root(matrices: Array) -> Array:
    """The symmetric square root of positive semidefinite matrices, (N, D, D) -> (N, D, D).

    matrices: symmetric; eigenvalues below 0, which rounding makes of 0, count as 0.
    A CPU has the eigenvalues from LAPACK. A CUDA graph cannot have them from a GPU's library, so there they come from
    Jacobi's rotations, which are elementwise operations.
    """
    xp = namespace(matrices)
    size, axes = jacobi(matrices) if on_gpu(matrices) else xp.linalg.eigh(matrices)
    return matmul(axes * xp.sqrt(xp.maximum(size, 0))[:, None], axes.transpose(0, 2, 1))


def jacobi(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues, (N, D), in no order, and eigenvectors as columns, (N, D, D), of symmetric matrices (N, D, D).

    In each round every axis is rotated with one partner, in the plane of the two, so that their entry beside the
    diagonal becomes 0. In a sweep each pair meets once (Brent and Luk 1985).
    """
    xp, d = namespace(matrices), matrices.shape[-1]
    a, axes = matrices, xp.zeros_like(matrices) + xp.eye(d, dtype=matrices.dtype)
    # what is below it is rounding, which would turn axes of one eigenvalue into each other for ever
    nothing = xp.abs(matrices).max(axis=(1, 2))[:, None] * (float(xp.finfo(matrices.dtype).eps) / 8)
    every = constant(range(d), "int64", matrices)
    # once little is left beside the diagonal, each sweep squares it
    for partners in _rounds(d) * (5 + d.bit_length()):
        # rounding makes a differ from its transpose: both of a pair take the same entry
        pairs = [(min(i, j), max(i, j), j, (j > i) - (j < i)) for i, j in enumerate(partners)]
        *indices, sides = zip(*pairs, strict=True)
        low, high, partner = (constant(axis, "int64", matrices) for axis in indices)
        side = constant(sides, matrices.dtype, matrices)
        diagonal = a[:, every, every]
        c, s = _rotation(diagonal, diagonal[:, partner], a[:, low, high], side, nothing)
        a = _turned(a, a[:, :, partner], c[:, None, :], s[:, None, :])
        a = _turned(a, a[:, partner, :], c[:, :, None], s[:, :, None])
        axes = _turned(axes, axes[:, :, partner], c[:, None, :], s[:, None, :])
    return a[:, every, every], axes


@cache
def _rounds(d: int) -> tuple[tuple[int, ...], ...]:
    """The partner of each axis in each round of a sweep; without one, where d is odd, an axis is its own."""
    even = d + d % 2
    rounds = []
    for turn in range(even - 1):
        # one seat stays, the others move on by one
        seats = [0, *((i + turn) % (even - 1) + 1 for i in range(even - 1))]
        partners = list(range(d))
        for i, j in zip(seats[: even // 2], reversed(seats[even // 2 :]), strict=True):
            if max(i, j) < d:
                partners[i], partners[j] = j, i
        rounds.append(tuple(partners))
    return tuple(rounds)


@fused
def _rotation(own: Array, other: Array, beside: Array, side: Array, nothing: Array) -> tuple[Array, Array]:
    """Cosine and sine by which an axis is mixed with its partner, as c·own + s·other.

    own, other: their entries on the diagonal; beside: that of both, which is 0 up to `nothing`.
    side: 1 for the first of two, -1 for the other, 0 for an axis without a partner.
    """
    xp = namespace(own)
    turns = (xp.abs(beside) > nothing) & (side != 0)
    tau = (other - own) / (2 * beside * turns + ~turns) * turns
    t = xp.where(tau != 0, xp.sign(tau), side) / (xp.abs(tau) + xp.sqrt(tau * tau + 1)) * turns
    c = 1 / xp.sqrt(t * t + 1)
    return c, -t * c


@fused
def _turned(a: Array, partners: Array, c: Array, s: Array) -> Array:
    return a * c + partners * s
