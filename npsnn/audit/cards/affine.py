"""Cards of the noise paper's affine layers (Sec. 2.1): what convolution means, and what becomes of the variances."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.layers import affine as engine
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.noise import PreactivationNoise
from npsnn.reference import affine, differences, montecarlo, plain


def _linear(W: Floats, mu: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of W x from the engine's layer."""
    params = {"w": W, "b": np.zeros(len(W))}
    y, _ = engine.Linear(len(W)).forward(params, Moments(mu[:, None], v[:, None]), Propagated())
    return y.mean[:, 0], np.asarray(y.var)[:, 0]


def _convolution(W: Floats, bias: float, X: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of the engine's layer with one square filter and one channel, (p1, p2) each."""
    params = {"w": W[None, :, :, None], "b": np.array([bias])}
    y, _ = engine.Conv2d(1, len(W)).forward(params, Moments(X[:, None, :, None], v[:, None, :, None]), Propagated())
    return y.mean[:, 0, :, 0], np.asarray(y.var)[:, 0, :, 0]


@checks(
    "N2",
    place="Eq. 2",
    title="What the convolution and its bias are",
    verdict="ambiguous",
    printed=r"$$f_{\mathbf W,\mathbf B}(\mathbf X)=\mathbf X*\mathbf W+\mathbf B$$ with $*$ the convolution operator "
    r"and $\mathbf B\in\mathbb R^{p_1\times p_2}$",
    derived=r"$$y_{ij}=\sum_m\sum_n w_{mn}x_{i+m,j+n}+b$$ the cross-correlation of Sec. 2.3, with one bias a filter",
    because=r"A convolution turns the filter round, the sum of Sec. 2.3 does not: with the same filter the two differ "
    r"by amounts of the output's own size, though a learned filter makes up for it. $\mathbf B$ as printed is a bias "
    r"for each output pixel: unless all its entries are equal, the output no longer moves with the image, as that of a "
    r"convolutional layer usually does.",
    instead=r"cross-correlation without turning the filter, one bias a filter",
    symbols=("npsnn.layers.affine.Conv2d", "npsnn.ops.conv.conv2d"),
    headline="a true convolution differs by {readings differ by}; biases: printed {biases, printed}, engine {biases, "
    "engine}",
)
def n2(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    X, W, bias = rng.standard_normal((8, 7)), rng.standard_normal((3, 3)), float(rng.standard_normal())
    tied = np.full((6, 5), bias)
    wanted = affine.convolution(X, W, tied)
    turned = affine.flipped_convolution(X, W, tied)
    yield above("readings differ by", np.abs(turned - wanted).max() / np.abs(wanted).max(), 0.1)
    yield error("readings after turning the filter", affine.flipped_convolution(X, W[::-1, ::-1], tied), wanted, 1e-12)
    yield shown("biases, printed", tied.size)
    yield near("biases, engine", engine.Conv2d(1, 3).init(rng, (1, *X.shape))[0]["b"].size, 1, 0)
    yield error("engine", _convolution(W, bias, X, X * 0)[0], wanted, 1e-12)


@checks(
    "N3",
    place="Sec. 2.1",
    title="Convolution as a matrix",
    verdict="correct",
    uses=("N2",),
    printed=r"$$\mathbf y_{\mathrm{conv}}=\mathbf A^\top\mathbf x+\mathbf b,\quad "
    r"\mathbf A\in\mathbb R^{(d_1 d_2)\times(p_1 p_2)}$$",
    derived=r"as printed; a covariance $\mathbf V$ of $\mathbf x$ becomes $\mathbf A^\top\mathbf V\mathbf A$, and of "
    r"independent pixels $\operatorname{Var}(y_{ij})=\sum_{mn}w_{mn}^2v_{i+m,j+n}$",
    because=r"The matrix built from the filter gives the layer's direct sum to rounding, and $\mathbf A^\top\mathbf V"
    r"\mathbf A$ is the covariance of convolved Gaussian images by Monte Carlo. Its diagonal for independent pixels is "
    r"the same convolution of the variances with the squared filter.",
    instead=r"the layer itself: means with the filter, variances with its square; the off-diagonals are dropped (N15)",
    symbols=("npsnn.layers.affine.Conv2d", "npsnn.layers.affine.Affine"),
    headline="matrix against loops {matrix form}; covariance of draws {covariance, in standard errors} standard errors"
    " off",
)
def n3(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    X, W, bias = rng.standard_normal((6, 5)), rng.standard_normal((3, 3)), float(rng.standard_normal())
    v = rng.uniform(0.1, 1, X.shape)
    p1, p2 = 4, 3
    A = affine.matrix(W, *X.shape)
    wanted = affine.convolution(X, W, np.full((p1, p2), bias))
    yield error("matrix form", A.T @ X.ravel() + bias, wanted.ravel(), 1e-12)

    root = rng.standard_normal((X.size, X.size)) / np.sqrt(X.size)
    images = (rng.standard_normal((lab.draws(4000), X.size)) @ root.T).reshape(-1, *X.shape)
    pixels = [images[:, m : m + p1, n : n + p2] * W[m, n] for m, n in np.ndindex(*W.shape)]
    outputs = np.sum(pixels, axis=0).reshape(len(images), -1)
    found = montecarlo.estimate(outputs[:, :, None] * outputs[:, None])
    claimed = A.T @ (root @ root.T) @ A
    yield deviation("covariance, in standard errors", found.mean, found.mean_error, claimed)

    squares = plain.cross_correlation_variance(v[None, None], W[None, :, :, None])[0, 0]
    yield error("diagonal as a convolution", np.diag(A.T @ np.diag(v.ravel()) @ A), squares.ravel(), 1e-12)
    mean, var = _convolution(W, bias, X, v)
    yield error("engine mean", mean, wanted, 1e-12)
    yield error("engine variance", var, squares, 1e-12)


@checks(
    "N16",
    place="Sec. 2.1, 2.2",
    title="Do the weights enter the variances?",
    verdict="inconsistent",
    uses=("N3", "N14", "N15"),
    printed=r"the variances $\sigma_1^2,\dots,\sigma_n^2$ depend only on the noise variance $\sigma^2$, the weights "
    r"only on the means",
    derived=r"$$\operatorname{Var}(Y_i)=\sum_j W_{ij}^2v_j$$ for independent inputs of variances $v_j$",
    because=r"The procedure that Sec. 2.1 repeats for the next layer squares the weights, and Sec. 2.3 differentiates "
    r"$\sigma_{out}$ by $W$, which a variance that does not depend on $W$ would make 0. Monte Carlo of noise through "
    r"one more affine layer finds the quadratic rule.",
    instead=r"the quadratic rule in every affine layer, mean pooling and normalisation included",
    symbols=("npsnn.layers.affine.Affine", "npsnn.layers.affine.Linear", "npsnn.layers.noise.PreactivationNoise"),
    headline="variance: Monte Carlo {Monte Carlo variance}, quadratic {quadratic}, printed {printed}",
)
def n16(lab: Lab) -> Iterator[Figure]:
    rng, sigma = lab.rng(), 0.6
    x, first = rng.uniform(0, 1, 8), rng.standard_normal((6, 8))
    # rows of norm 2, 1 and 1/2: the printed variance is right for the second alone
    W = rng.standard_normal((3, 6))
    W *= np.array([[2], [1], [0.5]]) / np.linalg.norm(W, axis=1, keepdims=True)
    z = montecarlo.preactivation(x, first, np.zeros(6), sigma, lab.draws(20_000), rng)
    found = montecarlo.estimate(montecarlo.affine(z, W, np.zeros(3)))
    v = np.full((1, 6), sigma**2)
    quadratic, printed = plain.linear_variance(v, W)[0], affine.constant_variance_printed(W, sigma)
    yield drawn("Monte Carlo variance", found.var[0], found.var_error[0], quadratic[0])
    yield shown("quadratic", quadratic[0])
    yield shown("printed", printed[0])
    yield deviation("quadratic off by, in standard errors", found.var, found.var_error, quadratic)
    yield above("printed off by, in standard errors", (np.abs(printed - found.var) / found.var_error).max(), 20)
    slope = differences.gradient(lambda w: float(plain.linear_variance(v, w)[0, 0]), W)
    yield above("largest slope by a weight", np.abs(slope).max(), 0.1)

    noisy, _ = PreactivationNoise(sigma).forward({"sigma": sigma}, Moments((first @ x)[:, None]), Propagated())
    yield error("engine", _linear(W, noisy.mean[:, 0], np.asarray(noisy.var)[:, 0])[1], quadratic, 1e-12)


@checks(
    "N25",
    place="Sec. 2.3",
    title="Do standard deviations add up linearly?",
    verdict="wrong",
    uses=("N15", "N16"),
    printed=r"the last line of the gradient has the factor $\sigma_{(output-1)_j}$ where the chain rule has "
    r"$$\frac{\partial\sigma_{out_i}}{\partial\sigma_{W_{i,j}}}$$ that is, it takes $\sigma_{out}=W\sigma_{out-1}$",
    derived=r"$$\sigma_{out_i}^2=\sum_j W_{ij}^2\sigma_j^2,\quad \frac{\partial\sigma_{out_i}}{\partial W_{ij}}="
    r"\frac{W_{ij}\sigma_j^2}{\sigma_{out_i}}$$",
    because=r"Variances of independent noise add up, standard deviations do not. Monte Carlo finds the quadratic rule. "
    r"The linear one makes the standard deviation of a row of negative weights negative and that of a row of positive "
    r"weights too large; it holds, up to its sign, for perfectly correlated noise, which the diagonal covariance of "
    r"Eq. 6 excludes.",
    instead=r"the quadratic rule and its gradient",
    symbols=("npsnn.layers.affine.Affine", "npsnn.layers.affine.Linear", "npsnn.ops.linear.linear"),
    headline="Monte Carlo sd {Monte Carlo sd}, quadratic {quadratic}, linear {linear}",
)
def n25(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    s, W = rng.uniform(0.2, 0.8, 6), 0.5 * rng.standard_normal((3, 6))
    W[0], W[1] = -np.abs(W[0]), np.abs(W[1])
    draws = lab.draws(20_000)
    found = montecarlo.estimate(montecarlo.affine(montecarlo.gaussian(0 * s, s**2, draws, rng), W, np.zeros(3)))
    quadratic = plain.linear_variance((s**2)[None], W)[0]
    linear = affine.linear_sigma_printed(W, s)
    sd = np.sqrt(found.var)
    yield drawn("Monte Carlo sd", sd[0], found.var_error[0] / (2 * sd[0]), np.sqrt(quadratic[0]))
    yield shown("quadratic", np.sqrt(quadratic[0]))
    yield below("linear", linear[0], 0)
    yield deviation("quadratic off by, in standard errors", found.var, found.var_error, quadratic)
    yield above("linear over Monte Carlo, positive weights", linear[1] / sd[1], 1.1)
    common = montecarlo.estimate(montecarlo.affine(rng.standard_normal((draws, 1)) * s, W, np.zeros(3)))
    yield deviation("linear, perfect correlation, in standard errors", common.var, common.var_error, linear**2)

    def sds(w: Floats) -> float:
        return float(np.sqrt(plain.linear_variance((s**2)[None], w)).sum())

    slope = differences.gradient(sds, W, step=1e-4)
    printed = affine.sigma_slope_printed(W, s)
    yield error("derived slope", affine.sigma_slope(W, s), slope, 1e-6)
    yield above("printed slope off by", np.abs(printed - slope).max() / np.abs(slope).max(), 0.1)
    yield error("engine", _linear(W, 0 * s, s**2)[1], quadratic, 1e-12)
