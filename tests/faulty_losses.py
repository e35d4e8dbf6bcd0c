"""Right losses, and one loss for each mistake that check_loss must find."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from npsnn import objectives
from npsnn.layers.moments import Sampled
from npsnn.train import one_view, total, view


@dataclass(frozen=True)
class Right:
    """Cross-entropy."""

    def gradient(self, network, images, labels, noise, stream):
        return one_view(network, images, labels, objectives.cross_entropy, noise)


@dataclass(frozen=True)
class TwoViews:
    """Right as well: cross-entropy of the images and of their mirror images."""

    def gradient(self, network, images, labels, noise, stream):
        one, two = view(network, images, noise), view(network, images[..., ::-1], noise.at("mirrored"))
        (a, da), (b, db) = (objectives.cross_entropy(v.logits, labels) for v in (one, two))
        return total(a + b, labels, (one, da), (two, db))


class Changed(Right):
    def gradient(self, network, images, labels, noise, stream):
        return self.of(super().gradient(network, images, labels, noise, stream), len(images), stream)


class WrongGradient(Changed):
    def of(self, found, count, stream):
        return replace(found, grads=found.grads | {"fc.b": found.grads["fc.b"] * 1.01})


class ForgottenGradient(Changed):
    def of(self, found, count, stream):
        return replace(found, grads={k: g for k, g in found.grads.items() if k != "noise.sigma"})


class Mean(Changed):
    def of(self, found, count, stream):
        return replace(found, loss=found.loss / count, grads={k: g / count for k, g in found.grads.items()})


class NoTotal(Changed):
    def of(self, found, count, stream):
        return found.loss, found.grads


class Each(Changed):
    def of(self, found, count, stream):
        return replace(found, loss=np.full(count, found.loss / count))


class CountsTwice(Changed):
    def of(self, found, count, stream):
        return replace(found, correct=found.correct + count + 1)


class DrawsElsewhere(Changed):
    def of(self, found, count, stream):
        return replace(found, loss=found.loss + np.random.default_rng().random())


class DrawsForTheBatch(Changed):
    def of(self, found, count, stream):
        return replace(found, loss=found.loss + stream.generator().random(count).sum())


class DoublePrecision(Changed):
    def of(self, found, count, stream):
        return replace(found, grads={k: np.asarray(g, np.float64) for k, g in found.grads.items()})


class KeepsOnItself(Changed):
    def of(self, found, count, stream):
        object.__setattr__(self, "seen", count)
        return found


class WritesToTheImages(Right):
    def gradient(self, network, images, labels, noise, stream):
        images[:, :, 0] = 0
        return super().gradient(network, images, labels, noise, stream)


class TakesWhatIsStored(Right):
    def gradient(self, network, images, labels, noise, stream):
        return super().gradient(network, images.astype(network.dtype), labels, noise, stream)


class RefusesDraws(Right):
    def gradient(self, network, images, labels, noise, stream):
        if isinstance(noise, Sampled):
            raise ValueError("no draws, please")
        return super().gradient(network, images, labels, noise, stream)


class PassesOnceMore(Right):
    """In training, the longer part passes twice: the shorter one does not meet it."""

    def gradient(self, network, images, labels, noise, stream):
        if noise.training is not None and len(images) == 3:
            view(network, images, noise)
        return super().gradient(network, images, labels, noise, stream)


class SaysThatItIsBlind(Right):
    sees_variance: ClassVar[bool] = False

    def gradient(self, network, images, labels, noise, stream):
        return one_view(network, images, labels, objectives.noise_aware, noise)


@dataclass(frozen=True)
class NoGradient:
    pass


@dataclass
class Unfrozen:
    gradient = Right.gradient
