"""Which epoch is the best so far."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Best:
    """The best epoch so far; shared by the callbacks of a run."""

    fitness: float = 0.0
    epoch: int = -1
    latest: float = 0.0  # fitness of the last validated epoch
    class_ap: Sequence[float] = ()  # of the last validated epoch; --image-weights draws the next one by it

    def take(self, epoch: int, fitness: float) -> None:
        """Count an epoch in; an equal one replaces the former best, as in YOLOv5."""
        self.latest = fitness
        if fitness >= self.fitness:
            self.fitness, self.epoch = fitness, epoch
