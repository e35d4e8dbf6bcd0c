"""`npsnn info`."""

from pathlib import Path

import click

from npsnn.cli.common import print_json
from npsnn.cli.help import RUN, new_command
from npsnn.cli.options import shared
from npsnn.cli.terminal import say


def command() -> click.Command:
    """The command, made when it is asked for."""
    return new_command("info", _info, *shared("device", "json"), *shared("data-dir", group=RUN))


def _info(device: str, data_dir: Path | None, as_json: bool) -> None:
    """Print versions, BLAS, cores, device, data folder and plugins. Send them along with a question."""
    from npsnn import data
    from npsnn.backend import use_device
    from npsnn.runs.environment import environment
    from npsnn.runs.plugins import SHOWN, recorded

    use_device(device)
    about = environment(device) | {"data": data.where(data_dir)} | recorded()
    if as_json:
        print_json(about)
        return
    for name, value in about.items():
        if name == "plugins":
            value = [f"{plugin['name']} (SHA-256 {plugin['sha256'][:SHOWN]})" for plugin in value]
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        say(f"{name:<12} {', '.join(value) if isinstance(value, list) else value}", indent=13)
