"""The cards of Theorem 1, its proof and the many-class bounds notice what breaks them; E4's bounds hold 300 times."""

import sys
from math import pi, sqrt
from types import ModuleType

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn import audit
from npsnn.audit.card import MOST_ERRORS
from npsnn.audit.cards import bounds
from npsnn.reference import plain, theorem

MUTANTS: list[Mutant] = [
    ("A8", "npsnn.reference.theorem.margin", lambda f: lambda y, h: -f(y, h)),
    ("A8", "npsnn.ops.loss.margins", lambda f: lambda *a: (-f(*a)[0], f(*a)[1])),
    # the clean error is not subtracted; the attack is the weakest instead of the worst
    ("A9", "npsnn.reference.theorem.gap", lambda f: lambda m, attacked, s: theorem.worst_error(attacked, s)),
    ("A9", "npsnn.reference.theorem.gap", lambda f: lambda m, attacked, s: f(m, -attacked, s)),
    ("A9", "npsnn.reference.theorem.linear_reach", lambda f: lambda w, eps, p: eps * float(np.abs(w).max())),
    # too small, then too large
    ("A10", "npsnn.reference.theorem.theorem1", lambda f: lambda delta, s: f(delta, s) / sqrt(2)),
    ("A10", "npsnn.reference.theorem.theorem1", lambda f: lambda delta, s: delta / s),
    ("A10", "npsnn.reference.theorem.theorem1", lambda f: lambda delta, s: f(delta, s * s)),
    ("A10", "npsnn.reference.theorem.binary_tight", lambda f: lambda delta, s: plain.Phi(delta / (2 * s))),
    ("A10", "npsnn.reference.theorem.binary_tight", lambda f: theorem.theorem1),
    ("A10", "npsnn.reference.theorem.binary_with_margin", lambda f: lambda delta, s, m: f(delta, s, -m)),
    # a bound, but not the one that knows the margin
    ("A10", "npsnn.reference.theorem.binary_with_margin", lambda f: lambda delta, s, m: theorem.binary_tight(delta, s)),
    ("A15", "npsnn.reference.theorem.binary_with_margin", lambda f: lambda delta, s, m: theorem.binary_tight(delta, s)),
    ("A11", "npsnn.reference.theorem.theorem1", lambda f: lambda delta, s: f(delta, s) / 4),
    ("A10", "npsnn.reference.theorem.error_bound", lambda f: lambda m, delta, s: f(m, -delta, s)),
    ("A12", "npsnn.reference.theorem.error_probability", lambda f: lambda m, s: f(-m, s)),
    ("A12", "npsnn.reference.theorem.error_probability", lambda f: lambda m, s: f(m, s * s)),
    ("A12", "npsnn.reference.theorem.spread", lambda f: lambda w, S: f(w, S) ** 2),
    ("A12", "npsnn.reference.theorem.margin", lambda f: lambda y, h: -f(y, h)),
    ("A12", "npsnn.ops.loss.win_probability", lambda f: lambda mean, var, k: f(-mean, var, k)),
    ("A13", "npsnn.reference.theorem.worst_error", lambda f: lambda m, s: f(np.array([max(m)]), s)),
    ("A13", "npsnn.reference.theorem.worst_error", lambda f: lambda m, s: 1 - f(m, s)),
    ("A13", "npsnn.reference.theorem.error_probability", lambda f: lambda m, s: 1 - f(m, s)),
    ("A13", "npsnn.reference.theorem.spread", lambda f: lambda w, S: f(w, S) ** 2),
    ("A14", "npsnn.reference.theorem.error_bound", lambda f: lambda m, delta, s: f(m, -delta, s)),
    ("A15", "npsnn.reference.theorem.error_bound", lambda f: lambda m, delta, s: f(-m, delta, s)),
    ("A15", "npsnn.reference.theorem.error_bound", lambda f: lambda m, delta, s: f(m, 2 * delta, s)),
    ("A15", "npsnn.reference.theorem.theorem1", lambda f: lambda delta, s: f(delta, s) * sqrt(2)),
    ("A15", "npsnn.reference.plain.Phi", lambda f: lambda t: f(1.1 * t)),
    ("E4", "npsnn.reference.theorem.pairs_with_margin", lambda f: lambda delta, mu, s: f(delta, -mu, s)),
    ("E4", "npsnn.reference.theorem.pairs_with_margin", lambda f: lambda delta, mu, s: f(delta / 2, mu, s)),
    ("E4", "npsnn.reference.theorem.pairs_tight", lambda f: lambda delta, s: f(2 * delta, s)),
    ("E4", "npsnn.reference.theorem.pairs_lipschitz", lambda f: lambda delta, s: f(delta, s) * sqrt(2)),
    ("E4", "npsnn.reference.theorem.pairs_lipschitz", lambda f: lambda delta, s: f(delta, s * s)),
    ("E4", "npsnn.reference.theorem.total_variation", lambda f: lambda distance: f(2 * distance)),
    ("E4", "npsnn.reference.theorem.neyman_pearson", lambda f: lambda p, distance: f(p, -distance)),
    ("E4", "npsnn.reference.theorem.neyman_pearson", lambda f: lambda p, distance: theorem.total_variation(distance)),
    ("E4", "npsnn.reference.theorem.feature_distance", lambda f: lambda L, shift: f(L @ L.T, shift)),
    ("E4", "npsnn.reference.theorem.difference_distance", lambda f: lambda W, L, d, k: f(W, L, d, k) ** 2),
    ("E4", "npsnn.reference.theorem.pair_reach", lambda f: lambda W, shift, k: f(W, shift, k) / 2),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "name"),
    [("A10", "theorem1"), ("A10", "binary_tight"), ("A15", "binary_with_margin"), ("E4", "pairs_tight")],
)
def test_the_engine_is_checked_as_soon_as_it_is_there(monkeypatch: pytest.MonkeyPatch, card: str, name: str) -> None:
    engine = ModuleType("npsnn.bounds")
    monkeypatch.setitem(sys.modules, "npsnn.bounds", engine)
    right = getattr(theorem, name)
    monkeypatch.setattr(engine, name, right, raising=False)
    row = audit.examine(audit.CARDS[card])
    assert row.supported and row.checked_on.startswith("engine")
    assert any(f.name.startswith("engine ") for f in row.figures)
    monkeypatch.setattr(engine, name, lambda *a: 2 * right(*a) + 0.01)
    row = audit.examine(audit.CARDS[card])
    assert not row.supported and not row.failure
    assert all(f.name.startswith("engine ") for f in row.figures if not f.holds)


