"""Cards of PNI and Adv-BNN: noise on the weights."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit import defended
from npsnn.audit.card import Card, Figure, Lab, above, add, below, checks, error, near
from npsnn.audit.sources import at, issue
from npsnn.reference import defences, differences

PNI, BNN = "elliothe/CVPR_2019_PNI", "xuanqing94/BayesianDefense"
VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""Filters of its convolutions."""


@checks(
    "C17",
    place="PNI, noise_layer.py",
    title="Whether the spread of the weights is differentiated",
    verdict="ambiguous",
    printed=r"$\tilde w=w+\alpha\,\eta$ with $\eta\sim\mathcal N(0,\operatorname{std}(w)^2)$ of the layer, $\alpha$ "
    r"trained by back-propagation.",
    derived=r"In the code $\operatorname{std}(w)$, with $n-1$, is a number without gradient: $\partial_w=g$ and "
    r"$\partial_\alpha=\operatorname{std}(w)\sum g\varepsilon$. As a formula it has one more term: "
    r"$$\partial_w=g+\alpha\Bigl(\sum g\varepsilon\Bigr)\frac{w-\bar w}{(n-1)\operatorname{std}(w)}.$$",
    because=r"The term is $\alpha/\sqrt n$ of the gradient on average: a hundredth in the smallest layers, nothing in "
    r"others. The sizes $\alpha$ have no weight decay and no constraint in the code; their sign is free. "
    r"One draw serves the whole batch, at inference as well.",
    instead="`through_std=False`, the code; `through_std=True` is the formula",
    symbols=("npsnn.layers.noisy_weights.NoisyLinear", "npsnn.reference.defences.relative_noise"),
    headline="the term over the gradient in a layer of 450 weights {term, 450 weights}, of 36 864 {term, 36864 "
    "weights}",
    places=(
        at(PNI, "code/models/noise_layer.py", "24-31, 56-64", "std inside of no_grad, noise on the weights alone"),
        at(PNI, "code/models/noise_layer.py", "14-20, 44-51", "sizes of 0.25 for a layer, a channel or an element"),
        at(PNI, "code/main.py", "262-282", "sizes in a group of their own, without weight decay; Nesterov momentum"),
    ),
)
def c17(lab: Lab) -> Iterator[Figure]:
    rng, alpha = lab.rng(), 0.25
    w, eps, g = (rng.standard_normal(30) for _ in range(3))

    def loss(w: np.ndarray, alpha: float, std: float | None = None) -> float:
        return float(g @ (w + alpha * (w.std(ddof=1) if std is None else std) * eps))

    noisy, by_alpha, by_w = defences.relative_noise(w, alpha, eps, g, True)
    yield error("gradient by w, spread differentiated", by_w, differences.gradient(lambda a: loss(a, alpha), w), 1e-8)
    yield near("gradient by alpha", by_alpha, differences.slope(lambda t: loss(w, alpha + t)), 1e-8)
    constant = differences.gradient(lambda a: loss(a, alpha, float(w.std(ddof=1))), w)
    yield error("gradient by w, spread constant", defences.relative_noise(w, alpha, eps, g, False)[2], constant, 1e-8)
    yield near("noisy weights", float(g @ noisy), loss(w, alpha), 1e-12)
    w, g = rng.standard_normal((2, 4, 5))
    eps = defended.drawn(w)
    for name, through in (("constant", False), ("differentiated", True)):
        wanted = defences.relative_noise(w, alpha, eps, g, through)
        found, grads = defended.noisy_weights(w, alpha, g, through)
        yield error(f"engine: weights, spread {name}", found, wanted[0], 1e-9)
        yield error(f"engine: gradient by alpha, spread {name}", grads["alpha"], wanted[1], 1e-9)
        yield error(f"engine: gradient by w, spread {name}", grads["w"], wanted[2], 1e-9)
        yield error(f"engine: gradient by the bias, spread {name}", grads["b"], g.sum(axis=1), 1e-12)
    for n in (450, 36_864):
        w, count = rng.standard_normal(n), 100 if n == 450 else 12
        terms = []
        for _ in range(count):
            eps, g = rng.standard_normal(n), rng.standard_normal(n)
            term = defences.relative_noise(w, alpha, eps, g, True)[2] - g
            terms.append(float((term @ term) / (g @ g)))
        yield near(f"term, {n} weights", np.sqrt(np.mean(terms)) * np.sqrt(n - 1), alpha, alpha * 3 / np.sqrt(count))
    yield near("without noise", np.abs(defences.relative_noise(w, 0.0, eps, g, True)[2] - g).max(), 0, 0)


