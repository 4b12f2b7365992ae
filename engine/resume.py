"""What an interrupted run needs to go on as if it had not been interrupted, and where to find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.train_config import ResumeRequest, TrainConfig
from models.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint


class Interrupted(NamedTuple):
    """A run to continue."""

    config: TrainConfig
    run_folder: Path
    checkpoint: Checkpoint  # the averaged weights as the model
    state: Mapping[str, Any]  # what `SaveWeights` stored

    @property
    def next_epoch(self) -> int:
        """The first epoch that is still to be done."""
        return int(self.state["epoch"]) + 1


def find_interrupted(request: ResumeRequest) -> Interrupted:
    """Read the run that `--resume` means.

    Raises:
        ValueError: If there is none, or the one named is finished.
    """
    if request.checkpoint is not None:
        return _read(request.checkpoint, request)
    files = sorted(request.project.glob("*/weights/last.pt"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        if "optimizer" in read_checkpoint(file).training:
            return _read(file, request)
    raise ValueError(
        f"--resume: no interrupted run in {request.project} ({len(files)} finished); name a run's weights/last.pt"
    )


def _read(file: Path, request: ResumeRequest) -> Interrupted:
    checkpoint = read_checkpoint(file)
    state = checkpoint.training
    if "optimizer" not in state:
        done = f"its {state['epochs_done']} epochs are done" if "epochs_done" in state else "it holds no training state"
        raise ValueError(
            f"--resume {file}: there is nothing to resume, {done}; to train on from it: --weights {file} --epochs …"
        )
    config = request.apply(TrainConfig.from_dict(state["config"]))
    return Interrupted(config, file.resolve().parents[1], checkpoint, state)
