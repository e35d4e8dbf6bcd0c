"""Which attack an image meets in the worst case: the strongest, unless another is surely stronger on that image."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import images, on_features, predicted

from npsnn import models
from npsnn.attacks import worst
from npsnn.attacks.evaluation import Result
from npsnn.attacks.judging import Accuracy, Judging, accuracy
from npsnn.attacks.plan import Plan, evaluate
from npsnn.attacks.statistics import Difference
from npsnn.attacks.worst import Worst, worst_case
from npsnn.classifier import Classifier
from npsnn.cli.attack_rows import Rows
from npsnn.models import Model


def result(each: list[float], mark: float) -> Result:
    """An attack whose images are all `mark`, with these accuracies."""
    x_adv = np.full((len(each), 1, 28, 28), mark, np.float32)
    return Result("fgsm", "linf", 0.1, Accuracy(np.array(each)), "sampled", 1, 0.0, 0, 0, x_adv)


@pytest.mark.parametrize(
    ("sigma", "chosen"),
    # by luck: 0.5 against 0.4 of ten draws; surely: 0.9 against 0.1. Without noise there is no luck.
    [(0.6, [1, 1, 2, 1]), (0.0, [2, 1, 2, 1])],
)
def test_luck_does_not_choose(monkeypatch: pytest.MonkeyPatch, sigma: float, chosen: list[int]) -> None:
    model: Model = models.lenet5(sigma=sigma)
    network = Classifier(model, model.init(np.random.default_rng(0)))
    seen: list[np.ndarray] = []

    def judged(network: Classifier, x_adv: np.ndarray, *rest: object) -> Accuracy:
        seen.append(x_adv[:, 0, 0, 0])
        return Accuracy(np.zeros(len(x_adv)))

    monkeypatch.setattr(worst, "accuracy", judged)
    strong, weak = result([0.5, 0.0, 0.9, 0.5], 1), result([0.4, 1.0, 0.1, 0.6], 2)
    for order in ([strong, weak], [weak, strong]):
        worst_case(network, np.zeros(4, int), order, Judging(draws=10))
    np.testing.assert_array_equal(seen[1::2], [chosen, chosen])
    np.testing.assert_array_equal(seen[::2], np.ones((2, 4)), "the strongest by itself is judged as well")


@pytest.fixture
def network() -> Classifier:
    model: Model = models.lenet5(sigma=0.6)
    return Classifier(model, model.init(np.random.default_rng(0)))


def drawn(monkeypatch: pytest.MonkeyPatch, accuracies: dict[float, list[float]]) -> None:
    """On fresh draws an image is as accurate as its mark says."""

    def judged(network: Classifier, x_adv: np.ndarray, *rest: object) -> Accuracy:
        marks = x_adv[:, 0, 0, 0].tolist()
        return Accuracy(np.array([accuracies[round(mark, 3)][i] for i, mark in enumerate(marks)]))

    monkeypatch.setattr(worst, "accuracy", judged)


def test_it_is_never_above_the_strongest_attack_on_the_same_draws(
    network: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second attack won on the last image, and is no better there on fresh draws."""
    strong, weak = result([0.1, 0.1, 0.1, 1.0], 1), result([1.0, 1.0, 1.0, 0.0], 2)
    drawn(monkeypatch, {1: [0.3, 0.3, 0.3, 0.5], 2: [1.0, 1.0, 1.0, 0.9]})
    found = worst_case(network, np.zeros(4, int), [weak, strong], Judging(draws=10))
    assert found.strongest == "fgsm" and found.mean == found.alone.mean == pytest.approx(0.35)
    assert found.rise.mean == pytest.approx(0.025) and not found.rise.surely(), "of the row, which had other draws"
    drawn(monkeypatch, {1: [0.3, 0.3, 0.3, 0.5], 2: [1.0, 1.0, 1.0, 0.1]})
    found = worst_case(network, np.zeros(4, int), [weak, strong], Judging(draws=10))
    assert found.mean == pytest.approx(0.25) and found.alone.mean == pytest.approx(0.35)


def test_the_image_as_it_is_may_be_the_worst(network: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack without gradients, or by bad ones, may leave more than none does."""
    x, clean = np.full((4, 1, 28, 28), 0.5, np.float32), np.array([0.2, 0.2, 1.0, 0.2])
    results = [replace(result([1.0, 0.9, 0.1, 1.0], mark), x=x, clean=clean) for mark in (1, 2)]
    drawn(monkeypatch, {0.5: [0.2, 0.2, 1.0, 0.2], 1: [1.0, 0.9, 0.1, 1.0], 2: [1.0, 0.9, 0.1, 1.0]})
    found = worst_case(network, np.zeros(4, int), results, Judging(draws=10))
    assert found.strongest == "no attack" and found.each.tolist() == [0.2, 0.2, 0.1, 0.2]


def test_results_know_the_images_before_the_attack() -> None:
    network, x = on_features(0.3), images(20)
    labels = predicted(network, x)
    plan = Plan(("fgsm", "pgd"), eps=(0.02,), steps=2, draws=5)
    first, second = evaluate(network, x, labels, plan)
    clean = accuracy(network, x, labels, 5)
    for found in (first, second):
        assert found.x is not None and found.clean is not None
        np.testing.assert_array_equal(found.x, x)
        np.testing.assert_array_equal(found.clean, clean.each)
        np.testing.assert_array_equal(found.images["clean"], clean.each)
    given = next(evaluate(network, x, labels, plan, clean=Accuracy(np.ones(20))))
    assert given.clean is not None and given.clean.tolist() == [1] * 20


def test_a_worst_case_above_a_row_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    rows, first = Rows(Plan(("fgsm", "pgd"), eps=(0.1,)).made(), shown=True), result([0.5] * 8, 1)
    alone = Accuracy(np.full(8, 0.7))
    by_chance = Worst(np.full(8, 0.6), "fgsm", alone, Difference(0.1, 0.1, 0.2))
    kept: list[dict[str, Any]] = []
    rows.worst([first], by_chance, kept.append)
    entry = kept[-1]
    assert (entry["strongest"], entry["strongest_on_same_draws"]) == ("fgsm", pytest.approx(0.7))
    assert (entry["above_strongest"], entry["above_by_chance"]) == (0.1, True)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "10.0 points above the line of fgsm, within the noise of the draws" in said
        and "fgsm alone leaves 70.0 %" in said
    )
    rows.worst([first], replace(by_chance, rise=Difference(0.1, 0.01, 0.001)), kept.append)
    entry = kept[-1]
    assert entry["above_by_chance"] is False and "by more than the noise" in capsys.readouterr().out
    rows.worst([first], replace(by_chance, rise=Difference(-0.1, 0.01, 1.0)), kept.append)
    entry = kept[-1]
    assert entry["above_by_chance"] is None and len(capsys.readouterr().out.splitlines()) == 1
