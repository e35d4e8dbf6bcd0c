"""Grids of networks by attacks, and the report that is made of their records alone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_reproduction import network, run_all, tiny

from npsnn.attacks import FGSM, PGD
from npsnn.reproduce import publish, whole
from npsnn.reproduce.claims import FAILS, HOLDS, MISSING, OPEN, Claim, Ruling
from npsnn.reproduce.experiments import EXPERIMENTS, Column, Grid, enter
from npsnn.reproduce.overview import CHANGED
from npsnn.reproduce.panels import Panel
from npsnn.reproduce.perform import Place
from npsnn.reproduce.records import Records, Seeds
from npsnn.reproduce.report import markdown, panel_table
from npsnn.reproduce.rules import above, all_of
from npsnn.reproduce.scales import NOISE_PAPER, SCALES
from npsnn.reproduce.sections import sections

OFF = {"sigma": 0.0}
CLAIMS = {id: Claim(id, NOISE_PAPER, "Fig. 0", f"It is {id}, a | b.", chief=f"is {id}") for id in ("better", "worse")}
GRID = Grid(
    name="tiny",
    paper=NOISE_PAPER,
    shows="Fig. 0",
    title="Tiny",
    data="mnist",
    rows={"low": lambda s, seed: network(0.3, seed), "high": lambda s, seed: network(0.9, seed)},
    columns=lambda scale: [
        Column("clean", None, OFF, 0.0),
        Column("PGD", PGD(0.1, steps=2), OFF, 0.1),
        Column("FGSM, noise on", FGSM(0.1)),
    ],
    decides={
        "better": lambda panels: Ruling(FAILS, "1 against 2", "Because."),
        "worse": lambda panels: above(panels["grid"], ("high", "PGD"), ("low", "missing")),
    },
    theirs={("low", "PGD"): 12.5},
    axis="eps",
    says="A paragraph.",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the grid's jobs are done, for two seeds."""
    found = tmp_path_factory.mktemp("grid")
    run_all(list(GRID.jobs(replace(tiny(), seeds=2))), found)
    return found


@pytest.fixture
def records(folder: Path) -> Records:
    return Place(folder).records


def test_a_grid_has_a_job_for_each_row_seed_and_judging() -> None:
    jobs = list(GRID.jobs(replace(tiny(), seeds=2)))
    assert len(jobs) == 2 * 2 * 2 and len({job.key for job in jobs}) == 8
    assert list(GRID.jobs(replace(tiny(), settings={}))) == []


def test_its_panel_holds_what_the_records_say(records: Records) -> None:
    scale = replace(tiny(), seeds=2)
    panel = GRID.panels(scale, records)["grid"]
    jobs = [job for job in GRID.jobs(scale) if job.name == "sigma-0.3" and job.judging.sigma == 0.0]  # type: ignore[union-attr]
    assert panel["low", "PGD"].values == tuple(records[job].accuracy("PGD").mean for job in jobs)
    assert panel["low", "clean"].values == tuple(records[job].accuracy("clean").mean for job in jobs)
    assert len(panel["high", "FGSM, noise on"].values) == 2
    assert panel.x == {"clean": 0.0, "PGD": 0.1}


def test_a_figure_waits_for_all_of_its_seeds(records: Records) -> None:
    """Seeds are paired by their order: without the first, another network would be compared with its namesake."""
    more = GRID.panels(replace(tiny(), seeds=3), records)["grid"]
    assert not more.cells and more.shown("low", "PGD") == "-"


def test_so_does_a_row_of_records(records: Records) -> None:
    two, three = (list(GRID.jobs(replace(tiny(), seeds=seeds))) for seeds in (2, 3))
    missing = next(job for job in three if job not in two)
    asked = [("lacking", missing), *(("whole", job) for job in two), ("lacking", two[0])]
    assert [row for row, _ in records.there(asked)] == ["whole"] * len(two)
    by_seed = [(("lacking", 0), two[0]), (("lacking", 1), missing), (("whole", 0), two[0])]
    assert [beside for beside, _ in records.there(by_seed, lambda beside: beside[0])] == [("whole", 0)]


def test_the_report_has_every_claim_the_worst_first(records: Records) -> None:
    scale = replace(tiny(), seeds=2, decides=True)
    text = markdown(sections([GRID], CLAIMS, scale, records), scale, records, "figures/")
    rows = re.findall(r"^\| \[It is (\w+), .*\]\(#tiny\) \(Fig. 0\) \| \*\*(.+)\*\* \|", text, re.MULTILINE)
    assert rows == [("better", FAILS), ("better", FAILS), ("worse", MISSING)]
    chief, whole_table = text.index("## Noise paper: the chief claims"), text.index("## Noise paper: all claims")
    assert chief < text.index("[It is better") < whole_table
    assert f"* **{FAILS}**: is better.\n* **{MISSING}**: is worse.\n" in text[:chief]
    assert "It is better, a \\| b." in text and "12.5]" in text and "A paragraph." in text
    assert re.search(r"\*\*Noise paper\*\* \([^)]*\). The chief claims of its", " ".join(text.split()))
    assert "\nAll 2 claims: does not hold 1, not measured 1.\n" in text
    assert "![Tiny](figures/tiny-1.svg)" in text and "not measured" in text
    assert "](#what-was-changed-after-figures-had-been-seen)" in " ".join(text.split()) and CHANGED.strip() in text
    assert "Not asked:\n\n* What the abstract" in text, "what no claim asks of the paper"
    assert CHANGED.strip() not in markdown(sections([GRID], CLAIMS, tiny(), records), tiny(), records, "")


