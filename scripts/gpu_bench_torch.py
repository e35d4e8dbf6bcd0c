"""PyTorch's side of scripts/gpu_bench.py: CASE LAYOUT FILE DEVICE TF32; starts from FILE, then obeys its input.

The twins are those of scripts/bench.py, in eager mode; as in npsnn, each step moves its 8-bit images to the GPU.
"""

import json
import sys

import numpy as np
from bench_cases import Case
from bench_side import NO_TORCH, answer, milliseconds
from bench_torch import loss, network

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]


def main(case: Case, layout: str, start: str, device: str, tf32: bool) -> None:
    torch.set_default_device(device)  # of the twin's tensors
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    with np.load(start) as file:
        arrays = dict(file)
    host = torch.from_numpy(arrays.pop("images")), torch.from_numpy(arrays.pop("labels"))
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    p, logits = network(case, arrays, form)
    optimizer = torch.optim.SGD(p.values(), lr=1e-9)

    def step() -> float:
        images, labels = (t.to(device) for t in host)
        optimizer.zero_grad(set_to_none=True)
        value = loss(*logits((images.float() / 255).contiguous(memory_format=form)), labels).mean()
        value.backward()
        optimizer.step()
        return float(value.item())  # which waits for the whole step

    def gradients(path: str) -> float:
        value = step()
        found = {k: t.grad.cpu().numpy() for k, t in p.items()}
        np.savez(path, **{k: g.transpose(0, 2, 3, 1) if g.ndim == 4 else g for k, g in found.items()})
        return value

    version = f"{torch.__version__} with CUDA {torch.version.cuda}"
    timed = {"time": lambda seconds: milliseconds(step, float(seconds))}
    answer({"version": lambda _: version, "gradients": gradients} | timed)


if __name__ == "__main__":
    if torch is None:
        print(NO_TORCH, flush=True)
    else:
        main(Case(**json.loads(sys.argv[1])), *sys.argv[2:5], tf32=sys.argv[5] == "1")
