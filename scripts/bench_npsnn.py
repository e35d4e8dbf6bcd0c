"""npsnn's side of scripts/bench.py: THREADS BATCH FILE; writes parameters and batch to FILE, then obeys its input."""

import sys
from dataclasses import replace
from time import perf_counter

import numpy as np

import npsnn
from npsnn import models
from npsnn.config import Config
from npsnn.data import Split
from npsnn.parallel import Workers, keep_freed_memory
from npsnn.trainer import Trainer


def main(threads: int, batch: int, start: str) -> None:
    keep_freed_memory()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 1, 28, 28)).astype(np.uint8)
    split = Split(images, rng.integers(0, 10, batch))
    model = models.lenet5(sigma=0.6)
    config = Config(optimizer="sgd", momentum=0.0, propagation="laplace", loss="noise-aware")
    with Workers(threads) as workers:
        trainer = Trainer(config, model, split, split, workers, "cpu")
        state = trainer.initial()
        rows = np.arange(batch)
        np.savez(start, images=images, labels=split.labels, **state.params)
        for line in sys.stdin:
            command, _, argument = line.strip().partition(" ")
            if command == "version":
                print(npsnn.__version__, "with NumPy", np.__version__, flush=True)
            elif command == "gradients":
                total = trainer.gradient(state.params, rows)
                np.savez(argument, **(total.grads or {}))
                print(total.loss, flush=True)
            elif command == "time":
                before = perf_counter()
                for _ in range(int(argument)):
                    grads = trainer.gradient(state.params, rows).grads or {}
                    state = replace(trainer.updated(state, grads, 1e-9), steps=0)
                print((perf_counter() - before) / int(argument) * 1e3, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
