"""A training on up to 1,024 hosts as a model: messages and bytes by a dry run, the time of a step, and what bounds it.

See docs/scaling.md, whose tables and figures this program makes.
"""

import json
from pathlib import Path

import checkout  # noqa: F401
import click
from bench_report import markdown_table, text_table
from scaling_parts import report
from scaling_tables import TABLES, wires

from npsnn.cli.values import UserPath


@click.command()
@click.option("--table", "names", multiple=True, type=click.Choice(list(TABLES)), help="As often as you like.")
@click.option("--markdown", is_flag=True, help="The tables as docs/scaling.md has them.")
@click.option("--plot", "folder", type=UserPath(file_okay=False), help="Draw the figures into this folder as well.")
@click.option("--wire", "ranks", type=click.IntRange(2, 8), help="Count what so many ranks here send, instead.")
@click.option(
    "--parts", is_flag=True, help="Time a host's work for docs/scaling-parts.json, instead; 15 s of one core."
)
def main(names: tuple[str, ...], markdown: bool, folder: Path | None, ranks: int | None, parts: bool) -> None:
    """Print the dry runs beside their formula and the cost model's tables, all of them unless some are named."""
    if parts:
        click.echo(json.dumps(report(5), indent=1))
        return
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"--plot must name a folder that can be written to: {error}") from error
    form = markdown_table if markdown else text_table
    tables = [wires(ranks)] if ranks else [TABLES[name]() for name in (names or TABLES)]
    click.echo("\n\n".join(form(*table) for table in tables))
    if folder is not None:
        import scaling_figures

        for file in scaling_figures.draw(folder):
            click.echo(f"{file}", err=True)


if __name__ == "__main__":
    main()
