"""The checklist: a sound network passes, and each way of spoiling its gradients fails the criterion made for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from checklist_networks import (
    BACKWARDS,
    BLIND,
    DRAWN_BACKWARDS,
    LABELS,
    SMALL,
    SOUND,
    Spoil,
    X,
    balanced,
    masked,
    moved,
    spoiled,
    suite,
)
from small_networks import SHAPE

from npsnn import attacks
from npsnn.attacks.checklist import criteria as checklist
from npsnn.attacks.checklist.criteria import CRITERIA, examine
from npsnn.attacks.checklist.outcomes import Outcome
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.judging import Accuracy, judge
from npsnn.attacks.targets import known
from npsnn.classifier import Classifier
from npsnn.layers.moments import Noise, Sampled
from npsnn.models.passes import Passes
from npsnn.objectives import OBJECTIVES
from npsnn.streams import Stream


@pytest.mark.slow
def test_a_sound_network_passes() -> None:
    done: list[int] = []
    found = list(examine(SOUND, X, LABELS, SMALL, done.append))
    assert [(c.number, c.name) for c in found] == [(i, row[0]) for i, row in enumerate(CRITERIA, start=1)]
    assert [c.passed for c in found] == [True] * 10, [c for c in found if not c.passed]
    assert sum(done) == 40 * SMALL.runs(noisy=True)
    assert all(c.question.endswith("?") and c.explanation and c.figures for c in found)
    assert all(isinstance(value, int | float) and np.isfinite(value) for c in found for value in c.figures.values())
    first, last = found[0].figures, found[7].figures
    assert first["PGD less FGSM"] == pytest.approx(first["PGD"] - first["FGSM"])
    assert last["PGD with EoT"] == first["PGD"], "every criterion has the same attack"
    assert found[4].figures["PGD at 0.502"] == 0 < found[4].figures["PGD at 0.003922"]


@pytest.mark.slow
def test_the_figures_are_those_of_the_attacks() -> None:
    """The same attack by `evaluate` leaves the same, but for the draws."""
    plan = attacks.Plan(("fgsm", "pgd"), eps=(0.06,), steps=5, eot=3, draws=200)
    expected = [r.accuracy for r in attacks.evaluate(SOUND, X, LABELS, plan)]
    _, _, figures = checklist.one_step(suite(draws=200))
    for name, accuracy in zip(("FGSM", "PGD"), expected, strict=True):
        assert figures[name] == pytest.approx(accuracy.mean, abs=0.02)


@pytest.mark.slow
def test_without_noise_three_do_not_apply() -> None:
    for network, options in ((SOUND, replace(SMALL, sigma=0.0)), (SOUND.with_sigma(0.0), SMALL)):
        done: list[int] = []
        found = list(examine(network, X, LABELS, options, done.append))
        assert [c.outcome for c in found[5:8]] == [Outcome.NOT_APPLICABLE] * 3
        assert [c.passed for c in found[5:8]] == [None] * 3
        assert all(c.passed is not None for c in (*found[:5], found[8]))
        assert all(c.explanation == "the network has no noise" and not c.figures for c in found[5:8])
        assert "closed form" not in found[1].figures
        assert sum(done) == 40 * SMALL.runs(noisy=False)


def test_a_decoy_that_pgd_climbs_to_fails_by_stronger_attacks() -> None:
    """The network passed all five criteria that applied before there was the ninth; its logits fail the tenth."""
    network, x, labels = masked()
    assert (network.predict(x).argmax(axis=1) == labels).all()
    found = list(examine(network, x, labels, SMALL))
    assert [c.passed for c in found] == [True] * 5 + [None] * 3 + [False] * 2
    figures = found[8].figures
    assert (
        figures["PGD"] == 0.5 and figures["apgd-t"] == 0 and "PGD leaves 50.0 %, apgd-t 0.0 %" in found[8].explanation
    )


@pytest.mark.parametrize(("left", "outcome"), [(0, Outcome.FAILS), (23, Outcome.FAILS), (27, Outcome.PASSES)])
def test_stronger_attacks_must_take_far_more(left: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 images PGD leaves 39. Another that leaves 16 fewer is surely 10 points stronger; with 12 it may be luck."""
    network, x, labels = masked(80)
    made = Suite(network, x, labels, SMALL, None)
    pgd = made.pgd()
    taken = np.where(np.cumsum(pgd.accuracy.each) > left, 0, pgd.accuracy.each)
    other = replace(pgd, attack="apgd-t", accuracy=Accuracy(taken))
    monkeypatch.setattr(Suite, "stronger", lambda self: [replace(pgd, attack="square"), other])
    found, explanation, figures = checklist.stronger(made)
    assert found is outcome, explanation
    assert (figures["square"], figures["apgd-t"]) == (39 / 80, left / 80)


