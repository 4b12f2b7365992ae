"""The tab Data: what analysis.doctor says of a data set, and its images with their labels by class and size."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from analysis.doctor.evidence import Split, read_splits
from analysis.doctor.page import page as doctor_page
from analysis.doctor.page import summary
from analysis.doctor.run_doctor import Request, diagnose
from app.page import BUTTONS, MODEL, Page
from app.uploads import check_pixels
from data.boxes import convert_boxes
from data.dataset.dataset_yaml import SPLITS, load_dataset_spec
from data.images import read_image
from engine.detection.run_detection import class_ids
from engine.drawing.boxes_on_images import Annotator, Style

_SHOWN = 24  # images at a time
_SIDE_PX = 640  # of a picture, at most
_AREAS_PX = {"": (0, np.inf), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}  # COCO's


@dataclass(frozen=True)
class _Data:
    """The tab's handlers."""

    page: Page

    def examine(self, data: str | None, weights: str | None, pixels: bool) -> tuple[str, str]:
        """The doctor's line and page."""
        model = str(self.page.folders.path(weights)) if weights else ""
        file = self.page.folders.path(data or "")
        found = diagnose(Request(str(file), model, pixels=pixels, progress=False))
        text = doctor_page(found.evidence, found.findings, found.left_out)
        text = text.encode("utf-8", "backslashreplace").decode()  # names of files may be no Unicode
        label = escape(self.page.say("doctor"))
        frame = f'<iframe title="{label}" sandbox="allow-scripts" style="width:100%;height:75vh;border:0" srcdoc="'
        return summary(found.findings), f'{frame}{escape(text)}"></iframe>'

    def classes(self, data: str | None) -> Any:  # noqa: ANN401  (an update)
        """The classes to choose from."""
        dataset = load_dataset_spec(self.page.folders.path(data or ""))
        return gr.Dropdown(choices=[(self.page.say("all"), ""), *dataset.names.values()])

    def browse(self, data: str | None, name: str, kind: str, size: str, number: float) -> tuple[str, list[Any]]:
        """Images of a split that have boxes of a class and size, with those boxes; `number` is the page, from 1."""
        dataset = load_dataset_spec(self.page.folders.path(data or ""))
        split = next((s for s in read_splits(dataset, False, lambda _: None) if s.name == name), None)
        if split is None:
            raise ValueError(f"{dataset.file.name}: has no {name}:")
        rows = _rows(split, class_ids((kind,), dataset.names) if kind else None, size)
        images = np.unique(split.image_of_row[rows]) if kind or size else np.arange(len(split.images))
        first = (int(number) - 1) * _SHOWN
        annotator = Annotator(dataset.names, Style(2, confidences=False))
        shown = [_drawn(split, image, rows, annotator) for image in images[first : first + _SHOWN].tolist()]
        pages = -(-len(images) // _SHOWN)
        line = self.page.say("browsed", images=len(images), boxes=int(rows.sum()), number=int(number), pages=pages)
        return line, shown


def _rows(split: Split, classes: tuple[int, ...] | None, size: str) -> np.ndarray:
    """(rows,) whether a box is of the classes and the size; None and "" take all."""
    shapes = split.shapes_wh[split.image_of_row]
    areas = (split.rows[:, 3:5] * shapes).prod(1)
    least, most = _AREAS_PX[size]
    wanted = (areas >= least) & (areas < most)
    return wanted if classes is None else wanted & np.isin(split.rows[:, 0], classes)


def _drawn(split: Split, image: int, rows: np.ndarray, annotator: Annotator) -> tuple[np.ndarray, str]:
    """The picture of an image with the wanted rows, and its caption."""
    file = Path(split.images[image])
    if split.states[image] == "corrupt":
        return np.full((60, 80, 3), 200, np.uint8), "; ".join(split.problems[image])
    check_pixels(file, file.name)
    rgb = read_image(file)
    scale = min(_SIDE_PX / max(rgb.shape[:2]), 1)
    rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    chosen = np.flatnonzero(rows & (split.image_of_row == image))
    height, width = rgb.shape[:2]
    corners = convert_boxes(split.corners[chosen], "xyxy_norm", "xyxy_px", width, height)
    return annotator.draw(rgb, corners, np.ones(len(chosen)), split.rows[chosen, 0].astype(int)), file.name


def build(page: Page) -> None:
    """Put the tab's parts where it is called."""
    do, say = _Data(page), page.say
    listed = page.folders.files("*.yaml", "data/*.yaml")
    data = gr.Dropdown(
        listed, value=None, label=say("data"), info=say("weights_info"), allow_custom_value=True, elem_id="data-yaml"
    )
    with gr.Tab(say("doctor")):
        with gr.Row():
            weights = gr.Dropdown(["", *page.folders.weights()], value="", label=say("doctor_weights"),
                info=say("doctor_weights_info"), allow_custom_value=True)  # fmt: skip
            pixels = gr.Checkbox(value=True, label=say("pixels"), info=say("pixels_info"))
        run, line, found = gr.Button(say("examine"), variant="primary"), gr.Markdown(), gr.HTML()
        run.click(page.told(do.examine), [data, weights, pixels], [line, found], api_name="examine",
            concurrency_id=MODEL, concurrency_limit=1)  # fmt: skip
    with gr.Tab(say("browse")):
        with gr.Row():
            split = gr.Radio(list(SPLITS), value=SPLITS[0], label=say("split"))
            kind = gr.Dropdown([(say("all"), "")], value="", label=say("class"), allow_custom_value=True)
            size = gr.Radio(
                [(say(f"size_{name or 'all'}"), name) for name in _AREAS_PX], value="", label=say("box_size")
            )
            number = gr.Number(1, label=say("page"), precision=0, minimum=1)
        show, told = gr.Button(say("show"), variant="primary"), gr.Markdown()
        images = gr.Gallery(label=say("images"), columns=4, format="jpeg", interactive=False, height="auto",
            buttons=BUTTONS)  # fmt: skip
        data.change(page.told(do.classes), data, kind, api_name="data_classes")
        gr.on([show.click, number.submit], page.told(do.browse), [data, split, kind, size, number], [told, images],
            api_name="browse", concurrency_limit=2)  # fmt: skip
