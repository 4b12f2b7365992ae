"""The few lines that train.py prints of its data set: the checks that need only what it has read anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from analysis.doctor.checks import BRIEF
from analysis.doctor.evidence import Evidence, Split
from analysis.doctor.finding import examine

if TYPE_CHECKING:
    from data.dataset.dataset_yaml import DatasetSpec
    from data.hyp import Hyperparameters
    from data.loading.samples import DetectionDataset

_MOST_LINES = 5


def brief(dataset: DatasetSpec, read: Mapping[str, DetectionDataset], image_px: int, hyp: Hyperparameters) -> list[str]:
    """At most five lines about the labels; none where nothing is wrong.

    Args:
        dataset: The data set's YAML.
        read: What training has read of each split.
        image_px: The training size.
        hyp: The hyperparameters.
    """
    splits = [Split.of_training(name, one) for name, one in read.items()]
    findings = examine(BRIEF, Evidence(dataset, splits, image_px, hyp, anchors_px=np.zeros((0, 2))))
    lines = [
        f"Labels: {check.severity}: {check.title}: {found.count}" + f" ({found.text})" * bool(found.text)
        for check, found in findings
    ]
    if not lines:
        return []
    more = len(lines) - (_MOST_LINES - 1)
    others = f"{more} more, and " * (more > 0)
    pointer = f"Labels: {others}pictures of these: python -m analysis.doctor {dataset.file} --img {image_px}"
    return [*lines[: _MOST_LINES - 1], pointer]
