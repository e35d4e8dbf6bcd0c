"""Which of a network's noise smooths it, and how far the certificate of a vote reaches."""

from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from npsnn.backend import to_host
from npsnn.certify.norms import stretch
from npsnn.classifier import Classifier
from npsnn.layers.base import Forms, is_random, shares_draw
from npsnn.layers.containers import Sequential, nested
from npsnn.layers.noise import FeatureNoise, NoiseLayer, PreactivationNoise
from npsnn.layers.params import any_of, at_path
from npsnn.models.base import Model
from npsnn.validate import check_network, check_sigma

INPUT = "smoothing"
"""The name of the layer that adds noise to the images where a sigma for them is given."""


@dataclass(frozen=True, eq=False)
class Smoothing:
    """A network seen as a smoothed classifier: the class that most draws of its noise name.

    network: the network that the draws are of, with the noise on the images as its first layer where one was asked for.
    path: the noise layer whose noise is the smoothing noise.
    sigma: standard deviation of this noise, the smallest where it has several.
    norm: upper bound of how much the layers before stretch a difference of two images in L2.
    """

    network: Classifier
    path: str
    sigma: float
    norm: float

    @property
    def unit(self) -> float:
        """The L2 radius that one standard deviation of the noise is worth, in units of the [0, 1] pixel.

        sigma / (norm √K), where an answer averages K draws: K draws are one draw in a space of K copies, in which the
        distance of two images is √K times as large.
        """
        stretched = self.norm * sqrt(self.network.average)
        if not stretched < inf:
            raise ValueError(f"norm must be a finite bound, got {self.norm!r}")
        return self.sigma / stretched if stretched > 0 else inf

    def radius(self, lower: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The certified L2 radius, sigma Φ⁻¹(p) / norm; 0 where p is not above 1/2.

        lower: p, lower bounds of the probability of the class that is certified, of any shape.
        No image nearer than the radius has another class as its most probable one. Let h be the layers before the
        noise, f the rest. The probability of the class at x is the Gaussian mean E q(h(x) + sigma z), where q(u) is
        its probability given u, over all later noise: a function into [0, 1]. By the lemma of Neyman and Pearson it
        is at least Φ(Φ⁻¹(p) - ‖h(x + d) - h(x)‖/sigma) at x + d, and ‖h(x + d) - h(x)‖ <= norm ‖d‖.
        Source: Cohen et al. 2019, Theorem 1; PixelDP (Lecuyer et al. 2019) has the first layer and a weaker radius.
        """
        p = np.asarray(lower, np.float64)
        above = p > 0.5
        return np.where(above, self.unit * ndtri(np.where(above, p, 0.75)), 0.0)


def smoothing(network: Classifier, sigma: float | None = None) -> Smoothing:
    """The smoothed classifier of a network, by its own first noise or by noise on the images.

    network: the network; with noise layers after the first, their noise is more randomness of what is smoothed.
    sigma: standard deviation of Gaussian noise that is added to the images, in units of the [0, 1] pixel, before any
        other noise; None for the network's own first noise.
    Raises ValueError for a sigma that is not above 0, and where the first noise gives no certificate: noise on
    features, whose covariance is no multiple of the identity, noise inside another layer, no noise at all, or a layer
    before the noise whose norm has no known bound; and for noise of which all examples of a micro-batch share a draw.
    """
    check_network(network)
    if sigma is not None:
        network = with_noisy_images(network, sigma)
    if network.noise_off or not network.random:
        why = "is off" if network.noise_off and network.model.noisy else "draws nothing"
        raise ValueError(f"noise of {network.model.name} {why}: give a sigma for noise on the images")
    _check_draws(network)
    norm, shape = 1.0, network.model.shape
    for name, layer in network.model.network.layers:
        own = network.params.get(name, {})
        if isinstance(layer, NoiseLayer) and layer.draws(own):
            return Smoothing(network, name, _isotropic(name, layer, own), norm)
        norm *= stretch(layer, own, shape, name)
        shape = layer.init(Forms(1), shape)[1]
    raise AssertionError("a random network has a layer that draws")  # `stretch` refuses any other


def _check_draws(network: Classifier) -> None:
    """Raise ValueError where the draws of a batch are not independent, as votes must be."""
    for path, layer in nested(network.model.network):
        off = isinstance(layer, NoiseLayer) and not layer.draws(at_path(path, network.params))
        if shares_draw(layer) and not off:
            raise ValueError(f"noise of {path} has one draw for all examples of a batch: votes must be independent")


def _isotropic(name: str, layer: NoiseLayer, params: dict[str, npt.NDArray[np.float64]]) -> float:
    """The smallest standard deviation of a noise layer that adds independent noise to each number.

    The certificate for it holds: ‖d / s‖ <= ‖d‖ / min s for the standard deviations s of all numbers.
    """
    if type(layer) is PreactivationNoise:
        # as it is drawn: the shortest decimal of a float32 may be larger
        return float(to_host(params["sigma"]).min())
    why = "noise on the features has a covariance of its own, which no radius in L2 follows from without a bound"
    what = f"{why} of all layers before" if isinstance(layer, FeatureNoise) else "only PreactivationNoise is known"
    raise ValueError(f"noise of {name} cannot be certified ({what}): give a sigma for noise on the images")


def with_noisy_images(network: Classifier, sigma: float) -> Classifier:
    """The network with Gaussian noise on its images, which may leave [0, 1], as its first layer.

    sigma: standard deviation of the noise, in units of the [0, 1] pixel.
    Raises ValueError for a sigma that is not above 0, and for a network that has such a layer.
    """
    check_sigma(sigma)
    if sigma == 0:
        raise ValueError("sigma must be > 0 for noise on the images, got 0")
    model, noise = network.model, PreactivationNoise(sigma)
    if INPUT in dict(model.network.layers):
        raise ValueError(f"sigma must be None for {model.name}, which has noise on its images, {INPUT}, already")
    quiet = _really_quiet(network) if network.noise_off else network
    like = any_of(quiet.params)
    layers = ((INPUT, noise), *model.network.layers)
    smoothed = Model(model.name, Sequential(layers), model.shape, model.classes, model.micro_batch)
    params = {INPUT: noise.at_level({"sigma": like}, sigma)} | quiet.params
    return replace(quiet, model=smoothed, params=params)


def _really_quiet(network: Classifier) -> Classifier:
    """The network with the noise that is off taken out of its parameters, so that other noise can be on."""
    model = network.model
    if any(is_random(layer) and not isinstance(layer, NoiseLayer) for _, layer in nested(model.network)):
        raise ValueError(f"{model.name} has layers that draw noise of a kind that cannot be turned off beside others")
    return network.with_sigma(dict.fromkeys(model.noise_layers, 0.0))
