"""What an attacker takes the gradient of: the expectation network, the sampled network, or the closed form.

All three are `target(x, labels, stream) -> (loss, gradient)`. The objective is part of the target, because the
expectation over transformations averages the gradients of the losses, not the loss of averaged logits.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from npsnn.classifier import Classifier, named
from npsnn.moments import EXPECTATION, Noise, Propagated, Sampled
from npsnn.objectives import OBJECTIVES, Objective, cross_entropy, mse, win_probability
from npsnn.ops.gaussian import RULES, Rule
from npsnn.streams import Stream


class Target(Protocol):
    """What an attack ascends: x (N, C, H, W) in [0, 1] and labels (N,) -> the loss (N,) and its gradient, like x.

    passes: forward and backward passes for one gradient.
    """

    @property
    def passes(self) -> int: ...

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class NetworkTarget:
    """A network and the objective to ascend on it.

    kind: "expectation" switches the noise off; "sampled" averages over `draws` draws of the noise (EoT); "closed-form"
    propagates its variance by `rule`, one pass for the whole distribution.
    """

    classifier: Classifier
    kind: str
    objective: Objective
    draws: int = 1
    rule: Rule = RULES["exact"]

    @property
    def passes(self) -> int:
        """Forward and backward passes for one gradient."""
        return self.draws if self.kind == "sampled" else 1

    def __call__(self, x: np.ndarray, labels: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        """Loss (N,) of each image and its gradient, of the shape of x: the means over the draws.

        x: (N, C, H, W) in [0, 1], one micro-batch; `stream` is keyed by sample, from the first of them on.
        """
        noises = self._noises(stream)
        loss, gradient = self._one(x, labels, noises[0])
        for noise in noises[1:]:
            more_loss, more_gradient = self._one(x, labels, noise)
            loss, gradient = loss + more_loss, gradient + more_gradient
        return loss / len(noises), gradient / len(noises)

    def _one(self, x: np.ndarray, labels: np.ndarray, noise: Noise) -> tuple[np.ndarray, np.ndarray]:
        return self.classifier.loss_gradient(x, labels, noise, self.objective)

    def _noises(self, stream: Stream) -> list[Noise]:
        if self.kind == "expectation":
            return [EXPECTATION]
        if self.kind == "closed-form":
            return [Propagated(self.rule)]
        return [Sampled(stream.at("draw", d)) for d in range(self.draws)]


def expectation(classifier: Classifier, objective: str | Objective = "cross-entropy") -> NetworkTarget:
    """The network without its noise."""
    return NetworkTarget(classifier, "expectation", named(OBJECTIVES, objective, "objective"))


def sampled(classifier: Classifier, draws: int, objective: str = "cross-entropy") -> NetworkTarget:
    """Expectation over transformations: the mean gradient over `draws` fresh draws at every step (A2SNN Sec. 4.1)."""
    if draws < 1:
        raise ValueError(f"draws must be >= 1, got {draws}")
    return NetworkTarget(classifier, "sampled", named(OBJECTIVES, objective, "objective"), draws)


def closed_form(classifier: Classifier, objective: str | None = None, propagation: str = "exact") -> NetworkTarget:
    """The noise paper's adaptive attack: the gradient of a closed-form objective of the randomised network.

    propagation: "exact" carries the moments of extensions E1 and E2, "laplace" is the paper's own rule. objective: by
    default the cross-entropy of the exact mean; under "laplace" and "linear", whose mean is the mean without noise, the
    noise-aware loss. An objective that asks for the mean alone makes the expectation target there, and is called so.
    Source: noise paper Sec. 4, Eq. 10, with the derived gradient (audit N34-N37).
    """
    rule = named(RULES, propagation, "propagation")
    ascended = named(OBJECTIVES, objective or ("cross-entropy" if rule.mean_uses_var else "noise-aware"), "objective")
    if ascended is win_probability and not classifier.sigma:
        raise ValueError("the win-probability objective needs noise: sigma must be > 0, got 0")
    if not rule.mean_uses_var and ascended in (mse, cross_entropy):
        return expectation(classifier, ascended)
    return NetworkTarget(classifier, "closed-form", ascended, rule=rule)
