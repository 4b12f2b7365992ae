"""The tab Detect: an image, the files of a zip or a video, or the camera, as detect.py looks at them."""

from __future__ import annotations

import base64
import copy
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from gradio.components import Component

from app.page import BUTTONS, MODEL, Page
from app.uploads import image_file, sent_pixels, unpacked, unread
from data.images import IMAGE_SUFFIXES
from data.sources.frame import VIDEO_SUFFIXES, Trouble, image_frame
from engine.config.detect_config import VISUALIZED, DetectConfig
from engine.detection.detector import Detector
from engine.detection.output_files import CsvWriter, ImageWriter, LabelWriter
from engine.detection.result import Result
from engine.detection.run_detection import class_ids, run_detection
from engine.inference.predictor import Detections
from files.find import ROOT

_DEFAULT = ROOT / "weights/yolov5n.pt"
_HEAT = VISUALIZED[:2]  # cam, gates
_SHOWN = 12  # pictures of a zip; the results have all
_FRAME_S = 0.2  # between frames of the camera
_ALIKE: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1}


@dataclass(frozen=True)
class _Detect:
    """The tab's handlers; `settings` are weights, own weights, confidence, IoU, size, classes and heat map."""

    page: Page

    def weights(self, listed: str, own: str | None) -> Path:
        return Path(own) if own else self.page.folders.path(listed or "")

    def detector(self, config: DetectConfig) -> Detector:
        """The model with the thresholds of a config; the one that is kept has nobody's."""
        detector = copy.copy(self.page.models.get(Path(config.weights[0])))
        detector.conf, detector.iou = config.conf_thres, config.iou_thres
        detector.classes = class_ids(config.classes, detector.names)
        return detector

    def config(
        self, listed: str, own: str | None, conf: float, iou: float, size: float, classes: Sequence[str], heat: str,
        **more: Any,  # noqa: ANN401  (any setting)
    ) -> DetectConfig:  # fmt: skip
        return DetectConfig(
            weights=(str(self.weights(listed, own)),),
            conf_thres=conf,
            iou_thres=iou,
            imgsz=(int(size), int(size)),
            classes=tuple(classes) or None,
            visualize=heat or None,
            **more,
        )

    def names(self, listed: str, own: str | None) -> Any:  # noqa: ANN401  (an update)
        """The classes to choose from, of the weights."""
        detector = self.page.models.get(self.weights(listed, own))
        return gr.Dropdown(choices=list(detector.names.values()))

    def image(self, sent: Any, *settings: Any) -> Generator[tuple[Any, ...], None, None]:  # noqa: ANN401
        """Detect on one image -> picture, heat map, line, counts, boxes, files."""
        if sent is None:
            raise ValueError(self.page.say("no_image"))
        config = self.config(*settings)
        detector, file = self.detector(config), image_file(sent.path)
        results = detector.predict(str(file), imgsz=config.imgsz)
        (result,) = results
        heat = None
        if config.visualize:
            heat = detector.explain(str(file), imgsz=config.imgsz, kinds=(config.visualize,)).plot()
        picture = result.plot()
        prepare, network, nms = results.times_ms
        height, width = results.s[2:]
        line = self.page.say("took", height=height, width=width, prepare=prepare, network=network, nms=nms)
        with tempfile.TemporaryDirectory() as folder:  # gradio copies the files while this waits
            files = _files(result, picture, Path(folder))
            yield picture, gr.Image(heat, visible=heat is not None), line, _counts(result), _boxes(result), files

    def files(self, sent: str | None, stride: float, *settings: Any) -> Generator[tuple[Any, ...], None, None]:  # noqa: ANN401
        """Detect on a video, or all that is in a zip -> video, pictures, line, archive of the results."""
        if not sent:
            raise ValueError(self.page.say("no_file"))
        with tempfile.TemporaryDirectory() as folder:
            source, out, troubles = sent, Path(folder, "results"), list[Trouble]()
            if Path(sent).suffix.lower() not in VIDEO_SUFFIXES:
                troubles += unpacked(Path(sent), Path(folder, "unpacked"))
                source = str(Path(folder, "unpacked/**/*"))
            more = {
                "source": source,
                "project": str(out),
                "save_csv": True,
                "save_txt": True,
                "vid_stride": int(stride),
            }
            code = run_detection(self.config(*settings, **more), told=troubles.append)
            said = "; ".join(f"{Path(one.path).name}: {one.reason}" for one in troubles)
            if code:
                raise ValueError(said or self.page.say("nothing_read"))
            run = out / "exp"
            videos = sorted(run.glob("*.mp4"))
            pictures = [file for file in sorted(run.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
            count = len(videos) + len(pictures)
            line = self.page.say("files_done", count=count, failed=said or self.page.say("none"))
            archive = shutil.make_archive(str(Path(folder, "results")), "zip", run)
            yield next(iter(videos), None), pictures[:_SHOWN], line, archive

    def camera(self, sent: Any, *settings: Any) -> str:  # noqa: ANN401  (gradio's)
        """Detect on a frame of the camera -> an image that is kept nowhere."""
        if sent is None:
            return ""
        config = self.config(*settings)
        (result,) = self.detector(config).predict(sent_pixels(sent)[..., ::-1], imgsz=config.imgsz)
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(result.plot(), cv2.COLOR_RGB2BGR))
        told = ", ".join(f"{count} {name}" for name, count in _counts(result)) or "0"
        data = base64.b64encode(jpeg.tobytes()).decode()
        return f'<p>{escape(told)}</p><img alt="{escape(told)}" src="data:image/jpeg;base64,{data}">'


def _counts(result: Result) -> list[list[Any]]:
    return [[name, count] for name, count in Counter(result.class_names).most_common()]


def _boxes(result: Result) -> list[list[Any]]:
    rows = zip(result.class_names, result.confidences.tolist(), result.boxes_xyxy_px.tolist(), strict=True)
    return [[name, round(confidence, 3), *(round(side, 1) for side in box)] for name, confidence, box in rows]


def _files(result: Result, picture: np.ndarray, folder: Path) -> list[str]:
    """The picture, predictions.csv and the label file, written as detect.py writes them."""
    path = Path(result.path)
    frame = image_frame(result.image, result.path, path.stem, path.suffix, "")
    found = Detections(result.boxes_xyxy_px, result.confidences, result.class_ids)
    with (
        closing(CsvWriter(folder / "predictions.csv", result.names)) as table,
        closing(LabelWriter(folder, corners=False, confidences=False)) as labels,
        closing(ImageWriter(folder)) as pictures,
    ):
        for writer in (table, labels, pictures):
            writer.write(frame, found, picture)
    return sorted(map(str, folder.iterdir()))


def build(page: Page) -> None:
    """Put the tab's parts where it is called."""
    do = _Detect(page)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            settings = _settings(page, do)
        with gr.Column(scale=3, min_width=340), gr.Tabs():
            with gr.Tab(page.say("image")):
                _image(page, do, settings)
            with gr.Tab(page.say("files")):
                _zip_or_video(page, do, settings)
            with gr.Tab(page.say("camera")):
                _camera(page, do, settings)


def _settings(page: Page, do: _Detect) -> list[Component]:
    say, listed = page.say, page.folders.weights()
    first = page.folders.name(_DEFAULT)
    chosen = first if first in listed else next(iter(listed), None)
    weights = gr.Dropdown(listed, value=chosen, label=say("weights"), info=say("weights_info"), allow_custom_value=True)
    own = gr.File(label=say("own_weights"), file_types=[".pt"], height=140)
    conf = gr.Slider(0, 1, 0.25, step=0.01, label=say("confidence"))
    iou = gr.Slider(0, 1, 0.45, step=0.01, label=say("iou"))
    size = gr.Slider(64, 1536, 640, step=32, label=say("size"))
    classes = gr.Dropdown([], multiselect=True, label=say("classes"), info=say("classes_info"), allow_custom_value=True)
    heat = gr.Radio([(say("heat_none"), ""), *((say(f"heat_{kind}"), kind) for kind in _HEAT)], value="",
        label=say("heat"), info=say("heat_info"))  # fmt: skip
    weights.focus(lambda: gr.Dropdown(choices=page.folders.weights()), None, weights, api_visibility="private")
    gr.on(
        [weights.change, own.change, classes.focus], page.told(do.names), [weights, own], classes,
        api_name="classes", **_ALIKE,
    )  # fmt: skip
    return [weights, own, conf, iou, size, classes, heat]


def _image(page: Page, do: _Detect, settings: list[Component]) -> None:
    say = page.say
    with gr.Row():
        given = unread(gr.Image(sources=["upload", "clipboard"], label=say("image_in"), type="filepath", height=380))
        picture = gr.Image(label=say("image_out"), format="png", interactive=False, height=380, buttons=BUTTONS)
    run = gr.Button(say("detect"), variant="primary")
    line = gr.Markdown()
    heat = gr.Image(label=say("heat"), format="png", interactive=False, visible=False, buttons=BUTTONS)
    with gr.Row():
        counts = gr.Dataframe(headers=[say("class"), say("count")], label=say("counts"), interactive=False)
        columns = [say("class"), say("confidence"), "x1", "y1", "x2", "y2"]
        boxes = gr.Dataframe(headers=columns, label=say("boxes"), interactive=False, scale=2)
    files = gr.File(label=say("downloads"), file_count="multiple", interactive=False)
    gr.on(
        [run.click, given.input], page.told(do.image), [given, *settings], [picture, heat, line, counts, boxes, files],
        api_name="detect", **_ALIKE,
    )  # fmt: skip


def _zip_or_video(page: Page, do: _Detect, settings: list[Component]) -> None:
    say = page.say
    given = gr.File(label=say("files_in"), file_types=[".zip", *VIDEO_SUFFIXES])
    stride = gr.Slider(1, 60, 1, step=1, label=say("stride"))
    run = gr.Button(say("detect"), variant="primary")
    line = gr.Markdown()
    video = gr.Video(label=say("video_out"), interactive=False, buttons=["download"])
    pictures = gr.Gallery(label=say("pictures_out", count=_SHOWN), columns=4, interactive=False, buttons=BUTTONS)
    archive = gr.File(label=say("downloads"), interactive=False)
    run.click(
        page.told(do.files), [given, stride, *settings], [video, pictures, line, archive], api_name="detect_files",
        **_ALIKE,
    )  # fmt: skip


def _camera(page: Page, do: _Detect, settings: list[Component]) -> None:
    with gr.Row():
        given = unread(gr.Image(sources=["webcam"], streaming=True, label=page.say("camera"), type="filepath"))
        seen = gr.HTML(label=page.say("image_out"), show_label=True, container=True, min_height=240)
    given.stream(
        page.told(do.camera), [given, *settings], seen, stream_every=_FRAME_S, api_name="detect_frame",
        show_progress="hidden", **_ALIKE,
    )  # fmt: skip
