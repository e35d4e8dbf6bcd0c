"""What pictures of runs show, as numbers; how they are drawn is in tests/pages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeing_records import line, recorded

from npsnn import seeing
from npsnn.certify.certificates import Certificate, Certificates
from npsnn.files import json_files
from npsnn.files.npz import write_npz
from npsnn.pages.pictures import Line
from npsnn.runs.checkpoint import CONFIG, METRICS

EPOCHS = [
    {"epoch": e, "loss": 1 / e, "training_accuracy": 0.5, "validation_accuracy": 0.6, "noisy_validation_accuracy": 0.4}
    for e in (1, 2, 3)
]
CERTIFICATES = Certificates(tuple(Certificate(i, 1, 1, r, 0.9, 1, 0.1) for i, r in enumerate((0.5, 0.2))))


def run(runs: Path, name: str, epochs: Any = EPOCHS) -> Path:
    json_files.write_json(runs / name / CONFIG, {"train": {"epochs": 3}})
    json_files.write_lines(runs / name / METRICS, epochs)
    return runs / name


def of_norm(norm: str, attack: str, eps: float | None, accuracy: float, gradient: str = "sampled") -> dict[str, Any]:
    made = line(attack, eps, accuracy)
    return made | {"result": made["result"] | {"norm": norm, "gradient": gradient}}


def with_figures(folder: Path, name: str, **figures: np.ndarray) -> None:
    (folder / "attacks").mkdir(exist_ok=True)
    with (folder / "attacks" / name).open("wb") as file:
        write_npz(file, **figures)


def lines_of(*args: Any, **kwargs: Any) -> list[list[Line]]:
    return [list(panel.lines) for panel in seeing.picture(*args, **kwargs).panels]


def test_attacks_are_drawn_by_norm_from_the_clean_accuracy_on(tmp_path: Path) -> None:
    folder = run(tmp_path, "a")
    recorded(folder, line("fgsm", 0.2, 0.3), line("fgsm", 0.1, 0.5), of_norm("l2", "pgd", 1.0, 0.4))
    picture = seeing.picture([folder], "attacks")
    (fgsm,), (pgd,) = (panel.lines for panel in picture.panels)
    assert fgsm.label == "fgsm" and fgsm.x.tolist() == [0, 0.1, 0.2] and fgsm.y.tolist() == [0.9, 0.5, 0.3]
    assert fgsm.low is not None and fgsm.low == pytest.approx([0.8, 0.4, 0.2])
    assert pgd.x.tolist() == [0, 1.0] and [p.xlabel.split()[-1] for p in picture.panels] == ["(Linf)", "(L2)"]
    assert picture.heading == "a; 50 test images, 10 draws, 95 % intervals"


def test_the_nearest_images_give_a_curve_over_every_eps(tmp_path: Path) -> None:
    folder = recorded(run(tmp_path, "a"), of_norm("l2", "fmn", None, 0.5, "closed-form") | {"examples": 2})
    figures = {"size": np.array([0.5, 0.25]), "clean": np.ones(2), "right": np.zeros(2)}
    with_figures(folder, "fmn-None.npz", **figures)
    ((curve,),) = lines_of([folder], "attacks")
    assert curve.steps and curve.label == "fmn, every eps"
    assert curve.x.tolist() == [0, 0.25, 0.5] and curve.y.tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("size", [[0.5], [0.5, float("nan")], None])
def test_a_curve_without_its_images_is_left_out_with_a_warning(tmp_path: Path, size: Any) -> None:
    folder = recorded(run(tmp_path, "a"), of_norm("l2", "fmn", None, 0.5) | {"examples": 2}, line("pgd", 0.1, 0.3))
    if size is not None:
        with_figures(folder, "fmn-None.npz", size=np.array(size), clean=np.ones(2), right=np.zeros(2))
    with pytest.warns(UserWarning, match=r"fmn-None\.npz is missing or damaged: the curve of fmn is left out"):
        ((pgd,),) = lines_of([folder], "attacks")
    assert pgd.label == "pgd"


def test_several_runs_are_named_in_their_lines(tmp_path: Path) -> None:
    for name in "ab":
        recorded(run(tmp_path, name), line("fgsm", 0.1, 0.5))
    assert [own.label for own in lines_of(["a", "b"], "attacks", runs_dir=tmp_path)[0]] == ["a: fgsm", "b: fgsm"]


def test_results_of_several_runs_are_told_apart_by_what_is_not_of_the_run(tmp_path: Path) -> None:
    recorded(run(tmp_path, "a"), line("fgsm", 0.1, 0.5))
    recorded(run(tmp_path, "b"), line("fgsm", 0.1, 0.5, inference_sigma=0.2, epoch=9, draws=50))
    labels = [own.label for own in lines_of(["a", "b"], "attacks", runs_dir=tmp_path)[0]]
    assert labels == ["a: fgsm (draws 10)", "b: fgsm (draws 50)"]


def test_results_of_a_network_before_are_a_line_of_their_own(tmp_path: Path) -> None:
    folder = recorded(run(tmp_path, "a"), line("fgsm", 0.1, 0.5, epoch=1), line("fgsm", 0.2, 0.6, epoch=3))
    found = {own.label: own.x.tolist() for own in lines_of([folder], "attacks")[0]}
    assert found == {"fgsm (epoch 1)": [0, 0.1], "fgsm (epoch 3)": [0, 0.2]}


def test_closed_form_has_the_attacks_that_were_made_both_ways(tmp_path: Path) -> None:
    lines = [line("fgsm", 0.1, 0.5), of_norm("linf", "adaptive-fgsm", 0.1, 0.4, "closed-form"), line("pgd", 0.1, 0.3)]
    folder = recorded(run(tmp_path, "a"), *lines)
    ((sampled, closed),) = lines_of([folder], "closed-form")
    assert (sampled.label, closed.label) == ("fgsm", "adaptive-fgsm")
    assert closed.dashed and not sampled.dashed
    with pytest.raises(ValueError, match="no attack is recorded on draws and on the closed form"):
        seeing.picture([recorded(run(tmp_path, "b"), line("pgd", 0.1, 0.3))], "closed-form")


def test_certificates_lie_below_attacks_in_l2(tmp_path: Path) -> None:
    folder = recorded(run(tmp_path, "a"), of_norm("l2", "pgd", 1.0, 0.4), line("pgd", 0.1, 0.3))
    ((draws, votes, pgd),) = lines_of([folder], None, CERTIFICATES)
    assert votes.x.tolist() == [0, 0.2, 0.5] and votes.y.tolist() == [1, 0.5, 0] and pgd.label == "pgd"
    assert draws.filled and not votes.filled and "no attack leaves less" in draws.label
    assert draws.x[-1] == 1 and draws.y[-1] == 0  # nothing is claimed of larger radii
    for x, y, end in zip(draws.x, draws.y, draws.x[1:], strict=False):
        assert y == pytest.approx(CERTIFICATES.in_draws(end).mean) and y <= CERTIFICATES.in_draws(x).mean


def test_certificates_of_no_finite_radius_are_drawn(tmp_path: Path) -> None:
    folder = recorded(run(tmp_path, "a"), of_norm("l2", "pgd", 1.0, 0.4))
    endless = Certificates((Certificate(0, 1, 1, float("inf"), 0.9, 1, 0.1),))
    draws, votes, _ = lines_of([folder], None, endless)[0]
    assert np.isfinite(draws.x).all() and draws.y[-2] == pytest.approx(0.9)
    assert votes.x.tolist() == [0] and votes.y.tolist() == [1]


def test_training_has_loss_accuracies_and_a_sigma_that_moves(tmp_path: Path) -> None:
    folder = run(tmp_path, "a", [e | {"sigma": 0.6} for e in EPOCHS])
    loss, accuracies = lines_of([folder])
    assert loss[0].y.tolist() == [1, 0.5, 1 / 3] and [a.y[0] for a in accuracies] == [0.5, 0.6, 0.4]
    learned = [e | {"sigma": {"x": 0.1 * e["epoch"], "y": 0.3}} for e in EPOCHS]
    *_, sigmas = lines_of([run(tmp_path, "b", learned)])
    assert [s.label for s in sigmas] == ["x"] and sigmas[0].y == pytest.approx([0.1, 0.2, 0.3])
    gone = run(tmp_path, "c", [EPOCHS[0], EPOCHS[1] | {"loss": float("nan")}])
    assert lines_of([gone])[0][0].x.tolist() == [1]


def test_a_torn_line_is_warned_of_once(tmp_path: Path) -> None:
    folder = recorded(run(tmp_path, "a"), line("pgd", 0.1, 0.3))
    with (folder / "attacks.jsonl").open("a") as file:
        file.write('{"torn')
    with pytest.warns(UserWarning, match="is no JSON object") as warned:
        seeing.picture([folder])
    assert len(warned) == 1


def test_by_default_attacks_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    assert seeing.picture([run(tmp_path, "a")]).name.startswith("training")
    assert seeing.picture([recorded(run(tmp_path, "b"), line("pgd", 0.1, 0.3))]).name.startswith("attacks")


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ([], {}, "runs must name one at least, got none"),
        (["a"], {"what": "attack"}, "what must be attacks, closed-form, training or certified, got 'attack'"),
        (["a"], {"what": "attacks"}, "attacks are not recorded: run npsnn attack for a"),
        (["a"], {"what": "certified"}, "the picture certified needs a certificate"),
        (["a"], {"what": "training", "certificate": CERTIFICATES}, "a certificate is for the picture certified alone"),
        (["a", "a"], {}, "runs must differ"),
        (["new"], {}, "no epoch is recorded for new"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, names: list[str], options: Any, said: str) -> None:
    run(tmp_path, "a")
    run(tmp_path, "new", [])
    with pytest.raises(ValueError, match=said):
        seeing.picture(names, runs_dir=tmp_path, **options)
