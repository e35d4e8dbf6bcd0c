"""What training does to the parameters besides descending the loss: rewards for the noise, projections, averages."""

import numpy as np

from npsnn.backend import Array, namespace, to_numbers
from npsnn.layers.batchnorm import BatchNorm, is_statistic
from npsnn.layers.containers import leaves
from npsnn.layers.noise import FeatureNoise
from npsnn.models.model import Model
from npsnn.objectives import sigma_reward
from npsnn.ops import feature_noise
from npsnn.optim import Arrays, unit_norm
from npsnn.streams import Stream
from npsnn.train.config import Config

FLOOR = 1e-6
"""The least |L_ii|: the logarithm of A2SNN's Eq. 2 has no barrier that a step cannot jump over (audit A20)."""


def of_layer(name: str, flat: Arrays) -> Arrays:
    """The layer's own part of a flat dictionary."""
    return {k.removeprefix(f"{name}."): p for k, p in flat.items() if k.startswith(f"{name}.")}


def class_vectors(model: Model) -> str:
    """The flat name of the last layer's weights, one row a class."""
    return f"{model.network.layers[-1][0]}.w"


def rewards(config: Config, model: Model, params: Arrays) -> tuple[Array, Arrays]:
    """What the loss gains for the noise alone, on top of the examples' mean, and its gradients.

    On the pre-activation -alpha sigma² (noise paper Sec. 7); on features -lambda1 L_ME - lambda2 L_WCA, A2SNN Eq. 1,
    with the pairwise form of L_WCA scaled by 2/(C - 1), which gives it as many terms (audit A17, E4), or with what the
    authors' code has for both. Raises ValueError where that is not defined (audit B1, B2).
    """
    if not model.noisy:
        return 0.0, {}
    name, layer = model.noise
    if not isinstance(layer, FeatureNoise):
        if not config.sigma_reward:
            return 0.0, {}
        sigma = params[f"{name}.sigma"]
        reward: tuple[Array, Array] = sigma_reward(sigma.astype(np.float64), config.sigma_reward)
        return reward[0], {f"{name}.sigma": reward[1].astype(sigma.dtype)}
    if not config.max_entropy and not config.alignment:
        return 0.0, {}
    w = params[class_vectors(model)]
    L = layer.factor(of_layer(name, params), w.shape[1])
    value: Array = 0.0
    dL, grads = L * 0, {}
    if config.max_entropy:
        entropy, dentropy = (feature_noise.log_entropy if config.authors_code else feature_noise.max_entropy)(L)
        value, dL = value - config.max_entropy * entropy.astype(np.float64), dL - config.max_entropy * dentropy
    if config.alignment:
        scale = config.alignment * (2 / (len(w) - 1) if config.pairwise else 1)
        f = feature_noise.pairwise_alignment if config.pairwise else feature_noise.alignment
        f = feature_noise.log_trace if config.authors_code else f
        aligned, dw, daligned = f(w, L)
        value, dL = value - scale * aligned.astype(np.float64), dL - scale * daligned
        grads[class_vectors(model)] = -scale * dw
    return value, grads | {f"{name}.{k}": g for k, g in layer.gradient(dL).items()}


def projected(config: Config, model: Model, params: Arrays) -> Arrays:
    """The parameters held to their constraints: norms of filters and class vectors, and an L that is safe to take.

    The signs of L's columns are free, so its diagonal is made positive, and kept from 0 where it is learned; the
    authors' code leaves it as it is.
    """
    params = dict(params)
    if config.first_layer_norm != "none" and not config.noise_only:
        params[model.noisy_weights] = unit_norm(params[model.noisy_weights], config.first_layer_norm)
    if config.unit_classes and not config.noise_only:
        params[class_vectors(model)] = unit_norm(params[class_vectors(model)], "l2")
    if config.learn_sigma:
        name, layer = model.noise
        own = of_layer(name, params)
        if isinstance(layer, FeatureNoise) and not config.authors_code:
            own = {"L": _safe(own["L"])}
        params |= {f"{name}.{k}": p for k, p in layer.capped(own, config.sigma_max).items()}
    return params


def authors_start(config: Config, model: Model, params: Arrays) -> Arrays:
    """The parameters with an L that is uniform on [0, 1) in its lower triangle, drawn from the seed (audit B5)."""
    name = f"{model.noise_layer}.L"
    xp = namespace(params[name])
    return params | {name: xp.tril(Stream(config.seed).at("authors' L").uniform(params[name]))}


def decayed(config: Config, model: Model, params: Arrays, grads: Arrays) -> Arrays:
    """The gradients with the decay of L and of the last layer added to them, as the authors' code has it (audit B7)."""
    head = class_vectors(model).removesuffix("w")
    decays = (f"{model.noise_layer}.L", f"{head}w", f"{head}b")
    return grads | {k: grads[k] + config.weight_decay * params[k] for k in decays if k in grads}


def _safe(L: Array) -> Array:
    """L with its diagonal (itself, if it has none) no less than FLOOR, by flipping whole columns."""
    xp = namespace(L)
    if L.ndim < 2:
        return xp.maximum(xp.abs(L), xp.asarray(FLOOR, L.dtype))
    diagonal = xp.diagonal(L)
    flipped = L * (1 - 2 * (diagonal < 0).astype(L.dtype))
    short = xp.maximum(xp.asarray(FLOOR, L.dtype) - xp.diagonal(flipped), 0)
    return xp.tril(flipped) + xp.diag(short)


def moved_averages(model: Model, params: Arrays, grads: Arrays) -> tuple[Arrays, Arrays]:
    """Running averages moved towards the batch's statistics, where these stand among the gradients; and the others."""
    params = dict(params)
    for name, layer in leaves(model.network):
        if isinstance(layer, BatchNorm) and f"{name}.running_mean" in grads:
            own, batch = of_layer(name, params), of_layer(name, grads)
            params |= {f"{name}.{k}": p for k, p in layer.moved(own, batch).items()}
    return params, {k: g for k, g in grads.items() if not is_statistic(k)}


def diagnostics(model: Model, params: Arrays) -> dict[str, float] | None:
    """How the noise on the features lies to the class vectors; None for noise elsewhere (audit A4, A17, A18).

    trace: of Sigma. common: 1ᵀS1/C of the logits' covariance S = W Sigma Wᵀ, which moves no prediction. differences:
    tr(P S P)/(C - 1), P = I - 11ᵀ/C, which does. cosine: mean |cosine| between class vectors, 1 where they collapsed.
    """
    name, layer = model.noise if model.noisy else ("", None)
    if not isinstance(layer, FeatureNoise):
        return None
    w = params[class_vectors(model)]
    classes, L = len(w), layer.factor(of_layer(name, params), w.shape[1])
    xp = namespace(w)
    moved = w @ L
    centred = moved - moved.mean(axis=0)
    unit = unit_norm(w, "l2")
    cosines = xp.abs(unit @ unit.T)
    found = {
        "trace": (L * L).sum(),
        "common": (moved.sum(axis=0) ** 2).sum() / classes,
        "differences": (centred * centred).sum() / (classes - 1),
        "cosine": (cosines.sum() - xp.trace(cosines)) / (classes * (classes - 1)),
    }
    return dict(zip(found, to_numbers(*found.values()), strict=True))
