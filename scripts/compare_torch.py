"""Compare logits, all gradients and running statistics of the backbones with PyTorch's, in single and double precision.

The twin in compare_torch_twin.py is built of PyTorch's own layers, and takes over npsnn's parameters, images and
cotangent of the logits. It runs in a process of its own, whose interpreter may be another one. An error is the largest
difference of an array's entries over that array's largest entry.

A gradient jumps where a rectifier's input is 0 or two pixels tie for the largest, and rounding decides on which side a
unit this close lies. So the images are drawn anew until no unit is; in single precision they are few and small, or some
unit always would be.
"""

import sys
import tempfile
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Any

import click
import numpy as np
from bench_side import NO_TORCH, Side
from numpy.lib.stride_tricks import sliding_window_view

from npsnn import models
from npsnn.layers.activation import PReLU, ReLU
from npsnn.layers.base import Backward, Params, Want
from npsnn.layers.batchnorm import BatchNorm, is_statistic
from npsnn.layers.containers import Residual, Sequential, leaves
from npsnn.layers.moments import WHOLE, Expectation, Moments, Noise
from npsnn.layers.params import flatten, unflatten
from npsnn.layers.pool import MaxPool
from npsnn.models import Model

LIMITS = {"float32": 1e-4, "float64": 1e-9}
IMAGES = {"float32": 4, "float64": 8}
SHAPES = {"resnet18": (3, 32, 32), "lenetpp": (1, 28, 28), "lenetpp-authors": (1, 28, 28)}
SMALL = {("resnet18", "float32"): (3, 16, 16)}
MODES = {"training": True, "evaluation": False}
MARGIN = 32
"""How far from a kink units must be, in units of the last place of their root mean square."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Watched:
    """A layer with kinks; notes how far its input stays from them, over the input's root mean square."""

    layer: Any
    seen: list[float]

    def forward(self, params: Params, m: Moments, noise: Noise) -> tuple[Moments, Backward]:
        x = np.abs(m.mean)
        if isinstance(self.layer, MaxPool):
            windows = sliding_window_view(m.mean, (self.layer.size,) * 2, axis=(0, 2))
            every = windows[:: self.layer.size, :, :: self.layer.size].reshape(-1, self.layer.size**2)
            x = np.diff(np.partition(every, -2)[:, -2:])
        self.seen.append(float(x.min() / np.sqrt((m.mean**2).mean())))
        return self.layer.forward(params, m, noise)


def watched(layer: Any, seen: list[float]) -> Any:
    """The same layer with all that have kinks watched, at whatever depth."""
    if isinstance(layer, Sequential):
        return Sequential(tuple((name, watched(part, seen)) for name, part in layer.layers))
    if isinstance(layer, Residual):
        return Residual(watched(layer.body, seen), watched(layer.shortcut, seen))
    return Watched(layer, seen) if isinstance(layer, ReLU | PReLU | MaxPool) else layer


def start(model: Model, dtype: str, training: bool, seed: int) -> Arrays:
    """Images x, the cotangent of the logits, and parameters of which none is at its first value."""
    rng = np.random.default_rng(seed)
    arrays = {k: p + 0.2 * rng.random(p.shape) if p.ndim == 1 else p for k, p in flatten(model.init(rng)).items()}
    arrays["cotangent"] = rng.normal(size=(IMAGES[dtype], model.classes))
    params = unflatten({k: a.astype(dtype).astype(np.float64) for k, a in arrays.items()})
    for _ in count():
        arrays["x"] = rng.random((IMAGES[dtype], *model.shape))
        seen: list[float] = []
        x = Moments(arrays["x"].astype(dtype).astype(np.float64).transpose(2, 1, 3, 0).copy())
        watched(model.network, seen).forward(params, x, Expectation(WHOLE if training else None))
        if min(seen) > MARGIN * np.finfo(dtype).eps:
            break
    return {k: a.astype(dtype) for k, a in arrays.items()}


def ours(model: Model, arrays: Arrays, training: bool) -> Arrays:
    """Logits, the gradients of the images and of all parameters, and in training the running statistics after it."""
    flat = {k: a for k, a in arrays.items() if k not in ("x", "cotangent")}
    x = Moments(np.ascontiguousarray(arrays["x"].transpose(2, 1, 3, 0)))
    m, backward = model.network.forward(unflatten(flat), x, Expectation(WHOLE if training else None))
    g, grads = backward(Moments(np.ascontiguousarray(arrays["cotangent"].T)), Want.BOTH)
    assert g is not None
    found = flatten(grads)
    for name, layer in leaves(model.network) if training else ():
        if isinstance(layer, BatchNorm):
            own = [{k.removeprefix(f"{name}."): a for k, a in d.items() if k.startswith(name)} for d in (flat, found)]
            found |= {f"{name}.{k}": a for k, a in layer.moved(*own).items()}
    return found | {"logits": m.mean.T, "x": g.mean.transpose(3, 1, 0, 2)}


def errors(found: Arrays, wanted: Arrays) -> dict[str, float]:
    """Each array's error; raises click.ClickException where the two do not have the same arrays."""
    if found.keys() != wanted.keys():
        raise click.ClickException(f"only one side has {', '.join(sorted(found.keys() ^ wanted.keys()))}")
    return {k: float(np.abs(found[k] - a).max() / np.abs(a).max()) for k, a in wanted.items()}


def parts(error: dict[str, float]) -> dict[str, list[str]]:
    """The names of the arrays by what they are."""
    statistics = [k for k in error if is_statistic(k)]
    gradients = [k for k in error if k != "logits" and k not in statistics]
    return {"logits": ["logits"], "gradients": gradients, "statistics": statistics}


@click.command()
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--torch-python", default=sys.executable, help="The interpreter that has PyTorch, if not this one.")
def main(seed: int, torch_python: str) -> None:
    """npsnn's backbones against PyTorch's own layers; exit code 1 where they differ by more than rounding."""
    twin = Side(torch_python, "compare_torch_twin.py")
    version = twin.ask("version")
    if version == NO_TORCH:
        click.echo("skipped: there is no PyTorch to compare with; --torch-python names an interpreter that has it")
        return
    click.echo(f"npsnn against PyTorch {version}; errors relative to an array's largest entry")
    click.echo(f"{'':40}{'logits':>10}{'gradients':>11}{'statistics':>12}{'limit':>8}   least exact")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        for name, dtype, mode in product(SHAPES, LIMITS, MODES):
            model = models.build(name, SMALL.get((name, dtype), SHAPES[name]), 10, 0.0)
            arrays = start(model, dtype, MODES[mode], seed)
            np.savez(given, **arrays)
            twin.ask(f"{name} {mode} {given} {answer}")
            with np.load(answer) as file:
                error = errors(ours(model, arrays, MODES[mode]), dict(file))
            groups = parts(error)
            cells = {k: f"{max(error[n] for n in names):.1e}" if names else "-" for k, names in groups.items()}
            worst = max(error, key=lambda k: error[k])
            passed = error[worst] <= LIMITS[dtype]
            failed |= not passed
            click.echo(
                f"{name:<17}{dtype:<9}{mode:<14}{cells['logits']:>10}{cells['gradients']:>11}"
                f"{cells['statistics']:>12}{LIMITS[dtype]:>8.0e}   {worst}{'' if passed else '  TOO LARGE'}"
            )
    twin.close()
    if failed:
        raise click.ClickException("the two sides differ by more than rounding")


if __name__ == "__main__":
    main()
