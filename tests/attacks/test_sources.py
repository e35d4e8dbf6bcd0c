"""Where an attack takes its gradients: each source makes the target that the function of its name makes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, on_features, predicted, several

from npsnn import attacks
from npsnn.attacks.base import SOURCES, target_of
from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.judging import Judging
from npsnn.attacks.sources import Ascends, ClosedForm, EoT, Expectation, Known
from npsnn.attacks.targets import closed_form, expectation, known, sampled
from npsnn.objectives import OBJECTIVES
from npsnn.ops.gaussian import RULES
from npsnn.streams import Stream

NETWORK, X = convolutional(), images(5)
LABELS = predicted(NETWORK, X)
SMALL = attacks.Checklist(0.2, steps=2, eot=2, draws=2, samples=3, population=5, generations=1, ladder=(0.1, 0.2))
OWN = Ascends("margin", closed_form="least-win-probability")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Expectation(), expectation(NETWORK)),
        (Expectation("mse"), expectation(NETWORK, "mse")),
        (EoT(3), sampled(NETWORK, 3)),
        (EoT(3, "mse"), sampled(NETWORK, 3, "mse")),
        (ClosedForm(), closed_form(NETWORK)),
        (ClosedForm(propagation="laplace"), closed_form(NETWORK, propagation="laplace")),
        (ClosedForm("win-probability"), closed_form(NETWORK, "win-probability")),
        (Known(Stream(3)), known(NETWORK, Stream(3))),
    ],
)
def test_a_source_makes_its_target(source: Any, target: Any) -> None:
    assert source.of(NETWORK) == target
    assert isinstance(source, attacks.base.Source)


def test_without_noise_there_is_nothing_to_draw() -> None:
    quiet = NETWORK.with_sigma(0)
    assert EoT(3).of(quiet) == expectation(quiet)
    assert ClosedForm().of(quiet) == closed_form(quiet)
    assert ClosedForm().of(quiet, OWN) == expectation(quiet, "margin"), "there are no standard deviations"
    with pytest.raises(ValueError, match="least-win-probability objective needs noise"):
        ClosedForm("least-win-probability").of(quiet, OWN)


def test_a_source_that_names_no_objective_has_the_attacks_own() -> None:
    for source, name in (
        (EoT(2), "margin"),
        (Expectation(), "margin"),
        (Known(0), "margin"),
        (ClosedForm(), "least-win-probability"),
        (EoT(2, "mse"), "mse"),
        (ClosedForm("mse"), "mse"),
    ):
        assert source.of(NETWORK, OWN).objective is OBJECTIVES[name]  # type: ignore[attr-defined]
    assert target_of(attacks.CarliniWagner(source=EoT(50)), NETWORK).objective is OBJECTIVES["margin"]
    assert target_of(attacks.OnePixel(source=ClosedForm()), NETWORK).objective is OBJECTIVES["least-win-probability"]


def test_the_name_of_an_adaptive_attack_says_so() -> None:
    labels = [attacks.PGD(0.1, source=source).label for source in (Expectation(), EoT(), ClosedForm(), Known(0))]
    assert labels == ["pgd", "pgd", "adaptive-pgd", "pgd"]


@pytest.mark.parametrize("source", [Expectation("mse"), EoT(7), ClosedForm("mse", "laplace")])
def test_sources_survive_json(source: Any) -> None:
    assert SOURCES.decode(SOURCES.encode(source)) == source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EoT(0), "draws must be >= 1, got 0"),
        (lambda: EoT(2, "hinge"), "unknown objective 'hinge', expected one of noise-aware"),
        (lambda: Expectation("margins"), "did you mean margin"),
        (lambda: ClosedForm("crossentropy"), "did you mean cross-entropy"),
        (lambda: ClosedForm(propagation="clark"), "unknown propagation 'clark'"),
    ],
)
def test_wrong_names_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rule", RULES)
def test_the_closed_form_of_several_noise_layers(rule: str) -> None:
    """The mean is moved where a noise meets a rectifier; noise on the features has the covariance of the logits."""
    inner, both = several(), several(features=0.5)
    moved = RULES[rule].mean_uses_var
    assert closed_form(inner, propagation=rule) == closed_form(
        inner, "win-probability" if moved else "noise-aware", propagation=rule
    )
    assert closed_form(both, propagation=rule).objective is OBJECTIVES["expected-cross-entropy"]
    assert closed_form(both, "cross-entropy", rule).kind == ("closed-form" if moved else "expectation")
    assert closed_form(on_features(), "cross-entropy", rule).kind == "expectation"


def test_several_noise_layers_are_attacked_and_judged() -> None:
    network, x = several(features=0.3), images(6).astype(np.float32)
    labels = predicted(network, x)
    given = [
        attacks.PGD(0.2, steps=2),
        attacks.FGSM(0.2, source=ClosedForm()),
        attacks.CarliniWagner(steps=3, searches=2),
    ]
    found = list(robust_accuracy(network, x, labels, given, Judging(draws=3)))
    assert [r.gradient for r in found] == ["sampled", "closed-form", "sampled"] and not found[0].noise_ignored
    quiet = list(robust_accuracy(network, x, labels, given[:1], Judging(draws=3, sigma=0)))
    assert quiet[0].gradient == "expectation" and set(quiet[0].accuracy.each) <= {0.0, 1.0}
    only = Judging(draws=3, sigma={path: 0.0 for path in network.sigmas if path != "noise"})
    assert [s > 0 for s in only.defended(network).sigmas.values()] == [True, False, False]
    criteria = list(attacks.examine(network, x, labels, SMALL))
    assert len(criteria) == 10
    with pytest.raises(ValueError, match="several"):
        Judging(sigma=0.3).defended(network)
    broken = network.params["fc"] | {"b": network.params["fc"]["b"] * np.nan}
    loud = replace(network, params=network.params | {"fc": broken})
    with pytest.raises(ValueError, match=r"under a noise of sigma noise 0.3, block.body.noise 0.6, features"):
        attacks.accuracy(loud, x, labels, 1)
