"""Run folders of networks that came without their training."""

from pathlib import Path

import numpy as np
import pytest
from exchanged import every_layer, images, network_of, of_layers

from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.files import json_files
from npsnn.layers import PreactivationNoise
from npsnn.runs import caveats, checkpoint, provenance, untrained
from npsnn.seeing.listing import listed
from npsnn.train import resume
from npsnn.train.saved import dataset_of, read_run

SPLIT = Split((255 * images()).astype(np.uint8), np.arange(3))
DATA = Dataset("mine", SPLIT, SPLIT, 3, {"train": "0"})


@pytest.fixture
def network() -> Classifier:
    return network_of(every_layer())


def test_a_network_is_saved_and_loaded_to_the_bit(tmp_path: Path, network: Classifier) -> None:
    folder = network.save(tmp_path / "runs" / "net", DATA)
    back = Classifier.load("net", runs_dir=tmp_path / "runs")
    assert back.model == network.model
    assert provenance.of_network(back.params) == provenance.of_network(network.params)
    about, options = read_run(folder)
    assert options is None and dataset_of(about) == "mine" and not provenance.difference(about, DATA)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "last.npz"]


def test_such_a_run_is_finished_and_says_what_is_not_known(tmp_path: Path, network: Classifier) -> None:
    folder = network.save(tmp_path / "net")
    assert checkpoint.newest_run(tmp_path) == (folder, [])
    row = listed(folder)
    assert (row.state, row.model, row.noise[:6]) == ("finished", "small", "sigma ")
    about = json_files.read_json(folder / "config.json")
    assert dataset_of(about) == ""
    (caveat,) = caveats.of_origin(about)
    assert caveat.code == "training-unknown" and "saved without its training" in caveat.text
    (caveat,) = caveats.of_origin({"saved": {"file": "a.pt"}})
    assert caveat.text.startswith("the network is from a.pt: ")
    assert caveats.of_origin({"train": {}}) == []


def test_such_a_run_cannot_go_on(tmp_path: Path, network: Classifier) -> None:
    folder = network.save(tmp_path / "net", DATA)
    with pytest.raises(ValueError, match="net holds a network that came without its training: there is nothing to res"):
        resume(folder, DATA)


def test_what_cannot_be_saved_leaves_no_folder(tmp_path: Path, network: Classifier) -> None:
    other = Dataset("other", SPLIT, SPLIT, 4, {})
    with pytest.raises(ValueError, match=r"small is for images \(2, 8, 8\) of 3 classes, other has .* of 4 classes"):
        network.save(tmp_path / "net", other)
    with pytest.raises(ValueError, match="a network whose noise is off"):
        network.with_sigma(0).save(tmp_path / "net")
    with pytest.raises(ValueError, match="a network that averages 2 draws"):
        network.averaging(2).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, network: Classifier) -> None:
    (tmp_path / "kept").write_text("mine")
    for place in (tmp_path, tmp_path / "kept"):
        with pytest.raises(FileExistsError, match="must be a new or empty folder"):
            network.save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept").read_text() == "mine"


@pytest.mark.parametrize("fails", ["save_arrays", "write_json"])
@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=repr)
def test_an_interrupted_write_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, error: BaseException
) -> None:
    def failing(*_: object) -> None:
        raise error

    module = checkpoint if fails == "save_arrays" else json_files
    monkeypatch.setattr(module, fails, failing)
    with pytest.raises(type(error)):
        network_of(of_layers(("noise", PreactivationNoise(0.1)))).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_the_configuration_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Classifier) -> None:
    order: list[str] = []
    for module, name in ((checkpoint, "save_arrays"), (json_files, "write_json")):
        done = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, *a, done=done: (order.append(path.name), done(path, *a)))
    untrained.save_network(tmp_path / "net", network.model, network.saved_params(), None, {})
    assert order == ["last.npz", "config.json"]


def test_the_name_of_a_data_set_is_no_data_set(tmp_path: Path, network: Classifier) -> None:
    with pytest.raises(TypeError, match=r"dataset must be a Dataset, as .*, got 'digits'"):
        network.save(tmp_path / "net", "digits")  # type: ignore[arg-type]
    assert not (tmp_path / "net").exists()
    with pytest.raises(TypeError, match="dataset must be a Dataset"):
        provenance.difference({"arrays": provenance.of_data(DATA)}, "digits")  # type: ignore[arg-type]