@pytest.mark.slow
def test_results_do_not_depend_on_threads() -> None:
    one, two = (list(examine(replace(SOUND, threads=n), X[:6], LABELS[:6], SMALL)) for n in (1, 2))
    assert one == two


def led(reach: float) -> Spoil:
    """Right up to `reach` from an image, and reversed beyond."""
    return lambda x, noise: np.where(moved(x) > reach, -1.0, 1.0)


def of_known(x: np.ndarray, noise: Noise) -> float:
    """Reversed for the attacker who knows the noise."""
    return -1.0 if isinstance(noise, Sampled) and "known" in noise.stream.path else 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("criterion", "spoil", "options"),
    [
        ("one_step", led(1e-9), {}),
        ("black_box", BACKWARDS, {}),
        ("unbounded", BLIND, {}),
        ("unbounded", BACKWARDS, {}),
        ("random_sampling", BLIND, {"eps": 0.3, "samples": 60}),
        ("rising_eps", led(0.07), {}),
        ("rising_eps", BLIND, {"ladder": (0.02, 0.04, 0.06)}),
        ("transfer", DRAWN_BACKWARDS, {}),
        ("known_noise", of_known, {}),
        ("without_sampling", DRAWN_BACKWARDS, {}),
    ],
)
def test_obfuscated_gradients_fail(criterion: str, spoil: Spoil, options: dict[str, Any]) -> None:
    decide = getattr(checklist, criterion)
    outcome, explanation, _ = decide(suite(**options))
    assert outcome is Outcome.PASSES, explanation
    outcome, explanation, figures = decide(suite(spoiled(spoil), **options))
    assert outcome is Outcome.FAILS, (explanation, figures)


@pytest.mark.slow
def test_random_search_beats_an_attack_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same ball; One-Pixel is made to do as FGSM does."""
    monkeypatch.setattr(Suite, "one_pixel", lambda self, pixels: self.fgsm)
    for spoil, expected in ((BLIND, Outcome.FAILS), (lambda x, noise: 1.0, Outcome.PASSES)):
        outcome, explanation, _ = checklist.black_box(suite(spoiled(spoil), eps=0.3, samples=60))
        assert outcome is expected, explanation


def test_either_unbounded_attack_will_do() -> None:
    """The paper's begins at the image, where this network has no gradient; ours does not."""
    outcome, _, figures = checklist.unbounded(suite(spoiled(lambda x, noise: moved(x) > 1e-9)))
    assert (
        outcome is Outcome.PASSES
        and figures["steps of eps/10"] > 0.8
        and figures["steps of 2.5 eps/k"] <= checklist.ALL
    )


def test_gradients_of_zero_are_said() -> None:
    _, explanation, figures = checklist.one_step(suite(spoiled(BLIND)))
    assert figures["all-zero gradients"] == 40
    assert "an all-zero gradient on 40, a non-finite one on 0 of 40 images" in explanation
    _, explanation, figures = checklist.one_step(suite())
    assert figures["all-zero gradients"] == 0 and "finite" not in explanation


@pytest.mark.slow
def test_the_least_number_of_pixels_decides() -> None:
    """At an eps this small one pixel beats both attacks; at a larger one four do, and decide if there are no fewer."""
    outcome, explanation, figures = checklist.black_box(suite(eps=0.02))
    assert outcome is Outcome.FAILS and "1 pixel leaves 7.5 %, less than FGSM and PGD" in explanation
    assert figures["FGSM less 1 pixel"] > 2 * figures["standard error of FGSM less 1 pixel"] > 0
    outcome, explanation, _ = checklist.black_box(suite(eps=0.045, pixels=(4, 1)))
    assert outcome is Outcome.PASSES, "more of them are reported alone"
    assert "4 pixels leave 0.0 %, less than FGSM and PGD" in explanation
    assert checklist.black_box(suite(eps=0.045, pixels=(4,)))[0] is Outcome.FAILS


@pytest.mark.slow
def test_random_sampling_is_measured_against_doing_nothing() -> None:
    """Noise misreads many images in some of many tries, and some by most of few draws, perturbed or not."""
    noisy = balanced(0.3)
    chosen = np.ones(40, bool)
    once, without = Suite(noisy, X, LABELS, replace(SMALL, eps=1e-6, samples=40), None).any_of_many(chosen)
    assert once == without > 10
    once, without = Suite(noisy.with_sigma(0), X, LABELS, replace(SMALL, eps=0.3, samples=40), None).any_of_many(chosen)
    assert once > 10 and without == 0
    assert suite().any_of_many(~chosen) == (0, 0)
    still = Suite(noisy, X, LABELS, replace(SMALL, eps=1e-6, draws=1), None)
    outcome, explanation, figures = checklist.random_sampling(still)
    assert outcome is Outcome.UNDECIDED, explanation
    assert figures["found by random search"] == figures["found without perturbation"] > 4
    figures = checklist.random_sampling(suite())[2]
    assert figures["images that PGD leaves"] == ((suite().clean.each == 1) & (suite().pgd().accuracy.each >= 0.5)).sum()


