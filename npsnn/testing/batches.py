"""What a layer makes of the examples of a batch, and of the draws of its noise."""

import numpy as np

from npsnn.layers.base import Want, couples_batch
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
    draw = Sampled(DRAW)
    treatments: dict[str, Noise] = {"with the noise off": EXPECTATION, "under a draw": draw}
    if not couples_batch(subject.layer):
        treatments["in training"] = Expectation(WHOLE)
    for how, noise in treatments.items():
        later = Sampled(DRAW.further(1)) if noise is draw else noise
        parts = [_mean(subject, x[..., :1], noise), _mean(subject, x[..., 1:], later)]
        why = "key draws by the sample: noise.stream.normal(m.mean)" if noise is draw else "set couples_batch = True"
        demand(
            close(np.concatenate(parts, axis=-1), _mean(subject, x, noise), RTOL),
            f"{subject.layer} {how}: a batch in two parts gives other outputs than the whole batch; {why}",
        )


def check_randomness(subject: Subject, x: np.ndarray) -> None:
    """Raise AssertionError unless two draws differ where the layer says so, and only there."""
    one, other = (_mean(subject, x, Sampled(DRAW.at(i))) for i in range(2))
    if subject.random:
        demand(not same(one, other), f"{subject.layer} says that it draws noise, but two streams give the same output")
    else:
        demand(same(one, other), f"{subject.layer} draws noise and must say so: random: ClassVar[bool] = True")


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
