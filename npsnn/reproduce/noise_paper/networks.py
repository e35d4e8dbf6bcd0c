"""The networks of the noise paper's experiments: what trains each, so that experiments share what they have in common.

A row of a grid is a function of a setting and a seed. Two rows of one name and one setting are one job.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from npsnn.reproduce.jobs import Train
from npsnn.reproduce.scales import NOISE_PAPER, Scale, Setting
from npsnn.train.config import Config

Row: TypeAlias = Callable[[Setting, int], Train]
"""How the network of a row is trained, from a setting and a seed."""

OFF = {"sigma": 0.0}
"""The judging of the expectation network: trained with noise, judged without (Sec. 2)."""
SIGMAS = (0.3, 0.6, 1.0, 3.0)
"""Levels of the training noise; the paper's text has none."""
UNIT_SIGMAS = (0.6, 3.0)
"""Levels of the training noise where each first filter is held at an L1 norm of 1."""
SEEDS = 3
"""The most seeds of a training."""


def trained(scale: Scale, data: str, rows: Mapping[str, Row]) -> Iterator[tuple[tuple[str, int], Train]]:
    """The training of each row and seed at a scale; none where nothing stands for the data.

    data: the paper's name of the data set.
    """
    if (setting := scale.on(NOISE_PAPER, data)) is not None:
        for name, of in rows.items():
            for seed in range(min(SEEDS, scale.seeds)):
                yield (name, seed), of(setting, seed)


def row(name: str, **options: Any) -> Row:
    """The row whose network is trained by these options of `Config`, beside those of the setting."""

    def train(setting: Setting, seed: int) -> Train:
        own: dict[str, Any] = {k: getattr(setting, k) for k in ("dataset", "model", "epochs", "limit", "batch_size")}
        if setting.lr is not None:
            own["lr"] = setting.lr
        return Train(name, Config(**own | options, seed=seed))

    return train


def longer(by: int, of: Row) -> Row:
    """The row with so many times the epochs."""

    def train(setting: Setting, seed: int) -> Train:
        found = of(replace(setting, epochs=by * setting.epochs), seed)
        return replace(found, name=f"{found.name}-{by}x")

    return train


def noise_aware(sigma: float, norm: str = "none", propagation: str = "laplace") -> Row:
    """The noise-aware loss (Eq. 7) under noise of that size.

    sigma: standard deviation, in the unit of the first pre-activation of images in [0, 1].
    norm: norm in which each first filter is held at 1, "none" for free filters, as the paper has them.
    propagation: how the noise is carried; laplace is the paper's Eq. 6.
    """
    name = "-".join([f"sigma-{sigma:g}"] + [w for w in (norm, propagation) if w not in ("none", "laplace")])
    return row(name, sigma=sigma, first_layer_norm=norm, propagation=propagation)


def sampled(sigma: float, norm: str = "none") -> Row:
    """The cross-entropy under sampled noise of that size: what the closed form is to be better than."""
    name = f"sampled-{sigma:g}" + ("" if norm == "none" else f"-{norm}")
    return row(name, sigma=sigma, first_layer_norm=norm, propagation="sampled", loss="cross-entropy")


def without_noise(norm: str, loss: str = "mse") -> Row:
    """Filters of the first layer held at a norm of 1, and no noise: what the norm does by itself.

    norm: as for `noise_aware`.
    loss: "mse", as the noise-aware loss has it, or "cross-entropy".
    """
    return row(f"{loss}-{norm}", sigma=0.0, first_layer_norm=norm, loss=loss)


def attacked(eps: float, mix: float = 1.0) -> Row:
    """Adversarial training by ten steps of eps/10 from the image itself, within eps in Linf (after Madry et al. 2018).

    mix: part of the images that is attacked.
    """
    options = {"noise": "none", "loss": "cross-entropy", "adversarial": "pgd"}
    return row(f"attacked-{eps:.3g}", **options, adversarial_eps=eps, adversarial_mix=mix)


def learned(start: float, norm: str = "none", reward: float = 0.0, **options: Any) -> Row:
    """The noise-aware loss by weights and sigma (Eq. 8).

    start: sigma_0.
    norm: as for `noise_aware`.
    reward: alpha of the reward -alpha sigma² (Sec. 7).
    options: other options of `Config`.
    """
    extra = [f"{reward:g}"] if reward else []
    name = "-".join([f"learned-{start:g}", *extra, *(w for w in (norm,) if w != "none"), *map(str, options.values())])
    return row(name, sigma=start, learn_sigma=True, first_layer_norm=norm, sigma_reward=reward, **options)


baseline = row("baseline", noise="none", loss="cross-entropy")
"""The network without noise."""
squared_error = row("squared-error", noise="none", loss="mse")
"""The noise-aware loss without its noise: what the squared error does by itself."""
noise_unseen = row("noise-unseen", sigma=0.6, loss="cross-entropy")
"""A network of the baseline's loss that has a place for noise, and sees none in training."""


def noisy_rows() -> dict[str, Row]:
    """The noise-aware networks by what the figures call them, as the paper has them."""
    return {f"sigma {sigma:g}": noise_aware(sigma) for sigma in SIGMAS}
