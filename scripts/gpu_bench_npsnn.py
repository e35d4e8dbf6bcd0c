"""npsnn's side of scripts/gpu_bench.py: CASE BATCH FILE DEVICE TF32; writes its start to FILE, then obeys its input.

`time FUSE SECONDS` times steps, and FUSE is what NPSNN_FUSE is set to. DEVICE may be cpu, to try the script.
"""

import importlib
import json
import os
import sys

import numpy as np
from bench_cases import Case
from bench_npsnn import Training, batch_of, config_of, model_of
from bench_side import answer, milliseconds

import npsnn
from npsnn.backend import to_host, use_device
from npsnn.train.epochs import Trainer
from npsnn.workers.processes import Processes

TF32_TENSOR_OP_MATH = 3
"""cuBLAS's cublasMath_t of this name, which CuPy does not export."""


def allow_tf32() -> None:
    """For all products: CUPY_TF32=1 alone, which must be set as well, is for those of two matrices."""
    import cupy
    from cupy_backends.cuda.libs import cublas

    cublas.setMathMode(cupy.cuda.device.get_cublas_handle(), TF32_TENSOR_OP_MATH)


def _no_wait() -> None:
    return


def main(case: Case, examples: int, start: str, device: str, tf32: bool) -> None:
    use_device(device)
    wait = _no_wait if device == "cpu" else importlib.import_module("cupy").cuda.Device().synchronize
    if tf32 and device != "cpu":
        allow_tf32()
    batch = batch_of(case, examples)
    with Processes(1) as workers:
        trainer = Trainer(config_of(case), model_of(case), batch, batch, workers, device)
        work = Training(trainer, trainer.initial())
        parameters = {k: to_host(p) for k, p in work.state.params.items()}
        np.savez(start, images=batch.images, labels=batch.labels, **parameters)

        def step() -> None:
            work.step()
            wait()

        def timed(argument: str) -> float:
            os.environ["NPSNN_FUSE"], seconds = argument.split()
            return milliseconds(step, float(seconds))

        def gradients(path: str) -> float:
            loss, found = work.gradients()
            np.savez(path, **{k: to_host(g) for k, g in found.items()})
            return float(loss)

        version = f"{npsnn.__version__} with NumPy {np.__version__}"
        answer({"version": lambda _: version, "gradients": gradients, "time": timed})


if __name__ == "__main__":
    main(Case(**json.loads(sys.argv[1])), int(sys.argv[2]), *sys.argv[3:5], tf32=sys.argv[5] == "1")
