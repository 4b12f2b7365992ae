"""A very small data set and model, and settings of runs on them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from engine.config.train_config import TrainConfig
from tests.support.tiny_runs import make_config


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of bright rectangles on noise, a very small model and mild hyperparameters."""
    folder = tmp_path_factory.mktemp("workshop")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for kind in ("images", "labels"):
            (folder / "set" / kind / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 80, (48, 64, 3), dtype=np.uint8)
            x, y, w, h = rng.integers(20, 44), rng.integers(16, 32), rng.integers(14, 30), rng.integers(14, 26)
            cv2.rectangle(
                image, (int(x - w // 2), int(y - h // 2)), (int(x + w // 2), int(y + h // 2)), (0, 0, 255), -1
            )
            cv2.imwrite(str(folder / "set" / "images" / split / f"{i}.png"), image)
            row = f"{i % 2} {x / 64:.4f} {y / 48:.4f} {w / 64:.4f} {h / 48:.4f}\n"
            (folder / "set" / "labels" / split / f"{i}.txt").write_text(row)
    names = {"path": str(folder / "set"), "train": "images/train", "val": "images/val", "names": ["even", "odd"]}
    (folder / "set.yaml").write_text(yaml.safe_dump(names))
    (folder / "hyp.yaml").write_text("mosaic: 0.5\nlr0: 0.01\n")
    model = yaml.safe_load((Path(__file__).resolve().parents[2] / "models" / "yolov5n.yaml").read_text())
    (folder / "nano.yaml").write_text(yaml.safe_dump({**model, "width_multiple": 0.125}, default_flow_style=None))
    return folder


@pytest.fixture
def configure(workshop: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Settings of a small run into this test's folder."""
    return partial(make_config, workshop, tmp_path / "runs")


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures
