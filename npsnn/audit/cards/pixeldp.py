"""Cards of PixelDP: noise after a layer of bounded norm, and what it certifies."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, error, near, shown
from npsnn.audit.cards.rse_l2p import ensemble
from npsnn.audit.sources import at
from npsnn.certify import interval, norms
from npsnn.certify.smoothing import Smoothing
from npsnn.layers.affine import Conv2d
from npsnn.layers.base import Layer
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.models.base import Model
from npsnn.reference import defences, theorem
from npsnn.reference.plain import Phi
from npsnn.train.operator_norm import OperatorNorm

PIXELDP = "columbia/pixeldp"


@checks(
    "C24",
    place="PixelDP, robustness",
    title="A certificate that cannot exceed 0.57 standard deviations",
    verdict="approximation",
    uses=("A10", "C15"),
    printed=r"An answer with $p_A\ge e^{2\varepsilon}p_B+(1+e^\varepsilon)\delta$ is robust within $$\sigma\,\frac{"
    r"\varepsilon}{\sqrt{2\ln(1.25/\delta)}},$$ for every $\varepsilon\le1$ and $\delta$ (differential privacy of the "
    r"Gaussian mechanism).",
    derived=r"$$R=\tfrac\sigma2\bigl(\Phi^{-1}(p_A)-\Phi^{-1}(p_B)\bigr)$$ for the same noise and the same "
    r"probabilities, by the lemma of Neyman and Pearson; no larger radius holds for all functions (Cohen et al. 2019).",
    because=r"The certificate is sound and loose. As $\varepsilon\le1$, its radius ends at $0.5705\,\sigma$ where "
    r"$p_A=1$, and the tight one has no end. At $p_B=1-p_A$ the tight one is 3 to 5 times as large. For a linear "
    r"classifier it is the distance to the boundary. Noise on the first pre-activation is the noise paper's network, "
    r"so that the tight certificate holds for it as well. Both are for L2: the 25.0 of A2SNN's Table 4 is an attack of "
    r"8/255 in L∞ (C32).",
    instead="the tight radius, with an upper bound of the norm of the layers before the noise",
    symbols=("npsnn.certify.smoothing.Smoothing",),
    headline="radius in standard deviations at p_A = 0.9: {private, 0.9} against {tight, 0.9}; at 0.99 {private, 0.99} "
    "against {tight, 0.99}; at most {private, 1}",
    places=(
        at(PIXELDP, "models/utils/robustness.py", "51-87", "the search over epsilon and delta, epsilon at most 1"),
        at(PIXELDP, "models/pixeldp.py", "87-98", "the size of the noise for an attack of a given size"),
        at(PIXELDP, "models/evaluate.py", "210-250", "the radius over the norm that was measured"),
    ),
)
def c24(lab: Lab) -> Iterator[Figure]:
    smoothed = Smoothing(ensemble(lab.rng()), "noise1", 1.0, 1.0)
    for p, private, tight in ((0.8, 0.235, 0.842), (0.9, 0.390, 1.282), (0.99, 0.555, 2.326), (0.999, 0.568, 3.090)):
        yield near(f"private, {p}", defences.private_radius(p, 1 - p, 1.0), private, 2e-3)
        yield near(f"tight, {p}", defences.tight_radius(p, 1 - p, 1.0), tight, 1e-3)
        yield near(f"engine: tight, {p}", float(smoothed.radius(p)), tight, 1e-3)
    yield near("private, 1", defences.private_radius(1.0, 0.0, 1.0), 1 / np.sqrt(2 * np.log(1.25 * (1 + np.e))), 1e-3)
    grid = [(a, b) for a in np.linspace(0.05, 0.99, 12) for b in np.linspace(0.005, 0.5, 8) if a > b and a + b <= 1]
    over = max(defences.private_radius(a, b, 1.0) - defences.tight_radius(a, b, 1.0) for a, b in grid)
    yield below("largest excess over the tight one", over, 0)
    # a linear score of margin m and unit slope: its class has the probability Φ(m/σ), its boundary the distance m
    for margin, sigma in ((0.4, 0.25), (1.5, 1.0)):
        p = 1 - theorem.error_probability(margin, sigma)
        yield near(f"distance of a linear boundary, {margin}", defences.tight_radius(p, 1 - p, sigma), margin, 1e-9)
    yield near("law of a linear score", Phi(0.4 / 0.25), 1 - theorem.error_probability(0.4, 0.25), 1e-12)


@checks(
    "C25",
    place="PixelDP, robustness",
    title="How sure the votes are",
    verdict="inconsistent",
    uses=("C24",),
    printed=r"The bounds of $p_A$ and $p_B$ hold with probability $1-\eta$ (an option).",
    derived=r"In the code votes ignore the option: $\alpha=0.05$ is fixed, and each of $K$ classes gets $\alpha/K$. "
    r"The class on top and the second one are chosen by the same votes, so that $K$ lower and $K$ upper bounds have "
    r"to hold: together they fail with at most $2\alpha=0.1$. The form for mean probabilities takes the option.",
    because="The classes are chosen by the draws that bound them. Separate draws for the choice need one bound, at "
    "any level, for a certificate of one image. A certificate of 0.95 for each image says that one in 20 may be "
    "wrong; npsnn takes 0.999. More draws are needed for it: of 300 draws that all agree the bound is 0.977 instead "
    "of 0.983.",
    instead=r"draws that choose, other draws that count, and one Clopper-Pearson bound at $\alpha=0.001$",
    symbols=("npsnn.certify.interval.lower_bound",),
    headline="lower bound after 300 equal votes: code {code, 300 votes}, npsnn {engine: 300 votes}; chance that the "
    "bounds of the code fail, at most {code, chance of failing}",
    places=(
        at(PIXELDP, "models/utils/robustness.py", "89-108", "an argument eta that no line reads, and 0.05 twice"),
        at(PIXELDP, "models/utils/robustness.py", "117-153", "the other form, which reads it"),
        at(PIXELDP, "models/evaluate.py", "232-239", "the option is handed over"),
    ),
)
def c25(lab: Lab) -> Iterator[Figure]:
    rng, n, K = lab.rng(), 300, 10
    yield near("code, chance of failing", 2 * K * 0.05 / K, 0.1, 1e-12)
    yield near("code, 300 votes", (0.05 / K) ** (1 / n), 0.9825, 1e-4)
    yield near("engine: 300 votes", float(interval.lower_bound(n, n, 0.001)), 0.001 ** (1 / n), 1e-9)
    for p in (0.6, 0.9):
        count = rng.binomial(n, p, lab.draws(4_000))
        wrong = float(np.mean(interval.lower_bound(count, n, 0.05) > p))
        yield below(
            f"engine: wrong bounds at 0.05, probability {p}", wrong, 0.05 + 5 * np.sqrt(0.05 * 0.95 / len(count))
        )
        yield above(f"engine: bounds that are not loose, {p}", wrong, 0.02)


def operator(w: Floats, size: int, padding: int) -> Floats:
    """The matrix of a convolution of (channels, size, size) images by filters (filters, k, k, channels), stride 1."""
    filters, k, _, channels = w.shape
    there = size + 2 * padding - k + 1
    matrix = np.zeros((filters, there, there, channels, size, size))
    for i in range(there):
        for j in range(there):
            for a in range(max(0, padding - i), min(k, size + padding - i)):
                for b in range(max(0, padding - j), min(k, size + padding - j)):
                    matrix[:, i, j, :, i + a - padding, j + b - padding] = w[:, a, b, :]
    return matrix.reshape(filters * there * there, -1)


PRINTED, FREQUENCIES = (2.157, 0.42), (1.141, 0.092)
"""Mean and standard deviation of both bounds over the norm, of 9,000 kernels."""


def _ratios(rng: np.random.Generator, rounds: int) -> Floats:
    """Both bounds of the norm of random convolutions over the norm, and the side of the kernel: (kernels, 3)."""
    size, found = 6, []
    for filters, k, channels in ((4, 3, 2), (3, 5, 1), (2, 3, 3)) * rounds:
        w = rng.standard_normal((filters, k, k, channels))
        norm = float(np.linalg.norm(operator(w, size, k // 2), 2))
        bounds = defences.parseval_bound(w), norms.convolution_bound(w, (size, size), 1, k // 2)
        found.append((bounds[0] / norm, bounds[1] / norm, k))
    return np.array(found)


@checks(
    "C26",
    place="PixelDP, pixeldp.py",
    title="The norm of a convolution",
    verdict="approximation",
    printed=r"A convolution with a kernel of $k\times k$ and a stride of $t$ has at most the norm $\lceil "
    r"k/t\rceil\lVert W\rVert$, $W$ its kernel as a matrix (filters, $k^2$ channels).",
    derived=r"$$\lVert A\rVert\le\max_f\lVert\hat W(f)\rVert$$ over the frequencies of a torus around the padded "
    r"image: a bound as well, and near the norm.",
    because=r"Each pixel enters $\lceil k/t\rceil^2$ patches at most, so the printed bound is right. It counts each "
    r"of them as if it pulled in the same direction and is about twice too large on random kernels, which costs as "
    r"much of the radius. Parseval steps $(1+\beta)W-\beta WW^\top W$ pull $W$ towards norm 1 and do not reach it: "
    r"the code divides the radius by what is left.",
    instead="`npsnn.certify.norms.convolution_bound`; `OperatorNorm` divides by it after each step",
    symbols=("npsnn.certify.norms.convolution_bound", "npsnn.train.operator_norm.OperatorNorm"),
    headline="bound over the norm of random convolutions, on average: printed {printed, mean}, by frequencies {engine: "
    "frequencies, mean}",
    places=(
        at(PIXELDP, "models/pixeldp.py", "192-210", "the kernel over k/stride, and the largest singular value"),
        at(PIXELDP, "models/pixeldp.py", "100-129", "Parseval steps"),
        at(PIXELDP, "models/pixeldp.py", "211-236", "the norms from L1, by input channel"),
    ),
)
def c26(lab: Lab) -> Iterator[Figure]:
    rng, beta, steps = lab.rng(), 3e-4, 20
    ratios = _ratios(rng, lab.draws(20))
    printed, frequencies, sides = ratios.T
    for name, found, (mean, deviation) in (
        ("printed", printed, PRINTED),
        ("engine: frequencies", frequencies, FREQUENCIES),
    ):
        yield near(f"{name}, mean", float(found.mean()), mean, 5 * deviation / np.sqrt(len(found)))
        yield above(f"{name}, least", float(found.min()), 1)
    # a window inside of the image alone is W, so that ‖A‖ >= ‖W‖ and the printed bound is at most k ‖A‖
    yield below("printed, largest over the kernel's side", float((printed / sides).max()), 1)
    yield below("engine: frequencies over the printed bound, largest", float((frequencies / printed).max()), 1)
    W = rng.standard_normal((4, 18)) / 4
    start = float(np.linalg.norm(W, 2))
    for _ in range(steps):
        W = (1 + beta) * W - beta * W @ W.T @ W
    # a singular value s keeps 1 - beta s (s + 1) of its distance from 1 in a step, and s stays between start and 1
    least = 1 - steps * beta * max(start * (start + 1), 2)
    left = (float(np.linalg.norm(W, 2)) - 1) / (start - 1)
    yield Figure("part of the distance from 1 that 20 Parseval steps leave", left, least, 1)
    copying = np.zeros((1, 3, 3, 1))
    copying[0, 1, 1, 0] = 1
    yield error("engine: a kernel that copies", norms.convolution_bound(copying, (6, 6), 1, 1), 1, 1e-8)
    yield near("printed, a kernel that copies", defences.parseval_bound(copying), 3, 1e-12)
    yield from _held(rng)
    yield shown("printed for a stride of 2", defences.parseval_bound(np.ones((1, 5, 5, 1)), 2))


def _held(rng: np.random.Generator) -> Iterator[Figure]:
    """The engine's constraint on the layer before the noise, in both forms."""
    layers: tuple[tuple[str, Layer], ...] = (("conv", Conv2d(3, 3, padding=1)), ("noise", PreactivationNoise(0.1)))
    model = Model("held", Sequential(layers), (1, 6, 6), 3)
    w = rng.standard_normal((3, 3, 3, 1))
    held = OperatorNorm().after(model, {"conv.w": w})["conv.w"]
    norm, bound = float(np.linalg.norm(operator(w, 6, 1), 2)), norms.convolution_bound(w, (6, 6), 1, 1)
    after = float(np.linalg.norm(operator(held, 6, 1), 2))
    yield near(
        "engine: norm after the constraint, over the norm before divided by the bound", after * bound / norm, 1, 1e-9
    )
    yield below("engine: norm after the constraint", after, 1)
    yield error("engine: direction is kept", held / np.linalg.norm(held), w / np.linalg.norm(w), 1e-9)
    small = w / 100
    yield error("engine: a small norm stays", OperatorNorm().after(model, {"conv.w": small})["conv.w"], small, 1e-12)
    flat, beta = w.reshape(3, -1), 0.05
    stepped = OperatorNorm("authors", beta).after(model, {"conv.w": w})["conv.w"]
    wanted = (1 + beta) * flat - beta * flat @ flat.T @ flat
    yield error("engine: a Parseval step", 3 * stepped.reshape(3, -1), wanted, 1e-9)
