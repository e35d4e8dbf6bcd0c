"""A layer, a model, a loss and an attack of one's own in one file: trained, saved, loaded, attacked and judged.

npsnn --plugin all_of_it.py train --model leaky --loss own-trades --propagation sampled --sigma 0.3 --name mine
npsnn --plugin all_of_it.py attack mine --corner
"""

import numpy as np

from npsnn import attacks, layers, models, ops, train


@layers.layer
class LeakyReLU(layers.PReLU):
    """PReLU, with its moments, whose slope is no parameter."""

    slope: float = 0.1

    def init(self, rng, shape):
        return {}, shape

    def forward(self, params, m, noise):
        out, back = super().forward({"slope": np.full(1, self.slope, m.mean.dtype)}, m, noise)
        return out, lambda g, want: (back(g, layers.Want.INPUT)[0], {})


@models.model("leaky")
def leaky(shape=(1, 28, 28), classes=10, sigma=0.3):
    noise = layers.PreactivationNoise(sigma)
    conv = ("conv", layers.Conv2d(8, 5, stride=2)), ("noise1", noise), ("act1", LeakyReLU()), ("flat", layers.Flatten())
    fc = ("fc", layers.Linear(32)), ("noise2", noise), ("act", LeakyReLU()), ("out", layers.Linear(classes, joint=True))
    return models.Model("leaky", layers.Sequential((*conv, *fc)), shape, classes)


@train.loss("own-trades")
class OwnTRADES:
    """Cross-entropy plus beta times the divergence of the answer to the image from that to one attacked by PGD."""

    beta: float = 6.0
    eps: float = 0.1

    def gradient(self, network, images, labels, noise, stream):
        clean = train.view(network, images, noise)

        def apart(m, labels):
            kl, _, by_m = ops.loss.divergence(clean.logits.mean, m.mean)
            return kl, layers.Moments(by_m)

        x_adv = attacks.PGD(self.eps, steps=5)(attacks.sampled(network, 1, apart), images, labels, stream)
        other = train.view(network, x_adv, noise.at("attacked"))
        values, slope = ops.loss.cross_entropy(clean.logits.mean, labels)
        kl, by_clean, by_other = ops.loss.divergence(clean.logits.mean, other.logits.mean)
        by_logits = layers.Moments(slope + self.beta * by_clean), layers.Moments(self.beta * by_other)
        return train.total(values + self.beta * kl, labels, *zip((clean, other), by_logits, strict=True))


@attacks.attack("corner")
class Corner(attacks.InBall):
    """The point of the ball farthest along a running sum of gradients: a corner, in Linf."""

    steps: int = 5

    def __call__(self, target, x, labels, stream):
        x_adv, gradients = x, 0
        for step in range(self.steps):
            gradients = gradients + target(x_adv, labels, stream.at("step", step))[1]
            x_adv = self.ball.project(x + self.eps * self.ball.steepest(gradients), x)
        return x_adv
