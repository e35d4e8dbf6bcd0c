"""Cards of the noise paper's adaptive attack (Sec. 4), and two of its text."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from npsnn import attacks
from npsnn.audit import networks
from npsnn.audit.card import Card, Figure, Floats, Lab, above, add, below, checks, error, near, shown
from npsnn.classifier import Classifier
from npsnn.layers.base import Want
from npsnn.layers.moments import Moments, Propagated
from npsnn.layers.params import flatten
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.reference import differences, gradient
from npsnn.streams import Stream

SHORT = 1e-7
"""A step of differences so short that it meets no jump of the variance masks, nor a corner of ReLU."""


def defended(rng: np.random.Generator) -> tuple[Classifier, Floats, int]:
    """A small noisy network with independent outputs, an image (1, 1, 6) away from the walls of the box, a label.

    The logits are small, so that the noise part of the gradient is not lost beside that of the squared error.
    """
    network = networks.perceptron(rng, (6, 16, 12, 4), 0.8, joint=False)
    last = {name: 0.25 * p for name, p in network.params["fc3"].items()}
    return replace(network, params=network.params | {"fc3": last}), rng.uniform(0.3, 0.7, (1, 1, 6)), 1


def by_differences(network: Classifier, x: Floats, k: int, rule: str) -> Floats:
    """∂Loss/∂x, flat."""
    params = flatten(network.params)
    f = differences.gradient(lambda z: networks.loss(network, params, z, k, rule, "noise-aware"), x, SHORT)
    return f.ravel()


@checks(
    "N32",
    place="Eq. 9",
    title="The adversary's constraint",
    verdict="typo",
    printed=r"$$\max_{\delta<\epsilon}\mathrm{Loss}(x+\delta,y,\tilde f,W,\sigma)$$",
    derived=r"$$\max_{\lVert\delta\rVert\le\epsilon,\ x+\delta\in[0,1]}\mathrm{Loss}(x+\delta,y,\tilde f,W,\sigma)$$",
    because=r"$\delta$ is an image, and an image is not less than a number. Read entry by entry the constraint has no "
    r"lower side, so any darkening is allowed; without a norm and the box of the pixels the problem is not set.",
    instead=r"$\lVert\delta\rVert_\infty\le\epsilon$ or $\lVert\delta\rVert_2\le\epsilon$, and pixels in $[0,1]$: "
    r"checked for every image that an attack returns",
    symbols=("npsnn.attacks.balls.Ball",),
    headline="longest step for eps 0.1: printed {printed constraint admits}, engine {engine admits}",
)
def n32(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    eps = 0.1
    x = rng.uniform(size=(50, 1, 3, 4))
    wild = x + rng.uniform(-2, eps, x.shape)
    yield above("printed constraint admits", np.abs(wild - x)[(wild - x < eps)].max(), 10 * eps)
    ball = attacks.Ball("linf", eps)
    found = ball.project(wild, x)
    yield below("engine admits", ball.size(found - x).max(), eps + 1e-12)
    yield error("engine", found, gradient.project(wild, x, eps), 1e-12)
    yield below("pixels outside the box", max(-found.min(), found.max() - 1), 0)
    # of all points allowed, none is nearer
    other = gradient.project(
        found + 0.05 * rng.standard_normal((20, *x.shape)), np.broadcast_to(x, (20, *x.shape)), eps
    )
    lead = ((other - wild) ** 2).sum(axis=(2, 3, 4)) - ((found - wild) ** 2).sum(axis=(1, 2, 3))
    yield above("another allowed point is farther by", lead.min(), 0)
    round_ball = attacks.Ball("l2", eps)
    found = round_ball.project(wild, x)
    yield near("engine, 2-norm", round_ball.size(found - x).max(), eps, 1e-2 * eps)
    yield below("pixels outside the box, 2-norm", max(-found.min(), found.max() - 1), 0)


@checks(
    "N33",
    place="Eq. 10",
    title="The adversarial example",
    verdict="correct",
    uses=("N32", "N34"),
    printed=r"$$x^{adv}=x+\epsilon\,\mathrm{sign}\left(\nabla_x\mathrm{Loss}(x,y,\tilde f,W,\sigma)\right)$$",
    derived=r"as printed, then clipped to $[0,1]$",
    because=r"The sign of the gradient raises the linearised loss most among all corners of the $\epsilon$-cube, by "
    r"$\epsilon\lVert\nabla_x\mathrm{Loss}\rVert_1$: enumeration and the loss itself agree. The step is not clipped, "
    r"so it leaves the pixels' range.",
    instead=r"one step, then the projection to the ball and to $[0,1]$",
    symbols=("npsnn.attacks.projected.fgsm", "npsnn.attacks.targets.closed_form"),
    headline="gain of the step {gain of the step}, best corner {best corner}",
)
def n33(lab: Lab) -> Iterator[Figure]:
    network, x, k = defended(lab.rng())
    params, eps = flatten(network.params), 1e-4
    g = by_differences(network, x, k, "exact").reshape(x.shape)
    step = gradient.fgsm_printed(x, g, eps) - x
    gain = float((g * step).sum())
    yield shown("gain of the step", gain)
    yield near(
        "best corner", max(eps * float(np.dot(g.ravel(), c)) for c in product((-1, 1), repeat=x.size)), gain, 1e-12
    )
    yield error("eps times the 1-norm", eps * np.abs(g).sum(), gain, 1e-9)

    def loss(z: Floats) -> float:
        return networks.loss(network, params, z, k, "exact", "noise-aware")

    yield near("gain of the loss over it", (loss(x + step) - loss(x)) / gain, 1, 0.02)
    eps, target = 0.8, attacks.closed_form(network, "noise-aware")
    found = attacks.fgsm(eps)(target, x[None], np.array([k]), Stream(0))[0]
    printed = gradient.fgsm_printed(x, g, eps)
    yield error("engine", found, gradient.fgsm(x, g, eps), 1e-12)
    inside = attacks.fgsm(0.2)(target, x[None], np.array([k]), Stream(0))[0]
    yield error("engine, inside the box", inside, gradient.fgsm_printed(x, g, 0.2), 1e-12)
    yield above("printed, pixels outside the box by", max(-printed.min(), printed.max() - 1), 0.05)


@checks(
    "N34",
    place="Sec. 4",
    title="The gradient by the input passes the means",
    verdict="correct",
    uses=("N14", "N35", "N36", "E1"),
    printed=r"$$\frac{d\mathrm{Loss}}{d\mathbf x}=\sum_{i=1}^n\frac{d\mathrm{Loss}}{d\mu_i}\frac{d\mu_i}{d\mathbf x}$$",
    derived=r"as printed almost everywhere under the paper's rule; with exact moments "
    r"$$\frac{d\mathrm{Loss}}{d\mathbf x}=\sum_{i=1}^n\left(\frac{\partial\mathrm{Loss}}{\partial\mu_i}\frac{d\mu_i}"
    r"{d\mathbf x}+\frac{\partial\mathrm{Loss}}{\partial\sigma_i^2}\frac{d\sigma_i^2}{d\mathbf x}\right)$$",
    because=r"Under the paper's rule a variance is kept or dropped whole, so it does not change with $x$ except where "
    r"it jumps, and the sum over the means is the whole gradient: finite differences agree, once "
    r"$d\mathrm{Loss}/d\mu_i$ is the derived one (N35, N36). With exact moments the variances follow $x$, and the sum "
    r"alone is measurably off.",
    instead=r"both channels are propagated back; under the paper's rule the second is 0 at the input",
    symbols=("npsnn.classifier.Classifier.input_gradient", "npsnn.objectives.noise_aware"),
    headline="paper's rule off by {paper's rule}; exact moments: means alone off by {exact moments, means alone off "
    "by}, both by {exact moments, both}",
)
def n34(lab: Lab) -> Iterator[Figure]:
    network, x, k = defended(lab.rng())
    found = {rule: by_differences(network, x, k, rule) for rule in ("laplace", "exact")}
    for rule, title in (("laplace", "paper's rule"), ("exact", "exact moments, both")):
        engine = network.input_gradient(x[None], np.array([k]), "noise-aware", rule)[0].ravel()
        yield error(title, engine, found[rule], 1e-5)
    mu, v = (a[0] for a in network.moments(x[None], "laplace"))
    shifts = SHORT * np.eye(x.size).reshape(x.size, *x.shape)
    up, down = (network.moments(x + sign * shifts, "laplace")[0] for sign in (1, -1))
    jacobian = (up - down).T / (2 * SHORT)
    formula = gradient.d_input(gradient.d_mean(mu, v, k), jacobian)
    yield error("paper's rule, sum over the means", formula, found["laplace"], 1e-5)
    printed = gradient.d_input(gradient.d_mean_printed(mu, v, k), jacobian)
    scale = np.abs(found["laplace"]).max()
    yield above("with the printed gradient by the means off by", np.abs(printed - found["laplace"]).max() / scale, 0.05)
    yield error("engine, means alone, paper's rule", means_alone(network, x, k, "laplace"), found["laplace"], 1e-5)
    off = np.abs(means_alone(network, x, k, "exact") - found["exact"]).max() / np.abs(found["exact"]).max()
    yield above("exact moments, means alone off by", off, 1e-3)


def means_alone(network: Classifier, x: Floats, k: int, rule: str) -> Floats:
    """The engine's gradient by the input with the cotangents of the variances dropped at the outputs, flat."""
    image = Moments(network.to_engine(x[None]))
    m, backward = network.model.network.forward(network.params, image, Propagated(RULES[rule]))
    _, g = OBJECTIVES["noise-aware"](m, np.array([k]))
    below, _ = backward(Moments(g.mean, 0 * m.var if m.var is not None else None), Want.INPUT)
    assert below is not None
    dx: Floats = below.mean[..., 0].transpose(1, 0, 2).ravel()
    return dx


