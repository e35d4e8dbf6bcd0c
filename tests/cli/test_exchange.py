"""`npsnn export` and `npsnn import`."""

import json
from pathlib import Path

import pytest
from calling import Npsnn, contents

from npsnn.classifier import Classifier
from npsnn.data import Dataset
from npsnn.files import json_files
from npsnn.interop import formats
from npsnn.runs import provenance


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def params(run: Path) -> str:
    return provenance.of_network(Classifier.load(run).params)


def needs(kind: str) -> None:
    """Skip the test without the package of a kind of file."""
    pytest.importorskip(kind)


@pytest.mark.parametrize("kind", formats.FORMATS)
def test_a_run_goes_out_and_comes_in_as_a_run_that_commands_take(npsnn: Npsnn, runs: Path, kind: str) -> None:
    needs(kind)
    before = contents(runs)
    end = formats.SUFFIXES[kind][0]
    said = npsnn("export", runs / "small", "--to", kind)
    assert said.code == 0 and Path(f"small{end}").is_file(), said.err
    expected = "its noise is off" if kind == "onnx" else "its noise, 0.6, is among the entries"
    assert f"small{end}: lenet5 of {runs / 'small'}" in said.out and expected in said.out
    assert contents(runs) == before

    model = ("--model", "lenet5") if kind == "torch" else ()
    said = npsnn("import", f"small{end}", *model, "--dataset", "digits", "--runs-dir", runs, "--name", "back")
    assert said.code == 0 and said.err == "" and said.out.startswith(f"{runs / 'back'}: "), said
    assert "10 classes, sigma 0, float32" in said.out if kind == "onnx" else "sigma 0.6" in said.out
    if kind != "onnx":
        assert params(runs / "back") == params(runs / "small")
    config = json_files.read_json(runs / "back" / "config.json")
    assert config["saved"]["file"] == f"small{end}" and config["saved"]["format"] == kind
    assert config["dataset"] == "digits" and config["arrays"] == provenance.of_data(digits())

    names = ("--runs-dir", runs, "--limit", 20, "--threads", 1, "--json")
    was, now = (json.loads(npsnn("evaluate", run, *names).out) for run in ("small", "back"))
    assert now["clean_accuracy"] == was["clean_accuracy"]
    assert "training-unknown" in [caveat["code"] for caveat in now["caveats"]]
    assert now["dataset"] == "digits" and now["epoch"] == 0


def digits() -> Dataset:
    from npsnn import data

    return data.load("digits")


def test_an_imported_run_is_attacked_and_is_the_newest(npsnn: Npsnn, runs: Path) -> None:
    needs("safetensors")
    assert npsnn("export", "small", "--runs-dir", runs, "--out", "net.safetensors").code == 0
    assert npsnn("import", "net.safetensors", "--runs-dir", runs, "--dataset", "digits").code == 0
    attacked = npsnn("attack", "--fgsm", "--eps", 0.1, "--limit", 2, "--draws", 2, "--runs-dir", runs, "--threads", 1)
    assert attacked.code == 0 and f"the newest finished run: {runs / 'lenet5-imported-1'}" in attacked.err
    assert "[training-unknown]" in attacked.out
    for command in (["train", "--resume", "lenet5-imported-1"], ["train", "--train-noise-only", "lenet5-imported-1"]):
        assert npsnn(*command, "--runs-dir", runs).code in (1, 2)
    line = npsnn("train", "--resume", "lenet5-imported-1", "--runs-dir", runs).error_line(1)
    assert line.endswith("holds a network that came without its training: there is nothing to resume")


def test_a_network_without_data_says_so(npsnn: Npsnn, runs: Path) -> None:
    needs("safetensors")
    npsnn("export", "small", "--runs-dir", runs, "--out", "net.safetensors")
    said = npsnn("import", "net.safetensors", "--runs-dir", runs, "--name", "bare", "--json")
    assert said.code == 0 and json.loads(said.out)["origin"]["format"] == "safetensors"
    with_words = npsnn("import", "net.safetensors", "--runs-dir", runs)
    assert "no data are named (--dataset)" in with_words.err
    line = npsnn("evaluate", "bare", "--runs-dir", runs).error_line(1)
    assert line.endswith("bare names no data to measure its network on: give npsnn import --dataset")


def test_files_that_are_there_are_not_lost(npsnn: Npsnn, runs: Path) -> None:
    needs("safetensors")
    Path("net.safetensors").write_text("mine")
    place = ("--runs-dir", runs, "--out", "net.safetensors")
    line = npsnn("export", "small", *place).error_line(1)
    assert line == "Error: net.safetensors exists already: choose another file with --out, or replace it with --force"
    assert Path("net.safetensors").read_text() == "mine"
    assert npsnn("export", "small", *place, "--force").code == 0
    assert npsnn("import", "net.safetensors", "--name", "one").code == 0
    before = contents(Path("runs"))
    assert "choose another name" in npsnn("import", "net.safetensors", "--name", "one").error_line(1)
    assert "they differ" not in npsnn("import", "net.safetensors", "--name", "../x").error_line(2)
    assert contents(Path("runs")) == before


