"""Measure the best weights of a trained run: `python -m analysis.compare.execute.measure RUN_FOLDER`.

Writes `measured.json` (the figures of val.py on the planned split, COCO's twelve, cost), `images.npz` (per image, for
the statistics) and `seen/*.jpg`, the same few images of the split for every run with what the model
found on them and looked at, and with their labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.machine import describe_machine
from analysis.compare.execute.run_folder import RunFolder
from analysis.compare.plan.data_fingerprint import image_name
from data.dataset.dataset_yaml import DatasetSpec, load_dataset_spec
from data.images import read_image, write_image
from engine.config.parser import add_module_flag, run_cli
from engine.config.train_config import TrainConfig
from engine.drawing.boxes_on_images import Annotator, Style
from engine.inference.image_size import training_px
from engine.inference.network import PlainNetwork
from engine.runtime.device import choose_precision, select_device
from engine.training.build_run import val_loader
from engine.validation.error_report import ErrorRecorder, errors_dict
from engine.validation.evaluate import evaluate
from engine.validation.explained_images import ImageExplainer, cam_and_gates
from engine.validation.metrics import match_detections
from engine.validation.observer import EvaluatedBatch
from engine.validation.prediction_files import CocoWriter
from engine.validation.result_table import EvalResult
from models.cost import count_macs, count_parameters
from models.user_modules import load_modules
from models.weights.checkpoint import load_model

_SEED = 0  # of the choice of images
SHOWN_IMAGES = 4  # of every run alike; two more are chosen when all are measured (different_images.py)
SHOWN_CONFIDENCE = 0.25
_SHOWN_WIDTH_PX = 400


class ImageRecorder:
    """An observer of the evaluation that keeps what `ImageResults` holds."""

    def __init__(self, dataset: DatasetSpec) -> None:
        self.dataset = dataset
        self.images: list[str] = []
        self._truth: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []  # image, score, class of each detection
        self._correct: list[np.ndarray] = []

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Keep a batch."""
        for path, found, labels in zip(batch.paths, batch.native, batch.native_labels, strict=True):
            number = np.full((len(found), 1), len(self.images))
            self._rows.append(np.concatenate((number, found[:, 4:]), 1))
            self._correct.append(match_detections(found[:, :4], found[:, 5], labels[:, 1:], labels[:, 0]))
            self._truth.append(np.bincount(labels[:, 0].astype(int), minlength=self.dataset.nc))
            self.images.append(image_name(self.dataset, path))

    def results(self) -> ImageResults:
        """Everything, in the order in which it was seen."""
        rows = np.concatenate(self._rows)
        return ImageResults(
            names=tuple(self.dataset.names.values()),
            images=tuple(self.images),
            truth=np.stack(self._truth).astype(np.int32),
            image=rows[:, 0].astype(np.int32),
            score=rows[:, 1].astype(np.float32),
            class_id=rows[:, 2].astype(np.int32),
            correct=np.concatenate(self._correct),
        )


