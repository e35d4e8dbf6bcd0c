"""PCL: cross-entropy and distances at several depths, in any training, and where the centres stand in a model."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from npsnn import attacks, models
from npsnn.classifier import Classifier
from npsnn.layers import Centres, FeatureNoise, Flatten, Linear, NoisyLinear, Residual, Sequential
from npsnn.layers.moments import EXPECTATION, Moments, Sampled
from npsnn.layers.params import flatten
from npsnn.models import with_centres, with_feature_noise
from npsnn.streams import Stream
from npsnn.train import PCL, Adversarial, CrossEntropy
from npsnn.train.config import losses

SHAPE, LABELS = (1, 12, 12), np.array([0, 1, 2, 0, 1])
PLAIN = models.lenetpp(SHAPE, 3)
OWN = Stream(4)


def started(model: models.Model) -> tuple[Classifier, np.ndarray]:
    rng = np.random.default_rng(0)
    network = Classifier(model, model.init(rng), threads=1).astype(np.float64)
    return network, rng.random((5, *model.shape))


@pytest.mark.parametrize("form", ["code", "paper"])
def test_the_value_is_the_cross_entropy_and_the_distances(form: str) -> None:
    network, x = started(with_centres(models.lenet5((1, 28, 28), 3), form))
    params, noise = network.params, Sampled(Stream(1))
    plain = CrossEntropy().gradient(network, x, LABELS, noise, OWN).loss
    wanted = 0.0
    for name in ("centres1", "centres2"):
        place = [n for n, _ in network.model.network.layers].index(name)
        before = Sequential(network.model.network.layers[:place])
        features = before.forward(params, Moments(network.to_engine(x)), noise)[0].mean
        for f, y in zip(features.T, LABELS, strict=True):
            others = [j for j in range(3) if j != y]
            if form == "code":
                near, far = params[name]["near"], params[name]["far"]
                pull, push = ((f - near[y]) ** 2).sum(), [((f - far[j]) ** 2).sum() for j in others]
            else:
                c, norm = params[name]["centres"], np.linalg.norm
                pull, push = norm(f - c[y]), [norm(f - c[j]) + norm(c[y] - c[j]) for j in others]
            wanted += 0.7 * pull - 0.3 * np.mean(push)
    found = PCL(0.7, 0.3).gradient(network, x, LABELS, noise, OWN)
    assert found.loss == pytest.approx(plain + wanted, rel=1e-12)


def test_without_weights_it_is_the_cross_entropy_bit_for_bit() -> None:
    network, x = started(with_centres(PLAIN))
    found = PCL(0.0, 0.0).gradient(network, x, LABELS, EXPECTATION, OWN)
    wanted = CrossEntropy().gradient(network, x, LABELS, EXPECTATION, OWN)
    assert found.loss == wanted.loss and found.correct == wanted.correct
    assert found.grads is not None and wanted.grads is not None and found.grads.keys() == wanted.grads.keys()
    assert all((g == wanted.grads[k]).all() for k, g in found.grads.items())


def test_centres_are_no_part_of_the_answer() -> None:
    plain, _ = started(PLAIN)
    network, x = started(with_centres(PLAIN))
    moved = replace(network, params=network.params | plain.params)
    np.testing.assert_array_equal(moved.predict(x), plain.predict(x))


def test_it_may_be_the_loss_of_adversarial_training() -> None:
    network, x = started(with_centres(PLAIN))
    attack = attacks.BIM(0.1, steps=2, source=attacks.EoT(1))
    found = Adversarial(PCL(), attack, 1.0).gradient(network, x, LABELS, EXPECTATION, OWN)
    assert found.loss > PCL().gradient(network, x, LABELS, EXPECTATION, OWN).loss
    assert found.grads is not None and found.grads.keys() == flatten(network.params).keys()


BARE: Any = (("flatten", Flatten()), ("fc1", NoisyLinear(4)), ("fc2", Linear(3)))
PLACES = [
    (models.Model("bare", Sequential(BARE), SHAPE, 3), [("fc1", "fc2")]),
    (models.lenet5(), [("relu4", "fc2"), ("relu5", "fc3")]),
    (models.cnn5(), [("relu6", "fc2"), ("relu7", "fc3")]),
    (models.lenetpp(), [("bottleneck", "classifier")]),
    (with_feature_noise(models.lenet5(), 0.3), [("relu4", "fc2"), ("relu5", "bottleneck"), ("bottleneck", "noise")]),
]


@pytest.mark.parametrize(
    ("model", "places"), PLACES, ids=["noisy weights", "lenet5", "cnn5", "lenetpp", "feature-noise"]
)
def test_centres_stand_before_the_last_dense_layers(model: models.Model, places: list[tuple[str, str]]) -> None:
    layers = with_centres(model, depths=3).network.layers
    at = [i for i, (_, layer) in enumerate(layers) if isinstance(layer, Centres)]
    assert [(layers[i - 1][0], layers[i + 1][0]) for i in at] == places
    last = with_centres(model, depths=1).network.layers
    assert [last[i - 1][0] for i, (_, layer) in enumerate(last) if isinstance(layer, Centres)] == [places[-1][0]]
    assert [layer for layer in layers if not isinstance(layer[1], Centres)] == list(model.network.layers)


WRONG: list[tuple[Any, str]] = [
    (lambda: PCL(pull=-1.0), "pull must be >= 0 and finite, got -1.0"),
    (lambda: PCL(push=float("inf")), "push must be >= 0 and finite, got inf"),
    (lambda: Centres(3, "codes"), "form must be one of code, paper, got 'codes'"),
    (lambda: Centres(1), "classes must be >= 2, got 1"),
    (lambda: Centres(3).init(np.random.default_rng(0), SHAPE), r"needs a vector, got the shape \(1, 12, 12\)"),
    (lambda: with_centres(PLAIN, "other"), "form must be one of code, paper"),
    (lambda: with_centres(PLAIN, depths=0), "depths must be >= 1, got 0"),
    (lambda: with_centres(with_centres(PLAIN)), "lenetpp has centres already"),
    (lambda: with_centres(replace(PLAIN, network=Sequential(PLAIN.network.layers[-1:]))), "after another one"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_fields_are_refused(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()


def test_a_network_without_centres_or_with_others_is_refused() -> None:
    network, x = started(PLAIN)
    with pytest.raises(ValueError, match="lenetpp has no layer Centres, which the loss pcl needs"):
        PCL().gradient(network, x, LABELS, EXPECTATION, OWN)
    layers = PLAIN.network.layers
    other, _ = started(replace(PLAIN, network=Sequential((*layers[:-1], ("c", Centres(4)), layers[-1]))))
    with pytest.raises(ValueError, match="lenetpp has 3 classes, so centres must be of as many, got Centres"):
        PCL().gradient(other, x, LABELS, EXPECTATION, OWN)
    block = Residual(Sequential((("c", Centres(3)),)), Sequential(()))
    inside, _ = started(replace(with_centres(PLAIN), network=Sequential((*layers[:-1], ("block", block), layers[-1]))))
    with pytest.raises(ValueError, match=r"the network's own layers, lenetpp has some inside, at block\.body\.c"):
        PCL().gradient(inside, x, LABELS, EXPECTATION, OWN)
    assert "pcl" not in losses() and "mixup" in losses()


def test_noise_on_features_comes_after_the_centres() -> None:
    noisy = with_centres(with_feature_noise(PLAIN, 0.3))
    names = [type(layer) for _, layer in noisy.network.layers]
    assert names[names.index(FeatureNoise) - 1] is Centres
