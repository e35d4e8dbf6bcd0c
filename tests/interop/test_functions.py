"""Functions as targets: the same draws however images are dealt out, gradients, and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import small_networks

from npsnn import attacks, certify
from npsnn.classifier import Classifier
from npsnn.interop import art, foolbox, needed, torch
from npsnn.interop.functions import LAYER, MeanOf, Target
from npsnn.layers.moments import EXPECTATION, Moments, Sampled
from npsnn.objectives import cross_entropy
from npsnn.streams import Stream

SHAPE = small_networks.SHAPE
A = np.random.default_rng(0).normal(size=(24, 7)) / 3
B = np.random.default_rng(1).normal(size=(7, 3))


def noisy(x: np.ndarray, seed: int) -> Any:
    """A layer, noise of its own for each row, tanh and a last layer."""
    noise = np.random.default_rng(seed).normal(size=(len(x), 7)) / 2
    hidden = np.tanh(x.reshape(len(x), -1) @ A + noise)
    return hidden @ B, lambda g: (g @ B.T * (1 - hidden**2) @ A.T).reshape(x.shape)


def plain(x: np.ndarray, seed: int) -> Any:
    """The function without its noise."""
    hidden = np.tanh(x.reshape(len(x), -1) @ A)
    return hidden @ B, lambda g: (g @ B.T * (1 - hidden**2) @ A.T).reshape(x.shape)


def shared(x: np.ndarray, seed: int) -> Any:
    """One draw for all rows."""
    noise = np.random.default_rng(seed).normal(size=(1, 3))
    found, pullback = plain(x, seed)
    return found + noise, pullback


def target(function: Any = noisy, **settings: Any) -> Classifier:
    return Target(function, SHAPE, **({"batch": 8, "dtype": "float64"} | settings))


def logits(network: Classifier, x: np.ndarray, stream: Stream) -> np.ndarray:
    return network.scores(x, Sampled(stream)).mean.T


def test_the_noise_of_an_image_is_that_of_its_number() -> None:
    """Whatever part of the images is asked about, in whatever order, and however often."""
    network, x, stream = target(), small_networks.images(20), Stream(3).at("draw", 1)
    whole = logits(network, x, stream)
    assert np.array_equal(logits(network, x[5:14], stream.further(5)), whole[5:14])
    columns = [17, 2, 2, 9, 3]
    assert np.array_equal(logits(network, x[columns], stream.chosen(columns)), whole[columns])
    assert np.array_equal(network.sample(x, 7, 3)[:, 12:], network.sample(x[12:], Stream(7).from_sample(12), 3))
    twice = logits(network, x[[2, 5]], stream.chosen([2, 2]))
    assert np.array_equal(twice[1:], logits(network, x[5:6], stream.chosen([2]))) and np.array_equal(twice[0], whole[2])
    apart = [np.abs(logits(network, x, other) - whole).max(axis=1) for other in (Stream(3).at("draw", 2), Stream(4))]
    assert np.min(apart) > 1e-3
    one = logits(network, x[:1].repeat(20, axis=0), stream)
    assert np.abs(one[8:] - one[:12]).max(axis=1).min() > 1e-3, "blocks have draws of their own"
    assert np.ptp(logits(network, x[:1].repeat(3, axis=0), stream.one_draw()), axis=0).max() == 0


def test_another_batch_is_the_same_as_long_as_blocks_are() -> None:
    """An attack on all images finds what it finds on a part of them, known draw and all."""
    network, x = target(), small_networks.images(20)
    labels = small_networks.predicted(network.with_sigma(0), x)
    attack = attacks.PGD(0.05, steps=3, source=attacks.Known(5))

    def found(s: slice) -> np.ndarray:
        made = attacks.known(network, 5)
        return np.asarray(attack(made, x[s], labels[s], Stream(9).from_sample(s.start)))

    whole = np.concatenate([found(slice(i, i + 8)) for i in (0, 8, 16)])
    assert np.array_equal(whole, np.concatenate([found(slice(i, i + 1)) for i in range(20)]))


@pytest.mark.parametrize("function", [noisy, shared])
def test_gradients_are_those_of_the_draw(function: Any) -> None:
    network, x = target(function), small_networks.images(11)
    labels, stream = np.arange(11) % 3, Stream(0).at("draw").chosen(range(4, 15))
    direction = np.random.default_rng(2).normal(size=x.shape)
    values, gradient = network.loss_gradients(x, labels, [Sampled(stream), Sampled(stream.at(1))], cross_entropy)

    def loss(step: float) -> np.ndarray:
        moved = x + step * direction
        both = (logits(network, moved, s) for s in (stream, stream.at(1)))
        return np.sum([cross_entropy(Moments(z.T), labels)[0] for z in both], axis=0)

    assert np.allclose(values, loss(0), atol=1e-12)
    difference = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert np.abs((gradient * direction).sum(axis=(1, 2, 3)) - difference).max() < 1e-6


def test_a_function_without_noise_is_the_network_it_computes() -> None:
    """A linear network of npsnn, as a function: the same figures and gradients, and members of AutoAttack."""
    own = small_networks.linear(0.0)
    w, b = own.params["fc"]["w"], own.params["fc"]["b"]
    network = target(lambda x, seed: (x.reshape(len(x), -1) @ w.T + b, lambda g: (g @ w).reshape(x.shape)))
    x = small_networks.images(20)
    labels = small_networks.predicted(own, x)
    assert not network.random and np.allclose(network.predict(x), own.predict(x), atol=1e-12)
    both = [n.loss_gradient(x, labels, EXPECTATION, cross_entropy)[1] for n in (network, own)]
    assert np.allclose(*both, atol=1e-12)
    few = {"steps": 4, "fab_steps": 3, "targets": 2, "queries": 5}
    groups = [list(attacks.robust_accuracy(n, x, labels, attacks.auto(n, 0.02, **few))) for n in (network, own)]
    assert [(r.attack, r.group, r.accuracy.mean) for r in groups[0]] == [
        (r.attack, r.group, r.accuracy.mean) for r in groups[1]
    ]
    certified = [
        certify.certify(n, x[:3], labels[:3], n0=10, n=64, sigma=0.1).accuracy(0.05).mean for n in (network, own)
    ]
    assert certified[0] == certified[1]


def test_random_functions_meet_attacks_by_draws_and_the_checklist() -> None:
    network, x = target(quiet=plain), small_networks.images(12)
    labels = small_networks.predicted(network.with_sigma(0), x)
    few = {"steps": 2, "fab_steps": 2, "targets": 2, "queries": 3, "gradient_draws": 2}
    results = list(attacks.robust_accuracy(network, x, labels, attacks.auto(network, 0.05, **few)))
    assert [r.gradient for r in results] == ["sampled", "expectation", "sampled", "sampled", "sampled"]
    assert len({r.accuracy.each.tobytes() for r in results}) > 1
    options = attacks.Checklist(draws=2, samples=2, population=5, generations=1, steps=1, eot=2)
    outcomes = attacks.examine(network, x, labels, options)
    assert [c.number for c in outcomes if str(c.outcome) == "not applicable"] == [8], "there is no closed form"
    assert "random layers" in repr(network)


def test_draws_that_all_images_share_widen_the_interval() -> None:
    one, many = target(shared), target(noisy)
    assert one.shares_draws and not many.shares_draws and not target(shared, batch=1).shares_draws
    x, labels = small_networks.images(16), np.arange(16) % 3
    assert attacks.accuracy(one, x, labels, 4).draws is not None and attacks.accuracy(many, x, labels, 4).draws is None


def test_noise_that_is_off_is_the_quiet_function_or_the_mean_of_fixed_draws() -> None:
    x = small_networks.images(3)
    assert np.array_equal(target(quiet=plain).predict(x), plain(x, 0)[0])
    g, each = np.random.default_rng(0).normal(size=(3, 3)), [x[i : i + 1].repeat(5, axis=0) for i in range(3)]
    means = [np.mean([noisy(one, d)[0].mean(axis=0) for d in range(4)], axis=0) for one in each]
    assert np.allclose(target().predict(x), means, atol=1e-12)
    _, pullback = MeanOf(noisy, 4, 5)(x, 0)
    gradients = [
        np.mean([noisy(one, d)[1](np.repeat(g[i : i + 1], 5, axis=0)) for d in range(4)], axis=(0, 1))
        for i, one in enumerate(each)
    ]
    assert np.allclose(pullback(g), gradients, atol=1e-12)
    assert np.allclose(target(shared).predict(x), np.mean([shared(x, d)[0] for d in range(20)], axis=0), atol=1e-12)


@pytest.mark.parametrize("function", [noisy, shared])
def test_the_mean_of_fixed_draws_is_that_of_the_image_whatever_it_comes_with(function: Any) -> None:
    network, x = target(function), small_networks.images(12)
    whole, labels = network.predict(x), np.arange(12) % 3
    gradient = network.loss_gradient(x, labels, EXPECTATION, cross_entropy)[1]
    for columns in ([5], [7, 2, 2], [11, 0]):
        assert np.allclose(network.predict(x[columns]), whole[columns], atol=1e-12)
        again = network.loss_gradient(x[columns], labels[columns], EXPECTATION, cross_entropy)[1]
        assert np.allclose(again, gradient[columns], atol=1e-12)


def test_a_function_that_draws_seldom_is_random() -> None:
    def seldom(x: np.ndarray, seed: int) -> Any:
        return plain(x[..., ::-1] if np.random.default_rng(seed).random() > 0.95 else x, seed)

    drawn = [np.random.default_rng(seed).random() > 0.95 for seed in range(17)]
    assert not any(drawn[:5]) and any(drawn)
    network = target(seldom)
    assert network.random and network.shares_draws and not target(plain).random


def unseeded(x: np.ndarray, seed: int, rng: Any = np.random.default_rng(0)) -> Any:  # noqa: B008
    return noisy(x, int(rng.integers(2**60)))


def coupled(x: np.ndarray, seed: int) -> Any:
    return plain(x - x.mean(axis=0), seed)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, seed: (np.zeros((len(x), 3, 2)), len), r"must have the shape \(8, classes\)"),
        (lambda x, seed: (np.zeros((len(x), 1)), len), "with at least two classes, got"),
        (
            lambda x, seed: np.zeros((len(x), 3)),
            "must return its logits and a function of their cotangent, got ndarray",
        ),
        (lambda x, seed: (np.zeros((len(x), 3), int), len), "must be floats, got int64"),
        (lambda x, seed: (np.full((len(x), 3), np.nan), len), "must be finite, got nan"),
        (lambda x, seed: {}["two\nlines"], "cannot answer for float64 images of the shape"),
        (unseeded, "the same logits under the same seed"),
        (coupled, "must answer for each image by itself"),
    ],
)
def test_functions_that_cannot_be_targets(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        target(function)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float16"}, "dtype must be float32 or float64, got float16"),
        ({"batch": 0}, "batch must be"),
        ({"function": 3}, "function must be a function of images and a seed, got 3"),
        ({"function": lambda x: x}, r"function <lambda> must take \(x, seed\)"),
        ({"quiet": 3}, "quiet must be a function"),
        ({"shape": (3, 4)}, r"shape must be one image's, \(C, H, W\), got \(3, 4\)"),
        ({"shape": 28}, r"shape must be one image's, \(C, H, W\), got 28"),
        ({"shape": (1, 8.0, 8)}, r"shape must be one image's"),
    ],
)
def test_arguments_that_make_no_target(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Target(**({"function": noisy, "shape": SHAPE} | settings))


def refusals(network: Classifier, x: np.ndarray, labels: np.ndarray) -> dict[str, Callable[[], Any]]:
    """What a target refuses, by a part of the message."""
    broken = target(lambda x, seed: (plain(x, seed)[0], lambda g: g))
    unfinished = target(lambda x, seed: (np.where(x.max() < 0.7, np.nan, plain(x, seed)[0]), lambda g: g))
    layer = network.model.network.layers[0][1]
    return {
        "no closed form of its noise": lambda: network.moments(x),
        "give a sigma for the images": lambda: certify.certify(network, x, labels, n=10),
        "draws nothing: give a sigma": lambda: certify.certify(target(plain), x, labels, n=10),
        "no file of npsnn can hold": lambda: network.spec,
        "must have the images' shape": lambda: broken.input_gradient(x, labels, "cross-entropy"),
        "logits are not finite$": lambda: attacks.accuracy(unfinished, x, labels),
        "cannot be trained": lambda: layer.forward({}, Moments(x), Sampled(Stream(0), training=object())),  # type: ignore
    }


def test_what_has_no_meaning_for_a_target_is_refused_in_a_line() -> None:
    network, x, labels = target(), small_networks.images(4), np.zeros(4, int)
    assert list(network.params) == [LAYER] and not network.model.propagates
    for message, ask in refusals(network, x, labels).items():
        with pytest.raises(ValueError, match=message) as raised:
            ask()
        assert "\n" not in str(raised.value)


def test_no_library_is_imported_unless_it_is_asked_for() -> None:
    modules = "npsnn.interop.torch, npsnn.interop.art, npsnn.interop.foolbox, npsnn.interop.functions, "
    modules += (
        "npsnn.interop.onnx, npsnn.interop.safetensors, npsnn.interop.formats, npsnn.cli.export, npsnn.cli.import_"
    )
    others = {"torch", "art", "foolbox", "jax", "onnx", "safetensors"}
    code = f"import sys, {modules}; print(sorted({others} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_networks.linear()
    for name in ("torch", "art", "art.estimators.classification.classifier", "foolbox"):
        monkeypatch.setitem(sys.modules, name, None)
    asked: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.Target(None, SHAPE),
        "art": lambda: art.estimator(network),
        "foolbox": lambda: foolbox.model(network),
    }
    for extra, ask in asked.items():
        with pytest.raises(ImportError, match=rf"^{extra} is not installed: pip install 'npsnn\[{extra}\]'$"):
            ask()
    monkeypatch.setattr("npsnn.interop.import_module", lambda name: exec("raise ImportError('no libfoo.so')"))
    with pytest.raises(ImportError, match=r"torch is installed, but cannot be imported: no libfoo\.so"):
        needed("torch", "torch")
