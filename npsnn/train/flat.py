"""From the flat options of a training to the values that it is made of: the one place where names become values."""

from dataclasses import fields

from npsnn.layers.params import Role
from npsnn.optim import OPTIMIZERS, Optimizer
from npsnn.train.config import Config
from npsnn.train.constraints import Constraint, PositiveSigma, SafeFactor, SigmaCap, UnitClasses, UnitFilters
from npsnn.train.terms import Alignment, MaxEntropy, SigmaReward, Term


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
