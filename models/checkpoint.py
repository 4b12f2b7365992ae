"""Write and read weights: tensors and plain data only, written atomically; original YOLOv5 files are read as well."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.download import find_weights
from models.pickle_reader import RefusedGlobalError, Stub, read_pickled, stub_state_dict
from models.spec import ModelSpec, parse_spec
from models.yolo import DetectionModel, build_model

FORMAT = "yolov5-attention/1"
_SPEC_KEYS = (
    "nc", "depth_multiple", "width_multiple", "anchors", "backbone", "head", "ch", "activation", "channel_multiple",
)  # fmt: skip


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
    training: dict[str, Any] = field(default_factory=dict)
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
        ValueError: If the names do not fit the model, or the file cannot be written.
    """
    import lightning

    if names is not None:
        model.set_names(names)
    anchors_key = f"model.{len(model.spec.layers) - 1}.anchors"
    state = {
        key: t.half() if half and t.is_floating_point() and key != anchors_key else t
        for key, t in ((key, t.detach().cpu()) for key, t in model.state_dict().items())
    }
    data = {
        "format": FORMAT,
        "state_dict": state,
        "spec": model.spec.to_dict(),
        "names": dict(model.names),
        "stride": model.stride.tolist(),
        "training": dict(training or {}),
        "versions": {"torch": torch.__version__.split("+")[0], "lightning": lightning.__version__},
    }
    atomic_save(data, Path(path))


def atomic_save(data: Any, path: Path) -> None:  # noqa: ANN401  (plain data)
    """`torch.save` to a temporary file beside `path`, flushed to the disk, then renamed onto it.

    Raises:
        ValueError: If it cannot be written; a former file at `path` is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            torch.save(data, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        kept = "; the former file is untouched" if path.exists() else ""
        raise ValueError(f"{path}: cannot be written: {error}{kept}") from error


def load_model(path: str | Path, device: str | torch.device | None = None) -> DetectionModel:
    """Load a model from a file of this project or of the original YOLOv5.

    Args:
        path: The file; a stock name (`yolov5n.pt` … `yolov5x6.pt`) that is not on disk is fetched from the original's
            public release into `weights/`.
        device: Where to put it; the CPU if None.

    Returns:
        The model in eval mode and fp32, with `.names`, `.stride` and `.spec`.

    Raises:
        ValueError: If the file is missing, damaged, of another kind, or names globals that are refused.
    """
    return model_from_checkpoint(read_checkpoint(path), device)


def model_from_checkpoint(checkpoint: Checkpoint, device: str | torch.device | None = None) -> DetectionModel:
    """Build the checkpoint's model and load its weights strictly.

    Raises:
        ValueError: If they do not fit its spec.
    """
    model = build_model(checkpoint.spec)
    try:
        model.load_state_dict(checkpoint.state_dict, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint.path}: the weights do not fit the model's own layer list: {error}") from error
    model.set_names(checkpoint.names)
    return model.eval().to(device or "cpu")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a weights file without building the model; see `load_model`.

    Raises:
        ValueError: As `load_model`.
    """
    file = find_weights(path)
    try:
        data = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        data = None  # not plain data: an original file, or none at all
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(_damaged(file, error)) from error
    if isinstance(data, dict) and data.get("format") == FORMAT:
        return _native(data, file)
    if data is not None:
        raise ValueError(_foreign(file, data))
    return _original(file)


def _native(data: Mapping[str, Any], file: Path) -> Checkpoint:
    try:
        spec = replace(ModelSpec.from_dict(data["spec"]), file=file.name)
        names, stride = {int(i): str(name) for i, name in data["names"].items()}, list(data["stride"])
        state = {key: t.float() if t.is_floating_point() else t for key, t in data["state_dict"].items()}
    except (KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{file}: is marked {FORMAT} but is not complete: {error}") from error
    return Checkpoint(spec, state, names, stride, dict(data.get("training", {})), "native", file)


def _original(file: Path) -> Checkpoint:
    try:
        data = read_pickled(file)
    except RefusedGlobalError as error:
        raise ValueError(_refused(file, str(error))) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(_damaged(file, error)) from error
    except (AttributeError, IndexError, UnicodeDecodeError) as error:  # what a pickle of nonsense can raise
        raise ValueError(_damaged(file, error)) from error
    model = (data.get("ema") or data.get("model")) if isinstance(data, dict) else data
    config = getattr(model, "yaml", None)
    if not isinstance(model, Stub) or not isinstance(config, dict) or "head" not in config:
        raise ValueError(_foreign(file, data))
    spec = parse_spec({key: config[key] for key in _SPEC_KEYS if config.get(key) is not None}, file.name)
    grid = f"model.{len(spec.layers) - 1}.anchor_grid"  # a buffer of releases before 6.0, derived from the anchors
    state = {k: t.float() if t.is_floating_point() else t for k, t in stub_state_dict(model) if k != grid}
    names = getattr(model, "names", None) or [str(i) for i in range(spec.nc)]
    names = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    stride = getattr(model, "stride", torch.tensor([]))
    return Checkpoint(spec, state, names, [float(s) for s in stride], {}, "yolov5", file)


def _refused(file: Path, name: str) -> str:
    if name.startswith("ultralytics."):
        return (
            f"{file}: a checkpoint of the ultralytics package (it names {name}), whose architectures are not YOLOv5's; "
            "expected a file of this project or of the original YOLOv5 repository"
        )
    return f"{file}: refused: it names the global {name}, which no YOLOv5 checkpoint needs; nothing in it was run"


def _damaged(file: Path, error: Exception) -> str:
    size = file.stat().st_size
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{file}: not a readable weights file ({size} bytes): truncated, or of another format ({reason})"


def _foreign(file: Path, data: Any) -> str:  # noqa: ANN401  (whatever the file holds)
    found = (
        f"a mapping with the keys {', '.join(map(str, list(data)[:5]))}" if isinstance(data, dict) else repr(type(data))
    )
    return (
        f"{file}: holds no YOLOv5 detection model (found {found}); expected a file of this project or of the original "
        "YOLOv5 repository"
    )
