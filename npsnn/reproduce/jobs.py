"""Jobs of a reproduction, as values: a network to train, attacks on it, or a measurement of it.

    network = Train("sigma-0.6", Config(dataset="mnist", sigma=0.6, seed=3))
    attacked = Attack(network, (("pgd", PGD(0.1)),), images=500)

A job is known by its key, a readable name and a digest of all that its record depends on. So the same job of two
experiments is done once, and a record that is found is the record that would be computed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from npsnn.attacks.base import ATTACKS
from npsnn.attacks.groups import Group, Grouping
from npsnn.attacks.judging import Judging
from npsnn.train.config import Config
from npsnn.train.defences import DEFENCES
from npsnn.train.saved import as_json
from npsnn.train.task import Task

DIGITS = 10
"""The hexadecimal digits of a digest in a key."""
LATER = {"micro_batch": None, "first": 0}
"""Options that came after the first records, and the value that they had until then, which is no part of a key."""


@dataclass(frozen=True)
class Train(Task):
    """A network to train; two jobs of one name differ by their digests.

    start: the network to begin with, None for one that is drawn.
    Raises ValueError where flat options and what a defence has beside them contradict.
    """

    start: "Train | None" = None

    @property
    def needs(self) -> tuple["Job", ...]:
        """The jobs that must be done before."""
        return () if self.start is None else (self.start,)

    def document(self) -> dict[str, Any]:
        """All that the record depends on, as JSON."""
        if isinstance(self.of, Config):
            found: dict[str, Any] = {"options": _as_before(as_json(self.of))}
        else:
            found = {"defence": DEFENCES.encode(self.of), "dataset": self.dataset}
            found |= {"seed": self.seed, "limit": self.limit}
            beside = {"conv": self.conv, "micro_batch": self.micro_batch}
            found |= {name: value for name, value in beside.items() if value not in ("auto", None)}
        return {"train": found} | ({} if self.start is None else {"start": self.start.key})

    @cached_property
    def key(self) -> str:
        """The name and a digest."""
        return _key(self.name, self.document())


@dataclass(frozen=True)
class Attack:
    """Attacks on a trained network.

    network: the job that trains it.
    attacks: pairs of a name in the record and an attack or a group, whose worst case is recorded.
    images: number of test images, the first of the data set.
    judging: how success is judged.
    """

    network: Train
    attacks: tuple[tuple[str, Any], ...]
    images: int
    judging: Judging = field(default_factory=Judging)

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def needs(self) -> tuple["Job", ...]:
        """The network."""
        return (self.network,)

    def document(self) -> dict[str, Any]:
        """All that the record depends on, as JSON."""
        attacks = {n: _of_group(a) if isinstance(a, Grouping) else ATTACKS.encode(a) for n, a in self.attacks}
        judging = _as_before(vars(self.judging))
        return {"network": self.network.key, "attacks": attacks, "images": self.images, "judging": judging}

    @cached_property
    def key(self) -> str:
        """The name and a digest."""
        return _key(f"{self.name}-attacked", self.document())


@dataclass(frozen=True)
class Measure:
    """A measurement of trained networks that is no attack.

    name: a readable name.
    by: the name of the measurement in `measures.MEASURES`.
    networks: the jobs that train the networks, in the order in which the measurement takes them.
    settings: what else it takes, as pairs of a name and a plain value.
    """

    name: str
    by: str
    networks: tuple[Train, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def needs(self) -> tuple["Job", ...]:
        """The networks."""
        return self.networks

    def document(self) -> dict[str, Any]:
        """All that the record depends on, as JSON."""
        return {"measure": self.by, "networks": [n.key for n in self.networks], "settings": dict(self.settings)}

    @cached_property
    def key(self) -> str:
        """The name and a digest."""
        return _key(f"{self.name}-{self.by}", self.document())


Job: TypeAlias = Train | Attack | Measure


def _key(name: str, document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def _as_before(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that came later and are at their earlier value: a record stays found under its key."""
    return {name: value for name, value in options.items() if name not in LATER or value != LATER[name]}


def _of_group(group: Grouping) -> dict[str, Any]:
    """A group as JSON: one of the table by its options, another one by its members."""
    if isinstance(group, Group):
        return {"group": group.name, "members": [ATTACKS.encode(a) for a in group]}
    return {"group": type(group).__name__, **vars(group)}
