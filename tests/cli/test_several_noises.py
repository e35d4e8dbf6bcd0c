"""Commands on a run whose network has several noise layers: what they print, record and refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn

from npsnn.files import json_files
from npsnn.layers.activation import ReLU
from npsnn.layers.affine import Conv2d, Linear
from npsnn.layers.containers import Residual, Sequential
from npsnn.layers.noise import PreactivationNoise
from npsnn.layers.params import flatten
from npsnn.layers.reshape import Flatten
from npsnn.models import Model
from npsnn.runs import checkpoint

BODY = Sequential((("conv", Conv2d(4, 3, padding=1)), ("noise", PreactivationNoise(0.5))))
LAYERS: Any = (
    ("conv1", Conv2d(4, 5, stride=4)),
    ("noise1", PreactivationNoise(0.3)),
    ("relu1", ReLU()),
    ("block", Residual(BODY, Sequential(()))),
    ("flatten", Flatten()),
    ("fc", Linear(10, joint=True)),
)
SAID = "noise noise1 0.3, block.body.noise 0.5"
SIGMAS = {"noise1": 0.3, "block.body.noise": 0.5}


@pytest.fixture
def where(runs: Path, data_dir: Path) -> tuple[object, ...]:
    """The small run, with the network of two noise layers in the place of its own."""
    model = Model("mine", Sequential(LAYERS), (1, 28, 28), 10)
    config = json_files.read_json(runs / "small" / checkpoint.CONFIG)
    json_files.write_json(runs / "small" / checkpoint.CONFIG, config | {"spec": model.spec()})
    params = checkpoint.with_prefix("params", flatten(model.init(np.random.default_rng(0))))
    checkpoint.save_arrays(runs / "small" / checkpoint.LAST, params, {"epoch": 1})
    return ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--threads", 1)


def test_evaluate_prints_the_sigma_of_each(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    ended = npsnn("evaluate", *where, "--draws", 2)
    assert ended.code == 0 and f"  {SAID}" in ended.out
    document = json.loads(npsnn("evaluate", *where, "--draws", 2, "--json").out)
    assert document["inference_sigma"] == SIGMAS and "noise-off" not in str(document["caveats"])


@pytest.mark.parametrize("attack", ["--pgd", "--adaptive-fgsm"])
def test_attack_takes_them_and_says_so(npsnn: Npsnn, where: tuple[object, ...], runs: Path, attack: str) -> None:
    options = ("attack", attack, "--eps", 0.1, "--draws", 2)
    options += ("--steps", 2, "--eot", 2) if attack == "--pgd" else ()
    ended = npsnn(*options, *where)
    assert ended.code == 0 and f"{SAID}, 2 draws" in ended.out and "with the noise off" in ended.out
    document = json.loads(npsnn(*options, *where, "--json").out)
    assert document["inference_sigma"] == SIGMAS and document["plan"]["sigma"] is None
    assert json.loads((runs / "small" / "attacks.jsonl").read_text().splitlines()[0])["inference_sigma"] == SIGMAS


def test_the_noise_goes_off(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    document = json.loads(npsnn("evaluate", *where, "--inference-sigma", 0, "--json").out)
    assert document["inference_sigma"] == 0 and document["noisy_accuracy"] == document["clean_accuracy"]
    texts = {caveat["code"]: caveat["text"] for caveat in document["caveats"]}
    assert texts["noise-off"] == f"the network was trained with {SAID}, which is off"
    ended = npsnn("attack", "--fgsm", "--eps", 0.1, *where, "--inference-sigma", 0)
    assert ended.code == 0 and "noise off" in ended.out


@pytest.mark.parametrize("command", [("evaluate",), ("attack", "--fgsm"), ("checklist",)], ids=lambda c: c[0])
def test_one_sigma_for_all_is_refused(npsnn: Npsnn, where: tuple[object, ...], command: tuple[str, ...]) -> None:
    ended = npsnn(*command, *where, "--inference-sigma", 0.5)
    assert ended.code == 2 and ended.out == ""
    why = "whose noise layers have each their own sigma (noise1 0.3, block.body.noise 0.5), got 0.5"
    assert "--inference-sigma must be 0 for" in ended.err and why in " ".join(ended.err.split())


@pytest.mark.slow
def test_the_checklist_examines_them(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    options = ("--steps", 1, "--draws", 1, "--samples", 2, "--eot", 2)
    ended = npsnn("checklist", *where, *options)
    assert ended.code in (0, 3, 4) and f"{SAID}, 1 draw" in ended.out
    assert "each gradient over 2 draws" in ended.out and "has no noise" not in ended.out


def test_the_audit_compares_the_rules_in_them(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    _, *options = where[:5]
    ended = npsnn("audit", "N1", "--run", "small", *options, "--images", 1, "--draws", 50)
    assert ended.code == 0 and "block is a Residual, through which no full covariance is computed" in " ".join(
        ended.out.split()
    )
