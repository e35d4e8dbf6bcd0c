"""Plugins: executed once, known to other processes, recorded by runs, and blamed by name."""

import sys
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_files import MINE, forget

import npsnn
from npsnn import Classifier, models
from npsnn.data import Dataset, Split
from npsnn.models import MODELS
from npsnn.runs import plugins
from npsnn.train import Config, fit, resume
from npsnn.workers.processes import Processes

pytestmark = pytest.mark.usefixtures("no_plugins")


def images(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 1, 5, 5), dtype=np.uint8), rng.integers(0, 3, count))


DATASET = Dataset("digits", images(24, 0), images(6, 1), 3, {})
CONFIG = {"model": "mine", "noise": "features", "epochs": 1, "batch_size": 12}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_module_is_executed_once_for_each_content(mine: Path, tmp_path: Path) -> None:
    mine.write_text(MINE + f"\nwith open({str(tmp_path / 'log')!r}, 'a') as log:\n    log.write('.')\n")
    first = npsnn.load_plugin(str(mine))
    assert first == npsnn.load_plugin(mine.parent / "." / "mine.py") == plugins.Plugin("mine", first.sha256)
    assert first.sha256 == sha256(mine.read_bytes()).hexdigest()
    assert (tmp_path / "log").read_text() == "." and "mine" in MODELS
    mine.write_text(MINE.replace("0.1", "0.2"))
    assert npsnn.load_plugin(mine).sha256 != first.sha256
    layer = dict(models.MODELS["mine"]((1, 5, 5), 3).network.layers)["act"]
    assert layer.slope == 0.2 and type(layer).__module__ == "npsnn_plugin_mine"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = (\n", "mine.py, line 2: SyntaxError: '(' was never closed"),
        ("x = 1\n\ny = z\n", "mine.py, line 3: NameError: name 'z' is not defined"),
        ("def f():\n    raise KeyError\n\nf()\n", "mine.py, line 2: KeyError"),
        ("import json\njson.loads('{')\n", "mine.py, line 2: JSONDecodeError: Expecting property name"),
        ("import nowhere_to_be_found\n", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("raise SystemExit('no')\n", "mine.py, line 1: SystemExit: no"),
        ("raise ValueError('a\\nb')\n", "mine.py, line 1: ValueError: a b"),
        ("x = '\0'\n", "mine.py"),
        ("x = 'caf\xe9'\n", "mine.py"),
    ],
)
def test_an_error_names_the_file_the_line_and_itself(mine: Path, text: str, said: str) -> None:
    mine.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError) as caught:
        npsnn.load_plugin(mine)
    assert str(caught.value).startswith(str(mine)) and said in str(caught.value)
    assert "\n" not in str(caught.value) and "npsnn_plugin_mine" not in sys.modules
    mine.write_text(MINE)
    assert npsnn.load_plugin(mine).name == "mine"


@pytest.mark.parametrize(
    "text", ["", "import npsnn.audit.cards\n", MINE.replace("@layer", "").replace('@model("mine")', "")]
)
def test_one_that_enters_nothing_is_told(mine: Path, text: str) -> None:
    mine.write_text(text)
    with pytest.warns(UserWarning, match=r"mine\.py enters nothing in a table: put @attack, @layer, @loss, @model or"):
        npsnn.load_plugin(mine)


