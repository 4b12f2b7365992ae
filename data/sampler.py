"""Which sample comes when: a sampler that yields `(epoch, index)`, so that a sample alone decides its randomness."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, ...]]):
    """Yield `(epoch, index)` for this process's share of an epoch.

    While `weights` is set, samples are drawn by these probabilities with replacement. One that comes again in the same
    epoch is `(epoch, index, 1)`, then `(epoch, index, 2)` and so on, so that it is augmented differently.

    The order depends on `seed` and the epoch alone. With several processes, `pad` gives every process equally many
    samples by starting again at the front (training); without it each sample comes exactly once (validation).

    Args:
        count: Number of samples of the data set.
        shuffle: Draw a new order for every epoch.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
        pad: Give every process the same number of samples.
        block: Samples that must stay together; whole blocks are dealt to the processes. For batches of equal shape.
    """

    def __init__(
        self,
        count: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        pad: bool = False,
        block: int = 1,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"Expected rank from 0 to world - 1 = {world - 1} but got {rank}")
        if shuffle and block > 1:
            raise ValueError("Expected `block` to be 1 with `shuffle`: shuffling takes blocks apart")
        self.count, self.shuffle, self.seed = count, shuffle, seed
        self.rank, self.world, self.pad, self.block = rank, world, pad, block
        self.epoch = 0
        self.weights: np.ndarray | None = None  # (count,), adding up to 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        epoch, order, rng = self.epoch, np.arange(self.count), np.random.default_rng([self.seed, self.epoch])
        if self.weights is not None:
            order = rng.choice(self.count, self.count, p=self.weights)
        elif self.shuffle:
            order = rng.permutation(self.count)
        again = _repetitions(order) if self.weights is not None else np.zeros(self.count, int)
        for number in self._blocks():
            part = slice(number * self.block, (number + 1) * self.block)
            for index, repetition in zip(order[part].tolist(), again[part].tolist(), strict=True):
                yield (epoch, index, repetition) if repetition else (epoch, index)

    def __len__(self) -> int:
        return sum(min(self.block, self.count - number * self.block) for number in self._blocks())

    def _blocks(self) -> list[int]:
        """Return the numbers of this process's blocks."""
        blocks = math.ceil(self.count / self.block)
        end = math.ceil(blocks / self.world) * self.world if self.pad else blocks
        return [number % blocks for number in range(self.rank, end, self.world)]


def _repetitions(order: np.ndarray) -> np.ndarray:
    """How often each entry has stood before."""
    seen: Counter[int] = Counter()
    numbers = np.empty(len(order), int)
    for position, index in enumerate(order.tolist()):
        numbers[position] = seen[index]
        seen[index] += 1
    return numbers
