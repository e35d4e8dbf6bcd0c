"""Every block of commands and of Python in the documents runs, in order, in an empty folder."""

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ablation
import pytest
from calling import Npsnn
from documents import FILE, Block, blocks, commands, on_data_at_hand, smaller
from entering import kept_out
from threadpoolctl import threadpool_info, threadpool_limits

from npsnn.data import digits

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in ("audit.md", "reproduction.md")),
]
"""The documents; the two that are left out are made by commands, which have tests of their own."""
FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "cifar-10-batches-py"}
TESTED_BY = {
    "scripts/check": "scripts/check",  # which runs this test
    "scripts/gpu-check": "tests/scripts/test_gpu_check.py",
    "scripts/run bench": "tests/scripts/test_bench.py",
    "scripts/run bench-scaling": "tests/scripts/test_bench_report.py",
    "scripts/run coverage": "tests/scripts/test_interval_coverage.py",
    "scripts/run hosts": "tests/scripts/test_hosts.py",
    "scripts/run defences": "tests/scripts/test_defences.py",
    "scripts/run scaling-model": "tests/scripts/test_scaling_model.py",
    "scripts/run hosts-dask": "scripts/hosts_dask.py",  # needs root and Dask
    "scripts/run compare-art": "scripts/compare_art.py",  # needs libraries that npsnn does not
    "scripts/run compare-autoattack": "tests/scripts/test_compare_autoattack.py",
}
"""Scripts that no test of a document runs, and what does."""
INSTALLING = ("pip", "git", ".")
EXTRAS = ("torch", "art", "foolbox", "onnx", "onnxruntime", "safetensors")
"""Libraries that a block of Python may import, or a module of `npsnn.interop` of that name, and a test does without."""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """An empty folder to work in, a data folder with few digits, and the data sets that it links to."""
    real, there = os.environ.get("NPSNN_DATA"), {"digits"}
    folder = tmp_path / "data"
    folder.mkdir()
    for name, where in FOLDERS.items():
        if real and (Path(real) / where).is_dir():
            (folder / where).symlink_to(Path(real) / where)
            there.add(name)
    monkeypatch.setenv("NPSNN_DATA", str(folder))
    monkeypatch.setattr(digits, "SIZES", {"train": 130, "test": 40})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return there


def run_ablation(npsnn: Npsnn) -> None:
    """Every recipe and every attack of the script, one step of one draw each."""
    few = {name: plan | {k: 1 for k in ("steps", "eot") if k in plan} for name, plan in ablation.ATTACKS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "ATTACKS", few)
        ablation.main(["--dataset", "digits", "--epochs", "1", "--limit", "2"], standalone_mode=False)


def run_demo(npsnn: Npsnn) -> None:
    text = (ROOT / "scripts" / "demo").read_text().replace('"$run"', "demo")
    for words in commands(text):
        if words[0] == "npsnn":
            run_npsnn(words, npsnn)


SCRIPTS: dict[str, Callable[[Npsnn], None]] = {"scripts/run ablation": run_ablation, "scripts/demo": run_demo}


def run_npsnn(words: list[str], npsnn: Npsnn) -> None:
    outcome = npsnn(*smaller(words))
    # a network that has learned nothing fails the checklist, or leaves it undecided
    allowed = {0, 3, 4} if words[1] == "checklist" else {0}
    assert outcome.code in allowed, (smaller(words), outcome.err)


def called(words: list[str]) -> str:
    """The command's name; a program's with the starter of programs."""
    return " ".join(words[:2]) if words[0] == "scripts/run" else words[0]


def run_shell(block: Block, npsnn: Npsnn) -> None:
    for words in commands(block.changed()):
        name = called(words)
        if name == "mpiexec":  # one process comes to the same
            words, name = words[words.index("npsnn") :], "npsnn"
        if name == "npsnn":
            run_npsnn(words, npsnn)
        elif name in SCRIPTS:
            SCRIPTS[name](npsnn)
        else:
            assert name in INSTALLING or name in TESTED_BY, f"nothing runs {' '.join(words)}"


def run_python(block: Block, names: dict[str, Any]) -> None:
    exec(compile(block.changed(), f"{block.document}:{block.line}", "exec"), names)


