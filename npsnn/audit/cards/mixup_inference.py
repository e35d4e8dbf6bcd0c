"""Cards of MI, which answers by mixing its input with stored images."""

from collections.abc import Iterator

import numpy as np

from npsnn.attacks import targets
from npsnn.audit.card import Card, Figure, Floats, Lab, above, add, below, checks, error, near
from npsnn.audit.sources import at
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.mixing import Mixing
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.reference import defences, differences
from npsnn.streams import Stream

MI = "P2333/Mixup-Inference"
BROKEN = "wielandbrendel/adaptive_attacks_paper"
ROUNDING = 1e-9
STEP, FAR = 1e-6, 100.0
"""The step of finite differences, and how many steps off a kink is out of their reach: no layer stretches so far."""


class Small:
    """A network W relu(U relu(V x)) and its answer mean_k softmax f(weight x + (1 - weight) s_k)."""

    def __init__(self, rng: np.random.Generator, inputs: int = 24, hidden: int = 40, classes: int = 6) -> None:
        self.V = rng.standard_normal((hidden, inputs)) / (inputs / 4) ** 0.5
        self.U = rng.standard_normal((hidden, hidden)) / (hidden / 4) ** 0.5
        self.W = rng.standard_normal((classes, hidden)) / (hidden / 4) ** 0.5

    def logits(self, x: Floats) -> Floats:
        """The logits, (classes, images), of images (images, inputs)."""
        return np.asarray(self.W @ np.maximum(self.U @ np.maximum(self.V @ x.T, 0), 0))

    def back(self, x: Floats, cotangent: Floats) -> Floats:
        """The gradient by images, (images, inputs), from one by their logits."""
        first = self.V @ x.T
        second = self.U @ np.maximum(first, 0)
        return np.asarray(((self.U.T @ ((self.W.T @ cotangent) * (second > 0))) * (first > 0)).T @ self.V)

    def plain(self, x: Floats, label: int) -> tuple[float, Floats]:
        """Cross-entropy of the network itself at one image (inputs,), and its gradient."""
        z = self.logits(x[None])
        hot = np.eye(len(z))[:, [label]]
        return -float(defences.log_softmax(z)[label, 0]), self.back(x[None], defences.softmax(z) - hot)[0]

    def kinks(self, x: Floats) -> float:
        """The least |pre-activation| of images (images, inputs): a rectifier bends where one is 0."""
        first = self.V @ x.T
        return float(min(np.abs(first).min(), np.abs(self.U @ np.maximum(first, 0)).min()))

    def answer(self, x: Floats, label: int, pool: Floats, weight: float) -> tuple[float, Floats]:
        """-ln of the mean probability of the label over the mixtures, and its gradient by the image."""
        mixed = weight * x + (1 - weight) * pool
        z = self.logits(mixed)[None].transpose(2, 1, 0)
        value, slopes = defences.answered(z, np.array([label]))
        return float(value[0]), weight * self.back(mixed, slopes[:, :, 0].T).sum(axis=0)


def case(rng: np.random.Generator) -> tuple[Small, Floats, int, Floats]:
    """A network, an image, the label that it gives, and 30 stored images."""
    network, x, pool = Small(rng), rng.uniform(-1, 1, 24), rng.uniform(-1, 1, (30, 24))
    return network, x, int(network.logits(x[None])[:, 0].argmax()), pool


def smooth_case(rng: np.random.Generator, weight: float) -> tuple[Small, Floats, int, Floats]:
    """A case whose answer a finite difference may be taken of: no pre-activation of a mixture is near a kink."""
    while True:
        network, x, label, pool = case(rng)
        if network.kinks(weight * x + (1 - weight) * pool) > FAR * STEP:
            return network, x, label, pool


