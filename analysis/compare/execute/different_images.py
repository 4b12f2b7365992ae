"""The images on which configurations differ most, drawn as each of them sees them, when all are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.measure import SHOWN_CONFIDENCE, Pictures
from analysis.compare.execute.run_folder import FINISHED, RunFolder
from analysis.compare.plan.data_fingerprint import image_name
from data.boxes import convert_boxes
from data.dataset.dataset_yaml import list_images, load_dataset_spec
from data.dataset.label_scan import scan_labels
from data.images import read_image
from engine.config.train_config import TrainConfig
from engine.inference.image_size import training_px
from engine.inference.network import PlainNetwork
from engine.inference.predictor import Predictor, Selection
from engine.runtime.console import first_line, say
from engine.runtime.device import choose_precision, select_device
from engine.validation.explained_images import ImageExplainer
from models.weights.checkpoint import load_model

DIFFERENT_IMAGES = 2
PREFIX = "different"  # of the pictures' names
_CHOSEN = "different"  # the file of a run that names the images drawn


def draw_different(folders: Sequence[RunFolder]) -> None:
    """Draw them into `seen/different…` of the lowest seed of each configuration, where its weights are still there.

    Pictures of images that were chosen before, of fewer configurations, go: a row of the page shows one image.

    Args:
        folders: All runs of a comparison.
    """
    for group in _groups(folders):
        try:
            chosen = most_different([ImageResults.load(one.path / "images.npz") for one in group])
        except ValueError:  # which the report tells of
            continue
        for folder in group:
            if folder.read(_CHOSEN, []) != chosen:
                _draw_anew(folder, chosen)


def _draw_anew(folder: RunFolder, chosen: Sequence[str]) -> None:
    for old in (folder.path / "seen").glob(f"{PREFIX}*.jpg"):
        old.unlink()
    folder.write(_CHOSEN, [])
    if not chosen:
        return
    if not folder.best.is_file():
        say(f"{folder.path.name}: the images that differ most are not drawn, because its weights are gone")
        return
    try:
        _draw(folder, chosen)
    except (ValueError, OSError) as error:  # pictures are no reason to do without the report
        say(f"WARNING: {folder.path.name}: the images that differ most are not drawn: {first_line(error)}")
        return
    folder.write(_CHOSEN, chosen)


def most_different(results: Sequence[ImageResults], count: int = DIFFERENT_IMAGES) -> list[str]:
    """Names of the images where right less false detections (IoU 0.5, confidence from 0.25) differ most.

    Args:
        results: Of each configuration, on the same images.
        count: How many at most; images on which all agree are none.
    """
    if len(results) < 2 or any(one.images != results[0].images for one in results):
        return []
    balance = np.stack([_balance(one) for one in results])
    spread = balance.max(0) - balance.min(0)
    order = np.argsort(-spread, kind="stable")[:count]
    return [results[0].images[i] for i in order if spread[i] > 0]


def _balance(results: ImageResults) -> np.ndarray:
    sure = results.score >= SHOWN_CONFIDENCE
    worth = np.where(results.correct[sure, 0], 1, -1)
    return np.bincount(results.image[sure], weights=worth, minlength=len(results.images))


def _groups(folders: Sequence[RunFolder]) -> list[list[RunFolder]]:
    """The lowest finished seed of each configuration, in the groups that the report compares."""
    groups: dict[tuple[str, str], dict[str, RunFolder]] = {}
    for folder in sorted((one for one in folders if one.state == FINISHED), key=lambda one: one.plan.seed):
        plan = folder.plan
        groups.setdefault((plan.group, plan.data_digest), {}).setdefault(plan.config, folder)
    return [list(group.values()) for group in groups.values()]


def _draw(folder: RunFolder, chosen: Sequence[str]) -> None:
    plan = folder.plan
    config = TrainConfig.from_dict(plan.train)
    device = select_device(config.device)
    dataset = load_dataset_spec(config.data, single_cls=config.single_cls)
    paths = {image_name(dataset, path): path for path in list_images(dataset.entries(plan.task))}
    if gone := [name for name in chosen if name not in paths]:
        raise ValueError(f"{dataset.file}: has no image {gone[0]} any more")
    wanted = [paths[name] for name in chosen]
    model = load_model(folder.best, device)
    image_px = training_px(config.imgsz, max(int(model.stride.max()), 32))
    network = PlainNetwork(model, device, choose_precision("32", device))
    predictor = Predictor(network, image_px=image_px, selection=Selection(SHOWN_CONFIDENCE, 0.6))
    pictures = Pictures(
        folder.path / "seen", dataset.names, wanted, ImageExplainer(model, dataset.names, image_px), prefix=PREFIX
    )
    scan = scan_labels(wanted, dataset.nc, progress=False)
    labels = dict(zip(map(str, scan.paths), scan.labels, strict=True))
    for path in wanted:
        image = read_image(path, model.channels)
        boxes, confidences, class_ids = predictor([image])[0][:3]
        found = np.concatenate((boxes, confidences[:, None], class_ids[:, None]), 1)
        truth = np.array(labels.get(path, np.zeros((0, 5))), np.float32)
        height, width = image.shape[:2]
        truth[:, 1:] = convert_boxes(truth[:, 1:], "cxcywh_norm", "xyxy_px", width, height)
        pictures.draw(path, found, truth)
