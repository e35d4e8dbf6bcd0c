"""Whatever can be misspelt on the command line or in Python is met by the nearest name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import Npsnn

from npsnn import data, models
from npsnn.attacks import OnePixel, Plan
from npsnn.layers.affine import Conv2d
from npsnn.layers.noise import FeatureNoise
from npsnn.objectives import OBJECTIVES
from npsnn.tables import named
from npsnn.train import Config
from npsnn.train.recipes import recipe

WORDS = {
    ("tarin",): "Did you mean train?",
    ("data", "lsit"): "Did you mean list?",
    ("data", "fetch", "minst"): "Did you mean mnist?",
    ("train", "--modle", "lenet5"): "--model",
    ("train", "--model", "LeNet"): "Did you mean lenet5?",
    ("train", "--recipe", "a2snn-m55"): "Did you mean a2snn-m5?",
    ("train", "--propagation", "sample"): "Did you mean sampled?",
    ("train", "--schedule", "cosin"): "Did you mean cosine?",
    ("train", "--covariance", "diag"): "Did you mean diagonal?",
    ("attack", "--adaptiv-pgd"): "--adaptive-pgd",
    ("attack", "--objective", "cross-entopy"): "Did you mean cross-entropy?",
    ("attack", "--propagation", "exakt"): "Did you mean exact?",
    ("evaluate", "--checkpoint", "lsat"): "Did you mean last?",
    ("evaluate", "--conv", "winograt"): "Did you mean winograd?",
    ("audit", "--verdict", "typos"): "Did you mean typo?",
    ("audit", "--paper", "a2sn"): "Did you mean a2snn?",
}


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_misspelt_word_is_met_by_the_nearest(npsnn: Npsnn, words: tuple[str, ...]) -> None:
    assert WORDS[words] in npsnn(*words).error_line(2)


def test_a_misspelt_file_or_run_is_met_by_the_nearest(npsnn: Npsnn, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "options.toml").write_text("")
    line = npsnn("train", "--config", tmp_path / "optoins.toml").error_line(2)
    assert line.endswith("does not exist. Did you mean options.toml?")
    for run in ("smal", trained / "smal", "SMALL"):
        assert "did you mean small?" in npsnn("evaluate", run, "--runs-dir", trained).error_line(1)


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda: Config(model="lenet"), "lenet5"),
        (lambda: Config(loss="noise-awear"), "noise-aware"),
        (lambda: Config.from_json({"sigmaa": 1}), "sigma"),
        (lambda: data.load("cifar"), "cifar10"),
        (lambda: models.build("cnn", (1, 28, 28), 10, 0.1), "cnn5"),
        (lambda: models.build("cnn5", (1, 28, 28), 10, 0.1, noise="feature"), "features"),
        (lambda: models.lenetpp(variant="author"), "authors"),
        (lambda: recipe("a2snn-m55", "digits"), "a2snn-m5"),
        (lambda: Conv2d(2, 3, method="winograt"), "winograd"),
        (lambda: Plan(attacks=("pgdd",)), "pgd"),
        (lambda: Plan(norm="inf"), "linf"),
        (lambda: OnePixel(strategy="rand1bn"), "rand1bin"),
        (lambda: FeatureNoise(0.1, covariance="diag"), "diagonal"),
        (lambda: named(OBJECTIVES, "cross_entropy", "objective"), "cross-entropy"),
    ],
)
def test_a_misspelt_name_in_python_is_met_by_the_nearest(call: Callable[[], Any], nearest: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).endswith(f"; did you mean {nearest}?")
