"""Adversarial training: images are attacked on the network as it is, before it learns from them."""

import numpy as np

from npsnn.attacks.balls import Ball
from npsnn.attacks.projected import GradientAttack
from npsnn.attacks.targets import expectation, sampled
from npsnn.classifier import Classifier
from npsnn.data import as_float
from npsnn.streams import Stream
from npsnn.train.config import Config


def attacked(network: Classifier, images: np.ndarray, labels: np.ndarray, config: Config, stream: Stream) -> np.ndarray:
    """The first `adversarial_mix` of the images made adversarial on draws of the noise: floats (N, C, H, W) in [0, 1].

    pgd: 10 steps of eps / 10 from the image itself, as A2SNN sets it (Sec. 4.1, audit A24); one draw of the noise each.
    """
    x = as_float(images, network.dtype) if images.dtype == np.uint8 else images
    count = round(config.adversarial_mix * len(x))
    steps = 1 if config.adversarial == "fgsm" else 10
    target = sampled(network, 1) if network.random else expectation(network)
    attack = GradientAttack(Ball("linf", config.adversarial_eps), steps, config.adversarial_eps / steps)
    return np.concatenate([attack(target, x[:count], labels[:count], stream), x[count:]]) if count else x
