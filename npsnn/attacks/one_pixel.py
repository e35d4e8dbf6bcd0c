"""The One-Pixel attack: a few pixels' places and colours, found by differential evolution without a gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from numbers import Real
from typing import Any

import numpy as np

from npsnn.attacks.balls import Limit, check_pixels
from npsnn.attacks.base import Attack, Offer, attack
from npsnn.attacks.sources import DRAWN, Ascends, Source
from npsnn.attacks.targets import Queried, Target, given
from npsnn.backend import Array, namespace, to_host
from npsnn.streams import Randomness, Stream
from npsnn.validate import check_choice, check_count

STRATEGIES = tuple(
    f"{base}{by}"
    for base in ("best1", "best2", "rand1", "rand2", "randtobest1", "currenttobest1")
    for by in ("bin", "exp")
)
ENERGY_LIMIT = 1e100
"""Far beyond any margin in standard deviations but those without noise, whose squares would overflow."""


def converged(energies: np.ndarray) -> bool:
    """√Var(E) <= |mean E| / 100, the variance with 1/N: differential evolution stops (A2SNN Sec. 4.1, audit A22)."""
    energies = np.asarray(energies, np.float64)
    return bool(energies.std() <= abs(energies.mean() / 100))


def paint(image: Array, genes: np.ndarray) -> Array:
    """Copies of an image, where it is, with some pixels replaced, a later one in the place of an earlier.

    image: (C, H, W). genes: (S, pixels, 2 + C), a row, a column and the colour of each; places from 0 to H and to W,
    of which the whole part counts. Returns (S, C, H, W) in [0, 1].
    """
    xp = namespace(image)
    x, moved = xp.repeat(image[None], len(genes), axis=0), xp.asarray(genes)
    places = [xp.clip(moved[..., i].astype(int), 0, side - 1) for i, side in enumerate(image.shape[1:])]
    colours = xp.clip(moved[..., 2:], 0, 1).astype(image.dtype)
    for pixel in range(genes.shape[1]):
        x[xp.arange(len(x)), :, places[0][:, pixel], places[1][:, pixel]] = colours[:, pixel]
    return x


@attack("one-pixel")
@dataclass(frozen=True)
class OnePixel(Attack):
    """Replaces pixels by those of the lowest energy that differential evolution finds; energy is -objective.

    Differential evolution sees the order of the energies alone, the rule `converged` their scale. With
    `true_class_probability`, which the paper may mean (audit A22), the candidates of a confident network are alike
    within 1 %, and the search is over before it begins. Its logarithm, the cross-entropy, makes the same search without
    that, and is what the attack ascends where its source names nothing. `least_win_probability` of the closed form,
    which it ascends there, has no noise.

    pixels: number of pixels that may change.
    population: number of candidates, at least 5.
    generations: number of generations at most; the search ends sooner where it has `converged`.
    crossover: probability that a gene is the mutant's.
    mutation: weight of a difference of candidates; a pair is a range from which each generation draws.
    strategy: SciPy's name for how mutants are made.
    common: whether all candidates share the draws of a sampled target. Where each meets draws of its own, the rule
        `converged` may never hold (A22).
    stop: share of `draws` that ends the search once the best candidate is misread so often; None for never. It is above
        ½, lest one of many looks succeed by luck.
    draws: number of fresh draws by which the best candidate is judged.
    source: where its energies come from.
    Source: Su, Vargas and Sakurai 2019, who draw the first places uniformly and colours from N(½, ½²), here clipped;
    population, crossover, mutation and end A2SNN Sec. 4.1, which has 75 generations and later 1000. The strategy is
    unstated: best1bin is SciPy's default, as are the 0.7, the 1000 and the 1 %.
    """

    pixels: int = 1
    population: int = 400
    generations: int = 75
    crossover: float = 0.7
    mutation: float | tuple[float, float] = 0.5
    strategy: str = "best1bin"
    common: bool = True
    stop: float | None = 0.9
    draws: int = 10
    source: Source = DRAWN

    ascends = Ascends("cross-entropy", closed_form="least-win-probability")
    forward_only = True
    on_device = True
    one_by_one = True
    offer = Offer(
        "One-Pixel: few pixels by differential evolution, on the label's log-probability under --eot shared draws.",
        adaptive="One-Pixel on the least margin of the closed form, without draws.",
        strengths="pixels",
    )

    def __post_init__(self) -> None:
        for name, low in {"pixels": 1, "population": 5, "generations": 1, "draws": 1}.items():
            check_count(name, getattr(self, name), low)
        mutations = self.mutation if isinstance(self.mutation, tuple) else (self.mutation,)
        for name, value, high in (
            ("crossover", self.crossover, 1),
            *(("mutation", mutation, 2) for mutation in mutations),
            ("stop", 1 if self.stop is None else self.stop, 1),
        ):
            if not isinstance(value, Real) or not 0 <= value <= high:
                raise ValueError(f"{name} must be in [0, {high}], got {value!r}")
        check_choice("strategy", self.strategy, STRATEGIES)

    @property
    def ball(self) -> Limit:
        """The number of pixels that may change."""
        return Limit("l0", self.pixels)

    def fits(self, shape: tuple[int, ...], classes: int) -> None:
        """Raise ValueError for more pixels than an image has."""
        check_pixels(self.pixels, shape)

    def passes(self, target: Target) -> int:
        """Forward passes for one image, if the search does not end early."""
        return self.population * (self.generations + 1) * target.passes

    def __call__(self, target: Queried, x: Array, labels: Array, stream: Randomness) -> Array:
        """Adversarial images for some images: (N, C, H, W) in [0, 1] -> the same shape; a search for each.

        Raises ValueError for more pixels than an image has.
        """
        x, labels, stream = given(target, x, labels, stream)
        check_pixels(self.pixels, x.shape[1:])
        found = [
            self._search(target, image, labels[n : n + 1], stream.at("image", stream.sample(n)).from_sample(0))
            for n, image in enumerate(x)
        ]
        return namespace(x).stack(found) if found else x

    def _search(self, target: Queried, image: Array, label: Array, stream: Stream) -> Array:
        energy = _Energy(target, image, label, stream.at("energy"), self.common)
        clean = energy.of(image[None])[0]
        looks, last = count(), np.inf

        def look(intermediate_result: Any) -> None:
            nonlocal last
            if self.stop is not None and intermediate_result.fun != last:
                last, best = intermediate_result.fun, energy.images(intermediate_result.x[:, None])
                misread = to_host(target.misread(best, label, self.draws, stream.at("judge", next(looks))))
                if misread[0] >= self.stop:
                    raise StopIteration
            if converged(intermediate_result.population_energies):
                raise StopIteration

        try:
            result = self._evolve(energy, stream.at("evolution").generator(), look)
        except RuntimeError as error:
            # SciPy takes a ValueError of the energy for one of its own
            raise error.__cause__ or error from None
        return energy.images(result.x[:, None])[0] if result.fun < clean else image

    def _evolve(self, energy: "_Energy", rng: np.random.Generator, look: Callable[..., None]) -> Any:
        from scipy.optimize import Bounds, differential_evolution  # here, since it takes long to import

        first, upper = self._first(energy.image, rng)
        return differential_evolution(
            energy,  # type: ignore[arg-type]  # of a whole population at once
            Bounds(np.zeros_like(upper), upper),
            strategy=self.strategy,  # type: ignore[arg-type]
            maxiter=self.generations,
            init=first,
            mutation=self.mutation,
            recombination=self.crossover,
            seed=rng,
            callback=look,
            polish=False,
            tol=0,  # `converged` decides
            vectorized=True,
            updating="deferred",
        )

    def _first(self, image: Array, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The first population, (population, genes), and the upper bound of each gene, (genes,); the lower is 0."""
        channels, *sides = image.shape
        places = rng.uniform(0, sides, (self.population, self.pixels, 2))
        colours = np.clip(rng.normal(0.5, 0.5, (self.population, self.pixels, channels)), 0, 1)
        genes = np.concatenate([places, colours], axis=2)
        return genes.reshape(self.population, -1), np.tile(np.array([*sides, *[1] * channels], float), self.pixels)


class _Energy:
    """The energy of many candidates at once, as SciPy asks for it: genes (genes, S) -> (S,), both on the host."""

    def __init__(self, target: Queried, image: Array, label: Array, stream: Stream, common: bool) -> None:
        self.target, self.image, self.label, self.stream, self.common = target, image, label, stream, common
        self.calls = count()

    def images(self, genes: np.ndarray) -> Array:
        """(genes, S) -> (S, C, H, W)."""
        return paint(self.image, genes.T.reshape(genes.shape[1], -1, 2 + len(self.image)))

    def of(self, x: Array) -> np.ndarray:
        """(S, C, H, W) -> (S,)."""
        noise = self.stream.one_draw() if self.common else self.stream.at("call", next(self.calls))
        labels = namespace(self.label).repeat(self.label, len(x))
        energies = -to_host(self.target.value(x, labels, noise))
        if not np.isfinite(energies).all():
            raise ValueError("the network's logits are not finite under one-pixel candidates")
        return np.asarray(np.clip(energies, -ENERGY_LIMIT, ENERGY_LIMIT))

    def __call__(self, genes: np.ndarray) -> np.ndarray:
        return self.of(self.images(genes))
