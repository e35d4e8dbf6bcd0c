"""Which attack an image meets in the worst case: chosen on draws of its own, and judged on others."""

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from small_networks import images, linear, on_features, predicted

from npsnn import models
from npsnn.attacks import BIM, FGSM, PGD, ClosedForm, Group, RandomSearch, worst
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.judging import Accuracy, Judging, accuracy
from npsnn.attacks.plan import Plan, evaluate
from npsnn.attacks.results import Result
from npsnn.attacks.statistics import Difference
from npsnn.attacks.worst import Worst, worst_case
from npsnn.classifier import Classifier
from npsnn.cli.attack_rows import Rows
from npsnn.models import Model
from npsnn.runs.caveats import Caveat
from npsnn.streams import Stream


def result(each: list[float], mark: float) -> Result:
    """An attack whose images are all `mark`, with these accuracies."""
    x_adv = np.full((len(each), 1, 28, 28), mark, np.float32)
    return Result("fgsm", "linf", 0.1, Accuracy(np.array(each)), "sampled", 1, 0.0, 0, 0, x_adv)


@pytest.fixture
def network() -> Classifier:
    model: Model = models.lenet5(sigma=0.6)
    return Classifier(model, model.init(np.random.default_rng(0)))


Parts = dict[float, list[float]]


def drawn(monkeypatch: pytest.MonkeyPatch, chooses: Parts, judges: Parts | None = None) -> list[tuple[str, int, Any]]:
    """Have images of a mark be right in these parts of the draws that choose, and of those that judge.

    Returns what is asked: which draws, how many, and the marks of the images.
    """
    asked: list[tuple[str, int, Any]] = []

    def judged(network: Classifier, x_adv: np.ndarray, labels: Any, draws: int, stream: Stream, *rest: Any) -> Accuracy:
        marks = x_adv[:, 0, 0, 0].round(3).tolist()
        asked.append((str(stream.path[-1]), draws, marks))
        parts = chooses if stream.path[-1] == "selection" else judges or chooses
        return Accuracy(np.array([parts[mark][i] for i, mark in enumerate(marks)]))

    monkeypatch.setattr(worst, "accuracy", judged)
    return asked


@pytest.mark.parametrize(("sigma", "draws"), [(0.6, 80), (0.0, 1)])
def test_the_draws_that_choose_are_not_those_that_judge(
    network: Classifier, monkeypatch: pytest.MonkeyPatch, sigma: float, draws: int
) -> None:
    """Each image meets the attack that most of the selection draws misread; other draws say what that leaves."""
    strong, weak = result([0.5, 0.0, 0.9, 0.5], 1), result([0.4, 1.0, 0.8, 0.6], 2)
    chooses: Parts = {1: [0.5, 0.2, 0.9, 0.5], 2: [0.4, 1.0, 0.1, 0.5]}
    judges: Parts = {1: [0.6, 0.6, 0.6, 0.6], 2: [0.9, 0.9, 0.9, 0.9]}
    for order in ([strong, weak], [weak, strong]):
        asked = drawn(monkeypatch, chooses, judges)
        judging = Judging(draws=7, selection=80)
        found = worst_case(network.with_sigma(sigma), np.zeros(4, int), order, judging)
        assert asked[:2] == [("selection", draws, [1] * 4), ("selection", draws, [2] * 4)]
        assert asked[2] == ("worst case", 7, [2, 1, 2, 1]), "of equals the first, which leaves less of all"
        assert found.each.tolist() == [0.9, 0.6, 0.9, 0.6], "also where that is more than the strongest leaves"
        assert found.alone.each.tolist() == [0.6] * 4 and found.strongest == "fgsm"
        assert found.rise.mean == pytest.approx(0.75 - 0.475)
        assert (found.selection, found.chosen) == (draws, {"fgsm": 4}), "both have this name"
        assert found.x_adv[:, 0, 0, 0].tolist() == [2, 1, 2, 1]


def constant(q: float) -> Classifier:
    """Names class 0 with the probability q, whatever the image."""
    network = linear(1.0, classes=2)
    fc = {"w": 0 * network.params["fc"]["w"], "b": np.array([NormalDist().inv_cdf(q) * np.sqrt(2), 0])}
    return replace(network, params=network.params | {"fc": fc})


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.95, 0.6])
def test_a_network_that_ignores_the_image_keeps_its_accuracy_whatever_attacks_it(q: float) -> None:
    """No attack takes anything from it; luck must not pass for strength, however many attacks there are.

    The "rand" version of the AutoAttack authors' code strikes an image off by the first of three single draws that
    misreads it: its figure is q^3, 85.7 % for q = 0.95 (85.1 % measured).
    """
    network, x = constant(q), images(400)
    labels = np.zeros(400, int)
    kinds = [FGSM(0.1), BIM(0.1, steps=2), PGD(0.1, steps=2), RandomSearch(0.1, samples=5)]
    kinds += [replace(kind, source=ClosedForm("cross-entropy")) for kind in kinds[:3]]  # type: ignore[type-var]
    judging = Judging(draws=10, selection=5)
    results = list(robust_accuracy(network, x, labels, Group("all", tuple(kinds)), judging))
    for count in range(1, len(results) + 1):
        found = worst_case(network, labels, results[:count], judging)
        for left in (found, found.alone, results[count - 1].accuracy):
            assert left.ci95[0] < q < left.ci95[1]
        low, high = found.in_every_draw.ci95
        assert low < q**10 < high
        assert found.clean_in_every_draw is not None
        assert found.clean_in_every_draw.mean == pytest.approx(found.in_every_draw.mean, abs=0.1)


