"""`npsnn checklist`."""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.criteria import CRITERIA
from npsnn.attacks.checklist.outcomes import Criterion, Outcome
from npsnn.cli.common import (
    check_answer,
    print_caveats,
    print_json,
    say_cost,
    set_precision,
    speaking_of_flags,
    test_images,
)
from npsnn.cli.defended import Defended
from npsnn.cli.help import new_command
from npsnn.cli.interrupts import leave
from npsnn.cli.options import RUN_ARGUMENT, given, options_of, shared
from npsnn.cli.runs import load_run, load_test_images
from npsnn.cli.table import Table
from npsnn.cli.terminal import Bar, say, width
from npsnn.cli.values import WholeNumber
from npsnn.files import journal

FAILS, UNDECIDED = 3, 4
INDENT = " " * 3


def command() -> click.Command:
    """The command, made when it is asked for."""
    return new_command(
        "checklist",
        _checklist,
        RUN_ARGUMENT,
        *options_of(Checklist, average=1, answer="logits"),
        *shared("limit", type=WholeNumber(2), default=200, shown="200"),
        *shared("data-dir", "other-data", "checkpoint", "conv", "threads", "device", "tf32"),
        *shared("runs-dir", "config", "json"),
    )


def _checklist(
    run: str | None,
    inference_sigma: float | None,
    limit: int,
    checkpoint: str,
    other_data: bool,
    conv: str | None,
    threads: int | None,
    device: str,
    tf32: bool,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Judge by ten criteria whether RUN is robust or its gradients are obfuscated.

    RUN is a run folder or a name in the folder of runs. By default the newest finished run is taken. Criteria 1 to 5
    are those of A2SNN Sec. 4.5 (after Athalye, Carlini and Wagner 2018). Criteria 6 to 8 are about the noise; without
    noise they do not apply. Criteria 9 and 10 are npsnn's own.

    Attacks are in Linf and average each gradient over --eot draws of the noise (EoT). All attacks are judged on the
    same fresh draws. "Leaves" is the accuracy under an attack. "Surely" is by more than chance, in an exact test of
    the paired differences over images: where there is no difference, a comparison fails in at most 2.5 % of cases.

    1: fails if PGD surely leaves more than FGSM.

    2: fails if random search surely leaves less than the best of FGSM, PGD and the closed form, or if One-Pixel surely
    leaves less than FGSM or PGD (audit A29).

    3: passes if PGD with eps 1 and 20 steps leaves at most 1 %, by steps of eps/10, the paper's, or of 2.5 eps/20.
    Fails if PGD surely leaves more.

    4: looks at images that are right in every draw and that half of the draws read correctly after PGD. Fails if
    random search surely finds more images that most fresh draws misread than the search without perturbation finds.

    5: fails if PGD at an eps of 2^n/255, n = 0 to 7, surely leaves more than at a smaller one. Each of the 28 pairs
    must be as much surer (Bonferroni). Fails as well if the largest eps does not surely leave less than the smallest,
    unless the smallest leaves at most 1 %.

    6: fails if PGD on the network with its noise off surely leaves less than with EoT.

    7: fails if PGD that knows the one draw by which it is judged surely leaves more than with EoT on the same draw.
    The difference the other way is what the randomness is worth.

    8: fails if PGD on the closed form surely leaves less than with EoT: attacks by draws then overstate the robustness.

    9: fails if APGD-T or Square, on the closed form where there is noise, surely leaves less than PGD by more than 10
    points: PGD then overstates the robustness.

    10: looks at the images that are right. Fails if surely more than 1 % of them have a gradient of the cross-entropy
    that is exactly 0 in single precision, or if the median margin of their logits is 103 or more: usual attacks then
    fail for want of a gradient (audit B11). npsnn's own attacks do not lose it. Undecided where fewer have none, or
    where the median margin is 17 or more.

    A criterion is undecided where no outcome on these images could decide it: fewer than 6 images are right without an
    attack (7 for criterion 2, 11 for criterion 5), the network does not surely read more images than by naming one
    class, no attack surely takes anything, or too little is left to compare. The explanation has the reason.

    The result is added to checklist.jsonl in the run's folder. Exit code 3: a criterion fails; 4: none fails, but one
    is undecided.

    \b
    The newest run; answers of ten draws; another eps, and three pixels as well:
      npsnn checklist
      npsnn checklist RUN --average 10
      npsnn checklist RUN --eps 0.1 --limit 50 --pixels 1 --pixels 3
    """
    from npsnn import attacks

    start = time.perf_counter()
    with speaking_of_flags():
        settings = Checklist(**given(chosen | {"inference_sigma": inference_sigma}))
        check_answer(settings.average, settings.answer)
    set_precision(device, tf32)
    loaded = load_run(run, runs_dir, checkpoint, threads, device, conv)
    loaded, x, labels = load_test_images(loaded, data_dir, limit, other_data)
    classifier = loaded.classifier
    settings = replace(settings, sigma=loaded.sigma(inference_sigma))
    defended = Defended.of(loaded, settings.judging, x, labels)
    if not as_json:
        _print_heading(defended, settings, test_images(len(labels), limit))
    with speaking_of_flags():  # of options that fit no image of the run
        cost = attacks.cost(classifier, x, labels, settings)
    say_cost(cost, len(labels))
    rows: list[Criterion] = []
    stop: BaseException | None = None
    try:
        _measure(rows, classifier, x, labels, settings, not as_json)
    except BaseException as error:  # what was measured is printed and kept, whatever ended the rest
        stop = error
    failed, undecided = _numbers(rows, Outcome.FAILS), _numbers(rows, Outcome.UNDECIDED)
    document = {
        "checklist": asdict(settings),
        **defended.about,
        "passed": None if stop else not failed and not undecided,
        "interrupted": stop is not None,
        "criteria": [asdict(row) | {"passed": row.passed} for row in rows],
        **defended.qualified,
        "seconds": time.perf_counter() - start,
    }
    path = loaded.folder / "checklist.jsonl"
    recorded = _recorded(path, document)
    if as_json:
        print_json(document)
    if isinstance(stop, KeyboardInterrupt):
        kept = f"{len(rows)} of {len(CRITERIA)} criteria {f'are in {path}' if recorded else 'were measured'}"
        leave(stop, f"{kept}; start npsnn checklist again for all")
    if stop:
        raise stop
    if not as_json:
        _print_result(defended, rows)
    if failed or undecided:
        sys.exit(FAILS if failed else UNDECIDED)


def _print_heading(defended: Defended, settings: Checklist, images: str) -> None:
    """Print the noise and the accuracy of the network, and what all attacks have in common."""
    defended.print_heading(images)
    each = (
        f", each gradient over {settings.eot} draw{'s' if settings.eot > 1 else ''}" if defended.network.random else ""
    )
    say(f"eps {settings.eps:.4g} in Linf{each}")
    click.echo()


def _print_result(defended: Defended, rows: list[Criterion]) -> None:
    """Print how many criteria pass, and what qualifies them."""
    click.echo()
    for line in _counted(rows).splitlines():
        say(line)
    for row in rows:
        print_caveats(row.caveats, f"* {row.number}")
    print_caveats(defended.caveats)


def _numbers(rows: list[Criterion], outcome: Outcome) -> list[int]:
    return [row.number for row in rows if row.outcome is outcome]


def _counted(rows: list[Criterion]) -> str:
    """How many criteria pass, fail and are undecided, in words."""
    outcomes = (Outcome.PASSES, Outcome.FAILS, Outcome.UNDECIDED)
    passed, failed, undecided = (_numbers(rows, outcome) for outcome in outcomes)
    counted = len(passed) + len(failed) + len(undecided)
    parts = [f"{len(passed)} of {counted} criteria pass"]
    for numbers, verb in ((failed, "fail"), (undecided, "undecided")):
        parts.append(f"{len(numbers)} {verb}" + (f": {', '.join(map(str, numbers))}" if numbers else ""))
    text = ", ".join(parts if undecided else parts[:2])
    if undecided and not failed:
        text += "\nNot every criterion could be decided on these images: this is no sign of robustness."
    return text


def _recorded(path: Path, document: dict[str, Any]) -> bool:
    """Whether the document was added to the file, which is optional."""
    try:
        journal.append(path, document)
    except OSError as error:
        say(f"warning: {error}; the result is printed, but not recorded", err=True)
        return False
    return True


def _measure(rows: list[Criterion], classifier: Any, x: Any, labels: Any, settings: Checklist, shown: bool) -> None:
    """Adds the criteria to `rows`; each is printed as it comes, if shown, over a bar."""
    from npsnn import attacks

    defended = settings.judging.defended(classifier)
    images = settings.runs(defended.random, defended.model.propagates) * len(labels)
    table = Table({"": 1, "criterion": -25, "outcome": -14}) if shown else None
    columns = min(80, width() or 80)
    with Bar("attacking", images) as bar:
        criteria: Iterator[Criterion] = attacks.examine(classifier, x, labels, settings, bar.update)
        for row in criteria:
            rows.append(row)
            if table:
                table.row(
                    row.number,
                    row.name + (" *" if row.caveats else ""),
                    row.outcome.upper() if row.outcome is Outcome.FAILS else row.outcome,
                )
                click.echo(click.wrap_text(row.explanation, columns, initial_indent=INDENT, subsequent_indent=INDENT))
