"""Attacks that are stopped anywhere and go on: the same bytes, nothing twice, and nothing of another call."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import convolutional, images, on_features, predicted

from npsnn import attacks
from npsnn.attacks import Judging, Kept, evaluation, identity, kept, parts
from npsnn.attacks.base import GROUPED, target_of
from npsnn.attacks.evaluation import Attacking
from npsnn.attacks.judging import Judged
from npsnn.attacks.plan import Plan, choices
from npsnn.attacks.results import Result
from npsnn.classifier import Classifier
from npsnn.runs import provenance
from npsnn.streams import Stream

COUNT = 9
SOME = [
    attacks.FGSM(0.1, source=attacks.ClosedForm()),
    attacks.PGD(0.1, steps=2, restarts=2, source=attacks.EoT(2)),
    attacks.RandomSearch(0.1, samples=3),
    attacks.CarliniWagner(steps=3, searches=1),
    attacks.OnePixel(pixels=1, population=5, generations=1),
]


@pytest.fixture
def network() -> Classifier:
    return convolutional(micro_batch=4)


@pytest.fixture
def x() -> np.ndarray:
    return images(COUNT)


@pytest.fixture
def labels(network: Classifier, x: np.ndarray) -> np.ndarray:
    return predicted(network, x)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part is written as it comes."""
    monkeypatch.setattr(parts, "EVERY", -1.0)


class StoppedError(BaseException):
    """As an interrupt, which no handler of errors may take."""


def figures(results: Any) -> list[dict[str, Any]]:
    """All that results hold but the seconds."""
    found = []
    for r in results:
        values = {name: value for name, value in vars(r).items() if name != "seconds"}
        found.append({n: v.tobytes() if isinstance(v, np.ndarray) else v for n, v in values.items()})
        found[-1]["accuracy"] = r.accuracy.each.tobytes()
    return found


def run(network: Classifier, x: np.ndarray, labels: np.ndarray, keep: Kept | None = None, **more: Any) -> list[Result]:
    given = more.pop("attacks", SOME)
    return list(attacks.robust_accuracy(network, x, labels, given, Judging(draws=3), keep=keep, **more))


