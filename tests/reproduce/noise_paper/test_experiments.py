"""The noise paper's experiments as a whole: they run, share what they have in common, and decide every claim once."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_reproduction import run_all, tiny

from npsnn.jobs.schedule import with_needs
from npsnn.reproduce.claims import MISSING, OPEN
from npsnn.reproduce.jobs import Attack, Train
from npsnn.reproduce.noise_paper import learned_sigma, networks, robustness
from npsnn.reproduce.noise_paper.claims import CHIEF, CLAIMS
from npsnn.reproduce.perform import Place
from npsnn.reproduce.plots import svg
from npsnn.reproduce.scales import NOISE_PAPER, SCALES
from npsnn.reproduce.sections import sections
from npsnn.reproduce.whole import experiments
from npsnn.train.config import Config

OURS = [e for e in experiments() if e.paper == NOISE_PAPER]


def test_each_claim_is_decided_by_one_experiment() -> None:
    decided = Counter(id for e in OURS for id in e.decides)
    assert decided == Counter(claim.id for claim in CLAIMS)
    assert all(claim.paper == NOISE_PAPER for claim in CLAIMS)
    assert sorted(claim.chief for claim in CLAIMS if claim.chief) == sorted(CHIEF.values())


def test_every_figure_and_table_has_an_experiment() -> None:
    shown = " ".join(e.shows for e in OURS)
    assert all(place in shown for place in ("Fig. 1", "Fig. 3", "Fig. 4", "Fig. 5", "Fig. 6", "Fig. 7", "Table 1"))
    assert all((len(e.says) > 200 and "sceptic" in e.says) or e.name == "noise-best-clean" for e in OURS)


@pytest.mark.parametrize("name", SCALES)
def test_every_experiment_has_jobs_at_every_scale(name: str) -> None:
    for e in OURS:
        jobs = list(e.jobs(SCALES[name]))
        assert jobs, e.name
        if name != "quick":  # where one data set stands for all
            assert len({job.key for job in jobs}) == len(jobs), e.name


def test_networks_are_shared() -> None:
    """One key, one training: Fig. 5's networks aside, an experiment adds few to those of Fig. 4."""
    small = SCALES["small"]
    by_name = {e.name: {j.key for j in with_needs(e.jobs(small)) if isinstance(j, Train)} for e in OURS}
    assert by_name["noise-figure-3"] <= by_name["noise-figure-4"]
    assert by_name["noise-closed-form"] == by_name["noise-figure-3"]
    assert by_name["noise-cost"] <= by_name["noise-figure-4"] | by_name["noise-figure-5"]
    clean = len(by_name["noise-figure-6"] - by_name["noise-figure-4"])
    assert clean == 2 * networks.SEEDS, "two radii of adversarial training"
    attacks = {j.key for e in OURS if e.name in ("noise-figure-4", "noise-figure-6") for j in e.jobs(small)}
    alone = [{j.key for j in e.jobs(small)} for e in OURS if e.name in ("noise-figure-4", "noise-figure-6")]
    assert len(attacks) < sum(map(len, alone)), "the attacks on the levels of noise are those of Fig. 4"


def test_the_attacks_of_figure_4() -> None:
    """PGD and the strong judges, on the network with its noise off; adversarial training at a radius of theirs."""
    grid = robustness.grid(4, "mnist", "MNIST", "mnist")
    job = next(job for job in grid.jobs(SCALES["small"]) if isinstance(job, Attack))
    assert job.judging.sigma == 0
    names = [name for name, _ in job.attacks]
    assert names[-1] == "Auto 0.1" and len(names) == 3 * 4 + 1
    assert all(attack.ball.norm == "linf" and f" {attack.ball.eps:.3g}" in name for name, attack in job.attacks)
    trained = robustness.rows("mnist")[robustness.TRAINED](SCALES["small"].on(NOISE_PAPER, "mnist"), 0).of  # type: ignore[arg-type]
    assert isinstance(trained, Config) and (trained.adversarial, trained.adversarial_eps) == ("pgd", 0.1)