def test_the_summary_says_which_parts_hold(records: Records) -> None:
    """Of an open claim as of one that holds in part; a claim whose parts agree needs no names."""

    def of(*verdicts: str) -> Ruling:
        return all_of(*(Ruling(v, "1") for v in verdicts), names=("on Monday", "on Tuesday"))

    decides = {"better": lambda panels: of(OPEN, FAILS), "worse": lambda panels: of(HOLDS, HOLDS)}
    scale = replace(tiny(), seeds=2, decides=True)
    text = markdown(sections([replace(GRID, decides=decides)], CLAIMS, scale, records), scale, records, "")
    assert f"* **{OPEN}**, though a part fails: is better (no: on Tuesday; open: on Monday).\n" in text
    assert f"* **{HOLDS}**: is worse.\n" in text


def test_an_experiment_may_be_of_another_paper(records: Records) -> None:
    scale, claims = replace(tiny(), seeds=2), {id: replace(claim, paper="my paper") for id, claim in CLAIMS.items()}
    text = markdown(sections([GRID], claims, scale, records), scale, records, "")
    assert (
        "**My paper**. The chief claims of its abstract and conclusion in a few words, asked of lenet5:"
        in " ".join(text.split())
        and "## My paper: all claims" in text
    )


def test_a_scale_that_decides_nothing_leaves_claims_open(records: Records) -> None:
    (section,) = sections([GRID], CLAIMS, replace(tiny(), seeds=2), records)
    assert {ruling.verdict for _, ruling in section.rulings} == {OPEN, MISSING}
    assert section.rulings[0][1].figure == "1 against 2"


def test_jobs_that_are_missing_are_counted(tmp_path: Path) -> None:
    scale = replace(tiny(), decides=True)
    found = sections([GRID], CLAIMS, scale, Place(tmp_path).records)
    text = markdown(found, scale, Place(tmp_path).records, "")
    assert "**Unfinished: 6 of 6 jobs are not done.**" in text and "| low | - | - | - |" in text.replace(" [12.5]", "")


def test_the_files_are_whole_and_ask_for_nothing(records: Records, tmp_path: Path) -> None:
    scale = replace(tiny(), seeds=2, decides=True)
    found = sections([GRID], CLAIMS, scale, records)
    publish.write(found, scale, records, tmp_path / "r.md")
    html = (tmp_path / "r.html").read_text()
    assert (tmp_path / "r-figures" / "tiny-1.svg").is_file() and "data:image/svg+xml;base64," in html
    assert 'data-of="does-not-hold"' in html and not re.search(r"(src|href)=\"https?:", html)
    before = [path.read_bytes() for path in sorted(tmp_path.rglob("*.*")) if path.is_file()]
    publish.write(found, scale, records, tmp_path / "r.md")
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("*.*")) if path.is_file()] == before


def test_a_plot_needs_an_axis(records: Records) -> None:
    table = replace(GRID, columns=lambda scale: [Column("PGD", PGD(0.1, steps=2), OFF)])
    (section,) = sections([table], CLAIMS, replace(tiny(), seeds=2), records)
    assert section.plots == {}


def test_experiments_are_found_by_name_and_in_order() -> None:
    names = [e.name for e in whole.experiments()]
    assert names and len(set(names)) == len(names) and set(names) == EXPERIMENTS.keys()
    assert [e.name for e in whole.experiments([names[-1], names[0]])] == [names[0], names[-1]]
    with pytest.raises(ValueError, match="experiment must be"):
        whole.experiments(["noise-figure-99"])
    with pytest.raises(ValueError, match="there is another experiment"):
        enter(EXPERIMENTS[names[0]])


def test_a_folder_is_of_one_scale(tmp_path: Path) -> None:
    whole.begin(tmp_path, SCALES["quick"])
    assert whole.scale_of(tmp_path) == SCALES["quick"]
    whole.begin(tmp_path, SCALES["quick"])
    with pytest.raises(ValueError, match="holds a reproduction at the scale quick with seeds 1, not small with 5"):
        whole.begin(tmp_path, SCALES["small"])
    with pytest.raises(FileNotFoundError, match="there is no reproduction in"):
        whole.scale_of(tmp_path / "other")


def test_every_verdict_has_a_mark() -> None:
    assert publish.page(f"**{HOLDS}**", {}).count('class="verdict"') == 1
    assert "does not hold</strong>" in publish.page("**does not\nhold**", {})


def test_panels_name_what_is_missing() -> None:
    assert Panel("t", ["a"], ["x"], {}).shown("a", "x") == "-"


def test_what_an_empty_table_plans_is_not_told_as_done() -> None:
    empty, full = (Panel("t", ["a"], ["x"], cells, note="3 seeds.") for cells in ({}, {("a", "x"): Seeds((1.0,))}))
    assert "\n\nNot measured yet. Planned: 3 seeds." in panel_table(empty)
    assert panel_table(full).endswith("\n\n3 seeds.")
