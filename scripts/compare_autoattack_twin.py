"""The reference's side of scripts/compare_autoattack.py: AutoAttack by its authors, on a PyTorch twin of the network.

The twin is built of PyTorch's own layers from npsnn's description of the network, with npsnn's parameters. A noise
layer of the twin draws anew at every pass, or adds nothing.
"""

import json
from time import perf_counter
from typing import Any

import numpy as np
from bench_side import NO_TORCH, answers, serve

try:
    import torch
    from autoattack import AutoAttack
    from torch import nn
except ImportError:
    torch = None  # type: ignore[assignment]

NO_REFERENCE = NO_TORCH + " or no autoattack"
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def layer(spec: dict[str, Any], params: dict[str, np.ndarray], noisy: bool) -> Any:
    """One layer of the twin; KeyError for a type that has none."""
    kind, given = spec["type"], {k: torch.tensor(a) for k, a in params.items()}
    if kind == "Conv2d":
        w = given["w"].permute(0, 3, 1, 2).contiguous()
        return lambda x: nn.functional.conv2d(x, w, given.get("b"), spec["stride"], spec["padding"])
    if kind in ("PreactivationNoise", "FeatureNoise"):
        return noise(given) if noisy else nn.Identity()
    return {
        "Linear": lambda: lambda x: nn.functional.linear(x, given["w"], given.get("b")),
        "MaxPool": lambda: lambda x: nn.functional.max_pool2d(x, spec["size"]),
        "ReLU": lambda: nn.functional.relu,
        "Flatten": lambda: lambda x: x.flatten(1),
    }[kind]()


def noise(given: dict[str, Any]) -> Any:
    """Noise of one standard deviation on every unit, or correlated noise on features by a matrix or a diagonal L."""
    if "sigma" in given:
        return lambda x: x + given["sigma"] * torch.randn_like(x)
    L = given["L"]
    return lambda x: x + (torch.randn_like(x) @ L.T if L.ndim == 2 else torch.randn_like(x) * L)


class Twin(nn.Module if torch is not None else object):  # type: ignore[misc]
    """Logits of images (N, C, H, W)."""

    def __init__(self, layers: list[dict[str, Any]], arrays: dict[str, np.ndarray], noisy: bool) -> None:
        super().__init__()
        own = [{k.rpartition(".")[2]: a for k, a in arrays.items() if k.startswith(f"{s['name']}.")} for s in layers]
        self.layers = [layer(spec, params, noisy) for spec, params in zip(layers, own, strict=True)]

    def forward(self, x: Any) -> Any:
        for one in self.layers:
            x = one(x)
        return x


def attack(task: str) -> dict[str, Any]:
    """Run what the JSON `task` says on the images of its file `given`.

    The images found go to its file `answer`, with the twin's logits of the clean images without noise. Returns the
    seconds, and the accuracy that the reference itself reports.
    """
    told = json.loads(task)
    torch.set_num_threads(told["threads"])
    with np.load(told["given"]) as file:
        arrays = dict(file)
    x, labels = torch.tensor(arrays.pop("x")), torch.tensor(arrays.pop("labels").astype(np.int64))
    twin = Twin(told["layers"], arrays, told["noisy"]).eval()
    with torch.no_grad():
        logits = Twin(told["layers"], arrays, noisy=False)(x).numpy()
    said: list[str] = []
    reference = AutoAttack(
        twin, NORMS[told["norm"]], told["eps"], told["seed"], False, version=told["version"], device="cpu"
    )
    reference.verbose, reference.logger.log = True, said.append
    if told["members"]:
        reference.attacks_to_run = told["members"]  # with the budgets that the version has set
    start = perf_counter()
    found, answers = reference.run_standard_evaluation(x, labels, told["batch"], return_labels=True)
    seconds = perf_counter() - start
    np.savez(told["answer"], x_adv=found.numpy(), answers=answers.numpy(), logits=logits)
    return {"seconds": seconds, "reported": float((answers == labels).float().mean()), "said": said}


def version(_: str) -> str:
    return NO_REFERENCE if torch is None else torch.__version__


if __name__ == "__main__":
    import sys

    serve({"version": version, "attack": attack}, sys.stdin, answers())