@checks(
    "C29",
    place="MI, attack_*_OL.py",
    title="The attack does not see the defence",
    verdict="wrong",
    printed=r"The answer is $\frac1K\sum_k\operatorname{softmax}f(\lambda x+(1-\lambda)s_k)$; its robustness is "
    r"accuracy on the images of PGD.",
    derived=r"In the code PGD climbs $f$ itself at $x$, with its own prediction for the label. The gradient of the "
    r"answer is $$\lambda\sum_kJ(\tilde x_k)^\top r_k(p_k-e_y),\qquad r_k=p_k[y]\Big/\sum_jp_j[y].$$",
    because="A step along the gradient of the bare network raises the loss of the answer by less than one along the "
    "answer's own, so that the defence seems stronger than it is: the mixing moves the point at which the attack "
    "should look. Tramèr et al. (2020) attack through the mixing, with 15 mixtures and 50 steps, and count MI among "
    "the defences that adaptive attacks break. The figure for the oblivious attack tells nothing about robustness.",
    instead="`Mixing` is a layer, and every attack goes through it, with its own draws",
    uses=("C16",),
    symbols=("npsnn.layers.mixing.Mixing",),
    headline="rise of the answer's loss after a step: along the bare gradient {rise, bare gradient}, along the "
    "answer's {rise, gradient of the answer}; signs that agree {signs that agree}",
    places=(
        at(MI, "attack_resnet_mixuptest_OL.py", "295-300, 385", "PGD on the classifier, without a label"),
        at(MI, "attack_resnet_mixuptest_OL.py", "395-410", "the mixing comes after the attack"),
        f"{BROKEN}@36ebb91, 10_mixup/mixup_attack.ipynb: PGD of 50 steps through MI-OL of 15 images, lambda 0.6, on "
        "the network of interpolated adversarial training",
        "Tramèr, Carlini, Brendel and Madry 2020, arXiv 2002.08347: adaptive attacks on 13 defences, MI among them",
    ),
)
def c29(lab: Lab) -> Iterator[Figure]:
    rng, weight, eps = lab.rng(), 0.5, 0.03
    rises, agree = [], []
    for _ in range(lab.draws(100)):
        network, x, label, pool = case(rng)
        start, own = network.answer(x, label, pool, weight)
        _, bare = network.plain(x, label)
        rises.append([network.answer(x + eps * np.sign(g), label, pool, weight)[0] - start for g in (bare, own)])
        agree.append(float(np.mean(np.sign(bare) == np.sign(own))))
    bare_rise, own_rise = np.mean(rises, axis=0)
    # both rises are of the same networks, so that the error of their difference is that of the differences
    reach = 5 * np.std(np.diff(rises, axis=1)) / np.sqrt(len(rises)) + ROUNDING
    yield above("rise, gradient of the answer", float(own_rise), 0)
    yield below("rise, bare gradient", float(bare_rise), float(own_rise - reach))
    # neither by chance, of which one half would agree, nor all
    reach = 5 * np.std(agree) / np.sqrt(len(agree)) + ROUNDING
    yield Figure("signs that agree", float(np.mean(agree)), 0.5 + reach, 1 - reach)
    network, x, label, pool = smooth_case(rng, weight)
    wanted = differences.gradient(lambda a: network.answer(a, label, pool, weight)[0], x, STEP)
    yield error("gradient of the answer", network.answer(x, label, pool, weight)[1], wanted, 1e-7)
    yield from _through_the_layer(network, x, label, rng, weight)


def _through_the_layer(
    network: Small, x: Floats, label: int, rng: np.random.Generator, weight: float
) -> Iterator[Figure]:
    """The engine's answer of 12 mixtures, its gradient, and the same of the network without the mixing."""
    names = ("flatten", "V", "relu1", "U", "relu2", "W")
    layers = (Flatten(), Linear(40), ReLU(), Linear(40), ReLU(), Linear(6))
    body = Sequential(tuple(zip(names, layers, strict=True)))
    weights = {name: {"w": getattr(network, name), "b": np.zeros(len(getattr(network, name)))} for name in "VUW"}
    own = 0.5 + x / 4
    pool = rng.random((6, 5, 1, 1, 24))
    while network.kinks(weight * own + (1 - weight) * pool.reshape(30, 24)) < FAR * STEP:
        pool = rng.random((6, 5, 1, 1, 24))
    params = {"mixing": {"body": {name: weights.get(name, {}) for name in names}, "pool": pool}}
    mixing = Mixing(body, 6, 5, weight, "other")
    engine = Classifier(Model("mixed", Sequential((("mixing", mixing),)), (1, 1, 24), 6), params, threads=1)
    image, labels, stream = own.reshape(1, 1, 1, 24), np.array([label]), Stream(5)
    target = targets.sampled(engine.averaging(12, "probabilities"), 1)
    _, gradient = target(image, labels, stream)

    way = rng.standard_normal(image.shape) / 5
    rise = differences.slope(lambda t: float(target(image + t * way, labels, stream)[0].sum()), step=STEP)
    yield near("engine: slope along the gradient of the answer", float((gradient * way).sum()) / rise, 1, 1e-6)
    _, quiet = targets.expectation(engine)(image, labels, stream)
    bare = network.plain(image.ravel(), label)[1]
    yield error("engine: gradient without the mixing", quiet.ravel(), bare, 1e-9)
    apart = float(np.abs(engine.sample(image, 1, 1) - engine.sample(image, 2, 1)).max())
    yield above("engine: draws differ by", apart, 1e-3)
    mixed = weight * image.ravel() + (1 - weight) * pool.reshape(30, 24)
    possible = network.logits(mixed).T
    draws = engine.sample(image, 3, 20)[:, 0]
    off = np.abs(draws[:, None] - possible[None]).max(axis=2).min(axis=1)
    yield below("engine: draws that are no mixture with the pool, off by", float(off.max()), 1e-9)


