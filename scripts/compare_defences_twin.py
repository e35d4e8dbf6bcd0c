"""PyTorch's side of scripts/compare_defences.py: the defences' formulas as functions, whose gradients autograd takes.

Written from the papers' formulas. Only the names of parameters and draws, and the order of a filter's axes, are
npsnn's. Random numbers are given, so that both sides compute one function. An image is (N, C, H, W).
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_side import NO_TORCH, answers, serve
from compare_defences_layers import Network

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None  # type: ignore[assignment]

Arrays = dict[str, Any]
FORMULAS: dict[str, Callable[..., Any]] = {}


def formula(f: Callable[..., Any]) -> Callable[..., Any]:
    """Enter f(network, arrays, **options) -> number, which is a sum over the images."""
    FORMULAS[f.__name__] = f
    return f


def surprise(z: Any, y: Any) -> Any:
    return functional.cross_entropy(z, y, reduction="sum")


def kl(z: Any, other: Any) -> Any:
    """KL(p || q) of the softmax of two rows of logits, (N,)."""
    p, q = torch.softmax(z, 1), torch.softmax(other, 1)
    return (p * (p.log() - q.log())).sum(1)


@formula
def moments(net: Network, a: Arrays) -> Any:
    """A linear function of the logits' mean and, where there is one, of their variance or covariance."""
    mean, var = net(a["x"])
    value = (mean * a["g"]).sum()
    return value + (var * a["h"]).sum() if "h" in a else value


@formula
def cross_entropy(net: Network, a: Arrays) -> Any:
    return surprise(net(a["x"])[0], a["labels"])


@formula
def soft_cross_entropy(net: Network, a: Arrays) -> Any:
    return -(a["t"] * torch.log_softmax(net(a["x"])[0], 1)).sum()


@formula
def attack_of_trades(net: Network, a: Arrays) -> Any:
    """What TRADES' attack ascends: the clean image's answer is held."""
    return kl(net(a["clean"])[0].detach(), net(a["x"])[0]).sum()


@formula
def trades(net: Network, a: Arrays, beta: float) -> Any:
    """Zhang et al. 2019, Eq. 5."""
    z, other = net(a["x"])[0], net(a["x_adv"], "attacked")[0]
    return surprise(z, a["labels"]) + beta * kl(z, other).sum()


@formula
def mart(net: Network, a: Arrays, weight: float, safeguards: bool) -> Any:
    """Wang et al. 2020, Eq. 11; with safeguards as in their code."""
    (z, other), y = (net(a["x"])[0], net(a["x_adv"], "attacked")[0]), a["labels"]
    above, tau, beyond = (1.0001, 1e-12, 1.0000001) if safeguards else (1.0, 0.0, 1.0)
    p, q = torch.softmax(z, 1), torch.softmax(other, 1)
    wrong = q.scatter(1, y[:, None], -1.0).argmax(1)
    boosted = surprise(other, y) - (above - q.gather(1, wrong[:, None])[:, 0] + tau).log().sum()
    apart = (p * (p.log() - (q + tau).log())).sum(1)
    return boosted + weight * (apart * (beyond - p.gather(1, y[:, None])[:, 0])).sum()


@formula
def clean_and_attacked(net: Network, a: Arrays, attacked: float) -> Any:
    """He et al. 2019, Eq. 6."""
    both = net(a["x"])[0], net(a["x_adv"], "attacked")[0]
    return (1 - attacked) * surprise(both[0], a["labels"]) + attacked * surprise(both[1], a["labels"])


@formula
def bpfc(net: Network, a: Arrays, bits: int, weight: float) -> Any:
    """Addepalli et al. 2020: the quantised image is made here, of the uniform numbers of its noise."""
    level = torch.round(255 * a["x"]) + (2 * a["own.quantised"] - 1) * 2.0 ** (bits - 2)
    coarse = (level - torch.remainder(level, 2**bits) + 2 ** (bits - 1)).clamp(0, 255) / 255
    z, other = net(a["x"])[0], net(coarse.detach(), "quantised")[0]
    return surprise(z, a["labels"]) + weight * ((z - other) ** 2).sum()


@formula
def rlflat(net: Network, a: Arrays, form: str, weight: float, beta: float) -> Any:
    """Song et al. 2020: the parts before and after a cut of each axis change places."""
    image = a["x_adv"]
    for axis, cut in zip((2, 3), a["cuts"], strict=True):
        image = torch.cat(image.tensor_split([int(cut)], axis)[::-1], axis)
    whole, shuffled = net(a["x_adv"], "attacked")[0], net(image, "shuffled")[0]
    agreement = weight * ((shuffled - whole) ** 2).sum()
    if form == "P":
        return surprise(shuffled, a["labels"]) + agreement
    z = net(a["x"])[0]
    return surprise(z, a["labels"]) + beta * kl(z, shuffled).sum() + agreement


