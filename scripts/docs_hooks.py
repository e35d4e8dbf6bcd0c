"""What MkDocs does not do for the site: pages from files outside of docs/, links to them, formulas, names as links.

The README, the changes, the notebooks and the docstrings have one source each; their pages exist on the site alone.
"""

import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from docs_api import api_pages
from docs_figures import inlined
from docs_links import BORROWED, NOTEBOOKS, ROOT, places, relinked, sources
from docs_notebooks import notebook_page
from docs_rooms import drawing
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>([).,;:]*)', re.DOTALL)
"""A formula, with the punctuation behind it: a line must not begin with a full stop."""
NAMED = re.compile(r"(<a [^>]*>)?<code>(npsnn(?:\.\w+)+)(\([^<]*\))?</code>")
PICTURE = re.compile(r'<img alt="([^"]*)" src="([^"]*\.svg)" ?/?>')

_names: dict[str, str] = {}


def on_files(files: Files, config: Any) -> Files:
    """Add what the site has beside docs/."""
    for name, place in places().items():
        if name in BORROWED:
            files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
        else:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    pages, names = api_pages()
    _names.update(names)
    for place, text in (pages | notebooks()).items():
        files.append(File.generated(config, place, content=text))
    listed = {"api/": sorted(pages, key=lambda place: (place != "api/index.md", place.removesuffix(".md")))}
    listed["notebooks/"] = ["notebooks/index.md", *(f"notebooks/{name}.md" for name in NOTEBOOKS)]
    config.nav = [{k: listed.get(v, v) if isinstance(v, str) else v for k, v in entry.items()} for entry in config.nav]
    return files


def notebooks() -> dict[str, str]:
    """The pages of the notebooks with their figures, and the page that lists them, by their place on the site."""
    pages = {}
    lines = ["# Notebooks", "", "Each notebook runs in seconds, on images that npsnn draws itself.", ""]
    for name in NOTEBOOKS:
        text, figures = notebook_page(ROOT / "examples" / "notebooks" / f"{name}.py", f"notebooks/{name}")
        pages |= {f"notebooks/{name}.md": text} | figures
        title, _, opening = text.partition("\n\n")
        lines += [f"## [{title.removeprefix('# ')}]({name}.md)", "", opening.partition("\n\n")[0], ""]
    return pages | {"notebooks/index.md": "\n".join([*lines, ""])}


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that lead on the site, and what Python's reader of Markdown does not know."""
    place = page.file.src_uri
    source = sources().get(place, f"docs/{place}")
    text = re.sub(r"^<!-- .*? -->$\n?", "", markdown, flags=re.MULTILINE)
    text = re.sub(r"^```mermaid\n.*?^```$", lambda found: drawing(), text, flags=re.MULTILINE | re.DOTALL)
    pieces = FENCE.split(re.sub(r"\\\n", "  \n", text) if place == "audit.md" else text)
    return "".join(p if p.startswith("```") else relinked(p, source, place) for p in pieces)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Formulas as MathML, names of npsnn as links to the API, figures inside of the page."""

    def formula(found: re.Match[str]) -> str:
        shown = str(convert(unescape(found[3]), display="block" if found[2] == "[" else "inline"))
        return f'<span class="kept">{shown}{found[4]}</span>' if found[4] else shown

    def named(found: re.Match[str]) -> str:
        target = _names.get(found[2]) or _names.get(found[2].rpartition(".")[0])  # a method, or its class
        if found[1] or target is None:
            return found[0]
        place, mark, anchor = target.partition("#")
        url = get_relative_url(files.get_file_from_path(place).url, page.url)
        return f'<a href="{url}{mark}{anchor}">{found[0]}</a>'

    def picture(found: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), found[2]))
        file = files.get_file_from_path(place) if place.startswith(("concepts/", "notebooks/", "scaling/")) else None
        return f'<div class="wide">{inlined(file.content_string, found[1])}</div>' if file else found[0]

    return PICTURE.sub(picture, NAMED.sub(named, FORMULA.sub(formula, html)))


def on_post_build(config: Any) -> None:
    """The theme's script names servers for what the site does not use: let it name none."""
    for script in Path(config.site_dir).glob("assets/javascripts/bundle.*.min.js"):
        text = script.read_text(encoding="utf-8")
        for server in ("https://unpkg.com", "https://api.github.com"):
            text = text.replace(server, ".")
        script.write_text(text, encoding="utf-8")
    for drawn in Path(config.site_dir).rglob("*.map"):
        drawn.unlink()
