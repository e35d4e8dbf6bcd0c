"""What a part of a batch brings in a training step, recorded from the trainer itself."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import checkout  # noqa: F401
import numpy as np

from npsnn import models
from npsnn.data import Split
from npsnn.layers.params import Role
from npsnn.train import CrossEntropy, Training
from npsnn.train.epochs import Trainer
from npsnn.train.losses import Total
from npsnn.train.replicas import BROUGHT, DONE, NONE
from npsnn.train.results import Form, told
from npsnn.workers.exchange import letter

TRAININGS: dict[str, Callable[[], Training]] = {
    "lenet5": lambda: Training(models.lenet5(sigma=0.6), trains=Role.ALL),
    "cnn5": lambda: Training(models.cnn5(sigma=0.6), trains=Role.ALL),
    "resnet18": lambda: Training(models.resnet18((3, 32, 32), sigma=0.0), CrossEntropy(), trains=Role.ALL),
}
"""Those that docs/performance.md times: noise-aware LeNet-5 and CNN5, plain ResNet-18."""


def batch(training: Training, examples: int) -> Split:
    """Random images and labels of a training's model."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, training.model.classes, examples)
    return Split(rng.integers(0, 256, (examples, *training.model.shape), np.uint8), labels)


@dataclass
class Content:
    """What one part of a batch makes in a step. It is recorded by the workers of a `Trainer`, which this is.

    statistics: names of the running averages.
    result: the loss of a part and its gradients.
    brought: what a part brings to each meeting.
    """

    threads: int = 1
    ranks: int = 1
    statistics: frozenset[str] = frozenset()
    result: Any = None
    brought: list[np.ndarray] = field(default_factory=list)

    @staticmethod
    def of(training: Training) -> "Content":
        """The content of a step. No array of it depends on the number of images: two are enough."""
        found, data = Content(), batch(training, 2)
        trainer = Trainer(training, data, data, found, "cpu")
        found.statistics = trainer.statistics
        trainer.gradient(trainer.initial().params, np.arange(2))
        return found

    def reduce(self, f: Any, arguments: Any, jobs: int, combine: Any) -> None:
        self.result = f(*arguments(0))
        combine(Total(self.result.loss, self.result.correct, dict(self.result.grads)))

    def together(self, f: Any, arguments: Any, parts: int) -> list[Any]:
        def total(x: Any) -> Any:
            self.brought.append(np.array(x))
            return x

        self.result = f(*arguments(0), total)
        return [Total(self.result.loss, self.result.correct, dict(self.result.grads))]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @cached_property
    def sizes(self) -> dict[np.dtype[Any], int]:
        """The number of gradients that are added up, by their dtype."""
        found = dict[np.dtype[Any], int]()
        for form in (Form.of(k, g) for k, g in self.result.grads.items() if k not in self.statistics):
            kind = np.dtype(form.dtype)
            found[kind] = found.get(kind, 0) + form.size
        return found

    @property
    def bytes(self) -> int:
        """The bytes of all gradients of a part: P."""
        return sum(size * kind.itemsize for kind, size in self.sizes.items())

    def written(self, parts: int, rank: int) -> list[np.ndarray]:
        """What a rank with so many parts says in each meeting of a step; the last one ends the step."""
        if self.brought and not parts:
            return [letter((NONE, None))] * (len(self.brought) + 1)
        t = self.result
        mine = [Total(np.array(t.loss), np.array(t.correct), t.grads) for _ in range(parts)]
        said = [letter((BROUGHT, [x.copy() for _ in range(parts)])) for x in self.brought]
        return [*said, letter((DONE, told(mine, self.statistics, rank)))]

    def letters(self, parts: int, rank: int) -> list[int]:
        """The bytes of `written`; arrays of one form are written once."""
        forms = [(x.shape, x.dtype) for x in self.brought]
        of_each_form = replace(self, brought=list(dict(zip(forms, self.brought, strict=True)).values()))
        *met, done = map(len, of_each_form.written(parts, rank))
        size = dict(zip(dict.fromkeys(forms), met, strict=True))
        return [*(size[form] for form in forms), done]
