"""Answers whose logits are averaged over several draws of the noise."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.containers import Sequential, known
from npsnn.layers.moments import Moments, Noise, Propagated, Sampled
from npsnn.models.base import Model

Answer: TypeAlias = tuple[Moments, Callable[[Moments, Want], Moments]]
"""The logits, and the backward pass from them to the features, without gradients of parameters."""


def forward(model: Model, params: Params, m: Moments, noise: Noise, count: int) -> tuple[Moments, Backward]:
    """The forward pass of a model whose logits are averaged over independent draws of the noise.

    With drawn noise mean = Σ_i mean_i / count over the draws, and a cotangent g is g/count for each draw. With
    propagated noise the mean stays and var' = var / count, exact for independent draws. The layers before the first
    that is, or holds, noise are computed once, all later ones anew for each draw.
    model: the model.
    params: its parameters.
    m: images (H, C, W, N), without variance.
    noise: how the noise is treated.
    count: number of draws; for 1 the pass is the model's own.
    The backward pass raises ValueError where it is asked for the gradients of parameters.
    Source: A2SNN Sec. 4.4, Table 6 (audit A32).
    """
    if count == 1 or not model.noisy or not isinstance(noise, Sampled | Propagated):
        return model.network.forward(params, m, noise)
    _, into, answer = split(model, params, m, noise, count)
    logits, back = answer(noise)

    def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
        if Want.PARAMS in want:
            raise ValueError("averaged answers have gradients by the image alone, got a wish for the parameters'")
        return into(back(g, want), want)

    return logits, backward


def split(
    model: Model, params: Params, m: Moments, noise: Noise, count: int
) -> tuple[Moments, Backward, Callable[[Noise], Answer]]:
    """The features before the first noise, the backward pass to the image, and the answer that a noise makes of them.

    noise: how the noise is treated; the features are the same for each draw.
    The other arguments are those of `forward`. Without noise layers the images are the features.
    """
    before = model.before_noise if model.noisy else Sequential(())
    after = Sequential(model.network.layers[len(before.layers) :])
    features, into = before.forward(params, m, noise)
    return features, into, lambda noise: averaged(after, params, features, noise, count)


def averaged(after: Sequential, params: Params, features: Moments, noise: Noise, count: int) -> Answer:
    """The answer that the layers from the first noise on make of the features before it.

    after: these layers.
    features: what comes before the noise, without variance.
    The other arguments are those of `forward`.
    """
    if count == 1:
        y, one_back = after.forward(params, features, noise)
        return y, lambda g, want: known(one_back(g, want)[0])
    noises: list[Noise] = [noise]
    if isinstance(noise, Sampled):
        noises = [replace(noise, stream=noise.stream.at("average", i)) for i in range(count)]
    answers = [after.forward(params, features, one) for one in noises]
    var = answers[0][0].var
    mean = sum(y.mean for y, _ in answers) / len(answers)

    def back(g: Moments, want: Want) -> Moments:
        part = Moments(g.mean / len(answers), None if g.var is None else g.var / count)
        below = [back(part, want)[0] for _, back in answers]
        return Moments(sum(dx.mean for dx in below if dx))

    return Moments(mean, None if var is None else var / count), back
