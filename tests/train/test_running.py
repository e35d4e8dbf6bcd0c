"""A training in one call, its progress, its records as a table, and what public objects print."""

import csv
import io
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from own_data import MINE

from npsnn import Classifier, attacks, models, train
from npsnn.runs import provenance
from npsnn.train import progress

TRAINING = train.Training(models.lenet5(sigma=0.6), epochs=2, batch_size=16)


def test_run_returns_the_network_that_fit_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = train.run(TRAINING, MINE, tmp_path / "run", threads=1)
    loaded = Classifier.load(tmp_path / "run")
    assert provenance.of_network(made.network.params) == provenance.of_network(loaded.params)
    assert [epoch.epoch for epoch in made.epochs] == [1, 2] and made.folder == tmp_path / "run"
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"], "where there is no terminal, a line for each epoch"
    again = train.run(TRAINING, MINE, threads=1, progress=False)
    assert provenance.of_network(again.network.params) == provenance.of_network(loaded.params)
    assert again.folder is None and capsys.readouterr() == ("", "")
    assert repr(again).startswith("<Trained lenet5, 2 epochs, validation ") and repr(again).endswith(", not kept>")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BETWEEN", -1.0)
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.delenv("TERM", raising=False)
    train.run(TRAINING, MINE, threads=1)
    shown = stream.getvalue()
    assert shown.count("\n") == 1 and shown.endswith("\n")
    drawn = shown.rstrip("\n").split("\r")[1:]
    assert len(drawn) >= 6 and "[###-----------------]  17%" in shown
    assert all(len(after) >= len(before.rstrip()) for before, after in pairwise(drawn))
    assert drawn[-1].startswith("epoch 2/2  loss ")


def test_progress_in_a_notebook_is_one_display(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    shown: list[tuple[str, str]] = []

    def display(document: dict[str, str], raw: bool, display_id: bool) -> object:
        assert raw and display_id
        shown.append(("new", document["text/plain"]))
        return SimpleNamespace(update=lambda document, raw: shown.append(("again", document["text/plain"])))

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    train.run(TRAINING, MINE, threads=1)
    assert [kind for kind, _ in shown].count("new") == 1 and shown[0][0] == "new"
    assert shown[-1][1].startswith("epoch 2/2  loss ") and capsys.readouterr() == ("", "")


def test_an_interrupt_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def show(self: object, record: object) -> None:
        if isinstance(record, train.Epoch):
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.Line, "show", show)
    with pytest.raises(KeyboardInterrupt) as caught:
        train.run(TRAINING, MINE, tmp_path / "run", threads=1)
    assert caught.value.__notes__ == [f"go on with train.resume({str(tmp_path / 'run')!r}, dataset)"]
    left = [r.epoch for r in train.resume(tmp_path / "run", MINE, threads=1) if isinstance(r, train.Epoch)]
    assert left == [2]


def test_the_figures_of_an_epoch_are_a_row_of_a_table(tmp_path: Path) -> None:
    epochs = [r for r in train.fit(TRAINING, MINE, threads=1) if isinstance(r, train.Epoch)]
    with (tmp_path / "epochs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, epochs[0].figures())
        table.writeheader()
        table.writerows(epoch.figures() for epoch in epochs)
    with (tmp_path / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [epoch.loss for epoch in epochs]
    assert "first_layer_ratio" in rows[0] and "feature_noise" not in rows[0] and "epoch" not in rows[0]
    several = replace(epochs[0], sigma={"a": 0.5, "b.noise": 2.0}, feature_noise={"rank": 3.0})
    assert several.figures() | {"sigma.a": 0.5, "sigma.b.noise": 2.0, "feature_noise.rank": 3.0} == several.figures()
    assert "sigma" not in several.figures() and "sigma 0.5/2," in repr(several)


@pytest.mark.slow
def test_tensorboard_takes_the_figures(tmp_path: Path) -> None:
    board = pytest.importorskip("tensorboardX", reason="TensorBoard's records need a writer")
    with board.SummaryWriter(str(tmp_path)) as writer:
        for record in train.fit(TRAINING, MINE, threads=1):
            if isinstance(record, train.Epoch):
                for name, value in record.figures().items():
                    writer.add_scalar(name, value, record.epoch)
    (written,) = tmp_path.glob("events.out.tfevents.*")
    assert b"noisy_validation_accuracy" in written.read_bytes()


def test_public_objects_print_a_short_line() -> None:
    network = Classifier(TRAINING.model, TRAINING.model.init(np.random.default_rng(0)))
    x, labels = MINE.test.images[:4], MINE.test.labels[:4]
    attack, judging = attacks.FGSM(0.1, source=attacks.ClosedForm()), attacks.Judging(draws=2)
    (result,) = attacks.robust_accuracy(network, x, labels, [attack], judging)
    epoch = train.Epoch(1, 0.123456, 0.5, 0.25, 0.75, 0.6, 0.1, 0.2, 1e-3, 3.21, 100.0)
    shown = [repr(value) for value in (MINE, network, TRAINING, result, epoch, attacks.auto(network, 0.1), judging)]
    assert shown[2] == f"Training(model={TRAINING.model!r}, epochs=2, batch_size=16)"
    assert shown[3].startswith("<Result adaptive-fgsm, linf 0.1: accuracy ")
    assert shown[4] == "<Epoch 1, loss 0.1235, validation 25.0%, 75.0% noisy, sigma 0.6, 3.2 s>"
    assert shown[5].startswith("<Members auto: APGD, ") and shown[6] == "Judging(draws=2)"
    shown += [repr(v) for v in (train.Config(), attacks.Plan(), attacks.Checklist(), TRAINING.model.network, attack)]
    assert shown[7] == "Config()" and shown[8].startswith("Plan(")
    assert max(map(len, shown)) < 160, shown
    criterion = attacks.Criterion(1, "name", "question?", attacks.Outcome.PASSES, "why")
    assert repr(criterion) == "<Criterion 1, name: passes>"
