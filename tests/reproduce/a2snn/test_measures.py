"""The measurements of A2SNN's experiments: known geometry, known gaps, and what the records hold of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_networks import convolutional, on_features
from tiny_reproduction import DIGITS, run_all, tiny

from npsnn.attacks import Checklist, examine
from npsnn.classifier import Classifier
from npsnn.data import Dataset, Split
from npsnn.reproduce.a2snn import costs, criteria, deciding, figure_2, networks, table_2, theorem_1
from npsnn.reproduce.a2snn.class_vectors import angles, class_vector_figures, directions
from npsnn.reproduce.a2snn.criteria import criteria_figures
from npsnn.reproduce.a2snn.theorem_1 import gap_and_bounds
from npsnn.reproduce.experiments import Column
from npsnn.reproduce.jobs import Measure, Train
from npsnn.reproduce.perform import Place
from npsnn.reproduce.records import Record, Records
from npsnn.reproduce.scales import A2SNN, Scale
from npsnn.reproduce.whole import experiments

TURN = np.deg2rad(30)
AXES = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
"""Orthonormal columns, turned by 30 degrees."""
SIGMA = AXES @ np.diag([9.0, 1.0]) @ AXES.T


def images(network: Classifier, count: int = 6) -> Dataset:
    """Random images, of which each has the label that the network gives without noise: an attack can take it."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (count, *network.model.shape), np.uint8)
    split = Split(x, network.predict(x / np.float64(255)).argmax(axis=1))
    return Dataset("made up", split, split, network.model.classes, {})


def known(W: np.ndarray, L: np.ndarray) -> Classifier:
    """A network with these class vectors and this factor of the noise."""
    network = on_features()
    last = network.model.network.layers[-1][0]
    return replace(network, params=network.params | {"noise": {"L": L}, last: network.params[last] | {"w": W}})


def test_directions_are_those_of_the_covariance() -> None:
    sds, axes = directions(SIGMA)
    np.testing.assert_allclose(sds, [3, 1])
    np.testing.assert_allclose(np.abs(axes.T @ AXES), np.eye(2), atol=1e-12)
    np.testing.assert_allclose(axes @ np.diag(sds**2) @ axes.T, SIGMA)


def test_angles_are_to_the_nearest_axis_on_either_side() -> None:
    w = np.array([[2.0, 0.0], [0.0, -3.0], [1.0, 1.0], [-1.0, np.tan(np.deg2rad(10))]])
    np.testing.assert_allclose(angles(w, np.eye(2)), [0, 0, 45, 10], atol=1e-6)
    np.testing.assert_allclose(angles(w, AXES), [30, 30, 15, 40], atol=1e-6)


def test_random_directions_have_the_angle_of_chance() -> None:
    w = np.random.default_rng(0).standard_normal((20000, 2))
    found = angles(w, AXES)
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - figure_2.CHANCE) < 5 * error < 1


def test_class_vectors_of_a_known_network() -> None:
    """Class vectors along the axes, noise along the axes but for the first two features, where it is turned."""
    W, sigma = 2 * np.eye(5)[:3], np.eye(5)
    sigma[:2, :2] = SIGMA
    network = known(W, np.linalg.cholesky(sigma))
    figures, took = class_vector_figures([network], images(network))
    assert took == {} and json.loads(json.dumps(figures)) == figures
    np.testing.assert_allclose(figures["W"], W)
    np.testing.assert_allclose(figures["Sigma"], sigma, atol=1e-12)
    assert figures["to axes"] == pytest.approx(0, abs=1e-5) and figures["norm"] == pytest.approx(2)
    assert figures["ratio"] == pytest.approx(3) and figures["spread"] == pytest.approx(np.sqrt(13 / 5))
    turned = known(np.array([[*AXES[:, 0], 0, 0, 0]] * 3), np.linalg.cholesky(sigma))
    found, _ = class_vector_figures([turned], images(turned))
    assert found["to axes"] == pytest.approx(30) and found["to eigenvectors"] == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="must have noise on its features"):
        class_vector_figures([convolutional()], images(convolutional()))


