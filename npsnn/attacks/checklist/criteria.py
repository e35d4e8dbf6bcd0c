"""Whether a network is robust, or its gradients only hide where it is not: ten criteria, measured on it.

Five are those of A2SNN Sec. 4.5, after Athalye, Carlini and Wagner (2018); the next three ask what noise adds to them,
the ninth whether stronger attacks confirm what PGD leaves, and the last whether attacks in single precision can see the
network's gradients at all.
"Leaves" is said of an attack: the accuracy under it. "Surely" is by more than chance, in an exact test of the paired
differences over images: of networks for which there is none, at most 2.5 % fail a comparison. A comparison that no
outcome on these images could decide is undecided: where too few images are right without an attack, where the network
reads no more of them than by naming one class, and where no attack takes anything.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

import numpy as np

from npsnn.attacks.checklist.checklist import Checklist
from npsnn.attacks.checklist.lost import lost_gradients
from npsnn.attacks.checklist.outcomes import Criterion, Findings, Outcome, decided
from npsnn.attacks.checklist.suite import Suite
from npsnn.attacks.judging import Progress
from npsnn.attacks.results import Result
from npsnn.attacks.statistics import Difference, Z, needed
from npsnn.classifier import Classifier
from npsnn.validate import check_network

ALL = 0.01
"""What may be left where an attack takes all: a network that guesses is right by luck now and then."""
FAR = 0.1
"""How much less than PGD a stronger attack may leave of a sound network: on networks that were trained with adversarial
images it is 1 to 7 points, on networks that mask their gradients up to 64 (RobustBench, Croce et al. 2021)."""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _left(result: Result) -> str:
    return _percent(result.accuracy.mean)


def _points(difference: Difference) -> str:
    return f"{100 * difference.mean:+.1f} ± {100 * difference.error:.1f} points"


def _figures(difference: Difference, name: str) -> dict[str, float]:
    return {name: difference.mean, f"standard error of {name}": difference.error}


def _compared(more: np.ndarray, less: np.ndarray, names: tuple[str, str]) -> tuple[Difference, str, dict[str, float]]:
    """Two accuracies of each image, (N,): how much more the first is; the same in words, and as figures."""
    difference = Difference.of(more, less)
    means = {name: float(each.mean()) for name, each in zip(names, (more, less), strict=True)}
    (first, most), (second, least) = means.items()
    text = f"{first} leaves {_percent(most)}, {second} {_percent(least)}: {_points(difference)}"
    return difference, text, means | _figures(difference, " less ".join(names))


def _found(
    suite: Suite,
    attacks: Iterable[np.ndarray],
    fails: bool,
    text: str,
    figures: dict[str, float],
    comparisons: int = 1,
    unsure: str = "",
) -> Findings:
    """Findings of a comparison of attacks, as `decided`; the explanation ends with the reason if it is undecided."""
    outcome, reason = decided(suite.clean, suite.labels, attacks, fails, comparisons, unsure)
    return outcome, text + (f"; undecided: {reason}" if reason else ""), figures


def one_step(suite: Suite) -> Findings:
    """Fails if PGD surely leaves more than FGSM; notes the images on which a gradient was 0 or not finite."""
    fgsm, pgd = suite.fgsm, suite.pgd()
    difference, text, figures = _compared(pgd.accuracy.each, fgsm.accuracy.each, ("PGD", "FGSM"))
    figures |= {"all-zero gradients": pgd.zero_gradients, "non-finite gradients": pgd.bad_gradients}
    if pgd.zero_gradients or pgd.bad_gradients:
        text += f"; PGD met an all-zero gradient on {pgd.zero_gradients:,}, a non-finite one on {pgd.bad_gradients:,} "
        text += f"of {len(suite.x):,} images"
    return _found(suite, (fgsm.accuracy.each, pgd.accuracy.each), difference.surely(), text, figures)


def black_box(suite: Suite) -> Findings:
    """Fails if random search surely leaves less than the best white box, or One-Pixel less than FGSM or PGD.

    Of several numbers of pixels the least decides. It is another ball, L0, and no smaller than that of a small eps: the
    paper's own tables fail this reading for 2 and 3 pixels (audit A29). Of three comparisons one would fail by luck
    more often than a single one: each must be as much surer (Bonferroni).
    """
    white = {"FGSM": suite.fgsm, "PGD": suite.pgd()} | ({"closed form": suite.adaptive} if suite.carried else {})
    best = min(white, key=lambda name: white[name].accuracy.mean)
    each = white[best].accuracy.each, suite.random.accuracy.each
    difference, text, figures = _compared(*each, (best, "random search"))
    figures |= {name: result.accuracy.mean for name, result in white.items()}
    comparisons = 3
    failed = difference.surely(comparisons)
    tried = [suite.random, *white.values()]
    for pixels in sorted(set(suite.options.pixels)):
        result, label = suite.one_pixel(pixels), f"{pixels} pixel{'s' if pixels > 1 else ''}"
        differences = {name: Difference.of(white[name].accuracy.each, result.accuracy.each) for name in ("FGSM", "PGD")}
        figures[label] = result.accuracy.mean
        for name, difference in differences.items():
            figures |= _figures(difference, f"{name} less {label}")
        beaten = [name for name, difference in differences.items() if difference.surely(comparisons)]
        failed |= bool(beaten) and pixels == min(suite.options.pixels)
        tried.append(result)
        text += f"; in another ball, L0, {label} leave{'' if pixels > 1 else 's'} {_left(result)}"
        text += f", less than {' and '.join(beaten)}" if beaten else ""
    return _found(suite, (result.accuracy.each for result in tried), failed, text, figures, comparisons)


def unbounded(suite: Suite) -> Findings:
    """Passes if PGD with eps = 1 and 20 steps, of eps/10 or of 2.5 eps/k, leaves at most 1 %; fails if surely more."""
    results = suite.unbounded()
    figures = {name: result.accuracy.mean for name, result in results.items()}
    text = "PGD with eps 1 leaves " + ", ".join(f"{_left(result)} by {name}" for name, result in results.items())
    text += f"; at most {_percent(ALL)} may be left"
    least = min(results.values(), key=lambda result: result.accuracy.mean).accuracy
    each = [result.accuracy.each for result in results.values()]
    unsure = f"so few of {len(suite.x):,} images are not surely more" if least.mean > ALL else ""
    return _found(suite, each, least.ci95[0] > ALL, text, figures, unsure=unsure)


def random_sampling(suite: Suite) -> Findings:
    """Fails if random search surely finds more images that most draws misread, where PGD found none, than its control.

    The images are those that are right in every draw without an attack and that at least half of the draws still read
    correctly after PGD; the search's best point and, as its control, the image itself are judged on draws that chose
    neither. Not deciding, the paper's own procedure: of the images that FGSM takes, those of which any sample is ever
    misread, and as many without the perturbation, for a network with noise errs by itself in so many tries.
    """
    right = suite.clean.each == 1
    held = right & (suite.pgd().accuracy.each >= 0.5)
    figures: dict[str, float] = {"images that PGD leaves": float(held.sum())}
    fails, found, control = False, 0, 0
    if held.any():
        misread, by_itself = (suite.again(held, x) < 0.5 for x in (suite.random.x_adv, suite.x))
        fails = Difference.of(misread.astype(float), by_itself.astype(float)).surely()
        found, control = int(misread.sum()), int(by_itself.sum())
    taken = right & suite.fgsm.success
    once, without = suite.any_of_many(taken)
    figures |= {"found by random search": found, "found without perturbation": control}
    figures |= {"images that FGSM takes": float(taken.sum())}
    figures |= {"ever misread in its samples": once, "ever misread without perturbation": without}
    samples = f"{suite.options.samples:,} samples"
    text = f"of {held.sum():,} images that PGD leaves, {samples} find {found:,} misread by most draws, {control:,} "
    text += f"without perturbation; of {taken.sum():,} that FGSM takes, {once:,} are misread in any of {samples}, "
    text += f"{without:,} without perturbation"
    unsure = "" if right.any() else "no image is right in every draw"
    if 0 < held.sum() < needed():
        unsure = f"of fewer than {needed()} images, random search surely finds none"
    return _found(suite, (suite.random.accuracy.each, suite.pgd().accuracy.each), fails, text, figures, unsure=unsure)


def rising_eps(suite: Suite) -> Findings:
    """Fails if PGD at any eps of the ladder surely leaves more than at a smaller one, or at the largest not less.

    The latter is: not surely less than at the smallest, unless that leaves at most 1 %. Of so many pairs one would rise
    by luck: each must be as much surer (Bonferroni).
    """
    ladder = suite.options.ladder
    results = {eps: suite.pgd(eps) for eps in ladder}
    pairs = list(combinations(ladder, 2))
    rises = {pair: Difference.of(results[pair[1]].accuracy.each, results[pair[0]].accuracy.each) for pair in pairs}
    low, high = min(rises, key=lambda pair: (rises[pair].chance, -rises[pair].mean))
    rise = rises[low, high]
    figures = {f"PGD at {eps:.4g}": result.accuracy.mean for eps, result in results.items()}
    figures |= {"largest rise": rise.mean, "standard error of largest rise": rise.error}
    figures |= {"chance of largest rise": rise.chance, "pairs": len(pairs)}
    first, last = (results[eps].accuracy for eps in (ladder[0], ladder[-1]))
    fall = Difference.of(first.each, last.each)
    flat = first.mean > ALL and not fall.surely()
    figures |= _figures(fall, "fall from the smallest to the largest")
    left = ", ".join(_percent(result.accuracy.mean).removesuffix(" %") for result in results.values())
    text = f"PGD leaves {left} % at eps {ladder[0]:.4g} to {ladder[-1]:.4g}"
    if rise.surely(len(pairs)):
        text += f"; from {low:.4g} to {high:.4g} it rises by {_points(rise)}"
    if flat:
        text += f"; the largest eps takes no more than the smallest: {_points(fall)}"
    few, unsure = int((first.each > 0).sum()), ""
    if flat and few < needed():
        unsure = f"the smallest eps leaves {few:,} images, and fewer than {needed()} are never surely taken"
    fails = rise.surely(len(pairs)) or (flat and not unsure)
    return _found(suite, (last.each,), fails, text, figures, len(pairs), unsure)


def transfer(suite: Suite) -> Findings:
    """Fails if PGD on the network without its noise surely leaves less than EoT: its gradients are worse than none."""
    each = suite.pgd().accuracy.each, suite.transfer().accuracy.each
    difference, text, figures = _compared(*each, ("PGD with EoT", "PGD on the noise-off network"))
    return _found(suite, each, difference.surely(), text, figures)


def known_noise(suite: Suite) -> Findings:
    """Fails if PGD that knows the one draw by which it is judged surely leaves more than EoT's, judged on the same.

    The network is deterministic then, and its gradients are exact. That more is left where the draw is not known is no
    failure, but what the randomness is worth. Both are means over several draws.
    """
    names = ("PGD that knows the draw", "PGD with EoT")
    each = suite.known()
    difference, text, figures = _compared(*each, names)
    figures["worth of randomness"] = -difference.mean
    return _found(suite, each, difference.surely(), text, figures)


def without_sampling(suite: Suite) -> Findings:
    """Fails if PGD on the closed form surely leaves less than with EoT: attacks by draws overstate the robustness."""
    each = suite.pgd().accuracy.each, suite.adaptive.accuracy.each
    difference, text, figures = _compared(*each, ("PGD with EoT", "PGD on the closed form"))
    return _found(suite, each, difference.surely(), text, figures)


def stronger(suite: Suite) -> Findings:
    """Fails if APGD-T or Square surely leaves less than PGD by more than 10 points: PGD's figure says little then.

    PGD climbs towards the class that is ahead. Where that is a class that no step reaches, an attack that aims at each
    class in turn, or that needs no gradient, takes the image all the same.
    """
    pgd, others = suite.pgd(), suite.stronger()
    least = min(others, key=lambda result: result.accuracy.mean)
    difference, text, figures = _compared(pgd.accuracy.each, least.accuracy.each, ("PGD", least.attack))
    figures |= {result.attack: result.accuracy.mean for result in others}
    text += f"; at most {100 * FAR:.0f} points are sound"
    fails = difference.surely() and difference.mean - Z * difference.error > FAR
    return _found(suite, (pgd.accuracy.each, least.accuracy.each), fails, text, figures)


CRITERIA: tuple[tuple[str, str, Callable[[Suite], Findings], bool], ...] = (
    ("one step against many", "Do one-step attacks perform better than iterative ones?", one_step, False),
    ("black box against white", "Do black-box attacks perform better than white-box ones?", black_box, False),
    ("unbounded attack", "Do unbounded attacks not reach 100 % success?", unbounded, False),
    (
        "random sampling",
        "Does random sampling find adversarial examples that the gradient misses?",
        random_sampling,
        False,
    ),
    ("rising eps", "Does a larger distortion not raise the success?", rising_eps, False),
    ("transfer", "Do gradients of the network without noise serve better than EoT's?", transfer, True),
    ("known noise", "Does an attacker who knows the noise do worse?", known_noise, True),
    ("closed form", "Does the attack without sampling take what EoT leaves?", without_sampling, True),
    ("stronger attacks", "Do attacks of other kinds take far more than PGD?", stronger, False),
    ("lost gradients", "Does single precision lose gradients of the cross-entropy?", lost_gradients, False),
)
"""Name, question, what decides it, and whether it is about noise."""


def examine(
    classifier: Classifier,
    x: np.ndarray,
    labels: np.ndarray,
    options: Checklist | None = None,
    progress: Progress | None = None,
) -> Iterator[Criterion]:
    """The ten criteria of gradient obfuscation, measured on the defended network; yields one at a time.

    The attacks are plain ones on EoT gradients, in Linf. The same draws judge the success of all.

    x: (N, C, H, W), floats in [0, 1] or 8-bit.
    labels: (N,).
    options: how the criteria are measured.
    progress: called with the number of images done, in all `Checklist.runs` times N.
    Without noise criteria 6 to 8 do not apply, and without a closed form 8 does not. Raises ValueError for fewer than
    two images and for what does not fit the network.
    Source: A2SNN Sec. 4.5, with controls (audit A24, A26, A29) and a rule for each decision.
    """
    check_network(classifier)
    suite = Suite(classifier, x, labels, options or Checklist(), progress)
    for number, (name, question, decide, needs_noise) in enumerate(CRITERIA, start=1):
        lacks = _lacking(suite, decide) if needs_noise else ""
        if lacks:
            yield Criterion(number, name, question, Outcome.NOT_APPLICABLE, lacks)
        else:
            before = len(suite.caveats)
            outcome, explanation, figures = decide(suite)
            yield Criterion(number, name, question, outcome, explanation, figures, tuple(suite.caveats[before:]))


def _lacking(suite: Suite, decide: Callable[[Suite], Findings]) -> str:
    """Say, as a clause, that the network lacks a thing that a criterion about noise needs; "" where it has all."""
    if not suite.noisy:
        return "the network has no noise"
    return "the network has no closed form" if decide is without_sampling and not suite.carried else ""
