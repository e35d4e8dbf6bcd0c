"""Training as A2SNN's authors' code has it, and the plain formulas of what else that code does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn
from cupy_double import Module
from trainers import trainer_of

import npsnn
from npsnn import models
from npsnn.data import Split, digits
from npsnn.layers.moments import EXPECTATION, Moments
from npsnn.layers.params import flatten
from npsnn.models import Model
from npsnn.optim import Adam, Arrays
from npsnn.reference import alignment, authors_code
from npsnn.streams import Stream
from npsnn.testing.gradients import check_gradient
from npsnn.train import recipes
from npsnn.train.authors import (
    COMMITS,
    AuthorsDecay,
    AuthorsStart,
    LogEntropy,
    LogTrace,
    OneDraw,
    UnitMatrix,
    as_authors,
    decayed,
    start,
)
from npsnn.train.config import Config
from npsnn.train.constraints import SafeFactor
from npsnn.train.epochs import Trainer
from npsnn.train.flat import training_of
from npsnn.train.terms import MaxEntropy, summed
from npsnn.train.training import Training
from npsnn.workers.processes import Processes

L, W, B = "noise.L", "fc3.w", "fc3.b"
AUTHORS: dict[str, Any] = {
    "noise": "features",
    "learn_sigma": True,
    "propagation": "sampled",
    "loss": "cross-entropy",
    "max_entropy": 1.0,
    "alignment": 1.0,
    "authors_code": "b9824db",
}
PAPERS: dict[str, Any] = AUTHORS | {"authors_code": "4f752b8", "max_entropy": 0.1, "alignment": 0.5}


def split(count: int) -> Split:
    labels = np.arange(count) % 10
    return Split(digits.draw(labels, np.random.default_rng(0)), labels)


TRAIN = split(150)


@contextmanager
def training(threads: int = 1, micro_batch: int = 64, **options: Any) -> Iterator[Trainer]:
    config = Config(**AUTHORS | {"bottleneck": 8} | options)
    model = models.build("lenet5", (1, 28, 28), 10, config.sigma, "features", "full", config.bottleneck)
    with Processes(threads) as workers:
        yield trainer_of(config, replace(model, micro_batch=micro_batch), TRAIN, TRAIN, workers)


def features() -> tuple[Model, Arrays]:
    """Noise on 4 features, with an entropy above 0 and a diagonal of both signs, and weights of no special norm."""
    rng = np.random.default_rng(0)
    model = models.build("lenet5", (1, 28, 28), 5, 0.6, "features", "full", 4)
    params = {k: p.astype(np.float64) for k, p in flatten(model.init(rng)).items()}
    params[L] = np.tril(rng.normal(size=(4, 4)), -1) + np.diag([1.5, -1.2, 0.9, 1.1])
    return model, params


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("noise", "preactivation", "noise features, got preactivation"),
        ("covariance", "diagonal", "covariance full, got diagonal"),
        ("covariance", "scalar", "covariance full, got scalar"),
        ("propagation", "exact", "propagation sampled, got exact"),
        ("unit_classes", True, "unit_classes False, got True"),
        ("pairwise", True, "pairwise False, got True"),
    ],
)
def test_what_the_code_does_not_have_is_refused(name: str, value: Any, message: str) -> None:
    options = AUTHORS | {name: value}
    if name == "noise":
        options |= {"max_entropy": 0.0, "alignment": 0.0}
    if name == "propagation":
        options |= {"loss": "noise-aware"}
    for commit in COMMITS:
        with pytest.raises(ValueError, match=f"^authors_code {commit} needs {message}$"):
            Config(**options | {"authors_code": commit})


def test_noise_that_is_not_learned_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^authors_code b9824db needs learn_sigma True, got False$"):
        Config(**AUTHORS | {"learn_sigma": False, "max_entropy": 0.0})


def test_the_recipes_take_the_settings_of_the_code() -> None:
    late = {"authors_code": "b9824db"}
    config = recipes.config("a2snn-m5", "cifar10", **late)
    assert (config.max_entropy, config.alignment, config.unit_classes) == (1, 1, False)
    assert (config.optimizer, config.weight_decay, config.lr) == ("adam", 1e-4, 1e-2)
    assert recipes.config("a2snn-m3", "svhn", **late).alignment == 0
    assert recipes.config("a2snn-m5", "svhn", **late, alignment=0.3, optimizer="sgd").alignment == 0.3
    for name in ("a2snn-m0", "a2snn-m1", "a2snn-m2"):
        for commit in COMMITS:
            with pytest.raises(ValueError, match=f"authors_code {commit} needs"):
                recipes.config(name, "digits", authors_code=commit)
    paper = recipes.config("a2snn-m5", "cifar10")
    assert paper.authors_code is None and paper.unit_classes and paper.max_entropy == 0.1
    with pytest.raises(ValueError, match=r"^unknown commit '4f752b9', expected one of 4f752b8, b9824db"):
        recipes.recipe("a2snn-m5", "cifar10", "4f752b9")


@pytest.mark.parametrize(
    ("dataset", "lambdas", "epochs", "lr"),
    [("cifar10", (0.1, 1.0), 200, 1e-2), ("svhn", (0.05, 0.5), 200, 1e-2), ("fashion-mnist", (0.1, 0.5), 100, 1e-3)],
)
def test_the_papers_commit_has_the_papers_numbers(
    dataset: str, lambdas: tuple[float, float], epochs: int, lr: float
) -> None:
    config = recipes.config("a2snn-m5", dataset, authors_code="4f752b8")
    assert (config.max_entropy, config.alignment) == lambdas
    assert (config.epochs, config.lr, config.batch_size) == (epochs, lr, 128)
    assert (config.optimizer, config.weight_decay, config.unit_classes) == ("adam", 0, False)
    with pytest.raises(ValueError, match=r"^authors_code 4f752b8 needs weight_decay 0.0, got 0.0001$"):
        recipes.config("a2snn-m5", dataset, authors_code="4f752b8", weight_decay=1e-4)


def test_the_papers_commit_has_the_entropy_itself_and_one_norm_for_the_whole_matrix() -> None:
    made = training_of(Config(**PAPERS), (1, 28, 28), 10)
    assert made.terms == (MaxEntropy(0.1), LogTrace(0.5)) and made.noise == OneDraw()
    assert made.optimizer == Adam(1e-3) and AuthorsStart(0) in made.constraints and UnitMatrix() in made.constraints
    assert not any(isinstance(c, SafeFactor | AuthorsDecay) for c in made.constraints)
    assert Training.from_json(made.to_json()).constraints == made.constraints
    without = {"alignment": 0.0}, {"noise_only": True}
    for options in without:
        held = training_of(Config(**PAPERS | options), (1, 28, 28), 10)
        assert UnitMatrix() not in held.constraints
    with pytest.raises(ValueError, match=r"^unknown commit 'b9824da', expected one of 4f752b8, b9824db"):
        as_authors(made, "b9824da")


def test_the_whole_matrix_is_divided_by_its_norm_after_an_update_alone() -> None:
    model, params = features()
    held = UnitMatrix()
    assert held.begin(model, params) is params
    after = held.after(model, params)
    assert {k for k, p in after.items() if (p != params[k]).any()} == {W}
    np.testing.assert_allclose(after[W], params[W] / np.sqrt((params[W] ** 2).sum()), rtol=1e-14)
    np.testing.assert_array_equal(held.after(model, params | {W: 0 * params[W]})[W], 0)
    with training(**{k: PAPERS[k] for k in ("authors_code", "max_entropy", "alignment")}) as trainer:
        state = trainer.initial()
        grads = trainer.gradient(state.params, np.arange(64)).grads
        assert grads is not None and np.linalg.norm(state.params[W]) > 1.1
        expected, _ = Adam().update(state.params, grads, state.optimizer, 1e-3, 1)
        moved = trainer.updated(state, grads, 1e-3).params
        np.testing.assert_allclose(moved[W], authors_code.unit_matrix(expected[W]), rtol=1e-6)
        np.testing.assert_array_equal(moved[B], expected[B])


def test_a_run_of_an_earlier_version_keeps_its_meaning() -> None:
    saved = asdict(Config(**AUTHORS))
    assert Config.from_json(saved | {"authors_code": True}) == Config(**AUTHORS)
    assert Config.from_json(asdict(Config()) | {"authors_code": False}) == Config()
    assert Config.from_json(saved) == Config(**AUTHORS) and saved["authors_code"] == "b9824db"


def test_the_rewards_are_two_logarithms() -> None:
    chosen, (model, params) = (LogEntropy(0.3), LogTrace(0.7)), features()
    value, grads = summed(chosen, model, params)
    entropy, log_trace = authors_code.log_entropy_slopes(params[L])[0], authors_code.log_trace(params[W], params[L])
    assert value == pytest.approx(-0.3 * entropy - 0.7 * log_trace)
    at = {L: params[L], W: params[W]}
    lower = np.tril(np.ones((4, 4)))
    check_gradient(lambda a: float(summed(chosen, model, params | a | {L: a[L] * lower})[0]), at, grads)


def test_noise_without_a_logarithm_stops_the_training_with_a_reason() -> None:
    with training() as trainer:
        params = trainer.initial().params
        params[L] = params[L] * 1e-3
        with pytest.raises(ValueError, match=r"entropy of the noise must be > 0 .*audit B2"):
            trainer.gradient(params, np.arange(10))


def test_nothing_is_projected_but_the_cap_of_the_noise() -> None:
    model, params = features()
    with training(sigma_max=0.7) as trainer:
        for constraint in trainer.constraints:
            capped = constraint.after(model, params)
            assert {k for k, p in params.items() if (capped[k] != p).any()} <= {L}
            assert (np.sign(capped[L]) == np.sign(params[L])).all()
            params = capped
    assert float(model.noise[1].level({"L": params[L]})) == pytest.approx(0.7)


def test_the_start_is_uniform_in_the_triangle_and_keyed_by_the_seed() -> None:
    model, params = features()
    first, again, other = (start(seed, model, params) for seed in (1, 1, 2))
    assert all((first[k] == p).all() for k, p in params.items() if k != L)
    np.testing.assert_array_equal(first[L], again[L])
    assert (np.triu(first[L], 1) == 0).all() and (first[L] >= 0).all() and (first[L] < 1).all()
    assert (first[L] != other[L])[np.tril_indices(4)].all()
    with training(bottleneck=32) as trainer:
        drawn = trainer.initial().params
        assert drawn[L].dtype == np.float32
        entries = drawn[L][np.tril_indices(32)]
        assert entries.mean() == pytest.approx(0.5, abs=0.07) and entries.std() == pytest.approx(12**-0.5, abs=0.03)
        assert float(np.linalg.norm(drawn[W], axis=1).std()) > 1e-3


def test_decay_goes_through_the_gradients_of_the_noise_and_the_head() -> None:
    model, params = features()
    params[B] = np.arange(5.0)
    grads = decayed(0.1, model, params, {k: 0 * p for k, p in params.items()})
    moved = {k for k, g in grads.items() if (g != 0).any()}
    assert moved == {L, W, B}
    np.testing.assert_allclose(grads[L], authors_code.decayed(0 * params[L], params[L], 0.1))
    assert decayed(0.1, model, params, {L: params[L]}).keys() == {L}


def test_a_step_is_adams_with_the_decay_inside() -> None:
    with training(weight_decay=0.1, lr=1e-3) as trainer:
        state = trainer.initial()
        grads = trainer.gradient(state.params, np.arange(64)).grads
        assert grads is not None
        wanted = {k: g + 0.1 * state.params[k] if k in (L, W, B) else g for k, g in grads.items()}
        expected, _ = Adam().update(state.params, wanted, state.optimizer, 1e-3, 1)
        after = trainer.updated(state, grads, 1e-3).params
        for k, p in expected.items():
            np.testing.assert_array_equal(after[k], p)
        assert (np.triu(after[L], 1) == 0).all()


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_one_draw_is_the_same_for_every_sample(kind: str) -> None:
    stream = Stream(3, first=256).at("training").one_draw()
    draw = getattr(stream.at("noise"), kind)
    found = draw(np.empty((5, 7), np.float32))
    assert found.shape == (5, 7) and found.dtype == np.float32
    assert (found == found[:, :1]).all() and len(np.unique(found)) == 5
    part = getattr(stream.from_sample(300).at("noise"), kind)(np.empty((5, 2), np.float32))
    np.testing.assert_array_equal(part, found[:, :2])
    for other in (Stream(3, first=384).at("training"), Stream(4, first=256).at("training"), Stream(3, first=256)):
        assert (getattr(other.one_draw().at("noise"), kind)(np.empty((5, 7), np.float32)) != found).all()
    assert draw(np.empty((5, 0), np.float32)).shape == (5, 0)


@pytest.mark.slow
def test_a_batch_has_one_draw_whatever_the_threads_and_the_micro_batches() -> None:
    chosen, draws = np.arange(100), Stream(0, first=128).at("training", 1)
    found = {}
    for threads, size in ((1, 64), (3, 64), (2, 7)):
        with training(threads, size) as trainer:
            found[threads, size] = trainer.gradient(trainer.initial().params, chosen, draws)
    one, many, small = found.values()
    assert one.grads is not None and many.grads is not None and small.grads is not None
    assert one.loss == many.loss and all((one.grads[k] == g).all() for k, g in many.grads.items())
    assert small.loss == pytest.approx(one.loss, rel=1e-5)
    for k, g in small.grads.items():
        np.testing.assert_allclose(g, one.grads[k], rtol=1e-2, atol=1e-5 * abs(g).max())


def test_the_gradient_of_a_batch_is_that_of_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, noises, noise = np.arange(100), [], OneDraw.noise
    monkeypatch.setattr(OneDraw, "noise", lambda *given: noises.append(noise(*given)) or noises[-1])
    with training(micro_batch=32, max_entropy=0.0, alignment=0.0) as trainer:
        params = {k: p.astype(np.float64) for k, p in trainer.initial().params.items()}
        draws = Stream(0, first=128).at("training", 1)
        grads = trainer.gradient(params, chosen, draws).grads
        assert grads is not None
        network = trainer.network(params)
        x = network.to_engine(TRAIN.images[chosen])
        F = trainer.model.before_noise.forward(network.params, Moments(x), EXPECTATION)[0].mean.T
    assert len(noises) == 4 and all(heard == noises[0] for heard in noises)
    eps = noises[0].at("noise").stream.normal(F[:1].T)[:, 0]
    want = authors_code.one_draw(F, TRAIN.labels[chosen], params[W], params[B], params[L], eps)
    np.testing.assert_allclose(grads[L], want.L, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grads[W], want.W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grads[B], want.b, rtol=1e-9, atol=1e-12)


def test_a_gpu_computes_the_same(cupy: Module) -> None:
    chosen, (model, params) = (LogEntropy(1.0), LogTrace(1.0)), features()
    there = {k: cupy.asarray(p) for k, p in params.items()}
    (value, grads), (wanted, plain) = summed(chosen, model, there), summed(chosen, model, params)
    assert float(value) == pytest.approx(wanted)
    for found, want in ((grads, plain), (decayed(0.1, model, there, there), decayed(0.1, model, params, params))):
        for k, p in want.items():
            np.testing.assert_allclose(cupy.asnumpy(found[k]), p, rtol=1e-12)
    stream = Stream(3, first=256).one_draw()
    drawn = cupy.asnumpy(stream.normal(there[L]))
    assert (drawn == drawn[:, :1]).all() and len(np.unique(drawn)) == 4
    np.testing.assert_array_equal(drawn, cupy.asnumpy(stream.from_sample(300).normal(there[L])))
    begun = cupy.asnumpy(start(0, model, there)[L])
    assert (np.triu(begun, 1) == 0).all() and 0 <= begun.min() < begun.max() < 1


@pytest.mark.slow
def test_the_command(npsnn: Npsnn, tmp_path: Path) -> None:
    options = ("--recipe", "a2snn-m5", "--authors-code", "b9824db", "--model", "lenet5", "--limit", 64, "--epochs", 1)
    shown = json.loads(npsnn("train", *options, "--show").out)
    assert shown["authors_code"] == "b9824db" and shown["alignment"] == 1 and not shown["unit_classes"]
    where = ("--data-dir", tmp_path / "data", "--runs-dir", tmp_path / "runs")
    outcome = npsnn("train", *options, *where)
    assert outcome.code == 0 and "sigma learned from the authors' start" in outcome.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "config.json").read_text())["train"]["authors_code"] == "b9824db"
    resumed = npsnn("train", "--resume", folder, "--epochs", 2, *where[:2])
    assert resumed.code == 0 and "2 " in resumed.err
    _as_of_an_earlier_version(folder)
    again = npsnn("train", "--resume", folder, "--epochs", 3, *where[:2])
    assert again.code == 0, again.err
    shown = json.loads(npsnn("train", "--config", folder / "config.json", "--show").out)
    assert shown["authors_code"] == "b9824db"


def _as_of_an_earlier_version(folder: Path) -> None:
    """Make the options in the files of a run those that an earlier version wrote."""
    path = folder / "config.json"
    about = json.loads(path.read_text())
    about["train"]["authors_code"] = True
    path.write_text(json.dumps(about))


FORMS: dict[tuple[str, ...], str | None] = {
    (): None,
    ("--authors-code",): "4f752b8",
    ("--authors-code", "--limit", "64"): "4f752b8",
    ("--authors-code", "b9824db"): "b9824db",
    ("--authors-code=b9824db",): "b9824db",
}


@pytest.mark.parametrize("options", FORMS, ids=" ".join)
def test_the_flag_alone_is_the_papers_commit(npsnn: Npsnn, options: tuple[str, ...]) -> None:
    shown = json.loads(npsnn("train", "--recipe", "a2snn-m5", *options, "--show").out)
    assert shown["authors_code"] == FORMS[options]
    assert shown["weight_decay"] == (1e-4 if FORMS[options] == "b9824db" else 0)


@pytest.mark.parametrize(
    ("written", "commit"), [("true", "4f752b8"), ('"4f752b8"', "4f752b8"), ('"b9824db"', "b9824db")]
)
def test_a_file_of_options_says_what_the_command_line_says(
    npsnn: Npsnn, tmp_path: Path, written: str, commit: str
) -> None:
    file = tmp_path / "options.toml"
    file.write_text(f'[train]\nrecipe = "a2snn-m5"\nauthors-code = {written}\n')
    assert json.loads(npsnn("train", "--config", file, "--show").out)["authors_code"] == commit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--authors-code", "--unit-classes"), "--authors-code 4f752b8 needs --unit-classes False, got True"),
        (("--authors-code", "--weight-decay", "0.1"), "--authors-code 4f752b8 needs --weight-decay 0.0, got 0.1"),
        (("--authors-code", "4f752b9"), "'4f752b9' is not one of '4f752b8', 'b9824db'. Did you mean 4f752b8?"),
    ],
)
def test_wrong_usage(npsnn: Npsnn, options: tuple[str, ...], message: str) -> None:
    refused = npsnn("train", "--recipe", "a2snn-m5", *options, "--show")
    assert refused.code == 2 and message in refused.err


def test_the_plain_formulas_in_their_limits() -> None:
    rng = np.random.default_rng(0)
    w, factor = rng.normal(size=(1, 5)), np.tril(rng.normal(size=(5, 5)))
    assert authors_code.log_trace(w, factor) == pytest.approx(alignment.weight_covariance_alignment(w, factor))
    assert authors_code.softplus(-800.0) == 0 and authors_code.softplus(800.0) == 800
    assert authors_code.softplus(0.0) == pytest.approx(np.log(2))
    raw = np.array([0.0])
    assert authors_code.drawn_trace(np.ones((2, 1)), raw) == pytest.approx(2 * np.log(2) ** 2)
    assert authors_code.raw_trace(np.ones((2, 1)), raw) == 0
    assert authors_code.start_without_entropy(1) == pytest.approx((2 * np.pi * np.e) ** -0.5)
    assert authors_code.best_of(1) == pytest.approx(0, abs=1e-9)
    p = np.full(4, 0.3)
    assert authors_code.one_pass_error(p) == pytest.approx(np.sqrt(0.21) / 2)
    assert authors_code.shared_pass_error(p) == pytest.approx(np.sqrt(0.21))


def test_one_file_of_the_engine_knows_of_the_option() -> None:
    engine = Path(npsnn.__file__).parent
    knowing = [path for path in engine.rglob("*.py") if "authors_code" in path.read_text(encoding="utf-8")]
    assert [path.name for path in knowing if "audit" not in path.parts] == ["config.py"]
