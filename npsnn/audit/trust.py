"""How far the closed form of a network can be trusted: its answers against draws, and one sentence."""

from dataclasses import dataclass

import numpy as np

from npsnn.audit.card import Floats
from npsnn.objectives import sobol_normal

POINTS = 4096
"""Sobol points for a probability: their error is below that of the draws."""

NEAR_MEAN, NEAR_WIDTH, NEAR_ANSWER = 0.25, 0.25, 0.03
"""The largest errors that count as near: of the mean in standard deviations, of the width, of a probability."""


def probability_right(mean: Floats, v: Floats, k: int) -> float:
    """P(Y_k > Y_i for all i ≠ k) for Gaussian logits.

    mean: means of the logits, (classes,).
    v: their variances (classes,), for independent logits, or their covariance (classes, classes).
    k: the label.
    """
    if v.ndim == 1:
        factor = np.diag(np.sqrt(v))
    else:
        values, vectors = np.linalg.eigh(v)
        factor = vectors * np.sqrt(np.maximum(values, 0))
    logits = mean[:, None] + factor @ sobol_normal(len(mean), POINTS).T
    return float(np.mean(logits.argmax(axis=0) == k))


@dataclass(frozen=True)
class Logits:
    """The errors at the logits of the rule that attacks take.

    rule: name of the rule.
    mean_error: root mean square error of the mean, over the root mean square of the drawn standard deviations.
    sd_ratio: root mean square of the standard deviations, over that of the drawn ones.
    right_error: mean error of the probability of a correct answer.
    quiet_error: mean_error of the network without noise.
    mean_floor: mean_error that a perfect rule would show.
    right_floor: right_error that a perfect rule would show.
    gaussian: whether the noise is such that the closed form is exact by derivation.
    """

    rule: str
    mean_error: float
    sd_ratio: float
    right_error: float
    quiet_error: float
    mean_floor: float
    right_floor: float
    gaussian: bool

    @property
    def sentence(self) -> str:
        """How far the closed form can be trusted on this network, in one sentence."""
        if self.gaussian:
            return "The closed form is exact: noise in the last layer alone makes the logits Gaussian."
        width = abs(self.sd_ratio - 1)
        if self.mean_error < 3 * self.mean_floor and width < 0.05 and self.right_error < 3 * self.right_floor + 1e-3:
            return f"The closed form (rule {self.rule}) cannot be told from the draws: trust its moments and answers."
        answers = self.right_error <= NEAR_ANSWER
        if self.mean_error <= NEAR_MEAN and width <= NEAR_WIDTH and answers:
            return f"The closed form (rule {self.rule}) is near the draws: trust its answers, its moments to a quarter."
        found = f"the mean errs by {self.mean_error:.2f} drawn deviations, {self.quiet_error:.2f} without noise"
        wide = f"the width is {self.sd_ratio:.2f} of the drawn one"
        if self.mean_error < self.quiet_error:
            return (
                f"Trust the mean of the closed form (rule {self.rule}) as a guide for attacks, not its probabilities: "
                f"{found}, and {wide}."
            )
        return f"Do not trust the closed form (rule {self.rule}), and draw the noise instead: {found}, and {wide}."
