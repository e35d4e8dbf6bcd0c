"""Every option is checked, and the message names it."""

import json
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest

from npsnn.train.config import Config

NAN, INF = float("nan"), float("inf")
WRONG: dict[str, list[Any]] = {
    "model": ["lenet", "", None],
    "noise": ["everywhere", None],
    "covariance": ["isotropic", None],
    "bottleneck": [0, -1, None],
    "augmentation": ["flip", None],
    "adversarial": ["cw", None],
    "adversarial_eps": [-0.1, 1.1, NAN],
    "adversarial_mix": [-0.1, 1.1, NAN],
    "propagation": ["clark", None],
    "loss": ["win-probability", "hinge", None],
    "first_layer_norm": ["linf", None],
    "conv": ["fft", None],
    "optimizer": ["adamw", None],
    "schedule": ["linear", None],
    "sigma": [-0.1, NAN, INF, 10**400],
    "sigma_reward": [-1.0, NAN, INF],
    "sigma_max": [-1.0, NAN, INF],
    "max_entropy": [-0.1, NAN, INF],
    "alignment": [-0.1, NAN, INF],
    "lr": [-1e-3, NAN, INF],
    "momentum": [-0.1, NAN, INF],
    "weight_decay": [-0.1, NAN, INF],
    "epochs": [0, -1, 10**400, None],
    "batch_size": [0, -5, None],
    "limit": [1, 0, -1],
    "micro_batch": [0, -1, 1.5],
    "authors_code": [True, False, "", "4f752b9"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got ") as caught:
        Config(**{name: value})
    assert "\n" not in str(caught.value)


def test_every_option_that_can_be_wrong_is_tested() -> None:
    assert {f.name for f in fields(Config)} - WRONG.keys() == {
        "dataset",
        "learn_sigma",
        "noise_only",
        "pairwise",
        "seed",
        "unit_classes",
    }


def test_choices_are_listed() -> None:
    with pytest.raises(ValueError, match=r"one of lenet5, cnn5, .*got 'vgg'"):
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
    assert Config.from_json({k: v for k, v in asdict(config).items() if k != "limit"}) == replace(config, limit=None)
    with pytest.raises(ValueError, match="unknown training options: colour"):
        Config.from_json(asdict(config) | {"colour": 2})
    with pytest.raises(ValueError, match="epochs"):
        Config.from_json(asdict(config) | {"epochs": 0})
    with pytest.raises(ValueError, match="must be a JSON object"):
        Config.from_json([1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sigma", "x"),
        ("sigma", None),
        ("sigma", True),
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", True),
        ("limit", 2.5),
        ("seed", None),
        ("learn_sigma", "no"),
        ("model", []),
        ("loss", 5),
    ],
)
def test_an_option_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be of the type"):
        Config(**{name: value})


def test_numbers_become_their_fields_own_type() -> None:
    config = Config(sigma=np.float32(0.5), limit=np.int64(40), lr=1)
    assert [type(v) for v in (config.sigma, config.limit, config.lr)] == [float, int, float]
    assert json.loads(json.dumps(asdict(config))) == asdict(config)


def test_a_sigma_is_learned_only_where_the_loss_depends_on_it() -> None:
    for loss in ("mse", "cross-entropy"):
        with pytest.raises(ValueError, match="learn_sigma needs a loss that depends on sigma"):
            Config(learn_sigma=True, loss=loss)
        assert Config(learn_sigma=True, loss=loss, propagation="exact").noise_enters
    assert not Config(loss="mse").noise_enters and Config().noise_enters
