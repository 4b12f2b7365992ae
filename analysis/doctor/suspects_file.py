"""`suspects.json`: the suspected label errors as tasks of Label Studio, each image with its labels and the suspicions.

Import it into a project whose labelling interface has RectangleLabels `label` on the image `image`, and whose local
files are served from the data set's folder (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from analysis.doctor.evidence import Evidence, Split
from analysis.doctor.finding import Case, Finding, Mark


def suspects_json(evidence: Evidence, findings: Sequence[Finding]) -> str:
    """The tasks, those with the highest score first.

    Args:
        evidence: The data set.
        findings: Those of the suspects' checks.
    """
    cases: dict[str, list[tuple[str, Case]]] = defaultdict(list)
    for finding in findings:
        for case in finding.found.cases:
            cases[case.image].append((finding.check.name, case))
    places = {image: (split, index) for split in evidence.splits for index, image in enumerate(split.images)}
    tasks = [_task(evidence, *places[image], of_image) for image, of_image in cases.items()]
    tasks.sort(key=lambda task: -task["predictions"][0]["score"])
    return json.dumps(tasks, indent=1) + "\n"


def _task(evidence: Evidence, split: Split, index: int, cases: Sequence[tuple[str, Case]]) -> dict[str, Any]:
    path = os.path.relpath(split.images[index], evidence.dataset.path).replace(os.sep, "/")
    first, last = np.searchsorted(split.image_of_row, (index, index + 1))
    rows = split.rows[first:last]
    labels = [Mark(tuple(row[1:].tolist()), evidence.name_of(row[0])) for row in rows]
    marks = [mark for _, case in cases for mark in case.marks]
    shape = split.shapes_wh[index].tolist()
    score = max(case.score or 0.0 for _, case in cases)
    return {
        "data": {
            "image": f"/data/local-files/?d={quote(os.fsencode(path))}",
            "split": split.name,
            "suspicion": "; ".join(f"{name}: {case.text}" for name, case in cases),
        },
        "annotations": [{"result": list(_regions(labels, shape, "label"))}],
        "predictions": [{"model_version": "doctor", "score": score, "result": list(_regions(marks, shape, "suspect"))}],
    }


def _regions(marks: Iterable[Mark], shape_wh: Sequence[int], prefix: str) -> Iterable[dict[str, Any]]:
    """Rectangles in per cent of the image, by their upper left corner."""
    for number, ((cx, cy, width, height), name) in enumerate(marks):
        x, y = 100 * (cx - width / 2), 100 * (cy - height / 2)
        value = {"x": x, "y": y, "width": 100 * width, "height": 100 * height, "rotation": 0, "rectanglelabels": [name]}
        yield {
            "id": f"{prefix}{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": shape_wh[0],
            "original_height": shape_wh[1],
            "image_rotation": 0,
            "value": value,
        }
