"""The cards of the twelve defences notice what breaks them, and name the places that they were read from."""

import re
from typing import Any

import numpy as np
import pytest
from mutants import Mutant, mutation_test

from npsnn import audit
from npsnn.audit.sources import VERSIONS
from npsnn.reference import defences

PLAIN = "npsnn.reference.defences"
CARDS = "npsnn.audit.cards"
DEFENCES = ("TRADES", "MART", "BPFC", "RLFLAT", "PCL", "SADS", "RSE", "PNI", "L2P", "PixelDP", "Adv-BNN", "MI")
PLACE = re.compile(r"([\w-]+/[\w.-]+)@([0-9a-f]{7}), [\w/.*-]+:\d+(-\d+)?(, \d+(-\d+)?)*: .+")


def scaled(part: int, factor: float) -> Any:
    """One part of what a function returns, times a factor."""
    return lambda f: lambda *a, **k: tuple(z * factor if i == part else z for i, z in enumerate(f(*a, **k)))


def times(factor: float) -> Any:
    return lambda f: lambda *a, **k: factor * f(*a, **k)


def method(**methods: Any) -> Any:
    """A class with other methods."""
    return lambda cls: type(cls.__name__, (cls,), methods)


MUTANTS: list[Mutant] = [
    # the other reading for the divergence; a clean gradient that is missing; a sign in the attack's
    ("C1", f"{PLAIN}.divergence", lambda f: defences.cross_entropy_of_answers),
    ("C1", "npsnn.ops.loss.divergence", scaled(1, 0.5)),
    ("C1", "npsnn.ops.loss.divergence", scaled(2, -1.0)),
    ("C1", "npsnn.ops.loss.divergence", scaled(0, 2.0)),
    ("C2", f"{PLAIN}.running_share", lambda f: lambda passes: f(passes[:2])),
    ("C3", f"{PLAIN}.stepped", lambda f: lambda epoch, at: f(epoch + 1, at)),
    # the safeguard in both forms or in none; a weight that is not differentiated; a sign
    ("C4", f"{PLAIN}.mart", lambda f: lambda z, o, k, w, safe=0.0: f(z, o, k, w, 1e-4)),
    ("C4", f"{PLAIN}.mart", lambda f: lambda z, o, k, w, safe=0.0: f(z, o, k, w, 0.0)),
    ("C4", f"{PLAIN}.mart", scaled(2, 2.0)),
    ("C5", f"{PLAIN}.mart", scaled(1, -1.0)),
    ("C5", f"{PLAIN}.divergence", scaled(1, 0.5)),
    # no noise, bins of half the size, the edge of a bin
    ("C6", f"{PLAIN}.quantised", lambda f: lambda x, u, k, cap=None: f(x, 0 * u, k, cap)),
    ("C6", f"{PLAIN}.quantised", lambda f: lambda x, u, k, cap=None: f(x, u, k - 1, cap)),
    ("C6", f"{PLAIN}.quantised", lambda f: lambda x, u, k, cap=None: f(x, u, k, 2)),
    ("C7", "npsnn.reference.authors_code.best_of", times(0.9)),
    ("C7", "npsnn.train.split_validation", lambda f: lambda *a: (f(*a)[1],) * 2),
    # parts along one axis alone, the cut at another pixel, always swapped
    ("C8", f"{PLAIN}.shuffled", lambda f: lambda x, cuts, swapped: f(x, cuts, (swapped[0], False))),
    ("C8", f"{PLAIN}.shuffled", lambda f: lambda x, cuts, swapped: f(x, cuts, (True, True))),
    ("C8", f"{PLAIN}.shuffled", lambda f: lambda x, cuts, swapped: f(x, (cuts[1], cuts[0]), swapped)),
    # squares in print, none in code, a push that pulls
    ("C10", f"{PLAIN}.prototypes_coded", scaled(1, 0.5)),
    ("C10", f"{PLAIN}.prototypes_coded", scaled(3, -1.0)),
    ("C10", f"{PLAIN}.prototypes_printed", scaled(2, -1.0)),
    ("C10", f"{PLAIN}.prototypes_printed", lambda f: lambda f_, k, c: (np.abs(f(f_, k, c)[0]), *f(f_, k, c)[1:])),
    # normalisation undone once only; a step as large as the map
    ("C12", f"{PLAIN}.without_normalisation", lambda f: lambda x, g, m, s, eps, step, n: f(x, g, m, s, eps, step, 1)),
    ("C12", f"{PLAIN}.without_normalisation", lambda f: lambda x, g, m, s, eps, step, n: f(x, g, m, s, eps, 1.0, n)),
    # a network without the mask; a PGD that does not move
    ("C13", f"{CARDS}.pcl_sads.KNOTS", lambda k: ((0.3, -1.0), (0.45, 0.5), (0.5, 1.0), (0.55, 1.1), (0.7, 3.0))),
    ("C13", "npsnn.attacks.projected.pgd", lambda f: lambda eps, **k: f(eps / 100, **k)),
    ("C13", "npsnn.attacks.projected.fgsm", lambda f: lambda eps: f(eps / 2)),
    ("C14", f"{PLAIN}.dropped", scaled(1, 0.8)),
    ("C14", f"{PLAIN}.dropped", lambda f: lambda m, v, p: f(m, v, 1 - p)),
    # a radius in units of another noise, a certificate for a quiet network
    ("C15", f"{CARDS}.rse_l2p.smoothing", lambda f: lambda network: f(network.with_sigma({"noise1": 0.25}))),
    ("C15", f"{CARDS}.rse_l2p._refused", lambda f: lambda network: 0),
    ("C15", f"{PLAIN}.tight_radius", times(2.0)),
    ("C16", f"{PLAIN}.answered", scaled(1, 0.5)),
    ("C16", f"{PLAIN}.answered", lambda f: lambda z, k: (f(z, k)[0] + 1, f(z, k)[1])),
    ("C17", f"{PLAIN}.relative_noise", lambda f: lambda w, a, e, g, t: f(w, a, e, g, False)),
    ("C17", f"{PLAIN}.relative_noise", lambda f: lambda w, a, e, g, t: f(w, a, e, g, True)),
    ("C17", f"{PLAIN}.relative_noise", scaled(1, 1.1)),
    ("C19", f"{PLAIN}.linear_moments", scaled(1, 0.9)),
    ("C19", f"{PLAIN}.linear_moments", lambda f: lambda w, s, b, sb, m, v: f(w, s, b, sb, m, 0 * v)),
    ("C20", f"{CARDS}.rse_l2p.slope", lambda f: lambda x, W, w, noise: f(x, W, w, 0 * noise)),
    ("C21", f"{PLAIN}.harmonic", lambda f: lambda epoch, delay: f(epoch + 1, delay)),
    ("C22", f"{PLAIN}.root_reward", scaled(1, -1.0)),
    ("C22", f"{PLAIN}.root_reward", lambda f: lambda t, g, h: (f(t, g, h)[0], np.full_like(t, -g / h))),
    # epsilon without its limit; the tight radius for the private one, and the reverse
    ("C24", f"{PLAIN}.private_radius", lambda f: defences.tight_radius),
    ("C24", f"{PLAIN}.tight_radius", lambda f: defences.private_radius),
    (
        "C24",
        f"{CARDS}.pixeldp.Smoothing",
        lambda f: lambda network, path, sigma, norm: f(network, path, 2 * sigma, norm),
    ),
    ("C25", "npsnn.certify.interval.lower_bound", lambda f: lambda k, n, alpha: f(k, n, alpha / 2)),
    ("C25", "npsnn.certify.interval.lower_bound", lambda f: lambda k, n, alpha: f(k, n, 2 * alpha)),
    ("C26", "npsnn.certify.norms.convolution_bound", times(0.8)),
    ("C26", "npsnn.certify.norms.convolution_bound", times(1.5)),
    ("C26", f"{PLAIN}.parseval_bound", times(0.5)),
    ("C27", f"{PLAIN}.gaussian_divergence", scaled(0, 0.5)),
    ("C27", f"{PLAIN}.gaussian_divergence", scaled(1, -1.0)),
    ("C27", f"{PLAIN}.gaussian_divergence", scaled(2, 2.0)),
    ("C27", f"{CARDS}.pni_advbnn.VGG16", lambda filters: filters[:4]),
    # an attack that sees the defence after all; a gradient of the wrong size
    ("C29", f"{CARDS}.mixup_inference.Small", method(answer=lambda self, x, k, pool, weight: self.plain(x, k))),
    ("C29", f"{PLAIN}.answered", scaled(1, 2.0)),
    ("C31", f"{CARDS}.mixup_inference.Small", method(plain=lambda self, x, k: (0.0, np.ones(24)))),
    ("C32", f"{CARDS}.compared.TABLE4", lambda t: t | {"TRADES": (83.0, 50.0)}),
    ("C32", f"{CARDS}.compared.TABLE4", lambda t: t | {"MI": (84.2, 30.0)}),
    ("C33", f"{CARDS}.compared.CODED_EPS", lambda t: t | {"TRADES": 8 / 255}),
    ("C33", f"{CARDS}.compared.TABLE4", lambda t: t | {"BPFC": (82.4, 34.4)}),
    ("C34", f"{CARDS}.compared.AUTOATTACK", lambda t: t | {"PCL": (89.16, 32.32, 30.0)}),
    ("C34", f"{CARDS}.compared.AUTOATTACK", lambda t: t | {"RSE": (87.5, 40.0, 0.0)}),
]

