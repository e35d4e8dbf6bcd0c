"""The grid of a sweep: which trainings options with several values ask for."""

from dataclasses import replace
from typing import Any

import pytest

from npsnn import data, train
from npsnn.train.grid import LIMIT, grid


def test_every_value_meets_every_other_and_the_last_changes_fastest() -> None:
    points = grid(sigma=[0.3, 0.6], seed=[0, 1], epochs=2)
    assert [p.key for p in points] == ["sigma0.3-seed0", "sigma0.3-seed1", "sigma0.6-seed0", "sigma0.6-seed1"]
    assert [p.of for p in points] == [train.Config(sigma=s, seed=n, epochs=2) for s in (0.3, 0.6) for n in (0, 1)]
    assert points[1].settings == (("sigma", 0.3), ("seed", 1))


def test_a_list_of_one_value_names_it_as_a_longer_one_does() -> None:
    assert [p.key for p in grid(sigma=[0.3], seed=[1])] == ["sigma0.3-seed1"]


def test_without_lists_there_is_one_training() -> None:
    assert [(p.key, p.of) for p in grid({"lr": 1e-2})] == [("training", train.Config(lr=1e-2))]


def test_a_recipe_is_an_axis_with_settings_of_its_own() -> None:
    mine, theirs = grid(recipe=["trades", "pgd-training"], dataset="digits", epochs=1, seed=3, limit=64, conv="direct")
    assert (mine.key, theirs.key) == ("recipe-trades", "recipe-pgd-training")
    assert mine.of == train.defences.on("trades", "digits", epochs=1) and theirs.data == "digits"
    found = data.load("digits")
    expected = mine.of.training(found, 3, 64, "direct")  # type: ignore[union-attr]
    assert mine.options(found) == expected != replace(expected, seed=4)
    assert [p.key for p in grid(recipe="trades", beta=[1, 6.5])] == ["beta1", "beta6.5"]
    a2snn = grid(recipe=["a2snn-m0", "a2snn-m5"], model="lenet5", seed=1)
    assert a2snn[1].of == train.recipes.config("a2snn-m5", "digits", model="lenet5", seed=1)


def test_a_defence_heeds_the_options_of_the_run() -> None:
    (point,) = grid(recipe="trades", micro_batch=8, authors_code=True)
    assert point.options(data.load("digits")).micro_batch == 8
    assert point.of == train.defences.on("trades", "digits", True)
    (a2snn,) = grid(recipe="a2snn-m5", dataset="cifar10", authors_code=True)
    assert a2snn.of == train.recipes.config("a2snn-m5", "cifar10", authors_code="4f752b8")


def test_a_list_of_an_option_that_is_a_sequence_is_one_value() -> None:
    (one,) = grid(recipe="pgd-training", falls=[0.5, 0.75])
    assert one.of.falls == (0.5, 0.75)  # type: ignore[union-attr]
    two = grid(recipe="pgd-training", falls=[[0.5], [0.5, 0.75]])
    assert [p.key for p in two] == ["falls-0.5", "falls-0.5+0.75"]


def test_names_tell_values_apart() -> None:
    keys = [p.key for p in grid(sigma=[0.30000001, 0.3], learn_sigma=[True, False], dataset=["digits", "mnist"])]
    assert keys[0] == "sigma0.30000001-learn-sigma-on-dataset-digits" and len(set(keys)) == 8


def test_what_is_idle_is_said() -> None:
    assert grid(momentum=0.9)[0].idle == (), "a file with all options, such as config.json, says nothing by those"
    assert grid(momentum=0.5)[0].idle == ("momentum has no effect unless optimizer is sgd",)
    assert grid(recipe="trades", momentum=0.5)[0].idle == ("momentum has no effect unless optimizer is sgd",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigm": 0.3}, "sigm is no option of a training; did you mean sigma?"),
        ({"noise_only": True}, "noise_only is no option of a training"),
        ({"sigma": []}, r"sigma must have at least one value, got \[\]"),
        ({"seed": [1, 2, 1]}, "seed must have each value once, got 1 twice"),
        ({"sigma": [0.3, -1.0]}, "training sigma-1: sigma must be"),
        ({"sigma": [0.3, "much"]}, "sigma-much: sigma must be"),
        ({"beta": [1, 2]}, "beta is no option of a training: it is a setting of the recipe trades"),
        ({"recipe": "mart", "beta": 1}, "beta is no option of a training by these recipes: it is a setting of"),
        ({"set": ["beta=1"]}, "set is no option of a sweep: write each setting of a recipe as an option, beta = 6"),
        ({"recipe": "trads"}, "recipe must be one of .*did you mean trades"),
        ({"recipe": ["trades", "mart"], "beta": 1}, "recipe-mart: beta is no setting of mart"),
        ({"recipe": "trades", "authors_code": "4f752b8"}, "authors_code must be true or false for the recipe trades"),
        ({"recipe": "trades", "seed": "x"}, "seed must be of the type int"),
        ({"seed": list(range(1000)), "epochs": list(range(1, 1000))}, f"at most {LIMIT:,} trainings, got 999,000"),
        ({"dataset": ["a/x.npz", "b/x.npz"]}, "dataset has two values that look alike"),
    ],
)
def test_what_is_no_grid_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(options)
