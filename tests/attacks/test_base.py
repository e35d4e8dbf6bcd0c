"""Any object with a ball that can be called is an attack: it runs, is named, planned, recorded and read back."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import SHAPE, convolutional, images, linear, predicted

from npsnn import attacks, tables
from npsnn.attacks.balls import Ball, Limit
from npsnn.attacks.base import ATTACKS, GROUPED, Attack, ask, checked_attack, target_of
from npsnn.attacks.evaluation import Attacking, robust_accuracy
from npsnn.attacks.judging import Accuracy, Judged, Judging, accuracy
from npsnn.attacks.plan import Plan, choices, evaluate
from npsnn.attacks.record import Record, attack_in
from npsnn.attacks.sources import ClosedForm, EoT, Expectation, Source
from npsnn.files import journal
from npsnn.streams import Stream

THREE = EoT(3)
NETWORK, X = convolutional(), images(7).astype(np.float32)
LABELS = predicted(NETWORK, X)
SINGLE = tuple(name for name in choices() if name not in GROUPED)


@dataclass(frozen=True)
class Half(Attack):
    """Half of FGSM's step."""

    eps: float
    part: float = 0.5
    source: Source = THREE

    @property
    def ball(self) -> Ball:
        return Ball("linf", self.eps)

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        _, gradient = target(x, labels, stream)
        return self.ball.project(x + self.part * self.eps * np.sign(gradient), x)  # type: ignore[no-any-return]


@dataclass
class Foreign:
    """An attack that inherits nothing, and says nothing of itself."""

    eps: float
    returns: Any = None

    @property
    def ball(self) -> Limit:
        return Limit("l2", self.eps)

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> Any:
        return x if self.returns is None else self.returns(x)


@pytest.fixture
def half() -> Iterator[type[Any]]:
    """The class in the table, for one test."""
    yield attacks.attack("half")(Half)
    _forget("half", "Half")


def _forget(name: str, own: str) -> None:
    del ATTACKS._entries[name], tables._TYPES[own], tables._TABLES[own]


def test_values_are_attacked_with_and_judged() -> None:
    given = [attacks.PGD(0.1, steps=2), Half(0.1), Foreign(0.5), attacks.PGD(0.1, steps=2, source=ClosedForm())]
    done: list[int] = []
    found = list(robust_accuracy(NETWORK, X, LABELS, given, Judging(draws=4, seed=3), done.append))
    assert [(r.attack, r.norm, r.eps) for r in found] == [
        ("pgd", "linf", 0.1),
        ("Half", "linf", 0.1),
        ("Foreign", "l2", 0.5),
        ("adaptive-pgd", "linf", 0.1),
    ]
    assert [r.gradient for r in found] == ["sampled", "sampled", "sampled", "closed-form"]
    assert [r.gradient_passes for r in found] == [20, 3, 10, 2] and sum(done) == 4 * 7
    assert [r.by for r in found] == given
    np.testing.assert_array_equal(found[2].x_adv, X)
    step = np.abs(found[1].x_adv - X).max()
    assert step == pytest.approx(0.05, rel=1e-4)
    plan = Plan(("pgd",), eps=(0.1,), steps=2, draws=4, seed=3)
    (same,) = evaluate(NETWORK, X, LABELS, plan)
    assert same.x_adv.tobytes() == found[0].x_adv.tobytes()
    assert same.accuracy.each.tobytes() == found[0].accuracy.each.tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"3 is no attack: it has no ball, such as Ball\('linf', 0.1\) and no method __call__"),
        (Ball("linf", 0.1), "is no attack: it has no ball"),
        (type("Still", (), {"ball": Ball("linf", 0.1)})(), r"has no method __call__\(target, x, labels, stream\)"),
        (replace(Half(0.1), eps=0.1).__class__, r"an attack must be a value, as Half\(...\), got the class"),
        (type("Odd", (Foreign,), {"ball": 0.1})(0.1), "the ball of .* must be a Ball or a Limit, got 0.1"),
    ],
)
def test_what_is_no_attack_is_told_what_it_lacks(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        robust_accuracy(NETWORK, X, LABELS, [Half(0.1), value])


@pytest.mark.parametrize("value", [Half(0.1), Plan(), None, 0.1])
def test_attacks_are_a_list(value: Any) -> None:
    with pytest.raises(TypeError, match=r"attacks must be a list, as \[attacks.PGD\(8 / 255\)\] or plan.made\(\), got"):
        robust_accuracy(NETWORK, X, LABELS, value)
    with pytest.raises(TypeError, match="attacks must be a list"):
        attacks.cost(NETWORK, X, LABELS, value)


def test_the_calls_of_before_name_the_new_ones() -> None:
    plan = Plan(("fgsm",), eps=(0.1,))
    with pytest.raises(TypeError, match=r"judging must be a Judging, as Judging\(draws=10\) or plan.judging\(\)"):
        attacks.worst_case(NETWORK, LABELS, [], plan)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"attacks.robust_accuracy takes a list of attacks"):
        attacks.evaluate(NETWORK, X, LABELS, plan.made())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"RandomSearch takes eps and norm, as RandomSearch\(0.1, 'l2'\), got a ball"):
        attacks.RandomSearch(Ball("l2", 0.1))  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"attacks.Plan\(\).attacks has the names .* attacks.base.ATTACKS"):
        _ = attacks.ATTACKS  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"attacks.plan.choices\(\)"):
        _ = attacks.ON_REQUEST  # type: ignore[attr-defined]
    assert attacks.inspect is attacks.examine


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (lambda x: x + 0.3, "must be within l2 0.1"),
        (lambda x: x * np.nan, "must be finite, got a NaN$"),
        (lambda x: x + np.inf, "must be finite, got an infinity$"),
        (lambda x: x[:, :1], r"must be of the shape \(7, 2, 3, 4\), got \(7, 1, 3, 4\)"),
        (lambda x: x[:-1], "must be of the shape"),
        (lambda x: "images", "must be of the shape"),
        (lambda x: [None] * 7, "must be of the shape"),
        (lambda x: np.full(x.shape, None), "must be numbers, got object"),
    ],
)
def test_what_an_attack_returns_is_checked(returns: Any, message: str) -> None:
    inside = np.full((7, *SHAPE), 0.5)
    with pytest.raises(ValueError, match=f"Foreign: adversarial images {message}"):
        list(robust_accuracy(NETWORK, inside, LABELS, [Foreign(0.1, returns)], Judging(draws=1)))