def test_the_networks_of_figure_7_keep_their_noise() -> None:
    """Each by its row: what training has not seen is kept as well, and the unprotected network keeps none."""
    (figure,) = (e for e in OURS if e.name == "noise-figure-7")
    jobs = [job for job in figure.jobs(SCALES["small"]) if isinstance(job, Attack) and _options(job).seed == 0]
    kept = sorted((job.network.name, job.judging.sigma) for job in jobs)
    assert kept == sorted(
        [("noise-unseen", sigma) for sigma in (0, 0.6, 0.8)]
        + [
            (name, float(name.split("-")[1]))
            for s in ("0.6", "0.8")
            for name in (f"sampled-{s}", f"sampled-{s}-l1", f"sigma-{s}")
        ]
    )
    unseen = next(_options(job) for job in jobs if job.network.name == "noise-unseen")
    assert not unseen.noise_enters and unseen.sigma > 0, "a place for noise, and none in the loss"


def _options(job: Attack) -> Config:
    assert isinstance(job.network.of, Config)
    return job.network.of


def test_a_row_takes_the_settings_and_its_own_options() -> None:
    setting = SCALES["small"].on(NOISE_PAPER, "mnist")
    assert setting is not None
    train = networks.longer(3, networks.learned(1.9, "l1", 0.25))(replace(setting, lr=0.5), 7)
    options = train.of
    assert isinstance(options, Config)
    assert (options.epochs, options.lr, options.seed) == (3 * setting.epochs, 0.5, 7)
    assert (options.sigma, options.learn_sigma, options.sigma_reward) == (1.9, True, 0.25)
    assert options.first_layer_norm == "l1" and train.name.endswith("3x")


def test_unit_filters_need_no_noise() -> None:
    """The control of the norm alone: the norm is held, and nothing is drawn or carried."""
    setting = SCALES["small"].on(NOISE_PAPER, "mnist")
    assert setting is not None
    options = networks.without_noise("l1")(setting, 0).of
    assert isinstance(options, Config)
    assert (options.first_layer_norm, options.sigma, options.loss, options.noise_enters) == ("l1", 0.0, "mse", False)


def test_what_a_training_says_of_its_sigma() -> None:
    epochs = [
        {"sigma": s, "sigma_gradient": 0.1 * s, "first_layer_ratio": None} for s in (1.5, 1.2, 1.0, 0.9, 0.8, 0.5)
    ]
    found = learned_sigma.figures(epochs, 1.9)
    assert found[learned_sigma.END] == 0.5 and found[learned_sigma.SLOPE] == pytest.approx(0.05)
    assert found[learned_sigma.MOVED] == pytest.approx((0.5 - 0.9) / 0.5), "the last two epochs of six"
    assert learned_sigma.RATIO not in found
    np.testing.assert_array_equal(learned_sigma.trajectory(epochs, 1.9), [1.9, 1.5, 1.2, 1.0, 0.9, 0.8, 0.5])
    assert learned_sigma.figures(epochs[:1], 1.9)[learned_sigma.MOVED] == pytest.approx((1.5 - 1.9) / 1.5)


@pytest.mark.slow
@pytest.mark.usefixtures("few_digits")
def test_all_experiments_run(tmp_path: Path) -> None:
    scale, place = tiny(), Place(tmp_path)
    jobs = [job for e in OURS for job in e.jobs(scale)]
    odd = [event for event in run_all(jobs, tmp_path) if event.state != "done"]
    assert not odd, odd[0]
    known = {claim.id: claim for claim in CLAIMS}
    for section in sections(OURS, known, scale, place.records):
        name = section.experiment.name
        assert section.panels and bool(section.rulings) == bool(section.experiment.decides), name
        for panel in section.panels.values():
            missing = {(r, c) for r in panel.rows for c in panel.columns} - panel.cells.keys()
            of_moved = panel.title.startswith("Median distance")  # such networks may misread all images as they are
            assert not missing or of_moved, f"{name}: {panel.title} lacks {sorted(missing)[:3]}"
            assert all(np.isfinite(cell.values).all() for cell in panel.cells.values()), name
            assert panel.note or name == "noise-closed-form", name
        left = {OPEN, MISSING} if name == "noise-figure-1" else {OPEN}
        assert all(ruling.verdict in left for _, ruling in section.rulings), name
    drawn = {s.experiment.name: s.plots for s in sections(OURS, known, scale, place.records)}
    for name in ("noise-figure-3", "noise-figure-4", "noise-figure-6", "noise-figure-7", "noise-table-1"):
        assert drawn[name], name
        for caption, draw in drawn[name].items():
            assert svg(caption, draw).startswith("<?xml"), caption
