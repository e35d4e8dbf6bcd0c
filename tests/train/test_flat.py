"""Flat options become the values that they name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import own_training as own
import pytest
from entering import entered, put_back, taken_out
from own_training import Agreement, Lion

from npsnn import attacks, train
from npsnn.data.augment import crop_flip, unchanged
from npsnn.layers.noise import FeatureNoise
from npsnn.layers.params import Role
from npsnn.optim import SGD, Adam, Constant, Cosine, StepDown
from npsnn.train.authors import AuthorsDecay, AuthorsStart, LogEntropy, LogTrace, OneDraw
from npsnn.train.config import Config, losses
from npsnn.train.constraints import PositiveSigma, SafeFactor, SigmaCap, UnitClasses, UnitFilters
from npsnn.train.flat import training_of
from npsnn.train.losses import LOSSES, MSE, Adversarial, CrossEntropy, ExpectedCrossEntropy, NoiseAware, loss
from npsnn.train.terms import Alignment, MaxEntropy, SigmaReward
from npsnn.train.training import Training
from npsnn.train.treatments import Carried, Drawn

LEARNED: dict[str, Any] = {"learn_sigma": True}
FEATURES: dict[str, Any] = {"noise": "features", "bottleneck": 4, "sigma": 0.5, "propagation": "sampled"} | LEARNED
AUTHORS: dict[str, Any] = FEATURES | {
    "authors_code": "b9824db",
    "max_entropy": 0.1,
    "alignment": 0.2,
    "weight_decay": 0.3,
}
HELD = (PositiveSigma(), SafeFactor(), SigmaCap(4.0))


taken_out(own)


@pytest.fixture(autouse=True, scope="module")
def _own_values() -> Iterator[None]:
    with put_back(own):
        yield


def made(**options: Any) -> Training:
    return training_of(Config(**options), (1, 28, 28), 10)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({}, "loss", NoiseAware()),
        ({"loss": "mse"}, "loss", MSE()),
        ({"loss": "cross-entropy"}, "loss", CrossEntropy()),
        ({"loss": "expected-cross-entropy"}, "loss", ExpectedCrossEntropy()),
        ({"loss": "agreement"}, "loss", Agreement()),
        ({"loss": "trades"}, "loss", train.TRADES()),
        ({"loss": "bpfc"}, "loss", train.BPFC()),
        (
            {"adversarial": "fgsm", "adversarial_eps": 0.1, "adversarial_mix": 0.3},
            "loss",
            Adversarial(NoiseAware(), attacks.FGSM(0.1, source=attacks.EoT(1)), 0.3),
        ),
        (
            {"adversarial": "pgd", "loss": "mse"},
            "loss",
            Adversarial(MSE(), attacks.BIM(8 / 255, steps=10, source=attacks.EoT(1)), 0.5),
        ),
        ({"propagation": "exact"}, "noise", Carried("exact")),
        ({"propagation": "sampled"}, "noise", Drawn()),
        (LEARNED | {"sigma_reward": 0.2}, "terms", (SigmaReward(0.2),)),
        (FEATURES | {"max_entropy": 0.1, "alignment": 0.2}, "terms", (MaxEntropy(0.1), Alignment(0.2))),
        (FEATURES | {"alignment": 0.2, "pairwise": True}, "terms", (Alignment(0.2, pairwise=True),)),
        ({}, "terms", ()),
        ({}, "constraints", ()),
        (LEARNED, "constraints", HELD),
        (LEARNED | {"sigma_max": 2.0}, "constraints", (*HELD[:2], SigmaCap(2.0))),
        ({"first_layer_norm": "l1"}, "constraints", (UnitFilters("l1"),)),
        (FEATURES | {"unit_classes": True}, "constraints", (HELD[0], UnitClasses(), *HELD[1:])),
        (FEATURES | {"unit_classes": True, "noise_only": True}, "constraints", HELD),
        (LEARNED | {"first_layer_norm": "l2", "noise_only": True}, "constraints", HELD),
        ({"lr": 0.1, "weight_decay": 0.2}, "optimizer", Adam(0.1, 0.2)),
        ({"optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "weight_decay": 0.2}, "optimizer", SGD(0.1, 0.5, 0.2)),
        ({"optimizer": "lion", "lr": 0.1, "momentum": 0.5}, "optimizer", Lion(0.1)),
        ({}, "schedule", Constant()),
        ({"schedule": "step"}, "schedule", StepDown()),
        ({"schedule": "cosine"}, "schedule", Cosine()),
        ({}, "trains", Role.WEIGHT | Role.BIAS | Role.STATISTIC),
        (LEARNED, "trains", Role.ALL),
        (LEARNED | {"noise_only": True}, "trains", Role.NOISE),
        ({}, "augmentation", unchanged),
        ({"augmentation": "crop-flip"}, "augmentation", crop_flip),
        ({"epochs": 7}, "epochs", 7),
        ({"batch_size": 7}, "batch_size", 7),
        ({"seed": 7}, "seed", 7),
        ({"limit": 7}, "limit", 7),
        ({"micro_batch": 7}, "micro_batch", 7),
        (AUTHORS, "terms", (LogEntropy(0.1), LogTrace(0.2))),
        (AUTHORS, "noise", OneDraw()),
        (AUTHORS, "optimizer", Adam(1e-3, 0.0)),
        (
            AUTHORS | {"seed": 6},
            "constraints",
            (AuthorsStart(6), AuthorsDecay(0.3), PositiveSigma(), SigmaCap(4.0)),
        ),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_an_option_becomes_its_value(options: dict[str, Any], field: str, value: Any) -> None:
    training = made(**options)
    assert getattr(training, field) == value
    assert Training.from_json(training.to_json()) == training


def test_the_network_is_the_one_that_is_asked_for() -> None:
    model = made(**FEATURES | {"covariance": "diagonal", "model": "lenetpp", "conv": "direct"}).model
    path, layer = model.noise
    assert (model.name, path, layer) == ("lenetpp", "noise", FeatureNoise(0.5, "diagonal"))
    assert (model.shape, model.classes) == ((1, 28, 28), 10)
    assert {getattr(part, "method", "direct") for _, part in model.network.layers} == {"direct"}
    assert made(sigma=0.2).model.noise[1].sigma == 0.2  # type: ignore[attr-defined]


def test_a_loss_that_needs_an_option_is_no_choice_of_the_command_line() -> None:
    @dataclass(frozen=True)
    class Needy:
        beta: float

        def gradient(self, *arguments: Any) -> Any: ...

    with entered(loss("needy"), Needy):
        assert "needy" in LOSSES and not {"needy", "adversarial"} & set(losses()) and "agreement" in losses()
        with pytest.raises(ValueError, match=r"loss must be one of noise-aware, .*agreement, got 'needy'"):
            Config(loss="needy")


def test_an_option_without_effect_names_every_optimiser_that_takes_it() -> None:
    assert Config(momentum=0.5).without_effect(["momentum"]) == ["momentum has no effect unless optimizer is sgd"]
    assert Config(momentum=0.5, optimizer="sgd").without_effect(["momentum"]) == []


def test_the_values_have_a_place_in_the_package() -> None:
    for name in train.__all__:
        assert getattr(train, name) is not None and name in dir(train)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = train.nothing
