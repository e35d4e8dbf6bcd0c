"""What .github/ and .pre-commit-config.yaml call is there, for the versions of Python that the project names.

No parser of YAML is among the tests' dependencies: the files are read line by line, and keep to what can be.
"""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
COMMITS = ROOT / ".pre-commit-config.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = re.compile(r"\"(3\.\d+)\"")


def values(path: Path, key: str) -> list[str]:
    """What follows `key:` in each line that has it."""
    return re.findall(rf"^ *(?:- )?{key}: +(.+)$", path.read_text(), re.MULTILINE)


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    first, *rest = (int(version.removeprefix("3.")) for version in named)
    assert rest == list(range(first + 1, first + 1 + len(rest)))
    assert PROJECT["requires-python"] == f">={named[0]}"
    matrices = {path.name: values(path, "python") for path in WORKFLOWS}
    assert {name for name, found in matrices.items() if found} == {"check.yml", "nightly.yml", "platforms.yml"}
    for name, found in matrices.items():
        assert all(VERSION.findall(line) == named for line in found), name
    for path in WORKFLOWS:
        for version in values(path, "python-version"):
            assert version == "${{ matrix.python }}" or VERSION.findall(version)[0] in named, path.name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_of_a_workflow_is_a_script(path: Path) -> None:
    commands = values(path, "run")
    assert commands or path.name not in ("check.yml", "nightly.yml", "site.yml")
    programs = re.findall(r"^    ([a-z-]+)\) file=", (ROOT / "scripts" / "run").read_text(), re.MULTILINE)
    for command in commands:
        script, *words = command.split()
        assert script.startswith("scripts/") and (ROOT / script).stat().st_mode & 0o111, command
        if script == "scripts/run":
            named = values(path, "program")[0].strip("[]").split(", ") if "matrix.program" in command else words[:1]
            assert named and set(named) <= set(programs), command
    assert 'scripts/check -m "not slow"' in values(ROOT / ".github" / "workflows" / "check.yml", "run")
    assert "scripts/check" in values(ROOT / ".github" / "workflows" / "nightly.yml", "run")


def test_what_runs_before_a_commit_is_pinned_and_there() -> None:
    assert values(COMMITS, "rev") and all(re.fullmatch(r"v\d+\.\d+\.\d+", rev) for rev in values(COMMITS, "rev"))
    assert values(COMMITS, "id") == ["ruff-check", "ruff-format", "types"]
    assert [(ROOT / entry).exists() for entry in values(COMMITS, "entry")] == [True]


def test_an_action_has_one_version_in_all_workflows() -> None:
    used = {use for path in WORKFLOWS for use in values(path, "uses")}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", use) for use in used)
    assert len({use.partition("@")[0] for use in used}) == len(used)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_names_each_field_once_and_asks_for_what_it_needs(path: Path) -> None:
    fields = values(path, "id")
    assert len(set(fields)) == len(fields) == len(values(path, "label")) == len(values(path, "type")) >= 3
    assert len(values(path, "description")) == len(fields) + 1 and len(values(path, "required")) >= 2


@pytest.mark.parametrize("path", [*WORKFLOWS, *FORMS, COMMITS], ids=lambda path: path.name)
def test_a_file_of_yaml_is_indented_by_two_spaces_and_has_no_tabs(path: Path) -> None:
    for line in path.read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        assert indent % 2 == 0 and "\t" not in line and line == line.rstrip(), line


def test_addresses_have_names_that_the_metadata_can_hold() -> None:
    """A comma would end the name: the rest of it would be taken for the address."""
    assert PROJECT["urls"]
    for name, address in PROJECT["urls"].items():
        assert "," not in name and len(name) <= 32 and address.startswith("https://"), name
