"""Answers whose logits are averaged over several draws of the noise."""

from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.containers import Sequential
from npsnn.layers.moments import Moments, Noise, Propagated, Sampled
from npsnn.models.model import Model


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
    before = model.before_noise
    after = Sequential(model.network.layers[len(before.layers) :])
    noises: list[Noise] = [noise]
    if isinstance(noise, Sampled):
        noises = [Sampled(noise.stream.at("average", i), noise.training) for i in range(count)]
    features, into = before.forward(params, m, noise)
    answers = [after.forward(params, features, one) for one in noises]
    var = answers[0][0].var
    mean = sum(y.mean for y, _ in answers) / len(answers)

    def backward(g: Moments, want: Want) -> tuple[Moments | None, Params]:
        if Want.PARAMS in want:
            raise ValueError("averaged answers have gradients by the image alone, got a wish for the parameters'")
        part = Moments(g.mean / len(answers), None if g.var is None else g.var / count)
        below = [back(part, want)[0] for _, back in answers]
        return into(Moments(sum(dx.mean for dx in below if dx)), want)

    return Moments(mean, None if var is None else var / count), backward
