"""New hyperparameters near the best ones, as YOLOv5's `--evolve` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

PARENTS = 5  # the best trials, of which one is chosen
CHANCE, SPREAD = 0.8, 0.2  # that a value changes; and by how much, relative to itself
LEAST, MOST = 0.3, 3.0  # factors of one mutation
NARROW = {"momentum": 0.3}  # YOLOv5's smaller steps, where a fifth of the value is a lot


def mutated(
    parents: Sequence[tuple[float, Mapping[str, float]]],
    space: Mapping[str, tuple[float, float]],
    random: np.random.Generator,
) -> dict[str, float]:
    """Values of a new trial: those of one of the best, each times a random factor around 1.

    A value of 0 stays 0: a search from a file without rotation tries no rotation.

    Args:
        parents: Fitness and values of the trials that have ended, or of the base alone.
        space: From hyperparameter to its range; values are kept in it.
        random: Where the numbers come from.

    Returns:
        From hyperparameter to value; at least one differs from the parent's if one can.
    """
    best = sorted(parents, key=lambda parent: -parent[0])[:PARENTS]
    weights = np.array([fitness for fitness, _ in best]) - best[-1][0] + 1e-6
    parent = best[random.choice(len(best), p=weights / weights.sum())][1]
    gains = np.array([NARROW.get(name, 1.0) for name in space])
    factors = np.ones(len(space))
    while (factors == 1).all():
        changed = random.random(len(space)) < CHANCE
        steps = gains * changed * random.standard_normal(len(space)) * random.random() * SPREAD
        factors = np.clip(1 + steps, LEAST, MOST)
    return {
        name: float(np.clip(parent[name] * factor, *space[name])) for name, factor in zip(space, factors, strict=True)
    }
