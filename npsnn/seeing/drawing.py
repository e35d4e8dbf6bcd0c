"""Pictures of runs, from what their folders record: attacks, trainings, certificates."""

import os
import warnings
from collections.abc import Iterable, Mapping
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsnn.attacks.curve import Curve, of_images
from npsnn.files.json_files import each_line
from npsnn.pages.pictures import Line, Panel, Picture
from npsnn.runs import checkpoint
from npsnn.seeing import listing
from npsnn.seeing.records import Recorded, Series, attacks_of, series

if TYPE_CHECKING:
    from npsnn.certify import Certificates

LABELS = {
    "linf": "eps: largest change of a pixel (Linf)",
    "l2": "eps: length of the change (L2)",
    "l1": "eps: sum of the changes (L1)",
    "l0": "pixels that change (L0)",
}
CERTIFIED, IN_DRAWS = "certified for the vote of many draws", "certified in draws: no attack leaves less"
GUARANTEE = 2
"""The colour of what is certified."""
RADII = 200
"""The steps of what is certified in draws."""
ATTACKS, CLOSED_FORM, TRAINING, CERTIFICATE = WHAT = "attacks", "closed-form", "training", "certified"
ACCURACIES = {
    "training_accuracy": "training",
    "validation_accuracy": "validation, noise off",
    "noisy_validation_accuracy": "validation, one draw",
}


def picture(
    runs: Iterable[str | os.PathLike[str]],
    what: str | None = None,
    certificate: "Certificates | None" = None,
    runs_dir: str | os.PathLike[str] = "runs",
) -> Picture:
    """A picture of one run or several, from what is recorded; nothing is computed anew.

    runs: folders, or names under `runs_dir`.
    what: "attacks", the accuracy over eps; "closed-form", the same of attacks that were made on draws and on the closed
        form; "training", the curves of training; "certified", the attacked accuracy in L2 over the certified one. None
        for "certified" with a certificate, else "attacks", or "training" where no attack is recorded.
    certificate: a table of `npsnn.certify.read`, for "certified".
    runs_dir: folder of the runs.
    Raises FileNotFoundError for an unknown run, ValueError where nothing is recorded that could be drawn.
    """
    folders = [checkpoint.find_run(run, runs_dir) for run in runs]
    if not folders:
        raise ValueError("runs must name one at least, got none")
    named = listing.named(folders)
    results = {name: attacks_of(folder) for name, folder in named.items()} if what != TRAINING else {}
    if what is None:
        what = CERTIFICATE if certificate is not None else ATTACKS if any(results.values()) else TRAINING
    if what not in WHAT:
        raise ValueError(f"what must be {', '.join(WHAT[:-1])} or {WHAT[-1]}, got {what!r}")
    if what == CERTIFICATE and certificate is None:
        raise ValueError(f"the picture {CERTIFICATE} needs a certificate: a table of npsnn certify --save")
    if what != CERTIFICATE and certificate is not None:
        raise ValueError(f"a certificate is for the picture {CERTIFICATE} alone, got {what}")
    heading = ", ".join(named)
    if what == TRAINING:
        return Picture(f"{what} {heading}", training(named), heading, stacked=True)
    drawn = {
        name: chosen(series(own, (r for other in results.values() if other is not own for r in other)), what)
        for name, own in results.items()
    }
    panels = [] if not any(drawn.values()) else attack_panels(drawn, certificate)
    if not panels:
        raise ValueError(f"{_missing(what)} for {heading}")
    said = f"{heading}; {_measured(r for every in drawn.values() for r in every)}"
    return Picture(f"{what} {heading}", panels, said, stacked=True)


def _measured(every: Iterable[Series]) -> str:
    """The images and draws of some results in words."""
    lines = [r.line for s in every for r in s.points]
    images, draws = ({line.get(name) for line in lines} for name in ("examples", "draws"))
    counts = [
        f"{found.pop():,} {what}" for found, what in ((images, "test images"), (draws, "draws")) if len(found) == 1
    ]
    return ", ".join([*counts, "95 % intervals"])


def _missing(what: str) -> str:
    return {
        ATTACKS: "attacks are not recorded: run npsnn attack",
        CLOSED_FORM: "no attack is recorded on draws and on the closed form: run npsnn attack --fgsm --adaptive-fgsm",
        CERTIFICATE: "no attack in L2 is recorded: run npsnn attack --fmn --norm l2",
    }[what]


def chosen(every: list[Series], what: str) -> list[Series]:
    """Those of the series that belong into a picture.

    every: of one run.
    what: as for `picture`.
    """
    if what == CERTIFICATE:
        return [s for s in every if s.norm == "l2"]
    if what != CLOSED_FORM:
        return every
    kinds: dict[tuple[str, str], set[str]] = {}
    for s in every:
        kinds.setdefault(_base(s), set()).add(s.points[0].gradient)
    return [s for s in every if {"closed-form", "sampled"} <= kinds[_base(s)] and s.points[0].gradient != "expectation"]


def _base(s: Series) -> tuple[str, str]:
    """The attack whose gradients are of either kind, and its norm."""
    return s.points[0].title.removeprefix("adaptive-"), s.norm


def attack_panels(drawn: Mapping[str, list[Series]], certificate: "Certificates | None" = None) -> list[Panel]:
    """A panel for each norm.

    drawn: the series of each run by its name, which labels name where there are several.
    certificate: drawn below those in L2.
    """
    several = len(drawn) > 1
    lines: dict[str, list[Line]] = {}
    for name, every in drawn.items():
        for s in every:
            label = f"{name}: {s.label}" if several else s.label
            lines.setdefault(s.norm, []).extend(_lines(s, label))
    if certificate is not None:
        lines["l2"] = [*certified(certificate), *lines.get("l2", [])]
    return [Panel(LABELS.get(norm, norm), "accuracy", own) for norm, own in lines.items() if own]


