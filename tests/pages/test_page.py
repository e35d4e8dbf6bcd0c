"""The frame of pages: one for all, which asks for nothing from outside and shows any text as text."""

import re

from npsnn.pages import page
from npsnn.pages.page import Marked, badge, figure, folded, listed, section, table


def test_a_page_asks_for_nothing_from_outside() -> None:
    text = page.page("a < b", "<p>body</p>\n", page.views())
    assert "<title>npsnn: a &lt; b</title>" in text and '<meta name="viewport"' in text
    assert not re.findall(r"@import|url\(|<script|<link|src=|href=", text)
    assert "prefers-color-scheme: dark" in text


def test_text_stays_text() -> None:
    odd = '<b>"&'
    html = table((odd,), [[odd]]) + listed([(odd, odd)]) + folded(odd, "") + figure("", odd) + section(odd, odd, "")
    html += badge(odd, odd, odd)
    assert "<b>" not in html and '""' not in html
    assert html.count("&lt;b&gt;&quot;&amp;") == 12


def test_a_cell_may_be_html() -> None:
    assert '<td data-name="a"><em>x</em></td>' in table(("a",), [[Marked("<em>x</em>")]])
    assert table(("a", "b"), [["1", "2"]], [1]).count('class="n"') == 2
