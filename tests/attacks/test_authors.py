"""The attacks of A2SNN's authors: what single precision loses of their gradient, their steps, and the group."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import images, linear, on_features, predicted
from strategies import SEEDS, frozen

from npsnn import attacks
from npsnn.attacks import PGD, Authors, AuthorsFGSM, AuthorsPGD, Ball, EoT, Group, Judging
from npsnn.attacks.base import target_of
from npsnn.attacks.groups import grouped
from npsnn.attacks.plan import Plan
from npsnn.attacks.targets import expectation, sampled
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments
from npsnn.objectives import Looked, cross_entropy, float32_cross_entropy, in_units
from npsnn.reference import authors_code
from npsnn.streams import Stream

FLOAT32 = "float32-cross-entropy"
FAR = -1e4
"""A logit that no sum notices."""


def slopes(*logits: float) -> np.ndarray:
    """The gradient where the label is the first class."""
    _, g = float32_cross_entropy(Moments(frozen(np.array(logits)[:, None])), np.array([0]))
    return np.asarray(g.mean[:, 0])


@pytest.mark.parametrize(
    ("margin", "label", "rival"),
    [
        # 1 + exp(-16) is 1 + 2^-23 in single precision, and exp(-2^-23) is 1 - 2^-23
        (16, -(2.0**-23), np.exp(-16)),
        # below 2^-24, half of the distance from 1 to the next number, nothing is left of the label's entry
        (17, 0.0, np.exp(-17)),
        (103, 0.0, 2.0**-149),
        # below half of the least number there is nothing at all
        (104, 0.0, 0.0),
    ],
)
def test_what_is_left_of_the_gradient_at_a_margin(margin: float, label: float, rival: float) -> None:
    found = slopes(margin, 0, FAR)
    assert found[0] == label and found[2] == 0
    assert found[1] == pytest.approx(rival, rel=1e-6, abs=0)
    assert float(np.float32(np.exp(np.float64(-margin)))) == pytest.approx(rival, rel=1e-6, abs=0)
    np.testing.assert_allclose(found, authors_code.single_slopes(np.array([margin, 0, FAR]), 0), rtol=1e-6)
    exact = cross_entropy(Moments(np.array([[margin], [0.0], [FAR]])), np.array([0]))[1].mean[:, 0]
    assert exact[0] == -exact[1] != 0 and exact[1] == pytest.approx(np.exp(-margin), rel=1e-6)


def test_of_nine_like_rivals_as_pytorch_has_it() -> None:
    """-1.07e-6 at 16 and exactly 0 at 17, where the label is the first class and each rival is added by itself."""
    rivals = [0.0] * 9
    assert authors_code.single_slopes(np.array([16.0, *rivals]), 0)[0] == pytest.approx(-1.07e-6, rel=5e-3)
    assert authors_code.single_slopes(np.array([17.0, *rivals]), 0)[0] == 0
    assert slopes(16, *rivals)[0] == pytest.approx(-9 * np.exp(-16), abs=2e-7)
    assert abs(slopes(17, *rivals)[0]) < 4e-7 and slopes(19, *rivals)[0] == 0
    np.testing.assert_array_equal(slopes(104, *rivals), 0)


@given(SEEDS, st.sampled_from([1.0, 10.0, 40.0, 200.0]))
def test_it_is_the_plain_formula_and_at_small_margins_the_cross_entropy(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    z, labels = frozen(scale * rng.normal(size=(5, 4))), rng.integers(5, size=4)
    values, g = float32_cross_entropy(Moments(z), labels)
    want = np.stack([authors_code.single_slopes(z[:, n], int(k)) for n, k in enumerate(labels)], axis=1)
    # the logits are rounded to single precision, and a last digit of a logarithm may differ
    np.testing.assert_allclose(g.mean, want, rtol=1e-5 + 2e-7 * scale, atol=4e-7)
    exact, precise = cross_entropy(Moments(z), labels)
    np.testing.assert_allclose(values, exact, rtol=1e-6, atol=1e-5 * scale)
    np.testing.assert_allclose(g.mean, precise.mean, atol=1e-6 * (1 + scale))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_stays_and_the_variance_does_not_enter(dtype: type) -> None:
    z = frozen(np.random.default_rng(0).normal(size=(4, 3)).astype(dtype))
    labels = np.array([0, 3, 1])
    values, g = float32_cross_entropy(Moments(z), labels)
    assert values.dtype == g.mean.dtype == dtype and g.var is None
    noisy, _ = float32_cross_entropy(Moments(z, np.ones_like(z)), labels)
    np.testing.assert_array_equal(values, noisy)


def test_what_is_lost_is_carried_through_the_network_as_lost() -> None:
    """No unit saves what single precision has not; other objectives keep theirs."""
    m, labels = Moments(np.array([[103.0, 5], [0, 0]], np.float32)), np.array([0, 0])
    for f in (float32_cross_entropy, Looked(float32_cross_entropy)):
        _, cotangent, unit = in_units(f, m, labels)
        np.testing.assert_array_equal(unit, 1)
        assert cotangent.mean.dtype == np.float32 and cotangent.mean[1, 0] == np.float32(1.4e-45)
    _, cotangent, unit = in_units(cross_entropy, m, labels)
    assert unit[0] < 1e-44 and abs(cotangent.mean[1, 0]) == 1


def sure(margin: float, weight: float = 1.0, sigma: float = 0.0) -> tuple[Classifier, np.ndarray, np.ndarray]:
    """A linear network with this margin on the one image, which falls by `weight` for each unit of a pixel."""
    network = linear(sigma, classes=2)
    fc = {k: np.zeros_like(p) for k, p in network.params["fc"].items()}
    fc["w"][:] = [[weight / 2], [-weight / 2]]
    x = np.full((1, *network.model.shape), 0.5)
    fc["b"][0] = margin - weight * x.sum()
    return replace(network, params=network.params | {"fc": fc}).astype(np.float32), x, np.array([0])


def test_an_image_with_a_large_margin_has_no_gradient() -> None:
    for margin, left in ((5, True), (50, True), (105, False)):
        network, x, labels = sure(margin)
        for target in (expectation(network, FLOAT32), sampled(network, 3, FLOAT32)):
            loss, gradient = target(x, labels, Stream(0))
            assert (gradient != 0).any() == left and np.isfinite(loss).all()
        _, gradient = expectation(network)(x, labels, Stream(0))
        assert (gradient < 0).all(), "the objective of npsnn keeps it"
    network, x, labels = sure(90, weight=1e-8)
    assert (expectation(network, FLOAT32)(x, labels, Stream(0))[1] == 0).all(), "lost on the way back"
    assert (expectation(network)(x, labels, Stream(0))[1] < 0).all()


@pytest.mark.parametrize(("margin", "weight"), [(1e6, 1.0), (95, 1e-8)])
def test_what_is_lost_on_draws_is_lost_below_them_as_well(margin: float, weight: float) -> None:
    """With noise on the features the draws' sum goes on below, in no unit either: 1e-41 times 1e-8 is 0."""
    network, x, labels = on_features(1e-9), images(3), np.zeros(3, int)
    own = {"fc": {"b": np.array([margin, 0, 0])}, "conv": {"w": weight * network.params["conv"]["w"]}}
    changed = {name: network.params[name] | values for name, values in own.items()}
    network = replace(network, params=network.params | changed).astype(np.float32)
    _, gradient = sampled(network, 4, FLOAT32)(x, labels, Stream(0))
    _, kept = sampled(network, 4)(x, labels, Stream(0))
    assert (gradient == 0).all() and (kept != 0).any()
    if weight < 1:
        changed["conv"] = network.params["conv"] | {"w": network.params["conv"]["w"] / np.float32(weight)}
        _, gradient = sampled(replace(network, params=network.params | changed), 4, FLOAT32)(x, labels, Stream(0))
        assert (gradient != 0).any(), "of usual weights it is not lost"


