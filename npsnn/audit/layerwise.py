"""The error of the propagation rules on a network: layer by layer, against draws of the network.

The rules laplace, linear and exact are those of the engine, which takes the units of a layer as independent (audit
N15). The rule covariance is the full covariance of `npsnn.reference.covariance` (extension E5), with the engine's
layers as matrices. It takes maxima by pairs of Gaussians, as the rule exact does (E2): max pooling leaves both some per
cent below the drawn deviation.
"""

from dataclasses import dataclass
from math import inf, pi, sqrt

import numpy as np

from npsnn.audit.card import Floats
from npsnn.audit.fits import Fit, LayerFit
from npsnn.audit.full_covariance import State, matrices, through
from npsnn.audit.trust import Logits, probability_right
from npsnn.classifier import Classifier, Images
from npsnn.layers.base import Layer, Params, is_random, shares_draw
from npsnn.layers.containers import nested
from npsnn.layers.moments import EXPECTATION, Moments, Propagated, Sampled
from npsnn.layers.noise import FeatureNoise, NoiseLayer
from npsnn.layers.reshape import Flatten
from npsnn.ops import gaussian
from npsnn.reference import loss
from npsnn.streams import Stream
from npsnn.validate import check_count

IMAGES, DRAWS = 5, 4000
"""Images and draws that give figures of one or two digits, in about a second for each image of LeNet-5."""

COVARIANCE = "covariance"
RULES = ("laplace", "linear", "exact", COVARIANCE)
OF_ATTACKS = "exact"
"""The rule that attacks on the closed form take."""

AT_ONCE = 2**20  # units computed at once for the draws, over a batch
ROUNDING = 1e-12  # of a mean: where no unit of a layer moves, what is smaller is no error and no deviation


def check_noise(classifier: Classifier) -> None:
    """Check that a network has noise whose closed form is an approximation.

    classifier: the network.

    Raises ValueError where it has none.
    """
    model = classifier.model
    for name, part in nested(model.network):
        if is_random(part) and not isinstance(part, NoiseLayer):
            raise ValueError(f"{name} draws noise that no rule carries: there is nothing to compare")
    layers = list(model.noise_layers.items()) or [model.noise]
    if all(isinstance(layer, FeatureNoise) for _, layer in layers):
        raise ValueError("the noise is on the features: its closed form is exact (E3), there is nothing to compare")
    if not classifier.random:
        where = f"layer{'s' if len(layers) > 1 else ''} {', '.join(name for name, _ in layers)}"
        raise ValueError(f"the noise is off: sigma is 0 in the {where}, there is nothing to compare")


