"""The API pages of the site: every public name of npsnn and of its rooms, from the docstrings as they are written.

A docstring of npsnn is one sentence, then paragraphs, then its arguments one a line as `name: what it is`.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, TypeVar

from draw_rooms import OUTSIDE, RANKS
from numpy.typing import ArrayLike, DTypeLike

INTERNAL = {"documents", "files", "foreign", "gpu", "inputs", "interrupts", "pages", "philox", "products", "runs"} | {
    "tables",
    "validate",
    "words",
    "workers",
}
"""Rooms that serve the other rooms, and have no page."""
ALSO = ("npsnn.train.losses", "npsnn.train.defences")
"""Packages inside of rooms that have a page of their own."""
FIELD = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)")
OPENING = re.compile(r"(Returns|Raises|Source|Yields)\b")
WIDE = 90
LONG = {inspect.formatannotation(alias): name for alias, name in ((DTypeLike, "DTypeLike"), (ArrayLike, "ArrayLike"))}
"""What Python makes of NumPy's names for unions, and the names."""


def rooms() -> list[str]:
    """The modules that have a page, npsnn itself first."""
    known = set().union(*RANKS) - INTERNAL - OUTSIDE.keys()
    return ["npsnn", *sorted([*(f"npsnn.{room}" for room in known), *ALSO])]


def public(module: ModuleType) -> dict[str, Any]:
    """The public names of a module with their full names, in order; without `__all__`, those of its modules too."""
    if hasattr(module, "__all__"):
        return {f"{module.__name__}.{name}": getattr(module, name) for name in sorted(module.__all__, key=str.lower)}
    found = {
        f"{module.__name__}.{name}": value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        if not isinstance(value, TypeVar)
    }
    for part in pkgutil.iter_modules(getattr(module, "__path__", ())):
        try:
            inside = importlib.import_module(f"{module.__name__}.{part.name}")
        except ModuleNotFoundError as error:
            if str(error.name).startswith("npsnn"):
                raise
            continue  # the module is about a library that is not here
        found |= public(inside)
    return found


def api_pages() -> tuple[dict[str, str], dict[str, str]]:
    """The Markdown of each page by its path, and the address of each public name."""
    contents = {name: public(importlib.import_module(name)) for name in rooms()}
    where: dict[str, str] = {}
    for module, names in contents.items():
        page = f"api/{module}.md"
        where[module] = page
        for name, value in names.items():
            where[name] = page if isinstance(value, ModuleType) else f"{page}#{name}"
            where.setdefault(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}", where[name])
    pages = {f"api/{module}.md": page_of(module, names) for module, names in contents.items()}
    lines = [f"| [`{name}`]({name}.md) | {first_sentence(importlib.import_module(name))} |" for name in contents]
    head = ["# API", "", "Every public name, from its docstring.", "", "| module | what it holds |", "|---|---|"]
    return pages | {"api/index.md": "\n".join([*head, *lines, ""])}, where


def page_of(module: str, names: dict[str, Any]) -> str:
    """The page of a module: what it is, a table of its names, and a section for each of them."""
    parts = [f"# {module}\n", described(importlib.import_module(module)), "| name | |\n|---|---|"]
    sections = []
    for name, value in names.items():
        short = name.removeprefix(f"{module}.")
        if isinstance(value, ModuleType):
            own = value.__name__
            target = f"{own}.md" if own in rooms() else ""
            parts.append(f"| {f'[`{short}`]({target})' if target else f'`{short}`'} | {first_sentence(value)} |")
            continue
        said = first_sentence(value) or inline(remarks(module).get(short, "").partition("\n\n")[0].replace("\n", " "))
        parts.append(f"| [`{short}`](#{name}) | {said.replace('|', '&#124;')} |")
        sections.append("\n\n".join(section(name, short, value)))
    return "\n".join(parts[:2]) + "\n" + "\n".join(parts[2:]) + "\n\n" + "\n\n".join(sections) + "\n"


def section(name: str, short: str, value: Any) -> Iterator[str]:
    """Heading, signature, docstring and members of one name."""
    yield f"## {short} {{ #{name} }}"
    if callable(value) and (shown := signature(value, short.rpartition(".")[2])):
        yield f"```python\n{shown}\n```"
    if documented(value):
        yield described(value)
    else:
        said = remarks(name.rpartition(".")[0]).get(name.rpartition(".")[2], "")
        yield f'<div class="doc">{html(said)}<p><code>{escape(plain(value))}</code></p></div>'
    if inspect.isclass(value) and (members := list(members_of(value))):
        yield '<dl class="members">\n' + "\n".join(members) + "\n</dl>"


@cache
def remarks(module: str) -> dict[str, str]:
    """The string below each assignment of a module and of the modules in it, by the name that is assigned."""
    file = Path(importlib.import_module(module).__file__ or "")
    found: dict[str, str] = {}
    for path in sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]:
        for one, after in pairwise(ast.parse(path.read_text(encoding="utf-8")).body):
            targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", None)]
            said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
            if isinstance(targets[0], ast.Name) and isinstance(said, str):
                found.setdefault(targets[0].id, inspect.cleandoc(said))
    return found


def documented(value: Any) -> bool:
    """Whether the docstring of the value is its own, and not that of its type."""
    return isinstance(value, ModuleType) or inspect.isclass(value) or inspect.isroutine(value)


