"""Sure answers: gradients that no number holds keep their direction, and what overflows is named."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from small_networks import convolutional, images, on_features

from npsnn import attacks
from npsnn.classifier import Classifier
from npsnn.layers.moments import Moments
from npsnn.layers.params import flatten, unflatten
from npsnn.objectives import AS_IT_IS, OBJECTIVES, TARGETED, sobol_normal
from npsnn.ops.linear import joint_covariance
from npsnn.streams import Stream

SCALES = [1e-3, 1.0, 30.0, 700.0, 1e3, 1e6]
CLASSES, COUNT = 4, 6
ZERO = mp.mpf(0)


def logits(scale: float, noise: float) -> tuple[Moments, np.ndarray]:
    """Means of the size `scale` and a covariance of the size noise²; every second example is misread."""
    rng = np.random.default_rng(0)
    mean = scale * rng.uniform(-4, 4, (CLASSES, COUNT))
    w, v = rng.normal(size=(CLASSES, 5)), rng.uniform(0.2, 1, (5, COUNT))
    order = mean.argsort(axis=0)
    return Moments(mean, noise**2 * joint_covariance(v, w)), np.where(np.arange(COUNT) % 2, order[0], order[-1])


def total(terms: Any) -> Any:
    return mp.fsum(list(terms))


def by_softmax(z: list[Any], k: int) -> list[Any]:
    """softmax(z) - e_k, without cancellation."""
    e = [mp.exp(a - max(z)) for a in z]
    p = [a / total(e) for a in e]
    p[k] = -total(a for i, a in enumerate(p) if i != k)
    return p


def by_points(m: Moments, n: int, k: int) -> tuple[list[Any], Any]:
    """E[p - e_k] and ½ E[diag(p) - p pᵀ] over the points."""
    size, axes = np.linalg.eigh(m.var[..., n])
    root = axes * np.sqrt(size) @ axes.T
    dmean, dvar = [ZERO] * CLASSES, [[ZERO] * CLASSES for _ in range(CLASSES)]
    points = sobol_normal(CLASSES)
    for x in points:
        q = by_softmax([mp.mpf(float(a)) for a in m.mean[:, n] + root @ x], k)
        p = [a + (i == k) for i, a in enumerate(q)]
        for i in range(CLASSES):
            dmean[i] += q[i] / len(points)
            for j in range(CLASSES):
                own = p[i] * (-q[k] if i == k else 1 - p[i])
                dvar[i][j] += (own if i == j else -p[i] * p[j]) / (2 * len(points))
    return dmean, dvar


def by_probability(m: Moments, n: int, k: int) -> tuple[list[Any], Any]:
    """E[p_k q]/E p_k, q = p - e_k, and -½ E[p_k (q qᵀ + p pᵀ - diag p)]/E p_k over the points."""
    size, axes = np.linalg.eigh(m.var[..., n])
    root, points = axes * np.sqrt(size) @ axes.T, sobol_normal(CLASSES)
    found = [by_softmax([mp.mpf(float(a)) for a in m.mean[:, n] + root @ x], k) for x in points]
    logs = [[mp.mpf(float(a)) for a in m.mean[:, n] + root @ x] for x in points]
    own = [mp.exp(z[k] - max(z)) / total(mp.exp(a - max(z)) for a in z) for z in logs]
    parts = [a / total(own) for a in own]
    dmean = [total(w * q[i] for w, q in zip(parts, found, strict=True)) for i in range(CLASSES)]
    dvar = [[ZERO] * CLASSES for _ in range(CLASSES)]
    for w, q, p_k in zip(parts, found, own, strict=True):
        p = [p_k if i == k else a for i, a in enumerate(q)]
        for i in range(CLASSES):
            for j in range(i):
                dvar[i][j] -= w * (q[i] * q[j] + p[i] * p[j]) / 2
                dvar[j][i] = dvar[i][j]
    for i in range(CLASSES):
        dvar[i][i] = -total(a for j, a in enumerate(dvar[i]) if j != i)
    return dmean, dvar


def by_pairs(m: Moments, n: int, k: int, slope: Any, others: Iterable[int] | None = None) -> tuple[list[Any], Any]:
    """The cotangents of Σ_i f(u_i) from f'(u) = slope(u): ∂u/∂d = 1/√S and ∂u/∂S = -u/2S.

    others: the i of the sum; None for all but k.
    """
    dmean, dvar = [ZERO] * CLASSES, [[ZERO] * CLASSES for _ in range(CLASSES)]
    for i in set(range(CLASSES)) - {k} if others is None else others:
        d = mp.mpf(float(m.mean[k, n])) - mp.mpf(float(m.mean[i, n]))
        S = sum((mp.mpf(float(m.var[a, b, n])) * (1 if a == b else -1) for a in (i, k) for b in (i, k)), ZERO)
        u = d / mp.sqrt(S)
        by_d, by_s = slope(u) / mp.sqrt(S), -u * slope(u) / (2 * S)
        dmean[k] += by_d
        dmean[i] -= by_d
        for a in (i, k):
            for b in (i, k):
                dvar[a][b] += by_s * (1 if a == b else -1)
    return dmean, dvar


def density(u: Any) -> Any:
    return mp.exp(-u * u / 2) / mp.sqrt(2 * mp.pi)


def precise(name: str, m: Moments, n: int, k: int) -> tuple[list[Any], Any]:
    """The cotangents of the mean and, (classes, classes), of the covariance, in 50 digits."""
    z = [mp.mpf(float(a)) for a in m.mean[:, n]]
    others = [i for i in range(CLASSES) if i != k]
    if name == "expected-cross-entropy":
        return by_points(m, n, k)
    if name == "expected-probability":
        return by_probability(m, n, k)
    if name == "win-probability":
        return by_pairs(m, n, k, lambda u: -density(u) / mp.ncdf(u))
    if name == "noise-aware":
        won, dvar = by_pairs(m, n, k, lambda u: -density(u) / (CLASSES - 1))
        return [2 * (a - (i == k)) / CLASSES + won[i] for i, a in enumerate(z)], dvar
    if name == "least-win-probability":
        u = {
            i: (z[k] - z[i]) / mp.sqrt(m.var[k, k, n] + m.var[i, i, n] - m.var[k, i, n] - m.var[i, k, n])
            for i in others
        }
        least = min(u, key=lambda i: u[i])
        return by_pairs(m, n, k, lambda v: mp.mpf(-1) if abs(v - u[least]) < 1e-9 * abs(v) else ZERO)
    if name == "mse":
        return [2 * (a - (i == k)) / CLASSES for i, a in enumerate(z)], None
    if name == "margin":
        best = max(others, key=lambda i: z[i])
        return [mp.mpf((i == best) - (i == k)) for i in range(CLASSES)], None
    if name == "targeted-win":
        return by_pairs(m, n, k, lambda u: mp.mpf(-1), [(k + 1) % CLASSES])
    if name in ("dlr", *TARGETED):
        raised = max(others, key=lambda i: z[i]) if name == "dlr" else (k + 1) % CLASSES
        return by_ratio(name, z, k, raised), None
    q = by_softmax(z, k)
    p = mp.exp(z[k] - max(z)) / total(mp.exp(a - max(z)) for a in z)
    return [a * p if name == "true-class-probability" else a for a in q], None


def by_ratio(name: str, z: list[Any], k: int, raised: int) -> list[Any]:
    """The gradient of the lead of a class over the label, as it is or over a spread of the largest logits."""
    lead = [mp.mpf((i == raised) - (i == k)) for i in range(CLASSES)]
    if name == "targeted-margin":
        return lead
    first, _, third, fourth = sorted(range(CLASSES), key=lambda i: -z[i])
    low = {third: mp.mpf(1)} if name == "dlr" else {third: mp.mpf(1) / 2, fourth: mp.mpf(1) / 2}
    spread = [(i == first) - low.get(i, 0) for i in range(CLASSES)]
    over = total(a * b for a, b in zip(spread, z, strict=True))
    value = (z[raised] - z[k]) / over
    return [(a - value * b) / over for a, b in zip(lead, spread, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["scaled", "fixed"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != AS_IT_IS])
def test_cotangents_point_where_the_precise_ones_do(name: str, scale: float, noise: str) -> None:
    """Of the mean in units of the noise, of the covariance in its square, by the largest entry of both."""
    size = scale if noise == "scaled" else 0.3
    m, labels = logits(scale, size)
    aimed = np.stack([labels, (labels + 1) % CLASSES], axis=1) if name in TARGETED else labels
    _, found = OBJECTIVES[name](m, aimed)
    with mp.workdps(50):
        for n, k in enumerate(labels):
            dmean, dvar = precise(name, m, n, int(k))
            ours, wanted = [found.mean[:, n] * size], [np.array(dmean) * size]
            assert (found.var is None) == (dvar is None)
            if found.var is not None:
                ours.append(((found.var[..., n] + found.var[..., n].T) / 2).ravel() * size**2)
                wanted.append(np.array(dvar).ravel() * size**2)
            a, b = np.concatenate(ours), np.concatenate(wanted)
            assert np.abs(a).max() > 0, "the gradient is lost"
            b = np.array([float(v / max(abs(b))) for v in b])
            np.testing.assert_allclose(a / np.abs(a).max(), b, atol=1e-5)


def scaled(network: Classifier, scale: float, dtype: type = np.float32) -> Classifier:
    """The network with its logits times `scale`."""
    flat = flatten(network.astype(np.float64).params)
    return replace(
        network, params=unflatten({k: p * scale if k in ("fc.w", "fc.b") else p for k, p in flat.items()})
    ).astype(dtype)


X = images(16)
TARGETS = {
    "expectation": lambda c: attacks.expectation(c),
    "sampled": lambda c: attacks.sampled(c, 2),
    "known": lambda c: attacks.known(c, Stream(0)),
    "closed form": lambda c: attacks.closed_form(c),
    "laplace": lambda c: attacks.closed_form(c, propagation="laplace"),
    "expected": lambda c: attacks.closed_form(c, "expected-cross-entropy"),
    "pooled": lambda c: attacks.sampled(c.averaging(3, "probabilities"), 2),
    "votes": lambda c: attacks.known(c.averaging(2, "votes"), Stream(0)),
    "expected probability": lambda c: attacks.closed_form(c.averaging(2, "probabilities")),
    "win": lambda c: attacks.closed_form(c, "win-probability"),
    "least": lambda c: attacks.closed_form(c, "least-win-probability"),
    "probability": lambda c: attacks.closed_form(c, "true-class-probability"),
}


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e4, 1e6])
@pytest.mark.parametrize("make", [convolutional, on_features])
def test_no_image_is_given_up_for_the_size_of_the_logits(make: Any, scale: float, target: str) -> None:
    network = scaled(make(), scale)
    labels = network.predict(X).argmax(axis=1)
    _, gradient = TARGETS[target](network)(X, labels, Stream(0))
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all(), "a zero gradient"
    for norm in ("linf", "l2"):
        moved = attacks.fgsm(0.01, norm)(TARGETS[target](network), X, labels, Stream(0))
        assert (np.abs(moved - X).max(axis=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("objective", ["cross-entropy", "least-win-probability"])
def test_the_direction_does_not_depend_on_the_size_of_the_logits(objective: str) -> None:
    """The least margin's not at all; the cross-entropy's no more once a rival outweighs the others."""
    found = []
    for scale in (1e3, 1e5, 1e6):
        for dtype in (np.float32, np.float64):
            network = scaled(convolutional(), scale, dtype)
            labels = network.moments(X)[0].argmax(axis=1)
            gradient = network.input_gradient(X, labels, OBJECTIVES[objective])
            found.append(gradient / np.abs(gradient).max(axis=(1, 2, 3), keepdims=True))
    clear = np.abs(found[2] - found[4]).max(axis=(1, 2, 3)) < 1e-2
    assert clear.mean() > 0.8
    for other in found[1:]:
        np.testing.assert_allclose(other[clear], found[0][clear], atol=2e-2)


def test_losses_of_sure_answers_keep_their_order() -> None:
    """By them restarts and candidates are chosen."""
    lead = np.array([1.0, 19.9, 20.1, 50, 600, 640.1, 800, 1e4, 1e6])
    mean = np.stack([lead, 0 * lead, -1e7 + 0 * lead])
    value, _ = OBJECTIVES["cross-entropy"](Moments(mean), np.zeros(len(lead), int))
    assert (np.diff(value) < 0).all() and value[-1] > 0
    np.testing.assert_allclose(value[:5], [float(mp.log1p(mp.exp(-a))) for a in lead[:5]], rtol=1e-7)


@pytest.mark.parametrize("call", ["predict", "moments", "sample", "input_gradient"])
def test_what_overflows_is_named(call: str) -> None:
    network = convolutional().astype(np.float32)
    loud = replace(
        network,
        params=unflatten({k: p * np.float32(1e30) if ".w" in k else p for k, p in flatten(network.params).items()}),
    )
    asked = {"sample": (0, 1), "input_gradient": (np.zeros(len(X), int),)}.get(call, ())
    with pytest.raises(ValueError, match=r"convolutional: the (logits|gradients) of some images overflow float32"):
        getattr(loud, call)(X, *asked)


def test_a_variance_that_overflows_is_named() -> None:
    network = on_features().astype(np.float32).with_sigma(1e9)
    loud = scaled(network, 1e11)
    assert np.isfinite(loud.predict(X)).all()
    with pytest.raises(ValueError, match="convolutional: the variances of the logits of some images overflow float32"):
        loud.moments(X)
    assert np.isfinite(scaled(network, 1e11, np.float64).moments(X)[1]).all()
