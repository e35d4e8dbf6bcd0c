"""The members of a group meet images in turn where the network is certain, and else attack every image to the end."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, linear, predicted

from npsnn import attacks
from npsnn.attacks import BIM, FGSM, PGD, Group, Judging, Known, RandomSearch, robust_accuracy
from npsnn.attacks.base import target_of
from npsnn.attacks.evaluation import run
from npsnn.attacks.groups import STANDARD, grouped, in_turn
from npsnn.attacks.results import Result
from npsnn.classifier import Classifier
from npsnn.streams import Stream

EPS = 0.015
QUIET = replace(linear(0.0), model=replace(linear(0.0).model, micro_batch=7))
X = images(60)
LABELS = np.where(np.arange(60) % 10, predicted(QUIET, X), (predicted(QUIET, X) + 1) % 3)
GROUP = Group("three", (RandomSearch(EPS, samples=3), replace(BIM(EPS), steps=1), PGD(EPS, steps=3)))


def figures(r: Result) -> list[np.ndarray]:
    return [r.x_adv, r.accuracy.each, r.met_zero, r.met_bad]  # type: ignore[list-item]


@pytest.mark.parametrize("network", [QUIET, convolutional(0.0)])
def test_each_member_meets_what_those_before_it_left(network: Classifier) -> None:
    labels = LABELS if network is QUIET else predicted(network, X)
    found = list(robust_accuracy(network, X, labels, GROUP, Judging(seed=3)))
    right, before = network.predict(X).argmax(axis=1) == labels, X
    for r, attack in zip(found, GROUP, strict=True):
        assert r.group == "three" and r.by == attack
        np.testing.assert_array_equal(r.met, right)
        np.testing.assert_array_equal(r.x_adv[~right], before[~right], "what was taken is left as it is")
        name = attack.label
        target, stream = target_of(attack, network), Stream(3).at("linf", repr(EPS))
        alone = run(name, attack, target, X, labels, 1, stream.at(name))
        np.testing.assert_allclose(r.x_adv[right], alone.x_adv[right], atol=1e-12, err_msg="an image's own numbers")
        now = network.predict(r.x_adv).argmax(axis=1) == labels
        np.testing.assert_array_equal(r.accuracy.each, now)
        assert r.took == (right & ~now).sum()
        np.testing.assert_array_equal(r.images["met"], right)
        assert not r.met_zero[~right].any()  # type: ignore[index]
        right, before = now, r.x_adv
    assert 0 < right.sum() < found[1].met.sum() < found[0].met.sum() <= 60  # type: ignore[union-attr]


def test_an_image_that_is_misread_anyway_is_not_attacked() -> None:
    found = list(robust_accuracy(QUIET, X, LABELS, GROUP))
    np.testing.assert_array_equal(found[-1].x_adv[::10], X[::10])
    assert not found[0].met[::10].any() and found[0].met[1]  # type: ignore[index]
    assert found[0].clean is not None and found[0].clean.mean() == 0.9


def test_where_nothing_is_left_no_attack_is_made() -> None:
    done: list[int] = []
    group = Group("all", (PGD(0.5, steps=3), RandomSearch(0.5, samples=3)))
    first, second = robust_accuracy(QUIET, X, LABELS, group, progress=done.append)
    assert first.accuracy.mean == second.accuracy.mean == 0
    assert second.met is not None and not second.met.any() and second.took == 0 and second.seconds == 0
    np.testing.assert_array_equal(first.x_adv, second.x_adv)
    assert sum(done) == 2 * len(X), "images that are not met are done"


def test_of_a_random_network_every_member_attacks_every_image() -> None:
    """As if each were named by itself: a look that misreads an image ends nothing."""
    network = linear(0.4)
    together = list(robust_accuracy(network, X, LABELS, GROUP, Judging(draws=3)))
    for r, alone in zip(together, robust_accuracy(network, X, LABELS, GROUP.members, Judging(draws=3)), strict=True):
        assert r.met is None and r.took is None and (r.group, alone.group) == ("three", "")
        for a, b in zip(figures(r), figures(alone), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_draw_that_is_known_makes_the_network_certain() -> None:
    """And it is judged by that draw, as by nobody's who does not know it."""
    network, drawn = linear(0.4), Stream(8).at("a draw")
    members = tuple(replace(member, source=Known(drawn)) for member in (BIM(EPS, steps=1), PGD(EPS, steps=3)))
    found = list(robust_accuracy(network, X, LABELS, Group("known", members)))
    right = attacks.accuracy(network, X, LABELS, 1, drawn).each
    for r in found:
        np.testing.assert_array_equal(r.met, right == 1)
        right = attacks.accuracy(network, r.x_adv, LABELS, 1, drawn).each
        np.testing.assert_array_equal(r.accuracy.each, right)
    apart = tuple(replace(PGD(EPS), source=Known(drawn.at(n))) for n in range(2))
    assert in_turn(network, [target_of(member, network) for member in members])
    assert not in_turn(network, [target_of(member, network) for member in apart]), (
        "what one takes another draw may leave"
    )
    assert not in_turn(network, [target_of(member, network) for member in GROUP])


