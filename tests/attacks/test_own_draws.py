"""Attacks that judge for themselves draw other noise for it than for their gradients and values."""

from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, predicted

from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.projected import pgd
from npsnn.attacks.targets import NetworkTarget, sampled
from npsnn.streams import Stream

X = images(2)
ATTACKS: dict[str, Any] = {
    "C&W": CarliniWagner(steps=4, searches=3, draws=5),
    "One-Pixel": OnePixel(population=6, generations=4, draws=5, stop=1.0),
    "PGD": pgd(0.05, steps=3, restarts=3),
}


class Phased(NetworkTarget):
    """Notes whether the network is asked to judge or for the way on."""

    phase = "gradient"

    def misread(self, *arguments: Any) -> np.ndarray:
        type(self).phase = "judge"
        try:
            return super().misread(*arguments)
        finally:
            type(self).phase = "gradient"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_no_draw_is_met_twice(attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one of a step by another step: of each draw the network sees one image, but for One-Pixel's shared ones."""
    network, drawn = convolutional(), {"gradient": [], "judge": []}  # type: ignore[var-annotated]
    base = sampled(network, 2, "margin")
    target = Phased(network, base.kind, base.objective, base.draws)
    normal = Stream.normal

    def noted(stream: Stream, like: Any) -> Any:
        drawn[Phased.phase].append(stream)
        return normal(stream, like)

    monkeypatch.setattr(Stream, "normal", noted)
    attack(target, X, predicted(network, X), Stream(3))
    assert drawn["gradient"]
    assert not set(drawn["judge"]) & set(drawn["gradient"])
    assert len(drawn["judge"]) == len(set(drawn["judge"]))
    if isinstance(attack, OnePixel):
        assert all(stream.shared for stream in drawn["gradient"])
    elif isinstance(attack, CarliniWagner):
        assert len(drawn["gradient"]) == len(set(drawn["gradient"]))
    else:  # the restarts are compared on one choice of fresh draws
        choice = [stream for stream in drawn["gradient"] if "choice" in stream.path]
        steps = [stream for stream in drawn["gradient"] if "choice" not in stream.path]
        assert len(steps) == len(set(steps)) and len(choice) == 3 * len(set(choice)) == 6
