"""`--track`: the same number for the same object from frame to frame, by ByteTrack or BoT-SORT.

Zhang et al. 2022, arXiv:2110.06864; Aharon et al. 2022, arXiv:2206.14651, without its appearance network. The trackers
are those of the ultralytics package, which is imported only here and only when tracking is asked for.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from data.boxes import convert_boxes
from data.sources.frame import Frame
from engine.config.detect_config import LOWEST_TRACKED, TRACKERS
from engine.inference.predictor import Detections

_BUFFER_FRAMES = 30  # for which a lost object keeps its number
_OFFLINE = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


class Tracking:
    """A tracker for each video and stream; images are the frames of one sequence.

    Args:
        kind: "bytetrack" or "botsort".
        conf_thres: Confidence from which a new track starts.

    Raises:
        ValueError: If a package is missing.
    """

    def __init__(self, kind: str, conf_thres: float) -> None:
        self._make = _tracker(kind, conf_thres)
        self._trackers: dict[str, Any] = {}

    def __call__(self, frame: Frame, found: Detections) -> Detections:
        """The detections that belong to a track, with its number."""
        sequence = "images" if frame.kind == "image" else frame.path
        if sequence not in self._trackers:
            self._trackers[sequence] = self._make()
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        rows = np.asarray(self._trackers[sequence].update(_Boxes(found), bgr), dtype=np.float64).reshape(-1, 8)
        index, numbers = rows[:, 7].astype(np.int64), rows[:, 4].astype(np.int64)
        order = np.argsort(index)  # most confident first, as the detections are
        index = index[order]
        return Detections(found.boxes_xyxy_px[index], found.confidences[index], found.class_ids[index], numbers[order])


class _Boxes:
    """Detections as the trackers want them."""

    def __init__(self, found: Detections) -> None:
        self._found = found
        self.conf, self.cls = found.confidences, found.class_ids
        self.xyxy = found.boxes_xyxy_px
        self.xywh = convert_boxes(found.boxes_xyxy_px, "xyxy_px", "cxcywh_px")

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, chosen: Any) -> _Boxes:  # noqa: ANN401  (whatever indexes an array)
        found = self._found
        return _Boxes(Detections(found.boxes_xyxy_px[chosen], found.confidences[chosen], found.class_ids[chosen]))


def _tracker(kind: str, conf_thres: float) -> Callable[[], Any]:
    if kind not in TRACKERS:
        raise ValueError(f"Expected a tracker of {', '.join(TRACKERS)} but got {kind!r}")
    if importlib.util.find_spec("lap") is None:  # the package would install it by itself
        raise ValueError("--track needs the package lap; install it with pip install lap")
    for name, value in _OFFLINE.items():
        os.environ.setdefault(name, value)
    from ultralytics.trackers import BOTSORT, BYTETracker  # noqa: TID251

    settings = SimpleNamespace(
        tracker_type=kind,
        track_high_thresh=conf_thres,
        track_low_thresh=min(LOWEST_TRACKED, conf_thres),
        new_track_thresh=conf_thres,
        track_buffer=_BUFFER_FRAMES,
        match_thresh=0.8,
        fuse_score=True,
        gmc_method="sparseOptFlow",
        proximity_thresh=0.5,
        appearance_thresh=0.8,
        with_reid=False,
        model="auto",
    )
    kinds = {"bytetrack": BYTETracker, "botsort": BOTSORT}
    return lambda: kinds[kind](settings)
