"""The objective that the closed form ascends where none is asked for."""

from npsnn.classifier import Classifier
from npsnn.layers.noise import FeatureNoise
from npsnn.ops.gaussian import Rule


def closed_form_of(classifier: Classifier, rule: Rule) -> tuple[str, bool]:
    """The name of the objective that suits the network, as `npsnn.attacks.closed_form` says, and whether means move.

    classifier: the network.
    rule: how its noise is propagated. The mean of the logits moves with the noise where the rule's means use variances
        and noise meets more than the last layer.
    """
    (name, last), layers = classifier.model.network.layers[-1], classifier.model.noise_layers
    on_features = any(isinstance(layer, FeatureNoise) for layer in layers.values())
    # noise on the features, or on the last weights, meets the last layer alone, which is affine: it leaves the mean
    kept = [isinstance(n, FeatureNoise) or (n.on_weights and path == name) for path, n in layers.items()]
    at_last = bool(kept) and all(kept)
    moved = rule.mean_uses_var and not at_last
    if classifier.pools and classifier.random:
        return "expected-probability", moved
    if on_features or (at_last and getattr(last, "joint", False)):  # the covariance of the logits is exact
        return "expected-cross-entropy", moved
    if moved:
        return "win-probability" if classifier.random else "cross-entropy", moved
    return "noise-aware", moved
