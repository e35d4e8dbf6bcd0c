"""Parameters by PyTorch's names and in its layout."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from exchanged import built_in, every_layer, network_of, of_layers

from npsnn import models
from npsnn.interop import functions, layout
from npsnn.layers import Conv2d, PreactivationNoise
from npsnn.layers.params import flatten
from npsnn.runs import provenance

Entries = dict[str, np.ndarray]


@pytest.fixture
def given() -> Entries:
    return layout.entries(built_in("lenet5")[0])


def broken(given: Entries, **arrays: Any) -> Entries:
    """The entries with others in the place of some; None leaves one out."""
    changed = given | {name.replace("_", "."): array for name, array in arrays.items()}
    return {name: np.asarray(array) for name, array in changed.items() if array is not None}


@pytest.mark.parametrize("name", [*models.MODELS, "every layer", "mixing"])
def test_parameters_come_back_to_the_bit(name: str) -> None:
    mixing = models.with_mixing(models.lenet5((1, 28, 28)), pool=2)
    other = {"every layer": every_layer(), "mixing": mixing}
    network = network_of(other[name]) if name in other else built_in(name)[0]
    back = layout.network_of(network.model, layout.entries(network))
    assert provenance.of_network(back.params) == provenance.of_network(network.params)
    assert list(flatten(back.params)) == list(flatten(network.params))


def test_a_filter_has_its_input_channels_before_its_rows() -> None:
    network = network_of(of_layers(("conv1", Conv2d(4, 3)), ("conv2", Conv2d(2, 1))))
    found, w = layout.entries(network), network.params["conv1"]["w"]
    assert w.shape == (4, 3, 3, 2) and found["conv1.weight"].shape == (4, 2, 3, 3)
    assert found["conv1.weight"][3, 1, 0, 2] == w[3, 0, 2, 1]


def test_noise_has_entries_of_its_own(given: Entries) -> None:
    assert given["noise.sigma"].shape == () and list(given)[2] == "noise.sigma"
    names = list(layout.entries(network_of(every_layer())))
    assert {"conv1.alpha", "fc1.rho", "fc1.rho_b", "noise2.sigma", "noise4.L", "centres.near"} <= set(names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conv1_weight": None, "fc3_bias": None}, "lenet5: missing conv1.weight, fc3.bias"),
        ({"conv9_weight": np.zeros(3, np.float32)}, "unexpected conv9.weight"),
        ({"fc3_bias": np.zeros(9, np.float32)}, r"fc3.bias must have the shape \(10,\) in lenet5, got \(9,\)"),
        ({"fc3_bias": np.full(10, np.nan, np.float32)}, "fc3.bias holds a NaN or an infinity"),
        ({"fc3_bias": np.full(10, np.inf, np.float16)}, "fc3.bias holds a NaN or an infinity"),
        ({"fc3_bias": np.zeros(10, np.int64)}, "fc3.bias must hold floats, got int64"),
        ({"fc3_bias": np.zeros(10, np.complex64)}, "fc3.bias must hold floats, got complex64"),
        ({"noise_sigma": np.float32(-1)}, "sigma must be >= 0"),
    ],
)
def test_entries_that_do_not_fit_are_named(given: Entries, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        layout.network_of(models.lenet5(), broken(given, **change))


def test_a_square_of_filters_is_not_taken_the_wrong_way_round() -> None:
    model = of_layers(("conv1", Conv2d(2, 2)))
    found = layout.entries(network_of(model))
    found["conv1.weight"] = found["conv1.weight"].transpose(0, 2, 3, 1)  # of one shape by chance
    assert found["conv1.weight"].shape == (2, 2, 2, 2)
    assert provenance.of_network(layout.network_of(model, found).params) != provenance.of_network(
        network_of(model).params
    )


def test_other_names_are_mapped_layer_by_layer(given: Entries) -> None:
    theirs = {name.replace("conv1.", "features.0.").replace("fc3.", "head."): a for name, a in given.items()}
    back = layout.network_of(models.lenet5(), theirs, {"features.0": "conv1", "head": "fc3"})
    assert provenance.of_network(back.params) == provenance.of_network(built_in("lenet5")[0].params)
    with pytest.raises(ValueError, match=r"rename layers, as features\.0=conv1"):
        layout.network_of(models.lenet5(), theirs)
    with pytest.raises(ValueError, match=r"rename must be of layers of the file, got heads; did you mean head\?"):
        layout.network_of(models.lenet5(), theirs, {"heads": "fc3"})
    with pytest.raises(ValueError, match=r"each layer a name of its own, got fc2\.weight twice"):
        layout.network_of(models.lenet5(), theirs, {"head": "fc2"})


def test_names_of_several_gpus_and_counters_are_passed_over(given: Entries) -> None:
    theirs = {f"module.{name}": array for name, array in given.items()}
    theirs["module.bn.num_batches_tracked"] = np.array(3)
    assert layout.network_of(models.lenet5(), theirs).sigma == built_in("lenet5")[0].sigma


def test_noise_that_no_entry_has_is_the_models(given: Entries) -> None:
    with pytest.warns(UserWarning, match="there is no noise.sigma: the noise is lenet5's own"):
        network = layout.network_of(models.lenet5(sigma=0.25), broken(given, noise_sigma=None))
    assert network.sigma == 0.25 and network.dtype == np.float32
    features = models.with_feature_noise(models.lenetpp(), 0.5)
    plain = layout.entries(built_in("lenetpp")[0])
    with pytest.warns(UserWarning, match=r"there is no noise\.L"):
        assert layout.network_of(features, plain).sigma == 0.5


def test_precision_is_one(given: Entries) -> None:
    half = {name: array.astype(np.float16) for name, array in given.items()}
    assert layout.network_of(models.lenet5(), half).dtype == np.float32
    double = broken(given, fc3_bias=given["fc3.bias"].astype(np.float64))
    found = flatten(layout.network_of(models.lenet5(), double).params)
    assert {p.dtype for p in found.values()} == {np.dtype(np.float64)}


def test_what_parameters_do_not_say_is_refused() -> None:
    network = built_in("lenet5")[0]
    for other in (network.with_sigma(0), network.averaging(3)):
        with pytest.raises(ValueError, match="files hold parameters alone"):
            layout.entries(other)
    assert layout.entries(replace(network, threads=2))


def test_what_is_no_network_model_or_name_is_refused_in_a_line(given: Entries) -> None:
    function = functions.Target(lambda x, seed: (x.reshape(len(x), -1), lambda g: g.reshape(x.shape)), (1, 2, 2))
    with pytest.raises(ValueError, match="is a function, which no file of npsnn can hold"):
        layout.entries(function)
    with pytest.raises(TypeError, match=r"network must be an npsnn\.Classifier, got Model"):
        layout.entries(models.lenet5())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model must be a network of npsnn\.models, as lenet5\(\), got 'lenet5'"):
        layout.network_of("lenet5", given)  # type: ignore[arg-type]
    for rename in ("fc3=head", {"fc3": 3}):
        with pytest.raises(TypeError, match="rename must map names of layers to names of layers, got"):
            layout.network_of(models.lenet5(), given, rename)  # type: ignore[arg-type]


def test_scalar_noise_is_an_array() -> None:
    network = network_of(of_layers(("noise", PreactivationNoise(0.3))))
    back = layout.network_of(network.model, layout.entries(network))
    assert isinstance(back.params["noise"]["sigma"], np.ndarray)
