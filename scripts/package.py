"""Build npsnn's sdist and wheel, install the wheel apart from the tree, and use it as a newcomer would.

The program takes nothing but the standard library, and runs on Linux, macOS and Windows. The folder of the newcomer has
a space and letters beyond ASCII in its name, output goes through cp1252, and Python's UTF-8 mode is off.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
FOLDER = "a newcomer's données"
BACKEND = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
DATA = """
import numpy as np
rng, labels = np.random.default_rng(0), np.arange(60) % 3
images = rng.integers(0, 99, (60, 3, 18, 20), dtype=np.uint8)
images[np.arange(60), labels] += 120
np.savez("mes données.npz", x_train=images[:40], y_train=labels[:40], x_test=images[40:], y_test=labels[40:])
"""
UNGUARDED = """
import multiprocessing
multiprocessing.set_start_method("spawn")
from npsnn import data, models, train
own = data.load("mes données.npz")
training = train.Training(models.lenet5(own.image_shape, own.classes), epochs=1)
print(list(train.fit(training, own, threads=2))[-1])
"""
COMMANDS = (
    ["--version"],
    ["--help"],
    ["info"],
    ["data", "verify", "mes données.npz"],
    ["train", "--dataset", "mes données.npz", "--epochs", "1", "--name", "été", "--threads", "2"],
    ["evaluate", "été", "--json"],
    ["attack", "été", "--fgsm", "--adaptive-fgsm", "--eps", "8/255", "--limit", "6", "--draws", "2", "--eot", "1"],
    ["audit", "N20", "--quiet"],
)


def environment() -> dict[str, str]:
    """The variables of a system whose letters are few: without UTF-8 mode, and without what the caller has set."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NPSNN", "VIRTUAL_ENV"))
    }
    return kept | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252", "OMP_NUM_THREADS": "1"}


def run(words: list[str], folder: Path) -> str:
    """The standard output of a program; SystemExit, with all that it said, where it failed."""
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True)
    said = "".join(stream.decode("cp1252", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode or "Traceback" in said:
        sys.exit(f"{' '.join(words)} ended with code {done.returncode}:\n{said}")
    return done.stdout.decode("cp1252")


def built(python: str, folder: Path) -> tuple[Path, Path]:
    """The sdist of the tree, and the wheel that is made of the sdist."""
    run([python, "-c", BACKEND, str(folder)], ROOT)
    (sdist,) = folder.glob("npsnn-*.tar.gz")
    run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(sdist)], folder)
    (wheel,) = folder.glob("npsnn-*.whl")
    return sdist, wheel


def missing(names: list[str], tree: Path = ROOT) -> list[str]:
    """The files of the packages in the tree that an archive lacks; names: of the archive's members."""
    places = {"npsnn": "npsnn", "cli": "npsnn/cli", "reference": "npsnn/reference"}
    wanted = [
        f"{place}/{path.relative_to(tree / source).as_posix()}"
        for source, place in places.items()
        for path in sorted((tree / source).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix in (".py", ".css", ".typed")
    ]
    return [name for name in wanted if name not in names]


def use(programs: list[list[str]], python: str, folder: Path) -> None:
    """Every command, as a newcomer calls it; programs: the ways to call npsnn, taken by turns."""
    (folder / "data.py").write_text(DATA, encoding="utf-8")
    (folder / "unguarded.py").write_text(UNGUARDED, encoding="utf-8")
    run([python, "data.py"], folder)
    for i, words in enumerate(COMMANDS):
        run([*programs[i % len(programs)], *words], folder)
        print(f"npsnn {' '.join(words)}: done", flush=True)
    run([python, "unguarded.py"], folder)


def new_environment(folder: Path) -> Path:
    """The folder of the programs of a new virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    with TemporaryDirectory() as place:
        folder = Path(place)
        python = str(new_environment(folder / "build") / "python")
        run([python, "-m", "pip", "install", "--quiet", "setuptools>=77.0.3", "wheel"], folder)
        sdist, wheel = built(python, folder)
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        if lost := missing(names):
            sys.exit(f"{wheel.name} lacks {', '.join(lost)}")
        with tarfile.open(sdist) as packed:
            print(f"{sdist.name} has {len(packed.getnames())} members, {wheel.name} {len(names)}", flush=True)
        programs = new_environment(folder / "use")
        python = str(programs / "python")
        run([python, "-m", "pip", "install", "--quiet", str(wheel)], folder)
        (folder / FOLDER).mkdir()
        use([[str(programs / "npsnn")], [python, "-m", "npsnn"]], python, folder / FOLDER)
    print("the package installs and runs outside of its tree")


if __name__ == "__main__":
    main()
