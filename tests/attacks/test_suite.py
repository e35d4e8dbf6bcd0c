"""The settings of the checklist, and the differences by which it decides."""

from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from npsnn.attacks.suite import Checklist, Difference


def test_differences_are_paired_over_images() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(100)
    more, less = easy + 0.1, easy + 0.02 * rng.standard_normal(100)
    found = Difference.of(more, less)
    assert found.mean == pytest.approx((more - less).mean())
    assert found.error == pytest.approx((more - less).std(ddof=1) / 10)
    assert found.surely() and not Difference.of(less, more).surely()
    assert Difference(0.2, 0.1).surely(1.9) and not Difference(0.2, 0.1).surely(2.1)
    assert not Difference.of(easy, easy).surely()
    assert Difference.of(np.ones(1), np.zeros(1)) == Difference(1.0, inf) and not Difference(1.0, inf).surely()


def test_a_sure_difference_is_rare_where_there_is_none() -> None:
    """One-sided, two standard errors: 2.3 % of trials, here of 2,000 within five standard errors."""
    rng = np.random.default_rng(1)
    pairs = rng.binomial(10, 0.5, (2000, 2, 200)) / 10
    rate, expected = np.mean([Difference.of(*pair).surely() for pair in pairs]), norm.sf(2)
    assert abs(rate - expected) < 5 * sqrt(expected * (1 - expected) / 2000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, "eps must be > 0 and finite, got 0.0"),
        ({"eps": inf}, "eps must be > 0 and finite, got inf"),
        ({"eps": "8/255"}, "eps must be of the type float"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"eot": 0}, "eot must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"samples": 0}, "samples must be >= 1, got 0"),
        ({"pixels": ()}, "pixels must hold at least one"),
        ({"population": 4}, "population must be >= 5, got 4"),
        ({"ladder": (0.1,)}, r"ladder must hold at least two rising radii > 0, got \(0.1,\)"),
        ({"ladder": (0.2, 0.1)}, "ladder must hold at least two rising radii"),
        ({"ladder": (0.0, 0.1)}, "ladder must hold at least two rising radii"),
        ({"ladder": (0.1, inf)}, "ladder must hold at least two rising radii"),
        ({"sigma": -1.0}, "sigma must be >= 0"),
        ({"average": 0}, "average must be a whole number >= 1, got 0"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Checklist(**options)
