"""Which library holds the arrays, which device there is, and whole trainings and attacks on CuPy's double."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cupy_double import Module, ndarray, synchronisations
from trainers import trainer_of

from npsnn import backend, models
from npsnn.attacks import closed_form, sampled
from npsnn.attacks.judging import judge
from npsnn.attacks.plan import Plan, evaluate
from npsnn.backend import (
    frozen,
    namespace,
    on_own_gpu,
    own_gpu,
    special,
    to_device,
    to_host,
    to_numbers,
    use_device,
)
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.runs.environment import environment
from npsnn.streams import Stream
from npsnn.train import fit, resume
from npsnn.train.config import Config
from npsnn.train.epochs import Epoch, Step
from npsnn.train.steps import Steps
from npsnn.workers.processes import Processes

A2SNN = {"noise": "features", "learn_sigma": True, "propagation": "sampled", "alignment": 1.0}
A2SNN |= {"loss": "cross-entropy", "max_entropy": 0.1, "unit_classes": True, "limit": 24, "sigma_max": 0.59}


def dataset(count: int = 96) -> Dataset:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    split = Split(rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8), labels)
    return Dataset("noise", split, split, 10, {"train": "0"})


def test_namespace_passes_over_none_and_numbers() -> None:
    assert namespace(np.ones(2), None, 1, 2.0, True) is np
    assert special(np.ones(2)).__name__ == "scipy.special"


@pytest.mark.parametrize("arguments", [(), (None,), (1, 2.0), ([1.0],)])
def test_namespace_needs_an_array(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="arrays of one library"):
        namespace(*arguments)


def test_two_libraries_do_not_mix(cupy: Module) -> None:
    with pytest.raises(TypeError, match=r"one library, NumPy or CuPy, got numpy\.ndarray, cupy\.ndarray"):
        namespace(np.ones(2), cupy.ones(2))


def test_numpy_arrays_stay_as_they_are_on_the_cpu() -> None:
    x = np.ones(3)
    assert to_device(x, "cpu") is x and to_host(x) is x


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:x", "cuda:-1", "cuda: 1", "CUDA", "cuda:1.0"])
def test_an_unknown_device_is_refused(name: str, cupy: Module) -> None:
    with pytest.raises(ValueError, match="device must be cpu, cuda or cuda:N, got"):
        use_device(name)


def test_cuda_without_cupy_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ValueError, match=r"'cuda:1' needs CuPy, which is not installed: pip install") as caught:
        use_device("cuda:1")
    assert "\n" not in str(caught.value)
    use_device("cpu")


def test_a_cupy_that_lacks_something_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("libcublas.so.13 was not found")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ValueError, match=r"needs CuPy, which cannot be imported: libcublas\.so\.13 was not found"):
        use_device("cuda")


def test_numbers_come_to_the_host_together(cupy: ModuleType) -> None:
    for xp in (np, cupy):
        numbers = (
            xp.asarray(np.array([1, 2])).sum(),
            xp.asarray(np.array(0.25, np.float32)),
            xp.asarray(np.array(1e300)),
        )
        with synchronisations() as waits:
            assert to_numbers(*numbers) == [3.0, 0.25, 1e300]
            assert waits.total() <= 1


def test_cuda_without_a_gpu_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = ModuleType("cupy")
    empty.cuda = SimpleNamespace(is_available=lambda: False)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", empty)
    with pytest.raises(ValueError, match="no usable NVIDIA GPU") as caught:
        use_device("cuda")
    assert "\n" not in str(caught.value)


def test_a_gpu_must_exist(double: Module) -> None:
    for name, index in (("cuda:1", 1), ("cuda", 0)):
        use_device(name)
        assert double.cuda.runtime.getDevice() == index
    with pytest.raises(ValueError, match="there are 2 GPUs, counted from 0"):
        use_device("cuda:2")


def test_cuda_is_the_gpu_of_a_rank_where_that_was_said(double: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from 0 again where there are fewer GPUs; a GPU with a number stays that one."""
    monkeypatch.setitem(backend._own, "gpu", 0)
    for number, index in ((0, 0), (1, 1), (2, 0), (5, 1)):
        own_gpu(number)
        use_device("cuda")
        assert double.cuda.runtime.getDevice() == index and on_own_gpu()
    use_device("cuda:0")
    assert double.cuda.runtime.getDevice() == 0 and not on_own_gpu()


@pytest.mark.usefixtures("cupy")
def test_the_environment_names_the_gpu_where_one_is_used() -> None:
    assert environment("cpu").keys().isdisjoint({"gpu", "CUDA driver"}) and environment("cpu")["device"] == "cpu"
    about = environment("cuda")
    assert about["gpu"] and float(about["CUDA driver"]) >= 12 and float(about["CUDA runtime"]) >= 12


def records(run: Iterator[Step | Epoch]) -> tuple[list[Step], list[Epoch]]:
    everything = list(run)
    return [r for r in everything if isinstance(r, Step)], [r for r in everything if isinstance(r, Epoch)]