def layerwise(classifier: Classifier, x: Images, labels: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Fit:
    """The errors of all rules, computed in float64 on the CPU, on the threads of the classifier.

    classifier: the network.
    x: images (N, C, H, W) in [0, 1], N >= 1.
    labels: classes (N,).
    draws: draws for each image, at least 2.
    seed: seed of the draws; the draws for an image depend on the seed and on its place in x alone.

    Raises ValueError or TypeError for other images, labels or draws, and for a network without noise.
    """
    model = classifier.model
    x, labels = classifier.checked(x, labels)
    if len(x) < 1:
        raise ValueError("images must be at least one, got none")
    check_count("draws", draws, 2)
    check_noise(classifier)
    before = model.before_noise
    classifier = (classifier.to("cpu") if classifier.on_gpu else classifier).astype(np.float64)
    below = before.forward(classifier.params, Moments(classifier.to_engine(x)), EXPECTATION)[0].mean
    steps = model.network.layers[len(before.layers) :]
    noisy = _Noisy(steps, classifier.params, *matrices(steps, classifier.params, below[..., :1]))

    def one(i: int) -> _Sums:
        return _compared(noisy, below[..., i : i + 1], int(labels[i]), draws, Stream(seed, ("layerwise", i)))

    found: list[_Sums] = []
    with classifier.workers() as workers:
        workers.reduce(one, lambda n: (n,), len(x), found.append)
    return _fit(noisy, found, draws)


@dataclass(frozen=True)
class _Noisy:
    """The layers from the noise on, with the matrices that the covariance needs, or the reason why it has none."""

    steps: tuple[tuple[str, Layer], ...]
    params: Params
    matrices: dict[str, Floats]
    refusal: str

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(rule for rule in RULES if rule != COVARIANCE or not self.refusal)

    @property
    def shares_draw(self) -> bool:
        """Whether the columns of a batch have one draw of some noise, so that each draw needs a pass of its own."""
        return any(shares_draw(part) for _, layer in self.steps for _, part in nested(layer))

    @property
    def gaussian(self) -> bool:
        """Whether all noise is on the weights of the last layer: the logits are Gaussian, and independent."""
        noisy = [name for name, layer in self.steps if any(is_random(part) for _, part in nested(layer))]
        last, layer = self.steps[-1]
        return noisy == [last] and bool(getattr(layer, "on_weights", False))


@dataclass(frozen=True)
class _Sums:
    """The sums of one image.

    off: sums over the units of (mean - drawn mean)², (rules, layers).
    var: sums of the variances, (rules, layers).
    drawn_var: sums of the drawn variances, (layers,).
    won: shares of the draws that class k wins, (classes - 1,).
    wins: win probabilities by rule, (rules, classes - 1).
    right: share of the draws that class k wins against all.
    rights: the probability by rule, (rules,).
    quiet: sum of (logit without noise - drawn mean)².
    """

    off: Floats
    var: Floats
    drawn_var: Floats
    won: Floats
    wins: Floats
    right: float
    rights: Floats
    quiet: float


def _fit(noisy: _Noisy, images: list[_Sums], draws: int) -> Fit:
    off, var = np.sum([s.off for s in images], axis=0), np.sum([s.var for s in images], axis=0)
    drawn_var = np.sum([s.drawn_var for s in images], axis=0)
    means, sds = np.sqrt(_ratio(off, drawn_var, of_nothing=0.0)), np.sqrt(_ratio(var, drawn_var, of_nothing=1.0))
    layers = tuple(
        LayerFit(name, rule, float(means[r, j]), float(sds[r, j]))
        for j, (name, layer) in enumerate(noisy.steps)
        if not isinstance(layer, Flatten)
        for r, rule in enumerate(noisy.rules)
    )
    errors = np.mean([np.abs(s.wins - s.won).mean(axis=1) for s in images], axis=0)
    answers = np.mean([np.abs(s.rights - s.right) for s in images], axis=0)
    spread = np.mean([np.sqrt(s.won * (1 - s.won)).mean() for s in images])
    unsure = np.mean([sqrt(s.right * (1 - s.right)) for s in images])
    win_floor, right_floor = (float(found) * sqrt(2 / pi / draws) for found in (spread, unsure))
    quiet = float(np.sqrt(_ratio(np.array(sum(s.quiet for s in images)), drawn_var[-1], of_nothing=0.0)))
    rule = noisy.rules.index(OF_ATTACKS)
    logits = Logits(
        OF_ATTACKS,
        float(means[rule, -1]),
        float(sds[rule, -1]),
        float(answers[rule]),
        quiet,
        1 / sqrt(draws),
        right_floor,
        noisy.gaussian,
    )
    return Fit(
        layers,
        _by_name(noisy.rules, errors),
        _by_name(noisy.rules, answers),
        quiet,
        noisy.refusal,
        len(images),
        draws,
        logits.mean_floor,
        win_floor,
        right_floor,
        logits.sentence,
    )


def _by_name(rules: tuple[str, ...], errors: Floats) -> dict[str, float | None]:
    """The errors by rule, None for a rule that was refused."""
    found: dict[str, float | None] = dict.fromkeys(RULES)
    return found | {rule: float(e) for rule, e in zip(rules, errors, strict=True)}


def _ratio(above: Floats, below: Floats, of_nothing: float) -> Floats:
    """above / below, and `of_nothing` for 0 / 0: a layer whose units do not move in any draw."""
    quotient = np.divide(above, below, out=np.full(np.shape(above), inf), where=below > 0)
    return np.where((above == 0) & (below == 0), of_nothing, quotient)


def _compared(noisy: _Noisy, x: Floats, k: int, draws: int, stream: Stream) -> _Sums:
    drawn, won, right = _drawn(noisy, x, k, draws, stream)
    off, var, wins, rights = [], [], [], []
    for rule in noisy.rules:
        states = _with_covariance(noisy, x) if rule == COVARIANCE else _by_rule(noisy, x, gaussian.RULES[rule])
        off.append([_squares(mean - there, there) for (mean, _), (there, _) in zip(states, drawn, strict=True)])
        var.append([float(_variances(v).sum()) for _, v in states])
        wins.append(_wins(*states[-1], k))
        rights.append(probability_right(*states[-1], k))
    drawn_var = np.array([v.sum() for _, v in drawn])
    there = drawn[-1][0]
    quiet = _squares(_without_noise(noisy, x) - there, there)
    return _Sums(np.array(off), np.array(var), drawn_var, won, np.array(wins), right, np.array(rights), quiet)


def _without_noise(noisy: _Noisy, x: Floats) -> Floats:
    m = Moments(x)
    for name, layer in noisy.steps:
        m, _ = layer.forward(noisy.params.get(name, {}), m, EXPECTATION)
    return np.asarray(m.mean.ravel())


def _squares(apart: Floats, mean: Floats) -> float:
    return float(np.square(apart, where=np.abs(apart) > ROUNDING * np.abs(mean), out=np.zeros(len(mean))).sum())


def _variances(v: Floats) -> Floats:
    return v if v.ndim == 1 else np.diagonal(v)


def _wins(mean: Floats, v: Floats, k: int) -> Floats:
    """P(Y_k > Y_i) for each i ≠ k (audit N19); variances alone are those of independent outputs (N21)."""
    S = np.diag(v) if v.ndim == 1 else v
    others = [i for i in range(len(mean)) if i != k]
    return np.array([loss.win_probability(mean[k] - mean[i], S[i, i] + S[k, k] - 2 * S[i, k]) for i in others])


class _Tally:
    """Mean and variance of columns that come in batches."""

    def __init__(self, units: int) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(units), np.zeros(units)

    def add(self, columns: Floats) -> None:
        n = columns.shape[1]
        mean = columns.mean(axis=1)
        apart = mean - self.mean
        self.squares += ((columns - mean[:, None]) ** 2).sum(axis=1) + apart**2 * (self.count * n / (self.count + n))
        self.count += n
        self.mean += apart * (n / self.count)

    @property
    def state(self) -> State:
        var = self.squares / (self.count - 1)
        return self.mean, np.where(var > (ROUNDING * self.mean) ** 2, var, 0)


def _drawn(noisy: _Noisy, x: Floats, k: int, draws: int, stream: Stream) -> tuple[list[State], Floats, float]:
    """Mean and variance of the draws after each layer, and the shares in which Y_k exceeds Y_i, i ≠ k, and all of them.

    The image is repeated as the batch, so that each column draws its own noise; noise that the columns of a batch share
    has a batch of one for each draw. A tie is half a win, and no correct answer.
    """
    tallies: dict[str, _Tally] = {}
    won, right = np.zeros(0), 0
    step = 1 if noisy.shares_draw else max(1, min(500, AT_ONCE // x.size))
    for start in range(0, draws, step):
        n = min(step, draws - start)
        m, noise = Moments(np.broadcast_to(x, (*x.shape[:-1], n))), Sampled(stream.from_sample(start))
        for name, layer in noisy.steps:
            m, _ = layer.forward(noisy.params.get(name, {}), m, noise.at(name))
            columns = m.mean.reshape(-1, n)
            tallies.setdefault(name, _Tally(len(columns))).add(columns)
        ahead = np.sign(m.mean[k] - np.delete(m.mean, k, axis=0))
        wins = ahead.sum(axis=1) / 2 + n / 2
        won = wins if start == 0 else won + wins
        right += int((ahead > 0).all(axis=0).sum())
    return [tally.state for tally in tallies.values()], won / draws, right / draws


def _by_rule(noisy: _Noisy, x: Floats, rule: gaussian.Rule) -> list[State]:
    """The moments after each layer by the engine's propagation."""
    m, states = Moments(x), []
    for name, layer in noisy.steps:
        m, _ = layer.forward(noisy.params.get(name, {}), m, Propagated(rule))
        var = np.zeros(m.mean.shape) if m.var is None else m.var  # the first noise may be off
        states.append((m.mean.ravel(), var[..., 0] if var.ndim > m.mean.ndim else np.ravel(var)))
    return states


def _with_covariance(noisy: _Noisy, x: Floats) -> list[State]:
    """The moments after each layer by the full covariance, from the layer on at which units share noise."""
    mean, V, states = x, np.zeros(x.size), []
    for name, layer in noisy.steps:
        mean, V = through(layer, noisy.params.get(name, {}), mean, V, noisy.matrices.get(name))
        states.append((mean.ravel(), V))
    return states
