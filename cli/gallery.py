"""`npsnn gallery`."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from npsnn.attacks.evaluation import robust_accuracy
from npsnn.attacks.groups import grouped
from npsnn.attacks.judging import Judging
from npsnn.cli.attack_flags import asked, attack_flags, resolve_surrogates
from npsnn.cli.common import set_precision, speaking_of_flags
from npsnn.cli.help import Option, new_command
from npsnn.cli.options import RUN_ARGUMENT, shared
from npsnn.cli.runs import Run, load_run, load_test_images
from npsnn.cli.suggest import Choice
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import UserPath, WholeNumber
from npsnn.files import check_writable
from npsnn.pages import plots


def command() -> click.Command:
    """The command, made when it is asked for: it has a flag for each attack of the table."""
    from npsnn.seeing.galleries import PICKS

    return new_command(
        "gallery",
        _gallery,
        RUN_ARGUMENT,
        Option(
            "--saved",
            type=UserPath(exists=True, dir_okay=False),
            metavar="FILE.npz",
            group="Gallery",
            help="Show the images of this file of npsnn attack --save, in the place of attacks now.",
        ),
        Option(
            "--pick",
            type=Choice(PICKS),
            metavar="NAME",
            default="first",
            shown="first",
            group="Gallery",
            help="Which images: first, the first ones; fooled, right without an attack and misread after one; kept, "
            "right after every attack.",
        ),
        Option(
            "--images",
            type=WholeNumber(1),
            metavar="N",
            default=8,
            shown="8",
            group="Gallery",
            help="Most images that are shown.",
        ),
        Option(
            "--out",
            type=UserPath(dir_okay=False),
            metavar="FILE",
            group="Gallery",
            help="File of the gallery, .html or .png; by default RUN-gallery.html in the working folder.",
        ),
        Option("--dark", is_flag=True, group="Gallery", help="Dark paper for a .png; a page follows its reader."),
        *attack_flags(by_default=False),
        *shared("limit", "data-dir", "other-data"),
        *shared("checkpoint", "conv", "threads", "device", "tf32", "runs-dir", "config"),
    )


def _gallery(
    run: str | None,
    saved: Path | None,
    pick: str,
    images: int,
    out: Path | None,
    dark: bool,
    inference_sigma: float | None,
    limit: int | None,
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
    """Show test images of RUN, what attacks change of them, and how the network reads them.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken. The images are
    attacked now by the attacks that are named, as for npsnn attack, or read from a file of npsnn attack --save. Each
    image is read under --draws draws of the noise; the class that most draws name stands below it. The change is
    scaled so that the largest change of an image is black or white.

    The gallery is one HTML file that asks for nothing from outside, or one PNG, which needs matplotlib. With --pick
    fooled and kept the images are chosen among --limit, by default 100, and not only among those that are shown.

    \b
      npsnn gallery RUN --pgd --eps 0.1
      npsnn gallery RUN --saved adversarial.npz --pick fooled --out fooled.html
    """
    from npsnn.seeing import galleries

    resolve_surrogates(chosen, runs_dir)
    with speaking_of_flags():
        attacks, judging = asked(chosen | {"inference_sigma": inference_sigma})
    if saved and attacks:
        raise click.UsageError("--saved shows attacks that were made: name no others")
    set_precision(device, tf32)
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    path = out or Path(f"{loaded.folder.name}-gallery.html")
    plots.check_path(path, "--out", galleries.ENDINGS)
    if path.suffix == ".png":
        plots.check_library("a gallery as PNG")
    check_writable(path)
    most = limit or (images if pick == galleries.FIRST else 100)
    loaded, x, labels = load_test_images(loaded, data_dir, None if saved else most, other_data)
    if saved:
        attacked = galleries.saved(saved, x, labels)
        size = len(next(iter(attacked.values())))
        x, labels = x[:size], labels[:size]
    else:
        attacked = attacked_now(loaded, x, labels, attacks, judging)
    found = galleries.gallery(
        loaded.classifier, x, labels, attacked, judging, images, pick, loaded.class_names, str(loaded.folder)
    )
    found.write(path, dark)
    say(f"gallery: {path}, {len(found.images)} images", err=True)


def attacked_now(run: Run, x: Any, labels: Any, attacks: list[Any], judging: Judging) -> dict[str, np.ndarray]:
    """What attacks make of some images of a run, by names for a gallery."""
    from npsnn.seeing.galleries import attacked_by

    if isinstance(judging.sigma, int | float):
        run.sigma(judging.sigma)  # which refuses what the noise of the run cannot be
    groups = grouped(attacks, judging.defended(run.classifier))
    with Bar("attacking", len(labels) * sum(map(len, groups))) as bar:
        return attacked_by(list(robust_accuracy(run.classifier, x, labels, groups, judging, bar.update)))
