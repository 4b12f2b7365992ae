"""Write and read weights: tensors and plain data only, written atomically; original YOLOv5 files are read as well."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from files.atomic import atomic_file
from files.disk import raise_interrupt
from files.kinds import is_dict, is_items, is_mapping
from files.literals import check_extent
from models.graph.checked import checked_with_weights
from models.graph.user_classes import check_present, origins
from models.spec.model_spec import ModelSpec
from models.spec.parse_stored import spec_from_dict
from models.weights.download import find_weights
from models.weights.original_yolov5 import read_original
from models.weights.safe_unpickler import DAMAGED, RefusedGlobalError, read_weights
from models.weights.state_dicts import in_float32
from models.yolo import DetectionModel, build_model

FORMAT = "yolov5-attention/1"
FULL_DISK_BYTES = 2**20
_PLAIN = (int, float, str, bool, bytes, type(None))


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        spec: The model's spec; its file name is the weights file's.
        state_dict: YOLOv5's keys, `model.<row>.…`, in float32.
        names: From class number to class name.
        stride: Pixels a cell, for each detection level.
        training: Plain data that the trainer stored; empty for original files and finished runs.
        kind: "native" or "yolov5", the original's format.
        path: The file.
    """

    spec: ModelSpec
    state_dict: dict[str, Tensor]
    names: dict[int, str]
    stride: list[float]
    training: dict[str, Any] = field(default_factory=dict[str, Any])
    kind: str = "native"
    path: Path | None = None


