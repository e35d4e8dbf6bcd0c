"""Which attack an image meets in the worst case: the strongest, unless another is surely stronger on that image."""

import numpy as np
import pytest

from npsnn import models
from npsnn.attacks import evaluation
from npsnn.attacks.evaluation import Result, worst_case
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.plan import Plan
from npsnn.classifier import Classifier
from npsnn.models import Model


def result(each: list[float], mark: float) -> Result:
    """An attack whose images are all `mark`, with these accuracies."""
    x_adv = np.full((len(each), 1, 28, 28), mark, np.float32)
    return Result("fgsm", "linf", 0.1, Accuracy(np.array(each)), "sampled", 1, 0.0, 0, 0, x_adv)


@pytest.mark.parametrize(
    ("sigma", "chosen"),
    # by luck: 0.5 against 0.4 of ten draws; surely: 0.9 against 0.1. Without noise there is no luck.
    [(0.6, [1, 1, 2, 1]), (0.0, [2, 1, 2, 1])],
)
def test_luck_does_not_choose(monkeypatch: pytest.MonkeyPatch, sigma: float, chosen: list[int]) -> None:
    model: Model = models.lenet5(sigma=sigma)
    network = Classifier(model, model.init(np.random.default_rng(0)))
    seen: list[np.ndarray] = []

    def judged(network: Classifier, x_adv: np.ndarray, *rest: object) -> Accuracy:
        seen.append(x_adv[:, 0, 0, 0])
        return Accuracy(np.zeros(len(x_adv)))

    monkeypatch.setattr(evaluation, "accuracy", judged)
    strong, weak = result([0.5, 0.0, 0.9, 0.5], 1), result([0.4, 1.0, 0.1, 0.6], 2)
    for order in ([strong, weak], [weak, strong]):
        worst_case(network, np.zeros(4, int), order, Plan(draws=10))
    np.testing.assert_array_equal(seen, [chosen, chosen])
