"""PyTorch's side of what is timed on a GPU: DEVICE; then it obeys its input, one job after the other.

The same steps as npsnn's: another batch each time from the host's memory, the loss back to the host. In eager mode, and
recorded once as a CUDA graph; both in both memory layouts.
"""

import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_cases import Case, Job
from bench_side import NO_TORCH, answers, milliseconds, peak_memory, reset_peak_memory, serve
from bench_torch import loss, network

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

LR = 1e-9
WARM = 3
"""Steps before a graph is recorded, as PyTorch's manual has it."""


class Twin:
    """A network of PyTorch's and its steps, in one memory layout."""

    def __init__(self, case: Case, arrays: dict[str, np.ndarray], layout: str, device: str) -> None:
        self.form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        with torch.device(device):  # of what is built, not of a step: there it would cost something at each call
            self.params, self.logits = network(case, arrays, self.form)
        self.optimizer = torch.optim.SGD(self.params.values(), lr=LR)
        self.device = device

    def body(self, images: Any, labels: Any) -> Any:
        """Forward, backward and update; the loss stays on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        value = loss(*self.logits((images.float() / 255).contiguous(memory_format=self.form)), labels).mean()
        value.backward()
        self.optimizer.step()
        return value

    def eager(self, images: Any, labels: Any) -> float:
        return float(self.body(images.to(self.device), labels.to(self.device)).item())

    def recorded(self, images: Any, labels: Any) -> Callable[[Any, Any], float]:
        """The step as a CUDA graph, recorded on this batch."""
        given = images.to(self.device), labels.to(self.device)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self.body(*given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            value = self.body(*given)

        def step(images: Any, labels: Any) -> float:
            for own, new in zip(given, (images, labels), strict=True):
                own.copy_(new)
            graph.replay()
            return float(value.item())

        return step


class Server:
    """What the commands do; `use` makes the job whose steps the others take."""

    def __init__(self, device: str) -> None:
        self.device = device
        if ":" in device:
            torch.cuda.set_device(device)
        self.steps: dict[str, Callable[[Any, Any], float]] = {}
        self.twins: dict[str, Twin] = {}
        self.batches: list[tuple[Any, Any]] = []
        self.done = 0

    def use(self, text: str) -> dict[str, Any]:
        """A job from JSON, whose file has the start: all its steps, warmed up; of a graph that failed, why."""
        self.steps.clear()
        self.twins.clear()
        self._empty()
        reset_peak_memory()
        job = Job.from_json(text)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job.tf32
        with np.load(str(job.start)) as file:
            arrays = dict(file)
        self.images, self.labels, self.rows = (arrays.pop(k) for k in ("images", "labels", "rows"))
        memory, failed, losses = {}, {}, {}
        for layout in ("nchw", "channels_last"):
            before = self._allocated()
            twin = self.twins[layout] = Twin(job.case, arrays, layout, self.device)
            for mode in ("eager", "graph") if self.device != "cpu" else ("eager",):
                try:
                    self.steps[f"{mode} {layout}"] = twin.eager if mode == "eager" else twin.recorded(*self._batch(0))
                    losses[f"{mode} {layout}"] = self._warmed(f"{mode} {layout}")
                except RuntimeError as error:
                    failed[f"{mode} {layout}"] = str(error)[:300]
                memory[f"{mode} {layout}"] = self._peak() - before
        versions = {"version": f"{torch.__version__} with CUDA {torch.version.cuda}", "failed_graphs": failed}
        return versions | {"steps": [*self.steps], "losses": losses, "memory": memory, "host": peak_memory()}

    def _batch(self, number: int) -> tuple[Any, Any]:
        """A batch in the host's memory, taken out of the images as a training takes it."""
        rows = self.rows[number % len(self.rows)]
        return torch.from_numpy(self.images[rows]), torch.from_numpy(self.labels[rows])

    def _step(self, name: str) -> float:
        self.done += 1
        return self.steps[name](*self._batch(self.done - 1))

    def _warmed(self, name: str) -> list[float]:
        self.done = 0
        return [self._step(name) for _ in range(WARM)]

    def _allocated(self) -> int:
        return 0 if self.device == "cpu" else int(torch.cuda.memory_allocated())

    def _peak(self) -> int:
        """The most that PyTorch's tensors took since this was asked last."""
        if self.device == "cpu":
            return 0
        most = int(torch.cuda.max_memory_allocated())
        torch.cuda.reset_peak_memory_stats()
        return most

    def _empty(self) -> None:
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def gradients(self, arguments: str) -> float:
        """LAYOUT PATH: the loss of the first batch; the gradients are in the file."""
        layout, path = arguments.split()
        twin = self.twins[layout]
        value = twin.eager(*self._batch(0))
        found = {k: t.grad.cpu().numpy() for k, t in twin.params.items()}
        np.savez(path, **{k: g.transpose(0, 2, 3, 1) if g.ndim == 4 else g for k, g in found.items()})
        return value

    def time(self, arguments: str) -> float:
        """MODE LAYOUT SECONDS: the mean milliseconds of a step."""
        name, _, seconds = arguments.rpartition(" ")
        return milliseconds(lambda: self._step(name), float(seconds))

    def profile(self, arguments: str) -> dict[str, Any]:
        """MODE LAYOUT STEPS: kernels of a step, by CUDA's trace."""
        from gpu_profile import traced

        name, _, steps = arguments.rpartition(" ")
        return traced(lambda: self._step(name), int(steps))


def main(device: str) -> None:
    with answers() as out:
        if torch is None:
            serve({"job": lambda _: NO_TORCH}, sys.stdin, out)
            return
        server = Server(device)
        commands: dict[str, Callable[[str], object]] = {
            "job": server.use,
            "gradients": server.gradients,
            "time": server.time,
            "profile": server.profile,
        }
        serve(commands, sys.stdin, out)


if __name__ == "__main__":
    main("cpu" if sys.argv[1] == "cpu-double" else sys.argv[1])
