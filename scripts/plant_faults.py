"""Plants each fault of planted_faults.toml in a copy of the project and runs the tests that must notice it."""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "runs", "build", "*.egg-info", "__pycache__", ".*_cache", "audit.html"
)
"""Names that a copy can do without."""


@dataclass(frozen=True)
class Fault:
    """A mistake in one place of the engine. name: what goes wrong; tests: pytest's names of those that must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, source: str) -> str:
        """The source with the fault in it; ValueError unless the old text is in it exactly once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file} must hold {self.old!r} once, found it {source.count(self.old)} times")
        return source.replace(self.old, self.new)


def faults() -> list[Fault]:
    """All that are known."""
    entries = tomllib.loads((ROOT / "scripts" / "planted_faults.toml").read_text(encoding="utf-8"))["fault"]
    return [Fault(**entry | {"tests": tuple(entry["tests"])}) for entry in entries]


def copied(folder: Path) -> Path:
    """The project in `folder`, with cli/ and reference/ where Python looks for npsnn.cli and npsnn.reference."""
    tree = folder / "npsnn"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT, symlinks=True)
    for package in ("cli", "reference"):
        (tree / "npsnn" / package).symlink_to(tree / package)
    return tree


def tested(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and last line of pytest in the copy; it stops at the first failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    named = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, (named or done.stdout.splitlines() or [done.stderr])[-1]


def planted(tree: Path, fault: Fault) -> tuple[bool, str]:
    """Whether the fault's tests fail while it is in the copy, and the first that does."""
    path = tree / fault.file
    source = path.read_text()
    path.write_text(fault.applied(source))
    try:
        code, line = tested(tree, fault.tests)
    finally:
        path.write_text(source)
    return code == 1, line


def main(wanted: list[str]) -> int:
    chosen = [f for f in faults() if not wanted or any(part in f.name for part in wanted)]
    if not chosen:
        print(f"no fault has a name with {' or '.join(wanted)}", file=sys.stderr)
        return 2
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        code, line = tested(tree, tuple(dict.fromkeys(test for fault in chosen for test in fault.tests)))
        if code:
            print(f"the tests fail without any fault: {line}", file=sys.stderr)
            return 1
        for fault in chosen:
            caught, line = planted(tree, fault)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {fault.name}  ({line})", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
