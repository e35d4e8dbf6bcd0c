"""Cards of BPFC and RLFLAT: a second view of an image that no attack finds."""

from collections.abc import Iterator

import numpy as np

from npsnn import train
from npsnn.audit import defended
from npsnn.audit.card import Card, Figure, Lab, above, add, below, checks, drawn, error, near
from npsnn.audit.cards.theorem import standard_error
from npsnn.audit.sources import at, issue
from npsnn.data import Split
from npsnn.reference import authors_code, defences, differences
from npsnn.streams import Stream
from npsnn.train.losses.bpfc import BPFC

PLANES, BLOCKS = "val-iisc/BPFC", "JHL-HUST/RLFAT"


@checks(
    "C6",
    place="BPFC, bpfc_*.py",
    title="How far the coarse image is from the image",
    verdict="correct",
    printed=r"The second view of an image $u=255x$ is $u+n$ with $n$ uniform on $\pm2^{k-2}$, replaced by the middle "
    r"of its bin of $2^k$ levels and cut to the range of pixels; the loss adds $\lambda\lVert z-z_q\rVert^2$.",
    derived=r"$$|u_q-u|\le2^{k-2}+2^{k-1}=3\cdot2^{k-2}:$$ 24 levels for $k=5$ (CIFAR-10), 48 for $k=6$ (F-MNIST) and "
    r"96 for $k=7$ (MNIST), against attacks of 8, 25.5 and 76.5. With $d=2\lambda(z-z_q)$ the gradients are $p-e_y+d$ "
    r"and $-d$.",
    because=r"The view leaves the ball of the attack in every setting, so that the pull on the logits is one on random "
    r"images up to three times as far away, never on the worst one inside. The code of CIFAR-10 bounds the noise by 8 "
    r"levels, $2^{\min(k-2,3)}$; at its $k=5$ that bound is the noise itself. Cutting to the range makes a black pixel "
    r"grey in half of the draws and leaves it black in the others. $\lambda$ goes from 1 over 9 and 81 to 729 while "
    r"the rate falls by 5 each time, so that their product rises from 0.1 to 0.58.",
    instead="the same view, with its own draw for each image",
    symbols=("npsnn.train.losses.bpfc.BPFC",),
    headline="largest change in levels: {k = 5, largest change} for k = 5, {k = 6, largest change} for 6, {k = 7, "
    "largest change} for 7; black pixels that turn grey {black pixels that turn grey}",
    places=(
        at(PLANES, "CIFAR10/bpfc_cifar10.py", "127, 139-149", "noise 2^min(k - 2, 3), bins, and the squared distance"),
        at(PLANES, "CIFAR10/bpfc_cifar10.py", "179-190", "the weight times 9 and the rate over 5 at 25, 50 and 75"),
        at(PLANES, "FMNIST/bpfc_fmnist.py", "121, 133-145", "noise 2^(k - 2)"),
        at(PLANES, "CIFAR10/README.md", "5", "k 5, weight 1, factor 9, 100 epochs; MNIST 7 and 30, F-MNIST 6 and 25"),
        issue(PLANES, 3, "noise alone in place of the bins leaves 31.9 instead of 34.4"),
    ),
)
def c6(lab: Lab) -> Iterator[Figure]:
    rng = lab.rng()
    pixels = np.repeat(np.arange(256) / 255, lab.draws(100))
    for bits, eps in ((5, 8 / 255), (6, 0.1), (7, 0.3)):
        seen = defences.quantised(pixels, rng.uniform(-1, 1, pixels.shape), bits)
        far = 255 * float(np.abs(seen - pixels).max())
        yield Figure(f"k = {bits}, largest change", far, 0.9 * 3 * 2 ** (bits - 2), 3 * 2 ** (bits - 2))
        yield above(f"k = {bits}, largest change over the attack's", far / 255 / eps, 1.2)
    noise = rng.uniform(-1, 1, pixels.shape)
    capped = [
        np.abs(defences.quantised(pixels, noise, k, 3) - defences.quantised(pixels, noise, k)).max() for k in (5, 6)
    ]
    yield near("the code's bound at k = 5 changes", capped[0], 0, 0)
    yield above("the code's bound at k = 6 would change", capped[1], 0.01)
    black = defences.quantised(np.zeros(lab.draws(20_000)), rng.uniform(-1, 1, lab.draws(20_000)), 7)
    yield drawn("black pixels that turn grey", float(np.mean(black > 0)), standard_error(0.5, len(black)), 0.5)
    yield near("weight times rate, last over first", 729 / 125, 5.832, 1e-9)
    yield from _engine_view(int(rng.integers(2**31)))
    z, seen_z, labels = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), np.array([0, 1, 3])

    def loss(a: np.ndarray, b: np.ndarray) -> float:
        surprise = -defences.log_softmax(a)[labels, np.arange(3)].sum()
        return float(surprise + 25 * ((a - b) ** 2).sum())

    pull = 50 * (z - seen_z)
    clean = defences.softmax(z) - np.eye(4)[:, labels] + pull
    yield error("gradient", clean, differences.gradient(lambda a: loss(a, seen_z), z), 1e-8)
    yield error("gradient of the second view", -pull, differences.gradient(lambda b: loss(z, b), seen_z), 1e-8)
    value, *slopes = BPFC(6, 25.0).values(z, seen_z, labels)
    yield near("engine: value", float(value.sum()), loss(z, seen_z), 1e-9)
    yield error("engine: gradient", slopes[0], clean, 1e-10)
    yield error("engine: gradient of the second view", slopes[1], -pull, 1e-10)


