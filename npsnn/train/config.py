"""The options of a training."""

from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any

from npsnn.data import names
from npsnn.data.augment import AUGMENTATIONS
from npsnn.layers.affine import METHODS
from npsnn.layers.noise import COVARIANCES
from npsnn.models import MODELS, NOISES, may_be_noisy
from npsnn.ops.gaussian import RULES
from npsnn.optim import OPTIMIZERS, SCHEDULES, Constant, check_longer
from npsnn.train.authors import COMMITS, FORMER, NEEDS, PAPERS
from npsnn.train.losses import LOSSES
from npsnn.validate import check_options, check_sigma, documented, listed, option
from npsnn.words import brief, nearest

AUTHORS = "authors_code"
"""The option that `npsnn.train.authors` carries out."""
ADVERSARIES = ("none", "fgsm", "pgd")
SAMPLED = "sampled"
TREATMENTS = (*RULES, SAMPLED)
NORMS = ("none", "l1", "l2")


def losses() -> list[str]:
    """The names of the losses that need no option of their own, and no network that has no name."""
    named = {name: kind for name, kind in LOSSES.items() if not getattr(kind, "own_model", False)}
    return [name for name, kind in named.items() if not any(_is_needed(f) for f in fields(kind))]


def schedules() -> list[str]:
    """The names of the schedules that need no option of their own."""
    return [name for name, kind in SCHEDULES.items() if not any(_is_needed(f) for f in fields(kind))]


def _is_needed(field: Field[Any]) -> bool:
    """Whether a dataclass cannot be made without a value for the field."""
    return field.init and field.default is MISSING and field.default_factory is MISSING


