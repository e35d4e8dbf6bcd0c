"""Runs of a training with a schedule in each of its parts: saved, of any threads, and stopped half-way."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import of_units_in_digits

from npsnn import attacks, train
from npsnn.data import Dataset, Split, digits
from npsnn.optim import SGD, Constant, Fall, Falls, Harmonic, Ramp, Since, Times
from npsnn.runs.checkpoint import BEST, CONFIG, LAST
from npsnn.train import (
    Adversarial,
    AlternatingReward,
    CrossEntropy,
    Decay,
    Drawn,
    Epoch,
    GradientFactor,
    OperatorNorm,
    Role,
    RootReward,
    SigmaCap,
    SigmaFloor,
    SigmaReward,
    Step,
    Training,
)
from npsnn.train.epochs import Trainer
from npsnn.workers.processes import Processes

LABELS = np.arange(60) % 10
IMAGES = digits.draw(LABELS, np.random.default_rng(0))
DATA = Dataset("few digits", Split(IMAGES, LABELS), Split(IMAGES[:20], LABELS[:20]), 10, {"train": "60"})


def every_part(**changed: Any) -> Training:
    """A training with a schedule in a loss, a treatment, terms and constraints, of values that files hold."""
    gamma = Times(1e-2, Harmonic(3, 1))
    chosen: dict[str, Any] = {
        "loss": Adversarial(CrossEntropy(), attacks.FGSM(0.1, source=attacks.EoT(1)), Times(0.5, Since(0.5))),
        "noise": Drawn(Since(1 / 3)),
        "terms": [SigmaReward(Times(0.1, Ramp(0.9))), RootReward(gamma)],
        "constraints": [
            SigmaFloor(Times(0.2, Ramp(1.0))),
            SigmaCap(0.9),
            AlternatingReward(gamma, Times(0.1, Falls((0.5,), (0.1,)))),
            GradientFactor(("fc.*", "*.sigma"), Fall(1.0)),
            Decay(("*.sigma",), Times(1e-3, Constant())),
            OperatorNorm("bound"),
        ],
        "optimizer": SGD(0.01),
        "schedule": Falls((0.5,), (0.1,)),
        "trains": Role.ALL,
        "epochs": 3,
        "batch_size": 40,
    }
    return Training(of_units_in_digits(), **chosen | changed)


def finished(run: Iterator[Step | Epoch]) -> list[Epoch]:
    return [record for record in run if isinstance(record, Epoch)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run on one thread."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    records = finished(train.fit(every_part(), DATA, folder, threads=1))
    assert all(np.isfinite(record.loss) for record in records)
    return folder


def test_a_training_comes_back_from_its_json(whole: Path) -> None:
    training = every_part()
    document = json.loads(json.dumps(training.to_json()))
    assert Training.from_json(document) == training
    assert document["noise"] == {"type": "Drawn", "scale": {"type": "Since", "start": 1 / 3}}
    saved = json.loads((whole / CONFIG).read_text())["training"]
    assert saved["terms"][0]["alpha"]["schedule"]["type"] == "Ramp" and len(saved["constraints"]) == 6
    older = document | {"noise": {"type": "Drawn"}}
    assert Training.from_json(older).noise == Drawn(1.0)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ("fast", "Drawn.scale must be of the type float or Schedule, got 'fast'"),
        (True, "Drawn.scale must be of the type float or Schedule, got True"),
        ({"type": "Adam"}, "scale must be a number or a schedule, .* got Adam"),
        ({"type": "Ramp"}, "Ramp"),
        (-1.0, "scale must be >= 0 and finite, got -1.0"),
    ],
    ids=str,
)
def test_a_file_with_another_scalar_is_refused(scale: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training.from_json(every_part().to_json() | {"noise": {"type": "Drawn", "scale": scale}})


def test_it_is_bit_identical_for_any_threads(whole: Path, tmp_path: Path) -> None:
    finished(train.fit(every_part(), DATA, tmp_path / "run", threads=2))
    assert (tmp_path / "run" / LAST).read_bytes() == (whole / LAST).read_bytes()


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_stopped_run_goes_on_to_the_same_bytes(epochs: int, whole: Path, tmp_path: Path) -> None:
    run = train.fit(every_part(), DATA, tmp_path / "half", threads=1)
    for record in run:
        if isinstance(record, Epoch) and record.epoch == epochs:
            break
    del run
    assert len(finished(train.resume(tmp_path / "half", DATA, threads=1))) == 3 - epochs
    assert all((tmp_path / "half" / name).read_bytes() == (whole / name).read_bytes() for name in (LAST, BEST))
    with pytest.raises(ValueError, match="epochs must be the run's own 3 under Falls"):
        train.resume(tmp_path / "half", DATA, threads=1, epochs=4)


def test_constant_schedules_change_no_bit() -> None:
    """A number and a schedule of the same number give the same network."""
    for number in (1.0, 0.0):
        found = []
        for value in (number, Times(number, Constant())):
            constraints = [AlternatingReward(value, 0.1), GradientFactor(("*",), value), Decay(("*.w",), value)]
            training = every_part(noise=Drawn(value), terms=[SigmaReward(value)], constraints=constraints, epochs=1)
            with Processes(1) as workers:
                trainer = Trainer(training, DATA.train, DATA.test, workers, "cpu")
                *_, (state, _) = trainer.epoch(trainer.initial())  # type: ignore[misc]
                found.append({name: p.tobytes() for name, p in state.params.items()})
        assert found[0] == found[1]
