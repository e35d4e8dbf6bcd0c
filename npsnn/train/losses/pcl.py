"""PCL: features at several depths are pulled to the centre of their class and pushed from those of the others."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.classifier import Classifier
from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.centres import Centres
from npsnn.layers.containers import Sequential, known, nested
from npsnn.layers.moments import Moments, Noise
from npsnn.models.base import Model
from npsnn.objectives import cross_entropy
from npsnn.ops import centres
from npsnn.ops.loss import one_hot
from npsnn.streams import Stream
from npsnn.train.losses.base import Total, View, loss, total
from npsnn.train.scheduled import Scalar, check_scalar


@loss("pcl")
@dataclass(frozen=True)
class PCL:
    """Cross-entropy, and for each layer `Centres` of the network the distances of its features to the centres.

    pull: weight of the distance to the centre of the label's class, >= 0; a number or a schedule.
    push: weight of the mean distance to the centres of the other classes, >= 0; a number or a schedule.
    Centres(..., "code") adds pull ‖f - c_y‖² - push mean_{j≠y} ‖f - c'_j‖², by two sets of centres c and c'.
    Centres(..., "paper") adds pull ‖f - c_y‖ - push mean_{j≠y} (‖f - c_j‖ + ‖c_y - c_j‖). The gradient of a distance is
    0 where the distance is 0. The paper has pull = push = 1. The features f are means where noise is propagated.
    The gradients of the centres are those of this value. The authors' code divides the gradients by pull and by push
    again, which is a learning rate of their own.
    Raises ValueError for a negative weight, and for a network without centres.
    Source: Mustafa et al. 2019, Sec. 3; the defaults are those of the authors' code for adversarial training.
    """

    pull: Scalar = 1.0
    push: Scalar = 1e-5
    sees_variance: ClassVar[bool] = False
    own_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("pull", "push"):
            check_scalar(self, name)

    def gradient(
        self, network: Classifier, images: np.ndarray, labels: np.ndarray, noise: Noise, stream: Stream
    ) -> Total:
        pieces, m = cut(network.model), Moments(network.to_engine(images))
        backs: list[Backward] = []
        features: list[Array] = []
        for piece in pieces:
            m, back = piece.forward(network.params, m, noise)
            backs.append(back)
            features.append(m.mean)
        targets = namespace(m.mean).asarray(labels)
        values, cotangent = cross_entropy(m, targets)
        found: list[tuple[str, Array, Params]] = []
        for f, piece in zip(features[:-1], pieces[1:], strict=True):
            name, layer = piece.layers[0]
            assert isinstance(layer, Centres), "a piece begins with centres"
            value, by_f, by_centres = self._distances(layer, network.params[name], f, one_hot(m.mean, targets))
            values = values + value
            found.append((name, by_f, by_centres))

        def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
            grads: Params = {}
            for back, (name, by_f, by_centres) in zip(backs[:0:-1], found[::-1], strict=True):
                below, own = back(g, want | Want.INPUT)
                below = known(below)
                g = Moments(below.mean + by_f, below.var)
                grads |= own | {name: by_centres}
            below, own = backs[0](g, want)
            return below, grads | own

        return total(values, labels, (View(network, m, backward), cotangent))

    def _distances(self, layer: Centres, params: Params, f: Array, hot: Array) -> tuple[Array, Array, Params]:
        """The values, (N,), and their cotangents by the features, (D, N), and by the centres."""
        if layer.form == "code":
            value, by_f, near, far = centres.squared(f, params["near"], params["far"], hot, self.pull, self.push)
            return value, by_f, {"near": near, "far": far}
        value, by_f, by_centres = centres.plain(f, params["centres"], hot, self.pull, self.push)
        return value, by_f, {"centres": by_centres}


def cut(model: Model) -> list[Sequential]:
    """The layers of a model in pieces, of which all but the first begin with centres.

    model: the model.
    Raises ValueError for a model without centres, for centres inside of another layer, and for centres of another
    number of classes.
    """
    layers = model.network.layers
    for path, layer in nested(model.network):
        if isinstance(layer, Centres) and "." in path:
            raise ValueError(f"centres must be among the network's own layers, {model.name} has some inside, at {path}")
    places = [i for i, (_, layer) in enumerate(layers) if isinstance(layer, Centres)]
    if not places:
        raise ValueError(
            f"{model.name} has no layer Centres, which the loss pcl needs: npsnn.models.with_centres puts some in"
        )
    odd = [layer for _, layer in layers if isinstance(layer, Centres) and layer.classes != model.classes]
    if odd:
        raise ValueError(f"{model.name} has {model.classes} classes, so centres must be of as many, got {odd[0]}")
    ends = zip([0, *places], [*places, len(layers)], strict=True)
    return [Sequential(layers[begin:end]) for begin, end in ends]
