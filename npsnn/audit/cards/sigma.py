"""Cards of the noise as a parameter (noise paper Sec. 7): the reward for noise, Table 1, and the hypothesis H."""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from npsnn import objectives
from npsnn.audit import networks
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, error, near, shown
from npsnn.classifier import Classifier
from npsnn.layers.params import flatten
from npsnn.reference import differences, loss, sigma

ALPHA = sigma.PRINTED_ALPHA
TINY = float(np.finfo(np.float64).tiny)


def small(rng: np.random.Generator, noise: float) -> tuple[Classifier, Floats]:
    """A perceptron with independent outputs, and an image."""
    return networks.perceptron(rng, (6, 8, 8, 4), noise, joint=False), rng.uniform(size=(1, 1, 6))


def moments(network: Classifier, x: Floats, rule: str = "laplace") -> tuple[Floats, Floats]:
    """Means and variances of the outputs for one image: (n,) each."""
    mean, var = network.moments(x[None], rule)
    return mean[0], var[0]


def engine_bimodel(network: Classifier, x: Floats, k: int, noise: float, rule: str, **params: Floats) -> float:
    """The engine's noise-aware loss of one image at this sigma, with its reward for the noise."""
    changed = flatten(network.params) | {"noise.sigma": np.array(noise)} | params
    return networks.loss(network, changed, x, k, rule, "noise-aware") + objectives.sigma_reward(noise, ALPHA)[0]


