"""What an interrupted run needs to go on as if it had not been interrupted, and where to find it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.train_config import TrainConfig
from engine.config.train_request import ResumeRequest
from engine.runtime.folder_lock import trained_in
from engine.runtime.launcher import place
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


def find_interrupted(request: ResumeRequest, alone: ExitStack) -> Interrupted:
    """Read the run that `--resume` means.

    Args:
        request: What to continue.
        alone: Keeps other processes from training in the run's folder until it is closed.

    Raises:
        ValueError: If there is none, another process trains it, or the one named is finished and no more epochs are
            asked for.
    """
    if request.checkpoint is not None:
        return _read(request.checkpoint, request, alone)
    files = sorted(request.project.glob("*/weights/last.pt"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        if "optimizer" in read_checkpoint(file).training:
            return _read(file, request, alone)
    raise ValueError(
        f"--resume: no interrupted run in {request.project} ({len(files)} finished); name a run's weights/last.pt"
    )


def _read(file: Path, request: ResumeRequest, alone: ExitStack) -> Interrupted:
    folder = file.resolve().parents[1]
    if place().rank == 0:  # of several processes of one run
        alone.enter_context(trained_in(folder))
    checkpoint = read_checkpoint(file)
    state = checkpoint.training
    if "optimizer" not in state and not ("best_fitness" in state and request.epochs):
        raise ValueError(f"--resume {file}: there is nothing to resume, {_how_to_go_on(file, state)}")
    done = int(state["epoch"]) + 1
    if request.epochs is not None and request.epochs <= done:
        raise ValueError(f"--epochs {request.epochs}: expected more than the {done} epochs that {file} has done")
    config = request.apply(TrainConfig.from_dict(state["config"]))
    return Interrupted(config, folder, checkpoint, state)


def _how_to_go_on(file: Path, state: Mapping[str, Any]) -> str:
    start = f"--weights {file} --epochs … starts a run from it"
    if "epochs_done" not in state:
        return f"it holds no training state; {start}"
    done = int(state["epochs_done"])
    longer = f"--resume {file} --epochs {2 * done} goes on to {2 * done}, " if "best_fitness" in state else ""
    return f"its {done} epochs are done; {longer}{start}"
