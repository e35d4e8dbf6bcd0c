"""Cards of the loss's gradient in the noise paper: by deviations and last weights (Sec. 2.3), by means (Sec. 4)."""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, error, near, shown
from npsnn.audit.cards import noise_loss
from npsnn.layers.affine import Linear
from npsnn.layers.base import Want
from npsnn.layers.moments import Moments, Propagated
from npsnn.ops import loss as engine
from npsnn.reference import differences, gradient, loss

LAST_LINE = (
    r"$$\frac{\partial\mathrm{Loss}}{\partial\sigma_{W_{i,j}}}=\frac{\sigma_{(output-1)_j}(\mu_k-\mu_i)\sigma_i}"
    r"{(\sigma_{out_i}^2+\sigma_{out_k}^2)^{3/2}\sqrt\pi}\exp\left(-\left(\frac{\mu_i-\mu_k}"
    r"{2(\sigma_{out_i}^2-\sigma_{out_k}^2)}\right)\right)$$"
)


def without(g: Floats, k: int) -> Floats:
    """The entries i ≠ k."""
    return np.delete(g, k, axis=0)


def cosine(a: Floats, b: Floats) -> float:
    return float((a * b).sum() / sqrt(float((a * a).sum() * (b * b).sum())))


@checks(
    "N23",
    place="Sec. 2.3",
    title="Gradient by the noise of the last layer",
    verdict="typo",
    uses=("N20",),
    printed=r"$$\frac{\partial\mathrm{Loss}}{\partial\sigma_{W_{i,j}}}=\frac{\partial\sum_{i\ne k}\frac1{2n-2}\left[1+"
    r"\operatorname{erf}\left(\frac{\mu_i-\mu_k}{\sqrt{2(\sigma_i^2+\sigma_k^2)}}\right)\right]}"
    r"{\partial\sigma_{out_i}}\frac{\partial\sigma_{out_i}}{\partial\sigma_{W_{i,j}}}$$",
    derived=r"$$\frac{\partial\mathrm{Loss}}{\partial\sigma_i}=\frac{(\mu_k-\mu_i)\sigma_i}{(n-1)\sqrt{2\pi}\,"
    r"S_i^{3/2}}\exp\left(-\frac{(\mu_k-\mu_i)^2}{2S_i}\right)\ (i\ne k),\quad\frac{\partial\mathrm{Loss}}"
    r"{\partial\sigma_k}=\sum_{i\ne k}\frac{\sigma_k}{\sigma_i}\frac{\partial\mathrm{Loss}}{\partial\sigma_i},\quad "
    r"S_i=\sigma_i^2+\sigma_k^2$$",
    because=r"The second line has lost the minus of the loss and keeps the exchanged arguments of N20. The two cancel: "
    r"it differentiates to the right value, while the printed closed form of the loss has exactly the opposite slope. "
    r"$\sigma_W$ stands for $W$, the sum's index is also the free one, and the row $i=k$ is left out.",
    instead=r"the derived gradient, in every row",
    symbols=("npsnn.ops.loss.win_probability", "npsnn.objectives.noise_aware"),
    headline="derivative of the second line over the derived {second line over derived}, of the printed loss {printed "
    "loss over derived}",
)
def n23(lab: Lab) -> Iterator[Figure]:
    mu, v, k = noise_loss.point(lab.rng())
    sigma = np.sqrt(v)
    derived = gradient.d_deviation(mu, v, k)
    yield error("derived", derived, differences.gradient(lambda s: loss.noise_aware(mu, s**2, k), sigma), 1e-8)
    second = differences.gradient(lambda s: gradient.second_line(mu, s, k), sigma)
    printed = differences.gradient(lambda s: loss.noise_aware_printed(mu, s**2, k), sigma)
    length = float(derived @ derived)
    yield near("second line over derived", float(second @ derived) / length, 1, 1e-8)
    yield error("second line", second, derived, 1e-8)
    yield near("printed loss over derived", float(printed @ derived) / length, -1, 1e-8)
    yield error("printed loss", printed, -derived, 1e-8)
    share = abs(derived[k]) / np.abs(derived).sum()
    yield above("share of the row k that is left out", share, 0.01)
    yield error("engine", 2 * sigma * noise_loss.engine_loss(mu, v, k)[2], derived, 1e-10)


