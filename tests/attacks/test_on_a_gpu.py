"""Attacks on a GPU's network: images stay on the card, passes are graphs, and the host waits as often for any steps.

The GPU is the double, whose graphs do again what was recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from cupy_double import synchronisations
from small_networks import convolutional, images, on_features, predicted, several

from npsnn import attacks
from npsnn.attacks import Ball, ClosedForm, EoT, Expectation, Known
from npsnn.attacks.base import Attack, ask, takes_device, target_of
from npsnn.attacks.beside import halved
from npsnn.attacks.evaluation import Attacking, robust_accuracy, run
from npsnn.attacks.judging import Judging, judge
from npsnn.attacks.targets import NetworkTarget, expectation, sampled
from npsnn.backend import to_host
from npsnn.classifier import Classifier
from npsnn.gpu import graphs
from npsnn.layers.moments import EXPECTATION, Moments, Propagated, Sampled
from npsnn.models.passes import Passes
from npsnn.objectives import OBJECTIVES, cross_entropy
from npsnn.streams import Stream

X = images(6)
LABELS = predicted(convolutional(), X)
DRAWN = EoT(3)
NETWORKS: dict[str, Callable[[], Classifier]] = {"preactivation": convolutional, "features": on_features}
ATTACKS: dict[str, Any] = {
    "fgsm": attacks.FGSM(0.1, source=DRAWN),
    "bim": attacks.BIM(0.1, "l2", 4, source=DRAWN),
    "pgd": attacks.PGD(0.1, steps=3, restarts=2, source=DRAWN),
    "pgd, closed form": attacks.PGD(0.1, "l2", 4, source=ClosedForm("noise-aware", "laplace")),
    "pgd, closed form as it is": attacks.PGD(0.1, "l2", 4, source=ClosedForm()),
    "pgd, expectation": attacks.PGD(0.1, "l2", 4, source=Expectation()),
    "pgd, known": attacks.PGD(0.1, "l2", 4, source=Known(7)),
    "inner, predicted": attacks.Inner(0.1, "l2", 3, 0.04, labels="predicted", source=DRAWN),
    "inner, soft": attacks.Inner(0.1, "linf", 3, 0.04, "gauss", "soft", source=ClosedForm()),
    "mi-fgsm": attacks.MomentumFGSM(0.1, steps=3, source=DRAWN),
    "apgd": attacks.APGD(0.1, steps=4, restarts=2, source=DRAWN),
    "apgd, closed form": attacks.APGD(0.1, "l2", 4, source=ClosedForm()),
    "apgd, known": attacks.APGD(0.05, steps=4, restarts=2, source=Known(7)),
    "apgd, l1": attacks.APGD(0.3, "l1", 10, source=Known(7)),
    "apgd-t": attacks.APGDT(0.1, "l2", 4, targets=2, source=DRAWN),
    "apgd-t, known": attacks.APGDT(0.05, steps=4, source=Known(7)),
    "fab-t": attacks.FAB(0.1, steps=3, targets=2, source=DRAWN),
    "fab-t, closed form": attacks.FAB(0.5, "l2", 3, source=ClosedForm()),
    "fab-t, known": attacks.FAB(0.1, steps=3, source=Known(7)),
    "fmn": attacks.FMN(steps=6, source=DRAWN),
    "fmn, closed form": attacks.FMN(norm="l1", steps=6, source=ClosedForm()),
    "fmn, expectation": attacks.FMN(norm="l2", steps=6, source=Expectation()),
    "fmn, known": attacks.FMN(norm="l0", steps=6, source=Known(7)),
    "random": attacks.RandomSearch(0.1, samples=4, draws=3),
    "square": attacks.Square(0.1, queries=15, source=DRAWN),
    "square, expectation": attacks.Square(0.5, "l2", 15, source=Expectation()),
    "square, known": attacks.Square(0.1, queries=15, source=Known(7)),
    "sparse-rs": attacks.SparseRS(4, 15, source=DRAWN),
    "spsa": attacks.SPSA(0.1, steps=2, directions=3, source=DRAWN),
    "spsa, known": attacks.SPSA(0.5, "l2", 2, 3, source=Known(7)),
    "cw": attacks.CarliniWagner(steps=4, searches=2, draws=3, source=DRAWN),
    "cw, closed form": attacks.CarliniWagner(steps=4, searches=2, draws=3, source=ClosedForm()),
    "one-pixel": attacks.OnePixel(1, population=5, generations=3, draws=3, source=DRAWN),
}


def left(network: Classifier, attack: Any, count: int = 6) -> Any:
    """The result of an attack, as the harness has it."""
    (result,) = robust_accuracy(network, X[:count], LABELS[:count], [attack], Judging(draws=3, seed=1))
    return result


def figures(result: Any) -> list[np.ndarray]:
    return [result.x_adv, result.accuracy.each, result.met_zero, result.met_bad, np.array(result.misread_once)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["preactivation", pytest.param("features", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ATTACKS)
def test_graphs_change_no_bit(double: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    recorded, record = [], graphs._recorded
    monkeypatch.setattr(graphs, "_recorded", lambda *given: recorded.append(1) or record(*given))
    network = NETWORKS[kind]()
    found = figures(left(network.to("cuda"), ATTACKS[name]))
    assert recorded
    monkeypatch.setenv("NPSNN_GRAPH", "0")
    recorded.clear()
    for ours, plain in zip(found, figures(left(network.to("cuda"), ATTACKS[name])), strict=True):
        assert isinstance(ours, np.ndarray) and ours.tobytes() == plain.tobytes()
    assert not recorded and (found[0] != X).any()


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("kind", ["preactivation", pytest.param("features", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_gpu_finds_what_a_cpu_finds(double: ModuleType, name: str, kind: str) -> None:
    """In double precision; a gradient whose sign decides is none of almost 0 here."""
    network = NETWORKS[kind]()
    for ours, theirs in zip(*(figures(left(c, ATTACKS[name])) for c in (network.to("cuda"), network)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def waits(network: Classifier, attack: Any, count: int = 6) -> int:
    """How often the host waits for an attack and the judging, once its graphs are there."""
    left(network, attack, count)
    left(network, attack, count)
    with synchronisations() as counted:
        left(network, attack, count)
        return counted.total()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "one-pixel"])
def test_the_host_waits_no_more_for_more_steps(double: ModuleType, name: str) -> None:
    """Twice for the attack, images and notes, and twice for the control's; once for each of two judgings.

    And once for the signs that the draws of a gradient leave open, and for whether the answers are probabilities.
    """
    attack, network = ATTACKS[name], convolutional().to("cuda")
    more = {
        f: 2 * getattr(attack, f) for f in ("steps", "samples", "searches", "restarts", "queries") if hasattr(attack, f)
    }
    expected = 8 if name == "random" else 6 if halved(attack, target_of(attack, network)) else 5
    expected += isinstance(ask(attack, "source"), Known)  # without an attack the draw is judged as well
    assert waits(network, attack) == waits(network, replace(attack, **more)) == expected


def test_the_cost_of_an_attack_is_timed_on_the_card(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a graph that is there, with all draws of a gradient, and without moving an image."""
    network, recorded, record = convolutional().to("cuda"), [], graphs._recorded
    monkeypatch.setattr(graphs, "_recorded", lambda *given: recorded.append(1) or record(*given))
    with synchronisations() as counted:
        cost = attacks.cost(network, X, LABELS, [ATTACKS["pgd"]])
    assert cost.passes == 3 * (3 * 2 + 2) and len(recorded) == 2
    assert counted == {"bool": 1, "get": 6}, "whether there is noise, and three times for gradients and for answers"


