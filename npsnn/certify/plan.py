"""How certificates are made: the draws, the chance of an error, and the noise on the images."""

from dataclasses import dataclass
from math import floor, log2

from npsnn.validate import check_options, documented, option


@documented
@dataclass(frozen=True)
class Plan:
    """The options of CERTIFY (Cohen et al. 2019), in the flat form of the command line.

    Raises ValueError naming the field, also where no number of votes could certify anything.
    """

    samples: int = option(
        10_000,
        "Draws for each image that count the votes for its class; more draws reach farther.",
        "Smoothing",
        low=1,
    )
    selection: int = option(
        100, "Draws for each image, apart from the others, that choose the class to certify.", "Smoothing", low=1
    )
    alpha: float = option(
        0.001,
        "Chance that one certificate is wrong.",
        "Smoothing",
        low=0,
        high=0.5,
        above=True,
        below=True,
    )
    sigma: float | None = option(
        None,
        "Noise that is added to the images, in units of the [0, 1] pixel. By default the run's own first noise is the "
        "smoothing noise.",
        "Smoothing",
        low=0,
        above=True,
    )

    def __post_init__(self) -> None:
        check_options(self)
        least = floor(-log2(self.alpha)) + 1
        if self.samples < least:
            why = f"with alpha {self.alpha:g} fewer votes certify nothing"
            raise ValueError(f"samples must be at least {least} ({why}), got {self.samples}")

    @property
    def draws(self) -> int:
        """Draws of the noise for one image."""
        return self.samples + self.selection
