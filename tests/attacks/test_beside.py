"""The share of wrong signs between two halves of the draws: what it is, of which attacks, and when it is a caveat."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import convolutional, images, linear, on_features, predicted

from npsnn import attacks
from npsnn.attacks.beside import Beside, Halves, halved
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Transfer
from npsnn.attacks.targets import NetworkTarget, sampled
from npsnn.streams import Stream

NETWORK, X = convolutional(0.5), images(7)
LABELS = predicted(NETWORK, X)
JUDGING = attacks.Judging(draws=2)


class Noise(NetworkTarget):
    """Gradients of the mean `mean` with normal noise of 1, averaged over the draws; a third of the pixels have none."""

    mean = 0.0

    def __call__(self, x, labels, stream):  # type: ignore[no-untyped-def]
        like = np.zeros((*x.shape[1:], len(x)))
        draws = [stream.at("draw", d).normal(like) for d in range(self.draws)]
        gradient = np.moveaxis(self.mean + np.mean(draws, axis=0), -1, 0)
        gradient[:, :, 0] = 0
        return np.zeros(len(x)), gradient


@pytest.mark.parametrize("mean", [0.0, 0.2, 1.0, 3.0])
@pytest.mark.parametrize("draws", [2, 7, 20])
def test_the_share_is_what_two_averages_over_half_of_the_draws_differ_in(mean: float, draws: int) -> None:
    """Each is wrong with probability Phi(-mean sqrt(draws / 2)); they differ where one alone is."""
    from scipy.stats import norm

    target = type("Noise", (Noise,), {"mean": mean})(NETWORK, "sampled", None, draws)
    found = Halves(target)(np.zeros((400, 2, 3, 4)), np.zeros(400, int), Stream(0))
    wrong = norm.sf(mean * np.sqrt(draws // 2))
    assert found.shape == (400,)
    assert found.mean() == pytest.approx(2 * wrong * (1 - wrong), abs=4 * 0.5 / np.sqrt(400 * 16))


def test_an_image_without_a_gradient_has_no_wrong_signs() -> None:
    network = linear(sigma=0.3)
    flat = replace(network, params={**network.params, "fc": {k: 0 * v for k, v in network.params["fc"].items()}})
    found = Halves(sampled(flat, 4))(X, LABELS, Stream(0))
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_array_equal(Halves(sampled(network, 4, "margin"))(X, LABELS, Stream(0)) <= 1, True)


def test_it_is_of_each_image_by_itself() -> None:
    job = Halves(sampled(NETWORK, 3))
    whole = job(X, LABELS, Stream(2))
    parts = [job(X[s], LABELS[s], Stream(2).further(s.start)) for s in (slice(0, 3), slice(3, 4), slice(4, 7))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(set(whole)) > 1


def test_of_attacks_on_draws_alone() -> None:
    quiet, eot = NETWORK.with_sigma(0), EoT(4)
    made = [
        attacks.FGSM(0.1, source=eot),
        attacks.PGD(0.2, steps=2, source=eot),
        attacks.FGSM(0.1, source=EoT(1)),
        attacks.FGSM(0.1, source=ClosedForm()),
        attacks.FGSM(0.1, source=Expectation()),
        attacks.RandomSearch(0.1, samples=2),
        attacks.FGSM(0.1, source=Transfer(on_features(), source=eot)),
    ]
    found = [r.wrong_signs for r in attacks.robust_accuracy(NETWORK, X, LABELS, made, JUDGING)]
    assert [signs is not None for signs in found] == [True, True, False, False, False, False, True]
    assert found[0] is found[1] and found[0] is not None, "measured once"
    want = Halves(sampled(NETWORK, 4))(X, LABELS, JUDGING.stream.at("signs"))
    np.testing.assert_array_equal(found[0], want)
    assert found[6] is not None and (found[6] != found[0]).any()
    assert not any(halved(a, a.source.of(quiet)) for a in made[:4])
    assert Beside(X, LABELS, JUDGING).of(made[2], made[2].source.of(NETWORK)) == {
        "surrogate": None,
        "wrong_signs": None,
        "probabilities": False,
    }


@pytest.mark.parametrize(("share", "said"), [(0.2, False), (1 / 3, False), (0.4, True)])
def test_more_than_a_third_is_a_caveat(share: float, said: bool) -> None:
    (result,) = attacks.robust_accuracy(NETWORK, X, LABELS, [attacks.FGSM(0.1, source=EoT(2))], JUDGING)
    result = replace(result, wrong_signs=np.full(len(X), share))
    texts = [c.text for c in result.caveats if c.code == "few-draws"]
    assert len(texts) == said
    if said:
        assert "differ in the sign of 40 % of the pixels: the attack is limited by its draws" in texts[0]
    np.testing.assert_array_equal(result.images["wrong_signs"], share)
