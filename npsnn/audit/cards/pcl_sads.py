"""Cards of PCL, which pulls features to prototypes, and of SADS, whose adversary takes one step."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npsnn.attacks import projected, targets
from npsnn.audit import defended
from npsnn.audit.card import Card, Figure, Floats, Lab, above, add, below, checks, error, near, shown
from npsnn.audit.sources import at, issue
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.reference import defences, differences
from npsnn.streams import Stream

PCL = "aamir-mustafa/pcl-adversarial-defense"


def gradients(name: str, f: Any, *x: Floats) -> Iterator[Figure]:
    """Each gradient of f, which returns a value and then the gradients by its arguments, against differences."""
    for i, (got, part) in enumerate(zip(f(*x)[1:], ("features", "centres", "other centres"), strict=False)):
        wanted = differences.gradient(lambda a, i=i: float(f(*x[:i], a, *x[i + 1 :])[0]), x[i])  # type: ignore[misc]
        yield error(f"{name}, gradient by {part}", got, wanted, 1e-8)


@checks(
    "C10",
    place="PCL, proximity.py",
    title="Distances to prototypes, squared and twice",
    verdict="inconsistent",
    printed=r"$$\sum_n\Bigl[\lVert f_n-c_y\rVert-\tfrac1{C-1}\sum_{j\ne y}\bigl(\lVert f_n-c_j\rVert+\lVert "
    r"c_y-c_j\rVert\bigr)\Bigr]$$ with one centre $c_j$ for each class.",
    derived=r"In the code $$\operatorname{mean}_n\lVert f_n-c_y\rVert^2-b\operatorname{mean}_{n,j\ne y}\lVert "
    r"f_n-c'_j\rVert^2,\qquad b=10^{-5},$$ with two sets of centres, $c$ to pull and $c'$ to push, and without the "
    r"distances between centres.",
    because=r"A squared distance pulls a feature the harder the farther it is, a distance pulls all alike. As printed "
    r"pull and push have equal parts; in code the push has $10^{-5}$ of the weight. It needs to: as centres are free, "
    r"$-\lVert f-c'_j\rVert^2$ has no lower bound, and neither has the printed loss, whose centres drift apart at no "
    r"cost. Nothing ties the two sets together, so that a feature is pushed from points that no class is pulled to.",
    instead='both forms, `Centres(classes, form="code")` and `"paper"`',
    symbols=("npsnn.ops.centres.squared", "npsnn.ops.centres.plain"),
    headline="pull on a feature 10 times as far: printed {printed, pull 10 times as far}, code {code, pull 10 times as "
    "far}; push over pull: printed {printed, push over pull}, code {code, push over pull}",
    places=(
        at(PCL, "proximity.py", "13-15, 20-35", "centres of its own, squared distances, their mean"),
        at(PCL, "contrastive_proximity.py", "13-15, 20-44", "other centres, squared distances to all wrong ones"),
        at(PCL, "pcl_training_adversarial_pgd.py", "43-46, 258-264", "weights 1 and 1e-5, one loss at two depths"),
    ),
)
def c10(lab: Lab) -> Iterator[Figure]:
    rng, classes, D = lab.rng(), 4, 5
    f, own, others = (rng.standard_normal((n, D)) for n in (3, classes, classes))
    labels, b = np.array([0, 2, 2]), 1e-5

    def coded(f: Floats, own: Floats, others: Floats) -> Any:
        return defences.prototypes_coded(f, labels, own, others, b)

    def printed(f: Floats, centres: Floats) -> Any:
        return defences.prototypes_printed(f, labels, centres)

    yield from gradients("code", lambda *x: defences.prototypes_coded(x[0], labels, x[1], x[2], 0.5), f, own, others)
    yield from gradients("printed", printed, f, own)
    halves = f, own, others
    yield from gradients("engine: code", lambda *x: defended.prototypes_coded(x[0], labels, x[1], x[2], 0.5), *halves)
    yield from gradients("engine: printed", lambda *x: defended.prototypes_printed(x[0], labels, x[1]), f, own)
    found = defended.prototypes_coded(f, labels, own, others, 0.5)[0]
    yield near("engine: code, value", found, defences.prototypes_coded(f, labels, own, others, 0.5)[0], 1e-9)
    yield near("engine: printed, value", defended.prototypes_printed(f, labels, own)[0], printed(f, own)[0], 1e-9)
    pull: dict[str, Floats] = {}
    for far in (1.0, 10.0):
        at_far = own[labels] + far * np.eye(D)[:3]
        pull |= {f"code {far}": defences.prototypes_coded(at_far, labels, own, others, 0.0)[1]}
        pull |= {f"printed {far}": (at_far - own[labels]) / far}
    for form in ("code", "printed"):
        ratio = float(np.linalg.norm(pull[f"{form} 10.0"]) / np.linalg.norm(pull[f"{form} 1.0"]))
        yield near(f"{form}, pull 10 times as far", ratio, 10 if form == "code" else 1, 1e-9)
    push = np.linalg.norm(coded(f, own, others)[1] - defences.prototypes_coded(f, labels, own, others, 0.0)[1])
    yield below("code, push over pull", float(push / np.linalg.norm(coded(f, own, others)[1])), 1e-4)
    units = (f - own[labels]) / np.linalg.norm(f - own[labels], axis=1)[:, None]
    yield above("printed, push over pull", float(np.linalg.norm(printed(f, own)[1] - units) / np.sqrt(3)), 0.2)
    apart = [printed(f, t * own)[0] for t in (1.0, 1e3)]
    yield below("printed, value with centres 1000 times as far apart", apart[1] - apart[0], -100)


add(
    Card(
        id="C11",
        place="PCL, pcl_training*.py",
        title="A rate that never falls",
        verdict="wrong",
        printed="Rates of 0.01, 0.5 and 1e-5 for weights and the two sets of centres, divided by 10 at three epochs; "
        "the training goes on from a network that was trained by cross-entropy.",
        derived="In the code the new rate is written to a key that the optimiser does not read, so that all rates stay "
        "as they were for 500 epochs; and the state of the earlier optimiser is assigned to the method that should "
        "read it, which loads nothing.",
        because="SGD of PyTorch reads `lr`; the script writes `lr_model`, `lr_prox` and `lr_conprox` into its groups. "
        "An assignment to `load_state_dict` replaces the method. Neither stops the script.",
        instead="constant rates in the recipe of the code, a schedule in that of the paper",
        places=(
            at(PCL, "pcl_training_adversarial_pgd.py", "327-346", "three functions that write keys of their own"),
            at(PCL, "pcl_training_adversarial_pgd.py", "182", "an assignment in place of a call"),
            at(PCL, "pcl_training_adversarial_pgd.py", "40-47", "the schedule and 500 epochs"),
        ),
    )
)


@checks(
    "C12",
    place="PCL, *_pgd.py:106",
    title="An attack that maps normalised images to pixels at every step",
    verdict="wrong",
    uses=("B10",),
    printed="Adversarial training on images of PGD: 10 steps of 2/255 inside a ball of 5 to 13 levels.",
    derived=r"In the code the images are normalised, and every step maps them as $x\leftarrow sx+m$ before it moves "
    r"them. The first step does so in the place of the clean images, which are then trained on as they are; later "
    r"steps map pixels, which pulls them towards $m/(1-s)$.",
    because=r"A step of $2/255$ is small beside the map, which moves a pixel by up to a half. Cut to the ball around "
    r"the clean image the result is $\pm\epsilon$ towards $m/(1-s)$, the grey value that the map leaves alone, "
    r"whatever the gradient says: the network is trained on images with less contrast. It is not trained against PGD, "
    r"and its clean images have another scale than those it is tested on.",
    instead="normalisation is a layer of the network, and attacks go through it",
    headline="signs of the perturbation that agree with the gradient {signs of the gradient}, with the way to the grey "
    "value {signs towards grey}; PGD {PGD, signs of the gradient}; clean images moved by {clean images moved by}",
    places=(
        at(
            PCL, "pcl_training_adversarial_pgd.py", "68-76", "the map writes to its argument, of which the image is one"
        ),
        at(PCL, "pcl_training_adversarial_pgd.py", "91-112", "the map at each step, then the ball around the image"),
        at(PCL, "pcl_training_adversarial_pgd.py", "233-245", "clean images and attacked ones in one batch"),
        issue(PCL, 4, "a wrong normalisation at line 106, after which the authors changed the file"),
    ),
)
def c12(lab: Lab) -> Iterator[Figure]:
    rng, mean, deviation, step, eps = lab.rng(), 0.47, 0.2, 2 / 255, 0.035
    pixels = rng.beta(2, 2, 20_000)
    x, slope = (pixels - mean) / deviation, rng.standard_normal(20_000)
    adv, clean = defences.without_normalisation(x, slope, mean, deviation, eps, step, 10)
    moved, grey = adv - clean, mean / (1 - deviation)
    inside = np.abs(moved) > 1e-9
    yield near("signs of the gradient", float(np.mean(np.sign(moved) == np.sign(slope))), 0.5, 0.05)
    yield above("signs towards grey", float(np.mean(np.sign(moved)[inside] == np.sign(grey - clean)[inside])), 0.85)
    yield above("pixels at the edge of the ball", float(np.mean(np.abs(np.abs(moved) - eps) < 1e-9)), 0.8)
    yield below("contrast, attacked over clean", float(adv.std() / clean.std()), 0.95)
    yield above("clean images moved by", float(np.abs(clean - x).mean()), 0.5)
    right = pixels
    for _ in range(10):
        right = np.clip(np.clip(right + step * np.sign(slope), pixels - eps, pixels + eps), 0, 1)
    yield above("PGD, signs of the gradient", float(np.mean(np.sign(right - pixels) == np.sign(slope))), 0.99)
    yield shown("grey value", grey)


KNOTS = ((0.30, -1.0), (0.45, 1.2), (0.50, 1.0), (0.55, 0.9), (0.70, 3.0))
"""A score by one pixel: right where it is above 0. At 0.5 it falls a little to the right and much to the left."""


def masked() -> Classifier:
    """The network of one pixel whose score goes through KNOTS, with a ReLU for each knot."""
    (x0, y0), *rest = KNOTS
    at_knots, slopes, before = [x0], [], 0.0
    for (a, b), (c, d) in zip(KNOTS, rest, strict=False):
        slopes.append((d - b) / (c - a) - before)
        before = (d - b) / (c - a)
        at_knots.append(c)
    hidden = np.array(at_knots[:-1])
    layers = (("flatten", Flatten()), ("fc1", Linear(len(hidden))), ("relu", ReLU()), ("fc2", Linear(2)))
    model = Model("masked", Sequential(layers), (1, 1, 1), 2)
    params = {"fc1": {"w": np.ones((len(hidden), 1)), "b": -hidden}, "flatten": {}, "relu": {}}
    params |= {"fc2": {"w": np.array([slopes, np.zeros(len(hidden))]), "b": np.array([y0, 0.0])}}
    return Classifier(model, params, threads=1)


@checks(
    "C13",
    place="SADS, abstract",
    title="One step in place of an inner maximum",
    verdict="approximation",
    uses=("A24",),
    printed="Models trained by single-step adversarial training with dropout scheduling are “robust against both "
    "single-step and multi-step adversarial attacks”.",
    derived=r"FGSM maximises the linear part of the loss, $\epsilon\lVert g\rVert_1$. Where the slope at the image "
    r"points away from the maximum, its image is no adversary, and a training on it teaches nothing.",
    because="The network of one pixel here is right at every image of one step and wrong at nine of ten images of PGD "
    "with restarts. Dropout can keep a training from finding such a state; whether it did is for PGD to say, never for "
    "the attack that was trained on. FGSM below PGD in a table would show the masking. No code of the authors and no "
    "independent evaluation was found; the rates and their schedule are not in the abstract.",
    instead="the recipe is judged by PGD-50 with restarts, with FGSM printed beside it",
    symbols=("npsnn.attacks.projected.fgsm", "npsnn.attacks.projected.pgd"),
    headline="right after FGSM {FGSM, right}, after one PGD {PGD, right}, after PGD with 10 restarts {PGD with "
    "restarts, right}",
    places=(
        "arXiv 2004.08628, abstract: dropout scheduling, and robustness against single-step and multi-step attacks",
        "Proceedings of CVPR 2020, pages 947-956: the publication; no repository is named in the abstract",
    ),
)
def c13(lab: Lab) -> Iterator[Figure]:
    network, images, eps = masked(), lab.draws(200), 0.2
    x, labels = np.full((images, 1, 1, 1), 0.5), np.zeros(images, int)
    found = {}
    for name, attack in (
        ("FGSM", projected.fgsm(eps)),
        ("PGD", projected.pgd(eps, steps=10)),
        ("PGD with restarts", projected.pgd(eps, steps=10, restarts=10)),
    ):
        adv = attack(targets.expectation(network), x, labels, Stream(lab.seed, ("C13",)))
        found[name] = float(np.mean(network.predict(adv).argmax(axis=1) == labels))
        yield near(f"{name}, moved by at most", float(np.abs(adv - x).max()), eps, 1e-9)
    yield near("FGSM, right", found["FGSM"], 1, 0)
    yield Figure("PGD, right", found["PGD"], 0.4, 0.85)
    yield below("PGD with restarts, right", found["PGD with restarts"], 0.1)


@checks(
    "C14",
    place="SADS",
    title="Dropout adds noise to the training alone",
    verdict="correct",
    printed=r"Dropout with a rate $p$ that falls to 0 during the training, after each non-linearity.",
    derived=r"$x\,m/(1-p)$ with $m=1$ with probability $1-p$ has the mean of $x$ and the variance "
    r"$\frac{v+p\mu^2}{1-p}$, $\mu$ and $v$ of $x$.",
    because="The mean of a unit stays, so that the network without dropout needs no other weights; its variance does "
    "not, so that BatchNorm after dropout learns statistics that the network without it does not have. With a rate "
    "that ends at 0 the last epochs mend this. At inference the defence is deterministic.",
    instead="a layer that drops in training alone, with these moments under propagation",
    symbols=("npsnn.layers.dropout.Dropout", "npsnn.reference.defences.dropped"),
    headline="mean of draws off by {mean} standard errors, variance by {variance}; variance of a unit at mean 1 and "
    "rate 0.5 {variance of a sure unit}",
    places=("arXiv 2004.08628, abstract: dropout scheduling", "Proceedings of CVPR 2020, pages 947-956"),
)
def c14(lab: Lab) -> Iterator[Figure]:
    rng, p, count = lab.rng(), 0.4, lab.draws(20_000)
    mean, var = rng.uniform(-1, 2, 5), rng.uniform(0.1, 1, 5)
    x = mean + np.sqrt(var) * rng.standard_normal((count, 5))
    kept = x * (rng.random((count, 5)) > p) / (1 - p)
    for side, dropped in defended.sides(defences.dropped, defended.dropped):
        m, v = dropped(mean, var, p)
        yield below(f"{side}mean", float((np.abs(kept.mean(axis=0) - m) / np.sqrt(v / count)).max()), 5)
        off = np.abs(((kept - m) ** 2).mean(axis=0) - v) / (((kept - m) ** 2).std(axis=0) / np.sqrt(count))
        yield below(f"{side}variance", float(off.max()), 5)
        sure = float(dropped(np.ones(1), np.zeros(1), 0.5)[1][0])
        yield near(f"{side}variance of a sure unit", sure, 1, 1e-12)
