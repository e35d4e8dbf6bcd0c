"""Plans that cannot be carried out are refused by name; what a plan runs, in which order, and on what."""

from dataclasses import fields, replace
from math import inf
from typing import Any

import numpy as np
import pytest
from small_networks import linear

from npsnn.attacks.base import target_of
from npsnn.attacks.carlini_wagner import CarliniWagner
from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.plan import RADII, Plan, choices
from npsnn.attacks.projected import BIM, FGSM, PGD
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.sources import ClosedForm, EoT, Expectation
from npsnn.objectives import OBJECTIVES, untargeted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ("fgsm", "c&w")}, "attack must be one of quick, auto, .*adaptive-cw, .*got 'c&w'"),
        ({"attacks": ()}, r"attacks must hold at least one, got \(\)"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"restarts": 0}, "restarts must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"eot": -1}, "eot must be >= 0, got -1"),
        ({"eps": ()}, r"eps must hold at least one, got \(\)"),
        ({"eps": (0.1, -0.1)}, "eps must be >= 0 and finite, got -0.1"),
        ({"eps": (inf,)}, "eps must be >= 0 and finite, got inf"),
        ({"eps": (0.1, 8)}, r"eps must be at most 1 in linf, for pixels in \[0, 1\], got 8: is it 8/255\?"),
        ({"norm": "l0"}, "norm must be one of linf, l2, l1, got 'l0'"),
        ({"objective": "hinge"}, "objective"),
        ({"propagation": "clark"}, "propagation"),
        ({"sigma": -0.1}, "sigma must be >= 0 and finite, got -0.1"),
        ({"sigma": float("nan")}, "sigma must be >= 0 and finite, got nan"),
        ({"samples": 0}, "samples must be >= 1, got 0"),
        ({"pixels": ()}, r"pixels must hold at least one, got \(\)"),
        ({"pixels": (1, 0)}, "pixels must be >= 1, got 0"),
        ({"population": 4}, "population must be >= 5, got 4"),
        ({"generations": 0}, "generations must be >= 1, got 0"),
        ({"kappa": ()}, r"kappa must hold at least one, got \(\)"),
        ({"kappa": (0.0, -1.0)}, "kappa must be >= 0 and finite, got -1.0"),
        ({"cw_steps": 0}, "cw_steps must be >= 1, got 0"),
        ({"cw_searches": 0}, "cw_searches must be >= 1, got 0"),
        ({"cw_lr": 0.0}, "cw_lr must be > 0 and finite, got 0.0"),
        ({"cw_constant": float("nan")}, "cw_constant must be > 0 and finite, got nan"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Plan(**options)
    assert "\n" not in str(caught.value)


PLAN = Plan(
    attacks=("cw", "random", "adaptive-one-pixel", "one-pixel", "fgsm", "adaptive-cw"),
    eps=(0.1, 0.2),
    norm="l2",
    eot=3,
    draws=4,
    samples=7,
    pixels=(1, 3),
    population=9,
    generations=2,
    kappa=(0.0, 0.5),
    cw_steps=11,
    cw_lr=0.3,
    cw_constant=0.2,
    cw_searches=5,
)


def test_attacks_run_ball_by_ball_and_only_on_request() -> None:
    assert PLAN.runs() == [
        ("random", 0.1),
        ("fgsm", 0.1),
        ("random", 0.2),
        ("fgsm", 0.2),
        ("adaptive-one-pixel", 1),
        ("one-pixel", 1),
        ("adaptive-one-pixel", 3),
        ("one-pixel", 3),
        ("cw", 0.0),
        ("adaptive-cw", 0.0),
        ("cw", 0.5),
        ("adaptive-cw", 0.5),
    ]
    assert Plan().attacks == ("quick",)
    assert [name for name, choice in choices().items() if choice.by_default] == list(Plan().attacks)
    others = ("random", "one-pixel", "adaptive-one-pixel", "cw", "adaptive-cw")
    assert tuple(name for name in choices() if name in others) == others
    assert replace(PLAN, attacks=("cw",)).runs() == [("cw", 0.0), ("cw", 0.5)]


def test_attacks_have_the_plans_settings() -> None:
    drawn, adaptive = {"source": EoT(3)}, {"source": ClosedForm()}
    assert PLAN.attack("random", 0.1) == RandomSearch(0.1, "l2", 7, 4)
    assert PLAN.attack("one-pixel", 3) == OnePixel(3, 9, 2, draws=4, **drawn)
    assert PLAN.attack("adaptive-one-pixel", 3) == OnePixel(3, 9, 2, draws=4, **adaptive)
    assert PLAN.attack("cw", 0.5) == CarliniWagner(0.5, 11, 0.3, 0.2, 5, 4, **drawn)
    assert PLAN.attack("adaptive-cw", 0.5) == CarliniWagner(0.5, 11, 0.3, 0.2, 5, 4, **adaptive)
    names = ("fgsm", "bim", "pgd", "adaptive-fgsm", "adaptive-pgd")
    plan = Plan(names, norm="l2", steps=5, restarts=3, eot=4, objective="mse", propagation="laplace")
    closed = {"source": ClosedForm("mse", "laplace")}
    assert [plan.attack(name, 0.1) for name in plan.names] == [
        FGSM(0.1, "l2", EoT(4, "mse")),
        BIM(0.1, "l2", 5, EoT(4, "mse")),
        PGD(0.1, "l2", 5, 3, EoT(4, "mse")),
        FGSM(0.1, "l2", **closed),
        PGD(0.1, "l2", 5, 3, **closed),
    ]
    assert replace(plan, eot=0).attack("fgsm", 0.1) == FGSM(0.1, "l2", Expectation("mse"))
    assert plan.attack("cw", 0.5).source == plan.attack("apgd-t", 0.1).source == EoT(4), "they have their own"
    assert plan.attack("adaptive-cw", 0.5).source == ClosedForm(propagation="laplace"), "it has margins of its own"


def test_what_a_plan_makes_is_called_as_the_plan_names_it() -> None:
    plan = replace(PLAN, attacks=tuple(choices()))
    assert [attack.label for attack in plan.made()] == [name for name, _ in plan.runs()]


@pytest.mark.parametrize(
    ("name", "sigma", "kind", "objective"),
    [
        ("cw", 0.3, "sampled", "margin"),
        ("cw", 0.0, "expectation", "margin"),
        ("adaptive-cw", 0.3, "closed-form", "least-win-probability"),
        ("adaptive-cw", 0.0, "expectation", "margin"),
        ("one-pixel", 0.3, "sampled", "cross-entropy"),
        ("one-pixel", 0.0, "expectation", "cross-entropy"),
        ("adaptive-one-pixel", 0.3, "closed-form", "least-win-probability"),
        ("adaptive-one-pixel", 0.0, "expectation", "cross-entropy"),
        ("square", 0.3, "sampled", "margin"),
        ("sparse-rs", 0.3, "sampled", "margin"),
        ("adaptive-sparse-rs", 0.3, "closed-form", "least-win-probability"),
        ("spsa", 0.3, "sampled", "margin"),
        ("adaptive-square", 0.3, "closed-form", "least-win-probability"),
        ("adaptive-square", 0.0, "expectation", "margin"),
        ("random", 0.3, "sampled", "cross-entropy"),
    ],
)
def test_what_each_attack_asks(name: str, sigma: float, kind: str, objective: str) -> None:
    for plan in (PLAN, replace(PLAN, objective="noise-aware", propagation="laplace")):
        target = target_of(plan.attack(name, plan.strengths(name)[0]), linear(sigma))
        assert (target.kind, target.objective) == (kind, OBJECTIVES[objective])
    assert target_of(PLAN.attack("cw", 0.0), linear(0.3)).draws == 3
    assert target_of(replace(PLAN, eot=0).attack("cw", 0.0), linear(0.3)).kind == "expectation"


@pytest.mark.parametrize("objective", untargeted())
def test_gradient_attacks_ascend_any_objective_but_those_of_the_variance_on_draws(objective: str) -> None:
    for name in ("fgsm", "bim", "pgd", "apgd", "adaptive-pgd", "adaptive-apgd"):
        if objective in ("win-probability", "least-win-probability") and not name.startswith("adaptive-"):
            said = f"objective {objective} is of the closed form, .*{name} ascend draws"
            with pytest.raises(ValueError, match=said):
                Plan(("adaptive-fgsm", name), objective=objective)
            continue
        plan = Plan((name,), objective=objective)
        for sigma in (0.0, 0.3):
            if sigma or objective not in ("win-probability", "least-win-probability"):
                target = target_of(plan.attack(name, 0.1), linear(sigma))
                assert target.objective is OBJECTIVES[objective]
    with pytest.raises(ValueError, match=r"objective must be one of .*, got 'targeted-dlr'"):
        Plan(("pgd",), objective="targeted-dlr")


@pytest.mark.parametrize("name", ["auto-pgd", "adaptive-auto-pgd", "", "PGD"])
def test_an_unknown_attack_is_refused_wherever_it_is_named(name: str) -> None:
    for call in (
        lambda: Plan().attack(name, 0.1),
        lambda: Plan().strengths(name),
        lambda: Plan(name),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=f"attack must be one of quick, auto, .*, got '{name}'"):
            call()


def test_part_of_a_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pixels must be a whole number >= 1, got 1\.7"):
        Plan().attack("one-pixel", 1.7)


def test_one_value_will_do_for_several() -> None:
    assert Plan("pgd", eps=0.1, pixels=2, kappa=1) == Plan(("pgd",), (0.1,), pixels=(2,), kappa=(1.0,))  # type: ignore[arg-type]
    assert Plan(eps=np.array([0.1, 0.2]), pixels=range(1, 3)) == Plan(eps=(0.1, 0.2), pixels=(1, 2))  # type: ignore[arg-type]
    assert Checklist(pixels=3).pixels == (3,)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"eps must be of the type .*, got 'pgd'"):
        Plan(eps="pgd")  # type: ignore[arg-type]


