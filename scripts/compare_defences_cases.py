"""The cases of scripts/compare_defences.py: each defence's loss, noise, terms and answers on a small network."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from compare_defences_npsnn import (
    CLASSES,
    CONVOLUTION,
    EXAMPLES,
    Arrays,
    Case,
    Recorder,
    Watched,
    batch_first,
    images,
    of_image,
    of_loss,
    of_pass,
    of_term,
    small,
    started,
)

from npsnn.attacks.inner import Apart, Inner
from npsnn.backend import Array
from npsnn.layers import BatchNorm, Conv2d, Dropout, Linear, NoisyConv2d, NoisyLinear, PreactivationNoise
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.models import with_centres, with_mixing
from npsnn.objectives import OBJECTIVES, cross_entropy, sobol_normal
from npsnn.ops.loss import soft_cross_entropy
from npsnn.train import KLDivergence, RootReward, losses
from npsnn.train.losses.mixup import partners

TREATMENTS = ("sampled", "propagated")
NOISE = ("noise", PreactivationNoise(0.3))
NORMALISED = (("bn", BatchNorm()), NOISE, ("dense_dropout", Dropout(0.3)))
"""Layers that make an answer depend on the batch and on every draw."""
UNBIASED = Conv2d(3, 3, padding=1, bias=False)
"""A convolution before batch statistics, which would cancel its bias."""


def attack(labels: str = "true") -> Watched:
    return Watched(Inner(0.1, steps=2, step_size=0.06, start="gauss", labels=labels))


def trainings() -> Iterator[tuple[str, str, Any, Any, dict[str, Any]]]:
    """For each loss its title, the twin's formula, the loss, what the twin is given besides, and the twin's options."""
    trades = losses.TRADES(6.0, attack("soft"))
    yield "TRADES", "trades", trades, None, {"beta": 6.0}
    for form, safeguards in (("paper", False), ("code", True)):
        mart = losses.MART(5.0, attack(), safeguards)
        yield f"MART, {form}", "mart", mart, None, {"weight": 5.0, "safeguards": safeguards}
    both = losses.CleanAndAttacked(attack("predicted"), 0.4)
    yield "clean and attacked", "clean_and_attacked", both, None, {"attacked": 0.4}
    yield "BPFC", "bpfc", losses.BPFC(5, 2.0), quantised, {"bits": 5, "weight": 2.0}
    for form in ("P", "T"):
        flat = losses.RLFLAT(attack(), 0.7, form, 3.0)
        yield f"RLFLAT {form}", "rlflat", flat, cuts, {"form": form, "weight": 0.7, "beta": 3.0}
    yield "mixup", "mixup", losses.Mixup(), mixed, {}
    for form in ("code", "paper"):
        yield f"PCL, {form}", "pcl", losses.PCL(0.8, 0.3), None, {"form": form, "pull": 0.8, "push": 0.3}


def quantised(loss: Any, x: Array, own: Recorder) -> Arrays:
    return {"own.quantised": batch_first(own.seen["quantised"])}


def cuts(loss: Any, x: Array, own: Recorder) -> Arrays:
    return {"cuts": np.concatenate(loss.cuts(x.transpose(3, 1, 0, 2), own))}


def mixed(loss: Any, x: Array, own: Recorder) -> Arrays:
    return {"weight": loss.weights(x, own.at("weights")), "partner": partners(x, own.at("partners"))}


def of_losses() -> Iterator[Case]:
    """Each loss under draws, with batch statistics and dropout, and with a variance that is propagated."""
    ways = {"sampled-training": ("draws", NORMALISED, UNBIASED), "propagated": ("moments", (NOISE,), CONVOLUTION)}
    for (title, formula, loss, given, options), (noise, (way, more, first)) in product(trainings(), ways.items()):
        model = small(*more, first=first)
        model = with_centres(model, options["form"]) if formula == "pcl" else model
        yield of_loss(f"{title}, {way}", formula, loss, model, noise, given, **options)


def of_soft_labels() -> Iterator[Case]:
    t = np.random.default_rng(4).dirichlet(np.ones(CLASSES), EXAMPLES)
    network, other = started(small()), images(7)

    def soft(m: Moments, labels: Array) -> tuple[Array, Moments]:
        value, by_mean = soft_cross_entropy(m.mean, t.T)
        return value, Moments(by_mean)

    yield of_image("soft labels, by the image", "soft_cross_entropy", network, "off", soft, {"t": t})
    clean = Apart(network.scores(other, EXPECTATION).mean)
    yield of_image("TRADES' attack, by the image", "attack_of_trades", network, "off", clean, {"clean": other})


def of_noise() -> Iterator[Case]:
    for scope, noise in product(("scalar", "channel", "unit"), TREATMENTS):
        layers = (("noise", PreactivationNoise(0.3, scope)), ("dense_noise", PreactivationNoise(0.2, scope)))
        yield of_pass(f"noise of each {scope}, {noise}", small(*layers), noise)
    shared = PreactivationNoise(0.3, "unit", shared=True)
    yield of_pass("noise of one draw a batch", small(("noise", shared)), "sampled")
    for channels, noise in ((False, "sampled"), (True, "sampled"), (False, "propagated")):
        layers = (NOISE, ("dropout", Dropout(0.3, channels)), ("dense_dropout", Dropout(0.4)))
        title = f"dropout{' of channels' if channels else ''}, {noise}"
        yield of_pass(title, small(*layers), f"{noise}-training")


def of_weights() -> Iterator[Case]:
    """Noisy weights before and after a convolution's pooling, in a dense layer, and in a joint last one."""
    relative = list(product(("layer", "channel", "element"), (False, True)))
    options = [{"spread": "relative", "scope": scope, "through_std": through} for scope, through in relative]
    for own, noise in product([*options, {"spread": "free"}], TREATMENTS):
        model = small(
            first=NoisyConv2d(3, 3, padding=1, **own),
            hidden=NoisyLinear(12, **own),
            last=NoisyLinear(CLASSES, True, **own),
        )
        title = f"{own.get('scope', 'free')} weights{', std differentiated' if own.get('through_std') else ''}, {noise}"
        yield of_pass(title, model, noise)


