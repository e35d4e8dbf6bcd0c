"""The divergence of noisy weights from a prior, which makes of their training variational inference."""

from dataclasses import dataclass
from math import log

import numpy as np

from npsnn.backend import Array, namespace
from npsnn.models.base import Model
from npsnn.optim import Arrays
from npsnn.train.scheduled import Scalar, check_scalar
from npsnn.train.terms import term
from npsnn.validate import check_types

PAIRS = {"w": "rho", "b": "rho_b"}
"""The logarithms of the standard deviations of a layer's parameters, by the names of both."""


@term("kl-divergence")
@dataclass(frozen=True)
class KLDivergence:
    """weight · KL(q‖p) of the posterior N(mu, exp(2 rho)) of each noisy weight and bias from the prior N(0, prior²).

        KL = Σ [ln prior - rho + (exp(2 rho) + mu²) / (2 prior²) - ½],

    with the gradients weight · mu / prior² and weight · (exp(2 rho) / prior² - 1).

    weight: >= 0, or a schedule of it; the loss is a mean over examples, so it is alpha / N for N training images.
    prior: standard deviation of the prior, > 0.
    last_only: count the last layer with noisy weights alone.
    Raises ValueError for a model without parameters "rho", which noisy weights of the spread "free" have.
    Source: Liu et al. 2019 (Adv-BNN). The authors' code of their VGG counts the last layer alone.
    """

    weight: Scalar
    prior: float
    last_only: bool = False

    def __post_init__(self) -> None:
        check_scalar(self, "weight")
        check_types(self)
        if not 0 < self.prior < float("inf"):
            raise ValueError(f"prior must be > 0 and finite, got {self.prior}")

    def __call__(self, model: Model, params: Arrays) -> tuple[Array, Arrays]:
        paths = [path for path in model.noise_layers if f"{path}.rho" in params]
        if not paths:
            raise ValueError(f"KLDivergence needs noisy weights of the spread free, {model.name} has none")
        value: Array = 0.0
        grads = dict[str, Array]()
        for path in paths[-1:] if self.last_only else paths:
            for name, log_std in PAIRS.items():
                mean_name, log_name = f"{path}.{name}", f"{path}.{log_std}"
                if log_name not in params:  # a layer without a bias
                    continue
                mu, rho = params[mean_name], params[log_name]
                own, by_mean, by_log = self._of(mu.astype(np.float64), rho.astype(np.float64))
                value = value + own
                grads |= {mean_name: by_mean.astype(mu.dtype), log_name: by_log.astype(rho.dtype)}
        return value, grads

    def _of(self, mu: Array, rho: Array) -> tuple[Array, Array, Array]:
        """The value of some weights, and its gradients by their means and the logarithms of their deviations."""
        precision = self.prior**-2
        variances = namespace(rho).exp(2 * rho) * precision
        values = log(self.prior) - rho + (variances + mu * mu * precision) / 2 - 0.5
        return self.weight * values.sum(), self.weight * precision * mu, self.weight * (variances - 1)
