"""results.csv under YOLOv5's column names, one row an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

COLUMNS = (
    "train/box_loss",
    "train/obj_loss",
    "train/cls_loss",
    "metrics/precision",
    "metrics/recall",
    "metrics/mAP_0.5",
    "metrics/mAP_0.5:0.95",
    "val/box_loss",
    "val/obj_loss",
    "val/cls_loss",
    "x/lr0",
    "x/lr1",
    "x/lr2",
)


class ResultsFile:
    """Appends to and reads `results.csv`; what an epoch did not measure is `nan`.

    Args:
        path: The file; made with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write one row; columns that are not in `values` become `nan`."""
        row = ",".join([f"{epoch:20d}", *(f"{values.get(name, math.nan):20.5g}" for name in COLUMNS)]) + "\n"
        if not self.path.exists():
            row = ",".join(f"{name:>20}" for name in ("epoch", *COLUMNS)) + "\n" + row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(row)

    def rows(self) -> list[dict[str, float]]:
        """All rows, by column name; empty where there is no file yet.

        Raises:
            ValueError: If the file holds something else.
        """
        if not self.path.exists():
            return []
        header, *lines = self.path.read_text(encoding="utf-8").splitlines()
        names = [name.strip() for name in header.split(",")]
        try:
            return [dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines if line.strip()]
        except ValueError as error:
            raise ValueError(
                f"{self.path}: expected one number for each of its {len(names)} columns: {error}"
            ) from error

    def keep_until(self, epoch: int) -> None:
        """Drop the rows after an epoch: those that an interrupted run had not saved weights for."""
        if not self.path.exists():
            return
        header, *lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.strip() and int(line.split(",", 1)[0]) <= epoch]
        self.path.write_text("".join([header, *kept]), encoding="utf-8")
