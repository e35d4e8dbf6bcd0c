"""The settings of the checklist, and the attacks that they make."""

from dataclasses import dataclass, field
from math import inf

from npsnn.attacks.balls import check_linf
from npsnn.attacks.judging import Judging
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.projected import FGSM, PGD
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.sources import EoT, Source
from npsnn.validate import check_types


@dataclass(frozen=True)
class Checklist:
    """How the criteria are measured.

    eps: radius of the Linf ball, in units of the [0, 1] pixel.
    steps: of PGD, 2.5 eps/steps long.
    eot: draws in each sampled gradient, and in each energy of One-Pixel.
    draws: fresh draws on which success is judged, on which random search judges each point, and of which each is known
        to the attacker in turn.
    samples: points of random search.
    pixels: numbers of pixels that One-Pixel may change, a run each.
    population: candidates of One-Pixel.
    generations: generations of One-Pixel at most.
    ladder: the rising radii of criterion 5.
    sigma: the defender's noise, as in `Judging`.
    average: draws that the defender averages, as in `Judging`.
    seed: of all random numbers.
    """

    eps: float = 8 / 255
    steps: int = 10
    eot: int = 10
    draws: int = 10
    samples: int = 100
    pixels: tuple[int, ...] = (1,)
    population: int = 40
    generations: int = 10
    ladder: tuple[float, ...] = field(default=tuple(2**n / 255 for n in range(8)))
    sigma: float | None = None
    average: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.eps < inf:
            raise ValueError(f"eps must be > 0 and finite, got {self.eps!r}")
        check_linf(self.eps)
        if self.eot < 1:
            raise ValueError(f"eot must be >= 1, got {self.eot}")
        if not self.pixels:
            raise ValueError(f"pixels must hold at least one, got {self.pixels}")
        rising = all(low < high for low, high in zip(self.ladder, self.ladder[1:], strict=False))
        if len(self.ladder) < 2 or not rising or not self.ladder[0] > 0 or not self.ladder[-1] <= 1:
            raise ValueError(f"ladder must hold at least two rising radii > 0 and at most 1, got {self.ladder}")
        _ = self.judging, self.fgsm, self.pgd(self.eps), self.random, [self.one_pixel(p) for p in self.pixels]

    @property
    def judging(self) -> Judging:
        """How success is judged."""
        return Judging(self.draws, self.seed, self.sigma, self.average)

    @property
    def fgsm(self) -> FGSM:
        """FGSM on drawn gradients."""
        return FGSM(self.eps, source=EoT(self.eot))

    def pgd(self, eps: float, source: Source | None = None) -> PGD:
        """PGD at an eps; source: of its gradients, by default draws."""
        return PGD(eps, steps=self.steps, source=source or EoT(self.eot))

    @property
    def random(self) -> RandomSearch:
        """Random search, each point judged as all attacks are."""
        return RandomSearch(self.eps, samples=self.samples, draws=self.draws)

    def one_pixel(self, pixels: int) -> OnePixel:
        """One-Pixel, of so many pixels."""
        return OnePixel(pixels, self.population, self.generations, draws=self.draws, source=EoT(self.eot))

    def runs(self, noisy: bool) -> int:
        """How many attacks on all images there are: what progress adds up to, over the images."""
        return 4 + len({self.eps, *self.ladder}) + len(set(self.pixels)) + (2 + self.draws if noisy else 0)
