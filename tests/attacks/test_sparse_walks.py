"""APGD's walk in L1 equals its plain version, in which one image's entries are counted one by one."""

from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, predicted

from npsnn.attacks import APGD
from npsnn.attacks.balls import Ball
from npsnn.attacks.targets import expectation
from npsnn.streams import Stream


def stage(
    target: Any, x: np.ndarray, label: np.ndarray, start: np.ndarray, eps: float, steps: int, first: bool, last: bool
) -> np.ndarray:
    """The walk within one radius: 20 % of the entries at first, then two thirds of those that the best changed."""
    ball, point, best = Ball("l1", eps), start, start
    loss, _, g = target.looked(start, label, Stream(0))
    done = last and loss[0] > 0
    best_loss, best_g, length, d = loss[0], g, eps, x.size
    changed = int((start != x).sum())
    count, before = (0.2 * d, float(d)) if first else (changed / 1.5, float(changed))
    for step in range(1, steps + 1):
        if done:
            return best
        order = np.argsort(-np.abs(g).ravel(), kind="stable")[: max(int(count), 1)]
        direction = np.zeros(d)
        direction[order] = np.sign(g).ravel()[order] / len(order)
        point = ball.project(point + length * direction.reshape(x.shape), x)
        loss, _, g = target.looked(point, label, Stream(0))
        if loss[0] > best_loss or (last and loss[0] > 0):
            best, best_loss, best_g = point, loss[0], g
        done = bool(last and loss[0] > 0)
        if step % 2 == 0:  # the 25th part of 60 steps
            now = int((best != x).sum())
            if now < 0.95 * before:
                length, point, g = eps, best, best_g
            else:
                length = max(length / 1.5, eps / 10)
            count, before = now / 1.5, float(now)
    return best


@pytest.mark.parametrize("eps", [0.05, 0.4, 1.0, 2.5])
def test_the_walk_is_the_plain_one(eps: float) -> None:
    network, x = convolutional(0.0), images(6, low=0.1, high=0.9)
    labels, target = predicted(network, x), expectation(network, "margin")
    found = APGD(eps, "l1", steps=60)(target, x, labels, Stream(3))
    for n in range(6):
        image, label = x[n : n + 1], labels[n : n + 1]
        own = Stream(3).at("restart", 0).from_sample(n)
        point = Ball("l1", 3 * eps).random(image, own.at("start"))
        for number, (times, steps) in enumerate(((3, 18), (2, 18), (1, 24))):
            point = Ball("l1", times * eps).project(point, image)
            point = stage(target, image, label, point, times * eps, steps, number == 0, number == 2)
        np.testing.assert_allclose(found[n], point[0], atol=1e-9)