def test_an_outline_has_one_distance_in_standard_deviations() -> None:
    points = figure_2.outline(SIGMA, 2.0)
    np.testing.assert_allclose(np.einsum("ip,ij,jp->p", points, np.linalg.inv(SIGMA), points), 4.0)


def test_gaps_and_bounds_of_a_network() -> None:
    """The gap is what the attack takes of the probability, below each bound; without an attack all are 0."""
    network = on_features(0.3)
    data = images(network)
    figures, took = gap_and_bounds([network], data, eps=0.2, steps=5, images=6, draws=400)
    assert took["seconds"] > 0 and set(figures) == {"clean", "gap", "Theorem 1", "tight", "sharpest", theorem_1.BROKEN}
    assert 0.02 < figures["gap"] <= figures["clean"]
    assert figures["gap"] < figures["sharpest"] < figures["tight"] <= figures["Theorem 1"]
    assert figures[theorem_1.BROKEN] == 0
    still, _ = gap_and_bounds([network], data, eps=0.0, steps=1, images=6, draws=50)
    assert {still[k] for k in ("gap", "Theorem 1", "tight")} == {0.0}


def test_a_bound_that_is_too_small_is_seen_to_break(monkeypatch: pytest.MonkeyPatch) -> None:
    network, real = on_features(0.3), theorem_1.bounds.gap

    def shrunk(*arguments: object, **options: object) -> object:
        found = real(*arguments, **options)  # type: ignore[arg-type]
        return replace(found, lipschitz=found.lipschitz / 1000)

    monkeypatch.setattr(theorem_1.bounds, "gap", shrunk)
    figures, _ = gap_and_bounds([network], images(network), eps=0.2, steps=5, images=6, draws=400)
    assert figures[theorem_1.BROKEN] > 0.3


def test_criteria_are_those_of_the_checklist() -> None:
    network = on_features(0.3)
    data = images(network)
    settings = {"eps": 0.2, "eot": 2, "samples": 3, "pixels": [1, 2], "population": 5, "generations": 1, "draws": 2}
    found, took = criteria_figures([network], data, images=4, **settings)
    options = Checklist(**{**settings, "pixels": (1, 2)})  # type: ignore[arg-type]
    wanted = {str(c.number): c for c in examine(network, data.test.images[:4], data.test.labels[:4], options)}
    assert took["seconds"] > 0 and found.keys() == wanted.keys()
    assert {n: (c["outcome"], c["figures"]) for n, c in found.items()} == {
        n: (str(c.outcome), {k: float(v) for k, v in c.figures.items()}) for n, c in wanted.items()
    }
    assert json.loads(json.dumps(found)) == found


def test_the_papers_count_of_criterion_4() -> None:
    def record(taken: float, found: float) -> Record:
        figures = {"images that FGSM takes": taken, "ever misread in its samples": found}
        return Record({}, {"4": {"figures": figures, "outcome": "passes"}})

    share = criteria._left("ever misread in its samples")
    assert share(record(100, 3)) == pytest.approx(0.97)
    with pytest.raises(KeyError):
        share(record(0, 0))
    passes, fails = (criteria._is(4, o)(record(1, 0)) for o in (criteria.Outcome.PASSES, criteria.Outcome.FAILS))
    assert (passes, fails) == (1.0, 0.0)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scale, Records]:
    """m0 and m5 trained, m5 attacked by an attack that stands still, and the class vectors of two features measured."""
    setting = replace(DIGITS, limit=32, images=4)
    scale = replace(tiny(), settings=dict.fromkeys(tiny().settings, setting), seeds=2, steps=1, eot=1, queries=2)
    folder = tmp_path_factory.mktemp("done")
    rows = {name: networks.ours(name, "cifar10") for name in ("m0", "m5")}
    train = figure_2.two_features("m5")(setting, 0)
    jobs = [job for _, _, job in deciding.trained(rows, "cifar10", scale)]
    odd = [e for e in run_all([*jobs, Measure(train.name, "class-vectors", (train,))], folder) if e.state != "done"]
    assert not odd, odd[0].why
    return scale, Place(folder).records


