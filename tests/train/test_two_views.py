"""Losses of several views against slow plain versions, in their limits, and in short trainings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, normalised, several

from npsnn import attacks, train
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers.moments import EXPECTATION, WHOLE, Expectation, Propagated, Sampled
from npsnn.ops import blocks
from npsnn.reference import two_views as reference
from npsnn.streams import Stream
from npsnn.train import BPFC, MART, MSE, RLFLAT, TRADES, CleanAndAttacked, CrossEntropy, Drawn, Training
from npsnn.train.epochs import Epoch, Trainer
from npsnn.train.losses import view
from npsnn.train.losses.adversarial import attacked
from npsnn.workers.processes import Processes

TRAIN = Split(digits.draw(np.arange(48) % 10, np.random.default_rng(0)), np.arange(48) % 10)
DATA = Dataset("tiny", TRAIN, TRAIN, 10, {})
LABELS = np.array([0, 1, 2, 0, 1])
STREAM = Stream(3).at("loss")
FEW = attacks.Inner(0.1, steps=2, step_size=0.06)
SOFT = attacks.Inner(0.1, steps=2, step_size=0.06, start="gauss", labels="soft")


@dataclass(frozen=True)
class Still:
    """An attack that leaves the images as they are."""

    ball = attacks.Ball("linf", 0.5)

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        return x


@dataclass(frozen=True)
class Refuses(Still):
    """An attack that nobody may ask for."""

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        raise AssertionError("this attack must not be asked")


def logits(seed: int, views: int, scale: float = 2.0) -> list[np.ndarray]:
    return list(scale * np.random.default_rng(seed).normal(size=(views, 3, 5)))


P, T = RLFLAT(FEW, 0.7), RLFLAT(SOFT, 0.7, "T", 2.0)
OF_LOGITS: dict[str, tuple[Callable[..., tuple[np.ndarray, ...]], int, Callable[..., Any]]] = {
    "trades": (TRADES(2.0, FEW).values, 2, lambda *a: reference.trades(*a, 2.0)),
    "mart": (MART(3.0, FEW).values, 2, lambda *a: reference.mart(*a, 3.0)),
    "mart, code": (MART(3.0, FEW, safeguards=True).values, 2, lambda *a: reference.mart_of_the_code(*a, 3.0)),
    "bpfc": (BPFC(5, 0.5).values, 2, lambda *a: reference.bpfc(*a, 0.5)),
    "rlflat, P": (P.plain_values, 2, lambda *a: reference.rlflat_p(*a, 0.7)),
    "rlflat, T": (T.values, 3, lambda *a: reference.rlflat_t(*a, 0.7, 2.0)),
}
each_loss = pytest.mark.parametrize("name", OF_LOGITS)


@each_loss
def test_values_are_those_of_the_paper(name: str) -> None:
    """And each cotangent sums to 0 over the classes, but for the distance, which moves all logits alike."""
    values, count, by_loops = OF_LOGITS[name]
    z = logits(0, count)
    found, *slopes = values(*z, LABELS)
    wanted = [by_loops(*(v[:, n].tolist() for v in z), int(k)) for n, k in enumerate(LABELS)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    np.testing.assert_allclose(sum(slopes).sum(axis=0), 0, atol=1e-13)
    if name.startswith(("trades", "mart")):
        assert all(np.abs(g.sum(axis=0)).max() < 1e-13 for g in slopes)
    again, *none = values(*[z[0]] * count, LABELS)
    assert np.isfinite(again).all()
    if not name.startswith(("mart", "rlflat, P")):
        assert all(np.abs(g).max() < 1e-13 for g in none[1:]), "views that agree have nothing to pull"


@each_loss
def test_margins_of_a_thousand_give_numbers_in_single_precision(name: str) -> None:
    values, count, _ = OF_LOGITS[name]
    z = [1000 * np.sign(v).astype(np.float32) for v in logits(1, count)]
    for a in values(*z, LABELS):
        assert np.isfinite(a).all() and a.dtype == np.float32


@pytest.mark.parametrize(
    "noise", [EXPECTATION, Sampled(Stream(1).at("noise")), Propagated()], ids=["off", "drawn", "carried"]
)
def test_without_a_weight_the_first_term_is_left(noise: Any) -> None:
    network, x = convolutional(), images(5)
    plain = CrossEntropy().gradient(network, x, LABELS, noise, STREAM)
    for loss in (TRADES(0.0, FEW), BPFC(5, 0.0), RLFLAT(SOFT, 0.0, "T", 0.0)):
        found = loss.gradient(network, x, LABELS, noise, STREAM)
        assert found.loss == plain.loss and found.correct == plain.correct
        assert all(np.abs(g - (plain.grads or {})[k]).max() < 1e-12 for k, g in (found.grads or {}).items())
    mart = MART(0.0, Still()).gradient(network, x, LABELS, noise, STREAM)
    seen = view(network, x, noise.at("attacked")).logits.mean
    wanted = sum(reference.mart(z.tolist(), z.tolist(), int(k), 0.0) for z, k in zip(seen.T, LABELS, strict=True))
    assert mart.loss == pytest.approx(wanted, rel=1e-11)


def test_each_view_has_draws_of_its_own() -> None:
    """So an image that no attack moves has two answers, and none the other's."""
    network, x, noise = several(), images(5), Sampled(Stream(1).at("noise"))
    plain = CrossEntropy().gradient(network, x, LABELS, noise, STREAM).loss
    assert TRADES(1.0, Still()).gradient(network, x, LABELS, noise, STREAM).loss > plain + 1e-4
    quiet = TRADES(1.0, Still()).gradient(network, x, LABELS, EXPECTATION, STREAM).loss
    assert quiet == pytest.approx(CrossEntropy().gradient(network, x, LABELS, EXPECTATION, STREAM).loss, rel=1e-12)
    loss = RLFLAT(Still(), 1e6)
    uncut = next(s for s in (STREAM.at(n) for n in range(99)) if not any(int(a[0]) for a in loss.cuts(x, s)))
    assert loss.gradient(network, x, LABELS, noise, uncut).loss > 1e3, "z' and z_s of images that no cut changes"
    assert loss.gradient(network, x, LABELS, EXPECTATION, uncut).loss < 1e2