def of_terms() -> Iterator[Case]:
    units = small(*((name, PreactivationNoise(0.3, "unit")) for name in ("noise", "dense_noise")))
    yield of_term("root reward", "root_reward", RootReward(0.7), units, weight=0.7)
    free = {"spread": "free", "start": 0.3}
    model = small(first=NoisyConv2d(3, 3, **free), last=NoisyLinear(CLASSES, **free))
    for title, last_only, layers in (("all", False, ["conv", "fc"]), ("the last", True, ["fc"])):
        term = KLDivergence(0.02, 0.1, last_only)
        yield of_term(
            f"KL of {title} layer{'s' * (not last_only)}",
            "kl_divergence",
            term,
            model,
            weight=0.02,
            prior=0.1,
            layers=layers,
        )


def of_answers() -> Iterator[Case]:
    models = {
        "noise": small(NOISE),
        "weights": small(first=NoisyConv2d(3, 3, start=0.3)),
        "mixing": with_mixing(small(), pool=3, choice="other"),
    }
    for title, model in models.items():
        network = started(model).averaging(3, "probabilities")
        draws = [f"average.{i}" for i in range(3)]
        yield of_image(f"mean probability, {title}", "mean_probability", network, "sampled", cross_entropy, draws=draws)
    joint = started(small(NOISE, last=Linear(CLASSES, joint=True)))
    objective, points = OBJECTIVES["expected-probability"], sobol_normal(CLASSES)
    yield of_image("expected probability", "expected_probability", joint, "propagated", objective, {"points": points})


def of_mixing() -> Iterator[Case]:
    for choice, threshold in (("predicted", 0.2), ("other", 0.2), ("combined", 0.02)):
        options: Any = {"choice": choice, "threshold": threshold, "weight": 0.6, "detections": 2}
        yield of_pass(f"mixing, {choice}", with_mixing(small(), pool=3, **options), "sampled")


def of_scale() -> Iterator[Case]:
    """The scale that a training lets grow multiplies every noise and the rate of dropout."""
    for own in ({"through_std": True}, {"spread": "free"}):
        first = NoisyConv2d(3, 3, padding=1, **own)
        model = small(NOISE, ("dense_dropout", Dropout(0.5)), first=first, hidden=NoisyLinear(12, **own))
        title = f"noise scaled by 0.4, {own.get('spread', 'relative')} weights"
        yield of_pass(title, model, "sampled-training", scale=0.4)


GROUPS = (of_losses, of_soft_labels, of_noise, of_weights, of_scale, of_terms, of_answers, of_mixing)


def cases() -> Iterator[Case]:
    """Every case, one after the other."""
    for group in GROUPS:
        yield from group()
