"""`npsnn attack` with images of 8 bits, and with other networks' gradients."""

import json
from pathlib import Path

import numpy as np
from calling import Npsnn

from npsnn.attacks.record import attack_in
from npsnn.classifier import Classifier
from npsnn.runs import provenance


def test_the_command_line_keeps_the_rounded_images(npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 10, "--eot", 1, "--draws", 2)
    ended = npsnn("attack", *where, "--pgd", "--eps", "8/255", "--on-grid", "--save", tmp_path / "images.npz")
    assert ended.code == 0 and "adversarial images have 8 bits" in ended.out
    with np.load(tmp_path / "images.npz") as saved:
        (name,) = set(saved.files) - {"labels"}
        levels = np.rint(255 * saved[name])
        np.testing.assert_array_equal(saved[name], levels.astype(np.float32) / 255)
    assert '"on_grid": true' in (runs / "small" / "attacks.jsonl").read_text().splitlines()[-1]


def test_transfer_from_another_run(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    """Another class of model, beside the attack itself; table, JSON and record name it and how accurate it is."""
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--eot", 1, "--draws", 2)
    others = ("--transfer-from", "other", "--transfer-from", "noise-off")
    ended = npsnn("attack", *where, "--fgsm", "--eps", 0.1, *others)
    assert ended.code == 0
    titles = [line.split()[0] for line in ended.out.splitlines() if "fgsm" in line]
    assert titles[:3] == ["fgsm", "noise-off-fgsm", "transfer-fgsm"]
    assert f"with the gradients of {runs / 'other'}, which reads" in ended.out
    line = [json.loads(line) for line in (runs / "small" / "attacks.jsonl").read_text().splitlines()][2]
    surrogate = line["result"]["surrogate"]
    other = Classifier.load(runs / "other")
    assert surrogate["run"] == str(runs / "other") == line["attack"]["source"]["network"]
    assert surrogate["parameters"] == provenance.of_network(other.params) == line["attack"]["source"]["parameters"]
    assert 0 <= surrogate["clean_accuracy"] <= 1 and line["plan"]["transfer_from"] == [str(runs / "other"), "noise-off"]
    assert attack_in(line).source.of(other).judged is other
    ended = npsnn("attack", *where, "--fgsm", "--transfer-from", "othr")
    assert "unknown run 'othr'" in ended.error_line(1)
    ended = npsnn("attack", "small", "--runs-dir", runs, "--random", "--transfer-from", "other")
    assert ended.code == 2 and "--transfer-from acts on" in ended.err


def test_the_share_of_wrong_signs_is_told_and_kept(npsnn: Npsnn, runs: Path, data_dir: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 20, "--draws", 2, "--eps", 0.1)
    ended = npsnn("attack", *where, "--eot", 2, "--fgsm", "--adaptive-fgsm", "--json")
    drawn, closed = json.loads(ended.out)["results"]
    assert 0 < drawn["wrong_signs"] < 0.6 and closed["wrong_signs"] is None
    line = json.loads((runs / "small" / "attacks.jsonl").read_text().splitlines()[0])
    assert line["result"]["wrong_signs"] == drawn["wrong_signs"]
    with np.load(runs / "small" / line["images"]) as kept:
        assert kept["wrong_signs"].mean() == drawn["wrong_signs"]
    assert ("few-draws" in [c["code"] for c in drawn["caveats"]]) is (drawn["wrong_signs"] > 1 / 3)
