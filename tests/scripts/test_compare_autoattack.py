"""scripts/run compare-autoattack: the figures of both sides, when it fails, and the twin of a network."""

import json
from importlib.util import find_spec
from typing import Any

import compare_autoattack
import numpy as np
import pytest
from click.testing import CliRunner
from compare_autoattack import COUNTERPARTS, TOGETHER, Both, Reference, worse
from small_networks import images, linear, predicted

from npsnn.attacks import Judging


class Side:
    """A side whose reference returns the images that it is told to, and whose twin has these logits."""

    def __init__(self, found: np.ndarray, logits: np.ndarray) -> None:
        self.found, self.logits = found, logits
        self.tasks: list[dict[str, Any]] = []

    def tell(self, command: str, argument: str, limit: float) -> Any:
        assert command == "attack"
        self.tasks.append(json.loads(argument))
        with np.load(self.tasks[-1]["given"]) as given:
            assert {"x", "labels", "fc.w", "fc.b"} <= set(given)
        np.savez(self.tasks[-1]["answer"], x_adv=self.found, logits=self.logits)
        return {"seconds": 3.0, "reported": 0.25, "said": []}


def rows(sigma: float, wrong: float = 0.0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is compared of a linear network whose reference returns the clean images; its twin's logits are wrong by."""
    network, x = linear(sigma), images(8)
    labels, side = predicted(network, x), Side(x, network.predict(x) + wrong)
    both = Both(network, Reference(side, network, x, labels, network.random), Judging(draws=4))  # type: ignore[arg-type]
    return list(both.compared(0.02, "linf", alone=True)), side.tasks


@pytest.mark.slow
def test_each_member_stands_beside_its_counterpart() -> None:
    found, tasks = rows(0.0)
    assert [row["member"] for row in found] == [*COUNTERPARTS, TOGETHER]
    assert [task["members"] for task in tasks] == [*([name] for name in COUNTERPARTS.values()), []]
    assert {task["version"] for task in tasks} == {"standard"}
    for row in found:
        assert row["reference"] == 1 and row["taken_alone"] == [round((1 - row["npsnn"]) * 8), 0]
        assert row["seconds"][1] == 3 and row["reported"] == 0.25 and not worse(row)


@pytest.mark.slow
def test_a_network_that_keeps_its_noise_is_compared_as_a_whole() -> None:
    found, tasks = rows(0.3)
    assert [row["member"] for row in found] == [TOGETHER]
    assert tasks[0]["version"] == "rand" and tasks[0]["noisy"]


def test_another_network_is_no_twin() -> None:
    with pytest.raises(SystemExit, match="the twin's logits are not the network's"):
        rows(0.0, wrong=0.1)


@pytest.mark.parametrize(("member", "more", "fails"), [("apgd", 0.01, False), ("apgd", 0.012, True)])
def test_it_fails_where_npsnn_leaves_more(member: str, more: float, fails: bool) -> None:
    assert worse({"member": member, "npsnn": 0.5 + more, "reference": 0.5}) is fails
    assert worse({"member": TOGETHER, "npsnn": 0.5 + more, "reference": 0.5})


@pytest.mark.skipif(find_spec("autoattack") is not None, reason="the reference is there")
def test_without_the_reference_it_is_skipped() -> None:
    done = CliRunner().invoke(compare_autoattack.main, [])
    assert done.exit_code == 0 and done.output.startswith("skipped: no PyTorch or no autoattack to compare with")
