"""The cards of A2SNN's authors' code notice what breaks them."""

from typing import Any

import numpy as np
from mutants import Mutant, mutation_test

from npsnn.attacks import authors, projected
from npsnn.ops import loss
from npsnn.reference import alignment, authors_code
from npsnn.train.constraints import UnitClasses

OPS = "npsnn.ops.feature_noise"
PLAIN = "npsnn.reference.authors_code"
CARDS = "npsnn.audit.cards.authors"


def scaled(part: int, factor: float) -> Any:
    """One part of what a function returns, times a factor."""
    return lambda f: lambda *args: tuple(z * factor if i == part else z for i, z in enumerate(f(*args)))


def times(factor: float) -> Any:
    return lambda f: lambda *args: factor * f(*args)


def without_rows(f: Any) -> Any:
    """The alignment of the first class alone."""
    return lambda W, L: (f(W[:1], L)[0], *f(W, L)[1:])


def floored(f: Any) -> Any:
    """The logarithm of |H| where there is none of H."""

    def g(L: Any) -> Any:
        value = alignment.max_entropy(L)
        return (np.log(abs(value)), alignment.max_entropy_by_factor(L) / value)

    return g


def method(name: str, mutate: Any) -> Any:
    """A class with one of its methods broken."""
    return lambda cls: type(cls.__name__, (cls,), {name: mutate(getattr(cls, name))})


def slope_of_each(gradients: Any) -> Any:
    """Gradients with one draw, but by L with another sign or size."""
    return lambda f: lambda *args: type(f(*args))(*(gradients(k, z) for k, z in vars(f(*args)).items()))


def undecayed(name: str) -> Any:
    return lambda f: (
        lambda decay, model, params, grads: (
            f(decay, model, params, grads) | {k: g for k, g in grads.items() if k == name}
        )
    )


def softmax_slopes(z: Any, k: int) -> Any:
    """Without rounding."""
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    return p - np.eye(len(z))[k]


