"""The networks whose gradients transfers take: how accurate each is by itself."""

from dataclasses import dataclass, field

import numpy as np

from npsnn.attacks.judging import Accuracy, Judging, accuracy
from npsnn.attacks.targets import NetworkTarget


@dataclass(frozen=True)
class Surrogates:
    """The clean accuracy of surrogates, each measured once.

    x: images (N, C, H, W).
    labels: (N,).
    judging: as attacks on these images are judged; a surrogate has its own noise.
    """

    x: np.ndarray
    labels: np.ndarray
    judging: Judging
    _found: dict[tuple[int, bool, int], Accuracy] = field(default_factory=dict)

    def of(self, target: NetworkTarget) -> Accuracy | None:
        """The accuracy of the target's surrogate; None of a target that has its gradients from the attacked network."""
        if target.attacked is None:
            return None
        other = target.classifier
        key = id(other.params), other.noise_off, other.average
        if key not in self._found:
            self._found[key] = accuracy(other, self.x, self.labels, self.judging.draws, self.judging.seed)
        return self._found[key]
