"""Networks to and from PyTorch."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchanged import built_in, close, drawn, every_layer, images, network_of, of_layers, rounds, same_law

from npsnn import models
from npsnn.interop import formats, torch
from npsnn.layers import FeatureNoise, Flatten, NoisyConv2d, NoisyLinear, PreactivationNoise, ReLU, Sequential
from npsnn.layers.base import layer
from npsnn.runs import provenance

pt = pytest.importorskip("torch")
nn = pt.nn


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    pt.set_num_threads(1)
    pt.manual_seed(0)


def answers(module: Any, x: np.ndarray) -> np.ndarray:
    with pt.no_grad():
        found: np.ndarray = module(pt.from_numpy(x)).numpy()
    return found


@pytest.mark.parametrize("name", models.MODELS)
def test_a_built_in_network_answers_alike_and_comes_back_to_the_bit(name: str) -> None:
    network, x, logits = built_in(name)
    module = torch.module(network)
    close(answers(module, x), logits)
    if "resnet" not in name:
        assert np.abs(answers(module, x) - logits).max() < 1e-5
    back = torch.load_state_dict(module.state_dict(), network.model)
    assert provenance.of_network(back.params) == provenance.of_network(network.params)
    assert all(name in module.state_dict() for name in torch.state_dict(network))


@pytest.mark.parametrize("name", models.MODELS)
def test_what_a_built_in_network_answers_otherwise_is_rounding(name: str) -> None:
    """In double precision logits agree to 1e-9, and in single precision both libraries round alike."""
    network, x, _ = built_in(name)
    double = network.astype(np.float64)
    other = answers(torch.module(double), x.astype(np.float64))
    assert np.abs(other - double.predict(x.astype(np.float64))).max() < 1e-9
    rounds(answers(torch.module(network), x), network, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layer_answers_alike(dtype: Any) -> None:
    network = network_of(every_layer(), dtype)
    x = images().astype(dtype)
    close(answers(torch.module(network), x), network.predict(x), 1e-5 if dtype == np.float32 else 1e-12)


def test_mixing_with_its_noise_off_is_the_body() -> None:
    network = network_of(models.with_mixing(of_layers(("relu", ReLU())), pool=2))
    module = torch.module(network)
    close(answers(module, images()), network.predict(images()))
    assert module.state_dict()["mixing.pool"].shape == (3, 2, 2, 8, 8)
    with pytest.raises(ValueError, match="mixing mixes images, whose draws have no counterpart in PyTorch"):
        torch.module(network, noise=True)


@pytest.mark.parametrize(
    "noise",
    [
        PreactivationNoise(0.3, "unit"),
        PreactivationNoise(0.3, shared=True),
        NoisyConv2d(3, 3, scope="channel"),
        NoisyConv2d(2, 3, spread="free", bias=False),
        "features",
        "matrix",
    ],
    ids=repr,
)
def test_noise_has_the_same_law(noise: Any) -> None:
    model = of_layers(*[("noise", noise)] if not isinstance(noise, str) else [])
    if noise == "features":
        model = models.with_feature_noise(model, 0.5, bottleneck=4)
    if noise == "matrix":
        layers = (("flatten", Flatten()), ("last", NoisyLinear(3)))
        model = models.Model("matrix", Sequential(layers), (2, 8, 8), 3)
    network = network_of(model)
    module = torch.module(network, noise=True)
    same_law(*drawn(network, lambda x: answers(module, x)))


def test_one_draw_is_shared_by_a_batch_where_the_layer_says_so() -> None:
    x = np.repeat(images(1), 2, axis=0)
    for shared in (True, False):
        network = network_of(of_layers(("noise", PreactivationNoise(0.3, shared=shared))))
        first, second = answers(torch.module(network, noise=True), x)
        assert np.array_equal(first, second) == shared


def test_pytorch_draws_no_numbers_for_a_module() -> None:
    before = pt.get_rng_state()
    torch.module(built_in("lenet5")[0])
    assert pt.equal(before, pt.get_rng_state())


def sequential() -> Any:
    body = nn.Sequential(nn.Conv2d(2, 6, 3, padding="same"), nn.BatchNorm2d(6), nn.PReLU(), nn.MaxPool2d(2))
    more = [nn.Conv2d(6, 4, 3, 1, 1, bias=False), nn.MaxPool2d(3, 2, 1), nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d(1)]
    head = [nn.Flatten(), nn.Linear(4, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Identity()]
    made = nn.Sequential(body, *more, *head, nn.Linear(5, 3))
    made(pt.rand(16, 2, 8, 8))  # moves running averages
    return made.eval()


def test_a_sequential_is_taken_layer_by_layer() -> None:
    module = sequential()
    network = torch.from_module(module, (2, 8, 8))
    assert network.model.classes == 3 and not network.random
    close(network.predict(images()), answers(module, images()))
    names = [name for name in module.state_dict() if not name.endswith("num_batches_tracked")]
    assert set(names) <= set(torch.state_dict(network))


def test_a_layer_that_stands_in_several_places_is_taken_each_time() -> None:
    relu, square = nn.ReLU(), nn.Linear(6, 6)
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 6), relu, square, relu, square, relu, nn.Linear(6, 3)).eval()
    network = torch.from_module(module, (2, 8, 8))
    assert [name for name, _ in network.model.network.layers] == list("01234567")
    close(network.predict(images()), answers(module, images()))


class Doubling(nn.Sequential):
    """Computes something else than its layers in a row."""

    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class Negative(nn.Identity):
    """No identity."""

    def forward(self, x: Any) -> Any:
        return -x


def hooked(module: Any) -> Any:
    module.register_forward_hook(lambda module, x, y: 2 * y)
    return module


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda: Doubling(nn.Flatten(), nn.Linear(128, 3)),
            "module must be a plain Sequential, got Doubling with a forw",
        ),
        (
            lambda: nn.Sequential(Doubling(nn.Flatten()), nn.Linear(128, 3)),
            "0 must be a plain Sequential, got Doubling",
        ),
        (lambda: nn.Sequential(nn.Flatten(), None, nn.Linear(128, 3)), "1 has no counterpart in npsnn: NoneType"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "1 has no counterpart in npsnn: LazyLinear"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 3), Negative()), "2 has no counterpart in npsnn: Negative"),
        (lambda: hooked(nn.Sequential(nn.Flatten(), nn.Linear(128, 3))), "module must have no forward hooks"),
        (lambda: nn.Sequential(nn.Flatten(), hooked(nn.Linear(128, 3))), "1 must have no forward hooks, which may"),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)), "0, Conv2d: groups must be 1, got 2"),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, (3, 1))), "kernel_size must be one number for both directions"),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 2, padding="same")), "padding must be the same on all sides"),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding_mode="reflect")), "padding_mode must be zeros, got reflect"),
        (lambda: nn.Sequential(nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(144, 3)), "0.weight must have the shape"),
        (lambda: nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True)), "ceil_mode must be False, got True"),
        (lambda: nn.Sequential(nn.AvgPool2d(3, 2)), "stride must be 3, got 2"),
        (lambda: nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)), "track_running_stats must be True"),
        (lambda: nn.Sequential(nn.Sequential(nn.Tanh())), "0.0 has no counterpart in npsnn: Tanh"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 3), nn.Softmax(1)), "2 has no counterpart in npsnn: Soft"),
        (
            lambda: nn.Sequential(nn.Conv2d(2, 4, 3)),
            r"must end in a vector of logits, got the output shape \(4, 6, 6\)",
        ),
        (lambda: nn.Sequential(nn.Linear(128, 3)), "0, Linear: .* needs a vector"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), r"1\.weight must have the shape \(3, 128\)"),
        (lambda: nn.Linear(2, 2), "module must be a Sequential, whose order is known, got Linear"),
        (lambda: nn.Sequential(), "must end in a vector"),
    ],
)
def test_modules_without_a_counterpart_are_named(made: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        torch.from_module(made(), (2, 8, 8))


def test_a_module_is_read_for_images_of_a_shape() -> None:
    for shape in (128, (2, 8), (2, 8.0, 8)):
        with pytest.raises(ValueError, match=r"shape must be one image's, \(C, H, W\), got"):
            torch.from_module(nn.Sequential(nn.Flatten(), nn.Linear(128, 3)), shape)  # type: ignore[arg-type]


def test_a_layer_of_a_user_has_no_module() -> None:
    @layer
    class MineOfStates(ReLU):
        """Computes perhaps something else."""

    network = network_of(of_layers(("mine", MineOfStates())))
    with pytest.raises(ValueError, match="mine has no counterpart in PyTorch: MineOfStates is a layer of your own"):
        torch.module(network)


def test_files_of_pytorch(tmp_path: Path) -> None:
    network = built_in("lenet5")[0]
    path = tmp_path / "net.pt"
    formats.save(network, path, "torch")
    found = pt.load(path, weights_only=True)
    assert list(found) == list(torch.state_dict(network))
    for content in (found, {"epoch": 3, "state_dict": found}, {"model": found, "optimizer": {"state": {}}}):
        pt.save(content, path)
        back = formats.load(path, model=network.model)
        assert provenance.of_network(back.params) == provenance.of_network(network.params)
    with pytest.raises(ValueError, match="does not describe its network: name the model"):
        formats.load(path)


class Executed:
    """A pickle of it executes code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    for number, save in enumerate((pt.save, lambda what, path: path.write_bytes(pickle.dumps(what)))):
        path, trace = tmp_path / f"{number}.pt", tmp_path / "trace"
        save({"a": Executed(trace)}, path)
        with pytest.raises(ValueError, match=rf"{number}\.pt is damaged, .* with more than tensors"):
            torch.load(path, models.lenet5())
        assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "odd.pt: state must be a mapping of names to tensors"),
        ({"a": 1.0}, "odd.pt: state must hold tensors alone, got float for a"),
        ({1: 2}, "odd.pt: state must be a mapping of names"),
        ({}, "odd.pt: the entries are not those of lenet5: missing"),
    ],
)
def test_a_checkpoint_of_something_else_is_one_error(tmp_path: Path, content: Any, said: str) -> None:
    pt.save(content, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=said):
        torch.load(tmp_path / "odd.pt", models.lenet5())


