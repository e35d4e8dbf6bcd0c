"""The documentation site: what is on it, that its notebooks run, and that nothing on it asks another server.

The build itself needs mkdocs-material, the extra "docs"; the other tests read the sources.
"""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docs_api
import docs_figures
import docs_links
import docs_notebooks
import docs_site
import draw_rooms
import pytest
from click.testing import CliRunner
from docs_links import BORROWED, NOTEBOOKS, ROOT, relinked

from npsnn.data import digits

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
FOLDER = ROOT / "examples" / "notebooks"


def test_the_navigation_names_every_page_once() -> None:
    """A new page of docs/ needs a line in mkdocs.yml, under nav."""
    named = re.findall(r"^ +- [^:]+: (\S+\.md)$", CONFIG.partition("\nnav:\n")[2], re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} | set(BORROWED.values())
    assert sorted(named) == sorted(pages)
    assert not [path for path in (ROOT / "docs").rglob("*.md") if path.parent != ROOT / "docs"]


def test_every_notebook_is_on_the_site() -> None:
    assert sorted(NOTEBOOKS) == sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(scope="module")
def quiet_figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A place without a screen, and the first digits of both parts in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("NPSNN_DATA", raising=False)
        patch.setattr(digits, "SIZES", {"train": 4500, "test": 250})
        yield


HOLDS: dict[str, Any] = {
    "gradient_by_hand": lambda n: min(n["errors"]) < 1e-9 < max(n["errors"]),
    "noise_through_a_relu": lambda n: (
        abs(n["rules"]["exact"][0] - n["drawn"].mean(axis=0)).max()
        < 0.05
        < 0.3
        < (abs(n["rules"]["laplace"][0] - n["drawn"].mean(axis=0)).max())
    ),
    "first_attack": lambda n: (
        len(n["fooled"]) > 0
        and abs(n["after"] - n["before"]).max() <= 0.1 + 1e-6
        and n["strongest"].accuracy.mean < n["clean"].mean - 0.3
    ),
    "draws_or_closed_form": lambda n: (
        n["off"] < n["by_draws"][-1] and n["by_draws"] == sorted(n["by_draws"]) and n["closed"] > n["by_draws"][0]
    ),
    "audit_card": lambda n: n["row"].supported and n["own"].supported and not n["failed"].supported,
}
"""What the story of each notebook rests on, by the names that the notebook leaves."""


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.usefixtures("quiet_figures")
def test_a_notebook_runs_as_plain_python_and_its_story_holds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    left = runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    if left["plt"]:
        left["plt"].close("all")
    assert HOLDS[name](left), capsys.readouterr().out


def test_a_notebook_is_read_into_cells() -> None:
    found = docs_notebooks.cells("# %% [markdown]\n# # Title\n#\n# prose\n\n# %%\nx = 1\n\n# %%\nprint(x)\n")
    assert [(cell.kind, cell.text, cell.line) for cell in found] == [
        ("markdown", "# Title\n\nprose", 2),
        ("code", "x = 1", 7),
        ("code", "print(x)", 10),
    ]
    for wrong, said in (("x = 1\n# %%\n", "must begin with a cell"), ("# %% [markdown]\nprose\n", "must begin with #")):
        with pytest.raises(ValueError, match=said):
            docs_notebooks.cells(wrong)


def test_a_page_of_a_notebook_has_what_its_cells_print_and_draw() -> None:
    pytest.importorskip("matplotlib")
    cells = docs_notebooks.cells(
        "# %%\nimport matplotlib.pyplot as plt\n\n# %%\nprint('six')\nplt.plot([1, 2])\n\n# %%\npass\n"
    )
    (_, *nothing), (_, printed, (drawn,)), (_, *rest) = docs_notebooks.run(cells, "test")
    assert nothing == rest == ["", []] and printed == "six\n"
    element = docs_figures.inlined(drawn, 'two "points"')
    assert element.startswith('<svg role="img" aria-label="two &quot;points&quot;"') and "currentColor" in element
    assert docs_figures.GREY not in element and "max-width" in element and "<metadata>" not in element


@pytest.mark.parametrize(
    ("kind", "text", "asked"),
    [
        (".html", '<script src="https://cdn.org/a.js"></script>', ["https://cdn.org/a.js"]),
        (".html", '<img alt="" src="//cdn.org/a.png">', ["//cdn.org/a.png"]),
        (".html", '<link rel="stylesheet" href="https://fonts.org/css">', ["https://fonts.org/css"]),
        (".html", '<style>@import "https://fonts.org/css";</style>', ["https://fonts.org/css"]),
        (".html", '<a href="https://arxiv.org/abs/1">paper</a><img src="a.png"><script src="b.js"></script>', []),
        (
            ".css",
            "a { background: url(https://cdn.org/a.png) } b { background: url(c.png) }",
            ["https://cdn.org/a.png"],
        ),
        (".svg", '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>', []),
        (".js", 'fetch("https://cdn.org/x"); /* https://licence.org */', ["https://cdn.org/x"]),
    ],
)
def test_what_a_browser_would_fetch_is_seen(kind: str, text: str, asked: list[str]) -> None:
    assert docs_site.loads(text, kind) == asked


