"""Every option is checked, and the message names it."""

from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from npsnn.config import Config

NAN, INF = float("nan"), float("inf")
WRONG: dict[str, list[Any]] = {
    "model": ["lenet", "", None],
    "propagation": ["clark", None],
    "loss": ["win-probability", "hinge", None],
    "first_layer_norm": ["linf", None],
    "optimizer": ["adamw", None],
    "schedule": ["linear", None],
    "sigma": [-0.1, NAN, INF],
    "sigma_reward": [-1.0, NAN, INF],
    "sigma_max": [-1.0, NAN, INF],
    "lr": [-1e-3, NAN, INF],
    "momentum": [-0.1, NAN, INF],
    "weight_decay": [-0.1, NAN, INF],
    "epochs": [0, -1, None],
    "batch_size": [0, -5, None],
    "limit": [1, 0, -1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got ") as caught:
        Config(**{name: value})
    assert "\n" not in str(caught.value)


def test_every_option_that_can_be_wrong_is_tested() -> None:
    assert {f.name for f in fields(Config)} - WRONG.keys() == {"dataset", "learn_sigma", "seed"}


def test_choices_are_listed() -> None:
    with pytest.raises(ValueError, match="one of lenet5, cnn5, got 'vgg'"):
        Config(model="vgg")


@pytest.mark.parametrize("sigma", [0.0, 4.1])
def test_a_learned_sigma_starts_inside(sigma: float) -> None:
    with pytest.raises(ValueError, match="learn_sigma needs 0 < sigma <= sigma_max = 4"):
        Config(learn_sigma=True, sigma=sigma)
    assert Config(sigma=sigma).sigma == sigma
    assert Config(learn_sigma=True, sigma=4.0).sigma_max == 4.0


def test_a_reward_needs_a_learned_sigma() -> None:
    with pytest.raises(ValueError, match="sigma_reward acts on a learned sigma"):
        Config(sigma_reward=0.1)
    assert Config(sigma_reward=0.1, learn_sigma=True).sigma_reward == 0.1


def test_limits_that_are_allowed() -> None:
    least = Config(sigma=0, lr=0, momentum=0, weight_decay=0, epochs=1, batch_size=1, limit=2)
    assert least.limit == 2 and Config(limit=None).limit is None


def test_a_config_survives_json() -> None:
    config = replace(Config(), sigma=0.3, limit=100, learn_sigma=True, schedule="cosine")
    assert Config.from_json(asdict(config)) == config
    with pytest.raises(ValueError, match="unknown training options colour, size"):
        Config.from_json({"size": 1, "colour": 2, "epochs": 3})
    with pytest.raises(ValueError, match="epochs"):
        Config.from_json({"epochs": 0})
