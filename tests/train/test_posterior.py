"""The divergence of noisy weights from their prior."""

from pathlib import Path

import numpy as np
import pytest
from bayesian_networks import bayesian
from hypothesis import given
from hypothesis import strategies as st
from small_networks import on_weights, several

from npsnn.data import Dataset, Split
from npsnn.layers.params import flatten
from npsnn.optim import Arrays, Ramp, Times
from npsnn.runs import checkpoint
from npsnn.testing import check_gradient
from npsnn.train import CrossEntropy, Decay, Drawn, Epoch, KLDivergence, Role, SigmaFloor, Training, fit, resume


def drawn(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {k: rng.normal(-0.5, 0.7, p.shape) for k, p in flatten(bayesian().init(rng)).items()}


PAIRS = [("conv.w", "conv.rho"), ("block.body.fc.w", "block.body.fc.rho"), ("block.body.fc.b", "block.body.fc.rho_b")]
LAST = [("fc3.w", "fc3.rho"), ("fc3.b", "fc3.rho_b")]


def by_hand(params: Arrays, pairs: list[tuple[str, str]], prior: float) -> float:
    """Σ KL(N(mu, s²)‖N(0, prior²)), one weight after the other."""
    value = 0.0
    for mean, log_std in pairs:
        for mu, rho in zip(params[mean].ravel(), params[log_std].ravel(), strict=True):
            s = np.exp(rho)
            value += np.log(prior / s) + (s**2 + mu**2) / (2 * prior**2) - 0.5
    return float(value)


@given(st.integers(0, 99), st.floats(0, 10), st.floats(0.05, 5))
def test_the_value_is_the_sum_over_weights(seed: int, weight: float, prior: float) -> None:
    params = drawn(seed)
    for last_only, pairs in ((False, PAIRS + LAST), (True, LAST)):
        value, grads = KLDivergence(weight, prior, last_only)(bayesian(), params)
        assert value == pytest.approx(weight * by_hand(params, pairs, prior), rel=1e-9)
        assert grads.keys() == {name for pair in pairs for name in pair}


@pytest.mark.parametrize("last_only", [False, True])
def test_gradients_are_those_of_the_value(last_only: bool) -> None:
    params, term = drawn(), KLDivergence(0.7, 0.3, last_only)
    grads = term(bayesian(), params)[1]
    check_gradient(lambda a: float(term(bayesian(), a)[0]), params, {k: grads.get(k) for k in params}, entries=6)


def test_it_is_the_mean_of_the_logarithm_of_the_ratio_of_densities() -> None:
    """Within five standard errors of draws of the posterior."""
    params, prior, draws = drawn(), 0.8, 20_000
    rng, ratios = np.random.default_rng(2), np.zeros(draws)
    for mean, log_std in LAST:
        mu, s = params[mean].ravel(), np.exp(params[log_std].ravel())
        noise = rng.standard_normal((draws, len(mu)))
        w = mu + s * noise
        ratios += (np.log(prior / s) - noise**2 / 2 + w**2 / (2 * prior**2)).sum(axis=1)
    value = float(KLDivergence(1.0, prior, last_only=True)(bayesian(), params)[0])
    assert abs(ratios.mean() - value) < 5 * ratios.std() / draws**0.5


def test_the_prior_itself_has_no_divergence() -> None:
    params = {k: np.full_like(p, np.log(0.3)) if "rho" in k else p * 0 for k, p in drawn().items()}
    value, grads = KLDivergence(2.0, 0.3)(bayesian(), params)
    assert value == pytest.approx(0, abs=1e-12)
    assert all(np.allclose(g, 0, atol=1e-12) for g in grads.values())


def test_gradients_have_the_precision_of_the_parameters() -> None:
    params = {k: p.astype(np.float32) for k, p in drawn().items()}
    value, grads = KLDivergence(0.1, 0.3)(bayesian(), params)
    assert {g.dtype for g in grads.values()} == {np.dtype(np.float32)} and np.asarray(value).dtype == np.float64


def test_what_is_no_posterior_is_refused() -> None:
    network = several(0.3)
    with pytest.raises(ValueError, match="KLDivergence needs noisy weights of the spread free, several has none"):
        KLDivergence(0.1, 0.3)(network.model, flatten(network.params))
    for prior in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"prior must be > 0 and finite, got {prior}"):
            KLDivergence(0.1, prior)
    with pytest.raises(ValueError, match="prior must be of the type float, got 'x'"):
        KLDivergence(0.1, "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight must be >= 0 and finite, got -1"):
        KLDivergence(-1, 0.1)


LABELS = np.arange(60) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 2, 3, 4), np.uint8)
DATA = Dataset("few", Split(IMAGES, LABELS), Split(IMAGES[:9], LABELS[:9]), 3, {})


def test_a_posterior_is_trained_to_the_same_bytes_by_any_threads_and_after_a_stop(tmp_path: Path) -> None:
    training = Training(
        on_weights(micro_batch=8, dropout=0.2),
        loss=CrossEntropy(),
        noise=Drawn(Ramp(0.5)),
        terms=KLDivergence(Times(1e-3, Ramp(1.0)), 0.1),
        constraints=[SigmaFloor(0.01), Decay(("*.alpha",), 3e-4)],
        trains=Role.ALL,
        epochs=2,
        batch_size=20,
    )
    for name, threads in (("one", 1), ("two", 2)):
        assert all(np.isfinite(each.loss) for each in fit(training, DATA, tmp_path / name, threads=threads))
    run = fit(training, DATA, tmp_path / "half", threads=1)
    next(each for each in run if isinstance(each, Epoch))
    del run
    assert len([each for each in resume(tmp_path / "half", DATA, threads=1) if isinstance(each, Epoch)]) == 1
    for file in (checkpoint.LAST, checkpoint.BEST):
        one, *others = ((tmp_path / name / file).read_bytes() for name in ("one", "two", "half"))
        assert others == [one, one]
    last = checkpoint.load_arrays(tmp_path / "one" / checkpoint.LAST)[0]
    noise = {
        k: p for k, p in flatten(training.model.init(np.random.default_rng(0))).items() if "rho" in k or "alpha" in k
    }
    assert noise and all((last[f"params/{name}"] != p).all() for name, p in noise.items())