def test_an_error_in_a_module_that_it_imports_is_at_the_import(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside_mine.py").write_text("\n\n\nx = (\n")
    mine.write_text("\nimport beside_mine\n")
    with pytest.raises(ValueError, match=r"mine\.py, line 2: SyntaxError: .*beside_mine\.py, line 4"):
        npsnn.load_plugin(mine)


def test_to_debug_npsnn_the_error_is_itself(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPSNN_DEBUG", "1")
    mine.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        npsnn.load_plugin(mine)


def test_a_file_that_is_not_there_or_too_large_or_of_a_taken_name_is_refused(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*mien\.py; did you mean mine\.py\?"):
        npsnn.load_plugin(tmp_path / "mien.py")
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere/mine\.py$"):
        npsnn.load_plugin(tmp_path / "nowhere" / "mine.py")
    npsnn.load_plugin(mine)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "mine.py"
    other.write_text("x = 1\n")
    with pytest.raises(ValueError, match=rf"there is another plugin mine, {mine}: rename one of the two"):
        npsnn.load_plugin(other)
    (tmp_path / "large.py").write_bytes(b"#" * (plugins.LIMIT + 1))
    with pytest.raises(ValueError, match=r"large\.py"):
        npsnn.load_plugin(tmp_path / "large.py")


def test_its_classes_are_known_to_other_processes(mine: Path) -> None:
    npsnn.load_plugin(mine)
    layer = sys.modules["npsnn_plugin_mine"].Mine(0.3)
    with Processes(2) as workers:
        found: list[Any] = []
        workers.reduce(repr, lambda i: (layer,), 2, found.append)
        assert found == ["Mine(slope=0.3)"] * 2
        mine.write_text(MINE.replace("slope", "slant"))  # as in a notebook: the process is there already
        npsnn.load_plugin(mine)
        other = sys.modules["npsnn_plugin_mine"].Mine(0.4)
        workers.reduce(repr, lambda i: (other,), 2, found.append)
    assert found[2:] == ["Mine(slant=0.4)"] * 2


def trained(folder: Path, threads: int = 1) -> bytes:
    list(fit(Config(**CONFIG), DATASET, folder, threads))
    return (folder / "last.npz").read_bytes()


@pytest.mark.slow
def test_a_run_with_a_plugin_is_the_same_in_other_processes(mine: Path, tmp_path: Path) -> None:
    npsnn.load_plugin(mine)
    assert trained(tmp_path / "one") == trained(tmp_path / "two", 2)


def test_a_run_records_its_plugins_and_is_read_where_they_are_loaded(mine: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert plugins.recorded() == {}
    npsnn.load_plugin(mine)
    trained(run)
    (entry,) = npsnn.files.json_files.read_json(run / "config.json")["plugins"]
    assert entry == {"name": "mine", "sha256": sha256(MINE.encode()).hexdigest()}
    assert Classifier.load(run).model.name == "mine"
    forget()
    reading: list[Callable[[], Any]] = [lambda: Classifier.load(run), lambda: resume(run, DATASET)]
    for read in reading:
        with pytest.raises(
            ValueError, match=rf"the plugin mine \(SHA-256 {entry['sha256'][:12]}\), which is not loaded$"
        ):
            read()


def test_another_content_than_at_the_training_is_warned_of_once(mine: Path, tmp_path: Path) -> None:
    npsnn.load_plugin(mine)
    trained(tmp_path / "run")
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        Classifier.load(tmp_path / "run")
        mine.write_text(MINE + "# another\n")
        now = npsnn.load_plugin(mine)
        for _ in range(2):
            Classifier.load(tmp_path / "run")
            list(resume(tmp_path / "run", DATASET, epochs=1))
    (warning,) = met
    assert f"plugin mine has SHA-256 {now.sha256[:12]}, but the run was trained with" in str(warning.message)


def test_a_record_that_is_damaged_names_no_plugin() -> None:
    for odd in (None, 3, [3], [{}], {"name": 1}):
        plugins.warn_of_others({"plugins": odd})
        with pytest.raises(ValueError, match=r"^odd$"), plugins.blamed({"plugins": odd}):
            raise ValueError("odd")


class Entry:
    """An entry point of an installed package, without a package."""

    name = "installed"
    module = "installed_plugin"

    def load(self) -> Any:
        return __import__(self.module)


def test_installed_packages_name_their_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry()] * (group == "npsnn.plugins"))
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "installed_plugin.py"
    file.write_text("1 / 0\n")
    with pytest.raises(ValueError, match=rf"installed plugin installed: {file}, line 1: ZeroDivisionError"):
        plugins.load_installed()
    file.write_text("x = 12\n")
    with pytest.warns(UserWarning, match="installed plugin installed enters nothing in a table"):
        (plugin,) = plugins.load_installed()
    assert plugins.load_installed() == [plugin] == [plugins.Plugin("installed", sha256(b"x = 12\n").hexdigest())]
    del sys.modules["installed_plugin"]