add(
    Card(
        id="C18",
        place="PNI, main.py",
        title="One draw judges, the test set chooses",
        verdict="unstated",
        uses=("B8", "B9", "C17"),
        printed="Clean and attacked accuracies with deviations, 45.94 ± 0.11 under PGD for layer-wise noise.",
        derived="In the code an attack and the judgement of a batch take one draw of the weights each step, for all "
        "images of the batch; adversarial training has the network's own answer for its label; the network that is "
        "saved as the best is the one with the highest clean accuracy on the test set.",
        because="All images of a batch share a draw, so the deviation between runs is more than that of independent "
        "images, and an interval over images alone is too narrow. PGD with one draw a step is no EoT: the authors' "
        "own figures fall from 53.14 to 48.67 with 7 to 40 steps. No figure under EoT of others was found. The README "
        "has 84.89 / 45.94 for layer-wise and 80.69 / 49.07 for element-wise noise on ResNet-20; Table 4 of A2SNN has "
        "87.7 / 49.1 on the network four times as wide.",
        instead="several draws in the attack, fresh ones for the judge, and an interval over images and draws",
        places=(
            at(PNI, "code/main.py", "483-496", "one forward pass each, half and half, the predicted label attacked"),
            at(PNI, "code/main.py", "377-396", "the best by clean accuracy of the test loader"),
            at(PNI, "code/models/attack_model.py", "68-102", "7 steps of 0.01, one pass each, uniform start"),
            at(PNI, "README.md", "126-131", "the table of results"),
            issue(PNI, 2, "the authors' figures by the number of steps"),
        ),
    )
)


