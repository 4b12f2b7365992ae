"""What export.py does: load, write each format, read it back, compare it with the source, and say so."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.dataset.dataset_yaml import list_images, load_dataset_spec
from data.images import ImageReadError, letterbox, read_image
from engine.config.export_config import ExportConfig
from engine.config.files import numbered
from engine.exporting.compare_with_source import FINISHED_LIMITS, LIMITS, Difference, compare
from engine.exporting.format_writers import (
    require_tensorrt,
    write_ncnn,
    write_onnx,
    write_openvino,
    write_tensorrt,
    write_torchscript,
)
from engine.exporting.receiver_module import tell_receiver
from engine.exporting.traced_network import ExportModule, Suppression
from engine.inference.exported_metadata import Metadata
from engine.inference.exported_network import open_exported
from engine.inference.image_size import whole_strides
from engine.inference.network import NCNN_FOLDER, OPENVINO_FOLDER, Network, TorchNetwork
from engine.inference.raw_head import head_facts
from engine.runtime.console import note
from engine.runtime.device import Precision, select_device
from files.disk import require_writable, results_in
from files.find import ROOT
from models.user_modules import load_modules
from models.weights.checkpoint import load_model
from models.weights.download import find_weights
from models.weights.write_original import write_original

COMPARED = 8  # images that a file is compared on


class Exported(NamedTuple):
    """One written file."""

    format: str
    path: Path
    megabytes: float
    seconds: float
    difference: Difference


def export(config: ExportConfig) -> list[Exported]:
    """Write every format asked for, beside the weights; compare each with the source.

    Raises:
        ValueError: On weights, sizes or packages that do not go together, or a file that differs too much.
    """
    for warning in config.warnings:
        note(warning)
    load_modules(config.module)
    device = select_device(config.device)
    weights = find_weights(config.weights)
    require_writable(weights.parent, "--weights")  # beside which the files go
    if "engine" in config.include:
        require_tensorrt()  # before the other formats are written
    images = _image_files(config)
    source = TorchNetwork(load_model(weights), device, Precision(torch.float32, False, "fp32"))
    if any(side % source.stride_px for side in config.imgsz):
        fitting = [whole_strides(side, source.stride_px) for side in config.imgsz]
        raise ValueError(
            f"--imgsz {_words(config.imgsz)}: expected multiples of the model's stride {source.stride_px}, e.g. "
            f"--imgsz {_words(fitting)}"
        )
    if not config.dynamic and config.include != ("yolov5",):
        remedy = "--dynamic without --nms" if config.nms else "--dynamic"
        note(
            f"images are padded to the file's one size, so its figures differ from the .pt file's; {remedy}: equal ones"
        )
    job = _Job(config, weights, source, images)
    with results_in(weights.parent, "former files are untouched"):
        return [job.write(name) for name in config.include]


def _image_files(config: ExportConfig) -> list[Path]:
    """The val images of the data set, spread over it; else the sample images of this repository."""
    if config.data is None:
        return sorted((ROOT / "data" / "images").glob("*.jpg"))
    dataset = load_dataset_spec(config.data)
    return [Path(file) for file in list_images(dataset.entries("val"), root=dataset.path)]


class _Job:
    """One source and what is written from it."""

    def __init__(self, config: ExportConfig, weights: Path, source: TorchNetwork, images: Sequence[Path]) -> None:
        self.config, self.weights, self.source, self.images = config, weights, source, images
        self.unreadable: list[Path] = []
        self.suppression = Suppression(config.conf_thres, config.iou_thres, config.topk_all) if config.nms else None
        self.module = ExportModule(source.model, self.suppression, raw_head=config.raw_head).eval()
        self.metadata = Metadata(
            names=source.names,
            stride=source.stride_px,
            imgsz=config.imgsz,
            batch=config.batch_size,
            dynamic=config.dynamic,
            half=config.half,
            int8=config.int8,
            nms=_suppression_facts(config),
            raw_head=head_facts(source.model) if config.raw_head else None,
            spec=source.model.spec.to_dict(),
            channels=source.channels,
        )

    def write(self, name: str) -> Exported:
        """Write one format and compare it; a file that differs too much does not replace a former one."""
        started = time.perf_counter()
        file = self._file(name)
        writers = {"torchscript": self._torchscript, "onnx": self._onnx, "openvino": self._openvino}
        writers |= {"yolov5": self._original, "ncnn": self._ncnn}
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as place:
            draft = Path(place) / file.name
            writers.get(name, self._engine)(draft)
            seconds = time.perf_counter() - started
            numbers = "int8" if self.config.int8 else "fp16" if self.config.half else "fp32"
            batches = self._compared()
            difference = compare(self.source, self._reopened(draft), batches, self.suppression)
            problem = difference.problem((FINISHED_LIMITS if self.config.nms else LIMITS)[numbers])
            if problem is not None:
                raise ValueError(f"{name}: the file does not agree with {self.weights}: {problem}; it is not kept")
            _remove(file)
            draft.replace(file)
        done = Exported(name, file, _megabytes(file), seconds, difference)
        print(f"{name} {numbers}: {file} ({done.megabytes:.1f} MB, {seconds:.1f} s)")
        print(f"  against {self.weights} on {len(batches) - self.config.dynamic} images: {difference}", flush=True)
        if self.config.nms and not difference.detections:
            missing = "nothing is detected on these images, so what the file finds could not be compared"
            note(f"{missing}; give others with --data")
        return done

    def _reopened(self, file: Path) -> Network:
        if file.suffix == ".pt":
            return TorchNetwork(load_model(file), self.source.device, self.source.precision)
        return open_exported(str(file), self.source.device, "32")

    def _file(self, name: str) -> Path:
        """Beside the weights, under their name; under the next free one where that is a file of something else."""
        stem, int8 = self.weights.stem, "_int8" if self.config.int8 else ""
        ends = {"openvino": f"{int8}{OPENVINO_FOLDER}", "ncnn": NCNN_FOLDER, "yolov5": "_yolov5.pt"}
        end = ends.get(name, f".{name}")
        wanted = self.weights.with_name(stem + end)
        others = (self.weights.with_name(f"{one.name}{end}") for one in numbered(self.weights.with_name(stem)))
        file = next(one for one in others if not one.exists() or _is_ours(one))
        if file != wanted:
            note(f"{wanted} was not written by export.py and stays as it is; see {file}")
        return file

    def _example(self, *, half: bool = False) -> Tensor:
        shape = (self.config.batch_size, self.source.channels, *self.config.imgsz)
        images = torch.zeros(shape, device=self.source.device)
        return images.half() if half else images

    def _torchscript(self, file: Path) -> None:
        with self._in_half(self.config.half):
            write_torchscript(self.module, self._example(half=self.config.half), file, self.metadata)

    def _onnx(self, file: Path) -> None:
        with self._in_half(self.config.half):
            write_onnx(
                self.module,
                self._example(half=self.config.half),
                file,
                self.metadata,
                opset=self.config.opset,
                simplify=self.config.simplify,
            )

    def _openvino(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            graph = self._graph(Path(place))
            write_openvino(graph, folder, self.metadata, self._calibration() if self.config.int8 else None)

    def _ncnn(self, folder: Path) -> None:
        module = ExportModule(self.source.model, raw_head=True).eval()
        write_ncnn(module, self._example(), folder, replace(self.metadata, raw_head=head_facts(self.source.model)))

    def _engine(self, file: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            write_tensorrt(self._graph(Path(place)), file, self.metadata, workspace_gb=self.config.workspace)

    def _original(self, file: Path) -> None:
        needed = write_original(load_model(self.weights), file, half=self.config.half)
        tell_receiver(needed, self.weights.parent)

    def _graph(self, place: Path) -> Path:
        """An fp32 ONNX file to convert."""
        graph = place / "graph.onnx"
        write_onnx(
            self.module, self._example(), graph, self.metadata, opset=self.config.opset, simplify=self.config.simplify
        )
        return graph

    def _in_half(self, wanted: bool) -> _Half:
        return _Half(self.module, wanted)

    def _calibration(self) -> Iterator[np.ndarray]:
        for image in self._read(self.config.images):
            yield _batch([image] * self.config.batch_size, self.config.imgsz).numpy()

    def _compared(self) -> list[Tensor]:
        """A few images; a dynamic file also sees another size and two images at once."""
        images = list(self._read(COMPARED))
        height, width = self.config.imgsz
        batches = [_batch([image], (height, width)) for image in images]
        if self.config.dynamic:
            other = height + self.source.stride_px, width + 2 * self.source.stride_px
            batches.append(_batch((images * 2)[:2], other))
        return batches

    def _read(self, count: int) -> Iterator[np.ndarray]:
        """At most `count` images; those that cannot be read are left out, which is said once.

        Raises:
            ValueError: If none can be read.
        """
        read = 0
        for file in _spread(self.images, count):
            try:
                image = read_image(file, self.source.channels)
            except ImageReadError as error:
                if file not in self.unreadable:
                    self.unreadable.append(file)
                    note(f"left out: {error}")
                continue
            read += 1
            yield image
        if not read:
            raise ValueError(f"no image to compare on can be read, the first: {self.unreadable[0]}")


class _Half:
    """The network in fp16 while inside; fp32 weights come back exactly afterwards."""

    def __init__(self, module: ExportModule, wanted: bool) -> None:
        self.module, self.wanted = module, wanted

    def __enter__(self) -> None:
        if self.wanted:
            self.kept = {key: value.clone() for key, value in self.module.network.state_dict().items()}
            self.stride = self.module.network.detect.stride.clone()
            self.module.half()

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            self.module.float()
            self.module.network.load_state_dict(self.kept)
            self.module.network.detect.stride.copy_(self.stride)


def _words(sides: Sequence[int]) -> str:
    return " ".join(map(str, sides))


def _is_ours(file: Path) -> bool:
    """Whether the layer list of our metadata is in a file, or in one of a folder; no other program writes it."""
    files = [one for one in file.rglob("*") if one.is_file()] if file.is_dir() else [file]
    return any(b"base_row" in one.read_bytes() for one in files)


def _suppression_facts(config: ExportConfig) -> dict[str, float] | None:
    if not config.nms:
        return None
    return {"conf_thres": config.conf_thres, "iou_thres": config.iou_thres, "max_det": config.topk_all}


def _batch(images: Sequence[np.ndarray], hw: tuple[int, int]) -> Tensor:
    """Images of any sizes -> (B, C, H, W) float32 0..1."""
    pixels = np.stack([letterbox(image, hw).image for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the files, evenly spread."""
    return list(files) if len(files) <= count else [files[i * len(files) // count] for i in range(count)]


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
