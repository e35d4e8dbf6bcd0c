"""`npsnn export`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from npsnn.cli.common import print_json, speaking_of_flags
from npsnn.cli.help import Option, new_command
from npsnn.cli.options import RUN_ARGUMENT, shared
from npsnn.cli.runs import load_run, warn
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import say
from npsnn.cli.values import UserPath
from npsnn.interop.formats import FORMATS, SUFFIXES
from npsnn.validate import listed

FILE = "File"


def command() -> click.Command:
    """The command, made when it is asked for."""
    return new_command(
        "export",
        _export,
        RUN_ARGUMENT,
        Option(
            "--to",
            FILE,
            type=Choice(FORMATS),
            metavar="NAME",
            help=f"Kind of file, {listed(FORMATS)}: by default what the name of --out ends in.",
        ),
        Option(
            "--out",
            FILE,
            type=UserPath(dir_okay=False),
            metavar="FILE",
            help="The file, by default named as the run, in this folder.",
        ),
        Option("--force", FILE, is_flag=True, help="Replace a file that is there."),
        Option(
            "--noise",
            FILE,
            type=Choice(["off", "drawn"]),
            metavar="NAME",
            help="Noise of an ONNX file: off, or drawn anew at each call. Other files hold its size as an entry.",
        ),
        *shared("checkpoint", "runs-dir", "config", "json"),
    )


def _export(
    run: str | None,
    to: str | None,
    out: Path | None,
    force: bool,
    noise: str | None,
    checkpoint: str,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Write the network of RUN to a file that other programs read.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken.

    \b
    safetensors  parameters by PyTorch's names, and the network as JSON
    torch        a state_dict of PyTorch
    onnx         the network, for any program that runs ONNX files

    npsnn import reads each of them. The packages are extras: pip install 'npsnn[onnx]'.
    """
    from npsnn.files import check_writable
    from npsnn.interop import formats
    from npsnn.models import sigmas

    if to is None and out is None:
        raise click.UsageError(f"--to must be {listed(FORMATS)}")
    with speaking_of_flags():
        to = formats.kind_of(str(out)) if to is None else to
    if noise is not None and to != "onnx":
        raise click.UsageError(f"--noise is for --to onnx: a file of {to} holds parameters alone")
    loaded = load_run(run, runs_dir, checkpoint, None, "cpu")
    network = loaded.classifier
    path = Path(f"{loaded.folder.resolve().name}{SUFFIXES[to][0]}") if out is None else out
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already: choose another file with --out, or replace it with --force")
    check_writable(path)
    warn(loaded)
    with speaking_of_extras():
        formats.save(network, path, to, noise == "drawn")
    if as_json:
        print_json(loaded.about | {"file": str(path), "format": to, "noise": noise, "sigmas": network.sigmas})
        return
    say(f"{path}: {network.model.name} of {loaded.heading}")
    held = sigmas.in_words(network.sigmas) if network.sigmas else ""
    if held and to == "onnx":
        say("  its noise is drawn at each call" if noise == "drawn" else "  its noise is off (--noise drawn draws it)")
    elif held:
        say(f"  its noise, {held}, is among the entries")


@contextmanager
def speaking_of_extras() -> Iterator[None]:
    """Make the error of a package that is not installed, which says how to install it, one for people."""
    try:
        yield
    except ImportError as error:
        raise ValueError(str(error)) from error
