"""`npsnn attack` with images of 8 bits."""

from pathlib import Path

import numpy as np
from calling import Npsnn


def test_the_command_line_keeps_the_rounded_images(npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path) -> None:
    where = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 10, "--eot", 1, "--draws", 2)
    ended = npsnn("attack", *where, "--pgd", "--eps", "8/255", "--on-grid", "--save", tmp_path / "images.npz")
    assert ended.code == 0 and "adversarial images have 8 bits" in ended.out
    with np.load(tmp_path / "images.npz") as saved:
        (name,) = set(saved.files) - {"labels"}
        levels = np.rint(255 * saved[name])
        np.testing.assert_array_equal(saved[name], levels.astype(np.float32) / 255)
    assert '"on_grid": true' in (runs / "small" / "attacks.jsonl").read_text().splitlines()[-1]
