"""Jobs: their keys hold all that their records depend on."""

from dataclasses import replace
from typing import Any

import pytest
from tiny_reproduction import attacked, defended, network

from npsnn.attacks import PGD, Auto, Group
from npsnn.attacks.judging import Judging
from npsnn.jobs.schedule import with_needs
from npsnn.reproduce.jobs import Attack, Measure, Train
from npsnn.train.config import Config


def test_equal_jobs_have_equal_keys_and_are_done_once() -> None:
    assert network() == network() and network().key == network().key
    assert [job.key for job in with_needs([attacked(), attacked()])] == [network().key, attacked().key]


@pytest.mark.parametrize(
    "other",
    [
        *(network(0.7), network(seed=1), network(epochs=2), network(limit=65), network(micro_batch=8), defended()),
        replace(network(), name="mine"),
    ],
)
def test_another_training_has_another_key(other: Train) -> None:
    assert other.key != network().key
    assert attacked(other).key != attacked().key


@pytest.mark.parametrize(
    "change",
    [
        {"attacks": (("pgd", PGD(0.1, steps=3)),)},
        {"attacks": (("auto", Auto(0.1, steps=3)),)},
        {"attacks": (("auto", Auto(0.1, steps=2)),)},
        {"attacks": (("mine", Group("mine", (PGD(0.1),))),)},
        {"images": 9},
        {"judging": Judging(sigma=0.0)},
        {"judging": Judging(average=4)},
        {"judging": Judging(first=64)},
    ],
)
def test_another_attack_has_another_key(change: dict[str, Any]) -> None:
    assert replace(attacked(), **change).key != attacked().key


def test_an_option_that_came_later_leaves_old_keys_as_they_are() -> None:
    """Whoever adds an option to Config or Judging enters it in LATER, or no committed record is found any more."""
    assert Train("any", Config()).key == "any-dca4ba2948"
    assert Attack(Train("any", Config()), (("pgd", PGD(0.1)),), 8).key == "any-attacked-bf4442ffd1"


def test_a_defence_differs_by_each_setting() -> None:
    assert len({defended().key, defended(beta=3.0).key, replace(defended(), seed=1).key}) == 3


def test_what_a_network_starts_from_counts() -> None:
    later = replace(network(0.3), start=network())
    assert later.key != network(0.3).key
    assert with_needs([later]) == [network(), later]


def test_a_measurement_needs_its_networks() -> None:
    found = Measure("law", "any", (network(), network(seed=1)), (("draws", 5),))
    assert with_needs([found]) == [network(), network(seed=1), found]
    assert found.key != replace(found, settings=(("draws", 6),)).key


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="flat options have a dataset, seed and limit of their own"):
        Train("x", Config(), "digits")
    with pytest.raises(ValueError, match="dataset must be given beside a defence, got ''"):
        Train("x", defended().of)
