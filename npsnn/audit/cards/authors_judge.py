"""Cards of how A2SNN's authors judged robustness: their attacks, and what of them was published (audit B11 to B17)."""

from collections.abc import Iterator
from math import exp, log

import numpy as np

from npsnn.attacks import authors, projected, targets
from npsnn.audit.card import Card, Figure, Floats, Lab, above, add, below, checks, drawn, near, shown
from npsnn.audit.cards.attacks import Slope
from npsnn.audit.sources import at
from npsnn.classifier import Classifier
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.ops import loss
from npsnn.reference import authors_code, protocol
from npsnn.streams import Stream

CODE, FOOLBOX = "peustr/A2SNN", "peustr/foolbox"


@checks(
    "B11",
    place="Sec. 4.5, test.py",
    title="A cross-entropy that loses its gradient",
    verdict="inconsistent",
    uses=("A4",),
    printed="The robustness “is not caused by gradient obfuscation”, by five criteria.",
    derived=r"The authors' FGSM and PGD ascend PyTorch's cross-entropy of float32 logits, whose gradient is $p-e_k$ "
    r"rounded: $p_k-1$ is exactly 0 where the others together are below $2^{-24}$, and every $p_i$ is exactly 0 where "
    r"$e^{-d}<2^{-150}$. For one rival these are margins $d$ of 16.6 and 103.98.",
    because="The objective of A4 lets the logits grow without bound, and with them the margins. From 16.6 on an attack "
    "has half of its gradient and goes another way; from 104 on it has none, sign(0) is 0, and the image counts as "
    "robust where it stands. The noise has no part in that. None of the five criteria looks for a gradient of 0. Here "
    "200 images have margins that are spread evenly over 0 to 200 and all lie in reach of the attack: the authors' "
    "FGSM leaves 48 %, the same step along a gradient that does not underflow leaves none.",
    instead="gradients in units of each image's largest entry, which no precision loses, and a count of those that are "
    "0; `npsnn attack --authors` attacks as the authors do, and `npsnn checklist` asks for zero gradients",
    symbols=("npsnn.ops.loss.float32_cross_entropy", "npsnn.ops.loss.cross_entropy"),
    headline="gradient by the label at margin 16 {label, margin 16}, at 17 {label, margin 17}; by the rival at 103 "
    "{rival, margin 103}, at 104 {rival, margin 104}; left by the authors' FGSM {left by the authors}, without "
    "underflow {left without underflow}",
)
def b11(lab: Lab) -> Iterator[Figure]:
    for margin, label, rival in (
        (16, -(2.0**-23), exp(-16)),
        (17, 0.0, exp(-17)),
        (103, 0.0, 2.0**-149),
        (104, 0.0, 0.0),
    ):
        logits = np.array([margin, 0.0])
        value, engine = loss.float32_cross_entropy(logits[:, None], np.array([0]))
        for side, (of_label, of_rival) in (
            ("", authors_code.single_slopes(logits, 0)),
            ("engine: ", np.asarray(engine[:, 0], np.float64)),
        ):
            yield near(f"{side}label, margin {margin}", of_label, label, 0)
            yield near(f"{side}rival, margin {margin}", of_rival, rival, 1e-6 * rival)
        yield near(f"engine: value, margin {margin}", float(value[0]), round(exp(-margin) / 2**-23) * 2**-23, 1e-13)
        precise, exact = loss.cross_entropy(logits[:, None], np.array([0]))
        yield near(f"engine: in units, margin {margin}", float(exact[1, 0]) / exp(-margin), 1, 1e-6)
        yield near(f"engine: value in units, margin {margin}", float(precise[0]) / exp(-margin), 1, 1e-3)
    yield near("margin where half is lost", -log(2.0**-24), 16.64, 0.01)
    yield near("margin where all is lost", -log(2.0**-150), 103.97, 0.01)
    yield from _left(lab)


def _left(lab: Lab) -> Iterator[Figure]:
    """What FGSM leaves of 200 images of one pixel, whose margins are 0.5 to 199.5 and fall by 300 for a whole pixel."""
    layers = (("flatten", Flatten()), ("fc", Linear(2)))
    params = {"flatten": {}, "fc": {"w": np.array([[150.0], [-150.0]]), "b": np.array([-45.0, 45.0])}}
    network = Classifier(Model("pixel", Sequential(layers), (1, 1, 1), 2), params, threads=1).astype(np.float32)
    margins = np.arange(200) + 0.5
    x, labels = (0.3 + margins / 300).reshape(-1, 1, 1, 1), np.zeros(200, int)
    lossy = targets.expectation(network, "float32-cross-entropy")
    for name, attack, target in (
        ("left by the authors", authors.AuthorsFGSM(0.7), lossy),
        ("left without underflow", projected.FGSM(0.7), targets.expectation(network)),
    ):
        found = attack(target, x, labels, Stream(lab.seed, ("B11",)))
        right = network.predict(found).argmax(axis=1) == labels
        yield near(name, float(right.mean()), 0.48 if attack.source == authors.SOURCE else 0, 0)
        yield shown(f"{name}, moved", float(np.mean(found != x)))