@pytest.mark.slow
@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01, "loss": "cross-entropy"},
        {"optimizer": "adam", "weight_decay": 0.01, "first_layer_norm": "l2", "propagation": "exact", "loss": "mse"},
        {"learn_sigma": True, "sigma_reward": 0.1, "first_layer_norm": "l1", "sigma_max": 0.61},
        {"sigma": 0.0},
        A2SNN | {"sigma": 0.58},
    ],
)
@pytest.mark.usefixtures("same_draws")
def test_a_training_on_the_gpu_is_the_one_on_the_cpu(options: dict[str, Any]) -> None:
    config = Config(epochs=1, batch_size=44, **options)
    (host_steps, host_epochs), (steps, epochs) = (
        records(fit(config, dataset(), threads=1, device=device)) for device in ("cpu", "cuda")
    )
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in host_steps], rel=1e-5)
    measured = ("loss", "training_accuracy", "validation_accuracy", "sigma", "sigma_gradient", "first_layer_ratio")
    ours, theirs = ({name: getattr(e[0], name) or 0 for name in measured} for e in (epochs, host_epochs))
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "options",
    [{}, {"learn_sigma": True, "sigma_reward": 0.1}, A2SNN | {"batch_size": 10}],
    ids=["", "learned", "A2SNN"],
)
def test_a_step_waits_for_the_gpu_once(options: dict[str, Any]) -> None:
    """For loss, hits and slopes together: whether there is noise is known."""
    steps = fit(Config(**{"epochs": 1, "batch_size": 22, "sigma": 0.5} | options), dataset(), device="cuda")
    next(steps)
    with synchronisations() as waits:
        next(steps)
        assert waits == Counter(get=1)


@pytest.mark.usefixtures("double")
def test_a_gradient_for_an_attack_seldom_waits_for_the_gpu(network: Classifier) -> None:
    x, labels, device = np.full((2, 1, 28, 28), 0.5), np.arange(2), network.astype(np.float32).to("cuda")
    for target, expected in (
        (closed_form(device), {"get": 2}),
        (sampled(device, 5), {"get": 2}),
    ):
        with synchronisations() as waits:
            target(x, labels, Stream(0))
            assert waits == Counter(expected)
        with synchronisations() as waits:
            target.value(x, labels, Stream(0))
            assert waits["get"] == 1
    with synchronisations() as waits:
        judge(device, x, labels, 5, Stream(0))
        assert waits == Counter(get=1), "for the logits of all draws: whether the noise draws is known by now"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_images_arrive_as_the_engine_has_them(cupy: ModuleType, network: Classifier, device: str) -> None:
    there = network.astype(np.float32).to(device)
    eight_bit = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    for images in (eight_bit, eight_bit / np.float64(255), eight_bit.astype(np.float32) / np.float32(255)):
        x = there.to_engine(images)
        assert x.dtype == np.float32 and x.flags.c_contiguous and isinstance(x, np.ndarray) == (device == "cpu")
        np.testing.assert_allclose(to_host(x), images.transpose(2, 1, 3, 0) / (255 if images is eight_bit else 1), 1e-7)


def test_a_gradient_waits_no_more_for_a_deeper_network(double: Module) -> None:
    config, data = Config(), dataset()
    model = models.lenet5()
    with Processes(1) as workers:
        trainer = trainer_of(config, model, data.train, data.test, workers, "cuda")
        state = trainer.initial()
        with synchronisations() as waits:
            total = trainer.gradient(state.params, np.arange(64))
    assert all(isinstance(g, ndarray) for g in (total.grads or {}).values())
    assert waits.total() <= 1


@pytest.mark.slow
def test_a_resumed_run_goes_on_on_the_gpu(cupy: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = fit(Config(epochs=2, batch_size=44), dataset(), tmp_path, device="cuda")
    assert any(isinstance(record, Epoch) for record in steps)
    used: set[type] = set()
    step = Steps.step

    def watched(self: Steps, *others: Any) -> Any:
        used.update(type(p) for p in self.params.values())
        return step(self, *others)

    monkeypatch.setattr(Steps, "step", watched)
    _, epochs = records(resume(tmp_path, dataset(), device="cuda"))
    assert [e.epoch for e in epochs] == [2]
    assert used == {cupy.ndarray}, "the run was to go on on the GPU"


@pytest.mark.slow
def test_a_training_on_the_second_gpu(double: Module) -> None:
    _, epochs = records(fit(Config(epochs=1, batch_size=88), dataset(), device="cuda:1"))
    assert len(epochs) == 1


@pytest.fixture
def network() -> Classifier:
    model = models.lenet5(sigma=0.3)
    return Classifier(model, model.init(np.random.default_rng(0)), threads=1).astype(np.float64)


@pytest.mark.usefixtures("same_draws")
def test_a_classifier_on_the_gpu(network: Classifier) -> None:
    x, labels = np.random.default_rng(0).uniform(size=(5, 1, 28, 28)), np.arange(5)
    device = network.to("cuda")
    assert device.sigma == network.sigma and device.with_sigma(2.0).sigma == 2.0
    pairs = [
        (c.predict(x), *c.moments(x), *c.moments(x, "laplace"), c.sample(x, 1, 2), c.input_gradient(x, labels))
        for c in (device, network)
    ]
    for ours, theirs in zip(*pairs, strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)
    back = device.to("cpu")
    np.testing.assert_array_equal(back.params["fc1"]["w"], network.params["fc1"]["w"])


@pytest.mark.slow
@pytest.mark.usefixtures("same_draws")
def test_attacks_on_the_gpu(network: Classifier) -> None:
    x, labels = np.random.default_rng(0).uniform(size=(5, 1, 28, 28)), np.arange(5)
    plan = Plan(attacks=("fgsm", "pgd", "adaptive-pgd"), eps=(0.1,), norm="l2", steps=2, eot=2, draws=2)
    for restarts in (1, 2):
        again = replace(plan, restarts=restarts)
        results = [list(evaluate(c, x, labels, again)) for c in (network.to("cuda"), network)]
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours.x_adv, theirs.x_adv, atol=1e-8)
            np.testing.assert_array_equal(ours.accuracy.each, theirs.accuracy.each)


def test_what_is_kept_for_all_cannot_be_written_to() -> None:
    table = frozen(((1, 2), (3, 4)), "f")
    assert table.dtype == np.float32 and table.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 0