def extras(path: Path) -> list[str]:
    """The libraries that blocks of a document need beside npsnn's own."""
    text = "\n".join(block.text for block in blocks(path) if block.kind == "python")
    imported = set(re.findall(r"^\s*(?:import|from) (?:npsnn\.interop\.)?(\w+)", text, re.MULTILINE))
    for modules in re.findall(r"^\s*from npsnn\.interop import (.+)$", text, re.MULTILINE):
        imported |= set(modules.split(", "))
    return [extra for extra in EXTRAS if extra in imported]


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_runs(
    path: Path, workplace: set[str], npsnn: Npsnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for extra in extras(path):
        pytest.importorskip(extra)
    names: dict[str, Any] = {}
    before = {info["filepath"]: info["num_threads"] for info in threadpool_info()}
    monkeypatch.setattr(sys, "argv", ["program"])
    with kept_out():
        for block in blocks(path):
            tested = on_data_at_hand(block, workplace)
            if block.kind == "python":
                run_python(tested, names)
            elif block.kind.startswith(FILE):
                Path(block.kind.removeprefix(FILE)[:-1]).write_text(tested.changed())
            else:
                run_shell(tested, npsnn)
    # a block may hold BLAS to one thread for good
    for info in threadpool_info():
        threadpool_limits({info["prefix"]: before.get(info["filepath"], info["num_threads"])})


@pytest.mark.slow
def test_the_python_of_the_first_steps_runs_twice_and_prints_no_step(
    workplace: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = (block for block in blocks(ROOT / "docs" / "start.md") if block.kind == "python")
    for _ in range(2):
        run_python(on_data_at_hand(block, workplace), {})
        printed = capsys.readouterr().out.splitlines()
        assert [line.partition("(")[0].partition(" ")[0] for line in printed] == ["<Epoch", "adaptive-fgsm", "fgsm"]


def test_a_page_on_another_library_is_skipped_without_it() -> None:
    needed = {path.name: extras(path) for path in DOCUMENTS if extras(path)}
    assert needed == {"exchange.md": ["torch", "onnx", "onnxruntime", "safetensors"], "pytorch.md": ["torch"]}


def test_documents_are_read() -> None:
    kinds = [block.kind for path in DOCUMENTS for block in blocks(path)]
    assert kinds.count("python") >= 12 and kinds.count("shell") >= 22


def test_every_block_of_python_is_executed() -> None:
    """A fence that is indented, or called something else, would be passed over in silence."""
    for path in DOCUMENTS:
        fences = re.findall(r"^\s*```\s*(?:python|py\b).*$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == sum(block.kind == "python" for block in blocks(path)), path.name


def test_every_command_of_a_block_is_executed() -> None:
    """Nor does a test see a command that stands deeper than its block, as in a list."""
    deeper = re.compile(r"^ {5,}(?:npsnn|scripts/\w+) .*", re.MULTILINE)
    for path in DOCUMENTS:
        assert not deeper.search(path.read_text(encoding="utf-8")), path.name


def anchors(path: Path) -> set[str]:
    """What a link may name in a document: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        where, _, anchor = target.partition("#")
        if where.startswith("http"):
            continue
        file = path.parent / where if where else path
        assert file.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(path: Path) -> None:
    """Dotted names and files of the project, in backticks."""
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"`(npsnn(?:\.\w+)+)(?:\([^`]*\))?`", text):
        resolve(name)
    for file in re.findall(r"`((?:npsnn|cli|reference|scripts|tests|examples)/[\w./-]*)`", text):
        assert (ROOT / file).exists(), file


def resolve(name: str) -> Any:
    """The module, or the attribute of one, or of a class of one, that a dotted name names; raises AttributeError."""
    found, at = importlib.import_module("npsnn"), "npsnn"
    for piece in name.split(".")[1:]:
        at = f"{at}.{piece}"
        try:
            found = getattr(found, piece)
        except AttributeError:
            if not isinstance(found, ModuleType):
                raise
            found = importlib.import_module(at)
    return found


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    pages = {str(path.relative_to(ROOT)) for path in DOCUMENTS} - {"README.md"}
    assert pages <= linked, pages - linked


def test_every_script_that_is_shown_exists_and_is_run_by_something() -> None:
    for path in DOCUMENTS:
        for block in blocks(path):
            for words in commands(block.text):
                if words[0].startswith("scripts/"):
                    assert os.access(ROOT / words[0], os.X_OK), words
                    assert called(words) in SCRIPTS or (ROOT / TESTED_BY[called(words)]).exists(), words


def test_a_document_shows_what_is_read(tmp_path: Path) -> None:
    text = """Text.

    npsnn train --epochs 5 \\
        --eot 50  # more

    a table that it prints

<!-- tested with 5 -> 1; run -> RUN -->
```python
print(5, "run")
```

* a list
  goes on
"""
    (tmp_path / "a.md").write_text(text)
    shell, python = blocks(tmp_path / "a.md")
    assert (shell.kind, shell.line, commands(shell.text)) == (
        "shell",
        3,
        [["npsnn", "train", "--epochs", "5", "--eot", "50"]],
    )
    appended = ["--limit", "60", "--epochs", "1", "--threads", "1"]
    assert smaller(commands(shell.text)[0]) == ["train", "--eot", "2", *appended]
    assert (python.line, python.changed()) == (9, 'print(1, "RUN")')
    with pytest.raises(ValueError, match="but it has none"):
        Block("a.md", 1, "python", "print()", (("x", "y"),)).changed()


def test_replacements_are_a_tests_alone() -> None:
    """A comment that replaces a whole block would test something else."""
    for path in DOCUMENTS:
        for block in blocks(path):
            for old, new in block.changes:
                assert len(old) < 60 and len(new) < 80, (block.document, block.line)
                assert not re.search(r"\n", old)
