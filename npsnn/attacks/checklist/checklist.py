"""The settings of the checklist, and the attacks that they make."""

from dataclasses import dataclass, field

from npsnn.attacks.apgd import APGDT
from npsnn.attacks.balls import check_linf
from npsnn.attacks.judging import Judging
from npsnn.attacks.one_pixel import OnePixel
from npsnn.attacks.projected import FGSM, PGD
from npsnn.attacks.random_search import RandomSearch
from npsnn.attacks.sources import ClosedForm, EoT, Source
from npsnn.attacks.square import Square
from npsnn.validate import check_options, documented, option, same
from npsnn.words import brief

ATTACKS = "Attacks"
"""The heading of --help that settings of attacks stand under."""


@documented
@dataclass(frozen=True)
class Checklist:
    """How the criteria are measured.

    Raises ValueError naming the field, what was expected and what came.

    ladder: the rising radii of criterion 5.
    """

    eps: float = option(
        8 / 255,
        "Radius of the Linf ball, such as 0.1 or 8/255.",
        ATTACKS,
        low=0,
        above=True,
        fraction=True,
        shown="8/255",
    )
    steps: int = option(10, "Steps of PGD, each 2.5 eps/steps long.", ATTACKS, low=1)
    eot: int = option(
        10, "Draws averaged in each gradient, and in each energy of One-Pixel (A2SNN: 50).", ATTACKS, low=1
    )
    samples: int = option(100, "Points of random search for each image (A2SNN: 10,000).", ATTACKS, low=1)
    pixels: tuple[int, ...] = option(
        (1,), "Number of pixels that One-Pixel may change. The least number decides.", ATTACKS, low=1
    )
    population: int = option(40, "Candidates of One-Pixel (A2SNN: 400).", ATTACKS, low=5)
    generations: int = option(10, "Generations of One-Pixel at most (A2SNN: 75, then 1000).", ATTACKS, low=1)
    ladder: tuple[float, ...] = field(default=tuple(2**n / 255 for n in range(8)))
    draws: int = same(Judging, "draws")
    sigma: float | None = same(Judging, "sigma")
    average: int | None = same(Judging, "average")
    answer: str | None = same(Judging, "answer")
    seed: int = same(Judging, "seed")

    __repr__ = brief

    def __post_init__(self) -> None:
        check_options(self)
        check_linf(self.eps)
        rising = all(low < high for low, high in zip(self.ladder, self.ladder[1:], strict=False))
        if len(self.ladder) < 2 or not rising or not self.ladder[0] > 0 or not self.ladder[-1] <= 1:
            raise ValueError(f"ladder must hold at least two rising radii > 0 and at most 1, got {self.ladder}")
        _ = (
            self.fgsm,
            self.pgd(self.eps),
            self.random,
            self.stronger(carried=True),
            [self.one_pixel(p) for p in self.pixels],
        )

    @property
    def judging(self) -> Judging:
        """How success is judged."""
        return Judging(self.draws, self.seed, self.sigma, self.average, answer=self.answer)

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

    def stronger(self, carried: bool) -> list[APGDT | Square]:
        """Attacks of other kinds than PGD, and stronger ones: on the closed form where there is one of the noise."""
        source: Source = ClosedForm() if carried else EoT()
        return [
            APGDT(self.eps, steps=4 * self.steps, source=source),
            Square(self.eps, queries=5 * self.samples, source=source),
        ]

    def runs(self, noisy: bool, carried: bool = True) -> int:
        """How many attacks on all images there are: what progress adds up to, over the images.

        carried: whether the noise has a closed form.
        """
        of_noise = 1 + carried + self.draws if noisy else 0
        return 6 + len({self.eps, *self.ladder}) + len(set(self.pixels)) + of_noise
