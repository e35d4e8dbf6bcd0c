"""Cards of what the published code of A2SNN's authors optimises where the paper says something else."""

from collections.abc import Iterator
from math import e, log, pi, sqrt

import numpy as np

from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, error, near, shown
from npsnn.audit.heads import ALIGNMENT, ENTROPY, Formula, directions, factor, together
from npsnn.audit.noisy_head import AUTHORS, HEAD, head, reward_gradients
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import FeatureNoise
from npsnn.models.base import Model
from npsnn.ops import feature_noise
from npsnn.reference import alignment, authors_code, differences
from npsnn.train import authors, terms
from npsnn.train.constraints import UnitClasses
from npsnn.train.recipes import recipe

LOG_TRACE = "npsnn.ops.feature_noise.log_trace"
LOG_ENTROPY = "npsnn.ops.feature_noise.log_entropy"


def gradients(name: str, f: Formula, *at: Floats) -> Iterator[Figure]:
    """Each gradient of f against differences; that of L, the last, by its lower triangle."""
    found = f(*at)[1:]
    for i, (got, x) in enumerate(zip(found, at, strict=True)):
        wanted = differences.gradient(lambda a, i=i: float(f(*at[:i], a, *at[i + 1 :])[0]), x)  # type: ignore[misc]
        last = i == len(at) - 1
        yield error(f"{name}gradient by {'L' if last else 'W'}", got, np.tril(wanted) if last else wanted, 1e-7)


