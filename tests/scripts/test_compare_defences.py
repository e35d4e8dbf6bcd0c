"""scripts/run compare-defences: npsnn's side of every case, when the comparison fails, and where it is skipped."""

from importlib.util import find_spec
from typing import Any

import compare_defences
import numpy as np
import pytest
from click.testing import CliRunner
from compare_defences import FAINT, error
from compare_defences_cases import cases
from compare_defences_npsnn import Arrays, Case

from npsnn.layers.params import Role, flatten, roles

TORCH = find_spec("torch") is not None


@pytest.fixture(scope="module")
def every() -> list[Case]:
    return list(cases())


def test_npsnn_computes_every_case(every: list[Case]) -> None:
    assert len({case.name for case in every}) == len(every)
    for case in every:
        assert {"value"} < case.found.keys()
        for name, array in case.found.items():
            assert np.isfinite(array).all() and np.abs(array).max() > FAINT, (case.name, name)
            assert name == "value" or np.shape(array) == case.arrays[name].shape, (case.name, name)


def test_gradients_of_losses_and_layers_are_of_all_that_is_learned(every: list[Case]) -> None:
    for case in every:
        if case.formula in ("root_reward", "kl_divergence") or case.found.keys() == {"value", "x"}:
            continue  # terms are of a few parameters, attacks of the image
        of = roles(case.network.model.network, flatten(case.network.params))
        assert {f"p.{k}" for k, role in of.items() if role is not Role.STATISTIC} <= case.found.keys(), case.name


@pytest.fixture
def compared(every: list[Case], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the program with a twin that answers what npsnn has, but for one array of one case."""

    class Side:
        def __init__(self, *_: str) -> None: ...

        def tell(self, command: str) -> str:
            return "2.0"

        def close(self) -> None: ...

    def run(case: str, name: str, change: Any) -> Any:
        def asked(twin: Side, given: Case, folder: Any) -> Arrays:
            found = {k: np.asarray(a, float) for k, a in given.found.items()}
            return found | ({name: change(found[name])} if given.name == case else {})

        monkeypatch.setattr(compare_defences, "asked", asked)
        return CliRunner().invoke(compare_defences.main, [])

    monkeypatch.setattr(compare_defences, "Side", Side)
    monkeypatch.setattr(compare_defences, "cases", lambda: every)
    return run


def first_moved(array: np.ndarray, part: float) -> np.ndarray:
    found = array.copy()
    found.flat[0] += part * np.abs(array).max()
    return found


def test_equal_sides_pass(compared: Any, every: list[Case]) -> None:
    done = compared("", "", None)
    assert done.exit_code == 0 and all(case.name in done.output for case in every)
    assert "TOO LARGE" not in done.output


@pytest.mark.parametrize(
    "change",
    [lambda a: first_moved(a, 2e-9), lambda a: first_moved(a, np.nan), lambda a: 0 * a, lambda a: a[..., None]],
    ids=["another", "no number", "nothing", "of another shape"],
)
def test_it_fails_where_one_array_differs(compared: Any, change: Any) -> None:
    done = compared("MART, code, draws", "p.bn.w", change)
    assert done.exit_code == 1 and "1 cases differ by more than 1e-09" in done.output
    assert done.output.count("TOO LARGE") == 1


def test_a_name_of_no_case_is_refused(compared: Any) -> None:
    done = CliRunner().invoke(compare_defences.main, ["--only", "TRADE5"])
    assert done.exit_code == 1 and "no case has 'TRADE5' in its name" in done.output


def test_rounding_is_no_difference() -> None:
    assert error(np.ones(3), np.ones(3) + 9e-10) < compare_defences.LIMIT < error(np.ones(3), np.ones(3) + 2e-9)


def test_the_program(tmp_path: Any) -> None:
    """With PyTorch every case agrees; without it the program says that it is skipped."""
    done = CliRunner().invoke(compare_defences.main, [])
    assert done.exit_code == 0
    assert done.output.startswith("npsnn against" if TORCH else "skipped: there is no PyTorch to compare with")
