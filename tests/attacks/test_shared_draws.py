"""Images that share draws: what is judged, the interval over images and draws, and draws of an attack's own."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from small_networks import SHAPE, images, linear, predicted

from npsnn import attacks
from npsnn.attacks import shared_draws
from npsnn.attacks.balls import Ball
from npsnn.attacks.judging import judge
from npsnn.attacks.shared_draws import SharedDraws, two_way_interval
from npsnn.attacks.statistics import wilson_interval
from npsnn.classifier import Classifier
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Linear
from npsnn.layers.containers import Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.runs.caveats import of_network
from npsnn.streams import Stream

X = images(40)


def sharing(sigma: float = 2.0, micro_batch: int = 16) -> Classifier:
    """A hidden layer with noise of which the images of a micro-batch share each draw; float64."""
    layers: Any = (
        ("flatten", Flatten()),
        ("hidden", Linear(8)),
        ("noise", PreactivationNoise(sigma, scope="unit", shared=True)),
        ("relu", ReLU()),
        ("fc", Linear(3)),
    )
    model = Model("sharing", Sequential(layers), SHAPE, 3, micro_batch)
    return Classifier(model, model.init(np.random.default_rng(1)), threads=1).astype(np.float64)


LABELS = predicted(sharing(), X)


def table(seed: int, sizes: tuple[int, ...], draws: int, spread: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Images that are right or wrong in draws that matter by `spread`, by micro-batch."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.random((n, draws)) < 1 / (1 + np.exp(-1 - rng.normal(size=(n, 1)) - spread * rng.normal(size=draws)))
        for n in sizes
    ]
    return np.concatenate([part.mean(axis=1) for part in parts]), parts


def test_what_is_judged_is_what_was_judged_before() -> None:
    """The accuracy of each image is that of `judge` on its micro-batch; each micro-batch has draws of its own."""
    network, found = sharing(), attacks.accuracy(sharing(), X, LABELS, 6, 3)
    own = [
        judge(network, X[s], LABELS[s], 6, Stream(3).further(s.start))
        for s in (slice(0, 16), slice(16, 32), slice(32, 40))
    ]
    np.testing.assert_array_equal(found.each, np.concatenate(own))
    assert found.draws is not None
    assert found.draws.sizes.tolist() == [16, 16, 8] and found.draws.right.shape == (3, 6)
    np.testing.assert_allclose(found.draws.right.mean(axis=1), [part.mean() for part in own])
    assert (found.draws.right.std(axis=1) > 0.02).all(), "draws must differ"
    assert len({tuple(row) for row in found.draws.right.tolist()}) == 3


def test_where_draws_are_independent_the_interval_is_what_it_was() -> None:
    for network in (linear(), sharing().with_sigma(0)):
        found = attacks.accuracy(network, X, LABELS, 6, 3)
        assert found.draws is None and found.ci95 == tuple(map(float, wilson_interval(found.each)))


def test_the_interval_is_over_draws_as_well() -> None:
    """It is wider than over images, the more so the larger the micro-batches; the mean is of the same accuracy."""
    widths = []
    for size in (1, 8, 40):
        found = attacks.accuracy(sharing(micro_batch=size), X, LABELS, 8, 0)
        low, high = found.ci95
        assert 0 <= low < found.mean < high <= 1
        widths.append(high - low)
        alone = np.subtract(*wilson_interval(found.each)[::-1])
        assert high - low == pytest.approx(alone) if size == 1 else high - low >= alone
    assert widths[0] < widths[1] < widths[2] and widths[2] > 1.5 * widths[0]


@pytest.mark.parametrize("sizes", [(12,), (10, 10, 3), (9, 1)])
def test_the_variance_is_that_of_a_two_way_table(sizes: tuple[int, ...]) -> None:
    """By loops over the mean squares; of one micro-batch (MS_images + MS_draws - MS_rest)/(n D)."""
    each, parts = table(2, sizes, 5, 1.0)
    squares = {"images": 0.0, "rest": 0.0}
    draws_part, n, D = 0.0, sum(sizes), 5
    for y in map(np.asarray, parts):
        own, by_image, by_draw = y.mean(), y.mean(axis=1), y.mean(axis=0)
        squares["images"] += D * sum((a - own) ** 2 for a in by_image)
        squares["rest"] += sum((y[i, d] - by_image[i] - by_draw[d] + own) ** 2 for i in range(len(y)) for d in range(D))
        draws_part += len(y) * (len(y) * sum((a - own) ** 2 for a in by_draw) / (D - 1)) / (n**2 * D)
    free = n - len(sizes)
    wanted = max(squares["images"] / free - squares["rest"] / (free * (D - 1)), 0) / (n * D) + draws_part
    found = SharedDraws.of(parts)
    p = each.mean()
    by_draws, _ = shared_draws._over_draws(p, found.right, found.sizes)
    assert by_draws + shared_draws._over_images(each, found.right, found.sizes) == pytest.approx(wanted)


def test_one_draw_in_each_micro_batch_is_judged_by_their_difference() -> None:
    each = np.repeat([1.0, 0.0, 1.0, 0.0], 10)
    low, high = two_way_interval(each, np.array([[1.0], [0.0], [1.0], [0.0]]), np.full(4, 10))
    assert low < 0.1 and high > 0.9, "four draws, of which two are right"
    single = attacks.Accuracy(each, draws=SharedDraws(np.array([40]), np.array([[0.5]])))
    assert single.one_draw and single.ci95 == attacks.Accuracy(each).ci95
    notes = of_network(sharing(), sharing(), single, LABELS)
    assert "one-draw" in {caveat.code for caveat in notes}
    assert not attacks.Accuracy(each).one_draw


def test_intervals_are_sane_at_the_ends() -> None:
    for right in (0.0, 1.0):
        each, parts = np.full(20, right), [np.full((10, 4), right)] * 2
        low, high = attacks.Accuracy(each, draws=SharedDraws.of(parts)).ci95
        assert 0 <= low <= right <= high <= 1 and 0.1 < high - low < 0.3
    each, parts = table(0, (10, 10), 4, 0.5)
    many = [table(seed, (10, 10), 4, 0.5) for seed in range(5)]
    stacked = two_way_interval(
        np.stack([one for one, _ in many]), np.stack([SharedDraws.of(p).right for _, p in many]), np.array([10, 10])
    )
    for n, (one, p) in enumerate(many):
        assert attacks.Accuracy(one, draws=SharedDraws.of(p)).ci95 == (stacked[0][n], stacked[1][n])


def test_draws_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="draws must be of 40 images, got 20"):
        attacks.Accuracy(np.ones(40), draws=SharedDraws(np.array([20]), np.ones((1, 3))))
    with pytest.raises(ValueError, match=r"sizes must be \(B,\) and right \(B, draws\)"):
        SharedDraws(np.array([20, 20]), np.ones((1, 3)))


def test_results_and_the_worst_case_keep_the_draws(tmp_path: Any) -> None:
    judging = attacks.Judging(draws=4, selection=5)
    found = list(attacks.robust_accuracy(sharing(), X, LABELS, [attacks.FGSM(0.1), attacks.PGD(0.1, steps=2)], judging))
    worst = attacks.worst_case(sharing(), LABELS, found, judging)
    for accuracy in (*(r.accuracy for r in found), worst, worst.alone):
        assert accuracy.draws is not None and accuracy.draws.right.shape == (3, 4)
    with attacks.Kept(tmp_path / "unfinished.parts") as keep:
        again = list(attacks.robust_accuracy(sharing(), X, LABELS, [attacks.FGSM(0.1)], judging, keep=keep))
    assert again[0].accuracy.draws is not None and found[0].accuracy.draws is not None
    np.testing.assert_array_equal(again[0].accuracy.draws.right, found[0].accuracy.draws.right)


def test_draws_of_a_gradient_are_separate_draws() -> None:
    """A batch of copies of an image is one draw where a layer shares its draw; EoT's draws are not copies."""
    network = sharing()
    one, labels = X[:4], LABELS[:4]
    each = [attacks.sampled(network, 1)(one, labels, Stream(0).at(d))[1] for d in range(6)]
    assert (np.std(each, axis=0).max(axis=(1, 2, 3)) > 1e-3).all()
    copies = np.repeat(one[:1], 6, axis=0)
    alike = attacks.sampled(network, 1)(copies, np.repeat(labels[:1], 6), Stream(0))[1]
    assert np.abs(alike - alike[0]).max() < 1e-12, "the copies of a batch share one draw"
    target = attacks.sampled(network, 6)
    drawn = [replace(target, draws=n)(one, labels, Stream(0))[1] for n in (1, 2, 6)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-4 and np.abs(drawn[1] - drawn[2]).max() > 1e-4
    noises = [noise.stream for noise in target._noises(Stream(0))]  # type: ignore[union-attr]
    assert len({stream.one_draw().normal(np.empty((1, 1))).item() for stream in noises}) == 6


def test_a_known_draw_is_known_of_a_part_of_a_batch_as_well() -> None:
    """Attacks that go on with some images of a batch have the draw that judges the batch."""
    network, judging = sharing(), Stream(0).at("judge")
    target = attacks.known(network, judging)
    columns = [3, 7, 8]
    whole = target(X[:16], LABELS[:16], Stream(1))[1]
    part = target(X[columns], LABELS[columns], Stream(1).chosen(columns))[1]
    np.testing.assert_allclose(part, whole[columns], rtol=1e-12)
    judged = judge(network, X[:16], LABELS[:16], 1, judging)
    np.testing.assert_array_equal(
        1 - target.misread(X[columns], LABELS[columns], 1, Stream(1).chosen(columns)), judged[columns]
    )


@dataclass(frozen=True)
class Asking:
    """No attack: it asks whether the target's draw is the one that judges, whichever images it meets."""

    read: dict[bytes, float]
    met: list[int]

    ball: ClassVar[Any] = Ball("linf", 0.5)
    label: ClassVar[str] = "asking"
    source: ClassVar[Any] = attacks.Known(Stream(0).at("judge"))

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        self.met.append(len(x))
        assert (1 - target.misread(x, labels, 1, stream)).tolist() == [self.read[one.tobytes()] for one in x]
        return x


def test_attacks_in_turn_know_the_draw_of_each_micro_batch() -> None:
    """An attack on what another left meets the images in their micro-batches, whose draws judge them."""
    network, judging = sharing(), Stream(0).at("judge")
    each = attacks.accuracy(network, X, LABELS, 1, judging).each
    asking = Asking({one.tobytes(): float(right) for one, right in zip(X, each, strict=True)}, [])
    pgd = attacks.PGD(0.5, steps=2, source=attacks.Known(judging))
    first, second = attacks.robust_accuracy(network, X, LABELS, attacks.Group("mine", (pgd, asking)))
    assert 0 < first.accuracy.mean < 1 and second.met is not None and second.met.sum() < len(X)
    assert asking.met == [16, 16, 8]
