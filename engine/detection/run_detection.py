"""What detect.py does: read, detect, draw and write at the same time, and tell the user line by line.

Three stages overlap: a thread reads and letterboxes ahead, others run the network, another draws and writes. Everything
comes out in the order of the inputs, whatever the batches. On a CPU several batches are in the network at a time, each
on its share of the cores: one batch on all of them leaves cores waiting at the end of every layer.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.dataset.dataset_yaml import find_dataset
from data.images import WITH_ALPHA
from data.sources.frame import Frame, Source, Trouble
from data.sources.open_source import open_source
from engine.config.detect_config import LOWEST_TRACKED, DetectConfig
from engine.config.files import new_run_folder
from engine.detection.background_writer import Recorder
from engine.inference.image_size import note_fixed_size, whole_strides
from engine.inference.predictor import Detections, Predictor, Prepared, Selection
from engine.inference.without_torch import NumpyPredictor, has_torch, open_without_torch, refuse_what_needs_torch
from engine.runtime.console import note
from engine.runtime.pipeline import in_batches, read_ahead, side_by_side
from files.disk import results_in
from files.find import ROOT
from files.paths import exists
from files.signals import Terminated
from files.text import printable
from files.yaml_file import read_yaml

if TYPE_CHECKING:
    from engine.detection.visualizer import Visualizer
    from engine.detection.window import Viewer
    from engine.inference.network import Network

_GPU_BATCH, _CPU_BATCH = 16, 4
_Watch = Callable[[Mapping[int, str]], Callable[[Path], "Visualizer"]]
_MOST_AT_A_TIME = 8  # batches in the network


def run_detection(config: DetectConfig, told: Callable[[Trouble], None] | None = None) -> int:
    """Detect on everything the source gives.

    Args:
        config: The command line.
        told: Is given the inputs that could not be used, which are printed too.

    Returns:
        0 if at least one input could be used, else 2.

    Raises:
        ValueError: On weights, a source or options that cannot be used.
    """
    if not has_torch():
        refuse_what_needs_torch(config)
    if config.module:
        from models.user_modules import load_modules

        load_modules(config.module)
    with results_in(Path(config.project)), ExitStack() as stack:
        for warning in config.warnings:
            note(warning)
        viewer = _viewer() if config.view_img else None
        if viewer is not None:
            stack.enter_context(closing(viewer))
        tracking = _tracking(config)
        weights = [_find_weights(name) for name in config.weights]
        watch = _visualizer(config, weights)
        source = stack.enter_context(closing(open_source(config.source, vid_stride=config.vid_stride)))
        predictor = make_predictor(config, weights)
        explain_into = watch and watch(predictor.names)
        source.alpha = predictor.network.channels in WITH_ALPHA
        folder = new_run_folder(config.project, config.name, exist_ok=config.exist_ok) if config.saves else None
        live_view = source.live or viewer is not None
        size = 1 if live_view else config.batch_size or (_CPU_BATCH if predictor.device.type == "cpu" else _GPU_BATCH)
        recorder = stack.enter_context(closing(Recorder(folder, config, predictor.names, ahead=2 * size)))
        explain = None
        if explain_into is not None and folder is not None:
            explain = stack.enter_context(closing(explain_into(folder)))
        at_a_time = 1 if live_view or not predictor.network.parallel else min(_threads(), _MOST_AT_A_TIME)
        run = _Run(predictor, recorder, size, at_a_time, viewer.show if viewer else None, tracking, explain)
        run.over(source)
    code = run.report(folder)
    if told is not None:
        for trouble in run.troubles:
            told(trouble)
    if isinstance(run.stopped, Terminated):
        raise run.stopped
    return code


def _threads() -> int:
    import torch  # only networks that several threads may call ask, and those are torch's

    return torch.get_num_threads()


def _visualizer(config: DetectConfig, weights: Sequence[str]) -> _Watch | None:
    """What makes the one of `--visualize`, whose model is loaded now, from class names and folder."""
    if config.visualize is None:
        return None
    from engine.detection.visualizer import Visualizer, make_explainer, model_to_explain

    model = model_to_explain(config, weights)
    if model is None:
        return None

    def watch(names: Mapping[int, str]) -> Callable[[Path], Visualizer]:
        explainer = make_explainer(config, model, names)
        return lambda folder: Visualizer(explainer, folder, config.visualize_every)

    return watch


def _viewer() -> Viewer | None:
    """A window, where there can be one."""
    from engine.detection.window import Viewer

    try:
        return Viewer()
    except ValueError as error:
        note(f"{error}; going on without a window")
        return None


def _tracking(config: DetectConfig) -> Callable[[Frame, Detections], Detections] | None:
    """The trackers' package is imported only where it is wanted."""
    if config.track is None:
        return None
    from engine.detection.tracking import Tracking

    return Tracking(config.track, config.conf_thres)


