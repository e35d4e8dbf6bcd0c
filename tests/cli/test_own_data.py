"""Data of a user's own at the command line: trained on, measured, attacked, and refused where they have changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import Npsnn
from own_data import four

from npsnn.data import own
from npsnn.runs.checkpoint import CONFIG

NAMES = ("ant", "bée", "cat", "dog", "eel", "fox", "gnu")
FEW = ("--limit", 4, "--threads", 1)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own, "LOADERS", {})


def beasts(folder: Path, size: tuple[int, int] = (40, 30)) -> Path:
    """A folder of seven classes of colour images, told apart by a bright stripe."""
    image = pytest.importorskip("PIL.Image", reason="a folder of images needs Pillow")
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(NAMES):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
                pixels[:, 5 * label : 5 * label + 5, label % 3] += 150
                image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return folder


def many_classes(file: Path) -> Path:
    """Arrays of twelve classes of 5 channels of 20 x 24 pixels."""
    rng, labels = np.random.default_rng(0), np.arange(24) % 12
    train, test = rng.integers(0, 256, (2, 24, 5, 20, 24), dtype=np.uint8)
    np.savez(file, x_train=train, y_train=labels, x_test=test, y_test=labels)
    return file


ATTACK = "attack RUN --fgsm --adaptive-fgsm --eps 8/255 --eot 1 --draws 2"
ON_A_RUN = {
    "folder": (ATTACK, "checklist RUN --draws 2 --samples 2 --steps 2 --eot 1 --population 5 --generations 1"),
    "npz": (ATTACK, "certify RUN --samples 20", "audit E5 --run RUN --images 1 --draws 30"),
}
"""The commands on a run, shared out among two kinds of data that have little in common with npsnn's own sets."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_every_command_takes_data_of_other_classes_sizes_and_channels(kind: str, npsnn: Npsnn, tmp_path: Path) -> None:
    path = beasts(tmp_path / "my beasts") if kind == "folder" else many_classes(tmp_path / "my beasts.npz")
    ended = npsnn("train", "--dataset", path.name, "--epochs", 1, "--threads", 1)
    assert ended.code == 0, ended.err
    run = tmp_path / "runs" / "lenet5-my beasts-sigma0.6-1"
    about = json.loads((run / CONFIG).read_text())
    assert about["train"]["dataset"] == str(path) and about["arrays"]["classes"] == (7 if kind == "folder" else 12)
    assert about.get("class_names") == (list(NAMES) if kind == "folder" else None)
    for command in ON_A_RUN[kind]:
        few = ("--limit", 2, "--threads", 1) if "audit" not in command else ()
        ended = npsnn(*(run if word == "RUN" else word for word in command.split()), *few)
        assert ended.code in ((0, 3, 4) if "checklist" in command else (0,)), (command, ended.err)
    recipe = ("a2snn-m5", "--model", "lenet5") if kind == "folder" else ("trades", "--set", "steps=1")
    ended = npsnn("train", "--recipe", *recipe, "--dataset", path, "--epochs", 1, *FEW)
    assert ended.code == 0, ended.err


def small_run(npsnn: Npsnn, path: str | Path, *options: object) -> None:
    ended = npsnn("train", "--dataset", path, "--epochs", 1, *FEW, "--model", "lenet5", "--name", "r", *options)
    assert ended.code == 0, ended.err


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """An .npz file in a folder of its own."""
    (tmp_path / "old").mkdir()
    return many_classes(tmp_path / "old" / "mine.npz")


COMMANDS = ("evaluate", "attack --fgsm --eps 0.1", "train --resume")


def test_a_run_whose_data_have_changed_is_refused_in_a_line(npsnn: Npsnn, mine: Path) -> None:
    small_run(npsnn, "old/mine.npz")
    arrays = dict(np.load(mine))
    arrays["x_test"][0, 0, 0, 0] ^= 1
    np.savez(mine, **arrays)
    for command in COMMANDS:
        line = npsnn(*command.split(), "r").error_line(1)
        assert f"this {mine} is not the one that runs/r was trained on, they differ in test images" in line, line


