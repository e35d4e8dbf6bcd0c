"""HopSkipJump is the paper's algorithm, image by image; a random network's points are decided by votes."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
import pytest
from one_by_one import OneByOne, waves
from small_networks import images, linear, predicted

from npsnn.attacks import HopSkipJump, Judging, robust_accuracy
from npsnn.attacks.answers import FIRST, Answers
from npsnn.attacks.balls import NORMS, Limit
from npsnn.attacks.evaluation import Watched
from npsnn.attacks.hop_skip_jump import BLOCKS, FEWEST, STARTS
from npsnn.attacks.targets import expectation, known, sampled
from npsnn.streams import Stream, as_stream
from reference import hop_skip_jump as plain


def shaped(count: int, shape: tuple[int, ...] = (2, 9, 7), dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.3, 0.7, (count, *shape)).astype(dtype)


def labels_of(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x)) % 3


@dataclass
class Voting(OneByOne):
    """Misreads an image in each draw with a probability that rises with its loss."""

    noise: float = 1.0
    draws: list[int] = field(default_factory=list)

    def misread(self, x: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
        self.asked.append(len(x))
        self.streams.append(stream)
        self.draws.append(draws)
        losses = np.array([self.loss(image, int(label)) for image, label in zip(x, labels, strict=True)])
        each = [self.noise * as_stream(stream).at(d).normal(np.empty(len(x))) for d in range(draws)]
        return np.mean([losses + noise > 0 for noise in each], axis=0)


@pytest.mark.parametrize("shape", [(1, 7, 7), (2, 9, 12), (3, 2, 5)])
@pytest.mark.parametrize("norm", NORMS)
def test_it_is_the_plain_attack(norm: str, shape: tuple[int, ...]) -> None:
    """As many steps as the budget allows, and no answer more."""
    x, stream, steps = shaped(3, shape), Stream(8), 4
    seen = list[int]()
    for n, image in enumerate(x):

        def drawn(path: Any, size: Any, n: int = n) -> Any:
            at, like = stream.at(*path).from_sample(n), np.empty((*size, 1))
            return (at.uniform(like) if norm == "linf" or "start" in path else at.normal(like))[..., 0]

        asked = [0]

        def misread(point: Any, n: int = n, asked: list[int] = asked) -> bool:
            asked[0] += 1
            return waves(point, n) > 0

        misread(image)
        start, tries = image, 0
        while not waves(start, n) > 0:
            side = BLOCKS[tries % 4]
            small = drawn(("start", tries), (shape[0], -(-shape[1] // side), -(-shape[2] // side)))
            start = np.kron(small, np.ones((1, side, side)))[:, : shape[1], : shape[2]]
            misread(start)
            tries += 1
        theirs = plain.hop_skip_jump(image, misread, start, norm, steps, 10, drawn)
        seen.append(asked[0])
        attack = HopSkipJump(norm=norm, queries=asked[0] + FEWEST - 1, directions=10)
        found = attack(OneByOne(), x[n : n + 1], np.array([n]), stream.from_sample(n))[0]
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9)
        assert waves(found, n) > 0 and (found != start).any()
    assert min(seen) > 100


@pytest.mark.parametrize("target", [OneByOne(), Voting(), Voting(noise=0.1)])
@pytest.mark.parametrize(("norm", "eps"), [("l2", inf), ("l2", 0.3), ("linf", inf), ("linf", 0.05)])
def test_a_batch_is_its_images_to_the_bit(norm: str, eps: float, target: Any) -> None:
    x, attack = shaped(4, (2, 5, 4), np.float32), HopSkipJump(eps, norm, queries=180, votes=10, directions=8)
    stream, labels = Stream(0).from_sample(5), labels_of(x)
    whole = attack(target, x, labels, stream)
    attack.ball.check(whole, x)
    assert (whole != x).any(axis=(1, 2, 3)).sum() > 1
    for n in range(len(x)):
        one = attack(target, x[n : n + 1], labels[n : n + 1], stream.further(n))
        assert one.tobytes() == whole[n : n + 1].tobytes(), n
    chosen = [3, 1]
    assert attack(target, x[chosen], labels[chosen], stream.chosen(chosen)).tobytes() == whole[chosen].tobytes()
    assert (attack(target, x, labels, Stream(1)) != whole).any()


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
def test_it_nears_the_boundary_of_a_linear_network(norm: str) -> None:
    """The distance to a plane is known: the margin over the dual norm of its slope."""
    slope = np.sin(1.0 + np.arange(48)).reshape(1, 6, 8)
    target = OneByOne(lambda image, label: float((slope * (image - 0.5)).sum()) - 0.8)
    x = np.full((3, 1, 6, 8), 0.5)
    exact = 0.8 / (np.abs(slope).sum() if norm == "linf" else np.sqrt((slope**2).sum()))
    distance = [
        Limit(norm, inf).size(HopSkipJump(norm=norm, queries=q)(target, x, np.zeros(3, int), Stream(2)) - x)
        for q in (300, 4000)
    ]
    assert (distance[1] >= exact * (1 - 1e-9)).all() and (distance[1] < distance[0]).all()
    assert (distance[1] < exact * (1.2 if norm == "l2" else 1.5)).all(), distance[1] / exact


def test_votes_rise_near_the_boundary() -> None:
    """A point that all draws agree about is decided by few, one on the boundary by as many as there may be."""
    loss = {0: 9.0, 1: -9.0, 2: 0.0}
    target = Voting(lambda image, label: loss[label])
    answers = Answers(target, np.array([0, 1, 2]), Stream(0), 1000, 40)
    x, everyone = shaped(3), np.arange(3)
    found = answers.misread(x, everyone, "here")
    assert list(found[:2]) == [True, False]
    assert list(answers.spent[:2]) == [FIRST, FIRST] and answers.spent[2] == 40
    assert target.draws == [5, 5, 10, 20] and target.asked == [3, 1, 1, 1]
    assert len(set(target.streams)) == 4
    quiet = Answers(OneByOne(), np.array([0]), Stream(0), 10, 40)
    quiet.misread(shaped(1), np.array([0]), "here")
    assert quiet.spent[0] == 1


def test_a_vote_errs_seldom_where_one_draw_errs_often() -> None:
    """Two draws of three are right here: one draw is wrong in a third of cases, a vote in few."""
    target = Voting(lambda image, label: 0.43)
    x = np.repeat(shaped(1), 500, axis=0)
    answers = Answers(target, np.zeros(500, int), Stream(1), 100, 40)
    wrong = 1 - answers.misread(x, np.arange(500)).mean()
    one = 1 - answers.share(x, np.arange(500), 1, "one").mean()
    assert 0.28 < one < 0.39 and wrong < 0.12


def test_no_vote_beyond_the_budget() -> None:
    target = Voting(lambda image, label: 0.0)
    answers = Answers(target, np.array([0, 0]), Stream(0), 12, 40)
    answers.spent[1] = 8
    assert not answers.misread(shaped(2), np.arange(2))[1]
    assert list(answers.spent) == [10, 8]


@pytest.mark.parametrize("eps", [inf, 0.2])
@pytest.mark.parametrize("queries", [1, 5, 19, 60, 130, 500])
@pytest.mark.parametrize("target", [OneByOne(), Voting()])
def test_the_budget_holds(target: Any, queries: int, eps: float) -> None:
    x = shaped(2)
    own = replace(target, asked=[], streams=[]) if isinstance(target, Voting) else OneByOne()
    attack = HopSkipJump(eps, queries=queries)
    per = [0, 0]

    class Counting:
        random, certain = own.random, own.certain
        looks = own.looks

        def misread(self, points: np.ndarray, labels: np.ndarray, draws: int, stream: Stream) -> np.ndarray:
            for label in labels:
                per[label] += draws
            return own.misread(points, labels, draws, stream)

        def __call__(self, *arguments: Any) -> Any:
            raise AssertionError("labels are enough")

    attack(Counting(), x, np.arange(2), Stream(0))
    assert 0 <= max(per) <= attack.passes(own) == queries
    if queries >= 500:
        assert min(per) > queries - 100 or (eps < inf and not own.random)


@pytest.mark.parametrize("queries", [84, 200])
def test_a_small_budget_is_not_spent_on_the_choice_at_the_end(queries: int) -> None:
    x = shaped(2)
    found = HopSkipJump(0.9, queries=queries)(Voting(), x, np.arange(2), Stream(0))
    assert (found != x).any()


def test_what_is_misread_anyway_or_has_no_start_stays() -> None:
    x = shaped(3)
    np.testing.assert_array_equal(HopSkipJump()(OneByOne(lambda i, n: 1.0), x, labels_of(x), Stream(0)), x)
    never = OneByOne(lambda i, n: -1.0)
    np.testing.assert_array_equal(HopSkipJump(0.1)(never, x, labels_of(x), Stream(0)), x)
    assert never.asked == [3] * (1 + STARTS)
    for norm in NORMS:
        assert HopSkipJump(norm=norm)(OneByOne(), x[:0], labels_of(x[:0]), Stream(0)).shape == (0, 2, 9, 7)
        np.testing.assert_array_equal(HopSkipJump(0.0, norm)(OneByOne(), x, labels_of(x), Stream(0)), x)
        far = HopSkipJump(1e-6, norm, queries=100)(OneByOne(), x, labels_of(x), Stream(0))
        Limit(norm, 1e-6).check(far, x)


def test_with_a_radius_it_ends_where_the_network_is_certain() -> None:
    x, near = shaped(2), OneByOne()
    HopSkipJump(queries=800)(near, x, labels_of(x), Stream(0))
    wide = OneByOne()
    found = HopSkipJump(3.0, queries=800)(wide, x, labels_of(x), Stream(0))
    assert sum(wide.asked) < sum(near.asked) / 2
    assert all(waves(one, n) > 0 for n, one in enumerate(found))


@pytest.mark.slow
def test_with_a_radius_a_random_network_is_led_beyond_the_boundary() -> None:
    """On the boundary half of the draws misread; the ball has room for more."""
    slope = np.full((1, 6, 8), 1 / np.sqrt(48))
    target = Voting(lambda image, label: 5 * (float((slope * (image - 0.5)).sum()) - 0.3))
    x = np.full((4, 1, 6, 8), 0.5)
    found = HopSkipJump(1.5, queries=3000)(target, x, np.zeros(4, int), Stream(0))
    nearest = HopSkipJump(queries=3000)(target, x, np.zeros(4, int), Stream(0))
    losses = [np.array([target.loss(one, 0) for one in some]) for some in (found, nearest)]
    assert (np.abs(losses[1]) < 2).all() and losses[0].mean() > losses[1].mean() + 0.5
    size = Limit("l2", inf).size(found - x)
    assert (size <= 1.5 + 1e-9).all() and size.max() > 1.45


def test_networks_that_ignore_their_input_keep_their_accuracy() -> None:
    network = linear(sigma=1.0)
    b = np.array([1.3, 0, 0])
    network = replace(network, params=network.params | {"fc": {"w": np.zeros((3, 24)), "b": b}})
    logits = b + np.random.default_rng(0).standard_normal((200_000, 3))
    share = (logits.argmax(axis=1) == 0).mean()
    attack = HopSkipJump(0.2, queries=400)
    (result,) = robust_accuracy(network, images(150), np.zeros(150, int), [attack], Judging(draws=20))
    low, high = result.accuracy.ci95
    assert 0.6 < share < 0.9 and low <= share <= high


@pytest.mark.parametrize("norm", NORMS)
def test_on_networks(norm: str) -> None:
    quiet, noisy = linear(0.0), linear(0.3)
    x = images(5)
    labels = predicted(quiet, x)
    for target in (expectation(quiet), sampled(noisy, 2), known(noisy, Stream(3))):
        attack = HopSkipJump(norm=norm, queries=300, directions=20)
        watched = Watched.of(target, x, Stream(0))
        found = attack(watched, x, labels, Stream(0))
        attack.ball.check(found, x)
        if target.certain:
            assert (target.misread(found, labels, 1, Stream(9)) == 1).all()
    (result,) = robust_accuracy(quiet, x, labels, [HopSkipJump(norm=norm, queries=300)], Judging())
    assert result.accuracy.mean == 0 and result.eps == inf and result.attack == "hop-skip-jump"


@pytest.mark.parametrize("classes", [2, 4, 100])
def test_any_number_of_classes(classes: int) -> None:
    network, x = linear(0.0, classes=classes), images(1)
    found = HopSkipJump(queries=200)(expectation(network), x, predicted(network, x), Stream(0))
    assert predicted(network, found) != predicted(network, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries must be >= 1, got 0"),
        ({"votes": 0}, "votes must be >= 1, got 0"),
        ({"directions": 1.5}, "directions must be a whole number >= 1, got 1.5"),
        ({"norm": "l0"}, "norm must be one of linf, l2"),
        ({"eps": -1.0}, "eps must be >= 0, got -1.0"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HopSkipJump(**options)