@checks(
    "B12",
    place="Sec. 4.1, test.py",
    title="PGD from a random start, with steps for none",
    verdict="unstated",
    uses=("A24", "A25"),
    printed=r"PGD with $k=10$ steps of $\alpha=\epsilon/10$; where they begin is not said. Sec. 2.1 tells of "
    "the PGD of Madry et al., which begins at random.",
    derived=r"In the authors' code these steps begin at a point that is uniform in the ball, the default of foolbox. A "
    r"pixel then gets $\frac34\epsilon$ far along the gradient's signs where none is ever wrong, and where 20 % are, "
    r"$0.49\,\epsilon$.",
    because="From the image the ten steps reach every corner if no sign is wrong; from a random start half of the "
    "pixels end short of it. With 20 % of the signs wrong the authors' FGSM, one step of the whole length, goes "
    r"$0.60\,\epsilon$ and so further than their PGD: the paper's criterion 1 takes such a pair for a sign of "
    "obfuscated gradients. Where a gradient is 0 (B11) the image stays at its start, half of the radius away in the "
    "mean. npsnn's ablation takes the stronger reading: what it calls the paper's PGD starts from the image.",
    instead=r"steps of $2.5\,\epsilon/k$; `npsnn attack --authors` has the authors' steps",
    symbols=("npsnn.attacks.authors.AuthorsPGD", "npsnn.attacks.authors.AuthorsFGSM"),
    headline="way over eps, no sign wrong: PGD {PGD}, FGSM {FGSM}; with 20 % wrong: PGD {PGD, 20 % wrong}, FGSM {FGSM, "
    "20 % wrong}; without a gradient {moved without a gradient}",
)
def b12(lab: Lab) -> Iterator[Figure]:
    eps, general = 0.1, authors.AuthorsPGD(0.1).general
    yield near("engine: steps of PGD", general.steps, 10, 0)
    yield near("engine: length of a step over eps", general.step_size / eps, 0.1, 1e-12)
    for errors, named in ((0.0, ""), (0.2, ", 20 % wrong")):
        straight = 1 - 2 * errors
        scattered = protocol.reach(0.1, 10, True, errors)[0]
        yield near(f"PGD{named}", scattered, 0.75 if errors == 0 else 0.49, 0.005)
        yield near(f"FGSM{named}", straight, 1 if errors == 0 else 0.6, 1e-12)
        for name, attack, wanted in (
            ("PGD", authors.AuthorsPGD(eps), scattered),
            ("FGSM", authors.AuthorsFGSM(eps), straight),
        ):
            way = _way(lab, attack, errors)
            yield drawn(f"engine: {name}{named}", way.mean(), way.std() / way.size**0.5 + 1e-10, wanted)
    yield above("FGSM less PGD, 20 % wrong", 0.6 - protocol.reach(0.1, 10, True, 0.2)[0], 0.1)
    yield near("from the image, 20 % wrong", protocol.reach(0.1, 10, False, 0.2)[0], 0.6, 0.005)
    flat = np.abs(_way(lab, authors.AuthorsPGD(eps), 0.0, gradient=0.0))
    yield drawn("moved without a gradient", flat.mean(), flat.std() / flat.size**0.5, 0.5)
    still = np.abs(_way(lab, authors.AuthorsFGSM(eps), 0.0, gradient=0.0))
    yield below("moved by FGSM without a gradient", still.max(), 0)


def _way(lab: Lab, attack: projected.Setting, errors: float, gradient: float = 1.0) -> Floats:
    """How far an attack goes along the gradient's signs, over eps, in the middle of the box; (N, 1, 20, 25)."""
    rng = lab.rng()
    x, signs = np.full((lab.draws(20), 1, 20, 25), 0.5), rng.choice([-1.0, 1.0], (1, 20, 25))
    found = attack(Slope(gradient * signs, errors), x, np.zeros(len(x), int), Stream(int(rng.integers(2**31))))
    return np.asarray((found - x) * signs / attack.eps)


add(
    Card(
        id="B15",
        place="Table 5, utils.py",
        title="A strength that the code cannot be asked for",
        verdict="inconsistent",
        uses=("A23",),
        printed=r"Table 5 has F-MNIST under FGSM and PGD, at $\epsilon=8/255$ by Sec. 4.4 and at 0.3 by Sec. 4.1.",
        derived=r"In every version of the authors' code the strengths for F-MNIST are 0, 0.1, 0.2, 0.3, 0.4 and 0.5; "
        r"$8/255$ is among those of CIFAR-10 and SVHN alone.",
        because="Of the two strengths of A23 the code can make the second alone. At 0.3 the authors' PGD leaves "
        "nothing of networks that were trained by their code for 14 epochs, which speaks against 0.3 for a table that "
        "has 43.9 % there. How the two columns were made is not in the code.",
        instead="a setting, printed with every result; for F-MNIST report both",
        places=(
            r'Sec. 4.4: "All the FGSM and PGD attacks in Table 5 use attack strength $\epsilon=8/255$"',
            at(CODE, "utils.py", "37-40", "0.0 to 0.5 in steps of 0.1 for fmnist"),
            at(CODE, "utils.py", "41-44", "0/255 to 128/255 for cifar10, 8/255 among them"),
        ),
    )
)

add(
    Card(
        id="B17",
        place="abstract, test.py",
        title="Attacks that the published library does not have",
        verdict="wrong",
        printed="“The source code is openly available”.",
        derived="The evaluation imports `FGSMMC`, `PGDMC`, `BIMMC` and `CWMC` from the authors' fork of foolbox. The "
        "fork that is public has the first two.",
        because="The import fails, and no evaluation starts, in the paper's version and in today's. Two names that "
        "stand for "
        "nothing are enough for FGSM and PGD to run. The fork's commit is of January 2022, the paper of October 2020: "
        "the state that made the tables is in no branch. The attacks of Table 2 (C&W) cannot be looked at.",
        instead="`npsnn attack --authors` has the two attacks that are there",
        places=(
            at(CODE, "test.py", "4", "imports four attacks from foolbox.attacks"),
            at(FOOLBOX, "foolbox/attacks/__init__.py", "91-92", "names FGSMMC and PGDMC; the other two are in no file"),
        ),
    )
)
