"""The reasons to read a number with care, in words."""

import numpy as np
import pytest

from npsnn.attacks.judging import Accuracy
from npsnn.attacks.results import Result
from npsnn.runs.caveats import of_rounding


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ([1.0, 1.0, 1.0, 1.0], "an all-zero gradient on 2 of 4 images: the attack is weaker"),
        ([0.0, 1.0, 0.0, 0.0], "an all-zero gradient on 2 of 4 images, 1 of which are misread: the attack is weaker"),
        ([0.0, 0.0, 1.0, 1.0], "an all-zero gradient on 2 of 4 images, 2 of which are misread: the attack is weaker"),
    ],
)
def test_zero_gradients_say_how_many_images_are_misread_all_the_same(right: list[float], said: str) -> None:
    met, x = np.array([True, True, False, False]), np.zeros((4, 1, 28, 28))
    found = Result("fgsm", "linf", 0.1, Accuracy(np.array(right)), "sampled", 1, 0.0, 2, 0, x, met_zero=met)
    (caveat,) = found.caveats
    assert caveat.code == "zero-gradients" and caveat.text.startswith(said)


def test_what_went_on_elsewhere_says_so() -> None:
    assert of_rounding(False) == []
    assert [caveat.code for caveat in of_rounding(True)] == ["other-rounding"]