def test_one_pixel_waits_once_for_each_generation_and_look(double: ModuleType) -> None:
    attack = replace(ATTACKS["one-pixel"], stop=None)
    network = convolutional().to("cuda")
    few, many = (waits(network, replace(attack, generations=g), count=1) for g in (1, 3))
    # the clean image, the first population, each generation; images, notes, probabilities, and two judgings
    assert (few, many) == (1 + 1 + 1 + 5, 1 + 1 + 3 + 5)


@dataclass(frozen=True)
class Signs(Attack):
    """As users write attacks, who know of no GPU."""

    eps: float = 0.1

    @property
    def ball(self) -> Ball:
        return Ball("linf", self.eps)

    def __call__(self, target: Any, x: Any, labels: Any, stream: Any) -> Any:
        loss, gradient = target(x, labels, stream)
        assert {type(a) for a in (x, labels, loss, gradient, target.value(x, labels, stream))} == {np.ndarray}
        assert isinstance(target.misread(x, labels, 2, stream), np.ndarray)
        return self.ball.project(x + self.eps * np.sign(gradient), x)


class Slower(attacks.PGD):
    """Inherits that it takes a GPU's arrays, and takes NumPy's."""

    def __call__(self, target: Any, x: Any, labels: Any, stream: Any) -> Any:
        return np.asarray(super().__call__(target, np.asarray(x), labels, stream))


