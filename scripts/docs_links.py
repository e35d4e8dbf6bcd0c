"""Where the site has what the documents link to: the same link leads on GitHub, in a checkout and on the site."""

import posixpath
import re
from pathlib import Path

import checkout

ROOT = Path(checkout.__file__).parent.parent
NOTEBOOKS = ("gradient_by_hand", "noise_through_a_relu", "first_attack", "draws_or_closed_form", "audit_card")
"""In the order in which they are to be read."""
BORROWED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages from files of the project's folder, by their place on the site."""
REPORTS = {f"docs/{name}.html": f"{name}-report.html" for name in ("audit", "reproduction")}
"""The places of reports in one file, which the pages of docs/audit.md and docs/reproduction.md would overwrite."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


def places() -> dict[str, str]:
    """Each file that pages link to outside of docs/ by its path in the project, with its place on the site."""
    found = BORROWED | REPORTS | {"CITATION.cff": "CITATION.cff"}
    found |= {f"examples/{path.name}": f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")}
    return found | {f"examples/notebooks/{name}.py": f"examples/notebooks/{name}.py" for name in NOTEBOOKS}


def sources() -> dict[str, str]:
    """The path in the project of each page that is not in docs/, by its place on the site."""
    borrowed = {place: name for name, place in BORROWED.items()}
    return borrowed | {f"notebooks/{name}.md": f"examples/notebooks/{name}.py" for name in NOTEBOOKS}


def relinked(text: str, source: str, place: str) -> str:
    """The text with each link to a file of the project as a link on the site.

    source: path in the project of the file that the text stands in.
    place: place of its page on the site.
    """
    known = places() | {"examples/notebooks": "notebooks/index.md"}

    def link(found: re.Match[str]) -> str:
        file, mark, anchor = found[1].partition("#")
        if not file or ":" in file:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), file))
        if path in known:
            target = known[path]
        elif path.startswith("docs/"):
            target = path.removeprefix("docs/")
        else:
            return found[0]
        return f"]({posixpath.relpath(target, posixpath.dirname(place) or '.')}{mark}{anchor})"

    return LINK.sub(link, text)
