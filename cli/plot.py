"""`npsnn plot`."""

from pathlib import Path

import click

from npsnn.cli.common import print_json
from npsnn.cli.help import Option, new_command
from npsnn.cli.options import runs_argument, shared
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import say
from npsnn.cli.values import UserPath
from npsnn.files import check_writable
from npsnn.pages import plots


def command() -> click.Command:
    """The command, made when it is asked for."""
    from npsnn.seeing.drawing import WHAT

    return new_command(
        "plot",
        _plot,
        runs_argument("[RUN]..."),
        Option(
            "--what",
            type=Choice(WHAT),
            metavar="NAME",
            group="Picture",
            help=f"The picture: {', '.join(WHAT[:-1])} or {WHAT[-1]}. By default attacks where any is recorded, else "
            "training.",
        ),
        Option(
            "--certificate",
            type=UserPath(dir_okay=False),
            metavar="FILE.tsv",
            group="Picture",
            help="Certificates of npsnn certify --save, for the picture certified.",
        ),
        Option(
            "--out",
            type=UserPath(dir_okay=False),
            metavar="FILE",
            group="Picture",
            help="File of the picture, .png or .svg; by default RUN-WHAT.png in the working folder.",
        ),
        Option("--dark", is_flag=True, group="Picture", help="Light ink on dark paper; an .svg follows its reader."),
        *shared("runs-dir", "config", "json"),
    )


def _plot(
    runs: tuple[str, ...],
    what: str | None,
    certificate: Path | None,
    out: Path | None,
    dark: bool,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Draw what is recorded of one run or of several. Nothing is computed anew.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken.

    attacks: the accuracy over eps under every recorded attack, with 95 % intervals, one panel for each norm. An attack
    that looks for the nearest image (fmn, cw) gives the accuracy at every eps.

    closed-form: the same of attacks that were made both on draws (EoT) and on the closed form. Dashed lines are of the
    closed form.

    training: loss, accuracies and, where it is learned, sigma over the epochs.

    certified: the accuracy under attacks in L2 above the accuracy that --certificate guarantees.

    Needs matplotlib, which the extra plot of npsnn has. --json prints the numbers of the picture.

    \b
      npsnn plot RUN --out attacks.svg
      npsnn plot RUN1 RUN2 --what training
      npsnn plot RUN --certificate certified.tsv
    """
    from npsnn.runs.checkpoint import newest_run
    from npsnn.seeing.drawing import picture

    plots.check_library("npsnn plot")
    if not runs:
        newest = newest_run(runs_dir)[0]
        say(f"the newest finished run: {newest}", err=True)
        runs = (str(newest),)
    read = None
    if certificate is not None:
        from npsnn import certify  # here, for SciPy takes long to import

        read = certify.read(certificate)
    drawn = picture(runs, what, read, runs_dir)
    path = out or Path(f"{Path(runs[0]).name}-{drawn.name.partition(' ')[0]}.png")
    plots.check_path(path, "--out")
    check_writable(path)
    plots.write(drawn, path, dark)
    say(f"picture: {path}", err=True)
    if as_json:
        print_json(drawn.as_json())