@checks(
    "N24",
    place="Sec. 2.3",
    title="Gradient by the last weights through the noise",
    verdict="wrong",
    uses=("N23", "N25"),
    printed=LAST_LINE,
    derived=r"$$\frac{\partial\mathrm{Loss}}{\partial\sigma_i}=\frac{(\mu_k-\mu_i)\sigma_i}{(n-1)\sqrt{2\pi}\,"
    r"S_i^{3/2}}\exp\left(-\frac{(\mu_k-\mu_i)^2}{2S_i}\right),\quad\frac{\partial\sigma_i}{\partial W_{ij}}="
    r"\frac{W_{ij}v_j}{\sigma_i},\quad S_i=\sigma_i^2+\sigma_k^2$$",
    because=r"Four slips. The exponent lacks its square and has $-$ for $+$; once that is repaired the constant is too "
    r"large by exactly $\sqrt2(n-1)$; and the factor $\sigma_{(output-1)_j}$ belongs to deviations that pass an affine "
    r"layer linearly (N25). In the row $i=k$ the exponent is $0/0$, where the true slope is not 0.",
    instead=r"the derived gradient: a cotangent of the variance, $2W\circ\partial v$ in the weights",
    symbols=(
        "npsnn.ops.loss.win_probability",
        "npsnn.objectives.noise_aware",
        "npsnn.layers.affine.Affine.pull",
    ),
    headline="constant {constant too large by} times too large at n = 6; printed off by {printed off by, relative} "
    "times the truth",
)
def n24(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    n, inputs, k = 6, 5, 2
    W, v_below = rng.uniform(0.3, 0.6, (n, inputs)) * rng.choice([-1, 1], (n, inputs)), rng.uniform(0.8, 1.2, inputs)
    W[k] /= 2  # keeps v_k apart from the others, where the printed exponent is infinite
    mu = rng.uniform(-0.4, 0.4, n)
    mu[k] = 1

    def by_weight(w: Floats) -> float:
        return loss.noise_aware(mu, (w**2) @ v_below, k)

    v = (W**2) @ v_below
    found = differences.gradient(lambda s: loss.noise_aware(mu, s**2, k), np.sqrt(v))
    derived = gradient.d_deviation(mu, v, k)
    yield error("derived", derived, found, 1e-8)
    ratio = without(gradient.d_deviation_constant_printed(mu, v, k), k) / without(found, k)
    yield near("constant too large by", ratio.mean(), sqrt(2) * (n - 1), 1e-6)
    yield error("constant, in every row", ratio, sqrt(2) * (n - 1) * np.ones(n - 1), 1e-6)
    printed = without(gradient.d_deviation_printed(mu, v, k), k)
    wanted = without(found, k)
    yield above("printed off by, relative", np.abs(printed - wanted).max() / np.abs(wanted).max(), 3)
    apart, total = without(v, k) - v[k], without(v, k) + v[k]
    exponent = (mu[k] - without(mu, k)) / (2 * apart) + (mu[k] - without(mu, k)) ** 2 / (2 * total)
    found_exponent = np.log(printed / (ratio * wanted))
    yield error("exponent less the repaired one", found_exponent, exponent, 1e-8)
    # what is left of the error once the exponent and the constant are right
    at_right_scale = printed / (sqrt(2) * (n - 1))
    yield above("exponent alone off by, relative", np.abs(at_right_scale / wanted - 1).max(), 0.2)
    yield above("row k of the truth over the largest", abs(found[k]) / np.abs(found).max(), 0.05)

    through = differences.gradient(by_weight, W)
    yield error("derived, by the weights", gradient.d_weight(derived, W, v_below), through, 1e-8)
    linear = gradient.d_weight_printed(derived, W, v_below)
    yield error("linear factor over the true one", linear / through, np.sqrt(v)[:, None] / (W * np.sqrt(v_below)), 1e-6)
    yield above("linear factor off by, relative", np.abs(linear - through).max() / np.abs(through).max(), 0.3)
    yield error("engine", 2 * np.sqrt(v) * noise_loss.engine_loss(mu, v, k)[2], derived, 1e-10)
    yield error("engine, by the weights", engine_weights(mu, W, v_below, k), through, 1e-8)


def engine_weights(mu: Floats, W: Floats, v_below: Floats, k: int) -> Floats:
    """∂Loss/∂W through the variances alone, by the engine's last layer and loss."""
    params = {"w": W, "b": mu}
    below = Moments(np.zeros((W.shape[1], 1)), v_below[:, None])
    m, backward = Linear(len(W)).forward(params, below, Propagated())
    assert m.var is not None
    dvar = noise_loss.engine_loss(m.mean[:, 0], m.var[:, 0], k)[2]
    dw: Floats = backward(Moments(0 * m.mean, dvar[:, None]), Want.PARAMS)[1]["w"]
    return dw


@checks(
    "N35",
    place="Sec. 4",
    title="Gradient by the means of the other classes",
    verdict="sign error",
    uses=("N20", "N37"),
    printed=r"$$\frac{d\mathrm{Loss}}{d\mu_i}=\alpha_i-\frac1{c(\sigma_i^2+\sigma_k^2)}\exp\left(\frac{-(\mu_i-\mu_k)^2}"
    r"{2(\sigma_i^2+\sigma_k^2)}\right)\quad(i\ne k)$$",
    derived=r"$$\frac{d\mathrm{Loss}}{d\mu_i}=\alpha_i+\frac1{c\sqrt{\sigma_i^2+\sigma_k^2}}\exp\left("
    r"\frac{-(\mu_i-\mu_k)^2}{2(\sigma_i^2+\sigma_k^2)}\right)\quad(i\ne k)$$",
    because="The sign of the noise term is that of the printed loss (N20), carried through, and the root is missing; "
    "finite differences of the derived loss agree with the derived form. With N36, the printed noise part points "
    r"against the true one: at a fitted point (margins 1, variances 0.25, $n=10$) the cosine is $-1/\sqrt{10}$, and a "
    "step of the means up the printed gradient lowers the loss.",
    instead=r"the derived gradient",
    symbols=("npsnn.ops.loss.win_probability", "npsnn.objectives.noise_aware"),
    headline="loss at a fitted point {loss at a fitted point}; a step up the derived gradient {a step up the derived "
    "gradient}, up the printed {up the printed one}",
)
def n35(lab: Lab) -> Iterator[Figure]:
    mu, v, k = noise_loss.point(lab.rng())
    wanted = differences.gradient(lambda m: loss.noise_aware(m, v, k), mu)
    derived, printed, still = gradient.d_mean(mu, v, k), gradient.d_mean_printed(mu, v, k), gradient.alpha(mu, k)
    yield error("derived", without(derived, k), without(wanted, k), 1e-8)
    yield error("engine", without(noise_loss.engine_loss(mu, v, k)[1], k), without(wanted, k), 1e-8)
    # the printed term over the true one: -1/√S
    factor = without((printed - still) / (wanted - still), k)
    yield error("printed over true noise term", factor, -1 / np.sqrt(without(v, k) + v[k]), 1e-6)
    yield below("cosine at a random point", cosine(printed - still, wanted - still), -0.2)

    mu, v, k = np.eye(10)[0], np.full(10, 0.25), 0
    start = loss.noise_aware(mu, v, k)
    yield shown("loss at a fitted point", start)
    up = {"a step up the derived gradient": gradient.d_mean, "up the printed one": gradient.d_mean_printed}
    g = {name: f(mu, v, k) for name, f in up.items()}
    after = {name: loss.noise_aware(mu + 0.3 * d / sqrt(float(d @ d)), v, k) for name, d in g.items()}
    yield above("a step up the derived gradient", after["a step up the derived gradient"], start + 0.05)
    yield below("up the printed one", after["up the printed one"], start - 0.005)
    yield near("cosine", cosine(*g.values()), -1 / sqrt(10), 1e-6)


@checks(
    "N36",
    place="Sec. 4",
    title="Gradient by the mean of the true class",
    verdict="wrong",
    uses=("N20", "N37"),
    printed=r"$$\frac{d\mathrm{Loss}}{d\mu_k}=\alpha_k$$",
    derived=r"$$\frac{d\mathrm{Loss}}{d\mu_k}=\alpha_k-\sum_{i\ne k}\frac1{c\sqrt{\sigma_i^2+\sigma_k^2}}\exp\left("
    r"\frac{-(\mu_i-\mu_k)^2}{2(\sigma_i^2+\sigma_k^2)}\right)$$",
    because=r"Every comparison holds $\mu_k$, so every term of the sum over $i$ has a slope in it; finite differences "
    r"agree with the derived form. The noise part must sum to 0 over the classes, since a common shift of all means "
    r"changes no comparison: the derived one does, the printed one does not, even with N35 repaired.",
    instead=r"the derived gradient",
    symbols=("npsnn.ops.loss.win_probability", "npsnn.objectives.noise_aware"),
    headline="by differences {by differences}, derived {derived}, printed {printed}",
)
def n36(lab: Lab) -> Iterator[Figure]:
    mu, v, k = noise_loss.point(lab.rng())
    wanted = differences.gradient(lambda m: loss.noise_aware(m, v, k), mu)
    derived, printed, still = gradient.d_mean(mu, v, k), gradient.d_mean_printed(mu, v, k), gradient.alpha(mu, k)
    yield shown("by differences", wanted[k])
    yield near("derived", derived[k], wanted[k], 1e-8)
    yield near("printed", printed[k], still[k], 1e-12)
    yield above("printed off by", abs(printed[k] - wanted[k]), 0.05)
    yield near("sum of the noise part, derived", (derived - still).sum(), 0, 1e-12)
    repaired = np.where(np.arange(len(mu)) == k, printed, derived)
    yield above("sum of the noise part, N35 repaired alone", (repaired - still).sum(), 0.05)
    yield near("engine", noise_loss.engine_loss(mu, v, k)[1][k], wanted[k], 1e-8)


@checks(
    "N37",
    place="Sec. 4",
    title="The two constants",
    verdict="correct",
    uses=("N18", "N20"),
    printed=r"$\alpha_i=\frac2n(\mu_i-y^{(i)})$ and $c=(n-1)\sqrt{2\pi}$",
    derived=r"as printed",
    because=r"$\alpha_i$ is the slope of the squared error, and $1/c$ the height of the normal density over the $n-1$ "
    r"comparisons; finite differences of either term confirm it.",
    instead=r"as printed",
    symbols=("npsnn.ops.loss.squared_error", "npsnn.ops.loss.win_probability"),
    headline="c by differences {c by differences}, c {c}",
)
def n37(lab: Lab) -> Iterator[Figure]:
    mu, v, k = noise_loss.point(lab.rng())
    n = len(mu)
    alpha = gradient.alpha(mu, k)
    yield error("alpha", alpha, differences.gradient(lambda m: loss.mse(m, k), mu), 1e-8)
    lost = without(differences.gradient(lambda m: -loss.mean_win(m, v, k), mu), k)
    s = without(v, k) + v[k]
    bells = np.array([gradient.bell(d, q) for d, q in zip(mu[k] - without(mu, k), s, strict=True)])
    yield near("c by differences", (bells / (np.sqrt(s) * lost)).mean(), gradient.c(n), 1e-6)
    yield shown("c", gradient.c(n))
    yield error("engine's alpha", engine.squared_error(mu[:, None], np.array([k]))[1][:, 0], alpha, 1e-12)
    won = engine.win_probability(mu[:, None], v[:, None], np.array([k]))[1][:, 0]
    yield error("engine's c", bells / (np.sqrt(s) * -without(won, k)), np.full(n - 1, gradient.c(n)), 1e-10)
