"""The gradient of a part of a batch: all that a thread or a process is asked for in training."""

from dataclasses import dataclass, field

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.data.augment import AUGMENTATIONS
from npsnn.layers.base import Want
from npsnn.layers.batchnorm import is_statistic
from npsnn.layers.moments import WHOLE, Batch, Moments, Noise, Propagated, Sampled
from npsnn.layers.params import flatten, unflatten
from npsnn.models.model import Model
from npsnn.objectives import OBJECTIVES, Objective
from npsnn.ops.gaussian import RULES
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train.adversarial import attacked
from npsnn.train.config import SAMPLED, Config


@dataclass(eq=False)
class Total:
    """Sums over examples, added up in the order of the micro-batches; loss and correct are arrays of no dimensions."""

    loss: Array = 0.0
    correct: Array = 0
    grads: Arrays | None = field(default=None, repr=False)

    def add(self, other: "Total") -> None:
        self.loss += other.loss
        self.correct += other.correct
        if self.grads is None:
            self.grads = other.grads
        elif other.grads is not None:
            # statistics of the whole batch: each part has the same
            self.grads = {k: g if is_statistic(k) else g + other.grads[k] for k, g in self.grads.items()}


def batch_gradient(
    network: Classifier, images: np.ndarray, labels: np.ndarray, objective: Objective, noise: Noise
) -> Total:
    """Summed loss, correct mean predictions and summed parameter gradients of one micro-batch of images."""
    x = network.to_engine(images)
    target = namespace(x).asarray(labels)
    m, backward = network.model.network.forward(network.params, Moments(x), noise)
    values, cotangent = objective(m, target)
    _, grads = backward(cotangent, Want.PARAMS)
    return Total(values.sum().astype(np.float64), (m.mean.argmax(axis=0) == target).sum(), flatten(grads))


@dataclass(frozen=True)
class PartGradient:
    """`batch_gradient` of a part of a batch of training images as a training with these options sees them."""

    config: Config
    model: Model

    def __call__(
        self,
        params: Arrays,
        images: np.ndarray,
        labels: np.ndarray,
        draws: Stream,
        noise: Stream,
        *,
        batch: Batch = WHOLE,
    ) -> Total:
        """params: flat; images, labels: of this part alone; draws: for its augmentation and attack; noise: for it."""
        network = Classifier(self.model, unflatten(params))
        images = self.seen(network, images, labels, draws)
        return batch_gradient(network, images, labels, OBJECTIVES[self.config.loss], self.noise(noise, batch))

    def seen(self, network: Classifier, images: np.ndarray, labels: np.ndarray, draws: Stream) -> np.ndarray:
        """The images augmented, and partly attacked if so configured."""
        images = AUGMENTATIONS[self.config.augmentation](images, draws.at("augmentation"))
        if self.config.adversarial == "none":
            return images
        return attacked(network, images, labels, self.config, draws.at("adversary"))

    def noise(self, draws: Stream, batch: Batch) -> Noise:
        """How training carries the noise: drawn for each example, or propagated by a rule."""
        training = None if self.config.noise_only else batch  # a network that stays keeps its running averages
        if self.config.propagation == SAMPLED:
            return Sampled(draws, training)
        return Propagated(RULES[self.config.propagation], training)
