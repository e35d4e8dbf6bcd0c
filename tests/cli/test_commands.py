"""What the commands print, to people and as JSON."""

import json
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import ABOUT, Npsnn

from npsnn import Classifier, attacks, data
from npsnn.layers.affine import Conv2d

TRAIN = {
    "run",
    "model",
    "dataset",
    "sigma",
    "epochs",
    "seconds",
    "examples_per_second",
    "clean_accuracy",
    "noisy_accuracy",
    "validation_accuracy",
    "train",
    "examples",
    "draws",
} | ABOUT - {"limit", "other_data"}
ATTACK = {
    "attack",
    "norm",
    "eps",
    "robust_accuracy",
    "ci95",
    "gradient",
    "gradient_passes",
    "seconds",
    "zero_gradients",
    "bad_gradients",
    "caveats",
    "group",
    "met",
    "took",
    "wrong_signs",
}


def test_train_json(npsnn: Npsnn, tmp_path: Path, data_dir: Path) -> None:
    options = ("--sigma", 0.3, "--limit", 300, "--epochs", 2, "--data-dir", data_dir, "--runs-dir", tmp_path)
    outcome = npsnn("train", *options, "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document.keys() == TRAIN
    assert (document["examples"], document["draws"], document["train"]["limit"]) == (2000, 1, 300)
    assert document["sigma"] == pytest.approx(0.3)
    assert document["epochs"] == 2
    folder = Path(document["run"])
    assert folder == tmp_path / "lenet5-digits-sigma0.3-1"
    assert {p.name for p in folder.iterdir()} == {"config.json", "metrics.jsonl", "last.npz", "best.npz"}
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["validation_accuracy"] == document["validation_accuracy"]
    assert len(outcome.err.splitlines()) == 4  # what is trained, a header, two epochs


@pytest.mark.slow
def test_the_clean_accuracy_is_that_of_the_saved_network(npsnn: Npsnn, trained: Path, data_dir: Path) -> None:
    outcome = npsnn("evaluate", "small", "--runs-dir", trained, "--data-dir", data_dir, "--limit", 300, "--json")
    document = json.loads(outcome.out)
    assert document.keys() == ABOUT | {
        "examples",
        "seed",
        "clean_accuracy",
        "clean_accuracy_ci95",
        "noisy_accuracy",
        "noisy_accuracy_ci95",
        "inference_sigma",
        "draws",
        "answer",
        "average",
    }
    test = data.load("digits", data_dir).test
    predicted = Classifier.load(trained / "small").predict(data.as_float(test.images[:300])).argmax(axis=1)
    assert document["clean_accuracy"] == pytest.approx(np.mean(predicted == test.labels[:300]))
    low, high = document["noisy_accuracy_ci95"]
    assert 0 <= low <= document["noisy_accuracy"] <= high <= 1


@pytest.mark.slow
def test_attack_json(npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path) -> None:
    options = ("--fgsm", "--adaptive-fgsm", "--eps", "8/255", "--eps", 0.3, "--eot", 3, "--draws", 4, "--limit", 70)
    save = tmp_path / "images.npz"
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir)
    outcome = npsnn("attack", *where, *options, "--save", save, "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document["plan"]["seed"] == 0 and document["plan"]["eot"] == 3
    assert document.keys() == ABOUT | {
        "plan",
        "inference_sigma",
        "draws",
        "answer",
        "average",
        "examples",
        "clean_accuracy",
        "clean_ci95",
        "noise_off_accuracy",
        "results",
        "worst_case",
        "interrupted",
    }
    assert document["interrupted"] is False
    assert document["examples"] == 70
    assert [(r["attack"], r["eps"], r["gradient"], r["gradient_passes"]) for r in document["results"]] == [
        ("fgsm", 8 / 255, "sampled", 3),
        ("adaptive-fgsm", 8 / 255, "closed-form", 1),
        ("fgsm", 0.3, "sampled", 3),
        ("adaptive-fgsm", 0.3, "closed-form", 1),
    ]
    assert [r.keys() ^ ATTACK for r in document["results"]] == [set()] * 4
    test = data.load("digits", data_dir).test
    with np.load(save) as saved:
        assert (saved["labels"] == test.labels[:70]).all()
        for name, eps in (("fgsm-linf-0.3", 0.3), (f"adaptive-fgsm-linf-{8 / 255!r}", 8 / 255)):
            moved = np.abs(saved[name] - data.as_float(test.images[:70])).max()
            assert eps / 2 < moved <= eps + 1e-6
    logged = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()]
    assert [line["result"] for line in logged if "result" in line] == document["results"]
    assert [line["worst_case"] for line in logged if "worst_case" in line] == document["worst_case"]


