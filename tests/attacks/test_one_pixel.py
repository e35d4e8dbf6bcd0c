"""One-Pixel: the best pixel of a linear network by enumeration, shared noise, searches that end when they should."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from small_networks import SHAPE, Asked, convolutional, images, linear, predicted

from npsnn.attacks import one_pixel
from npsnn.attacks.balls import Limit
from npsnn.attacks.one_pixel import ENERGY_LIMIT, OnePixel, converged, paint
from npsnn.attacks.targets import NetworkTarget, closed_form, expectation, sampled
from npsnn.classifier import Classifier
from npsnn.reference import protocol
from npsnn.streams import Stream

X = images(4)
SMALL = OnePixel(population=60, generations=30, stop=None)
GENES = st.integers(0, 2**32 - 1)


def margins(network: Classifier, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -expectation(network, "margin").value(x, labels, Stream(0))


def best_pixel(network: Classifier, image: np.ndarray, label: int) -> tuple[float, tuple[int, int]]:
    """The least margin that one pixel leaves, and its place; a linear network's is at a corner of the colours."""
    corners = np.array([[(c >> i) & 1 for i in range(SHAPE[0])] for c in range(2 ** SHAPE[0])], float)
    found = []
    for row in range(SHAPE[1]):
        for column in range(SHAPE[2]):
            x = np.repeat(image[None], len(corners), axis=0)
            x[:, :, row, column] = corners
            found.append((margins(network, x, np.full(len(x), label)).min(), (row, column)))
    return min(found)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["best1bin", "rand1bin"])
def test_the_best_pixel_of_a_linear_network_is_found(strategy: str) -> None:
    network = linear(sigma=0.0)
    labels, target = predicted(network, X), expectation(network, "margin")
    attack = replace(SMALL, strategy=strategy, generations=200, population=400)
    x_adv = attack(target, X, labels, Stream(0))
    Limit("l0", 1).check(x_adv, X)
    for n, label in enumerate(labels):
        least, place = best_pixel(network, X[n], int(label))
        changed = np.argwhere((x_adv[n] != X[n]).any(axis=0))
        before, after = (margins(network, z[n : n + 1], labels[n : n + 1])[0] for z in (X, x_adv))
        assert before > after > least - 1e-9
        assert before - after > 0.8 * (before - least), "best1bin may settle for the next best"
        if strategy == "rand1bin":
            np.testing.assert_array_equal(changed, [place])
            assert after == pytest.approx(least, abs=0.1)


@pytest.mark.slow
def test_more_pixels_do_more() -> None:
    network = linear(sigma=0.0)
    labels, target = predicted(network, X), expectation(network, "margin")
    left = []
    for pixels in (1, 2, 4):
        x_adv = replace(SMALL, pixels=pixels, generations=60)(target, X, labels, Stream(0))
        Limit("l0", pixels).check(x_adv, X)
        left.append(margins(network, x_adv, labels))
    assert (left[0] > left[1] + 0.2).all() and (left[1] > left[2] + 0.2).all()


@given(GENES, st.integers(1, 3), st.integers(1, 4))
def test_painting(seed: int, pixels: int, candidates: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=SHAPE).astype(np.float32)
    genes = rng.uniform(size=(candidates, pixels, 2 + SHAPE[0])) * [SHAPE[1], SHAPE[2], *[1] * SHAPE[0]]
    genes[0, 0] = [SHAPE[1], SHAPE[2], *[1 + 1e-15] * SHAPE[0]]  # on the upper bounds, but for rounding
    before, found = image.copy(), paint(image, genes)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    for x, candidate in zip(found, genes, strict=True):
        wanted = image.copy()
        for row, column, *colour in candidate:
            wanted[:, min(int(row), SHAPE[1] - 1), min(int(column), SHAPE[2] - 1)] = np.clip(colour, 0, 1)
        np.testing.assert_array_equal(x, wanted)
    np.testing.assert_array_equal(image, before)


@given(GENES, st.floats(0, 0.03), st.sampled_from([1.0, -1.0]), st.integers(-8, 8))
def test_the_rule_of_the_card(seed: int, spread: float, sign: float, scale: int) -> None:
    energies = sign * 10.0**scale * (1 + spread * np.random.default_rng(seed).standard_normal(50))
    assert converged(energies) == protocol.converged(energies)
    assert type(converged(energies)) is bool
    assert converged(np.zeros(5)) and converged(np.full(5, 3.0)) and not converged(np.arange(5.0))


def test_where_the_rule_and_the_generations_end_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    network = linear(sigma=0.0)
    labels, target = predicted(network, X), Asked.like(expectation(network, "margin"))
    for rule, generations, calls in ((lambda e: True, 9, 1), (lambda e: False, 9, 9), (lambda e: False, 4, 4)):
        monkeypatch.setattr(one_pixel, "converged", rule)
        target.asked.clear()
        attack = replace(SMALL, generations=generations)
        attack(target, X[:1], labels[:1], Stream(0))
        # the first population, one for each generation, and the clean image
        assert len(target.asked["value"]) == 1 + calls + 1
        assert attack.passes(target) == 60 * (generations + 1)


