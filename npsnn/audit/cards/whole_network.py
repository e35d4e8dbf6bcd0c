"""Cards of the noise paper that are about the network as a whole: its training problem, its noise and its mean."""

from collections.abc import Iterator

import numpy as np

from npsnn import models, optim
from npsnn.audit import networks
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.classifier import Classifier
from npsnn.layers.moments import Propagated
from npsnn.layers.params import flatten, unflatten
from npsnn.objectives import OBJECTIVES
from npsnn.ops import gaussian
from npsnn.reference import affine, differences, montecarlo, plain
from npsnn.train.losses import base


@checks(
    "N1",
    place="Eq. 1",
    title="The training problem",
    verdict="correct",
    printed=r"$$\min_W\mathbb E_{(x,y)\sim\mathcal D}\left[\mathcal L_\sigma(W,f(x),y)\right]$$",
    derived=r"as printed, with $W$ for weights and biases (Eq. 7 has both) and the mean over training images for the "
    r"expectation",
    because=r"A definition. The gradient that training descends is the slope of the mean loss over images, in weights "
    r"and biases, by differences of its values.",
    instead=r"as printed; $\sigma$ is a parameter only where it is learned (Eq. 8)",
    symbols=("npsnn.train.losses.base.one_view", "npsnn.objectives.noise_aware"),
    headline="engine {engine}, differences {differences}",
)
def n1(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    network = networks.convolutional(rng)
    images, labels = rng.uniform(0, 1, (6, *network.model.shape)), rng.integers(0, 4, 6)
    flat = flatten(network.params)
    # each array has its share of the direction, so that a bias counts as much as a layer's weights
    along = {name: rng.standard_normal(p.shape) / np.sqrt(p.size) for name, p in flat.items() if name != "noise.sigma"}

    def risk(t: float) -> float:
        moved = {name: p + t * along.get(name, 0) for name, p in flat.items()}
        pairs = zip(images, labels, strict=True)
        return float(np.mean([networks.loss(network, moved, x, int(k), "exact", "noise-aware") for x, k in pairs]))

    noise = Propagated(gaussian.RULES["exact"])
    total = base.one_view(network, images, labels, OBJECTIVES["noise-aware"], noise)
    grads = total.grads or {}
    slopes = {name: float(np.sum(grads[name] * d)) / len(images) for name, d in along.items()}
    wanted = differences.slope(risk, step=1e-4)
    yield near("engine", sum(slopes.values()), wanted, 1e-6 * sum(abs(s) for s in slopes.values()))
    yield shown("differences", wanted)
    yield near("engine, mean loss", float(total.loss) / len(images), risk(0), 1e-12)
    yield shown("of which biases", sum(s for name, s in slopes.items() if name.endswith(".b")))


@checks(
    "N15",
    place="Eq. 6",
    title="Diagonal covariance between layers",
    verdict="approximation",
    uses=("N3", "N4", "N14", "E1"),
    printed=r"$$\mathbf y_{\mathrm{ReLU}}\sim\mathcal N(\mu_{\mathrm{ReLU}},\operatorname{diag}(\sigma_1^2,\dots,"
    r"\sigma_p^2))$$ and the same procedure for the next layer",
    derived=r"after the first ReLU the units are independent; from the next affine layer on the covariance is "
    r"$\mathbf A^\top\mathbf V\mathbf A$, whose off-diagonals are not 0",
    because=r"A perceptron (12, 24, 16, 4; noise on the first layer), trained for 200 gradient steps on four clusters: "
    r"the covariance of its second pre-activation is $W\operatorname{diag}(v)W^\top$ by Monte Carlo, with correlations "
    r"that the diagonal drops, and exact moments of each unit then miss some of the outputs' standard deviations by "
    r"more than a tenth, seldom more than twofold, too low or too high. The means are hardly touched.",
    instead=r"the diagonal, which is fast; the last layer's covariance is formed in full (N21)",
    symbols=("npsnn.classifier.Classifier.moments", "npsnn.layers.affine.Linear"),
    headline="dropped correlations up to {largest dropped correlation}; sd of the logits {lowest sd over Monte Carlo} "
    "to {highest sd over Monte Carlo} of Monte Carlo's",
)
def n15(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    # The linear case, exactly: outputs of overlapping windows of independent pixels, and a next layer that sums them.
    A = affine.matrix(rng.uniform(0.2, 1, (3, 3)), 6, 6)
    V = A.T @ np.diag(rng.uniform(0.1, 1, 36)) @ A
    yield above("sd of a sum of windows over the diagonal's", np.sqrt(V.sum() / np.trace(V)), 1.5)

    network, images, _ = networks.trained(rng, (12, 24, 16, 4))
    layers = networks.matrices(network)
    W = layers[1][0][:6]
    ratios, means = [], []
    for x, mean, var in zip(images, *network.moments(images, "exact"), strict=True):
        outputs = montecarlo.network(x.ravel(), layers, network.sigma, lab.draws(6000), rng)
        found = montecarlo.estimate(outputs[-1])
        ratios.append(np.sqrt(var / found.var))
        means.append((mean - found.mean) / np.sqrt(found.var))
    yield error("engine, each unit by itself", [mean, var], _alone(images[-1].ravel(), layers, network.sigma), 1e-12)
    mu = layers[0][0] @ images[-1].ravel() + layers[0][1]
    v = plain.rectify(mu, np.full(len(mu), network.sigma**2), "exact")[1]
    S = plain.linear_covariance(v[None], W)[0]
    centred = outputs[1][:, :6] - outputs[1][:, :6].mean(axis=0)
    pairs = montecarlo.estimate(centred[:, :, None] * centred[:, None])
    yield deviation("full covariance, second layer, in standard errors", pairs.mean, pairs.mean_error, S)
    correlation = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
    yield above("largest dropped correlation", np.abs(correlation - np.eye(6)).max(), 0.15)
    yield below("lowest sd over Monte Carlo", np.min(ratios), 0.95)
    yield shown("highest sd over Monte Carlo", np.max(ratios))
    yield above("sd off by", np.abs(np.array(ratios) - 1).max(), 0.1)
    yield below("sd off by a factor, geometric mean", np.exp(np.abs(np.log(ratios)).mean()), 2)
    yield below("mean off by, in output sd", np.abs(means).max(), 0.25)


def _alone(x: Floats, layers: list[tuple[Floats, Floats]], sigma: float) -> tuple[Floats, Floats]:
    """Mean and variance of the outputs by exact moments of each unit, as if the units of a layer were independent."""
    mu, v = layers[0][0] @ x + layers[0][1], np.full(len(layers[0][1]), sigma**2)
    for W, b in layers[1:]:
        m, v = plain.rectify(mu, v, "exact")
        mu, v = W @ m + b, plain.linear_variance(v[None], W)[0]
    return mu, v


@checks(
    "N39",
    place="Sec. 3.1",
    title="Which LeNet-5?",
    verdict="ambiguous",
    printed=r"LeNet-5 with 3 convolution layers and 2 fully connected layers; additionally two fully connected layers "
    r"of size 200",
    derived=r"either three convolutions, 200, 200 and the 10 outputs, or the 2 fully connected layers of LeNet-5 "
    r"(84 and 10) after two more of 200",
    because=r"The two sentences count the fully connected layers differently: the two may be the ones of size 200, or "
    r"come on top of them. The readings differ by one layer and in the number of parameters; filter sizes are not "
    r"given either.",
    instead=r"`lenet5`: convolutions of 6, 16 and 120 filters, then 200, 200, 10; another one is a model of your own",
    symbols=("npsnn.models.noise_paper.lenet5",),
    headline="parameters: 200-200-10 {parameters, 200-200-10}, 200-200-84-10 {parameters, 200-200-84-10}, engine "
    "{parameters, engine}",
)
def n39(lab: Lab) -> Iterator[Figure]:
    def parameters(dense: tuple[int, ...]) -> int:
        convolutions = sum(o * (25 * i + 1) for i, o in ((1, 6), (6, 16), (16, 120)))
        return convolutions + sum(o * (i + 1) for i, o in zip((120, *dense), dense, strict=False))

    params = flatten(models.lenet5().init(lab.rng()))
    weights = [p.shape for name, p in params.items() if name.endswith(".w")]
    three, four = parameters((200, 200, 10)), parameters((200, 200, 84, 10))
    yield shown("parameters, 200-200-10", three)
    yield shown("parameters, 200-200-84-10", four)
    yield above("readings differ by", four - three, 1)
    yield near("parameters, engine", sum(p.size for name, p in params.items() if name[-2:] in (".w", ".b")), three, 0)
    yield near("convolutions, engine", sum(len(shape) == 4 for shape in weights), 3, 0)
    yield near("layers of size 200, engine", sum(len(shape) == 2 and shape[0] == 200 for shape in weights), 2, 0)


@checks(
    "N41",
    place="Sec. 2, inference",
    title="Is the network without noise the expectation?",
    verdict="inconsistent",
    uses=("N13", "E1"),
    printed=r"at inference the expectation of the trained model is taken, that is, the Gaussian noise is withdrawn",
    derived=r"the network without noise follows the modes, $f(x)$ at $\nu=0$; the expectation is "
    r"$\mathbb E_\nu[f(x)]$, and $$\mathbb E[\max(0,Z)]=\mu\,\Phi(\mu/\sigma)+\sigma\,\varphi(\mu/\sigma)>"
    r"\max(0,\mu)$$",
    because=r"ReLU is convex, so the mean of its output lies above the output of the mean. In a perceptron with one "
    r"hidden layer, where the exact rule gives $\mathbb E[f]$ without approximation, Monte Carlo agrees with it, and "
    r"the network without noise is off by a tenth to a half of the outputs' standard deviation. The perceptron "
    r"(12, 24, 4) was trained for 200 gradient steps on four clusters.",
    instead=r"`predict` is the network without noise, as the paper has it, and equals the mean under its own rule; "
    r"`moments` with the exact rule gives $\mathbb E[f]$",
    symbols=(
        "npsnn.classifier.Classifier.predict",
        "npsnn.classifier.Classifier.moments",
        "npsnn.layers.moments.EXPECTATION",
    ),
    headline="Monte Carlo {Monte Carlo}, expectation {expectation}, without noise {without noise}",
)
def n41(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    network, images, _ = networks.trained(rng, (12, 24, 4))
    (W1, b1), (W2, b2) = layers = networks.matrices(network)
    mu = images[:, 0, 0] @ W1.T + b1
    expectation = plain.rectify(mu, np.full(mu.shape, network.sigma**2), "exact")[0] @ W2.T + b2
    modes = np.maximum(mu, 0) @ W2.T + b2
    draws = [montecarlo.network(x.ravel(), layers, network.sigma, lab.draws(6000), rng)[-1] for x in images]
    found = montecarlo.estimate(np.stack(draws, axis=1))
    off = np.abs(modes - found.mean) / np.sqrt(found.var)
    worst = np.unravel_index(off.argmax(), off.shape)
    yield drawn("Monte Carlo", found.mean[worst], found.mean_error[worst], expectation[worst])
    yield shown("expectation", expectation[worst])
    yield shown("without noise", modes[worst])
    yield deviation("expectation off by, in standard errors", found.mean, found.mean_error, expectation)
    yield above("without noise off by, in output sd", np.sqrt(np.mean(off**2)), 0.1)
    yield error("engine, noise off", network.predict(images), modes, 1e-12)
    yield error("engine, mean of the laplace rule", network.moments(images, "laplace")[0], modes, 1e-12)
    yield error("engine, mean of the exact rule", network.moments(images, "exact")[0], expectation, 1e-12)


@checks(
    "N42",
    place="Sec. 2, Eq. 7",
    title="The network can outgrow its noise",
    verdict="unstated",
    uses=("N4", "N14", "N22", "E1"),
    printed=r"the loss is minimised over all weights and biases at a fixed noise $\sigma$",
    derived=r"$(tW_1,tb_1)$ and $W_2/t$ leave the network without noise as it is, and with noise $\sigma$ are the "
    r"network $(W_1,b_1,W_2)$ with noise $\sigma/t$",
    because=r"ReLU and max pooling are positively homogeneous. Under every propagation rule the scaled network's "
    r"moments are those of the original at $\sigma/t$. Its output standard deviation falls to nothing, as $1/t$ once "
    r"the noise is too small to switch units: a larger first layer avoids whatever the noise costs, and $\sigma$ alone "
    r"says nothing about robustness. Nothing in the paper forbids it.",
    instead=r"training reports mean $|\mu_1|/\sigma$, and `--first-layer-norm` l1 or l2 fixes the norm of each filter "
    r"of the first layer",
    symbols=("npsnn.optim.unit_norm", "npsnn.classifier.Classifier.moments", "npsnn.layers.noise.PreactivationNoise"),
    headline="sd of a logit at t = 1 {output sd, t = 1}, at t = 100 {output sd, t = 100}; without noise changed by "
    "{without noise, changed by}",
)
def n42(lab: Lab) -> Iterator[Figure]:
    rng, t = lab.rng(), 100.0
    network, images = networks.alive(rng, joint=False)
    flat = flatten(network.params)
    grown = _grown(flat, t)
    yield error("without noise, changed by", _classifier(network, grown).predict(images), network.predict(images), 1e-9)
    for rule in gaussian.RULES:
        mean, var = _classifier(network, grown).moments(images, rule)
        mean_less, var_less = network.with_sigma(network.sigma / t).moments(images, rule)
        yield error(f"mean against sigma / t, {rule}", mean, mean_less, 1e-9)
        yield error(f"variance against sigma / t, {rule}", var, var_less, 1e-9)
        before = float(np.sqrt(network.moments(images, rule)[1]).mean())
        after = float(np.sqrt(var).mean())
        if rule == "exact":
            yield shown("output sd, t = 1", before)
            yield shown("output sd, t = 100", after)
            far = [network.with_sigma(network.sigma / s).moments(images, rule)[1] for s in (1e5, 1e6)]
            yield near("sd from t = 10^5 to 10^6 falls by", np.sqrt(far[0].mean() / far[1].mean()), 10, 0.1)
        if rule == "linear":
            yield near("sd falls by, linear", before / after, t, 1e-6)
        else:
            yield above(f"sd falls by, {rule}", before / after, 10)
    yield from _with_norm(network, flat, grown, images)


def _grown(flat: dict[str, Floats], t: float) -> dict[str, Floats]:
    scaled = {"conv1.w": flat["conv1.w"] * t, "conv1.b": flat["conv1.b"] * t, "conv2.w": flat["conv2.w"] / t}
    return flat | scaled


def _classifier(network: Classifier, flat: dict[str, Floats]) -> Classifier:
    return Classifier(network.model, unflatten(flat), network.threads)


def _with_norm(
    network: Classifier, flat: dict[str, Floats], grown: dict[str, Floats], images: Floats
) -> Iterator[Figure]:
    """The norm on the first layer takes the growth back, filter by filter, and with it the way out."""
    for norm in ("l1", "l2"):
        kept = optim.unit_norm(flat["conv1.w"], norm)
        yield error(f"growth left by the {norm} norm", optim.unit_norm(grown["conv1.w"], norm), kept, 1e-12)
        sizes = np.linalg.norm(kept.reshape(len(kept), -1), int(norm[1]), axis=1)
        yield error(f"{norm} norm of the filters", sizes, np.ones(len(sizes)), 1e-12)
    # What the norm allows is conv2 / t alone, which the function pays for.
    held = _classifier(network, grown | {"conv1.w": flat["conv1.w"], "conv1.b": flat["conv1.b"]})
    before = network.predict(images)
    yield above("price under the norm", np.abs(held.predict(images) - before).max() / np.abs(before).max(), 0.05)
