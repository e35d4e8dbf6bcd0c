"""PyTorch's side of the benchmarks on a CPU: JOB, a bench_cases.Job as JSON; then it obeys its input.

The same steps as npsnn's from its parameters and batch, in eager mode: 8-bit images to [0, 1], pooling before ReLU,
plain SGD; with noise after the first convolution the Laplace rule, the winner's variance, the covariance of the logits
and the noise-aware loss.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_cases import Case, Job
from bench_side import NO_TORCH, answer, milliseconds, peak_memory
from compare_torch_twin import built, parameter

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None  # type: ignore[assignment]

CONVOLUTIONS = {"lenet5": ((2, True), (0, True), (0, False)), "cnn5": ((1, True),) * 5}
"""Of the noise paper's networks: the padding of each, and whether pooling follows."""
Logits = Callable[[Any], tuple[Any, Any]]


def relu(m: Any, v: Any) -> tuple[Any, Any]:
    """In place, which what is below, a convolution, a pooling or a linear layer, does not mind."""
    v = None if v is None else v * (m >= -3 * v.detach().sqrt())
    return functional.relu_(m), v


def pool_relu(m: Any, v: Any) -> tuple[Any, Any]:
    if v is None:
        return relu(functional.max_pool2d(m, 2), None)
    pooled, winner = functional.max_pool2d(m, 2, return_indices=True)
    v = v.flatten(2).gather(2, winner.flatten(2)).view_as(pooled)
    return relu(pooled, v)


def forward(model: str, noisy: bool, p: dict[str, Any], x: Any) -> tuple[Any, Any]:
    """Mean (N, classes) and covariance (N, classes, classes) of the logits; None for that of a plain network."""
    m, v = x, None
    for i, (padding, pooled) in enumerate(CONVOLUTIONS[model], start=1):
        w, b = p[f"conv{i}.w"], p[f"conv{i}.b"]
        m = functional.conv2d(m, w, b, padding=padding)
        if noisy and i == 1:
            v = (p["noise.sigma"] ** 2).expand_as(m)
        elif noisy:
            v = functional.conv2d(v, w**2, padding=padding)
        m, v = (pool_relu if pooled else relu)(m, v)
    m, v = m.flatten(1), v.flatten(1) if noisy else None
    for name in ("fc1", "fc2"):
        w = p[name + ".w"]
        m, v = relu(functional.linear(m, w, p[name + ".b"]), functional.linear(v, w**2) if noisy else None)
    w = p["fc3.w"]
    m = functional.linear(m, w, p["fc3.b"])
    if not noisy:
        return m, None
    pairs = (w[:, None] * w).flatten(0, 1)
    return m, functional.linear(v, pairs).unflatten(1, (len(w), len(w)))


def loss(mean: Any, cov: Any, labels: Any) -> Any:
    """Each example's cross-entropy, or with a covariance its noise-aware loss."""
    if cov is None:
        return functional.cross_entropy(mean, labels, reduction="none")
    classes = mean.shape[1]
    hot = functional.one_hot(labels, classes).to(mean.dtype)
    diagonal = cov.diagonal(dim1=1, dim2=2)
    with_k = cov.gather(2, labels[:, None, None].expand(-1, classes, 1))[..., 0]
    s = diagonal + diagonal.gather(1, labels[:, None]) - 2 * with_k
    s = torch.where(hot > 0, 1, s)
    won = 0.5 * (1 + torch.erf((mean.gather(1, labels[:, None]) - mean) / torch.sqrt(2 * s)))
    return ((mean - hot) ** 2).mean(1) - (won * (1 - hot)).sum(1) / (classes - 1)


def network(case: Case, arrays: dict[str, np.ndarray], form: Any) -> tuple[dict[str, Any], Logits]:
    """The parameters by npsnn's names, in the memory layout `form`, and what makes moments of logits of images."""
    noise = [k for k in arrays if k.startswith("noise.")]
    arrays = {k: a for k, a in arrays.items() if case.sigma or k not in noise}
    if case.model not in CONVOLUTIONS:
        net, logits = built(case.model, (case.shape[-1], case.classes, case.shape[0]), arrays)
        net = net.train().to(memory_format=form)
        return {k: parameter(net, k) for k in arrays if "running" not in k}, lambda x: (logits(net, x), None)
    p = {}
    for name, value in arrays.items():
        t = torch.tensor(value.transpose(0, 3, 1, 2).copy() if value.ndim == 4 else value)
        p[name] = (t.to(memory_format=form) if t.ndim == 4 else t).requires_grad_()
    return p, lambda x: forward(case.model, case.sigma > 0, p, x)


def main(job: Job) -> None:
    torch.set_num_threads(job.threads)
    with np.load(str(job.start)) as file:
        arrays = dict(file)
    host = torch.from_numpy(arrays.pop("images")), torch.from_numpy(arrays.pop("labels"))
    form = torch.channels_last if job.layout == "channels_last" else torch.contiguous_format
    p, logits = network(job.case, arrays, form)
    optimizer = torch.optim.SGD(p.values(), lr=1e-9)

    def train() -> float:
        images, labels = host
        optimizer.zero_grad(set_to_none=True)
        value = loss(*logits((images.float() / 255).contiguous(memory_format=form)), labels).mean()
        value.backward()
        optimizer.step()
        return float(value.item())

    x = (host[0].float() / 255).contiguous(memory_format=form)

    def attack() -> float:
        x.grad = None
        value = loss(*logits(x), host[1]).sum()
        value.backward()
        return float(value.item())

    if job.case.attack:
        for t in p.values():
            t.requires_grad_(False)
        x.requires_grad_()
    step, wanted = (attack, {"x": x}) if job.case.attack else (train, p)

    def gradients(path: str) -> float:
        value = step()
        found = {k: t.grad.numpy() for k, t in wanted.items()}
        images_first = {k: g.transpose(0, 2, 3, 1) if g.ndim == 4 and k != "x" else g for k, g in found.items()}
        np.savez(path, **images_first)
        return value

    commands = {
        "version": lambda _: torch.__version__,
        "gradients": gradients,
        "time": lambda seconds: milliseconds(step, float(seconds)),
        "memory": lambda _: peak_memory(),
    }
    answer(commands)


if __name__ == "__main__":
    if torch is None:
        print(NO_TORCH, flush=True)
    else:
        main(Job.from_json(sys.argv[1]))
