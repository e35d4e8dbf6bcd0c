"""A training as a value: what it may hold, how it is saved, and that it goes on in a process of its own."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import own_training as own
import pytest
from entering import put_back, taken_out
from own_training import Agreement, Clipped, Ridge, Warm, own_training, two_noises
from small_networks import normalised

from npsnn import train
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split, digits
from npsnn.layers.params import Role, flatten, roles
from npsnn.models import lenet5
from npsnn.optim import SGD, Adam, Cosine
from npsnn.runs import checkpoint
from npsnn.runs.checkpoint import BEST, CONFIG, LAST, METRICS
from npsnn.train import Carried, CrossEntropy, Drawn, Epoch, NoiseAware, PositiveSigma, SigmaCap, Step, Training
from npsnn.train.constraints import SafeFactor, UnitClasses, UnitFilters
from npsnn.train.part import PartGradient

LABELS = np.arange(120) % 10
IMAGES = digits.draw(LABELS, np.random.default_rng(0))
DATA = Dataset("few digits", Split(IMAGES, LABELS), Split(IMAGES[:20], LABELS[:20]), 10, {"train": "120"})


taken_out(own)


@pytest.fixture(autouse=True, scope="module")
def _own_values() -> Iterator[None]:
    with put_back(own):
        yield


def finished(run: Iterator[Step | Epoch]) -> list[Epoch]:
    return [record for record in run if isinstance(record, Epoch)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of a user's own training, on one thread."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    finished(train.fit(own_training(), DATA, folder, threads=1))
    return folder


def test_the_defaults_are_those_of_the_flat_options() -> None:
    training = Training(lenet5())
    assert (training.loss, training.noise, training.optimizer) == (NoiseAware(), Carried("laplace"), Adam(1e-3))
    assert training.trains == Role.WEIGHT | Role.BIAS | Role.STATISTIC and not training.terms
    flat = train.Config()
    assert all(getattr(training, k) == getattr(flat, k) for k in ("epochs", "batch_size", "seed", "limit"))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"model": "lenet5"}, TypeError, "model must be a Model, got 'lenet5'"),
        ({"loss": "mse"}, TypeError, "loss must be a loss, with the method gradient"),
        ({"loss": CrossEntropy}, TypeError, r"loss must be a value, as CrossEntropy\(\)"),
        ({"noise": "exact"}, TypeError, r"noise must be a treatment of the noise, as Carried\('exact'\)"),
        ({"terms": ["ridge"]}, TypeError, "terms must be terms, each called as"),
        ({"constraints": [Ridge(0.1)]}, TypeError, "constraints must be constraints, of the class"),
        ({"optimizer": "adam"}, TypeError, r"optimizer must be an optimiser, as Adam\(1e-3\)"),
        ({"schedule": "cosine"}, TypeError, "schedule must be a schedule, called as"),
        ({"augmentation": "none"}, TypeError, "augmentation must be an augmentation, called as"),
        ({"trains": "noise"}, TypeError, r"trains must be a Role, as Role\.ALL, got 'noise'"),
        ({"trains": Role(0)}, ValueError, "trains must have a role of parameters, got none"),
        ({"epochs": 0}, ValueError, "epochs must be >= 1, got 0"),
        ({"epochs": 1.5}, ValueError, "epochs must be a whole number >= 1, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1, got 0"),
        ({"batch_size": None}, ValueError, "batch_size must be a whole number >= 1, got None"),
        ({"limit": 1}, ValueError, "limit must be >= 2, got 1"),
        ({"micro_batch": 0}, ValueError, "micro_batch must be >= 1, got 0"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number, got 0.5"),
        ({"constraints": [SigmaCap(1.0)]}, ValueError, r"SigmaCap.* acts on parameters .* trains must have NOISE"),
        ({"constraints": [PositiveSigma()]}, ValueError, r"PositiveSigma\(\) acts on .* trains must have NOISE"),
        ({"constraints": [SafeFactor()]}, ValueError, "trains must have NOISE"),
        ({"constraints": [UnitClasses()], "trains": Role.NOISE}, ValueError, "trains must have WEIGHT"),
        ({"constraints": [UnitFilters("l1")], "trains": Role.NOISE}, ValueError, "trains must have WEIGHT"),
    ],
    ids=str,
)
def test_what_is_no_training_is_refused_by_name(changed: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Training(**{"model": lenet5()} | changed)
    assert "\n" not in str(caught.value)


def test_one_term_or_constraint_will_do_for_several() -> None:
    training = own_training(terms=Ridge(0.1), constraints=Clipped(), limit=np.int64(50))
    assert training.terms == (Ridge(0.1),) and training.constraints == (Clipped(),)
    assert own_training().terms == tuple(own_training().terms)


def test_a_training_comes_back_from_its_json() -> None:
    for training in (Training(lenet5()), own_training(limit=80), own_training(False, noise=Drawn(), schedule=Cosine())):
        document = json.loads(json.dumps(training.to_json()))
        assert Training.from_json(document) == training
    document = own_training().to_json()
    assert document["loss"] == {"type": "Agreement", "beta": 2.0, "shift": 2}
    assert document["trains"] == ["WEIGHT", "BIAS", "NOISE", "STATISTIC"]
    assert document["augmentation"] == {"type": "inverted"}
    less = {name: document[name] for name in ("model", "loss")}
    assert Training.from_json(less) == Training(own_training().model, loss=Agreement(beta=2.0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"colour": 1}, "a training has no colour"),
        ({"loss": {"type": "Nobody's"}}, 'unknown loss "Nobody\'s"'),
        ({"loss": {"type": "Adam"}}, "unknown loss 'Adam'"),
        ({"optimizer": {"type": "Lion", "lr": "fast"}}, "must be of the type float, got 'fast'"),
        ({"terms": {"type": "Ridge"}}, "terms must be a list"),
        ({"constraints": [{"type": "Clipped", "width": 1}]}, "Clipped has no option width"),
        ({"trains": ["EVERYTHING"]}, "trains must be a list of WEIGHT, BIAS, NOISE, STATISTIC"),
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"model": None}, "spec is not a model specification"),
    ],
    ids=str,
)
def test_a_damaged_document_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training.from_json(own_training().to_json() | changed)
    with pytest.raises(ValueError, match="a training must be a JSON object, got 3"):
        Training.from_json(3)


def test_a_longer_training_is_the_same_only_under_a_constant_rate() -> None:
    assert Training(lenet5(), epochs=3).lengthened(4).epochs == 4
    with pytest.raises(ValueError, match="epochs must be at least the run's own 3, got 2"):
        Training(lenet5(), epochs=3).lengthened(2)
    with pytest.raises(ValueError, match=r"epochs must be the run's own 3 under Cosine\(\)"):
        Training(lenet5(), epochs=3, schedule=Cosine()).lengthened(4)
    assert not own_training().any_length and Training(lenet5()).any_length


def test_a_process_can_be_sent_a_training() -> None:
    part = PartGradient(own_training())
    assert pickle.loads(pickle.dumps(part)) == part


def test_the_run_of_a_training_is_saved_by_the_tables(whole: Path) -> None:
    about = json.loads((whole / CONFIG).read_text())
    assert "train" not in about and about["dataset"] == "few digits" and "model" not in about["training"]
    assert Training.from_json(about["training"] | {"model": about["spec"]}) == own_training()
    network = Classifier.load(whole)
    assert network.model == own_training().model and list(network.sigmas) == ["noise", "block.body.noise"]
    first, last = (json.loads(line) for line in (whole / METRICS).read_text().splitlines())
    for record in (first, last):
        assert record["sigma"].keys() == record["sigma_gradient"].keys() == network.sigmas.keys()
        assert record["first_layer_ratio"].keys() == network.sigmas.keys() and record["feature_noise"] is None
    assert last["sigma"] == network.sigmas != {"noise": 0.3, "block.body.noise": 0.2}
    assert first["lr"] == pytest.approx(2e-3 * Warm()(1 / 3)) and last["lr"] == pytest.approx(2e-3)
    bias = flatten(network.params)["fc.b"]
    assert abs(bias.mean()) < 1e-7 < np.abs(bias).max(), "the user's constraint"


@pytest.mark.parametrize("threads", [2, 3])
def test_it_is_bit_identical_for_any_threads(threads: int, whole: Path, tmp_path: Path) -> None:
    finished(train.fit(own_training(), DATA, tmp_path / "run", threads=threads))
    assert (tmp_path / "run" / LAST).read_bytes() == (whole / LAST).read_bytes()


@pytest.mark.slow
def test_processes_train_by_values_of_a_user(tmp_path: Path) -> None:
    """Without BatchNorm the parts of a batch go to other processes, which import her module."""
    for threads in (1, 2):
        finished(train.fit(own_training(False), DATA, tmp_path / str(threads), threads=threads))
    assert (tmp_path / "1" / LAST).read_bytes() == (tmp_path / "2" / LAST).read_bytes()


GO_ON = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
import own_training
from npsnn import train
from npsnn.data import Dataset, Split, digits
labels = np.arange(120) % 10
images = digits.draw(labels, np.random.default_rng(0))
data = Dataset("few digits", Split(images, labels), Split(images[:20], labels[:20]), 10, {{"train": "120"}})
print([record.epoch for record in train.resume({folder!r}, data, threads=2) if isinstance(record, train.Epoch)])
"""


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    root = Path(train.__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_a_new_process_to_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    run = train.fit(own_training(), DATA, folder, threads=1)
    for record in run:
        if isinstance(record, Epoch):
            break
    del run
    code = GO_ON.format(paths=[str(Path(__file__).parents[1])], folder=str(folder))
    ended = in_a_new_process(code)
    assert ended.stdout == "[2]\n", ended.stderr
    assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in (LAST, BEST))
    without = in_a_new_process(code.replace("import own_training\n", ""))
    assert without.returncode != 0
    last = without.stderr.strip().splitlines()[-1]
    assert CONFIG in last and "unknown loss 'Agreement'" in last and "--plugin" in last