def test_where_the_noise_went_is_what_the_last_epoch_says(done: tuple[Scale, Records]) -> None:
    scale, records = done
    rows = {"m5": networks.ours("m5", "cifar10")}
    panel = deciding.noise_panel(rows, "cifar10", scale, records)
    last = [
        records[job].values["epochs"][-1]["feature_noise"] for _, _, job in deciding.trained(rows, "cifar10", scale)
    ]
    assert panel["m5", "common mode"].values == tuple(e["common"] for e in last) and len(last) == 2
    assert panel["m5", "spread of features"].values == pytest.approx([e["trace"] ** 0.5 for e in last])
    assert panel["m5", "differences"].values == tuple(e["differences"] for e in last)


def test_costs_are_seconds_of_an_epoch(done: tuple[Scale, Records]) -> None:
    scale, records = done
    panel = costs.Costs().panels(scale, records)[costs.PANEL]
    (train,) = [job for row, seed, job in deciding.trained({"m5": networks.ours("m5", "cifar10")}, "cifar10", scale, 1)]
    assert panel["m5", costs.SECONDS].values[0] == records[train].took["seconds"] / train.epochs > 0
    assert ("pni", costs.SECONDS) not in panel.cells and "pni" in panel.rows


def test_the_plane_reads_the_measurement(done: tuple[Scale, Records]) -> None:
    scale, records = replace(done[0], seeds=1), done[1]
    plane = figure_2.Plane()
    assert not plane.panels(done[0], records)[figure_2.ANGLES].cells, "of two seeds one is not measured"
    panel = plane.panels(scale, records)[figure_2.ANGLES]
    job = next(job for row, _, job in plane._jobs(scale) if row == "m5")
    assert panel["m5", figure_2.TO_AXES].values == (records[job].values["to axes"],)
    (caption,) = plane.pictures(scale, records)
    assert caption.startswith("m5: ")


def test_gradients_that_are_zero_are_counted(done: tuple[Scale, Records], tmp_path: Path) -> None:
    """Of 4 images 3 met one at the first seed, none at the second; a group has no count of its own."""
    scale, _ = done
    own = Records(tmp_path)
    columns = [Column("PGD", networks.papers_pgd(scale)), Column("judge", networks.judge(scale)), Column("clean")]
    grid = deciding.Grid("zeros", A2SNN, "-", "-", "cifar10", {"m5": networks.ours("m5", "cifar10")}, lambda _: columns)
    for (_, seed, _, job), met in zip(grid._jobs(scale), ([0, 1, 3], None), strict=True):
        image = {"right": [1] * 4, "draws": 1} | ({} if met is None else {"met_zero": met})
        own.write(job, Record({}, {}, {"PGD": image, "judge": image, "clean": image}))
        assert seed == (0 if met else 1)
    panel = deciding.zero_panel(grid, scale, own)
    assert panel.columns == ["PGD"] and panel["m5", "PGD"].values == (0.75, 0.0)


def test_distances_are_of_images_that_moved(tmp_path: Path) -> None:
    scale = replace(tiny(), settings={(A2SNN, "cifar10"): DIGITS})
    (grid,), own = experiments(["a2snn-table-2"]), Records(tmp_path)
    job = next(iter(grid.jobs(scale)))
    sizes = {"size": [0.0, 0.5, 1.5, 0.7]}
    own.write(job, Record({}, {}, {n: {"right": [1] * 4, "draws": 1} | sizes for n, _ in job.attacks}))  # type: ignore[union-attr]
    panel = grid.panels(scale, own)["distance"]
    assert panel["adv-bnn", table_2.DRAWN[1.0]].values == (0.7,) and len(panel.cells) == 10


def test_trainings_that_are_the_same_are_one_job() -> None:
    setting = DIGITS
    jobs = {
        networks.ours("m5", "cifar10")(setting, 0).key,
        networks.ours("m5", "cifar10", bottleneck=32)(setting, 0).key,
    }
    assert len(jobs) == 1
    assert isinstance(networks.ours("m5", "svhn")(setting, 0), Train)
    assert networks.ours("m5", "svhn")(setting, 0).key not in jobs, "SVHN has other lambdas"
