"""The one check of hand-written gradients: float64, central differences against what a backward pass returned."""

from collections.abc import Callable, Mapping

import numpy as np

from npsnn.reference.differences import slope

Arrays = dict[str, np.ndarray]
Function = Callable[[Arrays], float]


def check_gradient(
    f: Function,
    arrays: Arrays,
    gradients: Mapping[str, np.ndarray | None],
    entries: int = 30,
    step: float = 1e-4,
    rtol: float = 1e-6,
) -> None:
    """Assert ∂f/∂entry for up to `entries` entries of each array, chosen at random, by extrapolated differences.

    The error may be rtol times the largest entry of that array's gradient, and what rounding f costs; a gradient
    that is None must be zero. f must be smooth within 2 steps of the arrays.
    """
    assert gradients.keys() == arrays.keys(), f"gradients of {sorted(gradients)} for {sorted(arrays)}"
    rng = np.random.default_rng(0)
    for name, array in arrays.items():
        found = _checked_shape(name, array, gradients[name])
        chosen = rng.permutation(array.size)[:entries]
        wanted = np.array([_derivative(f, arrays, {name: _unit(array, i)}, step) for i in chosen])
        scale = max(np.abs(found).max(initial=0), np.abs(wanted).max(initial=0))
        error = np.abs(found.reshape(-1)[chosen] - wanted)
        worst = int(error.argmax()) if chosen.size else 0
        assert (error <= rtol * scale + _rounding(f, arrays, step)).all(), (
            f"d/d{name}[{np.unravel_index(chosen[worst], array.shape)}] is {wanted[worst]!r}, "
            f"backward gave {found.reshape(-1)[chosen[worst]]!r} (largest entry {scale:g})"
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
    """Assert the derivative of f along random directions through all arrays together, then through each alone.

    A direction has standard normal entries, so its derivative is of the size of the gradient's 2-norm, and rtol is
    against that. An array alone is seen even where its gradient is a small part of the whole.
    """
    assert gradients.keys() == arrays.keys(), f"gradients of {sorted(gradients)} for {sorted(arrays)}"
    found = {name: _checked_shape(name, array, gradients[name]) for name, array in arrays.items()}
    for moved in [list(arrays)] * directions + [[name] for name in arrays]:
        direction = {name: rng.standard_normal(arrays[name].shape) for name in moved}
        wanted = _derivative(f, arrays, direction, step)
        got = sum(float((found[name] * direction[name]).sum()) for name in moved)
        scale = np.sqrt(sum(float((found[name] ** 2).sum()) for name in moved))
        assert abs(got - wanted) <= rtol * max(scale, abs(wanted)) + _rounding(f, arrays, step), (
            f"along {moved} the slope is {wanted!r}, backward gave {got!r} (gradient's norm {scale:g})"
        )


def _checked_shape(name: str, array: np.ndarray, gradient: np.ndarray | None) -> np.ndarray:
    assert array.dtype == np.float64, f"{name} must be float64, got {array.dtype}"
    if gradient is None:
        return np.zeros_like(array)
    assert np.shape(gradient) == array.shape, f"{name} is {array.shape}, its gradient {np.shape(gradient)}"
    return np.asarray(gradient)


def _unit(array: np.ndarray, i: int) -> np.ndarray:
    unit = np.zeros(array.size)
    unit[i] = 1
    return unit.reshape(array.shape)


def _rounding(f: Function, arrays: Arrays, step: float) -> float:
    return 8 * float(np.finfo(np.float64).eps) * abs(f(arrays)) / step


def _derivative(f: Function, arrays: Arrays, direction: Arrays, step: float) -> float:
    """Slope of f along `direction`."""

    def at(t: float) -> float:
        return float(f(arrays | {name: arrays[name] + t * d for name, d in direction.items()}))

    return slope(at, step=step)
