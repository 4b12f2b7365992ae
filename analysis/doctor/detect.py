"""What a trained model finds on the images of a set, for the checks of suspected label errors."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from analysis.doctor.evidence import Detected, Split
from data.boxes import convert_boxes
from data.images import ImageReadError, read_image
from engine.inference.image_size import whole_strides
from engine.inference.open_weights import open_network
from engine.inference.predictor import Predictor, Selection
from engine.runtime.device import select_device

LEAST_CONFIDENCE = 0.05  # of a detection that can speak for a label
_OVERLAP = 0.6  # as val.py keeps detections
_BATCH = 8
_NOTHING = Detected(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


class Eye(NamedTuple):
    """A model, and the data set's class of each of its own."""

    predictor: Predictor
    class_of: dict[int, int]


def open_eye(weights: str, names: Mapping[int, str], image_px: int, device: str = "") -> Eye:
    """Open weights and pair their classes with the data set's, by name; all of them by number where no name is known.

    Raises:
        ValueError: If the weights cannot be read, or their classes are not the set's.
    """
    network = open_network([weights], select_device(device))
    known = {name.casefold(): number for number, name in names.items()}
    class_of = {theirs: known[name.casefold()] for theirs, name in network.names.items() if name.casefold() in known}
    if not class_of and len(network.names) == len(names):
        class_of = {number: number for number in names}
    if not class_of:
        theirs = ", ".join(list(network.names.values())[:10])
        raise ValueError(
            f"--weights {weights}: knows {theirs}, and none of these is in `names:`: {', '.join(names.values())}; give "
            "weights that were trained on these classes"
        )
    sides = network.image_hw or whole_strides(image_px, network.stride_px)
    selection = Selection(conf_thres=LEAST_CONFIDENCE, iou_thres=_OVERLAP, max_det=300)
    return Eye(Predictor(network, image_px=sides, selection=selection), class_of)


def detect_on(split: Split, eye: Eye, progress: bool) -> list[Detected]:
    """What the model finds on each image of a split; nothing where an image cannot be read."""
    found = [_NOTHING] * len(split.images)
    readable = [index for index, state in enumerate(split.states) if state != "corrupt"]
    bar = tqdm(
        range(0, len(readable), _BATCH), f"{split.name}: detecting", leave=False, disable=None if progress else True
    )
    with ThreadPoolExecutor(_BATCH) as pool:
        for start in bar:
            some = readable[start : start + _BATCH]
            images = list(pool.map(_image, [split.images[index] for index in some]))
            whole = [(index, image) for index, image in zip(some, images, strict=True) if image is not None]
            for (index, image), one in zip(whole, eye.predictor([image for _, image in whole]), strict=True):
                height, width = image.shape[:2]
                known = np.isin(one.class_ids, list(eye.class_of))
                ids = np.array([eye.class_of[number] for number in one.class_ids[known].tolist()], np.int64)
                boxes = convert_boxes(one.boxes_xyxy_px[known], "xyxy_px", "xyxy_norm", width, height)
                found[index] = Detected(boxes, one.confidences[known], ids)
    return found


def anchors_of(weights: str) -> np.ndarray | None:
    """(anchors, 2) px of a .pt file; None for other files."""
    if Path(weights).suffix != ".pt":
        return None
    from models.weights.checkpoint import read_checkpoint

    return np.array(read_checkpoint(weights).spec.anchors, dtype=np.float64).reshape(-1, 2)


def _image(path: str) -> np.ndarray | None:
    try:
        return read_image(path)
    except ImageReadError:  # cut off in a way that only decoding shows; the pictures' check tells of it
        return None