def test_what_an_attack_does_not_say_the_base_class_says() -> None:
    foreign = Foreign(0.1)
    assert (ask(foreign, "label"), ask(foreign, "says"), ask(foreign, "control")()) == ("Foreign", {}, None)
    assert ask(foreign, "source") == Attack.source and not ask(foreign, "forward_only")
    assert ask(Foreign, "planned")({"eps": 0.2, "steps": 3}, EoT()) == Foreign(0.2)
    assert ask(foreign, "passes")(target_of(foreign, NETWORK)) == 10
    told = type("Told", (Foreign,), {"label": "told", "source": Expectation(), "steps": 4})(0.1)
    assert ask(told, "label") == "told" and ask(told, "passes")(target_of(told, NETWORK)) == 4
    assert checked_attack(told) is told


def test_the_command_line_offers_what_is_in_the_table(half: type[Any]) -> None:
    choice = choices()["half"]
    assert (choice.help, choice.by_default, choice.adaptive) == ("Half of FGSM's step.", False, False)
    assert "adaptive-half" not in choices() and Plan().attacks == ("quick",)
    plan = Plan(("half", "fgsm"), eps=(0.1, 0.2), eot=5)
    assert [a for a in plan.made() if isinstance(a, half)] == [Half(0.1, source=EoT(5)), Half(0.2, source=EoT(5))]
    assert [a.label for a in plan.made()] == ["half", "fgsm"] * 2
    assert not {"eps", "eot"} & plan.unused(["eps", "eot", "steps"]).keys()
    unused = Plan(("half",)).unused(["norm", "eot"])
    assert unused.keys() == {"norm"} and {"fgsm", "adaptive-pgd", "random"} <= set(unused["norm"])
    assert "half" not in unused["norm"]


def test_a_field_without_an_option_needs_a_default() -> None:
    @dataclass
    class Needy(Foreign):
        alpha: float = 0.0
        beta: float = 0.0

    @dataclass(frozen=True)
    class Needing:
        eps: float
        alpha: float

    assert ask(Needy, "planned")({"eps": 0.2}, EoT()) == Needy(0.2)
    with pytest.raises(ValueError, match="Needing needs alpha, for which there is no option: give it a default"):
        ask(Needing, "planned")({"eps": 0.2}, EoT())


def test_a_record_holds_the_attack_and_is_read_back(half: type[Any], tmp_path: Path) -> None:
    given = [half(0.1, source=ClosedForm("mse", "laplace")), attacks.CarliniWagner(0.5, steps=2, searches=1)]
    record = Record(tmp_path, {"examples": 7})
    for r in robust_accuracy(NETWORK, X, LABELS, given, Judging(draws=1)):
        record.result(r, {"attack": r.attack})
    first, second = journal.read(tmp_path / "attacks.jsonl")
    source = {"type": "ClosedForm", "objective": "mse", "propagation": "laplace"}
    assert first["attack"] == {"type": "Half", "eps": 0.1, "part": 0.5, "source": source}
    assert first["result"] == {"attack": "adaptive-half"} and "cw-kappa-0.5-l2-inf" in second["images"]
    assert [attack_in(line) for line in (first, second)] == given