def test_fgsm_of_the_authors_is_one_whole_step_and_leaves_a_flat_image() -> None:
    network, x, labels = sure(5)
    target = target_of(AuthorsFGSM(0.1), network)
    moved = AuthorsFGSM(0.1)(target, x, labels, Stream(0))
    np.testing.assert_allclose(moved, x - 0.1, atol=1e-7)
    network, x, labels = sure(200)
    np.testing.assert_array_equal(AuthorsFGSM(0.1)(target_of(AuthorsFGSM(0.1), network), x, labels, Stream(0)), x)


def test_pgd_of_the_authors_walks_ten_tenths_from_a_uniform_start() -> None:
    eps, (network, x, labels) = 0.1, sure(30)
    starts = []
    for seed in range(40):
        start = Ball("linf", eps).random(x, Stream(seed).at("restart", 0).at("start"))
        attack = AuthorsPGD(eps)
        x_adv = attack(target_of(attack, network), x, labels, Stream(seed))
        # a pixel that begins above the image does not get to the border, though the gradient never turns
        np.testing.assert_allclose(x_adv, np.maximum(start - eps, x - eps), atol=1e-6)
        starts.append(start - x)
    assert attack.passes(target_of(attack, network)) == 10
    assert np.abs(np.mean(starts)) < 0.01 and np.std(starts) == pytest.approx(eps / 3**0.5, rel=0.1)
    one = replace(attack.general, steps=1)
    x_adv = one(target_of(attack, network), x, labels, Stream(39))
    np.testing.assert_allclose(x_adv, np.maximum(start - eps / 10, x - eps), atol=1e-6)


