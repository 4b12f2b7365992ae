"""Draws and writes behind the network's back: one thread draws in order, a few more encode images."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from data.sources.frame import Frame
from engine.config.detect_config import DetectConfig
from engine.detection.output_files import (
    CropWriter,
    CsvWriter,
    ImageWriter,
    JsonWriter,
    LabelWriter,
    VideoWriter,
    Writer,
)
from engine.detection.prelabels import CocoWriter, LabelStudioWriter
from engine.drawing.boxes_on_images import Annotator, Style
from engine.inference.predictor import Detections
from engine.runtime.pipeline import Held

_ENCODERS = 4

Shown = Iterator[tuple[Frame, np.ndarray | None]]


def _json_writer(file: Path, config: DetectConfig, names: Mapping[int, str]) -> Writer:
    if config.save_json == "labelstudio":
        return LabelStudioWriter(file, names, "+".join(Path(one).stem for one in config.weights))
    return (CocoWriter if config.save_json == "coco" else JsonWriter)(file, names)


class Recorder:
    """Takes detections frame by frame and turns them into pictures and files.

    Attributes:
        labels: The writer of label files, if there is one.
        held: The pictures that are in use; while they take much memory, none waits here.
    """

    def __init__(self, folder: Path | None, config: DetectConfig, names: Mapping[int, str], ahead: int) -> None:
        """Open the outputs.

        Args:
            folder: The run folder; None writes nothing.
            config: Says what to draw and write.
            names: Class names.
            ahead: Frames that may wait at most.
        """
        style = Style(config.line_thickness, not config.hide_labels, not config.hide_conf)
        self._annotator = Annotator(names, style) if config.draws else None
        self._ahead, self.held = ahead, Held()
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._encoding = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encode")
        self._waiting: deque[tuple[Frame, Future[tuple[np.ndarray | None, list[Future[None]]]]]] = deque()
        self._in_order: list[Writer] = []  # files to which frame after frame is added
        self._alone: list[Writer] = []  # files of a single frame, written in any order
        self.labels: LabelWriter | None = None
        if folder is None:
            return
        if not config.nosave:
            self._alone.append(ImageWriter(folder))
            self._in_order.append(VideoWriter(folder))
        if config.save_crop:
            self._alone.append(CropWriter(folder / "crops", names))
        if config.save_txt:
            self.labels = LabelWriter(folder / "labels", corners=config.save_format == 1, confidences=config.save_conf)
            self._in_order.append(self.labels)
        if config.save_csv:
            self._in_order.append(CsvWriter(folder / "predictions.csv", names, tracks=config.track is not None))
        if config.save_json:
            self._in_order.append(_json_writer(folder / "predictions.json", config, names))

    def submit(self, frame: Frame, found: Detections) -> Shown:
        """Hand over a frame; yields those that are finished, waiting if too many are not.

        Raises:
            OSError: If a result cannot be written.
        """
        self._waiting.append((frame, self._drawing.submit(self._draw, frame, found)))
        yield from self._finished(self._ahead)

    def drain(self) -> Shown:
        """Wait for everything that was handed over."""
        yield from self._finished(0)

    def _finished(self, leave: int) -> Shown:
        while self._waiting and (len(self._waiting) > leave or self._waiting[0][1].done() or self.held.full()):
            frame, drawing = self._waiting.popleft()
            picture, encoding = drawing.result()
            for one in encoding:
                one.result()
            yield frame, picture

    def _draw(self, frame: Frame, found: Detections) -> tuple[np.ndarray | None, list[Future[None]]]:
        picture = self._annotator.draw(frame.image, *found) if self._annotator is not None else None
        encoding = [self._encoding.submit(writer.write, frame, found, picture) for writer in self._alone]
        for writer in self._in_order:
            writer.write(frame, found, picture)
        return picture, encoding

    def close(self) -> None:
        """Finish what is under way and every file, those after one that cannot be finished too."""
        self._drawing.shutdown(cancel_futures=True)
        self._encoding.shutdown()
        with ExitStack() as stack:
            for writer in (*self._in_order, *self._alone):
                stack.callback(writer.close)
