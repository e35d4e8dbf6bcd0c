"""The recipes of A2SNN's ablation against the paper's tables."""

from dataclasses import asdict

import pytest

from npsnn.train import recipes
from npsnn.train.config import Config

TABLE_7 = {
    "cifar10": ("resnet18", 0.1, 1.0, 1e-2, 200),
    "svhn": ("resnet18", 0.05, 0.5, 1e-2, 200),
    "fashion-mnist": ("lenetpp", 0.1, 0.5, 1e-3, 100),
    "digits": ("lenetpp", 0.1, 0.5, 1e-3, 100),  # not in the paper: as the other grey images
}
TABLE_5 = {
    "m1": ("diagonal", 1, 0),
    "m2": ("diagonal", 0, 1),
    "m3": ("full", 1, 0),
    "m4": ("full", 0, 1),
    "m5": ("full", 1, 1),
}


@pytest.mark.parametrize("dataset", TABLE_7)
@pytest.mark.parametrize("model", TABLE_5)
def test_a_recipe_is_what_the_tables_say(model: str, dataset: str) -> None:
    config = recipes.config(f"a2snn-{model}", dataset)
    backbone, lambda1, lambda2, lr, epochs = TABLE_7[dataset]
    covariance, entropy, alignment = TABLE_5[model]
    assert (config.model, config.dataset, config.lr, config.epochs) == (backbone, dataset, lr, epochs)
    assert (config.noise, config.covariance, config.batch_size) == ("features", covariance, 128)
    assert (config.max_entropy, config.alignment) == (lambda1 * entropy, lambda2 * alignment)
    assert (config.loss, config.propagation, config.learn_sigma) == ("cross-entropy", "sampled", True)
    assert config.unit_classes == bool(alignment)


def test_without_defence_there_is_no_noise() -> None:
    config = recipes.config("a2snn-m0", "svhn")
    assert (config.sigma, config.learn_sigma, config.max_entropy, config.alignment) == (0, False, 0, 0)
    assert not config.noise_enters


def test_given_options_go_before() -> None:
    config = recipes.config("a2snn-m5", "cifar10", model="lenet5", epochs=3)
    assert asdict(config) == asdict(Config(**recipes.recipe("a2snn-m5", "cifar10") | {"model": "lenet5", "epochs": 3}))
    assert (config.model, config.epochs, config.alignment) == ("lenet5", 3, 1.0)


def test_an_unknown_recipe_names_the_choices() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'm5', expected one of a2snn-m0, a2snn-m1"):
        recipes.recipe("m5", "cifar10")
