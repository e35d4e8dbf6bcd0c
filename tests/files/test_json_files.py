"""JSON documents and lines: what is written comes back, and what is none is named."""

import json
from pathlib import Path

import pytest
from messages import one_line

from npsnn.files import json_files
from npsnn.files.json_files import read_lines


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    json_files.write_json(path, {"sigma": 0.1, "spec": [1, 2]})
    assert json_files.read_json(path) == {"sigma": 0.1, "spec": [1, 2]}
    for text, message in (("{", "is not JSON"), ("[1]", "must hold a JSON object, got list"), ("\x00", "is not JSON")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            json_files.read_json(path)
        one_line(caught, path)
    lines = [{"epoch": 1}, {"epoch": 2, "ratio": None}]
    json_files.write_lines(tmp_path / "metrics.jsonl", lines)
    assert [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()] == lines
    assert json_files.read_lines(tmp_path / "metrics.jsonl") == lines
    assert json_files.read_lines(tmp_path / "missing.jsonl") == []


@pytest.mark.parametrize("content", [b"garbage\n", b'{"epoch": 1}\n[1]\n', b"\xff\xfe\n", b"1\n"])
def test_damaged_lines_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    number = len(content.splitlines())
    with pytest.raises(ValueError, match=f"metrics.jsonl, line {number}, is no JSON object"):
        read_lines(tmp_path / "metrics.jsonl")
