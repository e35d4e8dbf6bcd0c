"""`npsnn report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from npsnn.attacks.judging import Judging
from npsnn.attacks.projected import FGSM
from npsnn.attacks.sources import ClosedForm, EoT
from npsnn.cli.attack_flags import asked, attack_flags, resolve_surrogates
from npsnn.cli.common import set_precision, speaking_of_flags
from npsnn.cli.gallery import attacked_now
from npsnn.cli.help import Option, new_command
from npsnn.cli.options import RUN_ARGUMENT, shared
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.terminal import say
from npsnn.cli.values import UserPath, WholeNumber
from npsnn.files import check_writable, write_atomic
from npsnn.pages import plots

if TYPE_CHECKING:
    from npsnn.seeing.galleries import Gallery

EPS = 0.1
"""The radius of the images that are attacked where none is named."""


def command() -> click.Command:
    """The command, made when it is asked for: it has a flag for each attack of the table."""
    return new_command(
        "report",
        _report,
        RUN_ARGUMENT,
        Option(
            "--out",
            type=UserPath(dir_okay=False),
            metavar="FILE.html",
            group="Report",
            help="File of the report, by default RUN-report.html in the working folder.",
        ),
        Option(
            "--certificate",
            type=UserPath(dir_okay=False),
            metavar="FILE.tsv",
            group="Report",
            help="Certificates of npsnn certify --save, for a section of their own.",
        ),
        Option(
            "--images",
            type=WholeNumber(0),
            metavar="N",
            default=6,
            shown="6",
            group="Report",
            help="Test images that are shown, attacked now by the attacks that are named; 0 for none.",
        ),
        *attack_flags(by_default=False),
        *shared("data-dir", "other-data"),
        *shared("checkpoint", "conv", "threads", "device", "tf32", "runs-dir", "config"),
    )


def _report(
    run: str | None,
    out: Path | None,
    certificate: Path | None,
    images: int,
    inference_sigma: float | None,
    checkpoint: str,
    other_data: bool,
    conv: str | None,
    threads: int | None,
    device: str,
    tf32: bool,
    data_dir: Path | None,
    runs_dir: Path,
    **chosen: Any,
) -> None:
    """Write all that is known of RUN into one HTML file, which asks for nothing from outside.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken. The report has
    what npsnn train, attack and checklist have recorded in the run's folder, and measures none of it anew: settings,
    curves, tables, the checklist, versions and digests, and every caveat that qualifies a number. Results of networks
    that the run had before, as of a training that was continued, are counted and left out.

    The images are attacked now, by the attacks that are named as for npsnn attack. By default FGSM attacks them at eps
    0.1, on the closed form where the noise has one. Where the data set is not at hand the report says so instead.
    Plots need matplotlib; without it the report says that they are left out.

    \b
      npsnn report
      npsnn report RUN --certificate certified.tsv --pgd --eps 0.05
    """
    from npsnn.seeing.reports import report

    resolve_surrogates(chosen, runs_dir)
    with speaking_of_flags():
        attacks, judging = asked(chosen | {"inference_sigma": inference_sigma})
    set_precision(device, tf32)
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    path = out or Path(f"{loaded.folder.name}-report.html")
    plots.check_path(path, "--out", (".html",))
    check_writable(path)
    read = None
    if certificate is not None:
        from npsnn import certify  # here, for SciPy takes long to import

        read = certify.read(certificate)
    shown = _images(loaded, images, attacks, judging, data_dir, other_data) if images else ""
    write_atomic(path, report(loaded.folder, shown, read, runs_dir).encode())
    say(f"report: {path}", err=True)


def _images(
    run: Run, count: int, attacks: list[Any], judging: Judging, data_dir: Path | None, other_data: bool
) -> "Gallery | str":
    """The images of the report, or why there are none."""
    from npsnn.seeing.galleries import gallery

    network = judging.defended(run.classifier)
    by_default = FGSM(EPS, source=ClosedForm() if network.random and network.model.propagates else EoT())
    try:
        run, x, labels = load_test_images(run, data_dir, count, other_data)
        attacked = attacked_now(run, x, labels, attacks or [by_default], judging)
        return gallery(run.classifier, x, labels, attacked, judging, count, names=run.class_names)
    except (ValueError, OSError) as error:
        say(f"warning: no images are shown: {error}", err=True)
        return f"No images are shown: {error}."