def test_clean_and_attacked_images_are_two_losses() -> None:
    network, x, noise = convolutional(), images(5), Sampled(Stream(1).at("noise"))
    moved = attacked(network, x, LABELS, FEW, 1.0, STREAM)
    clean = MSE().gradient(network, x, LABELS, noise, STREAM)
    adversarial = MSE().gradient(network, moved, LABELS, noise.at("attacked"), STREAM)
    found = CleanAndAttacked(FEW, 0.25, MSE()).gradient(network, x, LABELS, noise, STREAM)
    assert found.loss == pytest.approx(0.75 * clean.loss + 0.25 * adversarial.loss, rel=1e-14)
    assert found.correct == clean.correct
    for name, g in (found.grads or {}).items():
        wanted = 0.75 * (clean.grads or {})[name] + 0.25 * (adversarial.grads or {})[name]
        np.testing.assert_allclose(g, wanted, rtol=1e-12, atol=1e-15)
    all_of_it = CleanAndAttacked(FEW, 1.0, MSE()).gradient(network, x, LABELS, noise, STREAM)
    assert all_of_it.loss == adversarial.loss


def test_a_weight_is_no_weight_of_statistics() -> None:
    model, x, labels = normalised(16), TRAIN.images[:9], TRAIN.labels[:9]
    network = Classifier(model, model.init(np.random.default_rng(0)), threads=1)
    one = CrossEntropy().gradient(network, x, labels, Expectation(WHOLE), STREAM)
    found = train.weighted(network, (2.0, one), (3.0, one))
    assert found.loss == pytest.approx(5 * one.loss) and found.correct == one.correct
    for name, g in (one.grads or {}).items():
        factor = 1 if "running" in name else 5
        np.testing.assert_allclose((found.grads or {})[name], factor * g, rtol=1e-6, atol=1e-9, err_msg=name)


