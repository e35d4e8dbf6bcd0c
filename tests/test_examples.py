"""The examples run where a user would put them: as files outside of the package, in a process of their own."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from entering import loaded

from npsnn.layers import EXPECTATION, Moments, Sampled
from npsnn.objectives import cross_entropy
from npsnn.streams import Stream
from npsnn.testing import check_attack, check_layer, check_loss, check_model
from npsnn.testing.networks import small_network
from npsnn.train import one_view

EXAMPLES = Path(__file__).parent.parent / "examples"
TRAIN = ("--model", "leaky", "--loss", "own-trades", "--propagation", "sampled", "--limit", "40", "--epochs", "1")
WHERE = ("--limit", "4", "--draws", "2")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a user who has drawn the digits once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NPSNN_")}
    return kept | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def run(folder: Path, environment: dict[str, str], *command: str, code: int = 0) -> str:
    """What a process prints that is started in the folder; Python's own errors count as well."""
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leaky_relu", "momentum", "trades", "two_noises"])
def test_an_example_checks_itself(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    assert run(tmp_path, environment, f"{name}.py") == ""


def test_the_page_shows_the_files_as_they_are() -> None:
    page = (EXAMPLES.parent / "docs" / "extend.md").read_text(encoding="utf-8")
    for name in ("leaky_relu", "momentum", "trades", "two_noises"):
        assert f"```python\n{(EXAMPLES / name).with_suffix('.py').read_text(encoding='utf-8')}```\n" in page, name


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "all_of_it",
        "leaky_relu",
        "momentum",
        "trades",
        "two_noises",
    }


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the whole example."""
    shutil.copy(EXAMPLES / "all_of_it.py", tmp_path)
    return tmp_path


def test_all_of_it_is_forty_lines() -> None:
    """Without blank lines and docstrings."""
    text = (EXAMPLES / "all_of_it.py").read_text()
    nodes = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    first = [node.body[0] for node in nodes if ast.get_docstring(node)]
    said = {line for node in first for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    assert sum(bool(line.strip()) for n, line in enumerate(text.splitlines(), start=1) if n not in said) <= 40


NEW_PROCESS = """
import npsnn
npsnn.load_plugin("all_of_it.py")
network = npsnn.Classifier.load("mine")
from npsnn import attacks, data
from npsnn.attacks.base import ATTACKS
digits = data.load("digits")
corner = ATTACKS["corner"](0.1)
(result,) = attacks.robust_accuracy(network, digits.test.images[:4], digits.test.labels[:4], [corner])
print(result.attack, network.sigmas, round(abs(result.x_adv - digits.test.images[:4] / 255).max(), 3))
"""


@pytest.mark.slow
def test_all_of_it_is_trained_saved_loaded_attacked_and_judged(mine: Path, environment: dict[str, str]) -> None:
    npsnn = ("-m", "npsnn.cli", "--plugin", "all_of_it.py")
    run(mine, environment, *npsnn, "train", *TRAIN, "--sigma", "0.3", "--name", "mine")
    saved = json.loads((mine / "runs" / "mine" / "config.json").read_text())
    assert saved["train"]["loss"] == "own-trades" and [p["name"] for p in saved["plugins"]] == ["all_of_it"]
    assert "LeakyReLU" in [entry["type"] for entry in saved["spec"]["layers"]]

    python = run(mine, environment, "-c", NEW_PROCESS)
    assert python == "corner {'noise1': 0.3, 'noise2': 0.3} 0.1\n"
    row = json.loads(run(mine, environment, *npsnn, "attack", "mine", "--corner", "--eps", "0.1", *WHERE, "--json"))
    assert [result["attack"] for result in row["results"]] == ["corner"]
    judged = json.loads(run(mine, environment, *npsnn, "evaluate", "mine", *WHERE, "--json"))
    assert judged["inference_sigma"] == {"noise1": 0.3, "noise2": 0.3}
    run(mine, environment, *npsnn, "train", "--resume", "mine", "--epochs", "2")
    assert len((mine / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()) == 2

    said = run(mine, environment, "-m", "npsnn.cli", "attack", "mine", "--fgsm", *WHERE, code=1)
    assert "unknown layer 'LeakyReLU', expected" in said and "a plugin's by --plugin FILE.py" in said


FIT = """
import all_of_it, npsnn
from npsnn import data, train
training = train.Training(all_of_it.leaky(), all_of_it.OwnTRADES(), train.Drawn(), epochs=1, limit=40)
for record in train.fit(training, data.load("digits"), "runs/hers"):
    print(type(record).__name__)
"""


@pytest.mark.slow
def test_all_of_it_is_trained_in_python(mine: Path, environment: dict[str, str]) -> None:
    assert "Epoch" in run(mine, environment, "-c", FIT)
    saved = json.loads((mine / "runs" / "hers" / "config.json").read_text())
    assert saved["training"]["loss"] == {"type": "OwnTRADES", "beta": 6.0, "eps": 0.1}


@pytest.mark.slow
def test_the_parts_of_all_of_it_are_held_to_the_standard() -> None:
    with loaded(EXAMPLES / "all_of_it.py") as mine:
        check_layer(mine.LeakyReLU())
        check_loss(mine.OwnTRADES(eps=0.05))
        check_attack(mine.Corner(0.1))
        check_model(mine.leaky((1, 12, 12), 3))


def test_trades_without_its_divergence_is_cross_entropy() -> None:
    """With beta = 0 to the bit; and the images of the second view are those of the highest divergence found."""
    network, stream = small_network(dtype=np.float64), Stream(1)
    x = np.random.default_rng(0).random((5, *network.model.shape))
    labels = np.arange(5) % 3
    for noise in (EXPECTATION, Sampled(stream.at("noise"))):
        plain = one_view(network, x, labels, cross_entropy, noise)
        with loaded(EXAMPLES / "trades.py") as trades:
            none, some = (trades.OwnTRADES(beta).gradient(network, x, labels, noise, stream) for beta in (0.0, 2.0))
        assert none.loss == plain.loss and none.correct == plain.correct == some.correct
        for name, g in plain.grads.items():
            np.testing.assert_allclose(none.grads[name], g, rtol=1e-12, atol=1e-15)
        assert some.loss > plain.loss + 1e-4


def test_the_leaky_layer_is_the_function_that_it_says() -> None:
    x = np.linspace(-2, 2, 9)[:, None]
    with loaded(EXAMPLES / "leaky_relu.py") as leaky:
        y, _ = leaky.LeakyReLU(0.1).forward({}, Moments(x), EXPECTATION)
    np.testing.assert_allclose(y.mean, np.where(x > 0, x, 0.1 * x))