def save_model(
    model: DetectionModel,
    path: str | Path,
    *,
    names: Sequence[str] | Mapping[int, str] | None = None,
    half: bool = False,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a model, atomically: a crash or a full disk leaves the former file whole.

    Args:
        model: The model; its mode and device do not matter.
        path: Where to write.
        names: Class names; the model's own if None.
        half: Store weights in fp16, for half the size. Anchors stay fp32.
        training: Tensors and plain data to store beside the model, e.g. what a resumed run needs.

    Raises:
        ValueError: If the names do not fit the model, it is fused, `training` holds objects that a file of plain data
            cannot hold, or the file cannot be written.
    """
    if names is not None:
        model.set_names(names)
    if model.is_fused:
        raise ValueError(f"{path}: a fused model cannot be written, its layer list no longer has its tensors")
    stride: list[float] = model.stride.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    state = model.state_dict()
    save_checkpoint(Checkpoint(model.spec, state, model.names, stride, dict(training or {})), path, half=half)


def save_checkpoint(checkpoint: Checkpoint, path: str | Path, *, half: bool = False) -> None:
    """Write what a weights file holds, as `save_model`.

    Raises:
        ValueError: If `training` holds objects that a file of plain data cannot hold, or the file cannot be written.
    """
    anchors_key = f"model.{len(checkpoint.spec.layers) - 1}.anchors"
    state = {
        key: t.half() if half and t.is_floating_point() and key != anchors_key else t
        for key, t in ((key, t.detach().cpu()) for key, t in checkpoint.state_dict.items())
    }
    data: dict[str, Any] = {
        "format": FORMAT,
        "state_dict": state,
        "spec": checkpoint.spec.to_dict(),
        "names": dict(checkpoint.names),
        "stride": checkpoint.stride,
        "modules": origins(checkpoint.spec),
        "training": _plain(checkpoint.training, "training"),
        "versions": {package: version(package) for package in ("torch", "lightning")},
    }
    atomic_save(data, Path(path))


def atomic_save(data: Any, path: Path, **how: Any) -> None:  # noqa: ANN401  (plain data; torch.save's own)
    """`torch.save` to a temporary file beside `path`, flushed to the disk, then renamed onto it.

    Raises:
        ValueError: If it cannot be written; a former file at `path` is untouched.
    """
    try:
        with atomic_file(path, sync=True) as file:
            torch.save(data, file, **how)
    except (OSError, RuntimeError) as error:
        raise_interrupt(error)  # torch makes an error of it
        kept = "; the former file is untouched" if path.exists() else ""
        # torch says only that it lost its place in the file
        full = path.parent.is_dir() and shutil.disk_usage(path.parent).free < FULL_DISK_BYTES
        raise ValueError(f"{path}: cannot be written: {'the disk is full' if full else error}{kept}") from error


def _plain(value: Any, where: str) -> Any:  # noqa: ANN401  (nested data)
    """The value with subclasses of plain types (a numpy float is one of float) made plain.

    Raises:
        ValueError: If something else is in it, which `weights_only` would refuse when the file is read.
    """
    if isinstance(value, Tensor) or type(value) in _PLAIN:
        return value
    if is_mapping(value):
        return {_plain(k, f"{where} key"): _plain(v, f"{where}.{k}") for k, v in value.items()}
    if is_items(value):
        items = [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise ValueError(f"{where}: expected tensors and plain data for a checkpoint but got a {type(value).__name__}")


def load_model(
    path: str | Path,
    device: str | torch.device | None = None,
    *,
    build: Callable[[ModelSpec], DetectionModel] = build_model,
) -> DetectionModel:
    """Load a model from a file of this project or of the original YOLOv5.

    Args:
        path: The file; a stock name (`yolov5n.pt` … `yolov5x6.pt`) that is not on disk is fetched from the original's
            public release into `weights/`.
        device: Where to put it; the CPU if None.
        build: What makes the network of its spec.

    Returns:
        The model in eval mode and fp32, with `.names`, `.stride` and `.spec`.

    Raises:
        ValueError: If the file is missing, damaged, of another kind, or names globals that are refused.
    """
    return model_from_checkpoint(read_checkpoint(path), device, build)


def model_from_checkpoint(
    checkpoint: Checkpoint,
    device: str | torch.device | None = None,
    build: Callable[[ModelSpec], DetectionModel] = build_model,
) -> DetectionModel:
    """Build the checkpoint's model and load its weights strictly.

    Raises:
        ValueError: If they do not fit its spec.
    """
    model = build(checkpoint.spec)
    try:
        model.load_state_dict(checkpoint.state_dict, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint.path}: {_misfit(model, checkpoint)}") from error
    try:
        model.set_names(checkpoint.names)
    except ValueError as error:
        raise ValueError(f"{checkpoint.path}: {error}") from error
    return model.eval().to(device or "cpu")


def _misfit(model: DetectionModel, checkpoint: Checkpoint) -> str:
    """Which rows of a checkpoint have other tensors than the modules of the same names here."""
    here, there = model.state_dict(), checkpoint.state_dict
    keys = [k for k in {**here, **there} if k not in here or k not in there or here[k].shape != there[k].shape]
    layers = checkpoint.spec.layers
    numbers = sorted({int(k.split(".")[1]) for k in keys if k.startswith("model.") and k.split(".")[1].isdigit()})
    rows = ", ".join(f"row {i} ({layers[i].module})" for i in numbers if i < len(layers))
    return (
        f"{len(keys)} tensors differ from those of its layer list, in {rows or 'no row'}, e.g. {keys[0]}; a module of "
        "another definition under the same name? `transfer` takes what fits"
    )


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a weights file without building the model; see `load_model`.

    Raises:
        ValueError: As `load_model`.
    """
    file = find_weights(path)
    try:
        data = read_weights(file)
    except RefusedGlobalError as error:
        raise ValueError(_refused(file, str(error))) from None
    except DAMAGED as error:
        raise ValueError(_damaged(file, error)) from error
    if is_dict(data) and data.get("format") == FORMAT:
        return _native(data, file)
    return _from_original(data, file)


def _native(data: Mapping[str, Any], file: Path) -> Checkpoint:
    try:
        check_extent([data.get(key) for key in ("spec", "names", "stride", "training", "modules")], "it")
        spec = replace(checked_with_weights(spec_from_dict(data["spec"])), file=file.name)
        names = {int(i): str(name) for i, name in data["names"].items()}
        stride = [float(s) for s in data["stride"]]
        state = in_float32(data["state_dict"])
        training = _plain(dict(data.get("training", {})), "training")
        modules = {str(name): str(origin) for name, origin in data.get("modules", {}).items()}
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: is marked {FORMAT} but is not complete: {error}") from error
    check_present(modules, str(file))
    return Checkpoint(spec, state, names, stride, training, "native", file)


def _from_original(data: object, file: Path) -> Checkpoint:
    try:
        return Checkpoint(*read_original(data, file.name), {}, "yolov5", file)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(file.name) else f"{file}: {message}") from error
    except DAMAGED as error:
        raise ValueError(f"{file}: holds no YOLOv5 detection model: {error}") from error


def _refused(file: Path, name: str) -> str:
    if name.startswith("ultralytics."):
        return (
            f"{file}: a checkpoint of the ultralytics package (it names {name}), whose architectures are not YOLOv5's; "
            "expected a file of this project or of the original YOLOv5 repository"
        )
    return f"{file}: refused: it names the global {name}, which no YOLOv5 checkpoint needs; nothing in it was run"


def _damaged(file: Path, error: Exception) -> str:
    size = file.stat().st_size
    if not size:
        return f"{file}: the weights file is empty (0 bytes): copying or fetching it broke off; get it again"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{file}: not a readable weights file ({size} bytes): truncated, or of another format ({reason}); expected a "
        ".pt file of this project or of YOLOv5, whole"
    )
