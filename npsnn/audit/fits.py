"""The result of a comparison of the propagation rules with draws: errors by layer and rule, and one sentence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerFit:
    """The errors of a rule at the outputs of a layer, over all units of all images.

    layer: name of the layer.
    rule: name of the rule.
    mean_error: root mean square of (mean of the rule - drawn mean), over that of the drawn standard deviations.
    sd_ratio: root mean square of the rule's standard deviations, over that of the drawn ones; 1 is right.
    """

    layer: str
    rule: str
    mean_error: float
    sd_ratio: float


@dataclass(frozen=True)
class Fit:
    """The rules of RULES against draws.

    layers: errors in each layer from the noise on, without Flatten, which changes no number.
    win_errors: by rule, the mean of |P(Y_k > Y_i) - share of the draws| over the images and the classes i ≠ k, k the
        label; None for the full covariance where it is refused.
    right_errors: by rule, the mean of |P(Y_k > Y_i for all i ≠ k) - share of the draws| over the images.
    quiet_error: mean_error of the logits of the network without its noise.
    refusal: reason for which there is no full covariance, or "".
    images: number of images.
    draws: draws for each image.
    mean_floor: mean_error that a perfect rule would show, because the draws are finite.
    win_floor: win error that a perfect rule would show.
    right_floor: error of the probability of a correct answer that a perfect rule would show.
    trust: how far the closed form can be trusted, in one sentence.
    """

    layers: tuple[LayerFit, ...]
    win_errors: dict[str, float | None]
    right_errors: dict[str, float | None]
    quiet_error: float
    refusal: str
    images: int
    draws: int
    mean_floor: float
    win_floor: float
    right_floor: float
    trust: str
