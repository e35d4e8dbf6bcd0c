"""The results of `npsnn attack`: a table for people, and the same as JSON."""

from math import isinf
from typing import Any

from npsnn.attacks.evaluation import Result
from npsnn.attacks.judging import Accuracy
from npsnn.attacks.plan import Plan
from npsnn.cli.common import interval, percent
from npsnn.cli.table import Table
from npsnn.cli.terminal import say


def title(r: Result) -> str:
    """What an attack is called in the table and among saved images."""
    return _title(r.attack, r.kappa)


def _title(attack: str, kappa: float | None) -> str:
    return attack if kappa is None else f"{attack} kappa {kappa:g}"


class Rows:
    """Results, printed as they come and kept as JSON."""

    def __init__(self, plan: Plan, shown: bool) -> None:
        """shown: whether to print a table as well."""
        self.plan = plan
        self.nearest = any(name.endswith("cw") for name in plan.attacks)
        self.table = self._table() if shown else None
        self.rows: list[dict[str, Any]] = []
        self.worst_rows: list[dict[str, Any]] = []

    def _table(self) -> Table:
        titles = (_title(name, strength if name.endswith("cw") else None) for name, strength in self.plan.runs())
        width = max(13, *(len(name) for name in titles))
        columns = {"attack": -width, "norm": -4, "eps": 7, "accuracy": 8, "95 % interval": -16}
        columns |= {"gradient": -11, "passes": 6, "seconds": 7}
        columns |= {"misread": 7, "median": 8, "mean": 8} if self.nearest else {}
        return Table(
            columns, optional=("seconds", "passes", "gradient", "norm", "mean", "median", "misread", "95 % interval")
        )

    def row(self, r: Result, images: int) -> dict[str, Any]:
        """Adds a result of `images` images; returns it as JSON."""
        entry = {"attack": r.attack, **_judged(r, r.accuracy), "gradient": r.gradient}
        entry |= {"gradient_passes": r.gradient_passes, "seconds": r.seconds}
        found = [""] * 3
        if r.kappa is not None:
            median, mean = r.distances or (None, None)
            rate = float(r.success.mean())
            entry |= {"kappa": r.kappa, "success_rate": rate, "median_distance": median, "mean_distance": mean}
            found = [percent(rate), *("-" if d is None else f"{d:.3g}" for d in (median, mean))]
        if r.control is not None:
            entry |= {"samples": self.plan.samples, "misread_once": r.misread_once, "control": r.control}
        self.rows.append(entry)
        cells = (r.gradient, r.gradient_passes, f"{r.seconds:.1f}", *found)
        self._print(title(r), r, r.accuracy, *cells)
        if self.table and r.control is not None:
            what = (
                f"misread under at least one of {self.plan.samples:,} samples: {r.misread_once:,} of {images:,} images"
            )
            say(f"  {what}, without the perturbation {r.control:,}")
        for count, kind in ((r.zero_gradients, "an all-zero"), (r.bad_gradients, "a non-finite")):
            if count:
                text = f"warning: {title(r)} at {r.eps:g} met {kind} gradient on {count:,} of {images:,} images"
                say(f"{text}: the attack is weaker there than its name says", err=True)
        return entry

    def worst(self, r: Result, accuracy: Accuracy) -> dict[str, Any]:
        """Adds what the attacks of one ball leave together, and returns it as JSON; r: one of them."""
        entry = _judged(r, accuracy)
        self.worst_rows.append(entry)
        self._print("worst of them", r, accuracy, *[""] * 6)
        return entry

    def _print(self, name: str, r: Result, accuracy: Accuracy, *rest: object) -> None:
        if self.table:
            eps = "any" if isinf(r.eps) else f"{r.eps:.4g}"
            cells = (name, r.norm, eps, percent(accuracy.mean), interval(accuracy.ci95), *rest)
            self.table.row(*cells[: len(self.table.columns)])


def _judged(r: Result, accuracy: Accuracy) -> dict[str, Any]:
    eps = None if isinf(r.eps) else r.eps
    return {"norm": r.norm, "eps": eps, "robust_accuracy": accuracy.mean, "ci95": list(accuracy.ci95)}
