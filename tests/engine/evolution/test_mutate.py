"""Values near those of the best trials."""

import numpy as np
import pytest

from engine.evolution.mutate import CHANCE, LEAST, MOST, PARENTS, SPREAD, mutated
from engine.evolution.run_evolution import SPACE

BASE = {name: (low + high) / 2 for name, (low, high) in SPACE.items()}
WIDE = {name: (0.0, 100.0) for name in SPACE}


def draws(number: int, parents=((0.5, BASE),), space=WIDE) -> list[dict[str, float]]:
    return [mutated(parents, space, np.random.default_rng(seed)) for seed in range(number)]


def test_the_factors_are_those_of_yolov5s_formula() -> None:
    factors = np.array([[drawn[name] / BASE[name] for name in SPACE if name != "momentum"] for drawn in draws(2000)])
    assert (factors == 1).mean() == pytest.approx(1 - CHANCE, abs=0.01)
    # a factor is 1 + 0.2 u n, u uniform over a whole mutation and n normal: E[u^2] = 1/3
    assert factors[factors != 1].std() == pytest.approx(SPREAD * np.sqrt(1 / 3), rel=0.05)
    assert factors.mean() == pytest.approx(1, abs=0.005)
    assert LEAST <= factors.min() < factors.max() <= MOST


def test_momentum_moves_less() -> None:
    moved = np.array([[drawn["momentum"] / BASE["momentum"], drawn["box"] / BASE["box"]] for drawn in draws(2000)])
    narrow, wide = moved.std(axis=0)
    assert narrow / wide == pytest.approx(0.3, rel=0.1)


def test_values_stay_in_range_and_zero_stays_zero() -> None:
    at_the_top = {**{name: high for name, (_, high) in SPACE.items()}, "degrees": 0.0}
    for drawn in draws(200, [(0.1, at_the_top)], SPACE):
        assert all(low <= drawn[name] <= high for name, (low, high) in SPACE.items())
        assert drawn["degrees"] == 0


def test_a_parent_is_one_of_the_best_and_the_better_the_more_often() -> None:
    parents = [
        (fitness, dict.fromkeys(SPACE, 10.0 * 4**place)) for place, fitness in enumerate([0.9, 0.8, 0.5, 0.4, 0.3, 0.1])
    ]
    chosen = [
        round(np.log(np.median(list(drawn.values())) / 10) / np.log(4))
        for drawn in draws(2000, parents, dict.fromkeys(SPACE, (0.0, 1e9)))
    ]
    counts = np.bincount(chosen, minlength=6) / 2000
    assert counts[:PARENTS] == pytest.approx([6 / 14, 5 / 14, 2 / 14, 1 / 14, 0], abs=0.03)
    assert counts[PARENTS:].sum() == 0


def test_the_same_seed_draws_the_same() -> None:
    assert draws(3) == draws(3)
    assert len({tuple(drawn.values()) for drawn in draws(50)}) == 50
