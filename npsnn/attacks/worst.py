"""The accuracy that several attacks leave together: each image meets the one that is worst for it.

Which attack is worst for an image is chosen on draws of its own, common to all attacks and to the image as it is, and
judged on others: a choice that is judged by the draws that made it would pass off luck for strength.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from npsnn.attacks.flags import of_together
from npsnn.attacks.judging import Accuracy, Judging, Progress, accuracy, checked_judging
from npsnn.attacks.results import Result
from npsnn.attacks.statistics import Difference
from npsnn.classifier import Classifier
from npsnn.inputs import as_labels
from npsnn.runs.caveats import Caveat

CLEAN = "no attack"


@dataclass(frozen=True, eq=False, repr=False)
class Worst(Accuracy):
    """Accuracy in the worst case, judged on draws that chose nothing.

    strongest: the attack that leaves least by itself, "no attack" where none leaves less than the image as it is. A
        group whose members ran in turn counts as one attack, by its name.
    alone: what it leaves by itself on the same draws. The worst case may be above by the luck of the draws, and is in
        no other way: nothing is chosen by these draws.
    rise: how much more the worst case is than what the strongest attack left on the draws of its result. It may be
        above 0, for other draws leave another accuracy; by chance unless `above`.
    x_adv: the chosen images.
    chosen: how many images each attack gave, and "no attack" those left as they are.
    selection: number of draws that chose; 1 where no draw differs from another.
    in_every_draw: the accuracy if an image counts as lost that any of the judging draws misreads.
    clean_in_every_draw: the same of the images as they are; None where they are not known.
    caveats: signs that attacks failed for reasons of their own (`npsnn.attacks.flags`).
    candidates: among how many attacks, groups and "no attack" each image had the choice.
    """

    strongest: str
    alone: Accuracy
    rise: Difference
    x_adv: np.ndarray = field(default_factory=lambda: np.empty(0))
    chosen: Mapping[str, int] = field(default_factory=dict)
    selection: int = 1
    clean_in_every_draw: Accuracy | None = None
    caveats: tuple[Caveat, ...] = ()
    candidates: int = 1

    @property
    def above(self) -> bool:
        """Whether `rise` is more than chance: of so many candidates the luckiest is called the strongest."""
        return self.rise.surely(self.candidates)

    @property
    def in_every_draw(self) -> Accuracy:
        """The part of the images that are right in every one of the judging draws; its interval is over images."""
        return _in_every_draw(self)


def caveats_together(results: list[Result], found: Worst) -> list[Caveat]:
    """What qualifies the worst case of some results; a transfer beside other attacks weakens nothing."""
    heeding = [r for r in results if not r.noise_ignored] or results
    return list(dict.fromkeys([*(caveat for r in heeding for caveat in r.caveats), *found.caveats]))


class Candidate(NamedTuple):
    """What an image may meet: the name of an attack, the accuracy of each image under it, (N,), and its images."""

    name: str
    each: np.ndarray
    x: np.ndarray


def worst_case(
    classifier: Classifier,
    labels: np.ndarray,
    results: list[Result],
    judging: Judging,
    progress: Progress | None = None,
) -> Worst:
    """Accuracy where each image meets the attack that most of `judging.selection` draws misread it under.

    labels: (N,).
    results: of one norm and eps. The image as it is counts as an attack.
    judging: as the results were judged.
    progress: called with the number of images of an attack that a draw has chosen among.

    The draws that choose are common to all attacks. The images that they chose are judged on `judging.draws` others,
    which were nobody's. Raises ValueError for no result, for results of several balls, and for labels of other images.
    """
    judging = checked_judging(judging)
    if not results:
        raise ValueError("results must hold at least one, got none")
    if balls := sorted({f"{r.norm} {r.eps:g}" for r in results} - {f"{results[0].norm} {results[0].eps:g}"}):
        raise ValueError(
            f"results must be of one ball, got {results[0].norm} {results[0].eps:g} and {', '.join(balls)}"
        )
    if any(r.known != results[0].known for r in results):
        raise ValueError("results must be judged by the same draws: some attacks know the draw that judges them")
    labels = as_labels(labels, len(results[0].accuracy.each), classifier.model.classes)
    defended = judging.defended(classifier)
    candidates = _candidates(results)
    stream = judging.stream.at(results[0].norm, repr(float(results[0].eps)), "worst case")
    selecting, draws, last = stream.at("selection"), judging.selection if defended.random else 1, judging.draws
    if (known := judging.knowing(results[0].known)) is not None:  # there is no other draw
        stream, selecting, draws, last = known, known, 1, 1
    said = [accuracy(defended, c.x, labels, draws, selecting, progress).each for c in candidates]
    choice = np.stack(said).argmin(axis=0)  # the first of equals, which leaves least of all
    x_adv = np.stack([c.x for c in candidates])[choice, np.arange(len(labels))]
    found = accuracy(defended, x_adv, labels, last, stream)
    counts = Counter(candidates[i].name for i in choice.tolist())
    strongest, clean = candidates[0], next((c for c in candidates if c.name == CLEAN), None)
    return Worst(
        found.each,
        strongest.name,
        accuracy(defended, strongest.x, labels, last, stream),
        Difference.of(found.each, strongest.each),
        x_adv,
        dict(counts),
        draws,
        _in_every_draw(accuracy(defended, clean.x, labels, last, stream)) if clean else None,
        tuple(of_together(results)),
        len(candidates),
        draws=found.draws,
    )


def _candidates(results: list[Result]) -> list[Candidate]:
    """What each attack, each group whose members ran in turn, and no attack leave, the strongest first."""
    last = {r.group: r for r in results if r.met is not None}
    found = [Candidate(r.attack, r.accuracy.each, r.x_adv) for r in results if r.met is None]
    found += [Candidate(name, r.accuracy.each, r.x_adv) for name, r in last.items()]
    first = results[0]
    if first.x is not None and first.clean is not None:
        found.append(Candidate(CLEAN, first.clean, first.x))
    return sorted(found, key=lambda candidate: candidate.each.mean())


def _in_every_draw(found: Accuracy) -> Accuracy:
    return Accuracy((found.each == 1).astype(np.float64))