def test_where_there_is_no_gradient_pgd_stays_where_it_began() -> None:
    """The mean reach is half of eps: no pixel is moved on from its uniform start."""
    network, x, labels = sure(1e4)
    attack = AuthorsPGD(0.1)
    x_adv = attack(target_of(attack, network), x, labels, Stream(1))
    np.testing.assert_array_equal(x_adv, Ball("linf", 0.1).random(x, Stream(1).at("restart", 0).at("start")))


def test_the_members_of_the_group() -> None:
    group = Authors(8 / 255).of(linear(0.3))
    assert group == Group("authors", (AuthorsFGSM(8 / 255), AuthorsPGD(8 / 255)), apart=True)
    assert [member.label for member in group] == ["authors-fgsm", "authors-pgd"]
    assert {member.source for member in group} == {EoT(50, FLOAT32)}
    assert Authors(0.1).ball == Ball("linf", 0.1)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_each_attacks_every_image(sigma: float) -> None:
    """Without noise as well, where members of other groups meet what those before them have left."""
    network, x = linear(sigma, classes=4), images(12)
    labels = predicted(network, x)
    found = list(attacks.robust_accuracy(network, x, labels, Authors(0.03), Judging(draws=2)))
    assert [r.attack for r in found] == ["authors-fgsm", "authors-pgd"] and {r.group for r in found} == {"authors"}
    assert all(r.met is None for r in found)
    alone = list(attacks.robust_accuracy(network, x, labels, [AuthorsPGD(0.03)], Judging(draws=2)))
    np.testing.assert_array_equal(alone[0].x_adv, found[1].x_adv)
    assert not attacks.cost(network, x, labels, [Authors(0.03)], Judging(draws=2)).at_most


def test_the_weaker_pgd_leaves_more_than_npsnns(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a linear network whose margins are beyond float32 it takes nothing, and npsnn's takes all."""
    network, x, labels = sure(150, weight=100.0)
    ours, theirs = PGD(0.4, steps=10), Authors(0.4)
    left = {r.attack: r for r in attacks.robust_accuracy(network, x, labels, [ours, theirs], Judging(draws=1))}
    assert left["pgd"].accuracy.mean == 0 and left["authors-fgsm"].accuracy.mean == 1
    assert left["authors-fgsm"].zero_gradients == 1 and left["pgd"].zero_gradients == 0


@pytest.mark.parametrize("kind", [AuthorsFGSM, AuthorsPGD])
def test_wrong_arguments_are_refused_by_name(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^norm must be linf for the attacks of A2SNN's authors, got 'l2'$"):
        kind(0.5, "l2")
    for made in (kind, Authors):
        with pytest.raises(ValueError, match="eps must be >= 0"):
            made(-1.0)


def test_a_plan_and_a_file_know_them() -> None:
    plan = Plan(("authors",), eps=(0.1, 0.2))
    assert plan.made() == [Authors(0.1), Authors(0.2)]
    heedless = ["steps", "eot", "objective", "norm", "restarts"]
    assert [*plan.unused(["eps", *heedless])] == heedless
    for member in grouped([Authors(0.1)], linear(0.3))[0]:
        assert attacks.base.ATTACKS.decode(attacks.base.ATTACKS.encode(member)) == member
