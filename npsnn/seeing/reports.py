"""The report of a run: one HTML file with all that its folder records, which asks for nothing from outside."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from math import isinf
from shlex import quote
from typing import TYPE_CHECKING, Any

from npsnn import data
from npsnn._version import __version__
from npsnn.files.json_files import read_lines
from npsnn.pages import page, plots
from npsnn.pages.page import Marked, badge, figure, folded, listed, section, table
from npsnn.pages.pictures import Panel, Picture
from npsnn.runs import caveats, checkpoint, provenance
from npsnn.runs.caveats import Caveat
from npsnn.runs.networks import load_network
from npsnn.seeing import drawing, listing, settings
from npsnn.seeing.galleries import Gallery
from npsnn.seeing.records import Recorded, Series, attacks_of, checklist_of, series
from npsnn.train.saved import caveats_of, read_run

if TYPE_CHECKING:
    from npsnn.certify import Certificates

MARKS = {"passes": "✓", "fails": "✗", "undecided": "?", "not applicable": "–"}
"""A sign for each outcome of a criterion."""
STATES = {listing.FINISHED: "✓", listing.STOPPED: "±", listing.BROKEN: "✗"}


@dataclass(frozen=True, eq=False)
class Known:
    """What the folder of a run holds.

    run: the run as a list has it.
    config: config.json.
    caveats: what qualifies every number.
    epochs: the lines of metrics.jsonl.
    results: the newest results of attacks on the networks of the run.
    others: number of results of networks that the run had before.
    checklist: the newest complete result of the checklist; None without one.
    certificate: certificates, None without.
    gallery: images; a sentence in the place of a gallery that could not be made.
    """

    run: listing.Listed
    config: Mapping[str, Any]
    caveats: list[Caveat]
    epochs: list[dict[str, Any]]
    results: list[Recorded]
    others: int
    checklist: Mapping[str, Any] | None
    certificate: "Certificates | None"
    gallery: Gallery | str


def report(
    run: str | os.PathLike[str] | None = None,
    gallery: Gallery | str = "",
    certificate: "Certificates | None" = None,
    runs_dir: str | os.PathLike[str] = "runs",
) -> str:
    """Make the HTML of the report of a run, from what is recorded; nothing is measured anew.

    run: folder, or name under `runs_dir`; None for the newest finished run.
    gallery: images for it, or a sentence on why there are none.
    certificate: a table of `npsnn.certify.read`.
    runs_dir: folder of the runs.
    Raises FileNotFoundError for an unknown run, ValueError for files that are damaged or do not fit together.
    """
    known = _known(run, gallery, certificate, runs_dir)
    return page.page(f"run {known.run.name}", _body(known), page.views())


def _known(
    run: str | os.PathLike[str] | None,
    gallery: Gallery | str,
    certificate: "Certificates | None",
    runs_dir: str | os.PathLike[str],
) -> Known:
    folder = checkpoint.find_run(run, runs_dir)
    digests = {provenance.of_network(load_network(folder, "last", runs_dir)[1])}
    if (folder / checkpoint.BEST).is_file():
        digests.add(provenance.of_network(load_network(folder, "best", runs_dir)[1]))
    every = attacks_of(folder)
    results = [r for r in every if r.line.get("parameters") in digests]
    config, options = read_run(folder)
    epochs = read_lines(folder / checkpoint.METRICS)
    return Known(
        run=listing.listed(folder),
        config=config,
        caveats=caveats_of(config, options, len(epochs)),
        epochs=epochs,
        results=results,
        others=len(every) - len(results),
        checklist=checklist_of(folder, digests),
        certificate=certificate,
        gallery=gallery,
    )


def _body(known: Known) -> str:
    """The page below its heading: what came out first, then what it rests on."""
    parts = [
        f"<h1>{escape(known.run.name)}</h1>\n",
        _summary(known),
        section("qualified", "What qualifies these numbers", _qualified(known)),
        section("attacks", "Accuracy under attack", _attacks(known)),
        section("certified", "Certified accuracy", _certified(known)) if known.certificate is not None else "",
        section("checklist", "Checklist", _checklist(known)),
        section("images", "Images", _images(known)),
        section("training", "Training", _training(known)),
        section("settings", "Settings", settings.html(known.config)),
        section("versions", "Versions and data", _versions(known)),
    ]
    return "".join(parts)


def _summary(known: Known) -> str:
    run, result = known.run, next(reversed(known.results), None)
    shape, classes = known.config["spec"]["shape"], known.config["spec"]["classes"]
    state = badge(run.state, run.state, STATES[run.state])
    pairs: list[tuple[str, object]] = [
        ("state", Marked(f"{state} {escape(run.why)}")),
        ("model", f"{run.model}, {'x'.join(map(str, shape))} images, {classes} classes"),
        ("data set", data.short(run.dataset)),
        ("noise", run.noise),
    ]
    if run.epochs is not None:
        pairs.append(("epochs", f"{run.done} of {run.epochs}"))
    if run.accuracy is not None:
        noisy = "" if run.noise == "none" else f" with the noise off, {_percent(run.noisy_accuracy)} under one draw"
        pairs.append(("validation accuracy", f"{_percent(run.accuracy)}{noisy}"))
    if result is not None:
        of = f"{result.line.get('examples', '?'):,} test images, {result.line.get('draws', '?')} draws"
        pairs.append(("clean accuracy", f"{_percent(result.clean)} of {of}"))
        named = ((s.label, r) for s in series(known.results) for r in s.points)
        label, least = min(named, key=lambda pair: pair[1].accuracy)
        at = "" if isinf(least.eps) else f" at {least.norm} {least.eps:.4g}"
        pairs.append(("lowest under attack", f"{_percent(least.accuracy)} under {label}{at}"))
    if known.checklist is not None:
        outcomes = [str(c.get("outcome")) for c in _criteria(known.checklist)]
        counts = [f"{name} {outcomes.count(name)}" for name in MARKS if name in outcomes]
        pairs.append(("checklist", ", ".join(counts)))
    return listed(pairs)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _qualified(known: Known) -> str:
    """Every caveat of the run and of its results, once, with what it is about."""
    about: dict[Caveat, list[str]] = {caveat: [] for caveat in known.caveats}
    for r in known.results:
        name = r.title if isinf(r.eps) else f"{r.title} at {r.norm} {r.eps:.4g}"
        for caveat in r.caveats:
            about.setdefault(caveat, []).append(name)
        for caveat in _caveats(r.line):
            about.setdefault(caveat, [])
    for caveat in _caveats(known.checklist or {}):
        about.setdefault(caveat, []).append("the checklist")
    for caveat in caveats.of_few(len(known.certificate.rows)) if known.certificate is not None else ():
        about.setdefault(caveat, []).append("the certificates")
    items = [f"{c.text} [{c.code}]" + (f": {_some(names)}" if names else "") for c, names in about.items()]
    if known.others:
        items.append(f"{known.others:,} results are of networks that the run had before, and are left out")
    if find_spec("matplotlib") is None:
        items.append("plots are left out: matplotlib is not installed (pip install 'npsnn[plot]')")
    items.append("the networks are of one training with one seed: another seed trains another network")
    return "\n".join(["<ul>", *(f"<li>{escape(item)}</li>" for item in items), "</ul>\n"])


def _some(names: list[str]) -> str:
    found = list(dict.fromkeys(names))
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if found[4:] else "")


def _caveats(line: Mapping[str, Any]) -> list[Caveat]:
    found = line.get("caveats")
    entries = [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []
    return [Caveat(str(c.get("code")), str(c.get("text"))) for c in entries]


def _attacks(known: Known) -> str:
    if not known.results:
        return _missing("No attack is recorded", f"npsnn attack {quote(known.run.name)}")
    every = series(known.results)
    rows = []
    for s in every:
        for r in s.points:
            eps = "any" if isinf(r.eps) else f"{r.eps:.4g}"
            low, high = (f"{100 * end:.1f}" for end in r.ci95)
            counts = (str(r.line.get(name, "?")) for name in ("examples", "draws"))
            rows.append((s.label, r.norm, eps, _percent(r.accuracy), f"{low} to {high} %", r.gradient, *counts))
    header = ("attack", "norm", "eps", "accuracy", "95 % interval", "gradient", "images", "draws")
    drawn = _plots(drawing.attack_panels({known.run.name: every}), "attacks", "Accuracy over eps, with 95 % intervals.")
    # where all of a norm are of both kinds, the plot above shows them already
    both = [s for s in drawing.chosen(every, drawing.CLOSED_FORM) if s.norm not in _twofold(every)]
    if both:
        panels = drawing.attack_panels({known.run.name: both})
        drawn += _plots(panels, "closed-form", "Attacks on the closed form (dashed) against attacks on draws (EoT).")
    options = "".join(f"<h3>{escape(f'{s.label}, {s.norm}')}</h3>\n{listed(settings.flat(s.settings))}" for s in every)
    return drawn + table(header, rows, (2, 3, 4, 6, 7)) + folded("Settings of the attacks", options)


def _twofold(every: list[Series]) -> set[str]:
    """The norms all of whose attacks were made on draws and on the closed form."""
    both = drawing.chosen(every, drawing.CLOSED_FORM)
    others = (s for s in every if s not in both and s.points[0].gradient)  # a worst case has none of its own
    return {s.norm for s in every} - {s.norm for s in others}


def _certified(known: Known) -> str:
    found = known.certificate
    assert found is not None
    in_l2 = drawing.chosen(series(known.results), drawing.CERTIFICATE)
    panels = drawing.attack_panels({known.run.name: in_l2}, found)
    rows = []
    for radius in found.radii():
        accuracy = found.accuracy(radius)
        low, high = (f"{100 * end:.1f}" for end in accuracy.ci95)
        sure = _percent(found.in_draws(radius).mean)
        rows.append((f"{radius:.4g}", _percent(accuracy.mean), f"{low} to {high} %", sure))
    text = f"Certified by randomised smoothing on {len(found.rows):,} test images, in L2."
    text += " What is certified holds for the vote of many draws, and in draws for single ones, which judge attacks."
    header = ("radius", "certified", "95 % interval", "in draws")
    return _plots(panels, "certified", text) + table(header, rows, range(len(header)))


def _checklist(known: Known) -> str:
    if known.checklist is None:
        return _missing("The checklist is not recorded", f"npsnn checklist {quote(known.run.name)}")
    rows = []
    for c in _criteria(known.checklist):
        outcome = str(c.get("outcome"))
        name = f"{c.get('number')}. {c.get('name')}"
        rows.append((name, badge(outcome, outcome, MARKS.get(outcome, "")), str(c.get("explanation"))))
    images, draws = (known.checklist.get(name, "?") for name in ("examples", "draws"))
    text = f"Signs that gradients are obfuscated, on {images} test images and {draws} draws."
    return f"<p>{escape(text)}</p>\n" + table(("criterion", "outcome", "why"), rows)


def _criteria(checklist: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [c for c in checklist["criteria"] if isinstance(c, dict)]


def _images(known: Known) -> str:
    if isinstance(known.gallery, str):
        return f"<p>{escape(known.gallery or 'No images were asked for.')}</p>\n"
    return f"<p>{escape(known.gallery.says)}</p>\n{known.gallery.html()}"


def _training(known: Known) -> str:
    if not known.epochs:
        return "<p>No epoch is recorded.</p>\n"
    panels = drawing.training({known.run.name: known.run.folder})
    names = list(dict.fromkeys(name for epoch in known.epochs for name in epoch))
    rows = [[settings.shown(epoch.get(name)) for name in names] for epoch in known.epochs]
    words = [name.replace("_", " ") for name in names]
    every = folded("Every epoch", table(words, rows, range(len(words))))
    return _plots(panels, "training", "Training, epoch by epoch.") + every


def _versions(known: Known) -> str:
    environment = known.config.get("environment")
    pairs = [("report", f"npsnn {__version__}")]
    pairs += settings.flat(environment if isinstance(environment, dict) else {}, "training")
    newest = known.results[-1].line.get("environment") if known.results else None
    if isinstance(newest, dict) and newest != environment:
        pairs += settings.flat(newest, "attack")
    arrays = known.config.get("arrays", known.config.get("data"))
    digests = settings.flat(arrays if isinstance(arrays, dict) else {}, "data")
    return listed(pairs) + folded("Digests of the data (SHA-256)", listed(digests))


def _plots(panels: Iterable[Panel], name: str, caption: str) -> str:
    """The panels one by one, as a narrow screen needs them; nothing without matplotlib."""
    if find_spec("matplotlib") is None:
        return ""
    drawn = (plots.inline(Picture(f"{name}-{number}", [panel])) for number, panel in enumerate(panels))
    each = "".join(f'<div role="img" aria-label="{escape(caption)}">{source}</div>\n' for source in drawn)
    return figure(f'<div class="plots">\n{each}</div>\n', caption)


def _missing(what: str, command: str) -> str:
    return f"<p>{escape(what)}: <code>{escape(command)}</code> measures it.</p>\n"
