"""The command `npsnn`: until its modules are loaded Ctrl-C ends it without a word."""

import signal


def main() -> None:
    """Load the command line and call it; a Python that loads modules would answer Ctrl-C with a traceback."""
    usual = signal.getsignal(signal.SIGINT)
    ours = usual is signal.default_int_handler  # not one that whoever started the command has ignored
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from npsnn.cli.main import main as command

    if ours:
        signal.signal(signal.SIGINT, usual)
    command()
