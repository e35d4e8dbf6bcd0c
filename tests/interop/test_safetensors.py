"""Networks in safetensors files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchanged import built_in, every_layer, network_of, of_layers

from npsnn import models
from npsnn.interop import formats, layout, safetensors
from npsnn.models import Model
from npsnn.runs import provenance

pytest.importorskip("safetensors")


def written(path: Path, header: dict[str, Any], content: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


@pytest.mark.parametrize("name", [*models.MODELS, "every layer", "double"])
def test_a_network_comes_back_to_the_bit_and_so_does_its_file(tmp_path: Path, name: str) -> None:
    other: dict[str, Any] = {"every layer": (every_layer(), np.float32), "double": (of_layers(), np.float64)}
    network = network_of(*other[name]) if name in other else built_in(name)[0]
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    safetensors.save(network, first)
    back = safetensors.load(first)
    assert back.model == network.model and back.dtype == network.dtype
    assert provenance.of_network(back.params) == provenance.of_network(network.params)
    if name in ("resnet18", "resnet18-authors"):  # large
        return
    safetensors.save(back, second)
    assert first.read_bytes() == second.read_bytes()


def test_the_file_holds_what_pytorch_loads(tmp_path: Path) -> None:
    network = built_in("lenet5")[0]
    formats.save(network, tmp_path / "net.safetensors", "safetensors")
    read = pytest.importorskip("safetensors.numpy").load_file(tmp_path / "net.safetensors")
    expected = layout.entries(network)
    assert read.keys() == expected.keys()
    assert all(np.array_equal(read[name], expected[name]) for name in read)


def test_a_file_of_another_program_needs_a_model(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(pytest.importorskip("safetensors.numpy").save(layout.entries(built_in("lenet5")[0])))
    with pytest.raises(ValueError, match=r"other\.safetensors: it does not describe its network: name the model"):
        safetensors.load(path)
    assert safetensors.load(path, models.lenet5()).sigma == built_in("lenet5")[0].sigma
    with pytest.raises(ValueError, match=r"other\.safetensors: the entries are not those of cnn5: missing conv4"):
        formats.load(path, model=models.cnn5((1, 28, 28)))


def test_brain_floats_are_read(tmp_path: Path) -> None:
    numbers = np.array([1.0, -2.5, 0.15625], np.float32)
    bits = (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    model = of_layers()
    given: dict[str, Any] = {"last.weight": {"dtype": "BF16", "shape": [3, 128], "data_offsets": [0, 768]}}
    given["last.bias"] = {"dtype": "BF16", "shape": [3], "data_offsets": [768, 774]}
    path = written(tmp_path / "brain.safetensors", given, bytes(768) + bits)
    found = safetensors.load(path, model).params["last"]["b"]
    assert found.dtype == np.float32 and np.array_equal(found, numbers)


@pytest.mark.parametrize("content", [b"", b"\x08", b"{}", bytes(64), b"\xff" * 64, b"PK\x03\x04" + bytes(90)])
def test_a_damaged_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.safetensors is damaged or no safetensors file"):
        safetensors.load(path)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("[]", "its metadata must hold a JSON object"),
        ("{", "its metadata is not JSON"),
        ("{}", "spec is not a model specification"),
        (json.dumps(models.cnn5().spec()), "the entries are not those of cnn5: missing"),
    ],
)
def test_a_description_that_is_none_is_one_error(tmp_path: Path, spec: str, said: str) -> None:
    about = {"__metadata__": {"npsnn": spec}, "x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    with pytest.raises(ValueError, match=said) as error:
        safetensors.load(written(tmp_path / "odd.safetensors", about, bytes(4)))
    assert "odd.safetensors" in str(error.value)


def test_an_entry_of_another_type_is_named(tmp_path: Path) -> None:
    about = {"last.bias": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}
    with pytest.raises(ValueError, match=r"last\.bias must hold floats, got U8"):
        safetensors.load(written(tmp_path / "bytes.safetensors", about, bytes(3)), of_layers())


@pytest.mark.parametrize("shape", [[0, 1 << 63], [1 << 62, 1 << 62, 0], [0] * 70])
def test_an_entry_of_an_impossible_size_is_named(tmp_path: Path, shape: list[int]) -> None:
    about = {"last.bias": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    with pytest.raises(ValueError, match=r"odd\.safetensors(: last\.bias must have sizes| is damaged)"):
        safetensors.load(written(tmp_path / "odd.safetensors", about), of_layers())


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    about = {"last.bias": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    for content in ((1 << 62).to_bytes(8, "little") + b"{}", written(path, about).read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"odd\.safetensors is damaged or no safetensors file"):
            safetensors.load(path, of_layers())


def test_a_layer_in_no_table_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Mine:
        def init(self, rng: Any, shape: Any) -> Any:
            return {}, shape

    model = Model("mine", of_layers(("mine", Mine())).network, (2, 8, 8), 3)
    with pytest.raises(ValueError, match="Mine is in no table"):
        safetensors.save(network_of(model), tmp_path / "mine.safetensors")
    assert not list(tmp_path.iterdir())