@documented
@dataclass(frozen=True)
class Config:
    """Every option that shapes the result. Two runs of one config on one data set are bit-identical on one machine.

    Raises ValueError naming the field, what was expected and what came.

    noise_only: train the noise alone of a network that is given.
    """

    model: str = option("lenet5", "Network: {choices}.", "Network", choices=MODELS)
    first_layer_norm: str = option(
        "none", "Norm in which each filter of the first layer is held at 1: {choices}.", "Network", choices=NORMS
    )
    unit_classes: bool = option(False, "Hold each class vector at norm 1 (A2SNN Sec. 3.2).", "Network")
    conv: str = option(
        "auto",
        "How convolutions are computed: {choices}. winograd takes fewer products; auto decides by their sizes.",
        "Network",
        choices=METHODS,
    )
    noise: str = option(
        "preactivation",
        "Where the noise is added: {choices}. preactivation is the output of the first layer (noise paper), features "
        "are the last ones (A2SNN).",
        "Noise",
        choices=NOISES,
    )
    sigma: float = option(
        0.6,
        "Standard deviation of the noise, in the units of the pre-activation or the features that get the noise.",
        "Noise",
        low=0,
        check=check_sigma,
    )
    propagation: str = option(
        "laplace",
        "How training carries the noise: {choices}. laplace is the noise paper's Eq. 6, exact the true moments; "
        "sampled draws the noise.",
        "Noise",
        choices=TREATMENTS,
    )
    learn_sigma: bool = option(False, "Train the noise as well (noise paper Eq. 8; A2SNN's covariance).", "Noise")
    sigma_max: float = option(4.0, "Cap of a learned sigma.", "Noise", low=0, above=True)
    covariance: str = option(
        "full",
        "Covariance of the noise on features: {choices}. A2SNN calls diagonal isotropic.",
        "Noise",
        choices=COVARIANCES,
    )
    bottleneck: int = option(32, "Number of the features that carry the noise.", "Noise", low=1)
    loss: str = option(
        "noise-aware",
        "Loss: {choices}. noise-aware is the squared error minus the mean probability that the label wins; "
        "expected-cross-entropy is over the noisy logits, without draws. clean-and-attacked, mart, rlflat and trades "
        "attack each image by 10 steps of 2/255 in Linf 8/255; bpfc quantises it.",
        "Loss",
        choices=losses,
    )
    sigma_reward: float = option(
        0.0, "alpha of the reward -alpha sigma² for large noise (noise paper Sec. 7).", "Loss", low=0
    )
    max_entropy: float = option(0.0, "lambda1 of A2SNN Eq. 1: the reward for the entropy of the noise.", "Loss", low=0)
    alignment: float = option(
        0.0, "lambda2 of A2SNN Eq. 1: the reward for noise along the class vectors.", "Loss", low=0
    )
    pairwise: bool = option(False, "Align the noise with the differences of class vectors instead (audit A17).", "Loss")
    adversarial: str = option("none", "Attack on the training images: {choices}.", "Loss", choices=ADVERSARIES)
    adversarial_eps: float = option(
        8 / 255, "Radius of this attack in Linf.", "Loss", low=0, high=1, fraction=True, shown="8/255"
    )
    adversarial_mix: float = option(0.5, "Part of the images that is attacked.", "Loss", low=0, high=1)
    authors_code: str | None = option(
        None,
        "Do as this commit of A2SNN's authors' code does, not as the paper says (audit B16): {choices}. Without a "
        "commit it is 4f752b8, the paper's own, and the recipe of a defence does as the code of its authors.",
        "Loss",
        choices=COMMITS,
        bare=PAPERS,
        word="COMMIT",
    )
    noise_only: bool = False
    optimizer: str = option("adam", "Update rule: {choices}.", "Optimiser", choices=OPTIMIZERS)
    lr: float = option(1e-3, "Learning rate.", "Optimiser", low=0)
    schedule: str = option(
        "constant",
        "Course of the learning rate: {choices}. step and falls divide it by 10 at 1/2 and again at 3/4 of the "
        "training.",
        "Optimiser",
        choices=schedules,
    )
    momentum: float = option(0.9, "Momentum of sgd.", "Optimiser", low=0, high=1, below=True)
    weight_decay: float = option(
        0.0, "Decay of weights, not of biases. adam decouples it from the gradient.", "Optimiser", low=0
    )
    epochs: int = option(5, "Passes over the training images.", "Optimiser", low=1)
    batch_size: int = option(128, "Images for one update.", "Optimiser", low=1)
    micro_batch: int | None = option(
        None,
        "Images of a batch that are computed at a time. Fewer feed more threads and ranks, and cost more each.",
        "Run",
        low=1,
        shown="64, or on a GPU the batch",
    )
    dataset: str = option(
        "digits",
        "Data set: {choices}, or the path of an .npz file or of a folder of images. npsnn data list describes each.",
        "Data",
        choices=names,
        closed=False,
        paths=True,
    )
    augmentation: str = option(
        "none",
        "Change of each training image: {choices}. crop-flip shifts it by up to 4 pixels and mirrors it at random.",
        "Data",
        choices=AUGMENTATIONS,
    )
    limit: int | None = option(None, "Number of training images, all by default.", "Data", low=2)
    seed: int = option(0, "Seed of all random numbers.", "Run")

    __repr__ = brief

    def __post_init__(self) -> None:
        check_options(self)
        self._check_noise()
        self._check_learned_sigma()
        self._check_adversarial()
        self._check_authors_code()

    def _check_noise(self) -> None:
        if self.noise == "preactivation" and not may_be_noisy(self.model):
            raise ValueError(
                f"noise must be features or none for {self.model}, which has none on its first layer, got {self.noise}"
            )
        if self.noise == "none":
            object.__setattr__(self, "sigma", 0.0)

    def _check_learned_sigma(self) -> None:
        if self.learn_sigma and not 0 < self.sigma <= self.sigma_max:
            raise ValueError(f"learn_sigma needs 0 < sigma <= sigma_max = {self.sigma_max:g}, got sigma {self.sigma:g}")
        if self.learn_sigma and not self.noise_enters:
            raise ValueError(
                f"learn_sigma needs a loss that depends on sigma: {self.loss} under {self.propagation} sees the mean "
                "alone, which is the network's without noise; take loss noise-aware or propagation sampled"
            )
        for name, where in {
            "sigma_reward": "preactivation",
            "max_entropy": "features",
            "alignment": "features",
        }.items():
            if getattr(self, name) and self.noise != where:
                raise ValueError(f"{name} is for noise {where}, got noise {self.noise}")
        for name in ("sigma_reward", "max_entropy", "noise_only"):
            if getattr(self, name) and not self.learn_sigma:
                raise ValueError(f"{name} acts on a learned sigma: set learn_sigma as well")
        if self.first_layer_norm != "none" and self.noise != "preactivation":
            raise ValueError(f"first_layer_norm is for noise preactivation, got noise {self.noise}")

    def _check_adversarial(self) -> None:
        attacks = any(f.name == "attack" for f in fields(LOSSES[self.loss]))
        if attacks and self.adversarial != "none":
            which = f"loss {self.loss}, which attacks the images itself"
            raise ValueError(f"adversarial must be none for {which}, got {self.adversarial}")

    def _check_authors_code(self) -> None:
        if self.authors_code is None:
            return
        for name, value in (NEEDS | COMMITS[self.authors_code].needs).items():
            if getattr(self, name) != value:
                raise ValueError(f"authors_code {self.authors_code} needs {name} {value}, got {getattr(self, name)}")

    def without_effect(self, options: Iterable[str]) -> list[str]:
        """One clause for each of the named options that changes nothing in a training by the others."""
        noise = "noise is preactivation or features"
        momentous = [name for name, kind in OPTIMIZERS.items() if "momentum" in {f.name for f in fields(kind)}]
        acts = {
            "sigma": (False, noise) if self.noise == "none" else (self.authors_code is None, "authors_code is off"),
            "momentum": (self.optimizer in momentous, f"optimizer is {listed(momentous)}"),
            "covariance": (self.noise == "features", "noise is features"),
            "bottleneck": (self.noise == "features", "noise is features"),
            "sigma_max": (self.learn_sigma, "learn_sigma is on"),
            "adversarial_eps": (self.adversarial != "none", "adversarial is fgsm or pgd"),
            "adversarial_mix": (self.adversarial != "none", "adversarial is fgsm or pgd"),
            "pairwise": (self.alignment > 0, "alignment is > 0"),
            "unit_classes": (not self.noise_only, "the weights are trained as well"),
            "propagation": (self.sigma > 0, "sigma is > 0"),
        }
        return [
            f"{name} has no effect unless {acts[name][1]}" for name in options if name in acts and not acts[name][0]
        ]

    @property
    def noise_enters(self) -> bool:
        """Whether the loss depends on the noise: by itself, by draws, or by a mean that the propagation rule moves."""
        if self.sigma == 0:
            return False
        if self.propagation == SAMPLED or getattr(LOSSES[self.loss](), "sees_variance", True):
            return True
        return self.noise == "preactivation" and RULES[self.propagation].mean_uses_var

    @property
    def any_length(self) -> bool:
        """Whether the learning rates would be the same in a longer training."""
        return SCHEDULES[self.schedule] is Constant

    def lengthened(self, epochs: int) -> "Config":
        """The options with more epochs; raises ValueError where a training of so many would have begun otherwise."""
        check_longer(epochs, self.epochs, self.any_length, f"schedule {self.schedule}")
        return replace(self, epochs=epochs)

    @staticmethod
    def from_json(values: Any) -> "Config":
        """The config saved in a run: an option that it lacks has its default. Raises ValueError for an unknown one."""
        if not isinstance(values, dict):
            raise ValueError(f"training options must be a JSON object, got {values!r}")
        if odd := values.keys() - {f.name for f in fields(Config)}:
            near = nearest(min(odd), (f.name for f in fields(Config)))
            raise ValueError(f"unknown training options: {', '.join(sorted(odd))}{near}")
        return Config(**renewed(values))


def renewed(values: dict[str, Any]) -> dict[str, Any]:
    """Saved options as they are written now: earlier versions had true and false in the place of a commit."""
    code = values.get(AUTHORS)
    return values | {AUTHORS: FORMER if code else None} if isinstance(code, bool) else values