@pytest.mark.slow
def test_attack_table(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 30)
    outcome = npsnn("attack", *where, "--pgd", "--bim", "--steps", 2, "--eot", 1, "--eps", 0.1)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert " ".join(lines[3].split()) == "attack norm eps accuracy 95 % interval gradient passes seconds"
    rows = [line for line in lines[4:] if line[:1] not in ("", " ") and not line.startswith("note:")]
    assert [row.split()[0] for row in rows] == ["bim", "pgd", "worst"]


@pytest.mark.slow
def test_attack_is_repeatable_whatever_the_threads(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 150, "--json", "--pgd", "--adaptive-fgsm")
    options = ("--steps", 2, "--eot", 2, "--selection", 5, "--eps", 0.1)
    found = [json.loads(npsnn("attack", *where, *options, "--threads", n).out)["results"] for n in (1, 2, 3)]
    for results in found:
        for row in results:
            del row["seconds"]
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_expectation_network(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 30, "--json", "--fgsm", "--eps", 0.1)
    gradients = {}
    for options in (("--inference-sigma", 0), ("--eot", 0), ()):
        (row,) = json.loads(npsnn("attack", *where, *options).out)["results"]
        gradients[options] = row["gradient"]
    assert list(gradients.values()) == ["expectation", "expectation", "sampled"]


@pytest.mark.slow
def test_averaged_answers_are_recorded_and_said(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 40, "--inference-sigma", 2)
    test, network = data.load("digits", data_dir).test, Classifier.load(runs / "small").with_sigma(2)
    found = {n: json.loads(npsnn("evaluate", *where, "--average", n, "--json").out) for n in (1, 5)}
    for n, document in found.items():
        expected = attacks.accuracy(network.averaging(n), test.images[:40], test.labels[:40], 10).mean
        assert (document["average"], document["noisy_accuracy"]) == (n, expected)
    assert found[1]["noisy_accuracy"] != found[5]["noisy_accuracy"]
    assert "every draw an average of 5" in npsnn("evaluate", *where, "--average", 5).out.splitlines()[0]
    assert "an average of" not in npsnn("evaluate", *where).out
    heading, _ = npsnn("attack", *where, "--fgsm", "--eot", 1, "--eps", 0, "--average", 5).out.splitlines()[:2]
    assert heading.endswith("noise 2, 10 draws, every draw an average of 5")
    (logged,) = (json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines())
    assert logged["average"] == logged["plan"]["average"] == 5
    assert logged["clean_accuracy"] == found[5]["noisy_accuracy"]
    assert "--average" in npsnn("attack", *where, "--average", 0).error_line(2)


@pytest.mark.slow
def test_precedence(npsnn: Npsnn, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "options.toml"
    file.write_text("[train]\nsigma = 0.1\nlimit = 64\nepochs = 1\n")
    where = ("--config", file, "--runs-dir", tmp_path, "--data-dir", data_dir, "--json")

    def sigma(*options: object) -> float:
        value = json.loads(npsnn("train", *where, *options).out)["sigma"]
        assert isinstance(value, float)
        return value

    assert sigma() == pytest.approx(0.1)
    monkeypatch.setenv("NPSNN_TRAIN_SIGMA", "0.2")
    assert sigma() == pytest.approx(0.2)
    assert sigma("--sigma", 0.3) == pytest.approx(0.3)


@pytest.mark.slow
def test_the_convolution_of_the_training_is_kept_unless_another_is_asked_for(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path
) -> None:
    """LeNet-5's convolutions have few channels: Winograd's method has to be asked for."""
    where = ("--data-dir", data_dir, "--runs-dir", tmp_path)
    npsnn("train", "--epochs", 1, "--limit", 64, "--conv", "winograd", "--name", "w", *where)
    asked: list[str] = []
    by_winograd = Conv2d.by_winograd

    def watched(self: Conv2d, x: Any) -> bool:
        asked.append(self.method)
        return by_winograd(self, x)

    for given, method in (((), "winograd"), (("--conv", "direct"), "direct")):
        asked.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Conv2d, "by_winograd", watched)
            assert npsnn("evaluate", "w", "--limit", 20, *given, *where).code == 0
        assert set(asked) == {method}


