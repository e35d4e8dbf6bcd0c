"""The --config file: tables of options, a run's config.json and what `train --show` prints."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from calling import Npsnn

from npsnn.train.config import Config
from npsnn.train.saved import read_run


def shown(npsnn: Npsnn, *options: object) -> Config:
    ended = npsnn("train", *options, "--show")
    assert ended.code == 0, ended
    return Config.from_json(json.loads(ended.out))


def test_the_config_of_a_run_is_read(npsnn: Npsnn, trained: Path) -> None:
    _, config = read_run(trained / "other")
    assert config.model == "cnn5"
    assert shown(npsnn, "--config", trained / "other" / "config.json") == config
    assert shown(npsnn, "--config", trained / "other" / "config.json", "--lr", 0.5) == replace(config, lr=0.5)


@pytest.mark.parametrize("suffix", ["json", "txt"])
def test_what_show_prints_is_read(npsnn: Npsnn, tmp_path: Path, suffix: str) -> None:
    chosen = ("--recipe", "a2snn-m5", "--model", "lenet5", "--limit", 50, "--adversarial-eps", "1/3", "--pairwise")
    file = tmp_path / f"shown.{suffix}"
    file.write_text(npsnn("train", *chosen, "--show").out)
    assert shown(npsnn, "--config", file) == shown(npsnn, *chosen)


def test_the_config_of_a_training_is_no_matter_of_other_commands(npsnn: Npsnn, trained: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", trained, "--data-dir", data_dir, "--limit", 5)
    assert npsnn("evaluate", *where, "--config", trained / "other" / "config.json").code == 0


def test_a_training_of_noise_alone_needs_its_network(npsnn: Npsnn, trained: Path, tmp_path: Path) -> None:
    about = json.loads((trained / "small" / "config.json").read_text())
    about["train"] |= {"noise_only": True, "learn_sigma": True}
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert "--train-noise-only RUN" in npsnn("train", "--config", tmp_path / "config.json").error_line(2)


def test_tables_of_all_commands_may_stand_in_one_file(npsnn: Npsnn, tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text("[train]\nsigma = 0.25\n[attack]\neot = 3\n[checklist]\neot = 2\n")
    assert shown(npsnn, "--config", file).sigma == 0.25


def test_a_misspelt_variable_is_said_to_set_nothing(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSNN_TRAIN_SIGMAA", "0.1")
    monkeypatch.setenv("NPSNN_TRAIN_EPOCHS", "3")
    monkeypatch.setenv("NPSNN_ATTACK_EOTT", "3")
    ended = npsnn("train", "--show")
    assert ended.err == "warning: NPSNN_TRAIN_SIGMAA sets no option of train. Did you mean NPSNN_TRAIN_SIGMA?\n"
    assert json.loads(ended.out)["epochs"] == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NPSNN_SIGMA", "sets no option of train. Did you mean NPSNN_TRAIN_SIGMA?"),
        ("NPSNN_TRIAN_SIGMA", "sets no option of train. Did you mean NPSNN_TRAIN_SIGMA?"),
    ],
)
def test_a_variable_of_no_command_sets_nothing(
    npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "0.1")
    monkeypatch.setenv("NPSNN_DATA", "data")
    (line,) = npsnn("train", "--show").err.splitlines()
    assert line.startswith(f"warning: {name} {said}")


def test_a_variable_sets_no_argument(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NPSNN_EVALUATE_RUN", "mine")
    ended = npsnn("evaluate", "--runs-dir", tmp_path)
    assert ended.err.startswith("warning: NPSNN_EVALUATE_RUN sets no option of evaluate.")


def test_no_option_is_meant_by_its_own_name(npsnn: Npsnn, tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text('[train]\nconfig = "other.toml"\n')
    line = npsnn("train", "--config", file).error_line(2)
    assert "unknown option config for train." in line and "mean config?" not in line


@pytest.mark.slow
def test_variables_do_not_change_the_options_of_a_run(
    npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch, runs: Path, data_dir: Path
) -> None:
    monkeypatch.setenv("NPSNN_TRAIN_SEED", "4")
    ended = npsnn("train", "--resume", "small", "--runs-dir", runs, "--data-dir", data_dir)
    assert "warning: --resume goes on with the run's own options: --seed of the environment has no effect" in ended.err
