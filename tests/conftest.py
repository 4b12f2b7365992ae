"""Fixtures shared by the whole suite: seeding, offline switches and the optional real data."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state."""
    random.seed(0)
    np.random.seed(0)
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and original checkpoints beside the repository; the test skips without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir() or not (folder / "weights").is_dir():
        pytest.skip(f"real data and weights are not at ../{folder.name}")
    return folder
