"""Cards of the noise paper's backward pass (Sec. 2.3): convolution, pooling and ReLU, and that of the variances."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from npsnn.audit import networks
from npsnn.audit.card import Figure, Floats, Lab, above, checks, error, near
from npsnn.classifier import Classifier
from npsnn.layers import affine as engine
from npsnn.layers.activation import ReLU
from npsnn.layers.base import Layer, Want
from npsnn.layers.moments import EXPECTATION, Moments, Propagated
from npsnn.layers.params import flatten
from npsnn.layers.pool import MaxPool
from npsnn.objectives import OBJECTIVES
from npsnn.ops import gaussian
from npsnn.reference import affine, differences, plain

Pair: TypeAlias = tuple[Floats, Floats]

STEP = 1e-7
"""Step of differences through the whole network: small, since the mask of a unit must not change on the way."""


def _directions(network: Classifier, x: Floats, rng: np.random.Generator) -> list[tuple[str, Floats]]:
    """A random direction of length 1 through each array of parameters, and through the image."""
    arrays = flatten(network.params) | {"x": x}
    drawn = [(name, np.asarray(rng.standard_normal(np.shape(a)))) for name, a in arrays.items()]
    return [(name, d / np.linalg.norm(d)) for name, d in drawn]


def _differences(network: Classifier, x: Floats, k: int, rule: str, along: list[tuple[str, Floats]]) -> Floats:
    """The noise-aware loss's slope along each direction, from its values."""
    flat = flatten(network.params)

    def at(name: str, d: Floats, t: float) -> float:
        if name == "x":
            return networks.loss(network, flat, x + t * d, k, rule, "noise-aware")
        return networks.loss(network, flat | {name: flat[name] + t * d}, x, k, rule, "noise-aware")

    return np.array([differences.slope(lambda t, n=n, d=d: at(n, d, t), step=STEP) for n, d in along])  # type: ignore[misc]


def _along(slopes: networks.Slopes, along: list[tuple[str, Floats]]) -> Floats:
    gradient = slopes.params | {"x": slopes.dx}
    return np.array([np.sum(gradient[name] * d) for name, d in along])


