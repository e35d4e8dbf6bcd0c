"""Which classes the table of attacks takes, and under which names; and which values are attacks."""

from dataclasses import dataclass, replace
from typing import Any

import faulty_attacks as faulty
import numpy as np
import pytest
from small_networks import convolutional, images, predicted

from npsnn import attacks
from npsnn.attacks.base import ATTACKS, OPTIONS, attack
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.cli.attack import command
from npsnn.cli.help import Option


def test_no_flag_of_an_attack_is_another_option() -> None:
    params = command().params
    others = [p for p in params if not getattr(p, "group", "").startswith("Attacks")]
    names = {str(flag).removeprefix("--") for p in others for flag in p.opts}
    assert names | {"help"} == OPTIONS
    assert all(isinstance(p, Option) or p.name == "run" for p in params)


@pytest.mark.parametrize("name", ["average", "Average", "cw_lr", "help", "run"])
def test_an_attack_named_as_an_option_is_refused(name: str) -> None:
    option = name.lower().replace("_", "-")
    with pytest.raises(
        ValueError, match=f"the attack {name} of Right cannot have the flag --{option}: it is an option of npsnn attack"
    ):
        attack(name)(faulty.Right)
    assert name not in ATTACKS


def test_the_name_of_a_closed_form_is_not_another_attacks() -> None:
    with pytest.raises(ValueError, match="the attack adaptive-fgsm must not begin with adaptive-"):
        attack("adaptive-fgsm")(faulty.Right)


class Two(faulty.Right):
    def __call__(self, target: Any, x: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return x


@dataclass(frozen=True)
class Misspelt(attacks.Attack):
    bal: Any = attacks.Ball("linf", 0.1)  # noqa: RUF009

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        return x


def function(target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
    return x


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Two, r"Two.__call__ must take \(self, target, x, labels, stream\), got \(self, target: Any, x"),
        (Misspelt, r"Misspelt is no attack: it has no ball, such as Ball\('linf', 0.1\)"),
        (function, "function must be a dataclass to be an attack"),
    ],
)
def test_what_is_no_attack_is_not_entered(entry: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        attack("own")(entry)
    assert "own" not in ATTACKS


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (Two(), TypeError, r"Two.__call__ must take \(target, x, labels, stream\), got"),
        (faulty.Right(source=50), TypeError, r"must be a value such as EoT\(50\) or ClosedForm\(\), got 50"),  # type: ignore[arg-type]
        (attacks.PGD(0.1, source=attacks.EoT), TypeError, r"such as EoT\(50\).*, got the class EoT"),  # type: ignore[arg-type]
        (faulty.Right(8), ValueError, "must be at most 1 in linf, for pixels in .*, got 8: is it 8/255"),
    ],
)
def test_what_cannot_be_run_is_told_before(value: Any, kind: type[Exception], said: str) -> None:
    network, x = convolutional(), images(3)
    with pytest.raises(kind, match=said):
        robust_accuracy(network, x, predicted(network, x), [value])


def test_a_radius_of_another_norm_may_be_large() -> None:
    network, x = convolutional(), images(2)
    (result,) = robust_accuracy(network, x, predicted(network, x), [replace(attacks.FGSM(3.0, norm="l2"))])
    assert result.eps == 3


def test_the_types_that_the_attacks_of_a_user_name_are_public() -> None:
    assert attacks.Source is attacks.sources.Source and "Source" in attacks.__all__
