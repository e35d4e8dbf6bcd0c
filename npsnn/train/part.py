"""The gradient of a part of a batch: all that a thread or a process is asked for in training."""

from dataclasses import dataclass

import numpy as np

from npsnn.classifier import Classifier
from npsnn.foreign import all_read_only, blamed_on, name_of, read_only
from npsnn.layers.moments import WHOLE, Batch
from npsnn.layers.params import Role, unflatten
from npsnn.optim import Arrays
from npsnn.streams import Stream
from npsnn.train.losses.base import Total
from npsnn.train.training import Training


@dataclass(frozen=True)
class PartGradient:
    """The sums of a training's loss over a part of a batch, and their gradients."""

    training: Training

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
        """The sums over one part.

        params: flat parameters.
        images: of this part alone, uint8 (N, C, H, W).
        labels: (N,).
        draws: random numbers of the augmentation and the loss, from the first image of the part on.
        noise: random numbers of the noise.
        batch: the whole batch, for BatchNorm.
        """
        t = self.training
        network = Classifier(t.model, unflatten(all_read_only(params)))
        images, labels = read_only(images), read_only(labels)
        with blamed_on(f"augmentation {name_of(t.augmentation)}", "images"):
            images = read_only(t.augmentation(images, draws.at("augmentation")))
        # a network whose averages stay is trained in its form for inference
        treated = t.noise.noise(noise, batch if Role.STATISTIC in t.trains else None)
        # the key is named by the first loss that drew
        with blamed_on(f"loss {name_of(t.loss)}", "images, labels and parameters"):
            return t.loss.gradient(network, images, labels, treated, draws.at("adversary"))
