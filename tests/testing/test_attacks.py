"""check_attack passes every attack of npsnn, and names what is wrong with each faulty one."""

from typing import Any

import faulty_attacks as faulty
import pytest
from entering import entered

from npsnn import attacks
from npsnn.attacks.base import ATTACKS, attack
from npsnn.testing import check_attack
from npsnn.testing.networks import small_network

CLOSED = attacks.ClosedForm()
FEW_CW: dict[str, Any] = {"steps": 4, "searches": 2, "draws": 3}
FEW_PIXELS: dict[str, Any] = {"population": 6, "generations": 3, "draws": 3}
OURS = [
    attacks.FGSM(0.1),
    attacks.FGSM(0.5, "l2"),
    attacks.BIM(0.1, steps=3),
    attacks.PGD(0.1, steps=3),
    attacks.PGD(0.5, "l2", steps=3, restarts=2),
    attacks.PGD(0.1, steps=3, source=CLOSED),
    attacks.PGD(0.1, steps=2, source=attacks.Expectation()),
    attacks.GradientAttack(attacks.Ball("linf", 0.1), steps=2, step_size=0.07),
    attacks.Inner(0.1, steps=3, step_size=0.05),
    attacks.Inner(0.5, "l2", 3, 0.3, "gauss", "soft"),
    attacks.Inner(0.1, steps=3, step_size=0.05, labels="predicted", source=CLOSED),
    attacks.MomentumFGSM(0.1, steps=3),
    attacks.AuthorsFGSM(0.1),
    attacks.AuthorsPGD(0.1, source=attacks.EoT(2, "float32-cross-entropy")),
    attacks.Toward(attacks.PGD(0.1, steps=3)),
    attacks.Toward(attacks.APGD(0.1, steps=6, source=CLOSED), "1"),
    attacks.APGD(0.1, steps=6, restarts=2),
    attacks.APGD(0.5, "l2", steps=6, source=CLOSED),
    attacks.APGDT(0.1, steps=4, targets=2),
    attacks.APGD(0.5, "l1", steps=10, source=CLOSED),
    attacks.PGD(0.5, "l1", steps=3),
    attacks.APGDT(0.5, "l2", steps=4, source=attacks.Expectation()),
    attacks.RandomSearch(0.1, samples=5, draws=2),
    attacks.FAB(0.1, steps=3, targets=2),
    attacks.FAB(0.5, "l2", steps=3, kappa=0.5),
    attacks.FAB(0.1, steps=3, source=CLOSED),
    *(attacks.FMN(norm=norm, steps=6) for norm in ("linf", "l2", "l1", "l0")),
    attacks.FMN(0.5, steps=6, source=CLOSED),
    attacks.CarliniWagner(**FEW_CW),
    attacks.CarliniWagner(**FEW_CW, source=CLOSED),
    attacks.Square(0.1, queries=120),
    attacks.Square(0.5, "l2", 120),
    attacks.Square(0.5, "l2", 20, source=CLOSED),
    attacks.HopSkipJump(queries=60),
    attacks.HopSkipJump(0.1, "linf", 60),
    attacks.SparseRS(1, 120),
    attacks.SparseRS(5, 20, source=CLOSED),
    attacks.SPSA(0.1, steps=3, directions=4),
    attacks.SPSA(0.5, "l2", 3, 4, source=CLOSED),
    attacks.OnePixel(**FEW_PIXELS),
    attacks.OnePixel(2, **FEW_PIXELS, source=CLOSED),
]


@pytest.mark.slow
@pytest.mark.parametrize("checked", OURS, ids=lambda a: f"{a.label}-{a.ball.norm}")
def test_every_attack_of_npsnn_is_held_to_it(checked: Any) -> None:
    check_attack(checked)


def test_no_attack_of_npsnn_is_left_out() -> None:
    ours = {kind for kind in ATTACKS.values() if kind.__module__.startswith("npsnn.")}
    assert ours == {type(checked) for checked in OURS}


def test_right_attacks_pass_on_other_networks_too() -> None:
    with entered(attack, faulty.Right, faulty.Foreign):
        check_attack(faulty.Right())
        check_attack(faulty.Foreign())
        check_attack(faulty.Right(0.2), small_network(sigma=0.0))


FAULTS = [
    (faulty.Unfrozen, "must be of a frozen dataclass"),
    (faulty.LeavesTheBall, "adversarial images must be within linf 0.1"),
    (faulty.LeavesTheBox, r"adversarial images must be in \[0, 1\]"),
    (faulty.OtherShape, r"of the shape \(5, 2, 3, 4\), got \(5, 1, 3, 4\)"),
    (faulty.OtherType, "returns float64 for images of float32"),
    (faulty.NoArray, "must return an array of images, got list"),
    (faulty.Infinite, "adversarial images must be finite"),
    (faulty.WritesToTheImages, "writes to one of its arguments"),
    (faulty.DrawsElsewhere, "two calls with one stream give other images"),
    (faulty.DrawsFromNumPy, "draws come from np.random: draw from the stream"),
    (faulty.DrawsOnNetworks, "two threads give other images than one: draw from the stream alone"),
    (faulty.DrawsForTheBatch, "micro-batches of 1 give other images than one of 5: key draws by the sample"),
    (faulty.MixesImages, "micro-batches of 1 give other images than one of 5"),
    (faulty.CountsTooLittle, "passes tells of 1 for an image, but it took 3"),
    (faulty.CountsInParts, "passes must return a whole number, got 3.5"),
    (faulty.SaysForwardOnly, "says that it is forward_only, but takes gradients"),
    (faulty.ManyLooks, "passes tells of 3 for an image, but it took 24"),
    (faulty.DividesByTheGradient, "where the gradient is 0: adversarial images must be finite"),
    (faulty.MovesAtRadiusZero, "a radius of 0 must leave the images as they are"),
    (faulty.KeepsOnItself, "a call changes the attack, which threads share"),
    (faulty.Wordless, "its label must be a word, got None"),
    (faulty.Talks, "what it says of itself must be finite numbers by name"),
    (faulty.FailsOnNetworks, "on <Classifier small.*: not this one"),
]


@pytest.mark.parametrize(("kind", "said"), FAULTS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_faulty_attack_is_told_what_is_wrong(kind: Any, said: str) -> None:
    with entered(attack, kind), pytest.raises(AssertionError, match=said) as caught:
        check_attack(kind())
    assert kind.__name__ in str(caught.value)


def test_what_is_no_attack_is_told_before_it_is_in_the_table() -> None:
    said = "NoBall.* is no attack: it has no ball, .* and no method __call__"
    with pytest.raises(TypeError, match=said), entered(attack, faulty.NoBall):
        pass
    with pytest.raises(AssertionError, match=said):
        check_attack(faulty.NoBall())


def test_every_fault_is_tried() -> None:
    every = {v for v in vars(faulty).values() if isinstance(v, type) and v.__module__ == faulty.__name__}
    assert every - {kind for kind, _ in FAULTS} == {faulty.Right, faulty.Foreign, faulty.Changed, faulty.NoBall}


def test_an_attack_must_be_in_the_table() -> None:
    with pytest.raises(AssertionError, match=r"put @attack above it \(from npsnn.attacks import attack\)"):
        check_attack(faulty.Right())
