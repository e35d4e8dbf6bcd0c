"""PyTorch modules as targets of npsnn, and npsnn's networks as PyTorch modules."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import small_networks
import torch_networks
from torch_networks import SHAPE, SIGMA

from npsnn import attacks, certify
from npsnn.attacks.statistics import Difference
from npsnn.interop.torch import Target, as_module
from npsnn.layers.moments import EXPECTATION, Sampled
from npsnn.objectives import cross_entropy
from npsnn.streams import Stream

torch = pytest.importorskip("torch")
nn = torch.nn


@contextmanager
def no_trace(module: Any) -> Iterator[None]:
    """Fail unless the block leaves PyTorch's random numbers, and all that the module holds, as they were."""

    def held() -> Any:
        parts = [part.training for part in module.modules()]
        values = [v.clone() for v in module.state_dict().values()]
        grads = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
        return parts, [v.tolist() for v in (torch.get_rng_state(), *values)], [g is None for g in grads]

    before = held()
    try:
        yield
    finally:
        assert held() == before
        assert torch.is_grad_enabled()


@pytest.mark.slow
def test_the_ensemble_finds_in_pytorch_what_it_finds_in_the_same_network_of_npsnn() -> None:
    module = torch_networks.trained()
    x, labels = (array[:64] for array in torch_networks.few_digits()[2:])
    own, judging = torch_networks.rebuilt(module), attacks.Judging(draws=20)
    few: dict[str, Any] = {"steps": 8, "fab_steps": 4, "targets": 2, "queries": 20, "gradient_draws": 4}
    with no_trace(module):
        network = Target(module, SHAPE)
        results = list(attacks.robust_accuracy(network, x, labels, attacks.auto(network, 0.06, **few), judging))
        worst = attacks.worst_case(network, labels, results, judging)
    members = attacks.Auto(0.06, **few).drawn()
    theirs = list(attacks.robust_accuracy(own, x, labels, members, judging))
    clean = [attacks.accuracy(n, x, labels, 20) for n in (network, own)]
    assert clean[0].mean > 0.85, "the module has learned something"
    assert [r.attack for r in results] == [r.attack for r in theirs] and worst.mean < clean[0].mean - 0.1
    pairs = [
        tuple(clean),
        *((a.accuracy, b.accuracy) for a, b in zip(results, theirs, strict=True)),
    ]
    for a, b in pairs:
        assert max(a.ci95[0], b.ci95[0]) <= min(a.ci95[1], b.ci95[1]), (a, b)
        difference = Difference.of(a.each, b.each)  # of the same images: sharper than two intervals
        assert abs(difference.mean) < 4 * difference.error + 0.01, (a, b)


class Given(nn.Module):
    """Noise that a test sets."""

    noise: Any = None

    def forward(self, x: Any) -> Any:
        return x if self.noise is None else x + SIGMA * self.noise


def test_gradients_are_those_of_npsnn_with_the_noise_off_and_under_a_draw() -> None:
    given = Given()
    module = torch_networks.module(given).double()
    x, labels = (array[:6] for array in torch_networks.few_digits()[2:])
    x, own, stream = x.astype(np.float64), torch_networks.rebuilt(module), Stream(4)
    network = Target(module, SHAPE)
    assert network.dtype == np.float64 and not network.random
    for noise in (EXPECTATION, Sampled(stream)):
        if noise is not EXPECTATION:
            drawn = noise.at("noise").stream.normal(np.zeros((24, 8, 24, 6)))  # (H, C, W, N), as npsnn has it
            given.noise = torch.tensor(np.ascontiguousarray(drawn.transpose(3, 1, 0, 2)))
        ours, theirs = (
            n.loss_gradient(x, labels, how, cross_entropy) for n, how in ((own, noise), (network, EXPECTATION))
        )
        assert np.abs(ours[0] - theirs[0]).max() < 1e-9
        assert np.abs(ours[1] - theirs[1]).max() < 1e-6 * np.abs(ours[1]).max()


def test_dropout_draws_in_the_mode_of_its_own_and_is_off_in_eval_mode() -> None:
    module = torch_networks.module(nn.Dropout(0.4)).eval()
    x = torch_networks.few_digits()[2][:10]
    certain = Target(module, SHAPE)
    module[1].train()
    network = Target(module, SHAPE)
    module.eval()
    with no_trace(module):
        assert network.random and not certain.random
        assert np.array_equal(network.with_sigma(0).predict(x), certain.predict(x))
        assert np.array_equal(network.predict(x), network.with_sigma(0).predict(x))
        first = network.sample(x, 0, 2)
        assert np.ptp(first, axis=0).max() > 0.01
    torch.manual_seed(17)
    assert np.array_equal(network.sample(x, 0, 2), first), "the seed of the user does not matter"
    assert np.array_equal(network.sample(x[3:], Stream(0).from_sample(3), 2), first[:, 3:])


