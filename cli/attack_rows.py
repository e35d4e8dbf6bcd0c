"""The results of `npsnn attack`: a table for people, and the same as JSON."""

from collections.abc import Callable
from dataclasses import asdict
from math import isinf
from typing import Any, TypeAlias

from npsnn.attacks.base import ask
from npsnn.attacks.groups import STANDARD
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.results import Result, titled
from npsnn.attacks.worst import CLEAN, Worst, caveats_together
from npsnn.cli.common import interval, percent, print_caveats
from npsnn.cli.table import Table
from npsnn.cli.terminal import say
from npsnn.runs.caveats import Caveat

MARK = " *"
"""After the name of an attack, where a line under the table qualifies its row."""


def title_of(attack: Any) -> str:
    """What an attack will be called in the table."""
    return titled(ask(attack, "label"), ask(attack, "says"))


Keep: TypeAlias = Callable[[dict[str, Any]], None]


class Rows:
    """Results, printed as they come and kept as JSON."""

    def __init__(self, attacks: list[Any], shown: bool, draws: int = 1, in_turn: bool = False) -> None:
        """attacks: those whose results will come; shown: whether to print a table as well; draws: that judge.

        in_turn: whether some of the attacks meet what others left.
        """
        self.attacks, self.draws, self.in_turn = attacks, draws, in_turn
        self.begun: set[tuple[str, str, float]] = set()
        self.nearest = any(isinf(attack.ball.eps) for attack in attacks)
        self.table = self._table() if shown else None
        self.rows: list[dict[str, Any]] = []
        self.worst_rows: list[dict[str, Any]] = []
        self.met: dict[Caveat, list[str]] = {}

    def _table(self) -> Table:
        names = ("worst of them", *([STANDARD] if self.in_turn else []))
        width = max(len(name) for name in (*names, *map(title_of, self.attacks))) + len(MARK)
        columns = {"attack": -width, "norm": -4, "eps": 7, "accuracy": 8, "95 % interval": -16}
        columns |= {"takes": -16} if self.in_turn else {}
        columns |= {"gradient": -11, "passes": 6, "seconds": 7}
        columns |= {"misread": 7, "median": 8, "mean": 8} if self.nearest else {}
        return Table(
            columns, optional=("seconds", "passes", "gradient", "norm", "mean", "median", "misread", "95 % interval")
        )

    def row(self, r: Result, images: int, keep: Keep) -> None:
        """Adds a result of `images` images, as JSON kept before it is printed."""
        entry = {"attack": r.attack, **_judged(r, r.accuracy), "gradient": r.gradient}
        entry |= {"gradient_passes": r.gradient_passes, "seconds": r.seconds}
        entry |= {"zero_gradients": r.zero_gradients, "bad_gradients": r.bad_gradients}
        entry["wrong_signs"] = None if r.wrong_signs is None else float(r.wrong_signs.mean())
        entry["caveats"] = [asdict(caveat) for caveat in r.caveats]
        entry |= {"group": r.group or None, "met": None if r.met is None else int(r.met.sum()), "took": r.took}
        entry |= r.says
        found = [""] * 3
        if isinf(r.eps):
            median, mean = r.distances or (None, None)
            rate = float(r.success.mean())
            entry |= {"success_rate": rate, "median_distance": median, "mean_distance": mean}
            entry |= {"misread_anyway": int(r.misread_anyway.sum()), "moved": int(r.moved.sum())}
            found = [percent(rate), *("-" if d is None else f"{d:.3g}" for d in (median, mean))]
        if r.control is not None:
            entry |= {"samples": getattr(r.by, "samples", None), "misread_once": r.misread_once, "control": r.control}
        if r.surrogate is not None:
            other = r.by.source
            entry["surrogate"] = {"run": other.network or None, "parameters": other.parameters}
            entry["surrogate"] |= {"clean_accuracy": r.surrogate.mean, "ci95": list(r.surrogate.ci95)}
        self.rows.append(entry)
        keep(entry)
        self._begin(r)
        cells = (*self._takes(r), r.gradient, r.gradient_passes, f"{r.seconds:.1f}", *found)
        for caveat in r.caveats:
            self.met.setdefault(caveat, []).append(r.title if isinf(r.eps) else f"{r.title} at {r.eps:.4g}")
        self._print(r.title + (MARK if r.caveats else ""), r, r.accuracy, *cells)
        if self.table and isinf(r.eps):
            what = f"{r.misread_anyway.sum():,} of {images:,} images are misread without an attack"
            say(f"  {what}; the distances are of the other {r.moved.sum():,} that are misread under it")
        if self.table and r.surrogate is not None:
            right = f"{percent(r.surrogate.mean)} of these images without an attack"
            say(f"  with the gradients of {entry['surrogate']['run']}, which reads {right}")
        if self.table and r.control is not None:
            tries = f"{samples:,} samples" if (samples := entry["samples"]) else "the samples"
            what = f"misread under at least one of {tries}: {r.misread_once:,} of {images:,} images"
            say(f"  {what}, without the perturbation {r.control:,}")

    def _begin(self, r: Result) -> None:
        """Print what is left without an attack, before the first of those that meet what is left."""
        if r.met is not None and r.clean is not None and (begun := (r.group, r.norm, r.eps)) not in self.begun:
            self.begun.add(begun)
            self._print(CLEAN, r, Accuracy(r.clean), *[""] * 7)

    def _takes(self, r: Result) -> list[str]:
        """How many images an attack took of those that it met, as a cell, where the table has the column."""
        if not self.in_turn:
            return []
        return ["" if r.met is None else f"{r.took:,} of {r.met.sum():,}"]

    def worst(self, results: list[Result], found: Worst, keep: Keep) -> None:
        """Adds what the attacks of one ball leave together, as JSON kept before it is printed."""
        met = caveats_together(results, found)
        rises, by_chance = found.rise.mean > 0, not found.above
        groups = {r.group for r in results if r.met is not None or not r.group}
        name = groups.pop() if len(groups) == 1 and "" not in groups else "worst of them"
        entry = _judged(results[0], found) | {"caveats": [asdict(caveat) for caveat in met], "name": name}
        entry |= {"strongest": found.strongest, "strongest_on_same_draws": found.alone.mean}
        entry |= {"above_strongest": found.rise.mean, "above_by_chance": by_chance if rises else None}
        entry |= {"chosen": dict(found.chosen), "selection_draws": found.selection, "right_in_every_draw": None}
        once, clean = found.in_every_draw, found.clean_in_every_draw
        if found.selection > 1:
            entry["right_in_every_draw"] = {"attacked": once.mean, "clean": clean.mean if clean else None}
        self.worst_rows.append(entry)
        keep(entry)
        self._print(f"{name}{MARK if met else ''}", results[0], found, *[""] * 7)
        for caveat in found.caveats:
            self.met.setdefault(caveat, []).append(f"{name} at {results[0].eps:.4g}")
        if self.table and rises:
            why = "within the noise of the draws" if by_chance else "by more than the noise of the draws"
            say(f"  {100 * found.rise.mean:.1f} points above the line of {found.strongest}, {why};")
            say(f"  on the draws of the worst case {found.strongest} alone leaves {percent(found.alone.mean)}")
        if self.table and found.selection > 1:
            beside = f" (the images as they are: {percent(clean.mean)})" if clean else ""
            say(f"  {percent(once.mean)}{beside} if one misreading in {self.draws} draws loses an image")

    def caveats(self) -> None:
        """Print under the table what qualifies the rows that are marked."""
        for caveat, rows in self.met.items():
            print_caveats([caveat], f"{MARK.strip()} {', '.join(rows)}")

    def _print(self, name: str, r: Result, accuracy: Accuracy, *rest: object) -> None:
        if self.table:
            eps = "any" if isinf(r.eps) else f"{r.eps:.4g}"
            cells = (name, r.norm, eps, percent(accuracy.mean), interval(accuracy.ci95), *rest)
            self.table.row(*cells[: len(self.table.columns)])


def _judged(r: Result, accuracy: Accuracy) -> dict[str, Any]:
    eps = None if isinf(r.eps) else r.eps
    return {"norm": r.norm, "eps": eps, "robust_accuracy": accuracy.mean, "ci95": list(accuracy.ci95)}
