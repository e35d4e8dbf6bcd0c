"""A grid of trainings: options, some of which have several values.

grid(sigma=[0.3, 0.6], seed=[0, 1, 2], epochs=5)  # six trainings
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from npsnn.train.authors import PAPERS
from npsnn.train.config import AUTHORS, Config
from npsnn.train.defences import DEFENCES
from npsnn.train.recipes import RECIPES, config
from npsnn.train.task import Task
from npsnn.validate import Option, check_choice, declared, listed
from npsnn.words import nearest

LIMIT = 100_000
"""The trainings that a grid may have."""
RECIPE = "recipe"
OF_THE_RUN = ("seed", "limit", "conv", "micro_batch")
"""The flat options that every defence heeds beside its settings, its data set and its authors' code."""


@dataclass(frozen=True)
class Point(Task):
    """One training of a grid, which is known by its name.

    settings: the options that differ within the grid, and their values here.
    idle: a clause for each option that is given and changes nothing.
    """

    settings: tuple[tuple[str, Any], ...] = ()
    idle: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name of the run folder."""
        return self.name

    @property
    def needs(self) -> "tuple[Point, ...]":
        """A training of a grid needs no other."""
        return ()


def grid(options: Mapping[str, Any] | None = None, /, **more: Any) -> list[Point]:
    """Every training that the options ask for; the last option that has several values changes fastest.

    options: options of `Config` by name, and "recipe": a model of A2SNN's Table 5 or a defence, whose settings are
        options as well. A list is several values, of which the
        name of each run tells its own. An option that is a sequence by itself, such as the parts of a
        training after which the learning rate falls, has several where the list holds lists.
    more: more options.
    Raises ValueError naming the option, what was expected and what came.
    """
    given = {**(options or {}), **more}
    kinds = {name: kind for name, (_, kind) in options_of(given.get(RECIPE)).items()}
    for name in given:
        if name != RECIPE and name not in kinds:
            raise ValueError(f"{name} is no option of {_unknown(name, given.get(RECIPE), kinds)}")
    axes = {name: _values(name, value, kinds.get(name)) for name, value in given.items()}
    if prod(map(len, axes.values())) > LIMIT:
        raise ValueError(f"a grid must have at most {LIMIT:,} trainings, got {prod(map(len, axes.values())):,}")
    # a list of one value as well, so that one more value leaves the names of runs as they are
    texts = {name: _texts(name, values) for name, values in axes.items() if values is given[name]}
    points = []
    for chosen in product(*(range(len(values)) for values in axes.values())):
        at = dict(zip(axes, chosen, strict=True))
        name = "-".join(texts[axis][at[axis]] for axis in texts) or "training"
        values = {axis: axes[axis][at[axis]] for axis in axes}
        try:
            points.append(_point(name, values, tuple((axis, values[axis]) for axis in texts)))
        except ValueError as error:
            if not texts:
                raise
            raise ValueError(f"training {name}: {error}") from error
    return points


def _unknown(name: str, recipe: Any, known: Mapping[str, Any]) -> str:
    """What an option is none of, and what it may have been meant for."""
    if name == "set":
        return "a sweep: write each setting of a recipe as an option, beta = 6"
    if of := [r for r, kind in DEFENCES.items() if name in declared(kind)]:
        return f"a training{' by these recipes' if recipe else ''}: it is a setting of the recipe {listed(of)}"
    return f"a training{nearest(name, [*known, RECIPE])}"


def options_of(recipe: Any = None) -> dict[str, tuple[Option, Any]]:
    """The options that a grid may have, by name, with their types: those of `Config`, and the settings of defences.

    recipe: the recipes of the grid, one or a list; settings of other defences are no options of the grid.
    """
    recipes = recipe if isinstance(recipe, list) else [recipe]
    sources: list[Any] = [Config, *(DEFENCES[r] for r in recipes if isinstance(r, str) and r in DEFENCES)]
    types = [(source, {f.name: f.type for f in fields(source)}) for source in sources]
    return {name: (option, kinds[name]) for source, kinds in types for name, option in declared(source).items()}


def is_sequence(kind: Any) -> bool:
    """Whether one value of an option of that type is a sequence."""
    parts = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return any(get_origin(part) is tuple for part in parts)


def _values(name: str, value: Any, kind: Any) -> Sequence[Any]:
    """The values of an option in the grid."""
    if not isinstance(value, list) or (is_sequence(kind) and not any(isinstance(v, list | tuple) for v in value)):
        return [value]
    if not value:
        raise ValueError(f"{name} must have at least one value, got []")
    if twice := [v for i, v in enumerate(value) if v in value[:i] and type(v) in map(type, value[:i])]:
        raise ValueError(f"{name} must have each value once, got {twice[0]!r} twice")
    return value


def _texts(name: str, values: Sequence[Any]) -> list[str]:
    """What the name of a run says of an option, for each of its values."""
    word = name.replace("_", "-")
    for form in ("g", ""):
        texts = [f"{word}{_text(value, form)}" for value in values]
        if len(set(texts)) == len(texts):
            return texts
    raise ValueError(f"{name} has two values that look alike in the name of a run: {texts[0]}")


def _text(value: Any, form: str) -> str:
    if isinstance(value, bool):
        return "-on" if value else "-off"
    if isinstance(value, int | float):
        return format(value, form if isinstance(value, float) else "")
    if isinstance(value, list | tuple):
        return "-" + "+".join(_text(v, form).lstrip("-") for v in value)
    text = str(value)
    return "-" + re.sub(r"[^\w.+-]+", "-", Path(text).stem if "/" in text else text)


def _point(name: str, values: dict[str, Any], settings: tuple[tuple[str, Any], ...]) -> Point:
    """One training by its options."""
    recipe = values.pop(RECIPE, None)
    if recipe is not None:
        check_choice(RECIPE, recipe, [*RECIPES, *DEFENCES])
    authors = values.get(AUTHORS)
    if recipe in DEFENCES:
        return _defended(name, recipe, values, settings)
    if authors is True:
        values[AUTHORS] = PAPERS
    elif authors is False:
        del values[AUTHORS]
    made = Config(**values) if recipe is None else config(recipe, **{"dataset": Config.dataset} | values)
    usual = Config()
    odd = [option for option, value in values.items() if value != getattr(usual, option)]
    return Point(name, made, settings=settings, idle=tuple(made.without_effect(odd)))


def _defended(name: str, recipe: str, values: dict[str, Any], settings: tuple[tuple[str, Any], ...]) -> Point:
    """The training of a defence by its settings."""
    dataset, code = values.pop("dataset", Config.dataset), values.pop(AUTHORS, False)
    if not isinstance(code, bool):
        raise ValueError(f"{AUTHORS} must be true or false for the recipe {recipe}, got {code!r}")
    run = {option: values.pop(option) for option in OF_THE_RUN if option in values}
    Config(dataset=dataset, **run)  # of their types
    made = DEFENCES[recipe].on(dataset, code, **values)
    idle = [f"{option} has no effect unless {what}" for option, what in made.idle().items() if option in values]
    return Point(name, made, dataset, **run, settings=settings, idle=tuple(idle))
