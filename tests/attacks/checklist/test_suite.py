"""The settings of the checklist."""

from math import inf
from typing import Any

import pytest

from npsnn.attacks.checklist.checklist import Checklist


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
        ({"ladder": (0.1,)}, r"ladder must hold at least two rising radii > 0 and at most 1, got \(0.1,\)"),
        ({"ladder": (0.2, 0.1)}, "ladder must hold at least two rising radii"),
        ({"ladder": (0.0, 0.1)}, "ladder must hold at least two rising radii"),
        ({"ladder": (0.1, inf)}, "ladder must hold at least two rising radii"),
        ({"sigma": -1.0}, "sigma must be >= 0"),
        ({"average": 0}, "average must be >= 1, got 0"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Checklist(**options)
