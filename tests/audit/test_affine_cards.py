"""The cards of the noise paper's affine layers and its backward pass notice what breaks them."""

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.ops.gaussian import rectified_mask_backward
from npsnn.reference import affine, plain

MUTANTS: list[Mutant] = [
    # the other reading of the convolution, in the reference and in the engine
    ("N2", "npsnn.reference.affine.flipped_convolution", lambda f: affine.convolution),
    ("N2", "npsnn.ops.conv.conv2d", lambda f: lambda cols, w, batch: f(cols, w[:, ::-1, ::-1], batch)),
    # a transposed filter in the matrix; the filter not squared for the variances; the engine's filter turned round
    ("N3", "npsnn.reference.affine.matrix", lambda f: lambda W, d1, d2: f(W.T, d1, d2)),
    ("N3", "npsnn.reference.plain.cross_correlation_variance", lambda f: lambda v, w: f(v, np.sqrt(np.abs(w)))),
    ("N3", "npsnn.ops.conv.conv2d", lambda f: lambda cols, w, batch: f(cols, w[:, ::-1, ::-1], batch)),
    # printed in place of derived, and the reverse; the engine without the square
    ("N16", "npsnn.reference.plain.linear_variance", lambda f: lambda v, W: v[:, : len(W)]),
    ("N16", "npsnn.reference.affine.constant_variance_printed", lambda f: lambda W, s: s**2 * (W**2).sum(axis=1)),
    ("N16", "npsnn.ops.linear.linear", lambda f: lambda x, w: f(x, np.sqrt(np.abs(w)))),
    ("N16", "npsnn.reference.montecarlo.affine", lambda f: lambda z, W, b: f(z, W / 2, b)),
    # linear in place of quadratic, and the reverse; the slopes exchanged; the engine without the square
    ("N25", "npsnn.reference.plain.linear_variance", lambda f: lambda v, W: (np.sqrt(v) @ W.T) ** 2),
    (
        "N25",
        "npsnn.reference.affine.linear_sigma_printed",
        lambda f: lambda W, s: np.sqrt(plain.linear_variance((s**2)[None], W)[0]),
    ),
    ("N25", "npsnn.reference.affine.sigma_slope", lambda f: affine.sigma_slope_printed),
    ("N25", "npsnn.reference.affine.sigma_slope_printed", lambda f: affine.sigma_slope),
    ("N25", "npsnn.ops.linear.linear", lambda f: lambda x, w: f(x, np.sqrt(np.abs(w)))),
    # the engine forgets a factor of a weight's gradient, or of the covariance's
    ("N26", "npsnn.ops.linear.linear_weight_backward", lambda f: lambda dy, x: f(dy, x) / 2),
    (
        "N26",
        "npsnn.ops.linear.joint_covariance_backward",
        lambda f: lambda ds, v, w: (f(ds, v, w)[0] / 2, f(ds, v, w)[1]),
    ),
    # no variance channel; the two-channel gradient where it should be missing; the shortcut without its 2
    ("N26", "npsnn.audit.networks.slopes", lambda f: lambda *a, variance_channel=True: f(*a, variance_channel=False)),
    ("N26", "npsnn.audit.networks.slopes", lambda f: lambda *a, variance_channel=True: f(*a)),
    ("N26", "npsnn.reference.affine.noise_slope", lambda f: lambda sigma, v, dv: f(sigma, v, dv) / 2),
    # delta not flipped, f' forgotten, a short sum; the engine's two gradients
    ("N27", "npsnn.reference.affine.convolution_delta", lambda f: lambda d, w, s: f(d, w[::-1, ::-1], s)),
    ("N27", "npsnn.reference.affine.convolution_delta", lambda f: lambda d, w, s: f(d, w, np.ones_like(s))),
    (
        "N27",
        "npsnn.reference.affine.convolution_weight_gradient",
        lambda f: lambda d, o, size, kernel: f(d, o, (size[0] - 1, size[1]), kernel),
    ),
    ("N27", "npsnn.ops.conv.conv2d_input_backward", lambda f: lambda dy, w, *a: f(dy, w[:, ::-1, ::-1], *a)),
    ("N27", "npsnn.ops.conv.conv2d_weight_backward", lambda f: lambda dy, cols, shape: -f(dy, cols, shape)),
    # the conventional mask for both channels; pooling that drops the variances; a plain rule that differs
    (
        "N28",
        "npsnn.audit.cards.backward.ReLU",
        lambda f: type("Broken", (f,), {"forward": lambda self, p, m, noise: _conventional(f(), p, m, noise)}),
    ),
    ("N28", "npsnn.ops.pool.max_pool_backward", lambda f: lambda dm, dv, *a: f(dm, 0 * dv, *a)),
    ("N28", "npsnn.reference.plain.rectify", lambda f: lambda mu, v, rule: f(mu, v, "linear")),
]


def _conventional(layer, params, m, noise):  # type: ignore[no-untyped-def]
    """A layer whose backward pass masks both channels by mean > 0."""
    y, _ = layer.forward(params, m, noise)
    on = m.mean > 0
    moments = type(m)
    return y, lambda g, want: (moments(*rectified_mask_backward(g.mean, g.var, (on, on))), {})


test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


def test_the_matrix_of_a_filter_by_hand() -> None:
    A = affine.matrix(np.array([[1.0, 2.0]]), 2, 3)
    assert A.shape == (6, 4)
    np.testing.assert_array_equal(A[:, 0], [1, 2, 0, 0, 0, 0])
    np.testing.assert_array_equal(A[:, 3], [0, 0, 0, 0, 1, 2])


def test_the_two_convolutions_by_hand() -> None:
    X, W, b = np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 10.0]]), np.array([[0.0, 0.5]])
    np.testing.assert_array_equal(affine.convolution(X, W, b), [[21, 42.5]])
    np.testing.assert_array_equal(affine.flipped_convolution(X, W, b), [[12, 24.5]])


def test_the_gradients_of_a_convolution_by_hand() -> None:
    w, delta = np.array([[1.0, 10.0]]), np.array([[1.0, -1.0]])
    found = affine.convolution_delta(delta, w, np.array([[1.0, 1.0, 2.0]]))
    np.testing.assert_array_equal(found, [[1, 9, -20]])
    o = np.array([[1.0, 2.0, 4.0]])
    np.testing.assert_array_equal(affine.convolution_weight_gradient(delta, o, (1, 3), (1, 2)), [[-1, -2]])


def test_the_readings_of_a_standard_deviation_by_hand() -> None:
    W, s = np.array([[3.0, -4.0]]), np.array([1.0, 1.0])
    assert affine.linear_sigma_printed(W, s) == [-1]
    np.testing.assert_allclose(affine.sigma_slope(W, s), [[0.6, -0.8]], rtol=1e-15)
    np.testing.assert_array_equal(affine.sigma_slope_printed(W, s), [[1, 1]])
    np.testing.assert_allclose(affine.constant_variance_printed(W, 0.5), [0.25])


def test_the_slope_by_sigma_by_hand() -> None:
    """Of Loss = v1 + 3 v2 with v1 = sigma², v2 = 2 sigma²: 14 sigma."""
    assert affine.noise_slope(0.5, np.array([0.25, 0.5]), np.array([1.0, 3.0])) == 7
