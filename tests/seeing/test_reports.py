"""The report of a run: what its folder records, what qualifies it, and nothing from outside."""

import re
from pathlib import Path
from typing import Any

import pytest
from own_data import MINE, trained_on
from seeing_records import line, recorded
from small_networks import linear

from npsnn import Classifier, seeing
from npsnn._version import __version__
from npsnn.files import journal
from npsnn.runs import provenance
from npsnn.train.config import Config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch with two attacks and a checklist; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    trained_on(folder, MINE, Config(epochs=1, sigma=0.4))
    parameters = provenance.of_network(Classifier.load(folder).params)
    odd = {"caveats": [{"code": "few-images", "text": "the number of images is <50>"}]}
    recorded(folder, line("fgsm", 0.1, 0.5, parameters=parameters), line("pgd", 0.1, 0.4, parameters=parameters, **odd))
    recorded(folder, line("fgsm", 0.3, 0.123, parameters="before"))
    criteria = [
        {"number": n, "name": f"criterion {n}", "outcome": outcome, "explanation": f"because {n}"}
        for n, outcome in enumerate(("passes", "fails", "undecided"), start=1)
    ]
    about: dict[str, Any] = {"parameters": parameters, "examples": 50, "draws": 3, "interrupted": False}
    journal.append(folder / "checklist.jsonl", about | {"criteria": criteria})
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    """The report of this run."""
    return seeing.report(folder)


def sections(page: str) -> dict[str, str]:
    """The parts of a page by their anchors."""
    parts = re.split(r'<h2 id="(\w+)">', page)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


def test_the_report_has_what_is_recorded(page: str) -> None:
    found = sections(page)
    assert list(found) == ["", "qualified", "attacks", "checklist", "images", "training", "settings", "versions"]
    assert "lenet5, 1x28x28 images, 10 classes" in found[""] and "finished" in found[""]
    assert "40.0 % under pgd at linf 0.1" in found[""] and "passes 1, fails 1, undecided 1" in found[""]
    assert "<dt>source draws</dt><dd>10</dd>" in found["attacks"]
    assert ">50.0 %<" in found["attacks"] and ">30.0 to 50.0 %<" in found["attacks"]
    assert "because 2" in found["checklist"] and 'data-of="fails"' in found["checklist"]
    assert "<dt>sigma</dt><dd>0.4</dd>" in found["settings"] and "PreactivationNoise" in found["settings"]
    assert f"npsnn {__version__}" in found["versions"]
    assert "train images" in found["versions"] and "numpy" in found["versions"]


def test_the_report_says_what_qualifies_its_numbers(page: str) -> None:
    text = sections(page)["qualified"]
    assert "few [few-draws]: fgsm at linf 0.1, pgd at linf 0.1" in text
    assert "the number of images is &lt;50&gt; [few-images]" in text
    assert "1 results are of networks that the run had before" in text
    assert "12.3 %" not in page


def test_the_report_has_the_certificates_and_what_qualifies_them(folder: Path) -> None:
    from npsnn.certify.certificates import Certificate, Certificates

    rows = Certificates(tuple(Certificate(i, 1, 1, r, 0.9, 1, 0.1) for i, r in enumerate((0.5, 0.2))))
    found = sections(seeing.report(folder, certificate=rows))
    assert ">90.0 %<" in found["certified"] and ">in draws<" in found["certified"]
    assert "the number of images is 2, fewer than 100 [few-images]: the certificates" in found["qualified"]


def test_a_network_that_came_without_its_training_is_said_to(tmp_path: Path) -> None:
    network = linear()
    network.save(tmp_path / "saved")
    found = sections(seeing.report(tmp_path / "saved"))
    assert "[training-unknown]" in found["qualified"]
    assert "<dt>epochs</dt>" not in found[""] and "<dt>validation accuracy</dt>" not in found[""]


def test_what_a_record_says_is_text(tmp_path: Path) -> None:
    trained_on(tmp_path / "a", MINE, Config(epochs=1))
    odd = {"criteria": [{"number": "<i>", "name": "<i>", "outcome": "<i>", "explanation": "<i>"}], "draws": "<i>"}
    parameters = provenance.of_network(Classifier.load(tmp_path / "a").params)
    journal.append(tmp_path / "a" / "checklist.jsonl", odd | {"parameters": parameters, "examples": "<i>"})
    recorded(tmp_path / "a", line("<i>", 0.1, 0.5, {"<i>": "<i>"}, parameters=parameters))
    assert "<i>" not in seeing.report(tmp_path / "a")


def test_the_report_asks_for_nothing_from_outside(folder: Path) -> None:
    network = Classifier.load(folder)
    x, labels = MINE.test.images[:2], MINE.test.labels[:2]
    page = seeing.report(folder, seeing.gallery(network, x, labels, {"same": x / 255}))
    sources = re.findall(r"(?:\bsrc|href|action|data)=\"([^\"]*)\"", page)
    assert sources and all(source.startswith(("#", "data:image/png;base64,")) for source in sources)
    assert not re.findall(r"@import|url\((?!#)|<script|<link", page)
    assert page.count('<section class="image">') == 2


def test_plots_stand_in_the_page(page: str) -> None:
    pytest.importorskip("matplotlib")
    found = sections(page)
    assert found["attacks"].count("<svg") == 1 and found["training"].count("<svg") == 2


def test_without_matplotlib_the_report_says_that_plots_are_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npsnn.seeing.reports.find_spec", lambda name: None)
    page = seeing.report(folder)
    assert "<svg" not in page and "plots are left out: matplotlib is not installed" in page


def test_a_run_without_records_says_what_would_measure_them(tmp_path: Path) -> None:
    trained_on(tmp_path / "a new", MINE, Config(epochs=1, sigma=0.4))
    found = sections(seeing.report(tmp_path / "a new", "no data: <gone>"))
    assert "<code>npsnn attack &#x27;a new&#x27;</code>" in found["attacks"]
    assert "<code>npsnn checklist &#x27;a new&#x27;</code>" in found["checklist"]
    assert "no data: &lt;gone&gt;" in found["images"]


def test_a_damaged_run_is_one_line(tmp_path: Path) -> None:
    trained_on(tmp_path / "new", MINE, Config(epochs=1))
    (tmp_path / "new" / "last.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"last\.npz is damaged"):
        seeing.report(tmp_path / "new")
    assert [(run.state, run.why) for run in seeing.runs(tmp_path)] == [("broken", "is damaged")]