@checks(
    "C19",
    place="PNI, Adv-BNN",
    title="Noisy weights in closed form",
    verdict="approximation",
    uses=("N15",),
    printed="Weights with independent Gaussian noise; no closed form of the logits.",
    derived=r"For $y=(w+s\circ\varepsilon)x+b$ with independent $x$ of mean $m$ and variance $v$: $$\mathbb Ey=wm+b,"
    r"\qquad\operatorname{Var}y=w^{2}v+s^{2}(m^{2}+v)+s_b^{2}.$$ Rows of weights are independent, so that a noisy last "
    r"layer on sure features has exactly Gaussian, independent logits.",
    because=r"For one dense layer the moments are exact. The outputs of a convolution share their kernel: for patches "
    r"$P$ their covariance is $s^2P^\top P$, so that neighbours move together. A rule that takes units as independent "
    r"is right about each unit and wrong about every sum of them: the next layer's standard deviation is off by a "
    r"factor that can be below or above 1.",
    instead="these moments; `npsnn audit --run` tells how far they can be trusted on a network",
    symbols=("npsnn.layers.noisy_weights.NoisyLinear", "npsnn.reference.defences.linear_moments"),
    headline="dense layer: mean off by {mean} standard errors, variance by {variance}; convolution: correlation of "
    "neighbours {correlation of neighbours}, standard deviation of the next layer {least ratio} to {largest ratio} of "
    "the true one",
    places=(
        at(PNI, "code/models/noise_layer.py", "24-31", "noise on each weight of a layer, none on the bias"),
        at(BNN, "models/layers/linear.py", "46-56", "noise on each weight and bias"),
    ),
)
def c19(lab: Lab) -> Iterator[Figure]:
    rng, count = lab.rng(), lab.draws(20_000)
    w, s = rng.standard_normal((3, 5)), rng.uniform(0.1, 0.5, (3, 5))
    b, s_b, m, v = rng.standard_normal(3), rng.uniform(0.1, 0.3, 3), rng.standard_normal(5), rng.uniform(0, 1, 5)
    x = m + np.sqrt(v) * rng.standard_normal((count, 5))
    noisy = w + s * rng.standard_normal((count, 3, 5))
    y = (noisy @ x[..., None])[..., 0] + b + s_b * rng.standard_normal((count, 3))
    for side, moments in defended.sides(defences.linear_moments, defended.linear_moments):
        mean, var = moments(w, s, b, s_b, m, v)
        yield below(f"{side}mean", float((np.abs(y.mean(axis=0) - mean) / np.sqrt(var / count)).max()), 5)
        square = (y - mean) ** 2
        off = np.abs(square.mean(axis=0) - var) / (square.std(axis=0) / count**0.5)
        yield below(f"{side}variance", float(off.max()), 5)
    grey = np.cumsum(np.cumsum(rng.standard_normal((12, 12)), axis=0), axis=1)
    image = (grey - grey.min()) / np.ptp(grey)
    P = np.array([image[i : i + 5, j : j + 5].ravel() for i in range(8) for j in range(8)]).T
    covariance = P.T @ P
    sd = np.sqrt(np.diag(covariance))
    yield above(
        "correlation of neighbours",
        float(np.mean((covariance / np.outer(sd, sd))[np.arange(63), np.arange(1, 64)])),
        0.7,
    )
    rows = rng.standard_normal((200, 64))
    ratios = np.sqrt((rows**2) @ np.diag(covariance) / np.einsum("rp,pq,rq->r", rows, covariance, rows))
    yield below("least ratio", float(ratios.min()), 0.8)
    yield above("largest ratio", float(ratios.max()), 1.3)