def test_the_bytes_are_those_of_any_number_of_threads() -> None:
    network = convolutional(0.0, micro_batch=7)
    labels = predicted(network, X)
    one, three = (list(robust_accuracy(replace(network, threads=n), X, labels, GROUP)) for n in (1, 3))
    for a, b in zip(one, three, strict=True):
        assert [v.tobytes() for v in figures(a)] == [v.tobytes() for v in figures(b)]


@pytest.mark.usefixtures("same_draws")
def test_on_a_gpu_whole_batches_are_attacked(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    network, sizes = convolutional(0.0), []
    labels = predicted(network, X)
    ours = list(robust_accuracy(network, X, labels, GROUP))
    call = PGD.__call__

    def counted(self: PGD, target: Any, x: np.ndarray, *rest: Any) -> Any:
        sizes.append(len(x))
        return call(self, target, x, *rest)

    monkeypatch.setattr(PGD, "__call__", counted)
    for a, b in zip(robust_accuracy(network.to("cuda"), X, labels, GROUP), ours, strict=True):
        for theirs, its in zip([*figures(a), a.met], [*figures(b), b.met], strict=True):
            np.testing.assert_allclose(theirs, its, atol=1e-9)
    assert sizes == [60]


@pytest.mark.parametrize(
    ("members", "kind", "message"),
    [
        ((), ValueError, "members must hold at least one attack, got none"),
        ((PGD(0.1), PGD(0.2)), ValueError, r"members must be of one ball, got linf 0\.1 and linf 0\.2"),
        ((PGD(0.1), FGSM(0.1, "l2")), ValueError, "members must be of one ball"),
        ((PGD(0.1), PGD(0.1, steps=3)), ValueError, "members must differ in their names, got pgd twice"),
        ((PGD(0.1), 0.1), TypeError, "0.1 is no attack"),
    ],
)
def test_a_wrong_group_is_refused(members: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Group("mine", members)


def test_groups_and_attacks_may_be_mixed() -> None:
    made = grouped([FGSM(EPS), GROUP], QUIET)
    assert [(group.name, len(group)) for group in made] == [("", 1), ("three", 3)]
    assert grouped(GROUP, QUIET) == [GROUP] and list(GROUP) == list(GROUP.members)
    names = [r.attack for r in robust_accuracy(QUIET, X, LABELS, [FGSM(EPS), GROUP])]
    assert names == ["fgsm", "random", "bim", "pgd"]
    alone = attacks.cost(QUIET, X, LABELS, [FGSM(EPS)]).passes
    assert attacks.cost(QUIET, X, LABELS, [FGSM(EPS), GROUP]).passes == alone + 3 + 1 + 3


def test_an_attack_that_knows_a_draw_is_judged_by_it_wherever_it_runs() -> None:
    """By itself, beside others, and in a group whose members know other draws."""
    network, drawn = linear(0.4), Stream(8).at("a draw")
    known = replace(PGD(EPS, steps=3), source=Known(drawn))
    mixed = Group("mixed", (known, BIM(EPS, steps=1)))
    for made in ([known], [FGSM(EPS), known], mixed):
        (r,) = [r for r in robust_accuracy(network, X, LABELS, made) if r.by == known]
        right = attacks.accuracy(network, r.x_adv, LABELS, 1, drawn).each
        np.testing.assert_array_equal(r.accuracy.each, right)
        np.testing.assert_array_equal(r.clean, attacks.accuracy(network, X, LABELS, 1, drawn).each)
        assert r.known == drawn
    results = list(robust_accuracy(network, X, LABELS, [known]))
    worst = attacks.worst_case(network, LABELS, results, Judging())
    assert worst.selection == 1 and r.clean is not None
    np.testing.assert_array_equal(worst.each, np.minimum(results[0].accuracy.each, r.clean))
    with pytest.raises(ValueError, match="results must be judged by the same draws"):
        attacks.worst_case(network, LABELS, list(robust_accuracy(network, X, LABELS, mixed)), Judging())


def test_a_generator_names_one_draw() -> None:
    source = Known(np.random.default_rng(0))
    assert target_of(PGD(EPS, source=source), QUIET).judging == target_of(FGSM(EPS, source=source), QUIET).judging
    assert isinstance(source.judging, Stream)


def test_groups_of_one_ball_differ_in_their_names() -> None:
    with pytest.raises(ValueError, match="groups of one ball must differ in their names, got three twice"):
        grouped([GROUP, replace(GROUP, members=GROUP.members[:1])], QUIET)
    other = Group("three", (BIM(2 * EPS),))
    assert len(grouped([GROUP, other, replace(GROUP, name="two")], QUIET)) == 3


def test_the_name_of_autoattack_is_not_given_away() -> None:
    with pytest.raises(ValueError, match="name must be another than 'AutoAttack, standard'"):
        Group(STANDARD, (PGD(0.1),))
