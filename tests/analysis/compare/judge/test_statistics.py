"""Intervals cover as often as they say and verdicts are wrong no more often than they say, on simulated runs."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.compare.judge.image_bootstrap import draw_weights, mean_ap, resampled_ap
from analysis.compare.judge.statistics import Comparison, compare, holm, seeds_text, verdict
from tests.support.simulated_runs import simulated_run, simulated_scenes


def simulated(rng, weights, seeds, *, effect=0.0, seed_sd=1.0, image_sd=1.0, pair_sd=1.0, images=60):
    """A comparison of additive values per seed and image, and the plain percentile bootstrap's interval."""
    values = effect + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, image_sd, (1, images))
    values = values + rng.normal(0, pair_sd, (seeds, images))
    resampled = weights @ values.T / images
    return compare(values.mean(1), resampled, images), resampled


def tolerance(share: float, studies: int) -> float:
    """Three standard errors of a share that is counted in so many studies."""
    return 3 * math.sqrt(share * (1 - share) / studies)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("seed_sd", "image_sd"), [(1.0, 0.0), (0.3, 2.0), (0.0, 3.0), (0.2, 0.5)])
def test_interval_covers_at_least_as_often_as_it_says(seeds, seed_sd, image_sd) -> None:
    studies, rng, covered = 400, np.random.default_rng(seeds), 0
    weights = draw_weights(60, 150, seed=5)
    for _ in range(studies):
        found, _ = simulated(rng, weights, seeds, effect=0.4, seed_sd=seed_sd, image_sd=image_sd)
        low, high = found.interval()
        covered += low <= 0.4 <= high
    assert covered / studies >= 0.95 - tolerance(0.95, studies)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_coverage_for_every_share_of_the_two_parts(seeds) -> None:
    """The table of docs/comparison.md: normal differences, variances estimated with their degrees of freedom."""
    studies, images, rng = 2000, 200, np.random.default_rng(seeds)
    for share in (0.0, 0.1, 0.3, 1.0, 3.0, 10.0):  # image variance over seed variance of the mean
        means = rng.normal(0, math.sqrt(1 + share), studies)
        seed = rng.chisquare(seeds - 1, studies) / (seeds - 1)
        image = share * rng.chisquare(images - 1, studies) / (images - 1)
        found = [
            Comparison(*row) for row in zip(means, [seeds] * studies, [images] * studies, seed, image, strict=True)
        ]
        covered = np.mean([low <= 0 <= high for low, high in (one.interval() for one in found)])
        print(f"{seeds} seeds, images {share:g} times the seeds: covered {covered:.3f}")
        assert 0.95 - tolerance(0.95, studies) <= covered <= 0.995


def test_interval_is_no_wider_than_it_must_be() -> None:
    """With seeds alone it is Student's interval, with images alone nearly the normal one."""
    rng = np.random.default_rng(0)
    differences = rng.normal(0, 1, 4)
    found = compare(differences, np.tile(differences, (50, 1)), images=100)
    half = stats.t.ppf(0.975, 3) * differences.std(ddof=1) / 2
    assert found.interval() == pytest.approx((differences.mean() - half, differences.mean() + half))
    same = rng.normal(0.1, 0.02, (2000, 1))
    found = compare(np.full(3, 0.1), np.tile(same, (1, 3)), images=1000)
    low, high = found.interval()
    assert (high - low) / 2 == pytest.approx(1.96 * 0.02, rel=0.06)


def test_percentile_bootstrap_of_three_seeds_would_not_do() -> None:
    """Why the seeds are not resampled: a 95 % interval would cover about three times in four."""
    studies, rng, covered = 400, np.random.default_rng(1), 0
    weights = draw_weights(60, 150, seed=5)
    for _ in range(studies):
        _, resampled = simulated(rng, weights, 3, image_sd=0.0)
        picks = rng.integers(0, 3, (len(resampled), 3))
        means = np.take_along_axis(resampled, picks, 1).mean(1)
        low, high = np.percentile(means, (2.5, 97.5))
        covered += low <= 0 <= high
    print(f"percentile bootstrap of three seeds: covered {covered / studies:.3f}")
    assert covered / studies < 0.85


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_verdicts_about_five_equal_modules_are_seldom_wrong(seeds) -> None:
    """In at most one study of twenty is any of five modules that change nothing called better or worse."""
    studies, rng, wrong = 400, np.random.default_rng(10 + seeds), 0
    weights = draw_weights(60, 150, seed=5)
    for _ in range(studies):
        image = rng.normal(0, 1, (1, 60))
        runs = image + rng.normal(0, 0.3, (6, seeds, 1)) + rng.normal(0, 1, (6, 1, 60)) * 0.5
        runs = runs + rng.normal(0, 1, (6, seeds, 60))
        found = [compare(d.mean(1), weights @ d.T / 60, 60) for d in runs[1:] - runs[0]]
        corrected = holm([one.p_value for one in found])
        wrong += any(verdict(one, p) in ("better", "worse") for one, p in zip(found, corrected, strict=True))
    assert wrong / studies <= 0.05 + tolerance(0.05, studies)


def test_large_differences_are_found() -> None:
    rng, weights = np.random.default_rng(3), draw_weights(60, 150, seed=5)
    for sign, word in ((1, "better"), (-1, "worse")):
        found, _ = simulated(rng, weights, 5, effect=sign * 6.0, seed_sd=0.3)
        assert verdict(found, found.p_value) == word