def test_known_draws_are_one_network_for_all_attacks() -> None:
    network, x, labels = Target(torch_networks.trained(), SHAPE), *(a[:40] for a in torch_networks.few_digits()[2:])
    judging, known = attacks.Judging(draws=8), attacks.Known(Stream(3))
    blind, informed, alone = (
        next(iter(attacks.robust_accuracy(network, x, labels, [attacks.PGD(0.06, steps=4, source=source)], judging)))
        for source in (attacks.EoT(4), known, attacks.Known(Stream(3)))
    )
    assert informed.accuracy.mean < blind.accuracy.mean and set(informed.accuracy.each) <= {0.0, 1.0}
    assert np.array_equal(informed.accuracy.each, alone.accuracy.each)
    assert certify.certify(network, x[:2], labels[:2], n0=10, n=64, sigma=0.1).accuracy(0.01).mean > 0


def test_a_generator_of_the_modules_own_is_set_by_draw() -> None:
    generator = torch.Generator()

    class Own(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + torch.randn(x.shape, generator=generator)

    module = torch_networks.module(Own())
    with pytest.raises(ValueError, match=r"draw\(seed\) must set all of its noise"):
        Target(module, SHAPE)
    network = Target(module, SHAPE, draw=generator.manual_seed)
    x = torch_networks.few_digits()[2][:3]
    assert np.array_equal(network.sample(x, 5, 2), network.sample(x, 5, 2)) and network.random


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_images_come_in_the_dtype_of_the_module(dtype: str) -> None:
    module = torch_networks.module(nn.Identity()).to(getattr(torch, dtype))
    network, x = Target(module, SHAPE), torch_networks.few_digits()[2][:3]
    assert network.dtype == (np.float64 if dtype == "float64" else np.float32)
    with torch.no_grad():
        expected = module(torch.tensor(x).to(getattr(torch, dtype))).double().numpy()
    assert np.allclose(network.predict(x), expected, atol=1e-12 if dtype == "float64" else 1e-2)
    assert np.isfinite(network.input_gradient(x, np.zeros(3, int), "cross-entropy")).all()


class Broken(nn.Module):
    """A module whose answer a function makes of its logits."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(784, 10), change

    def forward(self, x: Any) -> Any:
        return self.change(self.linear(x.flatten(1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Broken(lambda z: z[:, :, None]),
            r"logits of Broken must have the shape \(16, classes\) with at least two classes, got \(16, 10, 1\)",
        ),
        (lambda: Broken(lambda z: z.sum()), r"must have the shape \(16, classes\) with at least two classes, got \(\)"),
        (lambda: Broken(lambda z: (z, z)), "must return a tensor of logits, got tuple"),
        (lambda: Broken(lambda z: z.argmax(1)), r"must return floats, got torch\.int64"),
        (lambda: Broken(lambda z: z / 0), "logits of Broken must be finite, got"),
        (lambda: torch_networks.module(nn.BatchNorm2d(8)), "must answer for each image by itself"),
        (
            lambda: nn.Sequential(nn.Linear(3, 4)),
            r"Sequential cannot answer for float32 images of the shape \(16, 1, 28, 28\)",
        ),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 9), nn.Linear(9, 4).double()), "must have the same dtype"),
        (lambda: 3, r"module must be a torch\.nn\.Module, got int"),
    ],
)
def test_modules_that_cannot_be_targets_are_refused_in_a_line_and_left_alone(make: Any, message: str) -> None:
    module = make()
    with (
        pytest.raises((TypeError, ValueError), match=message) as raised,
        no_trace(module if isinstance(module, nn.Module) else nn.Identity()),
    ):
        Target(module, SHAPE)
    assert "\n" not in str(raised.value)


def test_a_module_that_draws_seldom_is_random() -> None:
    """Of the first seeds none flips the images; the coin is one for the whole batch."""

    class Flip(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.flip(3) if torch.rand(()) > 0.9 else x

    network = Target(torch_networks.module(nn.Identity()), SHAPE)
    seldom = Target(nn.Sequential(Flip(), torch_networks.module(nn.Identity())), SHAPE)
    assert seldom.random and seldom.shares_draws and not network.random
    x = torch_networks.few_digits()[2][:1]
    answers = np.unique(seldom.sample(x, 0, 60)[:, 0].round(4), axis=0)
    assert len(answers) == 2


def test_a_module_may_write_to_its_images() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.sub_(0.5).div_(0.25)

    class Normal(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x - 0.5) / 0.25

    x, labels = torch_networks.few_digits()[2][:3], np.zeros(3, int)
    parts = (nn.Sequential(first(), torch_networks.module(nn.Identity())) for first in (InPlace, Normal))
    found = [Target(part, SHAPE).loss_gradient(x, labels, EXPECTATION, cross_entropy) for part in parts]
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("anew", [False, True])
def test_a_module_that_counts_its_answers_is_refused_and_put_back(anew: bool) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("answers", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            if anew:
                self.answers = self.answers + 1  # another tensor
            else:
                self.answers += 1
            return x.flatten(1)[:, :4]

    module = nn.Sequential(nn.Identity(), Counting())
    held = module[1].answers
    with pytest.raises(ValueError, match=r"Sequential changes 1\.answers whenever it answers"):
        Target(module, SHAPE)
    assert module[1].answers is held and held == 0


class NoisyBackward(torch.autograd.Function):
    """The identity, whose gradient has noise."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g + 0.1 * g.abs().max() * torch.randn_like(g)


class Again(nn.Module):
    """A part of a network with noise, which the backward pass computes again."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(self.part, x, use_reentrant=False, preserve_rng_state=False)


def test_what_a_backward_pass_draws_is_of_the_seed_as_well() -> None:
    x, labels = torch_networks.few_digits()[2][:3], np.zeros(3, int)

    class Careless(nn.Module):
        def forward(self, x: Any) -> Any:
            return NoisyBackward.apply(x)

    noisy = Target(torch_networks.module(Careless()), SHAPE)
    torch.manual_seed(1)
    first = noisy.input_gradient(x, labels, "cross-entropy")
    torch.manual_seed(2)
    assert np.array_equal(noisy.input_gradient(x, labels, "cross-entropy"), first)

    part = torch_networks.module(nn.Dropout(0.4)).train()
    both = [Target(module, SHAPE) for module in (part, Again(part))]
    found = [n.loss_gradient(x, labels, Sampled(Stream(1)), cross_entropy) for n in both]
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True)) and both[0].random


def test_a_module_that_draws_in_eval_mode_answers_for_an_image_alike_whatever_comes_with_it() -> None:
    network, x = Target(torch_networks.module(AlwaysNoisy()).eval(), SHAPE), torch_networks.few_digits()[2][:7]
    whole = network.predict(x)
    assert np.allclose(network.predict(x[4:6]), whole[4:6], atol=1e-5)
    drawn = network.sample(x, 0, 100)
    assert (np.abs(whole - drawn.mean(axis=0)) < 6 * drawn.std(axis=0) * np.sqrt(1 / 20 + 1 / 100)).all()


class AlwaysNoisy(nn.Module):
    """Noise in either mode."""

    def forward(self, x: Any) -> Any:
        return x + SIGMA * torch.randn_like(x)


@pytest.mark.parametrize("draw", [3, lambda: None])
def test_a_draw_that_takes_no_seed_is_refused(draw: Any) -> None:
    with pytest.raises(TypeError, match="draw must"):
        Target(torch_networks.module(nn.Identity()), SHAPE, draw)


@pytest.mark.parametrize("change", [lambda z: z.detach(), lambda z: (z * 3).round().detach() + 0 * z.detach()])
def test_logits_without_a_gradient_are_attacked_without_one(change: Any) -> None:
    network, x = Target(Broken(change), SHAPE), torch_networks.few_digits()[2][:3]
    with pytest.raises(ValueError, match="no gradient by the images: the logits do not depend on the images in a way"):
        network.input_gradient(x, np.zeros(3, int), "cross-entropy")
    (result,) = attacks.robust_accuracy(network, x, np.zeros(3, int), [attacks.Square(0.1, queries=5)])
    assert result.gradient_passes > 0


def test_a_network_of_npsnn_is_a_module_with_its_logits_and_gradients() -> None:
    network, x = small_networks.convolutional(0.3, micro_batch=3), small_networks.images(7)
    module, again = as_module(network, 5), as_module(network, 5)
    images = torch.tensor(x, requires_grad=True)
    found = module(images)
    g = torch.tensor(np.random.default_rng(0).normal(size=(7, 3)))
    (found * g).sum().backward()
    step = 1e-6 * np.random.default_rng(1).normal(size=x.shape)
    ahead, behind = ((as_module(network, 5)(torch.tensor(x + s)) * g).sum().item() for s in (step, -step))
    assert abs((images.grad.numpy() * step).sum() - (ahead - behind) / 2) < 1e-12, "the gradient is that of the draw"
    assert torch.equal(again(images), found) and not torch.equal(again(images), found)
    assert not list(module.parameters()) and found.dtype == torch.float64
    stream = Stream(5).at("call", 0)
    assert np.allclose(
        found.detach(),
        network.scores(x[:3], Sampled(stream)).mean.T.tolist()
        + [z for s in (3, 6) for z in network.scores(x[s : s + 3], Sampled(stream.further(s))).mean.T.tolist()],
    )
    quiet = as_module(network.with_sigma(0))
    assert torch.autograd.gradcheck(quiet, (images[:2],), eps=1e-6, atol=1e-6)
    assert torch.equal(quiet(images), quiet(images)) and np.allclose(quiet(images).detach(), network.predict(x))
    (slope,) = torch.autograd.grad(quiet(images).pow(2).sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()  # it would be 0
    with pytest.raises(TypeError, match=r"network must be an npsnn\.Classifier, got Sequential"):
        as_module(nn.Sequential())
