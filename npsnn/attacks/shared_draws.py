"""The interval of an accuracy where all images of a micro-batch share each draw of the noise.

Such images are no independent trials: a draw that is bad is bad for all of them. Each micro-batch is a table of images
by draws, right or wrong, and the mean of a table has a variance over images, one over draws, and a rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npsnn.attacks.statistics import wilson_interval


@dataclass(frozen=True, eq=False)
class SharedDraws:
    """How many images of each micro-batch each of its draws reads rightly; each micro-batch has draws of its own.

    sizes: number of images of each micro-batch, (B,), in the order of the images.
    right: the part of the images of each micro-batch that each draw reads rightly, (B, draws).
    Raises ValueError for arrays of other shapes.
    """

    sizes: np.ndarray
    right: np.ndarray

    def __post_init__(self) -> None:
        if self.right.ndim != 2 or self.sizes.shape != self.right.shape[:1] or not self.right.size:
            shapes = f"sizes {self.sizes.shape} and right {self.right.shape}"
            raise ValueError(f"sizes must be (B,) and right (B, draws), both of one image at least, got {shapes}")

    @staticmethod
    def of(parts: Sequence[np.ndarray]) -> "SharedDraws":
        """Count what was judged.

        parts: which draws read each image rightly, (images, draws) for each micro-batch.
        """
        return SharedDraws(np.array([len(part) for part in parts]), np.stack([part.mean(axis=0) for part in parts]))

    @property
    def one(self) -> bool:
        """Whether all images share one single draw, so that nothing says how much draws differ."""
        return self.right.size == 1

    def interval(self, each: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """95 % interval of the mean of `each`, (N,), over images and draws; `two_way_interval` says how.

        None where nothing is shared, as each micro-batch is one image, and where there is one draw in all.
        """
        if self.one or (self.sizes == 1).all():
            return None
        return two_way_interval(each, self.right, self.sizes)


def two_way_interval(each: np.ndarray, right: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the mean accuracy p over images and over draws that the images of a micro-batch share.

    An answer is y_bid = p + image_bi + draw_bd + rest_bid, b the micro-batch, with independent effects of the variances
    s_i², s_d² and s_r². With n_b images in a micro-batch, N in all, and D draws,

        Var(p) = s_i²/N + s_d² Σ n_b²/(N² D) + s_r²/(N D).

    The mean squares of a two-way table have the expectations MS_images = D s_i² + s_r², MS_rest = s_r² and, in a
    micro-batch, MS_draws,b = n_b s_d² + s_r², so that an unbiased estimate is

        V = (MS_images - MS_rest)/(N D) + Σ_b n_b MS_draws,b/(N² D),

    which is (MS_images + MS_draws - MS_rest)/(n D) of one micro-batch. One draw in each micro-batch has no mean
    squares: the micro-batches are compared then, V = B/(B - 1) Σ n_b² (p_b - p)²/N². The degrees of freedom of V are
    Satterthwaite's, and the interval is Student's on the scale of logits, ln(p/(1 - p)) ± t √V/(p(1 - p)). With a as in
    `wilson_interval`, a/N is added to p(1 - p) and a/N² to V: as much as one image that gives one answer in all draws
    would add. What `wilson_interval` holds, as if no image shared its draws, the interval holds as well.

    each: part of the draws that read each image rightly, (..., N).
    right: part of the images of each micro-batch that each draw reads rightly, (..., B, D).
    sizes: number of images of each micro-batch, (B,), in the order of the images, not all 1.
    Source: two-way random effects, Searle, Casella and McCulloch 1992, Variance Components, Sec. 4.3 and 5.2;
    Satterthwaite 1946, Biometrics Bulletin 2; scripts/run coverage measures how often it covers.
    """
    from scipy.special import expit, logit, stdtrit  # most of a second to import, and few networks need it

    n, p = each.shape[-1], each.mean(axis=-1)
    by_draws, spent = _over_draws(p, right, sizes)
    by_images = _over_images(each, right, sizes)
    var = by_images + by_draws
    # of many images the draws alone are few
    freedom = np.divide(
        var**2, spent + by_images**2 / max(n - len(sizes), 1), out=np.full(var.shape, 1e9), where=var > 0
    )
    unseen = (((each == 0) | (each == 1)).sum(axis=-1) + 1) / (n + 1)
    centre = (n * p + unseen / 2) / (n + unseen)
    half = stdtrit(np.clip(freedom, 1, 1e9), 0.975) * np.sqrt(var + unseen / n**2) / (p * (1 - p) + unseen / n)
    low, high = wilson_interval(each)
    return np.minimum(low, expit(logit(centre) - half)), np.maximum(high, expit(logit(centre) + half))


def _over_draws(p: np.ndarray, right: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of Var(p) of draws and rest, and its square over its degrees of freedom."""
    draws, n, of_parts = right.shape[-1], sizes.sum(), right.mean(axis=-1)
    if draws == 1:
        each = (sizes * (of_parts - p[..., None]) / n) ** 2
        found = each.sum(axis=-1) * len(sizes) / (len(sizes) - 1)
        return found, found**2 / (len(sizes) - 1)
    squares = ((right - of_parts[..., None]) ** 2).sum(axis=-1) / (draws - 1)  # MS_draws,b / n_b
    each = (sizes / n) ** 2 * squares / draws
    return each.sum(axis=-1), (each**2).sum(axis=-1) / (draws - 1)


def _over_images(each: np.ndarray, right: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The part of Var(p) of images alone, s_i²/N; 0 where one draw of each micro-batch has it already."""
    draws, n, of_parts = right.shape[-1], sizes.sum(), right.mean(axis=-1)
    if draws == 1:
        return np.zeros(each.shape[:-1])
    starts = np.cumsum(sizes) - sizes
    squares = np.add.reduceat(each**2, starts, axis=-1) - sizes * of_parts**2
    images = draws * squares
    whole = sizes * draws * of_parts * (1 - of_parts)  # of answers that are 0 or 1
    of_draws = sizes * ((right - of_parts[..., None]) ** 2).sum(axis=-1)
    freedom = n - len(sizes)
    rest = (whole - images - of_draws).sum(axis=-1) / (freedom * (draws - 1))
    found: np.ndarray = np.maximum(images.sum(axis=-1) / freedom - rest, 0) / (n * draws)
    return found
