"""Answers that several draws of the noise give together: by their mean logits, mean probabilities, or votes."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from npsnn.backend import stacked
from npsnn.layers.base import Backward, Layer, Params, Want
from npsnn.layers.containers import Sequential, known
from npsnn.layers.moments import Moments, Noise, Propagated, Sampled
from npsnn.models.base import Model
from npsnn.ops import answers

ANSWERS = ("logits", "probabilities", "votes")
"""The parts of several draws that may make one answer."""
Answer: TypeAlias = tuple[Moments, Callable[[Moments, Want], Moments]]
"""The logits, and the backward pass from them to the features, without gradients of parameters."""


def pools(answer: str, count: int) -> bool:
    """Whether one answer is made of the probabilities or the votes of several draws, and not of their logits."""
    return answer != "logits" and count > 1


def forward(
    model: Model, params: Params, m: Moments, noise: Noise, count: int, answer: str = "logits"
) -> tuple[Moments, Backward]:
    """The forward pass of a model whose answer is that of several independent draws of the noise.

    The layers before the first that is, or holds, noise are computed once, all later ones anew for each draw.
    model: the model.
    params: its parameters.
    m: images (H, C, W, N), without variance.
    noise: how the noise is treated.
    count: number of draws; for 1 the pass is the model's own, to the bit, whatever the answer is made of.
    answer: what of the draws makes the answer, as `averaged` has it.
    The backward pass raises ValueError where it is asked for the gradients of parameters.
    Source: A2SNN Sec. 4.4, Table 6 (audit A32).
    """
    if count == 1 or not model.noisy or not isinstance(noise, Sampled | Propagated):
        return model.network.forward(params, m, noise)
    _, into, of_draws = split(model, params, m, noise, count, answer)
    logits, back = of_draws(noise)

    def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
        if Want.PARAMS in want:
            raise ValueError("averaged answers have gradients by the image alone, got a wish for the parameters'")
        return into(back(g, want), want)

    return logits, backward


def split(
    model: Model, params: Params, m: Moments, noise: Noise, count: int, answer: str = "logits"
) -> tuple[Moments, Backward, Callable[[Noise], Answer]]:
    """The features before the first noise, the backward pass to the image, and the answer that a noise makes of them.

    noise: how the noise is treated; the features are the same for each draw.
    The other arguments are those of `forward`. Without noise layers the images are the features.
    """
    before = model.before_noise if model.noisy else Sequential(())
    after = Sequential(model.network.layers[len(before.layers) :])
    features, into = before.forward(params, m, noise)
    after = _prepared(after, params, features, noise)
    return features, into, lambda noise: averaged(after, params, features, noise, count, answer)


def _prepared(after: Sequential, params: Params, features: Moments, noise: Noise) -> Sequential:
    """The layers from the first noise on, of which the first computes once what its draws have in common."""
    (name, first), *others = after.layers
    if not isinstance(noise, Sampled) or not hasattr(first, "prepared"):
        return after
    own: Layer = first.prepared(params.get(name, {}), features, noise.at(name))
    return Sequential(((name, own), *others))


def averaged(
    after: Sequential, params: Params, features: Moments, noise: Noise, count: int, answer: str = "logits"
) -> Answer:
    """The answer that the layers from the first noise on make of the features before it.

    With z_i the logits of a draw, an answer of "logits" is the mean of the z_i, and a cotangent g is g/count for each
    draw. An answer of "probabilities" is ln((1/count) Σ_i softmax(z_i)): its largest entry is the likeliest class, and
    its cross-entropy is minus the logarithm of the label's mean probability. An answer of "votes" is the number of
    draws that name each class, plus its mean probability, which decides a tie; the gradient of the probabilities
    stands for its own, which is 0.

    With propagated noise the mean of the logits stays, and their variance is divided by the count, exact for
    independent draws. Probabilities and votes are those of endlessly many draws then: the moments stay those of one,
    for an objective such as "expected-probability".

    after: these layers.
    features: what comes before the noise, without variance.
    answer: "logits", "probabilities" or "votes".
    The other arguments are those of `forward`.
    """
    if count == 1 or (isinstance(noise, Propagated) and pools(answer, count)):
        y, one_back = after.forward(params, features, noise)
        return y, lambda g, want: known(one_back(g, want)[0])
    noises: list[Noise] = [noise]
    if isinstance(noise, Sampled):
        noises = [replace(noise, stream=noise.stream.at("average", i)) for i in range(count)]
    found = [after.forward(params, features, one) for one in noises]
    if pools(answer, len(noises)):
        return _pooled(found, answer)
    var = found[0][0].var
    mean = sum(y.mean for y, _ in found) / len(found)

    def back(g: Moments, want: Want) -> Moments:
        part = Moments(g.mean / len(found), None if g.var is None else g.var / count)
        below = [back(part, want)[0] for _, back in found]
        return Moments(sum(dx.mean for dx in below if dx))

    return Moments(mean, None if var is None else var / count), back


def _pooled(found: list[tuple[Moments, Backward]], answer: str) -> Answer:
    """The answer by mean probabilities or by votes.

    found: the logits of each draw, and the backward passes from them.
    """
    logits = stacked([y.mean for y, _ in found])
    mean, *kept = answers.log_mean_probability(logits)

    def back(g: Moments, want: Want) -> Moments:
        each = answers.log_mean_probability_backward(g.mean, *kept)
        below = [back(Moments(part), want)[0] for part, (_, back) in zip(each, found, strict=True)]
        return Moments(sum(dx.mean for dx in below if dx))

    return Moments(answers.votes(logits) if answer == "votes" else mean), back
