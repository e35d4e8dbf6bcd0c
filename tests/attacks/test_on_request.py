"""Plans with C&W, One-Pixel and random search: what their results say, for any threads and micro-batches."""

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, linear, predicted

from npsnn.attacks.evaluation import run
from npsnn.attacks.judging import Accuracy, accuracy
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.plan import Plan, evaluate
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.results import Result
from npsnn.attacks.targets import expectation, sampled
from npsnn.cli.attack_rows import Rows
from npsnn.streams import Stream

X = images(10).astype(np.float32)
ON_REQUEST = ("random", "one-pixel", "adaptive-one-pixel", "cw", "adaptive-cw")
SMALL = Plan(
    attacks=ON_REQUEST,
    eps=(0.2,),
    eot=2,
    draws=4,
    samples=6,
    pixels=(1, 2),
    population=20,
    generations=3,
    kappa=(0.0, 0.5),
    cw_steps=20,
    cw_searches=4,
)


def test_a_plan_is_worked_through() -> None:
    network, done = convolutional(), list[int]()
    labels = predicted(network, X)
    results = list(evaluate(network, X, labels, SMALL, done.append))
    assert [(r.attack, r.norm, r.eps, r.kappa) for r in results] == [
        ("random", "linf", 0.2, None),
        ("one-pixel", "l0", 1, None),
        ("adaptive-one-pixel", "l0", 1, None),
        ("one-pixel", "l0", 2, None),
        ("adaptive-one-pixel", "l0", 2, None),
        ("cw", "l2", inf, 0.0),
        ("adaptive-cw", "l2", inf, 0.0),
        ("cw", "l2", inf, 0.5),
        ("adaptive-cw", "l2", inf, 0.5),
    ]
    assert sum(done) == 10 * len(results), "the control is no attack of its own"
    assert [r.gradient_passes for r in results] == [24, *[160, 80] * 2, *[160, 80] * 2]
    for r in results:
        assert r.x_adv.dtype == np.float32 and r.x_adv.min() >= 0 and r.x_adv.max() <= 1
        assert r.size is not None and r.size.max() <= r.eps + 1e-6
        assert (r.control is not None) == (r.attack == "random")
        assert r.zero_gradients == r.bad_gradients == 0
    cw = results[-1]
    assert cw.size is not None
    np.testing.assert_allclose(cw.size, np.sqrt(((cw.x_adv - X) ** 2).sum(axis=(1, 2, 3))), rtol=1e-5)
    assert cw.accuracy.mean < accuracy(network, X, labels).mean


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_REQUEST)
def test_results_do_not_depend_on_threads_or_micro_batches(name: str) -> None:
    labels = predicted(convolutional(), X)
    plan = replace(SMALL, attacks=(name,), pixels=(2,), kappa=(0.3,))
    first, *others = (
        next(evaluate(replace(convolutional(micro_batch=size), threads=threads), X, labels, plan))
        for threads, size in ((1, 64), (2, 64), (3, 3), (2, 1))
    )
    assert first.x_adv.tobytes() == others[0].x_adv.tobytes()
    for other in others:
        np.testing.assert_allclose(other.x_adv, first.x_adv, atol=1e-6)
        np.testing.assert_array_equal(other.accuracy.each, first.accuracy.each)
        assert (other.misread_once, other.control) == (first.misread_once, first.control)


def test_one_pixel_takes_images_one_at_a_time() -> None:
    """So that few images keep all threads busy, and progress is seen."""
    network, done = convolutional(), list[int]()
    run(
        "one-pixel",
        OnePixel(1, 5, 1),
        sampled(network, 1),
        X,
        predicted(network, X),
        1,
        Stream(0),
        progress=done.append,
    )
    assert done == [1] * 10


def test_random_search_is_compared_with_trying_the_clean_image() -> None:
    """Noise misreads most of these images in some of 60 tries, perturbed or not."""
    network = linear(sigma=0.6)
    labels = predicted(network, X)
    plan = replace(SMALL, attacks=("random",), eps=(0.0, 0.4), samples=60, draws=1)
    still, moved = evaluate(network, X, labels, plan)
    assert still.control == still.misread_once >= 6, "without a ball the search is its own control"
    np.testing.assert_array_equal(still.x_adv, X)
    assert moved.control == pytest.approx(still.misread_once, abs=3)
    quiet = next(evaluate(network, X, labels, replace(plan, eps=(0.4,), sigma=0.0)))
    assert quiet.control == 0 and quiet.misread_once == round(10 * (1 - quiet.accuracy.mean))