class There(Signs):
    """Takes a GPU's arrays, by its own word."""

    on_device: ClassVar[bool] = True

    def __call__(self, target: Any, x: Any, labels: Any, stream: Any) -> Any:
        assert type(x).__module__ == type(labels).__module__ == "cupy"
        return self.ball.project(x + self.eps * (target(x, labels, stream)[1] > 0), x)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("attack", [Signs(), Slower(0.1, steps=2), There()], ids=lambda a: type(a).__name__)
def test_an_attack_of_ones_own_is_given_what_it_takes(attack: Any) -> None:
    assert takes_device(attack) == isinstance(attack, There)
    result = left(convolutional().to("cuda"), attack)
    assert isinstance(result.x_adv, np.ndarray) and (result.x_adv != X).any()


@pytest.mark.usefixtures("double")
def test_a_target_of_ones_own_is_given_numpys_arrays() -> None:
    @dataclass(frozen=True)
    class Halved(NetworkTarget):
        def __call__(self, x: Any, labels: Any, stream: Any) -> Any:
            loss, gradient = super().__call__(x, labels, stream)
            return np.asarray(loss), gradient + np.zeros(x.shape)

    target = Halved(convolutional().to("cuda"), "expectation", cross_entropy)
    found = run("pgd", attacks.PGD(0.1, steps=2), target, X, LABELS, 2, Stream(0))
    assert isinstance(found.x_adv, np.ndarray) and (found.x_adv != X).any()


def odd(m: Moments, labels: Any) -> tuple[Any, Moments]:
    """No slope for the label 0, and none that is a number for the label 1."""
    value, g = cross_entropy(m, labels)
    return value, Moments(g.mean * (labels != 0) / (labels != 1))


@pytest.mark.usefixtures("double")
@pytest.mark.filterwarnings("ignore:(divide|invalid|overflow):RuntimeWarning")
@pytest.mark.parametrize("draws", [1, 3])
def test_zero_and_non_finite_gradients_are_counted(monkeypatch: pytest.MonkeyPatch, draws: int) -> None:
    monkeypatch.setitem(OBJECTIVES._entries, "odd", odd)  # those of the table are recorded
    labels = np.array([0, 1, 2, 2, 0, 2])
    target = sampled(convolutional().to("cuda"), draws, odd)
    found = run("pgd", attacks.PGD(0.1, steps=3), target, X, labels, 2, Stream(0))
    np.testing.assert_array_equal(found.met_bad, labels == 1)
    # a gradient that is no number is passed on as 0
    np.testing.assert_array_equal(found.met_zero, labels == 0)
    assert (found.zero_gradients, found.bad_gradients) == (2, 1) and np.isfinite(found.x_adv).all()