def test_a_normalised_network_takes_images_in_the_unit_interval(npsnn: Npsnn, runs: Path) -> None:
    needs("onnx")
    npsnn("export", "small", "--runs-dir", runs, "--out", "net.onnx")
    scaled = ("--mean", "0", "--std", "2", "--name", "scaled")
    assert npsnn("import", "net.onnx", *scaled).code == 0
    network = Classifier.load("scaled")
    x = digits().test.images[:2]
    expected = Classifier.load(runs / "small").with_sigma(0).predict(x / 510)
    assert abs(network.predict(x) - expected).max() < 1e-4


def test_noise_of_a_model_is_taken_where_the_file_has_none(npsnn: Npsnn, runs: Path) -> None:
    torch = pytest.importorskip("torch")
    npsnn("export", "small", "--runs-dir", runs, "--to", "torch")
    state = torch.load("small.pt", weights_only=True)
    said = npsnn("import", "small.pt", "--model", "lenet5", "--sigma", 0.25, "--name", "own")
    assert "warning: --sigma has no effect: small.pt has its own noise, 0.6" in said.err
    del state["noise.sigma"]
    state["first.weight"] = state.pop("conv1.weight")
    torch.save({"state_dict": state}, "plain.pth")
    renamed = ("--rename", "first=conv1", "--name", "renamed")
    said = npsnn("import", "plain.pth", "--model", "lenet5", "--sigma", 0.25, *renamed)
    assert said.code == 0 and "there is no noise.sigma: the noise is lenet5's own" in said.err
    assert Classifier.load("renamed").sigma == 0.25
    assert npsnn("import", "plain.pth", "--model", "lenet5", "--noise", "none", "--name", "x", *renamed[:2]).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("export small", 2, "--to must be safetensors, torch or onnx"),
        ("export small --out net.png", 2, "net.png must end in .safetensors, .pt, .pth, .bin or .onnx"),
        ("export small --to torch --noise drawn", 2, "--noise is for --to onnx"),
        ("export smal --to onnx", 1, "unknown run 'smal'"),
        ("export small --to safetensor", 2, "Did you mean safetensors?"),
        ("import none.pt --model lenet5", 2, "File 'none.pt' does not exist"),
        ("import file.txt", 2, "file.txt must end in .safetensors"),
        ("import file.pt", 1, "does not describe its network: name the model of file.pt"),
        ("import file.pt --model lenet", 2, "Did you mean lenet5?"),
        ("import file.pt --model lenet5 --mean 0.5", 2, "--mean and --std are for one another"),
        ("import file.pt --model lenet5 --mean a,b --std 1", 2, "'a,b' must be numbers with commas between them"),
        ("import file.pt --model lenet5 --shape 28,28", 2, "must be numbers with commas between them, as 3,32,32"),
        ("import file.pt --model lenet5 --rename conv1", 2, "--rename must be FROM=TO"),
        ("import file.pt --model lenet5 --rename a=b --rename a=c", 2, "--rename must give each layer one name"),
        ("import file.pt --model resnet18 --shape 3,32,16", 2, "needs square images"),
        ("import file.pt --model resnet18 --noise preactivation --sigma 1", 2, "so sigma must be 0"),
        ("import file.pt --classes 3", 2, "--classes is for a network that --model names"),
        ("import file.safetensors --sigma 1", 2, "--sigma is for a network that --model names"),
        ("import file.safetensors --shape 1,2,3", 2, "--shape is for a network that --model names"),
        ("import file.pt --model lenet5 --dataset nowhere", 2, "'nowhere' is not one of"),
        ("import .", 2, "is a directory"),
    ],
)
def test_what_does_not_fit_is_one_line(npsnn: Npsnn, trained: Path, words: str, code: int, said: str) -> None:
    for name in ("file.pt", "file.txt", "file.safetensors"):
        Path(name).write_bytes(b"nothing")
    assert said in npsnn(*words.split(), "--runs-dir", trained).error_line(code)
    assert not Path("runs").exists()


@pytest.mark.parametrize("kind", formats.FORMATS)
def test_a_package_that_is_missing_is_named(
    npsnn: Npsnn, trained: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import sys

    for module in [name for name in sys.modules if name.partition(".")[0] == kind]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, kind, None)
    line = npsnn("export", "small", "--runs-dir", trained, "--to", kind).error_line(1)
    assert kind in line and not list(Path().iterdir())
    Path(f"net{formats.SUFFIXES[kind][0]}").write_bytes(b"nothing")
    model = ("--model", "lenet5") if kind == "torch" else ()
    line = npsnn("import", f"net{formats.SUFFIXES[kind][0]}", *model).error_line(1)
    assert kind in line and not Path("runs").exists()
