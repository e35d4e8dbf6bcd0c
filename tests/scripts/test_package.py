"""scripts/package: what an archive must hold, and what the installed project is called. CI runs the program whole."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import package
import pytest

ROOT = Path(__file__).parents[2]


def test_the_command_is_named_as_the_package() -> None:
    """So that `uvx npsnn` and `pipx run npsnn` need no more than the name."""
    (command,) = entry_points(group="console_scripts", name="npsnn")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert command.value == project["scripts"][project["name"]] and command.load()


def test_a_file_that_an_archive_lacks_is_named(tmp_path: Path) -> None:
    for name in (
        "npsnn/a.py",
        "npsnn/__pycache__/a.pyc",
        "npsnn/b/py.typed",
        "npsnn/notes.txt",
        "cli/c.py",
        "reference/d.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    whole = ["npsnn/a.py", "npsnn/b/py.typed", "npsnn/cli/c.py", "npsnn/reference/d.py"]
    assert package.missing(whole, tmp_path) == [] and package.missing(whole[:2], tmp_path) == whole[2:]


def test_a_program_that_fails_is_shown_with_what_it_said(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; print('done'); sys.exit('why not')"]
    with pytest.raises(SystemExit, match="ended with code 1:\ndone\nwhy not"):
        package.run(words, tmp_path)
    with pytest.raises(SystemExit, match="Traceback"):
        package.run([sys.executable, "-c", "import sys; print('Traceback')"], tmp_path)
    code = "import sys; print(sys.flags.utf8_mode, sys.stdout.encoding)"
    assert package.run([sys.executable, "-c", code], tmp_path).split() == ["0", "cp1252"]


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_runs_outside_of_the_tree(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77.0.3", reason="builds the wheel")
    names = ("npsnn", "cli", "reference", "pyproject.toml", "README.md", "LICENSE")
    for name in names:  # a build leaves files in its tree
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("npsnn-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert package.missing(archive.namelist()) == []
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert tops == {"npsnn", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}
        archive.extractall(tmp_path / "installed")
    away = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    code = "import npsnn.cli, npsnn.reference; print(npsnn.cli.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path / "dist", env=away, capture_output=True, text=True
    )
    assert done.stdout.startswith(str(tmp_path / "installed")), done.stderr
