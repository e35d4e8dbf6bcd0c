"""A table of shapes: values with fields of every type that files hold, and one that looks at nothing it is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from npsnn.tables import Table


def twice(x: float) -> float:
    return 2 * x


class Shape(Protocol):
    def area(self) -> float: ...


@dataclass(frozen=True)
class Square:
    side: float = 1.0
    kind: ClassVar[str] = "square"

    def __post_init__(self) -> None:
        if self.side < 0:
            raise ValueError(f"side must be >= 0, got {self.side}")

    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True)
class Several:
    shapes: tuple[Shape, ...] = ()
    first: Shape | None = None
    pair: tuple[int, float] = (1, 2.0)
    square: Square = field(default_factory=Square)
    loud: bool = False
    name: str = ""
    measure: Callable[[float], float] = twice
    size: int = field(init=False, default=3)


@dataclass(frozen=True)
class Careless:
    """Looks at nothing that it is given."""

    text: Any

    def __post_init__(self) -> None:
        self.text.upper().index("A")


@dataclass(frozen=True)
class Table2:
    kind: str = "another"


def shapes() -> Table[Any]:
    table: Table[Any] = Table("shape", "from shapes import shape")
    for name, entry in (("square", Square), ("several", Several), ("careless", Careless), ("twice", twice)):
        table.enter(name)(entry)
    return table
