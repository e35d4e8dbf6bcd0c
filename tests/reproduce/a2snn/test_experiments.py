"""A2SNN's experiments as a whole: they run, share their networks, and decide every claim once."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_reproduction import DIGITS, run_all, tiny

from npsnn.jobs.schedule import with_needs
from npsnn.reproduce.a2snn import networks, table_1, table_5
from npsnn.reproduce.a2snn.claims import CHIEF, CLAIMS
from npsnn.reproduce.a2snn.printed import PRINTED
from npsnn.reproduce.experiments import Grid
from npsnn.reproduce.jobs import Attack, Train
from npsnn.reproduce.perform import Place
from npsnn.reproduce.plots import svg
from npsnn.reproduce.scales import A2SNN, SCALES, Scale, Setting
from npsnn.reproduce.sections import sections
from npsnn.reproduce.whole import experiments
from npsnn.train.config import Config

OURS = {e.name: e for e in experiments() if e.paper == A2SNN}


def smallest() -> Scale:
    """One step, one draw and three images; as many training images as MI's pool of each class needs."""
    setting = replace(DIGITS, limit=64, images=3, batch_size=16)
    return replace(tiny(), settings=dict.fromkeys(tiny().settings, setting), steps=1, queries=2, eot=1, draws=1)


def setting(scale: str, data: str) -> Setting:
    found = SCALES[scale].on(A2SNN, data)
    assert found is not None
    return found


def options(train: Train) -> Config:
    assert isinstance(train.of, Config)
    return train.of


def test_each_claim_is_decided_by_one_experiment() -> None:
    decided = Counter(id for e in OURS.values() for id in e.decides)
    assert decided == Counter(claim.id for claim in CLAIMS)
    assert all(claim.paper == A2SNN for claim in CLAIMS)
    assert sorted(claim.chief for claim in CLAIMS if claim.chief) == sorted(CHIEF.values())


def test_every_figure_and_table_has_an_experiment() -> None:
    shown = " ".join(e.shows for e in OURS.values())
    wanted = ("Fig. 1", "Fig. 2", "Theorem 1", "Sec. 4.5", *(f"Table {number}" for number in range(1, 7)))
    assert all(place in shown for place in wanted)
    assert all(len(e.says) > 200 for e in OURS.values())


@pytest.mark.parametrize("scale", SCALES)
def test_every_experiment_has_jobs(scale: str) -> None:
    for e in OURS.values():
        jobs = list(e.jobs(SCALES[scale]))
        assert bool(jobs) == (e.name != "a2snn-table-5-svhn" or scale != "small"), e.name
        known = {job.key for job in jobs}
        assert len(known) == len(jobs) or e.name == "a2snn-costs", f"{e.name} asks for a job twice"


def test_networks_are_shared() -> None:
    """Tables 1 to 3 and the costs have the same networks; Figure 1, Table 5 and the criteria add none of m0 to m5."""
    trained = {
        name: {j.key for j in with_needs(e.jobs(SCALES["small"])) if isinstance(j, Train)} for name, e in OURS.items()
    }
    first = trained["a2snn-table-1"]
    assert all(trained[f"a2snn-{name}"] == first for name in ("table-2", "table-3", "costs"))
    ablation = trained["a2snn-table-5-cifar10"]
    assert trained["a2snn-figure-1"] == ablation
    assert len(trained["a2snn-table-4"] & first) == len(first) == 18, "those of Table 1"
    assert trained["a2snn-theorem-1"] < trained["a2snn-table-5-fashion-mnist"]


def test_the_papers_settings_where_the_paper_is_run() -> None:
    m5 = options(networks.ours("m5", "cifar10")(setting("paper", "cifar10"), 4))
    assert (m5.max_entropy, m5.alignment, m5.lr, m5.epochs, m5.batch_size, m5.seed) == (0.1, 1.0, 1e-2, 200, 128, 4)
    assert (m5.covariance, m5.unit_classes, m5.bottleneck, m5.augmentation) == ("full", True, 32, "crop-flip")
    grey = options(networks.ours("m2", "fashion-mnist")(setting("paper", "fashion-mnist"), 0))
    assert (grey.alignment, grey.max_entropy, grey.lr, grey.epochs, grey.covariance) == (
        0.5,
        0.0,
        1e-3,
        100,
        "diagonal",
    )


def test_a_small_scale_keeps_the_lambdas_of_the_papers_data() -> None:
    """CIFAR-10's files under another name have its lambdas and augmentation; the scale's rate is not Adam's."""
    small = setting("small", "cifar10")
    m5 = options(networks.ours("m5", "cifar10")(small, 0))
    assert small.dataset != "cifar10" and (m5.max_entropy, m5.alignment, m5.augmentation) == (0.1, 1.0, "crop-flip")
    grey = setting("small", "fashion-mnist")
    assert options(networks.ours("m5", "fashion-mnist")(grey, 0)).lr == grey.lr
    code = options(networks.as_code("fashion-mnist")(grey, 0))
    assert (code.optimizer, code.lr, code.authors_code, code.unit_classes) == ("adam", 1e-3, "4f752b8", False)
    assert options(networks.as_code("cifar10")(setting("paper", "cifar10"), 0)).model == "resnet18-authors"


