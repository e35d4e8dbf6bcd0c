"""What is measured beside attacks, once for all that have it in common: surrogates, and how far draws settle signs."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from npsnn.attacks.base import ask, in_place
from npsnn.attacks.judging import Accuracy, Judging, accuracy, each_part
from npsnn.attacks.targets import NetworkTarget
from npsnn.backend import Array, namespace, to_host
from npsnn.classifier import Classifier
from npsnn.streams import Stream


@dataclass(frozen=True)
class Halves:
    """The share of wrong signs between two halves of the draws of a gradient, as a job that workers can be handed.

    Each half is a gradient averaged over half of the target's draws. The share is that of the pixels, among those with
    a gradient, whose sign is not the same in both. Two gradients that are noise alone have a share of 1/2. Where the
    sign of one half is wrong with probability p, the share is 2 p (1 - p): a share of 1/3 is a p of 0.21.

    target: one that averages over two draws or more.
    """

    on_device: ClassVar[bool] = True
    target: NetworkTarget

    def __call__(self, x: Array, labels: Array, stream: Stream) -> np.ndarray:
        x, labels = in_place(self, self.target, x, labels)
        half = replace(self.target, draws=self.target.draws // 2)
        (_, one), (_, two) = (half(x, labels, stream.at("half", n)) for n in range(2))
        xp = namespace(one)
        signs = xp.sign(one.reshape(len(x), -1)), xp.sign(two.reshape(len(x), -1))
        some = xp.maximum(((signs[0] != 0) | (signs[1] != 0)).sum(axis=1), 1)
        return np.asarray(to_host((signs[0] != signs[1]).sum(axis=1) / some))


def halved(attack: Any, target: Any) -> bool:
    """Whether an attack's gradients are averages over draws, of which there are two halves."""
    return not ask(attack, "forward_only") and getattr(target, "kind", "") == "sampled" and target.draws > 1


@dataclass(frozen=True)
class Beside:
    """What is measured beside attacks on some images, each once.

    x: images (N, C, H, W), without an attack.
    labels: (N,).
    judging: as the attacks are judged. A surrogate has its own noise.
    """

    x: np.ndarray
    labels: np.ndarray
    judging: Judging
    _known: dict[Any, Any] = field(default_factory=dict)

    def of(self, attack: Any, target: NetworkTarget) -> dict[str, Any]:
        """The fields of a `Result` that are measured here.

        The surrogate and wrong_signs, None where there is none, and whether the judged network answers with
        probabilities.
        """
        other = target.classifier
        found: dict[str, Any] = {"surrogate": None, "wrong_signs": None}
        key = (id(other.params), other.noise_off, other.average, other.answer)
        found["probabilities"] = self._once(id(target.judged.params), lambda: self._probabilities(target.judged))
        if target.attacked is not None:
            found["surrogate"] = self._once(key, lambda: self._accuracy(other))
        if halved(attack, target):
            plain = target.unaimed
            drawn = *key, plain.draws, plain.objective
            found["wrong_signs"] = self._once(drawn, lambda: self._signs(plain))
        return found

    def _once(self, key: Any, measure: Any) -> Any:
        if key not in self._known:
            self._known[key] = measure()
        return self._known[key]

    def _accuracy(self, network: Classifier) -> Accuracy:
        return accuracy(network, self.x, self.labels, self.judging.draws, self.judging.stream)

    def _probabilities(self, network: Classifier) -> bool:
        answers = network.predict(self.x[: network.micro_batch])
        return bool((answers >= 0).all() and np.allclose(answers.sum(axis=1), 1, atol=1e-3))

    def _signs(self, target: NetworkTarget) -> np.ndarray:
        stream = self.judging.stream.at("signs")
        return np.concatenate(each_part(target.classifier, Halves(target), self.x, self.labels, stream))
