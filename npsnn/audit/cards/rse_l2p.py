"""Cards of RSE and Learn2Perturb: noise on the units of many layers."""

from collections.abc import Iterator

import numpy as np

from npsnn.audit import defended
from npsnn.audit.card import Card, Figure, Floats, Lab, above, add, below, checks, error, near, shown
from npsnn.audit.sources import at
from npsnn.certify.smoothing import smoothing
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.base import Layer
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.reference import defences, differences
from npsnn.schedules import Harmonic
from npsnn.streams import Stream

RSE, OLDER, L2P = "xuanqing94/BayesianDefense", "xuanqing94/RobustNet", "ArmenJeddi/Learn2Perturb"


def ensemble(rng: np.random.Generator, first: float = 0.2, inner: float = 0.1) -> Classifier:
    """A perceptron for 1 x 1 x 6 images with noise on the image and before the second layer."""
    layers: tuple[tuple[str, Layer], ...] = (
        ("flatten", Flatten()),
        ("noise1", PreactivationNoise(first)),
        ("fc1", Linear(8)),
        ("relu", ReLU()),
        ("noise2", PreactivationNoise(inner)),
        ("fc2", Linear(3)),
    )
    model = Model("ensemble", Sequential(layers), (1, 1, 6), 3)
    params = {name: {k: np.asarray(v, float) for k, v in own.items()} for name, own in model.init(rng).items()}
    return Classifier(model, params, threads=1)


