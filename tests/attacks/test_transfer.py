"""Transfer: another network's gradients, judged on the attacked one, and named in the record."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_networks import SHAPE, convolutional, images, linear, predicted, several

from npsnn import attacks
from npsnn.attacks.base import ATTACKS, target_of
from npsnn.attacks.evaluation import Watched
from npsnn.attacks.plan import Plan
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Transfer
from npsnn.classifier import Classifier
from npsnn.layers.affine import Linear
from npsnn.models.base import Model
from npsnn.runs import provenance
from npsnn.streams import Stream

NETWORK, OTHER, X = convolutional(), several(), images(6)
LABELS = predicted(NETWORK, X)
JUDGING = attacks.Judging(draws=4)


@pytest.mark.parametrize("source", [EoT(3), ClosedForm(), Expectation(), EoT(2, "margin")])
def test_all_that_an_attack_asks_is_asked_of_the_surrogate(source: Any) -> None:
    own, stream = source.of(OTHER), Stream(0)
    target = Transfer(OTHER, source=source).of(NETWORK)
    assert target.classifier.params is OTHER.params and target.judged is NETWORK and own.judged is OTHER
    for a, b in zip(target.looked(X, LABELS, stream), own.looked(X, LABELS, stream), strict=True):
        np.testing.assert_array_equal(a, b)
    for what in ("value", "__call__"):
        for a, b in zip(*(getattr(t, what)(X, LABELS, stream) for t in (target, own)), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(target.answers(X, stream), own.answers(X, stream))
    np.testing.assert_array_equal(target.misread(X, LABELS, 3, stream), own.misread(X, LABELS, 3, stream))


def test_a_surrogate_that_is_certain_makes_nothing_certain() -> None:
    """What the surrogate misreads the attacked network may read: no attack may stop there."""
    quiet = OTHER.with_sigma(0)
    assert Expectation().of(quiet).certain
    target = Transfer(quiet).of(NETWORK)
    assert not target.certain and not Watched.of(target, X, Stream(0)).certain
    assert target.ascending("margin").judged is NETWORK


def test_the_attacked_network_judges() -> None:
    """The images are those of an attack on the surrogate, their accuracy is the attacked network's."""
    attack = attacks.PGD(0.3, steps=3)
    (found,) = attacks.robust_accuracy(NETWORK, X, LABELS, [replace(attack, source=Transfer(OTHER))], JUDGING)
    assert found.attack == "transfer-pgd" and found.gradient == "sampled" and not found.noise_ignored
    stream = JUDGING.stream.at("linf", repr(0.3), "transfer-pgd", "attack")
    np.testing.assert_array_equal(found.x_adv, attack(target_of(attack, OTHER), X, LABELS, stream))
    judged = attacks.accuracy(NETWORK, found.x_adv, LABELS, 4, JUDGING.stream.at("linf", repr(0.3), "judge"))
    np.testing.assert_array_equal(found.accuracy.each, judged.each)
    assert found.surrogate is not None
    np.testing.assert_array_equal(found.surrogate.each, attacks.accuracy(OTHER, X, LABELS, 4, 0).each)
    assert found.surrogate.mean != attacks.accuracy(NETWORK, X, LABELS, 4, 0).mean
    own, quiet = attacks.robust_accuracy(
        NETWORK, X, LABELS, [attack, replace(attack, source=Transfer(OTHER, source=Expectation()))], JUDGING
    )
    assert own.surrogate is None and not quiet.noise_ignored, (
        "whose noise is ignored is not the one that is defended by"
    )


def test_from_itself_is_the_attack_itself() -> None:
    network = linear(classes=4)
    labels = predicted(network, X)
    (own, other) = (
        attack(target_of(attack, network), X, labels, Stream(0))
        for attack in (attacks.FGSM(0.1), attacks.FGSM(0.1, source=Transfer(network)))
    )
    np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (attacks.FGSM(0.1, source=Transfer(OTHER)), "transfer-fgsm"),
        (attacks.FGSM(0.1, source=Transfer(OTHER, source=ClosedForm())), "transfer-adaptive-fgsm"),
        (attacks.CarliniWagner(source=Transfer(OTHER, name="b")), "b-cw"),
        (attacks.FGSM(0.1, source=Expectation(name="noise-off")), "noise-off-fgsm"),
        (attacks.FGSM(0.1, source=Expectation()), "fgsm"),
    ],
)
def test_labels_tell_where_the_gradients_are_from(attack: Any, label: str) -> None:
    assert attack.label == label
    assert ATTACKS.decode(ATTACKS.encode(attack)) == attack


def small(classes: int, shape: tuple[int, int, int] = SHAPE) -> Classifier:
    from npsnn.layers.containers import Sequential
    from npsnn.layers.reshape import Flatten

    model = Model("linear", Sequential((("flatten", Flatten()), ("fc", Linear(classes)))), shape, classes)
    return Classifier(model, model.init(np.random.default_rng(0)))


def test_what_cannot_be_a_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"transfer from must have 3 classes and images \(2, 3, 4\), got 4 classes"):
        Transfer(small(4)).of(NETWORK)
    with pytest.raises(ValueError, match=r"got 3 classes and images \(2, 4, 3\)"):
        Transfer(small(3, (2, 4, 3))).of(NETWORK)
    with pytest.raises(TypeError, match="network must be a Classifier or the name of a run, got 3"):
        Transfer(3)
    with pytest.raises(ValueError, match="name must be a word of letters, digits and hyphens, got 'a b'"):
        Transfer(OTHER, name="a b")
    with pytest.raises(ValueError, match="name must be a word"):
        Expectation(name="../x")
    read = ATTACKS.decode(ATTACKS.encode(attacks.FGSM(0.1, source=Transfer(OTHER))))
    with pytest.raises(ValueError, match="is of no run: give it again"):
        target_of(read, NETWORK)
    with pytest.raises(FileNotFoundError, match="unknown run"):
        Transfer("nowhere")


