"""Plans that cannot be carried out are refused by name."""

from typing import Any

import pytest

from npsnn.attacks.evaluation import Plan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ("fgsm", "cw")}, "attack must be one of fgsm, bim, .*got 'cw'"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"restarts": 0}, "restarts must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"eot": -1}, "eot must be >= 0, got -1"),
        ({"eps": (0.1, -0.1)}, "eps must be >= 0 and finite, got -0.1"),
        ({"norm": "l1"}, "norm must be one of linf, l2, got 'l1'"),
        ({"objective": "hinge"}, "objective"),
        ({"propagation": "clark"}, "propagation"),
        ({"sigma": -0.1}, "sigma must be >= 0 and finite, got -0.1"),
        ({"sigma": float("nan")}, "sigma must be >= 0 and finite, got nan"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Plan(**options)
    assert "\n" not in str(caught.value)