class Pictures:
    """An observer that draws the labels of some images, what was found on them and what the model looked at."""

    def __init__(
        self,
        folder: Path,
        names: Mapping[int, str],
        paths: Sequence[str],
        explainer: ImageExplainer | None = None,
        *,
        prefix: str = "",
    ) -> None:
        """Choose the images by a fixed seed from the sorted list, hence the same for every run.

        Args:
            folder: Where they are written.
            names: Class names.
            paths: All images of the split.
            explainer: Of the model; without, nothing is said of what it looked at.
            prefix: Of the files' names, before their numbers.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.explainer = folder, explainer
        self.annotator = Annotator(names, Style(line_px=2))
        ordered = sorted(paths)
        drawn = np.random.default_rng(_SEED).choice(len(ordered), min(SHOWN_IMAGES, len(ordered)), replace=False)
        self.wanted = {ordered[i]: f"{prefix}{number}" for number, i in enumerate(sorted(drawn.tolist()))}

    def __call__(self, batch: EvaluatedBatch) -> None:
        """Draw those of a batch that are wanted."""
        for path, found, labels in zip(batch.paths, batch.native, batch.native_labels, strict=True):
            if path in self.wanted:
                self.draw(path, found, labels)

    def draw(self, path: str, found: np.ndarray, labels: np.ndarray) -> None:
        """Draw an image that is wanted.

        Args:
            path: The image.
            found: (n, 6) x1, y1, x2, y2 in its pixels, confidence, class.
            labels: (m, 5) class, x1, y1, x2, y2.
        """
        shown = found[found[:, 4] >= SHOWN_CONFIDENCE]
        self._draw(path, shown, f"{self.wanted[path]}.jpg")
        self._explain(path, shown)
        truth = np.concatenate((labels[:, 1:], np.ones((len(labels), 1)), labels[:, :1]), 1)
        self._draw(path, truth, f"{self.wanted[path]}-truth.jpg")

    def _explain(self, path: str, found: np.ndarray) -> None:
        if self.explainer is None:
            return
        pictures = cam_and_gates(self.explainer(path, found), 2 * _SHOWN_WIDTH_PX)
        for kind, picture in zip(("cam", "gates"), pictures, strict=True):
            if picture is not None:
                write_image(self.folder / f"{self.wanted[path]}-{kind}.jpg", picture, jpeg_quality=80)

    def _draw(self, path: str, found: np.ndarray, name: str) -> None:
        picture = read_image(path)
        scale = _SHOWN_WIDTH_PX / picture.shape[1]
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = self.annotator.draw(picture, found[:, :4] * scale, found[:, 4], found[:, 5].astype(int))
        write_image(self.folder / name, picture, jpeg_quality=80)


def measure(folder: RunFolder) -> None:
    """Measure a run and write its figures.

    Raises:
        ValueError: If its weights or its data are missing or wrong.
    """
    plan = folder.plan
    config = TrainConfig.from_dict(plan.train)
    device = select_device(config.device)
    # In fp32 whatever was trained in, as train.py and val.py measure for the record.
    precision = replace(choose_precision(config.precision, device), dtype=torch.float32)
    dataset = load_dataset_spec(config.data, single_cls=config.single_cls)
    model = load_model(folder.best, device).to(memory_format=precision.memory_format)
    stride_px = max(int(model.stride.max()), 32)
    image_px = training_px(config.imgsz, stride_px)
    sizes: dict[str, Any] = {"image_px": image_px, "stride_px": stride_px, "channels": model.channels}
    loader = val_loader(config, dataset, split=plan.task, **sizes, pin_memory=device.type == "cuda")
    recorder, coco = ImageRecorder(dataset), CocoWriter(range(dataset.nc))
    errors = ErrorRecorder(dataset.names)
    explainer = ImageExplainer(load_model(folder.best, device), dataset.names, image_px)
    pictures = Pictures(folder.path / "seen", dataset.names, loader.dataset.paths, explainer)
    result = evaluate(
        PlainNetwork(model, device, precision),
        loader,
        names=dataset.names,
        single_cls=config.single_cls,
        observers=[recorder, coco, errors, pictures],
    )
    recorder.results().save(folder.path / "images.npz")
    image = torch.zeros(1, model.spec.channels, image_px, image_px, device=device)
    cost = {"parameters": count_parameters(model), "macs": count_macs(model, image)}
    more = {
        "coco": coco.figures(dataset.names),
        "errors": errors_dict(errors.costs(), dataset.names),
        "device": str(device),
        "machine": describe_machine(device),
    }
    folder.write("measured", {**_figures(result), **cost, **more})


def _figures(result: EvalResult) -> dict[str, Any]:
    return {
        "precision": result.precision,
        "recall": result.recall,
        "map50": result.map50,
        "map50_95": result.map50_95,
        "images": result.images,
        "instances": result.instances,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the run named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.compare.execute.measure", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="a run's folder")
    add_module_flag(parser)
    options = parser.parse_args(argv)
    load_modules(options.module)
    measure(RunFolder(options.folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
