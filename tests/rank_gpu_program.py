"""A program for several ranks with a GPU each, on the double of CuPy: `mpiexec -n 3 python rank_gpu_program.py FOLDER`.

One process computes the same by `computed`. The double has two GPUs, so that the third rank shares the first one's.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cupy_double
import pytest
from rank_program import DATA, IMAGES, LABELS, here
from small_networks import normalised

from npsnn import attacks, models, train
from npsnn.backend import gpu, use_device
from npsnn.classifier import Classifier
from npsnn.gpu import blas
from npsnn.gpu.graphs import recording
from npsnn.layers.params import Role
from npsnn.train.packed import Packed
from npsnn.train.training import Training
from npsnn.workers import ranks
from npsnn.workers.base import gathered


def noting(f: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The function f, which notes in the folder NOTES on which rank and GPU it was called, and whether for a graph."""

    def noted(*arguments: Any) -> Any:
        if "NOTES" in os.environ and not BROKEN.exists():
            rank = next(r for r in range(3) if here(r))
            of = f"{what} on rank {rank}, GPU {gpu().cuda.runtime.getDevice()}, TF32 {blas.uses_tf32()}"
            of += ", recorded" if recording() else ""
            (Path(os.environ["NOTES"]) / of).touch()
        return f(*arguments)

    return noted


BROKEN = Path(os.environ.get("NOTES", "")) / "rank 1 has no GPU"
TRAININGS = {
    "lenet5": Training(models.lenet5(sigma=0.6), trains=Role.ALL, epochs=1, batch_size=24, micro_batch=8, limit=59),
    "normalised": Training(normalised(16), train.CrossEntropy(), epochs=1, batch_size=24, limit=59),
}
"""Batches of 24, 24 and 6, of three parts and one. A batch whose images BatchNorm couples is one part on a GPU."""


@contextmanager
def doubled() -> Iterator[None]:
    """The double in CuPy's place, and attacks in micro-batches of 16 images, as if a GPU were small."""
    with pytest.MonkeyPatch.context() as patch:
        cupy_double.install(patch)
        patch.setattr(Classifier, "micro_batch", property(lambda self: 8))
        patch.setattr(train.NoiseAware, "gradient", noting(train.NoiseAware.gradient, "training"))
        patch.setattr(Packed, "step", noting(Packed.step, "update"))
        patch.setattr(Classifier, "loss_gradients", noting(Classifier.loss_gradients, "attack"))
        patch.setattr(gpu().cuda, "is_available", lambda: not (here(1) and BROKEN.exists()))
        yield


def computed(folder: Path, device: str = "cuda") -> dict[str, bytes]:
    """The checkpoints of all trainings, and what attacks on the first network leave."""
    found = dict[str, bytes]()
    use_device(device)
    blas.tf32(True)
    for name, training in TRAININGS.items():
        for _ in train.fit(training, DATA, folder / name, device=device):
            pass
        found |= {f"{name} {file}": (folder / name / file).read_bytes() for file in ("last.npz", "best.npz")}
    network = Classifier.load(folder / "lenet5").to(device)
    pgd = attacks.PGD(0.1, steps=2, source=attacks.EoT(2))
    for result in attacks.robust_accuracy(network, IMAGES[:20], LABELS[:20], [pgd], attacks.Judging(draws=2)):
        found["x_adv"], found["each"] = result.x_adv.tobytes(), result.accuracy.each.tobytes()
    return found


def errors() -> dict[str, str]:
    """What is said while a rank has no GPU."""
    said = dict[str, str]()
    BROKEN.touch()
    try:
        for _ in train.fit(TRAININGS["lenet5"], DATA, device="cuda"):
            pass
    except ValueError as error:
        said["train"] = f"{error}: {getattr(error, 'place', '')}"
    with ranks.workers(None, 0.0, "cuda") as workers:
        try:
            gathered(workers, abs, 12)
        except ValueError as error:
            said["jobs"] = f"{error}: {getattr(error, 'place', '')}"
    BROKEN.unlink()
    return said


def main(folder: Path) -> None:
    with doubled():
        ranks.lead()
        (folder / "said.json").write_text(json.dumps(errors()))
        found = computed(folder)
        for name in ("x_adv", "each"):
            (folder / f"{name}.bin").write_bytes(found[name])
        (folder / "other").mkdir()
        os.environ["NOTES"] = str(folder / "other")
        with ranks.workers(None, 0.0, "cuda") as workers:
            assert workers.ranks > 1
        for _ in train.fit(TRAININGS["lenet5"], DATA, device="cuda:1"):
            pass
        with ranks.workers(None, 0.0, "cuda") as workers:
            assert workers.ranks == 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