def make_predictor(config: DetectConfig, weights: Sequence[str]) -> Predictor:
    """Load the model and make it ready.

    Raises:
        ValueError: If weights, device, precision, names or classes do not go together.
    """
    kind: type[Predictor] = Predictor
    if has_torch():
        from engine.inference.open_weights import open_network
        from engine.runtime.device import select_device

        network = open_network(
            weights, select_device(config.device), config.precision, augment=config.augment, dnn=config.dnn
        )
    else:
        network, kind = open_without_torch(weights[0]), NumpyPredictor
    if config.data is not None:
        network.names = _read_names(config.data, network.nc)
    note_fixed_size(network, " ".join(weights))
    image_hw = _image_hw(config.imgsz, network)
    selection = Selection(
        config.conf_thres if config.track is None else min(config.conf_thres, LOWEST_TRACKED),
        config.iou_thres,
        class_ids(config.classes, network.names),
        config.agnostic_nms,
        config.max_det,
    )
    predictor = kind(network, image_px=image_hw, selection=selection)
    print(f"{' '.join(weights)}: {len(network.names)} classes, {network.description}", flush=True)
    if network.device.type != "cpu":
        predictor.warm_up()
    return predictor


def _image_hw(wanted: tuple[int, int], network: Network) -> tuple[int, int]:
    """The size rounded up to multiples of the stride; the file's own where it takes no other."""
    if network.image_hw is not None:
        if network.image_hw != wanted:
            height, width = network.image_hw
            note(f"--imgsz is {height}x{width}, the size the weights were exported for")
        return network.image_hw
    stride_px = network.stride_px
    height, width = (whole_strides(side, stride_px) for side in wanted)
    if (height, width) != wanted:
        note(f"--imgsz rounded up to {height}x{width}, multiples of the stride {stride_px}")
    return height, width


def _read_names(data: str, count: int) -> dict[int, str]:
    """The class names of a data set YAML, whose images need not be here."""
    file = find_dataset(data)
    content = read_yaml(file)
    given = content.get("names") if isinstance(content, dict) else None
    names = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(names, dict) or set(names) != set(range(count)):
        raise ValueError(f"--data {file}: expected `names:` of the model's {count} classes, numbered from 0")
    return {class_id: str(name) for class_id, name in names.items()}


def _find_weights(name: str) -> str:
    """The file as given, or below the repository; anything else is left to `load_model` to find or refuse."""
    tried = (Path(name), ROOT / name, ROOT / "weights" / name)
    return str(next((path for path in tried if exists(path)), name))


def class_ids(wanted: Sequence[str] | None, names: Mapping[int, str]) -> tuple[int, ...] | None:
    """The numbers of the classes that `--classes` names, by number or name.

    Raises:
        ValueError: If the model has no such class.
    """
    if wanted is None:
        return None
    ids = {name: class_id for class_id, name in names.items()}
    chosen = []
    for text in wanted:
        class_id = ids.get(text, int(text) if text.isdecimal() else None)
        if class_id not in names:
            known = ", ".join(f"{k} {name}" for k, name in list(names.items())[:20])
            raise ValueError(f"--classes {text}: the model has no such class; it has {known}")
        chosen.append(class_id)
    return tuple(sorted(set(chosen)))


_Item = tuple[Frame, Prepared] | tuple[Trouble, None]
_Batch = list[_Item]
_Found = tuple[list[Detections], float]


