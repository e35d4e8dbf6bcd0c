"""scripts/run fuzz: its mutants are seeded, it sees what goes wrong, and a small run of it finds nothing."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzz import mutant
from fuzz_exchange import PACKAGES
from fuzz_files import left_out, readers
from fuzz_mutations import BOMB, MUTATIONS, zero_bomb_of_zip

SCRIPTS = Path(__file__).parents[2] / "scripts"
MUTATIONS_EACH = 700
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of memory are Linux's here")


def python(*args: object) -> subprocess.CompletedProcess[str]:
    """Forks are made in a process of their own: the one of the tests may have threads."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_reader_can_be_surprised() -> None:
    done = python("fuzz.py", "--mutations", MUTATIONS_EACH, "--seed", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    lines, skipped = done.stdout.splitlines()[1:], [f"{kind:<22} skipped: pip install" for kind in left_out()]
    assert [line[:22].rstrip() for line in lines] == [*readers(), *left_out()]
    for line in lines[: len(readers())]:
        mutants, read, refused, failed, _ = (float(n) for n in line[22:].split())
        assert mutants == MUTATIONS_EACH == read + refused and failed == 0
    assert [line.partition(" 'npsnn")[0] for line in lines[len(readers()) :]] == skipped


def test_kinds_of_files_without_their_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_files.find_spec", lambda name: None)
    assert left_out() == {"own images": "images"} | PACKAGES


FAULTS = {
    "{}['x']": "KeyError",
    "bytearray(600 << 20)": "more than 512 MB",
    "exec('while True: pass')": "more than 1 seconds",
    "os.kill(os.getpid(), 11)": "its process ended or hung: SIGSEGV",
    "hidden()": "more than 512 MB",
    "int('x')": "names no file: ValueError",
    "json.loads(5)": "TypeError",
}


@pytest.mark.slow
def test_the_fuzzer_sees_what_goes_wrong() -> None:
    """Readers that do each of the faults for one mutant of three, between others that are sound."""
    program = f"""
import json, os
from pathlib import Path
import fuzz
from fuzz_files import Reader

fuzz.SECONDS = 1
def hidden():
    try:
        bytearray(600 << 20)
    except MemoryError as error:
        raise ValueError(str(folder) + "/x is damaged") from error
for fault in {list(FAULTS)!r}:
    calls = []
    def read(place):
        global folder
        folder = place
        calls.append(1)
        if len(calls) == 2:
            eval(fault)
    counts, wrong = fuzz.fuzz(Reader("x", "x", (b"abc" * 9,), read, {{}}), 0, range(7, 10))
    print(json.dumps([fault, dict(counts), wrong]))
"""
    done = python("-c", program)
    assert done.returncode == 0, done.stderr

    for line in done.stdout.splitlines():
        fault, counts, wrong = json.loads(line)
        assert counts["failed"] == 1 and counts["read"] == 2 and len(wrong) == 1, line
        assert wrong[0].startswith(f"x 8: {FAULTS[fault]}"), line


@pytest.mark.slow
def test_sound_files_must_be_read() -> None:
    program = """
import fuzz
from fuzz_files import Reader
def refuse(folder):
    raise ValueError(f"{folder / 'x'} is refused")
print(fuzz.fuzz(Reader("x", "x", (b"abc",), refuse, {}), 0, range(3)))
"""
    assert "['x 0: a sound file is refused']" in python("-c", program).stdout


@pytest.mark.slow
def test_mutants_are_seeded_and_every_mutation_changes_what_it_is_given() -> None:
    for reader in readers().values():
        for number in range(20):
            assert mutant(reader, 5, number) == mutant(reader, 5, number)
        content = reader.contents[0]
        assert len({mutant(reader, 0, number) for number in range(100)}) > 80
        for mutation in MUTATIONS:
            assert any(mutation(np.random.default_rng(i), content) != content for i in range(3)), mutation


@pytest.mark.slow
def test_the_bomb_is_one(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content := zero_bomb_of_zip())
    assert len(content) < 2 << 20

    with zipfile.ZipFile(tmp_path / "x.npz") as archive, archive.open(archive.infolist()[0]) as member:
        assert archive.infolist()[0].file_size == BOMB + 128
        while member.read(1 << 24):  # to its checksum
            pass