@pytest.mark.slow
def test_resume_of_a_finished_run(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    before = (runs / "small" / "last.npz").read_bytes()
    outcome = npsnn("train", "--resume", "small", "--runs-dir", runs, "--data-dir", data_dir)
    assert outcome.code == 0
    assert "all its 1 epochs already" in outcome.err
    assert (runs / "small" / "last.npz").read_bytes() == before


@pytest.mark.slow
def test_sigma_reward_is_warned_of(npsnn: Npsnn, tmp_path: Path, data_dir: Path) -> None:
    where = ("--runs-dir", tmp_path, "--data-dir", data_dir, "--limit", 64, "--epochs", 1)
    outcome = npsnn("train", *where, "--learn-sigma", "--sigma-reward", 0.25, "--sigma", 1.9)
    assert outcome.code == 0
    assert "unbounded below (audit N29)" in outcome.err
    assert "0.6957" in outcome.err


@pytest.mark.slow
def test_an_interrupt_leaves_a_run_to_go_on_with(npsnn: Npsnn, tmp_path: Path, data_dir: Path) -> None:
    where = ["--data-dir", str(data_dir), "--runs-dir", str(tmp_path)]
    program = [sys.executable, "-m", "npsnn.cli", "train", "--name", "cut", "--limit", "600", "--epochs", "1000"]
    # The jobs that a shell runs in the background ignore interrupts, and so would theirs.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen([*program, *where], stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        metrics = tmp_path / "cut" / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"go on with npsnn train --resume {tmp_path / 'cut'}" in err
    assert npsnn("evaluate", "cut", *where, "--limit", 10).code == 0
    config = tmp_path / "cut" / "config.json"
    done = len(metrics.read_text().splitlines())
    config.write_text(config.read_text().replace('"epochs": 1000', f'"epochs": {done + 1}'))
    assert npsnn("train", "--resume", "cut", *where).code == 0
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == list(range(1, done + 2))


@pytest.mark.slow
def test_a_bare_command_takes_the_newest_finished_run(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("--runs-dir", runs, "--data-dir", data_dir, "--limit", 5)
    newest = json.loads(npsnn("evaluate", *where, "--json").out)["run"]
    assert newest == str(runs / "other")
    (runs / "other" / "metrics.jsonl").unlink()  # as a training leaves it that diverged in its first epoch
    for command in (("evaluate",), ("attack", "--fgsm", "--eot", 1, "--draws", 1, "--eps", 0.1)):
        ended = npsnn(*command, *where)
        assert ended.out.startswith(str(runs / "small"))
        assert f"the newest finished run: {runs / 'small'} (passed over: other has 0 of its 1 epochs)" in ended.err
    assert "the newest" not in npsnn("evaluate", "other", *where).err
    (runs / "small" / "metrics.jsonl").unlink()
    line = npsnn("evaluate", *where).error_line(1)
    assert "other has 0 of its 1 epochs, small has 0 of its 1 epochs" in line


@pytest.mark.slow
def test_train_ends_with_its_noise_off_and_on(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir)
    ended = npsnn("train", "--resume", *where)
    off, on = (float(x) for x in re.findall(r"([\d.]+) %", ended.out))
    network, test = Classifier.load(runs / "small"), data.load("digits", data_dir).test
    assert off == round(100 * attacks.accuracy(network.with_sigma(0), test.images, test.labels).mean, 1)
    assert on == round(100 * attacks.accuracy(network, test.images, test.labels, 1).mean, 1)
    assert "noise off, " in ended.out and ended.out.endswith("under one draw of its noise 0.6\n")
