"""PyTorch modules as targets of npsnn's attacks, npsnn's networks as PyTorch modules, and networks to and from both.

    network = Target(module, shape=(1, 28, 28))
    attacks.robust_accuracy(network, x, labels, attacks.auto(network, 0.1))

`as_module` goes the other way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from threading import Lock
from types import new_class
from typing import Any

import numpy as np

from npsnn.classifier import Classifier
from npsnn.foreign import check_takes
from npsnn.interop import needed
from npsnn.interop.answers import Answers
from npsnn.interop.functions import Pullback, network_of
from npsnn.interop.probes import probed
from npsnn.interop.states import from_module, load, load_state_dict, module, save, state_dict
from npsnn.streams import Randomness
from npsnn.validate import check_count

__all__ = [
    "Module",
    "Network",
    "Target",
    "as_module",
    "from_module",
    "load",
    "load_state_dict",
    "module",
    "save",
    "state_dict",
]

EXTRA = "torch"
"""The extra of npsnn that installs PyTorch."""


@dataclass(frozen=True, eq=False)
class Module:
    """A PyTorch module as a function from images and a seed to logits, which leaves no trace in PyTorch or the module.

    module: the module.
    draw: called with a seed before each forward pass, sets the noise.
    modes: the submodules, each with whether it is in training mode while the module answers.
    dtype, device: of the images that the module takes.
    PyTorch's own generator has the seed in the backward pass, where a module may draw as well or compute a part again.
    Around each pass PyTorch's random numbers, of the CPU and CUDA, and the modes of all submodules are put back as they
    were. Gradients of parameters are neither computed nor written. One thread at a time computes.
    """

    module: Any
    draw: Callable[[int], object]
    modes: tuple[tuple[Any, bool], ...]
    dtype: Any
    device: Any
    _lock: Any = field(default_factory=Lock)

    @property
    def __name__(self) -> str:
        return type(self.module).__name__

    def __call__(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, Pullback]:
        torch = needed("torch", EXTRA)
        with self._as_set():
            self.draw(seed)
            images = torch.from_numpy(x).to(self.device, self.dtype).requires_grad_()
            answer = self.module(images.clone())  # which the module may write to
        if not isinstance(answer, torch.Tensor):
            raise TypeError(f"the module must return a tensor of logits, got {type(answer).__name__}")
        if not answer.dtype.is_floating_point:
            raise TypeError(f"the module must return floats, got {answer.dtype}")
        return _numpy(answer, x.dtype), lambda cotangent: self._pulled(answer, images, cotangent, seed)

    def _pulled(self, answer: Any, images: Any, cotangent: np.ndarray, seed: int) -> np.ndarray:
        torch, found = needed("torch", EXTRA), None
        if answer.requires_grad:
            with self._as_set():
                _seeding(self.device)(seed)
                above = torch.from_numpy(cotangent).to(answer.device, answer.dtype)
                (found,) = torch.autograd.grad(answer, images, above, retain_graph=True, allow_unused=True)
        if found is None:
            raise ValueError("the logits do not depend on the images in a way that PyTorch follows")
        return _numpy(found, cotangent.dtype)

    def draws(self, shape: tuple[int, int, int]) -> bool:
        """Whether the module takes numbers of PyTorch's own generators to answer, so that it may be random.

        shape: one image, (C, H, W).
        """
        torch = needed("torch", EXTRA)

        def states() -> list[Any]:
            return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if self.device.type == "cuda" else ())]

        with suppress(Exception), self._as_set():  # the probe that follows says what is wrong
            self.draw(0)
            before = states()
            self.module(torch.full((2, *shape), 0.5, dtype=self.dtype, device=self.device))
            return any(not torch.equal(*both) for both in zip(before, states(), strict=True))
        return False

    @contextmanager
    def _as_set(self) -> Iterator[None]:
        """The modes and PyTorch's gradients as the target has them; all of it, and the seed, as before afterwards."""
        torch = needed("torch", EXTRA)
        devices = range(torch.cuda.device_count()) if self.device.type == "cuda" else ()
        with self._lock, torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            before = [(part, part.training) for part, _ in self.modes]
            try:
                _set(self.modes)
                yield
            finally:
                _set(before)


def _seeding(device: Any) -> Callable[[int], object]:
    """What sets PyTorch's generators: for a module of the CPU its alone, since no others are put back there."""
    torch = needed("torch", EXTRA)
    found: Callable[[int], object] = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    return found


def _set(modes: Any) -> None:
    for part, training in modes:
        part.training = training


def _numpy(tensor: Any, dtype: Any) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().double().numpy()).astype(dtype)


