"""The command `npsnn`."""

import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from npsnn.cli import interrupts
from npsnn.cli.suggest import Group
from npsnn.cli.terminal import say, standard_streams
from npsnn.files import excerpt
from npsnn.host import keep_freed_memory
from npsnn.workers import launched

COMMANDS = {
    "train": "Train a network that carries Gaussian noise.",
    "sweep": "Train all networks of a grid of options.",
    "evaluate": "Measure the accuracy of a network, with its noise off and on.",
    "attack": "Attack a network and print its robust accuracy.",
    "certify": "Certify L2 radii within which no attack can change the answer.",
    "checklist": "Judge by ten criteria whether gradients are obfuscated.",
    "audit": "Check every equation of the two papers.",
    "reproduce": "Measure the papers' figures, tables and claims again.",
    "runs": "List the runs: data, noise, epochs, accuracy, state.",
    "compare": "Compare runs on the same images and draws, with intervals.",
    "plot": "Draw attacks, trainings and certificates of runs.",
    "gallery": "Show images, perturbations and predictions.",
    "report": "Write all that is known of a run into one HTML file.",
    "export": "Write a network to a file of safetensors, PyTorch or ONNX.",
    "import": "Make a run of a network in such a file.",
    "data": "List, fetch and verify the data sets.",
    "info": "Print versions, BLAS, cores and folders.",
}

MODULES = {"runs": "listing", "import": "import_"}
"""The modules of commands that are not called as the command is."""
COMPLETING = "_NPSNN_COMPLETE"
"""The variable by which a shell asks for words. click writes the words as bytes, which the streams for text refuse."""


class LazyGroup(Group):
    """Reads a command's module only when the command is asked for: the help text needs no NumPy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        ctx.invoked_subcommand = cmd_name  # known before the module is read, which takes a while
        _load_installed(ctx)
        command = importlib.import_module(f"npsnn.cli.{MODULES.get(cmd_name, cmd_name)}").command
        return command if isinstance(command, click.Command) else command()

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands and the flags that begin so; no command's module is read."""
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        _lead()
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, ImportError, SystemError) as error:
            if (stop := interrupts.behind(error)) is None:
                raise
            # where the command itself had nothing to say of what it keeps
            interrupts.leave(stop, f"npsnn {ctx.invoked_subcommand} had finished nothing; start it again")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _lead() -> None:
    """Go on as rank 0 of the ranks that a launcher started; any other of them serves it here to the end."""
    if launched.ranks() > 1:
        from npsnn.workers import ranks

        ranks.lead()


@contextmanager
def _ranks_dismissed() -> Iterator[None]:
    """Have the other ranks end with the block, if there are any."""
    if launched.ranks() > 1:
        from npsnn.workers import ranks

        with ranks.dismissed():
            yield
    else:
        yield


def _load_installed(ctx: click.Context) -> None:
    """Load the plugins of installed packages: a command's choices are read when it is made."""
    from npsnn.runs.plugins import load_installed

    try:
        load_installed()
    except ValueError as error:
        ctx.fail(str(error))


def _load_plugins(ctx: click.Context, param: click.Parameter, files: tuple[Path, ...]) -> None:
    """Load the plugins of --plugin; wrong usage where that fails."""
    if not files:
        return
    from npsnn.runs.plugins import load_plugin

    for file in files:
        try:
            load_plugin(file)
        except (ValueError, OSError) as error:
            raise click.BadParameter(str(error), ctx, param) from error


@click.command(
    cls=LazyGroup,
    context_settings={
        "auto_envvar_prefix": "NPSNN",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.option(
    "--plugin",
    metavar="FILE.py",
    type=click.Path(path_type=Path),
    multiple=True,
    expose_value=False,
    callback=_load_plugins,
    help="Read this module first: its layers, models, losses and attacks become flags and choices of the "
    "commands. Repeatable; also NPSNN_PLUGIN.",
)
@click.version_option(package_name="npsnn")
def cli() -> None:
    """Train neural networks that carry Gaussian noise, attack them, and believe the numbers.

    The noise of the first layer is carried through the network in closed form, as a mean and a variance. Networks are
    trained and attacked without sampling.

    Results go to standard output, progress to standard error. Tables leave out columns where the terminal (or COLUMNS)
    is narrow; --json prints all.

    Options are also read from a file, --config FILE. The file is TOML or JSON with a table for each command, such as
    [train] sigma = 0.8. Variables such as NPSNN_TRAIN_SIGMA take precedence over the file, the command line over both.

    \b
    A first session, on digits that are drawn here and need no download:
      npsnn train --model lenet5 --sigma 0.6
      npsnn evaluate
      npsnn attack --fgsm --adaptive-fgsm --eps 0.1 --eps 0.2
    """


def main(args: list[str] | None = None) -> Any:
    """Run the command line.

    Exit codes: 0 done, 1 failed (one line on stderr), 2 wrong usage, 3 a criterion or a verdict fails, 4 a criterion
    is undecided, 130 and 143 stopped by Ctrl-C and by SIGTERM, with all kept that was finished, 141 nobody reads
    standard output any longer.
    """
    keep_freed_memory()
    with nullcontext() if COMPLETING in os.environ else standard_streams(), _ranks_dismissed():
        return _run(args)


def _run(args: list[str] | None) -> Any:
    try:
        with interrupts.handled(), warnings.catch_warnings():
            # A loss or a gradient that overflows is reported with what to do about it: NumPy's word adds nothing.
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _say_warning
            return cli.main(args, prog_name="npsnn")
    except Exception as error:
        if os.environ.get("NPSNN_DEBUG"):
            raise
        fail(_in_words(error))


def _in_words(error: Exception) -> str:
    """What an error says; of one in a plugin also whose it is, and where."""
    if rank := getattr(error, "place", ""):
        del error.place  # type: ignore[attr-defined]
        return f"{rank}: {_in_words(error)}"

    from npsnn.foreign import blamed
    from npsnn.runs.plugins import place_of

    expected = isinstance(error, ValueError | OSError)
    where, who = place_of(error), blamed(error)
    if not where and (expected or not who):
        return str(error) if expected else f"unexpected {type(error).__name__}: {error} (NPSNN_DEBUG=1 shows where)"
    said = [str(error)] if expected else [type(error).__name__, str(error)]
    return ": ".join(part for part in (where, who, *said) if part)


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning of the library as one line on stderr."""
    say(f"warning: {' '.join(str(message).split())}", err=True)


def fail(message: str) -> NoReturn:
    """End with exit code 1 and one line on stderr."""
    click.echo(f"Error: {excerpt(' '.join(message.split()))}", err=True)
    sys.exit(1)
