"""Whether a term of the loss, or a constraint, keeps to what a training step asks of it."""

from typing import Any

import numpy as np

from npsnn.layers.params import flatten, roles
from npsnn.models.base import Model
from npsnn.testing.demands import close, demand, frozen, same, unwritten
from npsnn.testing.gradients import Arrays, check_gradient
from npsnn.testing.inputs import Valid
from npsnn.testing.networks import small_model, started
from npsnn.testing.saved import at_half, check_frozen, check_saved
from npsnn.train.constraints import CONSTRAINTS, Constraint
from npsnn.train.terms import TERMS


def _params(model: Model, dtype: Any) -> Arrays:
    return {name: frozen(p) for name, p in flatten(started(model, dtype).params).items()}


def check_term(term: Any, model: Model | None = None, valid: Valid | None = None) -> None:
    """Raise AssertionError, with a sentence that names what is wrong, unless a term keeps to the rules of terms.

    The term is a frozen dataclass in the table of terms, which a file and another process give back. Its value is a
    number, its gradients are those of parameters of the model and agree with finite differences, and it writes to no
    argument. Schedules in the place of its numbers count as they are at half of a training.

    term: to check.
    model: whose parameters it is of; by default a small one with noise on a pre-activation.
    valid: what makes any numbers such as a parameter may have, by its flat name, as {"noise.L": numpy.tril}.
    """
    check_frozen(term)
    check_saved(TERMS, term)
    term = at_half(term)
    model, valid = model or small_model(), valid or {}
    params = _params(model, np.float64)
    value, grads = unwritten(f"{term}", "the term", lambda: term(model, params))
    demand(np.ndim(value) == 0 and np.isfinite(value), f"{term}: its value must be a number, got {value!r}")
    odd = ", ".join(sorted(grads.keys() - params.keys()))
    demand(not odd, f"{term} has gradients of {odd}, but {model.name} has no such parameter")

    def f(a: Arrays) -> float:
        return float(term(model, params | {k: valid[k](p) if k in valid else p for k, p in a.items()})[0])

    try:
        check_gradient(f, params, {k: grads.get(k) for k in params}, entries=6, step=1e-5)
    except AssertionError as error:
        raise AssertionError(f"{term}: {error}") from error


def check_constraint(constraint: Any, model: Model | None = None) -> None:
    """Raise AssertionError, with a sentence that names what is wrong, unless a constraint keeps to their rules.

    The constraint is a frozen dataclass in the table of constraints, which a file and another process give back. No
    method writes to its arguments. Parameters keep their names, shapes and dtype. A step whose update moves nothing
    leaves the parameters that training begins with as they are. One that says `moves` moves some of them, but none of
    another role than it `needs`. Schedules count as they are at half of a training.

    constraint: to check.
    model: whose parameters it acts on; by default a small one with noise on a pre-activation.
    """
    demand(isinstance(constraint, Constraint), f"{constraint!r} must be of a subclass of npsnn.train.Constraint")
    check_frozen(constraint)
    check_saved(CONSTRAINTS, constraint)
    constraint = at_half(constraint)
    model = model or small_model()
    for dtype, rtol in ((np.float32, 1e-6), (np.float64, 1e-12)):
        drawn = _params(model, dtype)
        params = _called(constraint, "begin", drawn, lambda p: constraint.begin(model, p))
        rng = np.random.default_rng(16)
        grads = {name: frozen(rng.standard_normal(p.shape).astype(dtype)) for name, p in params.items()}
        kept = dict(grads)

        def before(p: Arrays, grads: Arrays = grads) -> Arrays:
            found: Arrays = constraint.before(model, p, grads)[0]
            return found

        moved = _called(constraint, "before", params, before)
        demand(same(kept, grads), f"{constraint}: before changes the dictionary of gradients that it is given")
        found = constraint.before(model, params, grads)[1]
        odd = ", ".join(sorted(found.keys() - grads.keys()))
        demand(not odd, f"{constraint}: before adds gradients of {odd}")
        _check_forms(constraint, "before", found, grads)
        after = _called(constraint, "after", moved, lambda p: constraint.after(model, p))
        _check_stillness(constraint, model, params, after, rtol)


def _check_stillness(constraint: Constraint, model: Model, params: Arrays, after: Arrays, rtol: float) -> None:
    """An update that moves nothing leaves what the constraint does not move by itself."""
    moved = {name for name, p in params.items() if not close(after[name], p, rtol)}
    own, mend = set[str](), "let begin do what after does"
    if constraint.moves:
        demand(moved, f"{constraint} says that it moves parameters by itself, but none moves")
        own = {name for name, role in roles(model.network, params).items() if role in constraint.needs}
        mend = "of a constraint that moves let needs hold the roles of what it moves"
    for name in sorted(moved - own):
        raise AssertionError(f"{constraint}: a step that moves nothing changes {name} after begin: {mend}")


def _called(constraint: Constraint, method: str, params: Arrays, call: Any) -> Arrays:
    """What a method makes of the parameters, once it is known to be of their form."""
    given = {name: frozen(p) for name, p in params.items()}
    held = dict(given)
    found: Arrays = unwritten(f"{constraint}", method, lambda: call(given))
    unchanged = given.keys() == held.keys() and all(given[name] is held[name] for name in held)
    demand(unchanged, f"{constraint}: {method} changes the dictionary that it is given")
    complete = isinstance(found, dict) and found.keys() == held.keys()
    demand(complete, f"{constraint}: {method} must return all parameters, by their names")
    _check_forms(constraint, method, found, params)
    return found


def _check_forms(constraint: Constraint, method: str, found: Arrays, had: Arrays) -> None:
    for name, array in found.items():
        got, was = np.asarray(array), had[name]
        form = f"{got.dtype} {got.shape}, it was {was.dtype} {was.shape}"
        demand((got.dtype, got.shape) == (was.dtype, was.shape), f"{constraint}: {method} makes of {name} {form}")
