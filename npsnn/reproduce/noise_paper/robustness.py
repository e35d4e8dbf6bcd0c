"""Figures 4 and 5 of the noise paper: PGD over eps on the expectation network, for levels of the training noise."""

from collections.abc import Callable, Iterator, Mapping

from npsnn.attacks import APGD, PGD
from npsnn.attacks.sources import Expectation
from npsnn.reproduce.experiments import Column, Grid, enter
from npsnn.reproduce.jobs import Train
from npsnn.reproduce.rules import rises
from npsnn.reproduce.scales import NOISE_PAPER, Scale, Setting
from npsnn.train.config import Config

EPS = {"mnist": (0.05, 0.1, 0.2, 0.3), "cifar10": (2 / 255, 4 / 255, 8 / 255)}
SIGMAS = (0.3, 0.6, 1.0, 3.0)
"""Levels of the training noise; the paper's are in its figure alone."""
OFF = {"sigma": 0.0}
"""The expectation network: trained with noise, judged without (Sec. 2)."""


def options(setting: Setting, seed: int) -> dict[str, object]:
    """The options of a training that do not depend on the noise."""
    return {
        "dataset": setting.dataset,
        "model": setting.model,
        "epochs": setting.epochs,
        "limit": setting.limit,
        "batch_size": setting.batch_size,
        "seed": seed,
    }


def baseline(setting: Setting, seed: int) -> Train:
    """The network without noise."""
    return Train("baseline", Config(noise="none", loss="cross-entropy", **options(setting, seed)))  # type: ignore[arg-type]


def noise_aware(sigma: float) -> Callable[[Setting, int], Train]:
    """The network trained by the noise-aware loss (Eq. 7) under noise of that size."""

    def train(setting: Setting, seed: int) -> Train:
        return Train(f"sigma-{sigma:g}", Config(sigma=sigma, **options(setting, seed)))  # type: ignore[arg-type]

    return train


def rows() -> Mapping[str, Callable[[Setting, int], Train]]:
    """The networks by what the figures call them."""
    return {"baseline": baseline} | {f"sigma {sigma:g}": noise_aware(sigma) for sigma in SIGMAS}


def _columns(data: str) -> Callable[[Scale], Iterator[Column]]:
    def columns(scale: Scale) -> Iterator[Column]:
        yield Column("clean", None, OFF, 0.0)
        for eps in EPS[data]:
            yield Column(f"PGD {eps:.3g}", PGD(eps, steps=scale.steps, source=Expectation()), OFF, eps)
            yield Column(f"APGD {eps:.3g}", APGD(eps, steps=scale.steps, source=Expectation()), OFF)

    return columns


def _grid(figure: int, data: str, name: str, claim: str) -> Grid:
    middle = f"APGD {EPS[data][1]:.3g}"
    return Grid(
        name=f"noise-figure-{figure}",
        paper=NOISE_PAPER,
        shows=f"Fig. {figure}",
        title=f"Robustness of the expectation network to PGD, {name}",
        data=data,
        rows=rows(),
        columns=_columns(data),
        decides={claim: lambda panels: rises(panels["grid"], [(row, middle) for row in rows()])},
        axis="eps",
    )


enter(_grid(4, "mnist", "MNIST", "noise-robust-mnist"), _grid(5, "cifar10", "CIFAR-10", "noise-robust-cifar10"))
