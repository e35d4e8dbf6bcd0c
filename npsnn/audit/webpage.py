"""The Markdown report as one HTML file that needs nothing else: formulas as MathML, figures inside.

The file has a list of contents, and a button for each verdict that hides the rows of all other verdicts. Both work
without a script.
"""

import base64
import re
from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from npsnn.audit.card import PAPERS, VERDICTS
from npsnn.audit.report import FINDINGS_TITLE, PAPER_NAMES, slug
from npsnn.pages.page import STYLE as STYLE
from npsnn.pages.page import badge
from npsnn.pages.page import page as framed

MARKS = dict(zip(VERDICTS, "✓✎±✗≠?≈…", strict=True))
"""A sign for each verdict, so that verdicts differ by more than their colour."""


def page(markdown: str, pictures: Mapping[str, str]) -> str:
    """The HTML file.

    markdown: the report.
    pictures: SVG source of each path that the report shows.

    Raises ImportError without the extra "report".
    """
    title = markdown.partition("\n")[0].removeprefix("# ")
    introduction, *sections = _with_verdicts(rendered(markdown, pictures)).split("<h2 ")
    parts = [f"<h2 {section}" for section in sections]
    opening = [part for part in parts if part.startswith(f'<h2 id="{slug(FINDINGS_TITLE)}"')]
    rest = [part for part in parts if part not in opening]
    body = "\n".join([introduction, *opening, _filter(rest), _contents(parts), *map(_section, rest)])
    return framed(title, body, _rules())


def rendered(markdown: str, pictures: Mapping[str, str]) -> str:
    """The Markdown as HTML, each heading with the anchor that its slug names."""
    from latex2mathml.converter import convert
    from markdown_it import MarkdownIt
    from mdit_py_plugins.anchors import anchors_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def math(latex: str, options: dict[str, Any]) -> str:
        return convert(latex, display="block" if options["display_mode"] else "inline")

    def image(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        source = base64.b64encode(pictures[token.attrs["src"]].encode()).decode()
        caption = escape(token.content)
        return (
            f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{source}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    reader = MarkdownIt("commonmark").enable("table")
    reader.use(anchors_plugin, max_level=2, slug_func=slug)
    reader.use(dollarmath_plugin, renderer=math, double_inline=True, allow_space=False)
    reader.add_render_rule("image", image)
    reader.add_render_rule("table_open", lambda *args: '<div class="table"><table>')
    reader.add_render_rule("table_close", lambda *args: "</table></div>")
    return str(reader.render(markdown))


def _with_verdicts(html: str) -> str:
    """Every verdict in bold as a badge, and the rows of tables that hold one named by it."""
    names = "|".join(VERDICTS)
    badges = re.sub(rf"<strong>({names})</strong>", lambda found: _badge(found[1]), html)
    return re.sub(r"<tr>(?=(?:(?!</tr>).)*data-of=\"([\w-]+)\")", r'<tr data-verdict="\1">', badges, flags=re.DOTALL)


def _badge(verdict: str) -> str:
    return badge(slug(verdict), verdict, MARKS[verdict])


def _verdict(section: str) -> str:
    """The verdict of a card's section, as its badge names it; "" for a section that is no card's."""
    heading = re.match(r'<h2 id="[neabc]\d+-', section)
    found = re.search(r'data-of="([\w-]+)"', section) if heading else None
    return found[1] if found else ""


def _section(section: str) -> str:
    verdict = _verdict(section)
    return f'<section data-verdict="{verdict}">\n{section}</section>\n' if verdict else section


def _filter(sections: list[str]) -> str:
    """A button for each verdict that there is, and one for all of them."""
    counts = Counter(map(_verdict, sections))
    there = [verdict for verdict in VERDICTS if counts[slug(verdict)]]
    buttons = [_button("all", f"all {sum(counts[slug(v)] for v in there)}", " checked")]
    buttons += [_button(slug(v), f"{MARKS[v]} {v} {counts[slug(v)]}") for v in there]
    return f'<fieldset class="filter"><legend>Show</legend>\n{"".join(buttons)}</fieldset>\n'


def _button(name: str, label: str, state: str = "") -> str:
    return (
        f'<label data-of="{name}"><input type="radio" name="verdict" id="show-{name}"{state}>'
        f"<span>{label}</span></label>\n"
    )


def _contents(sections: list[str]) -> str:
    """Links to all sections, those about a paper in a list that opens."""
    lists: dict[str, list[str]] = {"": []}
    for section in sections:
        found = re.match(r'<h2 id="([^"]*)">(.*?)</h2>', section, re.DOTALL)
        if not found:
            continue
        anchor, heading, verdict = found[1], found[2], _verdict(section)
        of = PAPER_NAMES[PAPERS[heading[0]]] if verdict else ""
        mark = next((MARKS[v] for v in VERDICTS if slug(v) == verdict), "")
        named = f' data-verdict="{verdict}"' if verdict else ""
        sign = f'<span class="mark" data-of="{verdict}" aria-hidden="true">{mark}</span> ' if mark else ""
        lists.setdefault(of, []).append(f'<li{named}>{sign}<a href="#{anchor}">{heading}</a></li>')
    alone = "".join(lists.pop(""))
    papers = (
        f"<details><summary>{escape(paper)}, {len(items)} rows</summary><ul>{''.join(items)}</ul></details>\n"
        for paper, items in lists.items()
    )
    return f'<nav aria-label="Contents"><h2>Contents</h2>\n<ul>{alone}</ul>{"".join(papers)}</nav>\n'


def _rules() -> str:
    """Rules that hide the rows of other verdicts while one is chosen; a row that a link leads to is always shown."""
    hidden = '[data-verdict]:not([data-verdict="{0}"], :has(:target)) {{ display: none; }}'
    return "".join(f"main:has(#show-{name}:checked) {hidden.format(name)}\n" for name in map(slug, VERDICTS))
