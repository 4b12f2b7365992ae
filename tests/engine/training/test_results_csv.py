"""results.csv and the pictures of a run."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from data.images import read_image
from data.loading.loader import Batch
from engine.training.results_csv import COLUMNS, ResultsFile
from engine.training.training_plots import plot_labels, plot_results, plot_train_batch


def filled(folder: Path, epochs: int) -> ResultsFile:
    results = ResultsFile(folder / "results.csv")
    for epoch in range(epochs):
        results.append(epoch, {name: epoch + i / 100 for i, name in enumerate(COLUMNS)})
    return results


def test_file_is_what_a_yolov5_user_reads(tmp_path):
    filled(tmp_path, 3)
    table = pd.read_csv(tmp_path / "results.csv", skipinitialspace=True)
    assert list(table.columns) == [
        "epoch", "train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/precision", "metrics/recall",
        "metrics/mAP_0.5", "metrics/mAP_0.5:0.95", "val/box_loss", "val/obj_loss", "val/cls_loss",
        "x/lr0", "x/lr1", "x/lr2",
    ]  # fmt: skip
    assert table["epoch"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table["x/lr2"], [0.12, 1.12, 2.12])


def test_unmeasured_is_nan(tmp_path):
    results = ResultsFile(tmp_path / "results.csv")
    assert results.rows() == []
    results.append(0, {"train/box_loss": 0.5})
    (row,) = results.rows()
    assert row["train/box_loss"] == 0.5
    assert math.isnan(row["metrics/mAP_0.5"])


def test_rows_after_the_saved_epoch_go(tmp_path):
    results = filled(tmp_path, 4)
    results.keep_until(1)
    assert [row["epoch"] for row in results.rows()] == [0, 1]
    results.append(2, {})
    assert [row["epoch"] for row in results.rows()] == [0, 1, 2]


def test_broken_file(tmp_path):
    (tmp_path / "results.csv").write_text("epoch, x\n0, 1, 2\n")
    with pytest.raises(ValueError, match="expected one number for each of its 2 columns"):
        ResultsFile(tmp_path / "results.csv").rows()


@pytest.mark.parametrize("epochs", [1, 5])
def test_results_picture(tmp_path, epochs):
    results = filled(tmp_path, epochs)
    results.append(epochs, {})
    plot_results(results, tmp_path / "results.png")
    assert read_image(tmp_path / "results.png").std() > 10


def test_no_results_no_picture(tmp_path):
    plot_results(ResultsFile(tmp_path / "results.csv"), tmp_path / "results.png")
    assert not (tmp_path / "results.png").exists()


@pytest.mark.parametrize("names", [{0: "a", 1: "b"}, {0: "限速", 1: "停"}, {i: f"c{i}" for i in range(40)}])
def test_labels_picture(tmp_path, names):
    rng = np.random.default_rng(0)
    labels = np.column_stack((rng.integers(0, 2, 50), rng.random((50, 2)), rng.random((50, 2)) / 3))
    plot_labels(labels, names, tmp_path / "labels.jpg")
    assert read_image(tmp_path / "labels.jpg").std() > 10


def test_batch_picture_draws_the_labels(tmp_path):
    images = torch.full((3, 3, 64, 96), 114, dtype=torch.uint8)
    targets = torch.tensor([[1, 0, 0.5, 0.5, 0.5, 0.5]])
    plain = Batch(images, torch.zeros(0, 6), ("a.jpg", "b.jpg", "c.jpg"), ())
    plot_train_batch(plain, {0: "a"}, tmp_path / "plain.jpg")
    plot_train_batch(plain._replace(targets=targets), {0: "a"}, tmp_path / "boxes.jpg")
    without, with_box = (read_image(tmp_path / name).astype(int) for name in ("plain.jpg", "boxes.jpg"))
    assert without.shape == (128, 192, 3)  # a grid of 2 x 2
    assert abs(without - with_box)[64:, :96].max() > 50  # the second image, below the first
    assert abs(without - with_box)[:64, 96:].max() < 20