def test_random_sampling_is_judged_on_draws_that_chose_nothing() -> None:
    noisy = Suite(balanced(0.3), X, LABELS, SMALL, None)
    again = noisy.again(np.ones(40, bool), X)
    assert again.mean() == pytest.approx(noisy.clean.mean, abs=0.1) and (again != noisy.clean.each).any()
    chosen = np.arange(40) < 7
    assert noisy.again(chosen, X).shape == (7,)


@pytest.mark.slow
def test_who_does_not_know_the_draw_attacks_all_the_same() -> None:
    both = suite(draws=20)
    informed, blind = both.known()
    assert blind.mean() == pytest.approx(both.pgd().accuracy.mean, abs=0.05)
    assert informed.mean() <= blind.mean() < both.clean.mean - 0.3


@pytest.mark.slow
def test_attack_and_judgement_share_noise_only_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[Any]] = {"attack": set(), "judge": set()}

    def watched(original: Any, kind: str, position: int) -> Any:
        def call(*args: Any) -> Any:
            seen[kind] |= {noise.stream for noise in args[position] if isinstance(noise, Sampled)}
            return original(*args)

        return call

    monkeypatch.setattr(Classifier, "loss_gradients", watched(Classifier.loss_gradients, "attack", 3))
    monkeypatch.setattr(Passes, "logits", watched(Passes.logits, "judge", 2))
    list(examine(SOUND, X, LABELS, SMALL))
    shared = seen["attack"] & seen["judge"]
    assert {s.path for s in shared} == {("checklist", "known", d, 0) for d in range(5)}


def test_the_known_draw_is_that_of_the_judge() -> None:
    judging = Stream(3).at("judging")
    target = known(SOUND, judging, "margin")
    fixed = Sampled(judging.at(0).from_sample(7))
    found = target(X[7:12], LABELS[7:12], Stream(0).at("step", 1).from_sample(7))
    for ours, theirs in zip(found, SOUND.loss_gradient(X[7:12], LABELS[7:12], fixed, target.objective), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(target(X, LABELS, Stream(1))[1], target(X, LABELS, Stream(2))[1])
    assert target.kind == "known" and target.passes == 1 and not target.random
    right = judge(SOUND, X, LABELS, 1, judging)
    np.testing.assert_array_equal(right == 0, target.value(X, LABELS, Stream(5)) > 0)
    np.testing.assert_array_equal(target.misread(X, LABELS, 9, Stream(5)), 1 - right)
    assert 0 < right.mean() < 1
    assert known(SOUND, judging).objective is OBJECTIVES["cross-entropy"]


def test_of_many_pairs_one_may_not_differ_by_luck() -> None:
    figures = checklist.rising_eps(suite(ladder=(0.01, 0.02, 0.04)))[2]
    fall = figures["fall from the smallest to the largest"]
    assert fall == pytest.approx(figures["PGD at 0.01"] - figures["PGD at 0.04"]) and fall > 0.1
    assert figures["pairs"] == 3 and figures["chance of largest rise"] > 0.5
    assert list(figures)[:3] == ["PGD at 0.01", "PGD at 0.02", "PGD at 0.04"]
    left = [figures[name] for name in list(figures)[:3]]
    assert left[0] >= left[1] >= left[2] and figures["largest rise"] <= 0


def test_where_nothing_is_left_a_larger_eps_need_not_take_more() -> None:
    outcome, explanation, figures = checklist.rising_eps(suite(ladder=(0.15, 0.2)))
    assert outcome is Outcome.PASSES and figures["PGD at 0.15"] <= 0.01, explanation


@pytest.mark.slow
def test_averaged_answers_are_attacked_and_judged() -> None:
    average = Suite(SOUND, X, LABELS, replace(SMALL, average=25), None)
    assert average.network.average == 25 and average.pgd().accuracy.mean != suite().pgd().accuracy.mean
    smaller = Suite(SOUND.with_sigma(SOUND.sigma / 5), X, LABELS, SMALL, None)
    assert average.clean.mean == pytest.approx(smaller.clean.mean, abs=0.05)


def test_what_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        next(examine(SOUND, X[:0], LABELS[:0], SMALL))
    with pytest.raises(ValueError, match=r"at least two images, .* got one"):
        next(examine(SOUND, X[:1], LABELS[:1], SMALL))
    with pytest.raises(ValueError, match=r"labels must be 40 integers"):
        next(examine(SOUND, X, LABELS[:-1], SMALL))
    with pytest.raises(ValueError, match="images must have the shape"):
        next(examine(SOUND, np.zeros((2, *SHAPE[::-1])), LABELS[:2], SMALL))
