"""What is measured on the noise while a network is trained."""

from collections.abc import Collection, Generator

import numpy as np

from npsnn.backend import Array, namespace, to_numbers
from npsnn.classifier import Classifier
from npsnn.gpu.graphs import Graphs
from npsnn.interrupts import heed
from npsnn.layers.base import Layer, Params
from npsnn.layers.containers import Residual, Sequential, parts
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.noise import NoiseLayer
from npsnn.layers.params import at_path, flatten, of_layer
from npsnn.models.base import Model
from npsnn.optim import Arrays, unit_norm
from npsnn.products import matmul
from npsnn.streams import Stream
from npsnn.train.terms import class_vectors, noise_on_features
from npsnn.workers.base import Workers, gathered, micro_batches


def feature_noise(model: Model, params: Arrays) -> dict[str, float] | None:
    """How the noise on the last features lies to the class vectors; None without such noise (audit A4, A17, A18).

    trace: of Sigma. common: 1ᵀS1/C of the logits' covariance S = W Sigma Wᵀ, which moves no prediction. differences:
    tr(P S P)/(C - 1), P = I - 11ᵀ/C, which does. cosine: mean |cosine| between class vectors, 1 where they collapsed.
    params: flat parameters of the model.
    """
    found = noise_on_features(model)
    if found is None:
        return None
    path, layer = found
    w = params[class_vectors(model)]
    classes, L = len(w), layer.factor(of_layer(path, params), w.shape[1])
    xp = namespace(w)
    moved = matmul(w, L)
    centred = moved - moved.mean(axis=0)
    unit = unit_norm(w, "l2")
    cosines = xp.abs(matmul(unit, unit.T))
    figures = {
        "trace": (L * L).sum(),
        "common": (moved.sum(axis=0) ** 2).sum() / classes,
        "differences": (centred * centred).sum() / (classes - 1),
        "cosine": (cosines.sum() - xp.trace(cosines)) / (classes * (classes - 1)),
    }
    return dict(zip(figures, to_numbers(*figures.values()), strict=True))


def slopes(model: Model, params: Arrays, grads: Arrays) -> dict[str, Array]:
    """dLoss/dsigma of each noise layer's level, an array of no dimensions, by path.

    params, grads: flat parameters of the model, and their gradients.
    """
    layers = model.noise_layers.items()
    return {path: layer.slope(of_layer(path, params), of_layer(path, grads)) for path, layer in layers}


def ratios(network: Classifier, images: np.ndarray, workers: Workers, graphs: Graphs | None = None) -> dict[str, float]:
    """mean |mu| / sigma of each noise layer by path, mu what the noise is added to in the network without noise.

    Noise on weights has their mean |w| over the root mean square of its standard deviations. Layers at sigma 0 are left
    out.
    images: uint8 (N, C, H, W).
    graphs: CUDA graphs of the network's parameters.
    """
    layers, every = network.model.noise_layers, {path: sigma for path, sigma in network.sigmas.items() if sigma > 0}
    on_weights = {path: layers[path] for path in every if layers[path].on_weights}
    sigmas = {path: sigma for path, sigma in every.items() if path not in on_weights}
    batches = micro_batches(len(images), network.micro_batch)

    def means(params: Arrays, given: Arrays, streams: tuple[Stream, ...] = ()) -> tuple[Arrays, list[Array]]:
        mus = inputs(network, given["images"], sigmas)
        return {}, [abs(mu).sum() / (mu[..., 0].size * len(images)) for mu in mus.values()]

    def sizes(i: int) -> list[float]:
        given = {"images": images[batches[i]]}
        if graphs is None:
            return to_numbers(*means({}, given)[1])
        return to_numbers(*graphs.run_updating(("ratios", *sigmas), means, flatten(network.params), given))

    found = gathered(workers, sizes, len(batches)) if sigmas else []
    ratios = {path: sum(part) / sigmas[path] for path, part in zip(sigmas, zip(*found, strict=True), strict=True)}
    of_weights = [layer.ratio(at_path(path, network.params)) for path, layer in on_weights.items()]
    ratios |= dict(zip(on_weights, to_numbers(*of_weights) if of_weights else [], strict=True))
    return {path: ratios[path] for path in every}


def inputs(network: Classifier, images: np.ndarray, paths: Collection[str]) -> dict[str, Array]:
    """The input of the noise layers of these paths, (..., N), where no layer adds noise; none of noise on weights.

    Nothing is computed behind the last of them.
    """
    met = _met(network.model.network, network.params, Moments(network.to_engine(images)), "")
    found = dict[str, Array]()
    while len(found) < len(paths):
        path, mean = next(met)
        found |= {path: mean} if path in paths else {}
    return {path: found[path] for path in paths}


def _met(layer: Layer, params: Params, m: Moments, path: str) -> Generator[tuple[str, Array], None, Moments]:
    """Yield the path and the input's mean of each noise layer that the forward pass meets; return the output."""
    heed()
    if isinstance(layer, NoiseLayer) and not layer.on_weights:
        yield path, m.mean
        return m
    if isinstance(layer, Residual):
        branches = []
        for name, part in parts(layer):
            branches.append((yield from _met(part, params.get(name, {}), m, f"{path}.{name}")))
        return Moments(branches[0].mean + branches[1].mean)
    if isinstance(layer, Sequential):
        for name, part in layer.layers:
            m = yield from _met(part, params.get(name, {}), m, f"{path}.{name}" if path else name)
        return m
    return layer.forward(params, m, EXPECTATION)[0]