@checks(
    "C15",
    place="RSE, feat_noise.py",
    title="Where the noise is, and when",
    verdict="inconsistent",
    printed=r"Gaussian noise before each convolution, $\sigma=0.2$ on the image and $0.1$ inside, in training and at "
    r"inference; the answer is an ensemble over draws.",
    derived=r"So in the later of two repositories. In the older one the noise is after each convolution and before "
    r"the classifier, of one size, and **in training alone**: its network answers without noise. Noise on the image "
    r"gives a certificate, whatever noise follows: "
    r"$$R=\tfrac{\sigma}{2}\bigl(\Phi^{-1}(p_A)-\Phi^{-1}(p_B)\bigr),\qquad\sigma=0.2.$$",
    because="A network that is quiet at inference has no ensemble, and no certificate. Inner noise is part of the "
    "function that is smoothed: the radius counts the noise on the image alone. No noise stands before the dense "
    "layer, and none of it is learned. No independent figure under EoT was found.",
    instead="the later form; `npsnn certify` gives its radius",
    symbols=("npsnn.certify.smoothing.smoothing",),
    headline="certified radius at p_A = 0.99: {radius}, with inner noise 5 times as large {radius, inner noise times "
    "5}; draws of the later form differ by {later form: draws differ by}, of the older by {older form: draws differ "
    "by}",
    places=(
        at(RSE, "models/vgg_rse.py", "36-47", "noise before each convolution, none before the dense layer"),
        at(RSE, "models/layers/feat_noise.py", "10-17", "no word on training or evaluation"),
        at(RSE, "acc_under_attack.py", "130-144", "the mean of softmax over draws answers"),
        at(OLDER, "models/layer.py", "10-17", "noise in training mode only, written into its input"),
        at(OLDER, "models/vgg.py", "22-43", "noise after each convolution and before the classifier"),
    ),
)
def c15(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    network, x = ensemble(rng), rng.uniform(0.2, 0.8, (4, 1, 1, 6))
    louder = network.with_sigma({"noise1": 0.2, "noise2": 0.5})
    for name, one in (("radius", network), ("radius, inner noise times 5", louder)):
        found = smoothing(one)
        yield near(name, float(found.radius(0.99)), defences.tight_radius(0.99, 0.01, 0.2), 1e-6)
    quiet = network.with_sigma({"noise1": 0.0, "noise2": 0.0})  # the older form outside of training
    for name, one in (("later form", network), ("older form", quiet)):
        apart = float(np.abs(np.diff(one.sample(x, 7, 2), axis=0)).max())
        yield Figure(f"{name}: draws differ by", apart, *((1e-3, np.inf) if one is network else (0, 0)))
    yield near("engine: no certificate for the older form", _refused(quiet), 1, 0)


def _refused(network: Classifier) -> int:
    try:
        smoothing(network)
    except ValueError:
        return 1
    return 0


@checks(
    "C16",
    place="RSE, Adv-BNN",
    title="Averaged probabilities are another answer than averaged logits",
    verdict="correct",
    printed="The mean of softmax over draws answers, by its largest entry.",
    derived=r"Under the loss $-\ln\frac1K\sum_kp_k[y]$ the $k$-th logits have the gradient $r_k(p_k-e_y)$ with "
    r"$r_k=p_k[y]/\sum_jp_j[y]$: the draws that are right already are pulled most.",
    because="A mean of logits lets one draw with large logits outvote the others, a mean of probabilities gives each "
    "draw at most one vote. They disagree on some images, so that an accuracy belongs to one of them, and an attack "
    "has to climb the one that answers. A mean of the losses of single draws is an upper bound of the loss of the "
    "mean, by Jensen's inequality.",
    instead="`Classifier.averaging` with the answer that the defence has: logits, probabilities or votes",
    symbols=("npsnn.ops.answers.log_mean_probability", "npsnn.ops.answers.log_mean_probability_backward"),
    headline="images on which the two answers differ {answers differ}; mean of losses less loss of the mean, least "
    "{Jensen, least}",
    places=(
        at(RSE, "acc_under_attack.py", "130-144", "the mean of softmax over draws, 50 in the script"),
        at(RSE, "acc_under_attack.sh", "7", "50 draws"),
    ),
)
def c16(lab: Lab) -> Iterator[Figure]:
    rng, K, classes, images = lab.rng(), 6, 4, 5
    z, labels = 2 * rng.standard_normal((K, classes, images)), rng.integers(0, classes, images)
    wanted = differences.gradient(lambda a: float(defences.answered(a, labels)[0].sum()), z)
    for side, answered in defended.sides(defences.answered, defended.answered):
        value, slopes = answered(z, labels)
        yield error(f"{side}gradient", slopes, wanted, 1e-8)
        yield error(f"{side}value", value, defences.answered(z, labels)[0], 1e-10)
    each = np.array([-defences.log_softmax(one)[labels, np.arange(images)] for one in z])
    yield above("Jensen, least", float((each.mean(axis=0) - value).min()), 0)
    one, _ = defences.answered(z[:1], labels)
    yield error("one draw", one, each[0], 1e-12)
    many = 3 * rng.standard_normal((K, classes, lab.draws(2_000)))
    p = np.mean([defences.softmax(draw) for draw in many], axis=0)
    yield above("answers differ", float(np.mean(p.argmax(axis=0) != many.mean(axis=0).argmax(axis=0))), 0.05)


def slope(x: Floats, W: Floats, w: Floats, noise: Floats) -> Floats:
    """The gradient by x of wᵀ relu(W x + noise)."""
    return np.asarray((w * (W @ x + noise > 0)) @ W)


@checks(
    "C20",
    place="L2P, resnet_v1.py",
    title="One map of noise for a batch, and an EoT of equal gradients",
    verdict="wrong",
    uses=("A25", "B6"),
    printed="Each unit has noise of its own learned size; EoT with 30 samples, a batch of 30 copies of an image, "
    "averages the gradient over the noise.",
    derived="In the code one map of noise is drawn in the shape of one image and spread over the batch. All 30 copies "
    "have the same noise: the average is the gradient of one draw.",
    because="The mean of the gradient is right, its variance is that of a single draw and not a thirtieth of it. The "
    "published EoT is PGD with one draw a step at 30 times the cost, so that no figure made with it tells how the "
    "defence holds under EoT. In training the map is shared as well (B6). The accuracy of a batch rests on one draw "
    "(B9). A2SNN compares with figures of this evaluation.",
    instead='`PreactivationNoise(sigma, scope="unit", shared=True)` repeats it; `EoT` draws anew for each sample',
    symbols=("npsnn.layers.noise.PreactivationNoise",),
    headline="gradients among 30 copies differ by {copies, one map}, with own draws by {copies, own draws}; variance "
    "of the average, one map over own draws {variance ratio}",
    places=(
        at(L2P, "models/resnet_v1.py", "52-57, 117-121", "a map of the shape of sigma, expanded to the batch"),
        at(L2P, "models/resnet_v2.py", "52-57", "the same in the other network"),
        at(L2P, "attacks/eot.py", "4-18", "30 copies of one image in one batch, one backward pass"),
    ),
)
def c20(lab: Lab) -> Iterator[Figure]:
    rng, D, H, copies, calls = lab.rng(), 8, 24, 30, lab.draws(200)
    W, w, x, theta = rng.standard_normal((H, D)), rng.standard_normal(H), rng.standard_normal(D), np.full(H, 2.0)

    def call(shared: bool) -> Floats:
        eps = rng.standard_normal((1 if shared else copies, H))
        return np.array([slope(x, W, w, theta * one) for one in np.broadcast_to(eps, (copies, H))])

    yield near("copies, one map", float(np.ptp(call(True), axis=0).max()), 0, 0)
    yield above("copies, own draws", float(np.ptp(call(False), axis=0).max()), 0.1)
    shared, own = (np.array([call(s).mean(axis=0) for _ in range(calls)]) for s in (True, False))
    ratio = shared.var(axis=0).sum() / own.var(axis=0).sum()
    yield near("variance ratio", float(ratio), copies, copies / 3)
    yield from _engine_draws(int(rng.integers(2**31)), copies)
    gap = np.abs(shared.mean(axis=0) - own.mean(axis=0)) / np.sqrt((shared.var(axis=0) + own.var(axis=0)) / calls)
    yield below("means apart, in standard errors", float(gap.max()), 5)


def _engine_draws(seed: int, copies: int) -> Iterator[Figure]:
    """The engine's noise for units, with one map for a batch and with a map for each example."""
    zero, params = np.zeros((3, 2, 3, copies)), {"sigma": np.full((2, 3, 3), 0.5)}
    for name, shared in (("one map", True), ("own maps", False)):
        layer = PreactivationNoise(0.5, "unit", shared)
        moved = layer.forward(params, Moments(zero), Sampled(Stream(seed)))[0].mean
        apart = float(np.ptp(moved, axis=-1).max())
        yield Figure(f"engine: copies differ by, {name}", apart, *((0, 0) if shared else (0.5, np.inf)))
        further = layer.forward(params, Moments(zero), Sampled(Stream(seed).further(copies)))[0].mean
        yield above(f"engine: the next batch differs by, {name}", float(np.abs(further - moved).max()), 0.1)
        independent = moved.size // (copies if shared else 1)
        reach = 5 * 0.5 / np.sqrt(2 * independent)  # five standard errors
        yield near(f"engine: root mean square, {name}", float(np.sqrt((moved**2).mean())), 0.5, reach)


@checks(
    "C21",
    place="L2P, train.py:22",
    title="A harmonic number that begins at 0",
    verdict="wrong",
    printed=r"$$\gamma/h(t),\qquad h(t)=\sum_{i=1}^t\frac1i$$ with $t$ the epochs since the noise began.",
    derived="In the code the sum runs to the epoch less the delay, which is 0 in the first epoch with noise: a "
    "division by zero.",
    because="The script stops at its 11th epoch. Whoever repairs it has to choose where the sum begins: with $h=1$ in "
    "the first epoch, as the formula has it, or without the penalty in that epoch.",
    instead=r"$h(1)=1$ in the first epoch with noise, `Harmonic(epochs, start)`",
    symbols=("npsnn.schedules.Harmonic",),
    headline="h in the first three epochs with noise: code {coded, first}, {coded, second}, {coded, third}; formula "
    "{formula, first}, {formula, second}, {formula, third}",
    places=(
        at(L2P, "train.py", "22-24", "the sum starts at 0.0 and may have no terms"),
        at(L2P, "train.py", "38-39", "gamma over the sum, from the first epoch with noise on"),
        at(L2P, "main.py", "42", "noise from epoch 10"),
    ),
)
def c21(lab: Lab) -> Iterator[Figure]:
    for i, (name, wrong, right) in enumerate((("first", 0, 1), ("second", 1, 1.5), ("third", 1.5, 11 / 6))):
        yield near(f"coded, {name}", defences.harmonic(10 + i, 10), wrong, 1e-12)
        yield near(f"formula, {name}", defences.harmonic(11 + i, 10), right, 1e-12)
        yield near(f"engine: formula, {name}", 1 / Harmonic(350, 10)((10 + i) / 350), right, 1e-9)
    yield near("engine: before the noise", Harmonic(350, 10)(9 / 350), 0, 0)


@checks(
    "C22",
    place="L2P, train.py:36",
    title="Two steps for one batch",
    verdict="correct",
    uses=("C21",),
    printed=r"The noise is trained by turns: a reward $-\frac\gamma h\sum\sqrt\theta$ that raises it, and the loss.",
    derived=r"$\partial_\theta=-\frac\gamma{2h\sqrt\theta}$, 5 times as large at the floor of 0.01 as at the start of "
    r"0.25. With momentum $\mu$ a gradient moves $\theta$ by the rate over $1-\mu$ in all, whichever step it enters.",
    because="In the code each batch has a step on the reward and a step on the loss, with one momentum for both. In "
    "the long run that is a step on their sum; only the memory is of half as many batches. After each batch the sizes "
    "are cut at 0.01, so that no unit is ever without noise.",
    instead="the sum in the recipe of the paper, steps by turns in that of the code",
    symbols=("npsnn.train.rewards.RootReward", "npsnn.reference.defences.root_reward"),
    headline="way of a size, by turns over by the sum {way, by turns over by the sum}; push at the floor over that at "
    "the start {push at the floor}",
    places=(
        at(L2P, "train.py", "38-52", "a step of the second optimiser on the reward alone"),
        at(L2P, "train.py", "59-84", "half clean and half attacked loss, a step of both, then the cut at 0.01"),
        at(L2P, "main.py", "120-130", "Nesterov momentum in both, no weight decay on the sizes"),
    ),
)
def c22(lab: Lab) -> Iterator[Figure]:
    theta, gamma, h = lab.rng().uniform(0.05, 0.5, 6), 1e-4, 11 / 6
    wanted = differences.gradient(lambda a: defences.root_reward(a, gamma, h)[0], theta, 1e-3)
    for side, reward in defended.sides(defences.root_reward, defended.root_reward):
        value, slope = reward(theta, gamma, h)
        yield error(f"{side}gradient", slope, wanted, 1e-6)
        yield error(f"{side}value", value, -gamma / h * np.sqrt(theta).sum(), 1e-9)
        push = reward(np.array([0.01, 0.25]), gamma, h)[1]
        yield near(f"{side}push at the floor", push[0] / push[1], 5, 1e-9)
    ways = []
    for turns in (((-1.0,), (0.4,)), ((-0.6,),)):
        at_, velocity = 0.0, 0.0
        for _ in range(300):
            for (g,) in turns:
                velocity = 0.9 * velocity + g
                at_ -= 0.1 * (g + 0.9 * velocity)
        ways.append(at_)
    yield near("way, by turns over by the sum", ways[0] / ways[1], 1, 0.02)
    yield shown("way of 300 batches", ways[0])


add(
    Card(
        id="C23",
        place="L2P, evaluate.py",
        title="An evaluation that cannot run as published",
        verdict="wrong",
        uses=("C20",),
        printed="Accuracies under FGSM, PGD and their EoT forms, by `evaluate`.",
        derived="In the code the attacks stand inside `torch.no_grad()`, where their backward pass raises an error; "
        "EoT expands one image to 30 and is called with a batch; PGD ends in training mode, so that the attacked "
        "images are judged with the statistics of their batch; and EoT never clears its gradient, so that each step "
        "follows the sum of all gradients so far.",
        because="The published file is not the one that made the tables, or not in this form. Which of the four the "
        "tables have in them cannot be told. A gradient that is summed over steps is momentum without decay: it "
        "averages over draws of earlier points, which is a part of what EoT was for.",
        instead="one judge for all defences, on fresh draws, with the network in its form for inference",
        places=(
            at(L2P, "evaluate.py", "15-36", "attacks inside of no_grad, with whole batches"),
            at(L2P, "attacks/pgd.py", "36, 45", "a backward pass, and training mode at the end"),
            at(L2P, "attacks/eot.py", "4-16, 51-57", "a gradient that no step sets to zero"),
        ),
    )
)
