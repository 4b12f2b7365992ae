"""Write a model as the original YOLOv5 keeps it: a pickled module whose classes have the original's names.

Nothing of the original is needed for it: the modules are this project's, with the attributes that the original's code
reads, and the names of their classes are exchanged while they are pickled.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from models.blocks.convolutions import Bottleneck, Concat
from models.blocks.ghost import GhostConv
from models.blocks.more_stages import MixConv2d
from models.blocks.pooling import SPPF
from models.blocks.transformer import TransformerBlock
from models.graph.user_classes import user_classes
from models.spec.model_spec import IMAGE, ModelSpec, row_text, where
from models.weights.checkpoint import atomic_save
from models.yolo import Detect, DetectionModel

RECEIVER = "models.yolov5_attention"
MARK = "yolov5-attention"  # the key of what this project says in such a file
_USERS = "user_module_"  # as models.user_modules names the module of a file


class _Model(nn.Module):
    """Stands for the original's model."""


class _Head(nn.Module):
    """Stands for the original's head."""


class _AttendingBottleneck(Bottleneck):
    """A bottleneck with attention inside, which the original's has not."""


# All releases know their model by the name Model.
_NAMES = {
    _Model: "models.yolo.Model",
    _Head: "models.yolo.Detect",
    _AttendingBottleneck: f"{RECEIVER}.Bottleneck",
    MixConv2d: "models.experimental.MixConv2d",
}
_THERE = ("models.common", "models.experimental", "models.yolo")
_COMMON = {cls.__module__ for cls in (Bottleneck, GhostConv, SPPF, TransformerBlock)}  # what YOLOv5 has in one file


def write_original(model: DetectionModel, path: Path, *, half: bool = False) -> list[str]:
    """Write a checkpoint of the original.

    Args:
        model: Not fused; is left alone.
        path: The file.
        half: Store weights in fp16, as the original's finished runs do.

    Returns:
        The modules that hold classes which the original lacks, e.g. `models.yolov5_attention`; the file names them too.

    Raises:
        ValueError: If the original has no way to run a row, or it cannot be written.
    """
    timm = [index for index, layer in enumerate(model.spec.layers) if layer.module == "Timm"]
    if timm:
        raise ValueError(f"{where(model.spec, timm[0])}: layers of timm are not written for YOLOv5; write onnx instead")
    written = _as_original(copy.deepcopy(model).cpu().float().eval())
    needs = _needed(written, model.spec)
    ours = {"spec": model.spec.to_dict(), "needs": needs}
    absent = dict.fromkeys(("best_fitness", "ema", "updates", "optimizer", "opt", "git", "date"))
    checkpoint = {"epoch": -1, "model": written.half() if half else written, **absent, MARK: ours}
    atomic_save(checkpoint, path, pickle_module=SimpleNamespace(__name__=__name__, Pickler=_Pickler), pickle_protocol=2)
    return sorted(needs)


def _as_original(model: DetectionModel) -> nn.Module:
    """The model with what the original's `forward` and `fuse` read, and nothing else."""
    spec = model.spec
    saved: set[int] = set()
    rows: list[nn.Module] = []
    for index, module in enumerate(model.model):
        row: Any = _head(module) if isinstance(module, Detect) else module
        row.i, row.f = index, _reads(spec, index, module)
        row.type, row.np = _receiver_name(row.__class__), sum(parameter.numel() for parameter in row.parameters())
        saved |= {source for source in (row.f if isinstance(row.f, list) else [row.f]) if source != -1}
        rows.append(row)
    made: Any = _Model()
    made.model, made.save = nn.Sequential(*rows), sorted(saved)
    made.yaml = model.yaml
    made.names, made.nc, made.inplace = dict(model.names), model.nc, True
    made.stride = model.stride.clone()
    for module in list(made.modules()):
        _complete(module)
    return made.eval()


def _reads(spec: ModelSpec, index: int, module: nn.Module) -> int | list[int]:
    """A row's `f`: -1 for the row before, or absolute indices."""
    sources = list(spec.layers[index].source)
    if IMAGE in sources and (index or len(sources) > 1):
        raise ValueError(
            f"{where(spec, index)}: {row_text(spec, index)} reads the image, which the original gives to row 0 alone"
        )
    if len(sources) > 1 or isinstance(module, (Concat, Detect)):
        return sources
    return -1 if sources[0] == index - 1 else sources[0]


def _head(detect: Detect) -> nn.Module:
    made: Any = _Head()
    made.nc, made.no, made.nl, made.na = detect.nc, detect.no, detect.nl, detect.na
    made.grid, made.anchor_grid = ([torch.empty(0) for _ in range(detect.nl)] for _ in range(2))
    made.register_buffer("anchors", detect.anchors)
    made.m, made.stride, made.inplace = detect.m, detect.stride.clone(), True
    return made


def _complete(module: Any) -> None:  # noqa: ANN401  (a module that takes attributes)
    """Attributes and classes where ours has another form of the same."""
    if isinstance(module, nn.BatchNorm2d):
        module.__class__ = nn.BatchNorm2d
    elif isinstance(module, SPPF):
        module.m = nn.MaxPool2d(kernel_size=module.k, stride=1, padding=module.k // 2)
    elif isinstance(module, TransformerBlock):
        vars(module)["c2"] = module.linear.out_features
    elif type(module) is Bottleneck and not isinstance(module.attention, nn.Identity):
        module.__class__ = _AttendingBottleneck
    elif type(module) is Bottleneck:
        del module.attention


def _needed(written: nn.Module, spec: ModelSpec) -> dict[str, list[str]]:
    """From a module that the original lacks to the classes in it."""
    needs: dict[str, set[str]] = {}
    own = user_classes(spec)
    for module in written.modules():
        there, _, name = _receiver_name(type(module)).rpartition(".")
        if there.startswith("models.") and (there not in _THERE or name in own):
            needs.setdefault(there, set()).add(name)
    return {there: sorted(names) for there, names in needs.items()}


def _receiver_name(cls: type) -> str:
    """The name of a class where the file is read."""
    if cls in _NAMES:
        return _NAMES[cls]
    module = cls.__module__
    if module in _COMMON:
        module = "models.common"
    elif module.startswith(("models.attention.", "models.blocks.")):
        module = RECEIVER
    elif module.startswith(_USERS):
        module = f"models.{module.removeprefix(_USERS)}"
    return f"{module}.{cls.__qualname__}"


_PythonPickler: Any = vars(pickle)["_Pickler"]  # the one in C insists on a class being where its name says


class _Pickler(_PythonPickler):
    """Names classes as the original does."""

    def save_global(self, obj: Any, name: str | None = None) -> None:  # noqa: ANN401  (a class or a function)
        known = f"{obj.__module__}.{obj.__qualname__}" if isinstance(obj, type) else ""
        renamed = _receiver_name(obj) if known else ""
        if renamed == known and not known.startswith("models."):
            _PythonPickler.save_global(self, obj, name)
            return
        module, _, called = renamed.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{called}\n".encode())
        self.memoize(obj)
