"""The card of the full covariance notices what breaks it."""

from typing import Any

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.reference import covariance


def diagonal(affine: Any) -> Any:
    """An affine map that forgets the covariances, as the noise paper does (audit N15)."""

    def broken(*args: Any) -> Any:
        m, V = affine(*args)
        return m, np.diag(np.diagonal(V))

    return broken


def independent(maximum: Any) -> Any:
    return lambda mu1, v1, mu2, v2, c: maximum(mu1, v1, mu2, v2, 0 * c)


def without_the_loser(fold: Any) -> Any:
    """Each pair's maximum covaries with the others as its first unit does."""

    def broken(mu: Any, V: Any, first: Any, second: Any) -> None:
        kept = V.copy()
        fold(mu, V, first, second)
        variances = np.diagonal(V).copy()
        V[...] = kept
        np.fill_diagonal(V, variances)

    return broken


def exchanged(integrals: Any) -> Any:
    return lambda *args: integrals(*args)[::-1]


MUTANTS: list[Mutant] = [
    # the integral left out, of the wrong sign, in place of the other, or by too few nodes
    ("E5", "npsnn.reference.covariance._integrals", lambda f: lambda *args: tuple(0 * part for part in f(*args))),
    ("E5", "npsnn.reference.covariance._integrals", lambda f: lambda *args: tuple(-part for part in f(*args))),
    ("E5", "npsnn.reference.covariance._integrals", exchanged),
    ("E5", "npsnn.reference.covariance._integrals", lambda f: lambda a, b, rho, nodes: f(a, b, rho, min(nodes, 3))),
    # the rules to compare with in place of the right one, and the reverse
    (
        "E5",
        "npsnn.reference.covariance.pair_covariance",
        lambda f: lambda *p, **n: covariance.covariance_linearised(*p),
    ),
    (
        "E5",
        "npsnn.reference.covariance.covariance_linearised",
        lambda f: lambda *p: covariance.pair_covariance(*p),
    ),
    # a gradient without its second term, or without the correlation
    ("E5", "npsnn.reference.covariance.by_mean", lambda f: lambda *p: f(*p[:4], 0 * p[4])),
    ("E5", "npsnn.reference.covariance.by_variance", lambda f: lambda *p: 2 * f(*p)),
    ("E5", "npsnn.reference.covariance.by_covariance", lambda f: lambda *p: f(*p[:4], 0 * p[4])),
    # covariances forgotten on the way
    ("E5", "npsnn.reference.covariance.affine", diagonal),
    ("E5", "npsnn.reference.covariance.rectified_covariance", diagonal),
    ("E5", "npsnn.reference.covariance.maximum", independent),
    ("E5", "npsnn.reference.covariance._fold", without_the_loser),
    # a variance or a mean a little off, a bias or the rows of a window forgotten
    ("E5", "npsnn.reference.covariance.rectified_moments", lambda f: lambda *a: (f(*a)[0], 1.03 * f(*a)[1])),
    ("E5", "npsnn.reference.covariance.rectified_moments", lambda f: lambda *a: (1.01 * f(*a)[0], f(*a)[1])),
    ("E5", "npsnn.reference.covariance.affine", lambda f: lambda mu, V, W, b: f(mu, V, W, 0 * b)),
    ("E5", "npsnn.reference.covariance.max_pool", lambda f: lambda mu, V, windows: f(mu, V, windows[:, :1])),
    # a textbook form with a wrong sign
    ("E5", "npsnn.reference.covariance.covariance_closed_form", lambda f: lambda *p: f(*p[:4], -p[4])),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)