OF_ENGINE: list[Mutant] = [
    ("C3", f"{CARDS}.trades_mart.Falls", lambda f: lambda at, factors: f(at, tuple(1.0 for _ in factors))),
    ("C4", "npsnn.ops.mart.boosted_cross_entropy", lambda f: lambda z, k, safe: f(z, k, True)),
    ("C4", "npsnn.ops.mart.boosted_cross_entropy", lambda f: lambda z, k, safe: f(z, k, False)),
    ("C4", "npsnn.ops.mart.boosted_cross_entropy", scaled(1, -1.0)),
    ("C5", "npsnn.ops.mart.unsure_divergence", scaled(1, 0.5)),
    ("C5", "npsnn.ops.mart.unsure_divergence", scaled(2, -1.0)),
    ("C6", f"{CARDS}.bpfc_rlflat.BPFC", lambda f: lambda bits, weight, capped=False: f(bits - 1, weight, capped)),
    ("C6", f"{CARDS}.bpfc_rlflat.BPFC", lambda f: lambda bits, weight, capped=False: f(bits, 2 * weight, True)),
    ("C8", "npsnn.ops.blocks.offsets", lambda f: lambda u, sizes: f(u, sizes)[::-1]),
    ("C8", "npsnn.ops.blocks.turned", lambda f: lambda x, by: f(x, tuple(-b for b in by))),
    ("C10", "npsnn.ops.centres.squared", scaled(2, -1.0)),
    ("C10", "npsnn.ops.centres.plain", scaled(1, 0.5)),
    ("C14", "npsnn.audit.defended.Dropout", lambda f: lambda p: f(p / 2)),
    ("C16", "npsnn.ops.answers.log_mean_probability_backward", lambda f: lambda g, *kept: 0.5 * f(g, *kept)),
    ("C16", "npsnn.ops.answers.log_mean_probability", lambda f: lambda z: (z.mean(axis=0), *f(z)[1:])),
    ("C17", "npsnn.audit.defended.NoisyLinear", lambda f: lambda n, **k: f(n, through_std=True)),
    ("C19", "npsnn.audit.defended.NoisyLinear", lambda f: method(added=lambda self, var, more: var)(f)),
    (
        "C20",
        f"{CARDS}.rse_l2p.PreactivationNoise",
        lambda f: lambda sigma, scope="scalar", shared=False: f(sigma, scope),
    ),
    ("C21", f"{CARDS}.rse_l2p.Harmonic", lambda f: lambda epochs, start: f(epochs, start - 1)),
    ("C22", "npsnn.audit.defended.RootReward", lambda f: lambda weight: f(2 * weight)),
    ("C26", f"{CARDS}.pixeldp.OperatorNorm", lambda f: lambda form="authors", beta=0.0: f("authors", beta)),
    ("C27", "npsnn.audit.defended.KLDivergence", lambda f: lambda weight, prior, last=False: f(weight, prior, True)),
    (
        "C27",
        "npsnn.audit.defended.KLDivergence",
        lambda f: lambda weight, prior, last=False: f(weight, 2 * prior, last),
    ),
    (
        "C29",
        f"{CARDS}.mixup_inference.Mixing",
        lambda f: lambda body, n, pool, weight, choice: f(body, n, pool, 0.6, choice),
    ),
]
"""The same of what the engine computes."""

test_a_broken_formula_turns_the_verdict = mutation_test(MUTANTS + OF_ENGINE)


def test_every_card_with_a_check_has_a_mutant() -> None:
    checked = {card.id for card in audit.select(paper="defences") if card.check}
    assert {card for card, _, _ in MUTANTS} == checked


@pytest.mark.parametrize("name", DEFENCES)
def test_every_defence_has_two_rows_of_its_own(name: str) -> None:
    places = [card.place for card in audit.select(paper="defences")]
    assert sum(name in place for place in places) >= 2, places


@pytest.mark.parametrize("card", audit.select(paper="defences"), ids=lambda card: card.id)
def test_places_name_the_repository_the_version_the_file_and_the_lines(card: audit.Card) -> None:
    assert len(card.places) >= 2
    code = [place for place in card.places if "@" in place and ".ipynb" not in place]
    for place in code:
        found = PLACE.fullmatch(place)
        assert found and VERSIONS[found[1]] == found[2], place
    assert code or card.place.startswith("SADS"), "no place in any code"


def test_headlines_are_of_the_cards_with_checks() -> None:
    for card in audit.select(paper="defences"):
        assert bool(card.headline) == (card.check is not None), card.id
        assert not card.headline.endswith("."), card.id
