"""What Windows and macOS do otherwise, as far as it can be had here: letters, paths, and what their Python lacks."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from own_data import four

FOLDER = "a newcomer's données ü"
LIKE_WINDOWS = """
import os, signal, sys
for name in ("fcntl", "termios", "pty", "resource", "pwd", "grp", "tty"):
    sys.modules[name] = None
for module, names in (
    (os, "memfd_create sched_getaffinity O_NOFOLLOW O_NONBLOCK O_CLOEXEC fork getuid statvfs mkfifo setsid"),
    (signal, "SIGPIPE SIGHUP SIGUSR1 pthread_sigmask"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
import npsnn.workers.processes as processes
class Named:  # os of another name, for the one module that asks for it
    name = "nt"
    def __getattr__(self, attribute):
        return getattr(os, attribute)
processes.os = Named()
"""
COMMANDS = """
import os
from npsnn.cli.main import main
RUN = sys.argv[1]
BEE = os.fsdecode("bée.npz".encode())  # as the command line gives it
TRAINING = ["--epochs", "1", "--threads", "2", "--name", RUN]
for words in (
    ["train", "--dataset", BEE, *TRAINING],
    ["train", "--resume", RUN, "--epochs", "2", "--threads", "2"],
    ["evaluate", RUN, "--threads", "2"],
    ["attack", RUN, "--fgsm", "--eps", "0.1", "--eot", "1", "--draws", "2", "--threads", "2"],
    ["data", "verify", BEE],
):
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            sys.exit(f"{words} ended with {end.code}")
"""
SMALL_LETTERS = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SYSTEMS: dict[str, tuple[str, dict[str, str], str]] = {
    "what Windows lacks": (LIKE_WINDOWS, {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}, "été"),
    "the locale C": ("import sys", SMALL_LETTERS, "ete"),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_session_in_a_folder_with_a_space_and_letters(name: str, tmp_path: Path) -> None:
    before, variables, called = SYSTEMS[name]
    place = tmp_path / FOLDER
    place.mkdir()
    np.savez(place / "bée.npz", **four())
    (place / "session.py").write_text(f"{before}\n{COMMANDS}", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "session.py", called], cwd=place, env=os.environ | variables, capture_output=True, timeout=300
    )
    said = (ended.stdout + ended.stderr).decode("latin-1")
    assert ended.returncode == 0 and "Traceback" not in said and "unexpected" not in said, said
    assert {p.name for p in place.iterdir()} == {"bée.npz", "session.py", "runs"}
    (run,) = (place / "runs").iterdir()
    assert run.name == called and not list(run.glob("*.tmp"))


def test_a_folder_of_images_has_one_digest_under_every_locale(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="a folder of images needs Pillow")
    for i, name in enumerate(("Bär", "bée", unicodedata.normalize("NFD", "été"))):
        for j in range(3):
            (tmp_path / "tiere ü" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.full((4, 5), 20 * i + j + 2, np.uint8)
            image.fromarray(pixels).save(tmp_path / "tiere ü" / name / f"{j}.png")
    printed = []
    for variables in ({"PYTHONUTF8": "1"}, SMALL_LETTERS):
        words = [sys.executable, "-m", "npsnn", "data", "verify", "tiere ü"]
        ended = subprocess.run(words, cwd=tmp_path, env=os.environ | variables, capture_output=True, check=True)
        printed.append([line.split()[0] for line in ended.stdout.splitlines()])
    assert len(printed[0]) == 2 and printed[0] == printed[1]


def test_a_program_without_a_guard_trains_where_processes_are_spawned(tmp_path: Path) -> None:
    """A spawned process reads the program again: npsnn's processes do not."""
    np.savez(tmp_path / "a.npz", **four())
    (tmp_path / "unguarded.py").write_text(
        "import multiprocessing\nmultiprocessing.set_start_method('spawn')\nprint('begun')\n"
        "from npsnn import data, models, train\nown = data.load('a.npz')\n"
        "training = train.Training(models.lenet5(own.image_shape, own.classes), epochs=1, batch_size=2)\n"
        "print(train.run(training, own, threads=2, progress=False))\n"
    )
    words = [sys.executable, "unguarded.py"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("begun\n<Trained lenet5, 1 epochs") and ended.stdout.count("begun") == 1