def test_an_attack_without_a_weight_is_not_asked() -> None:
    network, x, noise = convolutional(), images(5), Sampled(Stream(1).at("noise"))
    clean = MSE().gradient(network, x, LABELS, noise, STREAM)
    none = CleanAndAttacked(Refuses(), 0.0, MSE()).gradient(network, x, LABELS, noise, STREAM)
    assert none.loss == clean.loss and all((g == (clean.grads or {})[k]).all() for k, g in (none.grads or {}).items())
    with pytest.raises(AssertionError, match="must not be asked"):
        CleanAndAttacked(Refuses(), 1e-9, MSE()).gradient(network, x, LABELS, noise, STREAM)


@pytest.mark.parametrize(("bits", "capped"), [(1, False), (5, False), (7, False), (7, True), (8, False)])
def test_images_are_quantised_as_the_code_does(bits: int, capped: bool) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(8, 1, 8, 4)
    amplitude = 2.0 ** (min(bits - 2, 3) if capped else bits - 2)
    found = BPFC(bits, 1.0, capped).quantised(levels / 255, STREAM)
    uniform = STREAM.uniform(np.empty(levels.shape))
    wanted = reference.quantised([int(a) for a in levels.ravel()], uniform.ravel().tolist(), bits, amplitude)
    np.testing.assert_allclose(found.ravel(), wanted, rtol=0, atol=1e-12)
    part = BPFC(bits, 1.0, capped).quantised(levels[..., 1:] / 255, STREAM.further(1))
    np.testing.assert_array_equal(part, found[..., 1:])
    off = 255 * found / 2 ** (bits - 1)
    assert ((np.abs(off - np.rint(off)) < 1e-9) | (found == 1) | (found == 0)).all()


def test_blocks_change_places() -> None:
    x = np.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).astype(float)
    by = (np.array([1]), np.array([4]))
    found, back = blocks.turned(x, by), tuple(-b for b in by)
    for n in range(2):
        for c in range(3):
            rows = reference.swapped(x[n, c].tolist(), 1)  # type: ignore[arg-type]
            assert found[n, c].tolist() == [reference.swapped(row, 4) for row in rows]  # type: ignore[arg-type]
    np.testing.assert_array_equal(blocks.turned(found, back), x)
    y = np.random.default_rng(0).normal(size=x.shape)
    assert (found * y).sum() == pytest.approx((x * blocks.turned(y, back)).sum(), rel=1e-12)


def test_cuts_are_anywhere_and_half_of_them_change_nothing() -> None:
    n, count = 6, 4000
    uniform = Stream(0).uniform(np.empty((4, count), np.float32))
    for by in (a for u in [uniform] for a in blocks.offsets(u, (n, n))):
        assert by.shape == (count,) and by.min() == 0 and by.max() == n - 1
        share = np.bincount(by, minlength=n) / count
        wanted = np.r_[0.5 + 0.5 / n, np.full(n - 1, 0.5 / n)]
        assert (np.abs(share - wanted) < 5 * np.sqrt(wanted / count)).all()
    assert blocks.offsets(np.nextafter(np.full((4, 1), 1, np.float32), 0), (33, 3))[0] == 0  # below 1/2 alone change
    last = np.array([[np.nextafter(np.float32(1), np.float32(0))], [0]] * 2, np.float32)
    assert [int(a[0]) for a in blocks.offsets(last, (33, 3))] == [32, 2]


def test_a_batch_has_one_cut_whatever_its_parts() -> None:
    found = []
    for micro_batch in (4, 24):
        training = Training(normalised(micro_batch), RLFLAT(Still()), Drawn(), batch_size=24)
        with Processes(1) as workers:
            trainer = Trainer(training, TRAIN, TRAIN, workers, "cpu")
            params = {k: p.astype(np.float64) for k, p in trainer.initial().params.items()}
            each = [trainer.gradient(params, np.arange(24), Stream(s).from_sample(24)).loss for s in range(6)]
        found.append(each)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    assert len(set(found[0])) > 2


