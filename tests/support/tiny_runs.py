"""Settings of very small training runs, and how to stop them and look at what they leave."""

from pathlib import Path

import pytest
import torch

from engine.config.train_config import TrainConfig
from engine.training.progress_bar import Progress
from models.weights.checkpoint import read_checkpoint


def make_config(workshop: Path, project: Path, **changes: object) -> TrainConfig:
    """Settings of a small run."""
    values = {
        "data": str(workshop / "set.yaml"),
        "hyp": str(workshop / "hyp.yaml"),
        "cfg": str(workshop / "nano.yaml"),
        "epochs": 2,
        "batch_size": 2,
        "imgsz": 64,
        "workers": 0,
        "device": "cpu",
        "precision": "32",
        "noplots": True,
        "project": str(project),
    }
    return TrainConfig(**{**values, **changes})


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(file).state_dict


def assert_same_weights(first: Path, second: Path) -> None:
    torch.testing.assert_close(weights_of(first), weights_of(second), rtol=0, atol=0)


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Press Ctrl-C when the second batch of an epoch is done."""
    plain = Progress.on_train_batch_end

    def pressed(self, lightning, module, outputs, batch, batch_idx):
        plain(self, lightning, module, outputs, batch, batch_idx)
        if module.current_epoch == epoch and batch_idx == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_train_batch_end", pressed)
