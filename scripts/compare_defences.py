"""Compare the values and all gradients of the defences with those of a twin by PyTorch's autograd, in double precision.

The twin in compare_defences_twin.py has the formulas of the defences' papers and no derivative of its own. It gets
npsnn's parameters, and the images and random numbers that npsnn used, so that both sides compute one function. It runs
in a process of its own, whose interpreter may be another one. An error is the largest difference of an array's entries
over that array's largest entry; the exit code is 1 where one is above 1e-9.
"""

import json
import sys
import tempfile
from pathlib import Path

import checkout  # noqa: F401
import click
import numpy as np
from bench_side import NO_TORCH, Side
from compare_defences_cases import cases
from compare_defences_npsnn import Arrays, Case

LIMIT = 1e-9
FAINT = 1e-6
"""A case whose gradient has no entry above this would agree with a network that is dead."""


def asked(twin: Side, case: Case, folder: Path) -> Arrays:
    """The twin's value and gradients, of the names that npsnn has."""
    given, answer = folder / "given.npz", folder / "answer.npz"
    np.savez(given, **case.arrays)
    spec = case.network.model.spec()
    task = {"formula": case.formula, "options": case.options, "wanted": list(case.found), "classes": spec["classes"]}
    network = {"layers": spec["layers"], "noise": case.noise, "scale": case.scale}
    twin.tell("compute", json.dumps(task | network | {"given": str(given), "answer": str(answer)}))
    with np.load(answer) as file:
        return dict(file)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest entry; infinite where the largest is 0 but for rounding."""
    largest = float(np.abs(wanted).max())
    if np.shape(found) != wanted.shape or largest < FAINT:
        return np.inf
    return float(np.abs(found - wanted).max()) / largest


@click.command()
@click.option("--torch-python", default=sys.executable, help="The interpreter that has PyTorch, if not this one.")
@click.option("--only", default="", help="Only the cases whose names have this in them.")
def main(torch_python: str, only: str) -> None:
    """The defences' values and gradients against PyTorch's autograd; exit code 1 where they differ."""
    twin = Side(torch_python, "compare_defences_twin.py")
    version = twin.tell("version")
    if version == NO_TORCH:
        twin.close()
        click.echo("skipped: there is no PyTorch to compare with; --torch-python names an interpreter that has it")
        return
    click.echo(f"npsnn against autograd by PyTorch {version}; errors relative to an array's largest entry")
    click.echo(f"{'case':<52}{'arrays':>7}{'error':>9}   least exact")
    compared = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if only not in case.name:
                continue
            wanted = asked(twin, case, Path(folder))
            errors = {name: error(np.asarray(a), wanted[name]) for name, a in case.found.items()}
            worst = max(errors, key=lambda name: errors[name])
            passed = all(e <= LIMIT for e in errors.values())
            compared, failed = compared + 1, failed + (not passed)
            click.echo(
                f"{case.name:<52}{len(errors):>7}{errors[worst]:>9.0e}   {worst}{'' if passed else '  TOO LARGE'}"
            )
    twin.close()
    if not compared:
        raise click.ClickException(f"no case has {only!r} in its name")
    if failed:
        raise click.ClickException(f"{failed} cases differ by more than {LIMIT:g}")


if __name__ == "__main__":
    main()
