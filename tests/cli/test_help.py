"""Help texts: each option once, in its group, in lines of 80 columns that break between words."""

import re
from dataclasses import fields

import pytest
from calling import Npsnn

from npsnn.data import NAMES
from npsnn.train.config import LOSSES, Config
from npsnn.validate import declared

GROUPS = {"train": ["Network", "Noise", "Loss", "Optimiser", "Data", "Run"]}
SCREEN = 40
"""The lines of a screen."""


def groups(text: str) -> dict[str, list[str]]:
    """The lines of a help text by the heading above them."""
    found: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        if re.fullmatch(r"\w[\w ]*:", line):
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
    assert all(len(lines) < SCREEN for _, lines in listed) and len(intro[1]) < SCREEN
    assert listed[-1][1][-1].startswith("  -h, --help")


@pytest.mark.parametrize("command", ["train", "evaluate", "audit", "info"])
def test_lines_fit_and_break_between_words(npsnn: Npsnn, command: str) -> None:
    text = npsnn(command, "--help").out
    assert max(map(len, text.splitlines())) <= 80
    for broken in re.findall(r"\S*\w-$|\b(?:Eq\.|Sec\.)$|\[default:$", text, re.MULTILINE):
        pytest.fail(f"a line breaks within {broken}")
    flags = [line.split()[0] for lines in list(groups(text).values())[1:] for line in lines if line.startswith("  --")]
    assert len(flags) == len(set(flags))


def test_every_option_of_a_training_has_its_flag_its_default_and_its_choices(npsnn: Npsnn) -> None:
    text = " " + " ".join(npsnn("train", "--help").out.partition("\nNetwork:")[2].split())
    assert {f.name for f in fields(Config)} - declared(Config).keys() == {"noise_only"}
    for name, option in declared(Config).items():
        at = text.index(f" --{name.replace('_', '-')} ")
        entry = text[at : text.index(" --", at + 5)]
        assert option.choices is None or "{choices}" in option.help, name
        assert option.sentence() in entry, entry
    assert "[default: 8/255]" in text and f"Data set: {', '.join(NAMES[:-1])} or {NAMES[-1]}." in text
    assert LOSSES[-1] in text


@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_sentences_begin_with_their_subject(npsnn: Npsnn, command: str) -> None:
    assert not re.findall(r"(?:^|\. )(Of|What) ", npsnn(command, "--help").out, re.MULTILINE)