MUTANTS: list[Mutant] = [
    # Eq. 4 for the code's form and the reverse, a class left out, factors in value and gradients, on both sides
    ("B1", f"{PLAIN}.log_trace_slopes", lambda f: alignment.alignment_slopes),
    ("B1", "npsnn.reference.alignment.alignment_slopes", lambda f: authors_code.log_trace_slopes),
    ("B1", f"{PLAIN}.log_trace_slopes", without_rows),
    ("B1", f"{OPS}.log_trace", without_rows),
    ("B1", f"{OPS}.log_trace", scaled(0, 0.5)),
    ("B1", f"{OPS}.log_trace", scaled(1, 2)),
    ("B1", f"{OPS}.log_trace", scaled(2, -1)),
    ("B1", f"{OPS}.alignment", scaled(1, 0.5)),
    ("B1", f"{PLAIN}.log_trace", lambda f: lambda W, L: f(W, L) + 20),
    # the entropy itself, its gradient unscaled, another constant in it, a floor in place of the refusal
    ("B2", f"{PLAIN}.log_entropy_slopes", lambda f: alignment.max_entropy_slopes),
    ("B2", f"{OPS}.log_entropy", lambda f: lambda L: (f(L)[0], alignment.max_entropy_by_factor(L))),
    ("B2", f"{OPS}.log_entropy", scaled(0, 2)),
    ("B2", f"{OPS}.log_entropy", floored),
    ("B2", f"{OPS}.max_entropy", lambda f: lambda L: (f(L)[0] + len(L), f(L)[1])),
    ("B2", "npsnn.reference.alignment.max_entropy", lambda f: lambda L: f(L) - len(L)),
    ("B2", f"{PLAIN}.max_entropy", lambda f: lambda L: f(L) - 1),
    # weights in the code's loss, on either side
    ("B3", "npsnn.train.terms.summed", lambda f: lambda *a: (0.5 * f(*a)[0], f(*a)[1])),
    ("B3", f"{OPS}.log_trace", scaled(0, 2)),
    ("B3", f"{PLAIN}.log_trace", times(10)),
    ("B3", "npsnn.reference.alignment.max_entropy", times(2)),
    # a variance that is a variance, one that is not squared; an engine with two of them
    ("B4", f"{PLAIN}.raw_trace", lambda f: authors_code.drawn_trace),
    ("B4", f"{PLAIN}.drawn_trace", lambda f: authors_code.raw_trace),
    ("B4", f"{PLAIN}.softplus", lambda f: lambda x: f(x) ** 0.5),
    ("B4", f"{PLAIN}.softplus", lambda f: lambda x: max(x, 0.0)),
    ("B4", f"{CARDS}_code.FeatureNoise", method("factor", lambda f: lambda self, params, D: f(self, params, D) ** 2)),
    ("B4", "npsnn.train.terms.summed", lambda f: lambda *a: (-f(*a)[0], f(*a)[1])),
    # a start around 0, one that is not triangular, one with the identity, the wrong law of its entropy
    ("B5", f"{PLAIN}.start", lambda f: lambda rng, D: 2 * f(rng, D) - np.tril(np.ones((D, D)))),
    ("B5", f"{PLAIN}.start", lambda f: lambda rng, D: f(rng, D) + np.eye(D)),
    ("B5", f"{PLAIN}.start_without_entropy", lambda f: lambda D: 1 - f(D)),
    ("B5", f"{PLAIN}.start_without_entropy", lambda f: lambda D: f(D + 1)),
    ("B5", "npsnn.train.authors.start", lambda f: lambda *a: {k: p + 0.1 * (p > 0) for k, p in f(*a).items()}),
    ("B5", "npsnn.train.authors.start", lambda f: lambda *a: {k: p + p.T for k, p in f(*a).items()}),
    # a draw for each example where there should be one, one for all batches; signs and sizes of the gradient
    ("B6", f"{PLAIN}.own_draws", lambda f: lambda F, k, W, b, L, eps: f(F, k, W, b, L, np.tile(eps[0], (len(F), 1)))),
    ("B6", f"{PLAIN}.one_draw", slope_of_each(lambda k, z: -z if k == "L" else z)),
    ("B6", f"{PLAIN}.one_draw", slope_of_each(lambda k, z: 1.1 * z)),
    ("B6", f"{CARDS}_training.Stream", method("one_draw", lambda f: lambda self: self.at("one draw", self.first))),
    ("B6", f"{CARDS}_training.Stream", method("one_draw", lambda f: lambda self: f(self.from_sample(0)))),
    ("B6", f"{OPS}.add_noise_backward", lambda f: lambda dz, L, eps: 2 * f(dz, L, eps)),
    ("B6", f"{OPS}.add_noise", lambda f: lambda x, L, eps: x + L.T @ eps),
    # no projection, no decay, decay of everything, of less, of the wrong sign
    ("B7", "npsnn.train.constraints.unit_norm", lambda f: lambda w, norm: w),
    ("B7", "npsnn.reference.alignment.unit_norm", times(2)),
    ("B7", f"{PLAIN}.decayed", lambda f: lambda g, w, beta: f(g, w, beta / 2)),
    ("B7", "npsnn.train.authors.decayed", undecayed("last.b")),
    ("B7", "npsnn.train.authors.decayed", lambda f: lambda d, m, p, g: {k: g[k] + d * p[k] for k in g}),
    (
        "B7",
        "npsnn.train.authors.decayed",
        lambda f: lambda d, m, p, g: {k: 2 * v - g[k] for k, v in f(d, m, p, g).items()},
    ),
    ("B7", f"{OPS}.log_trace", scaled(1, 0.5)),
    # the law of the largest, and a validation set that overlaps
    ("B8", f"{PLAIN}.best_of", lambda f: lambda epochs: f(2 * epochs)),
    ("B8", f"{PLAIN}.best_of", times(0.5)),
    (
        "B8",
        "npsnn.train.split_validation",
        lambda f: lambda split, seed, limit: (split, f(split, seed, limit)[1])[::-1],
    ),
    ("B8", "npsnn.train.split_validation", lambda f: lambda split, seed, limit: (f(split, seed, limit)[1],) * 2),
    # standard errors without their root, their p; an engine with one draw for all images
    ("B9", f"{PLAIN}.one_pass_error", times(2)),
    ("B9", f"{PLAIN}.one_pass_error", lambda f: authors_code.shared_pass_error),
    ("B9", f"{PLAIN}.shared_pass_error", lambda f: authors_code.one_pass_error),
    ("B9", f"{CARDS}_training.Stream", method("normal", lambda f: lambda self, like: f(self.one_draw(), like))),
    # the gradient at the right point, of the wrong sign; an engine whose normalisation is not the network's
    ("B10", f"{PLAIN}.score_slope", lambda f: lambda x, W, w, mean, deviation: f(x, W, w, 0.47, deviation)),
    ("B10", f"{PLAIN}.score_slope", times(-1)),
    ("B10", f"{PLAIN}.score", lambda f: lambda x, W, w, mean, deviation: f(x, W, w, 0.0, deviation)),
    ("B10", f"{CARDS}_training.Normalise", method("weight", lambda f: lambda self, params, x: 1 / f(self, params, x))),
    ("B10", f"{CARDS}_training.Normalise", method("adjoint", lambda f: lambda self, w, dy, shape: dy)),
    # a gradient that keeps what float32 loses, one that loses less or more, of the wrong sign; an attack that has it
    ("B11", "npsnn.ops.loss.float32_cross_entropy", lambda f: loss.cross_entropy),
    ("B11", "npsnn.ops.loss.cross_entropy", lambda f: loss.float32_cross_entropy),
    ("B11", "npsnn.ops.loss.float32_cross_entropy", scaled(1, 0.5)),
    ("B11", "npsnn.ops.loss.float32_cross_entropy", scaled(0, 2)),
    ("B11", "npsnn.ops.loss.float32_cross_entropy", scaled(1, -1)),
    ("B11", f"{PLAIN}.single_slopes", lambda f: lambda z, k: f(z, k) * (1 + 1e-5)),
    ("B11", f"{PLAIN}.single_slopes", lambda f: lambda z, k: softmax_slopes(z, k)),
    ("B11", "npsnn.attacks.authors.AuthorsFGSM", lambda cls: lambda eps: cls(eps / 10)),
    ("B11", "npsnn.objectives.keeps_units", lambda f: lambda objective: False),
    # no random start, longer steps, a shorter one of FGSM; another law of the reach
    ("B12", "npsnn.attacks.authors.AuthorsPGD", lambda cls: lambda eps: projected.BIM(eps, steps=10)),
    ("B12", "npsnn.attacks.authors.AuthorsPGD", lambda cls: lambda eps: projected.PGD(eps, steps=10)),
    ("B12", "npsnn.attacks.authors.AuthorsPGD", lambda cls: authors.AuthorsFGSM),
    ("B12", "npsnn.attacks.authors.AuthorsFGSM", lambda cls: lambda eps: projected.BIM(eps, steps=1, norm="l2")),
    ("B12", "npsnn.attacks.authors.STEPS", lambda steps: 2 * steps),
    ("B12", "npsnn.reference.protocol.reach", lambda f: lambda step, steps, start, *e: f(2 * step, steps, start, *e)),
    ("B12", "npsnn.reference.protocol.reach", lambda f: lambda step, steps, start, *e: f(step, steps, False, *e)),
    # rows in place of the matrix, no projection, another norm of the matrix
    ("B13", f"{PLAIN}.unit_matrix", lambda f: alignment.unit_norm),
    ("B13", f"{PLAIN}.unit_matrix", times(2)),
    ("B13", "npsnn.train.authors.unit_norm", lambda f: lambda w, norm: w),
    ("B13", "npsnn.train.authors.unit_norm", lambda f: lambda w, norm: f(w, "l1")),
    ("B13", "npsnn.train.constraints.unit_norm", lambda f: lambda w, norm: f(w.reshape(1, -1), norm).reshape(w.shape)),
    ("B13", f"{OPS}.log_trace", scaled(0, 2)),
    ("B13", f"{OPS}.log_trace", lambda f: lambda W, L: (f(W, L)[0], W, f(W, L)[2])),
    # one stem for the other, a pooling without stride, sizes without their padding
    ("B14", "npsnn.models.a2snn.resnet18", lambda f: lambda variant: f()),
    ("B14", "npsnn.models.a2snn.resnet18", lambda f: lambda variant: f(variant="authors")),
    (
        "B14",
        "npsnn.models.backbones.OverlappingMaxPool",
        lambda cls: lambda size, stride, padding: cls(size, 1, padding),
    ),
    ("B14", "npsnn.models.backbones.MeanPool", lambda cls: lambda size: cls(size + 1)),
    (
        "B14",
        "npsnn.reference.plain.output_size",
        lambda f: lambda size, kernel, stride, padding: f(size, kernel, stride, 0),
    ),
    # numbers of the other commit, a pull that is another, a best of more epochs
    ("B16", "npsnn.train.recipes.recipe", lambda f: lambda name, dataset, commit: f(name, dataset, "b9824db")),
    ("B16", "npsnn.train.recipes.LAMBDAS", lambda table: {k: (b, a) for k, (a, b) in table.items()}),
    ("B16", "npsnn.train.recipes.SCHEDULES", lambda table: {k: (m, lr, 600) for k, (m, lr, _) in table.items()}),
    ("B16", "npsnn.train.flat.as_authors", lambda f: lambda training, commit: f(training, "b9824db")),
    ("B16", "npsnn.train.flat.as_authors", lambda f: lambda training, commit: training),
    ("B16", "npsnn.train.authors.UnitMatrix", lambda cls: UnitClasses),
    ("B16", f"{PLAIN}.log_trace", times(10)),
    ("B16", "npsnn.reference.alignment.max_entropy", times(2)),
    ("B16", f"{PLAIN}.best_of", lambda f: lambda epochs: f(2 * epochs)),
]

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS)
