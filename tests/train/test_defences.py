"""The defences of the literature as recipes: their settings, and that each trains to the same bytes however it runs."""

from dataclasses import fields, replace
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
from npsnn.train.defences import DEFENCES, on
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
        theirs = kind.published.get(dataset, {})
        assert {f for f, s in sources.items() if s == "paper"} == set(theirs)
        assert set(sources.values()) <= {"paper", "chosen here", "default"}
        assert bool(theirs) or set(kind.chosen) == {"mnist", "fashion-mnist", "digits"}
    assert kind.paper and kind.what and kind.found and "cifar10" in kind.published


@pytest.mark.parametrize("name", DEFENCES)
def test_the_code_sets_what_departs(name: str) -> None:
    defence = on(name, "fashion-mnist", code=True)
    for field, departure in DEFENCES[name].departures.items():
        assert getattr(defence, field) == departure.value != getattr(on(name, "fashion-mnist"), field)
        assert {f: s for f, _, s in defence.explained("fashion-mnist")}[field] == "authors' code"
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
