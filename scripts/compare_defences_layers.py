"""Layers of the twin in compare_defences_twin.py: what each makes of a mean and a variance, or of one draw.

Under "sampled" the numbers of every draw are given, and there is no variance. Under "propagated" a variance is that of
independent units, var y = E[y²] - (E y)²; after a joint last layer it is a covariance, (N, classes, classes).
"""

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None  # type: ignore[assignment]

Spec = dict[str, Any]
Tensors = dict[str, Any]
Pair = tuple[Any, Any]
LAYERS: dict[str, Callable[..., Pair]] = {}


def layer(*kinds: str) -> Callable[[Callable[..., Pair]], Callable[..., Pair]]:
    """Enter f(net, spec, own parameters, own draws, mean, variance) -> mean, variance for layers of these types."""

    def enter(f: Callable[..., Pair]) -> Callable[..., Pair]:
        LAYERS.update(dict.fromkeys(kinds, f))
        return f

    return enter


def inside(arrays: Tensors, path: str) -> Tensors:
    """The arrays whose names begin with a path, without it; the one of this very name has none left."""
    if not path:
        return arrays
    return {k[len(path) + 1 :]: a for k, a in arrays.items() if k == path or k.startswith(f"{path}.")}


class Network:
    """Layers as npsnn describes them.

    params: by flat name.
    draws: random numbers by the view, the flat name of the layer and their own.
    noise: "off", "sampled" or "propagated"; with "-training" appended for a pass of training.
    scale: factor of standard deviations, and of the rate of dropout, under draws.
    features: after a call, what the layers named Centres were given.
    """

    def __init__(self, layers: list[Spec], params: Tensors, draws: Tensors, noise: str, scale: float) -> None:
        self.layers, self.params, self.draws = layers, params, draws
        self.noise, _, training = noise.partition("-")
        self.training, self.scale = bool(training), scale
        self.features: Tensors = {}

    def __call__(self, x: Any, view: str = "") -> Pair:
        return self.passed(self.layers, self.params, inside(self.draws, view), x, None)

    def passed(self, layers: list[Spec], params: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
        for spec in layers:
            name = spec["name"]
            m, v = LAYERS[spec["type"]](self, spec, inside(params, name), inside(draws, name), m, v)
        return m, v


def filters(w: Any) -> Any:
    """(out, k, k, in) -> PyTorch's (out, in, k, k)."""
    return w.permute(0, 3, 1, 2)


def applied(spec: Spec, w: Any, x: Any, b: Any = None) -> Any:
    if w.ndim == 4:
        return functional.conv2d(x, filters(w), b, spec["stride"], spec["padding"])
    return functional.linear(x, w, b)


def std_of_weights(spec: Spec, own: Tensors) -> Pair:
    """The standard deviations of weights and biases: of He et al. 2019, or of Liu et al. 2019."""
    if spec["spread"] == "free":
        return own["rho"].exp(), own["rho_b"].exp() if "rho_b" in own else torch.zeros(())
    spread = own["w"].std()  # with n - 1
    alpha = own["alpha"]
    if spec["scope"] == "channel":
        alpha = alpha.reshape(-1, *[1] * (own["w"].ndim - 1))
    size = alpha * (spread if spec["through_std"] else spread.detach())
    return size.expand_as(own["w"]), torch.zeros(())


@layer("Conv2d", "Linear", "NoisyConv2d", "NoisyLinear")
def affine(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    w, b = own["w"], own.get("b")
    noisy = spec["type"].startswith("Noisy") and net.noise != "off"
    s, s_b = std_of_weights(spec, own) if noisy else (torch.zeros_like(w), torch.zeros(()))
    if net.noise == "sampled" and noisy:
        b = b + net.scale * s_b * draws["bias"][0] if s_b.ndim else b
        return applied(spec, w + net.scale * s * draws[""][0], m, b), None
    mean = applied(spec, w, m, b)
    if v is None and not noisy:
        return mean, None
    squares = m * m if v is None else m * m + v
    if not spec.get("joint"):
        var = applied(spec, w * w + s * s, squares) - applied(spec, w * w, m * m)
        extra = (s_b * s_b).reshape(-1, *[1] * (var.ndim - 2)) if s_b.ndim else 0
        return mean, var + extra
    own_noise = applied(spec, s * s, squares) + s_b * s_b
    through = 0 if v is None else torch.einsum("id,nd,jd->nij", w, v, w)
    return mean, through + torch.diag_embed(own_noise)


def phi(x: Any) -> Any:
    return torch.exp(-x * x / 2) / sqrt(2 * pi)


@layer("ReLU")
def relu(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    """Mean and variance of a rectified normal variable, by its first two moments."""
    if v is None:
        return torch.relu(m), None
    s = v.sqrt()
    below = torch.special.ndtr(m / s)
    mean = m * below + s * phi(m / s)
    return mean, (m * m + v) * below + m * s * phi(m / s) - mean * mean


def larger(m: Pair, v: Pair) -> Pair:
    """Mean and variance of the larger of two independent normal variables (Clark 1961)."""
    theta = (v[0] + v[1]).sqrt()
    a = (m[0] - m[1]) / theta
    first, second = torch.special.ndtr(a), torch.special.ndtr(-a)
    mean = m[0] * first + m[1] * second + theta * phi(a)
    square = (m[0] ** 2 + v[0]) * first + (m[1] ** 2 + v[1]) * second + (m[0] + m[1]) * theta * phi(a)
    return mean, square - mean * mean


@layer("MaxPool")
def max_pool(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    """Of 2 x 2 windows; with variances the larger of each column, then of the two columns, taken as independent."""
    if v is None:
        return functional.max_pool2d(m, spec["size"]), None
    assert spec["size"] == 2
    for every in ((slice(0, None, 2), slice(None)), (slice(None), slice(0, None, 2))):
        other = tuple(slice(1, None, 2) if s.step else s for s in every)
        m, v = larger((m[:, :, *every], m[:, :, *other]), (v[:, :, *every], v[:, :, *other]))
    return m, v


@layer("Flatten")
def flatten(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    return m.flatten(1), None if v is None else v.flatten(1)


@layer("PreactivationNoise")
def noise(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    sigma = own["sigma"]
    if sigma.ndim == 1 and m.ndim == 4:
        sigma = sigma[:, None, None]
    if net.noise == "off":
        return m, v
    if net.noise == "sampled":
        return m + net.scale * sigma * draws[""], v
    added = (sigma * sigma).expand(m.shape)
    return m, added if v is None else v + added


@layer("BatchNorm")
def batch_norm(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    assert net.training and v is None
    return functional.batch_norm(m, None, None, own["w"], own["b"], training=True, eps=spec["epsilon"]), None


@layer("Dropout")
def dropout(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    p = spec["p"]
    if not net.training or net.noise == "off":
        return m, v
    if net.noise == "sampled":
        p = p * net.scale
        return m * (draws[""] >= p) / (1 - p), v
    square = m * m if v is None else m * m + v
    return m, square / (1 - p) - m * m


@layer("Centres")
def centres(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    net.features[spec["name"]] = m
    return m, v


@layer("Mixing")
def mixing(net: Network, spec: Spec, own: Tensors, draws: Tensors, m: Any, v: Any) -> Pair:
    """Pang et al. 2020: the answer for a mixture with a stored image, whose class the body's answer tells."""

    def body(x: Any) -> Any:
        return net.passed(spec["body"], inside(own, "body"), inside(draws, "body"), x, None)[0]

    def stored(classes: Any, u: Any) -> Any:
        """An image of each class, stored as (H, C, W)."""
        return own["pool"].detach()[classes, (u * spec["pool"]).long()].transpose(1, 2)

    if net.noise == "off" or net.training:
        return body(m), None
    with torch.no_grad():
        p = torch.softmax(body(m), 1)
        predicted = p.argmax(1)
        weight = torch.full((len(m),), spec["weight"], dtype=m.dtype)
        classes = predicted
        if spec["choice"] != "predicted":
            step = 1 + (draws["class"] * (spec["classes"] - 1)).long()
            classes = (predicted + step) % spec["classes"]
        if spec["choice"] == "combined":
            detected = [draws[f"detection{i}.image"] for i in range(spec["detections"])]
            answers = [
                torch.softmax(body(spec["weight"] * m + (1 - spec["weight"]) * stored(predicted, u)), 1)
                for u in detected
            ]
            sure = p.max(1).values - (sum(answers) / len(answers)).max(1).values < spec["threshold"]
            weight = torch.where(sure, weight, spec["other_weight"])
            classes = torch.where(sure, predicted, classes)
    weight = weight[:, None, None, None]
    return body(weight * m + (1 - weight) * stored(classes, draws["image"])), None
