"""Lines of JSON that are whole whatever happens: a full disk, a crash before, and several processes at once."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from npsnn.files import journal


def test_a_line_is_added_to_whatever_is_there(tmp_path: Path) -> None:
    path = tmp_path / "attacks.jsonl"
    journal.append(path, {"a": 1})
    journal.append(path, {"b": [None, "ä\n"]})
    assert path.read_bytes() == b'{"a": 1}\n{"b": [null, "\\u00e4\\n"]}\n'
    assert journal.read(path) == [{"a": 1}, {"b": [None, "ä\n"]}]
    assert journal.read(tmp_path / "missing") == []


def test_a_torn_line_is_ended_and_skipped_by_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "attacks.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": ')
    journal.append(path, {"c": 3})
    assert path.read_bytes() == b'{"a": 1}\n{"b": \n{"c": 3}\n'
    with pytest.warns(UserWarning, match="attacks.jsonl, line 2, is no JSON object and is skipped"):
        assert journal.read(path) == [{"a": 1}, {"c": 3}]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_lines_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path, write = tmp_path / "attacks.jsonl", os.write
    journal.append(path, {"a": 1})
    calls = []

    def full(descriptor: int, content: bytes = b"") -> int:
        calls.append(call)
        if call == "write" and len(calls) == 1:
            return write(descriptor, content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match=r"attacks.jsonl \(No space left on device\)"):
            journal.append(path, {"b": 2})
    assert path.read_bytes() == b'{"a": 1}\n'
    journal.append(path, {"c": 3})
    assert journal.read(path) == [{"a": 1}, {"c": 3}]


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_a_file_at_its_limit_is_not_torn(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from npsnn.files import journal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "for i in range(10):\n"
        "    try: journal.append(Path(sys.argv[1]), {'i': i, 'text': 'x' * 900})\n"
        "    except OSError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "f"], check=True, capture_output=True, text=True)
    assert [record["i"] for record in journal.read(tmp_path / "f")] == [0, 1, 2, 3]
    assert done.stdout.count("f (File too large)") == 6


@pytest.mark.slow
def test_processes_do_not_interleave(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from npsnn.files import journal\n"
        "for i in range(50): journal.append(Path(sys.argv[1]), {'of': sys.argv[2], 'i': i, 'text': 'x' * 9000})\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "f", str(n)]) for n in range(3)]
    assert [other.wait() for other in others] == [0, 0, 0]
    found = [json.loads(line) for line in (tmp_path / "f").read_bytes().splitlines()]
    for n in range(3):
        assert [record["i"] for record in found if record["of"] == str(n)] == list(range(50))


def test_an_interrupt_comes_after_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = signal.signal(signal.SIGINT, signal.default_int_handler), os.write

    def interrupted(descriptor: int, content: bytes) -> int:
        signal.raise_signal(signal.SIGINT)
        return write(descriptor, content[:3])

    monkeypatch.setattr(os, "write", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            journal.append(tmp_path / "f", {"a": 1})
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "f").read_bytes() == b'{"a": 1}\n'


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match=f"cannot write {tmp_path / name}"):
            journal.append(tmp_path / name, {})


def test_many_torn_lines_are_one_warning(tmp_path: Path) -> None:
    path = tmp_path / "attacks.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b"[[a]]\n" * 1000 + b'{"a": 2}\n')
    with pytest.warns(UserWarning) as caught:
        assert journal.read(path) == [{"a": 1}, {"a": 2}]
    (one,) = caught
    assert str(one.message).startswith(f"{path}, line 2, is no JSON object") and "999 more" in str(one.message)
