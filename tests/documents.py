"""The commands and the Python that documents show, and how a test runs them on less.

A comment above a block, `<!-- tested with OLD -> NEW; OLD -> NEW -->`, says what a test replaces in it. All that is
replaced in every block stands here: sizes, and data sets that are not on this machine.
"""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

FILE = 'toml title="'
"""How the fence of a file begins that later commands of a document read; its name and a quotation mark follow."""
COMMANDS = ("npsnn ", "mpiexec ", "scripts/", "pip ", "git ", ". ")
APPENDED = {
    "train": {"--limit": "60", "--epochs": "1", "--threads": "1"},
    "evaluate": {"--limit": "30", "--draws": "2", "--threads": "1"},
    "attack": {"--limit": "2", "--draws": "2", "--selection": "3", "--threads": "1"},
    "certify": {"--limit": "2", "--samples": "20", "--threads": "1"},
    "checklist": {"--limit": "2", "--draws": "2", "--samples": "3", "--steps": "1", "--eot": "1", "--threads": "1"},
    "audit": {},
    "compare": {"--limit": "3", "--draws": "2", "--threads": "1"},
    "gallery": {"--draws": "2", "--threads": "1"},
    "report": {"--draws": "2", "--threads": "1"},
    "sweep": {"--jobs": "1", "--threads": "1"},
}
"""Options that every such command gets, in the place of what it has."""
CAPPED = {"--eot": 2, "--steps": 2, "--samples": 3, "--average": 2, "--images": 1, "--draws": 60, "--restarts": 2}
CAPPED |= {"--apgd-steps": 2, "--fab-steps": 2, "--targets": 2, "--fmn-steps": 2, "--cw-steps": 2, "--cw-searches": 2}
CAPPED |= {"--queries": 30, "--population": 5, "--generations": 1}
"""The most that an option may ask for where a command has it."""
ASKED = {
    **dict.fromkeys(("--pgd", "--bim", "--mi-fgsm", "--spsa"), ("--steps",)),
    "--apgd": ("--apgd-steps",),
    "--apgd-t": ("--apgd-steps", "--targets"),
    "--fab-t": ("--fab-steps", "--targets"),
    "--auto": ("--apgd-steps", "--fab-steps", "--targets", "--queries"),
    "--fmn": ("--fmn-steps",),
    "--cw": ("--cw-steps", "--cw-searches"),
    **dict.fromkeys(("--square", "--hop-skip-jump"), ("--queries",)),
    "--random": ("--samples",),
    "--one-pixel": ("--population", "--generations"),
}
"""The options that are given to a command with this attack, or its adaptive form: by default they ask for much."""
DATASET = re.compile(r"\b(fashion-mnist|mnist|cifar10|svhn)\b")


@dataclass(frozen=True)
class Block:
    """Code or a file in a document.

    kind: "python", "shell", or FILE and a name.
    line: number of its first line.
    changes: for a test alone.
    """

    document: str
    line: int
    kind: str
    text: str
    changes: tuple[tuple[str, str], ...] = ()

    def changed(self) -> str:
        """The text as it is tested; ValueError where there is nothing to replace."""
        text = self.text
        for old, new in self.changes:
            if old not in text:
                raise ValueError(f"{self.document}:{self.line} is tested with another {old!r}, but it has none")
            text = text.replace(old, new)
        return text


def blocks(path: Path) -> list[Block]:
    """The blocks of Python, of files and of commands, in order; indented blocks without a command are output."""
    found, lines, changes = [], path.read_text(encoding="utf-8").splitlines(), ()
    at = 0
    while at < len(lines):
        line, start = lines[at], at + 1
        if note := re.fullmatch(r"<!-- tested with (.*) -->", line):
            changes += tuple(tuple(part.split(" -> ")) for part in note[1].split("; "))  # type: ignore[assignment]
        elif line.startswith("```"):
            end = lines.index("```", at + 1)
            kind = line.removeprefix("```")
            if kind == "python" or kind.startswith(FILE):
                found.append(Block(path.name, start, kind, "\n".join(lines[at + 1 : end]), changes))
            changes, at = (), end
        elif line.startswith("    ") and line.strip():
            end = next((i for i in range(at, len(lines)) if lines[i].strip() and not lines[i].startswith("    ")), None)
            text = "\n".join(part[4:] for part in lines[at:end])
            if commands(text):
                found.append(Block(path.name, start, "shell", text, changes))
            changes, at = (), (len(lines) if end is None else end) - 1
        at += 1
    return found


def commands(text: str) -> list[list[str]]:
    """The words of each command in a block, without comments and without what the commands print."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith(COMMANDS)]


def smaller(words: list[str]) -> list[str]:
    """The words of an npsnn command with smaller settings, `npsnn` itself left out."""
    name, *rest = words[1:]
    appended = {} if "--resume" in words else APPENDED.get(name, {})  # a resumed run keeps its own options
    out, i = [name], 0
    while i < len(rest):
        word, value = rest[i], rest[i + 1] if i + 1 < len(rest) else ""
        if word in appended:
            i += 2
            continue
        out.append(word)
        if word in CAPPED and value.isdigit():
            out.append(str(min(int(value), CAPPED[word])))
            i += 1
        i += 1
    if name == "train" and "--show" in rest:
        return out
    if name == "audit" and len(words) == 2:
        return [*out, "N20", "A17"]  # all rows are examined by tests/audit
    if name in ("attack", "compare", "gallery") and "--resume" not in words:
        attacks = [word.replace("--adaptive-", "--", 1) for word in rest]
        asked = dict.fromkeys(option for attack in attacks for option in ASKED.get(attack, ()))
        out += [word for option in asked if option not in out for word in (option, str(CAPPED[option]))]
    return [*out, *(word for pair in appended.items() for word in pair)]


def on_data_at_hand(block: Block, there: set[str]) -> Block:
    """The block on the built-in digits where it asks for a data set that is not on this machine."""
    text = DATASET.sub(lambda found: found[0] if found[0] in there else "digits", block.text)
    changes = tuple(
        (DATASET.sub(lambda f: f[0] if f[0] in there else "digits", old), new) for old, new in block.changes
    )
    return replace(block, text=text, changes=changes)