@pytest.mark.slow
def test_the_six_bounds_hold_for_300_random_shifts() -> None:
    rng = np.random.default_rng(4)
    z = rng.standard_normal((6, 200_000))
    functions = [getattr(theorem, name) for name in bounds.SYMBOLS]
    found = [bounds.excess(head, z, functions) for head in bounds.heads(rng, 300)]
    excesses = np.array([e for _, _, e in found])
    assert excesses.shape == (300, 6)
    assert excesses.max() < MOST_ERRORS
    gaps, six = np.array([gap for gap, _, _ in found]), np.array([b for _, b, _ in found])
    assert (gaps > 0.1).sum() > 30, "shifts that do no harm violate nothing"
    assert (six[:, :2].min(axis=1) <= six.min(axis=1) + 1e-12).all()
    assert (six[:, 5] > 1).any(), "Theorem 1 of each pair is vacuous for some"


def test_the_means_of_the_six_are_in_the_order_that_is_told() -> None:
    row = audit.examine(audit.CARDS["E4"])
    figures = {f.name: f.value for f in row.figures}
    assert figures["true gap"] < min(figures[name] for name in bounds.NAMES)
    assert figures["pair tight"] < figures["pair Lipschitz"]


def test_theorem_1_by_hand() -> None:
    assert theorem.theorem1(3.0, 0.5) == pytest.approx(6 / sqrt(2 * pi))
    assert theorem.binary_tight(2.0, 1.0) == pytest.approx(0.6826894921370859)
    assert theorem.binary_with_margin(2.0, 1.0, 2.0) == pytest.approx(0.4772498680518208)
