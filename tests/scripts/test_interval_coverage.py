"""The small version of scripts/run coverage: intervals cover the truth neither too rarely nor always."""

from math import sqrt

import numpy as np
import pytest
from interval_coverage import HIGH, LOW, SHAPES, Cell, over_images_alone, shared, simulated, trained
from small_networks import images, on_features, predicted

from npsnn.attacks.statistics import wilson_interval
from npsnn.data import Split

TRIALS = 1000
UNEVEN = ("few uncertain", "half certain, half Beta", "Beta, concentration 0.5", "Beta, concentration 2")


def small(interval: object = wilson_interval, shapes: tuple[str, ...] = UNEVEN) -> list[Cell]:
    return list(
        simulated(TRIALS, shapes, images=(60, 300), accuracies=(0.1, 0.5, 0.8), interval=interval)  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_intervals_cover_the_accuracy_over_all_images_and_noise() -> None:
    """Within 93 to 98 %, and three standard errors of the trials."""
    errors = 3 * sqrt(0.95 * 0.05 / TRIALS)
    for cell in small():
        assert LOW - errors / 2 <= cell.in_band <= HIGH + errors / 2, cell
        assert cell.draws == 1 or LOW - errors / 2 <= cell.coverage <= HIGH + errors / 2, cell


@pytest.mark.slow
def test_an_interval_of_as_many_images_that_are_certain_covers_too_much() -> None:
    """Wilson's for right or wrong images alone: the bound above bites."""

    def certain(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        right = np.arange(each.shape[-1]) < np.rint(each.sum(axis=-1, keepdims=True))
        return wilson_interval(rng.permuted(right.astype(float), axis=-1))

    cells = [c for c in small(certain, ("Beta, concentration 2",)) if c.draws > 1]
    assert len(cells) == 12 and min(c.coverage for c in cells) > 0.985


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_the_accuracy_that_they_are_asked_for(shape: str) -> None:
    rng = np.random.default_rng(0)
    for p in (0.05, 0.5, 0.99):
        found = SHAPES[shape](rng, np.full(40_000, p))
        assert (
            found.mean() == pytest.approx(p, abs=4 * sqrt(p * (1 - p) / 40_000))
            and 0 <= found.min() <= found.max() <= 1
        )


@pytest.mark.slow
def test_a_network_is_its_own_truth() -> None:
    network, x = on_features(0.3), (255 * images(40)).astype(np.uint8)
    test = Split(x, predicted(network, x / np.float32(255)).astype(np.int64))
    rows = list(trained(network, test, 20, 300))
    truth = {row[0] for row in rows}
    assert len(truth) == 1 and 0.4 < truth.pop() < 0.99
    assert all(0.9 < coverage <= 1 for *_, images, coverage in rows if images >= 200)


@pytest.mark.slow
def test_intervals_cover_the_accuracy_over_images_and_shared_draws() -> None:
    """At least 93 % of 1,000 trials, and two standard errors; over images alone they cover half as often."""
    asked = {"images": (64, 160), "accuracies": (0.5, 0.9), "spreads": ((1.0, 1.5), (3.0, 0.5))}
    least = LOW - 2 * sqrt(LOW * (1 - LOW) / TRIALS)
    found = list(shared(TRIALS, **asked))  # type: ignore[arg-type]
    assert len(found) == 8 and all(coverage >= least for *_, coverage in found), found
    alone = list(shared(100, **asked | {"spreads": ((1.0, 1.5),)}, interval=over_images_alone))  # type: ignore[arg-type]
    assert all(coverage < 0.75 for *_, coverage in alone), alone