def plain(value: Any) -> str:
    """A constant as a reader would write it, cut where it is long."""
    shown = re.sub(r" at 0x[0-9a-f]+", "", f"{type(value).__name__}: {value!r}")
    return shown if len(shown) <= 300 else f"{shown[:297]}..."


def members_of(cls: type) -> Iterator[str]:
    """The public methods and properties that the class itself defines, as HTML."""
    for name, member in vars(cls).items():
        inner = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        inner = getattr(inner, "fget", None) or getattr(inner, "func", inner)
        if name.startswith("_") or not inspect.isfunction(inner):
            continue
        called = isinstance(member, staticmethod | classmethod) or inspect.isfunction(member)
        shown = signature(inner, name, bound=not isinstance(member, staticmethod)) if called else name
        doc = html(inspect.getdoc(inner) or "")
        yield f"<dt><code>{escape(shown or name)}</code></dt>\n<dd>{doc}</dd>"


def signature(value: Any, name: str, bound: bool = False) -> str:
    """The call as it is written, one argument a line where it is long; "" where Python does not know it.

    Arguments that begin with an underscore are left out, and so are protocols, which nobody calls.
    """
    try:
        found = inspect.signature(value)
    except (ValueError, TypeError):
        return ""
    if getattr(value, "_is_protocol", False):
        return ""
    given = list(found.parameters.values())[bool(bound) :]
    parameters = [written(str(p)) for p in given if not p.name.startswith("_")]
    answer = "" if inspect.isclass(value) else found.return_annotation
    end = "" if answer in ("", found.empty) else f" -> {written(inspect.formatannotation(answer)).strip(chr(39))}"
    one = f"{name}({', '.join(parameters)}){end}"
    return one if len(one) <= WIDE else f"{name}(\n" + "".join(f"    {p},\n" for p in parameters) + f"){end}"


def written(text: str) -> str:
    """A parameter or a type as the source has it: without modules, with the short names of NumPy's types."""
    for long, short in LONG.items():
        text = text.replace(long, short)
    text = re.sub(r"\b(?:\w+\.)+(?=[A-Za-z_])", "", text)
    text = re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", text)
    text = re.sub(r"<(?:[^<>]|<[^<>]*>)*>|\bEllipsis\b", "...", text)
    text = re.sub(r"^(\w+): '([^']*)'", r"\1: \2", text)  # a type that is defined further down in its file
    text = re.sub(r"~(?=[A-Z])", "", text)
    return re.sub(r"\b0\.\d{12,}\b", lambda found: in_levels(float(found[0])), text)


def in_levels(value: float) -> str:
    """A pixel distance as npsnn's options are given: 8/255 for 0.03137254901960784."""
    levels = round(value * 255)
    return f"{levels}/255" if levels / 255 == value else repr(value)


def first_sentence(value: Any) -> str:
    """The first line of the docstring, as a cell of a table."""
    doc = inspect.getdoc(value) if documented(value) else ""
    line = (doc or "").partition("\n\n")[0].replace("\n", " ")
    if line.startswith(f"{getattr(value, '__name__', '')}("):  # a dataclass without a docstring gets one by Python
        return ""
    return inline(line).replace("|", "&#124;")


def described(value: Any) -> str:
    """The docstring as HTML; "" for none."""
    doc = inspect.getdoc(value) or ""
    if doc.startswith(f"{getattr(value, '__name__', '')}("):
        return ""
    return f'<div class="doc">{html(doc)}</div>\n' if doc else ""


def html(doc: str) -> str:
    """A docstring as HTML: paragraphs, lists of arguments, code that is indented."""
    return "".join(block(part.split("\n")) for part in re.split(r"\n\s*\n", doc.strip("\n")) if part.strip())


def block(lines: list[str]) -> str:
    """One paragraph of a docstring, whose lines may be arguments or a new sentence about results and errors."""
    if is_code(lines):
        return f"<pre><code>{escape(dedent(chr(10).join(lines)))}</code></pre>"
    out: list[tuple[str, str]] = []
    for line in lines:
        field = FIELD.fullmatch(line)
        if field and not OPENING.match(line):
            out.append(("li", f"<strong>{escape(field[1])}</strong>: {inline(field[2])}"))
        elif out and out[-1][0] == "li" and line.startswith("    "):
            out[-1] = ("li", f"{out[-1][1]} {inline(line.strip())}")
        elif out and out[-1][0] == "p" and not OPENING.match(line):
            out[-1] = ("p", f"{out[-1][1]} {inline(line.strip())}")
        else:
            out.append(("p", inline(line.strip())))
    joined = "".join(f"<{kind}>{text}</{kind}>" for kind, text in out)
    return re.sub(r"(?:<li>.*?</li>)+", lambda found: f"<ul>{found[0]}</ul>", joined, flags=re.DOTALL)


def is_code(lines: list[str]) -> bool:
    """Whether the paragraph is indented, or Python that calls something."""
    text = dedent("\n".join(lines))
    if lines[0].startswith("    "):
        return all(line.startswith("    ") for line in lines)
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return "(" in text and not any(FIELD.fullmatch(line) for line in lines)


def inline(text: str) -> str:
    """Text with its names in backticks as code, safe as HTML and in a table."""
    pieces = re.split(r"`([^`]+)`", text)
    return "".join(f"<code>{escape(p)}</code>" if i % 2 else escape(p) for i, p in enumerate(pieces))
