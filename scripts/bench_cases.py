"""The steps that the benchmarks time; both sides of a comparison read them."""

import json
from dataclasses import asdict, dataclass

IMAGES = {"lenet5": (1, 28, 28), "cnn5": (3, 32, 32), "lenetpp": (1, 28, 28), "resnet18": (3, 32, 32)}
SIGMA = 0.6
"""The noise of the noise-aware and exact steps, on the first pre-activation."""


@dataclass(frozen=True)
class Case:
    """One step of a model.

    step: "plain", cross-entropy without noise; "noise-aware", the noise-aware loss of moments by the Laplace rule with
    the covariance of the logits; "exact", the same by the exact rule; "sampled", cross-entropy under draws.
    attack: the gradient of the image alone, instead of a training step (forward, backward, update).
    size, classes, width: pixels along an edge (None: the model's own), logits, factor of all channels and features.
    draws: of the noise, for one gradient of a sampled step.
    """

    model: str
    step: str = "plain"
    attack: bool = False
    size: int | None = None
    classes: int = 10
    width: int = 1
    draws: int = 1

    @property
    def name(self) -> str:
        return f"{self.model}-{self.step}{'-attack' if self.attack else ''}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image, (C, H, W)."""
        channels, height, width = IMAGES[self.model]
        return channels, self.size or height, self.size or width

    @property
    def sigma(self) -> float:
        return 0.0 if self.step == "plain" else SIGMA


def _cases() -> tuple[Case, ...]:
    plain = tuple(Case(model) for model in IMAGES)
    noisy = Case("lenet5", "noise-aware"), Case("cnn5", "noise-aware"), Case("lenet5", "exact")
    return *plain, *noisy, Case("lenet5", attack=True), Case("lenet5", "noise-aware", attack=True)


CASES = {case.name: case for case in _cases()}
ON_A_GPU = tuple(Case(*names) for names in (
    ("lenet5", "plain"), ("lenet5", "noise-aware"), ("lenet5", "exact"), ("cnn5", "plain"), ("cnn5", "noise-aware"),
    ("lenetpp", "plain"), ("resnet18", "plain"),
))  # fmt: skip
"""The training steps that are timed on a GPU; the exact one beside PyTorch's noise-aware one."""
GRAPH_GOAL = 1.2


def goals(case: Case, tf32: bool) -> tuple[float, float | None]:
    """The most that a step on a GPU may take, in times of PyTorch's in eager mode and in a graph; None for no goal."""
    noisy = case.step != "plain"
    if case.step == "exact":
        return 0.4, None
    with_tf32 = {"cnn5": 0.25, "lenetpp": 0.6, "resnet18": 1.0}
    eager = {"lenet5": 0.25, "cnn5": 0.4, "lenetpp": 0.9, "resnet18": 0.9} | (with_tf32 if tf32 else {})
    return eager[case.model], GRAPH_GOAL if noisy else None


@dataclass(frozen=True)
class Job:
    """What a side is started for: one step of a batch on a device.

    start: the file of parameters and batch, which npsnn's side writes and the others read; layout: PyTorch's, nchw or
    channels_last; tf32: whether a GPU's products may round to TF32; batches: how many batches the file has, which a
    GPU's steps take by turns.
    """

    case: Case
    batch_size: int
    threads: int = 1
    start: str | None = None
    device: str = "cpu"
    tf32: bool = False
    layout: str = "nchw"
    batches: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Job":
        found = json.loads(text)
        return Job(Case(**found.pop("case")), **found)
