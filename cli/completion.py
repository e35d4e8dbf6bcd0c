"""What a shell completes: the names of runs; click completes commands, flags and choices."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs in --runs-dir whose names begin so, and the folders that the shell finds."""
    from npsnn.runs.checkpoint import CONFIG

    folder = Path(ctx.params.get("runs_dir") or "runs")
    try:
        names = sorted(config.parent.name for config in folder.glob(f"*/{CONFIG}"))
    except OSError:
        names = []
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="dir"), *found]  # bash forgets what stands before a folder
