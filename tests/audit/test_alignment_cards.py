"""The cards of A2SNN's objective, alignment and noise notice what breaks them, and what the engine brings."""

import importlib
import sys
from collections.abc import Callable
from math import log
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn import audit
from npsnn.audit.engine import resolve
from npsnn.audit.heads import ADD_NOISE, ADD_NOISE_BACKWARD, ALIGNMENT, ENTROPY, PAIRWISE, together
from npsnn.reference import a2snn, alignment, gaussian_head

REFERENCE = "npsnn.reference"
CARDS = "npsnn.audit.cards"


def scaled(*factors: float) -> Callable[[Any], Any]:
    """Multiplies the parts of what a function returns; the value alone if it returns no tuple."""

    def mutate(f: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*args: Any) -> Any:
            found = f(*args)
            return (
                tuple(c * part for c, part in zip(factors, found, strict=True))
                if len(factors) > 1
                else factors[0] * found
            )

        return broken

    return mutate


MUTANTS: list[Mutant] = [
    # correlations of the logits dropped, in the plain form and in the engine; the bias forgotten; L for its transpose
    ("A3", f"{REFERENCE}.gaussian_head.covariance", lambda f: lambda W, L: np.diag(np.diag(f(W, L)))),
    ("A3", f"{REFERENCE}.gaussian_head.mean", lambda f: lambda x, W, b: f(x, W, 0 * b)),
    ("A3", f"{REFERENCE}.gaussian_head.mean", lambda f: lambda x, W, b: f(x, W, 1.02 * b)),
    ("A3", f"{REFERENCE}.a2snn.add_noise", lambda f: lambda F, L, eps: f(F, 1.01 * L, eps)),
    ("A3", f"{REFERENCE}.a2snn.add_noise", lambda f: lambda F, L, eps: f(F, L.T, eps)),
    ("A3", "npsnn.ops.linear.joint_covariance", lambda f: lambda v, w: f(v, w) * np.eye(len(w))[..., None]),
    ("A3", "npsnn.ops.linear.joint_covariance_backward", scaled(1, 0.5)),
    # either term as a penalty; the term that common noise cannot raise; the entropy without its half
    ("A4", f"{REFERENCE}.a2snn.objective", lambda f: lambda c, h, a, l1, l2: f(c, h, a, l1, -l2)),
    ("A4", f"{REFERENCE}.a2snn.objective", lambda f: lambda c, h, a, l1, l2: f(c, h, a, -l1, l2)),
    ("A4", f"{REFERENCE}.alignment.alignment_slopes", lambda f: alignment.pairwise_slopes),
    ("A4", f"{REFERENCE}.alignment.max_entropy_slopes", scaled(2, 2)),
    ("A4", f"{REFERENCE}.a2snn.cross_entropy", lambda f: lambda H, k: f(H / (1 + np.abs(H).max()), k)),
    # without the half; without 2πe; the lower triangle of L⁻¹ for that of its transpose; squared roots
    ("A5", f"{REFERENCE}.alignment.max_entropy", scaled(2)),
    ("A5", f"{REFERENCE}.alignment.max_entropy_printed", lambda f: lambda S: f(S / (2 * np.pi * np.e))),
    ("A5", f"{REFERENCE}.alignment.max_entropy_by_factor", lambda f: lambda L: np.tril(np.linalg.inv(L))),
    ("A5", f"{REFERENCE}.alignment.max_entropy_by_factor", lambda f: lambda L: f(L) ** 2),
    # the logarithm of the variance for the entropy
    ("A6", f"{REFERENCE}.alignment.max_entropy", lambda f: lambda L: log(np.trace(L @ L.T))),
    ("A6", f"{REFERENCE}.alignment.max_entropy", scaled(2)),
    # the mean variance for that of a direction; its root
    ("A7", f"{REFERENCE}.alignment.variance_along", lambda f: lambda w, L: float(np.mean(L @ L.T))),
    ("A7", f"{REFERENCE}.alignment.variance_along", lambda f: lambda w, L: float(np.sqrt(f(w, L)))),
    # a variance for a standard deviation; a change that does not grow with the weights
    ("A16", f"{REFERENCE}.theorem.theorem1", lambda f: lambda delta, s: f(delta, s * s)),
    ("A16", f"{REFERENCE}.theorem.linear_reach", lambda f: lambda w, eps, p: eps),
    # the gap twice, the bound twice, the gap of a margin that the attack turns
    ("A16", f"{REFERENCE}.theorem.gap_linear", scaled(2)),
    ("A16", f"{REFERENCE}.theorem.theorem1", scaled(2)),
    ("A16", f"{REFERENCE}.theorem.gap", lambda f: lambda m, attacked, s: f(m, attacked - 2, s)),
    ("A16", f"{REFERENCE}.theorem.widest_gap_noise", lambda f: lambda m, delta: delta),
    ("A16", f"{REFERENCE}.alignment.variance_along", scaled(2)),
    # each form for the other; gradients without the 2, of the wrong sign, or by Sigma instead of L
    ("A17", f"{REFERENCE}.alignment.weight_covariance_alignment", lambda f: alignment.pairwise_alignment),
    ("A17", f"{REFERENCE}.alignment.pairwise_alignment", lambda f: alignment.weight_covariance_alignment),
    ("A17", f"{REFERENCE}.alignment.alignment_by_weights", scaled(0.5)),
    ("A17", f"{REFERENCE}.alignment.alignment_by_factor", lambda f: lambda W, L: f(W, L) @ L.T),
    ("A17", f"{REFERENCE}.alignment.pairwise_by_weights", lambda f: lambda W, L: np.abs(f(W, L))),
    ("A17", f"{REFERENCE}.alignment.pairwise_by_factor", scaled(-1)),
    ("A17", f"{REFERENCE}.alignment.difference_variance", lambda f: alignment.common_variance),
    ("A17", f"{REFERENCE}.alignment.difference_variance", scaled(2)),
    # descent; no projection, or the engine's by another norm
    ("A18", f"{REFERENCE}.alignment.alignment_by_weights", scaled(-1)),
    ("A18", f"{REFERENCE}.alignment.unit_norm", lambda f: lambda W: 2 * f(W)),
    ("A18", f"{REFERENCE}.alignment.weight_covariance_alignment", lambda f: alignment.pairwise_alignment),
    ("A18", "npsnn.optim.unit_norm", lambda f: lambda w, norm: f(w, "l1")),
    # a slope of 1 for 2; a square for a root; the engine's projection left out, or by another norm
    ("A19", f"{REFERENCE}.alignment.alignment_by_weights", scaled(0.5)),
    ("A19", f"{REFERENCE}.alignment.unit_norm", lambda f: lambda W: W / (W * W).sum(axis=1)[:, None]),
    ("A19", "npsnn.optim.unit_norm", lambda f: lambda w, norm: w),
    ("A19", "npsnn.optim.unit_norm", lambda f: lambda w, norm: f(w, "l1")),
    # a covariance that is not one; gradients not of the lower triangle, or of the wrong sign; half of the closed form
    ("A20", f"{REFERENCE}.alignment.covariance", lambda f: lambda L: L + L.T),
    ("A20", f"{REFERENCE}.a2snn.add_noise_backward", lambda f: lambda dz, L, eps: dz @ eps.T),
    ("A20", f"{REFERENCE}.a2snn.add_noise_backward", scaled(-1)),
    ("A20", f"{REFERENCE}.a2snn.softmax", lambda f: lambda H: f(2 * H)),
    ("A20", f"{REFERENCE}.gaussian_head.expected_cross_entropy_by_factor", scaled(0.5)),
    # noise that is the same in every direction
    ("A21", f"{REFERENCE}.alignment.variance_along", lambda f: lambda w, L: float(w @ w * np.trace(L @ L.T)) / len(w)),
    ("A21", f"{REFERENCE}.alignment.variance_along", lambda f: lambda w, L: float(np.sqrt(f(w, L)))),
    # another table, another grid
    ("A31", f"{CARDS}.objective.TABLE7", lambda t: t | {"m5": ((0.2, 1.0), (0.05, 0.5), (0.1, 0.5))}),
    ("A31", f"{CARDS}.objective.GRID", lambda grid: grid[1:]),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)

