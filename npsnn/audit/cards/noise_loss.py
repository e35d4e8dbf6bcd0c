"""Cards of the noise paper's loss (Sec. 2.2): its definition, the win probabilities, the sign of the closed form."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from npsnn import objectives
from npsnn.audit import networks
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.layers.affine import Linear
from npsnn.layers.base import Want
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.params import flatten
from npsnn.ops import loss as engine
from npsnn.reference import differences, gradient, loss, montecarlo

Point: TypeAlias = tuple[Floats, Floats, int]


def point(rng: np.random.Generator) -> Point:
    """Means and variances of six outputs, and the label, which wins rather more than half of its comparisons."""
    mu, k = 0.5 * rng.standard_normal(6), 2
    mu[k] = np.delete(mu, k).mean() + rng.uniform(0.3, 0.6)
    return mu, rng.uniform(0.1, 0.6, 6), k


def engine_loss(mu: Floats, var: Floats, k: int) -> tuple[float, Floats, Floats]:
    """The engine's noise-aware loss of one example and its gradients; var: variances (n,) or a covariance (n, n)."""
    value, g = objectives.noise_aware(Moments(mu[:, None], var[..., None]), np.array([k]))
    assert g.var is not None
    return float(value[0]), g.mean[:, 0], g.var[..., 0]


