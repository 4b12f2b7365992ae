"""What an interrupted run needs to go on as if it had not been interrupted, and where to find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.train_config import TrainConfig
from engine.config.train_request import ResumeRequest
from models.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from models.weights.checkpoint import Checkpoint


class Interrupted(NamedTuple):
    """A run to continue; a finished one, to be made longer, has neither raw weights nor optimiser state."""

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
        ValueError: If there is none, or the one named is finished and no more epochs are asked for.
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
    if "optimizer" not in state and not ("best_fitness" in state and request.epochs):
        raise ValueError(f"--resume {file}: there is nothing to resume, {_how_to_go_on(file, state)}")
    done = int(state["epoch"]) + 1
    if request.epochs is not None and request.epochs <= done:
        raise ValueError(f"--epochs {request.epochs}: expected more than the {done} epochs that {file} has done")
    config = request.apply(TrainConfig.from_dict(state["config"]))
    return Interrupted(config, file.resolve().parents[1], checkpoint, state)


def _how_to_go_on(file: Path, state: Mapping[str, Any]) -> str:
    start = f"--weights {file} --epochs … starts a run from it"
    if "epochs_done" not in state:
        return f"it holds no training state; {start}"
    done = int(state["epochs_done"])
    longer = f"--resume {file} --epochs {2 * done} goes on to {2 * done}, " if "best_fitness" in state else ""
    return f"its {done} epochs are done; {longer}{start}"
