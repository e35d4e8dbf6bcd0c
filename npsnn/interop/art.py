"""npsnn's networks in the Adversarial Robustness Toolbox (ART): its attacks take a network through `estimator`."""

from types import new_class
from typing import Any, ClassVar

import numpy as np

from npsnn.classifier import Classifier
from npsnn.inputs import as_labels
from npsnn.interop import needed
from npsnn.interop.answers import Answers
from npsnn.layers.moments import Moments
from npsnn.objectives import cross_entropy
from npsnn.ops.loss import one_hot
from npsnn.streams import Randomness
from npsnn.validate import check_choice

EXTRA = "art"
"""The extra of npsnn that installs the toolbox."""


def estimator(network: Classifier, rng: Randomness = 0, probabilities: bool = False) -> Any:
    """Make an ART estimator of an npsnn network: a classifier with gradients of the loss and of each class.

    network: the network. Each call of a method is a fresh draw of its noise; `network.averaging(10)` answers by the
        mean of ten draws, and `network.with_sigma(0)` without noise.
    rng: source of randomness. The same calls in the same order have the same noise.
    probabilities: whether `predict` and `class_gradient` are of softmax probabilities instead of logits.
    Images are float32 (n, C, H, W) in [0, 1]. The estimator is not trained: `fit` raises NotImplementedError.
    Raises ImportError without ART, TypeError for what is no network.
    """
    asked = Answers.of(network, rng)
    classification = needed("art.estimators.classification.classifier", EXTRA)
    estimators = needed("art.estimators.estimator", EXTRA)
    mixins = (classification.ClassGradientsMixin, classification.ClassifierMixin, estimators.LossGradientsMixin)
    bases = (Estimator, *mixins, estimators.NeuralNetworkMixin, estimators.BaseEstimator)
    made: Any = new_class("Estimator", bases, exec_body=lambda names: names.update(_params(estimators.BaseEstimator)))
    found = made.__new__(made)
    estimators.BaseEstimator.__init__(found, model=network, clip_values=(0.0, 1.0))
    found.asked, found.probabilities, found._channels_first = asked, probabilities, True
    found.nb_classes = network.model.classes
    return found


def _params(base: Any) -> dict[str, Any]:
    return {"estimator_params": [*base.estimator_params, "nb_classes"], "__module__": __name__}


def _logit(m: Moments, labels: np.ndarray) -> tuple[np.ndarray, Moments]:
    """The logit of each label, (N,), as an objective."""
    hot = one_hot(m.mean, labels)
    return (m.mean * hot).sum(axis=0), Moments(hot)


def _probability(m: Moments, labels: np.ndarray) -> tuple[np.ndarray, Moments]:
    """The probability p of each label, (N,), as an objective, whose cotangent is p (1[k = label] - p_k)."""
    hot, each = one_hot(m.mean, labels), _softmax(m.mean)
    own = (each * hot).sum(axis=0)
    return own, Moments(own * (hot - each))


def _softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)


class Estimator:
    """An npsnn network as ART's attacks ask it: the methods of a classifier with gradients."""

    asked: Answers
    probabilities: bool
    REFUSAL: ClassVar[str] = "an npsnn network is trained and saved by npsnn"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One image, (C, H, W)."""
        return self.asked.network.model.shape

    def predict(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> np.ndarray:
        """Logits (n, classes) under a fresh draw; probabilities, where the estimator is made for them.

        x: images (n, C, H, W).
        batch_size: ignored, as other arguments are; npsnn has its own.
        """
        z = self.asked.logits(x, self.asked.next())
        return np.ascontiguousarray(_softmax(z.T).T) if self.probabilities else z

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, **kwargs: Any) -> np.ndarray:
        """The gradient of the cross-entropy under a fresh draw, float32 like x.

        x: images (n, C, H, W).
        y: classes (n,), or one-hot (n, classes).
        """
        return self._gradient(x, self._labels(y, len(x)), cross_entropy)

    def class_gradient(self, x: np.ndarray, label: Any = None, **kwargs: Any) -> np.ndarray:
        """The gradients of what `predict` returns, under one fresh draw, float32 (n, classes, C, H, W).

        x: images (n, C, H, W).
        label: None for all classes; one class for all images, or a class for each, whose gradients are (n, 1, C, H, W).
        """
        classes, call = self.asked.network.model.classes, self.asked.next()
        of = _probability if self.probabilities else _logit
        if label is None:
            each = [np.full(len(x), k) for k in range(classes)]
        else:
            given = np.asarray(label)
            each = [np.full(len(x), given) if given.size == 1 else given.reshape(-1)]
        checked = [as_labels(labels, len(x), classes) for labels in each]
        return np.stack([self._gradient(x, labels, of, call) for labels in checked], axis=1)

    def compute_loss(self, x: np.ndarray, y: np.ndarray, reduction: str = "none", **kwargs: Any) -> np.ndarray:
        """The cross-entropy of each image under a fresh draw, (n,); its "mean" or "sum" where reduction says so."""
        check_choice("reduction", reduction, ("none", "mean", "sum"))
        z = self.asked.logits(x, self.asked.next())
        values, _ = cross_entropy(Moments(z.T.astype(np.float64)), self._labels(y, len(x)))
        return np.asarray({"none": values, "mean": values.mean(), "sum": values.sum()}[reduction])

    def fit(self, x: np.ndarray, y: np.ndarray, **kwargs: Any) -> None:
        """Refused."""
        raise NotImplementedError(self.REFUSAL)

    def get_activations(self, x: np.ndarray, layer: Any, batch_size: int = 128, framework: bool = False) -> np.ndarray:
        """Refused."""
        raise NotImplementedError("an npsnn network tells its logits and no activations")

    def _labels(self, y: np.ndarray, count: int) -> np.ndarray:
        """The classes that y says, the first where a row has several, as the toolbox makes them of equal logits."""
        y, classes = np.asarray(y), self.asked.network.model.classes
        if y.ndim == 2 and y.shape[1] > 1:
            if y.shape != (count, classes):
                raise ValueError(f"y must be classes or one-hot rows of the shape {(count, classes)}, got {y.shape}")
            if not (np.isin(y, (0, 1)).all() and y.any(axis=1).all()):
                raise ValueError("y must be classes or one-hot rows, got rows of other numbers")
            y = y.argmax(axis=1)
        return np.asarray(as_labels(y.reshape(-1), count, classes))

    def _gradient(self, x: np.ndarray, labels: np.ndarray, objective: Any, call: int | None = None) -> np.ndarray:
        call = self.asked.next() if call is None else call
        return self.asked.ascended(x, labels, objective, call).astype(np.float32)