def test_a_sure_network_ends_a_search_on_its_probability_but_not_on_its_logarithm() -> None:
    """Audit A22: all candidates are within 1 %; the order of the candidates is the same."""
    base = linear(sigma=0.0)
    w, b = base.params["fc"]["w"], base.params["fc"]["b"]
    network = replace(base, params=base.params | {"fc": {"w": w, "b": b + np.array([12.0, 0, 0])}})
    asked = {}
    for objective in ("true-class-probability", "cross-entropy"):
        target = Asked.like(expectation(network, objective))
        found = SMALL(target, X[:1], np.array([0]), Stream(0))
        asked[objective] = len(target.asked["value"]) - 2, margins(network, found, np.array([0]))[0]
    assert asked["true-class-probability"][0] == 1 and asked["cross-entropy"][0] > 5
    assert asked["cross-entropy"][1] < asked["true-class-probability"][1] - 0.1


def test_a_search_ends_once_fresh_noise_misreads_its_best() -> None:
    network = linear(sigma=0.0)
    labels = predicted(network, X)
    target = Asked.like(expectation(network, "margin"))
    early = replace(SMALL, stop=0.9, pixels=4)
    x_adv = early(target, X, labels, Stream(0))
    assert (predicted(network, x_adv) != labels).all()
    soon = len(target.asked["value"])
    target.asked.clear()
    replace(early, stop=None)(target, X, labels, Stream(0))
    assert soon < len(target.asked["value"]) and "misread" not in target.asked


@pytest.mark.slow
def test_half_the_draws_are_not_enough_to_end_a_search() -> None:
    """The best candidates of these searches are on the boundary at first, where noise misreads half the draws."""
    network = linear(sigma=1.0)
    labels = predicted(network, X)
    target = Asked.like(closed_form(network, "least-win-probability"))
    x_adv = replace(SMALL, stop=0.9, pixels=4, draws=20)(target, X, labels, Stream(0))
    assert (network.sample(x_adv, 5, 300).argmax(axis=2) != labels).mean(axis=0).min() > 0.75
    assert len(target.asked["misread"]) == len(set(target.asked["misread"])), "each look has draws of its own"


