"""Rules on made-up panels: each verdict comes where it must, and not where it must not."""

import numpy as np
import pytest
from scipy.special import ndtr
from tiny_reproduction import panel, seeds

from npsnn.attacks.statistics import paired_interval, wilson_interval
from npsnn.reproduce.claims import FAILS, HOLDS, OPEN, PART, VERDICTS, Ruling
from npsnn.reproduce.panels import NUMBER, Panel, shown
from npsnn.reproduce.records import Difference, MissingError, Seeds, student
from npsnn.reproduce.rules import above, all_of, at_least, at_most, falls, like_theirs, near, no_less, rises

A, B = ("a", "x"), ("b", "x")


@pytest.mark.parametrize(
    ("a", "b", "by", "verdict"),
    [
        ([0.60, 0.61, 0.62], [0.50, 0.51, 0.52], 0.0, HOLDS),
        ([0.60, 0.61, 0.62], [0.50, 0.51, 0.52], 0.2, PART),
        ([0.50, 0.51, 0.52], [0.60, 0.61, 0.62], 0.0, FAILS),
        ([0.50, 0.51, 0.52], [0.49, 0.52, 0.51], 0.2, FAILS),
        ([0.50, 0.60, 0.40], [0.45, 0.40, 0.60], 0.0, OPEN),
        ([0.60], [0.50], 0.0, HOLDS),
        ([0.505], [0.5], 0.0, OPEN),
    ],
)
def test_above(a: list[float], b: list[float], by: float, verdict: str) -> None:
    found = above(panel({A: a, B: b}), A, B, by, "why")
    assert (found.verdict, found.why) == (verdict, "why")
    assert found.figure.startswith(f"x: {100 * np.mean(a):.1f} % for a, {100 * np.mean(b):.1f} % for b; difference ")
    margin = f", on average at least {100 * by:g}" if by else ""
    assert found.figure.endswith(f", needed: above 0{margin} ({len(a)} seed{'s' * (len(a) > 1)}, 400 images)")


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([0.50, 0.51, 0.52], [0.51, 0.50, 0.52], HOLDS),
        ([0.70, 0.71, 0.72], [0.51, 0.50, 0.52], FAILS),
        ([0.40, 0.50, 0.60], [0.55, 0.45, 0.50], OPEN),
    ],
)
def test_near(a: list[float], b: list[float], verdict: str) -> None:
    assert near(panel({A: a, B: b}), A, B, 0.03).verdict == verdict
    assert near(panel({A: b, B: a}), A, B, 0.03).verdict == verdict


def test_rises_and_falls() -> None:
    places = [("a", "x"), ("b", "x"), ("c", "x")]
    up = panel(dict(zip(places, ([0.1, 0.11], [0.3, 0.31], [0.5, 0.51]), strict=True)))
    bent = panel(dict(zip(places, ([0.1, 0.11], [0.7, 0.71], [0.5, 0.51]), strict=True)))
    assert rises(up, places).verdict == HOLDS and falls(up, places).verdict == FAILS
    figures = "x: 10.5 % for a, 30.5 % for b, 50.5 % for c; "
    change, needed = "40.0 (+35.0 to +44.6)", "needed: above 0 (2 seeds, 400 images)"
    assert rises(up, places).figure == f"{figures}the last minus the first +{change}, {needed}"
    assert falls(up, places).figure.startswith(f"{figures}the first minus the last -40.0 ")
    assert rises(bent, places).verdict == PART and "1 of 2 steps go the other way" in rises(bent, places).why
    assert falls(up, places[::-1]).verdict == HOLDS


def bare(a: list[float], b: list[float], theirs: tuple[float, float] | None = None) -> Panel:
    """Figures in percent without images, so that their interval is over seeds alone."""
    printed = dict(zip((A, B), theirs, strict=True)) if theirs else {}
    return Panel("made up", ["a", "b"], ["x"], {A: Seeds(tuple(a)), B: Seeds(tuple(b))}, printed)


def test_no_margin_is_one_that_the_papers_own_figures_miss() -> None:
    more, some = [0.504, 0.505, 0.506], [0.50, 0.501, 0.502]
    assert above(bare(more, some), A, B, 0.01).verdict == PART
    found = above(bare(more, some, (50.0, 49.6)), A, B, 0.01)
    assert found.verdict == HOLDS and "in the paper +0.4, needed: above 0, on average at least 0.4 " in found.figure
    assert above(bare(more, some, (50.0, 51.0)), A, B, 0.01).verdict == HOLDS, "the paper's own is below 0"
    far = [0.58, 0.581, 0.582]
    assert near(bare(far, some), A, B, 0.05).verdict == FAILS == no_less(bare(some, far), A, B, 0.05).verdict
    assert near(bare(far, some, (60.0, 51.0)), A, B, 0.05).verdict == HOLDS
    found = no_less(bare(some, far, (51.0, 60.0)), A, B, 0.05)
    assert found.verdict == HOLDS and "in the paper -9, surely less than here, needed: at least -9 " in found.figure