@checks(
    "N18",
    place="Sec. 2.2",
    title="The stochastic loss",
    verdict="correct",
    printed=r"$$\mathrm{Loss}=\frac1n\sum_{i=1}^n(y^{(i)}-\mu_i)^2-\sum_{i\ne k}\frac1{n-1}\mathbb P(Y_k>Y_i)$$",
    derived=r"as printed; the text then calls the mean $\mu^{(i)}$ and means $\mu_i$",
    because=r"A definition, which draws of the outputs confirm term by term. The squared error is that of the mean: "
    r"that of the noisy outputs is larger by the mean variance, so the variances enter by the second term alone.",
    instead=r"as printed, with one-hot targets $y$",
    symbols=("npsnn.objectives.noise_aware", "npsnn.ops.loss.squared_error", "npsnn.ops.loss.win_probability"),
    headline="Monte Carlo {Monte Carlo}, formula {formula}, engine {engine}",
)
def n18(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    mu, v, k = point(rng)
    logits = montecarlo.gaussian(mu, v, lab.draws(100_000), rng)
    estimate, standard_error = montecarlo.noise_aware(mu, logits, k)
    formula = loss.noise_aware(mu, v, k)
    yield drawn("Monte Carlo", estimate, standard_error, formula)
    yield shown("formula", formula)
    yield near("engine", engine_loss(mu, v, k)[0], formula, 1e-12)
    noisy = ((logits - np.eye(len(mu))[k]) ** 2).mean(axis=1)
    excess = noisy.mean() - float(engine.squared_error(mu[:, None], np.array([k]))[0][0])
    yield drawn("squared error of the draws over that of the mean", excess, noisy.std() / len(noisy) ** 0.5, v.mean())


@checks(
    "N19",
    place="Sec. 2.2",
    title="Which of two Gaussians is larger",
    verdict="typo",
    uses=("N7",),
    printed=r"$$\mathbb P(X_1>X_2)=\mathrm{CDF}_{X_2-X_1}(0)=\frac12\left[1+\operatorname{erf}\left(\frac{\mu_1-\mu_2}"
    r"{\sqrt{2(\sigma_{1,1}^2+\sigma_{2,2}^2-2\sigma_{1,2})}}\right)\right],\quad"
    r"(\Sigma)_{1\le i,j\le2}=\sigma_{1,2}^2$$",
    derived=r"$$\mathbb P(X_1>X_2)=\frac12\left[1+\operatorname{erf}\left(\frac{\mu_1-\mu_2}"
    r"{\sqrt{2(\Sigma_{11}+\Sigma_{22}-2\Sigma_{12})}}\right)\right]$$",
    because=r"The formula is right when $\sigma_{1,1}^2$ and $\sigma_{2,2}^2$ are read as variances and $\sigma_{1,2}$ "
    r"as the covariance: draws and an integral over $X_1$ agree with it. The matrix is defined with fixed subscripts "
    r"and a square on every entry; by that letter $\sigma_{1,2}$ is the root of the covariance, of the wrong unit, and "
    r"the probability is measurably off.",
    instead=r"the derived reading, for variances and for a full covariance of the logits",
    symbols=("npsnn.ops.loss.win_probability", "npsnn.ops.loss.margins"),
    headline="Monte Carlo {Monte Carlo}, formula {formula}, to the letter {to the letter}",
)
def n19(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    s1, s2, correlation = rng.uniform(0.9, 1.0), rng.uniform(0.9, 1.0), rng.uniform(0.3, 0.5)
    mu = np.array([0.8, 0.0])
    S = np.array([[s1**2, correlation * s1 * s2], [correlation * s1 * s2, s2**2]])
    unit = montecarlo.gaussian(np.zeros(2), np.ones(2), lab.draws(200_000), rng)
    won = montecarlo.wins(montecarlo.affine(unit, np.linalg.cholesky(S), mu), 0)
    formula = loss.pair_probability(mu, S)
    yield drawn("Monte Carlo", won.mean(), won.std() / len(won) ** 0.5, formula)
    yield shown("formula", formula)
    yield error("by integration", loss.pair_probability_by_integration(mu, S), formula, 1e-9)
    literal = loss.pair_probability_printed(mu, S)
    yield shown("to the letter", literal)
    yield above("to the letter off by", abs(literal - formula), 0.03)
    found = engine.win_probability(mu[:, None], S[..., None], np.array([0]))[0]
    yield near("engine", float(found[0]), formula, 1e-12)
    apart = engine.win_probability(mu[:, None], np.diag(S)[:, None], np.array([0]))[0]
    yield near("engine, independent", float(apart[0]), loss.pair_probability(mu, np.diag(np.diag(S))), 1e-12)


@checks(
    "N20",
    place="Sec. 2.2",
    title="Sign of the closed-form loss",
    verdict="sign error",
    uses=("N18", "N19", "N21"),
    printed=r"$$\mathrm{Loss}=\mathrm{MSE}-\sum_{i\ne k}\frac1{2n-2}\left[1+\operatorname{erf}\left(\frac{\mu_i-\mu_k}"
    r"{\sqrt{2(\sigma_i^2+\sigma_k^2)}}\right)\right]$$",
    derived=r"$$\mathrm{Loss}=\mathrm{MSE}-\sum_{i\ne k}\frac1{2n-2}\left[1+\operatorname{erf}\left(\frac{\mu_k-\mu_i}"
    r"{\sqrt{2(\sigma_i^2+\sigma_k^2)}}\right)\right]$$",
    because=r"The definition rewards $P(Y_k>Y_i)$; the printed `erf` has its arguments exchanged and rewards "
    r"$P(Y_i>Y_k)$, as the sentence before it says. Descended in the means with the variances held, the derived form "
    r"brings the mean $P(Y_k>Y_i)$ above what the squared error alone does, and the printed one far below it.",
    instead=r"the derived sign; the printed form is in `npsnn.reference.loss` for comparison only",
    symbols=("npsnn.ops.loss.win_probability", "npsnn.objectives.noise_aware"),
    headline="Monte Carlo {Monte Carlo}, derived {derived}, printed {printed}",
)
def n20(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    mu, v, k = point(rng)
    logits = montecarlo.gaussian(mu, v, lab.draws(200_000), rng)
    estimate, standard_error = montecarlo.noise_aware(mu, logits, k)
    derived, printed = loss.noise_aware(mu, v, k), loss.noise_aware_printed(mu, v, k)
    yield drawn("Monte Carlo", estimate, standard_error, derived)
    yield shown("derived", derived)
    yield shown("printed", printed)
    yield above("printed off by, in standard errors", abs(printed - estimate) / standard_error, 20)
    yield near("engine", engine_loss(mu, v, k)[0], derived, 1e-12)
    won = {sign: loss.mean_win(descended(mu, v, k, sign), v, k) for sign in (1, 0, -1)}
    yield above("mean win after descent, derived", won[1], won[0] + 0.005)
    yield shown("mean win after descent, squared error alone", won[0])
    yield below("mean win after descent, printed", won[-1], won[0] - 0.1)


def descended(mu: Floats, v: Floats, k: int, sign: int, steps: int = 60) -> Floats:
    """The means after gradient descent from mu, v held: on the derived loss, the MSE (0) or the printed one (-1)."""
    for _ in range(steps):
        still = gradient.alpha(mu, k)
        mu = mu - 0.5 * (still + sign * (gradient.d_mean(mu, v, k) - still))
    return mu


@checks(
    "N21",
    place="Sec. 2.2",
    title="Independent outputs",
    verdict="approximation",
    uses=("N15", "N16", "N19"),
    printed=r"$Y_1,\dots,Y_n$ independent, so that $\mathrm{Var}(Y_k-Y_i)=\sigma_i^2+\sigma_k^2$",
    derived=r"$$\mathrm{Var}(Y_k-Y_i)=\sum_j(W_{kj}-W_{ij})^2v_j$$ for the last layer $Y=WX+b$ with independent inputs "
    r"of variances $v_j$",
    because=r"The outputs of the last layer share their inputs and are correlated. Draws agree with the difference "
    r"form; some variances of the independent form are off by more than a tenth, most often by tens of per cent, at no "
    r"saving: for one label both cost one pass over the weights.",
    instead=r"a last layer with `joint=True` carries the covariance $W\operatorname{diag}(v)W^\top$, from which the "
    r"pairs are compared exactly; without it the independent form",
    symbols=(
        "npsnn.ops.linear.joint_covariance",
        "npsnn.ops.linear.joint_covariance_backward",
        "npsnn.ops.loss.margins",
        "npsnn.layers.affine.Linear",
    ),
    headline="Monte Carlo {Monte Carlo}, difference form {difference form}, independent {independent}",
)
def n21(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    n, inputs, k = 6, 8, 2
    W, mu, v_below = 0.4 * rng.standard_normal((n, inputs)), 0.5 * rng.standard_normal(n), rng.uniform(0.1, 0.6, inputs)
    logits = montecarlo.affine(montecarlo.gaussian(np.zeros(inputs), v_below, lab.draws(60_000), rng), W, mu)
    estimate, standard_error = montecarlo.noise_aware(mu, logits, k)
    difference = loss.noise_aware_difference(mu, W, v_below, k)
    v = np.array([sum(W[i, j] ** 2 * v_below[j] for j in range(inputs)) for i in range(n)])
    yield drawn("Monte Carlo", estimate, standard_error, difference)
    yield shown("difference form", difference)
    yield shown("independent", loss.noise_aware(mu, v, k))
    others = [i for i in range(n) if i != k]
    exact = np.array([loss.difference_variance(W, v_below, i, k) for i in others])
    spread = montecarlo.estimate(logits[:, [k]] - logits[:, others])
    yield deviation("variances, in standard errors", spread.var, spread.var_error, exact)
    yield above("independent variance off by, relative", np.abs((v[others] + v[k]) / exact - 1).max(), 0.1)

    inputs_of = Moments(np.zeros((inputs, 1)), v_below[:, None])
    m, backward = Linear(n, joint=True).forward({"w": W, "b": mu}, inputs_of, Propagated())
    assert m.var is not None
    value, dmu, dS = engine_loss(m.mean[:, 0], m.var[..., 0], k)
    yield near("engine", value, difference, 1e-12)
    below, grads = backward(Moments(dmu[:, None], dS[..., None]), Want.BOTH)
    assert below is not None and below.var is not None
    yield from _difference_gradients((mu, W, v_below, k), {"mu": grads["b"], "W": grads["w"], "v": below.var[:, 0]})


def _difference_gradients(at: tuple[Floats, Floats, Floats, int], found: dict[str, Floats]) -> Iterator[Figure]:
    mu, W, v_below, k = at
    derived = dict(zip(found, gradient.d_difference(mu, W, v_below, k), strict=True))
    wanted = {
        "mu": differences.gradient(lambda a: loss.noise_aware_difference(a, W, v_below, k), mu),
        "W": differences.gradient(lambda a: loss.noise_aware_difference(mu, a, v_below, k), W),
        "v": differences.gradient(lambda a: loss.noise_aware_difference(mu, W, a, k), v_below),
    }
    for name, g in found.items():
        yield error(f"gradient by {name}", derived[name], wanted[name], 1e-8)
        yield error(f"engine's gradient by {name}", g, derived[name], 1e-10)


@checks(
    "N22",
    place="Eq. 7, 8",
    title="What is minimised",
    verdict="correct",
    uses=("N1", "N18", "N20"),
    printed=r"$$(\mathbf W^*,\mathbf B^*)=\operatorname{arg}\min_{\mathbf W,\mathbf B}"
    r"\mathrm{Loss}(\mathbf W,\mathbf B,\sigma),\quad(\mathbf W^*,\mathbf B^*,\sigma^*)="
    r"\operatorname{arg}\min_{\mathbf W,\mathbf B,\sigma}\mathrm{Loss}(\mathbf W,\mathbf B,\sigma)$$",
    derived=r"as printed",
    because=r"Definitions. The loss is a function of weights, biases and $\sigma$, with a gradient in each that finite "
    r"differences confirm. Whether Eq. 8 has a minimum at a $\sigma>0$ is another matter: N29 to N31.",
    instead=r"the noise layer's deviation is a parameter; it is learnt only if asked for",
    symbols=("npsnn.layers.noise.PreactivationNoise", "npsnn.objectives.noise_aware"),
    headline="slope along W and B {slope along W and B}, differences {by differences, W and B}; along sigma {slope "
    "along sigma}, differences {by differences, sigma}",
)
def n22(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    network = networks.perceptron(rng, (5, 8, 6, 4))
    x, k = rng.uniform(size=(1, 1, 5)), 1
    found = networks.slopes(network, x, k, "exact", "noise-aware")
    params = flatten(network.params)

    def along(names: list[str]) -> tuple[float, float]:
        directions = {name: rng.standard_normal(params[name].shape) for name in names}
        length = sum((d**2).sum() for d in directions.values()) ** 0.5

        def moved(t: float) -> float:
            changed = params | {name: params[name] + t / length * d for name, d in directions.items()}
            return networks.loss(network, changed, x, k, "exact", "noise-aware")

        slope = sum((found.params[name] * d).sum() for name, d in directions.items())
        return float(slope / length), differences.slope(moved, step=1e-4)

    for title, noise in (("W and B", False), ("sigma", True)):
        slope, difference = along([name for name in params if name.endswith(".sigma") == noise])
        yield near(f"slope along {title}", slope, difference, 1e-7)
        yield shown(f"by differences, {title}", difference)