QUICK = attacks.Inner(0.1, steps=2, step_size=0.06, start="gauss", labels="soft")
SHORT: dict[str, Any] = {
    "TRADES": TRADES(1.0, QUICK),
    "MART": MART(1.0, replace(QUICK, labels="true")),
    "CleanAndAttacked": CleanAndAttacked(replace(QUICK, labels="predicted")),
    "BPFC": BPFC(6, 0.1),
    "RLFLAT-P": RLFLAT(replace(QUICK, labels="true"), 0.1),
    "RLFLAT-T": RLFLAT(QUICK, 0.1, "T", 1.0),
}


def short(loss: Any, folder: Path, epochs: int) -> list[Epoch]:
    training = Training(normalised(16), loss, Drawn(), optimizer=train.Adam(3e-3), epochs=epochs, batch_size=16, seed=1)
    return [record for record in train.fit(training, DATA, folder, threads=1) if isinstance(record, Epoch)]


@pytest.mark.parametrize("name", SHORT)
def test_a_short_training_lowers_the_loss(name: str, tmp_path: Path) -> None:
    records = short(SHORT[name], tmp_path, 4)
    assert records[-1].loss < 0.9 * records[0].loss


def test_a_training_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    short(SHORT["RLFLAT-T"], whole, 3)
    short(SHORT["RLFLAT-T"], half, 1)
    assert list(train.resume(half, DATA, threads=1, epochs=3))
    assert (whole / "last.npz").read_bytes() == (half / "last.npz").read_bytes()


def test_a_weight_may_follow_a_schedule() -> None:
    """Images are attacked from the second epoch on alone, as in PNI's training."""
    delayed = CleanAndAttacked(Refuses(), train.Times(0.5, train.Since(0.5)))
    training = Training(normalised(48), delayed, Drawn(), epochs=2, batch_size=48)
    epochs = list[Epoch]()
    with pytest.raises(AssertionError, match="must not be asked"):
        epochs.extend(r for r in train.fit(training, DATA, threads=1) if isinstance(r, Epoch))
    assert len(epochs) == 1
    with pytest.raises(ValueError, match=r"weight must be >= 0 and finite throughout a training"):
        BPFC(5, train.Times(-1.0, train.Since(0.5)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TRADES(-1.0), "beta must be >= 0 and finite, got -1.0"),
        (lambda: MART(float("inf")), "weight must be >= 0 and finite, got inf"),
        (lambda: CleanAndAttacked(FEW, 1.5), r"attacked must be in \[0, 1\], got 1.5"),
        (lambda: BPFC(9), r"bits must be in 1 ... 8, got 9"),
        (lambda: BPFC(0), "bits must be >= 1, got 0"),
        (lambda: RLFLAT(form="Q"), "form must be one of P, T, got 'Q'"),
        (lambda: RLFLAT(form="T", beta=-1), "beta must be >= 0 and finite, got -1"),
    ],
)
def test_bad_settings_are_named(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_what_is_no_attack_is_refused() -> None:
    for kind in (TRADES, MART, CleanAndAttacked, RLFLAT):
        with pytest.raises(TypeError, match="an attack must be a value"):
            kind(attack=attacks.FGSM)


def test_defaults_are_those_of_the_papers() -> None:
    inner = attacks.Inner(8 / 255, "linf", 10, 2 / 255, "gauss", "soft")
    assert TRADES().attack == RLFLAT(form="T").attack == inner
    assert MART().attack == replace(inner, labels="true")
    assert CleanAndAttacked().attack == replace(inner, start="uniform", labels="predicted")
    assert RLFLAT().attack == replace(inner, start="uniform", labels="true")
    assert (RLFLAT().weight, RLFLAT(form="T").weight, RLFLAT(form="T", weight=0.3).weight) == (0.5, 1.0, 0.3)
