"""Reading the pickles of CIFAR-10's Python version without running what a pickle asks for.

A pickle is a program that may call any function. The few instructions of a batch file are carried out here one by one,
on plain values. A call is only written down and never made, so that nothing is left for a hostile file to reach.
"""

import codecs
import pickletools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from npsnn.files import excerpt

ARRAY = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
BUFFER = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}
ENCODE = "_codecs.encode"
GLOBALS = ARRAY | BUFFER | {"numpy.ndarray", "numpy.dtype", ENCODE}
"""Names that a batch file may hold: the parts of a NumPy array, under NumPy's older and newer name for the module, by
protocol 5 a buffer, and how Python 3 writes bytes by protocols 0 to 2."""

LONGEST = 1 << 19
"""The instructions that are carried out: several times as many as the longest honest file has."""


class RefusedError(ValueError):
    """The pickle holds what no batch file does."""


@dataclass(slots=True)
class Call:
    """A global that a pickle names, the arguments it is to be called with, and the state it is to be given after."""

    name: str
    args: tuple[Any, ...] | None = None
    state: Any = None


class _Machine:
    """The stack of a pickle, and an instruction for each of the opcodes that a batch file is made of."""

    def __init__(self, encodable: int) -> None:
        self.encodable = encodable  # the characters that may become bytes, each of the file once
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, arg: Any) -> None:
        instruction = _OPCODES.get(opcode)
        if instruction is None:
            raise RefusedError(f"holds the pickle opcode {opcode}, which no CIFAR-10 batch does")
        instruction(self, arg)

    def pop(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise IndexError("its stack runs empty")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def pop_mark(self) -> list[Any]:
        taken = self.pop(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return taken

    def push_global(self, name: str) -> None:
        if name not in GLOBALS:
            raise RefusedError(f"asks for {excerpt(name)!r}, which no CIFAR-10 batch does: it may be a hostile file")
        self.stack.append(Call(name))

    def stack_global(self, arg: Any) -> None:
        module, name = self.pop(2)
        if type(module) is not str or type(name) is not str:
            raise TypeError("it names a global by what is no string")
        self.push_global(f"{module}.{name}")

    def tuple_of(self, count: int) -> None:
        self.stack.append(tuple(self.pop(count)))

    def extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("it appends to what is no list")
        self.stack[-1].extend(values)

    def update(self, pairs: list[Any]) -> None:
        keys, values = pairs[::2], pairs[1::2]
        # Only strings: to hash a tuple that is nested a million deep would overflow the interpreter's own stack.
        if type(self.stack[-1]) is not dict or not all(type(key) in (bytes, str) for key in keys):
            raise TypeError("it sets an item of what is no dictionary with strings for keys")
        self.stack[-1].update(zip(keys, values, strict=True))

    def collect(self, collection: dict[Any, Any] | list[Any]) -> None:
        values = self.pop_mark()
        self.stack.append(collection)
        self.update(values) if type(collection) is dict else self.extend(values)

    def reduce(self, arg: Any) -> None:
        called, args = self.pop(2)
        if type(called) is not Call or called.args is not None or type(args) is not tuple:
            raise TypeError("it calls what is no function")
        self.stack.append(self.encoded(args) if called.name == ENCODE else Call(called.name, args))

    def encoded(self, args: tuple[Any, ...]) -> bytes:
        """The bytes that Python 3 writes as text of the same code points."""
        if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
            raise TypeError("it encodes what is no text of bytes")
        self.encodable -= len(args[0])
        if self.encodable < 0:
            raise ValueError("it encodes more than it holds")
        return args[0].encode("latin-1")

    def build(self, arg: Any) -> None:
        built, state = self.pop(2)
        if type(built) is not Call or built.args is None:
            raise TypeError("it gives a state to what is no object")
        built.state = state
        self.stack.append(built)


_Instruction = Callable[[_Machine, Any], None]
_OPCODES: dict[str, _Instruction] = {
    "PROTO": lambda m, arg: None,
    "FRAME": lambda m, arg: None,
    "STOP": lambda m, arg: None,
    "MARK": lambda m, arg: m.marks.append(len(m.stack)),
    "NONE": lambda m, arg: m.stack.append(None),
    "NEWTRUE": lambda m, arg: m.stack.append(True),
    "NEWFALSE": lambda m, arg: m.stack.append(False),
    "EMPTY_DICT": lambda m, arg: m.stack.append({}),
    "EMPTY_LIST": lambda m, arg: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, arg: m.stack.append(()),
    "DICT": lambda m, arg: m.collect({}),
    "LIST": lambda m, arg: m.collect([]),
    "TUPLE": lambda m, arg: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": lambda m, arg: m.tuple_of(1),
    "TUPLE2": lambda m, arg: m.tuple_of(2),
    "TUPLE3": lambda m, arg: m.tuple_of(3),
    "APPEND": lambda m, arg: m.extend(m.pop(1)),
    "APPENDS": lambda m, arg: m.extend(m.pop_mark()),
    "SETITEM": lambda m, arg: m.update(m.pop(2)),
    "SETITEMS": lambda m, arg: m.update(m.pop_mark()),
    "BINPUT": lambda m, arg: m.memo.update({arg: m.stack[-1]}),
    "LONG_BINPUT": lambda m, arg: m.memo.update({arg: m.stack[-1]}),
    "MEMOIZE": lambda m, arg: m.memo.update({len(m.memo): m.stack[-1]}),
    "BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "LONG_BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "GLOBAL": lambda m, arg: m.push_global(arg.replace(" ", ".")),
    "INST": lambda m, arg: m.push_global(arg.replace(" ", ".")),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
_PLAIN = ("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "STRING", "BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8")
_OPCODES |= dict.fromkeys(
    (*_PLAIN, "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    lambda m, arg: m.stack.append(arg),
)
_OPCODES |= {"PUT": _OPCODES["BINPUT"], "GET": _OPCODES["BINGET"]}
# Python 2's strings are bytes, which pickletools gives as the text of the same code points.
_OPCODES |= dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), lambda m, arg: m.stack.append(arg.encode("latin-1")))


_BY_CODE = {opcode.code: opcode for opcode in pickletools.opcodes}


def _instructions(content: bytes) -> Iterator[tuple[str, Any]]:
    """Each opcode's name and its argument, to the end of the pickle."""
    stream = BytesIO(content)
    for _ in range(LONGEST):
        code = stream.read(1)
        opcode = _BY_CODE.get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError(f"it has the unknown opcode {code!r}" if code else "its end is missing")
        if opcode.name == "STRING":
            yield opcode.name, _string(stream.readline())
        else:
            yield opcode.name, None if opcode.arg is None else opcode.arg.reader(stream)
        if opcode.name == "STOP":
            return
    raise ValueError(f"it has more than {LONGEST:,} instructions")


def _string(line: bytes) -> bytes:
    """A string of Python 2 by protocol 0, in quotation marks and with escapes; pickletools takes none of 8 bits."""
    quoted = line.removesuffix(b"\n")
    if len(quoted) < 2 or quoted[:1] not in (b"'", b'"') or quoted[-1:] != quoted[:1]:
        raise ValueError("it holds a string without quotation marks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an escape that Python does not know, which stays as it is
        unescaped: bytes = codecs.escape_decode(quoted[1:-1])[0]
    return unescaped


def loads(content: bytes, name: str) -> Any:
    """The plain value in a pickle: dict, list, tuple, bytes, str, int, bool, None or Call.

    content: of the file.
    name: of the file, for messages.
    Raises ValueError, naming the file and the global or opcode, where the pickle holds another one or is damaged.
    """
    machine = _Machine(len(content))
    try:
        for opcode, arg in _instructions(content):
            machine.step(opcode, arg)
        (value,) = machine.stack
    except RefusedError as error:
        raise ValueError(f"{name} {error}") from None
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} is no whole and sound pickle: {error}") from None
    return value


def as_uint8(value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    """The read-only array that a pickled array describes.

    value: of `loads`.
    shape: that the array must have.
    Returns None unless the array is uint8, row-major and of this shape.
    """
    if type(value) is not Call:
        return None
    if value.name in ARRAY and type(value.state) is tuple and len(value.state) == 5:
        _, found, dtype, column_major, raw = value.state
    elif value.name in BUFFER and type(value.args) is tuple and len(value.args) == 4:
        raw, dtype, found, order = value.args
        column_major = order != "C"
    else:
        return None
    if type(dtype) is not Call or dtype.name != "numpy.dtype" or (dtype.args or ())[:1] not in (("u1",), (b"u1",)):
        return None
    if found != shape or column_major or type(raw) not in (bytes, bytearray) or len(raw) != np.prod(shape):
        return None
    return np.frombuffer(bytes(raw), np.uint8).reshape(shape)
