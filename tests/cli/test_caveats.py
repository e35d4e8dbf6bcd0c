"""What qualifies a number stands beside it: in the table, in --json and in what the run's folder keeps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn

from npsnn.classifier import Classifier
from npsnn.files import json_files
from npsnn.runs.checkpoint import CONFIG, METRICS


@pytest.fixture
def where(runs: Path, data_dir: Path) -> tuple[object, ...]:
    return ("small", "--runs-dir", runs, "--data-dir", data_dir)


CAVEATS: dict[str, str] = {}
ONE_STEP = ("attack", "--fgsm", "--eot", 1, "--draws", 1, "--eps", 0.1, "--limit", 20)


def recorded(runs: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (runs / "small" / name).read_text().splitlines()]


def codes(document: dict[str, Any]) -> set[str]:
    return {caveat["code"] for caveat in document["caveats"]}


def kill(runs: Path) -> None:
    """The first layer answers 0 to all images: so are their gradients."""
    path = runs / "small" / "last.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["params/conv1.b"][:] = -1e6
    np.savez(path, **arrays)


@pytest.mark.slow
def test_the_accuracy_that_a_training_ends_with_is_qualified(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    options = ("train", "--limit", 2, "--epochs", 1, "--runs-dir", runs, "--data-dir", data_dir)
    assert "the part of the commonest class [at-chance]" in npsnn(*options).out
    assert codes(json.loads(npsnn(*options, "--json").out)) == {"at-chance"}


@pytest.mark.slow
def test_gradients_that_are_zero_are_beside_the_result(npsnn: Npsnn, where: tuple[object, ...], runs: Path) -> None:
    kill(runs)
    ended = npsnn(*ONE_STEP, *where, "--pgd", "--steps", 2)
    table = ended.out.splitlines()
    assert {line.split("  ")[0] for line in table if "linf" in line} == {"fgsm *", "pgd *", "worst of them *"}
    line = next(line for line in table if line.startswith("* fgsm at 0.1, pgd at 0.1: "))
    assert "all-zero gradient on 20 of 20 images" in line and line.endswith("[zero-gradients]")
    document = json.loads(npsnn(*ONE_STEP, *where, "--json").out)
    assert document["results"][0]["zero_gradients"] == 20 and document["results"][0]["bad_gradients"] == 0
    assert codes(document["results"][0]) == {"zero-gradients"}
    lines = recorded(runs, "attacks.jsonl")
    assert [codes(line.get("result") or line["worst_case"]) for line in lines] == [{"zero-gradients"}] * 4


@pytest.mark.slow
def test_a_criterion_has_the_gradients_that_were_zero(npsnn: Npsnn, where: tuple[object, ...], runs: Path) -> None:
    kill(runs)
    quick = ("--limit", 8, "--steps", 1, "--eot", 1, "--draws", 1, "--samples", 1, "--population", 5)
    ended = npsnn("checklist", *where, *quick, "--generations", 1)
    assert any(line.startswith("1  one step against many *") for line in ended.out.splitlines())
    assert "* 1: fgsm at 0.03137: an all-zero gradient on 8 of 8 images" in ended.out
    assert "the part of the commonest class [at-chance]" in ended.out and "[few-images]" in ended.out
    (line,) = recorded(runs, "checklist.jsonl")
    assert codes(line) == {"at-chance", "few-images"} and codes(line["criteria"][0]) == {"zero-gradients"}
    assert line["noise_off_accuracy"] == line["clean_accuracy"]


def test_a_sound_result_carries_no_mark(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    out = npsnn(*ONE_STEP, *where).out
    assert "*" not in out and json.loads(npsnn(*ONE_STEP, *where, "--json").out)["results"][0]["caveats"] == []


def unfinished(runs: Path) -> None:
    path = runs / "small" / CONFIG
    about = json_files.read_json(path)
    about["train"]["epochs"] = 3
    json_files.write_json(path, about)


def unverified(runs: Path) -> None:
    CAVEATS["digits"] = "nobody has checked them"


@pytest.fixture(autouse=True)
def _known_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npsnn.data.CAVEATS", CAVEATS)
    CAVEATS.clear()


def without_an_epoch(runs: Path) -> None:
    (runs / "small" / METRICS).unlink()


def nothing(runs: Path) -> None:
    pass


RUN_CAVEATS = [
    (unfinished, (), "unfinished", "the run has 1 of its 3 epochs"),
    (without_an_epoch, (), "unfinished", "the run has 0 of its 1 epochs"),
    (nothing, ("--inference-sigma", 0), "noise-off", "trained with noise 0.6, which is off"),
    (nothing, (), "few-images", "the number of images is 20"),
    (unverified, (), "unverified-data", "nobody has checked them"),
    (kill, (), "at-chance", "the part of the commonest class"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("happens", "options", "code", "said"), RUN_CAVEATS)
@pytest.mark.parametrize("command", [("evaluate", "--limit", 20), ONE_STEP], ids=lambda c: c[0])
def test_what_qualifies_a_run_stands_under_its_table(
    npsnn: Npsnn,
    where: tuple[object, ...],
    runs: Path,
    command: tuple[object, ...],
    happens: Any,
    options: tuple[object, ...],
    code: str,
    said: str,
) -> None:
    happens(runs)
    out = npsnn(*command, *where, *options).out
    assert any(line.startswith("note: ") and said in line and line.endswith(f"[{code}]") for line in out.splitlines())
    assert code in codes(json.loads(npsnn(*command, *where, *options, "--json").out))
    if command[0] == "attack":
        assert all(code in codes(line) for line in recorded(runs, "attacks.jsonl"))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--eot", 0, "--eps", 0.1), "noise-ignored", "the network without its noise"),
        (("--eot", 1, "--eps", 0.6), "large-eps", "eps 0.6 is in units of the [0, 1] pixel"),
    ],
)
def test_what_qualifies_an_attack_stands_at_its_row(
    npsnn: Npsnn, where: tuple[object, ...], options: tuple[object, ...], code: str, said: str
) -> None:
    command = ("attack", "--fgsm", "--draws", 1, "--limit", 20, *options, *where)
    out = npsnn(*command).out
    assert any(
        line.startswith("* fgsm at 0.") and said in line and line.endswith(f"[{code}]") for line in out.splitlines()
    )
    assert codes(json.loads(npsnn(*command, "--json").out)["results"][0]) == {code}


@pytest.mark.slow
def test_attack_begins_with_its_noise_off_and_on(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    document = json.loads(npsnn("evaluate", *where, "--limit", 50, "--json").out)
    attack = (*ONE_STEP[:-1], 50, *where)
    line = npsnn(*attack).out.splitlines()[1]
    assert line.endswith(f"; {100 * document['clean_accuracy']:.1f} % with the noise off")
    assert json.loads(npsnn(*attack, "--json").out)["noise_off_accuracy"] == document["clean_accuracy"]
    assert (
        "with the noise off" not in npsnn(*ONE_STEP[:2], "--eps", 0.1, "--limit", 5, "--inference-sigma", 0, *where).out
    )


def test_a_classifier_of_python_says_the_same(trained: Path) -> None:
    from npsnn import attacks

    network = Classifier.load(trained / "small")
    x, labels = np.random.default_rng(0).random((6, 1, 28, 28), np.float32), np.arange(6)
    (result,) = attacks.evaluate(network, x, labels, attacks.Plan(("fgsm",), eps=(0.7,), eot=0, draws=1))
    assert {caveat.code for caveat in result.caveats} >= {"large-eps", "noise-ignored"}
    (result,) = attacks.evaluate(network, x, labels, attacks.Plan(("adaptive-fgsm",), eps=(0.1,), draws=1))
    assert result.caveats == []


@pytest.mark.slow
@pytest.mark.parametrize("command", [ONE_STEP, (*ONE_STEP, "--json")], ids=["table", "json"])
def test_attack_says_what_it_will_cost(npsnn: Npsnn, where: tuple[object, ...], command: tuple[object, ...]) -> None:
    err = npsnn(*command, *where, "--pgd", "--steps", 3).err
    assert "4 passes an image; 20 images will take about " in err


@pytest.mark.slow
def test_no_draws_are_named_where_the_noise_is_off(npsnn: Npsnn, where: tuple[object, ...]) -> None:
    options = ("evaluate", *where, "--limit", 20, "--average", 5)
    assert "draws each" in npsnn(*options).out and "average of 5" in npsnn(*options).out
    off = npsnn(*options, "--inference-sigma", 0).out
    assert "noise off" in off and "draws each" not in off and "average of" not in off


@pytest.mark.parametrize("command", [("evaluate", "--limit", 20), ONE_STEP], ids=lambda c: c[0])
def test_the_heading_names_the_checkpoint_of_an_early_network(
    npsnn: Npsnn, where: tuple[object, ...], runs: Path, command: tuple[object, ...]
) -> None:
    assert "best.npz" not in npsnn(*command, *where).out
    heading = npsnn(*command, *where, "--checkpoint", "best").out.splitlines()[0]
    assert heading.startswith(f"{runs / 'small'}, best.npz: the first 20 test images")