@checks(
    "B1",
    place="Eq. 4, train.py",
    title="One logarithm of a trace for a sum of logarithms",
    verdict="inconsistent",
    uses=("A17",),
    printed=r"$$\mathcal L_{WCA}=\sum_{i=1}^C\ln q_i,\qquad q_i=w_i^\top\Sigma w_i$$",
    derived=r"In the authors' code $$\ln\operatorname{tr}(W\Sigma W^\top)=\ln\sum_{i=1}^Cq_i,$$ with the gradients "
    r"$2\Sigma w_i/\sum_jq_j$ in place of $2\Sigma w_i/q_i$: class $i$ gets the part $q_i/\sum_jq_j$ of the pull "
    r"instead of an equal one. Both commits, 4f752b8 and b9824db, have it; an earlier version has the trace without "
    r"a logarithm.",
    because=r"Eq. 4 pulls on every class alike and goes to $-\infty$ where one class has no noise along it; the code's "
    r"form pulls where there is noise already, with a total of 2 per logarithm of the scale instead of $2C$, and "
    r"hardly notices a class without noise. It bounds Eq. 4 from above, $\sum_i\ln q_i\le C\ln(\sum_iq_i/C)$. For "
    r"given Frobenius norms of $W$ and $L$ it is largest where all weights and all noise lie on one line, on which one "
    r"class may have all of the weights.",
    instead="Eq. 4 or its pairwise form; `--authors-code` takes the code's form",
    symbols=(LOG_TRACE, ALIGNMENT),
    headline="pull on the loudest of 10 classes: Eq. 4 {Eq. 4, part of the loudest}, code {part of the loudest}; "
    "silencing a class: Eq. 4 {Eq. 4, a class silenced}, code {a class silenced}",
)
def b1(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    C, D = 10, 12
    L = factor(rng, D)
    W = directions(rng, C, D)
    W = W / np.sqrt([[alignment.variance_along(w, L)] for w in W])
    loud, silent = W.copy(), W.copy()
    loud[3] *= 10.0
    silent[3] *= 1e-3
    for side, (f, wca) in together((authors_code.log_trace_slopes, LOG_TRACE), (alignment.alignment_slopes, ALIGNMENT)):
        value, dW, dL = f(loud, L)
        yield near(f"{side}value", value, log(109), 1e-12)
        pull, even = (loud * dW).sum(axis=1), (loud * wca(loud, L)[1]).sum(axis=1)
        yield near(f"{side}part of the loudest", pull[3] / pull.sum(), 100 / 109, 1e-12)
        yield near(f"{side}Eq. 4, part of the loudest", even[3] / even.sum(), 1 / C, 1e-12)
        yield near(f"{side}whole pull", pull.sum(), 2, 1e-12)
        yield near(f"{side}whole pull by L", (L * dL).sum(), 2, 1e-12)
        yield near(f"{side}Eq. 4, whole pull", even.sum(), 2 * C, 1e-11)
        yield near(f"{side}a class silenced", f(silent, L)[0] - f(W, L)[0], log(0.9), 1e-6)
        yield near(f"{side}Eq. 4, a class silenced", wca(silent, L)[0] - wca(W, L)[0], -log(1e6), 1e-9)
        yield from gradients(side, f, loud[:5, :5], L[:5, :5])
    random = [(rng.standard_normal((C, D)), factor(rng, D)) for _ in range(20)]
    gap = [C * (authors_code.log_trace(*p) - log(C)) - alignment.weight_covariance_alignment(*p) for p in random]
    yield above("least of C ln(trace/C) less Eq. 4", min(gap), 0)
    sizes = [log((w * w).sum() * (m * m).sum()) - authors_code.log_trace(w, m) for w, m in random]
    yield above("least of ln of the norms less ln trace", min(sizes), 0.1)
    line, noise = np.zeros((C, D)), np.outer(random[0][0][0], np.eye(D)[0])
    line[4] = random[0][0][0]
    yield near(
        "the same, on one line", log((line**2).sum() * (noise**2).sum()), authors_code.log_trace(line, noise), 1e-9
    )


@checks(
    "B2",
    place="Eq. 2, train.py",
    title="Logarithm of the entropy",
    verdict="inconsistent",
    uses=("A5",),
    printed=r"$$\mathcal L_{ME}=H=\frac12\ln\det(2\pi e\Sigma)$$",
    derived=r"In the authors' code of b9824db $\ln H$, with the gradient $1/H$ of Eq. 2's, and only for $H>0$. The "
    r"paper's own commit, 4f752b8, has $H$ (B16).",
    because=r"A differential entropy may be negative, and its logarithm does not exist there: for $\Sigma=s^2I$ that "
    r"is so for $s\le1/\sqrt{2\pi e}=0.242$. Above it the pull is the stronger the less entropy there is and without "
    r"bound near 0: a barrier at $H=0$ that Eq. 2 does not have, and which a step can jump over into a loss that is "
    r"not a number. At $s=1$ in 32 dimensions the pull is 45 times weaker than Eq. 2's. For diagonal noise the "
    r"code takes the mean over dimensions, which shifts the logarithm by a constant only.",
    instead=r"Eq. 2; with `--authors-code b9824db` the logarithm, and an error where $H\le0$: a floor would be a third "
    r"form",
    symbols=(LOG_ENTROPY, ENTROPY),
    headline="pull of Eq. 2 over the code's, 32 dimensions: {unit noise} at s = 1, {s = 0.25} at 0.25; entropy "
    "{entropy, s = 0.24} at 0.24",
)
def b2(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    D, edge = 32, 1 / sqrt(2 * pi * e)
    for side, (f, entropy) in together(
        (authors_code.log_entropy_slopes, LOG_ENTROPY), (alignment.max_entropy_slopes, ENTROPY)
    ):
        for name, s in (("unit noise", 1.0), ("s = 0.25", 0.25)):
            L = s * np.eye(D)
            ratio = entropy(L)[1].sum() / f(L)[1].sum()
            yield near(f"{side}{name}", ratio, D * log(s / edge), 1e-9)
            yield near(f"{side}{name}, value", f(L)[0], log(D * log(s / edge)), 1e-12)
        yield near(f"{side}entropy, s = 0.24", entropy(0.24 * np.eye(D))[0], -0.2617, 1e-4)
        yield from gradients(side, f, factor(rng, 5, 1.2))
    yield near("least s", edge, 0.24197, 1e-5)
    for name, s in (("s = 0.24", 0.24), ("s at the edge", edge * (1 - 1e-12)), ("s = 0.01", 0.01)):
        yield near(f"engine: refused, {name}", _refused(s * np.eye(D)), 1, 0)
    yield near("engine: refused, s = 0.243", _refused(0.243 * np.eye(D)), 0, 0)


def _refused(L: Floats) -> int:
    try:
        feature_noise.log_entropy(L)
    except ValueError:
        return 1
    return 0


@checks(
    "B3",
    place="Table 7, train.py",
    title="Weights of the regularisers",
    verdict="inconsistent",
    uses=("A4", "A31", "B1", "B2"),
    printed=r"Eq. 1 and Table 7: $\lambda_1/\lambda_2$ of $m_5$ is 0.1/1.0 on CIFAR-10, 0.05/0.5 on SVHN, 0.1/0.5 on "
    r"F-MNIST, found on a held-out set.",
    derived=r"In the authors' code of b9824db there is no $\lambda$: $\mathcal L=\mathcal "
    r"L_C-\ln\operatorname{tr}(W\Sigma "
    r"W^\top)-\ln H$ on every data set, with 600 epochs in the settings where the paper has 100 and 200. The paper's "
    r"own "
    r"commit, 4f752b8, has the printed numbers (B16).",
    because=r"Per logarithm of the noise's scale the objective of the paper falls by $\lambda_1D+2\lambda_2C$, the "
    r"code's by $D/H+2$. At $\Sigma=I$, $D=32$ and $C=10$ these are 23.2, 11.6 and 13.2 against 2.7: regularisation "
    r"of another strength by a factor of 4 to 9. The logarithms of B1 and B2 do not stand for the weights, for they "
    r"are fixed and the weights are not.",
    instead=r"`--max-entropy` and `--alignment`; a recipe with `--authors-code b9824db` sets both to 1",
    symbols=("npsnn.train.terms.summed", LOG_TRACE, LOG_ENTROPY, "npsnn.train.recipes.recipe"),
    headline="pull per ln t: paper {CIFAR-10}, {SVHN}, {F-MNIST}, code {code}",
)
def b3(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    C, D = 10, 32
    W, L = directions(rng, C, D), np.eye(D)

    def per_scale(f: Formula) -> float:
        return differences.slope(lambda t: float(f((1 + t) * L)))

    parts = (alignment.max_entropy, lambda m: alignment.weight_covariance_alignment(W, m))
    for name, dataset, (lambda1, lambda2), wanted in (
        ("CIFAR-10", "cifar10", (0.1, 1.0), 23.2),
        ("SVHN", "svhn", (0.05, 0.5), 11.6),
        ("F-MNIST", "fashion-mnist", (0.1, 0.5), 13.2),
    ):
        yield near(name, lambda1 * per_scale(parts[0]) + lambda2 * per_scale(parts[1]), wanted, 1e-7)
        yield error(f"engine: recipe for {name}", _weights(dataset, None), (lambda1, lambda2), 0)
        yield error(f"engine: recipe of the code for {name}", _weights(dataset, "b9824db"), (1, 1), 0)
    wanted = 2 + D / alignment.max_entropy(L)
    in_code = (lambda m: authors_code.log_trace(W, m), lambda m: authors_code.log_entropy_slopes(m)[0])
    yield near("code", sum(per_scale(f) for f in in_code), wanted, 1e-7)
    yield above("least ratio", 11.6 / wanted, 4)

    def reward(m: Floats) -> float:
        return float(-terms.summed(AUTHORS, head(D), {"noise.L": m, "last.w": W})[0])

    yield near("engine: code", per_scale(reward), wanted, 1e-7)
    yield from reward_gradients(W[:, :8], factor(rng, 8))


def _weights(dataset: str, commit: str | None) -> tuple[float, float]:
    """The weights that the engine's recipe of both rewards sets."""
    options = recipe("a2snn-m5", dataset, commit)
    return options["max_entropy"], options["alignment"]


@checks(
    "B4",
    place="Sec. 3.2, models.py",
    title="Two variances of the “isotropic” noise",
    verdict="inconsistent",
    uses=("A3", "A5", "A7", "A17", "B1"),
    printed=r"One $\Sigma$: the covariance of the noise $z\sim\mathcal N(0,\Sigma)$ is the one in Eq. 2 and 4.",
    derived=r"In the authors' code the “isotropic” noise of feature $j$ has the standard deviation "
    r"$\operatorname{softplus}(r_j)$, but the alignment takes the raw $r_j$, neither mapped nor squared, for its "
    r"variance: $$\ln\sum_i\sum_jw_{ij}^2r_j$$",
    because=r"$r_j$ is no variance: nothing keeps it above 0, and where the sum is not above 0 the loss is not a "
    r"number. The variance that is drawn, $\operatorname{softplus}^2(r_j)$, is larger for every $r_j$: 1.72 against "
    r"1, 0.098 against $-1$. So the model $m_2$ of Table 5 is not $m_4$ with a diagonal covariance, and the comparison "
    r"of the two in Sec. 4.4 differs in more than the covariance.",
    instead=r"one diagonal $L$ for the draw and for every term; `--authors-code` refuses noise that is not full",
    symbols=(
        "npsnn.layers.noise.FeatureNoise",
        "npsnn.train.terms.summed",
        "npsnn.reference.authors_code.raw_trace",
    ),
    headline="raw -1: variance drawn {drawn, raw -1}, in the alignment -1; least excess over the raw one {least "
    "excess}; trace of a network {trace taken}, drawn {trace drawn}",
)
def b4(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    for r, variance in ((-1.0, 0.0981), (0.0, 0.4805), (1.0, 1.7247)):
        yield near(f"drawn, raw {r:.0f}", authors_code.softplus(r) ** 2, variance, 1e-4)
    excess = [authors_code.softplus(float(r)) ** 2 - r for r in np.linspace(-20, 20, 4001)]
    yield above("least excess", min(excess), 0)
    W, raw = directions(rng, 10, 32), rng.uniform(-1.5, 0.5, 32)
    yield below("trace taken", authors_code.raw_trace(W, raw), 0)
    spread = np.array([authors_code.softplus(float(r)) for r in raw])
    noise = spread * rng.standard_normal((lab.draws(4_000), 32))
    moved = ((noise @ W.T) ** 2).sum(axis=1)
    wanted = authors_code.drawn_trace(W, raw)
    off = abs(moved.mean() - wanted) / (moved.std() / sqrt(len(moved)))
    yield below("trace drawn, off by standard errors", off, 5)
    yield shown("trace drawn", wanted)
    layer = FeatureNoise(1.0, "diagonal")
    m = W @ layer.factor({"L": spread}, 32)
    yield near("engine: trace", (m * m).sum(), wanted, 1e-12)
    network = Sequential((HEAD.layers[0], ("noise", layer), HEAD.layers[2]))
    model, params = Model("head", network, (1, 1, 32), 10), {"noise.L": spread, "last.w": W}
    value = -terms.summed((terms.Alignment(1.0),), model, params)[0]
    yield near("engine: Eq. 4", value, alignment.weight_covariance_alignment(W, np.diag(spread)), 1e-10)


@checks(
    "B7",
    place="Sec. 3.2, train.py",
    title="What holds the norm of the class vectors",
    verdict="inconsistent",
    uses=("A4", "A19", "B1"),
    printed=r"“After every update we enforce that each $w_i$ has unit norm”, an update “with SGD”; no weight decay.",
    derived=r"In the authors' code of b9824db there is no projection (a version has it, beside a clamp of $\Sigma$'s "
    r"eigenvalues; B13 has that of the paper's own commit, 4f752b8, which has no decay); Adam instead of SGD, with "
    r"$10^{-4}$ times the parameter added to the gradients of $L$, $W$ and "
    r"$b$, before Adam divides by their size.",
    because=r"Without the projection $tW$ raises the alignment by $2\ln t$ with no other change to the noise: what "
    r"Sec. 3.2 calls accidental. Decay $\beta$ stops that at $\beta\lVert W\rVert_F^2=2$ and $\beta\lVert "
    r"L\rVert_F^2=2$, as the alignment is the logarithm of a square in both: ten class vectors of norm 45 at "
    r"$10^{-4}$, where nothing but the alignment holds them. Adam gets there by another path to the same place. That "
    r"bound is what keeps the code's objective from the growth of A4.",
    instead=r"the projection; with `--authors-code b9824db` none, and `--weight-decay` is added to the gradients of "
    r"$L$, $W$ "
    r"and $b$ alone",
    symbols=("npsnn.train.authors.decayed", "npsnn.train.constraints.UnitClasses.after", LOG_TRACE),
    headline="alignment gained by 3 W {gained by 3 W}, after the projection {after the projection}; decay times "
    "squared norm at rest: W {W at rest}, L {L at rest}",
)
def b7(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    C, D, beta = 10, 12, 0.1
    W, L = directions(rng, C, D), factor(rng, D)
    for side, (f, unit) in together((authors_code.log_trace_slopes, LOG_TRACE), (alignment.unit_norm, _projected)):
        yield near(f"{side}gained by 3 W", f(3 * W, L)[0] - f(W, L)[0], 2 * log(3), 1e-12)
        yield near(f"{side}after the projection", f(unit(3 * W), L)[0] - f(W, L)[0], 0, 1e-12)
    for side, (f, decay) in together((authors_code.log_trace_slopes, LOG_TRACE), (authors_code.decayed, _decayed)):
        w, m = W, L
        for _ in range(250):
            _, dw, dm = f(w, m)
            w, m = w - decay(-dw, w, beta), m - decay(-dm, m, beta)
        yield near(f"{side}W at rest", beta * (w * w).sum(), 2, 1e-4)
        yield near(f"{side}L at rest", beta * (m * m).sum(), 2, 1e-4)
    yield near("class vectors at rest, decay of the settings", sqrt(2 / 1e-4 / C), 44.7, 0.1)
    kept = {k: np.ones((3, 3)) for k in ("noise.L", "last.w", "last.b", "fc.w", "fc.b")}
    grads = authors.decayed(beta, head(), kept, {k: -p for k, p in kept.items()})
    decays = {k: beta if k in ("noise.L", "last.w", "last.b") else 0 for k in kept}
    yield near("engine: parameters that decay", sum(float(g.max()) > -1 for g in grads.values()), 3, 0)
    yield error(
        "engine: their decay", [grads[k] + kept[k] for k in kept], [d * kept[k] for k, d in decays.items()], 1e-12
    )
    held = UnitClasses().after(head(), {"last.w": W, "noise.L": L})["noise.L"]
    yield error("engine: noise after the projection", held, L, 0)


def _decayed(gradient: Floats, weights: Floats, beta: float) -> Floats:
    """The engine's, of the last layer's weights."""
    grads = authors.decayed(beta, head(), {"last.w": weights}, {"last.w": gradient})
    return np.asarray(grads["last.w"])


def _projected(W: Floats) -> Floats:
    """The engine's projection, as the paper has it."""
    return np.asarray(UnitClasses().after(head(), {"last.w": W})["last.w"])
