"""The engine's side of the checks of the defences, in the shapes of the plain formulas."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npsnn.audit.card import Floats
from npsnn.layers.base import Params, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.dropout import Dropout
from npsnn.layers.moments import WHOLE, Moments, Propagated, Sampled
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.noisy_weights import NoisyLinear
from npsnn.layers.reshape import Flatten
from npsnn.models.base import Model
from npsnn.ops import answers, blocks, centres
from npsnn.ops import mart as mart_ops
from npsnn.streams import Stream
from npsnn.train.posterior import KLDivergence
from npsnn.train.rewards import RootReward


def sides(plain: Any, engine: Any) -> Iterator[tuple[str, Any]]:
    """The plain formula and that of the engine, each with the prefix of its figures."""
    yield "", plain
    yield "engine: ", engine


def mart(
    z: Floats, other: Floats, labels: np.ndarray, weight: float, safe: float = 1e-4
) -> tuple[float, Floats, Floats]:
    """As `npsnn.reference.defences.mart`."""
    guarded, images = safe > 0, z.shape[1]
    value, slope = mart_ops.boosted_cross_entropy(other, labels, guarded)
    apart, by_clean, by_other = mart_ops.unsure_divergence(z, other, labels, guarded)
    total = float((value + weight * apart).mean())
    return total, weight * by_clean / images, (slope + weight * by_other) / images


def shuffled(x: Floats, cuts: tuple[int, int], swapped: tuple[bool, bool]) -> Floats:
    """As `npsnn.reference.defences.shuffled`, with the cuts as the numbers that the engine draws."""
    sizes = x.shape[-2:]
    numbers = np.ravel([(c / n, 0.25 if s else 0.75) for c, n, s in zip(cuts, sizes, swapped, strict=True)])
    return np.asarray(blocks.turned(x, blocks.offsets(numbers[:, None] + [[1e-9], [0], [1e-9], [0]], sizes)))


def prototypes_coded(
    f: Floats, labels: np.ndarray, own: Floats, others: Floats, b: float
) -> tuple[float, Floats, Floats, Floats]:
    """As `npsnn.reference.defences.prototypes_coded`."""
    value, df, dc, do = centres.squared(f.T, own, others, np.eye(len(own))[:, labels], 1.0, b)
    return float(value.mean()), df.T / len(f), dc / len(f), do / len(f)


def prototypes_printed(f: Floats, labels: np.ndarray, own: Floats) -> tuple[float, Floats, Floats]:
    """As `npsnn.reference.defences.prototypes_printed`."""
    value, df, dc = centres.plain(f.T, own, np.eye(len(own))[:, labels], 1.0, 1.0)
    return float(value.sum()), df.T, dc


def noisy_weights(w: Floats, alpha: float, g: Floats, through_std: bool) -> tuple[Floats, Params]:
    """The weights (outputs, inputs) with the layer's own draw, and the gradients from their cotangent g.

    The inputs are the unit vectors, of which the layer makes the columns of its weights.
    """
    layer = NoisyLinear(len(w), through_std=through_std)
    params = {"w": w, "b": np.zeros(len(w)), "alpha": np.array(alpha)}
    out, back = layer.forward(params, Moments(np.eye(w.shape[1])), Sampled(Stream(0)))
    return np.asarray(out.mean), back(Moments(g), Want.PARAMS)[1]


def drawn(w: Floats) -> Floats:
    """The standard normal numbers that the layer of `noisy_weights` draws for its weights."""
    return np.asarray(Stream(0).one_draw().normal(w[..., None])[..., 0])


def linear_moments(w: Floats, s: Floats, b: Floats, s_b: Floats, m: Floats, v: Floats) -> tuple[Floats, Floats]:
    """As `npsnn.reference.defences.linear_moments`."""
    layer = NoisyLinear(len(w), spread="free")
    params = {"w": w, "b": b, "rho": np.log(s), "rho_b": np.log(s_b)}
    out, _ = layer.forward(params, Moments(m[:, None], v[:, None]), Propagated())
    assert out.var is not None
    return np.asarray(out.mean[:, 0]), np.asarray(out.var[:, 0])


def root_reward(theta: Floats, gamma: float, h: float) -> tuple[float, Floats]:
    """As `npsnn.reference.defences.root_reward`, for noise on as many units."""
    network = Sequential((("flatten", Flatten()), ("noise", PreactivationNoise(0.25, "unit"))))
    model = Model("units", network, (1, 1, len(theta)), len(theta))
    value, grads = RootReward(gamma / h)(model, {"noise.sigma": theta})
    return float(value), np.asarray(grads["noise.sigma"])


def posterior(features: int, layers: int) -> tuple[Model, list[str]]:
    """A network of linear layers with a posterior each, and their names."""
    names = [f"fc{i}" for i in range(1, layers + 1)]
    noisy = tuple((name, NoisyLinear(features, spread="free")) for name in names)
    return Model("posterior", Sequential((("flatten", Flatten()), *noisy)), (1, 1, features), features), names


def gaussian_divergence(mu: Floats, rho: Floats, prior: float) -> tuple[float, Floats, Floats]:
    """As `npsnn.reference.defences.gaussian_divergence`, for six weights: four of a matrix and two of a bias."""
    model, (name,) = posterior(2, 1)
    cut = (4,)
    (w, b), (r, r_b) = (np.split(x, cut) for x in (mu, rho))
    flat = {f"{name}.w": w.reshape(2, 2), f"{name}.b": b, f"{name}.rho": r.reshape(2, 2), f"{name}.rho_b": r_b}
    value, grads = KLDivergence(1.0, prior)(model, flat)

    def joined(matrix: str, bias: str) -> Floats:
        return np.concatenate([grads[f"{name}.{matrix}"].ravel(), grads[f"{name}.{bias}"]])

    return float(value), joined("w", "b"), joined("rho", "rho_b")


def parts_of_divergence(rng: np.random.Generator, prior: float, last_only: bool) -> float:
    """The divergence of three layers, of all or of the last one alone."""
    model, names = posterior(3, 3)
    params: Params = {
        f"{n}.{k}": rng.standard_normal((3, 3) if k in ("w", "rho") else 3)
        for n in names
        for k in ("w", "b", "rho", "rho_b")
    }
    return float(KLDivergence(1.0, prior, last_only)(model, params)[0])


def answered(z: Floats, labels: np.ndarray) -> tuple[Floats, Floats]:
    """As `npsnn.reference.defences.answered`."""
    mean, *kept = answers.log_mean_probability(z)
    hot = np.eye(z.shape[1])[:, labels]
    return -(mean * hot).sum(axis=0), np.asarray(answers.log_mean_probability_backward(-hot, *kept))


def dropped(mean: Floats, var: Floats, p: float) -> tuple[Floats, Floats]:
    """As `npsnn.reference.defences.dropped`."""
    out, _ = Dropout(p).forward({}, Moments(mean[:, None], var[:, None]), Propagated(training=WHOLE))
    assert out.var is not None
    return np.asarray(out.mean[:, 0]), np.asarray(out.var[:, 0])