def test_a_job_takes_its_surrogate_along() -> None:
    source = pickle.loads(pickle.dumps(Transfer(OTHER)))
    assert source == Transfer(OTHER)
    np.testing.assert_array_equal(source.of(NETWORK)(X, LABELS, Stream(0))[1], Transfer(OTHER).of(NETWORK)(
        X, LABELS, Stream(0))[1])  # fmt: skip


def test_a_record_names_the_run_and_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"runs/b": OTHER}
    monkeypatch.setattr(Classifier, "load", staticmethod(lambda run: runs[run]))
    source, digest = Transfer("runs/b"), provenance.of_network(OTHER.params)
    document = ATTACKS.encode(attacks.FGSM(0.1, source=source))
    assert document["source"]["network"] == "runs/b" and document["source"]["parameters"] == digest
    runs["runs/b"] = NETWORK
    read = ATTACKS.decode(document).source
    assert read == source
    with pytest.raises(ValueError, match=f"runs/b must have the parameters {digest[:12]}, got"):
        read.of(NETWORK)
    assert source.taking(ClosedForm(), "b").of(NETWORK).classifier.params is OTHER.params


def test_a_plan_transfers_beside_its_own_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "load", staticmethod(lambda run: {"b": OTHER, "c": NETWORK}[run]))
    names = ("fgsm", "random", "adaptive-fgsm")
    plan = Plan(attacks=names, eps=(0.1,), transfer_from=("b", "noise-off"), eot=3)
    assert [a.label for a in plan.made()] == [
        "fgsm", "noise-off-fgsm", "transfer-fgsm", "random", "adaptive-fgsm", "transfer-adaptive-fgsm",
    ]  # fmt: skip
    sources = {a.label: a.source for a in plan.made()}
    assert sources["transfer-fgsm"] == Transfer("b", source=EoT(3))
    assert sources["transfer-adaptive-fgsm"].source == ClosedForm()
    two = Plan(attacks=("fgsm",), eps=(0.1,), transfer_from=("b", "c"))
    assert [a.label for a in two.made()] == ["fgsm", "transfer1-fgsm", "transfer2-fgsm"]
    assert Plan(attacks=("random",)).unused(["transfer_from"])


def test_a_run_is_loaded_once_for_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = list[str]()
    monkeypatch.setattr(Classifier, "load", staticmethod(lambda run: loaded.append(run) or OTHER))
    plan = Plan(attacks=("fgsm", "pgd", "adaptive-pgd"), eps=(0.1, 0.2), transfer_from=("b",))
    for attack in plan.made():
        target_of(attack, NETWORK)
    assert loaded == ["b"]


def test_in_a_group_a_transfer_meets_what_is_left_of_a_network_without_noise() -> None:
    """The judge is certain, though no look at the surrogate is."""
    quiet = NETWORK.with_sigma(0)
    x = images(20)
    labels = predicted(quiet, x)
    members = attacks.FGSM(0.05), attacks.FGSM(0.05, source=Transfer(OTHER))
    for network, in_turn in ((quiet, True), (NETWORK, False)):
        one, two = attacks.robust_accuracy(network, x, labels, attacks.Group("both", members), JUDGING)
        assert (two.met is not None) is in_turn and two.surrogate is not None and one.surrogate is None
    _, both = attacks.robust_accuracy(quiet, x, labels, attacks.Group("both", members), JUDGING)
    alone = [r.accuracy.each for r in attacks.robust_accuracy(quiet, x, labels, members, JUDGING)]
    np.testing.assert_array_equal(both.accuracy.each, np.minimum(*alone))
    backwards = attacks.Group("both", members[::-1])
    *_, same = attacks.robust_accuracy(quiet, x, labels, backwards, JUDGING)
    np.testing.assert_array_equal(same.accuracy.each, both.accuracy.each)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("attack", [attacks.PGD(0.1, steps=2), attacks.HopSkipJump(0.3, queries=120, directions=5)])
def test_on_a_gpu_the_surrogate_goes_where_the_attacked_network_is(attack: Any) -> None:
    there = NETWORK.to("cuda")
    transfers = isinstance(attack, attacks.PGD)
    attack = replace(attack, source=Transfer(OTHER)) if transfers else attack
    (found,) = attacks.robust_accuracy(there, X, LABELS, [attack], attacks.Judging(draws=2, on_grid=False))
    attack.ball.check(found.x_adv, X)
    assert isinstance(found.x_adv, np.ndarray)
    if transfers:
        assert attack.source.of(there).classifier.on_gpu and not OTHER.on_gpu
        assert found.surrogate is not None and found.wrong_signs is not None and found.wrong_signs.shape == (6,)


@pytest.mark.usefixtures("double")
def test_on_a_gpu_images_are_rounded_and_substitutes_trained() -> None:
    there, x = NETWORK.to("cuda"), np.rint(255 * X).astype(np.uint8)
    (found,) = attacks.robust_accuracy(there, x, LABELS, [attacks.FGSM(0.1)], attacks.Judging(draws=2, on_grid=True))
    np.testing.assert_array_equal(found.x_adv, np.rint(255 * found.x_adv).astype(np.float32) / 255)
    made = attacks.substitute(there, x, rounds=2, votes=3, epochs=1)
    assert not made.on_gpu and Transfer(made).of(there).classifier.on_gpu
