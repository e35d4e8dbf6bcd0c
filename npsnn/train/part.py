"""The gradient of a part of a batch: all that a thread or a process is asked for in training."""

from dataclasses import dataclass

import numpy as np

from npsnn.backend import Array
from npsnn.classifier import Classifier
from npsnn.foreign import BlamedOn, all_read_only, read_only
from npsnn.layers.moments import WHOLE, Batch, Propagated
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
        done: float = 0.0,
        *,
        batch: Batch = WHOLE,
    ) -> Total:
        """The sums over one part.

        params: flat parameters.
        images: of this part alone, uint8 (N, C, H, W).
        labels: (N,).
        draws: random numbers of the augmentation and the loss, from the first image of the part on.
        noise: random numbers of the noise.
        done: part of the training that is done, from 0 to 1. An argument, and no field: a process is sent this object
            once.
        batch: the whole batch, for BatchNorm.
        """
        images = self.augmented(images, draws)
        return self.of_augmented(params, images, read_only(labels), draws, noise, batch, done=done)

    def augmented(self, images: np.ndarray, draws: Stream) -> np.ndarray:
        """The images of one part as the loss gets them: changed by the augmentation, and not to be written to."""
        t = self.training
        with BlamedOn("augmentation", t.augmentation, "images"):
            return read_only(t.augmentation(read_only(images), draws.at("augmentation")))

    def of_augmented(
        self,
        params: Arrays,
        images: Array,
        labels: Array,
        draws: Stream,
        noise: Stream,
        batch: Batch,
        on: bool | None = None,
        done: float = 0.0,
    ) -> Total:
        """The sums over one part, of images that were augmented; arguments are those of the call.

        images, labels: in the memory of the parameters, or in the host's.
        on: whether there is noise; None where its layers are to be asked.
        """
        t = self.training.at(done)
        network = Classifier(t.model, unflatten(all_read_only(params)))
        if on is not None:
            network.passes.tell(on)
        # a network whose averages stay is trained in its form for inference
        treated = t.noise.noise(noise, batch if Role.STATISTIC in t.trains else None)
        treated = treated.known(on) if isinstance(treated, Propagated) else treated
        # the key is named by the first loss that drew
        with BlamedOn("loss", t.loss, "images, labels and parameters"):
            return t.loss.gradient(network, images, labels, treated, draws.at("adversary"))
