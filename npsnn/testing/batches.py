"""What a layer makes of the examples of a batch, and of the draws of its noise."""

from dataclasses import replace

import numpy as np

from npsnn.layers.base import Want, couples_batch, is_random, shares_draw
from npsnn.layers.containers import nested
from npsnn.layers.moments import EXPECTATION, WHOLE, Batch, Expectation, Moments, Noise, Sampled
from npsnn.layers.params import flatten
from npsnn.streams import Stream
from npsnn.testing.demands import close, demand, same
from npsnn.testing.passes import Subject
from npsnn.workers.threads import Threads

DRAW = Stream(4).at("batches")
RTOL = 1e-9
"""A matrix product of fewer columns may round otherwise."""


def _mean(subject: Subject, x: np.ndarray, noise: Noise) -> np.ndarray:
    passed = subject.forward(Moments(x), noise)
    assert passed is not None
    return np.asarray(passed[0].mean)


def check_examples(subject: Subject, x: np.ndarray) -> None:
    """Raise AssertionError where an example's output depends on its batch, and the layer does not say so."""
    draw: dict[str, Noise] = {"under a draw": Sampled(DRAW)}
    treatments: dict[str, Noise] = {"with the noise off": EXPECTATION}
    if not couples_batch(subject.layer):
        treatments["in training"] = Expectation(WHOLE)
        draw["under a draw in training"] = Sampled(DRAW, WHOLE)
    for how, noise in treatments.items():
        _check_halves(subject, x, how, (noise, noise, noise), "set couples_batch = True")
    for how, noise in draw.items():
        assert isinstance(noise, Sampled)
        if subject.shared:
            _check_shared(subject, x, how, noise)
        else:
            later = replace(noise, stream=DRAW.further(1))
            why = "key draws by the sample: noise.stream.normal(m.mean)"
            _check_halves(subject, x, how, (noise, noise, later), why)


def _check_halves(subject: Subject, x: np.ndarray, how: str, noises: tuple[Noise, Noise, Noise], why: str) -> None:
    """The whole batch against its two parts; noises: of the batch and of the parts."""
    whole, first, second = noises
    parts = [_mean(subject, x[..., :1], first), _mean(subject, x[..., 1:], second)]
    demand(
        close(np.concatenate(parts, axis=-1), _mean(subject, x, whole), RTOL),
        f"{subject.layer} {how}: a batch in two parts gives other outputs than the whole batch; {why}",
    )


def _check_shared(subject: Subject, x: np.ndarray, how: str, noise: Sampled) -> None:
    """One draw for all examples of a micro-batch, another one from another first sample on, and one for one_draw."""
    draws = [part for _, part in nested(subject.layer) if is_random(part)]
    if all(shares_draw(part) for part in draws):
        alone = [_mean(subject, x[..., n : n + 1], noise) for n in range(x.shape[-1])]
        demand(
            close(np.concatenate(alone, axis=-1), _mean(subject, x, noise), RTOL),
            f"{subject.layer} {how}: it says that all examples of a micro-batch share a draw, but an example alone has "
            "another one than in the batch",
        )
    one, other = (_mean(subject, x, replace(noise, stream=noise.stream.further(n))) for n in (0, 1))
    demand(
        not same(one, other),
        f"{subject.layer} {how}: batches with another first sample have the same draw: key it by one_draw()",
    )
    common = replace(noise, stream=noise.stream.one_draw())
    why = "where the batch has one draw: draw by noise.stream.one_draw()"
    _check_halves(subject, x, how, (common, common, common), why)


def check_randomness(subject: Subject, x: np.ndarray) -> None:
    """Raise AssertionError unless two draws differ where the layer says so, and only there."""
    for training, random, name in (
        (None, subject.random, "random"),
        (WHOLE, subject.random_in_training, "random_in_training"),
    ):
        one, other = (_mean(subject, x, Sampled(DRAW.at(i), training)) for i in range(2))
        where = "" if training is None else " in training"
        said = f"says that it draws noise{where}, but two streams give the same output"
        unsaid = f"draws noise{where} and must say so: {name}: ClassVar[bool] = True"
        demand(same(one, other) != random, f"{subject.layer} {said if random else unsaid}")


def check_parts(subject: Subject, x: np.ndarray) -> None:
    """Raise AssertionError unless two parts of a batch that meet give what the whole batch gives, in training."""
    rng = np.random.default_rng(6)
    whole = subject.forward(Moments(x), Expectation(WHOLE))
    assert whole is not None
    g = rng.standard_normal(whole[0].mean.shape)
    below, grads = whole[1](Moments(g), Want.BOTH)
    assert below is not None
    slices = [slice(0, 1), slice(1, None)]

    def part(i: int, total: object) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        batch = Batch(x.shape[-1], total)  # type: ignore[arg-type]
        passed = subject.forward(Moments(x[..., slices[i]]), Expectation(batch))
        assert passed is not None
        dx, found = passed[1](Moments(g[..., slices[i]]), Want.BOTH)
        assert dx is not None
        return passed[0].mean, dx.mean, flatten(found)

    with Threads(2) as workers:
        (y0, dx0, first), (y1, dx1, second) = workers.together(part, lambda i: (i,), 2)
    for what, parts, wanted in (("outputs", (y0, y1), whole[0].mean), ("cotangents", (dx0, dx1), below.mean)):
        demand(
            close(np.concatenate(parts, axis=-1), wanted, RTOL),
            f"{subject.layer} in training: two parts of a batch, which meet in total, give other {what} than the batch",
        )
    every = flatten(grads)
    largest = max((np.abs(value).max(initial=0) for value in every.values()), default=0)
    for name, wanted in every.items():
        found = first[name] + second[name] if name in subject.learned else first[name]
        demand(
            np.abs(found - wanted).max(initial=0) <= RTOL * largest,
            f"{subject.layer} in training: the gradients of {name} of two parts do not add up to the batch's",
        )