def _lines(s: Series, label: str) -> list[Line]:
    """The curve of an attack without a radius, and the points of one with radii."""
    nearest = [curve_of(r) for r in s.points if isinf(r.eps)]
    found = [over_eps(c, f"{label}, every eps") for c in nearest if c is not None]
    if points := [r for r in s.points if not isinf(r.eps)]:
        found.append(_points(points, label))
    return found


def _points(points: list[Recorded], label: str) -> Line:
    """What an attack leaves at each eps; at 0 what is right without an attack, where its interval is recorded."""
    rows = [(r.eps, r.accuracy, *r.ci95) for r in points if r.eps > 0]
    last = points[-1]
    if last.clean_ci95 is not None and last.norm != "l0":
        rows = [(0.0, last.clean, *last.clean_ci95), *rows]
    x, y, low, high = np.array(rows).T.reshape(4, -1)
    return Line(label, x, y, low, high, dashed=points[0].gradient == "closed-form")


def curve_of(r: Recorded) -> Curve | None:
    """The curve of a recorded attack without a radius; None, with a warning, without the figures of its images."""
    found = r.images()
    own = [found.get(name, np.empty(0)) for name in ("size", "clean", "right")]
    if any(each.shape != (r.line["examples"],) or not np.isfinite(each).all() for each in own):
        file = r.folder / str(r.line.get("images"))
        warnings.warn(f"{file} is missing or damaged: the curve of {r.title} is left out", stacklevel=2)
        return None
    return of_images(r.title, r.norm, {}, *own)


def over_eps(curve: Curve, label: str) -> Line:
    """A curve over all eps as a line."""
    low, high = curve.ci95
    return Line(label, curve.eps, curve.mean, low, high, steps=True, dashed=curve.attack.startswith("adaptive"))


def certified(found: "Certificates") -> list[Line]:
    """What no attack gets below: of the accuracy over single draws, which attacks are judged by, and of the vote.

    A step of the first has the value at its end, so that the line is nowhere above the bound; beyond twice the largest
    radius nothing is claimed. The second falls where certificates end: a certificate still holds at its radius.
    """
    known = found.correct & np.isfinite(found.radius)
    radii = np.unique(np.append(found.radius[known], 0.0))
    votes = np.array([(found.correct & (found.radius > radius)).mean() for radius in radii])
    ends = np.linspace(0, 2 * (radii[-1] or 0.1), RADII + 1)
    draws = np.array([*(found.in_draws(float(radius)).mean for radius in ends[1:]), 0.0])
    return [
        Line(IN_DRAWS, ends, draws, steps=True, filled=True, colour=GUARANTEE),
        Line(CERTIFIED, radii, votes, steps=True, dashed=True, colour=GUARANTEE),
    ]


def training(named: Mapping[str, Path]) -> list[Panel]:
    """Panels of the loss, of the accuracies and, where it is learned, of sigma over the epochs.

    named: folders of runs by their names.
    Raises ValueError where no run has had an epoch.
    """
    epochs = {name: [line for line in each_line(folder / checkpoint.METRICS) if line] for name, folder in named.items()}
    if not any(epochs.values()):
        raise ValueError(f"no epoch is recorded for {', '.join(named)}")
    several = len(named) > 1
    losses = [_over_epochs(own, "loss", name if several else "loss") for name, own in epochs.items()]
    accuracies = []
    for number, (name, own) in enumerate(epochs.items()):
        for field, word in list(ACCURACIES.items())[several:]:
            label, noisy = f"{name}: {word}" if several else word, field.startswith("noisy")
            accuracies.append(_over_epochs(own, field, label, several and noisy, number if several else None))
    panels = [
        Panel("epoch", "loss", _there(losses), False, True),
        Panel("epoch", "accuracy", _there(accuracies), whole=True),
    ]
    sigmas = [line for name, own in epochs.items() for line in _sigmas(own, name if several else "")]
    return panels + ([Panel("epoch", "sigma", sigmas, False, True)] if sigmas else [])


def _there(lines: list[Line | None]) -> list[Line]:
    return [line for line in lines if line is not None]


def _over_epochs(
    epochs: list[dict[str, Any]], field: str, label: str, dashed: bool = False, colour: int | None = None
) -> Line | None:
    """A figure of each epoch as a line; None where no epoch has it as a finite number."""
    found = [(e["epoch"], e[field]) for e in epochs if _finite(e.get("epoch")) and _finite(e.get(field))]
    if not found:
        return None
    x, y = np.array(found, float).T
    return Line(label, x, y, dashed=dashed, colour=colour)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _sigmas(epochs: list[dict[str, Any]], name: str) -> list[Line]:
    """The sigma of each noise layer, where training changes it."""
    paths = sorted({path for e in epochs if isinstance(e.get("sigma"), dict) for path in e["sigma"]})
    flat = [
        {"epoch": e.get("epoch"), "": e.get("sigma")} | (e["sigma"] if isinstance(e.get("sigma"), dict) else {})
        for e in epochs
    ]
    lines = [_over_epochs(flat, path, ": ".join(filter(None, (name, path))) or "sigma") for path in paths or [""]]
    return [line for line in _there(lines) if np.ptp(line.y) > 0]