@formula
def mixup(net: Network, a: Arrays) -> Any:
    """Zhang et al. 2018: images and one-hot labels mixed alike."""
    x, weight, partner = a["x"], a["weight"], a["partner"]
    hot = functional.one_hot(a["labels"], a["classes"]).to(x.dtype)
    image = weight[:, None, None, None] * x + (1 - weight)[:, None, None, None] * x[partner]
    t = weight[:, None] * hot + (1 - weight)[:, None] * hot[partner]
    return -(t * torch.log_softmax(net(image)[0], 1)).sum()


@formula
def pcl(net: Network, a: Arrays, form: str, pull: float, push: float) -> Any:
    """Mustafa et al. 2019: the paper's distances, or the code's squared ones to two sets of centres."""
    y, value = a["labels"], surprise(net(a["x"])[0], a["labels"])
    for name, f in net.features.items():
        for feature, label in zip(f, y.tolist(), strict=True):
            others = [j for j in range(a["classes"]) if j != label]
            if form == "code":
                near, far = net.params[f"{name}.near"], net.params[f"{name}.far"]
                away = sum(((feature - far[j]) ** 2).sum() for j in others) / len(others)
                value = value + pull * ((feature - near[label]) ** 2).sum() - push * away
                continue
            c = net.params[f"{name}.centres"]
            away = sum(torch.dist(feature, c[j]) + torch.dist(c[label], c[j]) for j in others) / len(others)
            value = value + pull * torch.dist(feature, c[label]) - push * away
    return value


@formula
def mean_probability(net: Network, a: Arrays, draws: list[str]) -> Any:
    """-ln of the label's mean probability over several draws."""
    p = sum(torch.softmax(net(a["x"], draw)[0], 1) for draw in draws) / len(draws)
    return functional.nll_loss(p.log(), a["labels"], reduction="sum")


@formula
def expected_probability(net: Network, a: Arrays) -> Any:
    """-ln E softmax(h)_y of h ~ N(mean, cov), E as the mean over given points.

    The derivative by the covariance is the integral's own, ½ ∇² by the mean of E softmax(h)_y (Price's theorem). It is
    not that of the sum over the points, whose root is held for it.
    """
    mean, cov = net(a["x"])
    size, axes = torch.linalg.eigh(cov.detach())
    root = axes @ torch.diag_embed(size.clamp(min=0).sqrt()) @ axes.transpose(1, 2)
    value = 0.0
    for m, c, r, y in zip(mean, cov, root, a["labels"].tolist(), strict=True):

        def p(m: Any, r: Any = r, y: int = y) -> Any:
            return torch.softmax(m + a["points"] @ r, 1)[:, y].mean()

        by_cov = -torch.autograd.functional.hessian(p, m.detach()) / 2 / p(m).detach()
        value = value - p(m).log() + (by_cov * (c - c.detach())).sum()
    return value


@formula
def root_reward(net: Network, a: Arrays, weight: float) -> Any:
    """Jeddi et al. 2020, Eq. 8, for the units of every noise layer."""
    return -weight * sum(p.sqrt().sum() for name, p in net.params.items() if name.endswith(".sigma"))


@formula
def kl_divergence(net: Network, a: Arrays, weight: float, prior: float, layers: list[str]) -> Any:
    """Liu et al. 2019: between normal distributions, by PyTorch's own formula."""
    normal, value = torch.distributions.Normal, 0.0
    for layer in layers:
        for mean, log_std in ((f"{layer}.w", f"{layer}.rho"), (f"{layer}.b", f"{layer}.rho_b")):
            q = normal(net.params[mean], net.params[log_std].exp())
            p = normal(torch.zeros_like(q.mean), torch.full_like(q.mean, prior))
            value = value + weight * torch.distributions.kl_divergence(q, p).sum()
    return value


def given(arrays: dict[str, np.ndarray]) -> Arrays:
    """The arrays as tensors; parameters and images are the leaves of the graph."""
    found: Arrays = {k: torch.tensor(a) for k, a in arrays.items()}
    for name, tensor in found.items():
        if name == "x" or name.startswith("p."):
            tensor.requires_grad_()
    return found


def compute(task: str) -> str:
    """The value of what the JSON `task` names, and the gradients that it wants; they go to its file `answer`."""
    told = json.loads(task)
    with np.load(told["given"]) as file:
        a = given(dict(file))
    params = {k.removeprefix("p."): t for k, t in a.items() if k.startswith("p.")}
    draws = {k.removeprefix("d."): t for k, t in a.items() if k.startswith("d.")}
    net = Network(told["layers"], params, draws, told["noise"], told["scale"])
    value = FORMULAS[told["formula"]](net, a | {"classes": told["classes"]}, **told["options"])
    value.backward()
    found = {"value": value.detach().numpy()}
    for name in told["wanted"]:
        if name != "value":
            leaf = a[name]
            found[name] = (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).numpy()
    np.savez(told["answer"], **found)
    return "done"


def version(_: str) -> str:
    return NO_TORCH if torch is None else torch.__version__


if __name__ == "__main__":
    import sys

    serve({"version": version, "compute": compute}, sys.stdin, answers())