PLANNED: dict[tuple[str, str], tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    ("A3", ADD_NOISE): (a2snn.add_noise, lambda f: lambda F, L, eps: f(F, L.T, eps)),
    ("A4", ENTROPY): (alignment.max_entropy_slopes, scaled(-1, -1)),
    ("A4", ALIGNMENT): (alignment.alignment_slopes, lambda f: alignment.pairwise_slopes),
    ("A5", ENTROPY): (alignment.max_entropy_slopes, scaled(2, 1)),
    ("A6", ENTROPY): (alignment.max_entropy_slopes, scaled(2, 1)),
    ("A17", ALIGNMENT): (alignment.alignment_slopes, scaled(1, 1, -1)),
    ("A17", PAIRWISE): (alignment.pairwise_slopes, scaled(1, 0.5, 1)),
    ("A18", ALIGNMENT): (alignment.alignment_slopes, scaled(1, -1, 1)),
    ("A19", ALIGNMENT): (alignment.alignment_slopes, scaled(1, 0.5, 1)),
    ("A20", ADD_NOISE_BACKWARD): (a2snn.add_noise_backward, lambda f: lambda dz, L, eps: dz @ eps.T),
    ("E3", "npsnn.ops.expected.expected_cross_entropy"): (gaussian_head.expected_cross_entropy, scaled(1, -1, 1)),
}


def install(monkeypatch: pytest.MonkeyPatch, symbol: str, f: Callable[..., Any]) -> None:
    """Puts f where the engine has, or will have, that symbol."""
    module, _, name = symbol.rpartition(".")
    if resolve(module) is None:
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(importlib.import_module(module), name, f, raising=False)


@pytest.mark.slow
@pytest.mark.parametrize(("card", "symbol"), PLANNED)
def test_what_the_engine_brings_is_checked(monkeypatch: pytest.MonkeyPatch, card: str, symbol: str) -> None:
    right, break_it = PLANNED[card, symbol]
    install(monkeypatch, symbol, right)
    row = audit.examine(audit.CARDS[card])
    assert row.supported, row
    assert row.checked_on.startswith("engine")
    assert any(f.name.startswith("engine: ") for f in row.figures)
    install(monkeypatch, symbol, break_it(right))
    row = audit.examine(audit.CARDS[card])
    assert not row.failure, row
    assert not row.supported
    assert all(f.name.startswith("engine") for f in row.figures if not f.holds), "the plain side is as it was"


def test_a_card_says_that_it_ran_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ENTROPY, alignment.max_entropy_slopes)
    assert audit.examine(audit.CARDS["A5"]).checked_on == "engine"


def test_formulas_of_the_engine_stand_in_for_plain_ones() -> None:
    plain = list(together((alignment.max_entropy_slopes, "npsnn.ops.nowhere.f"), (a2snn.add_noise, "npsnn.nothing")))
    assert plain == [("", [alignment.max_entropy_slopes, a2snn.add_noise])]
    both = dict(together((alignment.max_entropy_slopes, "npsnn.ops.nowhere.f"), (a2snn.add_noise, max)))
    assert both["engine: "] == [alignment.max_entropy_slopes, max]
