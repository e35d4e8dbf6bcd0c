"""Build the documentation site into site/, and look for anything on it that asks another server."""

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import checkout
import click

ROOT = Path(checkout.__file__).parent.parent
CONFIG = ROOT / "mkdocs.yml"
LOADS = (
    re.compile(
        r"<(?:script|img|iframe|source|video|audio|embed|use)\b[^>]*?\b(?:src|srcset|href)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    ),
    re.compile(r"<link\b(?![^>]*rel=[\"']?canonical)[^>]*?\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"),
    re.compile(r"(?:url\(|@import )\s*[\"']?((?:https?:)?//[^\"')\s]+)"),
)
"""What a browser fetches without being asked: not the address of a link that a reader may follow."""
CALLS = re.compile(r"[\"'`]((?:https?:)?//[\w.-]+\.\w+[^\"'`\s]*)[\"'`]")


def loads(text: str, kind: str) -> list[str]:
    """The addresses on other servers that a file makes a browser fetch.

    text: of the file.
    kind: its ending: ".html", ".css", ".svg" or ".js".
    """
    if kind == ".js":
        return CALLS.findall(text)
    return [address for pattern in LOADS for address in pattern.findall(text)]


def outside(folder: Path) -> Iterator[str]:
    """A line for each address that a file of the site would fetch from another server."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".html", ".css", ".svg", ".js"):
            for address in loads(path.read_text(encoding="utf-8"), path.suffix):
                yield f"{path.relative_to(folder)} asks {address}"


def is_site(out: Path) -> bool:
    """Whether a folder may be cleared: it is empty, or holds a site."""
    return out.is_dir() and (not any(out.iterdir()) or (out / "sitemap.xml").exists())


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "site", show_default="site/", help="Folder.")
@click.option("--serve", is_flag=True, help="Show the site on this machine, and build it anew after each change.")
def main(out: Path, serve: bool) -> None:
    """Build the documentation site. A warning is an error; so is a page that asks another server."""
    if out != ROOT / "site" and out.exists() and not is_site(out):
        raise click.UsageError(f"--out must be new, empty or an older site, whose files go; got {out}")
    try:
        from mkdocs.commands.build import build
        from mkdocs.commands.serve import serve as show
        from mkdocs.config import load_config
        from mkdocs.exceptions import MkDocsException
    except ImportError:
        sys.exit("Error: the site needs mkdocs-material: pip install '.[docs]'")
    logging.basicConfig(level=logging.INFO if serve else logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        if serve:
            show(str(CONFIG))
            return
        build(load_config(str(CONFIG), site_dir=str(out.absolute()), strict=True))
    except MkDocsException as error:
        sys.exit(f"Error: {error}")
    if asked := list(outside(out)):
        sys.exit("\n".join(["Error: the site asks other servers:", *asked]))
    click.echo(f"{len(list(out.rglob('*.html')))} pages -> {out}/index.html")


if __name__ == "__main__":
    main()
