"""The cards of max pooling and of Clark's maximum notice what breaks them."""

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.ops import gaussian

CLARK, WINNER = "npsnn.ops.gaussian.maximum_clark", "npsnn.ops.gaussian.maximum_winner"
POOL, PLAIN = "npsnn.ops.pool.max_pool", "npsnn.reference.plain."


def rules_exchanged(f):
    other = {gaussian.EXACT: gaussian.LAPLACE, gaussian.LAPLACE: gaussian.EXACT}
    return lambda mean, var, k, rule: f(mean, var, k, other[rule])


def rows_after_columns(f):
    def broken(mean, var, k, rule):
        m, v, saved = f(mean.transpose(2, 1, 0, 3), var.transpose(2, 1, 0, 3), k, rule)
        return m.transpose(2, 1, 0, 3), v.transpose(2, 1, 0, 3), saved

    return broken


def last_of_a_tie(f):
    return lambda mean, var, k, rule: f(mean[::-1, :, ::-1], var[::-1, :, ::-1], k, rule)


def gradient(which, at, change):
    """Breaks one partial derivative of the mean (0) or of the variance (1)."""

    def mutate(f):
        def broken(*args):
            both = f(*args)
            both[which][at] = change(both[which][at])
            return both

        return broken

    return mutate


def saved_of_clark(at, change):
    def mutate(f):
        def broken(*args):
            m, v, saved = f(*args)
            entries = list(saved)
            entries[at] = change(entries[at])
            return m, v, tuple(entries)

        return broken

    return mutate


def no_variance_cotangent(f):
    return lambda dm, dv, saved, out: f(dm, dv * 0, saved, out)


MUTANTS: list[Mutant] = [
    ("N17", POOL, rules_exchanged),
    ("N17", POOL, rows_after_columns),
    ("N17", POOL, last_of_a_tie),
    ("N17", POOL, lambda f: lambda mean, var, k, rule: f(mean, np.sqrt(var), k, rule)),
    ("N17", PLAIN + "max_pool_moments", lambda f: lambda mu, v, k, rule: f(mu, v, k, "laplace")),
    ("N17", PLAIN + "maximum_moments_by_integration", lambda f: lambda mu, v: f(mu[:-1], v[:-1])),
    ("N17", "npsnn.ops.gaussian.rectified_laplace", lambda f: gaussian.rectified_linear),
    ("N17", "npsnn.ops.gaussian.rectified_moments", lambda f: gaussian.rectified_laplace),
    ("N17", "npsnn.ops.gaussian.EXACT", lambda f: gaussian.LAPLACE),
    ("N17", "npsnn.reference.montecarlo.relu", lambda f: lambda z: z),
    ("E2", CLARK, lambda f: lambda m1, v1, m2, v2: f(m1, v2, m2, v1)),
    ("E2", CLARK, lambda f: lambda m1, v1, m2, v2: f(m1, v1, m2, 2 * v2)),
    *(("E2", CLARK, saved_of_clark(i, lambda x: -x)) for i in range(5)),
    *(("E2", CLARK, saved_of_clark(i, lambda x: x * (1 + 1e-6))) for i in range(5)),
    ("E2", CLARK + "_backward", no_variance_cotangent),
    ("E2", PLAIN + "maximum_clark", lambda f: lambda a, b, c, d, cov=0.0: f(a, b, c, d, -cov)),
    ("E2", PLAIN + "maximum_clark", lambda f: lambda a, b, c, d, cov=0.0: f(a, b, c, d)),
    ("E2", PLAIN + "maximum_clark", lambda f: lambda a, b, c, d, cov=0.0: (f(a, b, c, d, cov)[0], b)),
    *(("E2", PLAIN + "maximum_clark_gradients", gradient(i, j, lambda x: -x)) for i in (0, 1) for j in range(5)),
    ("E2", PLAIN + "maximum_clark_gradients", gradient(1, 4, lambda x: x / 2)),
    ("E2", PLAIN + "maximum_covariance", lambda f: lambda a, b, c, d, e, c13, c23: f(a, b, c, d, e, c23, c13)),
    ("E2", PLAIN + "maximum_covariance", lambda f: lambda a, b, c, d, e, c13, c23: f(a, b, c, d, -e, c13, c23)),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)