def test_networks_that_keep_nothing_are_not_comparable() -> None:
    found = near(panel({A: [0.01, 0.0, 0.01], B: [0.0, 0.01, 0.0]}), A, B, 0.05)
    assert found.verdict == OPEN and found.figure.endswith("; no comparison: too little is left for that margin")
    assert near(panel({A: [0.01, 0.0, 0.01], B: [0.0, 0.01, 0.0]}, unit=NUMBER), A, B, 0.05).verdict == HOLDS


def test_like_theirs_reads_percents() -> None:
    found = panel({A: [0.50, 0.51, 0.52]}, {A: 51.0, B: 3.0})
    assert like_theirs(found, A, 0.06).verdict == HOLDS
    assert like_theirs(panel({A: [0.50, 0.51, 0.52]}, {A: 72.0}), A, 0.05).verdict == FAILS
    assert like_theirs(panel({A: [0.3, 0.7]}, {A: 51.0}), A, 0.05).verdict == OPEN
    assert like_theirs(panel({A: [0.71, 0.70, 0.72]}, {A: 0.7}, unit=""), A, 0.06).verdict == HOLDS
    with pytest.raises(MissingError, match="made up: b, x was not measured"):
        like_theirs(found, B, 0.05)


def test_one_value_without_images_decides_nothing() -> None:
    found = Panel("t", ["a", "b"], ["x"], {A: Seeds((0.9,)), B: Seeds((0.1,))})
    assert above(found, A, B).verdict == OPEN and near(found, A, B, 0.1).verdict == OPEN


@pytest.mark.parametrize(
    ("verdicts", "verdict", "left_open"),
    [
        ((HOLDS, HOLDS), HOLDS, ""),
        ((FAILS, FAILS), FAILS, ""),
        ((HOLDS, FAILS), PART, ""),
        ((HOLDS, PART), PART, ""),
        ((HOLDS, OPEN), OPEN, "though a part holds"),
        ((FAILS, OPEN), OPEN, "though a part fails"),
        ((OPEN, OPEN), OPEN, ""),
    ],
)
def test_all_of(verdicts: tuple[str, ...], verdict: str, left_open: str) -> None:
    found = all_of(*(Ruling(v, f"{v}!") for v in verdicts), why="why")
    assert (found.verdict, found.why, len(found.parts)) == (verdict, "why", len(verdicts))
    told = [f"{v}: {verdicts.count(v)} of {len(verdicts)} parts, first: {v}!" for v in VERDICTS if v in verdicts]
    assert found.figure == ". ".join(told)
    assert found.left_open == left_open
    named = all_of(*(Ruling(v, f"{v}!") for v in verdicts), names=("a", "b"))
    worst = "a" if VERDICTS.index(verdicts[0]) <= VERDICTS.index(verdicts[1]) else "b"
    assert f" parts ({worst}" in named.figure.split(".")[0]
    assert [part.name for part in named.parts] == ["a", "b"] and sum(map(len, named.named_parts.values())) == 2
    same = all_of(*(Ruling(v, "") for v in verdicts), names=("a", "a"))
    assert all(names == ["a"] for names in same.named_parts.values())


def test_students_interval_covers() -> None:
    rng = np.random.default_rng(0)
    trials = rng.normal(3.0, 2.0, (2000, 4))
    ends = [student(t) for t in trials.tolist()]
    covered = np.mean([low <= 3.0 <= high for low, high in ends])
    assert abs(covered - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 2000)


def test_one_seed_has_the_interval_over_its_images() -> None:
    difference = seeds([0.6]).less(seeds([0.5]))
    assert isinstance(difference, Difference) and difference.mean == pytest.approx(0.1)
    assert difference.ci95 == pytest.approx(paired_interval(np.r_[np.ones(40), np.zeros(360)]))
    assert seeds([0.6]).less(seeds([0.5], 300)).ci95 is None
    assert seeds([0.6]).ci95 == pytest.approx(wilson_interval(seeds([0.6]).each[0]))