def Target(  # noqa: N802  # stands for the class that users expect; its value is a Classifier
    module: Any,
    shape: tuple[int, int, int],
    draw: Callable[[int], object] | None = None,
    *,
    random: bool | None = None,
    batch: int = 64,
    name: str = "",
) -> Classifier:
    """Make a network of a PyTorch module, deterministic or random, for npsnn's attacks, judging and certificates.

    module: a `torch.nn.Module` from images (n, C, H, W) in [0, 1] to logits (n, classes). Whether its parts are in
        training mode is kept from this call on: leave its noise in the mode in which it draws, and all else in eval
        mode. Images come in the dtype and on the device of its first parameter.
    shape: one image, (C, H, W).
    draw: called with a seed, a whole number below 2**63, before each forward pass, sets the module's noise; None for
        `torch.manual_seed`, of which the generator of the CPU takes the last 32 bits.
    random: whether answers differ from one seed to another; None to see it by a few draws, and by whether the module
        takes random numbers of PyTorch's.
    batch: number of images of a forward pass, >= 1. Images 0 to batch - 1 share a seed, and so do the next ones:
        another batch is other noise. Fewer images cost as much as a whole batch where the module is random.
    name: of the network, for people; "" for the module's class.
    Where the noise is off, the module answers in eval mode. If the module draws in eval mode as well, the mean of 20
    fixed draws answers.
    Raises ImportError without PyTorch, TypeError for other arguments; ValueError for a module that cannot answer for
    such images, or whose logits have a wrong shape or are not finite; for an image whose answer depends on the other
    images of its batch; for noise that `draw` does not set; and for a module that changes its own parameters or
    buffers, which are put back.
    """
    torch = needed("torch", EXTRA)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    if draw is not None and not callable(draw):
        raise TypeError(f"draw must be a function that takes a seed, got {draw!r:.80}")
    check_count("batch", batch)
    like = next((one for _, one in _held(module) if one.dtype.is_floating_point), torch.zeros(()))
    modes = tuple((part, part.training) for part in module.modules())
    draw = _seeding(like.device) if draw is None else draw
    check_takes(draw, "seed", "draw")
    function = Module(module, draw, modes, like.dtype, like.device)
    dtype = np.float64 if like.dtype == torch.float64 else np.float32
    with _unchanged(module):
        random = (function.draws(shape) or None) if random is None else random
        found = probed(function, shape, dtype, batch, random)
        quiet = replace(function, modes=tuple((part, False) for part, _ in modes))
        quiets = found.random and not probed(quiet, shape, dtype, batch, quiet.draws(shape) or None).random
    who = name or type(module).__name__
    settings: dict[str, Any] = {"batch": batch, "dtype": dtype, "name": who, "threads": 1}
    return network_of(function, quiet if quiets else None, shape, found, **settings)


@contextmanager
def _unchanged(module: Any) -> Iterator[None]:
    """Put parameters and buffers back as they were; ValueError names the first that the block has changed."""
    torch = needed("torch", EXTRA)
    stores = [
        (f"{path}.", store) for path, part in module.named_modules() for store in (part._parameters, part._buffers)
    ]
    before = [(path, store, dict(store)) for path, store in stores]
    values = {id(t): t.detach().clone() for _, _, held in before for t in held.values() if t is not None}
    changed = ""
    try:
        yield
    finally:
        with torch.no_grad():
            for path, store, held in before:
                for name, tensor in held.items():
                    same = store.get(name) is tensor
                    if tensor is not None and not torch.equal(tensor, values[id(tensor)]):
                        tensor.copy_(values[id(tensor)])
                        same = False
                    changed = changed or ("" if same else f"{path}{name}".removeprefix("."))
                store.update(held)
    if changed:
        who = type(module).__name__
        raise ValueError(f"{who} changes {changed} whenever it answers: put all but its noise in eval mode")


def _held(module: Any) -> Iterator[tuple[str, Any]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def as_module(network: Classifier, rng: Randomness = 0) -> Any:
    """Make a PyTorch module of an npsnn network: images (n, C, H, W) in [0, 1] to logits, with gradients by images.

    network: the network. Every forward pass is a fresh draw of its noise; `network.averaging(10)` answers by the mean
        of ten draws, and `network.with_sigma(0)` without noise.
    rng: source of randomness. Pass k of the module has the same noise each time that the module is made anew.
    The module has no parameters. Logits come in the dtype and on the device of the images. The backward pass computes
    the forward pass of its draw again, by npsnn. A second derivative is refused by PyTorch with a RuntimeError.
    Raises ImportError without PyTorch.
    """
    asked, kind = Answers.of(network, rng), _classes()
    module = kind[1]()
    module.asked, module.ask = asked, kind[0].apply
    return module.eval()


class Asking:
    """An npsnn network in PyTorch's graph: the methods of an `autograd.Function`."""

    @staticmethod
    def forward(ctx: Any, x: Any, asked: Answers) -> Any:
        """The logits of a new call, (n, classes), of images (n, C, H, W)."""
        torch = needed("torch", EXTRA)
        images, call = _numpy(x, np.float64 if x.dtype == torch.float64 else np.float32), asked.next()
        ctx.asked, ctx.like = (asked, images, call), (x.device, x.dtype)
        return torch.from_numpy(asked.logits(images, call)).to(*ctx.like)

    @staticmethod
    def backward(ctx: Any, cotangent: Any) -> Any:
        """The vector-Jacobian product by the images of the same call."""
        asked, images, call = ctx.asked
        found = asked.pulled(images, _numpy(cotangent, np.float64), call)
        return needed("torch", EXTRA).from_numpy(found).to(*ctx.like), None


class Network:
    """An npsnn network as a PyTorch module: the methods of a `torch.nn.Module`."""

    asked: Answers
    ask: Callable[[Any, Answers], Any]

    def forward(self, x: Any) -> Any:
        """Logits (n, classes) of images (n, C, H, W), under a fresh draw of the noise."""
        return self.ask(x, self.asked)

    def extra_repr(self) -> str:
        """What the module prints of itself."""
        return repr(self.asked.network)


@cache
def _classes() -> tuple[Any, Any]:
    """The two classes above as PyTorch's."""
    torch = needed("torch", EXTRA)
    once = {"backward": staticmethod(torch.autograd.function.once_differentiable(Asking.backward))}
    ask = new_class("Ask", (Asking, torch.autograd.Function), exec_body=lambda names: names.update(once))
    return ask, new_class("Network", (Network, torch.nn.Module))
