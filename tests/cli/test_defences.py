"""`npsnn train --recipe` for the defences of the literature."""

import json
from pathlib import Path

import pytest
from calling import Npsnn

from npsnn.train.defences import DEFENCES


@pytest.mark.parametrize("name", DEFENCES)
def test_a_recipe_explains_itself(npsnn: Npsnn, name: str) -> None:
    shown = npsnn("train", "--recipe", name, "--dataset", "fashion-mnist", "--show")
    assert shown.code == 0 and not shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith(f"{name}: ") and "Settings on fashion-mnist:" in lines
    assert max(map(len, lines)) <= 80
    assert "Known of its strength:" in lines
    assert ("The authors' code (--authors-code sets all of it):" in lines) == bool(DEFENCES[name].departures)


def test_settings_come_from_flags_and_from_set(npsnn: Npsnn) -> None:
    options = ("--recipe", "l2p", "--epochs", 3, "--set", "sigma=0.5", "--set", "eps=16/255", "--set", "falls=0.5,0.75")
    document = json.loads(npsnn("train", *options, "--authors-code", "--show", "--json").out)
    settings = {k: (v["value"], v["source"]) for k, v in document["settings"].items()}
    assert settings["epochs"] == (3, "given") and settings["sigma"] == (0.5, "given")
    assert settings["eps"] == (pytest.approx(16 / 255), "given") and settings["falls"] == ([0.5, 0.75], "given")
    assert settings["shared"] == (True, "authors' code") and settings["floor"] == (0.01, "default")
    assert settings["steps"][1] == "default" and settings["model"] == ("lenet5", "chosen here")
    assert document["departures"]["shared"]["row"].startswith("C")
    plain = json.loads(npsnn("train", "--recipe", "l2p", "--set", "falls=none", "--show", "--json").out)
    assert plain["settings"]["falls"] == {"value": None, "source": "default"}
    idle = npsnn("train", "--recipe", "mi", "--momentum", 0.5, "--show")
    assert idle.code == 0 and "warning: momentum has no effect unless optimizer is sgd" in idle.err
    warned = npsnn("train", "--recipe", "mi", "--authors-code", "--show")
    assert warned.code == 0 and "warning: --authors-code has no effect on mi" in warned.err


REFUSED = {
    ("--recipe", "pni", "--sigma", 0.3): "--sigma is no setting of the recipe pni",
    ("--recipe", "pni", "--set", "alpa=3"): "'alpa' is no setting of the recipe pni. Did you mean alpha?",
    ("--recipe", "pni", "--set", "alpha"): "'alpha' has no =",
    ("--recipe", "pni", "--set", "alpha=much"): "--set alpha: 'much' is not a valid",
    ("--recipe", "pni", "--set", "scope=row"): "--set scope: 'row' is not one of",
    ("--recipe", "sads", "--set", "convolutions=perhaps"): "--set convolutions: 'perhaps' is not a valid boolean",
    ("--recipe", "pni", "--set", "epochs=2", "--epochs", 3): "epochs is given by a flag and by --set",
    ("--recipe", "pni", "--set", "alpha=2", "--set", "alpha=3"): "--set alpha is given twice",
    ("--recipe", "pni", "--train-noise-only", "there"): "--train-noise-only is for a network that is given",
    (
        "--recipe",
        "l2p",
        "--authors-code",
        "b9824db",
    ): "--authors-code takes no commit with the recipe l2p: b9824db is a",
    ("--recipe", "mi", "--authors-code", "4f752b8"): "--authors-code takes no commit with the recipe mi: 4f752b8 is a",
    ("--set", "beta=3"): "--set is for the recipe of a defence",
    ("--recipe", "a2snn-m5", "--set", "beta=3"): "--set is for the recipe of a defence",
    ("--resume", "there", "--set", "beta=3"): "--set cannot be set with it",
}


@pytest.mark.parametrize("options", REFUSED, ids=lambda o: " ".join(map(str, o)))
def test_what_is_no_setting_is_refused(npsnn: Npsnn, options: tuple[object, ...]) -> None:
    outcome = npsnn("train", *options, "--show")
    assert outcome.code == 2 and REFUSED[options] in outcome.err.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rse", "mi"])
def test_it_is_trained_evaluated_and_attacked(npsnn: Npsnn, tmp_path: Path, name: str) -> None:
    where = ("--data-dir", tmp_path / "data", "--runs-dir", tmp_path / "runs")
    folder = tmp_path / "runs" / f"{name}-lenet5-digits-1"
    trained = npsnn("train", "--recipe", name, "--limit", 60, "--epochs", 1, "--json", *where)
    assert trained.code == 0 and f"{name}: lenet5 on digits, into {folder}" in trained.err
    assert json.loads(trained.out)["training"]["epochs"] == 1
    about = json.loads((folder / "config.json").read_text())
    assert about["recipe"]["type"] == type(DEFENCES[name]()).__name__ and about["recipe"]["epochs"] == 1
    for command in ("evaluate", "attack"):
        options = ("--fgsm", "--eps", 0.1) if command == "attack" else ()
        answered = npsnn(command, "--limit", 8, "--average", 2, "--answer", "probabilities", *options, "--json", *where)
        assert answered.code == 0, answered.err
    averaging = f"--average {DEFENCES[name].answers[1]} --answer probabilities"
    more = npsnn("train", "--resume", f"{name}-lenet5-digits-1", *where)
    assert more.code == 0 and "had all its 1 epochs already" in more.err
    assert f"Next: npsnn attack {folder} {averaging}" in more.err
