"""Cards of how the published code of A2SNN's authors trains and measures where the paper says something else."""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from npsnn import train
from npsnn.attacks import judging
from npsnn.audit import noisy_head
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, deviation, drawn, error, near, shown
from npsnn.audit.cards.tables import NOISY_SCORE
from npsnn.audit.heads import directions, factor
from npsnn.audit.noisy_head import head
from npsnn.classifier import Classifier
from npsnn.data import Split
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear, Normalise
from npsnn.layers.base import Params, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Sampled
from npsnn.layers.noise import FeatureNoise
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.reference import a2snn, alignment, authors_code, plain
from npsnn.streams import Stream
from npsnn.train import authors

ONE_DRAW = "npsnn.streams.Stream.one_draw"


@checks(
    "B5",
    place="Sec. 3.3, models.py",
    title="The factor of the covariance at the start",
    verdict="unstated",
    uses=("A5", "A20", "B2"),
    printed=r"$\Sigma=L\cdot L^\top$; not what $L$ starts as, nor how it stays triangular.",
    derived=r"In the authors' code $L$ starts as `rand(D, D).tril()`, uniform on $[0,1)$, to which a version adds the "
    r"identity; after each step what is above the diagonal is set to 0 again.",
    because=r"To cut the triangle after the step is to take the gradient of the triangle: harmless. The start matters. "
    r"All entries are positive, so that one direction has three fifths of the variance, and the level grows with the "
    r"number of features, $\mathbb E\operatorname{tr}\Sigma/D=(D+1)/6$: deviations of 2.3 for $D=32$. And "
    r"$-\sum_i\ln L_{ii}$ is Gamma distributed of shape $D$: with probability 0.015 the entropy is not above 0 for "
    r"$D=32$, with 0.18 for $D=4$, and the objective with its logarithm (B2) is not a number from the first step on.",
    instead=r"$L=\sigma I$; with `--authors-code` that uniform start, drawn from the seed",
    symbols=("npsnn.train.authors.start", "npsnn.layers.noise.FeatureNoise"),
    headline="starts without a logarithm: {D = 32} for D = 32, {D = 4} for D = 4; variance of a feature {variance}, "
    "part of the largest eigenvalue {part of the largest}",
)
def b5(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    for D, wanted, draws in ((32, 0.0155, lab.draws(4_000)), (4, 0.1826, lab.draws(1_000))):
        starts = [authors_code.start(rng, D) for _ in range(draws)]
        share = float(np.mean([alignment.max_entropy(L) <= 0 for L in starts]))
        formula = authors_code.start_without_entropy(D)
        yield near(f"D = {D}", formula, wanted, 5e-4)
        yield drawn(f"drawn, D = {D}", share, sqrt(formula * (1 - formula) / draws), formula)
        levels = np.array([(L * L).sum() / D for L in starts])
        name = "variance" if D == 32 else f"variance, D = {D}"
        yield drawn(name, levels.mean(), levels.std() / sqrt(draws), (D + 1) / 6)
        if D == 32:
            largest = [np.linalg.norm(L, 2) ** 2 / (L * L).sum() for L in starts[:50]]
            yield above("part of the largest", float(np.mean(largest)), 0.55)
    drawn_from = [_engine_start(int(seed)) for seed in rng.integers(2**31, size=20)]
    inside = np.concatenate([L[np.tril_indices(32)] for L in drawn_from])
    yield deviation("engine: mean, in standard errors", inside.mean(), sqrt(1 / 12 / len(inside)), 0.5)
    yield near("engine: deviation", inside.std(), sqrt(1 / 12), 0.01)
    levels = np.array([FeatureNoise(1.0).level({"L": L}) ** 2 for L in drawn_from])
    yield drawn("engine: level squared", levels.mean(), levels.std() / sqrt(len(levels)), (32 + 1) / 6)
    yield near("engine: above the diagonal", max(np.abs(np.triu(L, 1)).max() for L in drawn_from), 0, 0)
    yield near("engine: range", max(abs(inside.min()), abs(inside.max() - 1)), 0, 0.01)


def _engine_start(seed: int) -> Floats:
    return np.asarray(authors.start(seed, head(), {"noise.L": np.zeros((32, 32))})["noise.L"])


@checks(
    "B6",
    place="Sec. 3, models.py",
    title="One noise vector for a whole batch",
    verdict="inconsistent",
    uses=("A3", "A10", "A20"),
    printed=r"$h(x)=W(f(x)+z)+b$ with $z\sim\mathcal N(0,\Sigma)$: every prediction has its noise, and Theorem 1 is "
    r"about the probability over $z$ for one $x$.",
    derived=r"In the authors' code one $z$ is drawn in each forward pass and added to the features of all examples of "
    r"the batch, in training and in the test.",
    because=r"The mean of the gradient is the same, for expectation is linear: objective and theorem stay as they are. "
    r"Its variance is not. For a batch of $N$ like examples the gradient by $L$ has $N$ times the variance that it has "
    r"with a draw for each; for a batch of several classes less, measured here on 32 examples of 4 classes. An "
    r"accuracy has it as well (B9).",
    instead=r"a draw for each example; with `--authors-code` one for each batch of the training, the same for any "
    r"number of threads and any micro-batch",
    symbols=(ONE_DRAW, "npsnn.layers.noise.FeatureNoise", "npsnn.train.epochs.Trainer.gradient"),
    headline="variance of the gradient by L, one draw over own draws: {like examples} for 32 like examples, {four "
    "classes} for four classes; means {means apart, four classes} standard errors apart",
)
def b6(lab: Lab) -> Iterator[Figure]:
    rng, N, C, D = lab.rng(), 32, 4, 5
    W, b, L = directions(rng, C, D), np.zeros(C), factor(rng, D)
    for name, labels in (("like examples", np.ones(N, np.int64)), ("four classes", np.arange(N) % C)):
        spread = 0.0 if name == "like examples" else 0.3
        F = W[labels] + spread * rng.standard_normal((N, D))
        count = lab.draws(300)
        at = (F, labels, W, b, L)
        one = np.array([authors_code.one_draw(*at, rng.standard_normal(D)).L for _ in range(count)])
        own = np.array([authors_code.own_draws(*at, rng.standard_normal((N, D))).L for _ in range(count)])
        lower = np.tril_indices(D)
        one, own = one[:, *lower], own[:, *lower]
        gap = sqrt(count) * np.abs(one.mean(axis=0) - own.mean(axis=0)) / np.sqrt(one.var(axis=0) + own.var(axis=0))
        yield below(f"means apart, {name}", gap.max(), 5)
        ratio = one.var(axis=0).sum() / own.var(axis=0).sum()
        yield near(name, ratio, N, N / 3) if spread == 0 else above(name, ratio, 1.3)
        eps = rng.standard_normal(D)
        alike = authors_code.own_draws(*at, np.tile(eps, (N, 1)))
        yield error(f"one draw as like ones, {name}", authors_code.one_draw(*at, eps).L, alike.L, 1e-12)
        yield from _engine_draw(name, F, labels, W, b, L, int(rng.integers(2**31)))
    yield from noisy_head.trained_with_one_draw(rng)


def _engine_draw(
    name: str, F: Floats, labels: a2snn.Labels, W: Floats, b: Floats, L: Floats, seed: int
) -> Iterator[Figure]:
    """The engine's gradient of a batch in one part and in two, with the draw of its stream."""
    C = len(W)
    network = Sequential((("noise", FeatureNoise(1.0)), ("last", Linear(C, joint=True))))
    params, batch = {"noise": {"L": L}, "last": {"w": W, "b": b}}, Stream(seed, first=len(F)).one_draw()
    found, heard = np.zeros_like(L), []
    for part in (slice(0, 10), slice(10, len(F))):
        stream = batch.from_sample(len(F) + part.start)
        m, back = network.forward(params, Moments(F[part].T), Sampled(stream))
        p = np.exp(m.mean) / np.exp(m.mean).sum(axis=0)
        _, grads = back(Moments((p - np.eye(C)[:, labels[part]]) / len(F)), Want.PARAMS)
        found += grads["noise"]["L"]
        heard.append(m.mean - (W @ F[part].T + b[:, None]))
    moved = np.concatenate(heard, axis=1)
    yield near(f"engine: shifts differ, {name}", np.ptp(moved, axis=1).max(), 0, 1e-12)
    eps = batch.at("noise").normal(F[:1].T)[:, 0]
    yield error(f"engine: shift, {name}", moved[:, 0], W @ L @ eps, 1e-9)
    yield error(f"engine: gradient by L, {name}", found, authors_code.one_draw(F, labels, W, b, L, eps).L, 1e-9)
    other = Stream(seed, first=2 * len(F)).one_draw().at("noise").normal(F[:1].T)[:, 0]
    yield above(f"engine: the next batch's draw differs by, {name}", np.abs(other - eps).max(), 1e-3)


@checks(
    "B8",
    place="App. B, train.py",
    title="The best checkpoint is chosen on the test set",
    verdict="inconsistent",
    printed="The hyperparameters come from a “held-out validation set”; no word on which epoch's network is tested.",
    derived="In the authors' code of b9824db the accuracy on the test set is measured after every epoch, in a version "
    "its mean with that under FGSM, and the network with the best one is saved as `ckpt_best`. The paper's own commit, "
    "4f752b8, trains ten epochs more than it is asked for, and chooses among these ten in the same way.",
    because=r"The largest of $T$ measured accuracies is above the accuracy: by $\mathbb E\max_{t\le T}Z_t$ standard "
    r"errors for equal networks whose errors are independent, which is 3.1 for 600 epochs, or 1.1 points of 10 000 "
    r"images at 84.4 %. Networks of one training misread the same images for the most part: with nine tenths of the "
    r"variance in common 0.36 points are left. Of ten epochs it is 1.54 standard errors, or 0.56 points. Only results "
    r"of that file have this in them; a version of the code tests the last epoch's, 4f752b8 tests that file.",
    instead="`best.npz` is chosen on validation images that are split off the training set, and `last.npz` is there",
    symbols=("npsnn.train.split_validation",),
    headline="the best of 600 epochs is too high by {points too high} points, with nine tenths in common by {points "
    "too high, nine tenths in common}; of ten by {points too high, ten epochs}",
)
def b8(lab: Lab) -> Iterator[Figure]:
    rng, epochs, p, images = lab.rng(), 600, 0.844, 10_000
    one = 100 * sqrt(p * (1 - p) / images)
    high = authors_code.best_of(epochs)
    yield near("standard errors too high", high, 3.1, 0.05)
    yield near("points too high", one * high, 1.13, 0.02)
    right = rng.binomial(images, p, (lab.draws(400), epochs)).max(axis=1) / images
    yield near("points too high, drawn", 100 * (right.mean() - p), one * high, 0.06)
    yield near("points too high, ten epochs", one * authors_code.best_of(10), 0.56, 0.005)
    yield near("best of 2", authors_code.best_of(2), 1 / sqrt(np.pi), 1e-9)
    common = rng.standard_normal((lab.draws(400), 1))
    apart = rng.standard_normal((len(common), epochs))
    best = one * (sqrt(0.9) * common + sqrt(0.1) * apart).max(axis=1)
    formula = one * sqrt(0.1) * high
    yield near("points too high, nine tenths in common", formula, 0.357, 0.005)
    yield drawn("the same, drawn", best.mean(), best.std() / sqrt(len(best)), formula)
    numbers = np.arange(60)
    whole = Split(numbers.astype(np.uint8)[:, None, None, None], numbers)
    parts = train.split_validation(whole, int(rng.integers(2**31)), None)
    labels, pixels = (
        np.concatenate(found) for found in zip(*((s.labels, s.images.ravel()) for s in parts), strict=True)
    )
    yield near("engine: images to choose by", len(parts[1]), 5, 0)
    yield near("engine: images in one of the two parts", len(np.unique(labels)), 60, 0)
    yield near("engine: images with another's label", (labels != pixels).sum(), 0, 0)


@checks(
    "B9",
    place="Table 1, metrics.py",
    title="Accuracy and success from one noisy pass",
    verdict="unstated",
    uses=("B6",),
    printed="Accuracies to two digits after the point, clean and attacked; one noise sample for a prediction, but not "
    "how often the evaluation was run.",
    derived="In the authors' code a clean accuracy is one pass over the test set with one draw of the noise for each "
    "batch, and an attack has succeeded where one pass misreads.",
    because=r"An average over images of one pass each is unbiased, and with a draw for each its standard error is "
    r"$\sqrt{\sum p(1-p)}/n$: at most 0.5 points for 10 000 images. With one draw for 128 images it is more, for these "
    r"err together; at most $\sqrt{\sum_{ij}(\min(p_i,p_j)-p_ip_j)}/n$ in a batch. A noisy head of ten classes here "
    r"has several times as much. The last digit of such a table means nothing, and the first after the point little.",
    instead="several draws for each image, all of them different, and an interval with the accuracy",
    symbols=("npsnn.attacks.judging.judge",),
    headline="standard error of one pass over 128 images, in points: own draws {own draws}, one draw {one draw}, at "
    "most {at most}",
)
def b9(lab: Lab) -> Iterator[Figure]:
    rng, passes, N, C, D = lab.rng(), lab.draws(800), 128, 10, 16
    W, L, labels = directions(rng, C, D), factor(rng, D, 1.0), np.arange(N) % C
    F = 1.5 * W[labels] + 0.3 * rng.standard_normal((N, D))
    right = {
        name: ((F + rng.standard_normal((passes, count, D)) @ L.T) @ W.T).argmax(axis=2) == labels
        for name, count in (("own draws", N), ("one draw", 1))
    }
    p = np.concatenate(list(right.values())).mean(axis=0)
    formula = 100 * authors_code.one_pass_error(p)
    spread = {name: 100 * hit.mean(axis=1).std() for name, hit in right.items()}
    yield near("own draws", spread["own draws"], formula, 6 * formula / sqrt(2 * passes))
    yield shown("formula, own draws", formula)
    most = 100 * authors_code.shared_pass_error(p)
    yield below("one draw", spread["one draw"], most * (1 + 5 / sqrt(2 * passes)))
    yield above("one draw over own draws", spread["one draw"] / spread["own draws"], 1.5)
    yield shown("at most", most)
    together = 100 * (rng.uniform(size=(passes, 1)) < p).mean(axis=1)
    yield near("at most, drawn", together.std(), most, 6 * most / sqrt(2 * passes))
    gap = [hit.mean(axis=1) for hit in right.values()]
    apart = (gap[0].mean() - gap[1].mean()) / sqrt((gap[0].var() + gap[1].var()) / passes)
    yield below("means apart by, in standard errors", abs(apart), 5)
    yield near("most of 100 images, in points", 100 * authors_code.one_pass_error(np.full(100, 0.5)), 5, 1e-9)
    yield from _judged(rng, lab.draws(100))


def _judged(rng: np.random.Generator, draws: int) -> Iterator[Figure]:
    """The engine's draws for 100 like images with a margin of one standard deviation are different ones."""
    params = {"flatten": {}, "fc": {"w": np.array([[sqrt(2.0)], [0.0]]), "b": np.zeros(2)}}
    network = Classifier(
        Model("score", NOISY_SCORE, (1, 1, 1), 2), params | {"noise": {"sigma": np.array(1.0)}}, threads=1
    )
    x, labels, stream = np.ones((100, 1, 1, 1)), np.zeros(100, int), Stream(int(rng.integers(2**31)))
    passes = [float(judging.judge(network, x, labels, 1, stream.at(i)).mean()) for i in range(draws)]
    formula = authors_code.one_pass_error(np.full(100, plain.Phi(1.0)))
    yield near("engine: error of a pass", float(np.std(passes)), formula, 6 * formula / sqrt(2 * draws))


@checks(
    "B10",
    place="Table 6, train.py",
    title="Adversarial training attacks pixels that are not normalised",
    verdict="inconsistent",
    uses=("A1",),
    printed="Table 6: trained with PGD, alone or with clean images, A2SNN loses clean accuracy and gains “no "
    "consistent benefit for adversarial defense”.",
    derived=r"In the authors' code the network is trained on $(x-m)/s$ on CIFAR-10 and SVHN, but the examples are "
    r"found by its gradient at $x$, and normalised afterwards.",
    because=r"The gradient is taken at another point than the network is trained at. For a linear score that is no "
    r"difference, a positive scale apart. With hidden units the signs differ: a step of the same size lowers the score "
    r"of random networks by 28 % less, so that the training sees weaker examples than PGD's. That adversarial training "
    r"does not help cannot be concluded from it. F-MNIST is not normalised and not affected.",
    instead="normalisation is a layer of the network, and every attack goes through it",
    symbols=("npsnn.layers.affine.Normalise",),
    headline="a step at 8/255 lowers the score by {part of the drop} of what the right gradient does; signs that agree "
    "{signs that agree}, of a linear score {signs that agree, linear}",
)
def b10(lab: Lab) -> Iterator[Figure]:
    rng, D, hidden, mean, deviation_, eps = lab.rng(), 48, 64, 0.47, 0.2, 8 / 255
    drops, signs = [], []
    for _ in range(lab.draws(300)):
        W, w, x = rng.standard_normal((hidden, D)), rng.standard_normal(hidden), rng.uniform(0.1, 0.9, D)
        here = authors_code.score_slope(x, W, w, mean, deviation_)
        raw = authors_code.score_slope(x, W, w, 0.0, 1.0)
        signs.append(np.mean(np.sign(here) == np.sign(raw)))
        at = authors_code.score(x, W, w, mean, deviation_)
        moved = [authors_code.score(x - eps * np.sign(g), W, w, mean, deviation_) - at for g in (here, raw)]
        drops.append(moved)
    right, wrong = np.mean(drops, axis=0)
    yield near("part of the drop", wrong / right, 0.72, 0.07)
    yield near("signs that agree", float(np.mean(signs)), 0.75, 0.1)
    bright, open_ = mean + rng.uniform(0.05, 0.5, D), np.abs(W)
    slopes = [authors_code.score_slope(bright, open_, w, *law) for law in ((mean, deviation_), (0.0, 1.0))]
    yield near("signs that agree, linear", float(np.mean(np.sign(slopes[0]) == np.sign(slopes[1]))), 1, 0)
    yield near("ratio of the slopes, linear", float((slopes[0] / slopes[1]).max()), 1 / deviation_, 1e-9)
    yield from _through_the_network(x, W, w, mean, deviation_)


def _through_the_network(x: Floats, W: Floats, w: Floats, mean: float, deviation_: float) -> Iterator[Figure]:
    """The engine's gradient by the pixels, its normalisation included."""
    layers = (Normalise((mean,), (deviation_,)), Flatten(), Linear(len(W)), ReLU(), Linear(1))
    names = ("normalise", "flatten", "hidden", "relu", "score")
    network = Sequential(tuple(zip(names, layers, strict=True)))
    params: Params = {name: {} for name in names} | {"hidden": {"w": W, "b": np.zeros(len(W))}}
    params |= {"score": {"w": w[None], "b": np.zeros(1)}}
    m, back = network.forward(params, Moments(x.reshape(1, 1, -1, 1)), EXPECTATION)
    g, _ = back(Moments(np.ones((1, 1))), Want.INPUT)
    assert g is not None
    yield near("engine: score", float(m.mean[0, 0]), authors_code.score(x, W, w, mean, deviation_), 1e-9)
    wanted = authors_code.score_slope(x, W, w, mean, deviation_)
    yield error("engine: gradient by pixels", g.mean.ravel(), wanted, 1e-9)
