"""The defences of the literature as recipes: their settings, and that each trains to the same bytes however it runs."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import contents

from npsnn import Classifier, data, train
from npsnn.audit import CARDS
from npsnn.data import Dataset, Split
from npsnn.layers.params import Role, flatten
from npsnn.streams import Stream
from npsnn.train.defences import DEFENCES, Defence, Departure, defence, on
from npsnn.train.losses import TRADES

DATASETS = ("mnist", "fashion-mnist", "digits", "cifar10")
SMALL = {"epochs": 2, "batch_size": 20, "model": "lenet5"}
ROWS = {card.id for card in CARDS.values() if card.id[0] == "C"}
TWELVE = {"trades", "mart", "bpfc", "rlflat", "pcl", "sads", "rse", "pni", "l2p", "pixeldp", "adv-bnn", "mi"}


@pytest.fixture(scope="module")
def images() -> Dataset:
    digits = data.load("digits")
    return replace(digits, train=Split(digits.train.images[:44], digits.train.labels[:44]))


def small(name: str, **more: Any) -> Any:
    """A defence that trains in a moment."""
    steps = {"steps": 2} if "steps" in {f.name for f in fields(DEFENCES[name])} else {}
    return on(name, "digits", **SMALL | steps | more)


def test_all_competitors_of_the_tables_are_there() -> None:
    assert set(DEFENCES) >= TWELVE and set(DEFENCES) - TWELVE == {"pgd-training"}


@pytest.mark.parametrize("name", DEFENCES)
def test_each_setting_of_each_data_set_is_one(name: str) -> None:
    kind = DEFENCES[name]
    for dataset in DATASETS:
        defence, known = on(name, dataset), {f.name for f in fields(kind)}
        assert set(kind.settings(dataset)) <= known
        sources = {field: source for field, _, source in defence.explained(dataset)}
        theirs, instead = kind.published.get(dataset), kind.instead.get(dataset, {})
        own = known - {f.name for f in fields(Defence)}
        papers = set() if theirs is None else (set(theirs) | own) - set(instead)
        assert {f for f, s in sources.items() if s == "paper or code"} == papers
        assert {f for f, s in sources.items() if s.startswith("in place of ")} == set(instead)
        assert theirs is not None or dataset in kind.chosen
    assert kind.paper and kind.what and kind.found and set(kind.instead) <= set(kind.published)


@pytest.mark.parametrize("name", DEFENCES)
def test_colour_images_have_the_settings_of_colour_images(name: str) -> None:
    assert on(name, "cifar10-unverified") == on(name, "cifar10") != on(name, "fashion-mnist")
    assert on(name, "svhn") == replace(on(name, "cifar10"), augmentation="none")


@pytest.mark.parametrize("name", DEFENCES)
def test_the_code_sets_what_departs(name: str) -> None:
    defence = on(name, "cifar10", code=True)
    for field, departure in DEFENCES[name].departures.items():
        assert getattr(defence, field) == departure.value != getattr(on(name, "cifar10"), field)
        assert {f: s for f, _, s in defence.explained("cifar10")}[field] == "authors' code"
        assert departure.row in ROWS and departure.text


def test_settings_that_are_given_take_precedence() -> None:
    defence = on("trades", "mnist", beta=3, epochs=5)
    assert (defence.beta, defence.epochs, defence.eps, defence.model) == (3.0, 5, 0.3, "small-cnn")
    assert {f: s for f, _, s in defence.explained("mnist")}["beta"] == "given"
    with pytest.raises(ValueError, match="btea is no setting of trades; did you mean beta"):
        on("trades", "mnist", btea=3)
    with pytest.raises(ValueError, match="unknown defence 'trade'"):
        on("trade", "mnist")
    with pytest.raises(ValueError, match="eps must be in"):
        on("trades", "mnist", eps=2)


def test_a_class_that_is_no_defence_is_refused() -> None:
    class Nothing:
        pass

    def made(**attributes: Any) -> Any:
        return dataclass(frozen=True)(type("Odd", (Defence,), attributes))

    refused: dict[str, Any] = {
        "must be a dataclass that inherits": Nothing,
        "Odd.beta must be declared by npsnn.validate.option": made(__annotations__={"beta": float}, beta=6.0),
        "a setting in Odd.departures must be one of .*, got 'rl'": made(departures={"rl": Departure(1, "", "C1")}),
        r"a setting in Odd.chosen\['digits'\] must be one of .*, got 'modle'": made(chosen={"digits": {"modle": "x"}}),
        r"Odd.answers\[0\] must be one of logits.*, got 'probability'": made(answers=("probability", 20)),
    }
    for message, kind in refused.items():
        with pytest.raises((TypeError, ValueError), match=message):
            defence("odd")(kind)
    with pytest.raises(ValueError, match="falls must be in their order"):
        on("trades", "digits", falls=(0.75, 0.5))


@pytest.mark.parametrize("name", DEFENCES)
def test_a_setting_reaches_the_training_or_is_idle(images: Dataset, name: str) -> None:
    """Another value of each setting makes another training, unless the setting says that it is idle."""
    plain = small(name)
    changed = {"model": "cnn5", "augmentation": "crop-flip", "falls": (0.3,), "rises": (0.3,)}
    changed |= {"optimizer": "adam" if plain.optimizer == "sgd" else "sgd"}
    others = {"form": {"P": "T", "paper": "code"}, "choice": {"other": "predicted"}, "scope": {"layer": "channel"}}
    others |= {"norm": {"bound": "authors"}}
    for f in fields(plain):
        value = getattr(plain, f.name)
        if f.name in others:
            other: Any = others[f.name][value]
        elif isinstance(value, bool):
            other = not value
        else:
            other = changed.get(f.name) or (value + 1 if isinstance(value, int) else (value or 0.5) / 2)
        same = replace(plain, **{f.name: other}).training(images) == plain.training(images)
        assert same == (f.name in plain.idle()), f.name


def test_a_recipe_is_its_training(images: Dataset) -> None:
    training = small("trades", falls=(0.5,)).training(images, seed=3, limit=40)
    assert isinstance(training.loss, TRADES) and training.loss.beta == 6 and (training.seed, training.limit) == (3, 40)
    assert [training.schedule(done) for done in (0.49, 0.5)] == pytest.approx([1, 0.1])
    weight = small("adv-bnn").training(images).terms[0].weight
    assert weight == pytest.approx(0.02 / 40), "the KL is of the images that are trained on"


@pytest.mark.parametrize("name", DEFENCES)
def test_its_training_is_saved_and_read(images: Dataset, name: str) -> None:
    for authors_code in (False, True):
        training = small(name, **{k: d.value for k, d in DEFENCES[name].departures.items() if authors_code}).training(
            images
        )
        assert train.Training.from_json(training.to_json()) == training


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFENCES)
def test_it_trains_to_the_same_bytes(images: Dataset, tmp_path: Path, name: str) -> None:
    training, folders = small(name).training(images), []
    training = replace(training, model=replace(training.model, micro_batch=8))
    for threads in (1, 2):
        folders.append(tmp_path / str(threads))
        records = list(train.fit(training, images, folders[-1], threads=threads, recipe=small(name)))
    begun = tmp_path / "stopped"
    stopped = train.fit(training, images, begun, threads=1, recipe=small(name))
    next(record for record in stopped if isinstance(record, train.Epoch))
    del stopped
    list(train.resume(begun, images, threads=2))
    wanted = contents(folders[0])["last.npz"]
    assert all(contents(folder)["last.npz"] == wanted for folder in (folders[1], begun))
    assert np.isfinite([r.loss for r in records]).all()
    made, first = Classifier.load(begun), Stream(0).at("init").generator()
    drawn, trained = flatten(made.model.init(first)), flatten(made.params)
    still = () if Role.NOISE in training.trains else (".sigma",)
    assert all(not np.array_equal(p, drawn[k]) for k, p in trained.items() if not k.endswith((".pool", *still)))
