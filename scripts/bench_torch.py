"""PyTorch's side of scripts/bench.py: THREADS LAYOUT FILE; reads parameters and batch from FILE, then obeys its input.

The same step as npsnn's: 8-bit images to [0, 1], noise after the first convolution, the Laplace rule, pooling before
ReLU with the winner's variance, the covariance of the logits, the noise-aware loss, plain SGD.
"""

import sys
from time import perf_counter
from typing import Any

import numpy as np

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None  # type: ignore[assignment]


def relu(m: Any, v: Any) -> tuple[Any, Any]:
    return functional.relu(m), v * (m >= -3 * v.detach().sqrt())


def pool_relu(m: Any, v: Any) -> tuple[Any, Any]:
    pooled, winner = functional.max_pool2d(m, 2, return_indices=True)
    v = v.flatten(2).gather(2, winner.flatten(2)).view_as(pooled)
    return relu(pooled, v)


def forward(p: dict[str, Any], x: Any) -> tuple[Any, Any]:
    """Mean (N, classes) and covariance (N, classes, classes) of the logits."""
    m = functional.conv2d(x, p["conv1.w"], p["conv1.b"], padding=2)
    m, v = pool_relu(m, (p["noise.sigma"] ** 2).expand_as(m))
    for name, after in (("conv2", pool_relu), ("conv3", relu)):
        w = p[name + ".w"]
        m, v = after(functional.conv2d(m, w, p[name + ".b"]), functional.conv2d(v, w**2))
    m, v = m.flatten(1), v.flatten(1)
    for name in ("fc1", "fc2"):
        w = p[name + ".w"]
        m, v = relu(functional.linear(m, w, p[name + ".b"]), functional.linear(v, w**2))
    w = p["fc3.w"]
    pairs = (w[:, None] * w).flatten(0, 1)
    return functional.linear(m, w, p["fc3.b"]), functional.linear(v, pairs).unflatten(1, (len(w), len(w)))


def loss(mean: Any, cov: Any, labels: Any) -> Any:
    classes = mean.shape[1]
    hot = functional.one_hot(labels, classes).to(mean.dtype)
    diagonal = cov.diagonal(dim1=1, dim2=2)
    with_k = cov.gather(2, labels[:, None, None].expand(-1, classes, 1))[..., 0]
    s = diagonal + diagonal.gather(1, labels[:, None]) - 2 * with_k
    s = torch.where(hot > 0, 1, s)
    won = 0.5 * (1 + torch.erf((mean.gather(1, labels[:, None]) - mean) / torch.sqrt(2 * s)))
    return (((mean - hot) ** 2).mean(1) - (won * (1 - hot)).sum(1) / (classes - 1)).mean()


def main(threads: int, layout: str, start: str) -> None:
    torch.set_num_threads(threads)
    file = dict(np.load(start))
    images, labels = torch.tensor(file.pop("images")), torch.tensor(file.pop("labels"))
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    p = {}
    for name, value in file.items():
        t = torch.tensor(value.transpose(0, 3, 1, 2).copy() if value.ndim == 4 else value)
        p[name] = (t.to(memory_format=form) if t.ndim == 4 else t).requires_grad_()
    optimizer = torch.optim.SGD(p.values(), lr=1e-9)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        value = loss(*forward(p, (images.float() / 255).contiguous(memory_format=form)), labels)
        value.backward()
        optimizer.step()
        return value.item()

    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "version":
            print(torch.__version__, flush=True)
        elif command == "gradients":
            value = step()
            grads = {k: t.grad.numpy() for k, t in p.items()}
            np.savez(argument, **{k: g.transpose(0, 2, 3, 1) if g.ndim == 4 else g for k, g in grads.items()})
            print(value, flush=True)
        elif command == "time":
            before = perf_counter()
            for _ in range(int(argument)):
                step()
            print((perf_counter() - before) / int(argument) * 1e3, flush=True)


if __name__ == "__main__":
    if torch is None:
        print("no PyTorch", flush=True)
    else:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
