"""No attack finds, within a certified radius, an image whose smoothed answer is another; farther out one does."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, predicted, several
from smoothed_networks import Known, on_images, on_units

from npsnn import Classifier, attacks, certify, data, train
from npsnn.attacks import EoT, Expectation
from npsnn.attacks.base import target_of
from npsnn.certify import Certificate, votes
from npsnn.layers import Conv2d, Flatten, Linear, MaxPool, PreactivationNoise, ReLU, Sequential
from npsnn.models import Model
from npsnn.optim import Adam
from npsnn.streams import Stream
from npsnn.train import CrossEntropy, Drawn, Training, UnitFilters


def answers(network: Classifier, x: np.ndarray, draws: int) -> list[int]:
    """The most frequent class of many draws that neither a certificate nor an attack has seen."""
    return [int(row.counts[0].argmax()) for row in votes.votes(network, x, {"judge": draws}, Stream(99))]


DRAWN = EoT(10, "margin")
ATTACKS: dict[str, Callable[[float], Any]] = {
    "pgd": lambda eps: attacks.PGD(eps, "l2", steps=10, source=DRAWN),
    "apgd": lambda eps: attacks.APGD(eps, "l2", steps=20, source=DRAWN),
    "apgd-t": lambda eps: attacks.APGDT(eps, "l2", steps=10, source=EoT(10)),
    "fab-t": lambda eps: attacks.FAB(eps, "l2", steps=10, targets=3, source=EoT(10)),
    "mi-fgsm": lambda eps: attacks.MomentumFGSM(eps, "l2", source=DRAWN),
    "noise-off-pgd": lambda eps: attacks.PGD(eps, "l2", steps=10, source=Expectation("margin", "noise-off")),
    "square": lambda eps: attacks.Square(eps, "l2", queries=100, source=DRAWN),
    "spsa": lambda eps: attacks.SPSA(eps, "l2", steps=5, directions=8, source=DRAWN),
    "hop-skip-jump": lambda eps: attacks.HopSkipJump(eps, "l2", queries=600),
    "fmn": lambda eps: attacks.FMN(norm="l2", steps=50, source=DRAWN),
}


def reached(attack: Any, x_adv: np.ndarray, image: np.ndarray, reach: float) -> np.ndarray:
    """What the attack found, in its ball; of a search for the nearest image the point that far along its way."""
    if attack.ball.eps < inf:
        attack.ball.check(x_adv, image)
        return x_adv
    delta = x_adv.astype(np.float64) - image
    length = max(float(np.linalg.norm(delta)), 1e-12)
    return np.clip(image + delta * (reach / length), 0, 1).astype(image.dtype)


def attacked(network: Classifier, x: np.ndarray, rows: list[Certificate], part: float, name: str = "pgd") -> list[bool]:
    """Whether an attack in L2 with a part of each image's certified radius finds another answer."""
    found = []
    for image, row in zip(x, rows, strict=True):
        attack = ATTACKS[name](part * row.radius)
        target, label = target_of(attack, network), np.array([row.predicted])
        x_adv = reached(attack, attack(target, image[None], label, Stream(row.index)), image[None], part * row.radius)
        found.append(x_adv)
    said = answers(network, np.concatenate(found), 1_500)
    return [answer != row.predicted for answer, row in zip(said, rows, strict=True)]


def certified(network: Classifier, x: np.ndarray, labels: np.ndarray, sigma: float | None) -> tuple[Classifier, list]:
    """The smoothed network, and the certificates of the images that have one."""
    rows = certify.certify(network, x, labels, n=2_000, sigma=sigma).rows
    return certify.smoothing(network, sigma).network, [row for row in rows if row.radius > 0]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("known", [on_images(), on_units(2.0, aligned=True)], ids=["images", "units"])
def test_within_the_radius_no_attack_changes_an_answer_that_it_changes_beyond_the_exact_distance(
    known: Known, name: str
) -> None:
    smoothed = certify.smoothing(known.network)
    x = known.at(np.array([0.5, -0.8]) * smoothed.unit)
    _, rows = certified(known.network, x, np.array([1, 0]), None)
    assert len(rows) == 2
    assert not any(attacked(known.network, x, rows, 0.99, name))
    if name not in ("square", "spsa", "hop-skip-jump", "fmn"):  # which find too little on so small an image
        assert all(attacked(known.network, x, rows, 1.5, name))


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [None, 0.3], ids=["first layer", "images"])
@pytest.mark.parametrize("made", [convolutional, several], ids=["one noise", "several"])
def test_nor_with_a_layer_and_later_noise(made: Callable[[], Classifier], sigma: float | None) -> None:
    network, x = made(), images(6)
    smoothed, rows = certified(network, x, predicted(network, x), sigma)
    assert len(rows) >= 3
    for name in ("pgd", "apgd"):
        assert not any(attacked(smoothed, x[[row.index for row in rows]], rows, 0.99, name))


def of_digits() -> Model:
    """A network whose many draws cost little: a convolution with noise, and a hidden layer."""
    layers: Any = (
        ("conv", Conv2d(6, 5, stride=2)),
        ("noise", PreactivationNoise(0.5)),
        ("pool", MaxPool(2)),
        ("relu", ReLU()),
        ("flatten", Flatten()),
        ("fc1", Linear(32)),
        ("relu2", ReLU()),
        ("fc2", Linear(10)),
    )
    return Model("of digits", Sequential(layers), (1, 28, 28), 10)


@pytest.mark.slow
def test_nor_on_a_trained_network(tmp_path: Path) -> None:
    digits = data.load("digits")
    given: Any = {"optimizer": Adam(3e-3), "batch_size": 64, "epochs": 6, "limit": 3_000}
    training = Training(of_digits(), CrossEntropy(), noise=Drawn(), constraints=[UnitFilters("l2")], **given)
    list(train.fit(training, digits, tmp_path / "run"))
    network = Classifier.load(tmp_path / "run")
    x, labels = data.as_float(digits.test.images[:12]), digits.test.labels[:12]
    for sigma in (None, 0.1):
        smoothed, rows = certified(network, x, labels, sigma)
        assert len(rows) >= 6
        left = x[[row.index for row in rows]]
        for name in ("pgd", "apgd", "fab-t"):
            assert not any(attacked(smoothed, left, rows, 0.99, name))
        assert any(attacked(smoothed, left[:6], rows[:6], 5.0))