def test_no_source_of_the_site_asks_another_server() -> None:
    assert re.search(r"^  font: false\b", CONFIG, re.MULTILINE)
    assert "://" not in re.sub(r"#.*", "", CONFIG)
    for path in [*(ROOT / "scripts" / "docs_theme").rglob("*.*"), *(ROOT / "docs").rglob("*.svg")]:
        assert not docs_site.loads(path.read_text(encoding="utf-8"), path.suffix), path
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in BORROWED)]:
        pictures = re.findall(r"!\[[^]]*\]\(([^)\s]+)", path.read_text(encoding="utf-8"))
        assert not [picture for picture in pictures if "//" in picture], path


def test_a_link_leads_to_the_same_page_on_the_site() -> None:
    for link, source, place, wanted in (
        ("docs/audit.md#n14", "README.md", "index.md", "audit.md#n14"),
        ("docs/audit.html", "README.md", "index.md", "audit-report.html"),
        ("examples/notebooks/", "README.md", "index.md", "notebooks/index.md"),
        ("../CONTRIBUTING.md", "docs/extend.md", "extend.md", "contributing.md"),
        ("../examples/notebooks/audit_card.py", "docs/x.md", "x.md", "examples/notebooks/audit_card.py"),
        (
            "../../docs/attacks.md#apgd",
            "examples/notebooks/first_attack.py",
            "notebooks/first_attack.md",
            "../attacks.md#apgd",
        ),
        ("#start", "README.md", "index.md", "#start"),
        ("https://arxiv.org", "README.md", "index.md", "https://arxiv.org"),
    ):
        assert relinked(f"[a]({link})", source, place) == f"[a]({wanted})"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_the_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    for target in docs_links.LINK.findall(
        "".join(c.text for c in docs_notebooks.cells(path.read_text()) if c.kind == "markdown")
    ):
        assert (path.parent / target.partition("#")[0]).exists(), target


def test_every_room_has_a_page_or_is_internal() -> None:
    known = set().union(*draw_rooms.RANKS)
    assert known >= docs_api.INTERNAL
    assert {name.split(".")[1] for name in docs_api.rooms()[1:]} == known - docs_api.INTERNAL


def test_a_docstring_becomes_paragraphs_and_arguments() -> None:
    doc = "Does a < b.\n\n    code(1)\n\nx: images `(N,)`\n    in [0, 1].\nn: of them.\nReturns y.\nRaises A\nor B."
    assert docs_api.html(doc) == (
        "<p>Does a &lt; b.</p><pre><code>code(1)</code></pre>"
        "<ul><li><strong>x</strong>: images <code>(N,)</code> in [0, 1].</li><li><strong>n</strong>: of them.</li></ul>"
        "<p>Returns y.</p><p>Raises A or B.</p>"
    )


def test_a_page_of_the_api_has_every_public_name() -> None:
    from npsnn import certify

    page = docs_api.page_of("npsnn.certify", docs_api.public(certify))
    for name in certify.__all__:
        assert f"## {name} {{ #npsnn.certify.{name} }}" in page and f"[`{name}`](#npsnn.certify.{name})" in page
    assert "    alpha: float = 0.001,\n" in page and "<strong>alpha</strong>" in page
    assert "ABSTAIN" in page and "<code>int: -1</code>" in page
    assert "npsnn.certify.Smoothing" not in docs_api.signature(certify.smoothing, "smoothing")


def test_a_signature_is_shown_as_the_source_has_it() -> None:
    from npsnn import Classifier, attacks, backend, bounds, data, streams, train

    def shown(value: Any, name: str) -> str:
        return re.sub(r"\s+", " ", docs_api.signature(value, name, bound=True))

    assert docs_api.signature(data.load, "load").endswith("data_dir: Path | str | None = None) -> Dataset")
    assert docs_api.signature(data.as_float, "as_float").endswith("dtype: DTypeLike = ...) -> NDArray[Any]")
    assert "W: NDArray[float64]" in docs_api.signature(bounds.pairs, "pairs")
    assert "= ..., size" in shown(Classifier.each_batch, "each_batch"), "no address in memory"
    assert shown(streams.Stream.as_in, "as_in") == "as_in(other: Stream) -> Stream"
    assert docs_api.signature(backend.fused, "fused") == "fused(f: F) -> F"
    assert "eps: float = 8/255" in docs_api.signature(attacks.Checklist, "Checklist")
    assert docs_api.signature(train.Loss, "Loss") == "", "a protocol is not called"
    assert "_backward" not in docs_api.signature(train.losses.View, "View")
    assert "npsnn.backend.F" not in docs_api.public(backend)


def test_the_figures_of_the_concepts_are_committed() -> None:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((concepts/\S+\.svg)\)", text)
    assert len(shown) == 2
    for name in shown:
        assert docs_figures.GREY in (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_a_folder_that_is_no_site_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        done = CliRunner().invoke(docs_site.main, ["--out", str(out)])
        assert done.exit_code == 2 and "--out must be new, empty or an older site" in done.output
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_no_line_begins_with_the_punctuation_behind_a_formula() -> None:
    pytest.importorskip("mkdocs")
    import docs_hooks

    shown = docs_hooks.on_page_content(r'<p><span class="arithmatex">\(x\)</span>), y</p>', None, None, Any)
    assert re.fullmatch(r'<p><span class="kept"><math.*</math>\),</span> y</p>', shown)
    assert "nowrap" in (ROOT / "scripts" / "docs_theme" / "assets" / "site.css").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    done = CliRunner().invoke(docs_site.main, ["--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "<math" in (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "api/npsnn.attacks.html#npsnn.attacks.Ball" in (tmp_path / "how-it-works.html").read_text(encoding="utf-8")
    assert not list(docs_site.outside(tmp_path))
