"""Is a difference more than noise: paired differences over seeds and validation images, their intervals and verdicts.

Two things are left to chance in a comparison of two configurations: the seed of a training run (initial values, order
of the data, augmentation) and which images the validation set happens to hold. They are crossed: every run sees every
image. The interval here is hierarchical in that both levels count, and treats each by what it allows:

- Images are many. They are resampled with replacement, the same sample for every run (a bootstrap of whole images,
  Davison & Hinkley 1997, Bootstrap Methods and their Application, chapter 2 and section 3.8; for crossed factors Owen
  2007, The pigeonhole bootstrap, Annals of Applied Statistics 1:386). The covariance of the differences of two seeds
  over the samples is the variance that the images alone cause; what is left over belongs to the pairing of seed and
  image.
- Seeds are few. Resampling three of them finds (S - 1) / S of their variance and knows nothing about how uncertain that
  is, so a percentile bootstrap of seeds covers far less than it says. Their part is Student's: the variance of the
  paired differences over seeds, with S - 1 degrees of freedom. It contains the pairing of seed and image.

The two half-widths are squared and added (Zou & Donner 2008, Construction of confidence limits about effect measures,
Statistics in Medicine 27:1693), each with its own Student quantile. With one of the parts absent that is the exact
t-interval of the other; in between it covers slightly more than it says, never less. Paired runs and several seeds
follow Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks, arXiv:2103.03098.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95
POWER = 0.8
HALF_A_POINT = 0.005
MAX_SEEDS = 1000
SMALLEST_P = 1e-12  # smaller ones are given as this


@dataclass(frozen=True)
class Comparison:
    """The difference between a configuration and the baseline.

    Attributes:
        difference: Mean over the seeds that both have.
        seeds: How many those are.
        images: Validation images.
        seed_variance: Of the mean, from seed to seed; nan with one seed.
        image_variance: Of the mean, from one set of images to another.
    """

    difference: float
    seeds: int
    images: int
    seed_variance: float
    image_variance: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Lower and upper limit; infinite with one seed, which says nothing about others."""
        half = self._half_width(1 - level)
        return self.difference - half, self.difference + half

    @property
    def p_value(self) -> float:
        """Of the hypothesis that there is no difference: the interval at this level just touches zero."""
        if self.seeds < 2:
            return 1.0
        size = abs(self.difference)
        if self._half_width(1.0) >= size:
            return 1.0
        if self._half_width(SMALLEST_P) <= size:
            return SMALLEST_P
        smallest = math.log(SMALLEST_P)
        root: Any = optimize.brentq(lambda x: self._half_width(math.exp(x)) - size, smallest, 0.0, xtol=1e-9)
        return math.exp(root)

    def _half_width(self, alpha: float) -> float:
        if self.seeds < 2:
            return math.inf
        seed = _student(alpha, self.seeds - 1) ** 2 * self.seed_variance
        image = _student(alpha, max(self.images - 1, 1)) ** 2 * self.image_variance
        return math.sqrt(seed + image)

    def seeds_needed(self, size: float = HALF_A_POINT, alpha: float = 1 - LEVEL) -> int | None:
        """Seeds with which a true difference of `size` would be told from none in four of five studies.

        Takes the variances of this comparison for true; with few seeds they are rough themselves.

        Returns:
            The number, or None if no number of seeds will do because the validation images vary too much.
        """
        if self.seeds < 2:
            return None
        one = self.seed_variance * self.seeds
        if not _detects(size, 0.0, self.image_variance, math.inf, alpha):
            return None
        low, high = 2, MAX_SEEDS
        if not _detects(size, one / high, self.image_variance, high - 1, alpha):
            return None
        while low < high:
            middle = (low + high) // 2
            if _detects(size, one / middle, self.image_variance, middle - 1, alpha):
                high = middle
            else:
                low = middle + 1
        return low


def _detects(size: float, seed_variance: float, image_variance: float, df: float, alpha: float) -> bool:
    """Whether a difference of `size` passes the test often enough."""
    quantile = _student(alpha, df) if math.isfinite(df) else stats.norm.isf(alpha / 2)
    half = math.sqrt(quantile**2 * seed_variance + stats.norm.isf(alpha / 2) ** 2 * image_variance)
    error = math.sqrt(seed_variance + image_variance)
    return error == 0 or bool(stats.norm.sf((half - size) / error) >= POWER)


def compare(differences: np.ndarray, resampled: np.ndarray, images: int) -> Comparison:
    """Put the differences of paired runs together.

    Args:
        differences: (S,) configuration minus baseline, seed by seed.
        resampled: (B, S) the same on B samples of the images, each sample the same for all seeds.
        images: Validation images.

    Raises:
        ValueError: If there is no difference, or the arrays do not fit each other.
    """
    count = len(differences)
    if not count or resampled.ndim != 2 or resampled.shape[1] != count or len(resampled) < 2:
        raise ValueError(
            f"Expected differences (S,) with S > 0 and resampled ones (B, S) with B > 1 but got {differences.shape} "
            f"and {resampled.shape}"
        )
    covariance = np.atleast_2d(np.cov(resampled, rowvar=False))
    if count == 1:
        return Comparison(float(differences[0]), 1, images, math.nan, float(covariance[0, 0]))
    shared = (covariance.sum() - np.trace(covariance)) / (count * (count - 1))
    seed_variance = float(np.var(differences, ddof=1)) / count
    return Comparison(float(differences.mean()), count, images, seed_variance, max(float(shared), 0.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p-values that keep the chance of any wrong verdict at the level asked for."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.ones(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected.tolist()


def verdict(comparison: Comparison, corrected_p: float, level: float = LEVEL) -> str:
    """The comparison in words: `better`, `worse`, or that it cannot be told."""
    if comparison.seeds == 1:
        return "cannot be told apart: one seed says nothing about another"
    if corrected_p < 1 - level:
        return "better" if comparison.difference > 0 else "worse"
    return f"cannot be told apart with {comparison.seeds} seeds"


def seeds_text(comparison: Comparison, size: float = HALF_A_POINT, *, comparisons: int = 1) -> str:
    """How many seeds a difference of `size` needs, in words, at Holm's first and strictest level."""
    if comparison.seeds < 2:
        return "unknown from one seed"
    alpha = (1 - LEVEL) / max(comparisons, 1)
    needed = comparison.seeds_needed(size, alpha)
    return _more_images(comparison, size, alpha) if needed is None else str(needed)


def _more_images(comparison: Comparison, size: float, alpha: float) -> str:
    quantiles = stats.norm.isf(alpha / 2) + stats.norm.isf(1 - POWER)
    if comparison.image_variance * quantiles**2 <= size**2:
        return f"more than {MAX_SEEDS}"
    images = comparison.images * comparison.image_variance * quantiles**2 / size**2
    return f"no number: takes more than {math.ceil(images):,} images instead of {comparison.images:,}"


def _student(alpha: float, df: float) -> float:
    """Student's two-sided quantile; scipy.special, because scipy.stats is a hundred times slower."""
    return -float(special.stdtrit(df, alpha / 2))
