"""`npsnn attack --curve`: the accuracy over eps as a picture, and as JSON beside it."""

from dataclasses import dataclass, field
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsnn.attacks.curve import Curve, as_json, curve
from npsnn.attacks.results import Result, titled
from npsnn.cli.terminal import say
from npsnn.files import check_replaceable, check_writable
from npsnn.files.json_files import write_json
from npsnn.pages import plots
from npsnn.pages.pictures import Line, Panel, Picture
from npsnn.seeing.drawing import LABELS, certified, over_eps

if TYPE_CHECKING:
    from npsnn.certify import Certificates

NUMBERS = '"curves": [\n'
"""What the beginning of a file holds that has the numbers of a curve."""


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
        plots.check_path(path, "--curve", (".png",))
        norms = {attack.ball.norm for attack in attacks if isinf(attack.ball.eps)}
        if not norms:
            raise ValueError("--curve needs an attack that looks for the nearest image: --fmn or --cw")
        if certificate is not None and "l2" not in norms:
            raise ValueError("--certificate is of L2: give --norm l2 for --fmn, or --cw")
        plots.check_library("--curve")
        check_writable(path)
        check_replaceable(path.with_suffix(".json"), "--curve", NUMBERS)
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
        plots.write(self._picture(), self.path)
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
            draws, votes = certified(self.certificate)
            content["certificate"] = {"norm": "l2", "images": len(self.certificate.rows)}
            content["certificate"] |= {"eps": votes.x.tolist(), "accuracy": votes.y.tolist()}
            content["certificate"]["in_draws"] = {"eps": draws.x.tolist(), "accuracy": draws.y.tolist()}
        return content

    def _picture(self) -> Picture:
        norms = list(dict.fromkeys(c.norm for c in self.curves))
        return Picture(
            self.path.stem, [Panel(LABELS[norm], "accuracy", self._lines(norm)) for norm in norms], self.heading
        )

    def _lines(self, norm: str) -> list[Line]:
        """The curves of one norm, with the points of its balls."""
        found = certified(self.certificate) if self.certificate is not None and norm == "l2" else []
        for drawn in (c for c in self.curves if c.norm == norm):
            found.append(
                over_eps(drawn, f"{titled(drawn.attack, {k: v for k, v in drawn.says.items() if v})}, every eps")
            )
        points = [r for r in self.points if r.norm == norm]
        for name in dict.fromkeys(r.title for r in points):
            rows = [(r.eps, r.accuracy.mean, *r.accuracy.ci95) for r in points if r.title == name]
            x, y, low, high = np.array(sorted(rows)).T
            found.append(Line(name, x, y, low, high, joined=False))
        return found