class _Run:
    """One pass over a source, and what there is to say about it."""

    def __init__(
        self,
        predictor: Predictor,
        recorder: Recorder,
        batch_size: int,
        at_a_time: int,
        show: Callable[[str, np.ndarray], bool] | None,
        tracking: Callable[[Frame, Detections], Detections] | None,
        explain: Callable[[Frame, Prepared, Detections], None] | None = None,
    ) -> None:
        self.tracking, self.explain = tracking, explain
        self.predictor, self.recorder, self.show = predictor, recorder, show
        self.batch_size, self.at_a_time = batch_size, at_a_time
        self.held = recorder.held
        self.troubles: list[Trouble] = []
        self.used: set[str] = set()
        self.stopped: KeyboardInterrupt | None = None

    def over(self, source: Source) -> None:
        """Detect on every frame; Ctrl-C ends a live source in good order, and so does a request to terminate."""
        try:
            self._over(source)
        except KeyboardInterrupt as stop:
            if not source.live:
                raise
            print("stopped")
            self.stopped = stop
        for frame, picture in self.recorder.drain():
            self._shown(frame, picture)

    def _over(self, source: Source) -> None:
        items = self._prepared(source)
        ahead = (self.at_a_time + 1) * self.batch_size
        with (
            closing(items if source.live else read_ahead(items, ahead, self.held.full)) as prepared,
            closing(self._detected(in_batches(prepared, self.batch_size, self.held.full))) as detected,
        ):
            for batch, (found, network_s) in detected:
                if not self._tell(batch, found, network_s):
                    return
                del batch  # its images are not held while the next ones are waited for

    def _detected(self, batches: Iterable[_Batch]) -> Generator[tuple[_Batch, _Found], None, None]:
        """Every batch with the detections of its images and the network's seconds an image."""

        def detect(batch: _Batch) -> _Found:
            images = [prepared for _, prepared in batch if prepared is not None]
            found, network_s = self.predictor.timed_detect(images)
            return found, network_s / max(len(images), 1) / self.at_a_time

        if self.at_a_time == 1:
            return ((batch, detect(batch)) for batch in batches)
        import torch

        share = torch.get_num_threads() // self.at_a_time
        return side_by_side(detect, batches, self.at_a_time, lambda: torch.set_num_threads(share), self.held.full)

    def _prepared(self, source: Source) -> Generator[_Item, None, None]:
        with closing(iter(source)) as items:
            for item in items:
                if isinstance(item, Frame):
                    self.held.add(item.image)
                    yield item, self.predictor.prepare(item.pixels)
                else:
                    yield item, None
                del item

    def _tell(self, batch: _Batch, found: Sequence[Detections], network_s: float) -> bool:
        """Print a batch and hand it on; False when the user ended the show."""
        waiting = iter(found)
        go_on = True
        for pair in batch:
            if pair[1] is None:
                self.troubles.append(pair[0])
                continue
            item, prepared = pair
            detections = next(waiting)
            if self.explain is not None:
                self.explain(item, prepared, detections)
            if self.tracking is not None:
                detections = self.tracking(item, detections)
            self.used.add(item.name)  # which two entries of a list that name the same file do not share
            print(self._line(item, prepared, detections, network_s), flush=True)
            for frame, picture in self.recorder.submit(item, detections):
                go_on = go_on and self._shown(frame, picture)
        return go_on

    def _shown(self, frame: Frame, picture: np.ndarray | None) -> bool:
        return self.show is None or picture is None or self.show(frame.path, picture)

    def _line(self, frame: Frame, prepared: Prepared, found: Detections, network_s: float) -> str:
        counts = Counter(found.class_ids.tolist())
        told = [f"{n} {printable(self.predictor.names[k])}{'s' * (n > 1)}" for k, n in sorted(counts.items())]
        height, width = prepared.hw
        found_text = ", ".join(told) or "(no detections)"
        return f"{printable(frame.heading)}: {height}x{width} {found_text}, {1000 * network_s:.1f}ms"

    def report(self, folder: Path | None) -> int:
        """Print speeds, the place of the results and the inputs that failed; returns the exit code."""
        seconds = self.predictor.seconds
        if seconds.images:
            shares = seconds.prepare, seconds.network / self.at_a_time, seconds.nms / self.at_a_time
            pre, net, nms = (1000 * share / seconds.images for share in shares)
            height, width = self.predictor.image_hw
            print(
                f"Speed: {pre:.1f}ms pre-process, {net:.1f}ms inference, {nms:.1f}ms NMS per image at shape "
                f"(1, {self.predictor.network.channels}, {height}, {width})"
            )
        if folder is not None and self.used:
            if self.recorder.labels is not None:
                print(f"{self.recorder.labels.files} labels saved to {self.recorder.labels.folder}")
            print(f"Results saved to {folder}")
        failed = [trouble for trouble in self.troubles if not trouble.partial]
        if failed:
            print(f"{len(failed)} of {len(self.used) + len(failed)} inputs could not be used:", file=sys.stderr)
        for trouble in (*failed, *(trouble for trouble in self.troubles if trouble.partial)):
            print(f"  {printable(trouble.path)}: {printable(trouble.reason)}", file=sys.stderr)
        return 0 if self.used else 2
