"""Help texts: each option once, in its group, in lines of 80 columns that break between words."""

import re
from dataclasses import fields
from typing import Any

import pytest
from calling import Npsnn

from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.plan import Plan
from npsnn.cli.attack_flags import BY_DEFAULT, NAMED
from npsnn.cli.main import COMMANDS
from npsnn.data import NAMES
from npsnn.train.config import Config, losses
from npsnn.validate import declared

GROUPS = {
    "train": ["Network", "Noise", "Loss", "Optimiser", "Data", "Run"],
    "attack": [BY_DEFAULT, *NAMED.values(), "Ball", "Gradients", "Searches", "Carlini and Wagner", "Judging"],
    "checklist": ["Attacks", "Judging", "Data", "Run"],
    "evaluate": ["Judging", "Data", "Run"],
    "audit": ["Rows", "Report", "Comparison", "Run"],
}
GROUPS["attack"] += ["Data", "Run"]
SCREEN = 40
"""The lines of a screen."""


def groups(text: str) -> dict[str, list[str]]:
    """The lines of a help text by the heading above them."""
    found: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        if re.fullmatch(r"\w[\w ,]*:", line):
            found[line[:-1]] = []
        else:
            found[list(found)[-1]].append(line)
    return found


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("command", GROUPS)
def test_options_stand_in_groups_of_a_screen_each(npsnn: Npsnn, command: str) -> None:
    intro, *listed = groups(npsnn(command, "--help").out).items()
    assert [name for name, _ in listed] == GROUPS[command]
    assert all(len(lines) < SCREEN for _, lines in listed)
    assert len(intro[1]) < SCREEN or command == "checklist"  # which explains ten criteria
    assert listed[-1][1][-1].startswith("  -h, --help")


def test_the_help_of_attack_says_what_runs_and_keeps_its_radii_together(npsnn: Npsnn) -> None:
    text = npsnn("attack", "--help").out
    assert "Attacks that run where none is named:" in text and "Attacks that run where they are named:" in text
    assert "linf 0.1, 0.2, 0.3" in text and "l2 0.5, 1, 2" in text


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "data"])
def test_lines_fit_and_break_between_words(npsnn: Npsnn, command: str) -> None:
    text = npsnn(command, "--help").out
    assert max(map(len, text.splitlines())) <= 80
    for broken in re.findall(r"\S*\w-$|\b(?:Eq\.|Sec\.)$|\[default:$", text, re.MULTILINE):
        pytest.fail(f"a line breaks within {broken}")
    flags = [line.split()[0] for lines in list(groups(text).values())[1:] for line in lines if line.startswith("  --")]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize(
    ("command", "kind", "others"),
    [("train", Config, {"noise_only"}), ("attack", Plan, {"attacks"}), ("checklist", Checklist, {"ladder"})],
)
def test_every_field_has_its_flag_its_default_and_its_choices(
    npsnn: Npsnn, command: str, kind: Any, others: set[str]
) -> None:
    listed = groups(npsnn(command, "--help").out)
    assert {f.name for f in fields(kind)} - declared(kind).keys() == others
    for name, option in declared(kind).items():
        text = " ".join(" ".join(["", *listed[option.group]]).split()) + " --"
        at = f" {text}".index(f" {option.flag or '--' + name.replace('_', '-')} ")
        entry = text[at : text.index(" --", at + 5)]
        assert option.choices is None or "{choices}" in option.help, name
        assert option.sentence() in entry, entry


def test_defaults_and_choices_are_shown(npsnn: Npsnn) -> None:
    text = " ".join(npsnn("train", "--help").out.split())
    assert "[default: 8/255]" in text and f"Data set: {', '.join(NAMES[:-1])} or {NAMES[-1]}, or the path" in text
    assert losses()[-1] in text
    assert "[default: linf 0.1, 0.2, 0.3; l2 0.5, 1, 2; l1 5, 10, 20]" in " ".join(
        npsnn("attack", "--help").out.split()
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_sentences_begin_with_their_subject(npsnn: Npsnn, command: str) -> None:
    assert not re.findall(r"(?:^|\. )(Of|What) ", npsnn(command, "--help").out, re.MULTILINE)
