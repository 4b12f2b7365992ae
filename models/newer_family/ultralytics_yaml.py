"""The ultralytics package's detection YAMLs: found, read and checked, without importing the package."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from models.graph.row_arguments import parse_activation
from models.spec.parse_layer_list import check_keys, shown

_NAME = re.compile(r"(yolov?\d+)([nslmx])?u?((?:-.+)?)")
_FETCHES = ("TorchVision",)  # modules that load something when they are built


def _folder() -> Path:
    """Where the installed package keeps its YAMLs; the package is not imported."""
    found = find_spec("ultralytics")
    if found is None or found.origin is None:
        raise ValueError("models of the newer family need the ultralytics package: pip install ultralytics")
    return Path(found.origin).parent / "cfg" / "models"


def find_yaml(cfg: str | Path) -> Path:
    """A file on disk, or the package's YAML of that name without the letter of the scale."""
    given = Path(cfg)
    if given.is_file():
        return given
    known = {path.name: path for path in sorted(_folder().glob("**/*.yaml"))}
    match = _NAME.fullmatch(given.stem)
    name = f"{match[1]}{match[3]}.yaml" if match else given.name
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise ValueError(f"{shown(str(cfg))} is no file and no YAML of the ultralytics package{hint}")


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a file."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{file}: not readable as YAML in UTF-8: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{file.name}: expected a mapping but got {shown(data)}")
    return data


def scale_letter(data: Mapping[str, Any], name: str) -> str:
    """The letter of the scale, which gives depth, width and the most channels; "" for a file without scales."""
    match = _NAME.fullmatch(Path(name).stem)
    scale = str(data.get("scale") or (match[2] if match else None) or "")
    known = data.get("scales") or {}
    if not isinstance(known, Mapping):
        raise ValueError(f"{name}: scales: expected letters with [depth, width, channels] but got {shown(known)}")
    if known and scale not in known:
        letters = ", ".join(map(str, known))
        raise ValueError(f"{name}: expected a scale behind the number, one of {letters}, as in yolo11n.yaml")
    return scale


def check_rows(data: Mapping[str, Any], tasks: Any, file: Path) -> None:  # noqa: ANN401  (a module)
    """Rows name classes of layers, so that the package's parser, which calls what it finds, calls nothing else."""
    check_keys(data, set(data), ("nc", "backbone", "head"), file.name)
    for part in ("backbone", "head"):
        if not isinstance(data[part], list) or not data[part]:
            raise ValueError(f"{file.name}: {part}: expected a list of rows but got {shown(data[part])}")
    if data.get("activation") is not None:
        try:
            parse_activation(str(data["activation"]))  # the package evaluates this text
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from error
    for i, row in enumerate([*data["backbone"], *data["head"]]):
        if not isinstance(row, list) or len(row) != 4 or not isinstance(row[2], str):
            raise ValueError(f"{file.name}: row {i}: expected [from, number, module, args] but got {shown(row)}")
        found = getattr(nn, row[2][3:], None) if row[2].startswith("nn.") else getattr(tasks, row[2], None)
        if not isinstance(found, type) or not issubclass(found, nn.Module) or row[2] in _FETCHES:
            raise ValueError(f"{file.name}: row {i}: no layer of the ultralytics package is named {row[2]!r}")
    if data["head"][-1][2] not in ("Detect", "v10Detect"):
        raise ValueError(f"{file.name}: expected a detection model but its head is {data['head'][-1][2]}")