@checks(
    "C27",
    place="Adv-BNN, vgg_vi.py",
    title="The divergence of the last layer alone",
    verdict="wrong",
    printed=r"$$\operatorname{CE}(f_w(x'),y)+\frac\alpha N\operatorname{KL}(q_{\mu,s}\|p)$$ over all weights of the "
    r"network, $N$ the number of training images.",
    derived=r"In the code of VGG the sum over the layers is computed and the divergence of the last layer is returned; "
    r"the network for STL-10 returns the sum. With $\rho=\ln s$ and prior $\sigma_0$: $$\operatorname{KL}=\sum\Bigl[\ln"
    r"\sigma_0-\rho+\frac{e^{2\rho}+\mu^2}{2\sigma_0^2}-\tfrac12\Bigr],\qquad\partial_\mu=\frac{\mu}{\sigma_0^2},\quad"
    r"\partial_\rho=\frac{e^{2\rho}}{\sigma_0^2}-1.$$",
    because=r"The last layer has 5 130 of the weights and, at the start of the settings, 0.24 % of the divergence: "
    r"the posterior of every convolution is trained without a prior. Their noise can fall as far as the loss takes "
    r"it. A reader could not train the network with the whole sum at the paper's settings. The factor $\alpha/N$ is "
    r"for a mean cross-entropy over a batch, not one over the number of batches.",
    instead="the sum over all noisy layers; `KLDivergence(..., last_only=True)` is the code",
    symbols=("npsnn.train.posterior.KLDivergence", "npsnn.reference.defences.gaussian_divergence"),
    headline="part of the divergence that the code has: at the start {at the start}, of the weights {of the weights}; "
    "gradient against differences {gradient by mu}, {gradient by rho}",
    places=(
        at(BNN, "models/vgg_vi.py", "26-39", "a sum, and the last layer's divergence as the result"),
        at(BNN, "models/aaron_vi.py", "46-59", "the sum as the result"),
        at(BNN, "models/layers/linear.py", "46-56", "the divergence of one layer, weights and biases"),
        at(BNN, "main_adv_vi.py", "98-113", "alpha over the number of training images"),
        issue(BNN, 5, "the last layer alone; training with the whole sum failed; the authors label it a bug"),
        issue(BNN, 7, "the same line again"),
    ),
)
def c27(lab: Lab) -> Iterator[Figure]:
    rng, prior = lab.rng(), 0.1
    mu, rho = 0.1 * rng.standard_normal(6), np.log(0.1) + 0.3 * rng.standard_normal(6)
    for side, kl in defended.sides(defences.gaussian_divergence, defended.gaussian_divergence):
        value, by_mu, by_rho = kl(mu, rho, prior)
        wanted = [
            differences.gradient(lambda a, f=kl: f(a, rho, prior)[0], mu),  # type: ignore[misc]
            differences.gradient(lambda a, f=kl: f(mu, a, prior)[0], rho),  # type: ignore[misc]
        ]
        yield error(f"{side}gradient by mu", by_mu, wanted[0], 1e-8)
        yield error(f"{side}gradient by rho", by_rho, wanted[1], 1e-8)
        yield near(f"{side}value", value, defences.gaussian_divergence(mu, rho, prior)[0], 1e-9)
        at_prior = kl(np.zeros(6), np.full(6, np.log(prior)), prior)
        yield near(f"{side}at the prior", max(abs(at_prior[0]), np.abs(at_prior[1:]).max()), 0, 1e-12)
    whole, last = (defended.parts_of_divergence(np.random.default_rng(1), prior, only) for only in (False, True))
    yield above("engine: three layers over the last", whole / last, 1.5)
    count = lab.draws(50_000)
    w = mu + np.exp(rho) * rng.standard_normal((count, 6))
    log_ratio = (((w / prior) ** 2 - ((w - mu) / np.exp(rho)) ** 2) / 2 + np.log(prior) - rho).sum(axis=1)
    yield below(
        "value off by standard errors", float(abs(log_ratio.mean() - value) / (log_ratio.std() / count**0.5)), 5
    )
    inputs = (3, *VGG16[:-1])
    weights = [9 * i * o + o for i, o in zip(inputs, VGG16, strict=True)]
    yield near("of the weights", 5130 / (5130 + sum(weights)), 0.00035, 1e-5)
    # means start uniform on ±1/√n of n inputs, with the standard deviation of the prior: (1/3n) / (2 prior²) each
    starts = [(n + 1 / (9 * i)) / 3 / (2 * prior**2) for i, n in zip(inputs, VGG16, strict=True)]
    of_last = (10 + 10 / 512) / 3 / (2 * prior**2)
    yield near("at the start", of_last / (of_last + sum(starts)), 0.0024, 1e-4)


add(
    Card(
        id="C28",
        place="Adv-BNN, attacks",
        title="One draw of the weights a step, and 50 for the answer",
        verdict="inconsistent",
        uses=("A25", "C16", "C27"),
        printed="More robust than adversarial training of the same network.",
        derived="In the code an attack climbs one draw of the weights at each step, without a random start, and 50 "
        "draws are averaged for the answer. Zimmermann (arXiv 1907.00895) averages gradients over draws, and finds no "
        "strong evidence for more robustness than that of adversarial training.",
        because="The answer averages what the attack does not. The evaluation stops after 101 batches and takes its "
        "size of a batch from an option that CIFAR-10's branch never gets. Training is sound: PGD-10 with a fresh draw "
        "a step is adversarial training with noise. A2SNN's Table 4 has 54.6 for it, without EoT.",
        instead="EoT on the answer that is judged, and adversarial training of the same cost beside it",
        places=(
            at(BNN, "attacker/pgd.py", "9-31", "0.007 a step, one pass, the image itself for a start"),
            at(BNN, "acc_under_attack.py", "43-50", "a size of a batch that no option sets"),
            at(BNN, "acc_under_attack.py", "130-144, 157-173", "averaged softmax, 101 batches at most"),
            issue(BNN, 5, "averaged gradients on STL-10 remove the gain"),
            "arXiv 1907.00895: no strong evidence for higher robustness once gradients are averaged",
        ),
    )
)
