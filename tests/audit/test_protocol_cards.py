"""The cards of A2SNN's attacks, tables and protocol notice what breaks them."""

from math import sqrt

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn import audit
from npsnn.attacks.projected import GradientAttack
from npsnn.reference import protocol

MUTANTS: list[Mutant] = [
    ("A1", "npsnn.reference.protocol.fgsm", lambda f: lambda x, g, eps: f(x, -g, eps)),
    ("A1", "npsnn.attacks.projected.fgsm", lambda f: lambda eps: f(eps / 2)),
    ("A2", "npsnn.reference.protocol.margin_loss", lambda f: lambda z, k, kappa: -f(z, k, kappa)),
    ("A2", "npsnn.reference.protocol.margin_loss", lambda f: lambda z, k, kappa: f(z, k, 0.0)),
    ("A2", "npsnn.reference.protocol.lagrangian_printed", lambda f: lambda loss, d, p: f(-loss, d, p)),
    ("A2", "npsnn.reference.protocol.carlini_wagner", lambda f: lambda z, k, d, c, kappa: f(z, k, d, 1e-3, kappa)),
    ("A2", "npsnn.reference.protocol.boxed", lambda f: np.tanh),
    ("A2", "npsnn.reference.protocol.boxed_slope", lambda f: lambda omega: 2 * f(omega)),
    # without the 100; a variance in place of a deviation; no absolute value
    ("A22", "npsnn.reference.protocol.converged", lambda f: lambda e: bool(e.std() <= abs(e.mean()))),
    ("A22", "npsnn.reference.protocol.converged", lambda f: lambda e: bool(e.var() <= abs(e.mean()) / 100)),
    ("A22", "npsnn.reference.protocol.converged", lambda f: lambda e: bool(e.std() <= e.mean() / 100)),
    # the engine walks half as far, or starts elsewhere; the law forgets the walls, the start or the errors
    (
        "A24",
        "npsnn.attacks.projected.GradientAttack",
        lambda f: lambda b, n, step_size, *a, **k: f(b, n, step_size / 2, *a, **k),
    ),
    (
        "A24",
        "npsnn.attacks.projected.pgd",
        lambda f: lambda eps, steps: GradientAttack(f(eps).ball, steps, eps / steps, True),
    ),
    ("A24", "npsnn.attacks.projected.pgd", lambda f: lambda eps, steps: f(eps / 2, steps=steps)),
    ("A24", "npsnn.attacks.projected.bim", lambda f: lambda eps, steps: f(eps / 2, steps=steps)),
    ("A24", "npsnn.reference.protocol.reach", lambda f: lambda a, n, start, wrong=0.0: f(a, n, False, wrong)),
    ("A24", "npsnn.reference.protocol.reach", lambda f: lambda a, n, start, wrong=0.0: f(a, n, start)),
    ("A25", "npsnn.reference.protocol.wrong_sign", lambda f: lambda r, n: f(r * sqrt(n), n)),
    ("A25", "npsnn.reference.protocol.wrong_sign", lambda f: lambda r, n: f(-r, n)),
    ("A25", "npsnn.attacks.targets.sampled", lambda f: lambda network, n: f(network, 1)),
    ("A26", "npsnn.attacks.balls.Ball", lambda f: lambda norm, eps: f(norm, eps / 255)),
    ("A26", "npsnn.attacks.balls.Ball", lambda f: lambda norm, eps: f(norm, 0.1)),
    ("A27", "npsnn.audit.cards.protocol.SVHN_TRAIN", lambda t: 9 * (7326,) + (7323,)),
    ("A28", "npsnn.audit.cards.tables.TABLE3", lambda t: t | {3: (*t[3][:-1], 69.74)}),
    ("A28", "npsnn.audit.cards.tables.TABLE1", lambda t: t | {"FGSM": (*t["FGSM"][:-1], 71.29)}),
    ("A29", "npsnn.audit.cards.tables.TABLE1", lambda t: t | {"PGD": (*t["PGD"][:-1], 68.0)}),
    ("A30", "npsnn.audit.cards.tables.TABLE2", lambda t: t | {0.0: (*t[0.0][:-1], 42.0)}),
    (
        "A30",
        "npsnn.audit.cards.tables.TABLE2",
        lambda t: {kappa: (*row[:-1], row[-1] / 2) for kappa, row in t.items()},
    ),
    ("A30", "npsnn.reference.theorem.error_probability", lambda f: lambda m, s: f(m + s, s)),
    ("A30", "npsnn.audit.cards.tables._kept_by_luck", lambda f: lambda rng, images: 0.5),
    ("A32", "npsnn.reference.theorem.error_probability", lambda f: lambda m, s: f(m, 1.0)),
    ("A32", "npsnn.reference.theorem.theorem1", lambda f: lambda delta, s: f(delta, s * s)),
    # the engine judges the averaged logits
    ("A32", "npsnn.attacks.judging.judge", lambda f: lambda c, *a: f(c.with_sigma(c.sigma / sqrt(10)), *a)),
    ("A33", "npsnn.audit.cards.tables.TABLE4", lambda t: t | {"L2P": (85.3, 56.1)}),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)


@pytest.mark.parametrize("id", ["A23"])
def test_textual_cards_quote_both_places(id: str) -> None:
    places = audit.CARDS[id].places
    assert len(places) == 2 and all(place.startswith("Sec. ") and '"' in place for place in places)


def test_the_engines_pgd_is_longer_than_the_papers() -> None:
    assert protocol.reach(0.25, 10, True)[0] == pytest.approx(1)
    assert protocol.reach(0.25, 10, True, 0.2)[0] > 1.6 * protocol.reach(0.1, 10, True, 0.2)[0]