@pytest.mark.filterwarnings("ignore:(divide|invalid|overflow):RuntimeWarning")
def test_logits_that_are_not_finite_are_an_error_on_the_host_and_nan_on_the_card(double: ModuleType) -> None:
    network = convolutional()
    fc = network.params["fc"]
    broken = replace(network, params=network.params | {"fc": fc | {"b": fc["b"] + np.inf}}).to("cuda")
    x, labels = double.asarray(X), double.asarray(LABELS)
    assert np.isnan(to_host(judge(broken, x, labels, 2, Stream(0)))).all()
    for call in (
        lambda: judge(broken, X, LABELS, 2, Stream(0)),
        lambda: Attacking(ATTACKS["random"], expectation(broken))(X, LABELS, Stream(0)),
    ):
        with pytest.raises(ValueError, match="the network's logits are not finite under a noise of sigma"):
            call()


TARGETS: dict[str, Any] = {"expectation": Expectation(), "drawn": DRAWN, "known": Known(3)}
TARGETS |= {"closed form": ClosedForm("mse", "laplace")}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_answers_where_it_is_asked(double: ModuleType, name: str) -> None:
    target = TARGETS[name].of(several(features=0.4).to("cuda"))
    assert takes_device(target)
    for call in (
        lambda x, y: target(x, y, 3),
        lambda x, y: target.value(x, y, 3),
        lambda x, y: target.misread(x, y, 2, 3),
    ):
        here, there = call(X, LABELS), call(double.asarray(X), double.asarray(LABELS))
        pairs = zip(here, there, strict=True) if isinstance(here, tuple) else [(here, there)]
        for ours, theirs in pairs:
            assert isinstance(ours, np.ndarray) and isinstance(theirs, double.ndarray)
            assert ours.dtype == theirs.dtype == np.float64 and ours.tobytes() == to_host(theirs).tobytes()


def test_answers_are_kept_by_no_graph(double: ModuleType) -> None:
    """A later answer does not overwrite one that somebody still has."""
    target, network = sampled(convolutional().to("cuda"), 3), convolutional().to("cuda")
    x, labels = double.asarray(X), double.asarray(LABELS)
    calls: list[Callable[[int], Any]] = [
        lambda i: target(x, labels, Stream(i)),
        lambda i: (network.scores(x, Sampled(Stream(i))).mean,),
        lambda i: (judge(network, x, labels, 2, Stream(i)),),
    ]
    for call in calls:
        kept = [(found, [to_host(a) for a in found]) for found in map(call, range(4))]
        for found, then in kept:
            for a, b in zip(found, then, strict=True):
                np.testing.assert_array_equal(to_host(a), b)


def scaled(m: Moments, labels: Any) -> tuple[Any, Moments]:
    """Gradients of very different sizes under different draws."""
    value, g = cross_entropy(m, labels)
    scale = 10.0 ** (m.mean[0] * 20)
    return value * scale, Moments(g.mean * scale)


@pytest.mark.usefixtures("double", "same_draws")
@pytest.mark.parametrize("average", [1, 2])
@pytest.mark.parametrize("make", [convolutional, on_features, lambda: several(features=0.4)])
def test_shared_layers_give_the_mean_over_draws(make: Any, average: int) -> None:
    network = make().averaging(average)
    for objective in (cross_entropy, scaled):
        both = [NetworkTarget(c, "sampled", objective, 5)(X, LABELS, Stream(2)) for c in (network.to("cuda"), network)]
        for a, b in zip(*both, strict=True):
            size = np.abs(b).max(axis=tuple(range(1, b.ndim)), keepdims=True)
            assert (np.abs(a - b) <= 1e-12 * size).all()


