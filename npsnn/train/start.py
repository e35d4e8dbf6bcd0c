"""Parameters that layers make of the training images, before a training begins."""

from typing import Any

from npsnn.data import Split
from npsnn.foreign import BlamedOn, all_read_only, read_only
from npsnn.layers.base import Params
from npsnn.layers.containers import nested
from npsnn.layers.params import at_path, flatten, unflatten
from npsnn.models.base import Model
from npsnn.streams import Stream


def filled(model: Model, params: Params, train: Split, seed: int) -> Params:
    """The parameters as layers with a method `filled` make them of the training images; a pool of images is one.

    model: the network.
    params: its drawn parameters.
    train: images that are trained on.
    seed: of what the layers draw; two trainings of one seed begin with the same parameters.
    Such a layer is called as layer.filled(params, images, labels, rng), with its own parameters, the images, uint8
    (N, C, H, W), their labels, (N,), and a NumPy generator of its own. It returns its own parameters. Raises TypeError,
    naming the layer, where their names, shapes or dtypes are other ones.
    """
    found = flatten(params)
    for path, layer in nested(model.network):
        fill: Any = getattr(layer, "filled", None)
        if fill is None:
            continue
        rng = Stream(seed).at("filled", path, "init").generator()
        before = flatten(at_path(path, unflatten(found)))
        with BlamedOn("layer", layer, "images, labels and parameters"):
            own = fill(unflatten(all_read_only(before)), read_only(train.images), read_only(train.labels), rng)
        after = flatten(own)
        if odd := sorted({name for name, _ in _forms(before) ^ _forms(after)}):
            raise TypeError(f"{path}: filled must keep names, shapes and dtypes, it changes {', '.join(odd)}")
        found |= {f"{path}.{name}": p for name, p in after.items()}
    return unflatten(found)


def _forms(arrays: dict[str, Any]) -> set[tuple[str, Any]]:
    return {(name, (getattr(a, "shape", None), getattr(a, "dtype", None))) for name, a in arrays.items()}