def result(each: list[float], size: list[float], clean: list[float] | None = None) -> Result:
    x_adv = np.zeros((len(each), 1, 1, 1))
    about: Any = ("cw", "l2", inf, Accuracy(np.array(each)), "expectation", 1, 0.0, 0, 0, x_adv)
    return Result(*about, size=np.array(size), clean=None if clean is None else np.array(clean))


def test_success_and_distances_are_of_the_images_that_fresh_noise_misreads() -> None:
    r = result([0.0, 0.5, 0.6, 0.2, 1.0], [1.0, 5.0, 100.0, 3.0, 0.0])
    np.testing.assert_array_equal(r.success, [True, True, False, True, False])
    assert r.distances == (3.0, 3.0)
    assert result([0.0, 0.5, 0.1], [1.0, 5.0, 0.0]).distances == (1.0, 2.0)
    assert result([0.7, 1.0], [1.0, 5.0]).distances is None


def test_distances_are_of_the_images_that_are_right_without_an_attack() -> None:
    r = result([0.0, 0.1, 0.2, 1.0], [0.0, 2.0, 4.0, 9.0], clean=[0.5, 0.6, 1.0, 1.0])
    assert r.distances == (3.0, 3.0)
    assert r.misread_anyway.tolist() == [True, False, False, False] and r.moved.tolist() == [False, True, True, False]
    assert result([0.0, 0.1], [0.0, 0.0], clean=[0.1, 0.2]).distances is None
    by_chance = result([0.4, 0.1, 0.8], [0.0, 2.0, 0.0], clean=[0.6, 1.0, 1.0])
    assert by_chance.distances == (2.0, 2.0), "fresh draws misread the clean image that the attack returned"
    assert by_chance.misread_anyway.tolist() == [True, False, False]
    assert not result([0.0], [1.0]).misread_anyway.any(), "it is not known"


@pytest.mark.parametrize("name", ["cw", "adaptive-cw"])
def test_an_image_that_is_misread_anyway_is_at_no_distance(name: str) -> None:
    """Half of the labels are wrong: C&W returns these images as they are."""
    network = linear(sigma=0.01)
    labels = predicted(network, X)
    labels[:5] = (labels[:5] + 1) % 3
    (found,) = evaluate(network, X, labels, replace(SMALL, attacks=(name,), kappa=(0.0,), cw_steps=60))
    assert found.size is not None and found.distances is not None
    assert found.success.sum() > 6 and (found.size[:5] == 0).all()
    assert found.distances[0] == np.median(found.size[5:][found.success[5:]]) > 0
    assert found.misread_anyway.tolist() == [True] * 5 + [False] * 5


def test_the_table_counts_the_images_that_are_misread_anyway(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Rows(replace(SMALL, attacks=("cw",)).made(), shown=True)
    capsys.readouterr()
    found = replace(result([0.0, 0.0, 1.0], [0.0, 2.0, 9.0], clean=[0.2, 1.0, 1.0]), says={"kappa": 0.0})
    rows.row(found, 3, lambda row: None)
    (entry,) = rows.rows
    assert (entry["misread_anyway"], entry["moved"], entry["median_distance"]) == (1, 1, 2.0)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "1 of 3 images are misread without an attack; the distances are of the other 1 that are misread under it"
        in said
    )


def test_what_the_attack_saw_misread_is_counted() -> None:
    network = linear(sigma=0.0)
    labels = predicted(network, X)
    labels[:3] = (labels[:3] + 1) % 3
    attack = RandomSearch(0.0, samples=2)
    assert run("random", attack, expectation(network), X, labels, 1, Stream(0)).misread_once == 3


@pytest.mark.slow
@pytest.mark.usefixtures("same_draws")
def test_on_the_gpu() -> None:
    """Of the same draws the double makes the same images."""
    network, x = convolutional(), X.astype(np.float64)
    labels = predicted(network, x)
    plan = replace(SMALL, pixels=(2,), kappa=(0.3,), cw_steps=5, generations=2)
    for ours, theirs in zip(
        evaluate(network.to("cuda"), x, labels, plan), evaluate(network, x, labels, plan), strict=True
    ):
        np.testing.assert_allclose(ours.x_adv, theirs.x_adv, atol=1e-8)
        np.testing.assert_array_equal(ours.accuracy.each, theirs.accuracy.each)


@pytest.mark.parametrize("seed", range(4))
def test_the_control_of_random_search_meets_the_same_noise(seed: int) -> None:
    """Few tries, so that other draws would misread another number of images."""
    network = linear(sigma=0.6)
    plan = replace(SMALL, attacks=("random",), eps=(0.0,), samples=3, draws=1, seed=seed)
    (still,) = evaluate(network, np.repeat(X, 6, axis=0), np.repeat(predicted(network, X), 6), plan)
    assert still.control == still.misread_once
    assert 0 < still.misread_once < 60
