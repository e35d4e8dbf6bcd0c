"""`npsnn data`."""

from pathlib import Path

import click

from npsnn import data
from npsnn.cli.interrupts import leave
from npsnn.cli.options import options
from npsnn.cli.suggest import Choice, Group
from npsnn.cli.table import REST, Table
from npsnn.cli.terminal import Bar, say
from npsnn.cli.values import DataSet


@click.group("data", cls=Group)
def command() -> None:
    """List, fetch and verify the data sets.

    The data folder is --data-dir, else NPSNN_DATA, else the user's cache folder. Its layout is that of torchvision:

    \b
      MNIST/raw/train-images-idx3-ubyte.gz  compressed or not; also named
                                            train-images.idx3-ubyte
      cifar-10-batches-py/ or cifar-10-batches-bin/, or their archives
      train_32x32.mat                       of SVHN
      KMNIST/raw/, EMNIST/raw/              as MNIST; put there by you

    Downloads are encrypted. A file is kept only if its SHA-256 is the expected one.

    Data of your own are an .npz file or a folder of images, whose path stands in the place of a name.
    """


@command.command("list")
@options("data-dir")
def list_sets(data_dir: Path | None) -> None:
    """Show the name, the state and the description of each data set."""
    say(f"in {data.where(data_dir)}", err=True)
    table = Table({"name": -18, "state": -10, "description": REST})
    for name in data.names():
        table.row(name, data.status(name, data_dir), data.describe(name))


@command.command("fetch")
@click.argument("name", type=Choice(data.names()), metavar="NAME")
@options("data-dir")
def fetch(name: str, data_dir: Path | None) -> None:
    """Download NAME into the data folder and verify its SHA-256."""
    with Bar(name, 0) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.label, bar.length = f"{name} {done / 1e6:8.1f} MB", total or 0
            bar.update(done - bar.done)

        try:
            folder = data.fetch(name, data_dir, progress)
        except KeyboardInterrupt as stop:
            leave(stop, f"files that had come whole are kept; npsnn data fetch {name} fetches the others")
    say(f"{name} is in {folder}")


@command.command("verify")
@click.argument("names", type=DataSet(data.names()), nargs=-1, metavar="[NAME]...")
@options("data-dir")
def verify(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Check the SHA-256 of every file of NAME.

    The digits are compared with those that npsnn draws. By default all data sets that are there are checked, except
    those whose right content nobody knows.

    NAME may be the path of data of your own. Then everything about them is checked that a training needs, and said in a
    line.
    """
    there = (n for n in data.NAMES if data.status(n, data_dir) != "missing" and not data.caveat(n))
    for name in names or there:
        if name not in data.NAMES:
            _verify_own(name, data_dir)
            continue
        for file, digest in data.verify(name, data_dir).items():
            click.echo(f"{digest}  {name}/{file}")
        if data.caveat(name):
            say(f"warning: {name}: {data.caveat(name)}", err=True)


def _verify_own(name: str, data_dir: Path | None) -> None:
    """Read data of the user's own, and say what they are."""
    dataset = data.load(name, data_dir)
    for file, digest in dataset.digests.items():
        click.echo(f"{digest}  {data.short(name)}/{file}")
    c, h, w = dataset.image_shape
    classes = f" ({', '.join(dataset.class_names)})" if dataset.class_names else ""
    counts = f"{len(dataset.train):,} training and {len(dataset.test):,} test images"
    divided = f"; {dataset.division}" if dataset.division else ""
    kind = {1: "grey", 3: "colour"}.get(c, f"{c}-channel")
    say(f"{name}: {dataset.classes} classes{classes}, {counts}, {kind}, {w} x {h} pixels{divided}", err=True)
