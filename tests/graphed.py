"""Trainings on the double of a GPU, each step a CUDA graph or by itself: both have the same bits."""

import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from trainers import trainer_of

from npsnn import models
from npsnn.backend import to_host
from npsnn.data import Split, digits
from npsnn.models import Model
from npsnn.train.config import Config
from npsnn.train.epochs import State, Trainer
from npsnn.train.replicas import Replicas
from npsnn.workers.processes import Processes

BATCH = 6


def split(count: int, seed: int = 0) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(seed)), labels)


TRAIN, VALIDATION = split(20), split(20, seed=1)  # three batches, and a smaller one


def trained(
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
    graph: bool = True,
    model: Model | None = None,
    epochs: int = 2,
    variable: str = "1",
    ranks: bool = False,
    **changed: Any,
) -> tuple[State, list[Any], Trainer]:
    """The state after some epochs on the double, all records, and the trainer.

    graph: whether steps may be graphs; else each is by itself, as on a CPU.
    variable: what NPSNN_GRAPH is.
    ranks: whether steps are those of a rank among several, which meets nobody.
    """
    monkeypatch.setenv("NPSNN_GRAPH", variable)
    model = model or models.build(
        config.model, (1, 28, 28), 10, config.sigma, config.noise, config.covariance, config.bottleneck
    )
    with Processes(1) as workers:
        trainer = trainer_of(config, model, TRAIN, VALIDATION, workers, "cuda")
        if changed:
            trainer = replace(trainer, training=replace(trainer.training, **changed))
        if ranks:
            replicas = Replicas(Lone(), workers, trainer.statistics, "cuda")  # type: ignore[arg-type]
            replicas.ranks = 2
            trainer = replace(trainer, workers=replicas)
        trainer.steps._refused = not graph
        state, records = trainer.initial(), []
        for _ in range(epochs):
            *steps, (state, record) = trainer.epoch(state)  # type: ignore[misc]
            records += [*steps, replace(record, seconds=0.0, examples_per_second=0.0)]
    return state, records, trainer


class Lone:
    """The ranks as one sees them that has all parts."""

    rank, size, place = 0, 1, "here"

    def block(self, jobs: int) -> range:
        return range(jobs)

    def gathered(self, value: Any) -> list[Any]:
        return [pickle.loads(pickle.dumps(value))]

    def summed(self, rows: np.ndarray, jobs: int) -> np.ndarray:
        assert len(rows) == jobs
        return sum(rows[1:], start=rows[0])


def contents(state: State) -> dict[str, bytes]:
    arrays = {f"params/{k}": p for k, p in state.params.items()} | {f"opt/{k}": p for k, p in state.optimizer.items()}
    return {k: to_host(a).tobytes() for k, a in arrays.items()}


def check_same(monkeypatch: pytest.MonkeyPatch, config: Config, recorded: bool = True, **others: Any) -> None:
    """The same bits as graphs and by themselves; recorded: whether all steps are to be graphs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error" if recorded else "ignore")
        ours, records, trainer = trained(monkeypatch, config, **others)
    theirs, plain, _ = trained(monkeypatch, config, graph=False, **others)
    assert contents(ours) == contents(theirs) and ours.steps == theirs.steps
    assert records == plain
    found = trainer.steps.graphs
    assert (found is not None and len(found._graphs) > 0) == recorded
    if recorded:
        names = [key[0][0] for key in found._graphs]  # type: ignore[union-attr, index]
        assert names.count("step") == 2, "whole batches, and the smaller one"
