"""The progress of `npsnn attack`: what runs, and what is left out; a bar that says which attack runs, of how many."""

from typing import Any

from npsnn.attacks.base import ask
from npsnn.attacks.costs import Cost
from npsnn.attacks.ensemble import Auto, Quick
from npsnn.attacks.groups import Group
from npsnn.cli.attack_rows import title_of
from npsnn.cli.terminal import Bar, say

CHOOSING = "choosing the worst"


class Advance:
    """How far attacks have come, as a bar shows it.

    Attacks differ in what they cost by a factor of a thousand: the bar counts the seconds that they were estimated to
    take, not the attacks.
    """

    def __init__(self, bar: Bar, cost: Cost, images: int) -> None:
        """bar: of the length `cost.seconds`; cost: the estimate; images: how many are attacked."""
        self.bar, self.images = bar, images
        self.seconds, self.choosing = iter(cost.each), iter(cost.choosing)
        self.each = 0.0

    def to(self, attack: Any, number: int, of: int) -> None:
        """An attack begins, the so many-th of a ball."""
        self._begin(f"{title_of(attack)}, {number} of {of}", next(self.seconds))

    def to_choice(self, candidates: int) -> None:
        """The worst of so many candidates is chosen for each image, the last of which is no attack.

        0 where a ball has one attack alone, or none.
        """
        self._begin(CHOOSING, next(self.choosing), candidates)

    def _begin(self, label: str, seconds: float, times: int = 1) -> None:
        self.bar.say(label)
        self.each = seconds / max(1, times * self.images)

    def update(self, images: int) -> None:
        """Count images of what runs now as done."""
        self.bar.update(images * self.each)

    def skip(self, images: int) -> None:
        """Count images of what runs now as done before, in no time."""
        self.bar.skip(images * self.each)


def say_left_out(made: list[Any], groups: list[Group], network: Any) -> None:
    """Print on standard error who the members of the group quick are, and what the whole group would add.

    made: the attacks and groups of a plan; groups: the same once the network is known.
    """
    for value, group in zip(made, groups, strict=True):
        if isinstance(value, Quick):
            names, whole = map(_names, (group, Auto(value.eps, value.norm).of(network)))
            added = [name for name in whole if name not in names]
            say(f"{value.label}: {', '.join(names)}; --{Auto.label} adds {', '.join(added)}", err=True)
            return


def _names(group: Group) -> list[str]:
    return [str(ask(member, "label")) for member in group]