def test_the_radii_are_the_norms_own_unless_they_are_given() -> None:
    assert Plan().radii == Plan().eps == RADII["linf"]
    assert Plan(norm="l2").radii == Plan(norm="l2").eps == RADII["l2"]
    assert Plan(norm="l2", eps=(0.1, 8)).radii == (0.1, 8)
    assert {eps for _, eps in Plan(("fgsm",), norm="l2").runs()} == set(RADII["l2"])


def test_an_option_is_heeded_by_some_attack_or_named_with_those_that_would() -> None:
    names = [f.name for f in fields(Plan)]
    assert Plan(tuple(choices())).unused(names) == {}
    unused = Plan(("fgsm",)).unused(names)
    assert unused["steps"][:3] == ("bim", "pgd", "adaptive-pgd") and unused["samples"] == ("random",)
    assert not {"eps", "norm", "eot", "draws", "sigma", "average", "seed", "attacks"} & unused.keys()
    assert {"eps", "norm"} <= Plan(("cw", "adaptive-one-pixel")).unused(names).keys()


@pytest.mark.parametrize("name", choices())
def test_what_an_attack_does_not_heed_does_not_change_it(name: str) -> None:
    """Each option that is said to be unused leaves the attacks equal; each other changes them."""
    plan = Plan((name,))
    changes: dict[str, Any] = {
        "eps": (0.05,), "norm": "l2", "steps": 3, "restarts": 2, "eot": 3, "objective": "noise-aware",
        "propagation": "laplace", "samples": 7, "pixels": (2,), "population": 6, "generations": 3, "kappa": (1.0,),
        "queries": 9, "cw_steps": 5, "cw_lr": 0.5, "cw_constant": 0.5, "cw_searches": 3,
    }  # fmt: skip
    unused = plan.unused(changes)

    for option, value in changes.items():
        assert (replace(plan, **{option: value}).made() == plan.made()) == (option in unused), option


def test_what_is_named_twice_runs_once() -> None:
    plan = Plan(("fgsm", "cw", "fgsm"), eps=(0.2, 0.1, 0.2), kappa=(0.0, 0.0))
    assert plan.runs() == [("fgsm", 0.2), ("fgsm", 0.1), ("cw", 0.0)]