def test_a_defence_has_the_attack_of_the_papers_data_and_the_rates_of_its_network() -> None:
    large = networks.defence("adv-bnn", "cifar10")(setting("paper", "cifar10"), 0).document()["train"]["defence"]
    small = networks.defence("adv-bnn", "cifar10")(setting("small", "cifar10"), 0).document()["train"]["defence"]
    attack = {"eps": 0.031, "steps": 10, "step_size": 0.007, "augmentation": "crop-flip"}
    assert attack.items() <= large.items() and attack.items() <= small.items()
    assert (large["lr"], large["start"], large["model"]) == (0.01, 0.1, "resnet18")
    assert (small["lr"], small["start"], small["model"]) == (1e-3, 0.02, "lenet5")
    kept = networks.defence("mart", "cifar10")(setting("small", "cifar10"), 3)
    assert kept.seed == 3 and kept.limit == setting("small", "cifar10").limit
    assert kept.document()["train"]["defence"]["epochs"] == setting("small", "cifar10").epochs


def test_noise_trained_by_itself_starts_from_m0() -> None:
    small = setting("small", "cifar10")
    train = networks.independent("cifar10")(small, 2)
    assert train.start is not None and train.start.key == networks.ours("m0", "cifar10")(small, 2).key
    assert options(train).noise_only and options(train).alignment == 1.0


def test_the_attacks_of_table_1() -> None:
    """The paper's attacks have 50 draws and ten steps of eps/10 from the image; the judge has every kind."""
    columns = {c.name: c.attack for c in table_1.columns(SCALES["small"])}
    pgd = columns["PGD"].general
    assert (pgd.steps, pgd.random_start, pgd.source.draws) == (10, False, 50)
    assert pgd.step_size == pytest.approx(networks.EPS / 10) and pgd.ball.eps == networks.EPS
    assert columns["authors' PGD"].general.random_start and columns["FGSM"].source.draws == 50
    assert columns["authors' FGSM"].source.objective == "float32-cross-entropy"
    assert columns["judge"].steps == SCALES["small"].steps


def test_the_papers_figures() -> None:
    """One network has one figure in all tables; Table 5 has 54 figures, and Fashion-MNIST's at both strengths."""

    def theirs(name: str) -> Mapping[tuple[str, str], float]:
        grid = OURS[name]
        assert isinstance(grid, Grid)
        assert {row for row, _ in grid.theirs} <= set(grid.rows)
        assert {column for _, column in grid.theirs} <= {c.name for c in grid.columns(SCALES["small"])}
        return grid.theirs

    assert sum(len(models) * 3 for models in PRINTED.values()) == 54
    assert theirs("a2snn-table-5-cifar10")["m5", "PGD"] == 72.0 == theirs("a2snn-table-6")["m5", "PGD"]
    assert theirs("a2snn-table-1")["l2p", "FGSM"] == 62.43 and theirs("a2snn-table-3")["pni", "3 pixels"] == 35.4
    assert theirs("a2snn-table-2")["pni", "kappa 5"] == 0.08 and theirs("a2snn-table-4")["mi", "PGD"] == 64.5
    grey = theirs("a2snn-table-5-fashion-mnist")
    assert grey["m5", f"PGD {table_5.OTHER:g}"] == grey["m5", "PGD"] == 43.9
    assert len(theirs("a2snn-table-1")) == 12 and len(theirs("a2snn-table-4")) == 26


def test_dear_attacks_meet_few_images() -> None:
    jobs = [job for job in OURS["a2snn-table-3"].jobs(SCALES["paper"]) if isinstance(job, Attack)]
    assert {job.images for job in jobs} == {50}
    few = replace(SCALES["quick"], settings={(A2SNN, "cifar10"): replace(DIGITS, images=7)})
    assert {job.images for job in OURS["a2snn-table-3"].jobs(few) if isinstance(job, Attack)} == {7}


@pytest.mark.slow
def test_all_experiments_run(tmp_path: Path) -> None:
    scale, place = smallest(), Place(tmp_path)
    odd = [e for e in run_all([job for e in OURS.values() for job in e.jobs(scale)], tmp_path) if e.state != "done"]
    assert not odd, f"{odd[0].job.key}: {odd[0].why}"
    known = {claim.id: claim for claim in CLAIMS}
    found = sections(list(OURS.values()), known, scale, place.records)
    for section in found:
        for panel in section.panels.values():
            assert panel.note and (panel.cells or "FGSM takes" in panel.title), panel.title  # of three, none perhaps
            assert all(np.isfinite(cell.values).all() for cell in panel.cells.values()), panel.title
        main = next(iter(section.panels.values()))
        missing = {(r, c) for r in main.rows for c in main.columns} - main.cells.keys()
        missing -= {("random directions", "ratio of sds")}
        assert not missing, f"{section.experiment.name}: {main.title} lacks {sorted(missing)[:3]}"
    ruled = {claim.id: ruling for section in found for claim, ruling in section.rulings}
    # of three images FGSM may take none that are right in every draw, of which criterion 4 counts
    assert {id for id, r in ruled.items() if r.figure == "not measured"} <= {"a2snn-random-finds-nothing"}
    plots = next(s.plots for s in found if s.experiment.name == "a2snn-figure-2")
    assert len(plots) == 4 and all("<svg" in svg(caption, draw) for caption, draw in plots.items())
