"""detect.py on an `.onnx` file where torch is not installed (requirements-infer.txt): ONNX Runtime, NumPy and OpenCV.

The rules of suppression are those of `engine.inference.nms`, which says what they are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from engine.config.detect_config import DetectConfig
from engine.inference.exported_metadata import Metadata
from engine.inference.predictor import Detections, Predictor, Prepared, Selection
from engine.runtime.console import first_line
from engine.runtime.optional_package import require

_MAX_CANDIDATES = 30_000


def has_torch() -> bool:
    """Whether torch can be imported; it is, if so."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return False
    return True


def refuse_what_needs_torch(config: DetectConfig) -> None:
    """Say it before anything is imported that would.

    Raises:
        ValueError: On every flag and file that cannot do without.
    """
    first, *others = config.weights
    asked: dict[str, Any] = {f"--{name}": getattr(config, name) for name in ("augment", "dnn", "track", "visualize")}
    asked |= {"--module": config.module, "several --weights": others}
    asked[f"--device {config.device}"] = config.device.strip().lower() not in ("", "auto", "cpu")
    asked[f"--weights {first}"] = not first.lower().endswith(".onnx")
    for name in [name for name, given in asked.items() if given]:
        raise ValueError(
            f"{name} needs torch, which is not installed; without it detect.py runs one .onnx file on the CPU: "
            "pip install -r requirements.txt, or give a file of export.py --include onnx"
        )


def open_without_torch(file: str) -> Any:  # noqa: ANN401  (the face of a Network, whose class needs torch)
    """Open an `.onnx` file.

    Raises:
        ValueError: If it is missing or cannot be read.
    """
    if not Path(file).is_file():
        raise ValueError(f"weights file {file!r} was not found; export.py writes it")
    return _OnnxNetwork(file)


class _OnnxNetwork:
    """What `Predictor` and detect.py see of a network."""

    device = SimpleNamespace(type="cpu")
    parallel = False

    def __init__(self, file: str) -> None:
        runtime = require("onnxruntime", file)
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own errors share no other base
            raise ValueError(f"{file}: not a readable ONNX file: {first_line(error)}") from error
        given = self._session.get_inputs()[0]
        metadata = Metadata.of_onnx(self._session.get_modelmeta().custom_metadata_map, given.shape, file)
        if metadata.raw_head is not None:
            raise ValueError(f"{file}: a raw head is decoded with torch, which is not installed; export it without")
        self._input = given.name
        self._dtype = np.float16 if given.type == "tensor(float16)" else np.float32
        self._output = self._session.get_outputs()[0].name
        self.names, self.stride_px, self.channels = metadata.names, metadata.stride, metadata.channels
        self.nc, self.finished = len(self.names), metadata.nms is not None
        self.image_hw = None if metadata.dynamic else metadata.imgsz
        self.batch_size = None if metadata.dynamic else metadata.batch
        self.description = f"onnxruntime (CPUExecutionProvider), {'fp16' if metadata.half else 'fp32'}, without torch"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(B, C, H, W) float32 0..1 -> (B, N, 5 + nc), or (B, n, 6) of a file with suppression inside."""
        size = self.batch_size or len(images)
        found = []
        for start in range(0, len(images), size):
            part = images[start : start + size].astype(self._dtype)
            filled = np.concatenate((part, np.repeat(part[-1:], size - len(part), axis=0)))
            found.append(self._session.run([self._output], {self._input: filled})[0][: len(part)])
        rows = np.concatenate(found).astype(np.float32)
        columns = 6 if self.finished else 5 + self.nc
        if rows.ndim != 3 or rows.shape[2] != columns:
            raise ValueError(f"the exported file gives {rows.shape}; expected (images, boxes, {columns})")
        return rows


class NumpyPredictor(Predictor):
    """`Predictor` with arrays in place of tensors."""

    def _detect_same_shape(self, batch: Sequence[Prepared]) -> tuple[list[Detections], float, float]:
        network: Any = self.network
        start = time.perf_counter()
        pixels = np.stack([prepared.letterboxed.image for prepared in batch]).transpose(0, 3, 1, 2)
        predictions = network(np.ascontiguousarray(pixels, dtype=np.float32) / np.float32(255))
        done = time.perf_counter()
        rows = [_select(one, self.selection, network.finished) for one in predictions]
        found = [self._to_original(one, prepared) for one, prepared in zip(rows, batch, strict=True)]
        return found, done - start, time.perf_counter() - done


def _select(rows: np.ndarray, wanted: Selection, finished: bool) -> np.ndarray:
    """Predictions (N, 5 + nc), or finished detections (n, 6), of one image -> (m, 6) as `non_max_suppression`."""
    rows = rows[rows[:, 4] > wanted.conf_thres]
    if not finished:
        confidence = rows[:, 5:] * rows[:, 4:5]
        class_id = confidence.argmax(1)
        confidence = confidence.max(1)
        centre, half_size = rows[:, :2], rows[:, 2:4] / 2
        rows = np.column_stack((centre - half_size, centre + half_size, confidence, class_id.astype(np.float32)))
        rows = rows[confidence > wanted.conf_thres]
    if wanted.classes is not None:
        rows = rows[np.isin(rows[:, 5].astype(int), wanted.classes)]
    if finished:
        return rows[: wanted.max_det]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")[:_MAX_CANDIDATES]]
    return rows[_suppress(rows, wanted)]


def _suppress(rows: np.ndarray, wanted: Selection) -> list[int]:
    """Indices of the survivors among rows sorted by descending confidence."""
    boxes = rows[:, :4].astype(np.float64)
    if not wanted.agnostic and len(boxes):
        boxes = boxes + rows[:, 5:6].astype(np.float64) * (boxes.max() - boxes.min() + 1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    alive, kept = np.arange(len(boxes)), []
    while len(alive) and len(kept) < wanted.max_det:
        first, alive = alive[0], alive[1:]
        kept.append(int(first))
        low = np.maximum(boxes[first, :2], boxes[alive, :2])
        high = np.minimum(boxes[first, 2:], boxes[alive, 2:])
        shared = (high - low).clip(0).prod(1)
        alive = alive[shared <= wanted.iou_thres * (areas[first] + areas[alive] - shared)]
    return kept