def test_a_sparse_tensor_is_named() -> None:
    with pytest.raises(ValueError, match=r"a must be a dense tensor with numbers, got torch\.sparse_coo"):
        torch.load_state_dict({"a": pt.eye(2).to_sparse()}, models.lenet5())


def test_one_number_that_stands_for_many_is_refused_before_they_take_memory(tmp_path: Path) -> None:
    state = torch.state_dict(built_in("lenet5")[0])
    pt.save(state | {"fc1.weight": pt.zeros((), dtype=pt.bfloat16).expand(1 << 20, 1 << 20)}, tmp_path / "many.pt")
    assert (tmp_path / "many.pt").stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"many\.pt: fc1\.weight must have at most 67,108,864 numbers, got the shape"):
        torch.load(tmp_path / "many.pt", models.lenet5())


def test_floats_of_8_bits_are_read_and_complex_numbers_are_not() -> None:
    network = built_in("lenet5")[0]
    state = torch.state_dict(network)
    back = torch.load_state_dict(state | {"fc1.bias": state["fc1.bias"].to(pt.float8_e4m3fn)}, network.model)
    assert np.array_equal(back.params["fc1"]["b"], state["fc1.bias"].to(pt.float8_e4m3fn).float().numpy())
    with pytest.raises(ValueError, match=r"fc1\.bias must hold floats, got complex64"):
        torch.load_state_dict(state | {"fc1.bias": state["fc1.bias"].to(pt.complex64).conj()}, network.model)


