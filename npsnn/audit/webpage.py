"""The Markdown report as one HTML file that needs nothing else: formulas as MathML, figures inside."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from npsnn.audit.report import slug

STYLE = Path(__file__).with_name("report.css")


def page(markdown: str, pictures: Mapping[str, str]) -> str:
    """pictures: the SVG source of each path that the report shows. Raises ImportError without the extra "report"."""
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
    title = markdown.partition("\n")[0].removeprefix("# ")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>npsnn: {escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n{reader.render(markdown)}</main>\n</body>\n</html>\n"
    )
