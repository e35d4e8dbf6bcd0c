"""Cards of TRADES and MART: two views of an image, the clean and the attacked one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npsnn.audit import defended
from npsnn.audit.card import Figure, Floats, Lab, above, below, checks, error, near
from npsnn.audit.heads import together
from npsnn.audit.sources import at, issue
from npsnn.reference import defences, differences
from npsnn.schedules import Falls

TRADES, MART = "yaodongyu/TRADES", "YisenWang/MART"
DIVERGENCE = "npsnn.ops.loss.divergence"


def logits(rng: np.random.Generator, classes: int = 6, images: int = 5) -> tuple[Floats, Floats, np.ndarray]:
    """Logits of clean and of changed images, (classes, N), and labels."""
    z = 1.5 * rng.standard_normal((classes, images))
    return z, z + rng.standard_normal((classes, images)), rng.integers(0, classes, images)


def summed(f: Any, *args: Any) -> float:
    """The sum of the first result of a function."""
    return float(np.sum(f(*args)[0]))


@checks(
    "C1",
    place="TRADES, trades.py",
    title="The second term of TRADES for many classes",
    verdict="ambiguous",
    printed=r"$$\min_f\mathbb E\bigl[\mathcal L(f(X),Y)+\beta\max_{X'}\mathcal L(f(X),f(X'))\bigr],$$ where $\mathcal "
    r"L$ “should be classification-calibrated”; $\mathcal L$ of two answers is not defined.",
    derived=r"In the code $\operatorname{KL}(p\|q)$, $p$ of the clean and $q$ of the attacked image, with gradients "
    r"through both: $$\partial_z=p\circ(\ln p-\ln q-\operatorname{KL}),\qquad\partial_{z'}=q-p.$$ Cross-entropy "
    r"$-\sum p\ln q$ of two answers, the other reading, is larger by the entropy of $p$.",
    because=r"An attack cannot tell the readings apart, for both have $q-p$. A training can: the entropy of $p$ adds "
    r"$-p\circ(\ln p+H)$ to the clean gradient, which rewards sure answers on clean images. With $p$ held fixed "
    r"the clean image would have no gradient of this term at all. The attack "
    r"is a cross-entropy with $p$ for its soft label.",
    instead=r"$\operatorname{KL}(p\|q)$ with both gradients, by $\ln p$ and $\ln q$ and not by logarithms of $p$, $q$",
    symbols=(DIVERGENCE,),
    headline="clean gradient of the other reading differs by {clean gradients differ by} of its size; attack gradients "
    "by {attack gradients differ by}; part of the whole gradient that holding p fixed loses {lost by a fixed p}",
    places=(
        at(TRADES, "README.md", "28-31", "the objective, and the demand that the loss be classification-calibrated"),
        at(TRADES, "trades.py", "36-37", "the attack climbs a sum of KL, the clean probabilities first"),
        at(TRADES, "trades.py", "79-83", "KL with gradients through both passes, times beta and 1/batch"),
    ),
)
def c1(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    z, other, _ = logits(rng)
    _, by_clean, by_other = defences.cross_entropy_of_answers(z, other)
    yield error(
        "other reading: clean gradient",
        by_clean,
        differences.gradient(lambda a: summed(defences.cross_entropy_of_answers, a, other), z),
        1e-8,
    )
    for side, (kl,) in together((defences.divergence, DIVERGENCE)):
        value, dz, dother = kl(z, other)
        at_clean = differences.gradient(lambda a, f=kl: summed(f, a, other), z)  # type: ignore[misc]
        at_other = differences.gradient(lambda a, f=kl: summed(f, z, a), other)  # type: ignore[misc]
        yield error(f"{side}clean gradient", dz, at_clean, 1e-8)
        yield error(f"{side}attacked gradient", dother, at_other, 1e-8)
        yield error(f"{side}value", value, defences.divergence(z, other)[0], 1e-10)
        yield below(f"{side}attack gradients differ by", float(np.abs(dother - by_other).max()), 1e-12)
        yield above(f"{side}clean gradients differ by", float(np.linalg.norm(dz - by_clean) / np.linalg.norm(dz)), 0.2)
        lost = float(np.sum(dz**2) / (np.sum(dz**2) + np.sum(dother**2)))
        yield above(f"{side}lost by a fixed p", lost, 0.1)
        yield near(f"{side}attacked gradient where nothing was changed", np.abs(kl(z, z)[2]).max(), 0, 1e-14)
        yield near(f"{side}sums over the classes", np.abs([dz.sum(axis=0), dother.sum(axis=0)]).max(), 0, 1e-12)


@checks(
    "C2",
    place="TRADES, trades.py:79",
    title="The clean image passes twice through BatchNorm",
    verdict="unstated",
    printed="Two outputs of one network, of the clean and of the attacked image; not how the statistics of BatchNorm "
    "come from the two.",
    derived=r"In the code a step has three passes in training mode: clean, attacked, clean again. With a momentum of "
    r"0.1 the running statistics take $0.1$, $0.09$ and $0.081$ of them: 0.67 of what a step adds is of clean images.",
    because="The gradients of the two clean passes add up to that of one, so the third pass changes the time and the "
    "running statistics alone. These are what the network answers with: two passes in the order of the code leave 0.47 "
    "to clean images, and a batch of both, as PCL and SADS have it, 0.50.",
    instead="one pass for each view; running averages move once, towards the mean of the views' statistics",
    headline="part of clean images in the statistics: code {as coded}, two passes {two passes}",
    places=(
        at(TRADES, "trades.py", "79-82", "the network is asked for the clean image twice"),
        at(TRADES, "trades.py", "28, 73", "evaluation mode for the attack, training mode for the loss"),
    ),
)
def c2(lab: Lab) -> Iterator[Figure]:
    # in the code the statistics of the passes enter in the order clean, attacked, clean
    yield near("as coded", defences.running_share("cac"), (0.1 + 0.081) / 0.271, 1e-12)
    yield near("two passes", defences.running_share("ca"), 0.09 / 0.19, 1e-12)
    mean = 0.0
    for image in (1.0, 0.0, 1.0) * 500:  # the statistic is 1 for clean images and 0 for attacked ones
        mean = 0.9 * mean + 0.1 * image
    yield near("as coded, after many steps", mean, defences.running_share("cac"), 1e-9)


@checks(
    "C3",
    place="TRADES, train_*.py",
    title="A schedule that ends before its steps",
    verdict="unstated",
    printed="76 epochs on CIFAR-10 with a rate of 0.1, divided by 10 at the epochs 75, 90 and 100.",
    derived="Two of 76 epochs have the lower rate; the second and the third division are never reached. The MNIST "
    "script, of 100 epochs with divisions at 55, 75 and 90, reaches all of its.",
    because="A training that is stopped one epoch after its first division is stopped early: later epochs at a low "
    "rate overfit adversarial training. The setting is part of the result, and a run of another length with the same "
    "parts is another method. The code of A2SNN trains for 600 epochs (B3).",
    instead="the recipe has 76 epochs with the division before the last two; another number of epochs keeps the part",
    uses=("B3",),
    symbols=("npsnn.schedules.Falls",),
    headline="epochs at a lower rate {CIFAR-10, epochs at a lower rate} of 76; divisions reached {CIFAR-10, divisions "
    "reached} of 3",
    places=(
        at(TRADES, "train_trades_cifar10.py", "20", "76 epochs"),
        at(TRADES, "train_trades_cifar10.py", "137-147", "divisions at 75, 90 and 100"),
        at(TRADES, "train_trades_mnist.py", "20, 134-140", "100 epochs, divisions at 55, 75 and 90"),
    ),
)
def c3(lab: Lab) -> Iterator[Figure]:
    for name, epochs, starts, low, reached in (
        ("CIFAR-10", 76, (75, 90, 100), 2, 1),
        ("MNIST", 100, (55, 75, 90), 46, 3),
    ):
        there = [start for start in starts if start <= epochs]
        falls = Falls(tuple((start - 1) / epochs for start in there), tuple(0.1 ** (i + 1) for i in range(len(there))))
        coded = [defences.stepped(epoch, starts) for epoch in range(1, epochs + 1)]
        engine = [falls(epoch / epochs) for epoch in range(epochs)]
        for side, rates in (("", coded), ("engine: ", engine)):
            yield near(f"{side}{name}, epochs at a lower rate", sum(rate < 1 for rate in rates), low, 0)
            yield near(f"{side}{name}, divisions reached", round(-np.log10(rates[-1])), reached, 0)
            yield near(f"{side}{name}, last rate", rates[-1], 0.1**reached, 1e-12)


@checks(
    "C4",
    place="MART, mart.py:48",
    title="A safeguard that lets the surest mistakes go",
    verdict="inconsistent",
    printed=r"$$-\ln q_y-\ln\bigl(1-\max_{c\ne y}q_c\bigr)$$ on the attacked image: the second term is to push the "
    r"strongest wrong class down.",
    derived=r"In the code $-\ln(1.0001-q_c)$, whose gradient is $\frac{q_c}{1.0001-q_c}(e_c-q)$: by $z_c$ that is "
    r"$\frac{q_c(1-q_c)}{1.0001-q_c}$ and goes to 0 where $q_c$ goes to 1.",
    because=r"Without the safeguard the derivative is $q_c$, at most 1, and needs none when it is computed from the "
    r"logits. With it the value is at most $-\ln 10^{-4}=9.2$, half of the derivative is left at $1-q_c=10^{-4}$, and "
    r"a hundredth at $10^{-6}$: the term gives up where the network is surest of the wrong class. The code has two "
    r"other safeguards, $10^{-12}$ beside $q$ and $10^{-7}$ beside $1-p_y$, which keep logarithms finite.",
    instead="the loss as printed, from the logits; `safeguards=True` is the code's form",
    symbols=("npsnn.ops.mart.boosted_cross_entropy",),
    headline="derivative by the wrong logit, code over printed: {1e-2, code over printed} at 1 - q = 1e-2, {1e-4, code "
    "over printed} at 1e-4, {1e-6, code over printed} at 1e-6",
    places=(
        at(MART, "mart.py", "44-48", "the wrong class, and 1.0001 - q with 1e-12 besides"),
        at(MART, "mart.py", "50-56", "the weighted divergence, with 1e-12 and 1.0000001"),
    ),
)
def c4(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    z, other, labels = logits(rng, 4, 3)
    zero, first = np.zeros((3, 1)), np.array([0])
    for side, mart in defended.sides(defences.mart, defended.mart):
        for name, safe in (("printed", 0.0), ("code", 1e-4)):
            value, _, by_other = mart(z, other, labels, 0.0, safe)
            wanted = differences.gradient(lambda a, f=mart, s=safe: f(z, a, labels, 0.0, s)[0], other)  # type: ignore[misc]
            yield error(f"{side}{name}, gradient", by_other, wanted, 1e-8)
            yield near(f"{side}{name}, value", value, defences.mart(z, other, labels, 0.0, safe)[0], 1e-9)
        for name, gap, share in (("1e-2", 1e-2, 0.990), ("1e-4", 1e-4, 0.5), ("1e-6", 1e-6, 0.0099)):
            sure = np.array([[0.0], [np.log((1 - gap) / gap) + np.log(2)], [0.0]])
            pull = {s: mart(zero, sure, first, 0.0, s)[2][1, 0] for s in (0.0, 1e-4)}
            plain = defences.softmax(sure)[1, 0]  # of -ln q_y, which both forms have
            yield near(f"{side}{name}, code over printed", (pull[1e-4] - plain) / (pull[0.0] - plain), share, 2e-3)
    yield near("largest value in code", -np.log(1e-4), 9.21, 0.01)


@checks(
    "C5",
    place="MART, mart.py:52",
    title="The weight of MART's divergence is trained as well",
    verdict="correct",
    uses=("C1",),
    printed=r"$$\lambda\operatorname{KL}(p\|q)\,(1-p_y)$$",
    derived=r"$$\partial_z=\lambda\bigl[(1-p_y)\,p\circ(\ln p-\ln q-\operatorname{KL})-\operatorname{KL}p_y(e_y-p)"
    r"\bigr],\qquad\partial_{z'}=\lambda(1-p_y)(q-p)$$",
    because=r"The weight is no constant: its own gradient raises $p_y$ on the clean image, the more the larger the "
    r"divergence, so that the loss falls also where the answers stay apart. The code differentiates it. It has no "
    r"cross-entropy on the clean image: this weight is the only thing that teaches the clean answer. The attack climbs "
    r"the cross-entropy, not the divergence, so a margin loss is the one that MART does not train against: users "
    r"measured about 6 points between PGD and C&W that the paper does not show, and AutoAttack leaves 56.29 where the "
    r"paper has 65.04 (C34).",
    instead="both parts of the gradient; judged by margin losses besides PGD",
    symbols=("npsnn.ops.mart.unsure_divergence",),
    headline="gradient against differences {clean gradient}; part of it that is of the weight {part of the weight}",
    places=(
        at(MART, "mart.py", "24-28", "the attack climbs the cross-entropy"),
        at(MART, "mart.py", "52-56", "true probabilities with their gradient"),
        issue(MART, 5, "about 6 points between PGD and C&W; the author says that kappa differs"),
    ),
)
def c5(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    z, other, labels = logits(rng, 4, 3)
    weight, images = 5.0, z.shape[1]
    p, q, hot = defences.softmax(z), defences.softmax(other), np.eye(len(z))[:, labels]
    own, (apart, slope, _) = (p * hot).sum(axis=0), defences.divergence(z, other)
    fixed, of_weight = weight * (1 - own) * slope / images, weight * apart * own * (hot - p) / images
    # the code has 1e-12 beside q and 1e-7 beside 1 - p_y, and 1e-12 more in a logarithm of at least 1e-4
    guards = weight * float((1e-7 * apart + 1e-12 * (1 - own) * (p / q).sum(axis=0)).mean()) + 1e-8
    for side, mart in defended.sides(defences.mart, defended.mart):
        for form, safe in (("printed", 0.0), ("code", 1e-4)):
            value, by_clean, by_other = mart(z, other, labels, weight, safe)
            at_clean = differences.gradient(lambda a, f=mart, s=safe: f(a, other, labels, weight, s)[0], z)  # type: ignore[misc]
            at_other = differences.gradient(lambda a, f=mart, s=safe: f(z, a, labels, weight, s)[0], other)  # type: ignore[misc]
            name = side if form == "printed" else f"{side}code: "
            yield error(f"{name}clean gradient", by_clean, at_clean, 1e-8)
            yield error(f"{name}attacked gradient", by_other, at_other, 1e-8)
            reach = guards if form == "code" else 1e-9
            yield near(f"{name}value", value, defences.mart(z, other, labels, weight, safe)[0], reach)
            yield near(
                f"{name}sums over the classes", np.abs([by_clean.sum(axis=0), by_other.sum(axis=0)]).max(), 0, 1e-9
            )
        part = float(np.linalg.norm(by_clean - fixed) / np.linalg.norm(by_clean))
        yield near(f"{side}part of the weight", part, float(np.linalg.norm(of_weight) / np.linalg.norm(by_clean)), 1e-6)
        still = np.abs(mart(z, other, labels, 0.0)[1]).max()
        yield near(f"{side}clean gradient without the divergence", still, 0, 0)