def test_the_layers_before_the_noise_are_computed_once(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    network, seen = on_features().to("cuda"), []
    conv = type(network.model.network.layers[0][1])
    apply = conv.apply
    monkeypatch.setattr(conv, "apply", lambda self, w, *given: seen.append(w) or apply(self, w, *given))
    for call in (
        lambda: sampled(network, 6)(X, LABELS, Stream(0)),
        lambda: sampled(network, 6).value(X, LABELS, Stream(0)),
        lambda: judge(network, X, LABELS, 6, Stream(0)),
    ):
        seen.clear()
        call()
        assert len(seen) == 1


@pytest.mark.parametrize("draws", [5, 6, 7])
def test_more_draws_than_a_graph_has_are_several_launches(
    double: ModuleType, monkeypatch: pytest.MonkeyPatch, draws: int
) -> None:
    network, x, labels = convolutional().to("cuda"), double.asarray(X), double.asarray(LABELS)

    def found() -> list[np.ndarray]:
        target = sampled(network, draws)
        answers = [target(x, labels, Stream(1)), target.value(x, labels, Stream(1))]
        answers.append(judge(network, x, labels, draws, Stream(1)))
        return [to_host(a) for a in (*answers[0], *answers[1:])]

    whole = found()
    monkeypatch.setattr("npsnn.models.passes.ANSWERS", 3)
    for _ in range(3):
        for ours, theirs in zip(found(), whole, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-300)


def test_a_network_is_asked_once_whether_it_is_random(double: ModuleType) -> None:
    network = several(features=0.4).to("cuda")
    with synchronisations() as counted:
        for _ in range(3):
            assert network.random and sampled(network, 2).classifier.random
        assert counted.total() == 1, "the first of its noises tells"
    assert not network.with_sigma(0).random


def test_passes_of_predictions_are_graphs(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    network, passes = several(features=0.4).to("cuda"), []
    forward = Passes._forward
    monkeypatch.setattr(Passes, "_forward", lambda *given: passes.append(1) or forward(*given))

    def found(i: int) -> list[np.ndarray]:
        x = np.clip(X + 0.01 * i, 0, 1)
        objective = network.input_gradient(x, LABELS, "mse", "laplace")
        return [network.predict(x), *network.moments(x, "laplace"), network.sample(x, i, 2), objective]

    ours = [found(i) for i in range(5)]
    assert len(passes) == 4 * 2, "once plainly and once recorded, for each of the four"
    monkeypatch.setenv("NPSNN_GRAPH", "0")
    for i, answers in enumerate(ours):
        for a, b in zip(answers, found(i), strict=True):
            assert a.tobytes() == b.tobytes()


def test_what_may_change_is_not_recorded(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_recorded", lambda *given: pytest.fail("recorded"))
    network = convolutional().to("cuda")

    class Own(Stream):
        """Has other numbers."""

    for i in range(3):
        network.loss_gradient(X, LABELS, Sampled(Stream(i)), scaled)
        network.loss_gradient(X, LABELS, Sampled(Own(i)), cross_entropy)
    monkeypatch.setattr("npsnn.models.passes.recording", lambda: True)
    for _ in range(3):
        network.loss_gradient(X, LABELS, EXPECTATION, OBJECTIVES["mse"])
        network.scores(X, Propagated())


def test_a_look_is_a_graph_and_some_images_keep_their_draws(double: ModuleType) -> None:
    target, stream = sampled(convolutional().to("cuda"), 2), Stream(0).from_sample(4)
    runs = target.classifier.passes._graphs
    whole = [target.looked(X, LABELS, stream.at(n)) for n in range(3)]
    assert len(runs._graphs) == 1, "an objective that is looked at is recorded as the objective is"
    for part in ([4, 0], [1, 3], [5, 2]):  # more often than what is recorded has to be asked for
        some = target.looked(X[part], LABELS[part], stream.at(0).chosen(part))
        for found, wanted in zip(some, whole[0], strict=True):
            np.testing.assert_allclose(found, wanted[part], rtol=1e-5, atol=1e-9)
