"""The accuracy over eps from one attack: by hand, of certain images and of shares of draws."""

from math import inf

import numpy as np
import pytest
from small_networks import images, linear, predicted

from npsnn import attacks
from npsnn.attacks.curve import as_json
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.results import Result


def result(clean: list[float], right: list[float], size: list[float], eps: float = inf) -> Result:
    x = np.zeros((len(clean), 1, 2, 2))
    return Result(
        "fmn", "l2", eps, Accuracy(np.array(right)), "expectation", 1, 0.0, 0, 0, x, {"kappa": 0.5},
        np.array(size), clean=np.array(clean),
    )  # fmt: skip


def test_an_image_is_lost_from_its_own_distance_on() -> None:
    """One that is misread anyway is lost from 0 on, one that is never misread is kept, two are lost at a time."""
    found = attacks.curve(result([1, 1, 1, 0, 1], [0, 0, 0, 0, 1], [0.3, 0.1, 0.3, 0.0, 0.0]))
    np.testing.assert_array_equal(found.eps, [0, 0.1, 0.3])
    np.testing.assert_allclose(found.mean, [0.8, 0.6, 0.2])
    for eps, wanted in ((0, 0.8), (0.0999, 0.8), (0.1, 0.6), (0.2, 0.6), (0.3, 0.2), (9.0, 0.2)):
        assert found.at(eps).mean == pytest.approx(wanted)
    low, high = found.ci95
    assert (low < found.mean).all() and (high > found.mean).all()
    assert found.at(0.1).ci95 == (low[1], high[1])


def test_of_a_network_with_noise_the_shares_of_the_draws_count() -> None:
    found = attacks.curve(result([0.9, 0.8, 0.5], [0.4, 0.3, 0.5], [0.2, 0.1, 0.4]))
    np.testing.assert_array_equal(found.eps, [0, 0.1, 0.2])
    np.testing.assert_allclose(found.mean, [2.2 / 3, 1.7 / 3, 1.2 / 3])


def test_the_curve_is_the_accuracy_at_every_eps() -> None:
    """As if the images beyond each eps had not been found."""
    network, x = linear(sigma=0.0), images(40)
    labels = predicted(network, x)
    labels[:5] = (labels[:5] + 1) % 3
    (r,) = attacks.robust_accuracy(network, x, labels, [attacks.FMN(norm="l2", steps=100)])
    found = attacks.curve(r)
    assert r.size is not None and found.at(0).mean == 35 / 40 and found.mean[-1] == 0 and len(found.eps) == 36
    for eps in np.linspace(0, 1.2 * r.size.max(), 13):
        within = np.where((r.size <= eps)[:, None, None, None], r.x_adv, x)
        assert found.at(eps).mean == pytest.approx((predicted(network, within) == labels).mean())
    (again,) = attacks.robust_accuracy(network, x, labels, [attacks.FAB(0.03, "l2")])
    assert abs(again.accuracy.mean - found.at(0.03).mean) < 0.05


def test_as_json_it_has_every_step() -> None:
    found = as_json(attacks.curve(result([1, 1], [0, 1], [0.3, 0.0])))
    assert {name: found[name] for name in ("attack", "norm", "kappa", "eps", "accuracy")} == {
        "attack": "fmn", "norm": "l2", "kappa": 0.5, "eps": [0.0, 0.3], "accuracy": [1.0, 0.5],
    }  # fmt: skip
    assert len(found["low"]) == len(found["high"]) == 2


def test_what_makes_no_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="the result must be of an attack without a radius, such as FMN, got fmn"):
        attacks.curve(result([1], [0], [0.1], eps=0.3))
    unknown = result([1], [0], [0.1])
    object.__setattr__(unknown, "clean", None)
    with pytest.raises(ValueError, match="must have the sizes and the clean accuracy"):
        attacks.curve(unknown)
    with pytest.raises(ValueError, match="eps must be >= 0, got -1"):
        attacks.curve(result([1], [0], [0.1])).at(-1)
