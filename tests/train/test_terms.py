"""Terms of the loss that no example enters, against plain formulas and differences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from small_networks import away_from_the_start, several

from npsnn import models
from npsnn.layers import Flatten, Linear, PreactivationNoise, Sequential
from npsnn.layers.noise import COVARIANCES
from npsnn.layers.params import flatten
from npsnn.models import Model
from npsnn.optim import Arrays
from npsnn.reference import alignment
from npsnn.testing import check_term
from npsnn.testing.gradients import check_gradient
from npsnn.train.terms import TERMS, Alignment, MaxEntropy, SigmaReward, Term, summed

L, W = "noise.L", "fc3.w"


def factor(model: Model, params: Arrays) -> np.ndarray:
    return model.noise[1].factor({"L": params[L]}, 4)  # type: ignore[attr-defined]


def check(chosen: tuple[Term, ...], model: Model, params: Arrays) -> None:
    """Assert that the gradients are those of the value, by the parameters that the value depends on."""
    _, grads = summed(chosen, model, params)
    lower = np.tril(np.ones((4, 4))) if params[L].ndim == 2 else 1
    check_gradient(
        lambda a: float(summed(chosen, model, params | a | {L: a[L] * lower})[0]),
        {name: params[name] for name in grads},
        grads,
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_reward_for_entropy(covariance: str) -> None:
    model, params = away_from_the_start(covariance)
    value, grads = MaxEntropy(0.3)(model, params)
    assert value == pytest.approx(-0.3 * alignment.max_entropy(factor(model, params)))
    assert grads.keys() == {L} and grads[L].shape == params[L].shape
    check((MaxEntropy(0.3),), model, params)


@pytest.mark.parametrize("pairwise", [False, True], ids=["classes", "pairs"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_reward_for_alignment(covariance: str, pairwise: bool) -> None:
    model, params = away_from_the_start(covariance)
    value, grads = Alignment(0.7, pairwise)(model, params)
    form, scale = (alignment.pairwise_alignment, 2 / 4) if pairwise else (alignment.weight_covariance_alignment, 1)
    assert value == pytest.approx(-0.7 * scale * form(params[W], factor(model, params)))
    assert grads.keys() == {L, W}
    check((Alignment(0.7, pairwise),), model, params)


@dataclass(frozen=True)
class Ridge:
    """A user's own term: half the squared entries of one array."""

    name: str

    def __call__(self, model: Model, params: Arrays) -> tuple[Any, Arrays]:
        return 0.5 * (params[self.name] ** 2).sum(), {self.name: params[self.name]}


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_terms_add_up(covariance: str) -> None:
    model, params = away_from_the_start(covariance)
    chosen = (Ridge(W), MaxEntropy(0.3), Ridge("fc1.b"), Alignment(0.7))
    value, grads = summed(chosen, model, params)
    parts = [term(model, params) for term in chosen]
    assert value == pytest.approx(sum(part for part, _ in parts))
    assert grads.keys() == {L, W, "fc1.b"}
    for name, g in grads.items():
        np.testing.assert_allclose(g, sum(more[name] for _, more in parts if name in more), rtol=1e-12)
    check(chosen, model, params)


def test_no_terms_are_nothing() -> None:
    assert summed((), *away_from_the_start()) == (0.0, {})


def test_the_reward_of_the_bimodel() -> None:
    value, grads = SigmaReward(0.25)(models.lenet5(), {"noise.sigma": np.array(0.8)})
    assert value == pytest.approx(-0.25 * 0.64)
    assert grads == {"noise.sigma": pytest.approx(-0.4)}
    _, single = SigmaReward(0.25)(models.lenet5(), {"noise.sigma": np.array(0.8, np.float32)})
    assert single["noise.sigma"].dtype == np.float32


def test_every_noise_on_pre_activations_is_rewarded() -> None:
    network = several(0.3, features=0.8)
    params = flatten(network.params)
    names = [f"{path}.sigma" for path in network.sigmas if path != "features"]
    params |= {name: np.array(0.1 * (i + 1)) for i, name in enumerate(names)}
    value, grads = summed((SigmaReward(0.5), MaxEntropy(0.1), Alignment(0.2)), network.model, params)
    assert len(names) > 1 and grads.keys() == {*names, "features.L", "fc.w"}
    assert [grads[name] for name in names] == pytest.approx([-0.1 * (i + 1) for i in range(len(names))])
    wanted = sum(-0.5 * (0.1 * (i + 1)) ** 2 for i in range(len(names)))
    assert SigmaReward(0.5)(network.model, params)[0] == pytest.approx(wanted) and value != pytest.approx(wanted)


def test_a_noise_of_several_sizes_is_rewarded_for_each() -> None:
    sizes = np.array([[[0.5, 0.25]]], np.float32)
    layers = (("flat", Flatten()), ("fc", Linear(2)), ("noise", PreactivationNoise(0.5, "unit")))
    model = Model("sizes", Sequential(layers), (1, 1, 2), 2)
    value, grads = SigmaReward(0.5)(model, {"noise.sigma": sizes})
    assert value == pytest.approx(-0.5 * (0.25 + 0.0625)) and np.ndim(value) == 0
    np.testing.assert_allclose(grads["noise.sigma"], -sizes)  # -2 · ½ · sigma
    assert grads["noise.sigma"].dtype == np.float32
    check_term(SigmaReward(0.25), model)


def test_a_term_of_noise_that_the_model_lacks_is_refused() -> None:
    model, params = away_from_the_start()
    with pytest.raises(ValueError, match="SigmaReward needs noise on pre-activations, lenet5 has none"):
        SigmaReward(0.1)(model, params)
    for term in (MaxEntropy(0.1), Alignment(0.1)):
        with pytest.raises(
            ValueError, match=rf"{type(term).__name__} needs noise on the last features, lenet5 has none"
        ):
            summed((term,), models.lenet5(), params)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "x"])
def test_a_weight_out_of_its_range_is_refused_by_name(value: Any) -> None:
    for kind, name in ((SigmaReward, "alpha"), (MaxEntropy, "weight"), (Alignment, "weight")):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            kind(value)


def test_terms_are_saved_by_name() -> None:
    for term in (SigmaReward(0.1), MaxEntropy(0.2), Alignment(0.3, pairwise=True)):
        assert TERMS.decode(TERMS.encode(term)) == term
    with pytest.raises(ValueError, match=r"Ridge is in no table of every term.*put @term above it"):
        TERMS.encode(Ridge(W))