add(
    Card(
        id="C30",
        place="MI, attack_*_OL.py",
        title="The pool is the test set",
        verdict="inconsistent",
        uses=("C29",),
        printed="The images to mix with are of the training set, by class.",
        derived="In the code the pool of CIFAR-10 and CIFAR-100 is the test set of 10 000 images, by their true "
        "labels; the images that are attacked are among them.",
        because="The variable is named for the training set, the argument asks for the test set. A defence that holds "
        "the labelled test images may look the answer up. Its own image is drawn seldom, about once in a thousand "
        "draws of its class, so that the figures may be little affected; a pool of training images would cost nothing.",
        instead="the pool is filled with training images when the training begins",
        places=(
            at(MI, "attack_resnet_mixuptest_OL.py", "104-109, 177-182", "train=False for the set that fills the pool"),
            at(MI, "attack_resnet_mixuptest_OL.py", "322-338", "a comment about training images, and 10 000 images"),
            at(MI, "attack_resnet_mixuptest_Combined.py", "111, 229-235", "the same in the combined form"),
        ),
    )
)


@checks(
    "C31",
    place="MI, *_OL_adaptive.py",
    title="An adaptive attack that averages perturbations",
    verdict="approximation",
    uses=("A25", "C29"),
    printed="Adaptive PGD: perturbations are computed for up to 30 mixtures, and their mean is added to the image.",
    derived=r"In the code each mixture is attacked by itself to the whole $\epsilon$, with its own prediction for the "
    r"label; the mean of 30 vectors of $\pm\epsilon$ is far smaller than $\epsilon$ wherever they disagree.",
    because="An average of signs is no sign of an average. More mixtures make the averaged perturbation smaller, so "
    "that the attack gets weaker with its effort, and each mixture is led away from its own answer, which need not be "
    "the label. The average belongs to the gradients, inside of each step.",
    instead="EoT through the mixing: the gradient of the averaged answer, then its sign",
    headline="mean size of the perturbation over eps: 1 mixture {size, 1}, 30 mixtures {size, 30}; rise of the "
    "answer's loss {rise, averaged perturbations}, along the gradient of the answer {rise, gradient of the answer}",
    places=(
        at(MI, "attack_resnet_mixuptest_OL_adaptive.py", "299-309", "perturbations of the mixtures, averaged"),
        at(MI, "README.md", "94-106", "1 to 30 adaptive samples"),
    ),
)
def c31(lab: Lab) -> Iterator[Figure]:
    rng, weight, eps = lab.rng(), 0.5, 0.03
    sizes: dict[int, list[float]] = {1: [], 30: []}
    rises = []
    for _ in range(lab.draws(60)):
        network, x, label, pool = case(rng)
        mixed = weight * x + (1 - weight) * pool
        own = [int(z.argmax()) for z in network.logits(mixed).T]
        signs = np.array([np.sign(network.plain(m, k)[1]) for m, k in zip(mixed, own, strict=True)])
        for count, found in sizes.items():
            found.append(float(np.abs(signs[:count].mean(axis=0)).mean()))
        start, gradient = network.answer(x, label, pool, weight)
        steps = eps * signs.mean(axis=0), eps * np.sign(gradient)
        rises.append([network.answer(x + step, label, pool, weight)[0] - start for step in steps])
    yield near("size, 1", float(np.mean(sizes[1])), 1, 1e-9)
    yield below("size, 30", float(np.mean(sizes[30])), 0.7)
    averaged, right = np.mean(rises, axis=0)
    yield below("rise, averaged perturbations", float(averaged), 0.8 * float(right))
    yield above("rise, gradient of the answer", float(right), 0.01)
