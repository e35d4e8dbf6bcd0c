"""A layer, a model, a loss and an attack of one's own in one file: trained, saved, loaded, attacked and judged.

python all_of_it.py
npsnn --plugin all_of_it.py attack mine --corner
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from npsnn import Classifier, attacks, data, layers, models, train
from npsnn.layers import Moments
from npsnn.models.model import model
from npsnn.ops.loss import cross_entropy


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
        p, log_p = softmax(clean.logits.mean, axis=0), log_softmax(clean.logits.mean, axis=0)

        def divergence(m, _):
            values = (p * (log_p - log_softmax(m.mean, axis=0))).sum(axis=0)
            return values, Moments(softmax(m.mean, axis=0) - p)

        def target(x, labels, stream):
            return network.loss_gradient(x, labels, layers.Sampled(stream), divergence)

        x_adv = attacks.PGD(self.eps, steps=5)(target, images, labels, stream)
        other = train.view(network, x_adv, noise.at("attacked"))
        kl, by_other = divergence(other.logits, labels)
        values, slope = cross_entropy(clean.logits.mean, labels)
        slope += self.beta * p * (log_p - log_softmax(other.logits.mean, axis=0) - kl)
        views = (clean, Moments(slope)), (other, Moments(self.beta * by_other.mean))
        return train.total(values + self.beta * kl, labels, *views)


@attacks.attack("corner")
@dataclass(frozen=True)
class Corner(attacks.Attack):
    """The corner of the ball that a running sum of gradients points to."""

    eps: float
    steps: int = 5

    @property
    def ball(self):
        return attacks.Ball("linf", self.eps)

    def __call__(self, target, x, labels, stream):
        x_adv, gradients = x, 0
        for step in range(self.steps):
            gradients = gradients + target(x_adv, labels, stream.at("step", step))[1]
            x_adv = self.ball.project(x + self.eps * np.sign(gradients), x)
        return x_adv


if __name__ == "__main__":
    digits = data.load("digits")
    training = train.Training(leaky(), TRADES(), train.Drawn(), optimizer=train.Adam(3e-3), epochs=3, limit=6000)
    for record in train.fit(training, digits, "runs/mine"):
        print(record)
    network = Classifier.load("runs/mine")
    x, labels = digits.test.images[:100], digits.test.labels[:100]
    for result in attacks.robust_accuracy(network, x, labels, [Corner(0.1), attacks.PGD(0.1)], attacks.Judging(10)):
        print(result.attack, result.accuracy)
