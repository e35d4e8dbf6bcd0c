"""check_term and check_constraint pass those of npsnn, and name what is wrong with each faulty one."""

from typing import Any

import faulty_steps as faulty
import numpy as np
import pytest
from bayesian_networks import bayesian
from entering import entered
from small_networks import of_units, on_features, several

from npsnn.models import Model
from npsnn.optim import Ramp, Times
from npsnn.testing import check_constraint, check_term
from npsnn.train import (
    authors,
    constraint,
    constraints,
    groups,
    operator_norm,
    posterior,
    rewards,
    term,
    terms,
)

LOWER = {"noise.L": np.tril}
SEVERAL, FEATURES, UNITS, BAYESIAN = several().model, on_features().model, of_units(), bayesian()
OUR_TERMS = [
    (terms.SigmaReward(0.1), SEVERAL, None),
    (terms.MaxEntropy(0.1), FEATURES, LOWER),
    (terms.Alignment(0.1), FEATURES, LOWER),
    (terms.Alignment(0.1, pairwise=True), FEATURES, LOWER),
    (authors.LogEntropy(0.1), FEATURES, LOWER),
    (authors.LogTrace(0.1), FEATURES, LOWER),
    (rewards.RootReward(0.1), UNITS, None),
    (posterior.KLDivergence(0.1, 0.3), BAYESIAN, None),
]
OUR_CONSTRAINTS = [
    (constraints.PositiveSigma(), SEVERAL),
    (constraints.UnitFilters("l1"), SEVERAL),
    (constraints.UnitFilters("l2"), SEVERAL),
    (constraints.UnitClasses(), FEATURES),
    (constraints.SafeFactor(), FEATURES),
    (constraints.SigmaCap(0.1), SEVERAL),
    (constraints.SigmaCap(0.1), FEATURES),
    (authors.AuthorsStart(), FEATURES),
    (authors.AuthorsDecay(0.1), FEATURES),
    (authors.UnitMatrix(), FEATURES),
    (constraints.SigmaFloor(0.5), SEVERAL),
    (rewards.AlternatingReward(0.1, 0.1), UNITS),
    (groups.GradientFactor(("fc*",), 0.5), SEVERAL),
    (groups.Decay(("*.w",), 0.1), SEVERAL),
    (operator_norm.OperatorNorm(), SEVERAL),
    (operator_norm.OperatorNorm("authors", beta=0.01), SEVERAL),
]
named = {"ids": lambda part: getattr(type(part), "__name__", "")}


@pytest.mark.parametrize(("checked", "model", "valid"), OUR_TERMS, **named)
def test_every_term_of_npsnn_is_held_to_it(checked: Any, model: Model, valid: Any) -> None:
    check_term(checked, model, valid)


@pytest.mark.parametrize(("checked", "model"), OUR_CONSTRAINTS, **named)
def test_every_constraint_of_npsnn_is_held_to_it(checked: Any, model: Model) -> None:
    check_constraint(checked, model)


def test_schedules_count_as_they_are_at_half_of_a_training() -> None:
    check_term(terms.SigmaReward(Times(0.1, Ramp(0.5))), SEVERAL)
    check_constraint(constraints.SigmaFloor(Ramp(1.0)), SEVERAL)


def test_none_of_npsnn_is_left_out() -> None:
    for table, ours in ((terms.TERMS, OUR_TERMS), (constraints.CONSTRAINTS, OUR_CONSTRAINTS)):
        inside = {kind for kind in table.values() if kind.__module__.startswith("npsnn.")}
        assert inside == {type(checked) for checked, *_ in ours}


def test_right_ones_pass() -> None:
    with entered(term, faulty.RightTerm), entered(constraint, faulty.RightConstraint, faulty.RightMover):
        check_term(faulty.RightTerm())
        check_constraint(faulty.RightConstraint())
        check_constraint(faulty.RightMover())


FAULTY_TERMS = [
    (faulty.WrongSlope, r"d/dfc\.w"),
    (faulty.ForgottenSlope, r"d/dnoise\.sigma"),
    (faulty.OfNothing, r"has gradients of fc9\.w, but small has no such parameter"),
    (faulty.ManyValues, "its value must be a number, got array"),
    (faulty.TermThatWrites, "the term writes to one of its arguments"),
]
FAULTY_CONSTRAINTS = [
    (faulty.NoConstraint, r"must be of a subclass of npsnn\.train\.Constraint"),
    (faulty.WritesToAnArray, "begin writes to one of its arguments"),
    (faulty.WritesToTheDictionary, "begin changes the dictionary that it is given"),
    (faulty.WritesToTheGradients, "before changes the dictionary of gradients that it is given"),
    (faulty.Drops, "begin must return all parameters"),
    (faulty.Widens, r"begin makes of fc\.b float64 \(3,\), it was float32 \(3,\)"),
    (faulty.AddsGradients, r"before adds gradients of fc9\.b"),
    (faulty.ReshapesGradients, r"before makes of fc\.w float32 \(48, 3\), it was float32 \(3, 48\)"),
    (faulty.BeginsElsewhere, r"a step that moves nothing changes fc\.b after begin: let begin do what after does"),
    (faulty.MovesOthers, r"a step that moves nothing changes fc\.w after begin: of a constraint that moves let needs"),
    (faulty.SaysItMoves, "says that it moves parameters by itself, but none moves"),
    (faulty.Shrinks, r"a step that moves nothing changes fc\.w after begin"),
]


@pytest.mark.parametrize(("kind", "said"), FAULTY_TERMS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_faulty_term_is_told_what_is_wrong(kind: Any, said: str) -> None:
    with entered(term, kind), pytest.raises(AssertionError, match=said) as caught:
        check_term(kind())
    assert kind.__name__ in str(caught.value)


@pytest.mark.parametrize(("kind", "said"), FAULTY_CONSTRAINTS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_faulty_constraint_is_told_what_is_wrong(kind: Any, said: str) -> None:
    with entered(constraint, kind), pytest.raises(AssertionError, match=said) as caught:
        check_constraint(kind())
    assert kind.__name__ in str(caught.value)


def test_they_must_be_in_their_tables() -> None:
    with pytest.raises(AssertionError, match=r"put @term above it"):
        check_term(faulty.RightTerm())
    with pytest.raises(AssertionError, match=r"put @constraint above it"):
        check_constraint(faulty.RightConstraint())