def test_luck_does_not_choose(network: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve attacks that are alike: on each image the luckiest of few draws is chosen, and judged by others."""
    q, lucky = 0.7, np.random.default_rng(0)

    def judged(network: Classifier, x_adv: np.ndarray, labels: Any, draws: int, *rest: Any) -> Accuracy:
        return Accuracy(lucky.binomial(draws, q, len(x_adv)) / draws)

    monkeypatch.setattr(worst, "accuracy", judged)
    alike = [result([q] * 900, mark) for mark in range(12)]
    found = worst_case(network, np.zeros(900, int), alike, Judging(draws=10, selection=10))
    assert abs(found.mean - q) < 0.02, "the luckiest of twelve has 0.45 on the draws that chose it"


def test_the_image_as_it_is_may_be_the_worst(network: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack without gradients, or by bad ones, may leave more than none does."""
    x, clean = np.full((4, 1, 28, 28), 0.5, np.float32), np.array([0.2, 0.2, 1.0, 0.2])
    results = [replace(result([1.0, 0.9, 0.1, 1.0], mark), x=x, clean=clean) for mark in (1, 2)]
    drawn(monkeypatch, {0.5: [0.2, 0.2, 1.0, 0.2], 1: [1.0, 0.9, 0.1, 1.0], 2: [1.0, 0.9, 0.1, 1.0]})
    found = worst_case(network, np.zeros(4, int), results, Judging(draws=10))
    assert found.strongest == "no attack" and found.each.tolist() == [0.2, 0.2, 0.1, 0.2]
    assert found.chosen == {"no attack": 3, "fgsm": 1}
    assert found.in_every_draw.mean == 0
    assert found.clean_in_every_draw is not None and found.clean_in_every_draw.each.tolist() == [0, 0, 1, 0]


def test_members_that_ran_in_turn_are_one_attack() -> None:
    network, x = linear(0.0), images(40)
    labels = predicted(network, x)
    group = Group("two", (FGSM(0.01), RandomSearch(0.01, samples=5)))
    results = list(robust_accuracy(network, x, labels, [group, PGD(0.01, steps=2)]))
    found = worst_case(network, labels, results, Judging())
    assert found.strongest in ("two", "pgd") and set(found.chosen) <= {"two", "pgd", "no attack"}
    np.testing.assert_array_equal(found.each, np.minimum(results[1].accuracy.each, results[2].accuracy.each))
    found = worst_case(network, labels, results[:2], Judging())
    assert found.strongest == "two" and found.each.tolist() == found.alone.each.tolist()
    np.testing.assert_array_equal(found.each, results[1].accuracy.each)


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
    flag = Caveat("black-box", "a search takes more")
    by_chance = Worst(np.full(8, 0.6), "fgsm", alone, Difference(0.1, 0.1, 0.2), caveats=(flag,))
    kept: list[dict[str, Any]] = []
    rows.worst([first], by_chance, kept.append)
    entry = kept[-1]
    assert (entry["strongest"], entry["strongest_on_same_draws"]) == ("fgsm", pytest.approx(0.7))
    assert (entry["above_strongest"], entry["above_by_chance"]) == (0.1, True)
    assert entry["right_in_every_draw"] is None, "without noise there is one draw"
    said = " ".join(capsys.readouterr().out.split())
    assert "loses an image" not in said and "worst of them *" in said
    assert entry["caveats"] == [{"code": "black-box", "text": "a search takes more"}]
    rows.caveats()
    assert "* worst of them at 0.1: a search takes more [black-box]" in capsys.readouterr().out
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


def test_papers_that_count_any_misreading_have_a_figure_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    """Never without that of the images as they are, which falls by itself."""
    rows, clean = (
        Rows(Plan(("fgsm", "pgd"), eps=(0.1,)).made(), shown=True, draws=10),
        Accuracy(np.array([1.0, 0, 1, 1])),
    )
    parts = np.array([1.0, 0.9, 0.2, 1.0])
    found = Worst(parts, "fgsm", Accuracy(parts), Difference(0, 1, 1), parts, {"fgsm": 4}, 100, clean)
    rows.worst([result([0.5] * 4, 1)], found, (kept := []).append)
    assert kept[0]["right_in_every_draw"] == {"attacked": 0.5, "clean": 0.75}
    assert (kept[0]["chosen"], kept[0]["selection_draws"]) == ({"fgsm": 4}, 100)
    said = capsys.readouterr().out
    assert "50.0 % (the images as they are: 75.0 %) if one misreading in 10 draws loses an image" in said


def test_results_of_several_balls_are_refused() -> None:
    network, x = linear(0.0), images(4)
    labels = predicted(network, x)
    results = list(robust_accuracy(network, x, labels, [FGSM(0.01), FGSM(0.02)]))
    with pytest.raises(ValueError, match=r"results must be of one ball, got linf 0\.01 and linf 0\.02"):
        worst_case(network, labels, results, Judging())


def test_of_many_alike_the_luckiest_is_no_sure_rise() -> None:
    """A difference that would be sure between two is chance where the least of twelve was taken."""
    found = Worst(np.full(8, 0.6), "fgsm", Accuracy(np.full(8, 0.6)), Difference(0.1, 0.04, 0.01))
    assert found.above and not replace(found, candidates=12).above
