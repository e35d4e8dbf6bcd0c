"""A layer, a model, a loss and an attack of one's own in one file: trained, saved, loaded, attacked and judged.

python all_of_it.py
npsnn --plugin all_of_it.py attack mine --corner
"""

from dataclasses import dataclass

import numpy as np

from npsnn import Classifier, attacks, data, layers, models, train
from npsnn.models.model import model
from npsnn.ops.loss import cross_entropy, divergence


@layers.layer
@dataclass(frozen=True)
class LeakyReLU(layers.PReLU):
    """PReLU, with its moments, whose slope is no parameter."""

    slope: float = 0.1

    def init(self, rng, shape):
        return {}, shape

    def forward(self, params, m, noise):
        out, back = super().forward({"slope": np.full(1, self.slope, m.mean.dtype)}, m, noise)
        return out, lambda g, want: (back(g, layers.Want.INPUT)[0], {})


@model("leaky")
def leaky(shape=(1, 28, 28), classes=10, sigma=0.3):
    noise = layers.PreactivationNoise(sigma)
    first = ("conv", layers.Conv2d(8, 5, stride=2)), ("noise1", noise), ("act1", LeakyReLU())
    second = ("flatten", layers.Flatten()), ("fc1", layers.Linear(32)), ("noise2", noise), ("act2", LeakyReLU())
    last = ("fc2", layers.Linear(classes, joint=True))
    return models.Model("leaky", layers.Sequential((*first, *second, last)), shape, classes)


@train.loss("trades")
@dataclass(frozen=True)
class TRADES:
    beta: float = 6.0
    eps: float = 0.1

    def gradient(self, network, images, labels, noise, stream):
        clean = train.view(network, images, noise)

        def apart(m, labels):
            kl, _, by_m = divergence(clean.logits.mean, m.mean)
            return kl, layers.Moments(by_m)

        x_adv = attacks.PGD(self.eps, steps=5)(attacks.sampled(network, 1, apart), images, labels, stream)
        other = train.view(network, x_adv, noise.at("attacked"))
        values, slope = cross_entropy(clean.logits.mean, labels)
        kl, by_clean, by_other = divergence(clean.logits.mean, other.logits.mean)
        by_logits = layers.Moments(slope + self.beta * by_clean), layers.Moments(self.beta * by_other)
        return train.total(values + self.beta * kl, labels, *zip((clean, other), by_logits, strict=True))


@attacks.attack("corner")
@dataclass(frozen=True)
class Corner(attacks.InBall):
    """The point of the ball farthest along a running sum of gradients: a corner, in Linf."""

    steps: int = 5

    def __call__(self, target, x, labels, stream):
        x_adv, gradients = x, 0
        for step in range(self.steps):
            gradients = gradients + target(x_adv, labels, stream.at("step", step))[1]
            x_adv = self.ball.project(x + self.eps * self.ball.steepest(gradients), x)
        return x_adv


if __name__ == "__main__":
    digits = data.load("digits")
    training = train.Training(leaky(), TRADES(), train.Drawn(), optimizer=train.Adam(3e-3), epochs=3, limit=6000)
    print(*train.fit(training, digits, "runs/mine"), sep="\n")
    network, x, labels = Classifier.load("runs/mine"), digits.test.images[:100], digits.test.labels[:100]
    for result in attacks.robust_accuracy(network, x, labels, [Corner(0.1), attacks.PGD(0.1)], attacks.Judging(10)):
        print(result.attack, result.accuracy)