def test_data_that_have_moved_are_named_by_their_folder(npsnn: Npsnn, mine: Path, tmp_path: Path) -> None:
    small_run(npsnn, mine)
    mine.rename(tmp_path / "mine.npz")
    line = npsnn("evaluate", "r", *FEW).error_line(1)
    assert f"there is no data set {mine}" in line and "pass --data-dir with the folder that they are in" in line
    assert npsnn("evaluate", "r", "--data-dir", tmp_path, *FEW).code == 0
    assert npsnn("train", "--resume", "r", "--epochs", 2, "--data-dir", tmp_path).code == 0


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("minst", 2, "Did you mean mnist? There is no such file or folder here either."),
        ("none/a.npz", 1, "there is no data set "),
        ("empty", 1, "empty must hold a folder of images for each of two classes or more, got none"),
        ("a.csv", 1, "a.csv is no data set: it must be an .npz file or a folder of images"),
        ("a.npz", 1, "a.npz is damaged or no data set"),
        ("kmnist", 1, "kmnist is not in "),
        ("~no-such-user/a.npz", 2, "there is no home directory for ~no-such-user/a.npz"),
    ],
)
def test_a_wrong_path_is_a_line_and_no_folder(npsnn: Npsnn, tmp_path: Path, given: str, code: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("a.csv", "a.npz"):
        (tmp_path / name).write_text("x")
    assert said in npsnn("train", "--dataset", given).error_line(code)
    assert not (tmp_path / "runs").exists()


def test_verify_says_what_own_data_are(npsnn: Npsnn, tmp_path: Path) -> None:
    folder = beasts(tmp_path / "beasts", (4, 3))
    ended = npsnn("data", "verify", folder)
    assert ended.code == 0 and [line.split()[1] for line in ended.out.splitlines()] == ["beasts/train/", "beasts/test/"]
    said = f"{folder}: 7 classes ({', '.join(NAMES)}), 42 training and 14 test images, colour, 4 x 3 pixels\n"
    assert ended.err == said
    for name in NAMES:
        shutil.move(folder / "train" / name, folder)
    shutil.rmtree(folder / "train")
    shutil.rmtree(folder / "test")
    assert "of each class the 1/6 of the images" in npsnn("data", "verify", folder).err
    assert "holds no image" in npsnn("data", "verify", empty(folder)).error_line(1)


def empty(folder: Path) -> Path:
    (folder / "none").mkdir()
    return folder


PLUGIN = """
import numpy as np
from npsnn import data

def mine(folder):
    return dict(np.load(FILE))

data.register("mine", mine)
"""


@pytest.mark.usefixtures("no_plugins")
def test_a_registered_set_is_a_name_of_the_command_line(npsnn: Npsnn, mine: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "reader.py"
    plugin.write_text(PLUGIN.replace("FILE", repr(str(mine))))
    ended = npsnn("--plugin", plugin, "train", "--dataset", "mine", "--epochs", 1, *FEW, "--name", "r")
    assert ended.code == 0 and "enters nothing" not in ended.err, ended.err
    assert npsnn("--plugin", plugin, "evaluate", "r", *FEW).code == 0
    assert "a data set of your own" in npsnn("--plugin", plugin, "data", "list").out
    own.LOADERS.clear()
    assert "register its loader in a file for --plugin" in npsnn("evaluate", "r", *FEW).error_line(1)


def test_what_a_loader_raises_names_the_set(npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(folder: Path) -> Any:
        raise KeyError("x")

    monkeypatch.setitem(own.LOADERS, "mine", loader)
    assert npsnn("train", "--dataset", "mine").error_line(1) == "Error: data set mine: KeyError: 'x'"
    monkeypatch.setitem(own.LOADERS, "mine", lambda folder: four(train_labels=[1, 2]))
    assert "train_labels of mine must be 6 integers" in npsnn("train", "--dataset", "mine").error_line(1)
