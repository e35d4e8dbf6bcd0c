"""The published reproduction is made of the records beside it, and of nothing else."""

import re
from pathlib import Path

import pytest

from npsnn.reproduce import whole
from npsnn.reproduce.claims import VERDICTS
from npsnn.reproduce.plots import drawn_by

DOCS = Path(__file__).parent.parent.parent / "docs"
DATA = DOCS / "reproduction" / "data" / "small"
REMEDY = f"run 'npsnn reproduce --report --out {DATA.relative_to(DOCS.parent)} --markdown docs/reproduction.md'"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report as it is now, made without training."""
    folder = tmp_path_factory.mktemp("published")
    whole.report(DATA, folder / "reproduction.md")
    return folder


def test_the_report_is_made_of_the_records(written: Path) -> None:
    assert (written / "reproduction.md").read_text() == (DOCS / "reproduction.md").read_text(), REMEDY


def test_its_plots_are_made_of_the_records(written: Path) -> None:
    here, there = ({p.name: p for p in (f / "reproduction-figures").iterdir()} for f in (written, DOCS))
    assert here.keys() == there.keys(), REMEDY
    drawn = {version[0] for p in there.values() if (version := re.search(r"Matplotlib [\w.]+", p.read_text()))}
    assert len(drawn) == 1, "all plots are drawn by one version"
    if drawn != {drawn_by()}:
        pytest.skip(f"the published plots are drawn by {drawn.pop()}, and this is {drawn_by()}")
    assert all(here[name].read_bytes() == there[name].read_bytes() for name in here), REMEDY
    assert (written / "reproduction.html").read_bytes() == (DOCS / "reproduction.html").read_bytes(), REMEDY


def test_every_claim_stands_in_the_report() -> None:
    text = (DOCS / "reproduction.md").read_text()
    tables = re.findall(r"^## [^\n]+: all claims\n\n(.+?)\n\n", text, re.MULTILINE | re.DOTALL)
    table = "\n".join(tables)
    assert len(tables) == len({claim.paper for claim in whole.claims().values()})
    assert all(table.count(f"[{claim.says}]") == 1 for claim in whole.claims().values())
    assert len(re.findall(rf"\) \| \*\*({'|'.join(VERDICTS)})\*\*[\w ,]* \| ", table)) == len(whole.claims())


def test_no_record_is_left_over() -> None:
    """A record that no experiment asks for says that the settings have changed since."""
    asked = {job.key for job in whole.planned((), whole.scale_of(DATA))}
    assert set(whole.Place(DATA).records) <= asked