def _engine_view(seed: int) -> Iterator[Figure]:
    """The engine's second view against the plain one, with the noise that its stream draws."""
    x = np.arange(256.0).reshape(1, 16, 1, 16) / 255
    x = np.repeat(x.transpose(1, 2, 3, 0), 2, axis=3)
    stream = Stream(seed)
    uniform = 2 * stream.uniform(x) - 1
    for bits, capped in ((5, False), (6, False), (6, True), (7, False)):
        wanted = defences.quantised(x, uniform, bits, 3 if capped else None)
        found = BPFC(bits, 1.0, capped).quantised(x, stream)
        yield error(f"engine: view, k = {bits}{', bounded' * capped}", found, wanted, 1e-12)
    yield near("engine: noise on either side", float(np.mean(uniform > 0)), 0.5, 0.15)


@checks(
    "C7",
    place="BPFC, bpfc_*.py",
    title="Attacks choose the epoch of a training without attacks",
    verdict="ambiguous",
    uses=("B8",),
    printed="Robustness “without the use of adversarial samples during training”.",
    derived="In the code the tested network is the one of the epoch with the highest validation accuracy under "
    "iterated FGSM: of all 100 epochs on CIFAR-10, by 7 steps of 8/255, and of the last 30 of 50 on F-MNIST, by 40 "
    "steps of 0.1.",
    because="The weights see no adversarial image, the choice of the epoch does. The 10 000 validation images are "
    "split off the training set, so the choice does not lift the test accuracy as in B8; it lifts the validation "
    "accuracy by up to 2.5 standard errors. A weak attack without a random start prefers epochs that mask gradients. "
    "The authors' own PGD of 1000 steps is the figure to read: 34.4 on CIFAR-10, where 7 to 20 steps leave more (C33).",
    instead="`best.npz` is chosen by clean accuracy on validation images unless a selection under attack is asked for",
    symbols=("npsnn.train.split_validation",),
    headline="standard errors that the best of 100 epochs has too much {best of 100}, of 30 {best of 30}; images that "
    "are in both parts {engine: images in both parts}",
    places=(
        at(PLANES, "README.md", "4", "no adversarial samples during training"),
        at(PLANES, "CIFAR10/bpfc_cifar10.py", "103-114", "10 000 validation images of the training set"),
        at(
            PLANES,
            "CIFAR10/bpfc_cifar10.py",
            "273-320",
            "every epoch under 7 steps of FGSM, the best is tested",
        ),
        at(PLANES, "FMNIST/bpfc_fmnist.py", "258-302", "the last 30 epochs under 40 steps"),
    ),
)
def c7(lab: Lab) -> Iterator[Figure]:
    for epochs, high in ((100, 2.51), (30, 2.04)):
        yield near(f"best of {epochs}", authors_code.best_of(epochs), high, 0.01)
    numbers = np.arange(60)
    whole = Split(numbers.astype(np.uint8)[:, None, None, None], numbers)
    parts = train.split_validation(whole, int(lab.rng().integers(2**31)), None)
    training, validation = (set(part.labels.tolist()) for part in parts)
    yield near("engine: images in both parts", len(training & validation), 0, 0)
    yield near("engine: images in one of the parts", len(training | validation), 60, 0)
    strange = sum(int((part.labels != part.images.ravel()).sum()) for part in parts)
    yield near("engine: images with another's label", strange, 0, 0)


