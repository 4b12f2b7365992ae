"""Which sample comes when: a sampler that yields `(epoch, index)`, so that a sample alone decides its randomness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, ...]]):
    """Yield `(epoch, index)` for this process's share of an epoch.

    While `weights` is set, samples are drawn by these probabilities with replacement. One that comes again in the same
    epoch is `(epoch, index, 1)`, then `(epoch, index, 2)` and so on, so that it is augmented differently.

    The order depends on `seed` and the epoch alone. Several processes take from it in turn, so that their n-th batches
    together hold the samples of the n-th batch of one process alone. Each sample comes exactly once, with one
    exception: in training, where every process has to have equally many batches, a last batch of fewer samples than
    processes is filled up from the front of the order.

    Args:
        count: Number of samples of the data set.
        shuffle: Draw a new order for every epoch.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
        even_batches: Samples per process in a batch, for equally many batches everywhere; None leaves them as they are.
    """

    def __init__(
        self,
        count: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        even_batches: int | None = None,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"Expected rank from 0 to world - 1 = {world - 1} but got {rank}")
        self.count, self.shuffle, self.seed = count, shuffle, seed
        self.rank, self.world = rank, world
        left = count % (even_batches * world) if even_batches else 0
        self.end = count - left + world if 0 < left < world else count
        self.epoch = 0
        self.weights: np.ndarray | None = None  # (count,), adding up to 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to."""
        self.epoch = epoch

    def take_all(self) -> None:
        """From the next iteration on, yield every sample once, as if there were one process."""
        self.rank, self.world, self.end = 0, 1, self.count

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        epoch, order, rng = self.epoch, np.arange(self.count), np.random.default_rng([self.seed, self.epoch])
        if self.weights is not None:
            order = rng.choice(self.count, self.count, p=self.weights)
        elif self.shuffle:
            order = rng.permutation(self.count)
        again = _repetitions(order) if self.weights is not None else np.zeros(self.count, int)
        for position in self._positions():
            index, repetition = int(order[position % self.count]), int(again[position % self.count])
            yield (epoch, index, repetition) if repetition else (epoch, index)

    def __len__(self) -> int:
        return len(self._positions())

    def _positions(self) -> range:
        """This process's places in the order; those beyond its end count from the front."""
        return range(self.rank, self.end, self.world)


def _repetitions(order: np.ndarray) -> np.ndarray:
    """How often each entry has stood before."""
    seen: Counter[int] = Counter()
    numbers = np.empty(len(order), int)
    for position, index in enumerate(order.tolist()):
        numbers[position] = seen[index]
        seen[index] += 1
    return numbers