@pytest.mark.parametrize("spread", [0.02, 0.3])
@pytest.mark.parametrize("difference", [False, True])
def test_the_interval_covers_other_seeds_and_other_images(spread: float, difference: bool) -> None:
    """Images of different difficulty, networks of different skill: 95 % are covered, where Student's over seeds is not
    enough."""
    rng, images, count, trials = np.random.default_rng(3), 200, 3, 400

    def networks(hard: np.ndarray, skill: float) -> Seeds:
        of = skill + spread * rng.normal(size=count)
        right = [(hard + own + 0.7 * rng.normal(size=images) > 0).astype(float) for own in of]
        return Seeds(tuple(float(r.mean()) for r in right), tuple(right))

    def expected(skill: float) -> float:
        return float(ndtr(skill / np.sqrt(1 + 0.49 + spread**2)))

    covered, student_alone = 0, 0
    for _ in range(trials):
        hard = rng.normal(size=images)
        found, true = networks(hard, 0.3), expected(0.3)
        if difference:
            found, true = found.less(networks(hard, 0.1)), true - expected(0.1)
        low, high = found.ci95 or (np.nan, np.nan)
        covered += low <= true <= high
        low, high = student(found.values)
        student_alone += low <= true <= high
    assert covered / trials > 0.95 - 5 * np.sqrt(0.95 * 0.05 / trials)
    if spread < 0.1 and not difference:
        assert student_alone / trials < 0.9, "the images count as well"


def test_figures_in_words() -> None:
    assert shown(Seeds((0.5,))) == "50.0 %"
    assert shown(seeds([0.5])).startswith("50.0 % (45.1 to 54.9)")
    assert shown(Seeds((0.1,)), signed=True) == "+10.0"
    assert shown(Seeds((0.123456,)), unit="") == "0.123"
    assert shown(Seeds((0.9, 1.0))) == "95.0 % (31.5 to 100.0)" and shown(Seeds((0.0, 0.1))) == "5.0 % (0.0 to 68.5)"
    assert shown(Seeds((0.9, 1.0)), signed=True) == "+95.0 (+31.5 to +158.5)"
    assert shown(Seeds((-0.0004,)), signed=True) == "-0.04" and shown(Seeds((0.0,)), signed=True) == "0.0"


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="verdict must be one of"):
        Ruling("true", "x")


@pytest.mark.parametrize(
    ("a", "verdict"),
    [([0.50, 0.51, 0.52], HOLDS), ([0.40, 0.41, 0.39], FAILS), ([0.30, 0.70, 0.45], OPEN), ([0.9], HOLDS)],
)
def test_no_less(a: list[float], verdict: str) -> None:
    b = [0.51] if len(a) == 1 else [0.51, 0.52, 0.53]
    found = no_less(panel({A: a, B: b}), A, B, 0.05, "why")
    assert (found.verdict, found.why) == (verdict, "why") and "difference" in found.figure


@pytest.mark.parametrize(
    ("values", "most", "least"),
    [([0.1, 0.11, 0.12], HOLDS, FAILS), ([0.5, 0.51, 0.52], FAILS, HOLDS), ([0.1, 0.3, 0.5], OPEN, OPEN)],
)
def test_bounds(values: list[float], most: str, least: str) -> None:
    found = panel({A: values}, unit=NUMBER)
    assert at_most(found, A, 0.2).verdict == most and at_least(found, A, 0.2).verdict == least
    assert (
        at_most(found, A, 0.2).figure.startswith("x: 0.")
        and " for a, needed: at most 0.2 (" in at_most(found, A, 0.2).figure
    )
    assert at_most(panel({A: values}), A, 0.2).figure.endswith("needed: at most 20 (3 seeds, 400 images)")


def test_a_bound_cannot_be_told_of_one_number_without_images() -> None:
    found = Panel("made up", ["a"], ["x"], {A: Seeds((0.1,))})
    assert at_most(found, A, 0.2).verdict == OPEN


def test_an_accuracy_stays_within_0_and_1() -> None:
    each = (np.array([0.0, 0.0]), np.array([0.1, 0.3]))
    assert Seeds((0.0, 0.2), each).ci95 == (0.0, 1.0)
    low, high = Difference((0.0, 0.2), each).ci95 or (0, 0)
    assert low < student((0.0, 0.2))[0] and high > 1, "a difference of fractions is not cut off"
    assert Seeds((0.0, 0.2)).ci95 == student((0.0, 0.2)), "a figure that is no accuracy"
