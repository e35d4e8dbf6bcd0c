"""The channels of images (H, C, W, N) and vectors (C, N): a number for each channel, and sums over everything else."""

from npsnn.backend import Array, namespace, on_gpu


def per_channel(values: Array, like: Array) -> Array:
    """A view of one number a channel that spreads over `like`: (C,) -> (C, 1, 1), or (C, 1) for vectors."""
    return values.reshape(-1, *(1,) * (2 if like.ndim == 4 else 1))


def channel_sums(x: Array) -> Array:
    """The sum of each channel, whatever the order in memory: (H, C, W, N) or (C, N) -> (C,)."""
    if x.ndim == 2:
        return x.sum(axis=1)
    return (x.sum(axis=(2, 3)) if on_gpu(x) else namespace(x).einsum("hcwn->hc", x)).sum(axis=0)


def channel_dots(x: Array, y: Array) -> Array:
    """Σ x∘y within each channel: (H, C, W, N) or (C, N), twice -> (C,).

    A CPU makes no array of the products. CuPy's einsum would make products of vectors, which take longer than an array.
    """
    if on_gpu(x, y):
        return channel_sums(x * y)
    xp = namespace(x, y)
    return xp.einsum("hcwn,hcwn->hc", x, y).sum(axis=0) if x.ndim == 4 else xp.einsum("cn,cn->c", x, y)