def test_every_look_of_one_search_has_draws_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks on one draw would end a search by luck: it keeps the candidates that this draw favours."""
    monkeypatch.setattr(one_pixel, "converged", lambda energies: False)
    network = linear(sigma=3.0)
    target = Asked.like(closed_form(network, "least-win-probability"))
    replace(SMALL, pixels=4, stop=1.0, draws=50)(target, X[:1], predicted(network, X[:1]), Stream(0))
    looks = target.asked["misread"]
    assert len(looks) >= 5 and len(set(looks)) == len(looks)


def test_nothing_better_nothing_changed() -> None:
    network = linear(sigma=0.0)
    flat = replace(network, params=network.params | {"fc": {"w": np.zeros((3, 24)), "b": np.array([1.0, 0, 0])}})
    x_adv = replace(SMALL, stop=0.9)(expectation(flat, "margin"), X, np.zeros(4, int), Stream(0))
    np.testing.assert_array_equal(x_adv, X)


@dataclass(frozen=True)
class Noisy(NetworkTarget):
    """Notes the noise of each candidate and what it was worth."""

    seen: list[tuple[Stream, np.ndarray]] = field(default_factory=list)

    def value(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
        self.seen.append((stream, self.classifier.scores(x[:1].repeat(3, axis=0), self._noises(stream)[0]).mean))
        return super().value(x, labels, stream)


@pytest.mark.parametrize("common", [True, False])
def test_candidates_share_their_noise_or_have_it_to_themselves(common: bool) -> None:
    network = convolutional(sigma=0.5)
    base = sampled(network, 2, "cross-entropy")
    target = Noisy(network, base.kind, base.objective, base.draws)
    replace(SMALL, common=common, generations=3)(target, X[:2], predicted(network, X[:2]), Stream(1).from_sample(7))
    noise = {stream for stream, _ in target.seen}
    assert len(noise) == (2 if common else len(target.seen)), "one for each image, or one for each population"
    for _, logits in target.seen:
        assert (np.ptp(logits, axis=1) < 1e-12).all() == common, "the same image three times"


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [7, 64])
def test_shared_noise_does_not_depend_on_the_micro_batches(micro_batch: int) -> None:
    labels = predicted(convolutional(), X)
    found = [
        SMALL(sampled(convolutional(0.5, size), 2, "cross-entropy"), X, labels, Stream(1))
        for size in (micro_batch, 400)
    ]
    np.testing.assert_allclose(*found, atol=1e-9)


def test_under_noise_of_their_own_the_rule_may_never_hold() -> None:
    """Audit A22."""
    network = convolutional(sigma=0.5)
    labels, asked = predicted(network, X[:1]), {}
    for common in (True, False):
        target = Asked.like(sampled(network, 1, "true-class-probability"))
        replace(SMALL, common=common, generations=60)(target, X[:1], labels, Stream(0))
        asked[common] = len(target.asked["value"]) - 2
    assert asked[True] < 60 and asked[False] == 60


TARGETS = [
    lambda c: expectation(c, "cross-entropy"),
    lambda c: sampled(c, 2, "cross-entropy"),
    lambda c: closed_form(c, "least-win-probability"),
]


@pytest.mark.parametrize("kind", range(3))
def test_a_batch_may_be_split_anywhere(kind: int) -> None:
    network = convolutional()
    target, labels, attack = TARGETS[kind](network), predicted(network, X), replace(SMALL, generations=4, stop=0.9)
    whole = attack(target, X, labels, Stream(4))
    parts = [attack(target, X[s], labels[s], Stream(4).from_sample(s.start)) for s in (slice(0, 1), slice(1, 4))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (attack(target, X, labels, Stream(5)) != whole).any()
    assert attack(target, X[:0], labels[:0], Stream(0)).shape == X[:0].shape


def test_what_scipy_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    evolve = optimize.differential_evolution

    def watch(f: Any, bounds: Any, **options: Any) -> Any:
        asked.update(options, bounds=bounds)
        return evolve(f, bounds, **options)

    monkeypatch.setattr(optimize, "differential_evolution", watch)
    network = linear(sigma=0.0)
    attack = OnePixel(pixels=2, generations=1)
    attack(expectation(network, "cross-entropy"), X[:1], predicted(network, X[:1]), Stream(0))
    assert (asked["mutation"], asked["recombination"], asked["strategy"]) == (0.5, 0.7, "best1bin")
    assert asked["tol"] == 0 and asked["vectorized"] and not asked["polish"] and asked["maxiter"] == 1
    np.testing.assert_array_equal(asked["bounds"].lb, np.zeros(8))
    np.testing.assert_array_equal(asked["bounds"].ub, [3, 4, 1, 1] * 2)
    first = asked["init"]
    assert first.shape == (400, 8), "400 candidates, however many pixels"
    assert (first >= 0).all() and (first <= asked["bounds"].ub).all()
    assert (first[:, [0, 4]].max() > 2.9) and (first[:, [1, 5]].max() > 3.9)
    colours = first[:, [2, 3, 6, 7]]
    # of N(1/2, 1/4), 16 % are below 0 and as many above 1
    assert abs((colours == 0).mean() - 0.159) < 0.05 and abs((colours == 1).mean() - 0.159) < 0.05


def test_the_defaults_are_the_papers() -> None:
    d = OnePixel()
    assert (d.pixels, d.population, d.generations, d.crossover, d.mutation) == (1, 400, 75, 0.7, 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_without_finite_logits_is_refused(value: float) -> None:
    network = linear(sigma=0.0)
    broken = replace(network, params=network.params | {"fc": {"w": np.zeros((3, 24)), "b": np.array([value, 0, 0])}})

    def objective(m: Any, labels: np.ndarray) -> Any:
        return m.mean[0] * 1.0, m

    target = NetworkTarget(broken, "expectation", objective)
    with pytest.raises(ValueError, match="logits are not finite"):
        SMALL(target, X[:1], np.array([0]), Stream(0))


def test_energies_without_noise_do_not_overflow() -> None:
    network = linear(sigma=0.0)

    def objective(m: Any, labels: np.ndarray) -> Any:
        return m.mean[0] * 1e200, m

    target = NetworkTarget(network, "expectation", objective)
    energy = one_pixel._Energy(target, X[0], np.array([0]), Stream(0), True)
    assert np.abs(energy.of(X)).max() == ENERGY_LIMIT
    SMALL(target, X[:1], np.array([0]), Stream(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": 0}, "pixels must be >= 1, got 0"),
        ({"population": 4}, "population must be >= 5, got 4"),
        ({"generations": 0}, "generations must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"crossover": 1.1}, r"crossover must be in \[0, 1\], got 1.1"),
        ({"mutation": -0.1}, r"mutation must be in \[0, 2\], got -0.1"),
        ({"mutation": (0.5, 2.1)}, r"mutation must be in \[0, 2\], got 2.1"),
        ({"stop": float("nan")}, r"stop must be in \[0, 1\], got nan"),
        ({"strategy": "best"}, "strategy must be one of best1bin, .*, got 'best'"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnePixel(**options)


def test_an_image_has_only_so_many_pixels() -> None:
    network, most = linear(), SHAPE[1] * SHAPE[2]
    labels = predicted(network, X)
    target = expectation(network, "margin")
    assert replace(SMALL, pixels=most, generations=1)(target, X[:1], labels[:1], Stream(0)).shape == X[:1].shape
    with pytest.raises(ValueError, match=f"pixels must be at most {most}, as an image has no more, got {most + 1}"):
        replace(SMALL, pixels=most + 1)(target, X, labels, Stream(0))
