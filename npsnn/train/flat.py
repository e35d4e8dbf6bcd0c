"""From the flat options of the command line and of config files to values: the one place where names become values."""

from dataclasses import fields

from npsnn import attacks, models
from npsnn.data.augment import AUGMENTATIONS
from npsnn.layers.base import Shape
from npsnn.layers.params import Role
from npsnn.models.base import Model
from npsnn.optim import OPTIMIZERS, SCHEDULES, Optimizer
from npsnn.train.authors import as_authors
from npsnn.train.config import AUTHORS, SAMPLED, Config
from npsnn.train.constraints import Constraint, PositiveSigma, SafeFactor, SigmaCap, UnitClasses, UnitFilters
from npsnn.train.losses import LOSSES, Adversarial, Loss
from npsnn.train.terms import Alignment, MaxEntropy, SigmaReward, Term
from npsnn.train.training import Training
from npsnn.train.treatments import Carried, Drawn


def training_of(config: Config, shape: Shape, classes: int) -> Training:
    """The training that the options ask for; raises ValueError where their network does not fit the images.

    shape: of one image, (C, H, W).
    classes: number of classes.
    """
    training = Training(
        model=model_of(config, shape, classes),
        loss=loss_of(config),
        noise=Drawn() if config.propagation == SAMPLED else Carried(config.propagation),
        terms=terms_of(config),
        constraints=constraints_of(config),
        optimizer=optimizer_of(config),
        schedule=SCHEDULES[config.schedule](),
        trains=trained_by(config),
        augmentation=AUGMENTATIONS[config.augmentation],
        **{name: getattr(config, name) for name in ("epochs", "batch_size", "seed", "limit", "micro_batch")},
    )
    commit = getattr(config, AUTHORS)
    return training if commit is None else as_authors(training, commit)


def model_of(config: Config, shape: Shape, classes: int) -> Model:
    """The network, for images of that shape and number of classes."""
    noise = config.sigma, config.noise, config.covariance, config.bottleneck
    return models.build(config.model, shape, classes, *noise).convolving(config.conv)


def loss_of(config: Config) -> Loss:
    """The loss, on images of which a part is attacked if so asked: pgd is 10 steps of eps/10 from the image itself.

    Source: A2SNN Sec. 4.1 (audit A24), which does not say where the steps begin; one draw of the noise for each step.
    """
    loss: Loss = LOSSES[config.loss]()
    if config.adversarial == "none":
        return loss
    source, eps = attacks.EoT(1), config.adversarial_eps
    attack = attacks.FGSM(eps, source=source) if config.adversarial == "fgsm" else attacks.BIM(eps, "linf", 10, source)
    return Adversarial(loss, attack, config.adversarial_mix)


def optimizer_of(config: Config) -> Optimizer:
    """The optimiser of that name, with those of its fields that are options as well."""
    kind = OPTIMIZERS[config.optimizer]
    options = {f.name for f in fields(config)}
    optimizer: Optimizer = kind(**{f.name: getattr(config, f.name) for f in fields(kind) if f.name in options})
    return optimizer


def terms_of(config: Config) -> tuple[Term, ...]:
    """The rewards for the noise."""
    terms = (
        (config.sigma_reward, SigmaReward(config.sigma_reward)),
        (config.max_entropy, MaxEntropy(config.max_entropy)),
        (config.alignment, Alignment(config.alignment, config.pairwise)),
    )
    return tuple(term for weight, term in terms if weight)


def constraints_of(config: Config) -> tuple[Constraint, ...]:
    """The constraints on the parameters that are trained."""
    weights, noise = not config.noise_only, config.learn_sigma
    found: list[Constraint] = [PositiveSigma()] if noise else []
    if weights and config.first_layer_norm != "none":
        found.append(UnitFilters(config.first_layer_norm))
    if weights and config.unit_classes:
        found.append(UnitClasses())
    return (*found, SafeFactor(), SigmaCap(config.sigma_max)) if noise else tuple(found)


def trained_by(config: Config) -> Role:
    """The roles of the parameters that are trained."""
    if config.noise_only:
        return Role.NOISE
    return Role.ALL if config.learn_sigma else Role.ALL & ~Role.NOISE
