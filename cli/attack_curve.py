"""`npsnn attack --curve`: the accuracy over eps as a picture, and as JSON beside it."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from io import BytesIO
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsnn.attacks.curve import Curve, as_json, curve
from npsnn.attacks.results import Result
from npsnn.cli.attack_rows import title
from npsnn.cli.terminal import say
from npsnn.files import check_writable, write_atomic
from npsnn.files.json_files import write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from npsnn.certify import Certificates

LABELS = {
    "linf": "eps: largest change of a pixel (Linf)",
    "l2": "eps: length of the change (L2)",
    "l1": "eps: sum of the changes (L1)",
    "l0": "pixels that change (L0)",
}
MARKERS = "osD^vP*X"
CERTIFIED = "#2e7d32"


@dataclass
class Drawing:
    """What is drawn of the results of a command.

    path: of the picture.
    certificate: a table of `npsnn certify`, for the norm L2.
    heading: above the picture.
    """

    path: Path
    certificate: "Certificates | None" = None
    heading: str = ""
    curves: list[Curve] = field(default_factory=list)
    points: list[Result] = field(default_factory=list)

    @staticmethod
    def of(path: Path | None, certificate: Path | None, attacks: list[Any]) -> "Drawing | None":
        """The drawing that the options ask for, None where they ask for none; before anything could be lost.

        attacks: those that will run.
        Raises ValueError, naming the option, for what cannot be drawn; OSError, naming the file.
        """
        if path is None:
            if certificate is not None:
                raise ValueError("--certificate is drawn under a curve: give --curve FILE.png as well")
            return None
        if path.suffix != ".png" or not path.parent.is_dir():
            raise ValueError(f"--curve must name a .png in a folder that exists, got {path}")
        norms = {attack.ball.norm for attack in attacks if isinf(attack.ball.eps)}
        if not norms:
            raise ValueError("--curve needs an attack that looks for the nearest image: --fmn or --cw")
        if certificate is not None and "l2" not in norms:
            raise ValueError("--certificate is of L2: give --norm l2 for --fmn, or --cw")
        if find_spec("matplotlib") is None:
            raise ValueError("--curve needs matplotlib: install npsnn with its extra, pip install 'npsnn[plot]'")
        check_writable(path)
        if certificate is None:
            return Drawing(path)
        from npsnn import certify  # here, for SciPy takes longer to import than the help of the command

        return Drawing(path, certify.read(certificate))

    def add(self, result: Result) -> None:
        """Take a result: as a curve, or of a radius as a point."""
        if isinf(result.eps):
            self.curves.append(curve(result))
        else:
            self.points.append(result)

    def write(self) -> None:
        """Write the picture and, beside it, what it shows as JSON; OSError, naming the file, where that fails."""
        if not self.curves:
            return
        write_atomic(self.path, self._png())
        beside = self.path.with_suffix(".json")
        write_json(beside, self._content())
        say(f"curve: {self.path}, and its numbers: {beside}", err=True)

    def _content(self) -> dict[str, Any]:
        points = [
            {"attack": r.attack, **r.says, "norm": r.norm, "eps": r.eps, "accuracy": r.accuracy.mean}
            | {"ci95": list(r.accuracy.ci95)}
            for r in self.points
        ]
        content: dict[str, Any] = {"curves": [as_json(c) for c in self.curves], "points": points}
        if self.certificate is not None:
            eps, certified = _certified(self.certificate)
            content["certificate"] = {"norm": "l2", "images": len(self.certificate.rows)}
            content["certificate"] |= {"eps": eps.tolist(), "accuracy": certified.tolist()}
        return content

    def _png(self) -> bytes:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        norms = list(dict.fromkeys(c.norm for c in self.curves))
        style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
        with mpl.rc_context(style):
            figure = Figure(figsize=(6.4 * len(norms), 4.2), layout="constrained", dpi=150)
            every = figure.subplots(1, len(norms), squeeze=False)[0]
            for axes, norm in zip(every, norms, strict=True):
                self._panel(axes, norm)
            if self.heading:
                figure.suptitle(self.heading, x=0.01, ha="left", fontsize=10)
            file = BytesIO()
            figure.savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()

    def _panel(self, axes: "Axes", norm: str) -> None:
        """The curves of one norm, with the points of its balls."""
        curves = [c for c in self.curves if c.norm == norm]
        points = [r for r in self.points if r.norm == norm]
        last = 1.05 * max([float(c.eps[-1]) for c in curves] + [r.eps for r in points]) or 1.0
        if self.certificate is not None and norm == "l2":
            eps, certified = _certified(self.certificate)
            axes.fill_between(
                *_steps(eps, certified, last),
                color=CERTIFIED,
                alpha=0.25,
                lw=0,
                label="certified, no attack gets below",
            )
            axes.plot(*_steps(eps, certified, last), color=CERTIFIED, lw=1.2)
        for drawn in curves:
            name = " ".join([drawn.attack, *(f"{k} {v:g}" for k, v in drawn.says.items() if v)])
            (line,) = axes.plot(*_steps(drawn.eps, drawn.mean, last), lw=1.8, label=f"{name}, every eps")
            x, low = _steps(drawn.eps, drawn.ci95[0], last)
            _, high = _steps(drawn.eps, drawn.ci95[1], last)
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, lw=0)
        self._draw_points(axes, points)
        axes.set(xlabel=LABELS[norm], ylabel="accuracy", xlim=(0, last), ylim=(0, 1.02))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)

    @staticmethod
    def _draw_points(axes: "Axes", points: list[Result]) -> None:
        titles = list(dict.fromkeys(title(r) for r in points))
        for number, name in enumerate(titles):
            own = [r for r in points if title(r) == name]
            means = np.array([r.accuracy.mean for r in own])
            low, high = np.array([r.accuracy.ci95 for r in own]).T
            marker = MARKERS[number % len(MARKERS)]
            axes.errorbar(
                [r.eps for r in own], means, [means - low, high - means], fmt=marker, ms=5, lw=1, capsize=2, label=name
            )


def _steps(eps: np.ndarray, accuracy: np.ndarray, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the function that has each value from its eps on, up to the last eps that is shown."""
    x = np.append(np.repeat(eps, 2)[1:], last)
    return x, np.repeat(accuracy, 2)


def _certified(found: "Certificates") -> tuple[np.ndarray, np.ndarray]:
    """Where the certified accuracy falls, and what it is from there on: a certificate still holds at its radius."""
    radii = np.unique(np.append(found.radius[found.correct], 0.0))
    return radii, np.array([float((found.correct & (found.radius > radius)).mean()) for radius in radii])