add(
    Card(
        id="N38",
        place="Sec. 6",
        title="The price in accuracy",
        verdict="inconsistent",
        printed=r'"without accuracy drop compared to baseline vanilla models"',
        derived=r'"a decline in baseline accuracy as the noise level increases" (Sec. 3.2)',
        because=r"The conclusion claims no loss of accuracy; the experiments show one that grows with $\sigma$, and "
        r"draw a parallel to adversarial training from it. At most one holds for the larger $\sigma$ of Figure 6, and "
        r"the conclusion names no $\sigma$.",
        instead=r"clean and robust accuracy are always reported together, for every $\sigma$",
        places=(
            'Sec. 3.2, Figure 6: "a decline in baseline accuracy as the noise level increases"',
            'Sec. 6: "without accuracy drop compared to baseline vanilla models"',
        ),
    )
)

add(
    Card(
        id="N40",
        place="Sec. 4",
        title="The source of PixelDP",
        verdict="typo",
        printed=r'"injects random noise to the first layer such as PixelDP [10]"',
        derived=r"PixelDP is [9]",
        because=r"Reference [10] is Li et al., Certified adversarial robustness with additive noise (once more [11]); "
        r"PixelDP is Lecuyer et al., Certified robustness to adversarial examples with differential privacy, [9], "
        r"which Sec. 5 cites by that number.",
        instead=r"[9]",
        places=(
            'Sec. 4: "such as PixelDP [10]"',
            'References: [9] Lecuyer et al., "differential privacy"; [10] Li et al., "additive noise"',
        ),
    )
)