@dataclass(frozen=True)
class Unentered:
    """A loss that its author forgot to enter."""

    def gradient(self, *arguments: Any) -> Any:
        return CrossEntropy().gradient(*arguments)


def test_what_is_in_no_table_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    training = own_training(loss=Unentered())
    said = r"Unentered is in no table of every loss.*put @loss above it \(from npsnn.train import loss\)"
    with pytest.raises(ValueError, match=said):
        train.fit(training, DATA, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert len(finished(train.fit(replace(training, epochs=1), DATA, threads=1))) == 1, "nothing is saved"


def test_a_network_of_other_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lenet5 is for images \(1, 14, 14\) of 10 classes, few digits has images"):
        train.fit(Training(lenet5((1, 14, 14))), DATA, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(TypeError, match="training must be a Training or a Config, got 'lenet5'"):
        train.fit("lenet5", DATA)  # type: ignore[arg-type]


@pytest.mark.parametrize("trains", [Role.NOISE, Role.WEIGHT, Role.BIAS | Role.NOISE, Role.ALL & ~Role.NOISE], ids=str)
def test_the_roles_that_are_trained_move_and_no_others(trains: Role, tmp_path: Path) -> None:
    model = two_noises(normalised=True)
    begun = Classifier(model, model.init(np.random.default_rng(7)))
    training = own_training(constraints=[], optimizer=SGD(0.01), noise=Drawn(), trains=trains, epochs=1)
    finished(train.fit(training, DATA, tmp_path / "run", threads=1, start=begun))
    before, after = flatten(begun.params), flatten(Classifier.load(tmp_path / "run").params)
    moved = {k for k in before if (before[k] != after[k]).any()}
    assert moved == {k for k, role in roles(model.network, before).items() if role in trains}


def test_noise_alone_needs_a_network() -> None:
    with pytest.raises(ValueError, match="start must be one, got None"):
        train.fit(own_training(constraints=[], trains=Role.NOISE), DATA)


def test_a_run_of_values_that_was_edited_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    run = train.fit(own_training(), DATA, folder, threads=1)
    next(record for record in run if isinstance(record, Epoch))
    del run
    about = json.loads((folder / CONFIG).read_text())
    about["training"]["loss"]["beta"] = 9.0
    (folder / CONFIG).write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"config.json was changed in the midst of the training: loss is .*9\.0"):
        train.resume(folder, DATA, threads=1)


def test_a_finished_run_of_values_is_found_and_lengthened(tmp_path: Path) -> None:
    training = Training(normalised(16), loss=CrossEntropy(), epochs=1, batch_size=60)
    for name, epochs in (("one", 1), ("two", 2)):
        finished(train.fit(replace(training, epochs=epochs), DATA, tmp_path / name, threads=1))
    assert checkpoint.newest_run(tmp_path)[0] == tmp_path / "two"
    assert len(finished(train.resume(tmp_path / "one", DATA, threads=1, epochs=2))) == 1
    assert checkpoint.newest_run(tmp_path)[0] == tmp_path / "one"
    arrays = [checkpoint.load_arrays(tmp_path / name / LAST)[0] for name in ("one", "two")]
    assert all((arrays[0][k] == a).all() for k, a in arrays[1].items())
    about = json.loads((tmp_path / "one" / CONFIG).read_text())
    assert about["training"]["epochs"] == 2 and about["earlier_epochs"] == [1]


def test_flat_options_and_their_values_train_the_same(tmp_path: Path) -> None:
    config = train.Config(epochs=1, batch_size=60, learn_sigma=True, sigma_reward=0.1, schedule="cosine", seed=5)
    values = Training(
        lenet5(),
        terms=[train.SigmaReward(0.1)],
        constraints=[PositiveSigma(), SigmaCap(4.0)],
        schedule=Cosine(),
        trains=Role.ALL,
        epochs=1,
        batch_size=60,
        seed=5,
    )
    records = [finished(train.fit(t, DATA, tmp_path / n, threads=1)) for t, n in ((config, "flat"), (values, "values"))]
    arrays = [checkpoint.load_arrays(tmp_path / name / LAST)[0] for name in ("flat", "values")]
    assert all((arrays[0][k] == a).all() for k, a in arrays[1].items())
    timed = {"seconds": 0.0, "examples_per_second": 0.0}
    assert [asdict(replace(r, **timed)) for r in records[0]] == [asdict(replace(r, **timed)) for r in records[1]]
