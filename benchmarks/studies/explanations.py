"""Does the heat say anything? Figures that a picture cannot give.

    python -m benchmarks.studies.explanations --weights weights/yolov5n_ca_mask.pt --data mask.yaml --img 320

Energy (Wang et al. 2020, Score-CAM, section 4.3): the share of a heat map's sum that lies inside the labelled box of
the detection. Beside it the share of the image that the box covers, which an even map would have, and the same boxes'
maps of a model whose weights are shuffled within every tensor and of one with fresh weights (Adebayo et al. 2018): a
method that draws the same with those shows edges, not what was learned.

Deletion and insertion (Petsiuk et al. 2018): the detection's confidence while cells of 8 px are greyed, hottest first,
or uncovered on grey, hottest first; the mean over the way. Low deletion and high insertion are better than the same in
a random order.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from data.boxes import convert_boxes
from data.dataset.dataset_yaml import list_images, load_dataset_spec
from data.dataset.label_scan import scan_labels
from data.images import FILL, read_image
from engine.config.parser import run_cli
from engine.explanation.layer_cam import layer_cams
from engine.inference.network import PlainNetwork
from engine.inference.predictor import Predictor, Selection
from engine.runtime.device import choose_precision
from models import build_model, load_model
from models.yolo import DetectionModel

CELL_PX, STEPS = 8, 20
CPU = torch.device("cpu")


class Case(NamedTuple):
    """A detection that is right.

    Attributes:
        image: (1, C, H, W) in 0..1, letterboxed.
        box: (4,) corners in its pixels.
        label: (4,) of the labelled box.
        class_id: Its class.
    """

    image: Tensor
    box: Tensor
    label: Tensor
    class_id: int


def find_cases(model: DetectionModel, images: Sequence[str], labels: Sequence[np.ndarray], image_px: int) -> list[Case]:
    """The most confident right detection of each image that has one: IoU of 0.5 with a label of its class."""
    network = PlainNetwork(model, CPU, choose_precision("32", CPU))
    predictor = Predictor(network, image_px=image_px, selection=Selection())
    cases = []
    for path, rows in zip(images, labels, strict=True):
        picture = read_image(path, model.channels)
        prepared = predictor.prepare(picture)
        (found,) = predictor.detect([prepared])
        pixels, ratio, pad = prepared.letterboxed
        height, width = picture.shape[:2]
        truth = convert_boxes(rows[:, 1:], "cxcywh_norm", "xyxy_px", width_px=width, height_px=height)
        shift = np.array([*pad, *pad], np.float32)
        boxes, truth = (torch.from_numpy(np.asarray(one * ratio + shift, np.float32)) for one in (found[0], truth))
        right = box_iou(boxes, truth) * torch.from_numpy(found.class_ids[:, None] == rows[None, :, 0])
        for number, ious in enumerate(right):
            if len(ious) and ious.max() >= 0.5:
                image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
                cases.append(Case(image, boxes[number], truth[int(ious.argmax())], int(found.class_ids[number])))
                break
    return cases


def heat_of(model: DetectionModel, case: Case) -> Tensor:
    """(h, w) at the stride of the finest map."""
    return layer_cams(model, case.image, case.box[None], torch.tensor([case.class_id]))[0]


def energy(heat: Tensor, case: Case) -> float:
    """Share of the heat inside the label, cells by the part of them that is inside."""
    return float((heat * inside(case, heat)).sum() / heat.sum()) if heat.sum() > 0 else float("nan")


def inside(case: Case, heat: Tensor) -> Tensor:
    """(h, w): how much of each cell the labelled box covers."""
    sides = []
    for axis, cells in ((1, heat.shape[0]), (0, heat.shape[1])):
        cell = case.image.shape[-2 if axis else -1] / cells
        low, high = float(case.label[axis]) / cell, float(case.label[axis + 2]) / cell
        start = torch.arange(cells, dtype=torch.float32)
        sides.append(((start + 1).clamp(max=high) - start.clamp(min=low)).clamp(min=0))
    return torch.outer(*sides)


def confidence_along(model: DetectionModel, case: Case, order: Tensor, *, insert: bool) -> float:
    """Mean confidence while cells are greyed, or uncovered, in an order (cells,)."""
    height, width = case.image.shape[-2:]
    columns = width // CELL_PX
    grey = torch.full_like(case.image, FILL / 255)
    pictures = []
    for step in range(STEPS + 1):
        mask = torch.zeros(height // CELL_PX * columns)
        mask[order[: round(len(order) * step / STEPS)]] = 1
        changed = mask.view(-1, columns).repeat_interleave(CELL_PX, 0).repeat_interleave(CELL_PX, 1)
        kept = changed if insert else 1 - changed
        pictures.append(case.image * kept + grey * (1 - kept))
    with torch.no_grad():
        predictions = model(torch.cat(pictures))  # (B, N, 5 + nc)
    centre, half = predictions[..., :2], predictions[..., 2:4] / 2
    same = box_iou(torch.cat((centre - half, centre + half), -1).flatten(0, 1), case.box[None]) >= 0.5
    scores = predictions[..., 4] * predictions[..., 5 + case.class_id] * same.view(predictions.shape[:2])
    return float(scores.amax(1).mean())


def hottest_first(heat: Tensor, case: Case) -> Tensor:
    """Cells of `CELL_PX` in descending order of heat."""
    size = tuple(side // CELL_PX for side in case.image.shape[-2:])
    return torch.nn.functional.interpolate(heat[None, None], size=size, mode="area").flatten().argsort(descending=True)


def shuffled(model: DetectionModel) -> DetectionModel:
    """The same graph with every tensor's weights in another order."""
    other = build_model(model.spec)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter))
    return other.eval()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True, help="its validation images")
    parser.add_argument("--img", type=int, default=320)
    parser.add_argument("--images", type=int, default=50, help="with a right detection, evenly over the split")
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    model = load_model(options.weights, CPU).eval()
    dataset = load_dataset_spec(options.data)
    scan = scan_labels(list_images(dataset.entries("val")), dataset.nc, progress=False)
    at = np.linspace(0, len(scan.paths) - 1, min(2 * options.images, len(scan.paths))).round().astype(int)
    paths, labels = [str(scan.paths[i]) for i in at], [scan.labels[i] for i in at]
    cases = find_cases(model, paths, labels, options.img)[: options.images]
    models = {"trained": model, "shuffled": shuffled(model), "fresh weights": build_model(model.spec).eval()}
    heats = {name: [heat_of(one, case) for case in cases] for name, one in models.items()}
    print(f"{len(cases)} detections\n\n| heat of | energy inside the label, mean | median |\n|---|---|---|")
    even = [energy(torch.ones_like(heat), case) for heat, case in zip(heats["trained"], cases, strict=True)]
    rows = {name: [energy(heat, case) for heat, case in zip(some, cases, strict=True)] for name, some in heats.items()}
    for name, values in {**rows, "an even map": even}.items():
        print(f"| {name} | {np.nanmean(values):.3f} | {np.nanmedian(values):.3f} |")
    print("\n| order of the cells | deletion (low is better) | insertion (high is better) |\n|---|---|---|")
    for name in (*models, "random"):
        ways = []
        for number, case in enumerate(cases):
            size = case.image.shape[-2] // CELL_PX * (case.image.shape[-1] // CELL_PX)
            order = torch.randperm(size) if name == "random" else hottest_first(heats[name][number], case)
            ways.append([confidence_along(model, case, order, insert=insert) for insert in (False, True)])
        deletion, insertion = np.mean(ways, 0)
        print(f"| {name} | {deletion:.3f} | {insertion:.3f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