@checks(
    "N29",
    place="Sec. 7",
    title="The reward for noise",
    verdict="correct",
    uses=("N13", "N18"),
    printed=r"$$\mathrm{Loss}=\mathrm{MSE}-\sum_{i\ne k}\frac1{n-1}\mathbb P(Y_k>Y_i)-\alpha\sigma^2$$",
    derived=r"as printed, but unbounded below: $\mathrm{Loss}\le\mathrm{MSE}-\alpha\sigma^2\to-\infty$",
    because=r"The formula adds the reward with the right sign. It has no minimum over $\sigma$: under the paper's rule "
    r"the squared error does not depend on $\sigma$ and the probabilities lie between 0 and 1, so the reward wins. "
    r"With exact moments the means grow with $\sigma$ too, but last weights of 0 still let the loss fall for ever.",
    instead=r"$\sigma$ is capped wherever the reward is used",
    symbols=("npsnn.objectives.sigma_reward",),
    headline="loss at sigma 1, 10, 100: {loss at sigma 1}, {at sigma 10}, {at sigma 100}",
)
def n29(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    network, x = small(rng, 1.0)
    k = 1
    still = loss.mse(moments(network, x)[0], k)
    for noise in (1.0, 10.0, 100.0):
        mu, v = moments(network.with_sigma(noise), x)
        value = sigma.bimodel(mu, v, k, noise, ALPHA)
        title = "loss at sigma 1" if noise == 1 else f"at sigma {noise:g}"
        yield Figure(title, value, still - 1 - ALPHA * noise**2, still - ALPHA * noise**2)
        yield error(f"engine, {title}", engine_bimodel(network, x, k, noise, "laplace"), value, 1e-9)
    by_sigma = differences.slope(lambda s: objectives.sigma_reward(s, ALPHA)[0], 0.7)
    yield near("engine's slope of the reward", objectives.sigma_reward(0.7, ALPHA)[1], by_sigma, 1e-9)
    yield near("slope of the reward", by_sigma, -2 * ALPHA * 0.7, 1e-9)
    yield shown("exact moments, at sigma 100", engine_bimodel(network, x, k, 100.0, "exact"))
    none = np.zeros_like(network.params["fc3"]["w"])
    fallen = engine_bimodel(network, x, k, 100.0, "exact", **{"fc3.w": none})
    yield below("exact moments, at sigma 100, last weights 0", fallen, -ALPHA * 100**2 + 2)


@checks(
    "N30",
    place="Sec. 7, Table 1",
    title="The rewarded noise that training ends at",
    verdict="inconsistent",
    uses=("N14", "N20", "N22", "N29"),
    printed=r"$\sigma^*=0.79$ at $\alpha=0.25$: "
    r'"the value of noise standard deviation that the trained model converged to"',
    derived=r"$$\frac{\partial\mathrm{Loss}}{\partial\sigma}=\frac1\sigma\overline{r\varphi(r)}-2\alpha\sigma,\quad "
    r"r=\frac{\mu_k-\mu_i}{\sqrt{\sigma_i^2+\sigma_k^2}}\quad\Rightarrow\quad\sigma^*\le\sqrt{\frac{\varphi(1)}"
    r"{2\alpha}}=0.6957$$ (bar: mean over samples and $i\ne k$), and at a minimum "
    r"$$\sigma^*\le\sqrt{\frac{\sqrt3\varphi(\sqrt3)}{2\alpha}}=0.5553$$",
    because=r"Under the paper's rule $r$ scales as $1/\sigma$, and $r\varphi(r)\le\varphi(1)$ for every $r$: at 0.79 "
    r"the slope is negative whatever the weights, so the loss still falls as $\sigma$ grows. Where it has a minimum, "
    r"$\overline{(r^2-3)r\varphi(r)}\ge0$ as well. Table 1's value can be an unfinished run or a jump of the variance "
    r"masks, which no gradient sees (N14), but no point at which training converges.",
    instead=r"the bound is a function, and the trainer reports $\sigma$ and its gradient",
    symbols=("npsnn.objectives.largest_stationary_sigma", "npsnn.objectives.sigma_reward"),
    headline="Table 1 {Table 1}; stationary at most {stationary at most}, a minimum at most {minimum at most}",
)
def n30(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    bound, minimum, table = sigma.largest_stationary(ALPHA), sigma.largest_minimum(ALPHA), sigma.TABLE_1_BIMODEL
    yield above("Table 1", table, bound + 0.05)
    yield near("stationary at most", bound, 0.6957, 5e-5)
    yield near("minimum at most", minimum, 0.5553, 5e-5)
    yield near("engine", objectives.largest_stationary_sigma(ALPHA), bound, 1e-12)
    # both bounds are reached, by a single margin
    yield near("slope at the first bound, r = 1", sigma.slope(np.array([bound]), bound, ALPHA), 0, 1e-12)
    at = sqrt(3) * minimum
    yield near("slope at the second, r = √3", sigma.slope(np.array([at]), minimum, ALPHA), 0, 1e-12)
    bend = differences.slope(lambda s: sigma.slope(np.array([at]), s, ALPHA), minimum)
    yield near("its change there", bend, 0, 1e-8)
    steepest = max(sigma.slope(np.array([m]), table, ALPHA) for m in np.linspace(-3, 6, 181))
    yield Figure("largest slope at Table 1, any margin", steepest, -0.09, -0.08)

    grid = np.linspace(0.05, 1.9, 75)
    stationary, minima = [], []
    for size in rng.integers(1, 5, 80):
        margins = rng.uniform(-0.2, 1.4, size)
        up = np.array([sigma.slope(margins, float(s), ALPHA) for s in grid]) >= 0
        stationary += [grid[:-1][up[:-1] != up[1:]].max(initial=0)]
        minima += [grid[:-1][~up[:-1] & up[1:]].max(initial=0)]
    yield below("largest stationary point found", max(stationary), bound)
    yield below("largest minimum found", max(minima), minimum)
    yield from _engine_slope(rng, table)


def _engine_slope(rng: np.random.Generator, noise: float) -> Iterator[Figure]:
    network, x = small(rng, noise)
    k, name = 1, "noise.sigma"
    mu, v = moments(network, x)
    margins = np.array([(mu[k] - mu[i]) / sqrt(v[i] + v[k]) * noise for i in range(len(mu)) if i != k])
    wanted = sigma.slope(margins, noise, ALPHA)
    yield near("by the variances", sigma.slope_by_variances(mu, v, k, noise, ALPHA) - wanted, 0, 1e-12)
    params = flatten(network.params)

    def along(s: float) -> float:
        changed = params | {name: np.array(s)}
        return networks.loss(network, changed, x, k, "laplace", "noise-aware") - ALPHA * s**2

    # a step too short to meet a jump of the masks
    yield near("by differences", differences.slope(along, noise, step=1e-6) - wanted, 0, 1e-7)
    found = networks.slopes(network, x, k, "laplace", "noise-aware").params[name]
    rewarded = float(found) + objectives.sigma_reward(noise, ALPHA)[1]
    yield near("engine's slope less the formula's", rewarded - wanted, 0, 1e-10)
    yield below("engine's slope at Table 1", rewarded, -0.08)


@checks(
    "N31",
    place="Sec. 7, Table 1",
    title="A final sigma that is not 0",
    verdict="wrong",
    uses=("N14", "N20", "N22", "N42"),
    printed=r'$\sigma^*=0.7$ from $\sigma_0=1.9$ without a reward: "the model converges to a non-zero $\sigma$ value, '
    r'which refutes the Hypothesis $\mathcal H$" (that $\sigma$ converges to 0)',
    derived=r"$$\frac{\partial\mathrm{Loss}}{\partial\sigma}=\frac1\sigma\overline{r\varphi(r)}>0$$ for every "
    r"$\sigma>0$ as long as the margins $m$ are positive, so that no $\sigma>0$ is stationary. While they are bounded "
    r"the only limit is 0, but after a time $t$ gradient flow has come down to about $\sigma\approx m/\sqrt{2\ln t}$ "
    r"only",
    because=r"A value that a training ends at is no limit, and refutes nothing. With $r=m/\sigma$ the slope is "
    r"$r\varphi(r)/\sigma$ and dies like $e^{-r^2/2}$: from 1.9 with steps of 0.01 the descent seems to stop at a "
    r"value set by the margin, and half of it is more than $10^9$ steps away. An integral of the flow gives the same "
    r"times. Margins that grow without bound, as weights that outgrow the noise make them (N42), would halt $\sigma$ "
    r"too, at a value that says nothing. With the printed sign of N20 and positive margins $\sigma$ would have grown, "
    r"so the paper's code presumably has the other.",
    instead=r"the trainer reports $\partial\mathrm{Loss}/\partial\sigma$ next to $\sigma$",
    symbols=("npsnn.layers.noise.PreactivationNoise", "npsnn.objectives.noise_aware"),
    headline="sigma after a long descent from 1.9: {from 1.9, margin 0.5}, {margin 1}, {margin 2}, {margin 4} for "
    "margins 0.5, 1, 2, 4",
)
def n31(lab: Lab) -> Iterator[Figure]:
    steps = 100_000 if lab.thorough else 10_000
    # what the descent has come down to, at these margins
    ends = (0.0889, 0.1882, 0.4025, 0.8731) if lab.thorough else (0.0989, 0.2130, 0.4697, 1.0713)
    for margin, end in zip((0.5, 1.0, 2.0, 4.0), ends, strict=True):
        title = f"from 1.9, margin {margin:g}" if margin < 1 else f"margin {margin:g}"
        last = float(sigma.flow(margin, steps)[-1])
        yield near(title, last, end, 1e-4)
        time = sigma.flow_time(margin, sigma.TABLE_1_START, last)
        yield near(f"time by integration over that of the steps, {title}", time / (0.01 * steps), 1, 1e-3)
        half = sigma.flow_time(margin, last, last / 2) / 0.01
        yield above(f"steps from there to half of it, {title}", half, 1e9)
    grid = np.linspace(0.15, 1.9, 50)
    least = min(sigma.slope(np.array([m]), float(s)) for s in grid for m in (0.5, 1.0, 2.0, 4.0))
    yield above("least slope, margins > 0", least, TINY)
    # margins 1 and two outputs of deviation sigma each, S = 2 sigma²
    fitted = np.array([sqrt(0.5)])
    yield below(
        "slope at an output deviation of 0.15 over 0.5", sigma.slope(fitted, 0.15) / sigma.slope(fitted, 0.5), 1e-3
    )
    grown = min(float(sigma.flow(m, 1000, sign=-1)[-1]) for m in (0.5, 1.0, 2.0, 4.0))
    yield above("least sigma after 1000 steps with the printed sign", grown, sigma.TABLE_1_START + 0.3)

    rng = lab.rng()
    slopes = []
    for noise in (0.2, 0.7, 1.9):
        network, x = small(rng, noise)
        mu, v = moments(network, x)
        k = int(mu.argmax())
        found = float(networks.slopes(network, x, k, "laplace", "noise-aware").params["noise.sigma"])
        slopes.append(found)
        yield near(f"engine less the formula at {noise}", found - sigma.slope_by_variances(mu, v, k, noise), 0, 1e-10)
    yield above("engine's least slope, margins > 0", min(slopes), TINY)