def _lost(rule: str, network: Classifier, images: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Part of the weights' gradient that needs the variance channel, relative to its norm, over some images."""
    lacking, whole = 0.0, 0.0
    for x, k in zip(images, labels, strict=True):
        full = networks.slopes(network, x, int(k), rule, "noise-aware").params
        mean_only = networks.slopes(network, x, int(k), rule, "noise-aware", variance_channel=False).params
        weights = [name for name in full if name.endswith(".w")]
        lacking += sum(float(np.sum((full[name] - mean_only[name]) ** 2)) for name in weights)
        whole += sum(float(np.sum(full[name] ** 2)) for name in weights)
    return float(np.sqrt(lacking / whole))


def _sigma_slopes(
    rule: str, network: Classifier, images: Floats, labels: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """dLoss/dsigma of each image: from the moments of the outputs alone, and by the backward pass."""
    shortcuts, slopes = [], []
    for x, k in zip(images, labels, strict=True):
        m = networks.output(network, flatten(network.params), x, rule)
        cotangent = OBJECTIVES["noise-aware"](m, np.array([k]))[1]
        shortcuts.append(affine.noise_slope(network.sigma, np.asarray(m.var), np.asarray(cotangent.var)))
        slopes.append(float(networks.slopes(network, x, int(k), rule, "noise-aware").params["noise.sigma"]))
    return np.array(shortcuts), np.array(slopes)


@checks(
    "N26",
    place="Sec. 2.3",
    title="Backward pass of the variances",
    verdict="unstated",
    uses=("N4", "N14", "N16", "N24", "E1"),
    printed=r"once the last layer's gradient is known, the rest is standard backpropagation by the chain rule",
    derived=r"two cotangents, $g^m$ of the mean and $g^v$ of the variance: an affine layer has "
    r"$dW=g^m m^\top+2W\circ(g^v v^\top)$, $dm=W^\top g^m$, $dv=(W\circ W)^\top g^v$, the noise has "
    r"$d\sigma=2\sigma\sum g^v$, and under the exact rule the ReLU mixes the two",
    because=r"Standard backpropagation has the mean's cotangent only: under the printed rule it finds no "
    r"$d\mathrm{Loss}/d\sigma$ at all, and in a small trained perceptron a few per cent to a third of the weights' "
    r"gradient is lost. With both cotangents the gradient agrees with differences of "
    r"the loss in every parameter, the image and $\sigma$. The shortcut $d\mathrm{Loss}/d\sigma=\frac2\sigma\sum_i "
    r"v_i\,\partial\mathrm{Loss}/\partial v_i$ at the output holds under the printed rule and fails under the exact "
    r"one, where the means depend on $\sigma$ too.",
    instead=r"every layer carries both cotangents",
    symbols=(
        "npsnn.layers.affine.Affine",
        "npsnn.layers.noise.PreactivationNoise",
        "npsnn.ops.linear.joint_covariance_backward",
    ),
    headline="share of the gradient without the variance channel lost {lost without variances, laplace}; engine "
    "against differences {engine, exact rule}",
)
def n26(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    network, images = networks.alive(rng)
    # the runner-up, whose win is not beyond doubt
    labels = np.argsort(network.predict(images), axis=1)[:, -2]
    x, k = images[0], int(labels[0])
    along = _directions(network, x, rng)
    for rule in ("laplace", "exact"):
        found = _along(networks.slopes(network, x, k, rule, "noise-aware"), along)
        yield error(f"engine, {rule} rule", found, _differences(network, x, k, rule, along), 1e-6)
    mean_only = networks.slopes(network, x, k, "laplace", "noise-aware", variance_channel=False)
    yield near("slope by sigma without variances, laplace", float(mean_only.params["noise.sigma"]), 0, 0)
    yield error("shortcut for sigma, laplace rule", *_sigma_slopes("laplace", network, images, labels), 1e-9)
    shortcuts, slopes = _sigma_slopes("exact", network, images, labels)
    yield above("shortcut for sigma off by, exact rule", np.abs(shortcuts - slopes).max() / np.abs(slopes).max(), 0.02)
    trained, images, labels = networks.trained(rng, (12, 24, 16, 4), joint=True)
    for rule in ("laplace", "exact"):
        yield above(f"lost without variances, {rule}", _lost(rule, trained, images, labels), 0.01)


@checks(
    "N27",
    place="Sec. 2.3",
    title="Backward pass of a convolution",
    verdict="correct",
    uses=("N2",),
    printed=r"$$x_{ij}^l=\sum_m\sum_n w_{mn}^l o_{i+m,j+n}^{l-1}+b_{ij}^l$$ $$\frac{\partial\mathrm{Loss}}{\partial "
    r"x_{i'j'}^l}=\sum_{m=0}^{k_1-1}\sum_{n=0}^{k_2-1}\delta_{i'-m,j'-n}^{l+1}w_{mn}^{l+1}f'(x_{i'j'}^l)$$ "
    r"$$\frac{\partial\mathrm{Loss}}{\partial w_{m'n'}^l}=\sum_{i=0}^{H-k_1}\sum_{j=0}^{W-k_2}\delta_{ij}^l "
    r"o_{i+m',j+n'}^{l-1}$$",
    derived=r"as printed, with $\delta=0$ outside its range and $H\times W$ the size of the layer's input $o^{l-1}$; "
    r"the bias has $\partial\mathrm{Loss}/\partial b=\sum_{ij}\delta_{ij}$",
    because=r"Both gradients agree with differences of a loss of two layers. The paper does not say that $\delta$ is 0 "
    r"outside its range, calls $H\times W$ the size of $x$, and reuses $n$ and $W$: with the size of $x^l$ the last "
    r"rows and columns of the weights' gradient are lost.",
    instead=r"the same, over channels, stride and padding, with a tied bias; the variances have their own (N26)",
    symbols=(
        "npsnn.layers.affine.Conv2d",
        "npsnn.ops.conv.conv2d_input_backward",
        "npsnn.ops.conv.conv2d_weight_backward",
    ),
    headline="printed lines against differences {input gradient}, {weight gradient}; engine {engine input gradient}, "
    "{engine weight gradient}",
)
def n27(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    o, w1, w2 = rng.standard_normal((7, 6)), rng.standard_normal((3, 3)), rng.standard_normal((2, 2))
    b1, b2, c = rng.standard_normal((5, 4)), rng.standard_normal((4, 3)), rng.standard_normal((4, 3))

    def top(x1: Floats) -> Floats:
        return affine.convolution(np.tanh(x1), w2, b2)

    def loss(x1: Floats) -> float:
        return float(np.sum(c * top(x1) ** 2) / 2)

    x1 = affine.convolution(o, w1, b1)
    slope, delta2 = 1 - np.tanh(x1) ** 2, c * top(x1)
    delta1 = affine.convolution_delta(delta2, w2, slope)
    dw = affine.convolution_weight_gradient(delta1, o, o.shape, w1.shape)
    wanted = differences.gradient(lambda w: loss(affine.convolution(o, w, b1)), w1)
    yield error("input gradient", delta1, differences.gradient(loss, x1), 1e-6)
    yield error("weight gradient", dw, wanted, 1e-6)
    short = affine.convolution_weight_gradient(delta1, o, x1.shape, w1.shape)
    yield above("weight gradient with the size of x off by", np.abs(short - wanted).max() / np.abs(wanted).max(), 0.02)
    yield error("engine input gradient", _engine_backward(w2, np.tanh(x1), delta2)[0] * slope, delta1, 1e-12)
    yield error("engine weight gradient", _engine_backward(w1, o, delta1)[1], dw, 1e-12)
    yield error("engine bias gradient", _engine_backward(w1, o, delta1)[2], delta1.sum(), 1e-12)


def _engine_backward(w: Floats, o: Floats, delta: Floats) -> tuple[Floats, Floats, float]:
    """Gradients by the input, the filter and the bias of the engine's layer with one filter and one channel."""
    params = {"w": w[None, :, :, None], "b": np.zeros(1)}
    _, backward = engine.Conv2d(1, len(w)).forward(params, Moments(o[:, None, :, None]), EXPECTATION)
    below, grads = backward(Moments(delta[:, None, :, None]), Want.BOTH)
    assert below is not None
    return below.mean[:, 0, :, 0], grads["w"][0, :, :, 0], float(grads["b"][0])


@checks(
    "N28",
    place="Sec. 2.3",
    title="Backward pass of pooling and ReLU",
    verdict="unstated",
    uses=("N14", "N17", "N26", "E1", "E2"),
    printed=r"as in conventional networks: pooling passes the gradient to the largest unit of each region, ReLU is "
    r"similar to conventional models",
    derived=r"Eq. 6: $dm=g^m 1_{\mu>0}$, $dv=g^v 1_{\mu\ge-3\sqrt v}$, and pooling passes both to the largest mean; "
    r"exact moments: $d\mu=g^m\,\partial_\mu m+g^v\,\partial_\mu V$, $dv=g^m\,\partial_v m+g^v\,\partial_v V$",
    because=r"The conventional rule is right for the means under Eq. 6; what becomes of the variances is not said. "
    r"The conventional mask $1_{\mu>0}$ is the wrong one for them: Eq. 6 lets the variance of units down to "
    r"$-3\sqrt v$ through. Held against differences of the plain forward rules.",
    instead=r"both cotangents by the propagation rule in use, ties to the first of the window",
    symbols=(
        "npsnn.ops.gaussian.rectified_mask_backward",
        "npsnn.ops.gaussian.rectified_moments_backward",
        "npsnn.ops.gaussian.rectified_laplace",
        "npsnn.ops.gaussian.maximum_winner",
        "npsnn.ops.gaussian.maximum_winner_backward",
        "npsnn.ops.gaussian.maximum_clark_backward",
        "npsnn.ops.pool.max_pool_backward",
    ),
    headline="means as printed {conventional, means}; variances so off by {conventional off by, variances}, the "
    "engine's by {engine pooling, laplace}",
)
def n28(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    v, mu = rng.uniform(0.05, 0.5, (1, 1, 4, 4)), rng.standard_normal((1, 1, 4, 4))
    mu[0, 0, 0, :2] = -0.5, 0.5  # a unit between -3 sqrt(v) and 0, and one above
    g = rng.uniform(0.5, 1.5, mu.shape), rng.uniform(0.5, 1.5, mu.shape)
    pooled = tuple(z[:, :, :2, :2] for z in g)
    for rule in ("laplace", "exact"):
        wanted = _by_differences(lambda m, s, rule=rule: plain.rectify(m, s, rule), (mu, v), g)  # type: ignore[misc]
        if rule == "laplace":
            on = mu > 0
            yield error("conventional, means", g[0] * on, wanted[0], 1e-6)
            yield above("conventional off by, variances", np.abs(g[1] * on - wanted[1]).max(), 0.3)
        yield error(f"engine relu, {rule}", _by_layer(ReLU(), rule, (mu, v), g), wanted, 1e-6)
        wanted = _by_differences(
            lambda m, s, rule=rule: plain.max_pool_moments(m, s, 2, rule),  # type: ignore[misc]
            (mu, v),
            (pooled[0], pooled[1]),
        )
        yield error(
            f"engine pooling, {rule}", _by_layer(MaxPool(2), rule, (mu, v), (pooled[0], pooled[1])), wanted, 1e-6
        )


def _by_differences(f: Callable[[Floats, Floats], Pair], at: Pair, g: Pair) -> Pair:
    """Cotangents of mu and v that g, of the output's moments, has through f."""

    def value(mu: Floats, v: Floats) -> float:
        m, var = f(mu, v)
        return float(np.sum(g[0] * m) + np.sum(g[1] * var))

    mu, v = at
    step = 1e-6
    return differences.gradient(lambda z: value(z, v), mu, step), differences.gradient(lambda z: value(mu, z), v, step)


def _by_layer(layer: Layer, rule: str, at: Pair, g: Pair) -> Pair:
    """The same from the engine's layer; (N, C, H, W) in and out."""
    mu, v, dm, dv = (np.ascontiguousarray(z.transpose(2, 1, 3, 0)) for z in (*at, *g))
    _, backward = layer.forward({}, Moments(mu, v), Propagated(gaussian.RULES[rule]))
    below, _ = backward(Moments(dm, dv), Want.INPUT)
    assert below is not None
    return below.mean.transpose(3, 1, 0, 2), np.asarray(below.var).transpose(3, 1, 0, 2)
