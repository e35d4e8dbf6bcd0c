"""The accuracy that several attacks leave together, each image met by the one that is surely strongest on it."""

from dataclasses import dataclass

import numpy as np

from npsnn.attacks.evaluation import Result
from npsnn.attacks.judging import Accuracy, Judging, accuracy, checked_judging
from npsnn.attacks.statistics import Difference
from npsnn.classifier import Classifier
from npsnn.inputs import as_labels

CLEAN = "no attack"


@dataclass(frozen=True, eq=False, repr=False)
class Worst(Accuracy):
    """Accuracy in the worst case, judged on draws that chose nothing.

    strongest: the attack that leaves least by itself, "no attack" where none leaves less than the image as it is.
    alone: what it leaves by itself on the same draws; the worst case is never above.
    rise: how much more the worst case is than what the strongest attack left on the draws by which it was chosen. It
    may be above 0, for other draws leave another accuracy; by chance unless `rise.surely()`.
    """

    strongest: str
    alone: Accuracy
    rise: Difference


def worst_case(classifier: Classifier, labels: np.ndarray, results: list[Result], judging: Judging) -> Worst:
    """Accuracy under the strongest attack, or on images where another is surely stronger under that one.

    labels: (N,).
    results: of one norm and eps. The image as it is counts as an attack.
    judging: as the results were judged.

    The strongest attack by itself and the attacks so combined are both judged, on the same draws, which are not those
    that chose; the lower counts. The lower of two is the luckier one, by little: the two differ on few images, and on
    these by more than luck. Raises ValueError for no result, and for labels of other images.
    """
    judging = checked_judging(judging)
    if not results:
        raise ValueError("results must hold at least one, got none")
    labels = as_labels(labels, len(results[0].accuracy.each), classifier.model.classes)
    defended = judging.defended(classifier)
    candidates = _candidates(results)
    choice = _chosen([each for _, each, _ in candidates], judging.draws, defended.random)
    stream = judging.stream.at(results[0].norm, repr(float(results[0].eps)), "worst case")
    name, own, images = candidates[0]
    alone = together = accuracy(defended, images, labels, judging.draws, stream)
    if choice.any():
        x_adv = np.stack([x for _, _, x in candidates])[choice, np.arange(len(choice))]
        together = accuracy(defended, x_adv, labels, judging.draws, stream)
    each = min(alone, together, key=lambda found: found.mean).each
    return Worst(each, name, alone, Difference.of(each, own))


def _candidates(results: list[Result]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, accuracy of each image and images of each attack and of none, the strongest first."""
    found = [(r.attack, r.accuracy.each, r.x_adv) for r in results]
    first = results[0]
    if first.x is not None and first.clean is not None:
        found.append((CLEAN, first.clean, first.x))
    return sorted(found, key=lambda candidate: candidate[1].mean())


def _chosen(parts: list[np.ndarray], draws: int, random: bool) -> np.ndarray:
    """Which candidate each image meets, (N,): the first, unless another is surely stronger on it.

    Surely: beyond two standard errors of the draws. To take the luckier of two attacks that are alike would let luck
    choose, and lose more than it gains.
    """
    best, choice = parts[0], np.zeros(len(parts[0]), int)
    for i, each in enumerate(parts[1:], start=1):
        surely = best - each > (2 * _standard_error(best, each, draws) if random else 0)
        best, choice = np.where(surely, each, best), np.where(surely, i, choice)
    return choice


def _standard_error(p: np.ndarray, q: np.ndarray, draws: int) -> np.ndarray:
    """Standard error of p - q, parts of `draws` draws; half a hit is added to both sides, lest 0 and 1 look sure."""
    p, q = ((draws * part + 0.5) / (draws + 1) for part in (p, q))
    return np.asarray(np.sqrt((p * (1 - p) + q * (1 - q)) / draws))