def test_no_file_is_read_by_a_pytorch_that_may_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(built_in("lenet5")[0], tmp_path / "net.pt")
    for version, read in (("2.5.1+cu124", False), ("2.6.0", True), ("3.0.0a0+git", True)):
        monkeypatch.setattr(pt, "__version__", version)
        if read:
            torch.load(tmp_path / "net.pt", models.lenet5())
            continue
        with pytest.raises(ValueError, match=rf"net\.pt must be read by PyTorch 2\.6 or newer, .* got {version[:5]}"):
            torch.load(tmp_path / "net.pt", models.lenet5())


def test_a_file_that_is_none_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "odd.pt").write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(ValueError, match=r"odd\.pt is damaged"):
        torch.load(tmp_path / "odd.pt", models.lenet5())
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "none.pt", models.lenet5())


def test_half_precision_and_gradients_are_taken() -> None:
    network = built_in("lenet5")[0]
    state = {name: t.bfloat16().requires_grad_() for name, t in torch.state_dict(network).items()}
    back = torch.load_state_dict(state, network.model)
    assert back.dtype == np.float32
    assert np.allclose(back.params["fc1"]["w"], network.params["fc1"]["w"], rtol=0.01)


def test_feature_noise_is_in_the_state() -> None:
    network = network_of(models.with_feature_noise(of_layers(), 0.5, bottleneck=4))
    assert isinstance(dict(network.model.network.layers)["noise"], FeatureNoise)
    assert torch.state_dict(network)["noise.L"].shape == (4, 4)
