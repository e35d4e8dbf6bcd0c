"""Hand-written gradients in float64 against central differences of the function itself."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from npsnn.reference.differences import slope
from npsnn.testing.demands import demand

Arrays: TypeAlias = dict[str, np.ndarray]
Function: TypeAlias = Callable[[Arrays], float]


def check_gradient(
    f: Function,
    arrays: Arrays,
    gradients: Mapping[str, np.ndarray | None],
    entries: int = 30,
    step: float = 1e-4,
    rtol: float = 1e-6,
) -> None:
    """Raise AssertionError unless the gradients are the derivatives of f by single entries of the arrays.

    The differences are taken over step and step / 2, and extrapolated. An error may be as large as rtol times the
    largest entry of the array's gradient, and what rounding f costs.

    f: of arrays by name, to a number. It must be smooth within 2 steps of the arrays.
    arrays: in float64, by name.
    gradients: the derivatives of f, of the same names and shapes. None stands for zero.
    entries: the entries of each array to try at most, chosen at random.
    step: of the differences, in the unit of the arrays.
    rtol: the relative error that is allowed.
    """
    rng = np.random.default_rng(0)
    for name, found in _checked(arrays, gradients).items():
        array = arrays[name]
        chosen = rng.permutation(array.size)[:entries]
        wanted = np.array([_derivative(f, arrays, {name: _unit(array, i)}, step) for i in chosen])
        scale = max(np.abs(found).max(initial=0), np.abs(wanted).max(initial=0))
        error = np.abs(found.reshape(-1)[chosen] - wanted)
        worst = int(error.argmax()) if chosen.size else 0
        demand(
            (error <= rtol * scale + _rounding(f, arrays, step)).all(),
            f"d/d{name}{_place(array, chosen[worst : worst + 1])} is {_first(wanted, worst):.9g}, "
            f"the backward pass gave {_first(found.reshape(-1)[chosen], worst):.9g} (largest entry {scale:g})",
        )


def check_directional(
    f: Function,
    arrays: Arrays,
    gradients: Mapping[str, np.ndarray | None],
    rng: np.random.Generator,
    directions: int = 3,
    step: float = 1e-7,
    rtol: float = 1e-6,
) -> None:
    """Raise AssertionError unless the gradients are the derivatives of f along random directions.

    The directions lead through all arrays together, then through each alone: an array alone is seen even where its
    gradient is a small part of the whole. A direction has standard normal entries, so its derivative is of the size of
    the gradient's 2-norm, and rtol is against that. It suits functions of more entries than `check_gradient` can try.

    f, arrays, gradients, step, rtol: as in `check_gradient`.
    rng: for the directions.
    directions: how many lead through all arrays.
    """
    found, rounding = _checked(arrays, gradients), _rounding(f, arrays, step)
    for moved in [list(arrays)] * directions + [[name] for name in arrays]:
        direction = {name: rng.standard_normal(arrays[name].shape) for name in moved}
        wanted = _derivative(f, arrays, direction, step)
        got = sum(float((found[name] * direction[name]).sum()) for name in moved)
        scale = float(np.sqrt(sum(float((found[name] ** 2).sum()) for name in moved)))
        demand(
            abs(got - wanted) <= rtol * max(scale, abs(wanted)) + rounding,
            f"along {', '.join(moved)} the slope is {wanted:.9g}, the backward pass gave {got:.9g} "
            f"(gradient's norm {scale:g})",
        )


def _checked(arrays: Arrays, gradients: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
    """The gradients, with zeros for None."""
    demand(
        gradients.keys() == arrays.keys(),
        f"there must be gradients of {', '.join(sorted(arrays))}, got them of {', '.join(sorted(gradients)) or 'none'}",
    )
    found = {}
    for name, array in arrays.items():
        gradient = gradients[name]
        demand(array.dtype == np.float64, f"{name} must be float64, got {array.dtype}")
        if gradient is not None:
            demand(
                np.shape(gradient) == array.shape,
                f"{name} has the shape {array.shape}, its gradient {np.shape(gradient)}",
            )
        found[name] = np.zeros_like(array) if gradient is None else np.asarray(gradient)
    return found


def _unit(array: np.ndarray, i: int) -> np.ndarray:
    unit = np.zeros(array.size)
    unit[i] = 1
    return unit.reshape(array.shape)


def _place(array: np.ndarray, chosen: np.ndarray) -> list[int]:
    """The indices of an entry that is given by its number, for a message."""
    return [int(i) for n in chosen for i in np.unravel_index(n, array.shape)]


def _first(values: np.ndarray, worst: int) -> float:
    return float(values[worst]) if values.size else 0.0


def _rounding(f: Function, arrays: Arrays, step: float) -> float:
    return 8 * float(np.finfo(np.float64).eps) * abs(f(arrays)) / step


def _derivative(f: Function, arrays: Arrays, direction: Arrays, step: float) -> float:
    """Slope of f along `direction`."""

    def at(t: float) -> float:
        return float(f(arrays | {name: arrays[name] + t * d for name, d in direction.items()}))

    return slope(at, step=step)
