"""What detect.py writes for each picture: annotated images and videos, label files, crops, CSV and JSON."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

import numpy as np

from data.boxes import convert_boxes
from data.dataset.label_file import label_text
from data.images import write_image
from data.sources.frame import Frame
from engine.detection.video_file import VideoFile
from files.text import write_rows

if TYPE_CHECKING:
    from engine.inference.predictor import Detections

_UNWRITABLE_SUFFIXES = (".dng", ".mpo", ".pfm", "")  # formats of cameras; their pictures are written as JPEG
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # on some file system
_CROP_GAIN, _CROP_PAD_PX = 1.02, 10  # YOLOv5's margin around a crop
_CSV_COLUMNS = ("Image Name", "Prediction", "Confidence", "Frame", "X1", "Y1", "X2", "Y2")


class Writer(Protocol):
    """One kind of output."""

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Take the detections of a frame, and the annotated picture if there is one."""
        ...

    def close(self) -> None:
        """Finish files; called once, also after an error."""
        ...


def frame_stem(frame: Frame) -> str:
    """The stem of a frame's own files: with the frame number for videos and streams."""
    return f"{frame.name}_{frame.number}" if frame.number else frame.name


class ImageWriter:
    """Annotated images under their own name; frames of videos and streams are left to `VideoWriter`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Write an image."""
        if frame.kind == "image" and picture is not None:
            suffix = ".jpg" if frame.suffix.lower() in _UNWRITABLE_SUFFIXES else frame.suffix
            write_image(self.folder / f"{frame.name}{suffix}", picture)

    def close(self) -> None:
        """Nothing is open."""


class VideoWriter:
    """Videos and streams as .mp4; images are left to `ImageWriter`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._videos: dict[str, VideoFile] = {}

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Append to the video of the frame's name."""
        if frame.kind == "image" or picture is None:
            return
        if frame.kind == "video" and frame.name not in self._videos:
            self.close()  # videos come one after the other, streams side by side
        if frame.name not in self._videos:
            self._videos[frame.name] = VideoFile(self.folder / f"{frame.name}.mp4", frame, picture)
        self._videos[frame.name].append(picture, frame.time_s)

    def close(self) -> None:
        """Finish the open videos."""
        while self._videos:
            self._videos.popitem()[1].close()


class LabelWriter:
    """`labels/<name>.txt`: class, box normalised by the image's size; the confidence if wanted, the track if known.

    The coordinates are those of the detections; YOLOv5 rounds them to whole pixels first. A picture without detections
    has no file.
    """

    def __init__(self, folder: Path, *, corners: bool, confidences: bool) -> None:
        self.folder, self._confidences = folder, confidences
        self._format = "xyxy_norm" if corners else "cxcywh_norm"
        self.files = 0
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Write the file of a frame."""
        file = self.folder / f"{frame_stem(frame)}.txt"
        if not len(found.class_ids):
            file.unlink(missing_ok=True)  # of an earlier run with --exist-ok
            return
        more = [found.confidences] if self._confidences else []
        more += [] if found.track_ids is None else [found.track_ids]
        boxes = found.boxes_xyxy_px.astype(np.float64)
        text = label_text(found.class_ids, boxes, frame.image.shape[:2], *more, form=self._format)
        file.write_text(text, encoding="utf-8")
        self.files += 1

    def close(self) -> None:
        """Nothing is open."""


def cut_out(image: np.ndarray, boxes_xyxy_px: np.ndarray) -> list[np.ndarray]:
    """What is inside each box (n, 4) and YOLOv5's margin around it, as views of the image (H, W, 3)."""
    height, width = image.shape[:2]
    boxes = convert_boxes(boxes_xyxy_px, "xyxy_px", "cxcywh_px")
    boxes[:, 2:] = boxes[:, 2:] * _CROP_GAIN + _CROP_PAD_PX
    corners = convert_boxes(boxes, "cxcywh_px", "xyxy_px").astype(int)
    return [image[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)] for x1, y1, x2, y2 in corners]


class CropWriter:
    """`crops/<class>/<name>.jpg`: what is inside each box and a margin around it."""

    def __init__(self, folder: Path, names: Mapping[int, str]) -> None:
        self.folder = folder
        self._folders = {k: folder / (_NOT_IN_NAMES.sub("_", name).strip(". ") or str(k)) for k, name in names.items()}

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Write the crops of a frame; several of a class are numbered from 2."""
        crops = cut_out(frame.image, found.boxes_xyxy_px)
        self.write_crops(frame_stem(frame), crops, found.class_ids, separator="_" if frame.number else "")

    def write_crops(
        self, stem: str, crops: Sequence[np.ndarray], class_ids: np.ndarray, *, separator: str = ""
    ) -> None:
        """Write RGB crops of one image under its stem; several of a class are numbered from 2 after the separator."""
        seen: Counter[int] = Counter()
        for class_id, crop in zip(class_ids.tolist(), crops, strict=True):
            seen[class_id] += 1
            number = "" if seen[class_id] == 1 else f"{separator}{seen[class_id]}"
            file = self._folders[class_id] / f"{stem}{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_image(file, crop)

    def close(self) -> None:
        """Nothing is open."""


class CsvWriter:
    """`predictions.csv`: YOLOv5's three columns, then the frame number and the box in pixels."""

    def __init__(self, file: Path, names: Mapping[int, str], *, tracks: bool = False) -> None:
        self._names = names
        self._file: TextIO = file.open("w", newline="", encoding="utf-8", buffering=1)  # a kill loses no row
        write_rows(self._file, [(*_CSV_COLUMNS, "Track") if tracks else _CSV_COLUMNS])

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Add a row for each detection."""
        for index, (box, confidence, class_id) in enumerate(zip(*found[:3], strict=True)):
            place = [frame.number or "", *(f"{value:.2f}" for value in box)]
            place += [] if found.track_ids is None else [int(found.track_ids[index])]
            row = [Path(frame.path).name, self._names[int(class_id)], f"{confidence:.4f}", *place]
            write_rows(self._file, [row])

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class JsonWriter:
    """`predictions.json`: a list in the form of COCO results, with the file, the frame and the class name added."""

    def __init__(self, file: Path, names: Mapping[int, str]) -> None:
        self._names = names
        self._file: TextIO = file.open("w", encoding="utf-8", errors="backslashreplace")
        self._between, self._end = "[", 0

    def write(self, frame: Frame, found: Detections, picture: np.ndarray | None) -> None:
        """Add an entry for each detection."""
        stem = frame_stem(frame)
        rows = zip(*(part.tolist() for part in found[:3]), strict=True)
        for index, ((x1, y1, x2, y2), confidence, class_id) in enumerate(rows):
            track = {} if found.track_ids is None else {"track_id": int(found.track_ids[index])}
            entry = {
                "image_id": int(stem) if stem.isdecimal() else stem,
                "file_name": frame.path,
                "frame": frame.number,
                "category_id": class_id,
                "category_name": self._names[class_id],
                "bbox": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(confidence, 5),
                **track,
            }
            self.add_entry(entry)

    def add_entry(self, entry: Mapping[str, object]) -> None:
        """Add to the list."""
        self._add(f"{self._between}{json.dumps(entry, ensure_ascii=False)}")
        self._between = ",\n"

    def _add(self, text: str) -> None:
        """Write a text and the end of the list after it, which the next text replaces: a kill leaves a whole list."""
        self._file.seek(self._end)
        self._file.write(text)
        self._end = self._file.tell()
        self._file.write("]\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        if not self._end:
            self._add("[")
        self._file.close()