def stopped_at(monkeypatch: pytest.MonkeyPatch, job: type, call: int) -> list[int]:
    """Stop in the given call, from 1, of a job; the calls that were made."""
    calls, called = list[int](), job.__call__

    def stopping(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise StoppedError
        return called(self, *args)

    monkeypatch.setattr(job, "__call__", stopping)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("job", [Attacking, Judged])
def test_attacks_that_are_stopped_anywhere_end_with_the_same_bytes(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: type
) -> None:
    with monkeypatch.context() as patch:
        calls = stopped_at(patch, job, 0)
        expected, whole = figures(run(network, x, labels)), len(calls)
    for call in range(1, whole + 1, 4):
        path = tmp_path / str(call)
        with monkeypatch.context() as patch:
            stopped_at(patch, job, call)
            with pytest.raises(StoppedError), Kept(path) as keep:
                run(network, x, labels, keep)
        with monkeypatch.context() as patch:
            again = stopped_at(patch, job, 0)
            with Kept(path) as keep:
                assert figures(run(network, x, labels, keep)) == expected
        assert len(again) == whole - call + 1, "a part was computed twice, or too much"
        assert not path.exists()


def test_the_bytes_are_the_same_for_any_threads_before_and_after(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    def stop(images: int) -> None:
        told.append(images)
        if sum(told) > 2.5 * COUNT:
            raise StoppedError

    expected = figures(run(network, x, labels))
    for before, after in ((3, 1), (1, 3)):
        told = list[int]()
        with pytest.raises(StoppedError), Kept(tmp_path / "f") as keep:
            run(replace(network, threads=before), x, labels, keep, progress=stop)
        with Kept(tmp_path / "f") as keep:
            assert sum(keep.done.values()) >= 2.5 * COUNT
            assert figures(run(replace(network, threads=after), x, labels, keep)) == expected


def test_parts_that_share_a_block_are_told_apart(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "EVERY", 1e9)
    expected = figures(run(network, x, labels))
    with monkeypatch.context() as patch:
        stopped_at(patch, Attacking, 18)
        with pytest.raises(StoppedError), Kept(tmp_path / "f") as keep:
            run(network, x, labels, keep)
    calls = stopped_at(monkeypatch, Attacking, 0)
    with Kept(tmp_path / "f") as keep:
        assert figures(run(network, x, labels, keep)) == expected
    assert len(calls) == 5 * 3 + COUNT - 17, "with random search's control"


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_a_group_and_its_worst_case_go_on(
    x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sigma: float
) -> None:
    """Of a network without noise each member meets what the members before it have left."""
    network, judging = convolutional(sigma, micro_batch=4), Judging(draws=2, selection=3)
    group = attacks.Group("mine", (attacks.FGSM(0.05), attacks.PGD(0.05, steps=2), Turned(0.05)))

    def both(keep: Kept) -> list[Any]:
        found = list(attacks.robust_accuracy(network, x, labels, group, judging, keep=keep))
        with keep.at_work():
            worst = attacks.worst_case(network, labels, found, judging)
        return [*figures(found), worst.each.tobytes(), worst.x_adv.tobytes()]

    with monkeypatch.context() as patch:
        calls = [stopped_at(patch, job, 0) for job in (Attacking, Judged)]
        with Kept(tmp_path / "f") as keep:
            expected = both(keep)
    assert sigma or len(calls[0]) < 9, "some images are taken before the last member"
    for job, made in zip((Attacking, Judged), map(len, calls), strict=True):
        for call in {made // 2, made}:
            with monkeypatch.context() as patch:
                stopped_at(patch, job, call)
                with pytest.raises(StoppedError), Kept(tmp_path / "f") as keep:
                    both(keep)
            with monkeypatch.context() as patch:
                again = stopped_at(patch, job, 0)
                with Kept(tmp_path / "f") as keep:
                    assert both(keep) == expected
                assert len(again) == made - call + 1


def test_what_is_done_can_be_asked(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Kept(tmp_path / "f")
    assert keep.done == {}
    with monkeypatch.context() as patch:
        stopped_at(patch, Attacking, 6)  # three parts of FGSM, two of PGD
        with pytest.raises(StoppedError):
            run(network, x, labels, keep)
    assert keep.done == {"adaptive-fgsm-linf-0.1": COUNT, "pgd-linf-0.1": 8}
    keep.close()
    assert Kept(tmp_path / "f").done == {"adaptive-fgsm-linf-0.1": COUNT, "pgd-linf-0.1": 8}


def test_progress_and_seconds_count_what_was_done_before(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = {module: iter(range(0, 10**9, step)) for module, step in ((kept, 1000), (evaluation, 1))}
    for module, clock in clocks.items():
        monkeypatch.setattr(module, "perf_counter", lambda clock=clock: float(next(clock)))
    told, whole = list[int](), list[int]()
    first = run(network, x, labels, progress=whole.append)
    keep = Kept(tmp_path / "f")
    run(network, x, labels, keep)
    found = list[int]()
    keep.told = found.append
    again = run(network, x, labels, keep, progress=told.append)
    assert told == [] and sum(found) >= sum(whole) == len(SOME) * COUNT
    counts = [3, 3, 3, 3, COUNT]
    for one, other, count in zip(first, again, counts, strict=True):
        assert one.seconds < 10 and 1000 * count <= other.seconds < 1000 * count + 10, "a part took a thousand seconds"
    keep.clear()


def test_a_file_of_another_call_is_refused_by_what_differs(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SOME[:1]
    keep = Kept(tmp_path / "f")
    run(network, x, labels, keep, attacks=few)
    other = labels.copy()
    other[0] = (other[0] + 1) % 3
    cases: list[tuple[str, Any]] = [
        ("network", lambda: run(network.with_sigma(0.4), x, labels, keep, attacks=few)),
        ("network", lambda: run(network.averaging(2), x, labels, keep, attacks=few)),
        ("images", lambda: run(network, x * 0.99, labels, keep, attacks=few)),
        ("images", lambda: run(network, x[:-1], labels[:-1], keep, attacks=few)),
        ("labels", lambda: run(network, x, other, keep, attacks=few)),
        ("attacks", lambda: run(network, x, labels, keep, attacks=[attacks.FGSM(0.1, source=attacks.EoT(3))])),
        ("judging", lambda: list(attacks.robust_accuracy(network, x, labels, few, Judging(draws=4), keep=keep))),
    ]
    for name, call in cases:
        with pytest.raises(
            ValueError, match=rf"f is of attacks that differ in (.* here\), )?{name} \(.* there, .* here"
        ):
            call()
    for where, name in ((provenance, "of_code"), (identity, "__version__")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, (lambda: "another") if name == "of_code" else "0.0.0")
            with pytest.raises(ValueError, match=r"differ in (code|version) \("):
                run(network, x, labels, keep, attacks=few)
    run(network, x, labels, keep, attacks=few)
    keep.close()
    anew = Kept(tmp_path / "f", anew=True)
    with pytest.warns(UserWarning, match="differ in labels .*: they begin again"):
        begun = run(network, x, other, anew, attacks=few)
    assert figures(begun) == figures(run(network, x, other, attacks=few)) and not anew.moved
    anew.clear()


def test_another_processor_is_told_of_and_noted(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Kept(tmp_path / "f")
    run(network, x, labels, keep, attacks=SOME[:1])
    assert not keep.moved
    monkeypatch.setattr(identity, "rounding", lambda *args: "another")
    with pytest.warns(UserWarning, match="rounds otherwise than the one that .*f was begun on"):
        run(network, x, labels, keep, attacks=SOME[:1])
    assert keep.moved
    run(network, x, labels, keep, attacks=SOME[:1])  # by the same one, of which it was told
    keep.close()
    assert Kept(tmp_path / "f").moved


def test_rounding_is_known_by_the_gradients(network: Classifier, x: np.ndarray, labels: np.ndarray) -> None:
    first = identity.rounding(network, x, labels)
    assert identity.rounding(replace(network, threads=2), x, labels) == first
    w = network.params["fc"]["w"] * (1 + 1e-15)
    assert (
        identity.rounding(replace(network, params=network.params | {"fc": {**network.params["fc"], "w": w}}), x, labels)
        != first
    )


def test_a_disk_that_fills_costs_no_result(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, writes, write = figures(run(network, x, labels)), list[int](), os.write

    def full(descriptor: int, content: bytes) -> int:
        writes.append(1)
        if len(writes) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    with monkeypatch.context() as patch, Kept(tmp_path / "f") as keep:
        patch.setattr(os, "write", full)
        with pytest.warns(
            UserWarning, match=r"cannot write .*f \(No space left on device\).*; the attacks go on"
        ) as said:
            assert figures(run(network, x, labels, keep)) == expected
        assert len(said) == 1
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o500)
    monkeypatch.setattr(os, "open", lambda *args: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")))
    with pytest.warns(UserWarning, match=r"cannot write .*g \(Read-only file system\)"):
        assert figures(run(network, x, labels, Kept(tmp_path / "g"))) == expected


class Nameless:
    """An attack that another process could not be known to have as well."""

    ball = attacks.Ball("linf", 0.1)

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        return x


@dataclass(frozen=True)
class Turned(attacks.InBall):
    """An attack of a module."""

    def __call__(self, target: Any, x: np.ndarray, labels: np.ndarray, stream: Any) -> np.ndarray:
        return np.asarray(self.ball.project(1 - x, x))


def test_an_attack_of_ones_own_is_kept_where_a_later_process_knows_it(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Kept(tmp_path / "f")
    with pytest.warns(UserWarning, match="some parts cannot be kept, .*Nameless object at"):
        first = run(network, x, labels, keep, attacks=[Nameless(), Turned(0.2)])
    assert keep.done == {"Turned-linf-0.2": COUNT}
    calls = stopped_at(monkeypatch, Attacking, 0)
    with pytest.warns(UserWarning, match="some parts cannot be kept"):
        keep._unnamed = False
        assert figures(run(network, x, labels, keep, attacks=[Nameless(), Turned(0.2)]))[1] == figures(first)[1]
    assert len(calls) == 3, "Nameless runs again, Turned does not"
    keep.clear()


def test_the_file_outlives_an_error_and_no_good_end(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError), Kept(tmp_path / "f") as keep:
        run(network, x, labels, keep, attacks=SOME[:1])
        1 / 0  # noqa: B018
    assert Kept(tmp_path / "f").done == {"adaptive-fgsm-linf-0.1": COUNT}
    with Kept(tmp_path / "f") as keep:
        run(network, x, labels, keep, attacks=SOME[:1])
    assert not (tmp_path / "f").exists()


def test_every_attack_of_npsnn_is_known_to_a_later_process() -> None:
    network = on_features(0.3)
    plan = Plan(tuple(name for name in choices() if name not in GROUPED), eps=(0.1,), norm="linf")
    for attack in plan.made():
        job = Attacking(attack, target_of(attack, network))
        assert identity.of_job(job, Stream(0)) == identity.of_job(job, Stream(0))
    assert {type(attack) for attack in plan.made()} >= {type(attack) for attack in SOME}


def test_what_a_part_depends_on_is_in_its_digest(network: Classifier, x: np.ndarray, labels: np.ndarray) -> None:
    def digest(
        attack: Any, net: Classifier, images: np.ndarray, classes: np.ndarray, stream: Stream, **more: Any
    ) -> str:
        own = identity.of_job(Attacking(attack, target_of(attack, net), **more), stream)
        return identity.of_part(own, images, classes, stream)

    stream, attack = Stream(3).at("a"), SOME[1]
    base = attack, network, x, labels, stream
    assert digest(*base) == digest(*base)
    assert digest(attack, replace(network, threads=7), x, labels, stream) == digest(*base)
    assert digest(attack, network, x[2:], labels[2:], stream.further(2)) == digest(
        attack, network, x[2:], labels[2:], stream.chosen(range(2, COUNT))
    )
    others = [
        digest(replace(attack, steps=3), network, x, labels, stream),
        digest(replace(attack, source=attacks.EoT(3)), network, x, labels, stream),
        digest(attack, network.with_sigma(0.31), x, labels, stream),
        digest(attack, network.with_sigma(0), x, labels, stream),
        digest(attack, network.averaging(2), x, labels, stream),
        digest(attack, network, x.astype(np.float32), labels, stream),
        digest(attack, network, x[::-1], labels, stream),
        digest(attack, network, x, labels[::-1] if (labels[::-1] != labels).any() else 1 - labels, stream),
        digest(attack, network, x, labels, Stream(4).at("a")),
        digest(attack, network, x, labels, stream.at("b")),
        digest(attack, network, x, labels, stream.further(1)),
        digest(attack, network, x, labels, replace(stream, shared=True)),
        digest(attack, network, x, labels, stream, on_grid=True),
    ]
    assert len({digest(*base), *others}) == len(others) + 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    from npsnn.files.blocks import Blocks

    heads: list[dict[str, Any]] = [
        {"format": 2},
        {},
        {"format": 1, "says": 3},
        {"format": 1, "keys": ["a"], "counts": [], "name": ""},
        {"format": 1, "keys": ["a"], "counts": ["b"], "name": ""},
        {"format": 1, "keys": 3},
    ]
    for i, head in enumerate(heads):
        file = Blocks(tmp_path / str(i))
        file.append(head)
        file.close()
        with pytest.raises(ValueError, match=rf"{tmp_path / str(i)}(, block 0, is damaged| must have the format)"):
            Kept(tmp_path / str(i))


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from test_kept import *
parts.EVERY = -1.0
network, x = convolutional(micro_batch=4), images(COUNT)
calls, called = [], Attacking.__call__
def dying(self, *args):
    calls.append(1)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    return called(self, *args)
Attacking.__call__ = dying
run(network, x, predicted(network, x), Kept(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("call", [1, 12])
def test_a_killed_process_keeps_what_it_had_done(
    network: Classifier, x: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent))
    paths = os.pathsep.join(sys.path)
    program = [sys.executable, "-c", code, str(tmp_path / "f"), str(call)]
    done = subprocess.run(program, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    with (tmp_path / "f").open("ab") as file:
        file.write(b"npb1 torn")
    calls = stopped_at(monkeypatch, Attacking, 0)
    expected = figures(run(network, x, labels))
    whole = len(calls)
    with Kept(tmp_path / "f") as keep:
        assert figures(run(network, x, labels, keep)) == expected
    assert len(calls) - whole == whole - call + 1


SOURCE = """
from dataclasses import dataclass
import numpy as np
from npsnn import attacks

@dataclass(frozen=True)
class Mine(attacks.InBall):
    def __call__(self, target, x, labels, stream):
        return np.asarray(self.ball.project(1 - x, x))
"""


def test_an_attack_whose_file_has_changed_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of no file is known to nobody."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "my_own_attack.py"
    file.write_text(SOURCE)
    mine = __import__("my_own_attack").Mine(0.1)
    first = identity.described(mine)
    assert identity.described(mine) == first and "my_own_attack.Mine of " in first["type"]
    file.write_text(SOURCE.replace("1 - x", "x"))
    assert identity.described(mine) != first
    monkeypatch.delattr(sys.modules["my_own_attack"], "__file__")
    with pytest.raises(identity.UnnamedError, match="the module my_own_attack is of no file"):
        identity.described(mine)
    assert " of " not in identity.described(attacks.PGD(0.1))["type"]
    assert identity.described(len) == "builtins.len"
