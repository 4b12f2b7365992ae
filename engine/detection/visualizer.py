"""`detect.py --visualize`: pictures of what the model looks at, a folder an image, and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data.sources.frame import Frame
from engine.config.detect_config import DetectConfig
from engine.detection.output_files import frame_stem
from engine.explanation import Explainer, Section, save_pictures, usual_kinds, write_page
from engine.inference.open_weights import is_exported
from engine.inference.predictor import Detections, Prepared
from engine.runtime.console import note
from engine.runtime.device import select_device
from models.weights.checkpoint import load_model
from models.yolo import DetectionModel


def model_to_explain(config: DetectConfig, weights: Sequence[str]) -> DetectionModel | None:
    """A second copy of the model, as it was trained, in float32; the one that detects is as without the flag.

    Raises:
        ValueError: If there is no such model to look into.
    """
    if config.visualize is None:
        return None
    asked = f"--visualize {config.visualize}"
    for file in filter(is_exported, weights):
        raise ValueError(
            f"{asked}: {file} is an exported model, which has no gradients and hides its layers; give the .pt file it "
            "was made of"
        )
    if len(weights) > 1:
        raise ValueError(f"{asked}: expected one weights file but got an ensemble of {len(weights)}; take them in turn")
    if config.augment:
        raise ValueError(f"{asked}: --augment merges three sizes, of which none alone gives these boxes; leave it out")
    return load_model(weights[0], select_device(config.device))


def make_explainer(config: DetectConfig, model: DetectionModel, names: Mapping[int, str]) -> Explainer:
    """Explains what was asked for; beside the heat the gates, where the model has attention.

    Raises:
        ValueError: If only gates were asked for and there are none.
    """
    kinds = usual_kinds(model) if config.visualize == "cam" else (str(config.visualize),)
    if kinds == ("cam",):
        note(
            "the model has no attention, so the page has no gates; "
            "train.py --attention CoordAtt@neck.P3,neck.P4,neck.P5 inserts some"
        )
    return Explainer(model, names, kinds)


class Visualizer:
    """Explains frames as they are detected."""

    def __init__(self, explainer: Explainer, folder: Path, every: int) -> None:
        """Get ready.

        Args:
            explainer: Of the model of `model_to_explain`.
            folder: The run folder.
            every: Of which frames of videos and streams.
        """
        self._explainer, self._folder, self._every = explainer, folder, every
        self._sections: list[Section] = []
        self._taken: set[Path] = set()

    def __call__(self, frame: Frame, prepared: Prepared, found: Detections) -> None:
        """Write the pictures of a frame, if it is one of every n."""
        if frame.number and (frame.number - 1) % self._every:
            return
        explanation = self._explainer(prepared, frame.image, found, frame.path)
        self._sections.append(save_pictures(explanation, self._new_folder(frame_stem(frame))))

    def _new_folder(self, stem: str) -> Path:
        """A folder apart from the other results, whose names a stem may be; frame 1 of clip.mp4 is not clip_1.jpg."""
        folder = self._folder / "explained" / stem
        number = 1
        while folder in self._taken:
            number += 1
            folder = self._folder / "explained" / f"{stem}-{number}"
        self._taken.add(folder)
        return folder

    def close(self) -> None:
        """Write the page, also of what was done when the run was stopped."""
        if self._sections:
            print(f"What the model looks at: {write_page(self._folder, self._sections)}")