def test_an_attack_that_is_in_no_table_cannot_be_recorded(tmp_path: Path) -> None:
    (found,) = robust_accuracy(NETWORK, X, LABELS, [Foreign(0.1)], Judging(draws=1))
    with pytest.raises(ValueError, match=r"Foreign is in no table of every attack.*put @attack above it"):
        Record(tmp_path, {}).result(found, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SINGLE)
def test_every_attack_of_the_table_survives_json(name: str) -> None:
    for made in Plan((name,), norm="l2", eps=(0.5,)).made():
        assert ATTACKS.decode(ATTACKS.encode(made)) == made


def test_an_attack_with_a_ball_survives_json() -> None:
    made = attacks.GradientAttack(attacks.Ball("l2", 0.5), steps=3, step_size=0.1)
    assert ATTACKS.decode(ATTACKS.encode(made)) == made


def test_numbers_of_numpy_become_pythons() -> None:
    made = [attacks.FGSM(np.float32(0.5)), attacks.PGD(np.float64(0.5), steps=np.int64(3)), attacks.BIM(1)]  # type: ignore[arg-type]
    made += [attacks.RandomSearch(np.float64(0.5), samples=np.int32(4))]  # type: ignore[arg-type,list-item]
    for value in made:
        assert ATTACKS.decode(ATTACKS.encode(value)) == value


FEW: dict[str, Any] = {"steps": 2, "samples": 2, "population": 5, "generations": 1, "cw_steps": 2, "cw_searches": 1}
FEW |= {"apgd_steps": 5, "fab_steps": 3, "fmn_steps": 3, "targets": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    Plan(SINGLE, eps=(0.1,), queries=130, **FEW).made(),  # more queries than a search draws numbers for at once
    ids=lambda a: a.label,
)
def test_the_work_of_a_micro_batch_can_be_pickled(attack: Any) -> None:
    job = Attacking(attack, target_of(attack, NETWORK))
    again = pickle.loads(pickle.dumps(job))
    for ours, theirs in zip(again(X, LABELS, Stream(1)), job(X, LABELS, Stream(1)), strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_array_equal(ours, theirs)
    judged = Judged(NETWORK, 3)
    each = pickle.loads(pickle.dumps(judged))(X, LABELS, Stream(1))
    np.testing.assert_array_equal(each, accuracy(NETWORK, X, LABELS, 3, Stream(1)).each)


def test_random_numbers_are_named_by_ball_and_label() -> None:
    seen: dict[int, Stream] = {}

    class Listening(Foreign):
        def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Stream) -> np.ndarray:
            seen[stream.first] = stream
            return x

    network = replace(NETWORK, model=replace(NETWORK.model, micro_batch=5))
    list(robust_accuracy(network, X, LABELS, [Listening(1)], Judging(draws=1, seed=3)))
    own = Stream(3).at("l2", "1.0").at("Listening").at("attack")
    assert seen == {0: own, 5: own.from_sample(5)}


def test_an_attack_without_a_strength_is_planned_once() -> None:
    @dataclass(frozen=True)
    class Alone(Attack):
        ball = Ball("linf", 0.1)

        def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
            return x

    attacks.attack("alone")(Alone)
    try:
        assert Plan(("alone",), eps=(0.1, 0.2)).made() == [Alone()]
    finally:
        _forget("alone", "Alone")


def test_an_attack_that_takes_images_one_by_one_says_so() -> None:
    done: list[int] = []
    alone = type("Alone", (Foreign,), {"one_by_one": True})(0.1)
    list(robust_accuracy(NETWORK, X, LABELS, [alone], Judging(draws=1), done.append))
    assert done == [1] * 7


def test_a_control_is_run_beside_its_attack() -> None:
    class Controlled(Foreign):
        def control(self) -> Any:
            return attacks.RandomSearch(0.0, samples=9)

    network = linear(sigma=0.6)
    labels = predicted(network, X)
    (found,) = robust_accuracy(network, X, labels, [Controlled(0.1)], Judging(draws=1))
    (plain,) = robust_accuracy(network, X, labels, [Foreign(0.1)], Judging(draws=1), clean=Accuracy(np.ones(7)))
    assert found.control is not None and found.control > 0 and plain.control is None
    assert plain.clean is not None and plain.clean.tolist() == [1] * 7


def test_an_attack_without_a_radius_has_an_infinite_ball() -> None:
    (found,) = robust_accuracy(NETWORK, X, LABELS, [Foreign(inf)], Judging(draws=1))
    assert found.eps == inf and [caveat.code for caveat in found.caveats] == ["unbounded"]
