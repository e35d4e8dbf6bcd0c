"""PyTorch's side of scripts/compare_torch.py: for each line NAME MODE GIVEN ANSWER, what `ours` there returns.

Written from the papers' descriptions with PyTorch's own layers; only the names of the parameters are npsnn's.
"""

import sys
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError:
    torch = None  # type: ignore[assignment]


def convolution(before: int, channels: int, kernel: int, stride: int = 1) -> Any:
    return nn.Conv2d(before, channels, kernel, stride, kernel // 2, bias=False)


def block(before: int, channels: int, stride: int) -> Any:
    """Two convolutions, and a projection where the shape changes."""
    parts = {
        "conv1": convolution(before, channels, 3, stride),
        "bn1": nn.BatchNorm2d(channels),
        "conv2": convolution(channels, channels, 3),
        "bn2": nn.BatchNorm2d(channels),
    }
    if before != channels or stride != 1:
        parts |= {"projection": convolution(before, channels, 1, stride), "projected": nn.BatchNorm2d(channels)}
    return nn.ModuleDict(parts)


def resnet18(size: int, classes: int, channels: int) -> Any:
    parts = {"conv1": convolution(channels, 64, 3), "bn1": nn.BatchNorm2d(64)}
    before = 64
    for i, (width, stride) in enumerate([(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]):
        parts[f"block{i + 1}"] = block(before, width, stride)
        before = width
    return nn.ModuleDict(parts | {"bottleneck": nn.Linear(512, 32), "classifier": nn.Linear(32, classes)})


def resnet18_logits(net: Any, x: Any) -> Any:
    """In-place ReLUs, as PyTorch's own ResNet has them: neither BatchNorm nor a sum needs its output again."""
    x = net["bn1"](net["conv1"](x)).relu_()
    for i in range(1, 9):
        part = net[f"block{i}"]
        y = part["bn2"](part["conv2"](part["bn1"](part["conv1"](x)).relu_()))
        x = (y + (part["projected"](part["projection"](x)) if "projection" in part else x)).relu_()
    return net["classifier"](net["bottleneck"](x.mean(dim=(2, 3))))


def lenetpp(size: int, classes: int, channels: int, padding: int) -> Any:
    parts, before = {}, channels
    for i, width in enumerate((32, 32, 64, 64, 128, 128), start=1):
        parts |= {f"conv{i}": nn.Conv2d(before, width, 5, padding=padding), f"prelu{i}": nn.PReLU(width)}
        before = width
    left = size // 8 if padding else size - 24
    return nn.ModuleDict(parts | {"bottleneck": nn.Linear(128 * left**2, 32), "classifier": nn.Linear(32, classes)})


def lenetpp_logits(net: Any, x: Any, pooled: bool) -> Any:
    for i in range(1, 7):
        x = net[f"prelu{i}"](net[f"conv{i}"](x))
        if pooled and i % 2 == 0:
            x = nn.functional.max_pool2d(x, 2)
    return net["classifier"](net["bottleneck"](x.flatten(1)))


def torch_name(name: str) -> str:
    """The twin's name of npsnn's parameter: block3.shortcut.bn1.w is block3.projected.weight."""
    layer, _, last = name.rpartition(".")
    layer = layer.replace("shortcut.conv1", "projection").replace("shortcut.bn1", "projected").replace("body.", "")
    return f"{layer}.{ {'w': 'weight', 'b': 'bias', 'slope': 'weight'}.get(last, last) }"


def parameter(net: Any, name: str) -> Any:
    """The twin's parameter by npsnn's name."""
    return net.get_parameter(torch_name(name))


def built(name: str, size: tuple[int, int, int], given: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The named twin for images of `size` (pixels along an edge, classes, channels) with npsnn's parameters `given`.

    Returns the network and logits(network, images).
    """
    if name == "resnet18":
        net, logits = resnet18(*size), resnet18_logits
    else:
        original = name == "lenetpp"
        net, logits = lenetpp(*size, padding=2 if original else 0), lambda n, x: lenetpp_logits(n, x, original)
    state = {torch_name(k): torch.tensor(a.transpose(0, 3, 1, 2) if a.ndim == 4 else a) for k, a in given.items()}
    net = net.to(next(iter(state.values())).dtype)
    odd = net.load_state_dict(state, strict=False)
    assert not odd.unexpected_keys and all(k.endswith("num_batches_tracked") for k in odd.missing_keys), odd
    return net, logits


def answer(name: str, mode: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits, gradients of the images and the parameters, and in training the running statistics after it."""
    x, cotangent = (torch.tensor(given.pop(k)) for k in ("x", "cotangent"))
    net, logits = built(name, (x.shape[-1], cotangent.shape[1], x.shape[1]), given)
    net.train(mode == "training")
    y = logits(net, x.requires_grad_())
    y.backward(cotangent)
    found = {k: parameter(net, k).grad for k in given if "running" not in k}
    if mode == "training":
        found |= {k: net.get_buffer(torch_name(k)) for k in given if "running" in k}
    arrays = {k: t.numpy() for k, t in found.items()}
    arrays = {k: a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for k, a in arrays.items()}
    return arrays | {"logits": y.detach().numpy(), "x": x.grad.numpy()}


def main() -> None:
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "version":
            print(torch.__version__, flush=True)
            continue
        mode, source, target = arguments
        with np.load(source) as file:
            np.savez(target, **answer(command, mode, dict(file)))
        print("done", flush=True)


if __name__ == "__main__":
    if torch is None:
        print("no PyTorch", flush=True)
    else:
        main()
