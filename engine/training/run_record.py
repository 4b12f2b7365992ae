"""The parts of a training run that do not change while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engine.inference.network import PlainNetwork
from engine.runtime.console import say
from engine.runtime.device import Precision
from engine.runtime.distributed import ALONE, Processes
from engine.validation.evaluate import evaluate
from engine.validation.result_table import EvalResult

if TYPE_CHECKING:
    from data.hyp import Hyperparameters
    from data.loading.loader import BatchLoader
    from engine.config.train_config import TrainConfig
    from models.yolo import DetectionModel


@dataclass(frozen=True)
class Run:
    """One run: its configuration, data, device and folder.

    Attributes:
        image_px: Training and validation image size, a multiple of the stride.
        names: Class names by number.
        train: Augmented batches.
        val: Batches of the validation split.
        processes: Those that train together; the loaders hold this one's share.
    """

    config: TrainConfig
    hyp: Hyperparameters
    folder: Path
    names: Mapping[int, str]
    device: torch.device
    precision: Precision
    image_px: int
    train: BatchLoader
    val: BatchLoader
    processes: Processes = ALONE

    @property
    def last(self) -> Path:
        """The weights of the last epoch."""
        return self.folder / "weights" / "last.pt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / "weights" / "best.pt"

    def settings(self) -> dict[str, Any]:
        """Plain data that goes into every checkpoint."""
        return {"config": self.config.to_dict(), "hyp": self.hyp.to_dict(), "data": self._counts()}

    def _counts(self) -> dict[str, list[int]]:
        """How many images and labels each split has."""
        splits = {"train": self.train.dataset, "val": self.val.dataset}
        return {name: [len(split), sum(map(len, split.labels))] for name, split in splits.items()}

    def tell_of_other_data(self, before: Mapping[str, Sequence[int]]) -> None:
        """Say in one line how the data set differs from the one that an interrupted run has seen."""
        changes = [
            f"{split} {before[split][part]} -> {now[part]} {what}"
            for split, now in self._counts().items()
            for part, what in enumerate(("images", "labels"))
            if split in before and before[split][part] != now[part]
        ]
        if changes:
            say(f"The data set is not the one that the run began with ({', '.join(changes)}); it goes on with this one")

    def validate(
        self,
        model: DetectionModel,
        precision: Precision | None = None,
        **options: Any,  # noqa: ANN401  (evaluate's own)
    ) -> EvalResult:
        """Measure a model on the validation split, each process on its share; all get the whole result."""
        network = PlainNetwork(model, self.device, precision or self.precision)
        if self.processes.world > 1:
            options = {"gather": self.processes.gather, **options}
        return evaluate(network, self.val, names=self.names, single_cls=self.config.single_cls, **options)