@checks(
    "C8",
    place="RLFLAT, utils.py:26",
    title="The block shuffle is a shift",
    verdict="inconsistent",
    printed="A “Random Block Shuffle” breaks up the global structure of adversarial images: cut at random along each "
    "axis, the blocks in random order.",
    derived=r"In the code with $k=2$ two parts along an axis of $n$ pixels either stay or change places: a cyclic "
    r"shift by the cut, uniform on $0,\dots,n-1$, in half of the batches. One shift along each axis serves the whole "
    r"batch.",
    because=r"A cyclic shift tears an image along one line and one column and keeps every block whole. Nothing moves "
    r"along an axis with probability $\frac12+\frac1{2n}$: for 32 pixels one batch in four, 0.266, is not shuffled at "
    r"all, and its feature term $\lVert z_s-z'\rVert^2$ is 0. Only 1 batch in 4 has both axes torn. The shuffle is a "
    r"permutation, so that the adjoint of its inverse is the shuffle.",
    instead="the shift of the code, drawn from the seed for each batch",
    symbols=("npsnn.ops.blocks.turned",),
    headline="batches that are not shuffled at all {not shuffled}, formula {not shuffled, formula}; with both axes "
    "torn {both axes}",
    places=(
        at(BLOCKS, "cifar_10/utils.py", "26-68", "one cut along each axis for the whole batch, parts in random order"),
        at(BLOCKS, "cifar_10/train_pgdat_RLFAT.py", "103", "two parts"),
    ),
)
def c8(lab: Lab) -> Iterator[Figure]:
    rng, n, count = lab.rng(), 32, lab.draws(4_000)
    image = np.arange(n * n, dtype=float).reshape(1, n, n)
    moved = np.zeros((count, 2), bool)
    for i in range(count):
        cuts, swapped = rng.integers(0, n, 2), rng.random(2) < 0.5
        seen = defences.shuffled(image, (int(cuts[0]), int(cuts[1])), (bool(swapped[0]), bool(swapped[1])))
        moved[i] = seen[0, 0, 0] // n > 0, seen[0, 0, 0] % n > 0
    still = (0.5 + 0.5 / n) ** 2
    yield near("not shuffled, formula", still, 0.2659, 1e-4)
    share = float(np.mean(~moved.any(axis=1)))
    yield drawn("not shuffled", share, standard_error(still, count), still)
    torn = (0.5 - 0.5 / n) ** 2
    yield drawn("both axes", float(np.mean(moved.all(axis=1))), standard_error(torn, count), torn)
    for side, shuffled in defended.sides(defences.shuffled, defended.shuffled):
        shifted = shuffled(image, (5, 9), (True, True))
        yield near(
            f"{side}apart from a cyclic shift", np.abs(shifted - np.roll(image, (-5, -9), axis=(1, 2))).max(), 0, 0
        )
        back = shuffled(shifted, (n - 5, n - 9), (True, True))
        yield near(f"{side}apart after the inverse", np.abs(back - image).max(), 0, 0)
        one = shuffled(image, (5, 9), (False, True))
        yield near(f"{side}apart from a shift of one axis", np.abs(one - np.roll(image, -9, axis=2)).max(), 0, 0)
        yield below(f"{side}pixels that are lost", float(n * n - len(np.unique(shifted))), 0)


add(
    Card(
        id="C9",
        place="RLFLAT, train_*.py",
        title="An attack on a network in training mode",
        verdict="unstated",
        uses=("C8",),
        printed="Adversarial training on PGD's images (P) or on those of TRADES' attack (T), whose logits must agree "
        "with those of the shuffled images.",
        derived="In the code the attack climbs the network in training mode, as do the two or three views of the loss: "
        "BatchNorm takes the statistics of the batch that is attacked.",
        because="With the statistics of a batch the gradient of one image depends on the other images, and an attack "
        "moves the statistics themselves; the network that answers later has running averages. TRADES, MART and PCL "
        "attack in evaluation mode. The images whose logits are compared are the attacked and the shuffled attacked "
        "ones, both views with a gradient; P has no cross-entropy on the unshuffled image. eps is 0.03 in all three "
        "configurations (C33). No independent evaluation was found.",
        instead="attacks see the network in its form for inference",
        places=(
            at(BLOCKS, "cifar_10/train_pgdat_RLFAT.py", "37-52", "both copies in training mode, one of them attacked"),
            at(BLOCKS, "cifar_10/train_trades_RLFAT.py", "43-52", "three copies in training mode, factors 6 and 1"),
            at(BLOCKS, "cifar_10/pgd_attack.py", "39-56", "uniform start, the step before the cut to the ball"),
            at(BLOCKS, "cifar_10/config.json", "12-25", "batches of 32, eps 0.03, 10 steps of 0.0075"),
        ),
    )
)
