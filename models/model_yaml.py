"""A model YAML as checked, frozen data: `load_spec` reads it, `ModelSpec` holds it.

Nothing in a YAML is evaluated and this module imports no torch. A file is either a complete YOLOv5 layer list
(`backbone` and `head`, rows of `[from, number, module, args]`) or an overlay (`base` and `insert`). Either may name
Python files of the user under `modules`, whose classes rows may then name; they are run.

`families/` holds one list for all sizes of a family: `yolov5n-p2.yaml` is `families/yolov5-p2.yaml` with the multiples
of n. No file has that name; `read_mapping` reads it all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from files.find import find_file
from files.paths import is_file
from files.text import shown
from files.yaml_file import read_yaml
from models.graph.checked import checked_spec
from models.spec.model_spec import IMAGE, LayerSpec, ModelSpec, SpecError, check_references, readers
from models.spec.parse_layer_list import check_keys, number, parse_activation_name, parse_anchors, parse_channels

__all__ = [
    "IMAGE",
    "LayerSpec",
    "ModelSpec",
    "SpecError",
    "check_references",
    "load_spec",
    "readers",
]

FOLDER = Path(__file__).resolve().parent
FAMILIES = FOLDER / "families"
SIZES = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
"""YOLOv5's sizes: the multiples of depth and width."""

OVERLAY_KEYS = {"base", "insert", "nc", "anchors", "depth_multiple", "width_multiple", "activation", "modules", "ch"}


def load_spec(path: str | Path, nc: int | None = None, *, run_modules: bool = True) -> ModelSpec:
    """Read a model YAML, a complete layer list or an overlay.

    Args:
        path: A path, or a bare name such as `yolov5s_ca.yaml`, which is looked up in `models/`.
        nc: Number of classes; overrides the file's own.
        run_modules: Run the Python files that it names under `modules`; not for a file that the user did not name.

    Returns:
        The checked spec: every index absolute and in range, every layer read, the head last.

    Raises:
        ValueError: If the file is missing or wrong; names the file, the row, what was read and the remedy.
    """
    spec = _load(find_spec(path), (), run_modules)
    return spec if nc is None else spec.with_classes(nc)


def find_spec(path: str | Path) -> Path:
    """The file of a path or of a bare name: looked for here, in the repository root and in `models/`.

    A size of a family, such as `yolov5n-p2` or `yolov5n6`, gives the path that its file would have.

    Raises:
        ValueError: If there is none; gives the nearest names.
    """
    try:
        return find_file(path, (FOLDER, FOLDER / "overlays", FAMILIES), "model")
    except ValueError:
        given = Path(path)
        named = FAMILIES / f"{given.stem}.yaml"
        if given.parent in (Path(), FAMILIES) and given.suffix in ("", ".yaml") and _family(named):
            return named
        raise


def _family(file: Path) -> tuple[Path, str] | None:
    """The list and the size of a path that `find_spec` gave for a size of a family; None for any other."""
    found = re.fullmatch("yolov5([nsmlx])(6|-.+)", file.stem) if file.parent == FAMILIES else None
    if found is None:
        return None
    shared = FAMILIES / f"yolov5{'-p6' if found[2] == '6' else found[2]}.yaml"
    return (shared, found[1]) if is_file(shared) else None


def _load(file: Path, above: tuple[Path, ...], run_modules: bool) -> ModelSpec:
    """Read a file; `above` are the overlays that led to it."""
    if file.resolve() in above:
        raise ValueError(f"{file.name}: is its own base: {' -> '.join(p.name for p in (*above, file.resolve()))}")
    data = read_mapping(file)
    if run_modules and "modules" in data:
        _run_modules(data["modules"], file)
    if "base" not in data:
        return checked_spec(data, file.name, file)
    return _load_overlay(file, data, (*above, file.resolve()), run_modules)


def _run_modules(wanted: Any, file: Path) -> None:  # noqa: ANN401  (YAML value)
    """Run the Python files that a YAML names, found beside it or from the current folder."""
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{file.name}: modules: expected files, e.g. [my_attention.py], but got {shown(wanted)}")
    from models.user_modules import load_modules  # with torch

    try:
        load_modules(file.parent / name if is_file(file.parent / name) else name for name in names)
    except ValueError as error:
        raise ValueError(f"{file.name}: modules: {error}") from error


def read_mapping(file: Path) -> dict[str, Any]:
    """The mapping of a model YAML, unchecked.

    Raises:
        ValueError: If the file cannot be read or holds no mapping.
    """
    shared, size = _family(file) or (file, "")
    data = read_yaml(shared)
    if not isinstance(data, dict):
        raise ValueError(
            f"{file.name}: expected a mapping with backbone and head, or base and insert, but got {shown(data)}"
        )
    if size:
        data["depth_multiple"], data["width_multiple"] = SIZES[size]
    return data


def _load_overlay(file: Path, data: Mapping[str, Any], above: tuple[Path, ...], run_modules: bool) -> ModelSpec:
    from models.insertion.insert import apply_overlay

    check_keys(data, OVERLAY_KEYS, ("base", "insert"), file.name)
    name = data["base"]
    if not isinstance(name, str):
        raise ValueError(f"{file.name}: base: expected the name of a model YAML but got {shown(name)}")
    beside = file.parent / name
    spec = _load(beside if is_file(beside) else find_spec(name), above, run_modules)
    if "nc" in data:
        spec = spec.with_classes(number(data, "nc", int, file.name))
    if "ch" in data:
        spec = replace(spec, channels=parse_channels(data["ch"], f"{file.name}: ch"))
    if "anchors" in data:
        spec = replace(spec, anchors=parse_anchors(data["anchors"], file.name))
    for key in ("depth_multiple", "width_multiple"):
        if key in data:
            spec = replace(spec, **{key: number(data, key, float, file.name)})
    if "activation" in data:
        spec = replace(spec, activation=parse_activation_name(data["activation"], file.name))
    return apply_overlay(replace(spec, file=file.name, base=spec.base or name), data["insert"])
