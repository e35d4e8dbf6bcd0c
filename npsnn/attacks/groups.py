"""Groups: attacks that are one evaluation, whose members meet an image in turn or all to the end.

    for result in attacks.robust_accuracy(network, x, labels, attacks.Group("mine", (attacks.PGD(0.1), Mine(0.1)))):
        print(result.group, result.attack, result.accuracy.mean)

Where the network is certain the members run in order, each on the images that are still right: an image that one has
taken is taken for good. Where it is random one look says little, and every member attacks every image to the end, as
the members of a group that is `apart` always do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from npsnn.attacks.balls import Limit
from npsnn.attacks.base import ask, checked_attack
from npsnn.classifier import Classifier

STANDARD = "AutoAttack, standard"
"""The name of the group whose members, budgets and order are the standard version's, on a network that is certain."""


class Grouping:
    """What becomes a group once it meets the network, as a source of gradients becomes a target."""

    def of(self, network: Classifier) -> "Group":
        """The group for the defended network, noise and all."""
        raise NotImplementedError


@dataclass(frozen=True)
class Group(Grouping):
    """Attacks in one ball, in the order in which they run; iterating yields them.

    name: what the group is called in results; "" for an attack by itself.
    members: any values that `robust_accuracy` takes.
    apart: whether each member attacks every image, whatever the network.
    Raises TypeError for what is no attack, ValueError for no member, other balls, and names that are the same.
    """

    name: str
    members: tuple[Any, ...]
    apart: bool = False

    def __repr__(self) -> str:
        members = ", ".join(type(member).__name__ for member in self.members)
        return f"<{type(self).__name__} {self.name or 'of one'}: {members}>"

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(map(checked_attack, self.members)))
        if self.name == STANDARD and type(self) is Group:
            raise ValueError(f"name must be another than {STANDARD!r}, which attacks.standard alone gives")
        if not self.members:
            raise ValueError("members must hold at least one attack, got none")
        balls = {(member.ball.norm, float(member.ball.eps)) for member in self.members}
        if len(balls) > 1:
            got = " and ".join(f"{norm} {eps:g}" for norm, eps in sorted(balls))
            raise ValueError(f"members must be of one ball, got {got}")
        names = [_told(member) for member in self.members]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"members must differ in their names, got {twice[0]} twice")

    @property
    def ball(self) -> Limit:
        """The ball of its members."""
        found: Limit = self.members[0].ball
        return found

    def of(self, network: Classifier) -> "Group":
        """The group itself: its members are known."""
        return self

    def in_turn(self, network: Classifier, targets: Iterable[Any]) -> bool:
        """Whether its members run in turn on the network, each on what those before it have left.

        targets: of the members.
        """
        return bool(self.name) and not self.apart and in_turn(network, targets)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)


def _told(attack: Any) -> tuple[str, tuple[tuple[str, float], ...]]:
    """What tells an attack from the others of its ball."""
    return ask(attack, "label"), tuple(dict(ask(attack, "says")).items())


def grouped(attacks: Any, network: Classifier) -> list[Group]:
    """The attacks and groups as groups, an attack by itself as one without a name.

    attacks: a list of attacks and groups, or one group.
    network: the defended network, which says what the members of some groups are.
    Raises TypeError for what is neither, or no list; ValueError for two groups of one ball and one name.
    """
    if isinstance(attacks, Grouping):
        return [attacks.of(network)]
    if not isinstance(attacks, Iterable):
        raise TypeError(f"attacks must be a list, as [attacks.PGD(8 / 255)] or plan.made(), got {attacks!r:.80}")
    found = [a.of(network) if isinstance(a, Grouping) else Group("", (a,)) for a in attacks]
    names = [(g.name, g.ball.norm, float(g.ball.eps)) for g in found if g.name]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"groups of one ball must differ in their names, got {twice[0]} twice")
    return found


def in_turn(network: Classifier, targets: Iterable[Any]) -> bool:
    """Whether attacks on these targets run in turn, each on what the others have left.

    So they do where a look settles whether the network misreads an image: no noise, or a draw that all attackers know.
    """
    settled = [(getattr(target, "settled", False), getattr(target, "judging", None)) for target in targets]
    drawn = [judging for _, judging in settled]
    known = drawn[0] is not None and all(judging == drawn[0] for judging in drawn)
    return known or (not network.random and all(sure for sure, _ in settled))