def test_one_seed_tells_nothing() -> None:
    found = compare(np.array([0.3]), np.random.default_rng(0).normal(0.3, 0.01, (100, 1)), images=50)
    assert found.p_value == 1.0
    assert found.interval() == (-math.inf, math.inf)
    assert verdict(found, 1.0).startswith("cannot be told apart: one seed")
    assert seeds_text(found) == "unknown from one seed"


def test_p_value_is_the_level_at_which_the_interval_touches_zero() -> None:
    found = Comparison(0.02, 3, 200, 0.005**2, 0.004**2)
    low, _ = found.interval(1 - found.p_value)
    assert low == pytest.approx(0, abs=1e-8)
    assert Comparison(0.0, 3, 200, 0.01, 0.01).p_value == 1.0
    assert Comparison(0.1, 3, 200, 0.0, 0.0).p_value == 1e-12
    assert Comparison(0.0, 3, 200, 0.0, 0.0).p_value == 1.0


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1; never below the one before.
    assert holm([0.02, 0.04, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([0.03, 0.03, 0.9]) == pytest.approx([0.09, 0.09, 0.9])
    assert holm([]) == []


def test_seeds_needed_finds_the_power_it_promises() -> None:
    """A simulation with that many seeds finds the difference in four of five studies."""
    rng, sd = np.random.default_rng(4), 0.006
    needed = Comparison(0.0, 3, 1000, sd**2 / 3, 0.0).seeds_needed(0.005)
    draws = rng.normal(0.005, sd, (4000, needed))
    power = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    fewer = (stats.ttest_1samp(draws[:, :-3], 0, axis=1).pvalue < 0.05).mean()
    assert power >= 0.77
    assert fewer < 0.8


def test_seeds_needed_says_when_images_are_too_few() -> None:
    found = Comparison(0.0, 3, 100, 0.001**2, 0.01**2)
    assert found.seeds_needed(0.005) is None
    # (1.96 + 0.84)^2 * 0.01^2 / 0.005^2 = 31.4 times the 100 images
    assert seeds_text(found) == "no number: takes more than 3,140 images instead of 100"
    assert seeds_text(Comparison(0.0, 3, 100, 0.2**2, 0.0)) == "more than 1000"
    # One comparison: (1.96 + 0.84)^2 * 0.0017^2 is below 0.005^2; ten: (2.807 + 0.842)^2 * 0.0017^2 is 1.539.
    found = Comparison(0.0, 3, 100, 0.001**2, 0.0017**2)
    assert seeds_text(found).isdecimal()
    assert seeds_text(found, comparisons=10) == "no number: takes more than 154 images instead of 100"


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match=r"Expected differences \(S,\)"):
        compare(np.zeros(2), np.zeros((5, 3)), 4)


def study(rng, weights, seeds, *, images, gain, suits, seed_sd=0.1):
    """A study of a module and its baseline on average precision itself."""
    scenes = simulated_scenes(rng, images)
    pairs = [
        [simulated_run(rng, scenes, skill=0.5 + g, seed_sd=seed_sd, suits=s) for g, s in ((0.0, 0.0), (gain, suits))]
        for _ in range(seeds)
    ]
    whole = np.ones((1, images), np.int32)
    values = [[mean_ap(resampled_ap(run, np.concatenate((whole, weights)))) for run in pair] for pair in pairs]
    drawn = np.stack([after - before for before, after in values], 1)
    return compare(drawn[0], drawn[1:], images)


def true_difference(gain: float, suits: float, seed_sd: float = 0.1) -> float:
    """Over very many images and seeds."""
    rng, whole = np.random.default_rng(99), np.ones((1, 4000), np.int32)
    differences = []
    for _ in range(40):
        scenes = simulated_scenes(rng, 4000)
        ap = [
            mean_ap(resampled_ap(simulated_run(rng, scenes, skill=0.5 + g, seed_sd=seed_sd, suits=s), whole))[0]
            for g, s in ((0.0, 0.0), (gain, suits))
        ]
        differences.append(ap[1] - ap[0])
    return float(np.mean(differences))


@pytest.mark.parametrize(("gain", "suits"), [(0.0, 0.0), (0.15, 0.3)])
def test_average_precision_of_a_few_studies(gain, suits) -> None:
    studies, rng = 25, np.random.default_rng(6)
    weights, truth = draw_weights(60, 60, seed=5), true_difference(gain, suits) if gain else 0.0
    limits = [study(rng, weights, 3, images=60, gain=gain, suits=suits).interval() for _ in range(studies)]
    assert sum(low <= truth <= high for low, high in limits) >= studies - 4  # five misses or more: one in 150


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("gain", "suits"), [(0.0, 0.0), (0.15, 0.3)])
def test_average_precision_of_many_studies(seeds, gain, suits) -> None:
    studies, rng = 400, np.random.default_rng(7)
    weights, truth = draw_weights(100, 200, seed=5), true_difference(gain, suits) if gain else 0.0
    found = [study(rng, weights, seeds, images=100, gain=gain, suits=suits) for _ in range(studies)]
    covered = np.mean([one.interval()[0] <= truth <= one.interval()[1] for one in found])
    told = np.mean([verdict(one, one.p_value) in ("better", "worse") for one in found])
    print(f"seeds {seeds}, true difference {truth:.4f}: covered {covered:.3f}, told apart {told:.3f}")
    assert covered >= 0.95 - tolerance(0.95, studies)
    if not gain:
        assert told <= 0.05 + tolerance(0.05, studies)
